"""Candles of ticks: labels, auctions, lateness, gaps, polls, the broker's chart."""

import random
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kisbt.candles.columns import VALUES, CandleColumns
from kisbt.candles.live import Batch, CandleBuilder
from kisbt.candles.resample import resample
from kisbt.candles.store import CandleStore
from kisbt.clock import KST
from kisbt.emulator.scenario import Replay, walk_points
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import DAILY, MINUTE, Candle, Interval
from kisbt.model.quote import MarketClass, MultiPrice, Tick

SAMPLE = Path(__file__).parents[3] / "data"
DAY = date(2025, 12, 29)
SYMBOLS = ("990001", "990002")
CALENDAR = default_calendar()


def at(text: str, day: date = DAY) -> datetime:
    hour, minute, second = (int(part) for part in text.split(":"))
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=KST)


def tick(
    time: str,
    price: int,
    quantity: int = 10,
    total: int = 0,
    *,
    symbol: str = "990001",
    market_class: MarketClass = MarketClass.REGULAR,
    day: date = DAY,
) -> Tick:
    moment = at(time, day)
    return Tick(symbol, moment, price, quantity, total, 0, 0, None, market_class)


def builder(**how: Any) -> CandleBuilder:
    return CandleBuilder(CALENDAR, SYMBOLS, **{"grace_s": 1.5, **how})


def values(candle: Candle) -> tuple[float, ...]:
    return tuple(getattr(candle, name) for name in VALUES)


def only(batches: list[Batch]) -> Batch:
    assert len(batches) == 1
    return batches[0]


# Labels.


@pytest.mark.parametrize(
    ("time", "end"),
    [
        ("08:59:59", None),
        ("09:00:00", "09:01:00"),
        ("09:00:28", "09:01:00"),  # an opening auction that ended late
        ("09:00:59", "09:01:00"),
        ("09:01:00", "09:02:00"),
        ("15:19:59", "15:20:00"),
        ("15:29:59", "15:30:00"),
        ("15:30:00", "15:30:00"),  # the closing auction
        ("15:30:29", "15:30:00"),
        ("15:30:31", None),
        ("15:45:00", None),
    ],
)
def test_a_trade_belongs_to_the_candle_of_its_minute(
    time: str, end: str | None
) -> None:
    expected = None if end is None else at(end)
    assert builder().end_of(at(time), MarketClass.REGULAR) == expected


@pytest.mark.parametrize(
    ("minutes", "time", "end"),
    [
        (5, "09:00:00", "09:05:00"),
        (5, "09:05:00", "09:10:00"),
        (30, "09:00:00", "09:30:00"),
        (60, "15:10:00", "15:30:00"),
        (7, "15:29:00", "15:30:00"),
    ],
)
def test_longer_candles_are_cut_at_the_close(minutes: int, time: str, end: str) -> None:
    assert builder(interval=Interval(minutes)).end_of(at(time)) == at(end)


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        (date(2026, 1, 2), "10:00:00", "15:30:00"),
        (date(2025, 11, 13), "10:00:00", "16:30:00"),
    ],
)
def test_odd_sessions_have_their_own_hours(day: date, first: str, last: str) -> None:
    made = builder()
    opens, closes = at(first, day), at(last, day)
    assert made.end_of(opens - timedelta(seconds=1)) is None
    assert made.end_of(opens) == opens + timedelta(minutes=1)
    assert made.end_of(closes) == closes


def test_a_holiday_has_no_candles() -> None:
    assert builder().end_of(at("10:00:00", date(2025, 12, 25))) is None


@pytest.mark.parametrize(
    "market_class", [MarketClass.PRE, MarketClass.AFTER, MarketClass.CLOSE_PRICE]
)
def test_trades_of_other_parts_of_the_day_are_left_out(
    market_class: MarketClass,
) -> None:
    made = builder()
    assert not made.add(tick("15:40:00", 1000, market_class=market_class))
    assert made.ignored == 1
    assert not made.close_due(at("16:00:00"))


