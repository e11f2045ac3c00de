"""Calls about orders and the account, as data.

Source:
    Portal tables order-cash, order-rvsecncl, inquire-psbl-rvsecncl,
    inquire-daily-ccld, inquire-balance, inquire-psbl-order, inquire-psbl-sell,
    inquire-period-trade-profit, inquire-period-profit.
"""

from collections.abc import Mapping
from typing import Final

from kisbt.kis.wire import fields as f
from kisbt.kis.wire.requests import (
    BalanceQuery,
    BuyingPowerQuery,
    Change,
    ChangeOrder,
    Filled,
    OpenOrdersQuery,
    OrdersQuery,
    PlaceOrder,
    ProfitQuery,
    Reach,
    SellableQuery,
)
from kisbt.kis.wire.rest import Bind, BlockMap, Param, RequestMap, RestCall
from kisbt.kis.wire.texts import (
    COUNT,
    DAY,
    FLAG,
    NEEDED_DAY,
    NEEDED_TEXT,
    NEEDED_TIME,
    NEEDED_WHOLE,
    PLAIN,
    ROUNDED,
    TEXT,
    TIME,
    WHOLE,
    TextCodec,
    choices,
    decimals,
)
from kisbt.model.account import (
    Balance,
    BuyingPower,
    DayProfit,
    DayProfits,
    Environment,
    Funds,
    Position,
    ProfitTotals,
    Sellable,
    TradeProfit,
    TradeProfits,
)
from kisbt.model.order import (
    BrokerOrder,
    OpenOrder,
    OrderKind,
    OrderTicket,
    OrderTotals,
    Side,
    Venue,
)
from kisbt.model.ports import OrderHistory

KIND: Final = choices(OrderKind, f.ORD_DVSN)
SIDE: Final = choices(Side, f.SLL_BUY_DVSN_CD)
VENUE: Final = choices(Venue, f.EXCG_ID_DVSN_CD, default=Venue.KRX)

_KINDS_BY_CODE: Final = {code: OrderKind(kind) for kind, code in f.ORD_DVSN.items()}


def _kinds(codes: frozenset[str]) -> frozenset[OrderKind]:
    return frozenset(_KINDS_BY_CODE[code] for code in codes)


VENUE_KINDS: Final[Mapping[Venue, frozenset[OrderKind]]] = {
    Venue.KRX: _kinds(f.KRX_KINDS),
    Venue.NXT: _kinds(f.NXT_KINDS),
    Venue.SOR: _kinds(f.SOR_KINDS),
}
"""Order kinds each venue takes."""

MOCK_KINDS: Final = _kinds(f.MOCK_KINDS)
"""Order kinds the practice server takes, on KRX only."""

PRICED_KINDS: Final = _kinds(f.PRICED_KINDS)
"""Order kinds whose price is read; every other one is sent with price 0."""


def kind_name(kind: OrderKind) -> str:
    """Return the Korean name KIS shows for an order kind; "" if it is a rare one."""
    return f.ORD_DVSN_NAMES.get(f.ORD_DVSN[kind], "")


def side_name(side: Side) -> str:
    """Return the Korean name KIS shows for the side of a cash order."""
    return f.SIDE_NAMES[f.SLL_BUY_DVSN_CD[side]]


def _format_venue(venue: Venue | None) -> str:
    return "" if venue is None else f.EXCG_ID_DVSN_CD[venue]


def _parse_venue(text: str) -> Venue | None:
    return VENUE.parse(text) if text else None


# A blank venue on a row is left unknown: rows of before NXT opened have none.
_ROW_VENUE: Final = TextCodec(_parse_venue, _format_venue)


def _query_venue(text: str) -> Venue | None:
    return None if text == "ALL" else VENUE.parse(text)


_QUERY_VENUE: Final = TextCodec(_query_venue, str)

_TICKET: Final = BlockMap(
    value=OrderTicket,
    binds=(
        Bind("branch", "KRX_FWDG_ORD_ORGNO", NEEDED_TEXT),
        Bind("number", "ODNO", NEEDED_TEXT),
        Bind("time", "ORD_TMD", NEEDED_TIME),
    ),
    other_names=("output1",),
)

