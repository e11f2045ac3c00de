"""Amendments and cancellations as a query of the day's orders shows them."""

from collections.abc import Sequence
from datetime import date, datetime

from kisbt.model.order import BrokerOrder
from kisbt.orders.decode import order_key
from kisbt.orders.deskstate import Desk
from kisbt.orders.lifecycle import TERMINAL, Status
from kisbt.orders.rows import ChangeRecord, TicketRole
from kisbt.text import _

_LOST = frozenset({Status.UNKNOWN, Status.CLAIMED})


def bind_changes(
    desk: Desk,
    rows: Sequence[BrokerOrder],
    day: date,
    asked: datetime,
) -> None:
    """Make rows that amend or cancel an own order part of it, whoever made them."""
    changing = [row for row in rows if row.original_number.strip().strip("0")]
    known = desk.journal.marks(day) if changing else {}
    for row in sorted(changing, key=lambda item: order_key(item.number).zfill(12)):
        mark = known.get(order_key(row.original_number))
        if mark is None or order_key(row.number) in known:
            continue
        parent = desk.journal.ticket(mark.ticket)
        cancels = row.cancelled or row.cancelled_quantity > 0
        role = TicketRole.CANCEL if cancels else TicketRole.AMEND
        ticket = desk.journal.bind(
            parent.ref,
            day=row.day,
            branch=row.branch,
            number=row.number,
            role=role,
            parent=parent.number,
            quantity=row.quantity,
        )
        known[order_key(row.number)] = desk.journal.mark(ticket.ticket)
        _close_change(desk, parent.ref, role, row)
    for change in desk.journal.changes(statuses=_LOST):
        _give_up_change(desk, change, asked)


def _close_change(desk: Desk, ref: int, role: TicketRole, row: BrokerOrder) -> None:
    for change in desk.journal.changes(ref, statuses=_LOST):
        if change.role is role:
            desk.journal.record_change(
                change.change,
                Status.ACKED,
                day=row.day,
                branch=row.branch,
                number=row.number,
                note=_("found at the broker"),
            )
            return


def _give_up_change(desk: Desk, change: ChangeRecord, asked: datetime) -> None:
    """A change no query has shown for long enough is not there."""
    if change.changed > asked:
        return
    since_s = (asked - change.changed).total_seconds()
    # A refused one needs one clean look, a lost one time to become visible.
    needed_s = 0.0 if change.status is Status.CLAIMED else desk.settings.mismatch_s
    order = desk.journal.order(change.ref)
    if since_s >= needed_s or order.status in TERMINAL:
        desk.journal.record_change(
            change.change, Status.ABSENT, note=_("not found at the broker")
        )
