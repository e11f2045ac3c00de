"""Candles of a break in the stream, taken from the broker's chart before others."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial

from kisbt.app.candlecheck import ChartComparison
from kisbt.app.charts import TodayCharts
from kisbt.app.enquiries import Enquiries
from kisbt.app.outage import Outage
from kisbt.app.sessionplan import Progress, SessionPlan, Stage
from kisbt.candles.live import CandleBuilder
from kisbt.clock import Clock
from kisbt.errors import KisError
from kisbt.model.candle import Candle

log = logging.getLogger(__name__)

_MINUTE = timedelta(minutes=1)
_RETRY_S = 20.0
# Bars wait so long, after the stream is back, for a chart that is not answered.
_CHART_WAIT_S = 120.0
_GAP = "gap"  # what is asked beside the loop


class Backfill:
    """Takes what was missed from the chart; bars wait for it, but not for ever."""

    def __init__(  # noqa: PLR0913 - the parts are made elsewhere
        self,
        plan: SessionPlan,
        progress: Progress,
        clock: Clock,
        builder: CandleBuilder,
        charts: TodayCharts,
        comparison: ChartComparison,
        outage: Outage,
        *,
        enquiries: Enquiries,
    ) -> None:
        """Miss nothing yet.

        Args:
            plan: of the run.
            progress: of the run.
            clock: time of the market.
            builder: of the candles.
            charts: of the broker.
            comparison: takes the charts.
            outage: of the stream of trades.
            enquiries: asks for the charts.
        """
        self._plan = plan
        self._progress = progress
        self._clock = clock
        self._builder = builder
        self._charts = charts
        self._comparison = comparison
        self._outage = outage
        self._enquiries = enquiries
        self._since: datetime | None = None
        self._until: datetime | None = None
        self._unfilled = False
        self._retry_at: datetime | None = None
        self._chart_by = clock.now()
        self._deaf_at_close: date | None = None

    @property
    def is_asking(self) -> bool:
        """Whether a chart is on its way."""
        return self._enquiries.is_asking(_GAP)

    # What was missed.

    def look_back(self, missed: datetime, now: datetime) -> None:
        """Take the candles since a moment from the broker's chart, before others."""
        self._builder.mark_gap(missed, now)
        self._since = min(missed, self._since or missed)
        self._until = self._retry_at = now
        self._unfilled = True
        self._wait_from(now)

    def take_up_day(self, opens: datetime, now: datetime) -> bool:
        """In the middle of a session, ask for the minutes that are over, at once.

        The minute under way was not heard from its begin, so it is taken from the
        chart, too.

        Args:
            opens: when the session has opened.
            now: time of the market.

        Returns:
            Whether they are known; else the bars of the day wait for them.
        """
        self._builder.mark_gap(opens, now)
        self._since, self._until = opens, now
        self._unfilled, self._outage.mended = True, False
        self._wait_from(now)
        # Nothing is decided before these minutes are known: they are waited for.
        self._take(self._progress.day, self._until, now, self._ask(opens, now))
        return not self._unfilled

    def look_back_at_close(self, closes: datetime, now: datetime) -> None:
        """Take the rest of the day from the chart if the stream has not brought it.

        Each session ends with a trade of nearly every symbol; when none was heard, the
        stream is dead without having said so.
        """
        outage, day = self._outage, self._progress.day
        deaf = outage.is_down or outage.ticked_at < closes
        if not deaf or self._deaf_at_close == day:
            return
        self._deaf_at_close = day
        self.look_back(min(outage.since or now, outage.ticked_at), now)

    # Bars that wait for it.

    def waits(self, now: datetime) -> bool:
        """Return whether candles are held back until the broker's chart is known.

        What was heard before and after a break is only a part of them, and a later
        one that goes out shuts the door for those before it.
        """
        if self._progress.stage is not Stage.OPEN:
            return False
        if self._outage.is_down and self._deaf_at_close != self._progress.day:
            return True
        if now >= self._chart_by:
            return False
        if self._unfilled:
            return True
        # The minute under way when it came back is asked for as well.
        since, coming = self._since, self._builder.next_end()
        return since is not None and coming is not None and coming > since

    def _wait_from(self, moment: datetime) -> None:
        """Hold bars back from a moment on, but not for ever."""
        self._chart_by = moment + timedelta(seconds=_CHART_WAIT_S)

    def next_try(self, now: datetime) -> datetime:
        """Return when to look again while bars wait."""
        return max(self._retry_at or now, now + timedelta(seconds=1))

    # The chart.

    def ask_if_due(self, now: datetime) -> None:
        """Ask for the candles of a break, if there was one and its time has come."""
        if self._since is None or (self._retry_at or now) > now:
            return
        self._enquiries.ask(
            _GAP,
            partial(self._ask, self._since, now),
            partial(self._take, self._progress.day, self._until, now),
            lambda error: log.warning("gap not filled: %s", error),
        )

    def _ask(
        self, since: datetime, now: datetime
    ) -> tuple[dict[str, Sequence[Candle]], KisError | None]:
        """Return the charts of a gap, and why there are no more of them."""
        found: dict[str, Sequence[Candle]] = {}
        try:
            for symbol in self._plan.symbols:
                if self._progress.stopping:
                    break
                found[symbol] = self._charts.minutes(symbol, since - _MINUTE, now)
        except KisError as error:
            return found, error
        return found, None

    def _take(
        self,
        day: date,
        until: datetime | None,
        now: datetime,
        answer: tuple[Mapping[str, Sequence[Candle]], KisError | None],
    ) -> None:
        """Take the charts of a gap that ended at `until`, asked for at `now`."""
        found, error = answer
        if day != self._progress.day or self._progress.stopping:
            return
        for symbol, chart in found.items():
            self._comparison.compare(symbol, chart)
        if until != self._until:
            return  # it broke again meanwhile: that gap is asked for next
        if error is not None:
            log.warning("gap not filled: %s", error)
            if not self._unfilled:
                # Of the minute under way when it came back: of some symbols only.
                self._unfilled, self._until = True, now
                self._wait_from(self._clock.now())
            self._retry_at = now + timedelta(seconds=_RETRY_S)
            return
        log.info("gap filled, until %s", now)
        self._unfilled = False
        self._outage.mend()
        # The candle under way then was heard in part: it comes from the chart as well.
        end = self._builder.end_of(self._until or now)
        if end is None or now >= end:
            self._since = self._retry_at = None
            return
        self._since = end - _MINUTE
        self._retry_at = end + timedelta(seconds=min(1.0, self._plan.grace_s))
        self._wait_from(max(self._retry_at, self._clock.now()))