ORDER: Final = RestCall[PlaceOrder, OrderTicket](
    name="order_cash",
    request=RequestMap(
        value=PlaceOrder,
        account=True,
        variant="side",
        variants={"sell": Side.SELL, "buy": Side.BUY},
        params=(
            Param("symbol", "PDNO", NEEDED_TEXT),
            Param("sell_type", "SLL_TYPE", TEXT, ""),
            Param("kind", "ORD_DVSN", KIND),
            Param("quantity", "ORD_QTY", COUNT),
            Param("price", "ORD_UNPR", COUNT),
            Param(
                "stop_price",
                "CNDT_PRIC",
                TextCodec(COUNT.parse, lambda v: str(v or "")),
                0,
            ),
            Param("venue", "EXCG_ID_DVSN_CD", VENUE, Venue.KRX),
        ),
    ),
    blocks=(_TICKET,),
)
"""Buy or sell; `PlaceOrder.side` chooses the TR id."""

CHANGE: Final = RestCall[ChangeOrder, OrderTicket](
    name="order_rvsecncl",
    request=RequestMap(
        value=ChangeOrder,
        account=True,
        params=(
            Param("branch", "KRX_FWDG_ORD_ORGNO", TEXT, ""),
            Param("number", "ORGN_ODNO", NEEDED_TEXT),
            Param("kind", "ORD_DVSN", KIND),
            Param("change", "RVSE_CNCL_DVSN_CD", choices(Change, f.RVSE_CNCL_DVSN_CD)),
            Param("quantity", "ORD_QTY", COUNT, 0),
            Param("price", "ORD_UNPR", COUNT, 0),
            Param("whole", "QTY_ALL_ORD_YN", FLAG),
            Param(
                "stop_price",
                "CNDT_PRIC",
                TextCodec(COUNT.parse, lambda v: str(v or "")),
                0,
            ),
            Param("venue", "EXCG_ID_DVSN_CD", VENUE, Venue.KRX),
        ),
        omitted=frozenset({"CNDT_PRIC"}),
    ),
    blocks=(_TICKET,),
)
"""Amend or cancel; the answer carries a new order number."""

OPEN_ORDERS: Final = RestCall[OpenOrdersQuery, tuple[OpenOrder, ...]](
    name="inquire_psbl_rvsecncl",
    request=RequestMap(
        value=OpenOrdersQuery,
        account=True,
        params=(
            Param("sort_code", "INQR_DVSN_1", TEXT, "0"),
            Param("side_code", "INQR_DVSN_2", TEXT, "0"),
        ),
    ),
    blocks=(
        BlockMap(
            value=OpenOrder,
            binds=(
                Bind("branch", "ord_gno_brno", TEXT),
                Bind("number", "odno", NEEDED_TEXT),
                Bind("original_number", "orgn_odno", TEXT),
                Bind("kind_note", "ord_dvsn_name", TEXT),
                Bind("symbol", "pdno", NEEDED_TEXT),
                Bind("name", "prdt_name", TEXT),
                Bind("quantity", "ord_qty", NEEDED_WHOLE),
                Bind("price", "ord_unpr", WHOLE),
                Bind("time", "ord_tmd", TIME),
                Bind("filled_quantity", "tot_ccld_qty", NEEDED_WHOLE),
                Bind("filled_amount", "tot_ccld_amt", WHOLE),
                Bind("open_quantity", "psbl_qty", NEEDED_WHOLE),
                Bind("side", "sll_buy_dvsn_cd", SIDE),
                Bind("kind", "ord_dvsn_cd", KIND),
                Bind("venue", "excg_id_dvsn_cd", _ROW_VENUE),
                Bind("stop_price", "stpm_cndt_pric", WHOLE),
            ),
            constants={"excg_dvsn_cd": "02", "stpm_efct_occr_yn": "N"},
            other_names=("output1",),
        ),
    ),
)
"""Orders that can be amended or cancelled; real server only."""

_FILLED: Final = choices(
    Filled, {"all": "00", "filled": "01", "unfilled": "02"}, default=Filled.ALL
)
_NEWEST: Final = TextCodec(
    lambda text: text == "01", lambda value: "01" if value else "00"
)


def _query_side(text: str) -> Side | None:
    return None if text == "00" else SIDE.parse(text)


_QUERY_SIDE: Final = TextCodec(_query_side, SIDE.format)

