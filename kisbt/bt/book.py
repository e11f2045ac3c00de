"""The working orders of a backtest and what they have promised."""

import math
from collections.abc import Iterator
from typing import Any

from kisbt.bt.recorder import PlacedOrder
from kisbt.model.order import Side


class OrderBook:
    """Orders that have not ended.

    Attributes:
        orders: by backtrader's reference number, oldest first.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.orders: dict[int, PlacedOrder] = {}
        self._of_feed: dict[Any, dict[int, PlacedOrder]] = {}

    def __bool__(self) -> bool:
        return bool(self.orders)

    def add(self, placed: PlacedOrder) -> None:
        """Add an order."""
        order = placed.order
        ref, feed = order.ref, order.data
        self.orders[ref] = placed
        of_feed = self._of_feed.get(feed)
        if of_feed is None:
            of_feed = self._of_feed[feed] = {}
        of_feed[ref] = placed

    def get(self, order: Any) -> PlacedOrder | None:
        """Return what is known of an order; None when it has ended."""
        return self.orders.get(order.ref)

    def remove(self, order: Any) -> None:
        """Forget an order."""
        placed = self.orders.pop(order.ref, None)
        if placed is not None:
            del self._of_feed[placed.order.data][order.ref]

    def forget_ended(self) -> None:
        """Forget the orders that have ended."""
        orders = [placed.order for placed in self.orders.values()]
        for order in [order for order in orders if not order.alive()]:
            self.remove(order)

    def live(self) -> Iterator[PlacedOrder]:
        """Yield the orders that can still be filled, oldest first."""
        return (p for p in list(self.orders.values()) if p.order.alive())

    def earliest_end(self) -> float:
        """Return when the first of the orders ends with its session, ended or not."""
        first = math.inf
        for placed in self.orders.values():
            first = min(first, placed.expires)
        return first

    def reserved_cash(self) -> float:
        """Return the won set aside for working buys."""
        # One by one, oldest first: `sum` rounds otherwise from Python 3.12 on, and who
        # adds the newest order to the sum has to get the same won.
        reserved = 0.0
        for placed in self.orders.values():
            if placed.reserve and placed.order.alive() and not placed.leaving:
                reserved += abs(placed.order.executed.remsize) * placed.reserve
        return reserved

    def promised_shares(self, feed: Any, *, beside: object = None) -> int:
        """Return the shares of `feed` that working sales will take.

        The legs of one group (one cancels the other) promise their largest once.

        Args:
            feed: whose shares.
            beside: the group that is left out.
        """
        promised: dict[object, int] = {}
        for placed in self._of_feed.get(feed, {}).values():
            order = placed.order
            if placed.side is Side.BUY or placed.leaving or not order.alive():
                continue
            if order.active() and (placed.group != beside or beside is None):
                left = abs(int(order.executed.remsize))
                promised[placed.group] = max(promised.get(placed.group, 0), left)
        return sum(promised.values())

    def working_value(self, feed: Any, price: float) -> float:
        """Return the won that working buys of `feed` will take, limits counted."""
        return sum(
            abs(placed.order.executed.remsize) * (placed.limit_price or price)
            for placed in self._of_feed.get(feed, {}).values()
            if placed.side is Side.BUY and placed.order.alive() and not placed.leaving
        )


def shrink(order: Any, quantity: int) -> None:
    """Cut the open part of an order to `quantity` shares."""
    if abs(order.executed.remsize) > quantity:
        resize(order, quantity)


def resize(order: Any, quantity: int) -> None:
    """Make the open part of an order `quantity` shares."""
    left = quantity if order.isbuy() else -quantity
    cut = order.executed.remsize - left
    order.executed.remsize = left
    order.size -= cut
    order.created.size -= cut
    order.created.remsize -= cut
