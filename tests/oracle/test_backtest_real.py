"""The shipped configurations on real candles: every rule and every won is audited."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kisbt.app.prepare import prepare
from kisbt.candles.store import CandleStore
from kisbt.config.load import load_config
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.instrument import Product
from tests.helpers.audit import audit
from tests.helpers.real_store import build_real_store
from tests.helpers.universe import ROOT, Records, Universe, run_prepared

FEW = (
    "005930",  # 50:1 split, halted around it
    "000660",
    "035720",  # 5:1 split
    "000250",
    "005290",
    "007390",
    "018290",  # block trades while halted
    "003530",
    "009520",
    "122630",  # a fund: no tax, twice the limits
)
FEW_MINUTES = ("402340", "437730", "000150", "067310")


@pytest.fixture(scope="module")
def few(real_candles: Path, tmp_path_factory: pytest.TempPathFactory) -> CandleStore:
    folder = tmp_path_factory.mktemp("few")
    return build_real_store(real_candles, folder, symbols={*FEW, *FEW_MINUTES})


@pytest.fixture(scope="module")
def everything(
    real_candles: Path, tmp_path_factory: pytest.TempPathFactory
) -> CandleStore:
    return build_real_store(real_candles, tmp_path_factory.mktemp("all"))


def run_shipped(
    store: CandleStore, config: str, symbols: tuple[str, ...], **settings: Any
) -> tuple[Records, Universe]:
    """Run a shipped configuration on other candles."""
    checked = load_config(
        ROOT / "configs" / config,
        overrides={
            "universe.symbols": list(symbols),
            "data.path": str(store.path),
            "report.benchmark": None,
            **{key.replace("__", "."): value for key, value in settings.items()},
        },
    )
    prepared = prepare(checked)
    adjusted = checked.bars.length.is_daily
    universe = Universe(
        dict(prepared.candles),
        dict(prepared.instruments),
        adjusted,
        gaps_are_unknown=not adjusted,
    )
    return run_prepared(prepared), universe


def stocks(store: CandleStore, interval: Any) -> tuple[str, ...]:
    listed = store.instruments()
    return tuple(
        symbol
        for symbol in store.symbols(interval)
        if listed[symbol].product is Product.STOCK
    )


CONFIGS = (
    "ma_cross.yaml",
    "rsi_reversion.yaml",
    "bollinger_breakout.yaml",
    "ma_rsi_bollinger.yaml",
)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("capital", [1_000_000, 10_000_000])
def test_sixteen_years_of_a_few_stocks_keep_every_rule(
    few: CandleStore, config: str, capital: int
) -> None:
    ran, universe = run_shipped(few, config, FEW, capital=capital)
    assert len(ran.fills) > 100
    audit(ran, universe, capital=capital)


def test_real_minutes_keep_every_rule(few: CandleStore) -> None:
    ran, universe = run_shipped(few, "ma_rsi_bollinger_1m.yaml", FEW_MINUTES)
    assert len(ran.fills) > 100
    audit(ran, universe)


def test_resting_exits_keep_every_rule_on_real_minutes(few: CandleStore) -> None:
    ran, universe = run_shipped(
        few,
        "ma_rsi_bollinger_1m.yaml",
        FEW_MINUTES,
        strategy__params__exits="orders",
    )
    kinds = {order.type.value for order in ran.orders}
    assert {"stop", "limit"} <= kinds
    audit(ran, universe)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_daily_stocks_run_through(everything: CandleStore) -> None:
    symbols = stocks(everything, DAILY)
    ran, universe = run_shipped(everything, "ma_rsi_bollinger.yaml", symbols)
    assert len(symbols) == 200
    assert len(ran.fills) > 1_000
    assert np.isfinite(ran.equity.equity).all()
    audit(ran, universe)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_minute_stocks_run_through(everything: CandleStore) -> None:
    symbols = stocks(everything, MINUTE)
    ran, universe = run_shipped(everything, "ma_rsi_bollinger_1m.yaml", symbols)
    assert len(symbols) == 29
    assert len(ran.fills) > 1_000
    audit(ran, universe)
