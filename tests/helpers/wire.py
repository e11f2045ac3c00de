"""KIS answers for tests: the samples, and bodies built from the field tables."""

import json
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

from kisbt.kis.wire.calls import CALLS
from kisbt.kis.wire.fields import Block, Kind
from kisbt.kis.wire.requests import (
    BalanceQuery,
    BuyingPowerQuery,
    Change,
    ChangeOrder,
    DailyChartQuery,
    DailyPricesQuery,
    Filled,
    FluctuationQuery,
    HolidayQuery,
    IndexChartQuery,
    IndexDaysQuery,
    IndexMinutesQuery,
    IndexQuery,
    InfoQuery,
    MinutesQuery,
    MultiPriceQuery,
    OpenOrdersQuery,
    OrdersQuery,
    PastMinutesQuery,
    PlaceOrder,
    ProfitQuery,
    Reach,
    SellableQuery,
    SymbolQuery,
    TimedTradesQuery,
    VolumeRankQuery,
)
from kisbt.kis.wire.rest import BlockMap, RestCall
from kisbt.model.account import Account
from kisbt.model.order import OrderKind, Side, Venue
from kisbt.model.quote import Board, Period

DATA = Path(__file__).parents[1] / "data" / "kis"
FIELDS: dict[str, Any] = json.loads((DATA / "fields.json").read_text("utf-8"))
ACCOUNT = Account("12345678", "01")

_DAY, _LAST, _TIME = date(2026, 7, 1), date(2026, 7, 6), time(10, 5)

REQUESTS: tuple[tuple[str, Any], ...] = (
    (
        "order_cash",
        PlaceOrder(
            account=ACCOUNT,
            side=Side.BUY,
            symbol="005930",
            kind=OrderKind.LIMIT,
            quantity=10,
            price=71_500,
        ),
    ),
    (
        "order_cash",
        PlaceOrder(
            account=ACCOUNT,
            side=Side.SELL,
            symbol="Q500001",
            kind=OrderKind.STOP_LIMIT,
            quantity=1,
            price=71_500,
            stop_price=71_600,
            venue=Venue.NXT,
            sell_type="01",
        ),
    ),
    (
        "order_rvsecncl",
        ChangeOrder(
            account=ACCOUNT,
            change=Change.AMEND,
            branch="06010",
            number="0000123456",
            kind=OrderKind.LIMIT,
            quantity=4,
            price=71_400,
            whole=False,
        ),
    ),
    (
        "order_rvsecncl",
        ChangeOrder(
            account=ACCOUNT,
            change=Change.CANCEL,
            branch="",
            number="0000123456",
            kind=OrderKind.AFTER_BEST,
            quantity=0,
            price=0,
            whole=True,
            venue=Venue.SOR,
        ),
    ),
    ("inquire_psbl_rvsecncl", OpenOrdersQuery(account=ACCOUNT, side_code="2")),
    (
        "inquire_daily_ccld",
        OrdersQuery(account=ACCOUNT, first=_DAY, last=_LAST, venue=None),
    ),
    (
        "inquire_daily_ccld",
        OrdersQuery(
            account=ACCOUNT,
            first=_DAY,
            last=_LAST,
            reach=Reach.OLDER,
            side=Side.SELL,
            symbol="005930",
            branch="06010",
            number="0000123456",
            filled=Filled.UNFILLED,
            oldest_first=True,
        ),
    ),
    ("inquire_balance", BalanceQuery(account=ACCOUNT)),
    (
        "inquire_balance",
        BalanceQuery(
            account=ACCOUNT,
            price_basis="X",
            by_loan_date=True,
            without_previous_day=True,
        ),
    ),
    ("inquire_psbl_order", BuyingPowerQuery(account=ACCOUNT, symbol="005930")),
    (
        "inquire_psbl_order",
        BuyingPowerQuery(
            account=ACCOUNT, symbol="", kind=OrderKind.LIMIT, price=71_500
        ),
    ),
    ("inquire_psbl_sell", SellableQuery(account=ACCOUNT, symbol="005930")),
    (
        "inquire_period_trade_profit",
        ProfitQuery(account=ACCOUNT, first=_DAY, last=_LAST, symbol="005930"),
    ),
    (
        "inquire_period_profit",
        ProfitQuery(account=ACCOUNT, first=_DAY, last=_LAST, oldest_first=True),
    ),
    ("inquire_price", SymbolQuery(symbol="005930", board=Board.UNIFIED)),
    ("inquire_asking_price_exp_ccn", SymbolQuery(symbol="005930")),
    ("inquire_ccnl", SymbolQuery(symbol="005930", board=Board.NXT)),
    ("inquire_time_itemconclusion", TimedTradesQuery(symbol="005930", until=_TIME)),
    ("inquire_daily_price", DailyPricesQuery(symbol="005930")),
    (
        "inquire_daily_price",
        DailyPricesQuery(symbol="005930", period=Period.WEEK, adjusted=False),
    ),
    (
        "inquire_daily_itemchartprice",
        DailyChartQuery(symbol="005930", first=_DAY, last=_LAST),
    ),
    (
        "inquire_daily_itemchartprice",
        DailyChartQuery(
            symbol="005930",
            first=None,
            last=None,
            period=Period.YEAR,
            adjusted=False,
        ),
    ),
    (
        "inquire_time_itemchartprice",
        MinutesQuery(symbol="005930", until=_TIME, earlier_days=True),
    ),
    (
        "inquire_time_dailychartprice",
        PastMinutesQuery(symbol="005930", day=_DAY, until=_TIME),
    ),
    (
        "inquire_daily_indexchartprice",
        IndexChartQuery(index="0001", first=_DAY, last=_LAST, period=Period.MONTH),
    ),
    ("inquire_index_price", IndexQuery(index="1001")),
    ("inquire_index_daily_price", IndexDaysQuery(index="0001", last=_LAST)),
    (
        "inquire_time_indexchartprice",
        IndexMinutesQuery(index="0001", seconds=600, without_close=True),
    ),
    ("chk_holiday", HolidayQuery(first=_DAY)),
    ("search_stock_info", InfoQuery(symbol="005930")),
    ("search_info", InfoQuery(symbol="005930")),
    ("volume_rank", VolumeRankQuery(by="3", lowest=1000)),
    ("intstock_multprice", MultiPriceQuery(symbols=("005930", "000660"))),
    ("fluctuation", FluctuationQuery(sector="0001", days=3, highest=50_000)),
)


