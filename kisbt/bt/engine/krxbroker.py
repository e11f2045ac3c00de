"""`KrxBackBroker` for one run of the loop: plain market orders in one go.

Most orders of most strategies are plain ones: at the market, on their own, good for
their session. For these the rules of `KrxBackBroker` are done here without the
objects it hands from rule to rule. Every other order, and a plain one that some rule
refuses, goes its way.
"""

import math
from bisect import bisect_right
from datetime import date
from fractions import Fraction
from typing import Any

from backtrader import Order
from backtrader.order import BuyOrder, SellOrder

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.comminfo import KrxCommInfo
from kisbt.bt.engine.brokers import LeanBackBroker
from kisbt.bt.engine.orders import ORDER_DEFAULTS, clone
from kisbt.bt.market import instrument_of, is_adjusted, session_of
from kisbt.bt.recorder import Decision, Execution, PlacedOrder
from kisbt.errors import RiskRefused
from kisbt.krx.fees import TAX_TABLE, commission, tax_rate
from kisbt.krx.matching import fillable_quantity
from kisbt.krx.sendable import Sendable, reserve_price
from kisbt.krx.ticks import TickTable, tick_tables
from kisbt.model.instrument import Product
from kisbt.model.order import OrderType, Side

_KINDS: dict[Side, Any] = {Side.BUY: BuyOrder, Side.SELL: SellOrder}
# Keywords that mean something to a broker and are no info of an order.
_NO_INFO = frozenset({"histnotify", "_checksubmit"})
_OWN = (
    "_pass_time",
    "_record_from",
    "_on_bar",
    "_watches_loss",
    "_takes_plain",
    "_traded",
    "_reserved",
)


def _is_plain(order: Any) -> bool:
    return order.exectype == Order.Market and order.parent is None


class _Traded:
    """What a plain order has to know of its feed, looked up once a run."""

    __slots__ = (
        "_tables",
        "_tables_from",
        "_taxes",
        "_taxes_from",
        "adjusted",
        "costs",
        "instrument",
        "is_index",
        "rate",
        "reserve",
        "reserve_at",
        "reserve_price",
        "with_fee",
    )

    def __init__(self, feed: Any, costs: KrxCommInfo, tax_rows: Any) -> None:
        self.costs = costs
        self.rate = costs.p.rate
        self.with_fee = 1.0 + float(self.rate)
        self.instrument = instrument_of(feed)
        self.is_index = self.instrument.product is Product.INDEX
        self.adjusted = is_adjusted(feed)
        self.reserve = self.reserve_price = 0.0
        self.reserve_at = -1.0
        market, product = self.instrument.market, self.instrument.product
        self._tables = tick_tables(market=market, product=product)
        self._tables_from = [table.first for table in self._tables]
        self._taxes_from = [row.trade_from for row in tax_rows]
        if isinstance(costs.p.tax, Fraction):
            self._taxes = [costs.p.tax] * len(self._taxes_from)
        else:
            self._taxes = [
                tax_rate(market=market, product=product, session=day, table=tax_rows)
                for day in self._taxes_from
            ]

    def ticks_on(self, session: date) -> TickTable:
        """Return the price steps in force on a session."""
        return self._tables[bisect_right(self._tables_from, session) - 1]

    def tax_on(self, session: date) -> Fraction:
        """Return the tax on a sale, as a share of its amount."""
        return self._taxes[bisect_right(self._taxes_from, session) - 1]


def _sender(side: Side, otherwise: Any) -> Any:
    """Return the `buy` or `sell` of the broker."""

    # The parameters are those `bt.Strategy` gives: binding them by name is quickest.
    def send(  # noqa: PLR0913, PLR0917
        self: Any,
        owner: Any,
        data: Any,
        size: float,
        price: Any = None,
        plimit: Any = None,
        exectype: Any = None,
        valid: Any = None,
        tradeid: Any = 0,
        oco: Any = None,
        trailamount: Any = None,
        trailpercent: Any = None,
        parent: Any = None,
        transmit: Any = True,
        **info: Any,
    ) -> Any:
        if (
            not exectype
            and price is plimit is valid is oco is parent is None
            and trailamount is trailpercent is None
            and transmit is True
        ):
            order = self._plain(side, owner, data, size, tradeid, info)
            if order is not None:
                return order
        order = otherwise(
            self,
            owner,
            data,
            size,
            price=price,
            plimit=plimit,
            exectype=exectype,
            valid=valid,
            tradeid=tradeid,
            oco=oco,
            trailamount=trailamount,
            trailpercent=trailpercent,
            parent=parent,
            transmit=transmit,
            **info,
        )
        # It may set cash aside, and has asked for the sum before it did.
        self._reserved = None
        return order

    return send


