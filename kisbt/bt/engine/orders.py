"""Orders and their notices, made without the ceremony of backtrader's metaclasses.

What comes out has the attributes and values that backtrader's own constructor,
`Order.clone` and `Strategy._addnotification` give. An order carries its
parameters as attributes, too: reading them through `Order.__getattr__` is most
of what an order costs.
"""

import math
from collections import deque
from datetime import time
from itertools import islice
from typing import Any

from backtrader.order import Order, OrderData, SellOrder
from backtrader.trade import Trade
from backtrader.utils import AutoOrderedDict
from backtrader.utils.dateintern import (
    HOURS_PER_DAY,
    MINUTES_PER_DAY,
    MUSECONDS_PER_DAY,
    SECONDS_PER_DAY,
)

ORDER_DEFAULTS: dict[str, Any] = dict(Order.params._getitems())

# Types whose prices are taken as they are; a trailing stop is moved when made.
_SIMPLE_TYPES = frozenset(
    {None, Order.Market, Order.Close, Order.Limit, Order.Stop, Order.StopLimit}
)
# No bar is later in its day: a session that ends here ends on that day.
_DAY_END = time(23, 59, 59, 999_990)


# What a market order has when it is made; None where every order has its own.
_MARKET: dict[str, Any] = {
    **ORDER_DEFAULTS,
    **dict.fromkeys(("params", "p", "ref", "broker", "comminfo", "info")),
    "exectype": Order.Market,
    "triggered": False,
    "_active": True,
    "status": Order.Created,
    "_plimit": None,
    "created": None,
    "_limitoffset": 0.0,
    "executed": None,
    "position": 0,
    "dteos": None,
}
# What `OrderData` has when nothing is said.
_DATA: dict[str, Any] = {
    "exbits": None,
    "pclose": 0.0,
    "p1": 0,
    "p2": 0,
    "dt": None,
    "size": 0,
    "remsize": 0,
    "price": 0.0,
    "pricelimit": 0.0,
    "trailamount": 0.0,
    "trailpercent": 0.0,
    "_plimit": 0.0,
    "value": 0.0,
    "comm": 0.0,
    "margin": None,
    "pnl": 0.0,
    "psize": 0,
    "pprice": 0,
}


class OrderMaker:
    """Makes orders of the simple kinds in one go, the others as backtrader does."""

    def __init__(self) -> None:
        """Start without known times of day."""
        self._fractions: dict[time, tuple[float, ...]] = {}

    def make(self, kind: Any, values: dict[str, Any]) -> Any:
        """Return a new order.

        Args:
            kind: `BuyOrder` or `SellOrder`.
            values: all parameters of `Order` (`ORDER_DEFAULTS`); kept.
        """
        data = values["data"]
        ends_at = data.p.sessionend
        if (
            values["simulated"]
            or values["exectype"] not in _SIMPLE_TYPES
            or values["valid"] is not None
            or data._tz is not None
            or ends_at < _DAY_END
        ):
            return kind(**values)
        params = object.__new__(kind.params)
        params.__dict__ = values
        order = object.__new__(kind)
        order.__dict__ = held = values.copy()
        _fill_in(held, kind, params)
        held["dteos"] = self._session_end(data.lines.datetime[0], ends_at)
        return order

    def make_market(
        self,
        kind: Any,
        owner: Any,
        data: Any,
        size: Any,
        tradeid: Any,
        exectype: int | None,
    ) -> Any:
        """Return a new market order on its own, without conditions.

        Args:
            exectype: `Order.Market`, or None, which stands for it.
        """
        ends_at = data.p.sessionend
        if data._tz is not None or ends_at < _DAY_END:
            own = {"owner": owner, "data": data, "size": size, "tradeid": tradeid}
            return kind(**{**ORDER_DEFAULTS, **own, "exectype": exectype})
        # Copies of whole dictionaries are quicker than new ones.
        values = ORDER_DEFAULTS.copy()
        values["owner"], values["data"], values["size"] = owner, data, size
        values["tradeid"], values["exectype"] = tradeid, exectype
        params = object.__new__(kind.params)
        params.__dict__ = values
        signed = -size if kind is SellOrder else size
        now, close = data.datetime[0], data.close[0]
        wish, done = _DATA.copy(), _DATA.copy()
        wish["exbits"], done["exbits"] = deque(), deque()
        wish["dt"], wish["size"], done["remsize"] = now, signed, signed
        wish["price"] = wish["pricelimit"] = wish["pclose"] = close
        wish["trailamount"] = wish["trailpercent"] = wish["_plimit"] = None
        held = _MARKET.copy()
        held["owner"], held["data"], held["size"] = owner, data, signed
        held["params"] = held["p"] = params
        held["tradeid"], held["ref"] = tradeid, next(kind.refbasis)
        held["info"] = AutoOrderedDict()
        held["created"], held["executed"] = _data_of(wish), _data_of(done)
        held["dteos"] = self._session_end(now, ends_at)
        order = object.__new__(kind)
        order.__dict__ = held
        return order

    def _session_end(self, now: float, ends_at: time) -> float:
        """Return the date number at which the day of `now` ends."""
        fractions = self._fractions.get(ends_at)
        if fractions is None:
            fractions = self._fractions[ends_at] = (
                ends_at.hour / HOURS_PER_DAY,
                ends_at.minute / MINUTES_PER_DAY,
                ends_at.second / SECONDS_PER_DAY,
                ends_at.microsecond / MUSECONDS_PER_DAY,
            )
        # As `date2num` of the moment.
        return math.fsum((float(int(now)), *fractions))


