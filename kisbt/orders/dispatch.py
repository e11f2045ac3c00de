"""Orders and cancellations on their way out: written down, checked, sent once.

What an answer means for the order is decided here; what became of an order whose
answer was lost is decided by the evidence (`orders.lostorders`).
"""

import logging
from datetime import date, datetime, timedelta
from typing import Final

from kisbt.errors import RiskRefused
from kisbt.krx.phases import Phase, PhaseSpan, phase_at, session_phases, takes_order
from kisbt.model.order import OrderKind, OrderTicket, OrderType, Side
from kisbt.model.ports import NewOrder, OrderRef, Urgency
from kisbt.orders.alarms import alarm, frozen_reasons, halted_reason, take_step
from kisbt.orders.decode import order_key
from kisbt.orders.deskstate import Desk
from kisbt.orders.guard import LiveFacts, Proposal, SentOrder
from kisbt.orders.ladders import Step
from kisbt.orders.lifecycle import AT_BROKER, UNRESOLVED, UNSENT, Status
from kisbt.orders.rows import ChangeRecord, OrderRecord, TicketRecord, TicketRole
from kisbt.orders.sender import Answer, Departure, Sent
from kisbt.text import _

log = logging.getLogger(__name__)

REGULAR: Final = (
    Phase.OPENING_AUCTION,
    Phase.CONTINUOUS,
    Phase.CLOSING_AUCTION,
)
_CLOSE_ONLY: Final = (Phase.CLOSING_AUCTION,)
# A purchase that only lacks fresh facts waits for them, as long as it is young.
_PATIENT: Final = frozenset({"stream", "price_age"})
_RETRY_S: Final = 0.5
_LOOK_AGAIN_S: Final = 0.25
_REMEMBER_S: Final = 60.0
_CHANGE_OPEN: Final = frozenset({Status.SENDING, Status.UNKNOWN, Status.CLAIMED})


def kind_of(order_type: OrderType) -> OrderKind:
    """Return the exchange's word for what a plan asks."""
    return OrderKind.LIMIT if order_type is OrderType.LIMIT else OrderKind.MARKET


# When an order may leave.


def release_time(desk: Desk, order: OrderRecord) -> datetime | None:
    """Return from when an order of its session is taken; None if never again.

    The time may lie in the past: then it may be sent now.
    """
    now = desk.clock.now()
    for span in _taking_phases(desk, order.symbol, order.order_type, order.session):
        if now < span.end:
            return span.start
    return None


def takes_now(desk: Desk, symbol: str, order_type: OrderType, session: date) -> bool:
    """Return whether such an order of `session` may be sent at this moment."""
    now = desk.clock.now()
    grace = timedelta(seconds=desk.settings.release_grace_s)
    spans = _taking_phases(desk, symbol, order_type, session)
    return any(span.start + grace <= now < span.end for span in spans)


def _taking_phases(
    desk: Desk, symbol: str, order_type: OrderType, session: date
) -> list[PhaseSpan]:
    wanted: tuple[Phase, ...] = REGULAR
    if order_type is OrderType.CLOSE:
        wanted = _CLOSE_ONLY
    if desk.settings.mock:
        wanted = tuple(item for item in wanted if item is not Phase.OPENING_AUCTION)
    product = desk.settings.instruments[symbol].product
    return [
        span
        for span in session_phases(session, desk.calendar)
        if span.phase in wanted
        and takes_order(span.phase, product=product, order_type=order_type)
    ]


def unsent(desk: Desk, status: Status) -> list[OrderRecord]:
    """Return the orders that are HELD or that are INTENT."""
    return [order for order in desk.journal.pressing() if order.status is status]


def release_held(desk: Desk) -> None:
    """Make held orders whose phase has come intents; end those that missed it."""
    now = desk.clock.now()
    for order in unsent(desk, Status.HELD):
        due = due_time(desk, order)
        if due is not None and due > now:
            continue
        with desk.journal.together():
            if desk.journal.order(order.ref).status is not Status.HELD:
                continue  # cancelled meanwhile by another process
            if due is None:
                desk.journal.record(
                    order.ref,
                    Status.EXPIRED,
                    confirmed_by="local",
                    note=_(
                        "its session {session} ended before it could be sent"
                    ).format(session=order.session),
                )
                continue
            desk.journal.record(order.ref, Status.INTENT)
        desk.state.released[order.ref] = _mark(desk)
        log.info("released: order %d %s", order.ref, order.symbol)


