"""The orders of a live run: those that have ended are packed.

An order of backtrader, with its queues of fills, takes some kilobytes; packed a few
hundred bytes. Should there be news of an order that has ended (a cancelled one that
filled all the same, a price put right), it is unpacked and packed again.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from numbers import Number
from typing import Any, overload
from weakref import WeakValueDictionary

from backtrader.order import Order, OrderData
from backtrader.utils import AutoOrderedDict

from kisbt.bt.liveorder import LiveOrder
from kisbt.bt.packed import Packed
from kisbt.bt.recorder import PlacedOrder

_PLAIN = (str, Number, date, timedelta, type(None))
_OWN = (*_PLAIN, OrderData, AutoOrderedDict)
_GOING = -1


class OrderLog(Sequence[PlacedOrder]):
    """Every order of a run, by number, in the order in which they were made.

    Attributes:
        going: those that have not been let go, by number.
    """

    def __init__(self, fixed: Callable[[], Mapping[str, object]]) -> None:
        """Begin empty.

        Args:
            fixed: what orders refer to and is not theirs, by name.
        """
        self.going: dict[int, PlacedOrder] = {}
        self._fixed = fixed
        # What others may still change: it cannot be packed.
        self._strange: dict[int, PlacedOrder] = {}
        self._packed: Packed[LiveOrder] = Packed(fixed)
        self._places = array("q")  # among the packed, by number
        # What a strategy holds on to stays the same object.
        self._held: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def append(self, placed: PlacedOrder) -> None:
        """Add an order; its number is one more than that of the one before."""
        self._places.append(_GOING)
        self.going[len(self._places)] = placed

    def pack(self, item: LiveOrder) -> bool:
        """Let go of an order that has ended; return whether it was packed.

        One to which the strategy has given things of its own is kept as it is.
        """
        number = item.placed.number
        if not _is_plain(item.order, self._fixed()):
            self._strange[number] = self.going.pop(number)
            return False
        self._held[number] = item.order
        self._places[number - 1] = len(self._packed)
        self._packed.append(item)
        del self.going[number]
        return True

    def unpack(self, number: int) -> LiveOrder:
        """Return an order that was packed, to be packed again."""
        item = self._read(number)
        self._packed.forget_read()
        self._places[number - 1] = _GOING
        self.going[number] = item.placed
        return item

    def _read(self, number: int) -> LiveOrder:
        place = self._places[number - 1]
        assert place != _GOING, "what is not packed is not read"
        item = self._packed[place]
        held = self._held.get(number)
        if held is not None:
            item.placed.order = held
        return item

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[PlacedOrder]:
        for number in range(1, len(self) + 1):
            yield self._find(number)
        self._packed.forget_read()

    @overload
    def __getitem__(self, at: int) -> PlacedOrder: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[PlacedOrder]: ...

    def __getitem__(self, at: int | slice) -> PlacedOrder | Sequence[PlacedOrder]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        return self._find(range(1, len(self) + 1)[at])

    def awake(self, number: int) -> PlacedOrder | None:
        """Return an order that is not packed."""
        return self.going.get(number) or self._strange.get(number)

    def _find(self, number: int) -> PlacedOrder:
        return self.awake(number) or self._read(number).placed


class SentOrders:
    """Orders by the journal's number, those included that are packed."""

    def __init__(self, wake: Callable[[int], LiveOrder]) -> None:
        """Begin empty.

        Args:
            wake: unpacks an order by its number within the run.
        """
        self._wake = wake
        self._going: dict[int, LiveOrder] = {}
        self._refs, self._numbers = array("q"), array("q")  # of all, by ref

    def __len__(self) -> int:
        return len(self._refs)

    def __setitem__(self, ref: int, item: LiveOrder) -> None:
        at = bisect_left(self._refs, ref)
        if at == len(self._refs) or self._refs[at] != ref:
            self._refs.insert(at, ref)
            self._numbers.insert(at, item.placed.number)
        self._going[ref] = item

    def get(self, ref: int) -> LiveOrder | None:
        """Return an order; None if it was not sent by this run."""
        item = self._going.get(ref)
        if item is None:
            at = bisect_left(self._refs, ref)
            if at < len(self._refs) and self._refs[at] == ref:
                item = self._going[ref] = self._wake(self._numbers[at])
        return item

    def let_go(self, item: LiveOrder) -> None:
        """Note that an order was packed; sent again, it has several numbers."""
        for ref in [ref for ref, other in self._going.items() if other is item]:
            del self._going[ref]


def _is_plain(order: Any, fixed: Mapping[str, object]) -> bool:
    """Return whether an order has nothing that others may change."""
    known = {id(item) for item in fixed.values()} | {id(order.p)}
    parent = order.p.parent
    if isinstance(parent, Order) and not _is_plain(parent, fixed):
        return False
    asked = (item for item in vars(order.p).values() if item is not parent)
    return all(isinstance(item, _PLAIN) for item in order.info.values()) and all(
        isinstance(item, _OWN) or id(item) in known
        for item in (*vars(order).values(), *asked)
    )
