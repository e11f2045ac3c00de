"""The order desk of one emulated server: takes orders, fills them, keeps the books.

Pure: time comes with each call, nothing is read or sent. Every fill is decided by
`kisbt.krx.matching`, every cost by `kisbt.krx.fees`, as in a backtest.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from kisbt.emulator.account import Account
from kisbt.emulator.floor import Floor
from kisbt.emulator.hours import Hours
from kisbt.emulator.market import Bar, Listing, middle
from kisbt.emulator.orders import (
    SHAPES,
    Act,
    Event,
    Fill,
    Kind,
    Notice,
    OrderRefused,
    Refusal,
    State,
    Term,
    Ticket,
    WorkOrder,
)
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.fees import BANKIS, commission, parse_commission, transaction_tax
from kisbt.krx.matching import (
    Outcome,
    Terms,
    crowded_side,
    fillable_quantity,
    match_candle,
    slipped_price,
)
from kisbt.krx.sendable import reserve_price, unit_cost
from kisbt.model.instrument import Instrument, Product
from kisbt.model.order import OrderKind, OrderType, Side, Venue

# A conditional limit order turns market when the closing auction begins.
_CLOSING_AUCTION = timedelta(minutes=10)
_UNPRICED = frozenset({Kind.MARKET, Kind.PRE_CLOSE, Kind.POST_CLOSE})
_ON_ARRIVAL = frozenset({Kind.BEST, Kind.PRIORITY, Kind.MID})
# Largest quantity one order may have; keeps sums far from absurd.
_MOST_SHARES = 10_000_000


class Matching(StrEnum):
    """When orders meet prices."""

    CANDLE = "candle"  # once a candle, against all of it, when it closes
    TICK = "tick"  # with each trade, and on arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a run sets in its `broker:` block.

    Attributes:
        commission: ``bankis`` or a rate per side.
        tax: whether sales are taxed by the dated table.
        slippage_ticks: price steps lost by orders that take the price of the moment.
        volume_share: part of a candle's volume own orders may take; None: no cap.
    """

    matching: Matching = Matching.TICK
    commission: str | float = BANKIS
    tax: bool | Fraction = True
    slippage_ticks: int = 0
    volume_share: float | None = None


