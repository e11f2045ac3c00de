"""Calls about prices, charts, rankings and master data, as data.

Two traps are kept here: the flag for adjusted prices means the opposite in the two
calls that have it, and changes against the previous close come with a sign code.

Source:
    Portal tables of the calls, named like the endpoints.
"""

from collections.abc import Mapping
from typing import Any, Final

from kisbt.kis.wire import fields as f
from kisbt.kis.wire.requests import (
    DailyChartQuery,
    DailyPricesQuery,
    FluctuationQuery,
    HolidayQuery,
    IndexChartQuery,
    IndexDaysQuery,
    IndexMinutesQuery,
    IndexQuery,
    InfoQuery,
    MinutesQuery,
    MultiPriceQuery,
    PastMinutesQuery,
    SymbolQuery,
    TimedTradesQuery,
    VolumeRankQuery,
)
from kisbt.kis.wire.rest import Bind, BlockMap, Param, RequestMap, RestCall
from kisbt.kis.wire.texts import (
    COUNT,
    DAY,
    FLAG,
    LOOSE_FLAG,
    NEEDED_DAY,
    NEEDED_TEXT,
    NEEDED_TIME,
    PLAIN,
    ROUNDED,
    TEXT,
    TIME,
    WHOLE,
    TextCodec,
    choices,
    decimals,
    lenient_choices,
)
from kisbt.model.instrument import Market, Product
from kisbt.model.quote import (
    Board,
    Chart,
    ChartHead,
    ChartRow,
    DayStatus,
    IndexDays,
    IndexValue,
    Level,
    MultiPrice,
    Period,
    Price,
    ProductInfo,
    Quote,
    RankRow,
    SymbolInfo,
    Trade,
    TradeList,
)

BOARD: Final = choices(Board, f.FID_COND_MRKT_DIV_CODE, default=Board.KRX)
PERIOD: Final = choices(Period, f.FID_PERIOD_DIV_CODE, default=Period.DAY)

LEVELS: Final = 10
"""Levels of an order book on each side."""

_SIGN: Final = "prdy_vrss_sign"


def _flag_codec(yes: str, no: str) -> TextCodec:
    return TextCodec(lambda text: text == yes, lambda value: yes if value else no)


# FID_ORG_ADJ_PRC: 0 means adjusted in the chart call, and 1 in the other one.
_ADJUSTED_CHART: Final = _flag_codec("0", "1")
_ADJUSTED_DAILY: Final = _flag_codec("1", "0")
_YES: Final = _flag_codec("Y", "N")


def _format_weekday(day: int) -> str:
    return f"{day:02}"


_WEEKDAY: Final = TextCodec(COUNT.parse, _format_weekday)


def _short_code(text: str) -> str:
    # Seen as twelve characters with the code at the end: 00000A005930.
    return text[-6:] if len(text) == 12 else text


_LONG_CODE: Final = TextCodec(_short_code, str)

_BOARD: Final = Param("board", "FID_COND_MRKT_DIV_CODE", BOARD, Board.KRX)
_SYMBOL: Final = Param("symbol", "FID_INPUT_ISCD", NEEDED_TEXT)
_INDEX: Final = Param("index", "FID_INPUT_ISCD", NEEDED_TEXT)
_UNTIL: Final = Param("until", "FID_INPUT_HOUR_1", NEEDED_TIME)
_EARLIER: Final = Param("earlier_days", "FID_PW_DATA_INCU_YN", _YES, False)
_SYMBOL_REQUEST: Final = RequestMap(value=SymbolQuery, params=(_BOARD, _SYMBOL))
_INDEX_MARKET: Final = {"FID_COND_MRKT_DIV_CODE": "U"}