HISTORY: Final = RestCall[OrdersQuery, OrderHistory](
    name="inquire_daily_ccld",
    request=RequestMap(
        value=OrdersQuery,
        account=True,
        variant="reach",
        variants={"recent": Reach.RECENT, "older": Reach.OLDER},
        params=(
            Param("first", "INQR_STRT_DT", DAY, None),
            Param("last", "INQR_END_DT", DAY, None),
            Param("side", "SLL_BUY_DVSN_CD", _QUERY_SIDE, None),
            Param("symbol", "PDNO", TEXT, ""),
            Param("branch", "ORD_GNO_BRNO", TEXT, ""),
            Param("number", "ODNO", TEXT, ""),
            Param("filled", "CCLD_DVSN", _FILLED, Filled.ALL),
            Param("oldest_first", "INQR_DVSN", _NEWEST, False),
            Param("product_code", "INQR_DVSN_1", TEXT, ""),
            Param("credit_code", "INQR_DVSN_3", TEXT, "00"),
            Param("venue", "EXCG_ID_DVSN_CD", _QUERY_VENUE, Venue.KRX),
        ),
        fixed={"SLL_BUY_DVSN_CD": "00", "EXCG_ID_DVSN_CD": "ALL"},
    ),
    result=OrderHistory,
    blocks=(
        BlockMap(
            value=BrokerOrder,
            attr="rows",
            binds=(
                Bind("day", "ord_dt", NEEDED_DAY),
                Bind("branch", "ord_gno_brno", TEXT),
                Bind("number", "odno", NEEDED_TEXT),
                Bind("original_number", "orgn_odno", TEXT),
                Bind("kind_note", "ord_dvsn_name", TEXT),
                Bind("side", "sll_buy_dvsn_cd", SIDE),
                Bind("side_note", "sll_buy_dvsn_cd_name", TEXT),
                Bind("symbol", "pdno", NEEDED_TEXT),
                Bind("name", "prdt_name", TEXT),
                Bind("quantity", "ord_qty", NEEDED_WHOLE),
                Bind("price", "ord_unpr", WHOLE),
                Bind("time", "ord_tmd", TIME),
                Bind("filled_quantity", "tot_ccld_qty", NEEDED_WHOLE),
                Bind("average_price", "avg_prvs", PLAIN),
                Bind("cancelled", "cncl_yn", FLAG),
                Bind("filled_amount", "tot_ccld_amt", WHOLE),
                Bind("channel", "ordr_empno", TEXT),
                Bind("kind", "ord_dvsn_cd", KIND),
                # The portal's own example spells it differently from its table.
                Bind("cancelled_quantity", "cnc_cfrm_qty", WHOLE, ("cncl_cfrm_qty",)),
                Bind("remaining_quantity", "rmn_qty", WHOLE),
                Bind("rejected_quantity", "rjct_qty", WHOLE),
                Bind("venue", "excg_id_dvsn_Cd", _ROW_VENUE),
                Bind("stop_price", "stpm_cndt_pric", WHOLE),
            ),
            constants={
                "ccld_cndt_name": "없음",
                "prdt_type_cd": f.STOCK_PRODUCT_TYPE,
                "excg_dvsn_cd": "02",
                "ord_orgno": "00000",
            },
        ),
        BlockMap(
            value=OrderTotals,
            attr="totals",
            binds=(
                Bind("quantity", "tot_ord_qty", WHOLE),
                Bind("filled_quantity", "tot_ccld_qty", WHOLE),
                Bind("filled_amount", "tot_ccld_amt", WHOLE),
                Bind("costs", "prsm_tlex_smtl", ROUNDED),
                Bind("average_price", "pchs_avg_pric", decimals(4)),
            ),
        ),
    ),
)
"""Orders and fills of a period; one page."""

_BY_LOAN: Final = TextCodec(
    lambda text: text == "01", lambda value: "01" if value else "02"
)
_WITHOUT: Final = TextCodec(
    lambda text: text == "01", lambda value: "01" if value else "00"
)

