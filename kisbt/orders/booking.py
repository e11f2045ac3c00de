"""Fills booked from the evidence of an order's numbers, with the status they make."""

import logging
from datetime import datetime

from kisbt.orders.alarms import freeze
from kisbt.orders.deskstate import Desk
from kisbt.orders.ledger import decide
from kisbt.orders.lifecycle import REOPENINGS, TERMINAL, Status
from kisbt.orders.rows import Booking, NoticeRecord, OrderRecord, TicketRecord
from kisbt.text import _

log = logging.getLogger(__name__)


def account(desk: Desk, ticket: TicketRecord) -> None:
    """Book what the evidence of one number allows now."""
    journal = desk.journal
    with journal.together():  # another process may be booking too
        order = journal.order(ticket.ref)
        notices = told(desk, ticket)
        instrument = desk.settings.instruments[order.symbol]
        at = notices[-1].at if notices else _undated(desk, order)
        for booking in decide(
            journal.ticket(ticket.ticket),
            notices,
            source=desk.settings.fill_source,
            costs=desk.settings.tariff.of(instrument, order.side, order.session),
            at=at,
        ):
            book(desk, booking)


def told(desk: Desk, ticket: TicketRecord) -> tuple[NoticeRecord, ...]:
    """Return the notices of a number that are about its order.

    One of another symbol or side carries the number by mistake, or was made up.
    """
    order = desk.journal.order(ticket.ref)
    return tuple(
        notice
        for notice in desk.journal.notices(ticket.day, ticket.number)
        if (notice.symbol, notice.side) == (order.symbol, order.side)
    )


def _undated(desk: Desk, order: OrderRecord) -> datetime:
    """Return when a fill happened of which only a query tells, and it says no time.

    When it was asked, or at the end of the bar that is published next if that is
    over: the strategy hears of it with that bar.
    """
    at = desk.state.asked or desk.clock.now()
    if desk.state.bar_end is not None:
        at = min(at, desk.state.bar_end)
    return at if order.sent is None else max(at, order.sent)


def book(desk: Desk, booking: Booking) -> None:
    """Write a booking, and the status it makes of its order, in one commit."""
    ticket = desk.journal.ticket(booking.ticket)
    order = desk.journal.order(ticket.ref)
    status = None
    if booking.quantity:
        full = order.filled + booking.quantity >= order.quantity
        status = Status.FILLED if full else Status.PARTIAL
        if order.status in TERMINAL:
            if status not in REOPENINGS.get(order.status, ()):
                status = None
            _reopened(desk, order)
        elif not full and order.status in (Status.CANCELLING, Status.AMENDING):
            status = None
    fill = desk.journal.book(booking, status=status)
    if fill is None:
        return
    if booking.quantity:
        now_s = desk.clock.monotonic()
        desk.state.balance.want(now_s)
        desk.state.filled_s[order.symbol] = now_s
        log.info(
            "filled: order %d %s %s %d for %d won, by %s",
            order.ref,
            order.symbol,
            order.side,
            booking.quantity,
            booking.amount,
            booking.confirmed_by,
        )


def _reopened(desk: Desk, order: OrderRecord) -> None:
    freeze(
        desk,
        order.symbol,
        _(
            "order {number} had ended as {status}, and the broker shows more of it."
        ).format(number=order.number, status=order.status),
    )
