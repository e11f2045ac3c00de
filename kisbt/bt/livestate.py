"""Orders of a live broker as JSON, and back after a restart.

The journal knows what is at the broker and what was filled. What it does not know is
kept here: stops that are still watched, which orders belong together, how far a
trailing stop has moved, what a cancellation under way is for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import SimpleNamespace
from typing import Any

from backtrader import Order, date2num
from backtrader.order import BuyOrder, SellOrder

from kisbt.bt.liveorder import LiveOrder, Place, Wish
from kisbt.bt.mapping import EXEC_TYPES
from kisbt.bt.recorder import PlacedOrder
from kisbt.bt.resume import GoingOrder
from kisbt.krx.matching import STOPS
from kisbt.model.order import OrderType, Side

# A market buy of an earlier run sets aside cash at the highest price of any session.
_UPPER_LIMIT = 1.3


def dump_order(item: LiveOrder) -> dict[str, Any]:
    """Return an order that has not ended as JSON."""
    order, placed = item.order, item.placed
    created, done = order.created, order.executed
    return {
        "number": placed.number,
        "ref": placed.journal_ref,
        "place": item.place.value,
        "symbol": placed.symbol,
        "side": placed.side,
        "type": placed.order_type,
        "quantity": placed.quantity,
        "open": abs(int(done.remsize)),
        "filled": abs(int(done.size)),
        "average": float(done.price),
        "limit": placed.limit_price,
        "stop": placed.stop_price,
        "price": created.price,
        "plimit": created.pricelimit,
        "offset": order._limitoffset,
        "trail_amount": created.trailamount,
        "trail_percent": created.trailpercent,
        "valid": order.valid,
        "created": placed.created,
        "tried": placed.tried,
        "session": None if placed.session is None else str(placed.session),
        "expires": placed.expires if placed.session is not None else None,
        "reserve": placed.reserve,
        "reason": placed.reason,
        "group": "-".join(map(str, _group_of(placed))),
        "active": order.active(),
        "parent": None if order.parent is None else order.parent.ref,
        "own": order.ref,
        "triggered": bool(order.triggered),
        "touched": item.touched,
        "wish": item.wish.value,
    }


def _group_of(placed: PlacedOrder) -> Sequence[object]:
    group = placed.group
    return group if isinstance(group, tuple) else ()


@dataclass(frozen=True, slots=True)
class Restored:
    """An order built again.

    Attributes:
        parent: old reference number of the order it belongs to; None without one.
        own: its old reference number; None for an order only the journal knew.
        group: equal for the orders of one group.
    """

    item: LiveOrder
    parent: int | None
    own: int | None
    group: str


def restore_orders(
    kept: Iterable[Mapping[str, Any]],
    going: Iterable[GoingOrder],
    feeds: Mapping[str, Any],
) -> list[Restored]:
    """Build the orders of an earlier run again, oldest first.

    Args:
        kept: what `dump_order` returned.
        going: orders of the journal that have not ended, or of which there is news.
        feeds: by symbol; orders of other symbols are left out.
    """
    by_ref = {order.ref: order for order in going}
    found: list[tuple[tuple[float, int], dict[str, Any], GoingOrder | None]] = []
    for kept_row in kept:
        row = dict(kept_row)
        at_desk = by_ref.pop(row["ref"], None)
        if at_desk is None:
            if row["place"] == Place.DESK.value:
                continue  # its end has been told
            # Sent after this was kept: the journal knows it by number and bar.
            at_desk = _sent_since(row, by_ref)
        elif row["place"] == Place.HERE.value:
            row["wish"] = Wish.WITHDRAWN.value  # back here, but that will be retold
        found.append(((row["created"], row["number"]), row, at_desk))
    found.extend(
        ((_number_of(order), order.number), _row_of(order), order)
        for order in by_ref.values()
    )
    found.sort(key=lambda entry: entry[0])
    # A parent of a bracket may have ended: its exits know it by number alone.
    parents: dict[int, Any] = {}
    restored = []
    for _place, row, at_desk in found:
        feed = feeds.get(row["symbol"])
        if feed is None:
            continue
        parent = row["parent"]
        if parent is not None and parent not in parents:
            parents[parent] = SimpleNamespace(ref=next(Order.refbasis))
        item = _build(row, at_desk, feed, parents.get(parent))
        if row["own"] is not None:
            parents[row["own"]] = item.order
        restored.append(Restored(item, parent, row["own"], row["group"]))
    return restored


def _sent_since(
    row: Mapping[str, Any], by_ref: dict[int, GoingOrder]
) -> GoingOrder | None:
    for ref, order in by_ref.items():
        same = (
            order.number == row["number"]
            and order.symbol == row["symbol"]
            and order.side == row["side"]
            and _number_of(order) == row["created"]
        )
        if same:
            return by_ref.pop(ref)
    return None


def _number_of(order: GoingOrder) -> float:
    return float(date2num(order.bar.replace(tzinfo=None)))


def _row_of(order: GoingOrder) -> dict[str, Any]:
    """Return an order that only the journal knows in the form of `dump_order`."""
    price = order.limit_price or order.last_price
    return {
        "number": order.number,
        "symbol": order.symbol,
        "side": order.side,
        "type": order.order_type,
        "quantity": order.quantity,
        "limit": order.limit_price,
        "stop": order.stop_price,
        "price": price,
        "plimit": order.limit_price,
        "offset": 0.0,
        "trail_amount": None,
        "trail_percent": None,
        "valid": None,
        "created": _number_of(order),
        "tried": 0.0,
        "session": str(order.session),
        "expires": None,
        "reserve": price if order.limit_price else price * _UPPER_LIMIT,
        "reason": order.reason,
        "group": f"alone-{order.ref}",
        "active": True,
        "parent": None,
        "own": None,
        "triggered": order.stop_price is not None,
        "touched": order.stop_price is not None,
        "wish": Wish.NONE.value,
    }


def _build(
    row: Mapping[str, Any], at_desk: GoingOrder | None, feed: Any, parent: Any
) -> LiveOrder:
    side, kind = Side(row["side"]), OrderType(row["type"])
    filled = at_desk.filled if at_desk else row["filled"]
    left = at_desk.quantity - at_desk.filled if at_desk else row["open"]
    order = _order(row, side, kind, filled + left, feed, parent)
    _fill_in(order, row, side, filled=filled, left=left, at_desk=at_desk)
    session = row["session"]
    placed = PlacedOrder(
        order=order,
        number=0,
        symbol=row["symbol"],
        side=side,
        order_type=kind,
        quantity=row["quantity"],
        limit_price=row["limit"],
        stop_price=row["stop"],
        reason=row["reason"],
        created=row["created"],
        tried=row["tried"],
        session=None if session is None else date.fromisoformat(session),
        expires=float("inf") if row["expires"] is None else row["expires"],
        reserve=row["reserve"] if side is Side.BUY else 0.0,
        journal_ref=at_desk.ref if at_desk else None,
        confirmed_by="",
    )
    item = LiveOrder(placed, touched=bool(row["touched"]))
    if at_desk is not None:
        item.place = Place.DESK
        item.touched = item.touched or kind in STOPS
        item.wish = Wish(row["wish"])
        if at_desk.cancelling and item.wish is Wish.NONE:
            item.wish = Wish.CANCELLED
        elif at_desk.is_open and not at_desk.cancelling:
            item.wish = Wish.NONE  # written down, and never asked for
        placed.leaving = item.wish in {Wish.CANCELLED, Wish.EXPIRED}
    return item


def _order(
    row: Mapping[str, Any],
    side: Side,
    kind: OrderType,
    size: int,
    feed: Any,
    parent: Any,
) -> Any:
    order = (BuyOrder if side is Side.BUY else SellOrder)(
        data=feed,
        size=size,
        exectype=EXEC_TYPES[kind],
        price=row["price"],
        pricelimit=row["plimit"],
        trailamount=row["trail_amount"],
        trailpercent=row["trail_percent"],
        parent=parent,
        simulated=True,  # the feed has no bar yet from which to read a price
    )
    order.p.simulated = False  # the strategy shall hear of it
    order.addinfo(reason=row["reason"], resumed=True)
    return order


def _fill_in(
    order: Any,
    row: Mapping[str, Any],
    side: Side,
    *,
    filled: int,
    left: int,
    at_desk: GoingOrder | None,
) -> None:
    sign = 1 if side is Side.BUY else -1
    order.created.dt = row["created"]
    order.created.price, order.created.pricelimit = row["price"], row["plimit"]
    order._limitoffset = row["offset"]
    order.valid = row["valid"]
    order.triggered = bool(row["triggered"])
    order.status = Order.Accepted
    order.executed.remsize = sign * left
    if filled:
        average = row.get("average", 0.0)
        if at_desk is not None and at_desk.filled:
            average = at_desk.amount / at_desk.filled
        order.executed.size = sign * filled
        order.executed.price = average
        order.status = Order.Partial
    if row["active"]:
        order.activate()