def due_time(desk: Desk, order: OrderRecord) -> datetime | None:
    """Return when a held order is to be sent; None if its session is over."""
    due = release_time(desk, order)
    if due is None:
        return None
    return due + timedelta(seconds=desk.settings.release_grace_s)


def _mark(desk: Desk) -> tuple[float, float]:
    return desk.clock.monotonic(), desk.state.network_s


def age_s(desk: Desk, order: OrderRecord) -> float:
    """Return how long an order has waited, its own network time left out."""
    since_s, network_s = desk.state.released.setdefault(order.ref, _mark(desk))
    waited = desk.clock.monotonic() - since_s
    return max(0.0, waited - (desk.state.network_s - network_s))


# New orders.


def due_intents(desk: Desk) -> list[OrderRecord]:
    """Return the orders to be sent now, oldest first."""
    now_s = desk.clock.monotonic()
    return [
        order
        for order in unsent(desk, Status.INTENT)
        if desk.state.retry_s.get(order.ref, now_s) <= now_s
    ]


def send(desk: Desk, order: OrderRecord) -> None:
    """Check an intent once more, write down that it leaves, and send it."""
    proposal = _proposal(desk, order)
    facts = facts_for(desk, order)
    try:
        permit = desk.guard.permit(proposal, facts)
    except RiskRefused as error:
        _not_permitted(desk, order, error)
        return
    with desk.sender.ready(permit) as departure:
        if not desk.journal.begin_sending(order.ref, meanwhile=departure.make_ready):
            return
        sent = _sent_in_time(desk, order.ref, departure)
    _remember(desk, order.ref, proposal.order)
    settle_answer(desk, desk.journal.order(order.ref), sent)


def _sent_in_time(desk: Desk, ref: int, departure: Departure) -> Sent:
    """Send; time spent in the network does not make other orders old."""
    began_s = desk.clock.monotonic()
    try:
        return departure.leave()
    except BaseException:
        # A mistake in kisbt or the end of the process: the order may have left.
        desk.journal.record(
            ref, Status.UNKNOWN, note=_("interrupted while it was sent")
        )
        raise
    finally:
        desk.state.network_s += desk.clock.monotonic() - began_s
        desk.state.calls += 1


def _proposal(desk: Desk, order: OrderRecord) -> Proposal:
    limit = order.limit_price if order.kind is OrderKind.LIMIT else None
    price = limit if limit is not None else order.last_price
    return Proposal(
        ref=order.ref,
        order=NewOrder(
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            kind=order.kind,
            price=limit or 0,
            venue=order.venue,
        ),
        instrument=desk.settings.instruments[order.symbol],
        order_type=order.order_type,
        value=order.quantity * float(price or 0),
        band=desk.sources.band(order.symbol),
        age_s=age_s(desk, order),
        group=order.group,
    )


def facts_for(desk: Desk, order: OrderRecord) -> LiveFacts:
    """Return the moment as it concerns an order."""
    now, now_s = desk.clock.now(), desk.clock.monotonic()
    state = desk.state
    paused = {
        symbol: why
        for symbol, (why, until_s) in state.paused.items()
        if until_s > now_s
    }
    market = desk.sources.market
    buys = order.side is Side.BUY  # a sale does not wait for a price
    off = list(state.entries_off.values())
    disarmed = desk.sources.disarmed()
    if disarmed:
        off.insert(0, disarmed)
    if state.ladders.drops_too_many(now_s):
        off.append(_("the stream is lost again and again"))
    if state.orders.failing_s(now_s) >= desk.settings.ladders.query_entries_s:
        off.append(_("the broker does not answer queries"))
    return LiveFacts(
        now=now,
        now_s=now_s,
        phase=phase_at(now, desk.calendar),
        early=desk.settings.mock,
        halted=halted_reason(desk),
        reduce_only=off[0] if off else "",
        frozen=frozen_reasons(desk),
        paused=paused,
        unresolved=[i.symbol for i in desk.journal.pressing() if i.is_unresolved],
        stream_up=state.stream_up and state.trades_up,
        offset_s=desk.sources.offset_s(),
        market=market(order.symbol) if market is not None and buys else None,
        priced=market is not None,
        sellable=0 if buys else sellable(desk, order),
        sent=tuple(state.sent),
        canary_done=_canary_done(desk),
        order_cap=desk.sources.order_cap(),
    )


