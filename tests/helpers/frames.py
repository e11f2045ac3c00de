"""Values of the stream for tests."""

from dataclasses import replace
from datetime import datetime, time
from typing import Any

from kisbt.kis.wire.texts import KST
from kisbt.model.order import Notice, NoticeAction, NoticeKind, OrderKind, Side, Venue
from kisbt.model.quote import Board, Level, MarketClass, Price, Quote, Tick


def a_tick(**changes: Any) -> Tick:
    tick = Tick(
        symbol="005930",
        at=datetime(2026, 9, 11, 10, 5, 12, tzinfo=KST),
        price=71_500,
        quantity=12,
        total_quantity=12_345_678,
        ask=71_600,
        bid=71_500,
        taker=Side.BUY,
        market_class=MarketClass.UNKNOWN,
        board=Board.KRX,
    )
    return tick._replace(**changes)


def a_quote(**changes: Any) -> Quote:
    quote = Quote(
        symbol="005930",
        time=time(10, 5, 12),
        asks=tuple(Level(71_600 + 100 * n, 100 + n) for n in range(10)),
        bids=tuple(Level(71_500 - 100 * n, 200 + n) for n in range(10)),
        total_ask=1045,
        total_bid=2045,
        volume=12_345_678,
    )
    return replace(quote, **changes)


def a_notice(**changes: Any) -> Notice:
    notice = Notice(
        account="1234567801",
        number="0000038614",
        original_number="",
        side=Side.BUY,
        kind=NoticeKind.FILLED,
        action=NoticeAction.NEW,
        order_kind=OrderKind.LIMIT,
        symbol="005930",
        name="삼성전자",
        quantity=4,
        price=71_500,
        time=time(10, 5, 14),
        branch="00950",
        order_quantity=10,
        order_price=71_500,
        venue=Venue.KRX,
        customer="myhtsid",
        holder="홍길동",
    )
    return replace(notice, **changes)


def a_price(**changes: Any) -> Price:
    price = Price(
        symbol="005930",
        price=71_500,
        change=-500,
        change_pct=-0.69,
        open=71_000,
        high=71_900,
        low=70_800,
        volume=12_345_678,
        amount=882_716_000_000,
        base_price=72_000,
        upper_limit=93_600,
        lower_limit=50_400,
        tick_size=100,
        average_price=71_420.15,
    )
    return replace(price, **changes)