PRICE: Final = RestCall[SymbolQuery, Price](
    name="inquire_price",
    request=_SYMBOL_REQUEST,
    blocks=(
        BlockMap(
            value=Price,
            binds=(
                Bind("status", "iscd_stat_cls_code", TEXT),
                Bind("market_name", "rprs_mrkt_kor_name", TEXT),
                Bind("sector", "bstp_kor_isnm", TEXT),
                Bind("suspended", "temp_stop_yn", LOOSE_FLAG),
                Bind("price", "stck_prpr", WHOLE),
                Bind("change", "prdy_vrss", WHOLE, sign=_SIGN),
                Bind("change_pct", "prdy_ctrt", decimals(2), sign=_SIGN),
                Bind("amount", "acml_tr_pbmn", WHOLE),
                Bind("volume", "acml_vol", WHOLE),
                Bind("open", "stck_oprc", WHOLE),
                Bind("high", "stck_hgpr", WHOLE),
                Bind("low", "stck_lwpr", WHOLE),
                Bind("upper_limit", "stck_mxpr", WHOLE),
                Bind("lower_limit", "stck_llam", WHOLE),
                Bind("base_price", "stck_sdpr", WHOLE),
                Bind("average_price", "wghn_avrg_stck_prc", decimals(2)),
                Bind("tick_size", "aspr_unit", WHOLE),
                Bind("listed_shares", "lstn_stcn", WHOLE),
                Bind("per", "per", decimals(2)),
                Bind("pbr", "pbr", decimals(2)),
                Bind("high_52w", "w52_hgpr", WHOLE),
                Bind("low_52w", "w52_lwpr", WHOLE),
                Bind("symbol", "stck_shrn_iscd", TEXT),
                Bind("vi", "vi_cls_code", TEXT),
                Bind("cautioned", "invt_caful_yn", LOOSE_FLAG),
                Bind("warning", "mrkt_warn_cls_code", TEXT),
                Bind("overheated", "short_over_yn", LOOSE_FLAG),
                Bind("liquidation", "sltr_yn", LOOSE_FLAG),
            ),
            constants={
                "marg_rate": "20.00",
                "oprc_rang_cont_yn": "N",
                "clpr_rang_cont_yn": "N",
                "crdt_able_yn": "Y",
                "elw_pblc_yn": "N",
                "hts_deal_qty_unit_val": "1",
                "ssts_yn": "N",
            },
        ),
    ),
)
"""Last price and the day so far.

An unknown symbol is answered with zeros, not with an error: look at `price`.
"""


def _levels(row: Mapping[str, Any], side: str) -> tuple[Level, ...]:
    pairs = ((row[f"{side}{n}"], row[f"{side}_size{n}"]) for n in _NUMBERS)
    return tuple(Level(price, size) for price, size in pairs if price)


def _join_quote(*, book: Mapping[str, Any], head: Mapping[str, Any]) -> Quote:
    return Quote(
        symbol=head["symbol"],
        time=book["time"],
        asks=_levels(book, "ask"),
        bids=_levels(book, "bid"),
        total_ask=book["total_ask"],
        total_bid=book["total_bid"],
        expected_price=head["expected_price"],
        expected_quantity=head["expected_quantity"],
        last_price=head["last_price"],
        open=head["open"],
        high=head["high"],
        low=head["low"],
        base_price=head["base_price"],
    )


def _split_quote(quote: Quote) -> Mapping[str, Any]:
    book: dict[str, Any] = {
        "time": quote.time,
        "total_ask": quote.total_ask,
        "total_bid": quote.total_bid,
    }
    for side, levels in (("ask", quote.asks), ("bid", quote.bids)):
        for n in _NUMBERS:
            level = levels[n - 1] if n <= len(levels) else Level(0, 0)
            book[f"{side}{n}"] = level.price
            book[f"{side}_size{n}"] = level.quantity
    return {"book": book, "head": _head_of(quote)}


def _head_of(quote: Quote) -> dict[str, Any]:
    names = (bind.attr for bind in _QUOTE_HEAD)
    return {name: getattr(quote, name) for name in names}


_NUMBERS: Final = range(1, LEVELS + 1)
_QUOTE_HEAD: Final = (
    Bind("last_price", "stck_prpr", WHOLE),
    Bind("open", "stck_oprc", WHOLE),
    Bind("high", "stck_hgpr", WHOLE),
    Bind("low", "stck_lwpr", WHOLE),
    Bind("base_price", "stck_sdpr", WHOLE),
    Bind("expected_price", "antc_cnpr", WHOLE),
    Bind("expected_quantity", "antc_vol", WHOLE),
    Bind("symbol", "stck_shrn_iscd", TEXT),
)

