"""What stands in the way of a live order that is kept here: other orders going.

Of a group of which one cancels the other only one order works at the exchange at a
time; shares and cash bound by a cancellation are free once that is confirmed.
"""

from collections.abc import Callable, Sequence

from kisbt.bt.liveorder import LiveOrder, Place
from kisbt.model.order import Side


def legs_beside(item: LiveOrder, going: Sequence[LiveOrder]) -> list[LiveOrder]:
    """Return the other active orders of an order's group."""
    return [
        other
        for other in going
        if other is not item
        and other.placed.group == item.placed.group
        and other.order.active()
    ]


def sellable(item: LiveOrder, going: Sequence[LiveOrder], held: int) -> int:
    """Return the shares a sale can be sent for: held, and not sold already.

    The exchange refuses what other working sales have promised; a bracket's exits
    were not checked against them.
    """
    feed = item.order.data
    taken = sum(
        abs(int(other.order.executed.remsize))
        for other in going
        if other.place is Place.DESK
        and other.placed.side is Side.SELL
        and other.order.data is feed
    )
    return held - taken


def is_bound(
    item: LiveOrder, going: Sequence[LiveOrder], free_cash: Callable[[], float]
) -> bool:
    """Return whether its shares or cash are still bound by a cancellation."""
    placed = item.placed
    owed = 0.0
    for other in going:
        left = other.placed
        if not left.leaving or left.side is not placed.side:
            continue
        if left.order.data is placed.order.data:
            return True
        owed += abs(left.order.executed.remsize) * left.reserve
    return placed.side is Side.BUY and owed > 0 and free_cash() < owed
