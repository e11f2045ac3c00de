"""KrxBackBroker: backtrader's backtest broker under the rules of the exchange.

What differs from `BackBroker`:

- an order is checked when it is made (`krx.sendable`, then the risk guard) and
  cash is set aside for it until it has ended; nothing can be sold short;
- an order is matched once per bar of its own feed, never on the bar on which it
  was made, and a bar's volume is used once;
- an order lives for one session, the first after it was made; it expires after
  that session's last bar and before the strategy sees it;
- market-like fills slip by ticks inside the bar's range; fills take at most a
  share of the bar's volume; a bar locked at a limit does not fill the crowd;
- commission and tax are whole won per fill at the rates of the trade date.

With ``rules="none"`` only the matching guard is left: everything else is stock.
"""

import math
from dataclasses import replace
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import backtrader as bt
from backtrader import Order
from backtrader.brokers.bbroker import BackBroker
from backtrader.order import BuyOrder, SellOrder

from kisbt.bt.book import OrderBook, shrink
from kisbt.bt.comminfo import KrxCommInfo
from kisbt.bt.guard import RiskGuard
from kisbt.bt.mapping import (
    EXEC_TYPES,
    ORDER_TYPES,
    TRAILS,
    limit_and_stop,
    price_and_plimit,
    session_validity,
    traded_feed,
)
from kisbt.bt.market import (
    Market,
    ends_with_session,
    instrument_of,
    market_value,
    on_grid,
    session_of,
    to_kst,
)
from kisbt.bt.recorder import Decision, Execution, PlacedOrder, Recorder
from kisbt.bt.snapshot import NamedLine, current_values, indicator_lines
from kisbt.errors import ConfigError, MarketRuleError, RiskRefused
from kisbt.krx.calendar import default_calendar
from kisbt.krx.fees import parse_commission
from kisbt.krx.matching import Terms, fillable_quantity, match_candle, slipped_price
from kisbt.krx.sendable import Sendable, Standing, sendable, unit_cost
from kisbt.krx.ticks import round_down_to_tick, round_up_to_tick
from kisbt.model.instrument import Product
from kisbt.model.order import OrderRequest, OrderType, Side
from kisbt.orders.risk import RiskLimits
from kisbt.text import _

_CLASSES = {Side.BUY: BuyOrder, Side.SELL: SellOrder}


