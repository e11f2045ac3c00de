"""What the broker says, and what follows from it: bookings, states, other people.

A notice is a hint, a complete query is the truth, a failed query is nothing at all.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from kisbt.clock import KST
from kisbt.model.order import BrokerOrder, Notice, NoticeKind
from kisbt.model.ports import OrderHistory, Urgency
from kisbt.orders import hearsay
from kisbt.orders.alarms import alarm, freeze, halt, pause
from kisbt.orders.decode import order_key
from kisbt.orders.deskstate import Desk, Foreign
from kisbt.orders.ledger import (
    FillSource,
    decide,
    notice_digest,
    rows_agree,
)
from kisbt.orders.lifecycle import (
    AT_BROKER,
    REOPENINGS,
    TERMINAL,
    Status,
    status_of,
)
from kisbt.orders.resolve import (
    LOCK_S,
    Looked,
    Verdict,
    candidates,
    resolve,
    search_for,
)
from kisbt.orders.rows import (
    Booking,
    ChangeRecord,
    ExternalOrder,
    NoticeRecord,
    OrderRecord,
    TicketRecord,
    TicketRole,
)
from kisbt.text import _

log = logging.getLogger(__name__)

_LOOKED_FOR = frozenset({Status.UNKNOWN, Status.CLAIMED})
# Ended without a number: a row may still turn up.
_WATCHED = frozenset({Status.ABSENT, Status.NOT_SENT, Status.REFUSED})
_CHANGES_LOST = frozenset({Status.UNKNOWN, Status.CLAIMED})


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
        desk.journal.add_notice(day, notice, notice_digest(notice))
        if ticket is not None:
            state.unconfirmed_s.setdefault(ticket.ticket, now_s)
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


# Booking.


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
    known = {(order_key(t.number)): t for t in desk.journal.tickets(day=day)}
    _bind_children(desk, rows, known, asked)
    if agree:
        _resolve_orders(desk, rows, asked, day=day, agree=True)
    else:
        shown = {order_key(row.number) for row in rows}
        told = hearsay.new_orders(desk, day)
        more = [row for row in told if order_key(row.number) not in shown]
        _resolve_orders(desk, [*rows, *more], asked, day=day, agree=False)
        hearsay.apply_ends(desk, day)
    known = {(order_key(t.number)): t for t in desk.journal.tickets(day=day)}
    for row in rows:
        ticket = known.get(order_key(row.number))
        if ticket is not None and not _is_settled(desk, ticket, row):
            _take_row(desk, ticket, row)
    for order in desk.journal.orders(statuses=AT_BROKER):
        settle_status(desk, order.ref, asked)
    _others(desk, day, [row for row in rows if order_key(row.number) not in known])
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
        desk.state.settled[ticket.ticket] = (after, row)


def _is_settled(desk: Desk, ticket: TicketRecord, row: BrokerOrder) -> bool:
    """Return whether a row has been taken over whole and nothing is new about it.

    A day has hundreds of them, and each query shows all again.
    """
    same = desk.state.settled.get(ticket.ticket) == (ticket, row)
    return same and ticket.ticket not in desk.state.unconfirmed_s


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


# Orders whose answer was lost.


def _resolve_orders(
    desk: Desk,
    rows: Sequence[BrokerOrder],
    asked: datetime,
    *,
    day: date,
    agree: bool,
) -> None:
    journal = desk.journal
    for order in journal.orders(statuses=_LOOKED_FOR):
        if order.sent is None or order.changed > asked:
            continue  # asked before the answer was lost: proves nothing
        if order.sent.astimezone(KST).date() != day:
            continue
        waited_s = (asked - order.changed).total_seconds()
        wait_s = desk.settings.claim_wait_s
        if order.status is Status.CLAIMED and waited_s < wait_s:
            # Rows appear late: too soon to believe that there is none.
            desk.state.orders.want(desk.clock.monotonic() + wait_s - waited_s)
        elif agree or _silence_counts(desk, order):
            polls = desk.state.resolve_polls.get(order.ref, 0) + 1
            desk.state.resolve_polls[order.ref] = polls
        _resolve(desk, order, rows, day)
    for order in journal.orders(statuses=_WATCHED, watched=True):
        if order.sent is not None and order.sent.astimezone(KST).date() == day:
            _resolve(desk, order, rows, day)


def _silence_counts(desk: Desk, order: OrderRecord) -> bool:
    """Whether no notice means no order, where the query shows nothing.

    Only of an order the broker itself has refused unseen, and only while notices
    come.
    """
    state = desk.state
    heard = state.stream_up and state.notices_trusted
    return order.status is Status.CLAIMED and heard


def _resolve(
    desk: Desk, order: OrderRecord, rows: Sequence[BrokerOrder], day: date
) -> None:
    journal = desk.journal
    assert order.sent is not None
    bound = {order_key(ticket.number) for ticket in journal.tickets(day=day)}
    search = search_for(order, timeout_s=desk.settings.send_timeout_s)
    offset_s = desk.sources.offset_s()
    if offset_s is not None:
        search = replace(search, clock_ahead_s=-offset_s)
    found = candidates(
        search,
        rows,
        known=journal.seen(day, order.known_to),
        bound=bound,
        channel=desk.settings.own_channel or None,
    )
    waited_s = (desk.clock.now() - order.sent).total_seconds()
    resolution = resolve(
        order.status,
        found,
        Looked(
            clean=desk.state.resolve_polls.get(order.ref, 0),
            waited_s=waited_s,
        ),
        channel_known=bool(desk.settings.own_channel),
        by_hand=any(item.symbol == order.symbol for item in journal.externals(day)),
    )
    verdict = resolution.verdict
    if verdict in (Verdict.ADOPT, Verdict.ADOPT_LATE):
        _adopt(desk, order, resolution.row, late=verdict is Verdict.ADOPT_LATE)
    elif verdict is Verdict.QUARANTINE:
        _quarantine(desk, order, resolution.rows)
    elif verdict is Verdict.ABSENT:
        _absent(desk, order)
    elif verdict is Verdict.NOT_SENT and order.status is Status.CLAIMED:
        _claim_believed(desk, order)


def _adopt(desk: Desk, order: OrderRecord, row: BrokerOrder, *, late: bool) -> None:
    journal = desk.journal
    journal.record(
        order.ref,
        Status.ACKED,
        day=row.day,
        branch=row.branch,
        number=row.number,
        confirmed_by="rest",
        note=_("found at the broker as number {number}").format(number=row.number),
    )
    desk.state.resolve_polls.pop(order.ref, None)
    text = _("order {number} ({symbol}) was found at the broker as {found}").format(
        number=order.number, symbol=order.symbol, found=row.number
    )
    if not late:
        alarm(desk, Urgency.INFO, _("order found"), text, ref=order.ref)
        return
    # The strategy was told it is not there: what is open of it must not fill.
    journal.want_cancel(order.ref, "adopt_late")
    freeze(
        desk,
        order.symbol,
        _("{text}, after it had been given up; its rest is cancelled.").format(
            text=text
        ),
    )


def _quarantine(desk: Desk, order: OrderRecord, rows: Sequence[BrokerOrder]) -> None:
    if order.status is Status.QUARANTINE or order.status in _WATCHED:
        return
    numbers = ", ".join(row.number for row in rows)
    desk.journal.record(
        order.ref,
        Status.QUARANTINE,
        note=_("could be {numbers}").format(numbers=numbers),
    )
    alarm(
        desk,
        Urgency.CRITICAL,
        _("order needs you"),
        _(
            "order {number}, {symbol}: more than one order at the broker could be it "
            "({found}). Nothing more is sent in this symbol. Look in the HTS, then: "
            "kisbt reconcile"
        ).format(number=order.number, symbol=order.symbol, found=numbers),
        ref=order.ref,
    )


def _absent(desk: Desk, order: OrderRecord) -> None:
    desk.journal.record(
        order.ref,
        Status.ABSENT,
        rule="absent",
        note=_("not found at the broker, and not sent again"),
        confirmed_by="rest",
    )
    desk.state.resolve_polls.pop(order.ref, None)
    until = desk.clock.now() + timedelta(seconds=LOCK_S)
    desk.journal.freeze(order.symbol, _("an order was not found at the broker"), until)
    alarm(
        desk,
        Urgency.WARNING,
        _("order absent"),
        _(
            "order {number}, {symbol}: not found at the broker after {polls} complete "
            "queries; it was not sent again. If it still appears it is cancelled."
        ).format(number=order.number, symbol=order.symbol, polls=5),
        ref=order.ref,
    )


def _claim_believed(desk: Desk, order: OrderRecord) -> None:
    """The broker said no before looking, and a clean query agrees."""
    desk.state.resolve_polls.pop(order.ref, None)
    if order.attempts < desk.settings.attempts:
        desk.journal.record(order.ref, Status.INTENT)
        now_s = desk.clock.monotonic()
        desk.state.released[order.ref] = (now_s, desk.state.network_s)
        desk.state.retry_s.pop(order.ref, None)
        return
    desk.journal.record(order.ref, Status.NOT_SENT, rule="broker", note=order.note)
    alarm(
        desk,
        Urgency.WARNING,
        _("order not sent"),
        _("order {number}, {symbol}: {why}").format(
            number=order.number, symbol=order.symbol, why=order.note
        ),
        ref=order.ref,
    )


# Amendments and cancellations seen in a query.


def _bind_children(
    desk: Desk,
    rows: Sequence[BrokerOrder],
    known: dict[str, TicketRecord],
    asked: datetime,
) -> None:
    """Make rows that amend or cancel an own order part of it, whoever made them."""
    for row in sorted(rows, key=lambda item: order_key(item.number).zfill(12)):
        parent = known.get(order_key(row.original_number))
        if parent is None or order_key(row.number) in known:
            continue
        if not row.original_number.strip().strip("0"):
            continue
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
        known[order_key(row.number)] = ticket
        _close_change(desk, parent.ref, role, row)
    for change in desk.journal.changes(statuses=_CHANGES_LOST):
        _give_up_change(desk, change, asked)


def _close_change(desk: Desk, ref: int, role: TicketRole, row: BrokerOrder) -> None:
    for change in desk.journal.changes(ref, statuses=_CHANGES_LOST):
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


# Orders that are not ours.


def _others(desk: Desk, day: date, rows: Sequence[BrokerOrder]) -> None:
    journal = desk.journal
    open_symbols = {
        order.symbol
        for order in journal.orders(
            statuses=_LOOKED_FOR | {Status.SENDING, Status.QUARANTINE}
        )
    }
    for row in rows:
        api = bool(desk.settings.own_channel) and row.channel == (
            desk.settings.own_channel
        )
        if api and row.symbol in open_symbols:
            continue  # it may still turn out to be ours
        order = ExternalOrder(
            day=day,
            branch=row.branch,
            number=row.number,
            symbol=row.symbol,
            side=row.side,
            quantity=row.quantity,
            filled=row.filled_quantity,
            channel=row.channel,
        )
        before = _external(desk, order)
        if journal.note_external(order):
            _new_external(desk, order, api=api)
        elif before is not None and before.filled < order.filled:
            _rest_symbol(desk, order, api=api)


def _external(desk: Desk, order: ExternalOrder) -> ExternalOrder | None:
    key = order_key(order.number)
    for item in desk.journal.externals(order.day):
        if (order_key(item.number), item.branch) == (key, order.branch):
            return item
    return None


def _new_external(desk: Desk, order: ExternalOrder, *, api: bool) -> None:
    _why, until_s = desk.state.paused.get(order.symbol, ("", 0.0))
    rests = until_s > desk.clock.monotonic()
    _rest_symbol(desk, order, api=api)
    desk.state.balance.want(desk.clock.monotonic())
    known = order.symbol in desk.settings.instruments
    if (not known and not api) or rests:
        desk.journal.external_told(order)  # one message for a burst of them
        return
    if api:
        text = _(
            "{symbol}: another program ordered with the same key (number {number}, "
            "{side} {quantity:,}). kisbt does not touch its orders and buys nothing "
            "more in this symbol today. Give each program a key of its own."
        )
    else:
        text = _(
            "{symbol}: somebody ordered outside kisbt (number {number}, {side} "
            "{quantity:,}). kisbt does not touch that order and rests its purchases "
            "of this symbol for a while."
        )
    alarm(
        desk,
        Urgency.WARNING,
        _("order of others"),
        text.format(
            symbol=order.symbol,
            number=order.number,
            side=order.side,
            quantity=order.quantity,
        ),
    )
    desk.journal.external_told(order)
    if api and desk.settings.foreign is Foreign.HALT:
        halt(desk, _("another program orders with the same key"))


def _rest_symbol(desk: Desk, order: ExternalOrder, *, api: bool) -> None:
    why = (
        _("another program orders with the same key")
        if api
        else _("somebody orders outside kisbt")
    )
    seconds = None if api else desk.settings.external_pause_s
    pause(desk, order.symbol, why, seconds)
