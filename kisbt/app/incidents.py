"""What befell a run, out of its journal: for `kisbt parity` and its reader."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from kisbt.model.liverun import Incident, IncidentKind
from kisbt.orders.journal import Journal
from kisbt.orders.rows import EventRecord
from kisbt.text import _

_OWN_WISH = "strategy"
# One that was never sent ends at once; the others are asked for first.
_CANCELS = frozenset({"cancel_wanted", "cancelled"})


def journal_incidents(
    journal: Journal, run_id: str, number: Callable[[int], int | None]
) -> tuple[Incident, ...]:
    """Return what others did to the orders, cash and shares of a run.

    Args:
        journal: of the account.
        run_id: of the run, as `begin_run` was told.
        number: of an order in the run, by the journal's; None if it is not of the
            run.
    """
    history = journal.history()
    first = next(
        (
            at
            for at, event in enumerate(history)
            if event.kind == "run" and event.facts.get("run_id") == run_id
        ),
        len(history),
    )
    found = list(_restart(history, first))
    thawed = _thaws(history)
    for event in history[first + 1 :]:
        facts = event.facts
        symbol = str(facts.get("symbol", ""))
        if event.kind == "run":
            break
        if event.kind == "audit" and facts.get("why") != "capital":
            found.append(
                Incident(
                    kind=IncidentKind.ADJUSTMENT,
                    at=event.at,
                    symbol=symbol,
                    note=str(facts.get("why", "")),
                )
            )
        elif event.kind == "external":
            found.append(_external(event, symbol))
        elif event.kind == "frozen":
            found.append(
                Incident(
                    kind=IncidentKind.PAUSE,
                    at=event.at,
                    until=thawed.get((symbol, event.sequence)),
                    symbol=symbol,
                    note=str(facts.get("reason", "")),
                )
            )
        elif event.kind in _CANCELS and facts.get("by", _OWN_WISH) != _OWN_WISH:
            assert event.ref is not None
            ref = number(event.ref)
            if ref is not None:
                found.append(_cancelled(event, ref, journal.order(event.ref).symbol))
    return tuple(found)


def _restart(history: Sequence[EventRecord], first: int) -> Sequence[Incident]:
    """Return the time since the run before, if that was on the same day."""
    begun = history[first].at if first < len(history) else None
    before = [event.at for event in history[:first] if event.kind != "run"]
    if begun is None or not before or before[-1].date() != begun.date():
        return ()
    return (
        Incident(
            kind=IncidentKind.RESTART,
            at=before[-1],
            until=begun,
            note=_("another run of the day ended at {time:%H:%M:%S}").format(
                time=before[-1]
            ),
        ),
    )


def _thaws(history: Sequence[EventRecord]) -> dict[tuple[str, int], datetime]:
    """Return when each freeze was lifted, by symbol and the freeze's sequence."""
    open_freezes: dict[str, list[int]] = {}
    found: dict[tuple[str, int], Any] = {}
    for event in history:
        symbol = str(event.facts.get("symbol", ""))
        if event.kind == "frozen":
            open_freezes.setdefault(symbol, []).append(event.sequence)
        elif event.kind == "thawed":
            for sequence in open_freezes.pop(symbol, ()):
                found[symbol, sequence] = event.at
    return found


def _external(event: EventRecord, symbol: str) -> Incident:
    facts = event.facts
    return Incident(
        kind=IncidentKind.EXTERNAL_ORDER,
        at=event.at,
        symbol=symbol,
        note=_("{side} {quantity:,} shares, not of this run").format(
            side=_("buy") if facts.get("side") == "buy" else _("sell"),
            quantity=int(facts.get("quantity", 0)),
        ),
    )


def _cancelled(event: EventRecord, ref: int, symbol: str) -> Incident:
    """Return a cancellation that the strategy did not ask for."""
    by = str(event.facts.get("by", ""))
    notes = {
        "exit": _("cancelled because the run was ended"),
        "halt": _("cancelled by a halt"),
        "adopt_late": _("cancelled: it turned up after it had been given up"),
    }
    return Incident(
        kind=IncidentKind.HALT,
        at=event.at,
        symbol=symbol,
        order_ref=ref,
        note=notes.get(by, _("cancelled by {by}").format(by=by)),
    )
