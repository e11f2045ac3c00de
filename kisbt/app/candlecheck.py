"""Candles made of trades, compared with the broker's own chart."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from kisbt.app.charts import TodayCharts
from kisbt.app.enquiries import Enquiries
from kisbt.app.liverecord import Record
from kisbt.app.sessionplan import Progress, Stage
from kisbt.candles.live import CandleBuilder
from kisbt.clock import Clock
from kisbt.model.candle import Candle
from kisbt.model.liverun import CandleChange

log = logging.getLogger(__name__)

_MINUTE = timedelta(minutes=1)
# A chart query brings thirty minutes: each symbol is looked at that often.
_RECHECK_S = 25 * 60.0
_CHART = "chart"  # what is asked beside the loop


class ChartComparison:
    """Hands the broker's candles to the builder; notes those that come too late."""

    def __init__(self, builder: CandleBuilder, record: Record, clock: Clock) -> None:
        """Compare what `builder` has published; `record` takes the differences."""
        self._builder = builder
        self._record = record
        self._clock = clock
        self._noted: dict[str, set[int]] = {}  # minutes, by symbol

    def compare(self, symbol: str, chart: Sequence[Candle]) -> None:
        """Take the broker's candles of a symbol."""
        for candle in chart:
            if self._builder.correct(symbol, candle):
                continue
            noted = self._noted.setdefault(symbol, set())
            minute = int(candle.end.timestamp()) // 60
            if minute in noted or self._builder.is_to_come(candle.end):
                continue
            noted.add(minute)
            seen = self._builder.find(symbol, candle.end)
            kind = CandleChange.LATE if seen is None else CandleChange.REVISED
            self._record.changed(self._clock.now(), kind, symbol, seen, candle)


class Recheck:
    """Asks for the charts of the symbols as the session goes on, in turn."""

    def __init__(
        self,
        symbols: Sequence[str],
        progress: Progress,
        builder: CandleBuilder,
        charts: TodayCharts,
        comparison: ChartComparison,
        enquiries: Enquiries,
        unheard: Callable[[datetime], None],
    ) -> None:
        """Look at nothing yet.

        Args:
            symbols: whose trades are heard; at least one.
            progress: of the run.
            builder: of the candles.
            charts: of the broker.
            comparison: takes the charts.
            enquiries: asks for them.
            unheard: called when trades since a moment were not heard, although
                the stream has not broken.
        """
        self._symbols = symbols
        self._progress = progress
        self._builder = builder
        self._charts = charts
        self._comparison = comparison
        self._enquiries = enquiries
        self._unheard = unheard
        self._checked_at: datetime | None = None
        self._next = 0

    def begin(self) -> None:
        """Begin a session."""
        self._checked_at = None

    def is_due(self, now: datetime) -> bool:
        """Return whether it is the next symbol's turn."""
        every = timedelta(seconds=_RECHECK_S / len(self._symbols))
        return self._checked_at is None or now >= self._checked_at + every

    def look(self, now: datetime, opens: datetime) -> None:
        """Compare the candles of the next symbol.

        Args:
            now: time of the market.
            opens: when the session opens; there is no candle before.
        """
        first, self._checked_at = self._checked_at is None, now
        if first or now < opens + 2 * _MINUTE:
            return
        symbol = self._symbols[self._next % len(self._symbols)]
        self._next += 1
        if not self._builder.has_published(symbol):
            return
        since = now - timedelta(seconds=_RECHECK_S) - 5 * _MINUTE
        self._enquiries.ask(
            _CHART,
            partial(self._charts.minutes, symbol, since, now - _MINUTE),
            partial(self._take, symbol, now),
            lambda error: log.info("chart of %s not compared: %s", symbol, error),
        )

    def _take(self, symbol: str, asked: datetime, chart: Sequence[Candle]) -> None:
        progress = self._progress
        if asked.date() != progress.day or progress.stage is not Stage.OPEN:
            return
        unheard = [
            candle.end
            for candle in chart
            if self._builder.find(symbol, candle.end) is None
            and self._builder.is_to_come(candle.end)
        ]
        if unheard:
            # The stream is dead without having said so: the others miss theirs, too.
            log.warning("trades of %s since %s were not heard", symbol, unheard[0])
            self._unheard(unheard[0] - _MINUTE)
            return
        self._comparison.compare(symbol, chart)
