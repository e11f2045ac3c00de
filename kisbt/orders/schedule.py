"""When a desk has something to do next; moments are monotonic seconds."""

from math import inf

from kisbt.orders import dispatch
from kisbt.orders.deskstate import Desk
from kisbt.orders.lifecycle import Status
from kisbt.orders.polling import resolve_due_s


def next_due_s(desk: Desk) -> float | None:
    """Return the seconds until something is due; None for nothing."""
    now_s = desk.clock.monotonic()
    with desk.journal.moment():
        due = min(
            _held_due_s(desk, now_s),
            _intent_due_s(desk, now_s),
            _change_due_s(desk, now_s),
            orders_due_s(desk),
            balance_due_s(desk),
        )
    return None if due == inf else max(0.0, due - now_s)


def _held_due_s(desk: Desk, now_s: float) -> float:
    if not desk.state.ready:
        return inf
    now = desk.clock.now()
    found = inf
    for order in dispatch.unsent(desk, Status.HELD):
        due = dispatch.due_time(desk, order)
        wait_s = 0.0 if due is None else (due - now).total_seconds()
        found = min(found, now_s + wait_s)
    return found


def _intent_due_s(desk: Desk, now_s: float) -> float:
    if not desk.state.ready:
        return inf
    return min(
        (
            desk.state.retry_s.get(order.ref, now_s)
            for order in dispatch.unsent(desk, Status.INTENT)
        ),
        default=inf,
    )


def _change_due_s(desk: Desk, now_s: float) -> float:
    found = min(
        (
            dispatch.change_due_s(desk, order)
            for order in dispatch.to_be_cancelled(desk)
        ),
        default=inf,
    )
    if desk.journal.changes(statuses=frozenset({Status.INTENT})):
        return now_s
    return found


def orders_due_s(desk: Desk) -> float:
    """Return when the orders are to be asked for; orders unclear hasten it."""
    state = desk.state
    poll, rates = state.orders, desk.settings.rates
    due = poll.ready_s()
    now, now_s = desk.clock.now(), desk.clock.monotonic()
    for order in desk.journal.pressing():
        unclear = order.is_unresolved and order.status is not Status.QUARANTINE
        if not unclear or order.sent is None:
            continue
        sent_s = now_s - (now - order.sent).total_seconds()
        polls = state.resolve_polls.get(order.ref, 0)
        at_s = resolve_due_s(rates, sent_s, polls)
        # Never twice in one moment: the answer would be the same.
        soon = poll.ready_s() if poll.failures else poll.asked_s + rates.resolve_s[0]
        due = min(due, max(at_s, soon))
    return due


def balance_due_s(desk: Desk) -> float:
    """Return when the balance is to be asked for."""
    return desk.state.balance.ready_s()
