"""What a run leaves behind, written down while it happens."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from kisbt.bt.packed import Rows
from kisbt.model.order import OrderType, Side


@dataclass(slots=True, kw_only=True)
class PlacedOrder:
    """An order of the strategy and what became of it.

    Attributes:
        order: backtrader's object; its state moves.
        number: within the run, from 1.
        created: date number of the bar on which the strategy made it.
        session: trading date on which it lives; None when it was refused.
        expires: date number of that session's close; infinity when it has none.
        reserve: won per share set aside while it works, commission included.
        tried: date number of the last bar it was matched against.
        group: orders of one group cancel each other; their shares count once.
        end_reason: why it was refused, cancelled or expired by the broker.
        leaving: live: the strategy has cancelled it and the exchange not yet; it
            promises nothing any more, and what needs its shares waits.
        journal_ref: the journal's number of it, live; None before it was sent.
        confirmed_by: what vouches for its state.
    """

    order: Any
    number: int
    symbol: str
    side: Side
    order_type: OrderType
    quantity: int
    limit_price: float | None
    stop_price: float | None
    reason: str
    created: float
    session: date | None = None
    expires: float = float("inf")
    reserve: float = 0.0
    tried: float = 0.0
    group: object = None
    end_reason: str = ""
    leaving: bool = False
    journal_ref: int | None = None
    confirmed_by: str = "backtest"


# Rows of which a run makes many are not frozen: that would double their cost.


@dataclass(slots=True, kw_only=True)
class Execution:
    """One fill; `bar` is a date number, money is won.

    Attributes:
        at: when it happened; None for the END of `bar`.
    """

    bar: float
    symbol: str
    side: Side
    quantity: int
    price: float
    commission: float
    tax: float
    slippage: float
    order_number: int
    at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Decision:
    """An order made or refused, or an entry passed over; `bar` is a date number."""

    bar: float
    symbol: str
    action: str
    reason: str
    result: str
    indicators: Mapping[str, float]
    order_number: int | None = None


@dataclass(slots=True)
class Recorder:
    """Columns and rows of one run, in the order in which things happened.

    Attributes:
        opening: shares held before the run, as if bought at its begin.
    """

    orders: Rows[PlacedOrder] = field(default_factory=list)
    fills: Rows[Execution] = field(default_factory=list)
    opening: list[Execution] = field(default_factory=list)
    decisions: Rows[Decision] = field(default_factory=list)
    times: "array[float]" = field(default_factory=lambda: array("d"))
    cash: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def add_equity(self, time: float, cash: float, positions_value: float) -> None:
        """Append the account at a bar; a second call for a bar replaces the first."""
        if self.times and self.times[-1] == time:
            self.cash[-1] = cash
            self.values[-1] = positions_value
            return
        self.times.append(time)
        self.cash.append(cash)
        self.values.append(positions_value)
