"""Stored OHLCV values and their interval."""

import re
from dataclasses import dataclass
from datetime import datetime

from kisbt.errors import InputError
from kisbt.text import _

_INTERVAL = re.compile(r"([1-9][0-9]{0,3})m|1d")


@dataclass(frozen=True, slots=True)
class Interval:
    """Length of a candle: a session, or a number of minutes.

    Attributes:
        minutes: None for a daily candle.
    """

    minutes: int | None = None

    @property
    def is_daily(self) -> bool:
        """Whether a candle covers a whole session."""
        return self.minutes is None

    def __str__(self) -> str:
        return "1d" if self.minutes is None else f"{self.minutes}m"


DAILY = Interval()
MINUTE = Interval(1)


def parse_interval(text: str) -> Interval:
    """Return the interval written as ``1d``, ``1m``, ``5m`` ...

    Raises:
        InputError: anything else.
    """
    found = _INTERVAL.fullmatch(text.strip().lower())
    if found is None:
        raise InputError(
            _("interval {found!r}: expected 1d, 1m, 5m, 15m, 30m or 60m").format(
                found=text
            )
        )
    minutes = found.group(1)
    return Interval(int(minutes)) if minutes else DAILY


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One candle.

    Attributes:
        end: END label, aware KST: the moment the candle is complete.
        open, high, low, close: won; fractional only on adjusted history.
        volume: shares.
    """

    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
