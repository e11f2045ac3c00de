"""An order as it may be sent, or why not: the same check in every venue."""

import math
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from kisbt.errors import MarketRuleError
from kisbt.krx.limits import PriceBand
from kisbt.krx.ticks import round_down_to_tick, round_up_to_tick
from kisbt.model.instrument import Instrument, Product
from kisbt.model.order import OrderRequest, OrderType, Side
from kisbt.text import _

# A protected market order is a limit order this far through the last price.
PROTECTION = Fraction(3, 100)

_AT_LIMIT = frozenset(
    {OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.STOP_TRAIL_LIMIT}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the check has to know about the market and the account.

    Attributes:
        session: trading date on which the order will live.
        last_price: last close, won.
        band: daily limits of `session`; None when the security has none.
        fee: commission rate of one side.
        free_cash: won not reserved by working orders.
        sellable: shares held and not promised to working sell orders; None when
            the holding is checked later (a bracket's exits).
        protect_market_orders: send market orders as limit orders 3 % through
            the last price.
    """

    instrument: Instrument
    session: date
    last_price: float
    band: PriceBand | None
    fee: Fraction
    free_cash: float
    sellable: int | None
    protect_market_orders: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sendable:
    """An order in the form in which it may be sent.

    Attributes:
        quantity: whole shares.
        limit_price, stop_price: won, on the price grid; None without one.
        reserve_price: won per share to set aside, commission not included; 0
            for sales.
    """

    side: Side
    order_type: OrderType
    quantity: int
    limit_price: int | None
    stop_price: int | None
    reserve_price: float


def sendable(request: OrderRequest, standing: Standing) -> Sendable:
    """Return `request` in the form in which it may be sent.

    Quantities are cut to whole shares and prices moved to the grid, buys down
    and sales up. A market buy is charged at the upper limit of its session, as
    the broker checks it.

    Raises:
        MarketRuleError: a rule forbids it; ``rule`` is one of ``product``,
            ``quantity``, ``price``, ``price_limit``, ``holding``, ``cash``.
    """
    if standing.instrument.product is Product.INDEX:
        raise MarketRuleError(
            _("{symbol} is an index and cannot be traded").format(
                symbol=request.symbol
            ),
            rule="product",
        )
    prepared = _priced(request, standing)
    if request.side is Side.SELL:
        _check_holding(prepared.quantity, standing)
    else:
        _check_cash(prepared, standing)
    return prepared


def unit_cost(price: float, fee: Fraction) -> float:
    """Return the won one share bought at `price` takes, commission included."""
    return price * (1.0 + float(fee))


def reserve_price(
    order_type: OrderType,
    limit_price: float | None,
    band: PriceBand | None,
    last_price: float,
) -> float:
    """Return the price per share at which a buy is checked against cash.

    Source:
        A market buy is margin-checked at the upper limit price of the session;
        a limit buy at its limit (help pages of Korean brokers).
    """
    if order_type in _AT_LIMIT and limit_price is not None:
        return float(limit_price)
    return float(band.upper) if band is not None else last_price


def _priced(request: OrderRequest, standing: Standing) -> Sendable:
    order_type = request.order_type
    limit = _on_grid(request.limit_price, request.side, standing)
    stop = _on_grid(request.stop_price, request.side, standing)
    if order_type is OrderType.MARKET and standing.protect_market_orders:
        order_type = OrderType.LIMIT
        limit = protected_limit(request.side, standing)
    if order_type in _AT_LIMIT:
        _check_limit(limit, standing)
    reserve = 0.0
    if request.side is Side.BUY:
        reserve = reserve_price(order_type, limit, standing.band, standing.last_price)
    return Sendable(
        side=request.side,
        order_type=order_type,
        quantity=_whole_shares(request.quantity),
        limit_price=limit if order_type in _AT_LIMIT else None,
        stop_price=stop,
        reserve_price=reserve,
    )


def _whole_shares(quantity: float) -> int:
    if not math.isfinite(quantity) or math.floor(quantity) < 1:
        raise MarketRuleError(
            _("quantity {found}: expected at least one whole share").format(
                found=quantity
            ),
            rule="quantity",
        )
    return math.floor(quantity)


def _on_grid(price: float | None, side: Side, standing: Standing) -> int | None:
    if price is None:
        return None
    if not math.isfinite(price) or price <= 0:
        raise MarketRuleError(
            _("price {found}: expected won above zero").format(found=price),
            rule="price",
        )
    rounded = round_down_to_tick if side is Side.BUY else round_up_to_tick
    sent = rounded(
        price,
        market=standing.instrument.market,
        product=standing.instrument.product,
        session=standing.session,
    )
    if sent == 0:
        raise MarketRuleError(
            _("price {found}: expected at least one price step").format(found=price),
            rule="price",
        )
    return sent


def protected_limit(side: Side, standing: Standing) -> int | None:
    """Return the limit of a market order sent as a limit order, won."""
    through = PROTECTION if side is Side.BUY else -PROTECTION
    limit = _on_grid(standing.last_price * float(1 + through), side, standing)
    if standing.band is not None and limit is not None:
        limit = min(max(limit, standing.band.lower), standing.band.upper)
    return limit


def _check_limit(limit: int | None, standing: Standing) -> None:
    if limit is None:
        raise MarketRuleError(
            _("a limit order needs a limit price"),
            rule="price",
        )
    band = standing.band
    if band is not None and not band.lower <= limit <= band.upper:
        raise MarketRuleError(
            _(
                "limit price {found:,} lies outside the daily limits {lower:,} to "
                "{upper:,} of {session}"
            ).format(
                found=limit,
                lower=band.lower,
                upper=band.upper,
                session=standing.session,
            ),
            rule="price_limit",
        )


def _check_holding(quantity: int, standing: Standing) -> None:
    if standing.sellable is not None and quantity > standing.sellable:
        raise MarketRuleError(
            _(
                "sell {quantity:,} shares: only {sellable:,} are held and free; "
                "short selling is not possible"
            ).format(quantity=quantity, sellable=standing.sellable),
            rule="holding",
        )


def _check_cash(order: Sendable, standing: Standing) -> None:
    need = order.quantity * unit_cost(order.reserve_price, standing.fee)
    if need > standing.free_cash:
        raise MarketRuleError(
            _(
                "needs {need:,.0f} won ({quantity:,} x {price:,.0f} and commission), "
                "free cash is {free:,.0f}"
            ).format(
                need=need,
                quantity=order.quantity,
                price=order.reserve_price,
                free=standing.free_cash,
            ),
            rule="cash",
        )
