"""The order desk: what is taken, what fills at which price, what the books say."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest

from kisbt.emulator.account import Account
from kisbt.emulator.exchange import Exchange
from kisbt.emulator.floor import Floor
from kisbt.emulator.market import Bar, Trade
from kisbt.emulator.orders import (
    Event,
    OrderRefused,
    Refusal,
    State,
    Ticket,
    WorkOrder,
)
from kisbt.emulator.rules import Matching, Rules
from kisbt.krx.calendar import KST, default_calendar
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.order import OrderKind, Side, Venue

DAY = date(2025, 12, 29)
A, B, INDEX = "990001", "990004", "KOSPI"
INSTRUMENTS = (
    Instrument(symbol=A, name="가"),
    Instrument(symbol=B, name="나", market=Market.KOSDAQ),
    Instrument(symbol=INDEX, product=Product.INDEX),
)
BASE = 10_000


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(DAY.year, DAY.month, DAY.day, hour, minute, second, tzinfo=KST)


def desk(
    now: datetime | None = None,
    *,
    mock: bool = False,
    cash: int = 10_000_000,
    **rules: object,
) -> Exchange:
    """Return a desk in mid-session; both stocks have traded at the base price."""
    floor = Floor(now or at(10))
    floor.begin_session(DAY, INSTRUMENTS, {A: BASE, B: BASE, INDEX: 2500.0})
    values = {"matching": Matching.CANDLE, "commission": 0.0, "tax": False, **rules}
    exchange = Exchange(
        floor,
        Account("70012345-01", "someone", cash),
        default_calendar(),
        Rules(**values),  # type: ignore[arg-type]
        mock=mock,
    )
    exchange.begin_session(DAY)
    for symbol in (A, B):
        floor.trade(Trade(symbol, floor.now, BASE, 100, Side.BUY))
    return exchange


def bar(
    open_: int, high: int, low: int, close: int, *, minute: int = 0, volume: int = 1_000
) -> Bar:
    """Return the candle of a minute from ten o'clock on."""
    start = at(10) + timedelta(minutes=minute)
    end = start + timedelta(minutes=1)
    return Bar(A, start, end, open_, high, low, close, volume)


def buy(quantity: int = 10, price: int = 0, **rest: object) -> Ticket:
    return _ticket(Side.BUY, quantity, price, rest)


def sell(quantity: int = 10, price: int = 0, **rest: object) -> Ticket:
    return _ticket(Side.SELL, quantity, price, rest)


def _ticket(side: Side, quantity: int, price: int, rest: dict[str, object]) -> Ticket:
    kind = OrderKind.LIMIT if price else OrderKind.MARKET
    values = {"order_kind": kind, "symbol": A, **rest}
    return Ticket(side=side, quantity=quantity, price=price, **values)  # type: ignore[arg-type]


def close(exchange: Exchange, candle: Bar) -> None:
    """Let a candle close."""
    exchange.floor.now = candle.end
    exchange.matcher.match_candle(candle)


# Candle matching: the prices of a backtest.


@pytest.mark.parametrize(
    ("ticket", "price"),
    [
        (buy(), 10_010),
        (buy(price=10_000), 10_000),
        (buy(price=10_050), 10_010),
        (buy(price=9_980), None),
        (buy(order_kind=OrderKind.CONDITIONAL_LIMIT, price=9_980), None),
        (buy(order_kind=OrderKind.STOP_LIMIT, price=10_060, trigger=10_050), 10_050),
        (buy(order_kind=OrderKind.STOP_LIMIT, price=10_200, trigger=10_150), None),
    ],
)
def test_order_is_matched_against_all_of_its_candle(
    ticket: Ticket, price: int | None
) -> None:
    exchange = desk()
    order = exchange.submit(ticket)
    close(exchange, bar(10_010, 10_100, 9_990, 10_020))
    assert [fill.price for fill in order.fills] == ([price] if price else [])
    assert [fill.time for fill in order.fills] == ([at(10, 1)] if price else [])


def test_order_is_not_matched_against_a_candle_that_had_closed() -> None:
    exchange = desk(at(10, 1))
    order = exchange.submit(buy())
    exchange.matcher.match_candle(bar(10_010, 10_100, 9_990, 10_020))
    assert order.open_quantity == 10


@pytest.mark.parametrize(("ticks", "price"), [(0, 10_010), (2, 10_030), (50, 10_100)])
def test_market_order_loses_the_slippage_within_the_candle(
    ticks: int, price: int
) -> None:
    exchange = desk(slippage_ticks=ticks)
    order = exchange.submit(buy())
    close(exchange, bar(10_010, 10_100, 9_990, 10_020))
    assert order.fills[0].price == price


