"""What a live broker knows of an order beyond what a backtest does."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from kisbt.bt.recorder import PlacedOrder


class Place(Enum):
    """Where a live order is."""

    HERE = "here"
    """Watched, or waiting for something else to end."""
    DESK = "desk"
    """Handed to the order desk."""


class Wish(Enum):
    """What a cancellation that was asked for will mean to the strategy."""

    NONE = "none"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    """Nothing: another leg of its group goes first, and it may come back."""


@dataclass(slots=True, eq=False)
class LiveOrder:
    """An order of the strategy beyond what a backtest knows of it.

    Attributes:
        place: where it is.
        wish: what the cancellation asked for will mean; NONE without one.
        touched: the price has released it.
        over: its `valid` has passed: it is not sent any more.
    """

    placed: PlacedOrder
    place: Place = Place.HERE
    wish: Wish = Wish.NONE
    touched: bool = False
    over: bool = False

    @property
    def order(self) -> Any:
        """The order of backtrader."""
        return self.placed.order
