"""The body shared by the examples: exits first, then entries, one order a symbol."""

from collections.abc import Mapping
from typing import Any

import backtrader as bt

from kisbt.bt.sizers import skip_entry, whole_shares


class Portfolio(bt.Strategy):
    """Hold up to `max_position` symbols, each with a share of the equity.

    A subclass makes its indicators in ``__init__``, hands them to `follow`, and
    says in `buy_signals` and `sell_signals` what it sees on a bar. At each bar's
    close every symbol with a new bar is looked at in the order of the universe:
    exits of all symbols first, then entries. A symbol with a live order waits.

    Params:
        max_position: symbols held at the same time.
        position_size: share of the equity for one symbol.
    """

    params: Any = (("max_position", 5), ("position_size", 0.2))

    def __init__(self) -> None:
        """Start without orders."""
        self._ready_at: dict[Any, int] = {}
        self._working: dict[Any, Any] = {}

    def follow(self, data: Any, *indicators: Any) -> None:
        """Say which indicators `data` needs: it is ready when all have a value."""
        periods = [indicator._minperiod for indicator in indicators]
        self._ready_at[data] = max(periods, default=1)

    def buy_signals(self, data: Any) -> Mapping[str, bool]:
        """Return the conditions that speak for buying, by name."""
        raise NotImplementedError

    def sell_signals(self, data: Any) -> Mapping[str, bool]:
        """Return the conditions that speak for selling, by name."""
        raise NotImplementedError

    def conditions(self, data: Any) -> Mapping[str, bool]:
        """Return every condition on the current bar, by name."""
        return {**self.buy_signals(data), **self.sell_signals(data)}

    def wants_entry(self, signals: Mapping[str, bool]) -> bool:
        """Return whether the buy conditions are enough to enter."""
        return any(signals.values())

    def exit_reason(self, data: Any, position: Any) -> str:
        """Return why the position should be sold now, "" to keep it."""
        return named(self.sell_signals(data))

    # A strategy waits in `prenext` until every symbol of the universe has enough
    # bars. A late listing must not silence the others, so both do the same.

    def prenext(self) -> None:
        self.decide()

    def next(self) -> None:
        self.decide()

    def decide(self) -> None:
        """Look at every symbol that has a new bar."""
        position_of, working = self.broker.getposition, self._working
        now, ready_at = self.datetime[0], self._ready_at
        held = [data for data in self.datas if position_of(data).size]
        # A pending sale still holds its slot; a working buy has taken one.
        slots = self.p.max_position - len(held)
        for data, order in working.items():
            if order.isbuy() and not position_of(data).size:
                slots -= 1
        # A bar is new if it is of now. len() first: before its first bar a feed shows
        # its last price.
        for data in held:
            if len(data) >= ready_at[data] and data.datetime[0] == now:
                self.consider_exit(data, position_of(data))
        for data in self.datas:
            if slots <= 0:
                break
            if data in working or position_of(data).size:
                continue
            if len(data) >= ready_at[data] and data.datetime[0] == now:
                slots -= self.enters(data)

    def consider_exit(self, data: Any, position: Any) -> None:
        """Sell the whole position if there is a reason."""
        if data in self._working:
            return
        reason = self.exit_reason(data, position)
        if reason:
            self.send(data, self.sell(data=data, size=position.size, reason=reason))

    def enters(self, data: Any) -> bool:
        """Buy if the signals say so and none says sell; return whether it did."""
        signals = self.buy_signals(data)
        if not self.wants_entry(signals) or any(self.sell_signals(data).values()):
            return False
        budget = self.p.position_size * self.broker.getvalue()
        size = whole_shares(self, data, budget)
        if size == 0:
            skip_entry(self, data, "under_one_share")
            return False
        self.send(data, self.buy(data=data, size=size, reason=named(signals)))
        return data in self._working

    def send(self, data: Any, order: Any) -> None:
        """Remember the live order of a symbol."""
        if order is not None and order.alive():
            self._working[data] = order

    def notify_order(self, order: Any) -> None:
        working = self._working.get(order.data)
        if working is not None and working.ref == order.ref and not order.alive():
            del self._working[order.data]
        elif working is None and order.alive() and "resumed" in order.info:
            self.take_back(order)

    def take_back(self, order: Any) -> None:
        """Remember a live order that was made before a restart."""
        self._working[order.data] = order


def named(signals: Mapping[str, bool]) -> str:
    """Return the names of the signals that hold, joined by ``+``."""
    return "+".join([name for name, holds in signals.items() if holds])
