"""Orders as the emulated exchange keeps them, and what it says about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from kisbt.model.order import OrderKind, Side, Venue


class Kind(StrEnum):
    """How an order finds its price."""

    LIMIT = "limit"
    MARKET = "market"
    CONDITIONAL = "conditional"  # a limit that turns market in the closing auction
    BEST = "best"  # limit at the other side's best price on arrival
    PRIORITY = "priority"  # limit at the own side's best price on arrival
    PRE_CLOSE = "pre_close"  # at the previous close, before the opening
    POST_CLOSE = "post_close"  # at today's close, after it
    SINGLE_PRICE = "single_price"  # the ten-minute auctions after the close
    MID = "mid"  # halfway between the best prices
    STOP_LIMIT = "stop_limit"


class Term(StrEnum):
    """How long an order waits."""

    DAY = "day"
    IOC = "ioc"  # fill what can be filled now, cancel the rest
    FOK = "fok"  # all now, or nothing


class Part(StrEnum):
    """The part of the day an order kind belongs to."""

    ANY = "any"
    NXT_EARLY = "nxt_early"  # the morning market of NXT
    AFTER = "after"  # the after-market of the exchange, since 2026-09-14


@dataclass(frozen=True, slots=True)
class Shape:
    """What an order kind of the broker means to the exchange."""

    kind: Kind
    term: Term = Term.DAY
    part: Part = Part.ANY


SHAPES: Mapping[OrderKind, Shape] = {
    OrderKind.LIMIT: Shape(Kind.LIMIT),
    OrderKind.MARKET: Shape(Kind.MARKET),
    OrderKind.CONDITIONAL_LIMIT: Shape(Kind.CONDITIONAL),
    OrderKind.BEST_LIMIT: Shape(Kind.BEST),
    OrderKind.PRIORITY_LIMIT: Shape(Kind.PRIORITY),
    OrderKind.PRE_CLOSE_PRICE: Shape(Kind.PRE_CLOSE),
    OrderKind.POST_CLOSE_PRICE: Shape(Kind.POST_CLOSE),
    OrderKind.SINGLE_PRICE: Shape(Kind.SINGLE_PRICE),
    OrderKind.LIMIT_IOC: Shape(Kind.LIMIT, Term.IOC),
    OrderKind.LIMIT_FOK: Shape(Kind.LIMIT, Term.FOK),
    OrderKind.MARKET_IOC: Shape(Kind.MARKET, Term.IOC),
    OrderKind.MARKET_FOK: Shape(Kind.MARKET, Term.FOK),
    OrderKind.BEST_IOC: Shape(Kind.BEST, Term.IOC),
    OrderKind.BEST_FOK: Shape(Kind.BEST, Term.FOK),
    OrderKind.MID_PRICE: Shape(Kind.MID),
    OrderKind.MID_PRICE_IOC: Shape(Kind.MID, Term.IOC),
    OrderKind.MID_PRICE_FOK: Shape(Kind.MID, Term.FOK),
    OrderKind.STOP_LIMIT: Shape(Kind.STOP_LIMIT),
    OrderKind.PRE_MARKET_LIMIT: Shape(Kind.LIMIT, part=Part.NXT_EARLY),
    OrderKind.PRE_MARKET_BEST: Shape(Kind.BEST, part=Part.NXT_EARLY),
    OrderKind.PRE_MARKET_PRIORITY: Shape(Kind.PRIORITY, part=Part.NXT_EARLY),
    OrderKind.AFTER_LIMIT: Shape(Kind.LIMIT, part=Part.AFTER),
    OrderKind.AFTER_LIMIT_IOC: Shape(Kind.LIMIT, Term.IOC, Part.AFTER),
    OrderKind.AFTER_LIMIT_FOK: Shape(Kind.LIMIT, Term.FOK, Part.AFTER),
    OrderKind.AFTER_BEST: Shape(Kind.BEST, part=Part.AFTER),
    OrderKind.AFTER_BEST_IOC: Shape(Kind.BEST, Term.IOC, Part.AFTER),
    OrderKind.AFTER_BEST_FOK: Shape(Kind.BEST, Term.FOK, Part.AFTER),
    OrderKind.AFTER_PRIORITY: Shape(Kind.PRIORITY, part=Part.AFTER),
}
"""Kinds the emulated servers know; those of institutions are refused."""


class State(StrEnum):
    """Where an order is in its life."""

    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    AMENDED = "amended"  # all of the rest went into a newer order
    REJECTED = "rejected"
    EXPIRED = "expired"


class Act(StrEnum):
    """What an order number stands for."""

    NEW = "new"
    AMEND = "amend"
    CANCEL = "cancel"


class Refusal(StrEnum):
    """Why the exchange did not take an order."""

    BEFORE_OPEN = "before_open"
    CLOSED = "closed"
    HOLIDAY = "holiday"
    CASH = "cash"
    HOLDING = "holding"
    TICK = "tick"
    LIMIT = "price_limit"
    SYMBOL = "symbol"
    QUANTITY = "quantity"
    PRICE = "price"
    TYPE = "order_type"
    VENUE = "venue"
    NO_ORIGINAL = "no_original"
    NOTHING_LEFT = "nothing_left"


class OrderRefused(Exception):
    """The exchange did not take the order; nothing changed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An order as it arrives.

    Attributes:
        price: won; 0 where the kind needs none.
        trigger: won; of a stop limit.
        channel: who sent it: the Open API, or another of the broker's programs.
    """

    symbol: str
    side: Side
    quantity: int
    price: int = 0
    order_kind: OrderKind = OrderKind.LIMIT
    trigger: int = 0
    venue: Venue = Venue.KRX
    channel: str = "OpnAPI"

    @property
    def kind(self) -> Kind:
        """How it finds its price."""
        return SHAPES[self.order_kind].kind

    @property
    def term(self) -> Term:
        """How long it waits."""
        return SHAPES[self.order_kind].term

    @property
    def part(self) -> Part:
        """The part of the day it is for."""
        return SHAPES[self.order_kind].part


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution.

    Attributes:
        price: won. commission, tax: won.
    """

    number: int
    symbol: str
    side: Side
    quantity: int
    price: int
    commission: int
    tax: int
    time: datetime


