"""The order desk: journal first, then the wire, then the evidence.

A strategy's broker submits and cancels without touching the network; one other
thread (or the same one, between two bars) calls `work`, which sends, asks and books.
Nothing is sent that is not written down, nothing is sent twice, and what became of
an order is only ever believed when the broker has said so.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from math import inf
from typing import Any

from kisbt.clock import KST, Clock
from kisbt.errors import StorageError
from kisbt.krx.calendar import KrxCalendar
from kisbt.model.order import Notice, Venue
from kisbt.model.ports import Notifier, OrderGateway, Urgency
from kisbt.model.stream import Alert, Gap, StreamEvent, Trouble
from kisbt.orders import booking, dayclose, dispatch, evidence, queries, schedule
from kisbt.orders.alarms import alarm, halted_reason
from kisbt.orders.deskstate import (
    Desk,
    DeskSettings,
    DeskSources,
    new_state,
)
from kisbt.orders.guard import LiveGuard
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import noticed
from kisbt.orders.lifecycle import AT_BROKER, OPEN, Status
from kisbt.orders.reconcile import POLLS_TO_EXPIRE, Finding
from kisbt.orders.records import DeskEvent, Holding, OrderPlan
from kisbt.orders.rows import ChangeRecord, OrderRecord, TicketRole
from kisbt.orders.sender import OrderSender
from kisbt.text import _

log = logging.getLogger(__name__)

_TIME_JUMP_S = 5.0
_MOST_CALLS = 500  # of one pass; a loop that asks without end must be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskStatus:
    """How a desk does, for people and tests.

    Attributes:
        open, held, unresolved: orders.
        reduce_only: why nothing is bought; "" if purchases are on.
        halted: why nothing is sent; "" if it is.
        failing_s: for how long no query has been answered.
    """

    open: int
    held: int
    unresolved: int
    quarantined: int
    reduce_only: str
    halted: str
    frozen: tuple[str, ...]
    paused: tuple[str, ...]
    stream_up: bool
    query_broken: bool
    failing_s: float
    calls: int


class OrderDesk:
    """Orders of one account from intent to end; satisfies `OrderVenue`."""

    def __init__(  # noqa: PLR0913 - the parts are made elsewhere
        self,
        journal: Journal,
        gateway: OrderGateway,
        settings: DeskSettings,
        *,
        clock: Clock,
        calendar: KrxCalendar,
        latch: HaltLatch | None = None,
        sources: DeskSources | None = None,
        notifier: Notifier | None = None,
        on_work: Callable[[], None] | None = None,
        ahead: bool = False,
    ) -> None:
        """Join the parts; nothing is asked or sent before `start` or `work`.

        Args:
            journal: open for writing, its run begun.
            gateway: of the account.
            settings: of behaviour.
            clock: time of the market.
            calendar: sessions and phases.
            latch: stops everything while raised.
            sources: facts of the moment.
            notifier: who tells a person.
            on_work: called when something has become due, from any thread.
            ahead: a thread makes an order ready while it is written down.
        """
        guard = LiveGuard(settings.guard)
        self.desk = Desk(
            journal=journal,
            gateway=gateway,
            guard=guard,
            sender=OrderSender(gateway, guard, ahead=ahead),
            settings=settings,
            sources=sources or DeskSources(),
            state=new_state(settings),
            clock=clock,
            calendar=calendar,
            latch=latch,
            notifier=notifier,
        )
        self._on_work = on_work or (lambda: None)
        self._taken = journal.delivered_to()

    @property
    def journal(self) -> Journal:
        """The journal it writes."""
        return self.desk.journal

    # OrderVenue: for the strategy's broker; no network.

    def submit(self, plan: OrderPlan) -> int:
        """Write an order down; it is sent as soon as its time has come.

        It is on the disk before its first byte leaves (`OrderBook.begin_sending`).

        Returns:
            The journal's number of it.

        Raises:
            StorageError: it could not be written: nothing was and will be sent.
        """
        held = not self._sendable_now(plan)
        ref = self.journal.add_order(
            plan, kind=dispatch.kind_of(plan.order_type), venue=Venue.KRX, held=held
        )
        self._on_work()
        return ref

    def _sendable_now(self, plan: OrderPlan) -> bool:
        return dispatch.takes_now(self.desk, plan.symbol, plan.order_type, plan.session)

    def cancel(self, ref: int) -> None:
        """Ask for a cancellation; the order may still fill before it is carried out."""
        self.journal.want_cancel(ref, "strategy")
        self._on_work()

    def take_events(self) -> Sequence[DeskEvent]:
        """Return what has happened since the last call, in journal order."""
        events = self.journal.events_after(self._taken)
        if events:
            self._taken = events[-1].sequence
        return events

    def delivered(self, sequence: int) -> None:
        """Note that the strategy has heard every event up to `sequence`."""
        self.journal.mark_delivered(sequence)

    def amend(self, ref: int, *, price: int, quantity: int | None = None) -> None:
        """Ask to move what is open of an order to another price."""
        self.journal.add_change(ref, TicketRole.AMEND, quantity=quantity, price=price)
        self._on_work()

    # What the journal remembers for a strategy and its broker.

    def save(self, name: str, value: dict[str, Any]) -> None:
        """Keep a JSON object over restarts."""
        self.journal.save_state(name, value)

    def load(self, name: str) -> dict[str, Any] | None:
        """Return an object kept under a name; None if there is none."""
        return self.journal.load_state(name)

    def positions(self) -> tuple[Holding, ...]:
        """Return what kisbt owns."""
        return self.journal.positions()

    def cash(self) -> int:
        """Return the strategy's own cash, won."""
        return self.journal.cash()

    # Start, sessions, end.

    def start(self) -> list[str]:
        """Put in order what an earlier run left (no network); nothing is sent yet.

        Returns:
            What was found, a line each, for people.
        """
        self.desk.state.ready = False
        return dayclose.recover(self.desk)

    def catch_up(self) -> tuple[Finding, ...]:
        """Ask for orders and balance and book what was missed; the start gate.

        Returns:
            Where journal and broker differ; those that stop must be settled by a
            person before anything is sent.

        Raises:
            KisError: the broker did not answer everything.
        """
        queries.ask_orders(self.desk, strict=True)
        self._close_earlier()
        return queries.ask_balance(self.desk, strict=True)

    def arm(self) -> None:
        """Allow sending: every start check has passed."""
        self.desk.state.ready = True
        self._on_work()

    def begin_session(self, session: date) -> None:
        """Begin a trading date: counts of the day start anew."""
        state = self.desk.state
        if state.session == session:
            return
        self._close_earlier()
        state.session = session
        state.ladders.begin_day()
        state.paused.clear()
        state.heard.clear()
        state.settled.clear()
        going = {order.ref for order in self.journal.open_orders()}
        for table in (state.released, state.retry_s, state.venues, state.resolve_polls):
            for ref in table.keys() - going:
                del table[ref]
        state.close_polls, state.close_seen = 0, ()
        for name in ("refusals",):
            state.entries_off.pop(name, None)
        state.orders.want(self.desk.clock.monotonic())

    def close_session(self, session: date) -> bool:
        """End the orders of a date once its venues are over; True when it is closed.

        Two complete queries, asked after the end, must agree; until then it is False
        and `next_due_s` says when to come again.
        """
        desk, state = self.desk, self.desk.state
        if any(day.day == session for day in self.journal.days()):
            return True
        now = desk.clock.now()
        due = dayclose.closing_time(desk, session)
        if now < due:
            state.orders.want(desk.clock.monotonic() + (due - now).total_seconds())
            return False
        if not self.journal.orders(session=session, watched=True):
            dayclose.close(desk, session)
            return True
        while state.close_polls < 2:
            if not queries.ask_orders(desk):
                return False
            seen = dayclose.levels(desk, session)
            state.close_polls = 1 if seen != state.close_seen else state.close_polls + 1
            state.close_seen = seen
        if state.query_broken:
            # The balance is the second witness of the last fills.
            queries.ask_balance(desk)
            dayclose.give_up_unclear(desk, session)
        waiting = dayclose.end_orders(desk, session, state.close_polls)
        if waiting:
            state.orders.want(desk.clock.monotonic() + 1.0)
            return False
        dayclose.close(desk, session)
        return True

    def _close_earlier(self) -> None:
        """Close dates that ended while kisbt did not run, as far as they are clear."""
        today = self.desk.clock.now().astimezone(KST).date()
        for session in sorted(
            {order.session for order in self.journal.orders(watched=True)}
        ):
            if session < today:
                self.desk.state.close_polls = 0
                self.close_session(session)
        self.desk.state.close_polls, self.desk.state.close_seen = 0, ()

    def end_late(self, session: date) -> None:
        """End orders of a date that was closed before a person decided about them."""
        days = {day.day for day in self.journal.days()}
        if session not in days or not self.journal.orders(
            session=session, watched=True
        ):
            return
        if not dayclose.end_orders(self.desk, session, POLLS_TO_EXPIRE):
            dayclose.close(self.desk, session)

    def close(self) -> None:
        """Forget nothing, send nothing any more."""
        self.desk.state.ready = False

    # The stream.

    def stream_event(self, event: StreamEvent) -> None:
        """Take a notice, a gap or an alert of the broker's stream."""
        desk, state = self.desk, self.desk.state
        now_s = desk.clock.monotonic()
        if isinstance(event, Notice):
            evidence.take_notice(desk, event)
        elif isinstance(event, Gap):
            # Over two connections one may be back while the other is still down.
            state.stream_up = state.stream_up or event.orders
            state.trades_up |= event.trades or state.trades_asked
            state.orders.want(now_s)
        else:
            self._stream_alert(event, now_s)

    def _stream_alert(self, event: Alert, now_s: float) -> None:
        desk, state = self.desk, self.desk.state
        state.orders.want(now_s)
        if event.trouble in (Trouble.DOWN, Trouble.IN_USE, Trouble.FAULT):
            if state.stream_up and state.trades_up:
                state.ladders.drop(now_s)
            state.stream_up = state.stream_up and not event.orders
            state.trades_up = state.trades_up and not event.trades
            state.trades_asked = state.trades_asked and not event.trades
        elif event.trouble is Trouble.REFUSED and event.orders:
            state.stream_up = False  # notices do not come, though the connection is up
        elif event.trouble in (Trouble.REFUSED, Trouble.DISTRUSTED) and event.trades:
            state.trades_asked = True
        if event.trouble is Trouble.DISTRUSTED and event.orders:
            state.notices_trusted = False
        if event.trouble not in (Trouble.DOWN, Trouble.UNREADABLE):
            alarm(desk, Urgency.WARNING, _("stream"), event.text)

    # Work.

    def work(
        self, *, calls: int | None = None, seconds: float | None = None
    ) -> float | None:
        """Do everything that is due now, in the calling thread.

        Args:
            calls: make at most so many network calls; None for all that are due.
            seconds: begin no call after so much market time, so that whoever else
                waits for this thread gets its turn; None for no limit.

        Returns:
            Seconds until something is due next; 0 when more is due now; None for
            nothing at all.

        Raises:
            StorageError: the journal cannot be written: nothing more is sent, and
                the run must end.
        """
        clock = self.desk.clock
        until_s = inf if seconds is None else clock.monotonic() + seconds
        try:
            self._watch_time()
            left = _MOST_CALLS if calls is None else calls
            while left > 0 and clock.monotonic() <= until_s:
                with self.journal.moment():
                    job = self._next_job()
                if job is None:
                    break
                job()
                left -= 1
        except StorageError:
            self.desk.state.ready = False
            raise
        return self.next_due_s()

    def settle(self) -> None:
        """Finish what this moment needs, so that fills of a bar precede the bar.

        Notices taken before are booked already where they may be; here what is due
        is sent and asked, and working orders are asked for once.
        """
        self.work()
        if self.journal.orders(statuses=AT_BROKER):
            queries.ask_orders(self.desk)
            self.work()

    def awaits_fills(self) -> bool:
        """Return whether a notice has told of a fill that is not booked yet."""
        for number in self.desk.state.unconfirmed_s:
            ticket = self.journal.ticket(number)
            if noticed(ticket, booking.told(self.desk, ticket)) > ticket.applied:
                return True
        return False

    def ending_bar(self, end: datetime | None) -> None:
        """Note which bar is published next.

        A fill that a query shows and no notice has dated belongs to that bar.

        Args:
            end: its END, aware; None if not known.
        """
        self.desk.state.bar_end = end

    def pending(self) -> bool:
        """Return whether anything is unresolved, or unsent although it is due."""
        return dispatch.has_work(self.desk)

    def next_due_s(self) -> float | None:
        """Return the seconds until `work` has something to do; None for nothing."""
        return schedule.next_due_s(self.desk)

    def status(self) -> DeskStatus:
        """Return how the desk does."""
        desk, state = self.desk, self.desk.state
        now_s = desk.clock.monotonic()
        orders = self.journal.open_orders()
        return DeskStatus(
            open=sum(order.is_at_broker for order in orders),
            held=sum(order.status is Status.HELD for order in orders),
            unresolved=sum(order.is_unresolved for order in orders),
            quarantined=sum(order.status is Status.QUARANTINE for order in orders),
            reduce_only=next(iter(state.entries_off.values()), ""),
            halted=halted_reason(desk),
            frozen=tuple(sorted(self.journal.frozen())),
            paused=tuple(
                sorted(
                    symbol
                    for symbol, (_why, until_s) in state.paused.items()
                    if until_s > now_s
                )
            ),
            stream_up=state.stream_up and state.trades_up,
            query_broken=state.query_broken,
            failing_s=state.orders.failing_s(now_s),
            calls=state.calls,
        )

    # What is next.

    def _next_job(self) -> Callable[[], object] | None:
        desk = self.desk
        now_s = desk.clock.monotonic()
        self._on_halt()
        for item in dispatch.due_changes(desk):
            if isinstance(item, ChangeRecord):
                return partial(dispatch.amend, desk, item)
            return partial(dispatch.cancel, desk, item)
        if desk.state.ready:
            dispatch.release_held(desk)
            for order in dispatch.due_intents(desk):
                return partial(self._send, order)
        if schedule.orders_due_s(desk) <= now_s:
            return partial(queries.ask_orders, desk)
        if schedule.balance_due_s(desk) <= now_s:
            return partial(queries.ask_balance, desk)
        return None

    def _send(self, order: OrderRecord) -> None:
        dispatch.send(self.desk, order)
        after = self.journal.order(order.ref)
        if after.status is Status.ACKED:
            evidence.apply_parked(self.desk, order.ref)

    def _on_halt(self) -> None:
        """While halted, own orders are cancelled and purchases of later too."""
        desk = self.desk
        latch = desk.latch
        if latch is None or not latch.is_raised():
            desk.state.halt_told = ""
            return
        if not desk.state.halt_told:
            desk.state.halt_told = halted_reason(desk)
            alarm(
                desk,
                Urgency.CRITICAL,
                _("halted"),
                _("{why}: nothing is sent, own orders are cancelled").format(
                    why=desk.state.halt_told
                ),
            )
        for order in desk.journal.orders(statuses=OPEN, cancel_wanted=False):
            # What `kisbt sell-all` sells after the halt is to be sold.
            wanted = order.origin == "sell_all"
            if order.status is not Status.QUARANTINE and not wanted:
                desk.journal.want_cancel(order.ref, "halt")

    def _watch_time(self) -> None:
        """R20: after a sleep of the machine nothing known before counts any more."""
        desk, state = self.desk, self.desk.state
        now, now_s = desk.clock.now(), desk.clock.monotonic()
        last, last_s = state.last_now, state.last_s
        state.last_now, state.last_s = now, now_s
        if last is None:
            return
        gap_s = (now - last).total_seconds() - (now_s - last_s)
        if abs(gap_s) <= _TIME_JUMP_S:
            return
        log.warning("the clock jumped by %.0f s against the time that passed", gap_s)
        state.orders.want(now_s)
        state.balance.want(now_s)
        self._drop_stale(now, gap_s)

    def _drop_stale(self, now: datetime, gap_s: float) -> None:
        with self.journal.together():  # no other process may end one in between
            for order in self.journal.orders(statuses=frozenset({Status.INTENT})):
                self.journal.record(
                    order.ref,
                    Status.DENIED,
                    rule="intent_age",
                    note=_(
                        "the computer slept, or its clock was set, for {gap:.0f} s"
                    ).format(gap=gap_s),
                )
