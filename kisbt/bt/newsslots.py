"""Places kept for news, so that a strategy hears of orders as in a backtest."""

from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class _Slot:
    """A place kept in the row of notifications for news still to come."""

    ref: int


class NewsSlots:
    """The row of a broker's notifications, with places kept in it.

    With them the strategy hears of several orders in the order of a backtest.
    """

    def __init__(self, row: deque[Any]) -> None:
        """Keep no place yet.

        Args:
            row: the broker's own; news are added to it at the end as ever.
        """
        self._row = row
        self._kept: dict[int, _Slot] = {}

    def keep(self, order: Any) -> None:
        """Keep a place at the end for the next news of an order."""
        slot = self._kept[order.ref] = _Slot(order.ref)
        self._row.append(slot)

    def fill(self, order: Any) -> bool:
        """Put an order as it is now in its place; False if none is kept any more."""
        slot = self._kept.pop(order.ref, None)
        if slot is None:
            return False
        at = next(n for n, item in enumerate(self._row) if item is slot)
        self._row[at] = order.clone()
        return True

    def take(self) -> Any:
        """Return the next news, past empty places; None when there is none."""
        while self._row:
            found = self._row.popleft()
            if not isinstance(found, _Slot):
                return found
            if self._kept.get(found.ref) is found:
                del self._kept[found.ref]
        return None
