"""What the page's charts draw: columns thinned to what a screen can show."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kisbt.model.result import Curve, Floats, RunResult, Times
from kisbt.report.metrics import drawdown_curve, starting_value

MAX_POINTS = 5_000
"""A screen has fewer columns than this; more points only cost time."""


def thinned(value: Floats, most: int = MAX_POINTS) -> npt.NDArray[np.int64]:
    """Return positions that keep the shape: each stretch's lowest and highest.

    Args:
        value: float64, shape (n,), without NaN.
        most: how many positions at most; at least 4.

    Returns:
        Increasing positions; all of them when there are few, and always the
        first and the last.
    """
    count = len(value)
    if count <= most:
        return np.arange(count)
    stretches = (most - 2) // 2
    edges = np.linspace(0, count, stretches + 1).astype(np.int64)
    length = int(np.diff(edges).max())
    # Each row is one stretch; a shorter one repeats its last value.
    at = np.minimum(edges[:-1, None] + np.arange(length), edges[1:, None] - 1)
    block = value[at]
    rows = np.arange(stretches)
    keep = np.concatenate(
        (
            [0, count - 1],
            at[rows, block.argmin(axis=1)],
            at[rows, block.argmax(axis=1)],
        )
    )
    return np.unique(keep)


def values_at(curve: Curve, time: Times) -> Floats:
    """Return the curve's last known value at each time, NaN before its first."""
    at = np.searchsorted(curve.time, time, side="right") - 1
    if not len(curve.value):
        return np.full(len(time), np.nan)
    return np.where(at >= 0, curve.value[np.maximum(at, 0)], np.nan)


def overview(result: RunResult) -> dict[str, Any]:
    """Return the columns of the equity, drawdown and exposure plots.

    Returns:
        ``at`` (bar number), ``time`` (minutes, naive KST), ``equity``, ``hold``
        and ``benchmark`` (won; the benchmark scaled to the starting value, either
        may be None), ``drawdown`` (zero or below) and ``exposure`` as fractions.
    """
    start = starting_value(result)
    equity = result.equity.equity
    keep = thinned(equity)
    time = result.equity.time[keep]
    fall = drawdown_curve(np.concatenate(([start], equity)))[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        exposure = np.where(equity > 0, result.equity.positions_value / equity, 0.0)
    hold, benchmark = result.buy_and_hold, result.benchmark
    scaled = None
    if benchmark is not None and len(benchmark.value):
        first = float(benchmark.value[0])
        scaled = values_at(benchmark, time) * (start / first if first else 0.0)
    return {
        "start": start,
        "at": keep.tolist(),
        "time": minutes(time),
        "equity": json_numbers(equity[keep], 0),
        "hold": json_numbers(values_at(hold, time), 0) if hold is not None else None,
        "benchmark": json_numbers(scaled, 0) if scaled is not None else None,
        "drawdown": json_numbers(-fall[keep], 5),
        "exposure": json_numbers(exposure[keep], 4),
    }


def minutes(time: Times) -> list[int]:
    """Return naive KST times as minutes since 1970, which JSON can carry."""
    found: list[int] = (time.astype("datetime64[m]").astype(np.int64)).tolist()
    return found


def json_numbers(values: Floats, digits: int) -> list[float | int | None]:
    """Return rounded numbers for JSON; what is no number becomes None."""
    rounded = np.round(values, digits)
    cells = rounded.tolist()
    if not digits and np.isfinite(rounded).all():
        return [int(cell) for cell in cells]
    return [cell if cell == cell else None for cell in cells]


def heat(value: float | None, most: float) -> float:
    """Return how strongly a month is coloured: 0 to 1, with its root for balance."""
    if value is None or most <= 0:
        return 0.0
    return float(min(1.0, abs(value) / most) ** 0.7)
