"""Orders whose answer was lost: found at the broker, given up, or for a person."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from kisbt.clock import KST
from kisbt.model.order import BrokerOrder
from kisbt.model.ports import Urgency
from kisbt.orders.alarms import alarm, freeze
from kisbt.orders.decode import order_key
from kisbt.orders.deskstate import Desk
from kisbt.orders.lifecycle import Status
from kisbt.orders.resolve import (
    LOCK_S,
    Looked,
    Verdict,
    candidates,
    resolve,
    search_for,
)
from kisbt.orders.rows import OrderRecord
from kisbt.text import _

LOOKED_FOR = frozenset({Status.UNKNOWN, Status.CLAIMED})
# Ended without a number: a row may still turn up.
_WATCHED = frozenset({Status.ABSENT, Status.NOT_SENT, Status.REFUSED})


def look_for(
    desk: Desk,
    rows: Sequence[BrokerOrder],
    asked: datetime,
    *,
    day: date,
    agree: bool,
) -> None:
    """Look for each of them in an answer.

    Args:
        desk: the parts.
        rows: the answer's, and what notices tell where it is not complete.
        asked: when it was asked, aware KST.
        day: of the rows.
        agree: whether what the answer does not show is not there.
    """
    journal = desk.journal
    for order in journal.orders(statuses=LOOKED_FOR):
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
