"""Which prices release an order that waits here; the same rule fills the backtest."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from kisbt.krx.matching import STOPS, Terms, match_candle
from kisbt.model.order import OrderType, Side
from kisbt.model.quote import Tick
from kisbt.orders.triggers import Triggers, Watch
from tests.helpers.orders import NINE

CLOSE = NINE + timedelta(hours=6, minutes=30)


def watch(**changes: Any) -> Watch:
    values: dict[str, Any] = {
        "key": 1,
        "symbol": "990001",
        "side": Side.SELL,
        "order_type": OrderType.STOP,
        "price": 950.0,
        "since": NINE,
        "until": CLOSE,
    }
    return Watch(**(values | changes))


def trade(price: int, *, seconds: float = 60, symbol: str = "990001") -> Tick:
    moment = NINE + timedelta(seconds=seconds)
    return Tick(symbol, moment, price, 1, 0, 0, 0, None)


@pytest.mark.parametrize(
    ("side", "order_type", "price", "touches"),
    [
        (Side.SELL, OrderType.STOP, 950, True),
        (Side.SELL, OrderType.STOP, 949, True),
        (Side.SELL, OrderType.STOP, 951, False),
        (Side.BUY, OrderType.STOP, 950, True),
        (Side.BUY, OrderType.STOP, 951, True),
        (Side.BUY, OrderType.STOP, 949, False),
        (Side.SELL, OrderType.LIMIT, 950, True),
        (Side.SELL, OrderType.LIMIT, 949, False),
        (Side.BUY, OrderType.LIMIT, 950, True),
        (Side.BUY, OrderType.LIMIT, 951, False),
        (Side.SELL, OrderType.STOP_TRAIL_LIMIT, 949, True),
    ],
)
def test_a_price_touches_or_not(
    side: Side, order_type: OrderType, price: int, *, touches: bool
) -> None:
    triggers = Triggers()
    triggers.set([watch(side=side, order_type=order_type)])
    assert bool(triggers.on_ticks([trade(price)])) is touches


def test_each_is_released_once_in_the_order_of_the_trades() -> None:
    triggers = Triggers()
    triggers.set([watch(key=1, price=900), watch(key=2, price=950), watch(key=3)])
    found = triggers.on_ticks([trade(949), trade(899), trade(800)])
    assert found == [2, 3, 1]
    assert not len(triggers)
    assert not triggers.on_ticks([trade(1)])


def test_only_trades_of_its_time_and_symbol_count() -> None:
    triggers = Triggers()
    triggers.set([watch()])
    outside = [
        trade(900, seconds=-1),
        trade(900, seconds=7 * 3600),
        trade(900, symbol="990002"),
    ]
    assert not triggers.on_ticks(outside)
    assert triggers.symbols == {"990001"}
    assert triggers.on_ticks([trade(900, seconds=0)]) == [1]


def test_a_whole_candle_counts_only_if_it_began_after_the_order() -> None:
    triggers = Triggers()
    since = NINE + timedelta(seconds=30)
    triggers.set([watch(since=since)])
    minute = timedelta(minutes=1)
    seen = {"high": 1000.0, "low": 940.0}
    assert not triggers.on_candle("990001", begins=NINE, ends=NINE + minute, **seen)
    later = NINE + minute
    assert not triggers.on_candle("990002", begins=later, ends=later + minute, **seen)
    assert triggers.on_candle("990001", begins=later, ends=later + minute, **seen)


def test_the_last_trade_releases_an_order_made_a_moment_later() -> None:
    triggers = Triggers()
    last = {"990001": trade(940, seconds=61), "990002": trade(1, seconds=61)}
    triggers.set([watch(since=NINE + timedelta(seconds=60))])
    assert triggers.on_last(last) == [1]
    triggers.set([watch(since=NINE + timedelta(seconds=62))])
    assert not triggers.on_last(last)


@given(
    side=st.sampled_from(Side),
    order_type=st.sampled_from(sorted(STOPS)),
    stop=st.integers(900, 1100),
    path=st.lists(st.integers(900, 1100), min_size=1, max_size=8),
)
def test_trades_release_what_their_candle_would_fill(
    side: Side, order_type: OrderType, stop: int, path: list[int]
) -> None:
    triggers = Triggers()
    triggers.set([watch(side=side, order_type=order_type, price=float(stop))])
    released = bool(triggers.on_ticks([trade(price) for price in path]))
    terms = Terms(side, order_type, float(stop), float(stop))
    outcome = match_candle(terms, path[0], max(path), min(path), path[-1])
    assert released == (outcome.triggered or outcome.price is not None)
