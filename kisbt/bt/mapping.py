"""kisbt's values and backtrader's: the only place that translates."""

from datetime import date, datetime, time, timedelta
from typing import Any

from backtrader import Order

from kisbt.errors import ConfigError
from kisbt.krx.sendable import Sendable
from kisbt.model.order import OrderState, OrderType
from kisbt.text import _

TRAILS = frozenset({OrderType.STOP_TRAIL, OrderType.STOP_TRAIL_LIMIT})
_WITH_LIMIT_PRICE = frozenset({OrderType.STOP_LIMIT, OrderType.STOP_TRAIL_LIMIT})

ORDER_TYPES: dict[int, OrderType] = {
    Order.Market: OrderType.MARKET,
    Order.Close: OrderType.CLOSE,
    Order.Limit: OrderType.LIMIT,
    Order.Stop: OrderType.STOP,
    Order.StopLimit: OrderType.STOP_LIMIT,
    Order.StopTrail: OrderType.STOP_TRAIL,
    Order.StopTrailLimit: OrderType.STOP_TRAIL_LIMIT,
}
EXEC_TYPES: dict[OrderType, int] = {ours: bts for bts, ours in ORDER_TYPES.items()}

_STATES: dict[int, OrderState] = {
    Order.Created: OrderState.CREATED,
    Order.Submitted: OrderState.CREATED,
    Order.Accepted: OrderState.WORKING,
    Order.Partial: OrderState.PARTLY_FILLED,
    Order.Completed: OrderState.FILLED,
    Order.Canceled: OrderState.CANCELLED,
    Order.Expired: OrderState.EXPIRED,
    Order.Margin: OrderState.REFUSED,
    Order.Rejected: OrderState.REFUSED,
}


def order_state(order: Any) -> OrderState:
    """Return where a backtrader order is in its life."""
    return _STATES[order.status]


def traded_feed(data: Any) -> Any:
    """Return the feed that is traded behind a resampled or replayed clone."""
    while data._clone:
        data = data.data
    return data


def limit_and_stop(
    kind: OrderType, price: float | None, plimit: float | None
) -> tuple[float | None, float | None]:
    """Return (limit, stop) of backtrader's price and plimit."""
    if kind is OrderType.LIMIT:
        return (price if price is not None else plimit), None
    if kind is OrderType.STOP or kind is OrderType.STOP_TRAIL:
        return None, price
    if kind in _WITH_LIMIT_PRICE:
        return plimit, price
    return None, None


def price_and_plimit(
    prepared: Sendable, price: float | None
) -> tuple[float | None, float | None]:
    """Return backtrader's price and plimit of an order as it may be sent."""
    kind = prepared.order_type
    limit, stop = prepared.limit_price, prepared.stop_price
    if kind is OrderType.LIMIT:
        return limit, None
    if kind in TRAILS:
        return price, limit
    return stop, limit


def session_validity(valid: Any) -> Any:
    """Return what may shorten an order's one session; None for the whole of it."""
    if valid is None or valid == 0 or valid == Order.DAY:
        return None
    if isinstance(valid, date) and not isinstance(valid, datetime):
        return datetime.combine(valid, time.max)
    if isinstance(valid, timedelta | datetime | float | int):
        return valid
    raise ConfigError(
        _("valid {found!r}: expected None, a date, a datetime or a timedelta").format(
            found=valid
        )
    )
