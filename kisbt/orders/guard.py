"""The live guard: what only the moment of sending can tell.

`orders.risk` holds the checks that bars decide; they ran when the order was made, in
the backtest as live. Here are those of the living market: the halt, the stream, the
clock, what is unresolved. Nothing is sent without a `Permit`, and only a `LiveGuard`
makes one.

A purchase adds risk: where something is not known, it is refused. A sale of own
shares reduces it: it is refused only when it would be wrong in itself.

Source:
    Checks and their numbers R1 to R23: SEC rule 15c3-5; FIA guide of 2015 (message
    throttles, repeated execution, kill switch); KRX guideline of 2014.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from kisbt.errors import RiskRefused
from kisbt.krx.limits import PriceBand
from kisbt.krx.phases import Phase, takes_order
from kisbt.krx.ticks import is_on_grid
from kisbt.model.instrument import Instrument
from kisbt.model.order import OrderKind, OrderType, Side
from kisbt.model.ports import NewOrder, OrderRef
from kisbt.text import _

_KEY: Final = object()  # only this module can make a permit
MOST_SHARES: Final = 10_000_000
"""Of one order; more is a mistake, not a wish."""
_AUCTIONS = frozenset({Phase.OPENING_AUCTION, Phase.CLOSING_AUCTION})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """Limits of the moment of sending; None switches a check off.

    Attributes:
        order_cap: won of one purchase; that of the facts counts too.
        collar_pct: how far a limit may go through the price of the moment (R8).
        auction_collar_pct: the same in an auction, from the expected price.
        price_age_s: oldest price of the moment that counts (R19).
        clock_offset_s: largest difference between our clock and the broker's (R20).
        duplicate_s: a second order of equal symbol, side, quantity and price within
            so many seconds is refused (R13).
        intent_age_s: longest time from the release of a purchase to its sending, in
            which it was not waiting for the rate or the network (R23).
        unresolved: orders of the account whose fate may be open at once (R14).
        canary_shares, canary_won: the first purchase on the real server is no larger
            in at least one of them (R22); both None: no canary is asked for.
        needs_stream: no purchase while notices do not come (R19).
    """

    order_cap: int | None = None
    collar_pct: float | None = None
    auction_collar_pct: float | None = 10.0
    price_age_s: float | None = None
    clock_offset_s: float | None = 2.0
    duplicate_s: float | None = 5.0
    intent_age_s: float | None = 3.0
    unresolved: int = 2
    canary_shares: int | None = None
    canary_won: int | None = None
    needs_stream: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketNow:
    """The price of the moment.

    Attributes:
        price: won; in an auction the expected one.
        age_s: seconds since it was heard.
    """

    price: float
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SentOrder:
    """An order that was sent a moment ago.

    Attributes:
        ref: the journal's number; the one retry of an order is no second order.
    """

    ref: int
    symbol: str
    side: Side
    quantity: int
    price: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    """The moment, as the desk sees it.

    Attributes:
        now: aware KST. now_s: monotonic seconds.
        phase: of the market.
        early: the server takes no order before the opening (mock).
        halted: why nothing may be sent; "" if it may.
        reduce_only: why nothing may be bought; "" if it may.
        frozen: symbols in which nothing may be sent, and why.
        paused: symbols in which nothing may be bought, and why.
        unresolved: symbols of orders whose fate is open, one entry each.
        stream_up: notices come.
        offset_s: the broker's clock less ours; None if never heard.
        market: price of the moment; None if not known.
        priced: whether prices of the moment are followed at all.
        sellable: own shares not promised to other sales.
        sent: orders of the last moments.
        canary_done: a first small order has been through its whole life.
        order_cap: won of one purchase, in force at this moment.
    """

    now: datetime
    now_s: float
    phase: Phase
    early: bool = False
    halted: str = ""
    reduce_only: str = ""
    frozen: Mapping[str, str] = field(default_factory=dict)
    paused: Mapping[str, str] = field(default_factory=dict)
    unresolved: Collection[str] = ()
    stream_up: bool = True
    offset_s: float | None = None
    market: MarketNow | None = None
    priced: bool = False
    sellable: int = 0
    sent: Collection[SentOrder] = ()
    canary_done: bool = True
    order_cap: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An order about to be sent.

    Attributes:
        ref: the journal's number.
        order: as it will be sent.
        instrument: what is ordered.
        order_type: of the strategy's order; decides which phases take it.
        value: won at which it counts against limits.
        band: daily limits of the session; None when not known.
        age_s: since its release, waiting for rate and network not counted.
        group: orders of one group may look alike.
    """

    ref: int
    order: NewOrder
    instrument: Instrument
    order_type: OrderType
    value: float
    band: PriceBand | None = None
    age_s: float = 0.0
    group: str = ""


