"""Brokers that touch open positions and live orders only, for one run of the loop.

A broker's class is replaced while the loop runs. Results are those of the class
it replaces: the same sums in the same order, flat positions left out of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from backtrader import Order
from backtrader.brokers.bbroker import BackBroker
from backtrader.comminfo import CommInfoBase
from backtrader.order import BuyOrder, SellOrder
from backtrader.position import Position

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.engine.orders import ORDER_DEFAULTS, OrderMaker, clone

_VALUATION = (
    "getvaluesize",
    "profitandloss",
    "get_leverage",
    "cashadjust",
    "get_credit_interest",
)


@contextmanager
def lean_broker(broker: Any, feeds: list[Any]) -> Iterator[None]:
    """Let a broker work on open positions only while the context lasts."""
    kind = type(broker)
    lean = _LEAN.get(kind)
    if lean is None or not _may_skip_flat_positions(broker, feeds):
        yield
        return
    broker.__class__ = lean
    broker._begin_run(feeds)
    try:
        yield
    finally:
        broker._end_run()
        broker.__class__ = kind


def _may_skip_flat_positions(broker: Any, feeds: list[Any]) -> bool:
    """Return whether a flat position is worth nothing at all times.

    It is NaN where the close is none, and what a commission scheme of the user
    says where there is one.
    """
    schemes = set(map(type, broker.comminfo.values()))
    return all(map(_values_as_backtrader, schemes)) and all(
        np.isfinite(np.frombuffer(feed.lines.close.array)).all() for feed in feeds
    )


def _values_as_backtrader(scheme: type) -> bool:
    return all(
        getattr(scheme, name) is getattr(CommInfoBase, name) for name in _VALUATION
    )


class _HeldPosition(Position):
    """An open position; `datetime` is that of its feed's current bar."""

    @property
    def datetime(self) -> Any:
        if self.size:
            return self._clock.datetime()
        return self.__dict__["datetime"]

    @datetime.setter
    def datetime(self, value: Any) -> None:
        self.__dict__["datetime"] = value


def _give_back(position: Any) -> None:
    if type(position) is _HeldPosition:
        now = position.datetime
        position.__class__ = Position
        del position._clock
        position.datetime = now


def _sender(kind: Any) -> Any:
    """Return the `buy` or `sell` of a broker."""

    # The parameters are BackBroker's: binding them by name is the quickest way.
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
        transmit: bool = True,
        histnotify: Any = False,
        _checksubmit: bool = True,
        **info: Any,
    ) -> Any:
        values = {
            "owner": owner,
            "data": data,
            "size": size,
            "price": price,
            "pricelimit": plimit,
            "exectype": exectype,
            "valid": valid,
            "tradeid": tradeid,
            "oco": None,
            "trailamount": trailamount,
            "trailpercent": trailpercent,
            "parent": parent,
            "transmit": transmit,
            "simulated": False,
            "histnotify": histnotify,
        }
        return self._send(kind, values, oco, info, check=_checksubmit)

    return send


