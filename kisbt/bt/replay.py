"""A strategy told again, bar by bar, what its run was told.

`ReplayBroker` books what the run's broker booked, on the bars on which it did, in
place of matching orders against candles. What the market of the backtest would have
done with the same orders is worked out beside and moves nothing. The strategy, in
the same state on every bar, must decide the same.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import backtrader as bt
from backtrader import Order

from kisbt.bt.mapping import EXEC_TYPES, TRAILS
from kisbt.bt.market import session_of
from kisbt.bt.recorder import Execution, PlacedOrder
from kisbt.bt.result import Times
from kisbt.bt.seed import SeededBroker
from kisbt.clock import KST
from kisbt.model.liverun import Heard, OrderEvent
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import OrderRow
from kisbt.text import _

_BOTTOMLESS = 1e13
"""Won lent while a real fill is booked: it happened, whatever the cash says."""

_NEVER = datetime.min.replace(tzinfo=KST)
_DISOWNED = frozenset({"refused", "not_sent"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a run was told.

    Attributes:
        orders: of the run.
        events: in journal order.
        carried: orders that were working when the run began, by ref: shares left.
        begin: END of the last bar before the first on which the run's strategy was
            called; carried orders are put in there.
    """

    orders: tuple[OrderRow, ...]
    events: tuple[OrderEvent, ...]
    carried: Mapping[int, int] = field(default_factory=dict)
    begin: datetime | None = None


@dataclass(slots=True)
class _Shadow:
    """An order as the backtest's market sees it.

    Attributes:
        left: shares it has not filled.
        tried: date number of the last bar looked at.
    """

    ref: int
    placed: PlacedOrder
    left: int
    tried: float


