"""Without exchange rules a run is what plain backtrader makes of the same candles."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from kisbt.app.backtest import backtest
from kisbt.candles.importer import import_candles
from kisbt.candles.reader import ImportRequest
from kisbt.candles.store import CandleStore
from kisbt.config.load import load_config
from kisbt.model.candle import DAILY
from kisbt.model.order import Side
from kisbt.model.result import RunResult
from tests.helpers.plain_strategies import (
    OneSymbol,
    PlainBollingerBreakout,
    PlainHouse,
    PlainMaCross,
    PlainRsiReversion,
    read_candle_file,
    run_plain,
)
from tests.helpers.real_store import build_real_store, import_some

ROOT = Path(__file__).resolve().parents[2]
CASH = 10_000_000.0
FEE = 0.00015
RISK_OFF = {
    "max_order_pct": None,
    "max_symbol_pct": None,
    "max_daily_loss_pct": None,
    "max_orders_per_day": None,
}
# (name, class of ours, parameters of ours, independent class, its parameters).
CASES: dict[str, tuple[str, dict[str, Any], type[OneSymbol], dict[str, Any]]] = {
    "ma_cross": ("strategies.ma_cross:MaCross", {}, PlainMaCross, {}),
    "rsi_reversion": (
        "strategies.rsi_reversion:RsiReversion",
        {"rsi_oversold": 35, "rsi_overbought": 65},
        PlainRsiReversion,
        {"rsi_oversold": 35, "rsi_overbought": 65},
    ),
    "bollinger_breakout": (
        "strategies.bollinger_breakout:BollingerBreakout",
        {},
        PlainBollingerBreakout,
        {},
    ),
    "house_on_close": (
        "strategies.ma_rsi_bollinger:MaRsiBollinger",
        {"exits": "on_close"},
        PlainHouse,
        {},
    ),
    "house_orders": (
        "strategies.ma_rsi_bollinger:MaRsiBollinger",
        {"exits": "orders"},
        PlainHouse,
        {"resting_exits": True},
    ),
    "house_two_signals": (
        "strategies.ma_rsi_bollinger:MaRsiBollinger",
        {"entry": {"at_least": 2}, "stop_loss": 0.08, "take_profit": 0.2},
        PlainHouse,
        {"needed": 2, "stop_loss": 0.08, "take_profit": 0.2},
    ),
}
STOCKS = ("005930", "035720", "000250")
RAW_STOCKS = ("000660", "009150")
MINUTE_STOCK = "402340"


@pytest.fixture(scope="module")
def real_store(
    real_candles: Path, tmp_path_factory: pytest.TempPathFactory
) -> CandleStore:
    folder = tmp_path_factory.mktemp("real")
    store = build_real_store(
        real_candles, folder, symbols={*STOCKS, MINUTE_STOCK, "122630"}
    )
    raw = ImportRequest(interval=DAILY, adjusted=False, skip_outside=True)
    import_some(
        real_candles / "daily_unadjusted_2010_2019.parquet",
        store,
        raw,
        RAW_STOCKS,
    )
    import_candles(
        real_candles / "005930_unadjusted_2017_2018.csv",
        store,
        ImportRequest(interval=DAILY, adjusted=False, symbol="005930"),
    )
    return store


def run_kisbt(
    store: Path, symbol: str, strategy: str, params: dict[str, Any], **where: Any
) -> RunResult:
    warmup = where.get("warmup", 250)
    config = load_config(
        {
            "strategy": {"class": strategy, "params": params},
            "universe": {"symbols": [symbol]},
            "bars": {"interval": where.get("interval", "1d")},
            "data": {
                "path": str(store),
                "adjusted": where.get("adjusted", True),
                "warmup": warmup,
            },
            "capital": int(CASH),
            "broker": {"rules": "none", "commission": FEE},
            "risk": RISK_OFF,
            "report": {"benchmark": None},
        },
        root=ROOT,
    )
    return backtest(config).result


def check_equal(
    store: Path, symbol: str, case: str, *, position_size: float, **where: Any
) -> int:
    """Compare one symbol; return how many fills were compared."""
    name, params, plain_class, plain_params = CASES[case]
    adjusted = where.get("adjusted", True)
    interval = where.get("interval", "1d")
    folder = interval if adjusted else f"{interval}-raw"
    ours = run_kisbt(
        store, symbol, name, {**params, "position_size": position_size}, **where
    )
    plain = run_plain(
        plain_class,
        read_candle_file(store / folder / f"{symbol}.csv"),
        cash=CASH,
        fee=FEE,
        warmup=where.get("warmup", 250),
        position_size=position_size,
        **plain_params,
    )
    assert _fills(ours) == [
        (f.bar, f.quantity, f.price, f.commission) for f in plain.fills
    ]
    assert _times(ours) == [(t.opened, t.closed) for t in plain.trades]
    assert_allclose([t.gross_pnl for t in ours.trades], [t.pnl for t in plain.trades])
    assert_allclose([t.net_pnl for t in ours.trades], [t.pnl_net for t in plain.trades])
    equity = pd.Series(ours.equity.equity, index=pd.DatetimeIndex(ours.equity.time))
    expected = pd.Series(dict(plain.equity))
    first = expected.index[0]
    assert list(equity[first:].index) == list(expected.index)
    assert_allclose(equity[first:].to_numpy(), expected.to_numpy(), rtol=1e-12)
    assert np.all(equity[: first - pd.Timedelta(seconds=1)] == CASH)
    return len(plain.fills)


def _fills(result: RunResult) -> list[tuple[pd.Timestamp, int, float, float]]:
    return [
        (
            pd.Timestamp(f.bar.replace(tzinfo=None)),
            f.quantity if f.side is Side.BUY else -f.quantity,
            f.price,
            f.commission,
        )
        for f in result.fills
    ]


def _times(result: RunResult) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    return [
        (
            pd.Timestamp(t.entry_time.replace(tzinfo=None)),
            pd.Timestamp(t.exit_time.replace(tzinfo=None)),
        )
        for t in result.trades
    ]


@pytest.mark.parametrize("symbol", ["990001", "990003", "990005"])
@pytest.mark.parametrize("case", CASES)
def test_synthetic_daily_fills_are_those_of_plain_backtrader(
    case: str, symbol: str
) -> None:
    assert check_equal(ROOT / "data", symbol, case, position_size=0.2) > 10


# A warm-up shorter than the indicators' periods: readiness decides the first trade.
@pytest.mark.parametrize("warmup", [0, 20, 21])
@pytest.mark.parametrize("case", CASES)
def test_synthetic_minute_fills_are_those_of_plain_backtrader(
    case: str, warmup: int
) -> None:
    compared = check_equal(
        ROOT / "data",
        "990002",
        case,
        position_size=0.9,
        interval="1m",
        warmup=warmup,
    )
    assert compared > 10


# The whole equity in one symbol: a gap up at the next open makes backtrader refuse
# the order for cash.
@pytest.mark.parametrize("position_size", [0.2, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_adjusted_real_fills_are_those_of_plain_backtrader(
    real_store: CandleStore, case: str, position_size: float
) -> None:
    compared = [
        check_equal(real_store.path, symbol, case, position_size=position_size)
        for symbol in STOCKS
    ]
    assert min(compared) > 10


@pytest.mark.parametrize("case", CASES)
def test_raw_real_fills_are_those_of_plain_backtrader(
    real_store: CandleStore, case: str
) -> None:
    compared = [
        check_equal(
            real_store.path, symbol, case, position_size=0.5, adjusted=False, warmup=60
        )
        for symbol in ("005930", *RAW_STOCKS)
    ]
    compared.append(check_equal(real_store.path, "122630", case, position_size=1.0))
    assert min(compared) > 3


@pytest.mark.parametrize("case", CASES)
def test_real_minute_fills_are_those_of_plain_backtrader(
    real_store: CandleStore, case: str
) -> None:
    compared = check_equal(
        real_store.path, MINUTE_STOCK, case, position_size=0.2, interval="1m", warmup=60
    )
    assert compared > 10
