"""The shipped strategies need nothing of kisbt: stock Cerebro runs them as they are."""

from pathlib import Path
from typing import Any

import backtrader as bt
import pandas as pd
import pytest

from kisbt.app.backtest import backtest
from kisbt.config.load import load_config
from kisbt.model.order import Side
from strategies.bollinger_breakout import BollingerBreakout
from strategies.ma_cross import MaCross
from strategies.ma_rsi_bollinger import MaRsiBollinger
from strategies.rsi_reversion import RsiReversion
from tests.helpers.plain_strategies import read_candle_file

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ("990001", "990002", "990003", "990004", "990005")
STRATEGIES = (MaCross, RsiReversion, BollingerBreakout, MaRsiBollinger)
FEE = 0.00015


class EveryFill(bt.Analyzer):
    """Writes down every execution of a stock run."""

    def start(self) -> None:
        self.fills: list[tuple[pd.Timestamp, str, int, float]] = []

    def notify_order(self, order: Any) -> None:
        if order.status == order.Completed:
            done = order.executed
            self.fills.append(
                (
                    pd.Timestamp(bt.num2date(done.dt)),
                    order.data._name,
                    int(done.size),
                    done.exbits[-1].price,
                )
            )


def run_stock(strategy: type[bt.Strategy], **params: Any) -> bt.Strategy:
    cerebro = bt.Cerebro(stdstats=False)
    for symbol in SYMBOLS:
        frame = read_candle_file(ROOT / "data" / "1d" / f"{symbol}.csv")
        feed = bt.feeds.PandasData(dataname=frame, openinterest=None)
        cerebro.adddata(feed, name=symbol)
    cerebro.broker.setcash(10_000_000.0)
    cerebro.broker.setcommission(commission=FEE)
    cerebro.addanalyzer(EveryFill, _name="fills")
    cerebro.addstrategy(strategy, **params)
    return cerebro.run()[0]


# Two slots for five symbols: the order of the universe decides who is bought.
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shipped_strategy_trades_alike_on_stock_backtrader(
    strategy: type[bt.Strategy],
) -> None:
    params = {"max_position": 2, "position_size": 0.4}
    stock = run_stock(strategy, **params)
    config = load_config(
        {
            "strategy": {
                "class": f"{strategy.__module__}:{strategy.__name__}",
                "params": params,
            },
            "universe": {"symbols": list(SYMBOLS)},
            "data": {"path": "data", "warmup": 0},
            "broker": {"rules": "none", "commission": FEE},
            "risk": {
                "max_order_pct": None,
                "max_symbol_pct": None,
                "max_daily_loss_pct": None,
                "max_orders_per_day": None,
            },
            "report": {"benchmark": None},
        },
        root=ROOT,
    )
    ours = [
        (
            pd.Timestamp(fill.bar.replace(tzinfo=None)),
            fill.symbol,
            fill.quantity if fill.side is Side.BUY else -fill.quantity,
            fill.price,
        )
        for fill in backtest(config).result.fills
    ]
    assert len(ours) > 50
    assert ours == stock.analyzers.fills.fills


def test_resting_exits_run_on_stock_backtrader() -> None:
    stock = run_stock(MaRsiBollinger, exits="orders")
    assert len(stock.analyzers.fills.fills) > 100
