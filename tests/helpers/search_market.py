"""Stores of invented candles for searches: pure noise, or a trend that can be found."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.config.load import load_config
from kisbt.config.schema import Config
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import DAILY

ROOT = Path(__file__).resolve().parents[2]


def noise(bars: int, seed: int) -> np.ndarray:
    """Return session returns without any memory."""
    return np.random.default_rng(seed).normal(0.0, 0.015, bars)


def trends(bars: int, seed: int) -> np.ndarray:
    """Return session returns with a drift that turns every 40 sessions or so."""
    rng = np.random.default_rng(seed)
    turns = rng.random(bars) < 1 / 40
    sign = np.where(np.cumsum(turns) % 2 == 0, 1.0, -1.0)
    return sign * 0.004 + rng.normal(0.0, 0.010, bars)


def candles_of(returns: np.ndarray, seed: int) -> CandleColumns:
    """Return candles whose opens are the closes before them."""
    rng = np.random.default_rng(seed + 1)
    sessions = default_calendar().sessions(date(2012, 1, 2), date(2026, 10, 30))
    end = default_calendar().close_times(sessions[: len(returns)])
    close = 50_000.0 * np.exp(np.cumsum(returns - 0.0001))
    open_ = np.r_[50_000.0, close[:-1]]
    reach = np.abs(rng.normal(0, 0.003, (2, len(close))))
    return CandleColumns(
        end,
        open_,
        np.maximum(open_, close) * (1 + reach[0]),
        np.minimum(open_, close) * (1 - reach[1]),
        close,
        np.full(len(close), 1e6),
    )


def make_store(folder: Path, markets: dict[str, np.ndarray]) -> Path:
    """Write daily candles of these returns and return the store's folder."""
    store = CandleStore(folder)
    for number, (symbol, returns) in enumerate(markets.items()):
        store.write(symbol, DAILY, candles_of(returns, number))
    rows = "".join(f"{symbol},invented {symbol},KOSPI,STOCK,\n" for symbol in markets)
    (folder / "symbols.csv").write_text("symbol,name,market,product,leverage\n" + rows)
    return folder


def search_config(store: Path, symbols: list[str], **changes: Any) -> Config:
    """Return a search of the moving average cross without exchange rules or costs."""
    values: dict[str, Any] = {
        "strategy": {
            "class": "strategies.ma_cross:MaCross",
            "params": {"max_position": len(symbols), "position_size": 0.9},
        },
        "universe": {"symbols": symbols},
        "data": {"path": str(store), "warmup": 60},
        "capital": 100_000_000,
        "broker": {"rules": "none", "commission": 0.0, "tax": "none"},
        "report": {"benchmark": None},
        "optimize": {
            "space": {
                "ma_short": {"low": 2, "high": 10, "step": 2},
                "ma_long": {"low": 12, "high": 44, "step": 4},
            },
            "where": "ma_short < ma_long",
            "objective": "sharpe",
        },
    }
    return load_config(values, overrides=changes, root=ROOT)