class LeanKrxBroker(KrxBackBroker, LeanBackBroker):
    """`KrxBackBroker` that looks at open positions only."""

    def _begin_run(self, feeds: list[Any]) -> None:
        super()._begin_run(feeds)
        self._pass_time = self._now
        self._record_from = self.p.record_from
        self._on_bar = self.p.on_bar
        self._watches_loss = self.p.risk.max_daily_loss_pct is not None
        # A feed that compensates another trades for it.
        self._takes_plain = (
            self._krx
            and self.p.market_orders != "protected"
            and all(feed._compensate is None for feed in feeds)
        )
        self._traded: dict[Any, _Traded] = {}
        # The won set aside for working buys; None when it has to be added up again.
        self._reserved: float | None = None

    def _end_run(self) -> None:
        super()._end_run()
        for name in _OWN:
            del self.__dict__[name]

    # Bars.

    def begin_pass(self, now: float) -> None:
        """Take the time of the pass from the loop."""
        self._pass_time = now

    def next(self) -> None:
        before = self._now
        if self._unlabelled:
            super()._refresh_now()
            now = self._now
        else:
            now = self._now = self._pass_time
        if self._krx:
            self._next_krx(before)
        else:
            LeanBackBroker.next(self)
            if self._toactivate:
                self._hold_back_children()
            if self._book:
                self._book.forget_ended()
        if now >= self._record_from:
            recorder = self.recorder
            if now == before:
                value = float(self._valuemkt)
                recorder.add_equity(now, float(self.cash), value)
            else:
                recorder.times.append(now)
                recorder.cash.append(self.cash)
                recorder.values.append(self._valuemkt)
        if self._on_bar is not None:
            self._on_bar(now)

    def _next_krx(self, before: float) -> None:
        now, guard = self._now, self._guard
        self._reserved = None
        if int(now) != guard.day:
            guard.begin_bar(now, float(self._value))
        if self._toactivate:
            self._activate(before)
        if self._book:
            self._work_orders()
        # Where nothing is held and nothing has changed the value is the one before.
        if (
            self._held
            or self._valuemkt
            or self._value != self.cash
            or self._cash_addition
        ):
            self._get_value()
        if self._watches_loss:
            guard.watch_loss(now, float(self._value))

    def _held_value(self) -> Any:
        value: Any = 0
        for feed, position in self._held.items():
            value += float(position.size * feed.close[0])
        return value

    def _get_value(self, datas: Any = None, lever: bool = False) -> float:
        if not self._krx or datas is not None or self._cash_addition:
            return super()._get_value(datas, lever)
        self._valuemkt = self._valuemktlever = value = self._held_value()
        self._value = self._valuelever = equity = self.cash + value
        self._fundval = equity / self._fundshares
        return float(equity)

    def _make_order(self, kind: Any, **asked: Any) -> Any:
        return self._orders.make(kind, {**ORDER_DEFAULTS, **asked})

    # Plain orders in.

    buy = _sender(Side.BUY, KrxBackBroker.buy)
    sell = _sender(Side.SELL, KrxBackBroker.sell)

    def _traded_of(self, feed: Any) -> _Traded:
        traded = self._traded.get(feed)
        if traded is None:
            costs = self.getcommissioninfo(feed)
            traded = _Traded(feed, costs, self.p.tax_rows or TAX_TABLE)
            self._traded[feed] = traded
        return traded

    def _reserve(self, feed: Any, traded: _Traded) -> float:
        """Return the won a share of a market buy made now sets aside."""
        if traded.reserve_at != self._pass_time:
            market = self._market
            band = market.coming_band(feed, market.session_for(self._now))
            price = reserve_price(OrderType.MARKET, None, band, float(feed.close[0]))
            traded.reserve_price = price
            traded.reserve = price * traded.with_fee
            traded.reserve_at = self._pass_time
        return traded.reserve

    def unit_cost(self, data: Any) -> float:
        if self._takes_plain and not data._clone:
            traded = self._traded_of(data)
            if not traded.is_index:
                return self._reserve(data, traded)
        return super().unit_cost(data)

    def _plain(
        self,
        side: Side,
        owner: Any,
        feed: Any,
        size: float,
        tradeid: Any,
        info: dict[str, Any],
    ) -> Any:
        """Make and accept a market order; None, and nothing done, if it is not plain.

        It then is one of another kind, or one that is refused.
        """
        if not self._takes_plain or feed._clone or not len(feed):
            return None
        traded, wanted = self._traded_of(feed), abs(size)
        if traded.is_index or not 1 <= wanted < math.inf or info.keys() & _NO_INFO:
            return None
        now, session = self._now, self._market.session_for(self._now)
        quantity, reserve = math.floor(wanted), 0.0
        if side is Side.BUY:
            reserve = self._reserve(feed, traded)
            if quantity * reserve > self.free_cash() or not self._is_within_risk(
                feed, quantity, traded.reserve_price, session
            ):
                return None
        elif quantity > self._sellable(feed):
            return None
        order = self._orders.make_market(
            _KINDS[side], owner, feed, quantity, tradeid, Order.Market
        )
        order.info.update(info)
        self._ocoize(order, None)
        placed = PlacedOrder(
            order=order,
            number=len(self.recorder.orders) + 1,
            symbol=feed._name,
            side=side,
            order_type=OrderType.MARKET,
            quantity=quantity,
            limit_price=None,
            stop_price=None,
            reason=str(info.get("reason", "") or ""),
            created=now,
            session=session,
            expires=self._market.close_number(session),
            reserve=reserve,
            tried=order.created.dt,
            group=("oco", order.ref),
        )
        self.recorder.orders.append(placed)
        self.recorder.decisions.append(
            Decision(
                bar=now,
                symbol=feed._name,
                action=side.value,
                reason=placed.reason,
                result="accepted",
                indicators=self._indicators(owner, feed),
                order_number=placed.number,
            )
        )
        self._book.add(placed)
        if self._reserved is not None:
            self._reserved += quantity * reserve
        self._guard.count_order(session, now)
        order.comminfo = traded.costs
        self._accept_plain(order)
        return order

    def _is_within_risk(
        self, feed: Any, quantity: int, reserve: float, session: date
    ) -> bool:
        prepared = Sendable(
            side=Side.BUY,
            order_type=OrderType.MARKET,
            quantity=quantity,
            limit_price=None,
            stop_price=None,
            reserve_price=reserve,
        )
        try:
            self._guard.check(
                prepared,
                feed,
                session=session,
                now=self._now,
                equity=float(self._value),
                held=int(self.positions[feed].size),
                book=self._book,
            )
        except RiskRefused:
            return False
        return True

    def _sellable(self, feed: Any) -> int:
        held = int(self.positions[feed].size)
        return held - self._book.promised_shares(feed) if self._book else held

    def free_cash(self) -> float:
        if not self._book:
            return float(self.cash)
        if self._reserved is None:
            self._reserved = self._book.reserved_cash()
        return float(self.cash) - self._reserved

    def cancel(self, order: Any, bracket: bool = False) -> bool:
        self._reserved = None
        return super().cancel(order, bracket)

    def _accept_plain(self, order: Any) -> None:
        """Do what `Order.submit`, `submit`, `transmit` and `submit_accept` do."""
        order.plen = len(order.data)
        order.status, order.broker = Order.Submitted, self
        self.notifs.append(clone(order))
        self._pchildren[order.ref].append(order)
        order.pannotated = None
        order.status, order.broker = Order.Accepted, None
        self.pending.append(order)
        self.notifs.append(clone(order))

    # Plain orders on a bar.

    def _work_orders(self) -> None:
        ends = self._book.earliest_end()
        if ends < self._now:
            self._expire(lambda expires: expires < self._now)
        self._match_all()
        if ends <= self._now and self.pending:
            self._expire(lambda expires: expires <= self._now)
        self._book.forget_ended()

    def _match_all(self) -> None:
        pending = self.pending
        if not self._takes_plain or not all(map(_is_plain, pending)):
            super()._match_all()
            return
        pending.append(None)
        while (order := pending.popleft()) is not None:
            self._try_plain(order)
            if order.alive():
                pending.append(order)
            elif order.status == Order.Completed:
                self._bracketize(order)
                self._hold_back_children()

    def _try_plain(self, order: Any) -> None:
        placed, feed = self._book.get(order), order.data
        bar = feed.datetime[0]
        if placed is None or bar <= placed.tried:
            self._try_exec(order)
            return
        if placed.side is Side.SELL:
            held = self.positions[feed].size
            if held < -order.executed.remsize:
                self._try_exec(order)
                return
        placed.tried = bar
        self._match_plain(order, placed, feed, bar)

    def _match_plain(
        self, order: Any, placed: PlacedOrder, feed: Any, bar: float
    ) -> None:
        """Do what `_match` and `_execute` do for a market order."""
        open_, high, low = feed.open[0], feed.high[0], feed.low[0]
        session, side = session_of(bar), placed.side
        if high == low and self._market.crowded(feed, session) is side:
            return
        remaining = abs(order.executed.remsize)
        at, used = self._volume_used.get(feed, (0.0, 0))
        used = used if at == bar else 0
        share = self.p.volume_share
        quantity = fillable_quantity(int(remaining), feed.volume[0], share, used)
        self._volume_used[feed] = (bar, used + quantity)
        if quantity <= 0:
            return
        traded, ticks = self._traded_of(feed), self.p.slippage_ticks
        price = open_
        if ticks:
            table = traded.ticks_on(session)
            signed = ticks if side is Side.BUY else -ticks
            if not traded.adjusted or table.holds(open_):
                price = float(table.moved(open_, signed))
            else:
                price = open_ + signed * table.ticks[table.band(open_)]
            price = min(price, high) if side is Side.BUY else max(price, low)
        self._quantity, self._slipped = quantity, abs(price - open_)
        traded.costs.session = session
        if not self._fill_plain(order, placed, traded, quantity, price):
            self._execute(order, ago=0, price=price)

    def _fill_plain(
        self,
        order: Any,
        placed: PlacedOrder,
        traded: _Traded,
        quantity: int,
        price: float,
    ) -> bool:
        """Book a fill as `LeanBackBroker._book_fill` does.

        Returns:
            False, and nothing is done, where cash is short.
        """
        feed, costs = order.data, traded.costs
        position = self.positions[feed]
        held, before, amount = position.size, position.price, quantity * price
        fee = commission(amount, traded.rate)
        if placed.side is Side.BUY:
            size, tax, gain = quantity, 0, 0 * (price - before)
            cash = self.cash - amount - float(fee)
            if cash < 0.0:
                return False
            position.adjbase = price
            part = 0, 0.0, 0.0, size, amount, float(fee)
        else:
            tax = commission(amount, traded.tax_on(costs.session))
            size, gain = -quantity, quantity * (price - before)
            worth = quantity * before
            cash = self.cash + (worth + gain) - float(fee + tax)
            part = size, worth, float(fee + tax), 0, 0.0, 0.0
        self.cash = cash
        self._dirty = True
        bar = feed.datetime[0]
        position.update(size, price, feed.datetime.datetime())
        order.execute(
            bar, size, price, *part, costs.margin, gain, held + size, position.price
        )
        self.notifs.append(clone(order))
        alive = bool(order.executed.remsize)
        if alive or self._ocol.get(order.ref) != [order.ref]:
            self._ococheck(order)
        else:
            del self._ocol[order.ref]  # a group of its own
        if position.size:
            self._held[feed] = position
        else:
            self._held.pop(feed, None)
            lost = order.executed.pnl < order.executed.comm
            self._guard.count_round_trip(session_of(bar), lost=lost)
        self.recorder.fills.append(
            Execution(
                bar=bar,
                symbol=placed.symbol,
                side=placed.side,
                quantity=quantity,
                price=price,
                commission=float(fee),
                tax=float(tax),
                slippage=self._slipped * quantity,
                order_number=placed.number,
            )
        )
        self._slipped = 0.0
        if alive and self._ocol.get(order.ref) != [order.ref]:
            self._cut_siblings(order, quantity)
        return True