def test_the_after_market_is_taken_when_asked() -> None:
    made = builder(after_market=True)
    assert made.add(tick("16:10:20", 1000, market_class=MarketClass.AFTER))
    assert not made.add(tick("16:10:20", 1000, market_class=MarketClass.CLOSE_PRICE))
    assert only(made.close_due(at("16:12:00"))).end == at("16:11:00")


def test_daily_candles_are_not_made_here() -> None:
    with pytest.raises(ValueError, match="daily"):
        CandleBuilder(CALENDAR, SYMBOLS, interval=DAILY)


# Closing.


def test_a_candle_closes_after_its_end_and_grace_and_once() -> None:
    made = builder()
    made.add_all(
        [tick("09:00:00", 1000), tick("09:00:30", 1010), tick("09:00:59", 990)]
    )
    assert made.next_close() == at("09:01:00") + timedelta(seconds=1.5)
    assert not made.close_due(at("09:01:01"))
    batch = only(made.close_due(at("09:01:02")))
    assert batch.end == at("09:01:00")
    assert values(batch.candles["990001"]) == (1000, 1010, 990, 990, 30)
    assert not made.close_due(at("09:01:03"))
    assert made.next_close() is None


def test_the_closing_auction_may_end_late() -> None:
    made = builder()
    made.add(tick("15:29:00", 1000))
    assert not made.close_due(at("15:30:20"))
    made.add(tick("15:30:28", 1005))
    batch = only(made.close_due(at("15:30:32")))
    assert batch.end == at("15:30:00")
    assert values(batch.candles["990001"]) == (1000, 1005, 1000, 1005, 20)


def test_a_batch_has_the_symbols_that_traded_in_their_order() -> None:
    made = builder()
    made.add(tick("09:00:01", 5, symbol="990002"))
    made.add(tick("09:00:02", 7))
    made.add(tick("09:02:02", 8, symbol="990002"))
    made.add(tick("09:02:02", 8, symbol="123456"))
    first, third = made.close_due(at("09:04:00"))
    assert list(first.candles) == ["990001", "990002"]
    assert list(third.candles) == ["990002"]
    assert [first.end, third.end] == [at("09:01:00"), at("09:03:00")]


def test_without_grace_a_candle_closes_at_its_end() -> None:
    made = builder(grace_s=0)
    made.add(tick("09:00:01", 5))
    assert only(made.close_due(at("09:01:00"))).end == at("09:01:00")


# Late, lost and repeated trades.


def test_a_late_trade_changes_nothing_that_was_published() -> None:
    made = builder()
    made.add(tick("09:00:10", 1000))
    made.close_due(at("09:01:02"))
    before = list(made.candles["990001"])
    assert len(before) == 1
    assert made.add(tick("09:00:50", 2000))
    assert made.late == 1
    assert list(made.candles["990001"]) == before
    assert not made.close_due(at("09:10:00"))


def test_trades_out_of_order_keep_open_and_close() -> None:
    trades = [
        tick("09:00:10", 1000, 10, 10),
        tick("09:00:11", 1010, 5, 15),
        tick("09:00:12", 990, 7, 22),
        tick("09:00:13", 1005, 1, 23),
    ]
    for seed in range(24):
        random.Random(seed).shuffle(trades)
        made = builder()
        # The first one says where the day stands; nothing before it is missed.
        made.add(tick("09:00:05", 1001, 0, 0))
        made.add_all(trades)
        batch = only(made.close_due(at("09:01:02")))
        candle = batch.candles["990001"]
        assert (candle.high, candle.low, candle.close) == (1010, 990, 1005)
        assert candle.volume == 23
        assert not batch.uncertain
        assert not made.close_due(at("09:05:00"))


