"""LiveStore: what other threads hand to Cerebro, and the one place where it waits.

backtrader has no locks, so only the thread that runs Cerebro touches feeds, orders
and positions. Others publish here: the candles of a moment become visible as one
batch, at the top of a pass, so that a strategy is called once for each moment.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from enum import Enum
from typing import Any, Protocol

from kisbt.model.candle import Candle
from kisbt.model.quote import Tick
from kisbt.signals import Signal

_WAIT_S = 0.5


class FeedState(Enum):
    """What a feed's bars are at the moment."""

    DELAYED = "delayed"
    """History, or bars that fill a gap: the strategy is not called on them."""
    LIVE = "live"
    BROKEN = "broken"
    """No bars are coming: the stream is down."""
    OVER = "over"
    """No more bars will ever come."""


class StoreBroker(Protocol):
    """The broker behind a store."""

    def after_pass(self) -> None:
        """Do what is due once the strategy has been called."""
        ...


Item = Candle | FeedState


class LiveStore:
    """Hands candles, states and trades to the feeds and the broker of one Cerebro.

    `publish`, `announce`, `finish` and `offer_ticks` belong to one producer thread;
    `wake` and `put_notification` may be called from any.
    """

    def __init__(
        self,
        *,
        pump: Callable[[], None] | None = None,
        heartbeat: Callable[[], None] | None = None,
        stand_back: Callable[[], None] | None = None,
        wait_s: float = _WAIT_S,
        bases: Mapping[tuple[str, date], float] | None = None,
    ) -> None:
        """Begin empty.

        Args:
            pump: makes something happen; called in Cerebro's thread instead of
                waiting (step mode).
            heartbeat: called once a pass: the strategy does not hang.
            stand_back: lets what the strategy has ordered be sent; returns soon.
            wait_s: longest wait of a pass without anything to do.
            bases: base prices by symbol and session, won, as the producer hears
                them.
        """
        self.pump = pump
        self.heartbeat = heartbeat
        self.stand_back = stand_back or (lambda: None)
        self.feeds: list[Any] = []
        self.broker: StoreBroker | None = None
        self._wait_s = wait_s
        self._wake = Signal()
        self._notifications: deque[tuple[Any, tuple[Any, ...], dict[str, Any]]] = (
            deque()
        )
        self._queues: dict[str, deque[tuple[int, bool, Item]]] = {}
        # What all feeds are told, for those that have not begun yet.
        self._early: list[tuple[int, bool, Item]] = []
        self._lock = threading.Lock()
        self._published = 0
        self._visible = 0
        self._ticks: deque[Tick] = deque()
        self.last_ticks: dict[str, Tick] = {}
        self.bases = {} if bases is None else bases
        self.watched: frozenset[str] = frozenset()
        self._history_ends = 0.0
        self._silent: set[float] = set()
        self._idle = False
        self._looked = Signal()
        self._looked.set()

    # backtrader's side.

    def start(self, data: Any = None, broker: Any = None) -> None:
        """Take a feed or the broker; backtrader calls it without any, too."""
        if data is not None:
            with self._lock:
                self.feeds.append(data)
                waiting = self.queue(data._name)
                early = sorted((*waiting, *self._early), key=lambda item: item[0])
                waiting.clear()
                waiting.extend(early)
        if broker is not None:
            self.broker = broker

    def stop(self) -> None:
        """End; nothing to do: the store has no thread of its own."""

    def get_notifications(self) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
        """Begin a pass: finish the one before, wait, and freeze what is visible."""
        if self.heartbeat is not None:
            self.heartbeat()
        if self.broker is not None:
            self.broker.after_pass()
        if not self._ticks:
            self._looked.set()
        if not self._notifications and not self._is_busy() and not self._is_over():
            if self.pump is not None:
                self.pump()
            else:
                self._idle = True
                self._wake.wait(self._wait_s)
                self._idle = False
        self._wake.clear()
        self._visible = self._published
        waiting = self._notifications
        return [waiting.popleft() for _number in range(len(waiting))]

    def _is_busy(self) -> bool:
        """Return whether a bar can be delivered without waiting."""
        if self._published > self._visible or self._ticks:
            return True
        if not self.feeds:
            return False
        # Clones included: a resampled feed may hold a bar back.
        return any(
            len(feed) < feed.buflen() or feed._barstack or feed.haslivedata()
            for feed in self.feeds[0]._env.datas
        )

    def _is_over(self) -> bool:
        return bool(self.feeds) and not any(feed.alive for feed in self.feeds)

    def queue(self, symbol: str) -> deque[tuple[int, bool, Item]]:
        """Return what waits for the feed of a symbol."""
        return self._queues.setdefault(symbol, deque())

    def note_history(self, ends: float) -> None:
        """Take the date number of a feed's last stored bar."""
        self._history_ends = max(self._history_ends, ends)

    def silence(self, bar: float) -> None:
        """Note that the strategy is not called on the bars of a date number."""
        self._silent.add(bar)

    def calls_on(self, bar: float) -> bool:
        """Return whether the strategy is called on the bars of a date number."""
        return bar > self._history_ends and bar not in self._silent

    @property
    def is_idle(self) -> bool:
        """Whether the strategy has dealt with everything published so far."""
        return self._idle and self._published == self._visible and not self._ticks

    @property
    def visible(self) -> int:
        """Number of the last batch this pass may see."""
        return self._visible

    # The producer's side.

    def publish(self, candles: Mapping[str, Candle], *, live: bool = True) -> None:
        """Make the candles of one moment visible as one.

        Args:
            candles: by symbol, all with the same END.
            live: False for bars that only fill a gap: indicators see them, the
                strategy is not called.
        """
        with self._lock:
            number = self._published + 1
            for symbol, candle in candles.items():
                self.queue(symbol).append((number, live, candle))
            self._published = number
        self._wake.set()

    def announce(self, state: FeedState, symbols: Iterable[str] | None = None) -> None:
        """Tell the strategy (`notify_data`) what the bars after this are.

        Args:
            state: from now on.
            symbols: of the feeds; all by default.
        """
        with self._lock:
            number = self._published + 1
            names = [feed._name for feed in self.feeds] if symbols is None else symbols
            for symbol in names:
                self.queue(symbol).append((number, False, state))
            if symbols is None:
                self._early.append((number, False, state))
            self._published = number
        self._wake.set()

    def finish(self) -> None:
        """Let every feed end once its bars are delivered: Cerebro then returns."""
        self.announce(FeedState.OVER)

    def offer_ticks(self, ticks: Iterable[Tick]) -> bool:
        """Show trades to the stops that are watched on this machine.

        Returns:
            Whether there is such a stop: `wait_looked` waits until it has seen them.
        """
        watched = self.watched
        woken = False
        for tick in ticks:
            self.last_ticks[tick.symbol] = tick
            if tick.symbol in watched:
                self._looked.clear()
                self._ticks.append(tick)
                woken = True
        if woken:
            self._wake.set()
        return woken

    def wait_looked(self, seconds: float) -> bool:
        """Wait, but not longer, until stops have seen the trades offered to them.

        Or until `end_look`. Two threads that compute get half a
        processor each; an order waits for one of them only.

        Returns:
            Whether they have, or it was ended.
        """
        return self._looked.wait(seconds)

    def take_ticks(self) -> list[Tick]:
        """Return the trades of watched symbols since the last call."""
        ticks = self._ticks
        return [ticks.popleft() for _number in range(len(ticks))]

    def end_look(self) -> None:
        """End `wait_looked`: something is to be sent; from any thread."""
        self._looked.set()

    def wake(self) -> None:
        """End Cerebro's wait: the order desk has news."""
        self._wake.set()

    def put_notification(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """Tell the strategy something (`notify_store`)."""
        self._notifications.append((message, args, kwargs))
        self._wake.set()
