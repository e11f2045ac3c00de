"""Both engines compute every indicator to the same bits, and trade alike on them."""

import functools
import math
from collections.abc import Callable
from typing import Any

import backtrader as bt
import pytest

from tests.helpers.engine_runs import (
    Feeds,
    assert_equal,
    krx,
    make_candles,
    none,
    run,
)

ind = bt.ind
Builder = Callable[[Any], Any]


class OwnNext(bt.Indicator):
    """A user's indicator with `next` only."""

    lines = ("value", "twice")
    params = (("period", 4),)

    def __init__(self) -> None:
        self.addminperiod(self.p.period)
        self.inner = ind.EMA(self.data, period=3)

    def prenext(self) -> None:
        self.lines.value[0] = -1.0

    def next(self) -> None:
        self.lines.value[0] = sum(self.data.get(size=self.p.period)) + self.inner[0]
        self.lines.twice[0] = 2.0 * self.lines.value[0]


class OwnOnce(bt.Indicator):
    """A user's indicator with its own `once`."""

    lines = ("gap",)

    def next(self) -> None:
        self.lines.gap[0] = self.data.high[0] - self.data.low[0]

    def once(self, start: int, end: int) -> None:
        high, low, gap = self.data.high.array, self.data.low.array, self.lines.gap.array
        for bar in range(start, end):
            gap[bar] = high[bar] - low[bar]


class OwnHighest(ind.Highest):
    """A subclass that inherits `once` but not its function."""

    func = functools.partial(max, default=0.0)


class Both(bt.Indicator):
    """Lines bound to lines, and an operation on own lines."""

    lines = ("mid", "width")

    def __init__(self) -> None:
        self.lines.mid = (self.data.high + self.data.low) / 2.0
        self.lines.width = self.lines.mid - ind.SMA(self.data.close, period=6)


