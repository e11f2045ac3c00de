"""How a run ends: told from outside, by a mistake, and what becomes of its orders."""

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from kisbt.app.hearing import Hearing
from kisbt.app.loops import TradingThread
from kisbt.clock import Clock
from kisbt.errors import KisbtError
from kisbt.orders.desk import OrderDesk
from kisbt.orders.journal import Journal
from kisbt.text import _

_CANCEL_WAIT_S = 20.0
_LOOK_EVERY_S = 0.5


@dataclass(slots=True)
class Ending:
    """Whether, and how, a run is being ended from outside.

    Attributes:
        asked: how often it was told to end.
        why: name of the signal.
        problem: what ended the trading loop by a mistake.
    """

    asked: int = 0
    why: str = ""
    problem: BaseException | None = None
    _stop: Callable[[], None] | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def watched(
        self, wanted: Callable[[], bool], *, every_s: float = _LOOK_EVERY_S
    ) -> Iterator[None]:
        """Hear as Ctrl-C that an end is wanted, until the block or `signals` ends.

        Args:
            wanted: whether somebody asks for the end, which counts once; asked again
                and again, in a thread.
            every_s: so often.
        """
        main = threading.current_thread() is threading.main_thread()

        def look() -> None:
            while not self._over.wait(every_s):
                with self._lock:
                    # Where nobody would hear it, the word waits.
                    hears = main and callable(signal.getsignal(signal.SIGINT))
                    if self._over.is_set() or not (self._stop or hears):
                        continue
                    if not wanted():
                        continue
                    if self._stop is not None:
                        self._stop()  # whatever the strategy does
                    if main:
                        _interrupt_main()

        looker = threading.Thread(target=look, name="kisbt-end", daemon=True)
        looker.start()
        try:
            yield
        finally:
            self._over.set()
            looker.join()

    @contextmanager
    def signals(
        self, stop: Callable[[], None], stop_now: Callable[[], None]
    ) -> Iterator[None]:
        """End in order at Ctrl-C or SIGTERM, at once at the second.

        Args:
            stop: ends in order.
            stop_now: ends at once.
        """

        def told(number: int, _frame: object) -> None:
            self.asked += 1
            self.why = signal.Signals(number).name
            stop()
            if self.asked > 1:
                stop_now()
            if self.asked > 2:
                # The strategy itself does not come back.
                raise KeyboardInterrupt

        before: dict[signal.Signals, Any] = {}
        # Signals belong to the main thread; a test stops by other means.
        if threading.current_thread() is threading.main_thread():
            wanted = [signal.SIGINT, signal.SIGTERM]
            if hasattr(signal, "SIGBREAK"):
                wanted.append(signal.SIGBREAK)
            before = {number: signal.signal(number, told) for number in wanted}
        self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None
                self._over.set()
            for number, handler in before.items():
                signal.signal(number, handler)


def _interrupt_main() -> None:
    """Do as Ctrl-C does; a thread that sleeps awakes, but not on Windows."""
    if sys.platform == "win32":
        _thread.interrupt_main(signal.SIGINT)
        return
    number = threading.main_thread().ident
    assert number is not None, "it runs"
    signal.pthread_kill(number, signal.SIGINT)


class LastOrders:
    """The strategy's open orders when its run ends."""

    def __init__(
        self,
        journal: Journal,
        desk: OrderDesk,
        hearing: Hearing,
        ending: Ending,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        """Leave everything as it is.

        Args:
            journal: of the account.
            desk: of the orders.
            hearing: of their notices.
            ending: asked for twice, it waits for no cancellation.
            clock: time of the market.
            say: takes a line for people.
        """
        self._journal = journal
        self._desk = desk
        self._hearing = hearing
        self._ending = ending
        self._clock = clock
        self._say = say

    def leave(self, thread: TradingThread | None, *, cancel: bool) -> tuple[str, ...]:
        """Cancel them if so wanted; send nothing any more.

        Args:
            thread: that turned the trading loop, told to stop; None if none did.
            cancel: cancel those that are still open.

        Returns:
            The orders that may still fill, a line each.
        """
        journal, desk = self._journal, self._desk
        open_orders = [o for o in journal.open_orders() if o.origin == "strategy"]
        hangs = thread is not None and thread.alive
        if hangs:
            # Two threads at the desk could send one order twice.
            self._say(
                _(
                    "the trading loop still waits for the server: its orders are left "
                    "as they are. Look at kisbt show orders; kisbt halt cancels them"
                )
            )
        elif thread is not None:
            # What came while the last turn was sending: the journal is to have it.
            with suppress(KisbtError):
                for event in self._hearing.take_events():
                    desk.stream_event(event)
        if cancel and not hangs and self._ending.asked < 2:
            for order in open_orders:
                journal.want_cancel(order.ref, "exit")
            self._wait_for_cancellations()
        left = [o for o in journal.open_orders() if o.origin == "strategy"]
        desk.close()
        lines = []
        for order in left:
            at = order.broker_number or _("not sent yet")
            lines.append(
                _(
                    "open: order {number} ({at}) {symbol} {quantity:,} shares; look in "
                    "the HTS under today's orders"
                ).format(
                    number=order.number,
                    at=at,
                    symbol=order.symbol,
                    quantity=order.open_quantity,
                )
            )
        for line in lines:
            self._say(line)
        return tuple(lines)

    def _wait_for_cancellations(self) -> None:
        clock = self._clock
        until_s = clock.monotonic() + _CANCEL_WAIT_S
        with suppress(KisbtError):
            while clock.monotonic() < until_s and self._ending.asked < 2:
                for event in self._hearing.take_events():
                    self._desk.stream_event(event)
                due_s = self._desk.work()
                waiting = [
                    order
                    for order in self._journal.open_orders()
                    if order.cancel_wanted and order.is_at_broker
                ]
                if not waiting:
                    return
                clock.sleep(min(max(due_s or 0.0, 0.1), 1.0))