QUOTE: Final = RestCall[SymbolQuery, Quote](
    name="inquire_asking_price_exp_ccn",
    request=_SYMBOL_REQUEST,
    result=_join_quote,
    split=_split_quote,
    blocks=(
        BlockMap(
            value=dict,
            attr="book",
            binds=(
                Bind("time", "aspr_acpt_hour", TIME),
                *(Bind(f"ask{n}", f"askp{n}", WHOLE) for n in _NUMBERS),
                *(Bind(f"bid{n}", f"bidp{n}", WHOLE) for n in _NUMBERS),
                *(Bind(f"ask_size{n}", f"askp_rsqn{n}", WHOLE) for n in _NUMBERS),
                *(Bind(f"bid_size{n}", f"bidp_rsqn{n}", WHOLE) for n in _NUMBERS),
                Bind("total_ask", "total_askp_rsqn", WHOLE),
                Bind("total_bid", "total_bidp_rsqn", WHOLE),
            ),
            constants={"new_mkop_cls_code": "20"},
        ),
        BlockMap(
            value=dict,
            attr="head",
            binds=_QUOTE_HEAD,
            constants={"vi_cls_code": "N"},
        ),
    ),
)
"""Order book of ten levels, and the price an auction would make now."""

TRADES: Final = RestCall[SymbolQuery, tuple[Trade, ...]](
    name="inquire_ccnl",
    request=_SYMBOL_REQUEST,
    blocks=(
        BlockMap(
            value=Trade,
            binds=(
                Bind("time", "stck_cntg_hour", NEEDED_TIME),
                Bind("price", "stck_prpr", WHOLE),
                Bind("change", "prdy_vrss", WHOLE, sign=_SIGN),
                Bind("quantity", "cntg_vol", WHOLE),
                Bind("strength", "tday_rltv", decimals(2)),
                Bind("change_pct", "prdy_ctrt", decimals(2), sign=_SIGN),
            ),
            skip_without="stck_cntg_hour",
        ),
    ),
)
"""The last thirty trades, newest first."""


def _head(*binds: Bind) -> BlockMap:
    return BlockMap(value=ChartHead, attr="head", binds=binds)


_DAY_SO_FAR: Final = (
    Bind("change", "prdy_vrss", PLAIN, sign=_SIGN),
    Bind("change_pct", "prdy_ctrt", decimals(2), sign=_SIGN),
    Bind("volume", "acml_vol", WHOLE),
    Bind("price", "stck_prpr", PLAIN),
)
_STOCK_HEAD: Final = (
    *_DAY_SO_FAR,
    Bind("previous_close", "stck_prdy_clpr", PLAIN),
    Bind("amount", "acml_tr_pbmn", WHOLE),
    Bind("name", "hts_kor_isnm", TEXT),
)


def _trades_head(**values: Any) -> ChartHead:
    return ChartHead(name="", previous_close=0.0, amount=0, **values)


TIMED_TRADES: Final = RestCall[TimedTradesQuery, TradeList](
    name="inquire_time_itemconclusion",
    request=RequestMap(value=TimedTradesQuery, params=(_BOARD, _SYMBOL, _UNTIL)),
    result=TradeList,
    blocks=(
        BlockMap(
            value=_trades_head,
            attr="head",
            binds=(*_DAY_SO_FAR, Bind("previous_volume", "prdy_vol", WHOLE)),
        ),
        BlockMap(
            value=Trade,
            attr="rows",
            binds=(
                Bind("time", "stck_cntg_hour", NEEDED_TIME),
                # The portal's table says pbpr where every other call says prpr.
                Bind("price", "stck_pbpr", WHOLE, ("stck_prpr",)),
                Bind("change", "prdy_vrss", WHOLE, sign=_SIGN),
                Bind("change_pct", "prdy_ctrt", decimals(2), sign=_SIGN),
                Bind("ask", "askp", WHOLE),
                Bind("bid", "bidp", WHOLE),
                Bind("strength", "tday_rltv", decimals(2)),
                Bind("total_quantity", "acml_vol", WHOLE),
                Bind("quantity", "cnqn", WHOLE),
            ),
            skip_without="stck_cntg_hour",
        ),
    ),
)
"""Trades of today up to a time, newest first."""


