"""Orders and fills as values, the same in every venue."""

from dataclasses import dataclass
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
