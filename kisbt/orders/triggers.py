"""Orders that wait on this machine until a price touches them.

The exchange has no stop orders that kisbt could use, and of a group of which one
cancels the other only one may work there. What counts as a touch is decided by
`krx.matching`, the same functions that fill the backtest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from kisbt.krx.matching import STOPS, touches_limit, touches_stop
from kisbt.model.order import OrderType, Side
from kisbt.model.quote import Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """An order that waits for a price.

    Attributes:
        key: of whoever asked.
        order_type: one of the stops, or LIMIT.
        price: won: of a stop its trigger, of a limit order its limit.
        since, until: trades from `since` up to `until` count, aware; so does a
            candle that lies between them.
    """

    key: int
    symbol: str
    side: Side
    order_type: OrderType
    price: float
    since: datetime
    until: datetime

    def touched_by(self, price: float) -> bool:
        """Return whether a trade at `price` touches it."""
        if self.order_type in STOPS:
            return touches_stop(self.side, self.price, price)
        return touches_limit(self.side, self.price, price)


class Triggers:
    """The orders that are watched."""

    def __init__(self) -> None:
        """Watch nothing."""
        self._watches: dict[int, Watch] = {}
        self._symbols: frozenset[str] = frozenset()

    def set(self, watches: Iterable[Watch]) -> None:
        """Watch these and no others."""
        self._watches = {watch.key: watch for watch in watches}
        self._symbols = frozenset(watch.symbol for watch in self._watches.values())

    @property
    def symbols(self) -> frozenset[str]:
        """Symbols of which trades are wanted."""
        return self._symbols

    def __len__(self) -> int:
        return len(self._watches)

    def on_ticks(self, ticks: Iterable[Tick]) -> list[int]:
        """Return the keys of what trades touch, in the order in which they do.

        Each is returned once and is no longer watched.
        """
        touched: list[int] = []
        for tick in ticks:
            if tick.symbol not in self._symbols:
                continue
            for watch in self._of(tick.symbol):
                inside = watch.since <= tick.at <= watch.until
                if inside and watch.touched_by(tick.price):
                    touched.append(watch.key)
                    del self._watches[watch.key]
        return touched

    def on_candle(
        self,
        symbol: str,
        *,
        begins: datetime,
        ends: datetime,
        high: float,
        low: float,
    ) -> list[int]:
        """Return the keys of what a whole candle touches.

        A candle finds what no trade was seen to touch: in a gap of the stream, or
        when prices are polled.
        """
        touched: list[int] = []
        for watch in self._of(symbol):
            inside = watch.since <= begins and ends <= watch.until
            if inside and (watch.touched_by(high) or watch.touched_by(low)):
                touched.append(watch.key)
                del self._watches[watch.key]
        return touched

    def on_last(self, last: Mapping[str, Tick]) -> list[int]:
        """Return the keys of what the last trades touch already.

        A trade between the END of a candle and the moment the strategy has seen it
        must not be lost on an order made on that candle.
        """
        ticks = [last[symbol] for symbol in sorted(self._symbols) if symbol in last]
        return self.on_ticks(ticks)

    def _of(self, symbol: str) -> list[Watch]:
        return [w for w in list(self._watches.values()) if w.symbol == symbol]
