"""How a run ends: told from outside, by a mistake, and what becomes of its orders."""

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kisbt.app.hearing import Hearing
from kisbt.app.loops import TradingThread
from kisbt.clock import Clock
from kisbt.errors import KisbtError
from kisbt.orders.desk import OrderDesk
from kisbt.orders.journal import Journal
from kisbt.text import _

_CANCEL_WAIT_S = 20.0
_LOOK_EVERY_S = 0.5


@contextmanager
def interrupted_by(
    wanted: Callable[[], bool], *, every_s: float = _LOOK_EVERY_S
) -> Iterator[None]:
    """Be told as by Ctrl-C whenever an end is wanted, while the block runs.

    Args:
        wanted: whether somebody asks for the end; asked again and again, in a thread.
        every_s: so often.
    """
    over = threading.Event()

    def look() -> None:
        while not over.wait(every_s):
            # Where nobody hears Ctrl-C yet, the word waits.
            if callable(signal.getsignal(signal.SIGINT)) and wanted():
                _thread.interrupt_main(signal.SIGINT)

    looker = threading.Thread(target=look, name="kisbt-end", daemon=True)
    looker.start()
    try:
        yield
    finally:
        over.set()
        looker.join()


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

        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread; a test stops by other means
            return
        wanted = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGBREAK"):
            wanted.append(signal.SIGBREAK)
        before = {number: signal.signal(number, told) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


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
