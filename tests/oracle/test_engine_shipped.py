"""The shipped strategies through `kisbt backtest`: the engine changes no record."""

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pytest

from kisbt.app.backtest import Backtest, backtest
from kisbt.config.load import load_config
from kisbt.errors import InputError, StrategyError
from strategies.ma_cross import MaCross
from tests.helpers.real_store import build_real_store

ROOT = Path(__file__).resolve().parents[2]
SYNTHETIC = ("990001", "990002", "990003", "990004", "990005")
STOCKS = ("005930", "000660", "035720", "091990", "009540", "196170", "114800")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ma_cross": ("strategies.ma_cross:MaCross", {}),
    "rsi_reversion": (
        "strategies.rsi_reversion:RsiReversion",
        {"rsi_oversold": 38, "rsi_overbought": 62},
    ),
    "bollinger_breakout": ("strategies.bollinger_breakout:BollingerBreakout", {}),
    "house": ("strategies.ma_rsi_bollinger:MaRsiBollinger", {}),
    "house_orders": (
        "strategies.ma_rsi_bollinger:MaRsiBollinger",
        {"exits": "orders", "entry": {"at_least": 1}},
    ),
}


def run(case: str, *, engine: str, store: Path, symbols: Any, **more: Any) -> Backtest:
    name, params = CASES[case]
    config = load_config(
        {
            "strategy": {"class": name, "params": params},
            "universe": {"symbols": list(symbols)},
            "bars": {"interval": more.get("interval", "1d")},
            "data": {
                "path": str(store),
                "warmup": more.get("warmup", 60),
                "from": more.get("since"),
            },
            "broker": {"rules": more.get("rules", "krx"), **more.get("broker", {})},
            "capital": more.get("capital", 10_000_000),
            "report": {"benchmark": None},
        },
        root=ROOT,
    )
    return backtest(config, engine=engine)


def records(done: Backtest) -> dict[str, Any]:
    """Return everything a run leaves behind, as comparable bits."""
    result = done.result
    run_of = {
        k: v for k, v in result.run.items() if k not in ("id", "started", "ended")
    }
    assert run_of.pop("engine_fallback") is None
    return {
        "engine": run_of.pop("engine"),
        "run": run_of,
        "summary": {k: repr(v) for k, v in done.summary.items() if k != "id"},
        "orders": repr(result.orders),
        "fills": repr(result.fills),
        "trades": repr(result.trades),
        "decisions": repr(result.decisions),
        "held": repr(result.open_positions),
        "equity": [
            np.asarray(getattr(result.equity, name)).tobytes()
            for name in ("time", "cash", "positions_value")
        ],
        "charts": {
            (symbol, name): np.nan_to_num(line.values, nan=-1.0).tobytes()
            for symbol, chart in done.charts.items()
            for name, line in chart.lines.items()
        },
    }


def check(case: str, **where: Any) -> int:
    """Compare both engines; return how many fills they agree on."""
    fast = records(run(case, engine="auto", **where))
    plain = records(run(case, engine="plain", **where))
    assert (fast.pop("engine"), plain.pop("engine")) == ("fast", "plain")
    for name, value in plain.items():
        assert fast[name] == value, name
    assert fast["charts"]
    return fast["fills"].count("FillRow")


@pytest.mark.parametrize("rules", ["krx", "none"])
@pytest.mark.parametrize("case", CASES)
def test_synthetic_daily_records_are_equal(case: str, rules: str) -> None:
    # Orders that lie in the market are many: two symbols are enough of them.
    symbols = SYNTHETIC[:2] if case == "house_orders" else SYNTHETIC
    since = None if rules == "krx" else "2021-01-01"
    where = {"store": ROOT / "data", "symbols": symbols, "rules": rules}
    assert check(case, **where, since=since) > 20


@pytest.mark.parametrize(
    "broker",
    [
        {"market_orders": "protected"},
        {"slippage_ticks": 0, "volume_share": None},
        {"slippage_ticks": 3, "tax": "none", "commission": 0.001},
        {"volume_share": 0.000_2},
    ],
)
@pytest.mark.parametrize("capital", [1_500_000, 900_000_000])
def test_settings_of_the_broker(broker: dict[str, Any], capital: int) -> None:
    """Several buys on one bar, cash that is short, fills in parts."""
    where = {"store": ROOT / "data", "symbols": SYNTHETIC, "broker": broker}
    assert check("house", **where, capital=capital, since="2022-01-01") > 5


@pytest.mark.parametrize("case", ["ma_cross", "house_orders"])
def test_synthetic_minute_records_are_equal(case: str) -> None:
    where = {"store": ROOT / "data", "symbols": SYNTHETIC[:2], "interval": "1m"}
    assert check(case, **where) > 10


@pytest.fixture(scope="module")
def real_store(real_candles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    return build_real_store(real_candles, folder, symbols=set(STOCKS)).path


@pytest.mark.parametrize("case", CASES)
def test_real_daily_records_are_equal(real_store: Path, case: str) -> None:
    """Stocks listed at different times, halts, splits, an ETF."""
    symbols = STOCKS[3:5] if case == "house_orders" else STOCKS
    assert check(case, store=real_store, symbols=symbols, warmup=250) > 50


@pytest.mark.parametrize("case", ["house", "ma_cross"])
def test_real_minute_records_are_equal(real_store: Path, case: str) -> None:
    where = {"store": real_store, "symbols": ("000660",), "interval": "1m"}
    assert check(case, **where) > 20


class Failing(MaCross):
    def next(self) -> None:
        super().next()
        if len(self) == 400:
            raise RuntimeError("as asked")


class ByBar(MaCross):
    def __init__(self) -> None:
        super().__init__()
        self.by_bar = bt.ind.HeikinAshi(self.data)


def config_of() -> Any:
    return {
        "strategy": {"class": "strategies.ma_cross:MaCross"},
        "universe": {"symbols": ["990001"]},
        "data": {"path": str(ROOT / "data")},
        "report": {"benchmark": None},
    }


def test_a_failing_strategy_is_told_with_the_same_words() -> None:
    told = []
    for engine in ("fast", "plain"):
        with pytest.raises(StrategyError) as caught:
            backtest(config_of(), strategy=Failing, engine=engine)
        told.append((str(caught.value), caught.value.bar))
    assert told[0] == told[1]
    assert "as asked" in told[0][0]


def test_a_run_that_falls_back_says_why() -> None:
    done = backtest(config_of(), strategy=ByBar)
    assert done.result.run["engine"] == "plain"
    reason = done.result.run["engine_fallback"]
    assert "bar by bar" in reason
    assert any(reason in warning for warning in done.result.run["warnings"])


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(InputError, match="quick"):
        backtest(config_of(), engine="quick")
