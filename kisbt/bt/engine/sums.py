"""Sums of floats, exact until they are rounded once: `math.fsum` for whole columns.

backtrader averages with `math.fsum`. Running sums of floats differ from it in
nearly every value, by enough to move a crossing. Here every value is written as
a whole multiple of one power of two and split into two whole parts; sums of those
are exact in int64 (an overflow wraps around and cancels in a difference).
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

_MANTISSA = 53
_LOW_BITS = 26
# Scaling by a power of two is exact only away from the ends of the range.
_FARTHEST_EXPONENT = 900


def window_sums(values: Floats, period: int) -> Floats | None:
    """Return `math.fsum` of every window of `period` values.

    Args:
        values: float64, shape (n,), n >= `period`. A window with a NaN sums to NaN.
        period: values in a window.

    Returns:
        Shape (n - period + 1,); None when the values do not fit: an infinity, or
        magnitudes too far apart. `math.fsum` then has to be asked itself.
    """
    missing = np.isnan(values)
    if missing.any():
        sums = _finite_window_sums(np.where(missing, 0.0, values), period)
        if sums is not None:
            sums[_differences(np.cumsum(missing), period) > 0] = np.nan
        return sums
    return _finite_window_sums(values, period)


def columns_sum(columns: Callable[[], Iterable[Floats]], count: int) -> Floats | None:
    """Return `math.fsum` of the `count` values that stand in one row.

    Args:
        columns: gives the columns, float64, all of one shape; called twice.
        count: how many there are.

    Returns:
        One sum for each row; None when the values do not fit (`window_sums`).
    """
    scale = _Scale()
    for column in columns():
        scale.include(column)
    if not scale.fits(count):
        return None
    high: Whole | int = 0
    low: Whole | int = 0
    for column in columns():
        upper, lower = scale.split(column)
        high, low = high + upper, low + lower
    return scale.join(np.asarray(high), np.asarray(low))


def _finite_window_sums(values: Floats, period: int) -> Floats | None:
    scale = _Scale()
    scale.include(values)
    if not scale.fits(period):
        return None
    if scale.whole and scale.top * period < 2.0**_MANTISSA:
        return _differences(np.cumsum(values.astype(np.int64)), period).astype(
            np.float64
        )
    high, low = scale.split(values)
    return scale.join(
        _differences(np.cumsum(high), period), _differences(np.cumsum(low), period)
    )


def _differences(running: Whole, period: int) -> Whole:
    """Return the window sums of which `running` are the running sums."""
    sums = running[period - 1 :].copy()
    sums[1:] -= running[:-period]
    return sums


class _Scale:
    """The power of two of which all values are whole multiples, and the largest."""

    def __init__(self) -> None:
        self.top = 0.0
        self.whole = True
        self._finite = True
        self._unit: int | None = None

    def include(self, values: Floats) -> None:
        """Take in a column."""
        if not np.isfinite(values).all():
            self._finite = False
            return
        top = float(np.abs(values).max(initial=0.0))
        self.top = max(self.top, top)
        if top < 2.0**_MANTISSA and np.array_equal(values, np.rint(values)):
            self._lower_to(0)
            return
        self.whole = False
        mantissas, exponents = np.frexp(values)
        digits = np.ldexp(mantissas, _MANTISSA).astype(np.int64)
        last_digit = (digits & -digits).astype(np.float64)
        # frexp of 2**k is (0.5, k + 1).
        units = exponents + (np.frexp(last_digit)[1] - 1 - _MANTISSA)
        used = digits != 0
        if used.any():
            self._lower_to(int(units[used].min()))

    def _lower_to(self, unit: int) -> None:
        self._unit = unit if self._unit is None else min(self._unit, unit)

    def fits(self, count: int) -> bool:
        """Return whether sums of `count` values come out exact."""
        unit = self._unit or 0
        bits = int(np.frexp(self.top)[1]) - unit
        return (
            self._finite
            and abs(unit) < _FARTHEST_EXPONENT
            and bits - _LOW_BITS + count.bit_length() <= _MANTISSA
        )

    def split(self, values: Floats) -> tuple[Whole, Whole]:
        """Return the values as whole multiples of the unit: (upper, lower) parts."""
        multiples = np.ldexp(values, -(self._unit or 0))
        upper = np.floor(multiples * 2.0**-_LOW_BITS)
        lower = multiples - upper * 2.0**_LOW_BITS
        return upper.astype(np.int64), lower.astype(np.int64)

    def join(self, upper: Whole, lower: Whole) -> Floats:
        """Return the floats that two sums of parts stand for, rounded once."""
        total = upper.astype(np.float64) * 2.0**_LOW_BITS + lower.astype(np.float64)
        joined: Floats = np.ldexp(total, self._unit or 0)
        return joined