def test_a_trade_told_twice_counts_once() -> None:
    made = builder()
    one, two = tick("09:00:10", 1000, 10, 10), tick("09:00:11", 1001, 5, 15)
    assert made.add_all([one, two, two, one]) == 2
    assert only(made.close_due(at("09:02:00"))).candles["990001"].volume == 15


def test_the_first_trade_of_a_day_tells_its_base_price() -> None:
    made = builder()
    for price, base, day in ((71_500, 0, DAY), (71_600, 71_000, DAY + timedelta(1))):
        made.add(tick("09:00:01", price, day=day)._replace(base=base))
        made.add(tick("09:00:02", price, day=day)._replace(base=1))
    assert made.bases == {("990001", DAY + timedelta(1)): 71_000.0}


def test_a_jump_of_the_total_makes_a_candle_uncertain() -> None:
    made = builder()
    made.add(tick("09:00:10", 1000, 10, 10))
    made.add(tick("09:00:11", 1001, 5, 115))
    made.add(tick("09:01:11", 1001, 5, 120))
    first, second = made.close_due(at("09:03:00"))
    assert first.uncertain == {"990001"}
    assert not second.uncertain


def test_a_start_in_the_middle_of_a_session_misses_nothing() -> None:
    made = builder()
    made.add(tick("11:00:10", 1000, 10, 500_000))
    assert not only(made.close_due(at("11:02:00"))).uncertain


def test_a_gap_marks_the_candles_it_touches() -> None:
    made = builder()
    made.add(tick("09:00:10", 1000))
    made.add(tick("09:02:10", 1000))
    made.mark_gap(at("09:02:30"), at("09:02:40"))
    made.add(tick("09:02:50", 1000))
    first, third = made.close_due(at("09:04:00"))
    assert not first.uncertain
    assert third.uncertain == {"990001"}


# The broker's chart.


def _chart(end: str, *prices: float, volume: float = 50.0) -> Candle:
    return Candle(end=at(end), **dict(zip(VALUES, (*prices, volume), strict=True)))


def test_the_chart_corrects_what_is_not_yet_published() -> None:
    made = builder()
    made.add(tick("09:00:10", 1000))
    made.mark_gap(at("09:00:00"), at("09:00:30"))
    chart = _chart("09:01:00", 990, 1010, 980, 1000)
    assert not made.correct("990001", chart)
    made.add(tick("09:00:40", 5000))  # is in the chart already
    batch = only(made.close_due(at("09:01:02")))
    assert batch.candles["990001"] == chart
    assert not batch.uncertain


def test_the_chart_fills_minutes_nothing_was_heard_of() -> None:
    made = builder()
    assert not made.correct("990001", _chart("09:03:00", 1, 2, 1, 2))
    assert only(made.close_due(at("09:04:00"))).end == at("09:03:00")


def test_a_published_candle_never_changes() -> None:
    made = builder()
    made.add(tick("09:00:10", 1000))
    published = only(made.close_due(at("09:01:02"))).candles["990001"]
    assert made.correct("990001", published)
    chart = _chart("09:01:00", 1000, 1005, 1000, 1000)
    assert not made.correct("990001", chart)
    assert list(made.candles["990001"]) == [published]


def test_a_new_session_forgets_the_one_before() -> None:
    made = builder()
    made.add(tick("09:00:10", 1000, 10, 10))
    made.add(tick("15:29:10", 1000, 10, 20))
    made.close_due(at("15:00:00"))
    assert made.find("990001", at("09:01:00")) is not None
    made.begin_session(date(2025, 12, 30))
    assert not made.has_published("990001")
    assert made.find("990001", at("09:01:00")) is None
    assert len(made.candles["990001"]) == 1
    assert made.next_close() is None
    made.add(tick("09:00:05", 1000, 10, 10, day=date(2025, 12, 30)))
    batch = only(made.close_due(at("09:02:00", date(2025, 12, 30))))
    assert not batch.uncertain
    assert list(made.candles["990001"])[1:] == [batch.candles["990001"]]
    assert made.find("990001", batch.end) == batch.candles["990001"]