# Each is given a feed and returns what the strategy reads and trades on.
ZOO: dict[str, Builder] = {
    "sma": lambda d: ind.SMA(d.close, period=9),
    "sma of 1": lambda d: ind.SMA(d, period=1),
    "ema": lambda d: ind.EMA(d.close, period=9),
    "smma": lambda d: ind.SMMA(d.close, period=9),
    "wma": lambda d: ind.WMA(d.close, period=9),
    "wma of changes": lambda d: ind.WMA(d.close - d.open, period=13),
    "dema tema": lambda d: (ind.DEMA(d, period=5), ind.TEMA(d, period=4)),
    "hma": lambda d: ind.HMA(d.close, period=9),
    "zlema": lambda d: (ind.ZLEMA(d, period=7), ind.ZLInd(d, period=7)),
    "kama": lambda d: ind.KAMA(d.close, period=9),
    "dma": lambda d: ind.DMA(d.close, period=9),
    "rsi": lambda d: ind.RSI(d.close, period=14),
    "rsi safe": lambda d: ind.RSI_Safe(d.close, period=5),
    "rsi sma": lambda d: ind.RSI_SMA(d.close, period=9),
    "rsi ema": lambda d: ind.RSI_EMA(d.close, period=9, safediv=True),
    "rsi lookback": lambda d: ind.RSI(d.close, period=7, lookback=3, safediv=True),
    "rmi lrsi": lambda d: (ind.RMI(d, period=7), ind.LRSI(d, period=6)),
    "up down": lambda d: (ind.UpDay(d), ind.DownDay(d), ind.UpDayBool(d)),
    "down bool": lambda d: ind.DownDayBool(d.close, period=2),
    "stddev": lambda d: ind.StdDev(d.close, period=8),
    "stddev of changes": lambda d: ind.StdDev(d.close - d.open, period=8),
    "mean deviation": lambda d: ind.MeanDev(d.close, period=8),
    "bollinger": lambda d: ind.BBands(d.close, period=10, devfactor=1.5),
    "bollinger pct": lambda d: ind.BollingerBandsPct(d.close, period=10),
    "bollinger ema": lambda d: ind.BBands(d, period=9, movav=ind.MovAv.EMA),
    "cross over": lambda d: ind.CrossOver(
        ind.SMA(d.close, period=4), ind.SMA(d.close, period=11)
    ),
    "cross up": lambda d: ind.CrossUp(ind.EMA(d, period=3), ind.EMA(d, period=8)),
    "cross down": lambda d: ind.CrossDown(d.close, ind.SMA(d, period=6)),
    "cross of a number": lambda d: ind.CrossOver(ind.RSI_Safe(d, period=6), 50.0),
    "macd": lambda d: ind.MACD(d.close, period_me1=5, period_me2=9, period_signal=4),
    "macd histo": lambda d: ind.MACDHisto(d.close, period_me1=4, period_me2=7),
    "atr": lambda d: ind.ATR(d, period=8),
    "true range": lambda d: (ind.TrueRange(d), ind.TrueHigh(d), ind.TrueLow(d)),
    "highest": lambda d: ind.Highest(d.high, period=11),
    "lowest": lambda d: (ind.Lowest(d.low, period=7), ind.Lowest(d, period=1)),
    "roc": lambda d: (ind.ROC(d, period=5), ind.ROC100(d, period=3)),
    "momentum": lambda d: (ind.Momentum(d, period=5), ind.MomentumOsc(d, period=4)),
    "stochastic": lambda d: ind.Stochastic(d, period=8, safediv=True),
    "stochastic fast": lambda d: ind.StochasticFast(d, period=8, safediv=True),
    "stochastic full": lambda d: ind.StochasticFull(d, period=8, safediv=True),
    "williams": lambda d: (ind.WilliamsR(d, period=7), ind.WilliamsAD(d)),
    "ultimate": lambda d: ind.UltimateOscillator(d, p1=3, p2=5, p3=8),
    "cci": lambda d: ind.CCI(d, period=9),
    "adx": lambda d: ind.ADX(d, period=6),
    "directional": lambda d: ind.DirectionalMovement(d, period=5),
    "aroon": lambda d: ind.AroonUpDownOsc(d, period=8),
    "awesome": lambda d: (ind.AO(d, fast=3, slow=8), ind.AccDeOsc(d)),
    "trix": lambda d: (ind.Trix(d, period=4), ind.TSI(d)),
    "ichimoku": lambda d: ind.Ichimoku(d, tenkan=4, kijun=7, senkou=11, senkou_lead=5),
    "parabolic sar": ind.PSAR,
    "dpo": lambda d: (ind.DPO(d, period=6), ind.DV2(d, period=20)),
    "kst": lambda d: ind.KST(d, rp1=3, rp2=4, rp3=5, rp4=6),
    "percent": lambda d: (ind.PctChange(d, period=4), ind.PercentRank(d, period=9)),
    "vortex": lambda d: ind.Vortex(d, period=6),
    "pretty good": lambda d: ind.PGO(d, period=6),
    "oscillators": lambda d: (ind.PPO(d), ind.SMAOsc(d.close, period=5)),
    "envelope": lambda d: ind.SMAEnvelope(d.close, period=6, perc=1.0),
    "hurst": lambda d: ind.Hurst(d, period=20),
    "sum any all": lambda d: (
        ind.SumN(d.close, period=5),
        ind.AnyN(d.close > d.open, period=3),
        ind.AllN(d.close > d.open, period=2),
    ),
    "accum": lambda d: ind.Accum(d.close - d.open, seed=100.0),
    "find index": lambda d: (
        ind.FindFirstIndexHighest(d.high, period=6),
        ind.FindLastIndexLowest(d.low, period=6),
    ),
    "apply": lambda d: ind.ApplyN(d.close, period=4, func=math.fsum),
    "arithmetic": lambda d: (
        d.close + d.open,
        d.close - 5,
        7.5 - d.close,
        d.close * 2,
        3 * d.close,
        d.close / d.open,
        1e6 / d.close,
        -(d.close - d.open),
        abs(d.close - d.open),
    ),
    "powers": lambda d: (d.close**2, d.close**0.5, abs(d.close - d.open) ** 1.5),
    "whole division": lambda d: (d.close // 7.0, d.close // d.open),
    "comparisons": lambda d: (
        d.close > d.open,
        d.close < d.open,
        d.close >= d.high,
        d.close <= d.low,
        d.close == d.open,
        d.close != d.open,
        d.close > 25_000,
    ),
    "logic": lambda d: (
        bt.And(d.close > d.open, d.close > d.close(-1)),
        bt.Or(d.close > d.open, d.low < d.low(-2), d.high > d.high(-1)),
        bt.Any(d.close > d.open, d.close > d.close(-1)),
        bt.All(d.close > d.open, d.close > d.close(-1)),
        bt.Max(d.close, d.open, 30_000.0),
        bt.Min(d.close, d.open(-1)),
        bt.Sum(d.close, d.open, d.high),
        bt.If(d.close > d.open, d.high, d.low),
        bt.If(d.close > d.open, 1.0, d.low),
        bt.Cmp(d.close, d.open),
        bt.CmpEx(d.close, d.open, d.low, 0.0, d.high),
        bt.Reduce(lambda x, y: x - y, d.close, d.open),
    ),
    "constant first": lambda d: (bt.Max(0.0, d.close - d.open), d.close > d.open),
    "safe divisions": lambda d: (
        bt.DivByZero(d.close - d.open, d.high - d.low, zero=-1.0),
        bt.DivZeroByZero(d.close - d.open, d.high - d.low, single=9.0, dual=0.5),
    ),
    "delays": lambda d: (d.close(-1), d.close(-5), d.high(0), ind.SMA(d, period=3)(-2)),
    "forward": lambda d: (d.close(0), d.open(2)),
    "nested": lambda d: ind.EMA(ind.SMA(ind.RSI_Safe(d, period=4), period=3), period=5),
    "of an inner line": lambda d: ind.SMA(ind.BBands(d, period=6).lines.top, period=3),
    "own next": OwnNext,
    "own next of own": lambda d: OwnNext(OwnNext(d, period=2), period=3),
    "own once": OwnOnce,
    "own function": lambda d: OwnHighest(d.high, period=5),
    "bindings": Both,
    "coupler": lambda d: ind.SMA(d.close, period=4)(),
}


class Follower(bt.Strategy):
    """Buys when the first line rises, sells when it falls; skips some bars."""

    params = (("build", None),)

    def __init__(self) -> None:
        self.watched = {d: self.made(d) for d in self.datas}

    def made(self, feed: Any) -> list[Any]:
        found = self.p.build(feed)
        return list(found) if isinstance(found, tuple) else [found]

    def prenext(self) -> None:
        if len(self) > 2:
            self.next()

    def next(self) -> None:
        for number, feed in enumerate(self.datas):
            line = self.watched[feed][0]
            if len(feed) < 3 or len(line) < 3 or (len(self) + number) % 3:
                continue
            rises, held = line[0] > line[-1], self.getposition(feed).size
            if rises and not held:
                self.buy(data=feed, size=10 + number, reason="rises")
            elif held and not rises:
                self.close(data=feed, reason="falls")


@functools.cache
def feeds_of(kind: str) -> Feeds:
    if kind == "same":
        return {"000001": make_candles(140, 1)}
    if kind == "ragged":
        return {
            "000001": make_candles(150, 1, gaps=0.06, factor=1 / 1.37),
            "000002": make_candles(150, 2, gaps=0.02, late=30, locked=0.2),
        }
    return {"000001": make_candles(180, 5, minutes=True, factor=1 / 7, locked=0.1)}


@pytest.mark.parametrize("kind", ["ragged", "minutes"])
@pytest.mark.parametrize("name", ZOO)
def test_indicators_and_trades_are_equal_to_the_bit(name: str, kind: str) -> None:
    broker = krx if kind == "ragged" else none
    plain, fast = (
        run(
            Follower,
            feeds_of(kind),
            fast=engine,
            broker=broker,
            params={"build": ZOO[name]},
        )
        for engine in (False, True)
    )
    assert_equal(plain, fast)
    assert fast.engine == "fast", fast.fallback
    assert plain.error or len(plain.events) > 100


# What backtrader itself computes otherwise bar by bar than in one go: it reads ahead,
# starts a line on another bar, or fails in one of the two.
MODES_DIFFER = {
    "rmi lrsi",
    "rsi sma",
    "ichimoku",
    "logic",
    "constant first",
    "forward",
    "coupler",
}


@pytest.mark.parametrize("kind", ["ragged", "minutes"])
@pytest.mark.parametrize("name", sorted(ZOO.keys() - MODES_DIFFER))
def test_bar_by_bar_gives_the_same(name: str, kind: str) -> None:
    """As a live run computes: plain backtrader, `runonce=False`."""
    broker, params = krx if kind == "ragged" else none, {"build": ZOO[name]}
    feeds = feeds_of(kind)
    fast = run(Follower, feeds, fast=True, broker=broker, params=params)
    by_bar = run(
        Follower, feeds, fast=False, broker=broker, params=params, runonce=False
    )
    assert (fast.events, fast.account) == (by_bar.events, by_bar.account)
    assert (fast.lines["s0.chart"], fast.error) == (
        by_bar.lines["s0.chart"],
        by_bar.error,
    )


def test_most_of_the_zoo_trades() -> None:
    traded = [
        name
        for name, build in ZOO.items()
        if run(
            Follower, feeds_of("same"), fast=True, broker=none, params={"build": build}
        ).account["fills"]
    ]
    assert len(traded) > 40
