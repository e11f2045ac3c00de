"""`KrxBackBroker` for one run of the loop: plain market orders in one go.

Most orders of most strategies are plain ones: at the market, on their own, good for
their session. For these the rules of `KrxBackBroker` are done here without the
objects it hands from rule to rule. Every other order, and a plain one that some rule
refuses, goes its way.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from backtrader import Order
from backtrader.order import BuyOrder, SellOrder

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.engine.brokers import LeanBackBroker
from kisbt.bt.engine.late import LateLines, late_lines
from kisbt.bt.engine.orders import (
    ORDER_DEFAULTS,
    accept_at_once,
    clone,
    fill,
)
from kisbt.bt.engine.traded import Traded
from kisbt.bt.market import coming_base, session_of
from kisbt.bt.recorder import Decision, Execution, PlacedOrder
from kisbt.bt.snapshot import indicator_lines
from kisbt.errors import RiskRefused
from kisbt.krx.fees import TAX_TABLE, commission
from kisbt.krx.matching import fillable_quantity
from kisbt.model.order import OrderType, Side
from kisbt.orders.risk import RiskLimits

# Keywords that mean something to a broker and are no info of an order.
_NO_INFO = frozenset({"histnotify", "_checksubmit"})
_OWN = (
    "_pass_time",
    "_has_limits",
    "_asked",
    "_takes_plain",
    "_late",
    "_traded",
    "_reserved",
)


class _MarketBuy:
    """What the risk guard asks of a `Sendable`, for market buys."""

    __slots__ = ("quantity",)

    side = Side.BUY
    limit_price = None


def _is_plain(order: Any) -> bool:
    return order.exectype == Order.Market and order.parent is None


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
            make = self._plain if self._krx else self._free
            order = make(side, owner, data, size, tradeid, exectype, info)
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
        limits = self.p.risk
        self._has_limits = limits != RiskLimits()
        self._asked = _MarketBuy()
        # A feed that compensates another trades for it.
        self._takes_plain = (
            self._krx
            and self.p.market_orders != "protected"
            and all(feed._compensate is None for feed in feeds)
        )
        self._late: dict[Any, dict[Any, LateLines | None]] = {}
        self._traded: dict[Any, Traded] = {}
        # The won set aside for working buys; None when it has to be added up again.
        self._reserved: float | None = None

    def _end_run(self) -> None:
        super()._end_run()
        for name in _OWN:
            del self.__dict__[name]

    # Bars.

    def make_pass(self) -> Callable[[float], None]:
        """Return what does the broker's part of a pass, given its time."""
        # Local names: each look-up saved is saved on every bar.
        match = self._make_match() if self._krx else self._match_free
        record_from, on_bar, recorder = self.p.record_from, self.p.on_bar, self.recorder
        add_time, add_cash = recorder.times.append, recorder.cash.append
        add_value, unlabelled = recorder.values.append, self._unlabelled

        def one_pass(now: float) -> None:
            before = self._now
            self._pass_time = now
            if unlabelled:
                self._refresh_now()
                now = self._now
            else:
                self._now = now
            match(before, now)
            if now >= record_from:
                if now == before:
                    value = float(self._valuemkt)
                    recorder.add_equity(now, float(self.cash), value)
                else:
                    add_time(now)
                    add_cash(self.cash)
                    add_value(self._valuemkt)
            if on_bar is not None:
                on_bar(now)

        return one_pass

    def next(self) -> None:
        self.make_pass()(self._pass_time)

    def _match_free(self, _before: float, _now: float) -> None:
        LeanBackBroker.next(self)
        if self._toactivate:
            self._hold_back_children()
        if self._book:
            self._book.forget_ended()

    def _make_match(self) -> Callable[[float, float], None]:
        guard, book, held = self._guard, self._book, self._held
        limit = self.p.risk.max_daily_loss_pct
        watches_loss = limit is not None
        # Above this share of the day's first value a halt is far: the usual bar.
        is_far, share = watches_loss and limit > 0.0, 1.0 - (limit or 0.0) / 100.0

        def match(before: float, now: float) -> None:
            self._reserved = None
            day = int(now)
            if day != guard.day:  # as `begin_bar`
                guard.day, guard.day_start_equity = day, float(self._value)
            if self._toactivate:
                self._activate(before)
            if book.orders:
                self._work_orders()
            # With nothing held and nothing changed the value is the one before.
            if (
                held
                or self._valuemkt
                or self._valuelever != self.cash
                or self._cash_addition
            ):
                self._get_value()
            if watches_loss and not (
                is_far and self._value > guard.day_start_equity * share
            ):
                guard.watch_loss(now, float(self._value))

        return match

    def _get_value(self, datas: Any = None, lever: bool = False) -> float:
        if not self._krx or datas is not None or self._cash_addition:
            return super()._get_value(datas, lever)
        value: Any = 0
        for feed, position in self._held.items():
            value += float(position.size * feed.close[0])
        self._valuemkt = self._valuemktlever = value
        self._value = self._valuelever = equity = self.cash + value
        self._fundval = equity / self._fundshares
        return float(equity)

    def _make_order(self, kind: Any, **asked: Any) -> Any:
        return self._orders.make(kind, {**ORDER_DEFAULTS, **asked})

    # Plain orders in.

    buy = _sender(Side.BUY, KrxBackBroker.buy)
    sell = _sender(Side.SELL, KrxBackBroker.sell)

    def _traded_of(self, feed: Any) -> Traded:
        traded = self._traded.get(feed)
        if traded is None:
            costs = self.getcommissioninfo(feed)
            traded = Traded(feed, costs, self.p.tax_rows or TAX_TABLE)
            self._traded[feed] = traded
        return traded

    def _reserve(self, feed: Any, traded: Traded) -> float:
        """Return the won a share of a market buy made now sets aside."""
        if traded.reserve_at != self._pass_time:
            session = self._market.session_for(self._now)
            # As `reserve_price` of a market order.
            upper = traded.upper_on(session, coming_base(feed, session))
            price = float(feed.close[0] if upper is None else upper)
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
        _exectype: Any,
        info: dict[str, Any],
    ) -> Any:
        """Make and accept a market order; None, and nothing done, if it is not plain.

        It then is one of another kind, or one that is refused.
        """
        wanted = abs(size)
        if not self._takes_plain or feed._clone or not 1 <= wanted < math.inf:
            return None
        if not len(feed) or (info and not _NO_INFO.isdisjoint(info)):
            return None
        traded = self._traded_of(feed)
        if traded.is_index:
            return None
        now = self._now
        session, close = self._market.coming_session(now)
        quantity, reserve = math.floor(wanted), 0.0
        if side is Side.BUY:
            reserve = self._reserve(feed, traded)
            refused = quantity * reserve > self.free_cash() or (
                self._has_limits and not self._is_within_risk(feed, quantity, session)
            )
        else:
            refused = quantity > self._sellable(feed)
        if refused:
            return None
        kind = BuyOrder if side is Side.BUY else SellOrder
        order = self._orders.make_market(
            kind, owner, feed, quantity, tradeid, Order.Market
        )
        placed = self._note_plain(order, side, quantity, info)
        placed.session, placed.reserve = session, reserve
        placed.expires = close
        if self._reserved is not None:
            self._reserved += quantity * reserve
        self._guard.count_order(session, now)
        order.comminfo = traded.costs
        self._pchildren[order.ref] = deque((order,))
        self.notifs.extend(accept_at_once(order, self))
        self.pending.append(order)
        return order

    def _free(
        self,
        side: Side,
        owner: Any,
        feed: Any,
        size: float,
        tradeid: Any,
        exectype: Any,
        info: dict[str, Any],
    ) -> Any:
        """Make and submit a market order without exchange rules; None if not plain."""
        wanted = abs(size)
        if feed._clone or not wanted < math.inf or not len(feed):
            return None
        if info and not _NO_INFO.isdisjoint(info):
            return None
        kind = BuyOrder if side is Side.BUY else SellOrder
        order = self._orders.make_market(kind, owner, feed, wanted, tradeid, exectype)
        self._note_plain(order, side, int(wanted), info)
        return self.submit(order)

    def _note_plain(
        self, order: Any, side: Side, quantity: int, info: dict[str, Any]
    ) -> PlacedOrder:
        """Write a new market order down, as `_ocoize` and `_write_down` do."""
        feed, ref, recorder = order.data, order.ref, self.recorder
        for name, value in info.items():
            order.info[name] = value
        self._ocos[ref] = ref
        self._ocol[ref] = [ref]
        orders, reason = recorder.orders, str(info.get("reason", "") or "")
        symbol, number = feed._name, len(orders) + 1
        placed = PlacedOrder(
            order=order,
            number=number,
            symbol=symbol,
            side=side,
            order_type=OrderType.MARKET,
            quantity=quantity,
            limit_price=None,
            stop_price=None,
            reason=reason,
            created=self._now,
            tried=order.created.dt,
            group=("oco", ref),
        )
        orders.append(placed)
        recorder.decisions.append(
            Decision(
                bar=self._now,
                symbol=symbol,
                action=side._value_,  # `value` is a property, and slower
                reason=reason,
                result="accepted",
                indicators=self._indicators(order.owner, feed),
                order_number=number,
            )
        )
        self._book.add(placed)
        return placed

    def _indicators(self, owner: Any, feed: Any) -> Mapping[str, float]:
        if owner is None or not len(feed):
            return {}
        known = self._late.get(owner)
        if known is None:
            self._lines[owner] = lines = indicator_lines(owner)
            known = {of: late_lines(named) for of, named in lines.items()}
            self._late[owner] = known
        late = known.get(feed)
        if late is not None:
            return late.now()
        found: Mapping[str, float] = super()._indicators(owner, feed)
        return found

    def _is_within_risk(self, feed: Any, quantity: int, session: date) -> bool:
        guard, book, now = self._guard, self._book, self._now
        equity, held = float(self._value), int(self.positions[feed].size)
        if guard.clearly_allows(
            quantity,
            feed,
            session=session,
            now=now,
            equity=equity,
            held=held,
            book=book,
        ):
            return True
        asked: Any = self._asked
        asked.quantity = quantity
        try:
            guard.check(
                asked,
                feed,
                session=session,
                now=now,
                equity=equity,
                held=held,
                book=book,
            )
        except RiskRefused:
            return False
        return True

    def _sellable(self, feed: Any) -> int:
        held = int(self.positions[feed].size)
        return held - self._book.promised_shares(feed) if self._book.orders else held

    def free_cash(self) -> float:
        if not self._book.orders:
            return float(self.cash)
        if self._reserved is None:
            self._reserved = self._book.reserved_cash()
        return float(self.cash) - self._reserved

    def cancel(self, order: Any, bracket: bool = False) -> bool:
        self._reserved = None
        return super().cancel(order, bracket)

    # Plain orders on a bar.

    def _work_orders(self) -> None:
        ends, now = self._book.earliest_end(), self._now
        if ends < now:
            self._expire(lambda expires: expires < now)
        self._match_all()
        if ends <= now and self.pending:
            self._expire(lambda expires: expires <= now)
        self._book.forget_ended()

    def _match_all(self) -> None:
        pending = self.pending
        if not self._takes_plain or not all(map(_is_plain, pending)):
            super()._match_all()
            return
        pending.append(None)
        while (order := pending.popleft()) is not None:
            self._try_plain(order)
            if order.status == Order.Completed:
                self._bracketize(order)
                if self._toactivate:
                    self._hold_back_children()
            elif order.alive():
                pending.append(order)

    def _try_exec(self, order: Any) -> None:
        if self._krx or order.exectype != Order.Market or not self._plain_market:
            super()._try_exec(order)
            return
        placed, feed = self._book.get(order), order.data
        bar = feed.datetime[0]
        if placed is not None:
            if bar <= placed.tried:
                return
            placed.tried = bar
        if bar > order.created.dt:
            self._execute(order, ago=0, price=feed.open[0])

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
        traded: Traded,
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
            parts = (0, 0.0, 0.0, gain), (size, amount, float(fee))
        else:
            tax = commission(amount, traded.tax_on(costs.session))
            size, gain = -quantity, quantity * (price - before)
            worth = quantity * before
            cash = self.cash + (worth + gain) - float(fee + tax)
            parts = (size, worth, float(fee + tax), gain), (0, 0.0, 0.0)
        self.cash = cash
        self._dirty = True
        bar = feed.datetime[0]
        position.update(size, price, feed.datetime.datetime())
        after = held + size, position.price
        fill(order, bar, size, price, parts, after, costs.margin)
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
            self._guard.count_round_trip(costs.session, lost=lost)
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