def sellable(desk: Desk, order: OrderRecord) -> int:
    """Return the own shares an order may sell: not promised to another one."""
    held = desk.journal.holding(order.symbol).quantity
    promised = sum(
        other.open_quantity
        for other in desk.journal.orders(
            statuses=AT_BROKER | UNRESOLVED, symbol=order.symbol
        )
        if other.side is Side.SELL
        and other.ref != order.ref
        and not (other.group and other.group == order.group)
    )
    most = desk.state.capped.get(order.symbol, held)
    return max(0, min(held, most) - promised)


def _canary_done(desk: Desk) -> bool:
    """R22: whether one order has been through its whole life at this broker."""
    limits = desk.settings.guard
    if limits.canary_shares is None and limits.canary_won is None:
        return True
    done = frozenset({Status.FILLED, Status.CANCELLED})
    return any(order.broker_number for order in desk.journal.orders(statuses=done))


def _not_permitted(desk: Desk, order: OrderRecord, error: RiskRefused) -> None:
    limits = desk.settings.guard
    if error.rule in _PATIENT and limits.intent_age_s is not None:
        waited_s = age_s(desk, order)
        if waited_s < limits.intent_age_s:
            desk.state.retry_s[order.ref] = desk.clock.monotonic() + min(
                _LOOK_AGAIN_S, limits.intent_age_s - waited_s + 0.001
            )
            return
    with desk.journal.together():
        if desk.journal.order(order.ref).status is not Status.INTENT:
            return  # cancelled meanwhile by another process
        if error.rule == "phase":
            due = release_time(desk, order)
            if due is None:
                desk.journal.record(
                    order.ref,
                    Status.EXPIRED,
                    confirmed_by="local",
                    note=_("its session ended before it could be sent"),
                )
                return
            if due > desk.clock.now():
                desk.journal.record(order.ref, Status.HELD)
                return
        desk.journal.record(order.ref, Status.DENIED, rule=error.rule, note=str(error))
    alarm(desk, Urgency.WARNING, _("order not sent"), _told(order, str(error)))


def _remember(desk: Desk, ref: int, order: NewOrder) -> None:
    now_s = desk.clock.monotonic()
    sent = desk.state.sent
    sent.append(
        SentOrder(
            ref=ref,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            at_s=now_s,
        )
    )
    while sent and now_s - sent[0].at_s > _REMEMBER_S:
        sent.popleft()


def settle_answer(desk: Desk, order: OrderRecord, sent: Sent) -> None:
    """Write down what the broker answered (W3) and what follows from it."""
    state, now_s = desk.state, desk.clock.monotonic()
    ref = order.ref
    if sent.answer is Answer.TAKEN:
        assert sent.ticket is not None
        if _is_anothers(desk, order, sent.ticket):
            _lost(desk, order, sent)
            return
        desk.journal.record(
            ref,
            Status.ACKED,
            day=desk.clock.now().date(),
            branch=sent.ticket.branch,
            number=sent.ticket.number,
        )
        state.released.pop(ref, None)
        state.orders.want(now_s + desk.settings.rates.confirm_s)
        return
    if sent.answer is Answer.NOT_SENT and order.attempts < desk.settings.attempts:
        desk.journal.record(ref, Status.INTENT, note=sent.text)
        state.retry_s[ref] = now_s + _RETRY_S
        state.released[ref] = _mark(desk)
        log.warning("not sent, once more: order %d: %s", ref, sent.text)
        return
    if sent.answer in (Answer.NOT_SENT, Answer.IMPOSSIBLE):
        rule = "network" if sent.answer is Answer.NOT_SENT else "venue"
        desk.journal.record(ref, Status.NOT_SENT, rule=rule, note=sent.text)
        alarm(desk, Urgency.WARNING, _("order not sent"), _told(order, sent.text))
    elif sent.answer is Answer.REFUSED:
        desk.journal.record(
            ref, Status.REFUSED, rule="broker", note=sent.text, code=sent.code
        )
        # One look, in case the answer was not about this order.
        state.orders.want(now_s + desk.settings.rates.confirm_s)
        alarm(desk, Urgency.WARNING, _("order refused"), _told(order, sent.text))
        step = state.ladders.refusal(order.symbol, sent.code, now_s)
        take_step(desk, step, order.symbol, sent.text)
    elif sent.answer is Answer.CLAIMED:
        desk.journal.record(ref, Status.CLAIMED, note=sent.text, code=sent.code)
        state.resolve_polls[ref] = 0
        state.orders.want(now_s + sent.wait_s)
    else:
        _lost(desk, order, sent)


