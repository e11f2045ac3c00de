"""The reference strategy as a text that several engines run, one process each.

``python -m tests.bench.rules ENGINE FOLDER STRATEGY RUNS`` runs it and prints what
it took as JSON; ENGINE is the module that stands for `backtrader`, or ``kisbt``.
Nothing of kisbt is imported for another engine.
"""

import gc
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CASH = 100_000_000
COMMISSION = 0.00015
NAMES = ("open", "high", "low", "close", "volume")


def make_strategy(bt: Any, *, trades: bool) -> Any:  # noqa: C901  (one class)
    """Return the reference strategy over the engine `bt`.

    Args:
        bt: the module that stands for `backtrader`.
        trades: whether it sends the orders its rules ask for.
    """

    class Reference(bt.Strategy):  # type: ignore[misc]
        """Averages that cross, RSI and Bollinger bands, with a stop and a target."""

        params = (("stop", 0.03), ("take", 0.05), ("most", 5), ("share", 0.2))

        def __init__(self) -> None:
            self.pending: dict[str, Any] = {}
            self.made, self.fills = [], 0
            for d in self.datas:
                fast = bt.ind.SMA(d.close, period=5)
                slow = bt.ind.SMA(d.close, period=20)
                self.made.append(
                    (
                        bt.ind.CrossOver(fast, slow),
                        bt.ind.RSI(d.close, period=14, safediv=True),
                        bt.ind.BollingerBands(d.close, period=20, devfactor=2.0),
                    )
                )

        def notify_order(self, order: Any) -> None:
            if not order.alive():
                self.pending.pop(order.data._name, None)
                self.fills += order.status == order.Completed

        def next(self) -> None:
            held = sum(1 for d in self.datas if self.getposition(d).size)
            for d, made in zip(self.datas, self.made, strict=True):
                if d._name in self.pending:
                    continue
                close, position = d.close[0], self.getposition(d)
                if position.size:
                    if self.wants_out(close, position.price, made):
                        self.pending[d._name] = self.close(data=d)
                elif held < self.p.most and self.wants_in(close, made):
                    size = int(self.broker.getvalue() * self.p.share / close)
                    held += self.enter(d, size)

        def wants_out(self, close: float, paid: float, made: Any) -> bool:
            cross, rsi, bands = made
            return bool(
                close <= paid * (1 - self.p.stop)
                or close >= paid * (1 + self.p.take)
                or cross[0] < 0
                or (rsi[0] > 70 and close > bands.top[0])
            )

        def wants_in(self, close: float, made: Any) -> bool:
            cross, rsi, bands = made
            return bool(
                (cross[0] > 0 and rsi[0] < 70) or (rsi[0] < 30 and close < bands.bot[0])
            )

        def enter(self, d: Any, size: int) -> int:
            if size <= 0 or not trades:
                return 0
            self.pending[d._name] = self.buy(data=d, size=size)
            return 1

    return Reference


def read_market(folder: Path) -> dict[str, Any]:
    """Return the arrays of a market by symbol."""
    return {
        path.stem: dict(np.load(path).items()) for path in sorted(folder.glob("*.npz"))
    }


def runner(engine: str, folder: Path, strategy: str) -> Callable[[], tuple[int, float]]:
    """Return what runs the strategy once, and says the fills and the last value."""
    market = read_market(folder)
    if engine == "kisbt":
        import backtrader as bt

        from kisbt.bt.engine.cerebro import FastCerebro
        from kisbt.bt.feed import CandleFeed
        from kisbt.candles.columns import CandleColumns

        make_cerebro = FastCerebro
        feeds = {
            symbol: CandleColumns(columns["end"], *(columns[name] for name in NAMES))
            for symbol, columns in market.items()
        }

        def make_feed(symbol: str) -> Any:
            return CandleFeed(dataname=feeds[symbol], name=symbol)
    else:
        import pandas as pd

        bt = importlib.import_module(engine)
        make_cerebro = bt.Cerebro
        frames = {
            symbol: pd.DataFrame(
                {name: columns[name] for name in NAMES},
                index=pd.DatetimeIndex(columns["end"]),
            )
            for symbol, columns in market.items()
        }

        def make_feed(symbol: str) -> Any:
            return bt.feeds.PandasData(dataname=frames[symbol])

    kind = make_strategy(bt, trades=strategy == "trades")

    def run() -> tuple[int, float]:
        cerebro = make_cerebro(stdstats=False)
        cerebro.broker.setcash(CASH)
        cerebro.broker.setcommission(COMMISSION)
        for symbol in market:
            cerebro.adddata(make_feed(symbol), name=symbol)
        cerebro.addstrategy(kind)
        made = cerebro.run()[0]
        return int(made.fills), float(cerebro.broker.getvalue())

    return run


def main() -> None:
    """Run and print seconds of processor time, fills and the last value."""
    engine, folder, strategy, runs = sys.argv[1:]
    run = runner(engine, Path(folder), strategy)
    fills, value = run()
    seconds = []
    for _turn in range(int(runs)):
        gc.collect()
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    result = {"seconds": seconds, "fills": fills, "value": value}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
