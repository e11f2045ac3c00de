"""A strategy that sends every kind of order by chance alone, the same in any venue."""

import random
from datetime import timedelta
from typing import Any

import backtrader as bt

_KINDS = (
    "market",
    "limit",
    "stop",
    "stop_limit",
    "trail",
    "trail_percent",
    "trail_limit",
    "close",
    "shortened",
    "pair",
    "bracket",
    "cancel",
    "replace",
)


class Zoo(bt.Strategy):
    """On each new bar of each feed, perhaps one order, chosen by feed and time.

    Params:
        chance: of an order on a bar.
        kinds: which kinds.
    """

    params: Any = (("chance", 0.15), ("kinds", _KINDS), ("seed", 0))

    def __init__(self) -> None:
        self.seen = dict.fromkeys(self.datas, 0)
        self.alive: dict[int, Any] = {}

    def prenext(self) -> None:
        self.act()

    def next(self) -> None:
        self.act()

    def act(self) -> None:
        for feed in self.datas:
            if len(feed) == self.seen[feed] or not len(feed):
                continue
            self.seen[feed] = len(feed)
            dice = random.Random(f"{self.p.seed} {feed._name} {feed.datetime[0]:.9f}")
            if dice.random() < self.p.chance:
                self.send(feed, dice)

    def send(self, feed: Any, dice: random.Random) -> None:
        kind = dice.choice(self.p.kinds)
        held = self.getposition(feed).size
        sells = held > 0 and dice.random() < 0.6
        size = dice.randint(1, held) if sells else dice.randint(1, 12)
        close, away = feed.close[0], dice.choice((0.0005, 0.001, 0.002, 0.004))
        getattr(self, f"send_{kind}")(feed, dice, sells, size, close, away)

    def order(self, feed: Any, sells: bool, size: int, **how: Any) -> Any:
        made = (self.sell if sells else self.buy)(data=feed, size=size, **how)
        if made.alive():
            self.alive[made.ref] = made
        return made

    def send_market(self, feed, dice, sells, size, close, away) -> None:
        self.order(feed, sells, size)

    def send_limit(self, feed, dice, sells, size, close, away) -> None:
        price = close * (1 + away if sells else 1 - away)
        self.order(feed, sells, size, exectype=bt.Order.Limit, price=price)

    def send_stop(self, feed, dice, sells, size, close, away) -> None:
        price = close * (1 - away if sells else 1 + away)
        self.order(feed, sells, size, exectype=bt.Order.Stop, price=price)

    def send_stop_limit(self, feed, dice, sells, size, close, away) -> None:
        price = close * (1 - away if sells else 1 + away)
        limit = price * (1 + dice.choice((-1, 0, 1)) * away)
        self.order(
            feed, sells, size, exectype=bt.Order.StopLimit, price=price, plimit=limit
        )

    def send_trail(self, feed, dice, sells, size, close, away) -> None:
        self.order(
            feed, sells, size, exectype=bt.Order.StopTrail, trailamount=close * away
        )

    def send_trail_percent(self, feed, dice, sells, size, close, away) -> None:
        self.order(feed, sells, size, exectype=bt.Order.StopTrail, trailpercent=away)

    def send_trail_limit(self, feed, dice, sells, size, close, away) -> None:
        self.order(
            feed,
            sells,
            size,
            exectype=bt.Order.StopTrailLimit,
            price=close,
            plimit=close * (1 - away if sells else 1 + away),
            trailamount=close * away,
        )

    def send_close(self, feed, dice, sells, size, close, away) -> None:
        self.order(feed, sells, size, exectype=bt.Order.Close)

    def send_shortened(self, feed, dice, sells, size, close, away) -> None:
        price = close * (1 + away if sells else 1 - away)
        self.order(
            feed,
            sells,
            size,
            exectype=bt.Order.Limit,
            price=price,
            valid=timedelta(minutes=dice.choice((1, 2, 5))),
        )

    def send_pair(self, feed, dice, sells, size, close, away) -> None:
        if not sells:
            return
        stop = self.order(
            feed, True, size, exectype=bt.Order.Stop, price=close * (1 - away)
        )
        self.order(
            feed,
            True,
            size,
            exectype=bt.Order.Limit,
            price=close * (1 + away),
            oco=stop,
        )

    def send_bracket(self, feed, dice, sells, size, close, away) -> None:
        legs = self.buy_bracket(
            data=feed,
            size=size,
            exectype=dice.choice((bt.Order.Market, bt.Order.Limit)),
            price=close,
            stopprice=close * (1 - 2 * away),
            limitprice=close * (1 + 2 * away),
        )
        self.alive.update((leg.ref, leg) for leg in legs if leg and leg.alive())

    def send_cancel(self, feed, dice, sells, size, close, away) -> None:
        mine = [o for o in self.alive.values() if o.data is feed and o.alive()]
        if mine:
            self.cancel(dice.choice(mine))

    def send_replace(self, feed, dice, sells, size, close, away) -> None:
        """Cancel everything of a feed, and sell what is held in the same breath."""
        for order in [o for o in self.alive.values() if o.data is feed]:
            self.cancel(order)
        held = self.getposition(feed).size
        if held:
            self.order(feed, True, held)

    def notify_order(self, order: Any) -> None:
        if not order.alive():
            self.alive.pop(order.ref, None)
