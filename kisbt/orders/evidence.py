"""What the broker says of own orders: notices and complete queries.

A notice is a hint, a complete query is the truth, a failed query is nothing at all.
"""

import logging
from datetime import date, datetime

from kisbt.model.order import BrokerOrder, Notice, NoticeKind
from kisbt.model.ports import OrderHistory
from kisbt.orders import hearsay
from kisbt.orders.alarms import freeze
from kisbt.orders.booking import account, told
from kisbt.orders.changes import bind_changes
from kisbt.orders.decode import order_key
from kisbt.orders.deskstate import Desk
from kisbt.orders.foreignorders import take_foreign
from kisbt.orders.ledger import FillSource, notice_digest, noticed, rows_agree
from kisbt.orders.lifecycle import AT_BROKER, Status, status_of
from kisbt.orders.lostorders import look_for
from kisbt.orders.rows import OrderRecord, TicketMark, TicketRecord, TicketRole
from kisbt.text import _

log = logging.getLogger(__name__)


# Notices.


def take_notice(desk: Desk, notice: Notice) -> None:
    """Keep a notice and do what it allows; the query is asked soon in any case."""
    settings, state = desk.settings, desk.state
    if settings.account and notice.account != settings.account:
        return  # another account of the same customer
    now_s = desk.clock.monotonic()
    day = desk.clock.now().date()
    state.orders.want(max(now_s, state.orders.asked_s + settings.rates.confirm_s))
    hearsay.remember(desk, notice)
    ticket = desk.journal.find_ticket(day, notice.number, notice.branch)
    if notice.kind is NoticeKind.FILLED:
        before = 0 if ticket is None else noticed(ticket, told(desk, ticket))
        desk.journal.add_notice(day, notice, notice_digest(notice))
        if ticket is not None:
            state.unconfirmed_s.setdefault(ticket.ticket, now_s)
            if noticed(ticket, told(desk, ticket)) > before:
                # A fill of its own, which may take as long as the one before.
                state.unconfirmed_s[ticket.ticket] = now_s
            _account_notice(desk, ticket, notice)
    elif ticket is not None and notice.kind is NoticeKind.ACCEPTED:
        order = desk.journal.order(ticket.ref)
        if order.status is Status.ACKED:
            desk.journal.record(order.ref, Status.WORKING, confirmed_by="notice")


def _account_notice(desk: Desk, ticket: TicketRecord, notice: Notice) -> None:
    order = desk.journal.order(ticket.ref)
    if (notice.symbol, notice.side) != (order.symbol, order.side):
        freeze(
            desk,
            order.symbol,
            _("a notice of number {number} is about another order.").format(
                number=notice.number
            ),
        )
        return
    if desk.settings.fill_source is FillSource.NOTICE:
        account(desk, ticket)


def apply_parked(desk: Desk, ref: int) -> None:
    """Book the notices that came before the number of an order was known."""
    for ticket in desk.journal.tickets(ref):
        account(desk, ticket)


# Complete queries.


def take_history(
    desk: Desk, history: OrderHistory, asked: datetime, *, day: date
) -> None:
    """Take over what a complete query says of a day's orders.

    Args:
        desk: the parts.
        history: every row of it.
        asked: when it was asked, aware KST.
        day: whose orders; the query may span several.
    """
    rows = [row for row in history.rows if row.day == day]
    agree = rows_agree(history.rows, history.totals)
    _note_agreement(desk, agree=agree)
    bind_changes(desk, rows, day, asked)
    if agree:
        look_for(desk, rows, asked, day=day, agree=True)
    else:
        shown = {order_key(row.number) for row in rows}
        told = hearsay.new_orders(desk, day)
        more = [row for row in told if order_key(row.number) not in shown]
        look_for(desk, [*rows, *more], asked, day=day, agree=False)
        hearsay.apply_ends(desk, day)
    known = desk.journal.marks(day)
    for row in rows:
        mark = known.get(order_key(row.number))
        if mark is not None and not _is_settled(desk, mark, row):
            _take_row(desk, desk.journal.ticket(mark.ticket), row)
    for order in desk.journal.orders(statuses=AT_BROKER):
        settle_status(desk, order.ref, asked)
    take_foreign(desk, day, [row for row in rows if order_key(row.number) not in known])
    desk.journal.note_seen(day, [(row.number, row.branch) for row in rows])
    _count_polls(desk, asked)


def _note_agreement(desk: Desk, *, agree: bool) -> None:
    if agree or desk.state.query_broken:
        desk.state.query_broken = not agree
        return
    desk.state.query_broken = True
    log.warning("the order query contradicts its own totals; its gaps prove nothing")


def _count_polls(desk: Desk, asked: datetime) -> None:
    """Count this query for those who wait for one asked after an event."""
    state, journal = desk.state, desk.journal
    for order in journal.orders(statuses=AT_BROKER, cancel_wanted=True):
        changes = journal.changes(order.ref)
        # A cancellation may be repeated; it is not what a broken query hides.
        if changes and changes[-1].changed <= asked:
            state.cancel_polls[order.ref] = state.cancel_polls.get(order.ref, 0) + 1
    open_now = {order.ref for order in journal.open_orders()}
    for ref in [ref for ref in state.cancel_polls if ref not in open_now]:
        del state.cancel_polls[ref]