BALANCE: Final = RestCall[BalanceQuery, Balance](
    name="inquire_balance",
    request=RequestMap(
        value=BalanceQuery,
        account=True,
        params=(
            Param("price_basis", "AFHR_FLPR_YN", TEXT, "N"),
            Param("by_loan_date", "INQR_DVSN", _BY_LOAN, False),
            Param("without_previous_day", "PRCS_DVSN", _WITHOUT, False),
        ),
        fixed={
            "UNPR_DVSN": "01",
            "FUND_STTL_ICLD_YN": "N",
            "FNCG_AMT_AUTO_RDPT_YN": "N",
        },
    ),
    result=Balance,
    blocks=(
        BlockMap(
            value=Position,
            attr="positions",
            binds=(
                Bind("symbol", "pdno", NEEDED_TEXT),
                Bind("name", "prdt_name", TEXT),
                Bind("bought_before", "bfdy_buy_qty", WHOLE),
                Bind("sold_before", "bfdy_sll_qty", WHOLE),
                Bind("bought_today", "thdt_buyqty", WHOLE),
                Bind("sold_today", "thdt_sll_qty", WHOLE),
                Bind("quantity", "hldg_qty", NEEDED_WHOLE),
                Bind("sellable", "ord_psbl_qty", NEEDED_WHOLE),
                Bind("average_price", "pchs_avg_pric", decimals(4)),
                Bind("cost", "pchs_amt", WHOLE),
                Bind("price", "prpr", WHOLE),
                Bind("value", "evlu_amt", WHOLE),
                Bind("profit", "evlu_pfls_amt", WHOLE),
                Bind("profit_pct", "evlu_pfls_rt", decimals(2)),
                Bind("change_pct", "fltt_rt", decimals(8)),
            ),
            constants={"trad_dvsn_name": "현금", "evlu_erng_rt": "0.00000000"},
        ),
        BlockMap(
            value=Funds,
            attr="funds",
            single=True,
            binds=(
                Bind("deposit", "dnca_tot_amt", NEEDED_WHOLE),
                Bind("deposit_d1", "nxdy_excc_amt", WHOLE),
                Bind("deposit_d2", "prvs_rcdl_excc_amt", NEEDED_WHOLE),
                Bind("bought_before", "bfdy_buy_amt", WHOLE),
                Bind("bought_today", "thdt_buy_amt", WHOLE),
                Bind("sold_before", "bfdy_sll_amt", WHOLE),
                Bind("sold_today", "thdt_sll_amt", WHOLE),
                Bind("costs_before", "bfdy_tlex_amt", WHOLE),
                Bind("costs_today", "thdt_tlex_amt", WHOLE),
                Bind("securities_value", "scts_evlu_amt", WHOLE),
                Bind("total_value", "tot_evlu_amt", WHOLE),
                Bind("net_assets", "nass_amt", WHOLE),
                Bind("cost", "pchs_amt_smtl_amt", WHOLE),
                Bind("profit", "evlu_pfls_smtl_amt", WHOLE),
                Bind("total_before", "bfdy_tot_asst_evlu_amt", WHOLE),
                Bind("change", "asst_icdc_amt", WHOLE),
                Bind("change_pct", "asst_icdc_erng_rt", decimals(8)),
            ),
        ),
    ),
)
"""Positions and money; one page. The money is on every page."""

BUYING_POWER: Final = RestCall[BuyingPowerQuery, BuyingPower](
    name="inquire_psbl_order",
    request=RequestMap(
        value=BuyingPowerQuery,
        account=True,
        params=(
            Param("symbol", "PDNO", TEXT, ""),
            Param("price", "ORD_UNPR", COUNT, None),
            Param("kind", "ORD_DVSN", KIND),
        ),
        fixed={"CMA_EVLU_AMT_ICLD_YN": "N", "OVRS_ICLD_YN": "N"},
    ),
    blocks=(
        BlockMap(
            value=BuyingPower,
            binds=(
                Bind("cash", "ord_psbl_cash", NEEDED_WHOLE),
                Bind("reusable", "ruse_psbl_amt", WHOLE),
                Bind("reference_price", "psbl_qty_calc_unpr", WHOLE),
                Bind("amount", "nrcvb_buy_amt", NEEDED_WHOLE),
                Bind("quantity", "nrcvb_buy_qty", NEEDED_WHOLE),
                Bind("max_amount", "max_buy_amt", WHOLE),
                Bind("max_quantity", "max_buy_qty", WHOLE),
            ),
        ),
    ),
)
"""What can be bought."""

SELLABLE: Final = RestCall[SellableQuery, Sellable](
    name="inquire_psbl_sell",
    request=RequestMap(
        value=SellableQuery,
        account=True,
        params=(Param("symbol", "PDNO", NEEDED_TEXT),),
    ),
    blocks=(
        BlockMap(
            value=Sellable,
            binds=(
                Bind("symbol", "pdno", TEXT),
                Bind("name", "prdt_name", TEXT),
                Bind("bought", "buy_qty", WHOLE),
                Bind("sold", "sll_qty", WHOLE),
                Bind("quantity", "cblc_qty", NEEDED_WHOLE),
                Bind("sellable", "ord_psbl_qty", NEEDED_WHOLE),
                Bind("average_price", "pchs_avg_pric", decimals(4)),
                Bind("cost", "pchs_amt", WHOLE),
                Bind("price", "now_pric", WHOLE),
                Bind("value", "evlu_amt", WHOLE),
                Bind("profit", "evlu_pfls_amt", WHOLE),
                Bind("profit_pct", "evlu_pfls_rt", decimals(2)),
            ),
            other_names=("output1",),
        ),
    ),
)
"""What can be sold of a holding; real server only."""