@dataclass(slots=True, kw_only=True)
class WorkOrder:
    """An order number and what became of it.

    Attributes:
        number: of the day, counted per server.
        original: number of the order that is amended or cancelled; 0 for a new one.
        price: the price in force, won; 0 for market orders.
        reserve: won per share set aside; 0 for sales.
        taken: shares amended or cancelled away by newer orders.
        rejected: shares the exchange refused after acceptance.
        triggered: a stop limit whose trigger was touched.
        seen_from: queries do not show the order before; None: at once.
    """

    number: int
    ticket: Ticket
    act: Act
    original: int
    quantity: int
    price: int
    created: datetime
    session: date
    reserve: float = 0.0
    state: State = State.WORKING
    filled: int = 0
    amount: int = 0
    taken: int = 0
    rejected: int = 0
    triggered: bool = False
    triggered_at: datetime | None = None
    fills: list[Fill] = field(default_factory=list)
    seen_from: datetime | None = None

    @property
    def open_quantity(self) -> int:
        """Shares that can still fill."""
        if self.state is not State.WORKING:
            return 0
        return self.quantity - self.filled - self.taken - self.rejected

    @property
    def unfilled(self) -> int:
        """Shares neither filled nor taken away; what an expired order leaves."""
        return self.quantity - self.filled - self.taken - self.rejected

    @property
    def average_price(self) -> float:
        """Won; 0 without a fill."""
        return self.amount / self.filled if self.filled else 0.0


class Event(StrEnum):
    """What a notice reports."""

    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"  # an amendment or a cancellation took effect
    FILLED = "filled"
    REJECTED = "rejected"
    ENDED = "ended"  # the rest of an IOC or FOK order


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened to an order, for its owner.

    Attributes:
        quantity: of the fill, or of the order.
        price: of the fill; 0 otherwise.
    """

    event: Event
    order: WorkOrder
    quantity: int
    price: int
    time: datetime
