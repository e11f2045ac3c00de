"""The strategy of the sweep budget, and backtrader's own sweep of it.

``python -m tests.bench.sweepcase FILE.csv [ANALYZER ...]`` runs `optstrategy` in a
process of its own, because it forks, and prints seconds and results as JSON. It always
has the analyzer `Returns`, which tells the total return.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import backtrader as bt

from tests.bench.cases import CASH, COMMISSION, Reference

SPACE: dict[str, list[int]] = {
    "fast": [3, 5, 8, 10, 12],
    "slow": [15, 20, 30, 40, 50],
    "rsi": [7, 9, 11, 14, 17, 20, 25, 30],
}


class Swept(Reference):
    """`Reference` with the lengths of its indicators as parameters."""

    params = (("fast", 5), ("slow", 20), ("rsi", 14))

    def __init__(self) -> None:
        self.made: dict[Any, Any] = {}
        self.pending: dict[Any, Any] = {}
        self.fills = 0
        for d in self.datas:
            fast = bt.ind.SMA(d.close, period=self.p.fast)
            slow = bt.ind.SMA(d.close, period=self.p.slow)
            self.made[d] = (
                bt.ind.CrossOver(fast, slow),
                bt.ind.RSI(d.close, period=self.p.rsi, safediv=True),
                bt.ind.BollingerBands(d.close, period=20, devfactor=2.0),
            )


def optstrategy(file: str, analyzers: Sequence[str]) -> dict[str, Any]:
    """Return seconds, and parameters and total return of every run.

    Args:
        file: candles, CSV.
        analyzers: of backtrader, beside `Returns`.
    """
    from tests.bench.sweepcase import Swept as Named

    started = time.perf_counter()
    cerebro = bt.Cerebro(stdstats=False, maxcpus=2)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(COMMISSION)
    cerebro.adddata(
        bt.feeds.GenericCSVData(
            dataname=file, dtformat="%Y-%m-%d %H:%M:%S", openinterest=-1
        )
    )
    for name in {"Returns", *analyzers}:
        cerebro.addanalyzer(getattr(bt.analyzers, name))
    cerebro.optstrategy(Named, **SPACE)
    runs = cerebro.run()
    spent = time.perf_counter() - started
    return {
        "seconds": spent,
        "trials": [
            [
                {name: getattr(run.params, name) for name in SPACE},
                math.expm1(run.analyzers.returns.get_analysis()["rtot"]),
            ]
            for (run,) in runs
        ],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(optstrategy(sys.argv[1], sys.argv[2:])))