class KrxBackBroker(BackBroker):
    """Backtest broker with Korean market rules.

    Use it like any broker: ``cerebro.setbroker(KrxBackBroker(cash=10_000_000))``.
    Feeds should be `CandleFeed`; any other feed is taken as a KOSPI stock of its
    name with unadjusted prices.

    Params:
        rules: ``krx``, or ``none`` for backtrader's own semantics; then only
            `commission` (a rate) is used of what follows.
        commission: ``bankis`` or a rate of the amount.
        tax: ``krx``, ``none`` or a rate of sales.
        slippage_ticks: price steps lost on market-like fills.
        volume_share: part of a bar's volume own orders may take; None for all.
        market_orders: ``market``, or ``protected`` for limits 3 % through the
            last price.
        risk: limits of the risk guard.
        calendar: sessions; the exchange's own if None.
        tax_rows: dated tax rows that replace the built-in ones.
        record_from: date number of the first tradable bar; equity is recorded
            from there on.
        on_bar: called with the date number of each bar.
    """

    params: Any = (
        ("rules", "krx"),
        ("commission", "bankis"),
        ("tax", "krx"),
        ("slippage_ticks", 1),
        ("volume_share", 0.1),
        ("market_orders", "market"),
        ("risk", RiskLimits()),
        ("calendar", None),
        ("tax_rows", None),
        ("record_from", -math.inf),
        ("on_bar", None),
    )

    # Set up.

    def init(self) -> None:
        """Reset all state; backtrader calls it when built and when started."""
        super().init()
        self._krx = _follows_exchange(self.p.rules)
        if self.comminfo.get(None) is self.p.commission:
            # BackBroker keeps its default CommInfo under this parameter's name.
            rate = parse_commission(self.p.commission, Product.STOCK)
            self.comminfo[None] = bt.CommInfoBase(commission=float(rate), percabs=True)
        self.recorder = Recorder()
        self._market = Market(self.p.calendar or default_calendar())
        self._book = OrderBook()
        self._guard = RiskGuard(self.p.risk, float(self.p.cash))
        self._costs: dict[Any, KrxCommInfo] = {}
        self._held: dict[Any, Any] = {}
        self._volume_used: dict[Any, tuple[float, int]] = {}
        self._lines: dict[Any, dict[Any, tuple[NamedLine, ...]]] = {}
        self._now = 0.0
        self._clocks: list[Any] = []
        self._unlabelled: list[Any] = []
        self._quantity = 0
        self._slipped = 0.0
        if self._krx:
            self.p.checksubmit = False
            self.p.filler = self._decided_quantity

    def start(self) -> None:
        """Begin a run."""
        super().start()
        feeds = self.cerebro.datas
        self._unlabelled = [f for f in feeds if self._krx and ends_with_session(f)]
        # By identity: `in` would compare feeds, which makes a line of comparisons.
        known = set(map(id, self._unlabelled))
        self._clocks = [f.lines.datetime for f in feeds if id(f) not in known]
        if self._krx and (self.p.coc or self.p.coo):
            raise ConfigError(
                _(
                    "cheat-on-open and cheat-on-close are not possible under "
                    "exchange rules; switch them off or use broker.rules: none"
                ),
                path="broker.rules",
            )

    def setcommission(self, *args: Any, **kwargs: Any) -> None:
        self._only_without_rules()
        super().setcommission(*args, **kwargs)

    def addcommissioninfo(self, comminfo: Any, name: Any = None) -> None:
        self._only_without_rules()
        super().addcommissioninfo(comminfo, name)

    def _only_without_rules(self) -> None:
        if self._krx:
            raise ConfigError(
                _(
                    "with exchange rules the commission is a parameter: "
                    "KrxBackBroker(commission=0.00015)"
                ),
                path="broker.commission",
            )

    # What a strategy may ask: see also kisbt.bt.sizers.

    def getcommissioninfo(self, data: Any) -> Any:
        if not self._krx:
            return super().getcommissioninfo(data)
        costs = self._costs.get(data)
        if costs is None:
            instrument = instrument_of(data)
            tax = self.p.tax
            costs = self._costs[data] = KrxCommInfo(
                instrument=instrument,
                rate=parse_commission(self.p.commission, instrument.product),
                tax=tax if tax == "krx" else _tax_rate(tax),
                tax_rows=self.p.tax_rows,
            )
        return costs

    def getposition(self, data: Any) -> Any:
        """Return the position of the feed, or of the feed behind a clone."""
        return self.positions[traded_feed(data) if data._clone else data]

    def free_cash(self) -> float:
        """Return the won not set aside for working orders."""
        return float(self.cash) - self._book.reserved_cash()

    def unit_cost(self, data: Any) -> float:
        """Return the won that one share of a market buy made now sets aside."""
        feed = traded_feed(data)
        if not self._krx:
            commission = self.getcommissioninfo(feed).p.commission
            return float(feed.close[0]) * (1.0 + float(commission))
        standing = replace(self._standing(feed, Side.BUY), free_cash=math.inf)
        request = OrderRequest(symbol=feed._name, side=Side.BUY, quantity=1)
        return unit_cost(sendable(request, standing).reserve_price, standing.fee)

    def current_bar(self) -> str:
        """Return the END of the last bar as text, "" before the first."""
        return f"{to_kst(self._now):%Y-%m-%d %H:%M}" if self._now else ""

    def note_skipped(self, owner: Any, data: Any, reason: str) -> None:
        """Write down an entry the strategy passed over, and why."""
        self._decide(owner, traded_feed(data), "skip", reason, "skipped", None)

    # Orders in.

    def buy(self, owner: Any, data: Any, size: float, **kwargs: Any) -> Any:
        return self._place(Side.BUY, owner, data, size, kwargs)

    def sell(self, owner: Any, data: Any, size: float, **kwargs: Any) -> Any:
        return self._place(Side.SELL, owner, data, size, kwargs)

    def _place(
        self, side: Side, owner: Any, data: Any, size: float, asked: dict[str, Any]
    ) -> Any:
        """Make an order of backtrader's arguments and send it, or refuse it."""
        feed = traded_feed(data)
        check = asked.pop("_checksubmit", True)
        oco, parent = asked.pop("oco", None), asked.get("parent")
        request = _request(feed, side, size, asked)
        prepared: Sendable | None = None
        refusal: MarketRuleError | RiskRefused | None = None
        if self._krx:
            try:
                prepared = self._checked(request, feed, parent=parent, oco=oco)
            except (MarketRuleError, RiskRefused) as error:
                refusal = error
            else:
                size = prepared.quantity
                asked["exectype"] = EXEC_TYPES[prepared.order_type]
                asked["price"], asked["plimit"] = price_and_plimit(
                    prepared, asked.get("price")
                )
            asked["valid"] = session_validity(asked.get("valid"))
        order = _order(self._make_order, side, owner, feed, size, asked)
        self._ocoize(order, oco)
        placed = self._write_down(order, request, prepared, owner, refusal)
        if refusal is not None:
            self._refuse(order, placed, refusal)
            return order
        self._book.add(placed)
        if prepared is None:
            return self.submit(order, check=check)
        return self._accept(order, placed, prepared)

    def _make_order(self, kind: Any, **asked: Any) -> Any:
        return kind(**asked)

    def _checked(
        self, request: OrderRequest, feed: Any, *, parent: Any, oco: Any
    ) -> Sendable:
        """Return the order as it may be sent, or raise why not."""
        if not len(feed):
            raise MarketRuleError(
                _("{symbol} has no candle yet").format(symbol=request.symbol),
                rule="price",
            )
        standing = self._standing(feed, request.side, beside=self._group_of(oco))
        if parent is not None:
            if not self._works(parent):
                raise MarketRuleError(
                    _("the order it belongs to has ended or was refused"),
                    rule="bracket",
                )
            # A bracket's exits sell what its parent has yet to buy.
            standing = replace(standing, free_cash=math.inf, sellable=None)
        prepared = sendable(request, standing)
        if parent is None:
            self._guard.check(
                prepared,
                feed,
                session=standing.session,
                now=self._now,
                equity=float(self._value),
                held=int(self.positions[feed].size),
                book=self._book,
            )
        return prepared

    def _group_of(self, oco: Any) -> object:
        """Return the group a new leg joins; None for an order on its own."""
        return None if oco is None else ("oco", self._ocos.get(oco.ref))

    def _standing(self, feed: Any, side: Side, *, beside: object = None) -> Standing:
        session = self._market.session_for(self._now)
        sellable = None
        if side is Side.SELL:
            promised = self._book.promised_shares(feed, beside=beside)
            sellable = int(self.positions[feed].size) - promised
        return Standing(
            instrument=instrument_of(feed),
            session=session,
            last_price=float(feed.close[0]),
            band=self._market.coming_band(feed, session),
            fee=self.getcommissioninfo(feed).p.rate,
            free_cash=self.free_cash(),
            sellable=sellable,
            protect_market_orders=self.p.market_orders == "protected",
        )

    def _write_down(
        self,
        order: Any,
        request: OrderRequest,
        prepared: Sendable | None,
        owner: Any,
        refusal: Exception | None,
    ) -> PlacedOrder:
        sent: OrderRequest | Sendable = prepared or request
        placed = PlacedOrder(
            order=order,
            number=len(self.recorder.orders) + 1,
            symbol=request.symbol,
            side=request.side,
            order_type=sent.order_type,
            quantity=int(sent.quantity) if math.isfinite(sent.quantity) else 0,
            limit_price=sent.limit_price,
            stop_price=sent.stop_price,
            reason=str(order.info.get("reason", "") or ""),
            created=self._now,
            tried=order.created.dt,
        )
        if order.parent is not None:
            placed.group = ("bracket", order.parent.ref)
        else:
            placed.group = ("oco", self._ocos[order.ref])
        self.recorder.orders.append(placed)
        result = "accepted" if refusal is None else str(refusal)
        action = request.side.value
        self._decide(owner, order.data, action, placed.reason, result, placed.number)
        return placed

    def _decide(
        self,
        owner: Any,
        feed: Any,
        action: str,
        reason: str,
        result: str,
        number: int | None,
    ) -> None:
        self.recorder.decisions.append(
            Decision(
                bar=self._now,
                symbol=feed._name,
                action=action,
                reason=reason,
                result=result,
                indicators=self._indicators(owner, feed),
                order_number=number,
            )
        )

    def _indicators(self, owner: Any, feed: Any) -> Any:
        if owner is None or not len(feed):
            return {}
        lines = self._lines.get(owner)
        if lines is None:
            lines = self._lines[owner] = indicator_lines(owner)
        return current_values(lines.get(feed, ()))

    def _refuse(
        self,
        order: Any,
        placed: PlacedOrder,
        refusal: MarketRuleError | RiskRefused,
    ) -> None:
        order.addcomminfo(self.getcommissioninfo(order.data))
        order.submit(self)
        self.notify(order)
        self._end(
            placed, str(refusal), Order.Margin if refusal.rule == "cash" else None
        )
        group = self._ocol.get(self._ocos[order.ref])
        if group and order.ref in group:
            group.remove(order.ref)  # the other legs stay alive
        if order.parent is not None:
            self._refuse_unsent_bracket(order.parent)

    def _refuse_unsent_bracket(self, parent: Any) -> None:
        """End a bracket not yet sent of which one exit cannot be sent."""
        if parent.ref in self._pchildren and not self._is_pending(parent):
            for order in self._pchildren.pop(parent.ref):
                placed = self._book.get(order)
                if placed is not None:
                    self._end(placed, _("another order of its bracket was refused"))

    def _end(self, placed: PlacedOrder, why: str, status: int | None = None) -> None:
        """Mark an order as refused (or `status`), say why, and forget it."""
        order = placed.order
        placed.end_reason = why
        order.addinfo(reject=why)
        if status == Order.Margin:
            order.margin()
        else:
            order.reject(self)
        self.notify(order)
        self._book.remove(order)

    def _accept(self, order: Any, placed: PlacedOrder, prepared: Sendable) -> Any:
        session = self._market.session_for(self._now)
        costs = self.getcommissioninfo(order.data)
        order.addcomminfo(costs)
        placed.reserve = unit_cost(prepared.reserve_price, costs.p.rate)
        if order.parent is None:
            self._live_in(placed, session)
        self._guard.count_order(session, self._now)
        order.submit(self)
        self.notify(order)
        if order.parent is not None and self._is_pending(order.parent):
            # BackBroker would send the working parent once more.
            self._pchildren[order.parent.ref].append(order)
            self.transmit(order, check=False)
        else:
            self.submit(order, check=False)
        return order

    def _live_in(self, placed: PlacedOrder, session: date) -> None:
        placed.session = session
        placed.expires = self._market.close_number(session)

    def _works(self, order: Any) -> bool:
        """Return whether an order, or the one it is a copy of, can still fill."""
        placed = self._book.get(order)
        return placed is not None and bool(placed.order.alive())

    def _is_pending(self, order: Any) -> bool:
        return any(o is not None and o.ref == order.ref for o in self.pending)

    def cancel(self, order: Any, bracket: bool = False) -> bool:
        """Cancel a working order, named by itself or by a clone of it."""
        for original in self.pending:
            if original is not None and original.ref == order.ref:
                return bool(super().cancel(original, bracket))
        return self._krx and self._cancel_unsent(order)

    def _cancel_unsent(self, order: Any) -> bool:
        """Cancel a part of a bracket not yet sent; with the entry goes the rest."""
        entry = order.ref if order.parent is None else order.parent.ref
        waiting = self._pchildren.get(entry)
        if not waiting:
            return False
        with_rest = entry == order.ref
        ended = [
            part
            for part in waiting
            if part.status == Order.Submitted and (with_rest or part.ref == order.ref)
        ]
        if ended and with_rest:
            del self._pchildren[entry]
        for part in ended:
            waiting.remove(part)
            part.cancel()
            self.notify(part)
        return bool(ended)

    # Bars.

    def next(self) -> None:
        """Match working orders against the bars of this pass."""
        before = self._now
        self._refresh_now()
        if self._krx:
            self._next_krx(before)
        else:
            super().next()
            self._hold_back_children()
            self._book.forget_ended()
        if self._now >= self.p.record_from:
            positions_value = float(self._valuemkt)
            self.recorder.add_equity(self._now, float(self.cash), positions_value)
        if self.p.on_bar is not None:
            self.p.on_bar(self._now)

    def _next_krx(self, before: float) -> None:
        if self._now != before:
            # The value was last computed at the bar before.
            self._guard.begin_bar(self._now, float(self._value))
        self._activate(before)
        if self._book:
            self._work_orders()
        self._guard.watch_loss(self._now, self._get_value())

    def _work_orders(self) -> None:
        self._expire(lambda expires: expires < self._now)
        self._match_all()
        self._expire(lambda expires: expires <= self._now)
        self._book.forget_ended()

    def _refresh_now(self) -> None:
        """Set the time of this pass: the latest bar any feed has delivered."""
        now = self._now
        for line in self._clocks:
            if line.lencount and line[0] > now:
                now = line[0]
        for feed in self._unlabelled:
            if len(feed):
                now = max(now, self._market.bar_end(feed))
        self._now = now

    def _activate(self, filled_at: float) -> None:
        """Let a bracket's exits work once their parent has filled."""
        while self._toactivate:
            order = self._toactivate.popleft()
            placed = self._book.get(order)
            if placed is not None and order.alive():
                order.activate()
                self._live_in(placed, self._market.session_for(filled_at))

    def _expire(self, over: Any) -> None:
        for placed in self._book.live():
            if over(placed.expires) and placed.order.active():
                self._expire_order(placed)

    def _expire_order(self, placed: PlacedOrder) -> None:
        order = placed.order
        if not self._is_pending(order):
            return
        self.pending.remove(order)
        order.status = Order.Expired
        order.executed.dt = self._now
        placed.end_reason = _("not filled in its session {session}").format(
            session=placed.session
        )
        self.notify(order)
        if order.parent is None:
            if order.executed.size:
                self._protect_partial(order)
            else:
                self._bracketize(order, cancel=True)

    def _protect_partial(self, parent: Any) -> None:
        """Let the exits of an expired parent guard the part that it bought."""
        children = self._pchildren.get(parent.ref, ())
        for child in children:
            if child.ref != parent.ref:
                shrink(child, int(abs(parent.executed.size)))
                self._toactivate.append(child)
        self._hold_back_children()

    def _hold_back_children(self) -> None:
        """Keep exits from being matched on the bar that filled their parent."""
        for child in self._toactivate:
            placed = self._book.get(child)
            if placed is not None:
                placed.tried = max(placed.tried, child.data.lines.datetime[0])

    def _match_all(self) -> None:
        # As BackBroker: the order that is matched stands outside `pending`, so
        # that one-cancels-other does not find it.
        self.pending.append(None)
        while (order := self.pending.popleft()) is not None:
            if order.expire():
                self.notify(order)
                self._ococheck(order)
                self._bracketize(order, cancel=True)
                continue
            if order.active():
                self._try_exec(order)
            if order.alive():
                self.pending.append(order)
            elif order.status == Order.Completed:
                self._bracketize(order)
                self._hold_back_children()

    def _try_exec(self, order: Any) -> None:
        placed = self._book.get(order)
        feed = order.data
        bar = feed.lines.datetime[0]
        if placed is None:
            super()._try_exec(order)
            return
        if bar <= placed.tried and not self.p.coo and not self.p.coc:
            # The feed has not moved since: matching again would fill the order on
            # the bar that made it, or use one bar's volume twice.
            return
        placed.tried = bar
        if not self._krx:
            super()._try_exec(order)
        elif self._still_covered(order, placed):
            self._match(order, placed, feed, bar)
            if order.alive() and placed.order_type in TRAILS:
                order.trailadjust(feed.close[0])

    def _still_covered(self, order: Any, placed: PlacedOrder) -> bool:
        """Cut a sale to what is still held; end it when nothing is."""
        if placed.side is Side.BUY:
            return True
        held = int(self.positions[order.data].size)
        if held > 0:
            shrink(order, held)
            return True
        placed.end_reason = _("nothing is held any more")
        order.cancel()
        self.notify(order)
        return False

    def _match(self, order: Any, placed: PlacedOrder, feed: Any, bar: float) -> None:
        open_, high = float(feed.open[0]), float(feed.high[0])
        low, close = float(feed.low[0]), float(feed.close[0])
        session = session_of(bar)
        if high == low and self._market.crowded(feed, session) is placed.side:
            return
        terms = self._terms(order, placed, session)
        outcome = match_candle(
            terms,
            open_,
            high,
            low,
            close,
            closes_session=self._market.closes_session(feed, bar),
        )
        order.triggered = order.triggered or outcome.triggered
        if outcome.price is None:
            return
        quantity = self._available(order, feed, bar)
        if quantity <= 0:
            return
        price = outcome.price
        if outcome.slips:
            worst = high if placed.side is Side.BUY else low
            price = slipped_price(
                price,
                placed.side,
                self.p.slippage_ticks,
                instrument_of(feed),
                session,
                on_grid=on_grid(feed, outcome.price, session),
                worst=worst if terms.limit is None else _nearer(terms, worst),
            )
        self._quantity, self._slipped = quantity, abs(price - outcome.price)
        self.getcommissioninfo(feed).session = session
        self._execute(order, ago=0, price=price)

    def _terms(self, order: Any, placed: PlacedOrder, session: date) -> Terms:
        kind = placed.order_type
        limit, stop = limit_and_stop(
            kind, order.created.price, order.created.pricelimit
        )
        if kind in TRAILS:  # they have moved off the grid with the price
            buys = placed.side is Side.BUY
            rounded = round_down_to_tick if buys else round_up_to_tick
            instrument = instrument_of(order.data)
            limit, stop = (
                price
                and rounded(
                    price,
                    market=instrument.market,
                    product=instrument.product,
                    session=session,
                )
                for price in (limit, stop)
            )
        return Terms(placed.side, kind, limit, stop, bool(order.triggered))

    def _available(self, order: Any, feed: Any, bar: float) -> int:
        """Return how much of the order this bar's volume still fills."""
        at, used = self._volume_used.get(feed, (0.0, 0))
        used = used if at == bar else 0
        wanted = int(abs(order.executed.remsize))
        volume = float(feed.volume[0])
        quantity = fillable_quantity(wanted, volume, self.p.volume_share, used)
        self._volume_used[feed] = (bar, used + max(quantity, 0))
        return quantity

    def _decided_quantity(self, order: Any, price: float, ago: int) -> int:
        """Return the quantity `_match` decided: backtrader's filler hook."""
        return self._quantity

    def _execute(self, order: Any, ago: Any = None, **kwargs: Any) -> Any:
        before = order.executed.size
        result = super()._execute(order, ago=ago, **kwargs)
        done = int(order.executed.size - before)
        if done:
            self._record_fill(order, done, kwargs["price"])
            if self._krx and order.alive():
                self._cut_siblings(order, abs(done))
        elif self._krx and order.status == Order.Margin:
            placed = self._book.get(order)
            assert placed is not None
            placed.end_reason = _("it would cost more than the cash that is left")
        return result

    def _cut_siblings(self, order: Any, done: int) -> None:
        """Take what one leg has filled off the legs it will cancel once complete."""
        placed = self._book.get(order)
        assert placed is not None
        for other in self._book.live():
            if other is placed or other.group != placed.group:
                continue
            self._cut_leg(other, int(abs(other.order.executed.remsize)) - done)

    def _cut_leg(self, leg: PlacedOrder, left: int) -> None:
        """Leave a leg the shares that its group has not filled."""
        if left > 0:
            shrink(leg.order, left)
        elif self._is_pending(leg.order):
            self.pending.remove(leg.order)
            leg.end_reason = _("another leg of its group has filled it")
            leg.order.cancel()
            self.notify(leg.order)

    def _record_fill(self, order: Any, size: int, price: float) -> None:
        feed = order.data
        position = self.positions[feed]
        bar = self._bar_of_fill(feed)
        if position.size:
            self._held[feed] = position
        else:
            self._held.pop(feed, None)
            lost = order.executed.pnl < order.executed.comm
            self._guard.count_round_trip(session_of(bar), lost=lost)
        placed = self._book.get(order)
        assert placed is not None
        commission, tax = self._split_costs(feed, size, price)
        self.recorder.fills.append(
            Execution(
                bar=bar,
                symbol=placed.symbol,
                side=placed.side,
                quantity=abs(size),
                price=float(price),
                commission=commission,
                tax=tax,
                slippage=self._slipped * abs(size),
                order_number=placed.number,
                at=self._time_of_fill(),
            )
        )
        self._slipped = 0.0

    def _bar_of_fill(self, feed: Any) -> float:
        """Return the END of the candle in which the fill under way happens."""
        return float(feed.lines.datetime[0])

    def _time_of_fill(self) -> datetime | None:
        """Return when it happened; None for the END of its candle."""
        return None

    def _split_costs(self, feed: Any, size: int, price: float) -> tuple[float, float]:
        info = self.getcommissioninfo(feed)
        if not isinstance(info, KrxCommInfo):
            return float(info.getcommission(size, price)), 0.0
        amount = abs(size) * price
        tax = info.tax(amount) if size < 0 else 0
        return float(info.commission(amount)), float(tax)

    def _ococheck(self, order: Any) -> None:
        # A partial fill leaves the other legs; `_cut_siblings` cuts them.
        if not self._krx or not order.alive():
            super()._ococheck(order)

    def _get_value(self, datas: Any = None, lever: bool = False) -> float:
        if not self._krx:
            return float(super()._get_value(datas, lever))
        while self._cash_addition:
            self.cash += self._cash_addition.popleft()
        if datas is not None:
            feeds = [traded_feed(data) for data in datas]
            return sum(market_value(f, self.positions[f]) for f in feeds)
        value = self._held_value()
        self._valuemkt = self._valuemktlever = value
        self._value = self._valuelever = self.cash + value
        self._fundval = self._value / self._fundshares
        return float(self._value)

    def _held_value(self) -> float:
        return sum(market_value(feed, held) for feed, held in self._held.items())


