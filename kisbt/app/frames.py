"""A run's rows as pandas DataFrames, for notebooks."""

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from kisbt.model.result import (
    DecisionRow,
    FillRow,
    OpenPosition,
    OrderRow,
    RunResult,
    TradeRow,
)


def result_frames(result: RunResult) -> dict[str, pd.DataFrame]:
    """Return one DataFrame for each kind of row, columns as in the run folder."""
    curve = result.equity
    equity = pd.DataFrame(
        {
            "cash": curve.cash,
            "positions_value": curve.positions_value,
            "equity": curve.equity,
        },
        index=pd.DatetimeIndex(curve.time, name="time"),
    )
    return {
        "orders": _frame(result.orders, OrderRow),
        "fills": _frame(result.fills, FillRow),
        "trades": _frame(result.trades, TradeRow),
        "decisions": _frame(result.decisions, DecisionRow),
        "open_positions": _frame(result.open_positions, OpenPosition),
        "equity": equity,
    }


def _frame(rows: Iterable[Any], row_type: type[Any]) -> pd.DataFrame:
    columns = [field.name for field in fields(row_type)]
    return pd.DataFrame([asdict(row) for row in rows], columns=columns)