_PROFIT_PARAMS: Final = (
    Param("first", "INQR_STRT_DT", NEEDED_DAY),
    Param("last", "INQR_END_DT", NEEDED_DAY),
    Param("oldest_first", "SORT_DVSN", _NEWEST, False),
)


def _totals(**other: str) -> BlockMap:
    names = {
        "sold_quantity": "sll_qty_smtl",
        "sold_amount": "sll_tr_amt_smtl",
        "sold_commission": "sll_fee_smtl",
        "sold_tax": "sll_tltx_smtl",
        "sold_settled": "sll_excc_amt_smtl",
        "bought_quantity": "buy_qty_smtl",
        "bought_amount": "buy_tr_amt_smtl",
        "bought_commission": "buy_fee_smtl",
        "bought_tax": "buy_tax_smtl",
        "bought_settled": "buy_excc_amt_smtl",
        "profit": "tot_rlzt_pfls",
        "interest": "loan_int",
        **other,
    }
    return BlockMap(
        value=ProfitTotals,
        attr="totals",
        binds=tuple(
            Bind(attr, name, decimals(2) if attr == "profit_pct" else ROUNDED)
            for attr, name in names.items()
        ),
    )


TRADE_PROFITS: Final = RestCall[ProfitQuery, TradeProfits](
    name="inquire_period_trade_profit",
    request=RequestMap(
        value=ProfitQuery,
        account=True,
        params=(*_PROFIT_PARAMS, Param("symbol", "PDNO", TEXT, "")),
        fixed={"CBLC_DVSN": "00"},
    ),
    result=TradeProfits,
    blocks=(
        BlockMap(
            value=TradeProfit,
            attr="rows",
            binds=(
                Bind("day", "trad_dt", NEEDED_DAY),
                Bind("symbol", "pdno", NEEDED_TEXT),
                Bind("name", "prdt_name", TEXT),
                Bind("held", "hldg_qty", WHOLE),
                Bind("purchase_price", "pchs_unpr", decimals(4)),
                Bind("bought_quantity", "buy_qty", WHOLE),
                Bind("bought_amount", "buy_amt", ROUNDED),
                Bind("sold_price", "sll_pric", decimals(4)),
                Bind("sold_quantity", "sll_qty", WHOLE),
                Bind("sold_amount", "sll_amt", ROUNDED),
                Bind("profit", "rlzt_pfls", ROUNDED),
                Bind("profit_pct", "pfls_rt", decimals(8)),
                Bind("commission", "fee", ROUNDED),
                Bind("tax", "tl_tax", ROUNDED),
                Bind("interest", "loan_int", ROUNDED),
            ),
            constants={"trad_dvsn_name": "현금"},
        ),
        _totals(bought_quantity="buyqty_smtl", profit_pct="tot_pftrt"),
    ),
)
"""Realised results by symbol and day; real server only."""

DAY_PROFITS: Final = RestCall[ProfitQuery, DayProfits](
    name="inquire_period_profit",
    request=RequestMap(
        value=ProfitQuery,
        account=True,
        params=_PROFIT_PARAMS,
        fixed={"INQR_DVSN": "00", "CBLC_DVSN": "00"},
    ),
    result=DayProfits,
    blocks=(
        BlockMap(
            value=DayProfit,
            attr="rows",
            binds=(
                Bind("day", "trad_dt", NEEDED_DAY),
                Bind("bought_amount", "buy_amt", ROUNDED),
                Bind("sold_amount", "sll_amt", ROUNDED),
                Bind("profit", "rlzt_pfls", ROUNDED),
                Bind("commission", "fee", ROUNDED),
                Bind("interest", "loan_int", ROUNDED),
                Bind("tax", "tl_tax", ROUNDED),
                Bind("profit_pct", "pfls_rt", decimals(8)),
                Bind("sold_quantity", "sll_qty1", WHOLE),
                Bind("bought_quantity", "buy_qty1", WHOLE),
            ),
        ),
        _totals(),
    ),
)
"""Realised results by day; real server only."""


def takes_kind(kind: OrderKind, venue: Venue, environment: Environment) -> bool:
    """Return whether a server takes orders of `kind` for `venue`."""
    if environment is Environment.MOCK:
        return venue is Venue.KRX and kind in MOCK_KINDS
    return kind in VENUE_KINDS[venue]
