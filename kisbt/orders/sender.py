"""The one place from which orders leave kisbt.

It takes permits only, and a permit sends once: an order that is not written down and
checked cannot be sent, nor the same one twice.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from queue import SimpleQueue
from typing import Final

from kisbt.errors import (
    AuthError,
    ConfigError,
    ForeignReply,
    KisRefused,
    MarketRuleError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    WireError,
)
from kisbt.model.order import OrderTicket
from kisbt.model.ports import NewOrder, OrderGateway
from kisbt.orders.guard import ChangePermit, LiveGuard, Permit
from kisbt.signals import Signal
from kisbt.text import _

ORDER_THREAD: Final = "kisbt-order"
"""Name of the thread that makes orders ready."""
Work = Callable[[], OrderTicket]


class Answer(StrEnum):
    """What is known after the one try to send."""

    TAKEN = "taken"
    """The broker has given a number."""
    NOT_SENT = "not_sent"
    """It certainly did not leave."""
    REFUSED = "refused"
    CLAIMED = "claimed"
    """Refused before it was looked at, says the broker: rate or token."""
    UNKNOWN = "unknown"
    """It may be at the broker."""
    IMPOSSIBLE = "impossible"
    """The venue or these keys take no such order; nothing left."""


class Sent:
    """The answer to one try.

    Attributes:
        ticket: of the broker; None unless TAKEN.
        code: of the broker; "" without one.
        text: for people, "" when TAKEN.
        foreign: somebody else than the broker answered: ask nothing more there.
        wait_s: before the broker may be asked again.
    """

    __slots__ = ("answer", "code", "foreign", "text", "ticket", "wait_s")

    def __init__(
        self,
        answer: Answer,
        *,
        ticket: OrderTicket | None = None,
        error: Exception | None = None,
    ) -> None:
        self.answer = answer
        self.ticket = ticket
        self.code = error.code if isinstance(error, KisRefused) else ""
        self.text = "" if error is None else str(error)
        self.foreign = isinstance(error, ForeignReply)
        self.wait_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0


class Departure:
    """A new order on its way out; `leave` lets it go."""

    def __init__(
        self, gateway: OrderGateway, order: NewOrder, beside: "OrderThread | None"
    ) -> None:
        self._gateway = gateway
        self._order = order
        self._beside = beside
        self._decided = Signal()
        self._leaves = False
        # Without a thread that makes it ready everything happens in `leave`.
        self._made: Future[OrderTicket] | None = None

    def make_ready(self) -> None:
        """Have the thread, if there is one, do all that comes before the first byte."""
        if self._beside is not None:
            self._made = self._beside.submit(
                partial(self._gateway.send_order, self._order, leave=self._last_step)
            )

    def leave(self) -> Sent:
        """Send the order; return what the broker says to it.

        Raises:
            Exception: a mistake in kisbt; nobody knows whether it left.
        """
        try:
            if self._made is None:
                ticket = self._gateway.send_order(self._order)
            else:
                self._leaves = True
                self._decided.set()
                ticket = self._made.result()
        except _ERRORS as error:
            return _answer_of(error)
        except BaseException:
            self._leaves = False  # if it has not left yet
            raise
        return Sent(Answer.TAKEN, ticket=ticket)

    def stay(self) -> None:
        """Keep the order from leaving, if it has not been told to."""
        self._decided.set()

    def _last_step(self) -> str:
        self._decided.wait()
        return "" if self._leaves else _("it was withdrawn")


class OrderThread:
    """A thread that makes orders ready, one after the other.

    The end of the process does not wait for it, as an executor's would: an order must
    not leave after kisbt has said that it ended.
    """

    def __init__(self) -> None:
        """Begin with the first order."""
        self._jobs: SimpleQueue[tuple[Future[OrderTicket], Work]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, work: Work) -> Future[OrderTicket]:
        """Do `work` in the thread."""
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name=ORDER_THREAD, daemon=True)
            thread.start()
            self._thread = thread
        made: Future[OrderTicket] = Future()
        self._jobs.put((made, work))
        return made

    def _run(self) -> None:
        while True:
            made, work = self._jobs.get()
            try:
                made.set_result(work())
            except BaseException as error:  # noqa: BLE001 - for whoever asked
                made.set_exception(error)
            del made, work


class OrderSender:
    """Sends what the guard has permitted."""

    def __init__(
        self, gateway: OrderGateway, guard: LiveGuard, *, ahead: bool = False
    ) -> None:
        """Send through `gateway` what `guard` permits.

        Args:
            gateway: to the broker.
            guard: gives the permits.
            ahead: a thread prepares an order, connection included, while the caller
                writes it down (`Departure.make_ready`).

        Raises:
            TypeError: there is no guard.
        """
        if not isinstance(guard, LiveGuard):
            raise TypeError("orders are sent with a LiveGuard only")
        self._gateway = gateway
        self._beside = OrderThread() if ahead else None
        self.guard = guard

    @contextmanager
    def ready(self, permit: Permit) -> Iterator[Departure]:
        """Have a new order at hand, to be sent once: what it yields sends it.

        Not a byte leaves before that, nor after the block.
        """
        departure = Departure(self._gateway, permit.use(), self._beside)
        try:
            yield departure
        finally:
            departure.stay()

    def send(self, permit: Permit) -> Sent:
        """Send a new order, once."""
        with self.ready(permit) as departure:
            return departure.leave()

    def cancel(self, permit: ChangePermit) -> Sent:
        """Cancel, once."""
        order = permit.use()
        try:
            ticket = self._gateway.cancel_order(order, quantity=permit.quantity)
        except _ERRORS as error:
            return _answer_of(error)
        return Sent(Answer.TAKEN, ticket=ticket)

    def amend(self, permit: ChangePermit) -> Sent:
        """Amend, once."""
        assert permit.price is not None, "a cancellation is no amendment"
        order = permit.use()
        try:
            ticket = self._gateway.amend_order(
                order, quantity=permit.quantity, price=permit.price
            )
        except _ERRORS as error:
            return _answer_of(error)
        return Sent(Answer.TAKEN, ticket=ticket)


_ERRORS = (
    NotSent,
    OutcomeUnknown,
    KisRefused,
    WireError,
    MarketRuleError,
    ConfigError,
)


def _answer_of(error: Exception) -> Sent:
    if isinstance(error, NotSent):
        return Sent(Answer.NOT_SENT, error=error)
    if isinstance(error, RateLimited | AuthError):
        return Sent(Answer.CLAIMED, error=error)
    if isinstance(error, KisRefused):
        return Sent(Answer.REFUSED, error=error)
    if isinstance(error, MarketRuleError | ConfigError):
        return Sent(Answer.IMPOSSIBLE, error=error)
    # Also a reply that breaks the format: the order may well have been taken.
    return Sent(Answer.UNKNOWN, error=error)
