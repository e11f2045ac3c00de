from datetime import date

import pytest
from hypothesis import given, strategies as st

from kisbt.krx.limits import PriceBand
from kisbt.krx.matching import (
    NOTHING,
    Outcome,
    Terms,
    crowded_side,
    fillable_quantity,
    match_candle,
    slipped_price,
)
from kisbt.model.instrument import Instrument
from kisbt.model.order import OrderType, Side

BAND = PriceBand(7_000, 13_000)
STOCK = Instrument(symbol="005930")
DAY = date(2024, 1, 3)
BUY, SELL = Side.BUY, Side.SELL


def test_market_order_takes_the_open_and_slips() -> None:
    terms = Terms(BUY, OrderType.MARKET)
    assert match_candle(terms, 100, 110, 90, 105) == Outcome(100, slips=True)


def test_close_order_takes_the_close_of_the_session_only() -> None:
    terms = Terms(BUY, OrderType.CLOSE)
    assert match_candle(terms, 100, 110, 90, 105) == Outcome(105)
    assert match_candle(terms, 100, 110, 90, 105, closes_session=False) is NOTHING


def test_limit_order_never_slips() -> None:
    for side, limit in ((BUY, 120), (BUY, 95), (SELL, 80), (SELL, 105)):
        terms = Terms(side, OrderType.LIMIT, limit=limit)
        assert not match_candle(terms, 100, 110, 90, 105).slips


@pytest.mark.parametrize(
    ("side", "stop", "outcome"),
    [
        (BUY, 105, Outcome(105, slips=True)),
        (BUY, 99, Outcome(100, slips=True)),
        (BUY, 100, Outcome(100, slips=True)),
        (BUY, 111, NOTHING),
        (SELL, 95, Outcome(95, slips=True)),
        (SELL, 101, Outcome(100, slips=True)),
        (SELL, 89, NOTHING),
    ],
)
@pytest.mark.parametrize("kind", [OrderType.STOP, OrderType.STOP_TRAIL])
def test_stop_takes_the_trigger_or_a_worse_open(
    kind: OrderType, side: Side, stop: float, outcome: Outcome
) -> None:
    assert match_candle(Terms(side, kind, stop=stop), 100, 110, 90, 105) == outcome


def test_stop_limit_stays_triggered_without_a_fill() -> None:
    terms = Terms(BUY, OrderType.STOP_LIMIT, limit=95, stop=105)
    assert match_candle(terms, 100, 110, 96, 108) == Outcome(None, triggered=True)


def test_triggered_stop_limit_is_a_limit_order() -> None:
    terms = Terms(BUY, OrderType.STOP_LIMIT, limit=95, stop=105, triggered=True)
    assert match_candle(terms, 100, 101, 94, 98) == Outcome(95, triggered=True)
    assert match_candle(terms, 100, 101, 96, 98) == Outcome(None, triggered=True)


@pytest.mark.parametrize(
    ("candle", "band", "tolerance", "side"),
    [
        ((13_000,) * 4, BAND, 0, BUY),
        ((7_000,) * 4, BAND, 0, SELL),
        ((12_990,) * 4, BAND, 0, None),
        ((12_990,) * 4, BAND, 10, BUY),
        ((7_010,) * 4, BAND, 10, SELL),
        ((13_000, 13_000, 12_990, 13_000), BAND, 0, None),
        ((13_000,) * 4, None, 0, None),
    ],
)
def test_crowd_waits_where_the_price_is_locked(
    candle: tuple[float, float, float, float],
    band: PriceBand | None,
    tolerance: float,
    side: Side | None,
) -> None:
    assert crowded_side(*candle, band, tolerance=tolerance) is side


@pytest.mark.parametrize(
    ("price", "side", "ticks", "worst", "slipped"),
    [
        (10_000, BUY, 0, 10_000, 10_000),
        (10_000, BUY, 1, 20_000, 10_010),
        (10_000, SELL, 1, 0, 9_990),
        (4_995, BUY, 2, 20_000, 5_010),
        (5_000, SELL, 1, 0, 4_995),
        (2_000, SELL, 1, 0, 1_999),
        (10_000, BUY, 3, 10_010, 10_010),
        (10_000, SELL, 3, 9_995, 9_995),
        # A half tick, as mid-price orders print since 2025-03, stays one.
        (10_005, BUY, 1, 20_000, 10_015),
        (10_005, SELL, 1, 0, 9_995),
    ],
)
def test_slippage_moves_along_the_grid_inside_the_candle(
    price: float, side: Side, ticks: int, worst: float, slipped: float
) -> None:
    found = slipped_price(price, side, ticks, STOCK, DAY, on_grid=True, worst=worst)
    assert found == slipped


def test_slippage_off_the_grid_adds_the_step_alone() -> None:
    found = slipped_price(10_003.4, SELL, 2, STOCK, DAY, on_grid=False, worst=0)
    assert found == pytest.approx(9_983.4)


@given(
    st.floats(1, 1e6),
    st.sampled_from([BUY, SELL]),
    st.integers(0, 5),
    st.booleans(),
    st.floats(0, 0.3),
)
def test_slippage_is_never_in_favour_nor_past_the_worst_price(
    price: float, side: Side, ticks: int, on_grid: bool, room: float
) -> None:
    worst = price * (1 + room if side is BUY else 1 - room)
    found = slipped_price(price, side, ticks, STOCK, DAY, on_grid=on_grid, worst=worst)
    assert min(price, worst) <= found <= max(price, worst)


@pytest.mark.parametrize(
    ("wanted", "volume", "share", "used", "filled"),
    [
        (10, 1_000, None, 0, 10),
        (10, 1_000, 0.1, 0, 10),
        (10, 50, 0.1, 0, 5),
        (10, 50, 0.1, 3, 2),
        (10, 50, 0.1, 5, 0),
        (10, 50, 0.1, 9, 0),
        (10, 30, 0.1, 0, 3),
        (10, 9, 0.1, 0, 0),
        (10, 0, 0.1, 0, 0),
        (10, 5, 1.0, 0, 5),
    ],
)
def test_quantity_is_what_the_share_of_the_volume_leaves(
    wanted: int, volume: float, share: float | None, used: int, filled: int
) -> None:
    assert fillable_quantity(wanted, volume, share, used) == filled


@given(
    st.integers(1, 10**6),
    st.integers(0, 10**7),
    st.floats(0.001, 1),
    st.integers(0, 10**6),
)
def test_quantity_never_exceeds_the_order_nor_the_share(
    wanted: int, volume: int, share: float, used: int
) -> None:
    filled = fillable_quantity(wanted, volume, share, used)
    assert 0 <= filled <= wanted
    assert filled == 0 or filled + used <= volume * share + 1e-9
