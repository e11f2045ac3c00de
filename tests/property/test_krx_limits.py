from datetime import date

import numpy as np
from hypothesis import given, strategies as st

from kisbt.krx.limits import (
    band_tolerance,
    limit_pct,
    limit_rows,
    price_band,
    price_bands,
    upper_limit,
)
from kisbt.krx.ticks import is_on_grid, round_up_to_tick, tick_size, tick_table
from kisbt.model.instrument import Market, Product

kinds = st.fixed_dictionaries(
    {
        "market": st.sampled_from(Market),
        "product": st.sampled_from([Product.STOCK, Product.ETF, Product.ETN]),
        "session": st.dates(date(2000, 1, 1), date(2027, 12, 31)),
        "leverage": st.sampled_from([1.0, -1.0, 2.0, -2.0]),
    }
)
bases = st.one_of(st.integers(5, 3_000_000), st.floats(5, 3_000_000))


def grid(kind):
    return {key: kind[key] for key in ("market", "product", "session")}


@given(base=bases, kind=kinds)
def test_band_lies_on_the_grid_around_the_base(base, kind):
    band = price_band(base, **kind)
    assert band is not None
    assert is_on_grid(band.lower, **grid(kind))
    assert is_on_grid(band.upper, **grid(kind))
    assert band.lower <= base <= band.upper
    assert band.lower >= tick_size(0, **grid(kind))


@given(base=bases, kind=kinds)
def test_band_is_no_wider_than_the_limit(base, kind):
    band = price_band(base, **kind)
    pct = limit_pct(**kind)
    assert band is not None
    assert pct is not None
    tick = tick_size(base, **grid(kind))
    # The cheapest prices may always move by one tick.
    widest = max(base * pct, tick) + 1e-5
    assert band.upper - base <= widest
    assert base - band.lower <= widest


@given(base=bases, kind=kinds)
def test_dated_rows_give_the_same_upper_limit(base, kind):
    others = {key: kind[key] for key in ("market", "product", "leverage")}
    rows = [pct for first, pct in limit_rows(**others) if first <= kind["session"]]
    assert rows[-1] == limit_pct(**kind)
    upper = upper_limit(base, rows[-1], tick_table(**grid(kind)))
    assert upper == price_band(base, **kind).upper


def test_what_has_no_limit_has_no_rows():
    assert limit_rows(market=Market.KOSPI, product=Product.INDEX) == ()


@given(base=bases, kind=kinds)
def test_band_is_short_of_the_limit_by_less_than_two_ticks(base, kind):
    band = price_band(base, **kind)
    pct = limit_pct(**kind)
    assert band is not None
    assert pct is not None
    lost = tick_size(base, **grid(kind)) + tick_size(base * (1 + pct), **grid(kind))
    assert base * (1 + pct) - band.upper < lost + 1e-5
    assert band.lower - base * (1 - pct) < lost + 1e-5


@given(base=bases, more=st.floats(0, 1_000), kind=kinds)
def test_a_dearer_base_on_the_grid_never_lowers_the_upper_limit(base, more, kind):
    low = round_up_to_tick(base, **grid(kind))
    high = round_up_to_tick(base + more, **grid(kind))
    if tick_size(low, **grid(kind)) != tick_size(high, **grid(kind)):
        # A coarser tick may cut more of the width.
        return
    first, second = price_band(low, **kind), price_band(high, **kind)
    assert first is not None
    assert second is not None
    assert first.upper <= second.upper
    assert first.lower <= second.lower


@given(rows=st.lists(bases, min_size=1, max_size=20), kind=kinds)
def test_arrays_agree_with_scalars(rows, kind):
    lower, upper = price_bands(
        np.array(rows, dtype=float),
        np.full(len(rows), np.datetime64(kind["session"])),
        market=kind["market"],
        product=kind["product"],
        leverage=kind["leverage"],
    )
    expected = [price_band(base, **kind) for base in rows]
    assert lower.tolist() == [band.lower for band in expected]
    assert upper.tolist() == [band.upper for band in expected]


@given(
    raw=st.integers(200, 2_000_000),
    factor=st.floats(0.02, 60),
    kind=kinds,
)
def test_tolerance_covers_the_limits_of_rescaled_candles(raw, factor, kind):
    lowest = 200 if kind["product"] is Product.STOCK else 1_000
    raw = round_up_to_tick(max(raw, lowest), **grid(kind))
    base = round(raw / factor)
    if base < 5:
        return
    real, own = price_band(raw, **kind), price_band(base, **kind)
    assert real is not None
    assert own is not None
    allowed = band_tolerance(base, **kind)
    assert abs(round(real.upper / factor) - own.upper) <= allowed
    assert abs(round(real.lower / factor) - own.lower) <= allowed
