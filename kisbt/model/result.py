"""A finished run as values: what `bt` hands to `report`.

Times of rows are aware KST, times of columns naive KST; money is won. Rows are
in the order in which things happened. The names are those of the run folder's columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from kisbt.model.instrument import Instrument
from kisbt.model.order import OrderState, OrderType, Side

Times = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]

# Rows of which a run makes thousands are not frozen: that would double what they cost.
# Nobody changes them.


@dataclass(slots=True, kw_only=True)
class OrderRow:
    """One order of the strategy and how it ended.

    Attributes:
        ref: number within the run, from 1.
        created: END of the bar on which the strategy made it.
        limit_price: won as sent; None for market orders.
        stop_price: trigger in won; None without one.
        reason: the strategy's own word, "" if it gave none.
        average_price: won, of the fills; None without any.
        reject_reason: why it was refused or ended early, "" otherwise.
        confirmed_by: what vouches for its state: ``backtest``, ``rest`` ...
    """

    ref: int
    created: datetime
    symbol: str
    side: Side
    type: OrderType
    quantity: int
    limit_price: float | None
    stop_price: float | None
    state: OrderState
    reason: str
    filled_quantity: int
    average_price: float | None
    broker_order_no: str = ""
    reject_reason: str = ""
    confirmed_by: str = "backtest"


@dataclass(slots=True, kw_only=True)
class FillRow:
    """One execution.

    Attributes:
        time: when it happened; in a backtest the END of `bar`.
        bar: END of the candle that filled it.
        commission, tax: won, whole with KRX rules.
        slippage: won lost against the price without slippage; never negative.
    """

    time: datetime
    bar: datetime
    symbol: str
    side: Side
    quantity: int
    price: float
    commission: float
    tax: float
    slippage: float
    order_ref: int


@dataclass(slots=True, kw_only=True)
class TradeRow:
    """A round trip, from flat to flat; prices are averages over its fills.

    Attributes:
        gross_pnl: won before costs. net_pnl: after commission and tax.
        return_pct: net_pnl as per cent of the money paid for the shares.
        bars_held: bars of the symbol from the first to the last fill.
    """

    symbol: str
    entry_time: datetime
    entry_price: float
    exit_time: datetime
    exit_price: float
    quantity: int
    gross_pnl: float
    commission: float
    tax: float
    net_pnl: float
    return_pct: float
    bars_held: int
    entry_reason: str
    exit_reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """A value over time.

    Attributes:
        time: datetime64[s], naive KST, END labels, shape (n,), increasing.
        value: float64, shape (n,).
    """

    time: Times
    value: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EquityCurve:
    """The account at each bar's close, from the first tradable bar on.

    Attributes:
        time: datetime64[s], naive KST, END labels, shape (n,), increasing.
        cash, positions_value: won, float64, shape (n,).
    """

    time: Times
    cash: Floats
    positions_value: Floats

    @property
    def equity(self) -> Floats:
        """Cash plus positions, won, shape (n,)."""
        return self.cash + self.positions_value


@dataclass(slots=True, kw_only=True)
class DecisionRow:
    """An order made or refused, or an entry the strategy passed over.

    Attributes:
        action: ``buy``, ``sell``, ``cancel`` or ``skip``.
        indicators: the strategy's indicator values of this symbol on that bar.
        result: ``accepted``, ``skipped`` or the reason of the refusal.
    """

    bar: datetime
    symbol: str
    action: str
    reason: str
    indicators: Mapping[str, float]
    result: str
    order_ref: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """Shares still held at the end, valued at the last close.

    Attributes:
        average_price: won, of the shares still held: a partial sale leaves it.
        realised_pnl: won earned by shares sold since it was opened, before costs;
            such a position is in no closed trade yet.
        costs: won, commission and tax since it was opened.
        flag: "" or what the reader must know, for example that the symbol has
            had no candle since `last_time`.
    """

    symbol: str
    quantity: int
    average_price: float
    entry_time: datetime
    last_price: float
    last_time: datetime
    market_value: float
    unrealised_pnl: float
    realised_pnl: float = 0.0
    costs: float = 0.0
    flag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Everything a run leaves behind, without candles.

    Attributes:
        run: the content of run.json: id, mode, config as merged, config_hash,
            versions, store_hash, starting_cash, starting_positions, engine,
            engine_fallback, started, ended (wall clock), first_session,
            last_session, warmup_bars, adjusted (bool), interval, warnings
            (list of text), exit_state (``done`` or ``failed: ...``).
        instruments: by symbol, those of the universe that had candles.
        benchmark: close of the benchmark index from the first tradable bar on;
            None when there is none.
        buy_and_hold: won; the starting cash spread evenly over the symbols that
            trade on the first tradable bar, bought at its close and held.
    """

    run: Mapping[str, Any]
    instruments: Mapping[str, Instrument]
    orders: tuple[OrderRow, ...]
    fills: tuple[FillRow, ...]
    trades: tuple[TradeRow, ...]
    equity: EquityCurve
    decisions: tuple[DecisionRow, ...]
    open_positions: tuple[OpenPosition, ...]
    benchmark: Curve | None = None
    buy_and_hold: Curve | None = None
