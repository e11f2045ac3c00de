"""When an order meets a price: whole candles, trades, the book, fixed closes."""

from datetime import timedelta
from typing import TYPE_CHECKING

from kisbt.emulator.market import Bar, Listing
from kisbt.emulator.orders import Kind, Term, WorkOrder
from kisbt.krx.matching import (
    Outcome,
    Terms,
    crowded_side,
    fillable_quantity,
    match_candle,
    slipped_price,
)
from kisbt.model.order import OrderType, Side

if TYPE_CHECKING:
    from kisbt.emulator.exchange import Exchange

# A conditional limit order turns market when the closing auction begins.
_CLOSING_AUCTION = timedelta(minutes=10)


class Matcher:
    """Finds the fills of one desk; the desk books them."""

    def __init__(self, desk: "Exchange") -> None:
        """Match the orders of `desk`."""
        self._desk = desk
        self._used: dict[str, int] = {}

    def begin_bar(self, symbol: str) -> None:
        """Give own orders a new candle's volume to take from."""
        self._used.pop(symbol, None)

    def match(self, bar: Bar, *, crowded: Side | None = None) -> None:
        """Match the working orders of a symbol against a candle or a part of one.

        Args:
            bar: prices and volume of the candle; with `Matching.TICK` the prices
                of one trade, or of the way from the last trade to it.
            crowded: the side that finds nobody on the other.
        """
        listing = self._desk.floor.listings[bar.symbol]
        if listing.halted or not listing.tradable:
            return
        for order in self._desk.working_on(bar.symbol):
            if self._waits_elsewhere(order, bar):
                continue
            if (crowded or listing.locked) is not order.ticket.side:
                self._match(order, bar, listing)
            if order.open_quantity and order.ticket.term is not Term.DAY:
                self._desk.withdraw(order)

    def match_candle(self, bar: Bar) -> None:
        """Match a whole candle, whose price may have been locked at a limit."""
        self.begin_bar(bar.symbol)
        self.match(bar, crowded=self.crowded(bar))

    def crowded(self, bar: Bar) -> Side | None:
        """Return the side that a candle locked at a price limit does not fill."""
        listing = self._desk.floor.listings[bar.symbol]
        return crowded_side(bar.open, bar.high, bar.low, bar.close, listing.band)

    def _waits_elsewhere(self, order: WorkOrder, bar: Bar) -> bool:
        """Whether an order is of another part of the day than the candle."""
        kind = order.ticket.kind
        if kind in {Kind.PRE_CLOSE, Kind.POST_CLOSE, Kind.SINGLE_PRICE}:
            return True
        if order.created >= bar.end:
            return True
        return order.created >= self._desk.calendar.close_time(order.session)

    def _match(self, order: WorkOrder, bar: Bar, listing: Listing) -> None:
        outcome = self._outcome(order, bar)
        if outcome.triggered and not order.triggered:
            order.triggered, order.triggered_at = True, self._desk.floor.now
        if outcome.price is None:
            return
        used = self._used.get(bar.symbol, 0)
        quantity = fillable_quantity(
            order.open_quantity, bar.volume, self._desk.rules.volume_share, used
        )
        if order.ticket.term is Term.FOK and quantity < order.open_quantity:
            return
        price = outcome.price
        if outcome.slips:
            buys = order.ticket.side is Side.BUY
            worst = bar.high if buys else bar.low
            if order.price:
                worst = min(worst, order.price) if buys else max(worst, order.price)
            price = slipped_price(
                price,
                order.ticket.side,
                self._desk.rules.slippage_ticks,
                listing.instrument,
                listing.session,
                on_grid=True,
                worst=worst,
            )
        self._used[bar.symbol] = used + quantity
        self._desk.fill(order, quantity, round(price))

    def _outcome(self, order: WorkOrder, bar: Bar) -> Outcome:
        ticket = order.ticket
        close = self._desk.calendar.close_time(bar.end.date())
        ends_day = bar.end >= close
        kind = OrderType.LIMIT if order.price else OrderType.MARKET
        if ticket.kind is Kind.STOP_LIMIT:
            kind = OrderType.STOP_LIMIT
        if ticket.kind is Kind.CONDITIONAL and bar.start >= close - _CLOSING_AUCTION:
            kind = OrderType.MARKET
        terms = Terms(
            ticket.side,
            kind,
            order.price or None,
            ticket.trigger or None,
            order.triggered,
        )
        found = match_candle(
            terms, bar.open, bar.high, bar.low, bar.close, closes_session=ends_day
        )
        if ticket.kind is Kind.CONDITIONAL and found.price is None and ends_day:
            return Outcome(bar.close)  # a daily candle ends in the auction
        return found

    def match_arrival(self, order: WorkOrder) -> None:
        """Fill an arriving order against the book of the moment."""
        listing = self._desk.floor.listings[order.ticket.symbol]
        crowd = listing.locked is order.ticket.side
        if listing.volume and not listing.halted and not crowd:
            self._take_from_book(order, listing)
        if order.open_quantity and order.ticket.term is not Term.DAY:
            self._desk.withdraw(order)

    def _take_from_book(self, order: WorkOrder, listing: Listing) -> None:
        ticket = order.ticket
        buys = ticket.side is Side.BUY
        if ticket.kind is Kind.STOP_LIMIT:
            reached = (
                listing.last >= ticket.trigger
                if buys
                else listing.last <= ticket.trigger
            )
            if not reached:
                return
            order.triggered, order.triggered_at = True, self._desk.floor.now
        book = listing.book()
        within = []
        for level in book.asks if buys else book.bids:
            inside = not order.price or (
                level.price <= order.price if buys else level.price >= order.price
            )
            if level.price and inside:
                within.append(level)
        there = sum(level.quantity for level in within)
        if ticket.term is Term.FOK and there < order.open_quantity:
            return
        for level in within:
            quantity = min(level.quantity, order.open_quantity)
            if quantity:
                self._desk.fill(order, quantity, level.price)

    def match_off_hours(self) -> None:
        """Fill what can fill outside the regular session, at this whole minute.

        There are no candles outside it: orders at a fixed close fill at it, others
        at the last price when their limit allows.
        """
        now = self._desk.floor.now
        for order in self._desk.working():
            listing = self._desk.floor.listings[order.ticket.symbol]
            if listing.halted or listing.last <= 0 or not order.open_quantity:
                continue
            if not self._desk.hours.fills_off_hours(order.ticket, now):
                continue
            price = int(listing.last)
            buys = order.ticket.side is Side.BUY
            if order.ticket.kind in {Kind.PRE_CLOSE, Kind.POST_CLOSE}:
                self._desk.fill(order, order.open_quantity, order.price)
            elif not order.price or (
                price <= order.price if buys else price >= order.price
            ):
                self._desk.fill(order, order.open_quantity, price)
