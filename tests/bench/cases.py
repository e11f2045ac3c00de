"""What the speed budgets run: invented candles, plain backtrader, and kisbt.

The two sides of a budget run one after the other, again and again, in one
process; only their ratio counts. Time is that of the processor, so that other
programs on the machine disturb less.
"""

import gc
import json
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from kisbt.app.backtest import backtest
from kisbt.bt.engine.cerebro import FastCerebro
from kisbt.bt.feed import CandleFeed
from kisbt.candles.columns import CandleColumns
from kisbt.config.load import load_config
from kisbt.krx.calendar import default_calendar
from strategies.ma_rsi_bollinger import MaRsiBollinger

CASH = 100_000_000
COMMISSION = 0.00015
ANALYZERS = ("SharpeRatio", "DrawDown", "TradeAnalyzer", "Returns")
ROOT = Path(__file__).resolve().parents[2]

_MINUTES = 380
# KRX price steps since 2023.
_EDGES = (2_000, 5_000, 20_000, 50_000, 200_000, 500_000)
_STEPS = (1, 5, 10, 50, 100, 500, 1_000)


# Candles.


def make_candles(bars: int, seed: int, *, minutes: bool = False) -> CandleColumns:
    """Return a walk in whole won on the price grid, pulled back to its start."""
    rng = np.random.default_rng(seed)
    scale = 0.0012 if minutes else 0.02
    level, levels = 0.0, []
    for move in (rng.standard_normal(bars) * scale).tolist():
        # The pull keeps a million bars inside the price table.
        level += move - 0.0005 * level
        levels.append(level)
    close = 50_000.0 * np.exp(np.array(levels))
    open_ = np.r_[50_000.0, close[:-1]]
    open_ = open_ * (1.0 + rng.standard_normal(bars) * scale * 0.3)
    reach = np.abs(rng.standard_normal((2, bars))) * scale * 0.5
    high = np.maximum(open_, close) * (1.0 + reach[0])
    low = np.minimum(open_, close) * (1.0 - reach[1])
    step = np.array(_STEPS)[np.searchsorted(_EDGES, close, side="right")]
    open_, high, low, close = (
        np.rint(prices / step) * step for prices in (open_, high, low, close)
    )
    high = np.maximum.reduce([high, open_, close])
    low = np.minimum.reduce([low, open_, close])
    volume = np.rint(rng.lognormal(13.0, 1.0, bars)) + 1.0
    return CandleColumns(_ends(bars, minutes=minutes), open_, high, low, close, volume)


def _ends(bars: int, *, minutes: bool) -> Any:
    calendar = default_calendar()
    sessions = calendar.sessions(date(2012, 1, 2), date(2026, 10, 30))
    if not minutes:
        return calendar.close_times(sessions[:bars])
    day, minute = np.divmod(np.arange(bars), _MINUTES)
    opens = sessions[day].astype("datetime64[s]") + np.timedelta64(9 * 3600 + 60, "s")
    return opens + (60 * minute).astype("timedelta64[s]")


