"""Small runs written out by hand, for numbers that are checked with pencil."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from kisbt.clock import KST
from kisbt.model.order import Side
from kisbt.model.result import (
    Curve,
    DecisionRow,
    EquityCurve,
    FillRow,
    OrderRow,
    RunResult,
    TradeRow,
)

FIRST = datetime(2024, 1, 2, 15, 30, tzinfo=KST)


def run_of(
    equity: list[float],
    *,
    start: float = 100.0,
    held: list[float] | None = None,
    trades: tuple[TradeRow, ...] = (),
    fills: tuple[FillRow, ...] = (),
    orders: tuple[OrderRow, ...] = (),
    decisions: tuple[DecisionRow, ...] = (),
    time: np.ndarray | None = None,
    benchmark: list[float] | None = None,
    **run: Any,
) -> RunResult:
    """Return a run of daily bars from 2024-01-02 on; every day is a session."""
    days = np.datetime64("2024-01-02T15:30", "s") + np.arange(
        len(equity)
    ) * np.timedelta64(86_400, "s")
    end = days if time is None else time
    value = np.array(equity, dtype=float)
    position = np.array(held if held is not None else [0.0] * len(equity), dtype=float)
    return RunResult(
        run={"id": "small", "mode": "backtest", "starting_cash": start, **run},
        instruments={},
        orders=orders,
        fills=fills,
        trades=trades,
        equity=EquityCurve(time=end, cash=value - position, positions_value=position),
        decisions=decisions,
        open_positions=(),
        benchmark=None
        if benchmark is None
        else Curve(time=end, value=np.array(benchmark, dtype=float)),
    )


def fill(
    quantity: int,
    price: float,
    *,
    side: Side = Side.BUY,
    day: int = 0,
    commission: float = 0.0,
    tax: float = 0.0,
    slippage: float = 0.0,
    symbol: str = "990001",
) -> FillRow:
    """Return a fill some days after the first one."""
    moment = FIRST + timedelta(days=day)
    return FillRow(
        time=moment,
        bar=moment,
        symbol=symbol,
        side=side,
        quantity=quantity,
        price=price,
        commission=commission,
        tax=tax,
        slippage=slippage,
        order_ref=1,
    )


def trade(net: float, *, bars: int = 1, return_pct: float = 0.0) -> TradeRow:
    """Return a closed trade with this result."""
    return TradeRow(
        symbol="990001",
        entry_time=FIRST,
        entry_price=100.0,
        exit_time=FIRST + timedelta(days=bars),
        exit_price=100.0,
        quantity=1,
        gross_pnl=net,
        commission=0.0,
        tax=0.0,
        net_pnl=net,
        return_pct=return_pct,
        bars_held=bars,
        entry_reason="in",
        exit_reason="out",
    )
