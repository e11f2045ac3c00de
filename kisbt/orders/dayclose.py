"""The start of a run and the end of a day: nothing is left in between."""

import logging
from datetime import date, datetime, timedelta

from kisbt.clock import KST
from kisbt.model.order import Venue
from kisbt.model.ports import Urgency
from kisbt.orders.alarms import alarm
from kisbt.orders.deskstate import Desk
from kisbt.orders.lifecycle import AT_BROKER, OPEN, Status
from kisbt.orders.reconcile import DayEnd, Restart, at_day_end, at_start
from kisbt.orders.rows import OrderRecord
from kisbt.text import _

log = logging.getLogger(__name__)

# NXT and orders the broker routes there end with its after-market.
_NXT_ENDS = timedelta(hours=20)


def recover(desk: Desk) -> list[str]:
    """Put in order what the run before left; return what was found, for people.

    Nothing is sent: intents are too old now, and what may have left is looked for.
    """
    journal, now = desk.journal, desk.clock.now()
    today = now.astimezone(KST).date()
    found = []
    for order in journal.orders(statuses=OPEN):
        todo = at_start(order, today)
        if todo is Restart.NOT_SENT:
            journal.record(
                order.ref,
                Status.NOT_SENT,
                rule="restart",
                note=_("kisbt ended before it was sent"),
            )
        elif todo is Restart.EXPIRE:
            journal.record(
                order.ref,
                Status.EXPIRED,
                confirmed_by="local",
                note=_("its session {session} ended before it could be sent").format(
                    session=order.session
                ),
            )
        elif todo is Restart.RESOLVE and order.status is Status.SENDING:
            journal.record(
                order.ref,
                Status.UNKNOWN,
                note=_("kisbt ended while it was being sent"),
            )
        if todo not in (None, Restart.KEEP):
            found.append(f"{order.number} {order.symbol}: {todo}")
    for change in journal.changes(statuses=frozenset({Status.SENDING})):
        journal.record_change(change.change, Status.UNKNOWN)
    for change in journal.changes(statuses=frozenset({Status.INTENT})):
        journal.record_change(change.change, Status.NOT_SENT)
    return found


def session_over(desk: Desk, order: OrderRecord) -> datetime:
    """Return when nothing of an order can fill any more, at its venue."""
    close = desk.calendar.close_time(order.session)
    if desk.state.venues.get(order.ref, order.venue) is not Venue.KRX:
        midnight = datetime.combine(order.session, datetime.min.time(), KST)
        return midnight + _NXT_ENDS
    return close


def closing_time(desk: Desk, session: date) -> datetime:
    """Return from when a day may be closed: its venues are over, and a wait."""
    ends = [desk.calendar.close_time(session)]
    ends += [
        session_over(desk, order)
        for order in desk.journal.orders(session=session, watched=True)
        if order.status in AT_BROKER
    ]
    return max(ends) + timedelta(seconds=desk.settings.close_wait_s)


def end_orders(desk: Desk, session: date, agreeing: int) -> list[DayEnd]:
    """End every order of a session that can be; return those that have to wait."""
    waiting = []
    for order in desk.journal.orders(session=session, watched=True):
        end = at_day_end(
            order,
            desk.journal.tickets(order.ref),
            now=desk.clock.now(),
            session_over=session_over(desk, order),
            agreeing_polls=agreeing,
        )
        if end is None:
            continue
        if end.status is None:
            if order.status is not Status.QUARANTINE:
                waiting.append(end)
            continue
        note = ""
        if end.status is Status.EXPIRED:
            note = _("not filled in its session {session}").format(session=session)
        desk.journal.record(order.ref, end.status, confirmed_by="rest", note=note)
    return waiting


def give_up_unclear(desk: Desk, session: date) -> None:
    """Hand orders nobody can find to a person: the broker's query shows none."""
    for order in desk.journal.orders(
        statuses=frozenset({Status.UNKNOWN, Status.CLAIMED})
    ):
        if order.session != session:
            continue
        if order.status is Status.UNKNOWN:
            desk.journal.record(
                order.ref,
                Status.QUARANTINE,
                note=_("the broker's query shows no orders at all"),
            )
        else:
            desk.journal.record(
                order.ref, Status.NOT_SENT, rule="broker", note=order.note
            )


def levels(desk: Desk, session: date) -> tuple[object, ...]:
    """Return what the last query said of a session's orders, to compare two of them."""
    return tuple(
        (t.ticket, t.confirmed, t.cancelled, t.rejected, t.remaining)
        for order in desk.journal.orders(session=session, watched=True)
        for t in desk.journal.tickets(order.ref)
    )


def close(desk: Desk, session: date) -> None:
    """Close a day of which every order has ended."""
    row = desk.journal.close_day(session)
    left = [
        order
        for order in desk.journal.orders(statuses=frozenset({Status.QUARANTINE}))
        if order.session == session
    ]
    log.info("day closed: %s, %d orders, %d fills", session, row.orders, row.fills)
    for order in left:
        alarm(
            desk,
            Urgency.CRITICAL,
            _("order needs you"),
            _(
                "order {number}, {symbol}: still not clear at the end of the day; look "
                "in the HTS, then: kisbt reconcile"
            ).format(number=order.number, symbol=order.symbol),
            ref=order.ref,
        )