def _follows_exchange(rules: str) -> bool:
    if rules not in ("krx", "none"):
        raise ConfigError(
            _("broker rules {found!r}: expected krx or none").format(found=rules),
            path="broker.rules",
        )
    return rules == "krx"


def _request(feed: Any, side: Side, size: float, asked: dict[str, Any]) -> OrderRequest:
    kind = ORDER_TYPES.get(asked.get("exectype") or Order.Market, OrderType.MARKET)
    limit, stop = limit_and_stop(kind, asked.get("price"), asked.get("plimit"))
    return OrderRequest(
        symbol=feed._name,
        side=side,
        quantity=abs(size),
        order_type=kind,
        limit_price=limit,
        stop_price=None if kind in TRAILS else stop,
    )


_ORDER_ARGUMENTS = frozenset(
    {
        "price",
        "exectype",
        "valid",
        "tradeid",
        "trailamount",
        "trailpercent",
        "parent",
        "transmit",
        "histnotify",
    }
)


def _order(
    make: Any, side: Side, owner: Any, feed: Any, size: float, asked: dict[str, Any]
) -> Any:
    """Build backtrader's order; what is no argument of it becomes its info."""
    order = make(
        _CLASSES[side],
        owner=owner,
        data=feed,
        size=abs(size),
        pricelimit=asked.pop("plimit", None),
        # An order on a feed without a bar is refused; it must not read a price.
        simulated=not len(feed),
        **{name: asked[name] for name in _ORDER_ARGUMENTS & asked.keys()},
    )
    order.addinfo(**{k: v for k, v in asked.items() if k not in _ORDER_ARGUMENTS})
    return order


def _nearer(terms: Terms, worst: float) -> float:
    """Return the worst price both the bar and the order's limit allow."""
    assert terms.limit is not None
    return (min if terms.side is Side.BUY else max)(worst, terms.limit)


def _tax_rate(rate: str | float) -> Fraction:
    return Fraction(0) if rate == "none" else Fraction(str(rate))
