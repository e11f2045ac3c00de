"""Why a run decided or traded otherwise than its backtest: facts to causes."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from kisbt.model.liverun import (
    CandleChange,
    CandleEvent,
    Heard,
    Incident,
    IncidentKind,
    OrderEvent,
)
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import FillRow, OrderRow
from kisbt.report.parity_values import Cause, Evidence
from kisbt.text import _

_AT_ONCE = timedelta(seconds=5)
"""Longest time from a bar's end to the exchange's word that is no delay."""

_EXCUSES = {
    IncidentKind.RESTART: Cause.RESTART,
    IncidentKind.DISCONNECT: Cause.DISCONNECT,
    IncidentKind.ADJUSTMENT: Cause.ADJUSTMENT,
}
_BLOCKS = {
    IncidentKind.HALT: Cause.HALT,
    IncidentKind.PAUSE: Cause.PAUSE,
    IncidentKind.EXTERNAL_ORDER: Cause.EXTERNAL,
}
_CHANGES = {
    CandleChange.REVISED: Cause.CANDLE_REVISED,
    CandleChange.LATE: Cause.CANDLE_LATE,
    CandleChange.GAP: Cause.CANDLE_GAP,
}
_OUTCOMES = {
    "refused": Cause.REFUSED,
    "not_sent": Cause.NOT_SENT,
    "cancelled": Cause.CANCELLED,
}
_STATES = {
    OrderState.REFUSED: Cause.REFUSED,
    OrderState.CANCELLED: Cause.CANCELLED,
}


def decision_cause(evidence: Evidence, order: OrderRow) -> tuple[Cause, str]:
    """Return what kept the run from deciding as its replay did on a bar.

    Args:
        evidence: of the run.
        order: that only one of the two made, or that they made differently.

    Returns:
        The cause, and what vouches for it.
    """
    for incident in evidence.live.incidents:
        cause = _EXCUSES.get(incident.kind)
        if cause is not None and _covers(incident, order.created, order.symbol):
            return cause, incident.note
    # A revised candle excuses no decision: the replay saw what the run saw. One
    # symbol's late candle moves the cash and the free slots of the others, too.
    for event in evidence.live.candle_events:
        late = event.kind in {CandleChange.LATE, CandleChange.GAP}
        if late and event.bar == order.created:
            return _CHANGES[event.kind], event.note
    return Cause.UNEXPLAINED, ""


def execution_cause(
    evidence: Evidence,
    order: OrderRow,
    expected: Sequence[FillRow],
    actual: Sequence[FillRow],
    *,
    ended: bool,
) -> tuple[Cause, str]:
    """Return why an order was filled otherwise than in the backtest.

    Args:
        evidence: of the run.
        order: of the run.
        expected: what the backtest's market would have filled.
        actual: what was filled.
        ended: whether others than the strategy and the exchange's rules ended it.

    Returns:
        The cause, and what vouches for it.
    """
    wanted = sum(fill.quantity for fill in expected)
    found = sum(fill.quantity for fill in actual)
    if found < wanted or ended:
        cause = _ended_early(evidence, order)
        if cause is not None:
            return cause
    changed = _changed_candle(evidence, order, expected, actual)
    changed = changed or _off_the_candles(evidence, actual)
    if changed is not None:
        return changed
    if found != wanted:
        return _other_quantity(evidence, order, expected, found)
    if {fill.bar for fill in expected} != {fill.bar for fill in actual}:
        return Cause.LATENCY, _taken_note(evidence, order)
    return Cause.SLIPPAGE, ""


def _covers(incident: Incident, moment: datetime, symbol: str) -> bool:
    return (
        incident.symbol in {"", symbol}
        and incident.at <= moment
        and (incident.until is None or moment <= incident.until)
    )


def _told(evidence: Evidence, order: OrderRow, kind: Heard) -> OrderEvent | None:
    """Return the last thing of a kind that was heard of an order."""
    return next(
        (
            event
            for event in reversed(evidence.live.order_events)
            if event.order_ref == order.ref and event.kind is kind
        ),
        None,
    )


def _ended_early(evidence: Evidence, order: OrderRow) -> tuple[Cause, str] | None:
    """Return what ended an order before it was filled; None if nothing did."""
    end = _told(evidence, order, Heard.ENDED)
    cause = _STATES.get(order.state)
    if end is not None:
        cause = _OUTCOMES.get(end.outcome, cause)
    if cause is None:
        return None
    at = order.created if end is None else end.at
    note = order.reject_reason if end is None or not end.reason else end.reason
    for incident in evidence.live.incidents:
        block = _BLOCKS.get(incident.kind)
        mine = incident.order_ref in {None, order.ref}
        if block is not None and mine and _covers(incident, at, order.symbol):
            return block, incident.note or note
    if note or end is None:
        # Ended without anybody's word explains nothing.
        return (cause, note) if note else (Cause.UNEXPLAINED, cause.value)
    # The broker's own rows say so, and it gives no reasons there.
    carried = {item.order_ref for item in evidence.live.starting_orders}
    if order.ref in carried:
        return Cause.RESTART, _("ended between two runs")
    if cause is Cause.CANCELLED:
        return Cause.EXTERNAL, _("cancelled at the broker, not by this run")
    return cause, _("by the exchange, without a reason")


def _changed_candle(
    evidence: Evidence,
    order: OrderRow,
    expected: Sequence[FillRow],
    actual: Sequence[FillRow],
) -> tuple[Cause, str] | None:
    """Return the changed candle among those that the fills stand on."""
    bars = {fill.bar for fill in (*expected, *actual)}
    for event in evidence.live.candle_events:
        if event.symbol == order.symbol and event.bar in bars:
            return _CHANGES[event.kind], event.note or _candle_note(event)
    return None


def _candle_note(event: CandleEvent) -> str:
    """Return what changed in a candle: ``10:31 low 9,900 → 9,890``."""
    pairs = (
        (_("open"), event.open, event.true_open),
        (_("high"), event.high, event.true_high),
        (_("low"), event.low, event.true_low),
        (_("close"), event.close, event.true_close),
        (_("volume"), event.volume, event.true_volume),
    )
    parts = [
        f"{name} {seen:,.10g} → {true:,.10g}"
        for name, seen, true in pairs
        if seen is not None and true is not None and seen != true
    ]
    return f"{event.bar:%H:%M} {', '.join(parts)}" if parts else ""


def _other_quantity(
    evidence: Evidence, order: OrderRow, expected: Sequence[FillRow], found: int
) -> tuple[Cause, str]:
    """Return why an order that lived its time was filled in another quantity."""
    if found:
        return Cause.PARTIAL, ""
    for incident in evidence.live.incidents:
        cause = _EXCUSES.get(incident.kind)
        if cause is not None and _touches(incident, order, expected):
            return cause, incident.note
    taken = _told(evidence, order, Heard.ACCEPTED)
    if order.state in {OrderState.CREATED, OrderState.WORKING} or (
        taken is not None and taken.at > order.created + _AT_ONCE
    ):
        return Cause.LATENCY, _taken_note(evidence, order)
    if order.type is OrderType.LIMIT and not _traded_through(evidence, order, expected):
        return Cause.NOT_FILLED, _("the price only touched the limit")
    # Somebody always trades with a market order, or with a limit left behind.
    return Cause.UNEXPLAINED, order.reject_reason


def _touches(incident: Incident, order: OrderRow, expected: Sequence[FillRow]) -> bool:
    """Return whether an incident lies between an order and its expected fill."""
    return (
        incident.symbol in {"", order.symbol}
        and incident.at <= max(fill.bar for fill in expected)
        and (incident.until is None or incident.until >= order.created)
    )


def _traded_through(
    evidence: Evidence, order: OrderRow, expected: Sequence[FillRow]
) -> bool:
    """Return whether the price passed the limit, not only touched it."""
    assert order.limit_price is not None
    for fill in expected:
        candle = evidence.candle_at(fill.symbol, fill.bar)
        if candle is None:
            continue
        buys = order.side is Side.BUY
        past = candle.low < order.limit_price
        if past if buys else candle.high > order.limit_price:
            return True
    return False


def _taken_note(evidence: Evidence, order: OrderRow) -> str:
    """Return when the exchange took an order, if that was not at once."""
    taken = _told(evidence, order, Heard.ACCEPTED)
    if taken is None or taken.at <= order.created + _AT_ONCE:
        return ""
    return _("taken at {time:%Y-%m-%d %H:%M:%S}").format(time=taken.at)


def _off_the_candles(
    evidence: Evidence, fills: Iterable[FillRow]
) -> tuple[Cause, str] | None:
    """Return what is wrong with a fill outside its candle; None if all lie inside."""
    last = evidence.live.last_bar
    for fill in fills:
        if last is not None and fill.bar > last:
            return Cause.AFTER_END, ""
        candle = evidence.candle_at(fill.symbol, fill.bar)
        reach = evidence.reach_of(fill)
        if (
            candle is None
            or not candle.low - reach <= fill.price <= candle.high + reach
        ):
            return Cause.UNEXPLAINED, _(
                "{price:,.10g} won: no candle the run saw had that price then"
            ).format(price=fill.price)
    return None
