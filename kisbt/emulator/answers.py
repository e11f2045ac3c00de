"""What the order desk answers: orders, balance, buying power, realised results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from kisbt.emulator.account import Account, Holding, Realised
from kisbt.emulator.exchange import Exchange
from kisbt.emulator.orders import (
    Act,
    Kind,
    OrderRefused,
    Refusal,
    State,
    Ticket,
    WorkOrder,
)
from kisbt.kis.wire.requests import (
    BalanceQuery,
    BuyingPowerQuery,
    Change,
    ChangeOrder,
    Filled,
    OpenOrdersQuery,
    OrdersQuery,
    PlaceOrder,
    ProfitQuery,
    SellableQuery,
)
from kisbt.kis.wire.trading import kind_name, side_name
from kisbt.model.account import (
    Balance,
    BuyingPower,
    DayProfit,
    DayProfits,
    Funds,
    Position,
    ProfitTotals,
    Sellable,
    TradeProfit,
    TradeProfits,
)
from kisbt.model.instrument import Instrument
from kisbt.model.order import (
    BrokerOrder,
    OpenOrder,
    OrderTicket,
    OrderTotals,
    Side,
)
from kisbt.model.ports import OrderHistory

Key = TypeVar("Key")

MOCK_BRANCH = "00950"
REAL_BRANCH = "06010"
"""Office numbers. Source: seen on mock and in examples of real accounts."""


def order_text(number: int) -> str:
    """Return an order number as the broker writes it; "" for none."""
    return f"{number:010}" if number else ""


@dataclass(frozen=True, slots=True)
class Answers:
    """Questions about one account, answered from the exchange's books."""

    exchange: Exchange

    @property
    def branch(self) -> str:
        """Office that passes the orders on."""
        return MOCK_BRANCH if self.exchange.mock else REAL_BRANCH

    # Orders.

    def place(self, request: PlaceOrder) -> OrderTicket:
        """Take an order.

        Raises:
            OrderRefused: nothing happened.
        """
        order = self.exchange.submit(
            Ticket(
                symbol=request.symbol,
                side=request.side,
                quantity=request.quantity,
                price=request.price,
                order_kind=request.kind,
                trigger=request.stop_price,
                venue=request.venue,
            )
        )
        return self._ticket(order)

    def change(self, request: ChangeOrder) -> OrderTicket:
        """Amend or cancel.

        Raises:
            OrderRefused: nothing happened.
        """
        digits = request.number.strip()
        if not digits.isdecimal() or len(digits) > 12:
            raise OrderRefused(Refusal.NO_ORIGINAL)
        quantity = None if request.whole else request.quantity
        if request.change is Change.CANCEL:
            order = self.exchange.cancel(
                int(digits), quantity=quantity, venue=request.venue
            )
        else:
            order = self.exchange.amend(
                int(digits),
                quantity=quantity,
                price=request.price,
                order_kind=request.kind,
                trigger=request.stop_price,
                venue=request.venue,
            )
        return self._ticket(order)

    def _ticket(self, order: WorkOrder) -> OrderTicket:
        return OrderTicket(
            branch=self.branch,
            number=order_text(order.number),
            time=order.created.time().replace(microsecond=0),
        )

    def open_orders(self, request: OpenOrdersQuery) -> tuple[OpenOrder, ...]:
        """Return what can still be amended or cancelled."""
        sides = {"1": Side.SELL, "2": Side.BUY}
        wanted = sides.get(request.side_code)
        today = self.exchange.floor.now.date()
        orders = [
            order
            for order in self.exchange.seen_orders(today, today)
            if order.open_quantity and wanted in {None, order.ticket.side}
        ]
        if request.sort_code == "1":
            orders.sort(key=lambda order: order.ticket.symbol)
        return tuple(self._open_order(order) for order in orders)

    def _open_order(self, order: WorkOrder) -> OpenOrder:
        ticket = order.ticket
        return OpenOrder(
            branch=self.branch,
            number=order_text(order.number),
            original_number=order_text(order.original),
            symbol=ticket.symbol,
            name=self.name(ticket.symbol),
            side=ticket.side,
            kind=ticket.order_kind,
            kind_note=kind_name(ticket.order_kind),
            quantity=order.quantity,
            price=order.price,
            time=order.created.time().replace(microsecond=0),
            filled_quantity=order.filled,
            filled_amount=order.amount,
            open_quantity=order.open_quantity,
            venue=ticket.venue,
            stop_price=ticket.trigger,
        )

    def history(self, request: OrdersQuery) -> OrderHistory:
        """Return the orders of a period, newest first unless asked otherwise."""
        today = self.exchange.floor.now.date()
        first = request.first or request.last or today
        last = request.last or today
        number = request.number.lstrip("0")
        orders = [
            order
            for order in self.exchange.seen_orders(first, last)
            if request.side in {None, order.ticket.side}
            and request.symbol in {"", order.ticket.symbol}
            and request.venue in {None, order.ticket.venue}
            and request.branch in {"", self.branch}
            and number in {"", str(order.number)}
            and _wanted(order, request.filled)
        ]
        if not request.oldest_first:
            orders.reverse()
        rows = tuple(self._broker_order(order) for order in orders)
        return OrderHistory(rows=rows, totals=_totals(orders))

    def _broker_order(self, order: WorkOrder) -> BrokerOrder:
        ticket = order.ticket
        cancels = order.act is Act.CANCEL
        taken = order.taken
        return BrokerOrder(
            day=order.session,
            time=order.created.time().replace(microsecond=0),
            branch=self.branch,
            number=order_text(order.number),
            original_number=order_text(order.original),
            symbol=ticket.symbol,
            name=self.name(ticket.symbol),
            side=ticket.side,
            side_note=_side_note(order),
            kind=ticket.order_kind,
            kind_note=kind_name(ticket.order_kind),
            quantity=order.quantity,
            price=0 if ticket.kind is Kind.MARKET else order.price,
            filled_quantity=order.filled,
            filled_amount=order.amount,
            average_price=round(order.average_price, 4),
            cancelled=cancels or order.state is State.CANCELLED,
            cancelled_quantity=taken,
            remaining_quantity=0 if cancels else order.unfilled,
            rejected_quantity=order.rejected,
            venue=ticket.venue,
            channel=ticket.channel,
            stop_price=ticket.trigger,
        )

    def name(self, symbol: str) -> str:
        """Return the listed name of a symbol."""
        return self._instrument(symbol).name

    def _instrument(self, symbol: str) -> Instrument:
        listing = self.exchange.floor.listings.get(symbol)
        return listing.instrument if listing else Instrument(symbol=symbol)

    # The account.

    def balance(self, request: BalanceQuery) -> Balance:
        """Return positions and money."""
        del request  # all its choices are about loans and other price bases
        account = self.exchange.seen_account()
        rows = tuple(
            self._position(symbol, holding)
            for symbol, holding in sorted(account.holdings.items())
        )
        return Balance(positions=rows, funds=self._funds(account, rows))

    def _position(self, symbol: str, holding: Holding) -> Position:
        price, change_pct = self._price(symbol)
        cost = round(holding.cost)
        value = holding.quantity * price
        return Position(
            symbol=symbol,
            name=self.name(symbol),
            quantity=holding.quantity,
            sellable=max(0, min(self.exchange.sellable(symbol), holding.quantity)),
            average_price=round(holding.average, 4),
            cost=cost,
            price=price,
            value=value,
            profit=value - cost,
            profit_pct=_pct(value - cost, cost),
            bought_today=holding.bought,
            sold_today=holding.sold,
            bought_before=holding.bought_before,
            sold_before=holding.sold_before,
            change_pct=change_pct,
        )

    def _price(self, symbol: str) -> tuple[int, float]:
        listing = self.exchange.floor.listings.get(symbol)
        if listing is None:
            return 0, 0.0
        return int(listing.last), _pct(listing.last - listing.base, listing.base)

    def _funds(self, account: Account, rows: Sequence[Position]) -> Funds:
        calendar = self.exchange.calendar
        today = self.exchange.floor.now.date()
        worth = sum(row.value for row in rows)
        settled = account.cash_in_two_days
        before = account.opening_worth
        total = worth + settled
        return Funds(
            deposit=account.cash_on(today),
            deposit_d1=account.cash_on(calendar.next_session(today)),
            deposit_d2=settled,
            securities_value=worth,
            total_value=total,
            net_assets=total,
            cost=sum(row.cost for row in rows),
            profit=sum(row.profit for row in rows),
            bought_today=account.today.bought,
            sold_today=account.today.sold,
            costs_today=account.today.costs,
            bought_before=account.before.bought,
            sold_before=account.before.sold,
            costs_before=account.before.costs,
            total_before=before,
            change=total - before,
            change_pct=_pct(total - before, before),
        )

    def buying_power(self, request: BuyingPowerQuery) -> BuyingPower:
        """Return what can be bought; without a symbol amounts only."""
        exchange = self.exchange
        price, amount, quantity = exchange.buying_power(
            request.symbol, request.price or 0, request.kind
        )
        cash = max(0, exchange.orderable_cash)
        return BuyingPower(
            cash=cash,
            amount=amount,
            quantity=quantity,
            max_amount=amount,
            max_quantity=quantity,
            reference_price=price,
            reusable=min(cash, exchange.account.today.sold),
        )

    def sellable(self, request: SellableQuery) -> Sellable:
        """Return what can be sold of a holding; zeros without one."""
        account = self.exchange.seen_account()
        holding = account.holdings.get(request.symbol, Holding())
        row = self._position(request.symbol, holding)
        return Sellable(
            symbol=row.symbol,
            name=row.name,
            bought=row.bought_today,
            sold=row.sold_today,
            quantity=row.quantity,
            sellable=row.sellable,
            average_price=row.average_price,
            cost=row.cost,
            price=row.price,
            value=row.value,
            profit=row.profit,
            profit_pct=row.profit_pct,
        )

    # Realised results.

    def trade_profits(self, request: ProfitQuery) -> TradeProfits:
        """Return realised results by day and symbol."""
        groups = self._sales(request, lambda sale: (sale.session, sale.fill.symbol))
        rows = tuple(
            self._trade_profit(day, symbol, sales) for (day, symbol), sales in groups
        )
        return TradeProfits(rows=rows, totals=self._profit_totals(request))

    def _sales(
        self, request: ProfitQuery, key: Callable[[Realised], Key]
    ) -> list[tuple[Key, list[Realised]]]:
        groups: dict[Key, list[Realised]] = {}
        for sale in self._realised(request):
            groups.setdefault(key(sale), []).append(sale)
        ordered = list(groups.items())
        return ordered if request.oldest_first else ordered[::-1]

    def _realised(self, request: ProfitQuery) -> list[Realised]:
        return [
            sale
            for sale in self.exchange.account.realised
            if request.first <= sale.session <= request.last
            and request.symbol in {"", sale.fill.symbol}
        ]

    def _trade_profit(
        self, day: date, symbol: str, sales: Sequence[Realised]
    ) -> TradeProfit:
        quantity, amount, cost, fee, tax = _sums(sales)
        bought, bought_amount = self._bought(symbol, day)
        profit = round(amount - cost - fee - tax)
        holding = self.exchange.account.holdings.get(symbol, Holding())
        return TradeProfit(
            day=day,
            symbol=symbol,
            name=self.name(symbol),
            held=holding.quantity,
            purchase_price=round(cost / quantity, 4),
            bought_quantity=bought,
            bought_amount=bought_amount,
            sold_price=round(amount / quantity, 4),
            sold_quantity=quantity,
            sold_amount=amount,
            profit=profit,
            profit_pct=_pct(profit, cost),
            commission=fee,
            tax=tax,
        )

    def _bought(self, symbol: str, day: date) -> tuple[int, int]:
        fills = [
            fill
            for order in self.exchange.orders
            if order.session == day
            and order.ticket.side is Side.BUY
            and symbol in {"", order.ticket.symbol}
            for fill in order.fills
        ]
        return (
            sum(fill.quantity for fill in fills),
            sum(fill.quantity * fill.price for fill in fills),
        )

    def day_profits(self, request: ProfitQuery) -> DayProfits:
        """Return realised results by day."""
        rows = []
        for day, sales in self._sales(request, lambda sale: sale.session):
            quantity, amount, cost, fee, tax = _sums(sales)
            bought, bought_amount = self._bought("", day)
            profit = round(amount - cost - fee - tax)
            rows.append(
                DayProfit(
                    day=day,
                    bought_amount=bought_amount,
                    sold_amount=amount,
                    profit=profit,
                    profit_pct=_pct(profit, cost),
                    commission=fee,
                    tax=tax,
                    interest=0,
                    bought_quantity=bought,
                    sold_quantity=quantity,
                )
            )
        return DayProfits(rows=tuple(rows), totals=self._profit_totals(request))

    def _profit_totals(self, request: ProfitQuery) -> ProfitTotals:
        quantity, amount, cost, fee, tax = _sums(self._realised(request))
        bought = [
            fill
            for order in self.exchange.orders
            if request.first <= order.session <= request.last
            and order.ticket.side is Side.BUY
            and request.symbol in {"", order.ticket.symbol}
            for fill in order.fills
        ]
        bought_amount = sum(fill.quantity * fill.price for fill in bought)
        bought_fee = sum(fill.commission for fill in bought)
        profit = round(amount - cost - fee - tax)
        return ProfitTotals(
            sold_quantity=quantity,
            sold_amount=amount,
            sold_commission=fee,
            sold_tax=tax,
            sold_settled=amount - fee - tax,
            bought_quantity=sum(fill.quantity for fill in bought),
            bought_amount=bought_amount,
            bought_commission=bought_fee,
            bought_tax=0,
            bought_settled=bought_amount + bought_fee,
            profit=profit,
            profit_pct=_pct(profit, cost),
        )


