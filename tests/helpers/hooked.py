"""A strategy that trades by the clock, and lets a test do something on a bar."""

from collections.abc import Callable
from typing import Any, ClassVar

import backtrader as bt


class Hooked(bt.Strategy):  # type: ignore[misc]
    """Buys each symbol at minutes 0 and 30 of an hour, sells at 15 and 45.

    At minute 50 it leaves a limit far below the price.

    Attributes:
        hooks: what to do at a time such as ``"10:05"``; not while it is replayed.
    """

    params: Any = (("size", 10), ("until", "10:45"))
    hooks: ClassVar[dict[str, Callable[[Any], None]]] = {}

    def prenext(self) -> None:
        """Do as on any bar."""
        self.next()

    def next(self) -> None:
        """Trade by the clock, then call the hook of this minute."""
        now = f"{self.datas[0].datetime.datetime(0):%H:%M}"
        hook = type(self).hooks.get(now)
        if hook is not None:
            hook(self)
        if now > self.p.until:
            return
        for feed in self.datas:
            if len(feed) and f"{feed.datetime.datetime(0):%H:%M}" == now:
                self._trade(feed, now[3:])

    def _trade(self, feed: Any, minute: str) -> None:
        held = self.getposition(feed).size
        if minute in {"00", "30"} and not held:
            self.buy(data=feed, size=self.p.size, reason="clock")
        elif minute in {"15", "45"} and held:
            self.close(data=feed, reason="clock")
        elif minute == "50":
            limit = round(feed.close[0] * 0.9, -3)
            self.buy(
                data=feed, size=1, exectype=bt.Order.Limit, price=limit, reason="far"
            )