class Permit:
    """Leave to send one order, once.

    Attributes:
        ref: the journal's number of the order.
    """

    __slots__ = ("_order", "_used", "ref")

    def __init__(self, key: object, ref: int, order: NewOrder) -> None:
        """Made by `LiveGuard.permit` alone.

        Raises:
            TypeError: made by anybody else.
        """
        if key is not _KEY:
            raise TypeError("a Permit is made by LiveGuard.permit only")
        self.ref = ref
        self._order = order
        self._used = False

    def use(self) -> NewOrder:
        """Return the order; a second time is a mistake and raises.

        Raises:
            RuntimeError: it has been used.
        """
        if self._used:
            raise RuntimeError(f"the permit of order {self.ref} was used before")
        self._used = True
        return self._order


class ChangePermit:
    """Leave to amend or cancel one order, once."""

    __slots__ = ("_order", "_used", "price", "quantity", "ref")

    def __init__(
        self,
        key: object,
        ref: int,
        order: OrderRef,
        *,
        quantity: int | None = None,
        price: int | None = None,
    ) -> None:
        """Made by `LiveGuard` alone; without a price it is a cancellation.

        Raises:
            TypeError: made by anybody else.
        """
        if key is not _KEY:
            raise TypeError("a ChangePermit is made by LiveGuard only")
        self.ref = ref
        self.quantity = quantity
        self.price = price
        self._order = order
        self._used = False

    def use(self) -> OrderRef:
        """Return the order's name at the broker; a second time raises.

        Raises:
            RuntimeError: it has been used.
        """
        if self._used:
            raise RuntimeError(f"the permit to change order {self.ref} was used before")
        self._used = True
        return self._order


class LiveGuard:
    """Says whether an order may leave at this moment."""

    def __init__(self, limits: GuardLimits) -> None:
        """Guard with `limits`."""
        self.limits = limits

    def permit(self, proposal: Proposal, facts: LiveFacts) -> Permit:
        """Return leave to send an order.

        Raises:
            RiskRefused: it may not leave now; `rule` says why.
        """
        _check_form(proposal)
        _check_moment(proposal, facts, self.limits)
        if proposal.order.side is Side.SELL:
            _check_sale(proposal, facts)
        else:
            _check_purchase(proposal, facts, self.limits)
        return Permit(_KEY, proposal.ref, proposal.order)

    def permit_cancel(self, ref: int, order: OrderRef) -> ChangePermit:
        """Return leave to cancel; a cancellation is never refused, halted or not."""
        return ChangePermit(_KEY, ref, order)

    def permit_amend(
        self, proposal: Proposal, facts: LiveFacts, order: OrderRef
    ) -> ChangePermit:
        """Return leave to move an order to the proposal's price and quantity.

        Raises:
            RiskRefused: as for a new order.
        """
        _check_form(proposal)
        _check_moment(proposal, facts, self.limits)
        if proposal.order.side is Side.BUY:
            _check_purchase(proposal, facts, self.limits)
        return ChangePermit(
            _KEY,
            proposal.ref,
            order,
            quantity=proposal.order.quantity,
            price=proposal.order.price,
        )


def _refuse(rule: str, message: str, *, limit: float = 0.0, value: float = 0.0) -> None:
    raise RiskRefused(message, rule=rule, limit=limit, value=value)