class ReplayBroker(SeededBroker):
    """Broker that books a recorded run.

    Params:
        script: of the run.

    Attributes:
        run_refs: own order number to the number in the run, None where the run
            has no such order.
        refused: numbers in the run of orders refused here when they were made.
        ended: numbers in the run of orders that ended only because the run's did.
        unbooked: numbers in the run of orders with fills that found no order here.
        expected: fills of the backtest's market; `order_number` is the run's.
    """

    params: Any = (("script", None),)

    def init(self) -> None:
        """Reset all state; backtrader calls it when built and when started."""
        super().init()
        self.run_refs: dict[int, int | None] = {}
        self.refused: set[int] = set()
        self.ended: set[int] = set()
        self.unbooked: set[int] = set()
        self.expected: list[Execution] = []
        script: Script = self.p.script
        self._known = _by_place(o for o in script.orders if o.ref not in script.carried)
        self._created = {
            o.ref: o.created for o in script.orders if o.ref not in script.carried
        }
        self._told = deque(sorted(script.events, key=lambda e: (e.bar, e.sequence)))
        self._made: dict[tuple[Any, ...], int] = defaultdict(int)
        self._mine: dict[int, PlacedOrder] = {}
        self._strangers: list[PlacedOrder] = []
        self._withdrawn: set[int] = set()
        self._shadows: dict[int, _Shadow] = {}
        self._looking = False
        self._times = Times()
        self.carrying: int | None = None

    def has_made(self, ref: int) -> bool:
        """Return whether an order of the run has been made here."""
        return ref in self._mine or ref in self.refused

    def now(self) -> datetime:
        """Return the END of the last bar."""
        return self._times(self._now)

    # Orders in.

    def _write_down(self, *args: Any, **kwargs: Any) -> PlacedOrder:
        placed = super()._write_down(*args, **kwargs)
        refusal = args[-1]
        ref = self._name(placed)
        self.run_refs[placed.number] = ref
        if ref is not None and refusal is not None:
            self.refused.add(ref)
        elif ref is not None:
            self._mine[ref] = placed
            self._shadows[ref] = _Shadow(
                ref, placed, int(placed.quantity), placed.tried
            )
        elif refusal is None:
            self._strangers.append(placed)
        return placed

    def _name(self, placed: PlacedOrder) -> int | None:
        """Return the run's number of an order made here."""
        if self.carrying is not None:
            return self.carrying
        place = (self._times(placed.created), placed.symbol, placed.side)
        key = (*place, self._made[place])
        self._made[place] += 1
        return self._known.get(key)

    def cancel(self, order: Any, bracket: bool = False) -> bool:
        """Cancel as the run did: not an order that was still filled afterwards."""
        placed = self._book.get(order)
        ref = None if placed is None else self.run_refs.get(placed.number)
        if ref is not None:
            self._withdrawn.add(ref)
            if any(e.order_ref == ref and e.kind is Heard.FILLED for e in self._told):
                return True
        return super().cancel(order, bracket)

    # Bars.

    def _activate(self, filled_at: float) -> None:
        super()._activate(filled_at)
        if not self._book:  # else it is done in its place among the steps of a pass
            self._match_all()

    def _match_all(self) -> None:
        self._look_at_market()
        now = self.now()
        while self._told and self._told[0].bar <= now:
            self._hear(self._told.popleft())
        for placed in self._strangers:
            if placed.order.alive():
                self._drop(placed, _("the run did not make this order"))
        self._strangers.clear()
        self._forget_shadows()

    def _hear(self, event: OrderEvent) -> None:
        if event.kind is Heard.CORRECTED:
            self.cash += event.amount
            return
        placed = self._mine.get(event.order_ref)
        if event.bar <= self._created.get(event.order_ref, _NEVER):
            return  # after the last bar: the strategy never heard of it
        if event.kind is Heard.FILLED:
            if placed is None or not self._is_pending(placed.order):
                self.unbooked.add(event.order_ref)
            else:
                self._book_fill(placed, event)
        elif event.kind is Heard.ENDED and placed is not None:
            self._end_as_told(placed, event)

    def _book_fill(self, placed: PlacedOrder, event: OrderEvent) -> None:
        order, feed = placed.order, placed.order.data
        assert event.price is not None
        self._quantity, self._slipped = event.quantity, 0.0
        self.getcommissioninfo(feed).session = session_of(self._now)
        signed = event.quantity if placed.side is Side.BUY else -event.quantity
        computed = sum(self._split_costs(feed, signed, event.price))
        self.pending.remove(order)
        self.cash += _BOTTOMLESS
        self._execute(order, ago=0, price=event.price)
        self.cash -= _BOTTOMLESS
        self.cash -= event.commission + event.tax - computed
        if order.alive():
            self.pending.append(order)
        elif order.status == Order.Completed:
            self._bracketize(order)
            self._hold_back_children()

    def _end_as_told(self, placed: PlacedOrder, event: OrderEvent) -> None:
        ref, order = event.order_ref, placed.order
        if not self._is_pending(order):
            return  # by the rules of the exchange, or by the strategy's wish
        if event.outcome in _DISOWNED:
            self.ended.add(ref)
            margin = Order.Margin if event.rule == "cash" else None
            self._drop(placed, event.reason, margin)
        elif event.outcome == "cancelled":
            if ref not in self._withdrawn:
                self.ended.add(ref)
            super().cancel(order)

    def _drop(self, placed: PlacedOrder, why: str, status: int | None = None) -> None:
        if self._is_pending(placed.order):
            self.pending.remove(placed.order)
        self._end(placed, why, status)
        self._ococheck(placed.order)
        self._bracketize(placed.order, cancel=True)

    # What the backtest's market would have done.

    def _look_at_market(self) -> None:
        for shadow in list(self._shadows.values()):
            order, feed = shadow.placed.order, shadow.placed.order.data
            waits = order.alive() and not order.active()  # a bracket's exit
            bar = float(feed.lines.datetime[0])
            if waits or bar <= max(shadow.tried, shadow.placed.tried):
                continue
            if shadow.placed.expires < bar:
                continue
            shadow.tried = bar
            self._look(shadow, feed, bar)
            if order.alive() and shadow.placed.order_type in TRAILS:
                order.trailadjust(feed.close[0])

    def _look(self, shadow: _Shadow, feed: Any, bar: float) -> None:
        order = shadow.placed.order
        really_left = order.executed.remsize
        found = len(self.expected)
        buys = shadow.placed.side is Side.BUY
        order.executed.remsize = shadow.left if buys else -shadow.left
        self._looking = True
        try:
            self._match(order, shadow.placed, feed, bar)
        finally:
            order.executed.remsize = really_left
            self._looking = False
        shadow.left -= sum(fill.quantity for fill in self.expected[found:])

    def _execute(self, order: Any, ago: Any = None, **kwargs: Any) -> Any:
        if not self._looking:
            return super()._execute(order, ago=ago, **kwargs)
        placed = self._book.get(order) or self._placed_of(order)
        price, quantity = float(kwargs["price"]), self._quantity
        signed = quantity if placed.side is Side.BUY else -quantity
        commission, tax = self._split_costs(order.data, signed, price)
        ref = self.run_refs[placed.number]
        assert ref is not None
        self.expected.append(
            Execution(
                bar=float(order.data.lines.datetime[0]),
                symbol=placed.symbol,
                side=placed.side,
                quantity=quantity,
                price=price,
                commission=commission,
                tax=tax,
                slippage=self._slipped * quantity,
                order_number=ref,
            )
        )
        return None

    def _placed_of(self, order: Any) -> PlacedOrder:
        """Return what was written down of an order that has ended."""
        return next(
            s.placed for s in self._shadows.values() if s.placed.order.ref == order.ref
        )

    def _forget_shadows(self) -> None:
        """Forget what the market is done with, and what nobody wants filled."""
        for ref, shadow in list(self._shadows.items()):
            order = shadow.placed.order
            early = ref in self.ended or order.status == Order.Completed
            gone = not order.alive() and not early
            group = shadow.placed.group
            if shadow.left <= 0:
                for other in list(self._shadows.values()):
                    if other.ref != ref and other.placed.group == group:
                        self._shadows.pop(other.ref, None)
            if gone or shadow.left <= 0 or shadow.placed.expires <= self._now:
                self._shadows.pop(ref, None)


