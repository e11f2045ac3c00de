"""The broker's own candles of today, for what the stream cannot tell."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from kisbt.candles.columns import CandleColumns
from kisbt.candles.download import daily_candles, minute_candles
from kisbt.candles.resample import resample
from kisbt.clock import KST
from kisbt.krx.calendar import KrxCalendar
from kisbt.model.candle import Candle, Interval
from kisbt.model.ports import CandleSource
from kisbt.model.quote import ChartRow

_MAX_PAGES = 40  # a session has 13 pages of thirty minutes
_ONE_MINUTE = timedelta(minutes=1)


class TodayCharts:
    """Asks the broker for candles of the session under way."""

    def __init__(
        self, source: CandleSource, calendar: KrxCalendar, interval: Interval
    ) -> None:
        """Ask `source`.

        Args:
            source: keeps its own rate.
            calendar: of the exchange.
            interval: of the run's bars.
        """
        self._source = source
        self._calendar = calendar
        self._interval = interval

    def minutes(self, symbol: str, since: datetime, now: datetime) -> list[Candle]:
        """Return the complete candles of today, oldest first.

        Args:
            symbol: six characters.
            since: candles that end at or before it are left out.
            now: candles that end later are under way and left out.

        Raises:
            KisError: the broker could not be asked.
        """
        day = now.date()
        rows = self._rows(symbol, day, since, now)
        if not rows:
            return []
        minutes = minute_candles(rows, day, self._calendar)
        minutes = minutes.where(minutes.volume > 0)
        if self._interval.minutes not in {None, 1} and len(minutes):
            assert self._interval.minutes is not None
            minutes = resample(minutes, self._interval.minutes, calendar=self._calendar)
        return [candle for candle in as_candles(minutes) if since < candle.end <= now]

    def _rows(
        self, symbol: str, day: date, since: datetime, now: datetime
    ) -> Sequence[ChartRow]:
        """Return the rows back to `since`, any candle around it included."""
        opens = self._calendar.open_time(day)
        closes = self._calendar.close_time(day)
        length = timedelta(minutes=self._interval.minutes or 1)
        oldest_wanted = max(opens, since - length).time()
        until = min(now, closes).time().replace(second=0, microsecond=0)
        found: dict[time, ChartRow] = {}
        for _number in range(_MAX_PAGES):
            rows = [
                row
                for row in self._source.fetch_minutes(symbol, day, until)
                if row.day == day and row.start is not None and row.start <= until
            ]
            for row in rows:
                assert row.start is not None
                found[row.start] = row
            oldest = min((row.start for row in rows if row.start), default=None)
            if oldest is None or oldest <= oldest_wanted:
                break
            until = (datetime.combine(day, oldest) - _ONE_MINUTE).time()
        return list(found.values())

    def day(self, symbol: str, day: date, *, adjusted: bool) -> Candle | None:
        """Return the candle of a session; None if nothing was traded in it.

        Raises:
            KisError: the broker could not be asked.
        """
        rows = [
            row
            for row in self._source.fetch_days(symbol, day, day, adjusted=adjusted)
            if row.day == day and row.volume > 0
        ]
        found = as_candles(daily_candles(rows, self._calendar)) if rows else []
        return found[0] if found else None


def as_candles(columns: CandleColumns) -> list[Candle]:
    """Return columns as candles, oldest first."""
    return [
        Candle(
            end=end.replace(tzinfo=KST),
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
        )
        for end, open_, high, low, close, volume in zip(
            columns.end.tolist(),
            columns.open.tolist(),
            columns.high.tolist(),
            columns.low.tolist(),
            columns.close.tolist(),
            columns.volume.tolist(),
            strict=True,
        )
    ]