class LeanBackBroker(BackBroker):
    """`BackBroker` that looks at open positions only."""

    cash: float
    _value: float
    _valuelever: float
    _valuemkt: float
    _valuemktlever: float
    _fundval: float
    _fundshares: float
    _pass_time: float
    _dirty: bool
    _open: list[Any]
    _credits: bool
    _adjusts: bool

    def _begin_run(self, feeds: list[Any]) -> None:
        self._orders = OrderMaker()
        self._have_clones = any(feed._clone for feed in feeds)
        self._skips_flat = True
        self._plain_market = not (
            self.p.coc or self.p.coo or self.p.slip_perc or self.p.slip_fixed
        )
        self._dirty = True

        # No name may be missing at the end of a run that stopped at once.
        self._open, self._credits, self._adjusts = [], False, False

    def _end_run(self) -> None:
        for position in self.positions.values():
            _give_back(position)
        for name in _OWN:
            del self.__dict__[name]

    def setcommission(self, *args: Any, **kwargs: Any) -> None:
        super().setcommission(*args, **kwargs)
        self._scheme_changed()

    def addcommissioninfo(self, comminfo: Any, name: Any = None) -> None:
        super().addcommissioninfo(comminfo, name)
        self._scheme_changed()

    def _scheme_changed(self) -> None:
        self._refresh()
        self._skips_flat = all(
            map(_values_as_backtrader, map(type, self.comminfo.values()))
        )

    # Orders.

    buy = _sender(BuyOrder)
    sell = _sender(SellOrder)

    def _send(
        self,
        kind: Any,
        values: dict[str, Any],
        oco: Any,
        info: dict[str, Any],
        *,
        check: bool,
    ) -> Any:
        order = self._orders.make(kind, values)
        if info:
            order.addinfo(**info)
        self._ocoize(order, oco)
        return self.submit(order, check)

    def notify(self, order: Any) -> None:
        self.notifs.append(clone(order))

    def submit(self, order: Any, check: bool = True) -> Any:
        if order.parent is not None or not order.transmit:
            return super().submit(order, check)
        waiting = self._pchildren[order.ref]
        if waiting:
            return super().submit(order, check)
        waiting.append(order)
        return self.transmit(order, check)

    # Fills.

    def _try_exec(self, order: Any) -> None:
        if order.exectype != Order.Market or not self._plain_market:
            super()._try_exec(order)
            return
        feed = order.data
        if feed.datetime[0] > order.created.dt:
            self._execute(order, ago=0, price=feed.open[0])

    def _execute(self, order: Any, ago: Any = None, **how: Any) -> Any:
        if ago is None or order.data._compensate is not None:
            return super()._execute(order, ago, **how)
        self._dirty = True
        price, filler = how["price"], self.p.filler
        if price is None:
            return None
        if filler is None:
            size = order.executed.remsize
        else:
            size = filler(order, price, ago)
            size = size if order.isbuy() else -size
        self._book_fill(
            order, size, price, how.get("dtcoc") or order.data.datetime[ago]
        )
        return None

    def _book_fill(  # noqa: PLR0915  (one method there, one here)
        self, order: Any, size: Any, price: float, time: float
    ) -> None:
        """Do what `BackBroker._execute` does for a fill, in its order."""
        feed = order.data
        scheme, position = self.getcommissioninfo(feed), self.positions[feed]
        before = position.price
        psize, pprice, opened, closed = _after_fill(position, size, price)
        gain = scheme.profitandloss(-closed, before, price)
        wanted, cash = opened, self.cash
        closed_value = closed_costs = opened_value = opened_costs = 0.0
        if closed:
            closed_value = self._worth(scheme, -closed, closed, before)
            released = closed_value
            if closed_value > 0:
                released /= scheme.get_leverage()
            cash += released + gain * scheme.stocklike
            closed_costs = scheme.getcommission(closed, price)
            cash -= closed_costs
            cash += scheme.cashadjust(-closed, position.adjbase, price)
            self.cash = cash
        if opened:
            opened_value = self._worth(scheme, opened, opened, price)
            needed = opened_value
            if opened_value > 0:
                needed /= scheme.get_leverage()
            cash -= needed
            opened_costs = scheme.getcommission(opened, price)
            cash -= opened_costs
            if cash < 0.0:
                opened, opened_value, opened_costs = 0, 0.0, 0.0
            else:
                if abs(psize) > abs(opened):
                    base = position.adjbase
                    cash += scheme.cashadjust(psize - opened, base, price)
                position.adjbase = price
                self.cash = cash
        filled = closed + opened
        if filled:
            scheme.confirmexec(filled, price)
            position.update(filled, price, feed.datetime.datetime())
            if closed and self.p.int2pnl:
                closed_costs += self.d_credit.pop(feed, 0.0)
            order.execute(
                time,
                filled,
                price,
                closed,
                closed_value,
                closed_costs,
                opened,
                opened_value,
                opened_costs,
                scheme.margin,
                gain,
                psize,
                pprice,
            )
            order.addcomminfo(scheme)
            self.notify(order)
            self._ococheck(order)
        if wanted and not opened:
            order.margin()
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)

    def _worth(self, scheme: Any, size: Any, cost_size: Any, price: float) -> Any:
        if self.p.shortcash:
            return scheme.getvaluesize(size, price)
        return scheme.getoperationcost(cost_size, price)

    # Bars.

    def _refresh(self) -> None:
        """Look up the open positions again."""
        self._dirty = False
        self._open = []
        self._credits = self._adjusts = False
        for feed, position in self.positions.items():
            if not position.size:
                continue
            scheme = self.getcommissioninfo(feed)
            self._open.append((feed, position, scheme, feed.lines.close))
            if position.size < 0 or scheme.p.interest_long:
                self._credits = True
            if not scheme._stocklike:
                self._adjusts = True
        for feed, position, _scheme, _close in self._open:
            # Interest is charged from the time at which it was charged last.
            if self._credits:
                _give_back(position)
            elif type(position) is Position:
                position._clock = feed.lines.datetime
                position.__class__ = _HeldPosition

    def next(self) -> None:
        if not self._skips_flat:
            super().next()
            return
        if not self._open and self._is_idle():
            return
        while self._toactivate:
            self._toactivate.popleft().activate()
        if self.submitted and self.p.checksubmit:
            self.check_submitted()
        self._charge_interest()
        self._process_order_history()
        if self.pending:
            self._match_pending()
        self._mark_to_close()
        self._get_value()

    def _is_idle(self) -> bool:
        """Return whether nothing can have changed the account."""
        return not (
            self.pending
            or self.submitted
            or self._toactivate
            or self._cash_addition
            or self._userhist
            or self._fundhist
            or self._dirty
            or self._value != self.cash
        )

    def _mark_to_close(self) -> None:
        if self._dirty:
            self._refresh()
        for _feed, position, scheme, close in self._open:
            price = close[0]
            if self._adjusts:
                self.cash += scheme.cashadjust(position.size, position.adjbase, price)
            position.adjbase = price

    def _charge_interest(self) -> None:
        if self._dirty:
            self._refresh()
        if not self._credits:
            return
        credit = 0.0
        for feed, position, scheme, _close in self._open:
            now = feed.datetime.datetime()
            charged = scheme.get_credit_interest(feed, position, now)
            self.d_credit[feed] += charged
            credit += charged
            position.datetime = now
        self.cash -= credit

    def _match_pending(self) -> None:
        self.pending.append(None)
        while (order := self.pending.popleft()) is not None:
            if order.expire():
                self.notify(order)
                self._ococheck(order)
                self._bracketize(order, cancel=True)
            elif not order.active():
                self.pending.append(order)
            else:
                self._try_exec(order)
                if order.alive():
                    self.pending.append(order)
                elif order.status == Order.Completed:
                    self._bracketize(order)

    def _get_value(self, datas: Any = None, lever: bool = False) -> Any:
        if datas or lever or self._fundhist or not self.p.shortcash:
            return super()._get_value(datas, lever)
        if not self._skips_flat:
            return super()._get_value(datas, lever)
        while self._cash_addition:
            added = self._cash_addition.popleft()
            self._fundshares += added / self._fundval
            self.cash += added
        leveraged = value = unrealized = 0.0
        for _feed, position, scheme, close in self._open:
            size, price = position.size, close[0]
            worth = scheme.getvaluesize(size, price)
            gain = scheme.profitandloss(size, position.price, price)
            leveraged += worth
            unrealized += gain
            if worth > 0:
                value += (worth - gain) / scheme.get_leverage()
                value += gain
            else:
                value += worth
        self._value = self.cash + value
        self._fundval = self._value / self._fundshares
        self._valuemkt = value
        self._valuelever = self.cash + leveraged
        self._valuemktlever = leveraged
        self._leverage = leveraged / (value or 1.0)
        self._unrealized = unrealized
        return self._value