@dataclass(slots=True)
class Market:
    """Candles of a few symbols, in memory and as CSV files on disk."""

    folder: Path
    symbols: int
    bars: int
    minutes: bool = False
    candles: dict[str, CandleColumns] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the candles and write them."""
        self.csv.mkdir(parents=True, exist_ok=True)
        for number in range(self.symbols):
            made = make_candles(self.bars, number, minutes=self.minutes)
            symbol = f"{100_000 + number * 10}"
            self.candles[symbol] = made
            frame = pd.DataFrame(
                {
                    name: getattr(made, name).astype(np.int64)
                    for name in ("open", "high", "low", "close", "volume")
                },
                index=pd.DatetimeIndex(made.end, name="datetime"),
            )
            frame.to_csv(self.csv / f"{symbol}.csv", date_format="%Y-%m-%d %H:%M:%S")
        (self.folder / "symbols.csv").write_text(
            "symbol,name,market,product,leverage\n"
            + "".join(f"{symbol},,KOSPI,STOCK,\n" for symbol in self.candles)
        )

    @property
    def csv(self) -> Path:
        """Folder of the CSV files, one a symbol."""
        return self.folder / ("1m" if self.minutes else "1d")

    @property
    def size(self) -> int:
        """Bars of all symbols."""
        return self.symbols * self.bars


# The reference strategy, as a plain user would write it.


class Reference(bt.Strategy):
    """Averages that cross, RSI and Bollinger bands, with a stop and a target."""

    params = (("stop", 0.03), ("take", 0.05), ("most", 5), ("share", 0.2))

    def __init__(self) -> None:
        self.made, self.pending, self.fills = {}, {}, 0
        for d in self.datas:
            fast, slow = bt.ind.SMA(d.close, period=5), bt.ind.SMA(d.close, period=20)
            self.made[d] = (
                bt.ind.CrossOver(fast, slow),
                bt.ind.RSI(d.close, period=14, safediv=True),
                bt.ind.BollingerBands(d.close, period=20, devfactor=2.0),
            )

    def notify_order(self, order: Any) -> None:
        if not order.alive():
            self.pending.pop(order.data, None)
            self.fills += order.status == order.Completed

    def next(self) -> None:
        held = sum(1 for d in self.datas if self.getposition(d).size)
        for d in self.datas:
            if d in self.pending:
                continue
            cross, rsi, bands = self.made[d]
            close, position = d.close[0], self.getposition(d)
            if position.size:
                if (
                    close <= position.price * (1 - self.p.stop)
                    or close >= position.price * (1 + self.p.take)
                    or cross[0] < 0
                    or (rsi[0] > 70 and close > bands.top[0])
                ):
                    self.pending[d] = self.close(data=d)
            elif held < self.p.most:
                held += self.enter(d, close)

    def enter(self, d: Any, close: float) -> int:
        cross, rsi, bands = self.made[d]
        if not (
            (cross[0] > 0 and rsi[0] < 70) or (rsi[0] < 30 and close < bands.bot[0])
        ):
            return 0
        size = int(self.broker.getvalue() * self.p.share / close)
        if size <= 0:
            return 0
        return self.order(d, size)

    def order(self, d: Any, size: int) -> int:
        self.pending[d] = self.buy(data=d, size=size)
        return 1


class NeverTrades(Reference):
    """The same rules, which find nothing worth an order."""

    def order(self, d: Any, size: int) -> int:
        return 0


class Idle(bt.Strategy):
    """Does nothing."""

    fills = 0

    def next(self) -> None:
        pass


class Alternating(bt.Strategy):
    """Buys and sells in turn, one market order on every other bar."""

    def __init__(self) -> None:
        self.fills = 0

    def notify_order(self, order: Any) -> None:
        self.fills += order.status == order.Completed

    def next(self) -> None:
        if len(self) % 2:
            if self.position.size:
                self.sell(size=1)
            else:
                self.buy(size=1)


# The two sides.


def run_plain(
    market: Market, strategy: type[bt.Strategy], *, extras: bool = False
) -> int:
    """Run stock backtrader from the CSV files; return the fills.

    Args:
        market: the candles.
        strategy: what trades.
        extras: with the four usual analyzers and the default observers.
    """
    cerebro = bt.Cerebro(stdstats=extras)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(COMMISSION)
    for symbol in market.candles:
        feed = bt.feeds.GenericCSVData(
            dataname=str(market.csv / f"{symbol}.csv"),
            dtformat="%Y-%m-%d %H:%M:%S",
            openinterest=-1,
            timeframe=bt.TimeFrame.Minutes if market.minutes else bt.TimeFrame.Days,
        )
        cerebro.adddata(feed, name=symbol)
    cerebro.addstrategy(strategy)
    if extras:
        for name in ANALYZERS:
            cerebro.addanalyzer(getattr(bt.analyzers, name))
    return int(getattr(cerebro.run()[0], "fills", 0))


def run_fast(market: Market, strategy: type[bt.Strategy]) -> int:
    """Run the fast engine on columns in memory; return the fills."""
    cerebro = FastCerebro(stdstats=False)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(COMMISSION)
    for symbol, candles in market.candles.items():
        cerebro.adddata(CandleFeed(dataname=candles, name=symbol))
    cerebro.addstrategy(strategy)
    made = cerebro.run()[0]
    assert cerebro.fallback is None
    return int(made.fills)


def run_kisbt(market: Market, *, rules: str = "krx") -> int:
    """Run the house strategy from the CSV files to a run folder; return the fills."""
    for cached in market.csv.glob("*.npy"):
        cached.unlink()
    out = Path(tempfile.mkdtemp(dir=market.folder)) / "run"
    config = load_config(
        {
            "strategy": {"class": "strategies.ma_rsi_bollinger:MaRsiBollinger"},
            "universe": {"symbols": list(market.candles)},
            "bars": {"interval": "1m" if market.minutes else "1d"},
            "data": {"path": str(market.folder), "warmup": 0},
            "capital": CASH,
            "broker": {"rules": rules},
            "report": {"benchmark": None},
        },
        root=ROOT,
    )
    done = backtest(config)
    done.save(out, with_report=False)
    assert done.result.run["engine_fallback"] is None
    return len(done.result.fills)


def run_house_plain(market: Market) -> int:
    """Run the house strategy on stock backtrader with analyzers and observers."""
    run_plain(market, MaRsiBollinger, extras=True)
    return 1


# Measuring.


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A budget and what was measured.

    Attributes:
        floor: the ratio that must hold.
        stretch: the ratio that is wanted.
        ratio: how many times faster than plain; for orders, their cost over plain's.
        seconds: medians by side.
    """

    name: str
    case: str
    ratio: float
    floor: float
    stretch: float
    runs: int
    seconds: dict[str, float]
    notes: dict[str, Any] = field(default_factory=dict)
    lower_is_better: bool = False

    @property
    def held(self) -> bool:
        """Whether the floor holds."""
        if self.lower_is_better:
            return self.ratio <= self.floor
        return self.ratio >= self.floor


def measure(sides: dict[str, Callable[[], int]], runs: int) -> dict[str, float]:
    """Return median seconds of processor time of each side, run in turns."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _round in range(runs):
        for name, side in sides.items():
            gc.collect()
            start = time.process_time()
            side()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_bytes() -> int:
    """Return the largest memory the process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux counts into `ru_maxrss` what the parent had when it forked.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write_rows(rows: list[Row], folder: Path, name: str = "speed.json") -> str:
    """Write the rows as JSON and return them as a table."""
    folder.mkdir(exist_ok=True)
    content = [
        {name: getattr(row, name) for name in row.__dataclass_fields__} for row in rows
    ]
    (folder / name).write_text(json.dumps(content, indent=1))
    lines = [
        f"{'row':24}{'case':34}{'ratio':>8}{'floor':>8}{'wanted':>8}  runs  plain s"
    ]
    lines += [
        f"{row.name:24}{row.case:34}{row.ratio:8.2f}{row.floor:8.2f}"
        f"{row.stretch:8.2f}{row.runs:6}{row.seconds.get('plain', 0.0):9.2f}"
        f"  {'' if row.held else 'BELOW THE FLOOR'}"
        for row in rows
    ]
    return "\n".join(lines)