def _check_form(proposal: Proposal) -> None:
    """R3: whole shares on the price grid, inside the day's limits."""
    order = proposal.order
    if isinstance(order.quantity, bool) or not isinstance(order.quantity, int):
        _refuse(
            "quantity",
            _("quantity {found!r}: expected whole shares").format(found=order.quantity),
        )
    if not 1 <= order.quantity <= MOST_SHARES:
        _refuse(
            "quantity",
            _("quantity {found:,}: expected 1 to {most:,} shares").format(
                found=order.quantity, most=MOST_SHARES
            ),
            limit=MOST_SHARES,
            value=order.quantity,
        )
    priced = order.kind is OrderKind.LIMIT
    if priced != (order.price > 0):
        _refuse(
            "price",
            _("price {found}: a limit order needs one, a market order none").format(
                found=order.price
            ),
            value=order.price,
        )


def _check_moment(proposal: Proposal, facts: LiveFacts, limits: GuardLimits) -> None:
    order = proposal.order
    symbol = order.symbol
    if facts.halted:  # R1
        _refuse("halt", _("halted: {why}").format(why=facts.halted))
    if symbol in facts.frozen:  # R2
        _refuse(
            "frozen",
            _("{symbol} is frozen: {why}").format(
                symbol=symbol, why=facts.frozen[symbol]
            ),
        )
    if symbol in facts.unresolved:  # R14
        _refuse(
            "unresolved",
            _(
                "{symbol}: the fate of an earlier order is not known yet; nothing more "
                "is sent in it until it is"
            ).format(symbol=symbol),
        )
    _check_hours(proposal, facts)  # R18
    _check_price(proposal, facts)
    _check_duplicate(proposal, facts, limits)


def _check_hours(proposal: Proposal, facts: LiveFacts) -> None:
    taken = takes_order(
        facts.phase,
        product=proposal.instrument.product,
        order_type=proposal.order_type,
    )
    if facts.early and facts.phase is Phase.OPENING_AUCTION:
        taken = False
    if not taken:
        _refuse(
            "phase",
            _("{symbol}: the market takes no such order now ({phase})").format(
                symbol=proposal.order.symbol, phase=facts.phase.value
            ),
        )


def _check_price(proposal: Proposal, facts: LiveFacts) -> None:
    price = proposal.order.price
    if not price:
        return
    on_grid = is_on_grid(
        price,
        market=proposal.instrument.market,
        product=proposal.instrument.product,
        session=facts.now.date(),
    )
    if not on_grid:
        _refuse(
            "tick",
            _("price {price:,} is not on the price grid").format(price=price),
            value=price,
        )
    band = proposal.band
    if band is not None and not band.lower <= price <= band.upper:
        _refuse(
            "price_limit",
            _("price {price:,} is outside the day's limits {low:,} to {high:,}").format(
                price=price, low=band.lower, high=band.upper
            ),
            value=price,
        )


def _check_duplicate(proposal: Proposal, facts: LiveFacts, limits: GuardLimits) -> None:
    """R13: a strategy that runs away repeats itself."""
    if limits.duplicate_s is None:
        return
    order = proposal.order
    for sent in facts.sent:
        same = (sent.symbol, sent.side, sent.quantity, sent.price) == (
            order.symbol,
            order.side,
            order.quantity,
            order.price,
        )
        age_s = facts.now_s - sent.at_s
        # Its own first try certainly did not reach the broker.
        other = sent.ref != proposal.ref
        if same and other and age_s < limits.duplicate_s:
            _refuse(
                "duplicate",
                _(
                    "{symbol}: the same order was sent {age:.1f} s ago; it may be "
                    "repeated after {limit:g} s"
                ).format(symbol=order.symbol, age=age_s, limit=limits.duplicate_s),
                limit=limits.duplicate_s,
                value=age_s,
            )


def _check_sale(proposal: Proposal, facts: LiveFacts) -> None:
    """R15: no more than is held and free."""
    order = proposal.order
    if order.quantity > facts.sellable:
        _refuse(
            "holding",
            _("sell {quantity:,} of {symbol}: only {free:,} are held and free").format(
                quantity=order.quantity, symbol=order.symbol, free=facts.sellable
            ),
            limit=facts.sellable,
            value=order.quantity,
        )


