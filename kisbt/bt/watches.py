"""The price a live order that is kept here waits for."""

from kisbt.bt.liveorder import LiveOrder
from kisbt.bt.market import to_kst
from kisbt.candles.live import AUCTION_TAIL
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.matching import STOPS, Terms
from kisbt.model.order import OrderType
from kisbt.orders.triggers import Watch

_MARKET_LIKE = frozenset({OrderType.MARKET, OrderType.CLOSE})


def waits_for_price(item: LiveOrder) -> bool:
    """Return whether an order kept here is to be released by a price."""
    placed = item.placed
    if item.touched or item.over or placed.order_type in _MARKET_LIKE:
        return False
    return placed.session is not None


def watch_of(item: LiveOrder, terms: Terms, calendar: KrxCalendar) -> Watch:
    """Return what the triggers have to look for.

    Args:
        item: waits for a price.
        terms: of it.
        calendar: of the exchange.
    """
    placed = item.placed
    assert placed.session is not None
    price = terms.stop if placed.order_type in STOPS else terms.limit
    assert price is not None
    return Watch(
        key=item.order.ref,
        symbol=placed.symbol,
        side=placed.side,
        order_type=placed.order_type,
        price=price,
        since=max(
            calendar.open_time(placed.session),
            to_kst(max(placed.created, placed.tried)),
        ),
        until=calendar.close_time(placed.session) + AUCTION_TAIL,
    )
