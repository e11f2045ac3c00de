"""Who turns the trading loop: Cerebro's own pass, or a thread beside it."""

import gc
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from kisbt.app.hearing import Hearing
from kisbt.app.session import LiveSession
from kisbt.app.venue import LONGEST_WAIT_S, Venue
from kisbt.clock import Clock, SystemClock
from kisbt.orders.sender import ORDER_THREAD
from kisbt.signals import Signal

log = logging.getLogger(__name__)

# Turns in a row that change nothing and let no time pass: a mistake in kisbt.
_MOST_IDLE_TURNS = 100_000
# A stream is made anew in machine time, a market in steps waits for it so long.
_READY_S = 90.0
_SLICE_S = 0.2
_JOIN_S = 60.0
# A thread that has work waits so long for one that computes; Python's own 5 ms,
# three times on the way from a trade to an order, is too long.
_SWITCH_S = 0.00005
# Where trades come thousands a second, so many turns begin in so long; an order does
# not wait for it, nor do a few trades that come one right after the other.
_TURNS, _TURNS_S = 8, 0.008
# So long the strategy's thread stands back while an order it has made is sent: two
# threads that compute get half a processor each.
_STAND_BACK_S = 0.005
LOOK_S = 0.003
"""So long the trading loop stands back while stops look at a trade."""
# Python keeps emptied tuples, up to 2,000 of each length, until it collects in full,
# which it never does by itself while so much is frozen. It takes half a millisecond.
_TIDY_EVERY_S = 300.0
# A call of the network may take a good while, and a new token is given only once a
# minute: a turn as long as this many times the silence that counts as hung is none.
_PATIENCE = 2.0


@contextmanager
def prompt_threads() -> Iterator[None]:
    """Let threads take turns often, and keep the collector off what lives long."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before_s)


class Worker(Protocol):
    """The strategy's broker, between two passes."""

    def work(self) -> bool:
        """Apply what the desk has; return whether something was asked of it."""
        ...


class Stepper:
    """Moves the market when the strategy is idle: the pump of a `LiveStore`.

    Everything but the websocket runs in Cerebro's thread, so that a run is the same
    each time: a fill is heard before the candle it happened in, and time stands
    still while the strategy thinks.
    """

    def __init__(
        self, session: LiveSession, venue: Venue, hearing: Hearing, broker: Worker
    ) -> None:
        """Step `session`."""
        self._session = session
        self._venue = venue
        self._hearing = hearing
        self._broker = broker
        self._stirred = threading.Event()
        self._given_up = False

    def stir(self) -> None:
        """Note that there is something for Cerebro to take."""
        self._stirred.set()

    def __call__(self) -> None:
        """Turn the loop until there is something for Cerebro to take."""
        self._stirred.clear()
        idle = 0
        while not self._stirred.is_set() and not self._session.is_over:
            before = self._venue.clock.now()
            wait_s = self._session.turn()
            asked = self._broker.work()
            if self._stirred.is_set() or asked:
                continue
            if wait_s > 0:
                self._move(wait_s)
            idle = idle + 1 if self._venue.clock.now() == before else 0
            assert idle < _MOST_IDLE_TURNS, "the trading loop does not get on"

    def _move(self, seconds: float) -> None:
        self._venue.clock.sleep(seconds)
        if self._hearing.catch_up() and self._hearing.ready:
            self._given_up = False
            return
        # The connection is being made anew, in machine time: the market waits. Once:
        # what keeps it away may need the market's time to pass.
        if not self._given_up:
            self._given_up = not self._wait_ready()
        self._hearing.catch_up()

    def _wait_ready(self) -> bool:
        for _slice in range(round(_READY_S / _SLICE_S)):
            if self._hearing.wait_ready(_SLICE_S) or self._hearing.ready:
                return True
            if self._session.is_stopping or not self._hearing.alive:
                break
        return False


class TradingThread:
    """Turns the trading loop beside Cerebro.

    Attributes:
        problem: what ended it, if it was not `stop`.
    """

    def __init__(
        self,
        session: LiveSession,
        venue: Venue,
        failed: Callable[[BaseException], None],
        *,
        wall: Clock | None = None,
    ) -> None:
        """Turn `session`.

        Args:
            session: whose turns.
            venue: whose time.
            failed: called in the thread when it ends by a mistake.
            wall: the machine's clock.
        """
        self._session = session
        self._venue = venue
        self._failed = failed
        self._wall = wall or SystemClock()
        self._wake = Signal()
        self._hurry = Signal()
        self._turned = Signal()
        self._turned.set()
        self._begun: deque[float] = deque(maxlen=_TURNS)
        self._stop = threading.Event()
        self._signed_s = self._tidied_s = self._wall.monotonic()
        self.problem: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name="kisbt-trading", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Turn now: something has come in; from any thread."""
        if not self._wake.is_set():  # thousands of times a second
            self._wake.set()

    def hurry(self) -> None:
        """Turn now, and at once: an order is to be sent; from any thread."""
        self._turned.clear()
        self._hurry.set()
        self._wake.set()

    @property
    def is_hurried(self) -> bool:
        """Whether an order, made by somebody who stands back, is to be sent."""
        return not self._turned.is_set()

    def stand_back(self) -> None:
        """Let the turn somebody is in a hurry for be made, but do not wait long."""
        if not self._turned.is_set():
            self._turned.wait(_STAND_BACK_S)

    def stop(self) -> bool:
        """End after this turn; return whether the thread has ended."""
        self._stop.set()
        self.hurry()
        self._thread.join(_JOIN_S)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether it turns."""
        return self._thread.is_alive()

    def sign(self) -> None:
        """Note that the loop gets on: a call of its own begins; from any thread."""
        here = threading.current_thread()
        if here is self._thread or here.name == ORDER_THREAD:
            self._signed_s = self._wall.monotonic()

    def hangs(self, stale_s: float) -> bool:
        """Return whether it has begun neither a turn nor a call for too long.

        Args:
            stale_s: seconds of silence that count as hung where nothing waits for
                the network.
        """
        silent_s = self._wall.monotonic() - self._signed_s
        return self._thread.is_alive() and silent_s > _PATIENCE * stale_s

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._signed_s = self._wall.monotonic()
                self._begun.append(self._signed_s)
                wait_s = self._session.turn()
                if wait_s > 0:
                    if not self._hurry.is_set():
                        self._turned.set()
                        self._tidy()
                    self._wake.wait(min(self._venue.wall_s(wait_s), LONGEST_WAIT_S))
                    self._keep_lull()
                    # Before the turn: what comes from here on wakes it again.
                    self._hurry.clear()
                    self._wake.clear()
        except BaseException as error:
            log.exception("the trading loop ended")
            self.problem = error
            self._failed(error)

    def _tidy(self) -> None:
        if self._signed_s - self._tidied_s >= _TIDY_EVERY_S:
            self._tidied_s = self._signed_s
            gc.collect()

    def _keep_lull(self) -> None:
        if len(self._begun) == _TURNS:
            lull_s = self._begun[0] + _TURNS_S - self._wall.monotonic()
            if lull_s > 0:
                self._hurry.wait(min(lull_s, _TURNS_S / _TURNS))
