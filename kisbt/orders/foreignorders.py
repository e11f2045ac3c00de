"""Orders at the broker that are not kisbt's: written down, told, never touched."""

from collections.abc import Sequence
from datetime import date

from kisbt.model.order import BrokerOrder
from kisbt.model.ports import Urgency
from kisbt.orders.alarms import alarm, halt, pause
from kisbt.orders.decode import order_key
from kisbt.orders.deskstate import Desk, Foreign
from kisbt.orders.lifecycle import Status
from kisbt.orders.lostorders import LOOKED_FOR
from kisbt.orders.rows import ExternalOrder
from kisbt.text import _


def take_foreign(desk: Desk, day: date, rows: Sequence[BrokerOrder]) -> None:
    """Take the rows of a day that belong to no order of kisbt."""
    journal = desk.journal
    open_symbols = {
        order.symbol
        for order in journal.orders(
            statuses=LOOKED_FOR | {Status.SENDING, Status.QUARANTINE}
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
