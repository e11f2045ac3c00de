"""Orders and their notices, made without the ceremony of backtrader's metaclasses.

What comes out has the attributes and values that backtrader's own constructor,
`Order.clone` and `Strategy._addnotification` give. An order carries its
parameters as attributes, too: reading them through `Order.__getattr__` is most
of what an order costs.
"""

from collections import deque
from datetime import datetime, time
from itertools import islice
from typing import Any

import backtrader as bt
from backtrader.order import Order, OrderData, SellOrder
from backtrader.trade import Trade
from backtrader.utils import AutoOrderedDict

ORDER_DEFAULTS: dict[str, Any] = dict(Order.params._getitems())

# Types whose prices are taken as they are; a trailing stop is moved when made.
_SIMPLE_TYPES = frozenset(
    {None, Order.Market, Order.Close, Order.Limit, Order.Stop, Order.StopLimit}
)
# No bar is later in its day: a session that ends here ends on that day.
_DAY_END = time(23, 59, 59, 999_990)


class OrderMaker:
    """Makes orders of the simple kinds in one go, the others as backtrader does."""

    def __init__(self) -> None:
        """Start without known sessions."""
        self._session_ends: dict[tuple[int, time], float] = {}

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

    def _session_end(self, now: float, ends_at: time) -> float:
        """Return the date number at which the day of `now` ends."""
        day = int(now), ends_at
        number = self._session_ends.get(day)
        if number is None:
            moment = datetime.combine(datetime.fromordinal(day[0]), ends_at)
            number = self._session_ends[day] = bt.date2num(moment)
        return number


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
    made = object.__new__(OrderData)
    made.__dict__ = {
        "pclose": 0.0,
        "exbits": deque(),
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
        **values,
    }
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
