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

from backtrader.order import Order, OrderData, OrderExecutionBit, SellOrder
from backtrader.trade import Trade
from backtrader.utils import AutoOrderedDict
from backtrader.utils.dateintern import (
    HOURS_PER_DAY,
    MINUTES_PER_DAY,
    MUSECONDS_PER_DAY,
    SECONDS_PER_DAY,
)

from kisbt.bt.feed import BINADE

_new = object.__new__
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
# The same of what a market order asks for.
_WISH: dict[str, Any] = {
    **_DATA,
    **dict.fromkeys(("trailamount", "trailpercent", "_plimit")),
}


class OrderMaker:
    """Makes orders of the simple kinds in one go, the others as backtrader does."""

    def __init__(self) -> None:
        """Start without known times of day."""
        self._since_midnight: dict[time, tuple[float, ...]] = {}

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
        params = _new(kind.params)
        params.__dict__ = values
        order = _new(kind)
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
        params = _new(kind.params)
        params.__dict__ = values
        signed = -size if kind is SellOrder else size
        now, close = data.datetime[0], data.close[0]
        wish, done = _WISH.copy(), _DATA.copy()
        wish["exbits"], done["exbits"] = deque(), deque()
        wish["dt"], wish["size"], done["remsize"] = now, signed, signed
        wish["price"] = wish["pricelimit"] = wish["pclose"] = close
        held = _MARKET.copy()
        held["owner"], held["data"], held["size"] = owner, data, signed
        held["params"] = held["p"] = params
        held["tradeid"], held["ref"] = tradeid, next(kind.refbasis)
        held["info"] = AutoOrderedDict()
        held["created"], held["executed"] = _data_of(wish), _data_of(done)
        held["dteos"] = self._session_end(now, ends_at)
        order = _new(kind)
        order.__dict__ = held
        return order

    def _session_end(self, now: float, ends_at: time) -> float:
        """Return the date number at which the day of `now` ends."""
        day, known = float(int(now)), self._since_midnight.get(ends_at)
        if known is None:
            known = self._since_midnight[ends_at] = _day_parts(ends_at)
        rounded, *parts = known
        # As `date2num` of the moment.
        if BINADE <= day < 2.0 * BINADE - 1.0:
            return day + rounded
        return math.fsum((day, *parts))


def _day_parts(moment: time) -> tuple[float, ...]:
    """Return a time of day as a share of it, rounded as in a date, and its parts."""
    parts = (
        moment.hour / HOURS_PER_DAY,
        moment.minute / MINUTES_PER_DAY,
        moment.second / SECONDS_PER_DAY,
        moment.microsecond / MUSECONDS_PER_DAY,
    )
    return math.fsum((BINADE, *parts)) - BINADE, *parts


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
    made = _new(OrderData)
    made.__dict__ = held
    return made


def clone(order: Any) -> Any:
    """Return `order.clone()`: what a notice shows of an order."""
    held = order.__dict__.copy()
    executed = held["executed"]
    executed.p1, executed.p2 = executed.p2, len(executed.exbits)
    held["executed"] = seen = _new(type(executed))
    seen.__dict__ = executed.__dict__.copy()
    notice = _new(type(order))
    notice.__dict__ = held
    return notice


def note_submitted(order: Any) -> Any:
    """Do what `Order.submit` does without a broker; return the notice of it."""
    held = order.__dict__
    held["status"], held["broker"] = Order.Submitted, None
    held["plen"] = len(order.data)
    return clone(order)


def note_accepted(order: Any) -> Any:
    """Do what `BackBroker.submit_accept` does to an order; return the notice of it."""
    held = order.__dict__
    held["pannotated"] = held["broker"] = None
    held["plen"], held["status"] = len(order.data), Order.Accepted
    return clone(order)


def accept_at_once(order: Any, broker: Any) -> tuple[Any, Any]:
    """Do what `submit` and `accept` do to a new order; return both notices.

    Nothing is filled in between: both show the same `executed`.
    """
    held, kind = order.__dict__, type(order)
    seen = _twin(order.executed)
    held["plen"] = len(order.data)
    held["status"], held["broker"] = Order.Submitted, broker
    submitted, accepted = _new(kind), _new(kind)
    submitted.__dict__ = first = held.copy()
    held["pannotated"] = None
    held["status"], held["broker"] = Order.Accepted, None
    accepted.__dict__ = second = held.copy()
    first["executed"] = second["executed"] = seen
    return submitted, accepted