def _daily_row(**values: Any) -> ChartRow:
    return ChartRow(**{"amount": 0, **values})


_DAY: Final = Bind("day", "stck_bsop_date", NEEDED_DAY)
_OHL: Final = (
    Bind("open", "stck_oprc", PLAIN),
    Bind("high", "stck_hgpr", PLAIN),
    Bind("low", "stck_lwpr", PLAIN),
)

DAILY_PRICES: Final = RestCall[DailyPricesQuery, tuple[ChartRow, ...]](
    name="inquire_daily_price",
    request=RequestMap(
        value=DailyPricesQuery,
        params=(
            _BOARD,
            _SYMBOL,
            Param("period", "FID_PERIOD_DIV_CODE", PERIOD, Period.DAY),
            Param("adjusted", "FID_ORG_ADJ_PRC", _ADJUSTED_DAILY, False),
        ),
    ),
    blocks=(
        BlockMap(
            value=_daily_row,
            binds=(
                _DAY,
                *_OHL,
                Bind("close", "stck_clpr", PLAIN),
                Bind("volume", "acml_vol", WHOLE),
                Bind("change", "prdy_vrss", PLAIN, sign=_SIGN),
                Bind("rebase_code", "flng_cls_code", TEXT),
                Bind("rebase_ratio", "acml_prtt_rate", decimals(2)),
            ),
            skip_without="stck_bsop_date",
        ),
    ),
)
"""The last thirty days, weeks or months, newest first."""

DAILY_CHART: Final = RestCall[DailyChartQuery, Chart](
    name="inquire_daily_itemchartprice",
    request=RequestMap(
        value=DailyChartQuery,
        params=(
            _BOARD,
            _SYMBOL,
            Param("first", "FID_INPUT_DATE_1", DAY, None),
            Param("last", "FID_INPUT_DATE_2", DAY, None),
            Param("period", "FID_PERIOD_DIV_CODE", PERIOD, Period.DAY),
            Param("adjusted", "FID_ORG_ADJ_PRC", _ADJUSTED_CHART, True),
        ),
    ),
    result=Chart,
    blocks=(
        _head(
            *_STOCK_HEAD,
            Bind("symbol", "stck_shrn_iscd", TEXT),
            Bind("previous_volume", "prdy_vol", WHOLE),
            Bind("upper_limit", "stck_mxpr", WHOLE),
            Bind("lower_limit", "stck_llam", WHOLE),
            *_OHL,
            Bind("listed_shares", "lstn_stcn", WHOLE),
        ),
        BlockMap(
            value=ChartRow,
            attr="rows",
            binds=(
                _DAY,
                Bind("close", "stck_clpr", PLAIN),
                *_OHL,
                Bind("volume", "acml_vol", WHOLE),
                Bind("amount", "acml_tr_pbmn", WHOLE),
                Bind("rebase_code", "flng_cls_code", TEXT),
                Bind("rebase_ratio", "prtt_rate", decimals(2)),
                Bind("rebased", "mod_yn", LOOSE_FLAG),
                Bind("change", "prdy_vrss", PLAIN, sign=_SIGN),
            ),
            skip_without="stck_bsop_date",
        ),
    ),
)
"""Days, weeks, months or years, the newest hundred of a range, newest first.

During a session the first row is the running day.
"""

_MINUTE_ROWS: Final = BlockMap(
    value=ChartRow,
    attr="rows",
    binds=(
        _DAY,
        Bind("start", "stck_cntg_hour", NEEDED_TIME),
        Bind("close", "stck_prpr", PLAIN),
        *_OHL,
        Bind("volume", "cntg_vol", WHOLE),
        Bind("amount", "acml_tr_pbmn", WHOLE),
    ),
    skip_without="stck_bsop_date",
)

MINUTES: Final = RestCall[MinutesQuery, Chart](
    name="inquire_time_itemchartprice",
    request=RequestMap(value=MinutesQuery, params=(_BOARD, _SYMBOL, _UNTIL, _EARLIER)),
    result=Chart,
    blocks=(_head(*_STOCK_HEAD), _MINUTE_ROWS),
)
"""Thirty minutes of today up to a time, newest first, labelled by their start."""

