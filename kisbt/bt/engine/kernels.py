"""Array forms of backtrader's `once` methods, equal to the last bit.

A kernel is found by the very function a class uses as its `once`, so a class with
its own keeps it. A kernel writes bars [start, end) of the object's line, or raises
`Unfit` without a trace: then the object's own `once` runs, with its errors, too.
Every array operation here is the IEEE operation the Python loop does; where numpy
has no such operation (`pow`, recursions), Python floats are used.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from backtrader import functions, linebuffer
from backtrader.indicators import basicops, crossover

from kisbt.bt.engine.recall import recall
from kisbt.bt.engine.sums import columns_sum, window_sums

Floats = npt.NDArray[np.float64]
Kernel = Callable[[Any, int, int], Any]

_EXACT_INTEGERS = 2**53
_EXACT_SQUARES = 2.0**26


class Unfit(Exception):
    """The values or the operands are not those of a kernel."""


def compute(item: Any, start: int, end: int) -> bool:
    """Compute bars [start, end) of a line object; False if it has no kernel.

    Args:
        item: indicator or line operation whose lines have room.
        start, end: positions from the first bar.
    """
    kernel = _KERNELS.get(type(item).once)
    if kernel is None or end <= start:
        return False
    try:
        result = kernel(item, start, end)
    except (Unfit, ArithmeticError, AttributeError, TypeError, ValueError):
        return False
    column(item, start, end)[:] = result
    return True


def column(line: Any, start: int, end: int) -> Floats:
    """Return a view of bars [start, end) of a line; do not keep it."""
    values = np.frombuffer(line.array, dtype=np.float64)
    if start < 0 or end > len(values):
        raise Unfit
    return values[start:end]


def _operand(item: Any, start: int, end: int) -> Any:
    """Return the column of a line, or the number that stands in its place."""
    if isinstance(item, linebuffer.PseudoArray):
        item = item.wrapped
    if hasattr(item, "array"):
        return column(item, start, end)
    if isinstance(item, float):
        return item
    # Python compares and converts long integers exactly, numpy does not.
    if isinstance(item, int) and -_EXACT_INTEGERS < item < _EXACT_INTEGERS:
        return float(item)
    raise Unfit


# Windows.


def _window(item: Any, start: int, end: int) -> tuple[Floats, int]:
    period = item.p.period
    if not isinstance(period, int) or period < 1:
        raise Unfit
    return column(item.data, start - period + 1, end), period


def _average(item: Any, start: int, end: int) -> Floats:
    values, period = _window(item, start, end)
    sums: Floats | None = recall(window_sums, values, period)
    if sums is None:
        raise Unfit
    return sums / period


def _weighted_average(item: Any, start: int, end: int) -> Floats:
    values, period = _window(item, start, end)
    weights = [float(weight) for weight in item.p.weights]
    if len(weights) != period:
        raise Unfit
    bars = end - start
    sums = columns_sum(
        lambda: (values[k : k + bars] * weights[k] for k in range(period)), period
    )
    if sums is None:
        raise Unfit
    return float(item.p.coef) * sums


def _of_window(item: Any, start: int, end: int) -> Any:
    values, period = _window(item, start, end)
    work = _WINDOW_FUNCTIONS.get(item.func)
    if work is None:
        raise Unfit
    return work(values, period)


def _fsum(values: Floats, period: int) -> Floats:
    sums = window_sums(values, period)
    if sums is None:
        raise Unfit
    return sums


def _highest(values: Floats, period: int) -> Floats:
    return _extreme(np.maximum, values, period)


def _lowest(values: Floats, period: int) -> Floats:
    return _extreme(np.minimum, values, period)


def _extreme(
    pick: Callable[[Floats, Floats], Floats], values: Floats, period: int
) -> Floats:
    """Return the extreme of every window, by doubling its length."""
    zeros = values == 0.0
    if np.isnan(values).any() or np.signbit(values[zeros]).any():
        # `max` of NaN depends on the order, and 0.0 equals -0.0.
        raise Unfit
    best, width = values, 1
    while width * 2 <= period:
        best = pick(best[:-width], best[width:])
        width *= 2
    left = period - width
    return pick(best[: len(best) - left], best[left:]) if left else best


def _any(values: Floats, period: int) -> Any:
    return _count_true(values, period) > 0


def _all(values: Floats, period: int) -> Any:
    return _count_true(values, period) == period


def _count_true(values: Floats, period: int) -> Any:
    running = np.concatenate(([0], np.cumsum(values != 0.0)))
    return running[period:] - running[:-period]


# Recursions.


def _smooth(item: Any, start: int, end: int) -> Floats:
    """Return prev * (1 - alpha) + value * alpha, bar after bar."""
    parts = column(item.data, start, end) * item.alpha
    smoothed: Floats = recall(_smoothed, parts, item.alpha1, item.line.array[start - 1])
    return smoothed


def _smoothed(parts: Floats, rest: float, previous: float) -> Floats:
    smoothed = []
    for part in parts.tolist():
        previous = previous * rest + part
        smoothed.append(previous)
    return np.array(smoothed)


def _smooth_by_line(item: Any, start: int, end: int) -> list[float]:
    rests = column(item.alpha1, start, end).tolist()
    parts = (column(item.data, start, end) * column(item.alpha, start, end)).tolist()
    previous = item.line.array[start - 1]
    smoothed = []
    for rest, part in zip(rests, parts, strict=True):
        previous = previous * rest + part
        smoothed.append(previous)
    return smoothed


def _accumulate(item: Any, start: int, end: int) -> Floats:
    seed = item.line.array[start - 1]
    values = column(item.data, start, end)
    return np.add.accumulate(np.concatenate(([seed], values)))[1:]


def _nonzero_difference(item: Any, start: int, end: int) -> Floats:
    seed = item.line.array[start - 1]
    now = column(item.data0, start, end) - column(item.data1, start, end)
    differences = np.concatenate(([seed], now))
    last = np.where(differences != 0.0, np.arange(len(differences)), 0)
    return differences[np.maximum.accumulate(last)][1:]


# Bar by bar.

_UFUNCS: dict[Any, Any] = {
    operator.__add__: np.add,
    operator.__sub__: np.subtract,
    operator.__mul__: np.multiply,
    operator.__lt__: np.less,
    operator.__gt__: np.greater,
    operator.__le__: np.less_equal,
    operator.__ge__: np.greater_equal,
    operator.__eq__: np.equal,
    operator.__ne__: np.not_equal,
    operator.__abs__: np.abs,
    operator.__neg__: np.negative,
}


def _operation(item: Any, start: int, end: int) -> Any:
    left, right = _operand(item.a, start, end), _operand(item.b, start, end)
    if item.operation is operator.__truediv__:
        if not np.all(right):
            raise Unfit  # raises ZeroDivisionError at the right bar
        return np.divide(left, right)
    if item.operation is operator.__pow__:
        return _power(left, right)
    ufunc = _UFUNCS.get(item.operation)
    if ufunc is None:
        raise Unfit
    return ufunc(left, right)


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, float) or not isinstance(exponent, float):
        raise Unfit
    if (
        exponent == 2.0
        and (np.abs(base) < _EXACT_SQUARES).all()
        and np.array_equal(base, np.rint(base))
    ):
        return base * base  # a whole number below 2**52: exact, as `pow` is
    return recall(_python_power, base, exponent)


def _python_power(base: Floats, exponent: float) -> Floats:
    # numpy's power takes short cuts (0.5 as a square root) that round otherwise.
    return np.fromiter(
        map(pow, base.tolist(), [exponent] * len(base)), np.float64, len(base)
    )


def _own_operation(item: Any, start: int, end: int) -> Any:
    ufunc = _UFUNCS.get(item.operation)
    if ufunc is None:
        raise Unfit
    return ufunc(column(item.a, start, end))


def _delay(item: Any, start: int, end: int) -> Any:
    if isinstance(item.a, linebuffer.PseudoArray):
        return _operand(item.a, start, end)
    return column(item.a, start + item.ago, end + item.ago)


def _multi_logic(item: Any, start: int, end: int) -> Any:
    values = [_operand(arg, start, end) for arg in item.args]
    logic = item.flogic
    if logic is max or logic is min:
        chosen = values[0]
        for other in values[1:]:
            # The first of equals stays, as in Python.
            wins = other > chosen if logic is max else other < chosen
            chosen = np.where(wins, other, chosen)
        return chosen
    if logic is any or logic is all:
        join = np.logical_or if logic is any else np.logical_and
        return functools.reduce(join, values, logic is all)
    return _reduced(logic, values)


def _reduced(logic: Any, values: list[Any]) -> Any:
    is_reduce = isinstance(logic, functools.partial) and logic.func is functools.reduce
    if not is_reduce or logic.keywords or len(logic.args) != 1 or len(values) < 2:
        raise Unfit
    join = _REDUCTIONS.get(logic.args[0])
    if join is None:
        raise Unfit
    return functools.reduce(join, values)


def _divide_or_zero(item: Any, start: int, end: int) -> Any:
    top, bottom = column(item.a, start, end), column(item.b, start, end)
    none = bottom == 0.0
    return np.where(none, item.zero, np.divide(top, np.where(none, 1.0, bottom)))


def _divide_or_constants(item: Any, start: int, end: int) -> Any:
    top, bottom = column(item.a, start, end), column(item.b, start, end)
    none = bottom == 0.0
    quotient = np.divide(top, np.where(none, 1.0, bottom))
    return np.where(none, np.where(top == 0.0, item.dual, item.single), quotient)


def _choose(item: Any, start: int, end: int) -> Any:
    condition = _operand(item.cond, start, end)
    return np.where(
        np.not_equal(condition, 0.0),
        _operand(item.a, start, end),
        _operand(item.b, start, end),
    )


def _compare(item: Any, start: int, end: int) -> Any:
    left, right = _operand(item.a, start, end), _operand(item.b, start, end)
    above = np.greater(left, right).astype(np.float64)
    return above - np.less(left, right).astype(np.float64)


def _choose_by_order(item: Any, start: int, end: int) -> Any:
    left, right = _operand(item.a, start, end), _operand(item.b, start, end)
    below, equal, above = (
        _operand(line, start, end) for line in (item.r1, item.r2, item.r3)
    )
    return np.where(left < right, below, np.where(left > right, above, equal))


_WINDOW_FUNCTIONS: dict[Any, Callable[[Floats, int], Any]] = {
    max: _highest,
    min: _lowest,
    any: _any,
    all: _all,
    basicops.SumN.func: _fsum,
}
_REDUCTIONS: dict[Any, Any] = {
    functions._andlogic: np.logical_and,
    functions._orlogic: np.logical_or,
}
_KERNELS: dict[Any, Kernel] = {
    basicops.OperationN.once: _of_window,
    basicops.Average.once: _average,
    basicops.WeightedAverage.once: _weighted_average,
    basicops.ExponentialSmoothing.once: _smooth,
    basicops.ExponentialSmoothingDynamic.once: _smooth_by_line,
    basicops.Accum.once: _accumulate,
    crossover.NonZeroDifference.once: _nonzero_difference,
    linebuffer.LinesOperation.once: _operation,
    linebuffer.LineOwnOperation.once: _own_operation,
    linebuffer._LineDelay.once: _delay,
    functions.MultiLogic.once: _multi_logic,
    functions.DivByZero.once: _divide_or_zero,
    functions.DivZeroByZero.once: _divide_or_constants,
    functions.If.once: _choose,
    functions.Cmp.once: _compare,
    functions.CmpEx.once: _choose_by_order,
}
