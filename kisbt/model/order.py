"""Orders and fills as values, the same in every venue."""

from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum


class Side(StrEnum):
    """Buy or sell."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """How an order looks for its price."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    STOP_TRAIL = "stop_trail"
    STOP_TRAIL_LIMIT = "stop_trail_limit"
    CLOSE = "close"


class OrderState(StrEnum):
    """Where an order is in its life."""

    CREATED = "created"
    WORKING = "working"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """What a strategy asks for, before any rule has looked at it.

    Attributes:
        quantity: shares, as asked for; may be fractional or wrong.
        limit_price: won; the limit of LIMIT, STOP_LIMIT and STOP_TRAIL_LIMIT.
        stop_price: won; the trigger of the STOP family.
    """

    symbol: str
    side: Side
    quantity: float
    order_type: OrderType = OrderType.MARKET
    limit_price: float | None = None
    stop_price: float | None = None


class Venue(StrEnum):
    """Where an order goes."""

    KRX = "KRX"
    NXT = "NXT"
    SOR = "SOR"
    """The broker chooses between the two."""


class OrderKind(StrEnum):
    """How the exchange is to treat an order: the broker's finer word for its type.

    BEST takes the best price of the other side, PRIORITY joins the best price of
    its own; IOC cancels what does not fill at once, FOK fills whole or not at all.
    """

    LIMIT = "limit"
    MARKET = "market"
    CONDITIONAL_LIMIT = "conditional_limit"
    BEST_LIMIT = "best_limit"
    PRIORITY_LIMIT = "priority_limit"
    PRE_CLOSE_PRICE = "pre_close_price"
    POST_CLOSE_PRICE = "post_close_price"
    SINGLE_PRICE = "single_price"
    LIMIT_IOC = "limit_ioc"
    LIMIT_FOK = "limit_fok"
    MARKET_IOC = "market_ioc"
    MARKET_FOK = "market_fok"
    BEST_IOC = "best_ioc"
    BEST_FOK = "best_fok"
    MID_PRICE = "mid_price"
    STOP_LIMIT = "stop_limit"
    MID_PRICE_IOC = "mid_price_ioc"
    MID_PRICE_FOK = "mid_price_fok"
    PRE_MARKET_LIMIT = "pre_market_limit"
    PRE_MARKET_BEST = "pre_market_best"
    PRE_MARKET_PRIORITY = "pre_market_priority"
    AFTER_LIMIT = "after_limit"
    AFTER_LIMIT_IOC = "after_limit_ioc"
    AFTER_LIMIT_FOK = "after_limit_fok"
    AFTER_BEST = "after_best"
    AFTER_BEST_IOC = "after_best_ioc"
    AFTER_BEST_FOK = "after_best_fok"
    AFTER_PRIORITY = "after_priority"
    TREASURY = "treasury"
    TREASURY_OPTION = "treasury_option"
    TREASURY_TRUST = "treasury_trust"
    BLOCK = "block"
    BASKET = "basket"
    PRE_BLOCK = "pre_block"
    PRE_BASKET = "pre_basket"
    AUCTION = "auction"
    PRE_TREASURY_TRUST = "pre_treasury_trust"
    PRE_TREASURY = "pre_treasury"
    AFTER_BLOCK = "after_block"
    AFTER_TREASURY_TRUST = "after_treasury_trust"
    AFTER_TREASURY_BLOCK = "after_treasury_block"
    BASKET_TRADE = "basket_trade"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTicket:
    """The broker has taken an order; nothing is filled yet.

    Attributes:
        branch: number of the office that passed it on; amend and cancel need it.
        number: unique within a day and a branch only.
        time: of the broker, KST.
    """

    branch: str
    number: str
    time: time


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """An order of the account as the broker tells it, also one not made by kisbt.

    An amendment or a cancellation is an order of its own with `original_number`.

    Attributes:
        price: won; 0 for an order without a price.
        filled_quantity, filled_amount: so far, shares and won.
        average_price: won, of the fills; 0 without any.
        cancelled_quantity: confirmed as cancelled; on a row of a cancellation.
        remaining_quantity: still working.
        rejected_quantity: refused by the exchange.
        side_note: the broker's words for the side, also telling cancel and amend.
        channel: who entered it, ``OpnAPI`` for orders over the API.
        stop_price: won, the trigger of a stop limit order; 0 without.
    """

    day: date
    time: time | None
    branch: str
    number: str
    original_number: str
    symbol: str
    name: str
    side: Side
    side_note: str
    kind: OrderKind
    kind_note: str
    quantity: int
    price: int
    filled_quantity: int
    filled_amount: int
    average_price: float
    cancelled: bool
    cancelled_quantity: int
    remaining_quantity: int
    rejected_quantity: int
    venue: Venue | None
    channel: str
    stop_price: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTotals:
    """Sums over the orders asked for.

    Attributes:
        filled_amount, costs: won; the costs are the broker's estimate.
        average_price: won, of all fills.
    """

    quantity: int
    filled_quantity: int
    filled_amount: int
    costs: int
    average_price: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order that may still be amended or cancelled.

    Attributes:
        open_quantity: shares that can still be amended or cancelled.
    """

    branch: str
    number: str
    original_number: str
    symbol: str
    name: str
    side: Side
    kind: OrderKind
    kind_note: str
    quantity: int
    price: int
    time: time | None
    filled_quantity: int
    filled_amount: int
    open_quantity: int
    venue: Venue | None
    stop_price: int = 0


class NoticeKind(StrEnum):
    """What a notice of the broker's stream says about an order."""

    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    """An amendment or cancellation was carried out."""
    CANCELLED = "cancelled"
    """What an IOC or FOK order left unfilled was cancelled."""
    REFUSED = "refused"
    FILLED = "filled"


class NoticeAction(StrEnum):
    """What kind of order a notice is about."""

    NEW = "new"
    AMEND = "amend"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One event of one order, as pushed by the broker; a hint, not the truth.

    Attributes:
        time: KST, whole seconds; the day is the one on which it came.
        quantity: of this fill for FILLED; the order's for every other kind.
        price: of this fill, won; 0 for every other kind.
        order_kind: None where the broker left it blank.
        order_quantity: of the order.
        order_price: won; 0 without one.
    """

    account: str
    number: str
    original_number: str
    side: Side
    kind: NoticeKind
    action: NoticeAction
    order_kind: OrderKind | None
    symbol: str
    name: str
    quantity: int
    price: int
    time: time
    branch: str
    order_quantity: int
    order_price: int
    venue: Venue | None
    stop_price: int = 0
    customer: str = ""
    holder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution, booked once.

    Attributes:
        at: aware KST.
        price: won; fractional only as an average over several executions.
        confirmed_by: what vouches for it: ``rest``, ``notice``, ``balance``.
    """

    symbol: str
    side: Side
    quantity: int
    price: float
    at: datetime
    order_number: str
    branch: str
    confirmed_by: str
