"""Which part of an order a candle fills, and at what price.

The same functions decide every fill of the backtest broker and of the local
server. Without slippage the prices are those of backtrader's `BackBroker`
(tests/oracle): a market order takes the open; a limit order takes the open when
that is better, else its own limit once the candle has touched it; a stop takes
the open when the candle opens beyond it, else its own price once touched.
"""

import math
from dataclasses import dataclass
from datetime import date

from kisbt.krx.limits import PriceBand
from kisbt.krx.ticks import move_ticks, tick_size
from kisbt.model.instrument import Instrument
from kisbt.model.order import OrderType, Side

# Order types that wait for a trigger before they look for a price.
STOPS = frozenset(
    {
        OrderType.STOP,
        OrderType.STOP_LIMIT,
        OrderType.STOP_TRAIL,
        OrderType.STOP_TRAIL_LIMIT,
    }
)
_STOP_LIMITS = frozenset({OrderType.STOP_LIMIT, OrderType.STOP_TRAIL_LIMIT})


@dataclass(frozen=True, slots=True)
class Terms:
    """The part of an order that decides its price.

    Attributes:
        limit: worst price accepted, won; None for market-like orders.
        stop: trigger of the STOP family, won.
        triggered: a stop-limit order whose trigger has been touched before.
    """

    side: Side
    order_type: OrderType
    limit: float | None = None
    stop: float | None = None
    triggered: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a candle does to an order.

    Attributes:
        price: won before slippage; None when the candle does not fill it.
        slips: whether slippage applies: the order took the price of the moment.
        triggered: whether a stop-limit order is a limit order from now on.
    """

    price: float | None = None
    slips: bool = False
    triggered: bool = False


NOTHING = Outcome()


def match_candle(
    terms: Terms,
    open_: float,
    high: float,
    low: float,
    close: float,
    *,
    closes_session: bool = True,
) -> Outcome:
    """Return what the candle does to the order.

    Args:
        terms: the order.
        open_, high, low, close: won.
        closes_session: whether the candle ends its session; a CLOSE order fills
            only on such a candle.
    """
    kind = terms.order_type
    if kind is OrderType.MARKET:
        return Outcome(open_, slips=True)
    if kind is OrderType.CLOSE:
        return Outcome(close) if closes_session else NOTHING
    if kind is OrderType.LIMIT:
        return _match_limit(terms, open_, high, low)
    if kind in _STOP_LIMITS and terms.triggered:
        return _match_limit(terms, open_, high, low, triggered=True)
    return _match_stop(terms, open_, high, low, close)


def touches_stop(side: Side, stop: float, price: float) -> bool:
    """Return whether a price triggers a stop: at it or beyond."""
    return price >= stop if side is Side.BUY else price <= stop


def touches_limit(side: Side, limit: float, price: float) -> bool:
    """Return whether a price is as good as a limit asks, or better."""
    return price <= limit if side is Side.BUY else price >= limit


def _match_limit(
    terms: Terms, open_: float, high: float, low: float, *, triggered: bool = False
) -> Outcome:
    limit = terms.limit
    assert limit is not None
    if touches_limit(terms.side, limit, open_):
        return Outcome(open_, triggered=triggered)
    best = low if terms.side is Side.BUY else high
    touched = touches_limit(terms.side, limit, best)
    return Outcome(limit if touched else None, triggered=triggered)


def _match_stop(
    terms: Terms, open_: float, high: float, low: float, close: float
) -> Outcome:
    stop = terms.stop
    assert stop is not None
    gapped = touches_stop(terms.side, stop, open_)
    farthest = high if terms.side is Side.BUY else low
    if not gapped and not touches_stop(terms.side, stop, farthest):
        return NOTHING
    if terms.order_type not in _STOP_LIMITS:
        return Outcome(open_ if gapped else stop, slips=True)
    if gapped:
        return _match_limit(terms, open_, high, low, triggered=True)
    return _match_limit_after_trigger(terms, open_, close)


def _match_limit_after_trigger(terms: Terms, open_: float, close: float) -> Outcome:
    """Fill a stop-limit order inside the candle that triggered it.

    After the trigger the price is at the stop. A limit at or beyond the stop
    fills there; a better limit fills only when the close proves that the price
    came back to it.
    """
    stop, limit = terms.stop, terms.limit
    assert stop is not None
    assert limit is not None
    if terms.side is Side.BUY:
        if limit >= stop:
            return Outcome(stop, slips=True, triggered=True)
        came_back = open_ > close and limit >= close
    else:
        if limit <= stop:
            return Outcome(stop, slips=True, triggered=True)
        came_back = open_ <= close and limit <= close
    return Outcome(limit if came_back else None, triggered=True)


def crowded_side(
    open_: float,
    high: float,
    low: float,
    close: float,
    band: PriceBand | None,
    *,
    tolerance: float = 0.0,
) -> Side | None:
    """Return the side that finds no counterparty because the price is locked.

    A candle that never left the upper limit has a queue of buyers nobody sells
    to; at the lower limit it is the sellers who wait.

    Args:
        open_, high, low, close: won.
        band: the day's limits; None when there are none.
        tolerance: won; how far the limit of rescaled candles may lie from the
            limit computed on them.
    """
    if band is None or high != low or open_ != close:
        return None
    if close >= band.upper - tolerance:
        return Side.BUY
    if close <= band.lower + tolerance:
        return Side.SELL
    return None


def slipped_price(
    price: float,
    side: Side,
    ticks: int,
    instrument: Instrument,
    session: date,
    *,
    on_grid: bool,
    worst: float,
) -> float:
    """Return `price` moved `ticks` against the order, never beyond `worst`.

    Args:
        price: won before slippage.
        side: of the order.
        ticks: how many price steps are lost.
        instrument: decides the step.
        session: trading date; decides the step.
        on_grid: False for rescaled candles, whose prices lie off the grid: the
            step is added without rounding.
        worst: the last price the candle or the order allows, won.
    """
    if ticks == 0:
        return price
    signed = ticks if side is Side.BUY else -ticks
    if on_grid:
        moved = float(
            move_ticks(
                price,
                signed,
                market=instrument.market,
                product=instrument.product,
                session=session,
            )
        )
    else:
        moved = price + signed * tick_size(
            price,
            market=instrument.market,
            product=instrument.product,
            session=session,
        )
    return min(moved, worst) if side is Side.BUY else max(moved, worst)


def fillable_quantity(
    wanted: int, volume: float, share: float | None, used: int
) -> int:
    """Return how many of the `wanted` shares one candle can fill.

    Args:
        wanted: shares still open in the order.
        volume: shares the candle traded.
        share: part of the volume that own orders may take; None for no cap.
        used: shares own orders have already taken from this candle.
    """
    if share is None:
        return wanted
    # The tolerance keeps 0.1 x 30 from being cut to 2 by binary fractions.
    return max(0, min(wanted, math.floor(volume * share + 1e-9) - used))