PAST_MINUTES: Final = RestCall[PastMinutesQuery, Chart](
    name="inquire_time_dailychartprice",
    request=RequestMap(
        value=PastMinutesQuery,
        params=(
            _BOARD,
            _SYMBOL,
            _UNTIL,
            Param("day", "FID_INPUT_DATE_1", NEEDED_DAY),
            _EARLIER,
        ),
        fixed={"FID_FAKE_TICK_INCU_YN": "N"},
    ),
    result=Chart,
    blocks=(_head(*_STOCK_HEAD), _MINUTE_ROWS),
)
"""120 minutes of a day up to a time, newest first; real server only."""


def _index_head(upper: bool) -> BlockMap:
    names = {
        "change": "bstp_nmix_prdy_vrss",
        "change_pct": "bstp_nmix_prdy_ctrt",
        "previous_close": "prdy_nmix",
        "volume": "acml_vol",
        "amount": "acml_tr_pbmn",
        "name": "hts_kor_isnm",
        "price": "bstp_nmix_prpr",
        "previous_volume": "prdy_vol",
        "open": "bstp_nmix_oprc",
        "high": "bstp_nmix_hgpr",
        "low": "bstp_nmix_lwpr",
    }
    kinds = dict.fromkeys(("volume", "amount", "previous_volume"), WHOLE)
    kinds["name"] = TEXT
    return _head(
        *(
            Bind(
                attr,
                name.upper() if upper else name,
                kinds.get(attr, decimals(2)),
                sign=_SIGN if attr.startswith("change") else "",
            )
            for attr, name in names.items()
        )
    )


_POINTS: Final = decimals(2)

INDEX_CHART: Final = RestCall[IndexChartQuery, Chart](
    name="inquire_daily_indexchartprice",
    request=RequestMap(
        value=IndexChartQuery,
        params=(
            _INDEX,
            Param("first", "FID_INPUT_DATE_1", DAY, None),
            Param("last", "FID_INPUT_DATE_2", DAY, None),
            Param("period", "FID_PERIOD_DIV_CODE", PERIOD, Period.DAY),
        ),
        fixed=_INDEX_MARKET,
    ),
    result=Chart,
    blocks=(
        _index_head(upper=True),
        BlockMap(
            value=ChartRow,
            attr="rows",
            binds=(
                Bind("day", "STCK_BSOP_DATE", NEEDED_DAY),
                Bind("close", "BSTP_NMIX_PRPR", _POINTS),
                Bind("open", "BSTP_NMIX_OPRC", _POINTS),
                Bind("high", "BSTP_NMIX_HGPR", _POINTS),
                Bind("low", "BSTP_NMIX_LWPR", _POINTS),
                Bind("volume", "ACML_VOL", WHOLE),
                Bind("amount", "ACML_TR_PBMN", WHOLE),
                Bind("rebased", "MOD_YN", LOOSE_FLAG),
            ),
            skip_without="STCK_BSOP_DATE",
        ),
    ),
)
"""Days, weeks, months or years of an index, newest first."""

_INDEX_NOW: Final = (
    Bind("value", "bstp_nmix_prpr", _POINTS),
    Bind("change", "bstp_nmix_prdy_vrss", _POINTS, sign=_SIGN),
    Bind("change_pct", "bstp_nmix_prdy_ctrt", _POINTS, sign=_SIGN),
    Bind("volume", "acml_vol", WHOLE),
    Bind("amount", "acml_tr_pbmn", WHOLE),
    Bind("open", "bstp_nmix_oprc", _POINTS),
    Bind("high", "bstp_nmix_hgpr", _POINTS),
    Bind("low", "bstp_nmix_lwpr", _POINTS),
    Bind("rising", "ascn_issu_cnt", WHOLE),
    Bind("unchanged", "stnr_issu_cnt", WHOLE),
    Bind("falling", "down_issu_cnt", WHOLE),
)

INDEX_VALUE: Final = RestCall[IndexQuery, IndexValue](
    name="inquire_index_price",
    request=RequestMap(value=IndexQuery, params=(_INDEX,), fixed=_INDEX_MARKET),
    blocks=(BlockMap(value=IndexValue, binds=_INDEX_NOW),),
)
"""An index now; real server only."""

