"""Every kernel does its work: it does not leave it to backtrader's own loop."""

import operator
from array import array
from typing import Any

import backtrader as bt
import numpy as np
import pytest

from kisbt.bt.engine import kernels
from kisbt.bt.feed import CandleFeed
from tests.helpers.engine_runs import make_candles

ind = bt.ind
CANDLES = make_candles(120, 5, factor=1 / 1.37, locked=0.1)
WHOLE = make_candles(120, 5)

# What is made, and which of its lines' `once` is looked at.
MADE: dict[str, Any] = {
    "average": (lambda d: ind.SMA(d, period=7), ind.Average),
    "weighted": (lambda d: ind.WMA(d, period=7), ind.WeightedAverage),
    "smoothed": (lambda d: ind.EMA(d, period=7), ind.ExponentialSmoothing),
    "dynamic": (lambda d: ind.KAMA(d, period=7), ind.ExponentialSmoothingDynamic),
    "highest": (lambda d: ind.Highest(d, period=13), ind.Highest),
    "lowest": (lambda d: ind.Lowest(d, period=8), ind.Lowest),
    "sum": (lambda d: ind.SumN(d, period=4), ind.SumN),
    "any": (lambda d: ind.AnyN(d.close > d.open, period=3), ind.AnyN),
    "all": (lambda d: ind.AllN(d.close > d.open, period=2), ind.AllN),
    "accum": (ind.Accum, ind.Accum),
    "nonzero": (lambda d: ind.CrossUp(d.close, d.open), ind.NonZeroDifference),
    "and": (lambda d: bt.And(d.close > d.open, d.low), bt.And),
    "or": (lambda d: bt.Or(d.close > d.open, 0.0), bt.Or),
    "max": (lambda d: bt.Max(d.close, 20_000.0, d.open), bt.Max),
    "max of equals": (
        lambda d: bt.Max(-(d.close - d.close), d.close - d.close),
        bt.Max,
    ),
    "min": (lambda d: bt.Min(d.close, d.open), bt.Min),
    "any of": (lambda d: bt.Any(d.close > d.open, d.low > d.low(-1)), bt.Any),
    "all of": (lambda d: bt.All(d.close > d.open, d.low > d.low(-1)), bt.All),
    "if": (lambda d: bt.If(d.close > d.open, d.low, 1.0), bt.If),
    "cmp": (lambda d: bt.Cmp(d.close, d.open), bt.Cmp),
    "cmp ex": (lambda d: bt.CmpEx(d.close, d.open, d.low, 0.0, d.high), bt.CmpEx),
    "divide": (
        lambda d: bt.DivByZero(d.close, d.close - d.open, zero=3.0),
        bt.DivByZero,
    ),
    "divide twice": (
        lambda d: bt.DivZeroByZero(d.high - d.low, d.close - d.open, 5.0, 6.0),
        bt.DivZeroByZero,
    ),
    "delay": (lambda d: d.close(-3), bt.linebuffer._LineDelay),
    "add": (lambda d: d.close + d.open, bt.linebuffer.LinesOperation),
    "ratio": (lambda d: d.close / d.open, bt.linebuffer.LinesOperation),
    "of a number": (lambda d: 7 - d.close, bt.linebuffer.LinesOperation),
    "square": (lambda d: d.close**2, bt.linebuffer.LinesOperation),
    "root": (lambda d: d.close**0.5, bt.linebuffer.LinesOperation),
    "compare": (lambda d: d.close >= d.open, bt.linebuffer.LinesOperation),
    "abs": (lambda d: abs(d.close - d.open), bt.linebuffer.LineOwnOperation),
    "minus": (lambda d: -d.close, bt.linebuffer.LineOwnOperation),
}


def made_by(build: Any, kind: type, candles: Any) -> Any:
    """Return an object of `kind`, computed by plain backtrader."""
    found: list[Any] = []

    class Making(bt.Strategy):
        def __init__(self) -> None:
            self.made = build(self.data)

    def search(item: Any) -> None:
        if isinstance(item, kind):
            found.append(item)
        for group in getattr(item, "_lineiterators", {}).values():
            for part in group:
                search(part)

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleFeed(dataname=candles, name="a"))
    cerebro.addstrategy(Making)
    search(cerebro.run()[0])
    return found[-1]


@pytest.mark.parametrize("candles", [CANDLES, WHOLE], ids=["fractions", "won"])
@pytest.mark.parametrize("name", MADE)
def test_a_kernel_writes_what_once_writes(name: str, candles: Any) -> None:
    build, kind = MADE[name]
    item = made_by(build, kind, candles)
    expected = array("d", item.array)
    start, end = item._minperiod, len(item.array)
    for bar in range(start, end):
        item.array[bar] = 123.0
    with np.errstate(all="ignore"):
        assert kernels.compute(item, start, end)
    assert bytes(item.array) == bytes(expected)


def test_an_own_once_is_kept() -> None:
    class Own(ind.Average):
        def once(self, start: int, end: int) -> None:
            pass

    item = made_by(lambda d: Own(d, period=3), Own, WHOLE)
    assert not kernels.compute(item, 3, 100)


def test_an_unknown_function_of_a_window_is_left_alone() -> None:
    item = made_by(lambda d: ind.ApplyN(d, period=3, func=len), ind.ApplyN, WHOLE)
    before = bytes(item.array)
    assert not kernels.compute(item, 3, 100)
    assert bytes(item.array) == before


@pytest.mark.parametrize("last", [0.0, -0.0])
def test_a_division_by_zero_is_left_to_raise(last: float) -> None:
    item = made_by(lambda d: d.close / d.open, bt.linebuffer.LinesOperation, WHOLE)
    item.b.array[-1] = last
    assert not kernels.compute(item, 1, len(item.array))
    assert kernels.compute(item, 1, len(item.array) - 1)


@pytest.mark.parametrize("odd", [np.nan, -0.0])
def test_extremes_of_odd_values_are_left_to_python(odd: float) -> None:
    item = made_by(lambda d: ind.Highest(d, period=3), ind.Highest, WHOLE)
    item.data.array[50] = odd
    assert not kernels.compute(item, 3, len(item.array))


@pytest.mark.parametrize("number", [2**60, "x", None])
def test_an_operand_that_is_no_float_is_left_to_python(number: Any) -> None:
    item = made_by(lambda d: d.close + 1, bt.linebuffer.LinesOperation, WHOLE)
    item.b = number
    assert not kernels.compute(item, 1, len(item.array))


def test_a_negative_base_of_a_root_is_left_to_raise() -> None:
    item = made_by(lambda d: d.close**0.5, bt.linebuffer.LinesOperation, WHOLE)
    item.a.array[60] = -4.0
    assert not kernels.compute(item, 1, len(item.array))


def test_lines_of_other_lengths_are_left_to_python() -> None:
    item = made_by(lambda d: d.close + d.open, bt.linebuffer.LinesOperation, WHOLE)
    item.b.array = item.b.array[:-1]
    assert not kernels.compute(item, 1, len(item.array))
    assert operator.__add__ is item.operation
