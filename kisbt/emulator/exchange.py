"""The order desk of one emulated server: takes orders, fills them, keeps the books.

Pure: time comes with each call, nothing is read or sent. Every fill is decided by
`kisbt.krx.matching`, every cost by `kisbt.krx.fees`, as in a backtest.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from fractions import Fraction

from kisbt.emulator.account import Account
from kisbt.emulator.floor import Floor
from kisbt.emulator.hours import Hours
from kisbt.emulator.market import Listing, middle
from kisbt.emulator.matcher import Matcher
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
    Ticket,
    WorkOrder,
)
from kisbt.emulator.rules import Matching, Rules
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.fees import commission, parse_commission, transaction_tax
from kisbt.krx.sendable import reserve_price, unit_cost
from kisbt.model.instrument import Instrument, Product
from kisbt.model.order import OrderKind, OrderType, Side, Venue

_UNPRICED = frozenset({Kind.MARKET, Kind.PRE_CLOSE, Kind.POST_CLOSE})
_ON_ARRIVAL = frozenset({Kind.BEST, Kind.PRIORITY, Kind.MID})
# Largest quantity one order may have; keeps sums far from absurd.
_MOST_SHARES = 10_000_000


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
        self.matcher = Matcher(self)
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
            self.matcher.match_arrival(order)

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
        for order in self.working_on(symbol):
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

    # Fills.

    def fill(self, order: WorkOrder, quantity: int, price: int) -> None:
        """Fill a part of an order and book it; what is not held is refused."""
        quantity = min(quantity, order.open_quantity)
        if quantity <= 0:
            return
        if order.ticket.side is Side.SELL:
            holding = self.account.holdings.get(order.ticket.symbol)
            quantity = min(quantity, holding.quantity if holding else 0)
            if quantity <= 0:
                self.reject(order)
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

    def working_on(self, symbol: str) -> list[WorkOrder]:
        """Return the orders of a symbol that can still fill, oldest first."""
        return [order for order in self.working() if order.ticket.symbol == symbol]

    def working(self) -> list[WorkOrder]:
        """Return the orders that can still fill, oldest first."""
        return [order for order in self._working.values() if order.open_quantity]
