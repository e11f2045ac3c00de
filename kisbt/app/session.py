"""The trading loop: one turn takes what came, works the orders, publishes candles.

A turn never waits but for the network. It is called again and again, by a thread of
its own or, where the run moves an emulator step by step, by Cerebro's pass itself.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

from kisbt.app.backfill import Backfill
from kisbt.app.candlecheck import ChartComparison, Recheck
from kisbt.app.charts import TodayCharts
from kisbt.app.deskrhythm import DeskRhythm
from kisbt.app.enquiries import Enquiries
from kisbt.app.hearing import Hearing, Prices
from kisbt.app.liverecord import Record
from kisbt.app.marketpace import MarketPace
from kisbt.app.outage import Outage
from kisbt.app.pricepoll import PricePoll
from kisbt.app.sessionplan import DeskWork, Hooks, Progress, SessionPlan, Stage
from kisbt.app.venue import DAILY_SETTLED, Venue
from kisbt.candles.live import AUCTION_TAIL, CandleBuilder
from kisbt.errors import KisError
from kisbt.krx.phases import session_phases
from kisbt.model.candle import Candle
from kisbt.model.liverun import CandleChange
from kisbt.model.order import Notice
from kisbt.model.quote import Tick
from kisbt.model.stream import Alert, Gap, Trouble
from kisbt.text import _

log = logging.getLogger(__name__)

_MINUTE = timedelta(minutes=1)
# The regular session is prepared so long before the first order can be sent.
_LEAD = timedelta(minutes=10)
_RETRY_S = 20.0
# A call that is in no hurry is made when nothing is due for so long.
_CHORE_S = 3.0
_LATE_QUERY_S = 15.0
_TIDY = "tidy"  # what is asked beside the loop


class LiveSession:
    """Runs sessions, one after the other; one thread calls `turn`.

    Attributes:
        record: what it saw.
    """

    def __init__(  # noqa: PLR0913 - the parts are made elsewhere
        self,
        plan: SessionPlan,
        venue: Venue,
        desk: DeskWork,
        hearing: Hearing,
        prices: Prices,
        builder: CandleBuilder | None,
        hooks: Hooks,
        *,
        enquiries: Enquiries | None = None,
    ) -> None:
        """Join the parts; nothing happens before the first turn.

        Args:
            plan: what to do.
            venue: where.
            desk: of the orders.
            hearing: of trades and notices.
            prices: of the moment; told of every trade.
            builder: of candles; None for daily bars, which are the broker's.
            hooks: whom to tell.
            enquiries: asks for what no order waits for; by default at once, in
                the turn that wants it.
        """
        self.plan = plan
        self.record = (
            Record()
            if builder is None
            else Record(made=builder.candles, bases=builder.bases)
        )
        self._progress = Progress(Stage.WAITING, plan.first)
        self._venue = venue
        self._clock = venue.clock
        self._calendar = venue.calendar
        self._desk = desk
        self._hearing = hearing
        self._prices = prices
        self._builder = builder
        self._hooks = hooks
        self._enquiries = enquiries or Enquiries(at_once=True, wake=lambda: None)
        self._charts = TodayCharts(venue.data, venue.calendar, plan.interval)
        self._outage = Outage(venue, self.record, hooks.broken)
        self._poll = PricePoll(
            plan,
            self._progress,
            venue,
            builder,
            self._enquiries,
            self._take_polled,
            hooks.say,
        )
        self._fill: Backfill | None = None
        self._recheck: Recheck | None = None
        if builder is not None:
            self._fill, self._recheck = self._chart_work(builder)
        self._rhythm = DeskRhythm(desk, venue, hooks.news)
        self._pace = MarketPace(venue, plan.grace_s)
        self._held_back: Mapping[str, Candle] = {}
        self._day_retry_at: datetime | None = None
        self._waited_for: date | None = None
        self._chore_at = self._clock.now()

    def _chart_work(self, builder: CandleBuilder) -> tuple[Backfill, Recheck | None]:
        """Return what compares candles made of trades with the broker's chart."""
        comparison = ChartComparison(builder, self.record, self._clock)
        fill = Backfill(
            self.plan,
            self._progress,
            self._clock,
            builder,
            self._charts,
            comparison,
            self._outage,
            enquiries=self._enquiries,
        )
        if not self.plan.recheck or not self.plan.followed:
            return fill, None
        recheck = Recheck(
            self.plan.followed,
            self._progress,
            builder,
            self._charts,
            comparison,
            self._enquiries,
            lambda missed: fill.look_back(missed, self._clock.now()),
        )
        return fill, recheck

    @property
    def stage(self) -> Stage:
        """Where it is in its day."""
        return self._progress.stage

    @property
    def day(self) -> date:
        """Session under way or waited for."""
        return self._progress.day

    # The turn.

    def turn(self) -> float:
        """Do everything that is due now.

        Returns:
            Seconds of market time until something is due again; 0 when at once.
        """
        self._enquiries.take()
        news = self._hear()
        end = self._coming_bar()
        self._desk.ending_bar(end)
        ended = end is not None and end <= self._clock.now()
        desk_s = self._rhythm.work(now_please=news or ended)
        due = self._advance()
        self._let_market_go()
        if due is None:
            return 0.0
        left_s = max(0.0, (due - self._clock.now()).total_seconds())
        wait_s = min(left_s, max(0.0, desk_s))
        return 0.0 if self._did_chore(left_s) else wait_s

    def _did_chore(self, left_s: float) -> bool:
        """Make a call that is in no hurry, while nothing else is to be done."""
        now = self._clock.now()
        busy = self.stage is Stage.WAITING or left_s < _CHORE_S or self._desk.pending()
        if busy or self._progress.stopping or now < self._chore_at:
            return False
        try:
            return self._hooks.chore()
        except KisError as error:
            log.warning("%s", error)
            self._chore_at = now + timedelta(seconds=_RETRY_S)
            return False

    def ask_desk(self) -> None:
        """Have the desk looked at in the next turn; from any thread."""
        self._rhythm.ask()

    def _let_market_go(self) -> None:
        """Let an emulator of this run go on once everything has been dealt with."""
        now = self._clock.now()
        if not self._pace.is_due(now):
            return
        if self._is_behind(now):
            self._pace.let_pass(now, self._waits_s(now))
            return
        self._pace.go_on(self._next_mark(now))

    def _waits_s(self, now: datetime) -> Iterator[float]:
        """Yield how long what itself waits for time still takes."""
        yield self._rhythm.due_in_s()
        close = None if self._builder is None else self._builder.next_close()
        if close is not None:
            yield (close - now).total_seconds()
        if self._enquiries.busy:
            yield 1.0  # its calls may wait for the rate

    def _next_mark(self, now: datetime) -> datetime:
        """Return when everything must have been dealt with next."""
        if self.stage is Stage.OVER:
            return now + timedelta(days=400)
        if self.stage is Stage.WAITING:
            return max(now, self.begins(self.day))
        return now.replace(second=0, microsecond=0) + _MINUTE

    def _is_behind(self, now: datetime) -> bool:
        if self.stage is not Stage.OPEN:
            return False
        soon = None if self._builder is None else self._builder.next_end()
        late = soon is not None and soon <= now and not self._waits_for_chart(now)
        late = late or (self._fill is not None and self._fill.is_asking)
        return late or not self._hooks.idle() or self._desk.pending()

    def _settle(self) -> None:
        """Have the fills of the bar about to be published booked.

        Where the market waits for the run, a fill that a notice has told is waited
        for, however late the broker's queries show it.
        """
        self._desk.settle()
        if not self._venue.step:
            return
        until_s = self._clock.monotonic() + _LATE_QUERY_S
        while self._desk.awaits_fills() and self._clock.monotonic() < until_s:
            self._clock.sleep(1.0)
            self._hearing.catch_up()
            self._hear()
            self._desk.settle()

    def _coming_bar(self) -> datetime | None:
        """Return the END of the bar that is published next; None if not known."""
        if self.stage is Stage.CLOSING:
            return self._calendar.close_time(self.day)
        return None if self._builder is None else self._builder.next_end()

    def stop(self) -> None:
        """End after this turn; from any thread."""
        self._progress.stopping = True

    def close(self) -> None:
        """End what is asked beside the loop; after the last turn."""
        self._progress.stopping = True
        if not self._enquiries.stop():
            log.warning("a query about the market is still under way")

    @property
    def is_stopping(self) -> bool:
        """Whether it has been told to end."""
        return self._progress.stopping

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.stage is Stage.OVER

    def _advance(self) -> datetime | None:
        """Move to the next stage if its time has come; return when to look again."""
        if self._progress.stopping and self.stage is not Stage.OVER:
            self._finish()
        if self.stage is Stage.WAITING:
            return self._wait()
        if self.stage is Stage.OPEN:
            return self._trade()
        if self.stage is Stage.CLOSING:
            return self._close()
        return self._clock.now() + _MINUTE

    # What comes in.

    def _hear(self) -> bool:
        """Take what has come in; return whether it concerns orders."""
        events = self._hearing.take_events()
        for event in events:
            if isinstance(event, Gap):
                # Up again, also if all the broker says there is that it brings none.
                refused = self._poll.unheard and self._outage.is_down
                if event.trades or refused:
                    self._reconnected(event)
                else:
                    self._outage.notices_back(event)
            elif isinstance(event, Alert):
                self._troubled(event)
            elif isinstance(event, Notice):
                log.info("notice: %s %s %s", event.kind, event.symbol, event.number)
            self._desk.stream_event(event)
        ticks = self._hearing.take_ticks()
        if self._hearing.ready:
            self._outage.sound()
        if ticks:
            self._outage.ticked()
            self._prices.note(ticks)
            self._hooks.ticks(ticks)  # a stop waits for them; candles do not
            if self._builder is not None:
                self._builder.add_all(ticks)
        return bool(events)

    def _troubled(self, alert: Alert) -> None:
        log.warning("stream: %s %s %s", alert.trouble, alert.code, alert.text)
        self._hooks.say(alert.text)
        if not alert.trades:
            return  # bars are made of trades
        if alert.trouble in {Trouble.DOWN, Trouble.IN_USE, Trouble.FAULT}:
            self._outage.begin()
            self._poll.unheard.clear()  # the next connection asks for all of them again
        elif alert.trouble in {Trouble.REFUSED, Trouble.DISTRUSTED}:
            self._poll.add(alert.symbol)

    def _reconnected(self, gap: Gap) -> None:
        missed = self._outage.end(gap)
        if missed is None:
            return
        if self._fill is not None and self.stage is Stage.OPEN:
            self._fill.look_back(missed, self._clock.now())
        else:
            self._hooks.broken(False)

    # Waiting for a session.

    def _wait(self) -> datetime | None:
        if self._nothing_left():
            self._finish()
            return None
        now = self._clock.now()
        begins = self.begins(self.day)
        if now < begins:
            if self._waited_for != self.day:
                self._waited_for = self.day
                self._hooks.say(
                    _("waiting for the session of {day}, {time:%H:%M}").format(
                        day=self.day, time=begins
                    )
                )
            return begins
        self._begin()
        return None

    def begins(self, day: date) -> datetime:
        """Return when the work of a session begins: before orders are taken."""
        spans = session_phases(day, self._calendar)
        return min(span.start for span in spans) - _LEAD

    def _nothing_left(self) -> bool:
        enough = self.plan.sessions is not None and (
            len(self.record.sessions) >= self.plan.sessions
        )
        return enough or not self._venue.has_session(self.day)

    def _begin(self) -> None:
        log.info("session: %s", self.day)
        self._prices.forget()
        if self._builder is not None:
            self._builder.begin_session(self.day)
        self._desk.begin_session(self.day)
        self.record.sessions.append(self.day)
        self._held_back = {}
        self._outage.mend()
        self._take_up_day()
        if self._recheck is not None:
            self._recheck.begin()
        self._progress.stage = Stage.OPEN
        self._hooks.opened(self.day)
        self._hooks.say(_("session of {day}: open").format(day=self.day))

    def _take_up_day(self) -> None:
        """In the middle of a session, begin with the minutes that are over.

        They come out of the broker's chart and feed indicators only.
        """
        now = self._clock.now()
        opens = self._calendar.open_time(self.day)
        if self._builder is None or self._fill is None or now <= opens:
            return
        if not self._fill.take_up_day(opens, now):
            return  # the bars of the day wait for it
        for batch in self._builder.close_due(now):
            if batch.candles:
                self._publish(batch.candles, live=False)

    # The session.

    def _trade(self) -> datetime | None:
        now = self._clock.now()
        closes = self._calendar.close_time(self.day)
        is_closed = now >= self._closed_at(closes)
        self._poll.ask_if_due(now, last=is_closed)
        if self._fill is not None:
            if is_closed:
                self._fill.look_back_at_close(closes, now)
            self._fill.ask_if_due(now)
        if self._builder is not None and not self._publish_due(now, closes):
            return None  # published: let Cerebro take it before going on
        if is_closed and not self._owes_bars(now):
            self._settle()
            self._progress.stage = Stage.CLOSING
            return None
        self._outage.tell_live()
        self._check(now)
        return self._next_look(now, closes)

    def _check(self, now: datetime) -> None:
        """Do from time to time what keeps candles true and the journal quick."""
        if self._recheck is None or not self._recheck.is_due(now):
            return
        if not self._venue.step:
            self._enquiries.ask(
                _TIDY,
                self._hooks.tidy,
                lambda done: None,
                lambda error: log.warning("journal not tidied: %s", error),
            )
        self._recheck.look(now, self._calendar.open_time(self.day))

    def _take_polled(self, ticks: list[Tick]) -> None:
        self._prices.note(ticks)
        self._hooks.ticks(ticks)

    def _closed_at(self, closes: datetime) -> datetime:
        """Return when the last trade of the session must have been heard."""
        if self._venue.step:
            return closes
        return closes + AUCTION_TAIL + 2 * timedelta(seconds=self.plan.grace_s)

    def _next_look(self, now: datetime, closes: datetime) -> datetime:
        """Return when to look again: at the end of a minute, and a grace after it."""
        closed = self._closed_at(closes)
        if self._builder is None and not self._hooks.watching():
            return closed
        soon = None if self._builder is None else self._builder.next_close()
        if soon is not None and soon <= now:
            soon = now + timedelta(milliseconds=100)  # its trades are on their way
        if self._fill is not None and self._waits_for_chart(now):
            soon = self._fill.next_try(now)
            closed = max(closed, soon)
        minute = now.replace(second=0, microsecond=0) + _MINUTE
        looks = [closed, max(minute, self._calendar.open_time(self.day))]
        if self._builder is not None and self._poll.symbols:
            looks.append(self._poll.next_at)
        if soon is not None:
            looks.append(soon)
        return max(now, min(looks))

    def _publish_due(self, now: datetime, closes: datetime) -> bool:
        """Publish the candles that are complete; return whether there were none."""
        assert self._builder is not None
        soon, end = self._builder.next_close(), self._builder.next_end()
        if soon is None or end is None or soon > now:
            return True
        if self._venue.step:
            self._hearing.catch_up()  # a wait for the rate may have moved time
        elif not self._hearing.knows(end):
            return True  # trades of it are on their way: in the next turn
        self._hear()
        # First the fills of these minutes: a strategy must not see a bar before it.
        self._settle()
        self._hooks.news()
        if self._waits_for_chart(now):
            return True
        for batch in self._builder.close_due(now):
            if not batch.candles:
                continue
            for symbol in batch.uncertain:
                self.record.changed(
                    self._clock.now(), CandleChange.GAP, symbol, batch.candles[symbol]
                )
            if batch.end >= closes:
                # The last bar comes when the orders of the day are accounted for.
                self._held_back = batch.candles
                continue
            live = not self._is_stale(batch.end, now)
            if live:
                self._outage.tell_live()
            self._publish(batch.candles, live=live)
        return bool(self._held_back)

    def _waits_for_chart(self, now: datetime) -> bool:
        return self._fill is not None and self._fill.waits(now)

    def _owes_bars(self, now: datetime) -> bool:
        """Return whether candles of the session are still to be published."""
        if self._builder is None:
            return False
        soon = self._builder.next_close()
        return self._waits_for_chart(now) or (soon is not None and soon <= now)

    def _is_stale(self, end: datetime, now: datetime) -> bool:
        """Return whether a bar comes so late that the next one is out already.

        Indicators see it; the strategy does not decide on it any more.
        """
        length = timedelta(minutes=self.plan.interval.minutes or 0)
        return now - end > length + timedelta(seconds=self.plan.grace_s)

    def _publish(self, candles: Mapping[str, Candle], *, live: bool = True) -> None:
        self.record.published(self._clock.now(), candles, live=live)
        self._hooks.publish(candles, live)

    # The close.

    def _close(self) -> datetime | None:
        now = self._clock.now()
        if not self._desk.close_session(self.day):
            # The desk says when to come again; a minute at most.
            return now + _MINUTE
        if self._builder is None:
            ready = self._calendar.close_time(self.day) + DAILY_SETTLED
            ready = max(ready, self._day_retry_at or ready)
            if now < ready:
                return ready
            if not self._fetch_day(now) and now < self.begins(
                self._calendar.next_session(self.day)
            ):
                return self._day_retry_at
        if self._held_back:
            last, self._held_back = self._held_back, {}
            self._hooks.news()
            self._publish(last)
        self._hooks.say(_("session of {day}: closed").format(day=self.day))
        self._progress.day = self._calendar.next_session(self.day)
        self._progress.stage = Stage.WAITING
        return None

    def _fetch_day(self, now: datetime) -> bool:
        """Ask for the day's candles; return whether all of them came."""
        # A second try goes on where the first one broke off.
        found = dict(self._held_back)
        missing = [name for name in self.plan.symbols if name not in found]
        try:
            for symbol in missing:
                if self._progress.stopping:
                    return False
                candle = self._charts.day(symbol, self.day, adjusted=self.plan.adjusted)
                if candle is not None:
                    found[symbol] = candle
        except KisError as error:
            log.warning("daily candles not complete: %s", error)
            self._hooks.say(
                _("the day's candles could not be read yet: {why}").format(why=error)
            )
            self._held_back = found
            self._day_retry_at = now + timedelta(seconds=_RETRY_S)
            return False
        self._day_retry_at = None
        self._held_back = found
        return True

    def _finish(self) -> None:
        if self._held_back:
            last, self._held_back = self._held_back, {}
            self._publish(last)
        self._progress.stage = Stage.OVER
        self._hooks.over()
