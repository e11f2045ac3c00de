"""`BackBroker` that touches open positions and live orders only.

Results are those of the class it replaces: the same sums in the same order, flat
positions left out of them.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from backtrader import Order
from backtrader.brokers.bbroker import BackBroker
from backtrader.comminfo import CommInfoBase
from backtrader.order import BuyOrder, SellOrder
from backtrader.position import Position

from kisbt.bt.engine.orders import (
    OrderMaker,
    clone,
    fill,
    note_accepted,
    note_submitted,
)

_VALUATION = (
    "getvaluesize",
    "profitandloss",
    "get_leverage",
    "cashadjust",
    "get_credit_interest",
)


def values_as_backtrader(scheme: type) -> bool:
    """Return whether a commission scheme values positions as backtrader's own."""
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
        if (
            not exectype
            and price is plimit is valid is oco is parent is None
            and trailamount is trailpercent is None
            and transmit is True
            and histnotify is False
        ):
            order = self._orders.make_market(kind, owner, data, size, tradeid, exectype)
            if info:
                order.info.update(info)
            # A group of its own, which waits for nothing.
            ref = order.ref
            self._ocos[ref], self._ocol[ref] = ref, [ref]
            self._pchildren[ref] = deque((order,))
            return self.transmit(order, _checksubmit)
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
    _is_special: bool

    def _begin_run(self, feeds: list[Any]) -> None:
        self._orders = OrderMaker()
        self._have_clones = any(feed._clone for feed in feeds)
        self._skips_flat = True
        self._plain_market = not (
            self.p.coc or self.p.coo or self.p.slip_perc or self.p.slip_fixed
        )
        self._dirty = True

        self._gives_positions = not self._have_clones
        if self._gives_positions:
            # Without a step of Python: it is asked for every symbol on every bar.
            self.getposition = self.positions.__getitem__

        # No name may be missing at the end of a run that stopped at once.
        self._open, self._credits, self._adjusts = [], False, False
        self._is_special = False

    def _end_run(self) -> None:
        for position in self.positions.values():
            _give_back(position)
        if self._gives_positions:
            del self.getposition
        for name in _OWN:
            del self.__dict__[name]

    def setcommission(self, *args: Any, **kwargs: Any) -> None:
        super().setcommission(*args, **kwargs)
        self._scheme_changed()

    def addcommissioninfo(self, comminfo: Any, name: Any = None) -> None:
        super().addcommissioninfo(comminfo, name)
        self._scheme_changed()

    def _scheme_changed(self) -> None:
        self._skips_flat = all(
            map(values_as_backtrader, map(type, self.comminfo.values()))
        )
        self._refresh()

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

    def _ococheck(self, order: Any) -> None:
        ref = order.ref
        if self._ocol.get(ref) == [ref]:
            del self._ocol[ref]  # a group of its own
        else:
            super()._ococheck(order)

    def notify(self, order: Any) -> None:
        self.notifs.append(clone(order))

    def check_submitted(self) -> None:
        if (
            not self._plain_market
            or not self.p.shortcash
            or any(order.data._compensate is not None for order in self.submitted)
        ):
            super().check_submitted()
            return
        cash = self.cash
        sizes: dict[Any, Any] = {}
        while self.submitted:
            order = self.submitted.popleft()
            if order.parent is not None and self._take_children(order) is None:
                continue
            feed, size = order.data, order.executed.remsize
            held = sizes.get(feed)
            if held is None:
                held = self.positions[feed].size
            sizes[feed] = held + size
            scheme, price = self.getcommissioninfo(feed), order.created.price
            opened, closed = _parts(held, size)
            # As `_execute` without a bar: what is closed gives its value back, what
            # is opened takes it.
            if closed:
                worth = scheme.getvaluesize(-closed, price)
                cash += worth / scheme.get_leverage() if worth > 0 else worth
                cash -= scheme.getcommission(closed, price)
            if opened:
                worth = scheme.getvaluesize(opened, price)
                cash -= worth / scheme.get_leverage() if worth > 0 else worth
                cash -= scheme.getcommission(opened, price)
            if cash >= 0.0:
                self.submit_accept(order)
                continue
            order.margin()
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)

    def transmit(self, order: Any, check: bool = True) -> Any:
        if check and self.p.checksubmit:
            self.submitted.append(order)
            self.orders.append(order)
            self.notifs.append(note_submitted(order))
        else:
            self.submit_accept(order)
        return order

    def submit_accept(self, order: Any) -> None:
        self.pending.append(order)
        self.notifs.append(note_accepted(order))

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
            shut = closed, closed_value, closed_costs, gain
            parts, after = (shut, (opened, opened_value, opened_costs)), (psize, pprice)
            fill(order, time, filled, price, parts, after, scheme.margin)
            order.comminfo = scheme
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
        self._is_special = self._credits or self._adjusts or not self._skips_flat
        for feed, position, _scheme, _close in self._open:
            # Interest is charged from the time at which it was charged last.
            if self._credits:
                _give_back(position)
            elif type(position) is Position:
                position._clock = feed.lines.datetime
                position.__class__ = _HeldPosition

    def make_pass(self) -> Callable[[float], None]:
        """Return what does the broker's part of a pass, given its time."""
        match, value, params = self.next, self._value_held, self.p
        if type(self).next is not LeanBackBroker.next:
            return lambda _now: match()

        def one_pass(_now: float) -> None:
            if (
                self.pending
                or self.submitted
                or self._toactivate
                or self._dirty
                or self._is_special
                or self._cash_addition
                or self._userhist
                or self._fundhist
                or not params.shortcash
            ):
                match()
            # Most bars: nothing but the worth of what is held has changed.
            elif self._open:
                value()
            elif self._valuelever != self.cash:
                match()

        return one_pass

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
        if self._dirty:
            self._refresh()
        if self._credits:
            self._charge_interest()
        if self._userhist:
            self._process_order_history()
        if self.pending:
            self._match_pending()
        self._value_bar()

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
            or self._valuelever != self.cash
        )

    def _value_bar(self) -> None:
        """Do what backtrader does at the end of `next`."""
        if self._dirty:
            self._refresh()
        if (
            self._is_special
            or self._cash_addition
            or self._fundhist
            or not self.p.shortcash
        ):
            self._mark_to_close()
            LeanBackBroker._get_value(self)
        else:
            self._value_held()

    def _mark_to_close(self) -> None:
        for _feed, position, scheme, close in self._open:
            price = close[0]
            if self._adjusts:
                self.cash += scheme.cashadjust(position.size, position.adjbase, price)
            position.adjbase = price

    def _value_held(self) -> None:
        """Do what `_mark_to_close` and `_get_value` do for stocks and nothing else."""
        leveraged = value = unrealized = 0.0
        for _feed, position, scheme, close in self._open:
            size, price = position.size, close[0]
            position.adjbase = price
            worth, params = size * price, scheme.p
            gain = size * (price - position.price) * params.mult
            leveraged += worth
            unrealized += gain
            if worth > 0:
                value += (worth - gain) / params.leverage
                value += gain
            else:
                value += worth
        cash = self.cash
        self._value = cash + value
        self._fundval = self._value / self._fundshares
        self._valuemkt = value
        self._valuelever = cash + leveraged
        self._valuemktlever = leveraged
        self._leverage = leveraged / (value or 1.0)
        self._unrealized = unrealized

    def _charge_interest(self) -> None:
        credit = 0.0
        for feed, position, scheme, _close in self._open:
            now = feed.datetime.datetime()
            charged = scheme.get_credit_interest(feed, position, now)
            self.d_credit[feed] += charged
            credit += charged
            position.datetime = now
        self.cash -= credit

    def _match_pending(self) -> None:
        pending, market, completed = self.pending, Order.Market, Order.Completed
        pending.append(None)
        while (order := pending.popleft()) is not None:
            # A market order never expires.
            if order.exectype != market and order.expire():
                self.notify(order)
                self._ococheck(order)
                self._bracketize(order, cancel=True)
            elif not order._active:
                pending.append(order)
            else:
                self._try_exec(order)
                if order.status == completed:
                    self._bracketize(order)
                elif order.alive():
                    pending.append(order)

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
            if scheme._stocklike:
                # As the two methods, which are backtrader's own here.
                worth = size * price
                gain = size * (price - position.price) * scheme.p.mult
            else:
                worth = scheme.getvaluesize(size, price)
                gain = scheme.profitandloss(size, position.price, price)
            leveraged += worth
            unrealized += gain
            if worth > 0:
                value += (worth - gain) / scheme.p.leverage
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


def _parts(held: Any, size: Any) -> tuple[Any, Any]:
    """Return how much of a fill of `size` opens, and how much closes what is held."""
    left = held + size
    if not left:
        return 0, size
    if not held or (held > 0) == (size > 0):
        return size, 0
    if (held > 0) == (left > 0):
        return 0, size
    return left, -held


def _after_fill(position: Any, size: Any, price: float) -> tuple[Any, Any, Any, Any]:
    """Return `position.pseudoupdate(size, price)`: (size, price, opened, closed)."""
    held = position.size
    left, (opened, closed) = held + size, _parts(held, size)
    if not left:
        average = 0.0
    elif closed:
        average = price if opened else position.price
    elif held:
        average = (position.price * held + size * price) / left
    else:
        average = price
    return left, average, opened, closed


_OWN = (
    "_orders",
    "_have_clones",
    "_gives_positions",
    "_skips_flat",
    "_plain_market",
    "_dirty",
    "_open",
    "_credits",
    "_adjusts",
    "_is_special",
)