def _after_fill(position: Any, size: Any, price: float) -> tuple[Any, Any, Any, Any]:
    """Return `position.pseudoupdate(size, price)`: (size, price, opened, closed)."""
    held = position.size
    left = held + size
    if not left:
        return left, 0.0, 0, size
    if not held:
        return left, price, size, 0
    if (held > 0) == (size > 0):
        return left, (position.price * held + size * price) / left, size, 0
    if (held > 0) == (left > 0):
        return left, position.price, 0, size
    return left, price, left, -held


class LeanKrxBroker(KrxBackBroker, LeanBackBroker):
    """`KrxBackBroker` that looks at open positions only."""

    def _begin_run(self, feeds: list[Any]) -> None:
        super()._begin_run(feeds)
        self._pass_time = self._now
        self._record_from = self.p.record_from

    def _end_run(self) -> None:
        super()._end_run()
        del self._pass_time, self._record_from

    def begin_pass(self, now: float) -> None:
        """Take the time of the pass from the loop."""
        self._pass_time = now

    def _refresh_now(self) -> None:
        if self._unlabelled:
            super()._refresh_now()
        else:
            self._now = self._pass_time

    def next(self) -> None:
        before = self._now
        self._refresh_now()
        now = self._now
        if self._krx:
            self._next_krx(before)
        else:
            LeanBackBroker.next(self)
            if self._toactivate:
                self._hold_back_children()
            if self._book:
                self._book.forget_ended()
        if now >= self._record_from:
            if now == before:
                value = float(self._valuemkt)
                self.recorder.add_equity(now, float(self.cash), value)
            else:
                self.recorder.times.append(now)
                self.recorder.cash.append(self.cash)
                self.recorder.values.append(self._valuemkt)
        if self.p.on_bar is not None:
            self.p.on_bar(now)

    def _next_krx(self, before: float) -> None:
        now, guard = self._now, self._guard
        if int(now) != guard.day:
            guard.begin_bar(now, float(self._value))
        if self._toactivate:
            self._activate(before)
        if self._book:
            self._work_orders()
        guard.watch_loss(now, self._get_value())

    def _held_value(self) -> Any:
        value: Any = 0
        for feed, position in self._held.items():
            value += float(position.size * feed.lines.close[0])
        return value

    def _make_order(self, kind: Any, **asked: Any) -> Any:
        return self._orders.make(kind, {**ORDER_DEFAULTS, **asked})

    def getposition(self, data: Any) -> Any:
        if self._have_clones:
            return super().getposition(data)
        return self.positions[data]


_OWN = (
    "_orders",
    "_have_clones",
    "_skips_flat",
    "_plain_market",
    "_dirty",
    "_open",
    "_credits",
    "_adjusts",
)
_LEAN: dict[type, type] = {BackBroker: LeanBackBroker, KrxBackBroker: LeanKrxBroker}