@dataclass(frozen=True)
class Sample:
    """One of the sample answers."""

    name: str
    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return json.dumps(self.body, ensure_ascii=False)


def read_sample(name: str) -> Sample:
    content = json.loads((DATA / "samples" / f"{name}.json").read_text("utf-8"))
    return Sample(
        name, content["http_status"], content["response_headers"], content["body"]
    )


def sample_names() -> list[str]:
    names = sorted(path.stem for path in (DATA / "samples").glob("*.json"))
    return [name for name in names if name != "websocket_frames"]


def frames() -> dict[str, Any]:
    path = DATA / "samples" / "websocket_frames.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


_BY_KIND = {
    Kind.INTEGER: "1234",
    Kind.DECIMAL: "71500",
    Kind.DATE: "20260706",
    Kind.TIME: "100512",
    Kind.FLAG: "Y",
    Kind.CODE: "02",
    Kind.TEXT: "삼성전자",
    Kind.OTHER: "12",
}
_OTHER_TEXTS = ("02", "00", "KRX", "STK", "ST", "1234")


def _text_for(mapping: BlockMap, name: str, kind: Kind) -> str:
    binds = [bind for bind in mapping.binds if bind.name == name]
    for text in (_BY_KIND[kind], *_OTHER_TEXTS):
        try:
            for bind in binds:
                bind.text.parse(text)
        except ValueError:
            continue
        return text
    raise AssertionError(name)


def _row(mapping: BlockMap, spec: Block) -> dict[str, str]:
    row = {item.name: _text_for(mapping, item.name, item.kind) for item in spec.fields}
    for bind in mapping.binds:
        for item in spec.fields:
            if bind.sign and item.name.lower() == bind.sign:
                row[item.name] = "5"
    return row


def full_body(call: RestCall[Any, Any], *, rows: int = 2) -> dict[str, Any]:
    """Return an answer in which every field of the tables holds something."""
    body: dict[str, Any] = {"rt_cd": "0", "msg_cd": "MCA00000", "msg1": "ok "}
    for mapping, spec in zip(call.blocks, call.endpoint.fields.response, strict=True):
        row = _row(mapping, spec)
        count = 1 if mapping.single else rows
        body[spec.name] = (
            [dict(row) for _row_no in range(count)] if spec.is_list else row
        )
    return body


def all_calls() -> list[RestCall[Any, Any]]:
    return [CALLS[name] for name in sorted(CALLS)]
