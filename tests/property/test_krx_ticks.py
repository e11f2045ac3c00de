from datetime import date

import numpy as np
from hypothesis import given, strategies as st

from kisbt.krx.ticks import (
    is_on_grid,
    is_valid_print,
    move_ticks,
    round_down_to_tick,
    round_up_to_tick,
    tick_size,
    valid_prints,
)
from kisbt.model.instrument import Market, Product

kinds = st.fixed_dictionaries(
    {
        "market": st.sampled_from(Market),
        "product": st.sampled_from([p for p in Product if p is not Product.INDEX]),
        "session": st.dates(date(2000, 1, 1), date(2027, 12, 31)),
    }
)
# Half of the prices lie near a band's border.
prices = st.one_of(
    st.floats(1, 3_000_000),
    st.builds(
        lambda border, off: border + off,
        st.sampled_from(
            [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000]
        ),
        st.floats(-120, 120),
    ),
    st.integers(1, 3_000_000),
)
steps = st.integers(0, 300)


@given(price=prices, kind=kinds)
def test_rounding_encloses_the_price_within_one_tick(price, kind):
    down = round_down_to_tick(price, **kind)
    up = round_up_to_tick(price, **kind)
    assert down - 1e-6 <= price + 1e-6
    assert price <= up + 1e-6
    assert up - down in {0, tick_size(price, **kind)}


@given(price=prices, kind=kinds)
def test_rounding_twice_changes_nothing(price, kind):
    down = round_down_to_tick(price, **kind)
    up = round_up_to_tick(price, **kind)
    for rounded in (down, up):
        assert is_on_grid(rounded, **kind)
        assert is_valid_print(rounded, **kind)
        assert round_down_to_tick(rounded, **kind) == rounded
        assert round_up_to_tick(rounded, **kind) == rounded


@given(low=prices, high=prices, kind=kinds)
def test_rounding_keeps_the_order_of_prices(low, high, kind):
    low, high = min(low, high), max(low, high)
    assert round_down_to_tick(low, **kind) <= round_down_to_tick(high, **kind)
    assert round_up_to_tick(low, **kind) <= round_up_to_tick(high, **kind)
    assert tick_size(low, **kind) <= tick_size(high, **kind)


@given(price=prices, kind=kinds, count=steps)
def test_moving_up_then_down_returns(price, kind, count):
    price = max(price, tick_size(0, **kind))
    up = move_ticks(price, count, **kind)
    back = move_ticks(up, -count, **kind)
    assert abs(back - price) <= 1e-5


@given(price=prices, kind=kinds, count=steps)
def test_moving_from_the_grid_stays_on_it(price, kind, count):
    start = max(round_down_to_tick(price, **kind), tick_size(0, **kind))
    for moved in (
        move_ticks(start, count, **kind),
        move_ticks(start, -count, **kind),
    ):
        assert isinstance(moved, int)
        assert is_on_grid(moved, **kind)
        assert moved >= tick_size(0, **kind)


@given(price=prices, kind=kinds, count=st.integers(1, 60))
def test_moving_equals_single_steps(price, kind, count):
    start = round_up_to_tick(price, **kind)
    walked = start
    for _step in range(count):
        walked += tick_size(walked, **kind)
    assert move_ticks(start, count, **kind) == walked


@given(rows=st.lists(prices, min_size=1, max_size=20), kind=kinds)
def test_arrays_agree_with_scalars(rows, kind):
    session = kind["session"]
    found = valid_prints(
        np.array(rows, dtype=float),
        np.full(len(rows), np.datetime64(session)),
        market=kind["market"],
        product=kind["product"],
    )
    assert found.tolist() == [
        is_valid_print(float(price), **kind) and price > 0 for price in rows
    ]