INDEX_DAYS: Final = RestCall[IndexDaysQuery, IndexDays](
    name="inquire_index_daily_price",
    request=RequestMap(
        value=IndexDaysQuery,
        params=(
            _INDEX,
            Param("period", "FID_PERIOD_DIV_CODE", PERIOD, Period.DAY),
            Param("last", "FID_INPUT_DATE_1", DAY, None),
        ),
        fixed=_INDEX_MARKET,
    ),
    result=IndexDays,
    blocks=(
        BlockMap(value=IndexValue, attr="now", binds=_INDEX_NOW),
        BlockMap(
            value=ChartRow,
            attr="rows",
            binds=(
                _DAY,
                Bind("close", "bstp_nmix_prpr", _POINTS),
                Bind("change", "bstp_nmix_prdy_vrss", _POINTS, sign=_SIGN),
                Bind("open", "bstp_nmix_oprc", _POINTS),
                Bind("high", "bstp_nmix_hgpr", _POINTS),
                Bind("low", "bstp_nmix_lwpr", _POINTS),
                Bind("volume", "acml_vol", WHOLE),
                Bind("amount", "acml_tr_pbmn", WHOLE),
            ),
            skip_without="stck_bsop_date",
        ),
    ),
)
"""The last hundred values of an index, newest first; real server only."""

INDEX_MINUTES: Final = RestCall[IndexMinutesQuery, Chart](
    name="inquire_time_indexchartprice",
    request=RequestMap(
        value=IndexMinutesQuery,
        params=(
            _INDEX,
            Param("without_close", "FID_ETC_CLS_CODE", _flag_codec("1", "0"), False),
            Param("seconds", "FID_INPUT_HOUR_1", COUNT),
            _EARLIER,
        ),
        fixed=_INDEX_MARKET,
    ),
    result=Chart,
    blocks=(
        _index_head(upper=False),
        BlockMap(
            value=ChartRow,
            attr="rows",
            binds=(
                _DAY,
                Bind("start", "stck_cntg_hour", NEEDED_TIME),
                Bind("close", "bstp_nmix_prpr", _POINTS),
                Bind("open", "bstp_nmix_oprc", _POINTS),
                Bind("high", "bstp_nmix_hgpr", _POINTS),
                Bind("low", "bstp_nmix_lwpr", _POINTS),
                Bind("volume", "cntg_vol", WHOLE),
                Bind("amount", "acml_tr_pbmn", WHOLE),
            ),
            skip_without="stck_bsop_date",
        ),
    ),
)
"""Minutes of an index, newest first; real server only."""

HOLIDAYS: Final = RestCall[HolidayQuery, tuple[DayStatus, ...]](
    name="chk_holiday",
    request=RequestMap(
        value=HolidayQuery, params=(Param("first", "BASS_DT", DAY, None),)
    ),
    blocks=(
        BlockMap(
            value=DayStatus,
            binds=(
                Bind("day", "bass_dt", NEEDED_DAY),
                Bind("weekday", "wday_dvsn_cd", _WEEKDAY),
                Bind("business", "bzdy_yn", LOOSE_FLAG),
                Bind("trading", "tr_day_yn", LOOSE_FLAG),
                Bind("open", "opnd_yn", FLAG),
                Bind("settles", "sttl_day_yn", LOOSE_FLAG),
            ),
        ),
    ),
)
"""Dates from one on, and whether the market opens; real server, once a day."""