def _take_row(desk: Desk, ticket: TicketRecord, row: BrokerOrder) -> None:
    order = desk.journal.order(ticket.ref)
    if order.closed:
        return
    if not _is_about(order, ticket, row):
        freeze(
            desk,
            order.symbol,
            _(
                "number {number} at the broker is another order than {ref} (answers "
                "were mixed up)."
            ).format(number=row.number, ref=order.number),
        )
        return
    if row.filled_quantity < ticket.confirmed:
        if row.filled_quantity < ticket.applied:
            _fewer(desk, order, ticket, row)
        return  # an older answer, or a bust: nothing of it is taken over
    if row.venue is not None and ticket.role is not TicketRole.CANCEL:
        desk.state.venues[order.ref] = row.venue
    after = desk.journal.add_row(ticket.ticket, row)
    if after.confirmed >= after.applied:
        desk.state.unconfirmed_s.pop(ticket.ticket, None)
    if ticket.role is not TicketRole.CANCEL:
        account(desk, after)
    after = desk.journal.ticket(ticket.ticket)
    if row.remaining_quantity == 0 and after.applied == row.filled_quantity:
        _let_go(desk, after, row)


def _let_go(desk: Desk, ticket: TicketRecord, row: BrokerOrder) -> None:
    """Forget what concerns a number of which everything is booked; a day has many."""
    state = desk.state
    state.settled[ticket.ticket] = hash((desk.journal.mark(ticket.ticket), row))
    # A query that broke later on has nothing to look for here.
    state.heard.pop(order_key(row.number), None)
    if not desk.journal.order(ticket.ref).is_open:
        state.venues.pop(ticket.ref, None)


def _is_settled(desk: Desk, mark: TicketMark, row: BrokerOrder) -> bool:
    """Return whether a row has been taken over whole and nothing is new about it.

    A day has hundreds of them, and each query shows all again.
    """
    same = desk.state.settled.get(mark.ticket) == hash((mark, row))
    return same and mark.ticket not in desk.state.unconfirmed_s


def _fewer(
    desk: Desk, order: OrderRecord, ticket: TicketRecord, row: BrokerOrder
) -> None:
    """A smaller level: late rows are normal for seconds, a busted trade is not."""
    key = f"level:{ticket.ticket}"
    now_s = desk.clock.monotonic()
    value, since_s = desk.state.mismatch.get(key, (row.filled_quantity, now_s))
    if value != row.filled_quantity:
        since_s = now_s
    desk.state.mismatch[key] = (row.filled_quantity, since_s)
    if now_s - since_s >= desk.settings.mismatch_s and ticket.confirmed:
        freeze(
            desk,
            order.symbol,
            _(
                "the broker shows {now:,} filled of number {number}, it showed "
                "{before:,} before (a cancelled trade?)."
            ).format(
                now=row.filled_quantity, number=row.number, before=ticket.confirmed
            ),
        )


def _is_about(order: OrderRecord, ticket: TicketRecord, row: BrokerOrder) -> bool:
    same = (row.symbol, row.side) == (order.symbol, order.side)
    if ticket.role is TicketRole.NEW:
        same = same and row.quantity == order.quantity and row.kind is order.kind
        original = row.original_number.strip().lstrip("0")
        same = same and not original
    return same


def settle_status(desk: Desk, ref: int, asked: datetime | None = None) -> None:
    """Give an order the status its shares prove."""
    order = desk.journal.order(ref)
    if order.status not in AT_BROKER:
        return
    found = desk.journal.quantities(ref)
    seen = any(t.remaining is not None for t in desk.journal.tickets(ref))
    if not seen and found.filled < order.quantity:
        return  # not shown by any query yet
    if found.filled > order.filled:
        return  # something is not booked yet
    status = status_of(found, fallback=_fallback(desk, order, asked))
    if found.overdrawn:
        freeze(
            desk,
            order.symbol,
            _("order {number}: more shares came back than were sent.").format(
                number=order.number
            ),
        )
    if status is not order.status:
        desk.journal.record(ref, status, confirmed_by="rest")
        desk.state.balance.want(desk.clock.monotonic())


def _fallback(desk: Desk, order: OrderRecord, asked: datetime | None) -> Status:
    """Keep CANCELLING while a cancellation may still be carried out."""
    if order.status is not Status.AMENDING:
        return order.status
    changes = [
        item
        for item in desk.journal.changes(order.ref)
        if item.role is TicketRole.AMEND
    ]
    open_ones = frozenset({Status.SENDING, Status.UNKNOWN, Status.CLAIMED})
    if changes and changes[-1].status in open_ones:
        return order.status
    del asked
    return Status.WORKING