class Exchange:
    """Orders and one account on one server.

    Attributes:
        notices: what happened, oldest first; the server takes them out.
        accepted: called with every order taken, before it is matched.
        ledger_lag_s, balance_lag_s: virtual seconds by which queries trail.
    """

    def __init__(
        self,
        floor: Floor,
        account: Account,
        calendar: KrxCalendar,
        rules: Rules,
        *,
        mock: bool,
    ) -> None:
        """Open the desk.

        Args:
            floor: prices and time.
            account: whose orders are taken.
            calendar: sessions and hours.
            rules: of matching and costs.
            mock: whether the mock server's hours and order types apply.
        """
        self.floor = floor
        self.account = account
        self.calendar = calendar
        self.rules = rules
        self.hours = Hours(calendar, mock=mock)
        self.mock = mock
        self.notices: list[Notice] = []
        self.accepted: Callable[[WorkOrder], None] | None = None
        self.ledger_lag_s = 0.0
        self.balance_lag_s = 0.0
        self.orders: list[WorkOrder] = []
        self._working: dict[int, WorkOrder] = {}
        self._number = 0
        self._used: dict[str, int] = {}
        self._past: list[tuple[datetime, Account]] = []
        self._closed: set[date] = set()

    # Sessions.

    def begin_session(self, session: date) -> None:
        """Settle, and begin counting order numbers anew."""
        self.account.begin_session(session, self.worth)
        self._number = 0
        self._working.clear()

    @property
    def worth(self) -> int:
        """Won of cash, all trades settled, and shares at their last price."""
        shares = sum(
            holding.quantity * self._price_of(symbol)
            for symbol, holding in self.account.holdings.items()
        )
        return self.account.cash_in_two_days + int(shares)

    def _price_of(self, symbol: str) -> float:
        listing = self.floor.listings.get(symbol)
        return listing.last if listing is not None else 0.0

    # Taking orders.

    def submit(self, ticket: Ticket) -> WorkOrder:
        """Take an order.

        Raises:
            OrderRefused: nothing happened.
        """
        now = self.floor.now
        listing = self.floor.listings.get(ticket.symbol)
        if listing is None or not listing.tradable:
            raise OrderRefused(Refusal.SYMBOL)
        if ticket.order_kind not in SHAPES:
            raise OrderRefused(Refusal.TYPE)
        refusal = self.hours.refusal(ticket, listing.instrument.product, now)
        if refusal is not None:
            raise OrderRefused(refusal)
        if listing.halted:
            raise OrderRefused(Refusal.SYMBOL)
        price, reserve = self._checked(ticket, listing, ticket.quantity)
        order = self._new(Act.NEW, ticket, ticket.quantity, price)
        order.reserve = reserve
        self._take(order)
        return order

    def _new(
        self, act: Act, ticket: Ticket, quantity: int, price: int, original: int = 0
    ) -> WorkOrder:
        now = self.floor.now
        self._number += 1
        seen = None
        if self.ledger_lag_s > 0:
            seen = now + timedelta(seconds=self.ledger_lag_s)
        order = WorkOrder(
            number=self._number,
            ticket=ticket,
            act=act,
            original=original,
            quantity=quantity,
            price=price,
            created=now,
            session=now.date(),
            seen_from=seen,
        )
        self.orders.append(order)
        return order

    def _take(self, order: WorkOrder) -> None:
        self._working[order.number] = order
        self._tell(Event.ACCEPTED, order)
        if self.accepted is not None:
            self.accepted(order)
        at_once = self.rules.matching is Matching.TICK
        if at_once and order.open_quantity and self.hours.continuous(self.floor.now):
            self._match_arrival(order)

    def _tell(
        self, event: Event, order: WorkOrder, quantity: int = 0, price: int = 0
    ) -> None:
        self.notices.append(
            Notice(
                event=event,
                order=order,
                quantity=quantity or order.quantity,
                price=price,
                time=self.floor.now,
            )
        )

    def _checked(
        self,
        ticket: Ticket,
        listing: Listing,
        quantity: int,
        instead: WorkOrder | None = None,
    ) -> tuple[int, float]:
        """Return the price in force and the won per share to set aside.

        Args:
            ticket: what is asked for.
            listing: of its symbol.
            quantity: shares.
            instead: an order whose reservation the new one replaces.
        """
        if not 0 < quantity <= _MOST_SHARES:
            raise OrderRefused(Refusal.QUANTITY)
        price = self._price_in_force(ticket, listing)
        if ticket.kind not in _UNPRICED:
            self._check_price(price, listing)
        if ticket.kind is Kind.STOP_LIMIT:
            self._check_price(ticket.trigger, listing)
        if ticket.side is Side.SELL:
            free = self.sellable(ticket.symbol)
            free += quantity if instead is not None else 0
            if quantity > free:
                raise OrderRefused(Refusal.HOLDING)
            return price, 0.0
        kind = OrderType.LIMIT if price else OrderType.MARKET
        unit = unit_cost(
            reserve_price(kind, price or None, listing.band, listing.last),
            self._fee(listing.instrument),
        )
        free_cash: float = self.orderable_cash
        if instead is not None:
            free_cash += quantity * instead.reserve
        if quantity * unit > free_cash:
            raise OrderRefused(Refusal.CASH)
        return price, unit

    def _price_in_force(self, ticket: Ticket, listing: Listing) -> int:
        if ticket.kind is Kind.PRE_CLOSE:
            return int(listing.base)
        if ticket.kind is Kind.POST_CLOSE:
            return int(listing.last)
        if ticket.kind is Kind.MARKET:
            return 0
        if ticket.kind not in _ON_ARRIVAL:
            return ticket.price
        book = listing.book()
        if ticket.kind is Kind.MID:
            return middle(book, listing)
        asks = (ticket.side is Side.BUY) == (ticket.kind is Kind.BEST)
        best = (book.asks if asks else book.bids)[0].price
        # At a price limit one side is empty: the other side's best is the price.
        return best or (book.bids if asks else book.asks)[0].price

    @staticmethod
    def _check_price(price: int, listing: Listing) -> None:
        if price <= 0:
            raise OrderRefused(Refusal.PRICE)
        if not listing.on_grid(price):
            raise OrderRefused(Refusal.TICK)
        if listing.band is not None and price not in listing.band:
            raise OrderRefused(Refusal.LIMIT)

    def _fee(self, instrument: Instrument) -> Fraction:
        return parse_commission(self.rules.commission, instrument.product)

    # What may be spent and sold.

    @property
    def reserved_cash(self) -> int:
        """Won set aside for working buys."""
        reserved = sum(
            order.open_quantity * order.reserve for order in self._working.values()
        )
        return int(reserved + 0.999_999) if reserved else 0

    @property
    def orderable_cash(self) -> int:
        """Won that a new buy may use; sales count at once."""
        return self.account.cash_in_two_days - self.reserved_cash

    def sellable(self, symbol: str) -> int:
        """Return the shares held and not promised to working sales."""
        holding = self.account.holdings.get(symbol)
        held = holding.quantity if holding is not None else 0
        promised = sum(
            order.open_quantity
            for order in self._working.values()
            if order.ticket.side is Side.SELL and order.ticket.symbol == symbol
        )
        return held - promised

    def buying_power(
        self, symbol: str, price: int, kind: OrderKind
    ) -> tuple[int, int, int]:
        """Return the price the check uses, the won and the shares it allows.

        Args:
            symbol: "" for amounts only.
            price: won; 0 for a market order, which counts at the upper limit.
            kind: of the order.
        """
        cash = max(0, self.orderable_cash)
        listing = self.floor.listings.get(symbol)
        if listing is None or not listing.tradable or listing.last <= 0:
            return 0, cash, 0
        shape = SHAPES[kind].kind if kind in SHAPES else Kind.LIMIT
        use = price if shape not in _UNPRICED | _ON_ARRIVAL and price > 0 else 0
        order_type = OrderType.LIMIT if use else OrderType.MARKET
        unit_price = reserve_price(order_type, use or None, listing.band, listing.last)
        unit = unit_cost(unit_price, self._fee(listing.instrument))
        quantity = int(cash // unit)
        return int(unit_price), int(quantity * unit_price), quantity

    # Amending and cancelling.

    def find(self, number: int, session: date | None = None) -> WorkOrder | None:
        """Return an order by its number, of today unless `session` says other."""
        day = session or self.floor.now.date()
        for order in reversed(self.orders):
            if order.session == day and order.number == number:
                return order
        return None

    def amend(
        self,
        number: int,
        *,
        quantity: int | None,
        price: int,
        order_kind: OrderKind | None = None,
        trigger: int = 0,
        venue: Venue | None = None,
    ) -> WorkOrder:
        """Move what is open of an order to a new price, under a new number.

        Args:
            number: of the order.
            quantity: shares; None for all that is open.
            price: won.
            order_kind: of the new order; None keeps the old one's.
            trigger: won, of a stop limit; 0 keeps the old one's.
            venue: must be the order's, when given.

        Raises:
            OrderRefused: nothing happened.
        """
        order, moved = self._open_order(number, quantity, venue)
        old = order.ticket
        ticket = replace(
            old,
            quantity=moved,
            price=price,
            order_kind=order_kind or old.order_kind,
            trigger=trigger or old.trigger,
        )
        listing = self.floor.listings[ticket.symbol]
        refusal = self.hours.refusal(ticket, listing.instrument.product, self.floor.now)
        if refusal is not None:
            raise OrderRefused(refusal)
        in_force, reserve = self._checked(ticket, listing, moved, order)
        self._take_away(order, moved, State.AMENDED)
        child = self._new(Act.AMEND, ticket, moved, in_force, order.number)
        child.reserve = reserve
        self._take(child)
        return child

    def cancel(
        self, number: int, *, quantity: int | None, venue: Venue | None = None
    ) -> WorkOrder:
        """Cancel all or a part of what is open of an order, under a new number.

        Raises:
            OrderRefused: nothing happened.
        """
        order, gone = self._open_order(number, quantity, venue)
        self._take_away(order, gone, State.CANCELLED)
        ticket = replace(order.ticket, quantity=gone)
        child = self._new(Act.CANCEL, ticket, gone, order.price, order.number)
        child.taken, child.state = gone, State.CANCELLED
        self._tell(Event.CONFIRMED, child)
        return child

    def _open_order(
        self, number: int, quantity: int | None, venue: Venue | None
    ) -> tuple[WorkOrder, int]:
        order = self.find(number)
        if order is None or order.act is Act.CANCEL:
            raise OrderRefused(Refusal.NO_ORIGINAL)
        if venue is not None and venue is not order.ticket.venue:
            raise OrderRefused(Refusal.NO_ORIGINAL)
        if self.mock:
            outside = self.hours.refusal(
                order.ticket, self._product(order), self.floor.now
            )
            if outside is not None:
                raise OrderRefused(outside)
        if not order.open_quantity:
            raise OrderRefused(Refusal.NOTHING_LEFT)
        if quantity is None:
            return order, order.open_quantity
        if quantity <= 0:
            raise OrderRefused(Refusal.QUANTITY)
        if quantity > order.open_quantity:
            raise OrderRefused(Refusal.NOTHING_LEFT)
        return order, quantity

    def _product(self, order: WorkOrder) -> Product:
        return self.floor.listings[order.ticket.symbol].instrument.product

    def _take_away(self, order: WorkOrder, quantity: int, state: State) -> None:
        order.taken += quantity
        if order.filled + order.taken + order.rejected == order.quantity:
            self._end(order, state)

    def _end(self, order: WorkOrder, state: State) -> None:
        order.state = state
        self._working.pop(order.number, None)

    # What the exchange does on its own; scripted faults use it too.

    def reject(self, order: WorkOrder) -> None:
        """Refuse what is open of an order after it was accepted."""
        quantity = order.open_quantity
        if quantity:
            order.rejected += quantity
            self._end(order, State.REJECTED)
            self._tell(Event.REJECTED, order, quantity)

    def withdraw(self, order: WorkOrder) -> None:
        """Cancel what is open of an order without anybody's asking."""
        quantity = order.open_quantity
        if quantity:
            self._take_away(order, quantity, State.CANCELLED)
            self._tell(Event.ENDED, order, quantity)

    def withdraw_symbol(self, symbol: str) -> None:
        """Cancel every working order of a symbol without anybody's asking."""
        for order in list(self._working_on(symbol)):
            self.withdraw(order)

    def expire_all(self) -> None:
        """End every working order as if its time were over."""
        for order in list(self._working.values()):
            self._end(order, State.EXPIRED)

    def expire(self, now: datetime) -> None:
        """End the orders whose time is over; no notice is sent.

        Source:
            No frame about the end of a day order is documented.
        """
        for order in list(self._working.values()):
            if now >= self.hours.ends(order.ticket, order.created):
                self._end(order, State.EXPIRED)

    # Matching.

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
        listing = self.floor.listings[bar.symbol]
        if listing.halted or not listing.tradable:
            return
        for order in self._working_on(bar.symbol):
            if self._waits_elsewhere(order, bar):
                continue
            if (crowded or listing.locked) is not order.ticket.side:
                self._match(order, bar, listing)
            if order.open_quantity and order.ticket.term is not Term.DAY:
                self.withdraw(order)

    def match_candle(self, bar: Bar) -> None:
        """Match a whole candle, whose price may have been locked at a limit."""
        self.begin_bar(bar.symbol)
        self.match(bar, crowded=self.crowded(bar))

    def crowded(self, bar: Bar) -> Side | None:
        """Return the side that a candle locked at a price limit does not fill."""
        listing = self.floor.listings[bar.symbol]
        return crowded_side(bar.open, bar.high, bar.low, bar.close, listing.band)

    def _working_on(self, symbol: str) -> Iterator[WorkOrder]:
        for order in list(self._working.values()):
            if order.ticket.symbol == symbol and order.open_quantity:
                yield order

    def _waits_elsewhere(self, order: WorkOrder, bar: Bar) -> bool:
        """Whether an order is of another part of the day than the candle."""
        kind = order.ticket.kind
        if kind in {Kind.PRE_CLOSE, Kind.POST_CLOSE, Kind.SINGLE_PRICE}:
            return True
        if order.created >= bar.end:
            return True
        return order.created >= self.calendar.close_time(order.session)

    def _match(self, order: WorkOrder, bar: Bar, listing: Listing) -> None:
        outcome = self._outcome(order, bar)
        if outcome.triggered and not order.triggered:
            order.triggered, order.triggered_at = True, self.floor.now
        if outcome.price is None:
            return
        used = self._used.get(bar.symbol, 0)
        quantity = fillable_quantity(
            order.open_quantity, bar.volume, self.rules.volume_share, used
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
                self.rules.slippage_ticks,
                listing.instrument,
                listing.session,
                on_grid=True,
                worst=worst,
            )
        self._used[bar.symbol] = used + quantity
        self.fill(order, quantity, round(price))

    def _outcome(self, order: WorkOrder, bar: Bar) -> Outcome:
        ticket = order.ticket
        close = self.calendar.close_time(bar.end.date())
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

    def _match_arrival(self, order: WorkOrder) -> None:
        """Fill an arriving order against the book of the moment."""
        listing = self.floor.listings[order.ticket.symbol]
        crowd = listing.locked is order.ticket.side
        if listing.volume and not listing.halted and not crowd:
            self._take_from_book(order, listing)
        if order.open_quantity and order.ticket.term is not Term.DAY:
            self.withdraw(order)

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
            order.triggered, order.triggered_at = True, self.floor.now
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
                self.fill(order, quantity, level.price)

    def match_off_hours(self) -> None:
        """Fill what can fill outside the regular session, at this whole minute.

        There are no candles outside it: orders at a fixed close fill at it, others
        at the last price when their limit allows.
        """
        now = self.floor.now
        for order in list(self._working.values()):
            listing = self.floor.listings[order.ticket.symbol]
            if listing.halted or listing.last <= 0 or not order.open_quantity:
                continue
            if not self.hours.fills_off_hours(order.ticket, now):
                continue
            price = int(listing.last)
            buys = order.ticket.side is Side.BUY
            if order.ticket.kind in {Kind.PRE_CLOSE, Kind.POST_CLOSE}:
                self.fill(order, order.open_quantity, order.price)
            elif not order.price or (
                price <= order.price if buys else price >= order.price
            ):
                self.fill(order, order.open_quantity, price)

    def fill(self, order: WorkOrder, quantity: int, price: int) -> None:
        """Fill a part of an order and book it; what is not held is refused."""
        quantity = min(quantity, order.open_quantity)
        if order.ticket.side is Side.SELL:
            holding = self.account.holdings.get(order.ticket.symbol)
            quantity = min(quantity, holding.quantity if holding else 0)
            if quantity <= 0:
                self.reject(order)
                return
        if quantity <= 0:
            return
        fill = self._costed(order, quantity, price)
        self._remember()
        order.fills.append(fill)
        order.filled += quantity
        order.amount += quantity * price
        settles = self.calendar.sessions_after(order.session, 2)
        self.account.book(fill, order.session, settles)
        if order.filled + order.taken + order.rejected == order.quantity:
            self._end(order, State.FILLED)
        self._tell(Event.FILLED, order, quantity, price)

    def _costed(self, order: WorkOrder, quantity: int, price: int) -> Fill:
        ticket = order.ticket
        instrument = self.floor.listings[ticket.symbol].instrument
        amount = quantity * price
        tax = 0
        if ticket.side is Side.SELL and self.rules.tax is not False:
            if isinstance(self.rules.tax, Fraction):
                tax = commission(amount, self.rules.tax)
            else:
                tax = transaction_tax(
                    amount,
                    market=instrument.market,
                    product=instrument.product,
                    session=order.session,
                )
        return Fill(
            number=order.number,
            symbol=ticket.symbol,
            side=ticket.side,
            quantity=quantity,
            price=price,
            commission=commission(amount, self._fee(instrument)),
            tax=tax,
            time=self.floor.now,
        )

    # What queries see.

    def _remember(self) -> None:
        if self.balance_lag_s > 0:
            now = self.floor.now
            self._past.append((now, copy.deepcopy(self.account)))
            horizon = now - timedelta(seconds=self.balance_lag_s * 2)
            self._past = [row for row in self._past if row[0] >= horizon]

    def seen_account(self) -> Account:
        """Return the account as a balance query shows it, late if it is to be."""
        if self.balance_lag_s > 0:
            cut = self.floor.now - timedelta(seconds=self.balance_lag_s)
            for at, before in self._past:
                if at > cut:
                    return before
        return self.account

    def seen_orders(self, first: date, last: date) -> list[WorkOrder]:
        """Return the orders of some sessions as queries show them, oldest first.

        With a ledger lag, young orders are missing and young fills not counted.
        """
        now = self.floor.now
        found = []
        for order in self.orders:
            if not first <= order.session <= last:
                continue
            if self.ledger_lag_s <= 0:
                found.append(order)
            elif order.seen_from is None or now >= order.seen_from:
                found.append(self._trailing(order, now))
        return found

    def _trailing(self, order: WorkOrder, now: datetime) -> WorkOrder:
        cut = now - timedelta(seconds=self.ledger_lag_s)
        seen = [fill for fill in order.fills if fill.time <= cut]
        if len(seen) == len(order.fills):
            return order
        filled = sum(fill.quantity for fill in seen)
        state = State.WORKING if order.state is State.FILLED else order.state
        amount = sum(fill.quantity * fill.price for fill in seen)
        return replace(order, fills=seen, filled=filled, amount=amount, state=state)

    def working(self) -> list[WorkOrder]:
        """Return the orders that can still fill, oldest first."""
        return [order for order in self._working.values() if order.open_quantity]