SYMBOL_INFO: Final = RestCall[InfoQuery, SymbolInfo](
    name="search_stock_info",
    request=RequestMap(
        value=InfoQuery,
        params=(
            Param("product_type", "PRDT_TYPE_CD", TEXT, f.STOCK_PRODUCT_TYPE),
            Param("symbol", "PDNO", NEEDED_TEXT),
        ),
    ),
    blocks=(
        BlockMap(
            value=SymbolInfo,
            binds=(
                Bind("symbol", "pdno", _LONG_CODE),
                Bind("market", "mket_id_cd", lenient_choices(Market, f.MKET_ID_CD)),
                Bind(
                    "product",
                    "scty_grp_id_cd",
                    lenient_choices(Product, f.SCTY_GRP_ID_CD),
                ),
                Bind("listed_shares", "lstg_stqt", WHOLE),
                Bind("par_value", "papr", ROUNDED),
                Bind("listed_kospi", "scts_mket_lstg_dt", DAY),
                Bind("listed_kosdaq", "kosdaq_mket_lstg_dt", DAY),
                Bind("name", "prdt_name", TEXT),
                Bind("short_name", "prdt_abrv_name", TEXT),
                Bind("standard_code", "std_pdno", TEXT),
                Bind("english_name", "prdt_eng_name", TEXT),
                Bind("delisted", "lstg_abol_dt", DAY),
                Bind("suspended", "tr_stop_yn", LOOSE_FLAG),
                Bind("supervised", "admn_item_yn", LOOSE_FLAG),
                Bind("previous_close", "bfdy_clpr", WHOLE),
                Bind("sector", "idx_bztp_scls_cd_name", TEXT),
                Bind("nxt", "cptt_trad_tr_psbl_yn", LOOSE_FLAG),
                Bind("nxt_suspended", "nxt_tr_stop_yn", LOOSE_FLAG),
            ),
            constants={"prdt_type_cd": f.STOCK_PRODUCT_TYPE, "excg_dvsn_cd": "02"},
        ),
    ),
)
"""Master data of a share; real server only."""

PRODUCT_INFO: Final = RestCall[InfoQuery, ProductInfo](
    name="search_info",
    request=RequestMap(
        value=InfoQuery,
        params=(
            Param("symbol", "PDNO", NEEDED_TEXT),
            Param("product_type", "PRDT_TYPE_CD", TEXT, f.STOCK_PRODUCT_TYPE),
        ),
    ),
    blocks=(
        BlockMap(
            value=ProductInfo,
            binds=(
                Bind("symbol", "shtn_pdno", TEXT),
                Bind("standard_code", "std_pdno", TEXT),
                Bind("name", "prdt_name", TEXT),
                Bind("short_name", "prdt_abrv_name", TEXT),
                Bind("english_name", "prdt_eng_name", TEXT),
                Bind("kind", "prdt_clsf_name", TEXT),
            ),
            constants={"prdt_type_cd": f.STOCK_PRODUCT_TYPE},
        ),
    ),
)
"""Short master data of any product; real server only."""

VOLUME_RANK: Final = RestCall[VolumeRankQuery, tuple[RankRow, ...]](
    name="volume_rank",
    request=RequestMap(
        value=VolumeRankQuery,
        params=(
            _BOARD,
            Param("sector", "FID_INPUT_ISCD", TEXT, "0000"),
            Param("shares", "FID_DIV_CLS_CODE", TEXT, "0"),
            Param("by", "FID_BLNG_CLS_CODE", TEXT, "0"),
            Param("lowest", "FID_INPUT_PRICE_1", COUNT, None),
            Param("highest", "FID_INPUT_PRICE_2", COUNT, None),
            Param("least_volume", "FID_VOL_CNT", COUNT, None),
        ),
        fixed={
            "FID_COND_SCR_DIV_CODE": "20171",
            "FID_TRGT_CLS_CODE": "1" * 9,
            "FID_TRGT_EXLS_CLS_CODE": "0" * 10,
        },
    ),
    blocks=(
        BlockMap(
            value=RankRow,
            binds=(
                Bind("name", "hts_kor_isnm", TEXT),
                Bind("symbol", "mksc_shrn_iscd", NEEDED_TEXT),
                Bind("rank", "data_rank", WHOLE),
                Bind("price", "stck_prpr", WHOLE),
                Bind("change", "prdy_vrss", WHOLE, sign=_SIGN),
                Bind("change_pct", "prdy_ctrt", decimals(2), sign=_SIGN),
                Bind("volume", "acml_vol", WHOLE),
                Bind("amount", "acml_tr_pbmn", WHOLE),
            ),
        ),
    ),
)
"""The thirty most traded symbols; real server only."""


def _rank_row(**values: Any) -> RankRow:
    return RankRow(amount=0, **values)