def test_orders_share_the_part_of_the_volume_they_may_take() -> None:
    exchange = desk(volume_share=0.1)
    first, second = exchange.submit(buy(70)), exchange.submit(buy(70))
    close(exchange, bar(10_000, 10_000, 10_000, 10_000, volume=1_000))
    assert (first.filled, second.filled) == (70, 30)
    close(exchange, bar(10_000, 10_000, 10_000, 10_000, minute=1, volume=100))
    assert second.filled == 40


def test_sale_waits_while_the_volume_is_used_up() -> None:
    exchange = desk(volume_share=0.1)
    exchange.account.set_holding(A, 5, 9_000)
    exchange.submit(buy(100))
    sale = exchange.submit(sell(5))
    close(exchange, bar(10_000, 10_000, 10_000, 10_000, volume=1_000))
    assert (sale.state, sale.open_quantity) == (State.WORKING, 5)


@pytest.mark.parametrize(
    ("kind", "volume", "filled", "state"),
    [
        (OrderKind.MARKET_IOC, 50, 5, State.CANCELLED),
        (OrderKind.MARKET_FOK, 50, 0, State.CANCELLED),
        (OrderKind.MARKET_FOK, 1_000, 10, State.FILLED),
        (OrderKind.MARKET, 50, 5, State.WORKING),
    ],
)
def test_immediate_orders_do_not_wait(
    kind: OrderKind, volume: int, filled: int, state: State
) -> None:
    exchange = desk(volume_share=0.1)
    order = exchange.submit(buy(order_kind=kind))
    close(exchange, bar(10_000, 10_000, 10_000, 10_000, volume=volume))
    assert (order.filled, order.state) == (filled, state)
    last = exchange.notices[-1].event
    assert last is (Event.ENDED if state is State.CANCELLED else Event.FILLED)


def test_conditional_limit_becomes_a_market_order_in_the_closing_auction() -> None:
    exchange = desk(at(15, 0))
    order = exchange.submit(buy(price=9_000, order_kind=OrderKind.CONDITIONAL_LIMIT))
    exchange.floor.now = at(15, 30)
    exchange.matcher.match_candle(
        Bar(A, at(15, 29), at(15, 30), 10_070, 10_070, 10_070, 10_070, 500)
    )
    assert order.fills[0].price == 10_070


@pytest.mark.parametrize(
    ("price", "side", "filled"),
    [(13_000, Side.BUY, 0), (13_000, Side.SELL, 5), (7_000, Side.SELL, 0)],
)
def test_candle_locked_at_a_limit_fills_only_the_other_side(
    price: int, side: Side, filled: int
) -> None:
    exchange = desk()
    exchange.account.set_holding(A, 5, 9_000)
    order = exchange.submit(buy(5) if side is Side.BUY else sell(5))
    close(exchange, bar(price, price, price, price))
    assert order.filled == filled


# Tick matching: the price of the moment.


@pytest.mark.parametrize(
    ("ticket", "price"),
    [
        (buy(), 10_000),
        (buy(price=10_000), 10_000),
        (buy(price=9_990), None),
        (buy(price=10_050), 10_000),
        (buy(order_kind=OrderKind.BEST_LIMIT), 10_000),
        (buy(order_kind=OrderKind.PRIORITY_LIMIT), None),
        (buy(order_kind=OrderKind.BEST_FOK), 10_000),
        (buy(price=10_010, order_kind=OrderKind.STOP_LIMIT, trigger=10_000), 10_000),
        (buy(price=10_100, order_kind=OrderKind.STOP_LIMIT, trigger=10_050), None),
    ],
)
def test_arriving_order_meets_the_book(ticket: Ticket, price: int | None) -> None:
    exchange = desk(matching=Matching.TICK)
    order = exchange.submit(ticket)
    assert [fill.price for fill in order.fills] == ([price] if price else [])


def test_large_order_walks_the_book() -> None:
    exchange = desk(matching=Matching.TICK, cash=10**9)
    book = exchange.floor.listings[A].book()
    order = exchange.submit(buy(book.asks[0].quantity + 5))
    assert [fill.price for fill in order.fills] == [10_000, 10_010]
    assert order.fills[1].quantity == 5


def test_waiting_limit_fills_at_its_price_when_trades_pass_it() -> None:
    exchange = desk(matching=Matching.TICK)
    order = exchange.submit(buy(price=9_950))
    exchange.matcher.match(Bar(A, at(10), at(10, 1), 10_000, 10_000, 9_900, 9_900, 50))
    assert order.fills[0].price == 9_950


