"""The trading loop: one turn takes what came, works the orders, publishes candles.

A turn never waits but for the network. It is called again and again, by a thread of
its own or, where the run moves an emulator step by step, by Cerebro's pass itself.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial
from math import inf
from typing import Protocol

from kisbt.app.charts import TodayCharts
from kisbt.app.enquiries import Enquiries
from kisbt.app.hearing import Hearing, Prices
from kisbt.app.venue import DAILY_SETTLED, Venue
from kisbt.candles.live import AUCTION_TAIL, CandleBuilder
from kisbt.errors import KisError
from kisbt.krx.phases import session_phases
from kisbt.model.candle import Candle, Interval
from kisbt.model.liverun import CandleChange, CandleEvent, Incident, IncidentKind
from kisbt.model.order import Notice
from kisbt.model.quote import MultiPrice, Tick
from kisbt.model.stream import Alert, Gap, StreamEvent, Trouble
from kisbt.text import _

log = logging.getLogger(__name__)

_MINUTE = timedelta(minutes=1)
# The regular session is prepared so long before the first order can be sent.
_LEAD = timedelta(minutes=10)
_RETRY_S = 20.0
# A call that is in no hurry is made when nothing is due for so long.
_CHORE_S = 3.0
_LATE_QUERY_S = 15.0
# Bars wait so long, after the stream is back, for a chart that is not answered.
_CHART_WAIT_S = 120.0
# Symbols without a registration: thirty a call, and one call in five may be used.
_POLL_S = 3.0
# The halt latch and the clock are looked at that often, seconds of the market.
_LOOK_S = 0.5
# An emulator of this run waits so long into a minute for what came before it.
_SLACK_S = 10.0
# A chart query brings thirty minutes: each symbol is looked at that often.
_RECHECK_S = 25 * 60.0
# Names of what is asked beside the loop.
_GAP, _CHART, _PRICES, _TIDY = "gap", "chart", "prices", "tidy"


class Stage(StrEnum):
    """Where the run is in its day."""

    WAITING = "waiting"
    """For the next session."""
    OPEN = "open"
    CLOSING = "closing"
    """The market is closed; orders are counted for the last time."""
    OVER = "over"


class DeskWork(Protocol):
    """The order desk, as the trading loop drives it."""

    def stream_event(self, event: StreamEvent) -> None:
        """Take a notice, gap or alert."""
        ...

    def work(self) -> float | None:
        """Do what is due; return the seconds until something is due again."""
        ...

    def settle(self) -> None:
        """Do what this moment needs, so that its fills are booked."""
        ...

    def pending(self) -> bool:
        """Return whether something is unresolved, or unsent although it is due."""
        ...

    def awaits_fills(self) -> bool:
        """Return whether a notice has told of a fill that is not booked yet."""
        ...

    def ending_bar(self, end: datetime | None) -> None:
        """Note which bar is published next; None if not known."""
        ...

    def begin_session(self, session: date) -> None:
        """Begin a trading date: compare with the broker."""
        ...

    def close_session(self, session: date) -> bool:
        """Close a trading date; False while orders of it are not accounted for."""
        ...


@dataclass(slots=True)
class Hooks:
    """Whom the loop tells.

    Attributes:
        publish: the candles of one moment; False for bars that fill a gap only.
        ticks: trades, for the stops that are watched on this machine.
        broken: whether bars come, whenever that changes.
        over: no more bars will come.
        news: the desk may have something for the strategy's broker.
        watching: whether trades release orders kept on this machine.
        idle: whether the strategy has dealt with all it was given.
        say: a line for people.
        opened: a session has begun.
        chore: does one call that is in no hurry; returns whether there was one.
        tidy: keeps the journal's commits quick; called in another thread.
    """

    publish: Callable[[Mapping[str, Candle], bool], None]
    ticks: Callable[[list[Tick]], None]
    broken: Callable[[bool], None]
    over: Callable[[], None]
    news: Callable[[], None]
    watching: Callable[[], bool]
    idle: Callable[[], bool]
    say: Callable[[str], None]
    opened: Callable[[date], None] = lambda day: None
    chore: Callable[[], bool] = lambda: False
    tidy: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Record:
    """What the run saw, for its folder.

    Attributes:
        bases: base prices by symbol and session, won.
    """

    candles: dict[str, list[Candle]] = field(default_factory=dict)
    bases: Mapping[tuple[str, date], float] = field(default_factory=dict)
    candle_events: list[CandleEvent] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    sessions: list[date] = field(default_factory=list)
    first_bar: datetime | None = None
    last_bar: datetime | None = None
    held_bars: list[datetime] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """What the loop is to do.

    Attributes:
        symbols: of the universe, in its order.
        followed: those whose trades are heard; the rest is asked for.
        interval: of the bars.
        adjusted: which daily candles.
        first: the first session.
        sessions: end after so many; None goes on for ever.
        recheck: compare candles with the broker's chart as the session goes on.
        grace_s: how long the last trades of a candle are waited for.
    """

    symbols: tuple[str, ...]
    followed: tuple[str, ...]
    interval: Interval
    adjusted: bool
    first: date
    sessions: int | None = None
    recheck: bool = True
    grace_s: float = 1.5


class LiveSession:
    """Runs sessions, one after the other; one thread calls `turn`.

    Attributes:
        record: what it saw.
        stage: where it is.
        day: session under way or waited for.
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
        self.record = Record(bases={} if builder is None else builder.bases)
        self.stage = Stage.WAITING
        self.day = plan.first
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
        self._held_back: Mapping[str, Candle] = {}
        self._retry_at: datetime | None = None
        self._down_since: datetime | None = None
        self._unheard: set[str] = set()
        self._fill_since: datetime | None = None
        self._fill_until: datetime | None = None
        self._unfilled = False
        self._chart_by = self._clock.now()
        self._mended = False
        self._deaf_at_close: date | None = None
        self._sound_at = self._ticked_at = self._clock.now()
        self._noted: set[tuple[str, datetime]] = set()
        self._checked_at: datetime | None = None
        self._check_next = 0
        self._waited_for: date | None = None
        self._stopping = False
        self._poll_at = self._chore_at = self._clock.now()
        self._desk_asked = True
        self._desk_due_s = -inf
        self._desk_looked_s = -inf
        self._mark: datetime | None = None
        self._held_until: datetime | None = None

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
        desk_s = self._work_orders(now_please=news or ended)
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
        if busy or self._stopping or now < self._chore_at:
            return False
        try:
            return self._hooks.chore()
        except KisError as error:
            log.warning("%s", error)
            self._chore_at = now + timedelta(seconds=_RETRY_S)
            return False

    def _work_orders(self, *, now_please: bool) -> float:
        """Do the desk's work; return the seconds until it has some again.

        Trades come thousands a second: they alone are no reason to look.
        """
        now_s = self._clock.monotonic()
        asked, self._desk_asked = self._desk_asked, False
        wanted = asked or now_please or self._venue.step
        if not wanted and now_s < min(self._desk_due_s, self._desk_looked_s + _LOOK_S):
            return self._desk_due_s - now_s
        self._desk_looked_s = now_s
        due_s = self._desk.work()
        self._hooks.news()
        now_s = self._clock.monotonic()
        self._desk_due_s = inf if due_s is None else now_s + due_s
        if self._venue.step:
            return self._desk_due_s - now_s
        return min(self._desk_due_s, self._desk_looked_s + _LOOK_S) - now_s

    def ask_desk(self) -> None:
        """Have the desk looked at in the next turn; from any thread."""
        self._desk_asked = True

    def _let_market_go(self) -> None:
        """Let an emulator of this run go on once everything has been dealt with."""
        if self._venue.step or not self._venue.is_emulator:
            return
        now = self._clock.now()
        if self._mark is not None and now < self._mark:
            return
        if self._is_behind(now):
            self._let_waits_pass(now)
            return
        self._mark = self._next_mark(now)
        slack_s = _SLACK_S + self.plan.grace_s
        self._hold_at(self._mark + timedelta(seconds=slack_s))

    def _hold_at(self, moment: datetime) -> None:
        self._held_until = moment
        self._venue.hold(moment)

    def _let_waits_pass(self, now: datetime) -> None:
        """Let time pass for what itself waits for time: an answer, an auction's end."""
        if self._held_until is None or now < self._held_until:
            return
        waits_s = [self._desk_due_s - self._clock.monotonic()]
        close = None if self._builder is None else self._builder.next_close()
        if close is not None:
            waits_s.append((close - now).total_seconds())
        if self._enquiries.busy:
            waits_s.append(1.0)  # its calls may wait for the rate
        coming_s = [wait_s for wait_s in waits_s if 0 < wait_s < inf]
        if coming_s:
            self._hold_at(now + timedelta(seconds=min(coming_s) + _LOOK_S))

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
        late = late or self._enquiries.is_asking(_GAP)
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
        self._stopping = True

    def close(self) -> None:
        """End what is asked beside the loop; after the last turn."""
        self._stopping = True
        if not self._enquiries.stop():
            log.warning("a query about the market is still under way")

    @property
    def is_stopping(self) -> bool:
        """Whether it has been told to end."""
        return self._stopping

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.stage is Stage.OVER

    def _advance(self) -> datetime | None:
        """Move to the next stage if its time has come; return when to look again."""
        if self._stopping and self.stage is not Stage.OVER:
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
                refused = self._unheard and self._down_since is not None
                if event.trades or refused:
                    self._reconnected(event)
                else:
                    self._notices_back(event)
            elif isinstance(event, Alert):
                self._troubled(event)
            elif isinstance(event, Notice):
                log.info("notice: %s %s %s", event.kind, event.symbol, event.number)
            self._desk.stream_event(event)
        ticks = self._hearing.take_ticks()
        if self._down_since is None and self._hearing.ready:
            self._sound_at = self._clock.now()
        if ticks:
            self._ticked_at = self._clock.now()
            self._prices.note(ticks)
            if self._builder is not None:
                self._builder.add_all(ticks)
            self._hooks.ticks(ticks)
        return bool(events)

    def _troubled(self, alert: Alert) -> None:
        log.warning("stream: %s %s %s", alert.trouble, alert.code, alert.text)
        self._hooks.say(alert.text)
        if not alert.trades:
            return  # bars are made of trades
        if alert.trouble in {Trouble.DOWN, Trouble.IN_USE, Trouble.FAULT}:
            if self._down_since is None:
                self._down_since = self._sound_at
            self._mended = False
            self._unheard.clear()  # the next connection asks for all of them again
            self._hooks.broken(True)
        elif alert.trouble in {Trouble.REFUSED, Trouble.DISTRUSTED}:
            self._ask_instead(alert.symbol)

    def _ask_instead(self, symbol: str) -> None:
        """Ask for the price of what a websocket does not bring any more.

        Args:
            symbol: refused by the broker; "" where the trades of all can no longer
                be read.
        """
        known = set(self.plan.followed)
        self._unheard |= known & {symbol} if symbol else known
        if self._builder is None:
            # The day's candle comes from the chart, the price of a purchase is asked.
            text = _("{symbols}: stops kept on this machine are not watched")
        else:
            text = _("{symbols}: the price is asked for every {seconds:.0f} s instead")
        names = ", ".join(sorted(self._unheard))
        log.warning("not heard any more: %s", names)
        self._hooks.say(text.format(symbols=names, seconds=_POLL_S))

    @property
    def _polled(self) -> tuple[str, ...]:
        """Symbols of which no websocket brings the trades."""
        return tuple(
            symbol
            for number, symbol in enumerate(self.plan.symbols)
            if number >= len(self.plan.followed) or symbol in self._unheard
        )

    def _notices_back(self, gap: Gap) -> None:
        """Note that notices come again over a connection of their own."""
        if gap.since is None or not gap.orders:
            return
        now = self._clock.now()
        self.record.incidents.append(
            Incident(
                kind=IncidentKind.DISCONNECT,
                at=min(gap.since, now),
                until=now,
                note=_("notices of orders did not come; orders were asked for"),
            )
        )

    def _reconnected(self, gap: Gap) -> None:
        since = self._down_since
        if gap.since is None and since is None:
            return  # the first connection of the run
        now = self._clock.now()
        # A connection may have been dead for some time before that was noticed. The
        # stream's own clock is that of the market only at the broker's.
        broke = missed = since or now
        if self._venue.is_emulator:
            missed = min(broke, self._ticked_at)
        else:
            broke = missed = min(broke, gap.since or now)
        self._down_since = None
        self.record.incidents.append(
            Incident(
                kind=IncidentKind.DISCONNECT,
                at=broke,
                until=now,
                note=_("the stream was down; candles are taken from the chart"),
            )
        )
        if self._builder is not None and self.stage is Stage.OPEN:
            self._look_back(missed, now)
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
        self._mended = self._down_since is None
        self._take_up_day()
        self._checked_at = None
        self.stage = Stage.OPEN
        self._hooks.opened(self.day)
        self._hooks.say(_("session of {day}: open").format(day=self.day))

    def _take_up_day(self) -> None:
        """In the middle of a session, begin with the minutes that are over.

        They come out of the broker's chart and feed indicators only. The minute under
        way was not heard from its begin, so it is taken from the chart, too.
        """
        now = self._clock.now()
        opens = self._calendar.open_time(self.day)
        if self._builder is None or now <= opens:
            return
        self._builder.mark_gap(opens, now)
        self._fill_since, self._fill_until = opens, now
        self._unfilled, self._mended = True, False
        self._wait_for_chart_from(now)
        # Nothing is decided before these minutes are known: they are waited for.
        self._take_gap(self.day, self._fill_until, now, self._ask_gap(opens, now))
        if self._unfilled:
            return  # the bars of the day wait for it
        for batch in self._builder.close_due(now):
            if batch.candles:
                self._publish(batch.candles, live=False)

    # The session.

    def _trade(self) -> datetime | None:
        now = self._clock.now()
        closes = self._calendar.close_time(self.day)
        self._poll_prices(now, last=now >= self._closed_at(closes))
        if now >= self._closed_at(closes):
            self._fill_at_close(now)
        if self._fill_since is not None and (self._retry_at or now) <= now:
            self._fill_gap(self._fill_since, now)
        if self._builder is not None and not self._publish_due(now, closes):
            return None  # published: let Cerebro take it before going on
        if now >= self._closed_at(closes) and not self._owes_bars(now):
            self._settle()
            self.stage = Stage.CLOSING
            return None
        self._tell_live()
        self._recheck(now)
        return self._next_look(now, closes)

    def _poll_prices(self, now: datetime, *, last: bool) -> None:
        """Ask for the prices of the symbols no websocket registration is left for."""
        polled = self._polled
        if self._builder is None or not polled or (now < self._poll_at and not last):
            return
        if self._enquiries.is_asking(_PRICES):
            return
        self._poll_at = now + timedelta(seconds=_POLL_S)
        self._enquiries.ask(
            _PRICES,
            partial(self._venue.data.fetch_prices, polled),
            self._take_prices,
            lambda error: log.warning("prices not polled: %s", error),
        )

    def _take_prices(self, prices: Sequence[MultiPrice]) -> None:
        if self._builder is None or self.stage is not Stage.OPEN:
            return
        at = self._clock.now()
        ticks = [tick for p in prices if (tick := self._builder.add_poll(at, p))]
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
        if self._waits_for_chart(now):
            soon = max(self._retry_at or now, now + timedelta(seconds=1))
            closed = max(closed, soon)
        minute = now.replace(second=0, microsecond=0) + _MINUTE
        looks = [closed, max(minute, self._calendar.open_time(self.day))]
        if self._polled:
            looks.append(self._poll_at)
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
                self._note_candle(CandleChange.GAP, symbol, batch.candles[symbol])
            if batch.end >= closes:
                # The last bar comes when the orders of the day are accounted for.
                self._held_back = batch.candles
                continue
            live = not self._is_stale(batch.end, now)
            if live:
                self._tell_live()
            self._publish(batch.candles, live=live)
        return bool(self._held_back)

    def _waits_for_chart(self, now: datetime) -> bool:
        """Return whether candles are held back until the broker's chart is known.

        What was heard before and after a break is only a part of them, and a later
        one that goes out shuts the door for those before it.
        """
        if self._builder is None or self.stage is not Stage.OPEN:
            return False
        if self._down_since is not None and self._deaf_at_close != self.day:
            return True
        if now >= self._chart_by:
            return False
        if self._unfilled:
            return True
        # The minute under way when it came back is asked for as well.
        since, coming = self._fill_since, self._builder.next_end()
        return since is not None and coming is not None and coming > since

    def _wait_for_chart_from(self, moment: datetime) -> None:
        """Hold bars back from a moment on, but not for ever."""
        self._chart_by = moment + timedelta(seconds=_CHART_WAIT_S)

    def _owes_bars(self, now: datetime) -> bool:
        """Return whether candles of the session are still to be published."""
        if self._builder is None:
            return False
        soon = self._builder.next_close()
        return self._waits_for_chart(now) or (soon is not None and soon <= now)

    def _tell_live(self) -> None:
        """Tell that bars are live again, once what was missed has gone out."""
        if self._mended:
            self._mended = False
            self._hooks.broken(False)

    def _fill_at_close(self, now: datetime) -> None:
        """Take the rest of the day from the chart if the stream has not brought it.

        Each session ends with a trade of nearly every symbol; when none was heard, the
        stream is dead without having said so.
        """
        closes = self._calendar.close_time(self.day)
        deaf = self._down_since is not None or self._ticked_at < closes
        if self._builder is None or not deaf or self._deaf_at_close == self.day:
            return
        self._deaf_at_close = self.day
        self._look_back(min(self._down_since or now, self._ticked_at), now)

    def _look_back(self, missed: datetime, now: datetime) -> None:
        """Take the candles since a moment from the broker's chart, before others."""
        assert self._builder is not None
        self._builder.mark_gap(missed, now)
        self._fill_since = min(missed, self._fill_since or missed)
        self._fill_until = self._retry_at = now
        self._unfilled = True
        self._wait_for_chart_from(now)

    def _is_stale(self, end: datetime, now: datetime) -> bool:
        """Return whether a bar comes so late that the next one is out already.

        Indicators see it; the strategy does not decide on it any more.
        """
        length = timedelta(minutes=self.plan.interval.minutes or 0)
        return now - end > length + timedelta(seconds=self.plan.grace_s)

    def _publish(self, candles: Mapping[str, Candle], *, live: bool = True) -> None:
        for symbol, candle in candles.items():
            self.record.candles.setdefault(symbol, []).append(candle)
            if not live:
                self._note_candle(CandleChange.LATE, symbol, candle)
            self.record.last_bar = candle.end
            if live and self.record.first_bar is None:
                self.record.first_bar = candle.end
        first = next(iter(candles.values()), None)
        if not live and first is not None:
            self.record.held_bars.append(first.end)
        self._hooks.publish(candles, live)

    # Gaps and second looks.

    def _fill_gap(self, since: datetime, now: datetime) -> None:
        """Take the candles of a gap from the broker's chart."""
        self._enquiries.ask(
            _GAP,
            partial(self._ask_gap, since, now),
            partial(self._take_gap, self.day, self._fill_until, now),
            lambda error: log.warning("gap not filled: %s", error),
        )

    def _ask_gap(
        self, since: datetime, now: datetime
    ) -> tuple[dict[str, Sequence[Candle]], KisError | None]:
        """Return the charts of a gap, and why there are no more of them."""
        found: dict[str, Sequence[Candle]] = {}
        try:
            for symbol in self.plan.symbols:
                if self._stopping:
                    break
                found[symbol] = self._charts.minutes(symbol, since - _MINUTE, now)
        except KisError as error:
            return found, error
        return found, None

    def _take_gap(
        self,
        day: date,
        until: datetime | None,
        now: datetime,
        answer: tuple[Mapping[str, Sequence[Candle]], KisError | None],
    ) -> None:
        """Take the charts of a gap that ended at `until`, asked for at `now`."""
        assert self._builder is not None
        found, error = answer
        if day != self.day or self._stopping:
            return
        for symbol, chart in found.items():
            self._compare_with(chart, symbol)
        if until != self._fill_until:
            return  # it broke again meanwhile: that gap is asked for next
        if error is not None:
            log.warning("gap not filled: %s", error)
            if not self._unfilled:
                # Of the minute under way when it came back: of some symbols only.
                self._unfilled, self._fill_until = True, now
                self._wait_for_chart_from(self._clock.now())
            self._retry_at = now + timedelta(seconds=_RETRY_S)
            return
        log.info("gap filled, until %s", now)
        self._unfilled = False
        self._mended = self._down_since is None
        # The candle under way then was heard in part: it comes from the chart as well.
        end = self._builder.end_of(self._fill_until or now)
        if end is None or now >= end:
            self._fill_since = self._retry_at = None
            return
        self._fill_since = end - _MINUTE
        self._retry_at = end + timedelta(seconds=min(1.0, self.plan.grace_s))
        self._wait_for_chart_from(max(self._retry_at, self._clock.now()))

    def _recheck(self, now: datetime) -> None:
        """Compare the candles of one symbol with the broker's chart, in turn."""
        if self._builder is None or not self.plan.recheck or not self.plan.followed:
            return
        every = timedelta(seconds=_RECHECK_S / len(self.plan.followed))
        if self._checked_at is not None and now < self._checked_at + every:
            return
        first, self._checked_at = self._checked_at is None, now
        if not self._venue.step:
            self._enquiries.ask(
                _TIDY,
                self._hooks.tidy,
                lambda done: None,
                lambda error: log.warning("journal not tidied: %s", error),
            )
        if first or now < self._calendar.open_time(self.day) + 2 * _MINUTE:
            return
        symbol = self.plan.followed[self._check_next % len(self.plan.followed)]
        self._check_next += 1
        self._compare(symbol, now)

    def _compare(self, symbol: str, now: datetime) -> None:
        assert self._builder is not None
        if not self._builder.published(symbol):
            return
        since = now - timedelta(seconds=_RECHECK_S) - 5 * _MINUTE
        self._enquiries.ask(
            _CHART,
            partial(self._charts.minutes, symbol, since, now - _MINUTE),
            partial(self._take_chart, symbol, now),
            lambda error: log.info("chart of %s not compared: %s", symbol, error),
        )

    def _take_chart(
        self, symbol: str, asked: datetime, chart: Sequence[Candle]
    ) -> None:
        assert self._builder is not None
        if asked.date() != self.day or self.stage is not Stage.OPEN:
            return
        known = {item.end for item in self._builder.published(symbol)}
        unheard = [
            candle.end
            for candle in chart
            if candle.end not in known and self._builder.is_to_come(candle.end)
        ]
        if unheard:
            # The stream is dead without having said so: the others miss theirs, too.
            log.warning("trades of %s since %s were not heard", symbol, unheard[0])
            self._look_back(unheard[0] - _MINUTE, self._clock.now())
            return
        self._compare_with(chart, symbol)

    def _compare_with(self, chart: Sequence[Candle], symbol: str) -> None:
        """Hand the broker's candles to the builder; note those that come too late."""
        assert self._builder is not None
        known = {item.end: item for item in self._builder.published(symbol)}
        for candle in chart:
            if self._builder.correct(symbol, candle):
                continue
            seen, place = known.get(candle.end), (symbol, candle.end)
            if place in self._noted or self._builder.is_to_come(candle.end):
                continue
            self._noted.add(place)
            kind = CandleChange.LATE if seen is None else CandleChange.REVISED
            self._note_candle(kind, symbol, seen, candle)

    def _note_candle(
        self,
        kind: CandleChange,
        symbol: str,
        seen: Candle | None,
        true: Candle | None = None,
    ) -> None:
        bar = seen or true
        assert bar is not None
        event = CandleEvent(
            at=self._clock.now(),
            kind=kind,
            symbol=symbol,
            bar=bar.end,
            open=seen.open if seen else None,
            high=seen.high if seen else None,
            low=seen.low if seen else None,
            close=seen.close if seen else None,
            volume=seen.volume if seen else None,
            true_open=true.open if true else None,
            true_high=true.high if true else None,
            true_low=true.low if true else None,
            true_close=true.close if true else None,
            true_volume=true.volume if true else None,
        )
        self.record.candle_events.append(event)
        log.warning("candle %s: %s %s", kind, symbol, bar.end)

    # The close.

    def _close(self) -> datetime | None:
        now = self._clock.now()
        if not self._desk.close_session(self.day):
            # The desk says when to come again; a minute at most.
            return now + _MINUTE
        if self._builder is None:
            ready = self._calendar.close_time(self.day) + DAILY_SETTLED
            ready = max(ready, self._retry_at or ready)
            if now < ready:
                return ready
            if not self._fetch_day(now) and now < self.begins(
                self._calendar.next_session(self.day)
            ):
                return self._retry_at
        if self._held_back:
            last, self._held_back = self._held_back, {}
            self._hooks.news()
            self._publish(last)
        self._hooks.say(_("session of {day}: closed").format(day=self.day))
        self.day = self._calendar.next_session(self.day)
        self.stage = Stage.WAITING
        return None

    def _fetch_day(self, now: datetime) -> bool:
        """Ask for the day's candles; return whether all of them came."""
        # A second try goes on where the first one broke off.
        found = dict(self._held_back)
        missing = [name for name in self.plan.symbols if name not in found]
        try:
            for symbol in missing:
                if self._stopping:
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
            self._retry_at = now + timedelta(seconds=_RETRY_S)
            return False
        self._retry_at = None
        self._held_back = found
        return True

    def _finish(self) -> None:
        if self._held_back:
            last, self._held_back = self._held_back, {}
            self._publish(last)
        self.stage = Stage.OVER
        self._hooks.over()