def fill(
    order: Any,
    time: float,
    size: Any,
    price: float,
    parts: tuple[tuple[Any, ...], tuple[Any, ...]],
    after: tuple[Any, Any],
    margin: Any,
) -> None:
    """Do what `Order.execute` does.

    Args:
        order: what was filled.
        time: date number of the fill.
        size, price: of the fill.
        parts: of what it closed, size, value, costs and gain; of what it opened,
            size, value and costs.
        after: size and price of the position.
        margin: of the commission scheme.
    """
    (closed, closed_value, closed_costs, gain), opening = parts
    opened, opened_value, opened_costs = opening
    value, costs = closed_value + opened_value, closed_costs + opened_costs
    left, average = after
    bit = _new(OrderExecutionBit)
    bit.__dict__ = {
        "dt": time,
        "size": size,
        "price": price,
        "closed": closed,
        "opened": opened,
        "closedvalue": closed_value,
        "openedvalue": opened_value,
        "closedcomm": closed_costs,
        "openedcomm": opened_costs,
        "value": value,
        "comm": costs,
        "pnl": gain,
        "psize": left,
        "pprice": average,
    }
    executed = order.executed
    executed.exbits.append(bit)
    before = executed.size
    total = before + size
    executed.remsize = rest = executed.remsize - size
    executed.dt = time
    executed.price = (before * executed.price + size * price) / total
    executed.size = total
    executed.value += value
    executed.comm += costs
    executed.pnl += gain
    executed.psize, executed.pprice = left, average
    executed.margin = margin
    order.status = Order.Partial if rest else Order.Completed


def _twin(item: Any) -> Any:
    """Return `copy.copy` of a plain object, without the protocol of pickling."""
    made = _new(type(item))
    made.__dict__ = item.__dict__.copy()
    return made


def book_trades(strategy: Any, order: Any, executed: Any) -> None:
    """Do what `strategy._addnotification` does for a fill: queue the trades it makes.

    Args:
        strategy: whose order was filled.
        order: a notice of it.
        executed: its part of that name.
    """
    feed = _feed_of(order)
    trades = strategy._trades[feed][order.tradeid]
    if not trades:
        trades.append(_new_trade(strategy, feed, order))
    queue, trade = strategy._tradespending, trades[-1]
    for bit in islice(executed.exbits, executed.p1, executed.p2):
        if bit is None:
            break
        if bit.closed:
            _update(trade, order, bit, bit.closed, bit.closedcomm)
            if trade.isclosed:
                queue.append(_twin(trade))
        if bit.opened:
            if trade.isclosed:
                trade = _new_trade(strategy, feed, order)
                trades.append(trade)
            _update(trade, order, bit, bit.opened, bit.openedcomm)
            if trade.isclosed:
                queue.append(_twin(trade))
        if trade.justopened:
            queue.append(_twin(trade))


def _feed_of(order: Any) -> Any:
    """Return the feed whose position an order changes."""
    feed = order.data
    other = feed._compensate
    return feed if other is None else other


def _update(trade: Any, order: Any, bit: Any, size: Any, costs: float) -> None:
    """Do `trade.update` with a part of a fill.

    Args:
        trade: of backtrader.
        order: that was filled.
        bit: the fill.
        size, costs: of the part; `size` is not 0.
    """
    price, scheme = bit.price, order.comminfo
    if trade.historyon:
        # Value and gain are not looked at.
        trade.update(order, size, price, 0.0, costs, 0.0, comminfo=scheme)
        return
    feed, held, average = trade.data, trade.size, trade.price
    bars, left = len(feed), held + size
    trade.commission = paid = trade.commission + costs
    trade.size = left
    trade.justopened, trade.isopen = not held, bool(left)
    if not held:
        trade.baropen = bars
        trade.dtopen = 0.0 if order.p.simulated else feed.datetime[0]
        trade.long = left > 0
    trade.barlen = bars - trade.baropen
    trade.isclosed = bool(held and not left)
    if trade.isclosed:
        trade.barclose, trade.dtclose = bars, feed.datetime[0]
        trade.status = Trade.Closed
    elif left:
        trade.status = Trade.Open
    if abs(left) > abs(held):
        trade.price = average = (held * average + size * price) / left
        gain = trade.pnl + 0.0
    else:
        gain = trade.pnl + scheme.profitandloss(-size, average, price)
    trade.pnl = gain
    trade.pnlcomm = gain - paid
    trade.value = scheme.getvaluesize(left, average)


def _new_trade(strategy: Any, feed: Any, order: Any) -> Any:
    return Trade(data=feed, tradeid=order.tradeid, historyon=strategy._tradehistoryon)