def test_no_arriving_order_fills_in_an_auction() -> None:
    exchange = desk(at(8, 45), matching=Matching.TICK)
    order = exchange.submit(buy())
    assert order.filled == 0


# Refusals.


@pytest.mark.parametrize(
    ("ticket", "refusal"),
    [
        (buy(0), Refusal.QUANTITY),
        (buy(10**9), Refusal.QUANTITY),
        (buy(price=10_003), Refusal.TICK),
        (buy(price=13_010), Refusal.LIMIT),
        (buy(price=6_990), Refusal.LIMIT),
        (buy(0, order_kind=OrderKind.LIMIT), Refusal.QUANTITY),
        (buy(1, order_kind=OrderKind.LIMIT), Refusal.PRICE),
        (buy(2_000), Refusal.CASH),
        (buy(770), Refusal.CASH),
        (sell(1), Refusal.HOLDING),
        (buy(symbol="000000"), Refusal.SYMBOL),
        (buy(symbol=INDEX), Refusal.SYMBOL),
        (buy(order_kind=OrderKind.BLOCK), Refusal.TYPE),
        (buy(venue=Venue.NXT), Refusal.TYPE),
        (buy(price=10_000, order_kind=OrderKind.SINGLE_PRICE), Refusal.CLOSED),
        (buy(price=1, order_kind=OrderKind.STOP_LIMIT, trigger=3), Refusal.LIMIT),
    ],
)
def test_order_that_breaks_a_rule_is_refused_and_leaves_no_trace(
    ticket: Ticket, refusal: Refusal
) -> None:
    exchange = desk()
    with pytest.raises(OrderRefused) as caught:
        exchange.submit(ticket)
    assert caught.value.refusal is refusal
    assert not exchange.orders
    assert not exchange.notices


