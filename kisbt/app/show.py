"""What a journal says: orders, fills, positions, status; read only."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from kisbt.app.targets import Target
from kisbt.clock import SystemClock
from kisbt.errors import InputError
from kisbt.orders.halt import read_beat
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access
from kisbt.orders.lifecycle import OPEN, UNRESOLVED, Status
from kisbt.orders.rows import OrderRecord
from kisbt.text import _


def open_journal(target: Target) -> Journal:
    """Open the journal of an account to read.

    Raises:
        StorageError: there is none, or it cannot be believed.
    """
    return Journal(target.journal, access=Access.READ)


def require_open_order(target: Target, ref: int) -> OrderRecord:
    """Return an order that may still be cancelled.

    Raises:
        InputError: there is none of that number, or it has ended.
        StorageError: the journal cannot be read.
    """
    with open_journal(target) as journal:
        try:
            order = journal.order(ref)
        except KeyError as error:
            raise InputError(
                _("{name} has no order {ref}; see: kisbt show orders").format(
                    name=target.name, ref=ref
                )
            ) from error
    if not order.is_open:
        raise InputError(
            _("order {ref} has ended already ({status}); nothing to cancel").format(
                ref=ref, status=status_word(order.status)
            )
        )
    return order


def status_word(status: Status) -> str:
    """Return a status in the words of people."""
    return {
        Status.HELD: _("held for its phase"),
        Status.INTENT: _("about to be sent"),
        Status.SENDING: _("being sent"),
        Status.UNKNOWN: _("UNKNOWN: looked for at the broker"),
        Status.CLAIMED: _("refused unseen, being checked"),
        Status.ACKED: _("taken by the broker"),
        Status.WORKING: _("working"),
        Status.PARTIAL: _("partly filled"),
        Status.CANCELLING: _("being cancelled"),
        Status.AMENDING: _("being amended"),
        Status.QUARANTINE: _("QUARANTINE: a person must decide"),
        Status.FILLED: _("filled"),
        Status.CANCELLED: _("cancelled"),
        Status.EXPIRED: _("expired"),
        Status.REFUSED: _("refused by the broker"),
        Status.REJECTED: _("refused by the exchange"),
        Status.NOT_SENT: _("not sent"),
        Status.DENIED: _("refused by kisbt"),
        Status.ABSENT: _("not found at the broker"),
    }[status]


def order_rows(
    target: Target, *, day: date | None = None, only_open: bool = False
) -> list[dict[str, Any]]:
    """Return orders as rows, oldest first.

    Args:
        target: the account.
        day: of this trading date; None for all.
        only_open: of which more may become.

    Raises:
        StorageError: the journal cannot be read.
    """
    with open_journal(target) as journal:
        orders = journal.orders(session=day, statuses=OPEN if only_open else None)
    return [_order_row(order) for order in orders]


def _order_row(order: OrderRecord) -> dict[str, Any]:
    return {
        "ref": order.ref,
        "created": order.created.isoformat(timespec="seconds"),
        "session": order.session.isoformat(),
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.order_type.value,
        "quantity": order.quantity,
        "limit_price": order.limit_price,
        "state": order.status.value,
        "state_text": status_word(order.status),
        "filled_quantity": order.filled,
        "average_price": order.average_price,
        "open_quantity": order.open_quantity,
        "broker_order_no": order.broker_number,
        "confirmed_by": order.confirmed_by,
        "reason": order.reason,
        "note": order.note,
        "origin": order.origin,
    }


def fill_rows(target: Target, *, day: date | None = None) -> list[dict[str, Any]]:
    """Return fills and corrections as rows, oldest first.

    Raises:
        StorageError: the journal cannot be read.
    """
    with open_journal(target) as journal:
        fills = journal.fills(session=day)
    return [
        {
            "time": fill.at.isoformat(timespec="seconds"),
            "symbol": fill.symbol,
            "side": fill.side.value,
            "quantity": fill.quantity,
            "price": fill.amount / fill.quantity if fill.quantity else None,
            "amount": fill.amount,
            "commission": fill.commission,
            "tax": fill.tax,
            "order_ref": fill.ref,
            "confirmed_by": fill.confirmed_by,
        }
        for fill in fills
    ]


def position_rows(target: Target) -> list[dict[str, Any]]:
    """Return the shares of the account: kisbt's own, and others as last seen.

    Raises:
        StorageError: the journal cannot be read.
    """
    with open_journal(target) as journal:
        own = {item.symbol: item for item in journal.positions()}
        outside, frozen = journal.outside(), journal.frozen()
    return [
        {
            "symbol": symbol,
            "own": own[symbol].quantity if symbol in own else 0,
            "average": own[symbol].average if symbol in own else None,
            "external": outside.get(symbol, 0),
            "frozen": frozen[symbol].reason if symbol in frozen else "",
        }
        for symbol in sorted({*own, *outside, *frozen})
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """One fact about an account.

    Attributes:
        urgent: a person should act.
    """

    name: str
    text: str
    urgent: bool = False


def status_lines(target: Target) -> list[StatusLine]:
    """Return how an account and its run stand.

    Raises:
        StorageError: the journal cannot be read.
    """
    lines = [
        StatusLine(name=_("account"), text=f"{target.name}, {target.mode}"),
        _alive(target),
        _halted(target),
    ]
    if not target.journal.exists():
        text = _("none; nothing has been traded here")
        return [*lines, StatusLine(name=_("journal"), text=text)]
    with open_journal(target) as journal:
        lines += _of_journal(journal)
    return lines


def _alive(target: Target) -> StatusLine:
    name = _("run")
    if not target.is_traded:
        return StatusLine(name=name, text=_("none is alive"))
    who = (
        _("pid {pid} since {started}").format(
            pid=target.instance.pid, started=target.instance.started
        )
        if target.instance is not None
        else _("alive")
    )
    beat = read_beat(target.state)
    if beat is None:
        return StatusLine(name=name, text=who)
    try:
        touched_s = (target.state / "heartbeat.json").stat().st_mtime
    except OSError:
        return StatusLine(name=name, text=who)
    age_s = max(0.0, SystemClock().now().timestamp() - touched_s)
    text = _("{who}, {pulse}, last heartbeat {age:.0f} s ago").format(
        who=who, pulse=beat.pulse.value, age=age_s
    )
    return StatusLine(name=name, text=text, urgent=age_s > 30)


def _halted(target: Target) -> StatusLine:
    halted = target.latch.raised()
    if halted is None:
        return StatusLine(name=_("halt"), text=_("not halted"))
    when = halted.at.isoformat(timespec="seconds") if halted.at else "?"
    text = _("HALTED at {when} by {by}: {why}; to go on: kisbt unhalt").format(
        when=when, by=halted.by, why=halted.reason or "?"
    )
    return StatusLine(name=_("halt"), text=text, urgent=True)


def _of_journal(journal: Journal) -> list[StatusLine]:
    lines = []
    runs = journal.runs()
    if runs:
        last = runs[-1]
        ended = (
            _("ended {when}: {state}").format(
                when=last.ended.isoformat(timespec="seconds"), state=last.exit_state
            )
            if last.ended
            else _("not ended in order")
        )
        text = f"{last.run_id} ({last.mode}, {last.account}), {ended}"
        lines.append(StatusLine(name=_("last run"), text=text))
    lines.append(
        StatusLine(name=_("own cash"), text=_("{won:,} won").format(won=journal.cash()))
    )
    lines.append(
        StatusLine(
            name=_("own positions"),
            text=_("{count} symbols").format(count=len(journal.positions())),
        )
    )
    opened = journal.open_orders()
    lines.append(StatusLine(name=_("open orders"), text=str(len(opened))))
    for order in opened:
        if order.status in UNRESOLVED:
            text = _("order {ref} {symbol}: {status}").format(
                ref=order.ref, symbol=order.symbol, status=status_word(order.status)
            )
            lines.append(StatusLine(name=_("check"), text=text, urgent=True))
    for freeze in journal.frozen().values():
        text = _("{symbol} is frozen: {why}").format(
            symbol=freeze.symbol, why=freeze.reason
        )
        lines.append(StatusLine(name=_("check"), text=text, urgent=True))
    return lines