def _check_purchase(proposal: Proposal, facts: LiveFacts, limits: GuardLimits) -> None:
    symbol = proposal.order.symbol
    if facts.reduce_only:
        _refuse(
            "entries_off",
            _("purchases are off: {why}").format(why=facts.reduce_only),
        )
    if symbol in facts.paused:
        _refuse(
            "paused",
            _("purchases of {symbol} are paused: {why}").format(
                symbol=symbol, why=facts.paused[symbol]
            ),
        )
    if len(facts.unresolved) >= limits.unresolved:
        _refuse(
            "unresolved",
            _("the fate of {count} orders is not known yet").format(
                count=len(facts.unresolved)
            ),
            limit=limits.unresolved,
            value=len(facts.unresolved),
        )
    _check_freshness(proposal, facts, limits)
    _check_collar(proposal, facts, limits)
    _check_size(proposal, facts, limits)


def _check_freshness(proposal: Proposal, facts: LiveFacts, limits: GuardLimits) -> None:
    if limits.needs_stream and not facts.stream_up:
        _refuse(
            "stream", _("the stream is down: notices of orders or trades do not come")
        )
    if (
        limits.clock_offset_s is not None
        and facts.offset_s is not None
        and abs(facts.offset_s) > limits.clock_offset_s + 1.0
    ):
        # The broker's time comes in whole seconds: one more is no difference.
        _refuse(
            "clock",
            _("this computer's clock is {offset:.0f} s off; set it").format(
                offset=-facts.offset_s
            ),
            limit=limits.clock_offset_s,
            value=abs(facts.offset_s),
        )
    if limits.intent_age_s is not None and proposal.age_s > limits.intent_age_s:
        _refuse(
            "intent_age",
            _("the decision is {age:.1f} s old; the price may have moved on").format(
                age=proposal.age_s
            ),
            limit=limits.intent_age_s,
            value=proposal.age_s,
        )
    if facts.priced and limits.price_age_s is not None:
        age_s = facts.market.age_s if facts.market is not None else float("inf")
        if age_s > limits.price_age_s:
            _refuse(
                "price_age",
                _("{symbol}: no price for {limit:g} s").format(
                    symbol=proposal.order.symbol, limit=limits.price_age_s
                ),
                limit=limits.price_age_s,
                value=age_s,
            )


def _check_collar(proposal: Proposal, facts: LiveFacts, limits: GuardLimits) -> None:
    """R8: a limit far through the market is a mistake in it or in us."""
    auction = facts.phase in _AUCTIONS
    collar_pct = limits.auction_collar_pct if auction else limits.collar_pct
    price, market = proposal.order.price, facts.market
    if limits.collar_pct is None or collar_pct is None or market is None or not price:
        return
    through_pct = (price / market.price - 1.0) * 100.0 if market.price > 0 else 0.0
    if through_pct > collar_pct:
        _refuse(
            "collar",
            _(
                "{symbol}: the limit {price:,} is {through:.1f} % above the market, "
                "at most {limit:g} % are sent"
            ).format(
                symbol=proposal.order.symbol,
                price=price,
                through=through_pct,
                limit=collar_pct,
            ),
            limit=collar_pct,
            value=through_pct,
        )


def _check_size(proposal: Proposal, facts: LiveFacts, limits: GuardLimits) -> None:
    asked = limits.canary_shares is not None or limits.canary_won is not None
    caps = [cap for cap in (limits.order_cap, facts.order_cap) if cap is not None]
    if caps and proposal.value <= 0:
        _refuse(
            "order_cap",
            _(
                "{symbol}: no price is known, so what the order is worth cannot be "
                "compared with the cap"
            ).format(symbol=proposal.order.symbol),
        )
    if caps and proposal.value > min(caps):
        _refuse(
            "order_cap",
            _(
                "the order is worth {value:,.0f} won, the cap typed when live was "
                "armed is {limit:,}"
            ).format(value=proposal.value, limit=min(caps)),
            limit=min(caps),
            value=proposal.value,
        )
    if facts.canary_done or not asked:
        return
    small = (
        limits.canary_shares is not None
        and proposal.order.quantity <= limits.canary_shares
    ) or (limits.canary_won is not None and 0 < proposal.value <= limits.canary_won)
    if not small:
        _refuse(
            "canary",
            _(
                "the first live order must be small: at most {shares} share or "
                "{won:,} won; larger ones are sent once it has filled or been "
                "cancelled"
            ).format(shares=limits.canary_shares or 0, won=limits.canary_won or 0),
            limit=limits.canary_won or 0,
            value=proposal.value,
        )
