"""What blocks, and how a person hears of it: one clear message for each trouble."""

import logging
from datetime import timedelta
from math import inf

from kisbt.errors import StorageError
from kisbt.model.ports import Urgency
from kisbt.orders.deskstate import Desk
from kisbt.orders.ladders import Step
from kisbt.text import _

log = logging.getLogger(__name__)

_LEVELS = {
    Urgency.INFO: logging.INFO,
    Urgency.WARNING: logging.WARNING,
    Urgency.CRITICAL: logging.ERROR,
}


def alarm(
    desk: Desk, urgency: Urgency, title: str, text: str, *, ref: int | None = None
) -> None:
    """Write a message into journal and log and tell a person."""
    log.log(_LEVELS[urgency], "%s: %s", title, text)
    desk.journal.note(
        kind="alarm", ref=ref, urgency=urgency.value, title=title, text=text
    )
    if desk.notifier is not None:
        desk.notifier.notify(urgency, title, text)


def halted_reason(desk: Desk) -> str:
    """Return why nothing may be sent; "" if it may."""
    if desk.journal.broken:
        return _("the journal cannot be written: {why}").format(why=desk.journal.broken)
    if not desk.state.ready:
        return _("the start checks have not passed")
    if desk.latch is not None:
        halt = desk.latch.raised()
        if halt is not None:
            return halt.reason or halt.by
    return ""


def frozen_reasons(desk: Desk) -> dict[str, str]:
    """Return the symbols in which nothing may be sent, and why."""
    return {symbol: item.reason for symbol, item in desk.journal.frozen().items()}


def freeze(desk: Desk, symbol: str, why: str, *, seconds: float | None = None) -> None:
    """Freeze a symbol, for some seconds or until a person thaws it; tell it once."""
    if symbol in desk.journal.frozen():
        return
    until = None
    if seconds is not None:
        until = desk.clock.now() + timedelta(seconds=seconds)
    desk.journal.freeze(symbol, why, until)
    text = _("{symbol}: {why} Nothing more is sent in it").format(
        symbol=symbol, why=why
    )
    if until is None:
        text += _(" until you have looked: kisbt reconcile")
    alarm(desk, Urgency.CRITICAL, _("symbol frozen"), text)


def pause(desk: Desk, symbol: str, why: str, seconds: float | None) -> None:
    """Buy nothing in a symbol for some seconds, or for the rest of the day."""
    until_s = inf if seconds is None else desk.clock.monotonic() + seconds
    known = desk.state.paused.get(symbol)
    if known is None or known[1] < until_s:
        desk.state.paused[symbol] = (why, until_s)


def halt(desk: Desk, why: str) -> None:
    """Raise the latch: nothing is sent any more and own orders are cancelled."""
    desk.state.halt_told = why
    if desk.latch is None:
        desk.state.ready = False
        return
    try:
        desk.latch.raise_(why, "guard")
    except StorageError:
        desk.state.ready = False
        raise


def take_step(desk: Desk, step: Step | None, symbol: str, why: str) -> None:
    """Do what a ladder asks for."""
    if step is None:
        return
    state, limits = desk.state, desk.settings.ladders
    if step is Step.PAUSE_SYMBOL:
        pause(desk, symbol, why, limits.pause_s)
    elif step is Step.STOP_SYMBOL:
        pause(desk, symbol, why, None)
    elif step is Step.ENTRIES_OFF:
        state.entries_off.setdefault("refusals", why)
    elif step is Step.HALT:
        halt(desk, why)
        alarm(
            desk,
            Urgency.CRITICAL,
            _("halted"),
            _(
                "{why} Nothing more is sent, own orders are cancelled, positions are "
                "kept. Look at the account, then: kisbt unhalt"
            ).format(why=why),
        )
    else:
        alarm(desk, Urgency.WARNING, _("no answer"), why)
