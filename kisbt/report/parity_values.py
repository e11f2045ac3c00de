"""What a comparison of a run with its backtest is made of."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from kisbt.model.candle import Candle
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import FillRow, OrderRow, RunResult
from kisbt.report.livefiles import LiveRun

WON = 0.5
"""Won below which two amounts are the same: both are whole won."""

OrderKey = tuple[datetime, str, Side, int]
"""END of the bar that made it, symbol, side, count among those of the same."""


class Cause(StrEnum):
    """Why a run and a backtest differ."""

    REFUSED = "refused"
    NOT_SENT = "not_sent"
    CANCELLED = "cancelled"
    PARTIAL = "partial"
    NOT_FILLED = "not_filled"
    SLIPPAGE = "slippage"
    LATENCY = "latency"
    FEE = "fee"
    CANDLE_REVISED = "candle_revised"
    CANDLE_LATE = "candle_late"
    CANDLE_GAP = "candle_gap"
    RESTART = "restart"
    DISCONNECT = "disconnect"
    HALT = "halt"
    PAUSE = "pause"
    EXTERNAL = "external"
    CORRECTION = "correction"
    ADJUSTMENT = "adjustment"
    AFTER_END = "after_end"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that the run and the backtest did not do alike.

    Attributes:
        bar: END of the bar that made the order, or of the one concerned.
        expected, found: of the backtest and of the run, as `text` of `Outcome`.
        note: what vouches for the cause: KIS's words, the guard's, a time.
        cost: won the run has less because of it.
        order_ref: in orders.csv of the run; None for an order it did not make.
    """

    cause: Cause
    bar: datetime
    symbol: str
    side: Side | None
    order_ref: int | None
    expected: "Outcome | None"
    found: "Outcome | None"
    note: str = ""
    cost: float = 0.0

    @property
    def explained(self) -> bool:
        """Whether its cause is known."""
        return self.cause is not Cause.UNEXPLAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an order.

    Attributes:
        asked: shares ordered.
        quantity: shares filled.
        amount: won of the fills. fees: commission and tax, won.
        bar: END of the bar of the first fill; None without one.
    """

    state: OrderState
    type: OrderType
    asked: int
    limit_price: float | None = None
    stop_price: float | None = None
    quantity: int = 0
    amount: float = 0.0
    fees: float = 0.0
    bar: datetime | None = None

    @property
    def price(self) -> float | None:
        """Average price of the fills, won a share."""
        return self.amount / self.quantity if self.quantity else None

    def value(self, side: Side, mark: float) -> float:
        """Return what it has added to equity, shares valued at `mark` won."""
        flow = self.quantity * mark - self.amount
        return (flow if side is Side.BUY else -flow) - self.fees


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What the strategy did when it was told what the run's strategy was told.

    Attributes:
        orders: those it made, in order; `ref` counts within the replay.
        run_refs: replay ref to the ref of the same order in the run; None for an
            order the run did not make.
        missed: refs of orders of the run that it did not make.
        refused: refs of orders that its own rules refused at once.
        ended: refs of orders that ended because the run's did, by no rule of the
            exchange and no wish of the strategy: refused or cancelled by others.
        expected: what the backtest's market would have filled of each order of
            the run; `order_ref` is that of the run.
    """

    orders: tuple[OrderRow, ...]
    run_refs: Mapping[int, int | None]
    missed: frozenset[int]
    refused: frozenset[int]
    ended: frozenset[int]
    expected: tuple[FillRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything `find_differences` looks at.

    Attributes:
        run, live: the run.
        backtest: of the candles the run saw, from its starting cash and positions.
        replayed: see `Replayed`; None when run and backtest are the same.
        candle_at: candle of a symbol by its END, as the run saw it.
        marks: last close seen by symbol, won.
        fees_of: commission and tax of a fill by the configured rates, won.
        reach_of: won by which a fill may lie outside the trades of its candle: the
            price steps that the configured slippage and the spread take.
        candle_costs: what candles that came late or changed have cost: a backtest of
            the candles as the exchange tells them now, less `backtest`.
    """

    run: RunResult
    live: LiveRun
    backtest: RunResult
    replayed: Replayed | None
    candle_at: Callable[[str, datetime], Candle | None]
    marks: Mapping[str, float]
    fees_of: Callable[[FillRow], float]
    reach_of: Callable[[FillRow], float] = lambda _fill: 0.0
    candle_costs: tuple["Difference", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The answer.

    Attributes:
        same: whether orders, fills, trades and equity are the same.
        differences: by bar.
        run_equity, backtest_equity: won at the last bar.
        candle_cost: won that a backtest of the true candles has more than
            `backtest_equity`, which is of the candles as they were seen.
        orders, fills, trades: how many the run has, the backtest has, and how many
            of them are the same.
    """

    same: bool
    differences: tuple[Difference, ...]
    run_equity: float
    backtest_equity: float
    orders: tuple[int, int, int]
    fills: tuple[int, int, int]
    trades: tuple[int, int, int]
    costs: Mapping[Cause, float] = field(default_factory=dict)
    candle_cost: float = 0.0

    @property
    def explained(self) -> bool:
        """Whether every difference has a known cause."""
        return all(difference.explained for difference in self.differences)

    @property
    def total_cost(self) -> float:
        """Won the run has less than a backtest of the true candles."""
        return self.backtest_equity + self.candle_cost - self.run_equity

    @property
    def followed(self) -> float:
        """Won of the total that followed from the differences, not part of them."""
        return self.total_cost - sum(self.costs.values())


def order_keys(orders: Iterable[OrderRow]) -> dict[OrderKey, OrderRow]:
    """Return orders by (bar, symbol, side, sequence)."""
    seen: dict[tuple[datetime, str, Side], int] = defaultdict(int)
    found: dict[OrderKey, OrderRow] = {}
    for order in orders:
        place = (order.created, order.symbol, order.side)
        found[*place, seen[place]] = order
        seen[place] += 1
    return found


def fills_by_order(fills: Iterable[FillRow]) -> dict[int, list[FillRow]]:
    """Return fills by the number of their order."""
    found: dict[int, list[FillRow]] = defaultdict(list)
    for fill in fills:
        found[fill.order_ref].append(fill)
    return found


def whole_fills(fills: Iterable[FillRow]) -> list[FillRow]:
    """Return one fill per order and bar, at the average price of its pieces."""
    found: dict[tuple[int, datetime], FillRow] = {}
    for fill in fills:
        place = (fill.order_ref, fill.bar)
        before = found.get(place)
        found[place] = fill if before is None else _joined(before, fill)
    return list(found.values())


def _joined(first: FillRow, second: FillRow) -> FillRow:
    quantity = first.quantity + second.quantity
    amount = first.quantity * first.price + second.quantity * second.price
    return replace(
        first,
        quantity=quantity,
        price=amount / quantity,
        commission=first.commission + second.commission,
        tax=first.tax + second.tax,
        slippage=first.slippage + second.slippage,
    )


def outcome_of(order: OrderRow, fills: Sequence[FillRow]) -> Outcome:
    """Return what became of an order."""
    return Outcome(
        state=order.state,
        type=order.type,
        asked=order.quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        quantity=sum(fill.quantity for fill in fills),
        amount=sum(fill.quantity * fill.price for fill in fills),
        fees=sum(fill.commission + fill.tax for fill in fills),
        bar=min((fill.bar for fill in fills), default=None),
    )


def fill_value(fill: FillRow) -> tuple[Any, ...]:
    """Return what two fills must share to be the same."""
    return (
        fill.bar,
        fill.symbol,
        fill.side,
        fill.quantity,
        rounded(fill.price),
        rounded(fill.commission),
        rounded(fill.tax),
    )


def rounded(value: float | None) -> float | None:
    """Return a price without the noise of binary fractions."""
    return None if value is None else round(value, 4)


def request_of(order: OrderRow) -> tuple[Any, ...]:
    """Return what two orders of the same bar must share to be the same."""
    return (
        order.type,
        order.quantity,
        rounded(order.limit_price),
        rounded(order.stop_price),
    )
