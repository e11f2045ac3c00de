"""What kisbt asks of a broker, so that no broker is named outside its package."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum
from typing import Protocol

from kisbt.model.account import Balance, BuyingPower, Sellable
from kisbt.model.order import (
    BrokerOrder,
    OpenOrder,
    OrderKind,
    OrderTicket,
    OrderTotals,
    Side,
    Venue,
)
from kisbt.model.quote import ChartRow, Price, Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order ready to be sent: whole shares, prices on the grid.

    Attributes:
        price: won; 0 for a kind without a price.
        stop_price: won, the trigger of a stop limit order; 0 without.
    """

    symbol: str
    side: Side
    quantity: int
    kind: OrderKind
    price: int = 0
    stop_price: int = 0
    venue: Venue = Venue.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRef:
    """How the broker knows a working order.

    Attributes:
        kind, venue: as it was sent; amend and cancel must repeat them.
    """

    branch: str
    number: str
    kind: OrderKind
    venue: Venue = Venue.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderHistory:
    """All orders of a period, every page of them.

    Attributes:
        totals: the broker's own sums; its practice market may know these and
            still return no rows.
    """

    rows: tuple[BrokerOrder, ...]
    totals: OrderTotals


class OrderGateway(Protocol):
    """Sends orders and answers what became of them.

    Every method raises a `KisError`, or another broker's equal of it; none
    returns an empty answer for a query that failed.
    """

    def send_order(
        self, order: NewOrder, *, leave: Callable[[], str] | None = None
    ) -> OrderTicket:
        """Send an order once; never again whatever happens.

        Args:
            order: to be sent.
            leave: called when all is ready, right before the first byte leaves; returns
                why the order is to stay, "" to let it go.
        """
        ...

    def amend_order(
        self, order: OrderRef, *, quantity: int | None, price: int, stop_price: int = 0
    ) -> OrderTicket:
        """Change price or quantity; `quantity` None means all that remains."""
        ...

    def cancel_order(
        self, order: OrderRef, *, quantity: int | None = None
    ) -> OrderTicket:
        """Cancel `quantity` shares, or with None all that remains."""
        ...

    def fetch_orders(self, first: date, last: date) -> OrderHistory:
        """Return every order of the account between two dates, both included."""
        ...

    def fetch_open_orders(self) -> tuple[OpenOrder, ...]:
        """Return the orders that may still be amended or cancelled."""
        ...

    def fetch_balance(self) -> Balance:
        """Return positions and money."""
        ...

    def fetch_buying_power(
        self, symbol: str, kind: OrderKind, price: int = 0
    ) -> BuyingPower:
        """Return what can be bought of `symbol` now."""
        ...

    def fetch_sellable(self, symbol: str) -> Sellable:
        """Return what can be sold of `symbol` now."""
        ...


class MarketData(Protocol):
    """Prices of now."""

    def fetch_price(self, symbol: str) -> Price:
        """Return the last price and the day so far."""
        ...

    def fetch_quote(self, symbol: str) -> Quote:
        """Return the order book."""
        ...


class CandleSource(Protocol):
    """Prices of the past, newest first."""

    def fetch_days(
        self, symbol: str, first: date, last: date, *, adjusted: bool
    ) -> tuple[ChartRow, ...]:
        """Return the daily rows of a range, at most one page."""
        ...

    def fetch_minutes(
        self, symbol: str, day: date, until: time
    ) -> tuple[ChartRow, ...]:
        """Return the minutes of `day` up to `until`, at most one page."""
        ...


class Urgency(StrEnum):
    """How much a message to a person matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Notifier(Protocol):
    """Tells a person; may fail, never blocks."""

    def notify(self, urgency: Urgency, title: str, text: str) -> None:
        """Queue a message."""
        ...
