"""Random strategies on random candles: both engines leave the same behind."""

from typing import Any

import backtrader as bt
import numpy as np
from hypothesis import HealthCheck, given, settings, strategies as st

from kisbt.candles.columns import CandleColumns
from tests.helpers.engine_runs import _ends, assert_equal, krx, none, run

ind = bt.ind
PERIODS = st.integers(1, 9)
# Each takes the line before it and a period.
STEPS: dict[str, Any] = {
    "sma": lambda x, n: ind.SMA(x, period=n),
    "ema": lambda x, n: ind.EMA(x, period=n),
    "smma": lambda x, n: ind.SMMA(x, period=n),
    "wma": lambda x, n: ind.WMA(x, period=n),
    "rsi": lambda x, n: ind.RSI_Safe(x, period=n),
    "stddev": lambda x, n: ind.StdDev(x, period=n),
    "highest": lambda x, n: ind.Highest(x, period=n),
    "lowest": lambda x, n: ind.Lowest(x, period=n),
    "bands": lambda x, n: ind.BBands(x, period=n).lines.bot,
    "delay": lambda x, n: x(-n),
    "change": lambda x, n: x - x(-n),
    "scaled": lambda x, n: x * (n + 0.25) - 3,
    "square": lambda x, n: (x / 1_000.0) ** 2,
    "sign": lambda x, n: bt.If(x > x(-n), 1.0, -1.0),
    "clipped": lambda x, n: bt.Max(x, x(-n)),
    "cross": lambda x, n: ind.CrossOver(x, ind.SMA(x, period=n)),
}
TYPES = (
    bt.Order.Market,
    bt.Order.Limit,
    bt.Order.Stop,
    bt.Order.StopLimit,
    bt.Order.Close,
    bt.Order.StopTrail,
)


@st.composite
def candles(draw: st.DrawFn) -> CandleColumns:
    bars = draw(st.integers(40, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    factor = draw(st.sampled_from([1.0, 0.37, 1 / 1.7]))
    close = np.rint(
        draw(st.sampled_from([3_000, 70_000]))
        * np.exp(
            np.cumsum(rng.normal(0.0, draw(st.sampled_from([0.0, 0.01, 0.08])), bars))
            * 0.5
        )
    )
    open_ = np.rint(close * np.exp(rng.normal(0.0, 0.01, bars)))
    high = np.maximum(open_, close) + np.rint(rng.exponential(20.0, bars))
    low = np.maximum(
        1.0, np.minimum(open_, close) - np.rint(rng.exponential(20.0, bars))
    )
    volume = np.rint(rng.exponential(draw(st.sampled_from([200.0, 1e6])), bars)) + 1
    keep = rng.random(bars) >= draw(st.sampled_from([0.0, 0.2]))
    keep[-20:] = True
    prices = [(x * factor)[keep] for x in (open_, high, low, close)]
    return CandleColumns(_ends(bars, minutes=False)[keep], *prices, volume[keep])


actions = st.fixed_dictionaries(
    {
        "every": st.integers(1, 4),
        "sells": st.booleans(),
        "kind": st.sampled_from(TYPES),
        "size": st.sampled_from([1, 7, 250, 40_000, 0.5]),
        "price": st.floats(0.9, 1.1),
        "plimit": st.floats(0.9, 1.1),
        "cancels": st.booleans(),
    }
)


class Random(bt.Strategy):
    params = (("chains", ()), ("actions", ()))

    def __init__(self) -> None:
        self.ends = []
        for feed in self.datas:
            line = feed.close
            for name, period in self.p.chains:
                line = STEPS[name](line, period)
                self.ends.append((feed, line))
        self.last = None

    def notify_order(self, order: Any) -> None:
        self.last = order if order.alive() else None

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        for number, action in enumerate(self.p.actions):
            if (len(self) + number) % action["every"]:
                continue
            feed = self.datas[(len(self) + number) % len(self.datas)]
            if not len(feed):
                continue
            if action["cancels"] and self.last is not None:
                self.cancel(self.last)
            rises = [line[0] > 0 for of, line in self.ends if of is feed and len(line)]
            side = self.sell if action["sells"] ^ all(rises) else self.buy
            how = {}
            if action["kind"] == bt.Order.StopTrail:
                how["trailpercent"] = 0.02
            elif action["kind"] not in (bt.Order.Market, bt.Order.Close):
                how["price"] = feed.close[0] * action["price"]
            if action["kind"] == bt.Order.StopLimit:
                how["plimit"] = feed.close[0] * action["plimit"]
            side(data=feed, size=action["size"], exectype=action["kind"], **how)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    feeds=st.lists(candles(), min_size=1, max_size=3),
    chains=st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), PERIODS), min_size=1, max_size=3
    ),
    actions=st.lists(actions, min_size=1, max_size=3),
    rules=st.sampled_from([krx, none]),
)
def test_both_engines_leave_the_same_behind(
    feeds: list[CandleColumns], chains: Any, actions: Any, rules: Any
) -> None:
    named = {f"{n:06d}": columns for n, columns in enumerate(feeds, 1)}
    params = {"chains": tuple(chains), "actions": tuple(actions)}
    plain = run(Random, named, fast=False, broker=rules, params=params)
    fast = run(Random, named, fast=True, broker=rules, params=params)
    if plain.error.startswith("IndexError"):
        # A feed too short for its indicators: plain backtrader stops.
        assert fast.error == ""
        return
    assert_equal(plain, fast)
    assert fast.engine == "fast", fast.fallback
