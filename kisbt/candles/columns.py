"""Candles of one symbol as columns: what the store hands to everybody else."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from kisbt.errors import BadCandle
from kisbt.text import _

Times = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")

_Part = slice  # the class below has a method of that name


@dataclass(frozen=True, slots=True, eq=False)
class CandleColumns:
    """Candles of one symbol and interval, oldest first, as read-only arrays.

    Attributes:
        end: END labels, datetime64[s], naive KST, shape (n,), strictly increasing.
        open, high, low, close: won, float64, shape (n,); fractional only on
            adjusted history and on indices.
        volume: shares, float64, shape (n,).
    """

    end: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __post_init__(self) -> None:
        """Convert, check and freeze the arrays.

        Raises:
            BadCandle: lengths differ, or END labels do not increase.
        """
        for field in fields(self):
            kind = "datetime64[s]" if field.name == "end" else np.float64
            view = np.asarray(getattr(self, field.name), dtype=kind).view()
            view.flags.writeable = False
            object.__setattr__(self, field.name, view)
        shape = self.end.shape
        if len(shape) != 1 or any(
            getattr(self, name).shape != shape for name in VALUES
        ):
            raise BadCandle(_("the columns of the candles differ in length"))
        if np.isnat(self.end).any():
            raise BadCandle(_("a candle has no time"))
        steps = np.diff(self.end) > np.timedelta64(0, "s")
        if not steps.all():
            at = int(np.argmin(steps)) + 1
            raise BadCandle(
                _("candle {number}: {time} does not come after {before}").format(
                    number=at + 1, time=self.end[at], before=self.end[at - 1]
                )
            )

    def __len__(self) -> int:
        return int(self.end.size)

    @classmethod
    def empty(cls) -> "CandleColumns":
        """Return no candles."""
        none = np.empty(0)
        return cls(np.empty(0, "datetime64[s]"), none, none, none, none, none)

    @property
    def sessions(self) -> Times:
        """Date of each candle, datetime64[D], shape (n,)."""
        return self.end.astype("datetime64[D]")

    def slice(self, start: int | None, stop: int | None) -> "CandleColumns":
        """Return the candles from position `start` up to, not with, `stop`."""
        return self._pick(_Part(start, stop))

    def between(
        self, first: np.datetime64 | None, last: np.datetime64 | None
    ) -> "CandleColumns":
        """Return the candles with first ≤ end ≤ last.

        Args:
            first, last: None for no bound. A date (datetime64[D]) as `last`
                includes that whole day.
        """
        start = stop = None
        if first is not None:
            start = int(np.searchsorted(self.end, first.astype("datetime64[s]")))
        if last is not None:
            bound = last.astype("datetime64[s]")
            if np.datetime_data(last.dtype)[0] == "D":
                bound = bound + np.timedelta64(86_399, "s")
            stop = int(np.searchsorted(self.end, bound, side="right"))
        return self.slice(start, stop)

    def where(self, keep: Flags) -> "CandleColumns":
        """Return the candles for which `keep` (bool, shape (n,)) is true."""
        return self if bool(keep.all()) else self._pick(keep)

    def _pick(self, which: _Part | Flags) -> "CandleColumns":
        return CandleColumns(
            *(getattr(self, field.name)[which] for field in fields(self))
        )


def halted(candles: CandleColumns) -> Flags:
    """Return which candles only say that trading was halted.

    Source:
        Korean daily charts write a halted session as open = high = low = 0,
        close = previous close (KRX market data; also seen with the volume of
        block trades made outside the order book).
    """
    zero: Flags = (candles.open == 0) & (candles.high == 0) & (candles.low == 0)
    return zero
