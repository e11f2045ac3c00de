"""The questions a desk asks: for the orders of the day, and for the balance."""

import logging
from datetime import date, timedelta

from kisbt.clock import KST
from kisbt.errors import ForeignReply, KisError
from kisbt.krx.phases import phase_at
from kisbt.model.ports import Urgency
from kisbt.orders import balances, dispatch, evidence
from kisbt.orders.alarms import alarm, halt, take_step
from kisbt.orders.deskstate import Desk
from kisbt.orders.ledger import rows_agree
from kisbt.orders.lifecycle import AT_BROKER, UNRESOLVED
from kisbt.orders.reconcile import Finding
from kisbt.text import _

log = logging.getLogger(__name__)


def ask_orders(desk: Desk, *, strict: bool = False) -> bool:
    """Ask for the day's orders; return whether a complete answer came.

    Raises:
        KisError: it was not answered, with `strict`.
    """
    state = desk.state
    asked, asked_s = desk.clock.now(), desk.clock.monotonic()
    day = asked.astimezone(KST).date()
    first = _first_open_day(desk, day)
    state.calls += 1
    try:
        history = desk.gateway.fetch_orders(first, day)
    except KisError as error:
        _query_failed(desk, error)
        if strict:
            raise
        return False
    finally:
        state.network_s += desk.clock.monotonic() - asked_s
    state.totals = history.totals
    if state.query_broken or not rows_agree(history.rows, history.totals):
        state.balance.want(asked_s)
    state.asked = asked
    with desk.journal.together():
        for number in range((day - first).days + 1):
            evidence.take_history(
                desk, history, asked, day=first + timedelta(days=number)
            )
    state.asked = None
    working = desk.journal.orders(statuses=AT_BROKER | UNRESOLVED)
    rates = desk.settings.rates
    state.orders.answered(asked_s, rates.working_s if working else rates.idle_s)
    take_step(desk, state.ladders.queries_fail(0.0), "", "")
    _watch_unconfirmed(desk)
    return True


def _first_open_day(desk: Desk, today: date) -> date:
    """Return the date of the oldest order that has not ended; today without."""
    days = [
        order.sent.astimezone(KST).date()
        for order in desk.journal.orders(statuses=AT_BROKER | UNRESOLVED)
        if order.sent is not None
    ]
    return min([today, *days])


def _query_failed(desk: Desk, error: KisError) -> None:
    state = desk.state
    now_s = desk.clock.monotonic()
    state.orders.failed(now_s)
    log.warning("query failed: %s", error)
    if isinstance(error, ForeignReply):
        halt(desk, str(error))
    if _in_session(desk):
        step = state.ladders.queries_fail(state.orders.failing_s(now_s))
        take_step(desk, step, "", str(error))


def _in_session(desk: Desk) -> bool:
    return phase_at(desk.clock.now(), desk.calendar) in dispatch.REGULAR


def _watch_unconfirmed(desk: Desk) -> None:
    """A fill told by a notice that no query confirms: doubled, forged or late."""
    state = desk.state
    now_s = desk.clock.monotonic()
    for number, since_s in list(state.unconfirmed_s.items()):
        if now_s - since_s < desk.settings.unconfirmed_s:
            state.orders.want(now_s + desk.settings.rates.working_s)
            continue
        del state.unconfirmed_s[number]
        ticket = desk.journal.ticket(number)
        alarm(
            desk,
            Urgency.WARNING,
            _("fill not confirmed"),
            _(
                "a notice told a fill of number {number} that the broker's query "
                "does not show; it is watched"
            ).format(number=ticket.number),
            ref=ticket.ref,
        )


def ask_balance(desk: Desk, *, strict: bool = False) -> tuple[Finding, ...]:
    """Ask for the balance.

    Returns:
        Where journal and broker differ.

    Raises:
        KisError: it was not answered, with `strict`.
    """
    state = desk.state
    asked, asked_s = desk.clock.now(), desk.clock.monotonic()
    state.calls += 1
    try:
        balance = desk.gateway.fetch_balance()
    except KisError as error:
        state.balance.failed(desk.clock.monotonic())
        log.warning("balance not read: %s", error)
        if strict:
            raise
        return ()
    finally:
        state.network_s += desk.clock.monotonic() - asked_s
    state.balance.answered(asked_s, desk.settings.rates.balance_s)
    return balances.take_balance(desk, balance, asked)