class Prompter(bt.Analyzer):
    """Puts in the orders of a run that its strategy did not make here.

    Those that were working when the run began, and those that the strategy would
    not decide again: without their fills it would be in another state from then on.

    Params:
        script: of the run.

    Attributes:
        missed: numbers in the run of orders the strategy did not make.
    """

    params: Any = (("script", None),)

    def start(self) -> None:
        script: Script = self.p.script
        self.missed: set[int] = set()
        self.prompted: set[int] = set()
        self._carried_in = not script.carried
        self._due: dict[datetime, list[OrderRow]] = defaultdict(list)
        for order in script.orders:
            if order.ref not in script.carried:
                self._due[order.created].append(order)
        self._times = Times()

    def next(self) -> None:
        broker = self.strategy.broker
        now = self._times(broker._now)
        script: Script = self.p.script
        begun = script.begin is None or now >= script.begin
        if not self._carried_in and begun:
            self._carried_in = True
            for order in script.orders:
                if order.ref in script.carried:
                    self._put_in(broker, order, script.carried[order.ref])
        if not isinstance(broker, ReplayBroker):
            return
        for order in self._due.pop(now, ()):
            if broker.has_made(order.ref):
                continue
            self.missed.add(order.ref)
            if order.filled_quantity or order.state is not OrderState.REFUSED:
                self._put_in(broker, order, order.quantity)

    def prenext(self) -> None:
        self.next()

    def nextstart(self) -> None:
        self.next()

    def _put_in(self, broker: Any, order: OrderRow, quantity: int) -> None:
        if order.type in TRAILS or quantity <= 0:
            return  # how far it trails is not written down
        send = self.strategy.buy if order.side is Side.BUY else self.strategy.sell
        limit, stop = order.limit_price, order.stop_price
        first, second = (
            (limit, None) if order.type is OrderType.LIMIT else (stop, limit)
        )
        if isinstance(broker, ReplayBroker):
            broker.carrying = order.ref
        try:
            send(
                data=self.strategy.getdatabyname(order.symbol),
                size=quantity,
                exectype=EXEC_TYPES[order.type],
                price=first,
                plimit=second,
                reason=order.reason,
            )
        finally:
            if isinstance(broker, ReplayBroker):
                broker.carrying = None
        self.prompted.add(order.ref)


def _by_place(orders: Iterable[OrderRow]) -> dict[tuple[Any, ...], int]:
    """Return refs by (bar, symbol, side, sequence)."""
    seen: dict[tuple[Any, ...], int] = defaultdict(int)
    found: dict[tuple[Any, ...], int] = {}
    for order in orders:
        place = (order.created, order.symbol, order.side)
        found[*place, seen[place]] = order.ref
        seen[place] += 1
    return found
