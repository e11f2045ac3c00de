"""The one place from which orders leave kisbt.

It takes permits only, and a permit sends once: an order that is not written down and
checked cannot be sent, nor the same one twice.
"""

from enum import StrEnum

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
from kisbt.model.ports import OrderGateway
from kisbt.orders.guard import ChangePermit, LiveGuard, Permit


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


class OrderSender:
    """Sends what the guard has permitted."""

    def __init__(self, gateway: OrderGateway, guard: LiveGuard) -> None:
        """Send through `gateway` what `guard` permits.

        Raises:
            TypeError: there is no guard.
        """
        if not isinstance(guard, LiveGuard):
            raise TypeError("orders are sent with a LiveGuard only")
        self._gateway = gateway
        self.guard = guard

    def send(self, permit: Permit) -> Sent:
        """Send a new order, once."""
        order = permit.use()
        try:
            ticket = self._gateway.send_order(order)
        except _ERRORS as error:
            return _answer_of(error)
        return Sent(Answer.TAKEN, ticket=ticket)

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
