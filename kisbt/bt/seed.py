"""A backtest that begins with shares."""

import math
from collections.abc import Mapping
from typing import Any

from backtrader import Order
from backtrader.order import BuyOrder
from backtrader.position import Position

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.feed import CandleFeed, datetime_numbers
from kisbt.bt.recorder import Execution
from kisbt.model.order import Side

_LONG_AGO = 719_163.0  # 1970-01-01
Holdings = Mapping[str, tuple[int, float]]
"""Symbol to shares and their average price in won, fees excluded."""


class SeededBroker(KrxBackBroker):
    """`KrxBackBroker` whose account holds shares before the first bar.

    Params:
        holdings: see `Holdings`; a symbol without a feed is left out.
        guard: what the risk guard remembers of an earlier run of the same day.
    """

    params: Any = (("holdings", {}), ("guard", None))

    def start(self) -> None:
        """Begin a run."""
        super().start()
        if self.p.guard:
            self._guard.load(self.p.guard)
        self._unannounced: list[Any] = []
        for feed in self.cerebro.datas:
            quantity, average = self.p.holdings.get(feed._name, (0, 0.0))
            if quantity and not feed._clone:
                position = self.positions[feed] = Position(quantity, average)
                self._held[feed] = position
                self._unannounced.append(feed)
                self.recorder.opening.append(self._brought(feed, position))

    def _brought(self, feed: Any, position: Any) -> Execution:
        """Return the shares as if they had been bought at the begin."""
        return Execution(
            bar=self._entry_bar(feed),
            symbol=feed._name,
            side=Side.BUY,
            quantity=position.size,
            price=position.price,
            commission=0.0,
            tax=0.0,
            slippage=0.0,
            order_number=0,
        )

    def _entry_bar(self, feed: Any) -> float:
        """Return the bar that counts as their entry: the first tradable one.

        A live run knows the last one before it.
        """
        if math.isfinite(self.p.record_from):
            return float(self.p.record_from)
        if not isinstance(feed, CandleFeed) or not len(feed.candles):
            return _LONG_AGO
        return float(datetime_numbers(feed.candles.end[-1:])[0])

    def next(self) -> None:
        """Match, after backtrader has been told of the shares."""
        self._announce_all()
        super().next()

    def _announce_all(self) -> None:
        for feed in [f for f in self._unannounced if len(f)]:
            # By identity: `remove` would compare feeds, which makes lines.
            self._unannounced = [f for f in self._unannounced if f is not feed]
            self._announce(feed)

    def _announce(self, feed: Any) -> None:
        """Open backtrader's trade: else the sale would look like a short one.

        A simulated order opens it, of which the strategy does not hear.
        """
        position = self.positions[feed]
        size, price = position.size, position.price
        order = BuyOrder(
            owner=self.cerebro.runningstrats[0],
            data=feed,
            size=size,
            price=price,
            exectype=Order.Market,
            simulated=True,
        )
        order.addcomminfo(self.getcommissioninfo(feed))
        order.execute(
            feed.datetime[0],
            size,
            price,
            0,
            0.0,
            0.0,
            size,
            size * price,
            0.0,
            0.0,
            0.0,
            size,
            price,
        )
        order.completed()
        self.notify(order)
