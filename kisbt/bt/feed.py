"""CandleFeed: stored candles into backtrader's lines, in bulk."""

import array
import math
from datetime import datetime
from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt

from kisbt.candles.bases import SessionBases
from kisbt.candles.columns import VALUES, CandleColumns
from kisbt.model.candle import Interval
from kisbt.model.instrument import Instrument

Floats = npt.NDArray[np.float64]

_UNIX_EPOCH_ORDINAL = 719_163.0  # date(1970, 1, 1).toordinal()
# Any date kisbt knows lies between 2**19 and 2**20 days: one binade, so that the
# fraction of a day is rounded as backtrader rounds the whole number.
BINADE = 2.0**19


def datetime_numbers(times: npt.NDArray[np.datetime64]) -> Floats:
    """Return backtrader's date numbers, equal to ``date2num`` to the last bit.

    Args:
        times: datetime64, naive, shape (n,).

    Returns:
        Days since year 0, float64, shape (n,).
    """
    seconds = times.astype("datetime64[s]").astype(np.int64)
    days, second_of_day = np.divmod(seconds, 86_400)
    numbers = days.astype(np.float64) + _UNIX_EPOCH_ORDINAL
    if not second_of_day.any():
        return numbers
    distinct, where = np.unique(second_of_day, return_inverse=True)
    fractions = [
        math.fsum(
            (BINADE, s // 3600 / 24.0, s % 3600 // 60 / 1440.0, s % 60 / 86_400.0)
        )
        - BINADE
        for s in distinct.tolist()
    ]
    return numbers + np.array(fractions)[where]


def whole_seconds(numbers: Floats) -> npt.NDArray[np.datetime64]:
    """Return the times of date numbers that stand for whole seconds."""
    # Half a second before the cut: a date number is good to about 10 us.
    seconds = np.floor((numbers - _UNIX_EPOCH_ORDINAL) * 86_400.0 + 0.5)
    return seconds.astype(np.int64).astype("datetime64[s]")


def number_to_datetime(number: float) -> datetime:
    """Return the naive KST time of one of backtrader's date numbers."""
    moment: datetime = bt.num2date(number)
    return moment


class _CurrentValue:
    """`data.tick_close` and its like: the bar's value, without storing it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, feed: Any, owner: type | None = None) -> Any:
        if feed is None or not len(feed):
            return None
        return getattr(feed.lines, self._name)[0]


class CandleFeed(bt.feed.DataBase):
    """A feed over the candles of one symbol.

    ``CandleFeed(dataname=columns, name="005930", instrument=instrument)``. Bars
    carry END labels in naive KST, as stored. The whole history is copied into
    the lines at once; in ``runonce=False`` mode it is stepped as usual.

    Params:
        dataname: `CandleColumns`.
        instrument: what it is; KOSPI stock named like the feed if None.
        interval: length of a bar; sets timeframe and compression.
        adjusted: whether prices were rescaled for splits, so that they may lie
            off the price grid.
        bases: `SessionBases`, for minute bars; if None, the last close of the
            session before.
    """

    params: Any = (
        ("instrument", None),
        ("interval", Interval()),
        ("adjusted", False),
        ("bases", None),
    )

    tick_open = _CurrentValue("open")
    tick_high = _CurrentValue("high")
    tick_low = _CurrentValue("low")
    tick_close = _CurrentValue("close")
    tick_volume = _CurrentValue("volume")
    tick_openinterest = _CurrentValue("openinterest")
    tick_last = _CurrentValue("close")

    def __init__(self, **kwargs: Any) -> None:
        """Take the candles; see the class for the parameters."""
        super().__init__(**kwargs)
        minutes = self.p.interval.minutes
        self.p.timeframe = bt.TimeFrame.Minutes if minutes else bt.TimeFrame.Days
        self.p.compression = minutes or 1
        self._timeframe, self._compression = self.p.timeframe, self.p.compression
        self._reference: Floats | None = None
        self._daily_volume: tuple[Any, Floats] | None = None

    @property
    def candles(self) -> CandleColumns:
        """The candles behind the bars; bar number k is candle k - 1."""
        candles: CandleColumns = self.p.dataname
        return candles

    @property
    def instrument(self) -> Instrument:
        """What is traded."""
        return self.p.instrument or Instrument(symbol=self._name)

    def reference_close(self, bar: int) -> float:
        """Return the base price of the session of bar `bar`, won.

        The last close of the session before, unless another is known; NaN in the
        first session. `bar` counts from 0.
        """
        if self._reference is None:
            self._reference = _references(self.p.dataname, self.p.bases)
        return float(self._reference[bar])

    def average_volume(self, bar: int, sessions: int) -> float | None:
        """Return the mean daily volume of the last `sessions` before bar `bar`'s.

        None while fewer are known. `bar` counts from 0.
        """
        if self._daily_volume is None:
            self._daily_volume = session_volumes(self.candles)
        days, volumes = self._daily_volume
        at = int(np.searchsorted(days, self.candles.end[bar].astype("datetime64[D]")))
        return float(volumes[at - sessions : at].mean()) if at >= sessions else None

    def start(self) -> None:
        """Begin before the first candle."""
        super().start()
        self._at = -1

    def preload(self) -> None:
        """Fill the lines with whole columns."""
        if self._filters or self._tzinput or len(self):
            super().preload()
            return
        for name, line in zip(self.getlinealiases(), self.lines, strict=True):
            line.array = array.array("d", self._column(name).tobytes())
        # Nothing is left for _load: without this, stepping mode would deliver
        # every bar twice.
        self._at = len(self.candles)
        self.home()

    def _column(self, name: str) -> Floats:
        candles = self.candles
        if name == "datetime":
            return datetime_numbers(candles.end)
        if name in VALUES:
            return np.ascontiguousarray(getattr(candles, name), dtype=np.float64)
        return np.zeros(len(candles))

    def _load(self) -> bool:
        self._at += 1
        candles = self.candles
        if self._at >= len(candles):
            return False
        end = candles.end[self._at : self._at + 1]
        self.lines.datetime[0] = datetime_numbers(end).item()
        for name in VALUES:
            getattr(self.lines, name)[0] = getattr(candles, name).item(self._at)
        self.lines.openinterest[0] = 0.0
        return True

    def advance(
        self, size: int = 1, datamaster: Any = None, ticks: bool = True
    ) -> None:
        if datamaster is None:
            # The stock method also stores twelve tick_ attributes on every bar.
            self.lines.advance(size)
        else:
            super().advance(size, datamaster, ticks)


def session_volumes(candles: CandleColumns) -> tuple[Any, Floats]:
    """Return the sessions that have candles, and their volumes."""
    days, where = np.unique(candles.end.astype("datetime64[D]"), return_inverse=True)
    return days, np.bincount(where, weights=candles.volume).astype(np.float64)


def _references(candles: CandleColumns, bases: SessionBases | None) -> Floats:
    """Return for each bar the base price of its session, as far as it is known."""
    if bases is None:
        return _previous_session_close(candles)
    return bases.of_bars(candles.end.astype("datetime64[D]"))


def _previous_session_close(candles: CandleColumns) -> Floats:
    """Return for each bar the last close of the session before its own."""
    days = candles.end.astype("datetime64[D]")
    starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
    before = np.r_[np.nan, candles.close[starts[1:] - 1]]
    lengths = np.diff(np.r_[starts, len(candles)])
    return np.repeat(before, lengths)