def test_market_buy_needs_cash_for_the_upper_limit() -> None:
    exchange = desk(commission=0.001)
    most = int(10_000_000 // (13_000 * 1.001))
    price, _amount, quantity = exchange.buying_power(A, 0, OrderKind.MARKET)
    assert (price, quantity) == (13_000, most)
    exchange.submit(buy(most))
    assert exchange.orderable_cash < 13_013


def test_working_orders_reserve_cash_and_shares() -> None:
    exchange = desk()
    exchange.account.set_holding(A, 10, 9_000)
    first = exchange.submit(buy(100, 9_500))
    assert exchange.orderable_cash == 10_000_000 - 950_000
    exchange.submit(sell(6, 10_500))
    assert exchange.sellable(A) == 4
    exchange.cancel(first.number, quantity=40)
    assert exchange.orderable_cash == 10_000_000 - 570_000


# Amending and cancelling.


def test_amendment_moves_what_is_open_to_a_new_number() -> None:
    exchange = desk()
    order = exchange.submit(buy(10, 9_900))
    exchange.fill(order, 4, 9_900)
    child = exchange.amend(order.number, quantity=None, price=9_950)
    assert (order.state, order.open_quantity, order.taken) == (State.AMENDED, 0, 6)
    assert (child.quantity, child.price, child.original) == (6, 9_950, order.number)
    assert exchange.orderable_cash == 10_000_000 - 4 * 9_900 - 6 * 9_950


def test_part_of_an_order_can_be_amended() -> None:
    exchange = desk()
    order = exchange.submit(buy(10, 9_900))
    child = exchange.amend(order.number, quantity=3, price=9_800)
    assert (order.open_quantity, child.open_quantity) == (7, 3)


def test_amendment_to_a_wrong_price_leaves_the_order_alone() -> None:
    exchange = desk()
    order = exchange.submit(buy(10, 9_900))
    with pytest.raises(OrderRefused):
        exchange.amend(order.number, quantity=None, price=9_903)
    assert order.open_quantity == 10


def test_quantities_of_an_order_add_up() -> None:
    exchange = desk()
    order = exchange.submit(buy(10, 9_900))
    exchange.fill(order, 2, 9_900)
    exchange.cancel(order.number, quantity=3)
    exchange.amend(order.number, quantity=1, price=9_800)
    exchange.reject(order)
    assert (order.filled, order.taken, order.rejected) == (2, 4, 4)
    assert order.quantity == order.filled + order.taken + order.rejected


@pytest.mark.parametrize("act", ["cancel", "amend"])
def test_what_is_over_cannot_be_changed(act: str) -> None:
    exchange = desk()
    order = exchange.submit(buy(10, 9_900))
    exchange.fill(order, 10, 9_900)
    change: Callable[[], WorkOrder] = (
        (lambda: exchange.cancel(order.number, quantity=None))
        if act == "cancel"
        else (lambda: exchange.amend(order.number, quantity=None, price=9_900))
    )
    with pytest.raises(OrderRefused) as caught:
        change()
    assert caught.value.refusal is Refusal.NOTHING_LEFT


# The day and its parts.


def test_unfilled_order_ends_with_its_session_after_the_last_match() -> None:
    exchange = desk(at(15, 29))
    order = exchange.submit(buy(5, 9_000))
    exchange.floor.now = at(15, 30)
    last = Bar(A, at(15, 29), at(15, 30), 9_000, 9_000, 9_000, 9_000, 100)
    exchange.matcher.match_candle(last)
    exchange.expire(at(15, 30))
    assert order.state is State.FILLED
    late = desk(at(15, 29))
    order = late.submit(buy(5, 8_000))
    late.expire(at(15, 30))
    assert (order.state, order.unfilled) == (State.EXPIRED, 5)


@pytest.mark.parametrize(
    ("now", "kind", "then", "price"),
    [
        (at(8, 31), OrderKind.PRE_CLOSE_PRICE, at(8, 32), BASE),
        (at(15, 35), OrderKind.POST_CLOSE_PRICE, at(15, 40), BASE),
        (at(16, 5), OrderKind.SINGLE_PRICE, at(16, 10), BASE),
    ],
)
def test_orders_at_fixed_closes_fill_in_their_part_of_the_day(
    now: datetime, kind: OrderKind, then: datetime, price: int
) -> None:
    exchange = desk(now)
    limit = BASE if kind is OrderKind.SINGLE_PRICE else 0
    order = exchange.submit(buy(3, limit, order_kind=kind))
    exchange.matcher.match_candle(bar(9_000, 9_000, 9_000, 9_000))
    assert order.filled == 0
    exchange.floor.now = then - timedelta(minutes=1)
    exchange.matcher.match_off_hours()
    early = order.filled
    exchange.floor.now = then
    exchange.matcher.match_off_hours()
    assert order.filled == 3
    assert order.fills[0].price == price
    assert early == (3 if kind is OrderKind.PRE_CLOSE_PRICE else 0)


def test_order_sent_to_nxt_lives_until_its_after_market_ends() -> None:
    exchange = desk(at(8, 10))
    order = exchange.submit(buy(1, 7_500, venue=Venue.NXT))
    exchange.expire(at(15, 30))
    assert order.state is State.WORKING
    exchange.expire(at(20, 0))
    assert order.state is State.EXPIRED


# Money.


def test_trades_settle_on_the_second_session() -> None:
    exchange = desk()
    order = exchange.submit(buy(10))
    exchange.fill(order, 10, 10_000)
    account = exchange.account
    calendar = default_calendar()
    assert account.cash_on(DAY) == 10_000_000
    assert account.cash_on(calendar.sessions_after(DAY, 1)) == 10_000_000
    assert account.cash_on(calendar.sessions_after(DAY, 2)) == 9_900_000
    for number in (1, 2):
        account.begin_session(calendar.sessions_after(DAY, number), 0)
    assert account.cash == 9_900_000


def test_average_price_leaves_fees_out_and_survives_partial_sales() -> None:
    exchange = desk(commission=0.01)
    for price in (10_000, 10_100):
        exchange.fill(exchange.submit(buy(10)), 10, price)
    exchange.fill(exchange.submit(sell(5)), 5, 11_000)
    holding = exchange.account.holdings[A]
    assert (holding.quantity, holding.average) == (15, 10_050)
    assert exchange.account.today.costs == 1_000 + 1_010 + 550


def test_equity_is_cash_and_positions_whatever_is_traded() -> None:
    exchange = desk()
    for side, quantity in ((buy, 10), (sell, 4), (buy, 7), (sell, 13)):
        exchange.fill(exchange.submit(side(quantity)), quantity, BASE)
    assert exchange.worth == 10_000_000
    assert exchange.account.holdings[A].quantity == 0
    assert exchange.account.cash_in_two_days == 10_000_000


def test_queries_can_trail_the_truth() -> None:
    exchange = desk()
    exchange.ledger_lag_s, exchange.balance_lag_s = 20, 10
    order = exchange.submit(buy(3))
    exchange.fill(order, 3, 10_000)
    assert exchange.seen_orders(DAY, DAY) == []
    assert exchange.seen_account().holdings == {}
    exchange.floor.now = at(10, 0, 11)
    assert exchange.seen_account().holdings[A].quantity == 3
    exchange.floor.now = at(10, 0, 21)
    assert exchange.seen_orders(DAY, DAY) == [order]
