"""What a strategy's venue asks of the order desk, and what it hears back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from kisbt.model.order import OrderType, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPlan:
    """An order of the strategy in the form in which it may be sent.

    Attributes:
        number: within the run, from 1; what orders.csv calls it.
        quantity: whole shares.
        order_type: MARKET, LIMIT or CLOSE. Stops are watched on this machine and
            reach the desk as one of these when they are triggered.
        limit_price: won, on the price grid; None without one.
        stop_price: won, the trigger that has released it; None without one.
        session: trading date in which it lives.
        bar: END of the bar on which the strategy made it, aware KST.
        reason: of the strategy, for people.
        group: orders of one group share the same shares (one cancels the other);
            "" for an order on its own.
        last_price: won, last close when it was made: the price at which a market
            order counts against limits.
    """

    number: int
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    limit_price: int | None
    stop_price: int | None = None
    session: date
    bar: datetime
    reason: str = ""
    group: str = ""
    last_price: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskEvent:
    """Something that became of an order; the strategy hears each once.

    Attributes:
        sequence: in the journal, rising; told again after a restart unless
            `OrderVenue.delivered` has been called with it or a later one.
        ref: the journal's number of the order.
        at: when it happened, aware KST.
    """

    sequence: int
    ref: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(DeskEvent):
    """The exchange has taken it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled(DeskEvent):
    """More of it has been filled, and is booked.

    Attributes:
        quantity: shares since the last event, above zero.
        price: won; the average where several executions came as one.
        commission, tax: won, as booked.
        confirmed_by: ``rest``, ``notice`` or ``balance``.
    """

    quantity: int
    price: float
    commission: int
    tax: int
    confirmed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected(DeskEvent):
    """The price of earlier fills was corrected; no shares moved.

    Attributes:
        amount: won added to the strategy's cash; negative when it paid more.
    """

    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(DeskEvent):
    """Nothing more of it will be filled.

    Attributes:
        outcome: ``cancelled``, ``expired``, ``refused`` or ``not_sent``.
        rule: what refused it, in the words of `MarketRuleError` and `RiskRefused`
            (``cash`` is told to the strategy as a margin call); "" if none.
        reason: for people.
    """

    outcome: str
    rule: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Shares bought by kisbt.

    Attributes:
        average: won a share, fees excluded.
    """

    symbol: str
    quantity: int
    average: float


class OrderVenue(Protocol):
    """Where a strategy's orders go: the order desk, as its broker sees it.

    All methods return at once and do no network work; call them from one thread.
    """

    def submit(self, plan: OrderPlan) -> int:
        """Write an order down durably; it is sent as soon as its time has come.

        Returns:
            The journal's number of it.

        Raises:
            StorageError: it could not be written: nothing was and will be sent.
        """
        ...

    def cancel(self, ref: int) -> None:
        """Ask for a cancellation; the order may still fill before it is carried out."""
        ...

    def take_events(self) -> Sequence[DeskEvent]:
        """Return what has happened since the last call, in journal order."""
        ...

    def delivered(self, sequence: int) -> None:
        """Note that the strategy has heard every event up to `sequence`."""
        ...