def _is_anothers(desk: Desk, order: OrderRecord, ticket: OrderTicket) -> bool:
    """Whether an answer carries the number of an order that was there before."""
    day = desk.clock.now().date()
    if desk.journal.find_ticket(day, ticket.number, ticket.branch) is not None:
        return True
    return order_key(ticket.number) in desk.journal.seen(day, order.known_to)


def _lost(desk: Desk, order: OrderRecord, sent: Sent) -> None:
    state, now_s = desk.state, desk.clock.monotonic()
    why = sent.text or _("The answer carries the number of another order.")
    desk.journal.record(order.ref, Status.UNKNOWN, note=why)
    state.resolve_polls[order.ref] = 0
    state.orders.want(now_s + desk.settings.rates.resolve_s[0])
    alarm(
        desk,
        Urgency.WARNING,
        _("order unclear"),
        _told(
            order,
            _(
                "{why} It may be at the broker; it is looked for and never sent again. "
                "Nothing more is sent in this symbol until it is found or certainly "
                "absent."
            ).format(why=why),
        ),
    )
    if sent.foreign:
        take_step(desk, Step.HALT, order.symbol, sent.text)
    take_step(desk, state.ladders.lost_answer(), order.symbol, why)


def _told(order: OrderRecord, why: str) -> str:
    side = _("buy") if order.side is Side.BUY else _("sell")
    return _("{side} {quantity:,} {symbol} (order {number}): {why}").format(
        side=side,
        quantity=order.quantity,
        symbol=order.symbol,
        number=order.number,
        why=why,
    )


# Cancellations and amendments.


def due_changes(desk: Desk) -> list[ChangeRecord | OrderRecord]:
    """Return what is to be cancelled or amended now.

    An order for a cancellation that has yet to be written down; a change for an
    amendment.
    """
    now_s = desk.clock.monotonic()
    found: list[ChangeRecord | OrderRecord] = [
        order for order in to_be_cancelled(desk) if change_due_s(desk, order) <= now_s
    ]
    found.extend(
        change
        for change in desk.journal.changes(statuses=frozenset({Status.INTENT}))
        if change.role is TicketRole.AMEND
    )
    return found


def to_be_cancelled(desk: Desk) -> list[OrderRecord]:
    """Return the orders at the broker whose cancellation is wanted."""
    return [order for order in desk.journal.pressing() if order.is_at_broker]


def change_due_s(desk: Desk, order: OrderRecord) -> float:
    """Return when the next cancellation of an order may be sent; inf for never."""
    tries = [
        item
        for item in desk.journal.changes(order.ref)
        if item.role is TicketRole.CANCEL
    ]
    now_s = desk.clock.monotonic()
    if not tries:
        return now_s
    if len(tries) >= desk.settings.cancel_tries:
        return float("inf")
    last = tries[-1]
    if last.status is Status.INTENT:
        return now_s
    # Sending again is harmless once a complete query has shown it still open.
    needed = 2 if last.status is Status.ACKED else 1
    if desk.state.cancel_polls.get(order.ref, 0) < needed:
        return float("inf")
    since_s = (desk.clock.now() - last.changed).total_seconds()
    wait_s = min(0.5 * 2.0 ** (len(tries) - 1), 30.0)
    if last.status is Status.ACKED:
        wait_s = max(wait_s, desk.settings.mismatch_s)
    return now_s + wait_s - since_s


def cancel(desk: Desk, order: OrderRecord) -> None:
    """Ask the broker to cancel what is open of an order."""
    target = open_ticket(desk, order)
    if target is None:
        return
    pending = [
        item
        for item in desk.journal.changes(order.ref)
        if item.role is TicketRole.CANCEL and item.status is Status.INTENT
    ]
    if pending:
        change = pending[-1].change
    else:
        change = desk.journal.add_change(order.ref, TicketRole.CANCEL)
    permit = desk.guard.permit_cancel(order.ref, _name(desk, order, target))
    desk.journal.record_change(change, Status.SENDING)
    desk.state.cancel_polls[order.ref] = 0
    began_s = desk.clock.monotonic()
    try:
        sent = desk.sender.cancel(permit)
    except BaseException:
        desk.journal.record_change(change, Status.UNKNOWN)
        raise
    finally:
        desk.state.network_s += desk.clock.monotonic() - began_s
        desk.state.calls += 1
    _settle_change(desk, change, sent)
    _tell_given_up(desk, order, sent)


