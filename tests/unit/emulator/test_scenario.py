"""Replay and random walk: candles in, trades out, nothing added or lost."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from kisbt.candles.store import CandleStore
from kisbt.emulator.account import Account
from kisbt.emulator.engine import Engine
from kisbt.emulator.exchange import Exchange
from kisbt.emulator.floor import Floor
from kisbt.emulator.market import Bar
from kisbt.emulator.orders import Ticket
from kisbt.emulator.rules import Matching, Rules
from kisbt.emulator.scenario import Replay, Scenario, Walk, start_time, walk_points
from kisbt.errors import InputError, MissingCandles
from kisbt.krx.calendar import KST, default_calendar
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.order import OrderKind, Side

SAMPLE = Path(__file__).parents[3] / "data"
CALENDAR = default_calendar()
DAY = date(2025, 12, 29)
SYMBOL = "990001"


@pytest.fixture(scope="module")
def replay() -> Replay:
    return Replay(CandleStore(SAMPLE), CALENDAR)


def _engine(
    scenario: Scenario, now: datetime, matching: Matching = Matching.CANDLE
) -> tuple[Engine, Exchange]:
    floor = Floor(now)
    account = Account("70012345-01", "someone", 10**9)
    rules = Rules(matching=matching, commission=0.0, tax=False)
    desk = Exchange(floor, account, CALENDAR, rules, mock=False)
    return Engine(floor, scenario, (desk,), CALENDAR), desk


def _at(hour: int, minute: int = 0, day: date = DAY) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=KST)


_prices = st.integers(100, 200)


@given(st.lists(_prices, min_size=4, max_size=4), st.integers(1, 10_000))
def test_walked_candle_has_its_prices_and_volume(
    prices: list[int], volume: int
) -> None:
    low, *middle, high = sorted(prices)
    candle = Bar(SYMBOL, _at(10), _at(10, 1), middle[0], high, low, middle[1], volume)
    points = walk_points(candle, _at(15, 30))
    walked = [point.price for point in points]
    assert walked[0] == candle.open
    assert walked[-1] == candle.close
    assert (max(walked), min(walked)) == (high, low)
    assert sum(point.quantity for point in points) == volume
    assert all(_at(10) <= point.time < _at(10, 1) for point in points)
    nearer_high = high - candle.open <= candle.open - low
    if len(set(prices)) == 4:
        assert walked.index(high if nearer_high else low) < walked.index(
            low if nearer_high else high
        )


def test_closing_auction_trades_at_the_close() -> None:
    candle = Bar(SYMBOL, _at(15, 29), _at(15, 30), 100, 100, 100, 100, 7)
    (point,) = walk_points(candle, _at(15, 30))
    assert point.time == _at(15, 30)


def test_replayed_session_adds_up_to_its_daily_candle(replay: Replay) -> None:
    engine, _desk = _engine(replay, _at(8, 20))
    engine.advance(_at(16))
    daily = CandleStore(SAMPLE).read(SYMBOL, DAILY)
    row = daily.sessions.tolist().index(DAY)
    listing = engine.floor.listings[SYMBOL]
    assert [listing.open, listing.high, listing.low, listing.last] == [
        daily.open[row],
        daily.high[row],
        daily.low[row],
        daily.close[row],
    ]
    assert listing.volume == daily.volume[row]
    assert len(engine.closed[SYMBOL]) == 381


def test_daily_candles_are_replayed_where_there_are_no_minutes() -> None:
    replay = Replay(CandleStore(SAMPLE), CALENDAR, interval=DAILY)
    day = date(2024, 5, 2)
    engine, desk = _engine(replay, _at(8, 40, day))
    order = desk.submit(
        Ticket(symbol=SYMBOL, side=Side.BUY, quantity=1, order_kind=OrderKind.MARKET)
    )
    engine.advance(_at(15, 29, day))
    assert order.filled == 0
    engine.advance(_at(15, 30, day))
    daily = CandleStore(SAMPLE).read(SYMBOL, DAILY)
    row = daily.sessions.tolist().index(day)
    assert order.fills[0].price == daily.open[row]
    assert engine.floor.listings[SYMBOL].volume == daily.volume[row]


def test_night_and_holidays_are_skipped(replay: Replay) -> None:
    engine, _desk = _engine(replay, _at(8, 20, date(2025, 12, 24)))
    engine.advance(_at(20, 1, date(2025, 12, 24)))
    assert engine.next_time == _at(7, 50, date(2025, 12, 26))


def test_replay_ends_after_the_last_session(replay: Replay) -> None:
    last = replay.sessions()[-1]
    engine, _desk = _engine(replay, _at(8, 20, last))
    engine.advance(_at(21, 0, last))
    assert engine.finished
    assert engine.next_time is None


def test_late_start_finds_the_morning_in_the_figures(replay: Replay) -> None:
    early, _desk = _engine(replay, _at(8, 20))
    early.advance(_at(10) - timedelta(microseconds=1))
    late, _desk = _engine(replay, _at(10))
    one, two = early.floor.listings[SYMBOL], late.floor.listings[SYMBOL]
    assert (one.open, one.high, one.low, one.last, one.volume) == (
        two.open,
        two.high,
        two.low,
        two.last,
        two.volume,
    )
    assert late.floor.now == _at(10)
    assert two.trades[-1].time < _at(10)


def test_orders_of_all_symbols_are_matched_before_the_session_ends() -> None:
    replay = Replay(CandleStore(SAMPLE), CALENDAR)
    engine, desk = _engine(replay, _at(15, 25))
    orders = [
        desk.submit(
            Ticket(
                symbol=f"99000{number}",
                side=Side.BUY,
                quantity=1,
                order_kind=OrderKind.MARKET,
            )
        )
        for number in range(1, 6)
    ]
    engine.advance(_at(15, 30))
    assert [order.filled for order in orders] == [1] * 5


@pytest.mark.parametrize("matching", list(Matching))
def test_market_order_before_the_opening_takes_the_open(
    replay: Replay, matching: Matching
) -> None:
    engine, desk = _engine(replay, _at(8, 45), matching)
    order = desk.submit(
        Ticket(symbol=SYMBOL, side=Side.BUY, quantity=1, order_kind=OrderKind.MARKET)
    )
    engine.advance(_at(9, 1))
    first = CandleStore(SAMPLE).read(SYMBOL, MINUTE).between(None, None)
    row = first.sessions.tolist().index(DAY)
    assert order.fills[0].price == first.open[row]


def test_walk_is_the_same_for_the_same_seed_and_keeps_the_rules() -> None:
    start = date(2025, 11, 3)
    one, two = Walk(CALENDAR, start, seed=5), Walk(CALENDAR, start, seed=5)
    other = Walk(CALENDAR, start, seed=6)
    third = CALENDAR.sessions_after(start, 2)
    assert one.bars(third) == two.bars(third)
    assert one.bars(third) != other.bars(third)
    engine, _desk = _engine(one, _at(8, 20, third))
    engine.advance(_at(16, 0, third))
    for listing in engine.floor.listings.values():
        assert listing.band is not None
        assert listing.low in listing.band
        assert listing.high in listing.band
        assert listing.on_grid(int(listing.last))


def test_walk_goes_on_from_the_last_close() -> None:
    walk = Walk(CALENDAR, date(2025, 11, 3), seed=5)
    first, second = date(2025, 11, 3), date(2025, 11, 4)
    closes = {bar.symbol: bar.close for bar in walk.bars(first)}
    walk.bars(second)
    assert walk.base("990001", second) == closes["990001"]


def test_start_is_a_date_or_a_time_or_the_last_session(replay: Replay) -> None:
    assert start_time(replay, None, CALENDAR) == _at(8, 20, date(2025, 12, 30))
    assert start_time(replay, DAY, CALENDAR) == _at(8, 20)
    assert start_time(replay, datetime(2025, 12, 29, 10, 30), CALENDAR) == _at(10, 30)
    with pytest.raises(InputError):
        start_time(replay, date(2026, 3, 2), CALENDAR)


def test_empty_store_cannot_be_replayed(tmp_path: Path) -> None:
    with pytest.raises(MissingCandles):
        Replay(CandleStore(tmp_path), CALENDAR)
