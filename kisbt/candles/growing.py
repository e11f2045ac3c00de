"""Candles of one symbol that grow one by one, as columns: 48 bytes each.

As objects in lists they would take several hundred, and a run of forty symbols makes
fifteen thousand a session.
"""

from array import array
from bisect import bisect_left
from datetime import datetime, timedelta

import numpy as np

from kisbt.candles.columns import VALUES, CandleColumns
from kisbt.krx.calendar import KST
from kisbt.model.candle import Candle

_EPOCH = datetime(1970, 1, 1)
_SECOND = timedelta(seconds=1)


class GrowingCandles:
    """Candles of one symbol, oldest first; only later ones are added."""

    __slots__ = ("_ends", "_values")

    def __init__(self) -> None:
        """Begin empty."""
        self._ends = array("q")  # seconds since 1970 of naive KST
        self._values = tuple(array("d") for _name in VALUES)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> Candle:
        end = _EPOCH + self._ends[number] * _SECOND
        open_, high, low, close, volume = (column[number] for column in self._values)
        return Candle(
            end=end.replace(tzinfo=KST),
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
        )

    def append(self, candle: Candle) -> None:
        """Add a candle that ends after all others, at a whole second."""
        self._ends.append(_seconds(candle.end))
        for name, values in zip(VALUES, self._values, strict=True):
            values.append(getattr(candle, name))

    def first_from(self, moment: datetime) -> int:
        """Return the number of the first candle that ends at `moment` or later."""
        return bisect_left(self._ends, _seconds(moment))

    def find(self, end: datetime) -> Candle | None:
        """Return the candle that ends at `end`; None if there is none."""
        at = self.first_from(end)
        found = at < len(self._ends) and self._ends[at] == _seconds(end)
        return self[at] if found else None

    def columns(self, stop: int | None = None) -> CandleColumns:
        """Return a copy of the candles, or of the first `stop` of them."""
        ends = np.array(self._ends[:stop], np.int64).view("datetime64[s]")
        values = (np.array(column[:stop], np.float64) for column in self._values)
        return CandleColumns(ends, *values)


def _seconds(end: datetime) -> int:
    return (end.astimezone(KST).replace(tzinfo=None) - _EPOCH) // _SECOND