def _sums(sales: Sequence[Realised]) -> tuple[int, int, float, int, int]:
    """Return shares, amount, cost, commission and tax of some sales."""
    return (
        sum(sale.fill.quantity for sale in sales),
        sum(sale.fill.quantity * sale.fill.price for sale in sales),
        sum(sale.cost for sale in sales),
        sum(sale.fill.commission for sale in sales),
        sum(sale.fill.tax for sale in sales),
    )


def _pct(part: float, whole: float) -> float:
    return part / whole * 100 if whole else 0.0


def _wanted(order: WorkOrder, filled: Filled) -> bool:
    if filled is Filled.ALL:
        return True
    done = order.filled > 0
    return done if filled is Filled.FILLED else order.open_quantity > 0


def _side_note(order: WorkOrder) -> str:
    words = {Side.BUY: "매수", Side.SELL: "매도"}
    if order.act is Act.NEW:
        return side_name(order.ticket.side)
    # Source: rows of public logs, 매수정정* and 매수취소*.
    done = {Act.AMEND: "정정", Act.CANCEL: "취소"}
    return f"{words[order.ticket.side]}{done[order.act]}*"


def _totals(orders: Sequence[WorkOrder]) -> OrderTotals:
    new = [order for order in orders if order.act is Act.NEW]
    filled = sum(order.filled for order in orders)
    amount = sum(order.amount for order in orders)
    return OrderTotals(
        quantity=sum(order.quantity for order in new),
        filled_quantity=filled,
        filled_amount=amount,
        costs=sum(f.commission + f.tax for order in orders for f in order.fills),
        average_price=amount / filled if filled else 0.0,
    )