def _fill_in(held: dict[str, Any], kind: Any, params: Any) -> None:
    """Set what `Order.__init__` sets."""
    held["params"] = held["p"] = params
    held["ref"] = next(kind.refbasis)
    held["broker"] = held["comminfo"] = None
    held["info"] = AutoOrderedDict()
    held["triggered"] = False
    held["_active"] = held["parent"] is None
    held["status"] = Order.Created
    price, limit = held["price"], held["pricelimit"]
    held["_plimit"] = limit
    if held["exectype"] is None:
        held["exectype"] = Order.Market
    if kind is SellOrder:
        held["size"] = -held["size"]
    data, size = held["data"], held["size"]
    close = data.close[0]
    if not price and not limit:
        price = close
    held["created"] = _order_data(
        dt=data.datetime[0],
        size=size,
        price=limit if limit and not price else price,
        pricelimit=limit or price,
        pclose=close,
        trailamount=held["trailamount"],
        trailpercent=held["trailpercent"],
        _plimit=limit,
    )
    held["_limitoffset"] = 0.0
    held["executed"] = _order_data(remsize=size)
    held["position"] = 0


def _order_data(**values: Any) -> Any:
    """Return backtrader's `OrderData`."""
    return _data_of({**_DATA, "exbits": deque(), **values})


def _data_of(held: dict[str, Any]) -> Any:
    made = object.__new__(OrderData)
    made.__dict__ = held
    return made


def clone(order: Any) -> Any:
    """Return `order.clone()`: what a notice shows of an order."""
    executed = order.executed
    executed.p1, executed.p2 = executed.p2, len(executed.exbits)
    seen = _twin(order)
    seen.executed = _twin(executed)
    return seen


def _twin(item: Any) -> Any:
    """Return `copy.copy` of a plain object, without the protocol of pickling."""
    made = object.__new__(type(item))
    made.__dict__ = item.__dict__.copy()
    return made


def deliver(strategy: Any, order: Any) -> None:
    """Do `strategy._addnotification(order)`: queue it, and the trades it makes."""
    if not order.p.simulated:
        strategy._orderspending.append(order)
    executed = order.executed
    if not executed.size:
        return
    feed = order.data._compensate
    if feed is None:
        feed = order.data
    trades = strategy._trades[feed][order.tradeid]
    if not trades:
        trades.append(_new_trade(strategy, feed, order))
    for bit in islice(executed.exbits, executed.p1, executed.p2):
        if bit is None:
            break
        if bit.closed:
            trade = trades[-1]
            part = bit.closed, bit.price, bit.closedvalue, bit.closedcomm, bit.pnl
            trade.update(order, *part, comminfo=order.comminfo)
            _queue_if(trade.isclosed, strategy, trade)
        if bit.opened:
            if trades[-1].isclosed:
                trades.append(_new_trade(strategy, feed, order))
            trade = trades[-1]
            part = bit.opened, bit.price, bit.openedvalue, bit.openedcomm, bit.pnl
            trade.update(order, *part, comminfo=order.comminfo)
            _queue_if(trade.isclosed, strategy, trade)
        _queue_if(trades[-1].justopened, strategy, trades[-1])


def _new_trade(strategy: Any, feed: Any, order: Any) -> Any:
    return Trade(data=feed, tradeid=order.tradeid, historyon=strategy._tradehistoryon)


def _queue_if(wanted: bool, strategy: Any, trade: Any) -> None:
    if wanted:
        strategy._tradespending.append(_twin(trade))