def _tell_given_up(desk: Desk, order: OrderRecord, sent: Sent) -> None:
    """Tell a person once that nothing more is tried; the order may still work."""
    tries = sum(
        item.role is TicketRole.CANCEL for item in desk.journal.changes(order.ref)
    )
    if tries != desk.settings.cancel_tries:
        return
    alarm(
        desk,
        Urgency.CRITICAL,
        _("order cannot be cancelled"),
        _(
            "order {number}, {symbol}: asked {tries} times, and the broker still shows "
            "it ({why}). kisbt asks no more: cancel it in the HTS or the app"
        ).format(
            number=order.broker_number or order.number,
            symbol=order.symbol,
            tries=tries,
            why=sent.text or "-",
        ),
        ref=order.ref,
    )


def amend(desk: Desk, change: ChangeRecord) -> None:
    """Ask the broker to move an order to another price."""
    order = desk.journal.order(change.ref)
    target = open_ticket(desk, order)
    if target is None or order.status not in AT_BROKER:
        desk.journal.record_change(
            change.change, Status.NOT_SENT, note=_("nothing of the order is open")
        )
        return
    proposal = Proposal(
        ref=order.ref,
        order=NewOrder(
            symbol=order.symbol,
            side=order.side,
            quantity=change.quantity or order.open_quantity,
            kind=order.kind,
            price=change.price,
            venue=order.venue,
        ),
        instrument=desk.settings.instruments[order.symbol],
        order_type=order.order_type,
        value=float((change.quantity or order.open_quantity) * change.price),
        band=desk.sources.band(order.symbol),
    )
    try:
        permit = desk.guard.permit_amend(
            proposal, facts_for(desk, order), _name(desk, order, target)
        )
    except RiskRefused as error:
        desk.journal.record_change(change.change, Status.NOT_SENT, note=str(error))
        return
    desk.journal.record_change(change.change, Status.SENDING)
    began_s = desk.clock.monotonic()
    try:
        sent = desk.sender.amend(permit)
    except BaseException:
        desk.journal.record_change(change.change, Status.UNKNOWN)
        raise
    finally:
        desk.state.network_s += desk.clock.monotonic() - began_s
        desk.state.calls += 1
    _settle_change(desk, change.change, sent)


def open_ticket(desk: Desk, order: OrderRecord) -> TicketRecord | None:
    """Return the broker's number under which an order is open now."""
    tickets = [
        item
        for item in desk.journal.tickets(order.ref)
        if item.role is not TicketRole.CANCEL
    ]
    return tickets[-1] if tickets else None


def _name(desk: Desk, order: OrderRecord, ticket: TicketRecord) -> OrderRef:
    return OrderRef(
        branch=ticket.branch,
        number=ticket.number,
        kind=order.kind,
        venue=desk.state.venues.get(order.ref, order.venue),
    )


def _settle_change(desk: Desk, change: int, sent: Sent) -> None:
    """Write down the answer; only a query tells whether it came about."""
    if sent.answer is Answer.TAKEN:
        assert sent.ticket is not None
        desk.journal.record_change(
            change,
            Status.ACKED,
            day=desk.clock.now().date(),
            branch=sent.ticket.branch,
            number=sent.ticket.number,
        )
    else:
        status = {
            Answer.NOT_SENT: Status.NOT_SENT,
            Answer.IMPOSSIBLE: Status.NOT_SENT,
            Answer.REFUSED: Status.REFUSED,
            Answer.CLAIMED: Status.CLAIMED,
            Answer.UNKNOWN: Status.UNKNOWN,
        }[sent.answer]
        desk.journal.record_change(change, status, note=sent.text, code=sent.code)
        log.warning("change %d: %s: %s", change, status, sent.text)
        if sent.foreign:
            take_step(desk, Step.HALT, "", sent.text)
    desk.state.orders.want(
        desk.clock.monotonic() + max(sent.wait_s, desk.settings.rates.confirm_s)
    )


def has_work(desk: Desk) -> bool:
    """Return whether anything is unsent or unresolved, held orders left out."""
    patient = Status.HELD, Status.QUARANTINE
    if any(order.status not in patient for order in desk.journal.pressing()):
        return True
    return bool(desk.journal.changes(statuses=_CHANGE_OPEN | UNSENT))
