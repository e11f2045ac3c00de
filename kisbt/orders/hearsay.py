"""Notices in the place of rows, for a practice server whose order query is broken.

For some accounts its query returns right totals and no orders. Then the notices are
all that shows an order's number and its cancellation; they are kept for the day and
read like rows, and nothing is concluded from what they do not show.
"""

from dataclasses import replace
from datetime import date

from kisbt.model.order import (
    BrokerOrder,
    Notice,
    NoticeAction,
    NoticeKind,
    OrderKind,
)
from kisbt.orders.decode import order_key
from kisbt.orders.deskstate import Desk
from kisbt.orders.rows import TicketRole

_NEW = frozenset({NoticeKind.ACCEPTED, NoticeKind.FILLED})


def remember(desk: Desk, notice: Notice) -> None:
    """Keep a notice that shows a new order or a cancellation carried out."""
    heard = desk.state.heard
    if notice.action is NoticeAction.NEW and notice.kind in _NEW:
        heard.setdefault(order_key(notice.number), notice)
    elif notice.kind in (NoticeKind.CONFIRMED, NoticeKind.REFUSED):
        heard[order_key(notice.number)] = notice


def new_orders(desk: Desk, day: date) -> list[BrokerOrder]:
    """Return the new orders the notices of today have shown, as rows."""
    return [
        _row(notice, day)
        for notice in desk.state.heard.values()
        if notice.action is NoticeAction.NEW and notice.kind in _NEW
    ]


def apply_ends(desk: Desk, day: date) -> None:
    """Take over what notices say of cancellations carried out and orders refused."""
    journal = desk.journal
    for notice in list(desk.state.heard.values()):
        gone = notice.order_quantity or notice.quantity
        ticket = journal.find_ticket(day, notice.number, notice.branch)
        if ticket is None:
            continue
        row = _row(notice, day)
        if notice.kind is NoticeKind.REFUSED and ticket.role is TicketRole.NEW:
            row = replace(
                row,
                rejected_quantity=max(0, ticket.quantity - ticket.applied),
                filled_quantity=ticket.applied,
                filled_amount=ticket.applied_amount,
            )
        elif (
            notice.kind is NoticeKind.CONFIRMED
            and notice.action is NoticeAction.CANCEL
            and ticket.role is TicketRole.CANCEL
        ):
            row = replace(row, cancelled_quantity=gone)
        else:
            continue
        journal.add_row(ticket.ticket, replace(row, remaining_quantity=0))


def _row(notice: Notice, day: date) -> BrokerOrder:
    quantity = notice.order_quantity or notice.quantity
    return BrokerOrder(
        day=day,
        time=None,
        branch=notice.branch,
        number=notice.number,
        original_number=notice.original_number,
        symbol=notice.symbol,
        name=notice.name,
        side=notice.side,
        side_note="",
        kind=notice.order_kind or OrderKind.LIMIT,
        kind_note="",
        quantity=quantity,
        price=notice.order_price,
        filled_quantity=0,
        filled_amount=0,
        average_price=0.0,
        cancelled=notice.action is NoticeAction.CANCEL,
        cancelled_quantity=0,
        remaining_quantity=quantity,
        rejected_quantity=0,
        venue=notice.venue,
        channel="",
    )