FLUCTUATION: Final = RestCall[FluctuationQuery, tuple[RankRow, ...]](
    name="fluctuation",
    request=RequestMap(
        value=FluctuationQuery,
        params=(
            Param("board", "fid_cond_mrkt_div_code", BOARD, Board.KRX),
            Param("sector", "fid_input_iscd", TEXT, "0000"),
            Param("by", "fid_rank_sort_cls_code", TEXT, "0"),
            Param("shares", "fid_div_cls_code", TEXT, "0"),
            Param("days", "fid_input_cnt_1", COUNT, 0),
            Param("lowest", "fid_input_price_1", COUNT, None),
            Param("highest", "fid_input_price_2", COUNT, None),
            Param("least_volume", "fid_vol_cnt", COUNT, None),
        ),
        fixed={
            "fid_cond_scr_div_code": "20170",
            "fid_trgt_cls_code": "0",
            "fid_trgt_exls_cls_code": "0",
            "fid_prc_cls_code": "1",
        },
    ),
    blocks=(
        BlockMap(
            value=_rank_row,
            binds=(
                Bind("symbol", "stck_shrn_iscd", NEEDED_TEXT),
                Bind("rank", "data_rank", WHOLE),
                Bind("name", "hts_kor_isnm", TEXT),
                Bind("price", "stck_prpr", WHOLE),
                Bind("change", "prdy_vrss", WHOLE, sign=_SIGN),
                Bind("change_pct", "prdy_ctrt", decimals(2), sign=_SIGN),
                Bind("volume", "acml_vol", WHOLE),
            ),
        ),
    ),
)
"""The thirty symbols whose price changed most; real server only."""

MULTI_LIMIT: Final = 30
"""Symbols of one `MULTI_PRICE` call."""

_MULTI_BOARD: Final = "FID_COND_MRKT_DIV_CODE_"
_MULTI_SYMBOL: Final = "FID_INPUT_ISCD_"


def _write_multi(request: MultiPriceQuery) -> dict[str, str]:
    board = BOARD.format(request.board)
    found = {}
    for n, symbol in enumerate(request.symbols, start=1):
        found[f"{_MULTI_BOARD}{n}"] = board
        found[f"{_MULTI_SYMBOL}{n}"] = symbol
    return found


def _read_multi(texts: Mapping[str, str]) -> dict[str, Any]:
    symbols = tuple(
        symbol
        for n in range(1, MULTI_LIMIT + 1)
        if (symbol := texts.get(f"{_MULTI_SYMBOL}{n}", ""))
    )
    if not symbols:
        raise ValueError(f"{_MULTI_SYMBOL}1 is missing")
    return {"symbols": symbols, "board": BOARD.parse(texts.get(f"{_MULTI_BOARD}1", ""))}


MULTI_PRICE: Final = RestCall[MultiPriceQuery, tuple[MultiPrice, ...]](
    name="intstock_multprice",
    request=RequestMap(value=MultiPriceQuery, write=_write_multi, read=_read_multi),
    blocks=(
        BlockMap(
            value=MultiPrice,
            binds=(
                Bind("symbol", "inter_shrn_iscd", TEXT),
                Bind("name", "inter_kor_isnm", TEXT),
                Bind("price", "inter2_prpr", WHOLE),
                Bind("change", "inter2_prdy_vrss", WHOLE, sign=_SIGN),
                Bind("change_pct", "prdy_ctrt", decimals(2), sign=_SIGN),
                Bind("volume", "acml_vol", WHOLE),
                Bind("open", "inter2_oprc", WHOLE),
                Bind("high", "inter2_hgpr", WHOLE),
                Bind("low", "inter2_lwpr", WHOLE),
                Bind("lower_limit", "inter2_llam", WHOLE),
                Bind("upper_limit", "inter2_mxpr", WHOLE),
                Bind("ask", "inter2_askp", WHOLE),
                Bind("bid", "inter2_bidp", WHOLE),
                Bind("amount", "acml_tr_pbmn", WHOLE),
                Bind("base_price", "inter2_sdpr", WHOLE),
            ),
            skip_without="inter_shrn_iscd",
        ),
    ),
)
"""Prices of up to thirty symbols; real server only."""