# Polls.


def _price(price: int, volume: int, high: int, low: int) -> MultiPrice:
    return MultiPrice(
        symbol="990001",
        name="",
        price=price,
        change=0,
        change_pct=0.0,
        open=1000,
        high=high,
        low=low,
        volume=volume,
        amount=0,
        base_price=1000,
        upper_limit=1300,
        lower_limit=700,
        ask=price,
        bid=price,
    )


def test_polled_prices_make_candles_with_the_days_new_extremes() -> None:
    made = builder()
    assert made.add_poll(at("08:59:50"), _price(0, 0, 0, 0)) is None
    first = made.add_poll(at("09:00:02"), _price(1000, 100, 1000, 1000))
    assert first is not None
    assert first.quantity == 100
    assert made.add_poll(at("09:00:12"), _price(1000, 100, 1000, 1000)) is None
    assert made.add_poll(at("09:00:22"), _price(1005, 150, 1020, 995)) is not None
    made.add_poll(at("09:01:02"), _price(1001, 160, 1020, 995))
    one, two = made.close_due(at("09:03:00"))
    assert values(one.candles["990001"]) == (1000, 1020, 995, 1005, 150)
    assert values(two.candles["990001"]) == (1001, 1001, 1001, 1001, 10)


def test_the_first_poll_of_a_day_only_says_where_it_stands() -> None:
    made = builder()
    assert made.add_poll(at("11:00:00"), _price(1000, 9_999, 1100, 900)) is None
    found = made.add_poll(at("11:00:10"), _price(1001, 10_009, 1100, 900))
    assert found is not None
    assert found.quantity == 10
    candle = only(made.close_due(at("11:02:00"))).candles["990001"]
    assert values(candle) == (1001, 1001, 1001, 1001, 10)


# Stored candles come back exactly from the trades they are replayed as.


@pytest.mark.parametrize("minutes", [1, 5, 60])
def test_replayed_candles_come_back_exactly(minutes: int) -> None:
    store = CandleStore(SAMPLE)
    symbols = ("990001", "990004", "990005")
    scenario = Replay(store, CALENDAR, symbols=symbols)
    made = CandleBuilder(CALENDAR, symbols, interval=Interval(minutes), grace_s=0.0)
    closes = CALENDAR.close_time(DAY)
    totals = dict.fromkeys(symbols, 0)
    trades = [
        (point.time, bar.symbol, point)
        for bar in scenario.bars(DAY)
        for point in walk_points(bar, closes)
    ]
    batches: list[Batch] = []
    for moment, symbol, point in sorted(trades, key=lambda trade: trade[0]):
        batches += made.close_due(moment - timedelta(microseconds=1))
        totals[symbol] += point.quantity
        made.add(
            Tick(
                symbol,
                moment.replace(microsecond=0),
                round(point.price),
                point.quantity,
                totals[symbol],
                0,
                0,
                None,
                MarketClass.REGULAR,
            )
        )
    batches += made.close_due(closes + timedelta(minutes=1))
    day = np.datetime64(DAY)
    for symbol in symbols:
        stored = store.read(symbol, MINUTE).between(day, day)
        expected = stored if minutes == 1 else resample(stored, minutes)
        found = [b.candles[symbol] for b in batches if symbol in b.candles]
        assert _rows(found) == _columns(expected)
    assert not any(batch.uncertain for batch in batches)
    assert made.late == 0


def _rows(candles: list[Candle]) -> list[tuple[Any, ...]]:
    return [(candle.end.replace(tzinfo=None), *values(candle)) for candle in candles]


def _columns(columns: CandleColumns) -> list[tuple[Any, ...]]:
    return list(
        zip(
            columns.end.tolist(),
            *(getattr(columns, name).tolist() for name in VALUES),
            strict=True,
        )
    )
