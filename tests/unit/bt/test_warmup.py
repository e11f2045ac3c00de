"""The gate before the first tradable bar."""

import math
from datetime import datetime
from typing import Any

import backtrader as bt
import numpy as np
import pytest

from kisbt.bt.feed import CandleFeed
from kisbt.bt.warmup import hold_until
from tests.helpers.market import daily

CANDLES = daily([float(1_000 + number) for number in range(12)])
MODES: list[dict[str, Any]] = [
    {"runonce": True},
    {"runonce": False},
    {"live": True},
]


class Calls(bt.Strategy):
    """Writes down what it was called with."""

    params = (("period", 3),)

    def __init__(self) -> None:
        self.average = bt.ind.SMA(self.data.close, period=self.p.period)
        self.calls: list[tuple[str, int]] = []
        self.started = 0

    def start(self) -> None:
        self.started += 1

    def prenext(self) -> None:
        self.calls.append(("prenext", len(self)))

    def nextstart(self) -> None:
        self.calls.append(("nextstart", len(self)))
        self.next()

    def next(self) -> None:
        self.calls.append(("next", len(self)))
        assert self.average[0] == sum(self.data.close.get(size=self.p.period)) / (
            self.p.period
        )


def run(first_bar: int | None, mode: dict[str, Any], *feeds: Any, **params: Any) -> Any:
    first = (
        math.inf
        if first_bar is None
        else bt.date2num(CANDLES.end[first_bar - 1].astype(datetime))
    )
    cerebro = bt.Cerebro(stdstats=False, **mode)
    for candles in feeds or (CANDLES,):
        cerebro.adddata(CandleFeed(dataname=candles))
    cerebro.addstrategy(hold_until(Calls, first), **params)
    return cerebro.run()[0]


@pytest.mark.parametrize("mode", MODES, ids="+".join)
def test_nothing_is_called_before_the_first_tradable_bar(mode: dict[str, Any]) -> None:
    calls = run(6, mode).calls
    assert calls[:3] == [("nextstart", 6), ("next", 6), ("next", 7)]
    assert calls[-1] == ("next", 12)
    assert len(calls) == 8


@pytest.mark.parametrize("mode", MODES, ids="+".join)
@pytest.mark.parametrize("first_bar", [1, 2, 3])
def test_open_gate_calls_what_plain_backtrader_calls(
    mode: dict[str, Any], first_bar: int
) -> None:
    cerebro = bt.Cerebro(stdstats=False, **mode)
    cerebro.adddata(CandleFeed(dataname=CANDLES))
    cerebro.addstrategy(Calls)
    plain = cerebro.run()[0].calls
    assert run(first_bar, mode).calls == [c for c in plain if c[1] >= first_bar]


@pytest.mark.parametrize("mode", MODES, ids="+".join)
def test_indicators_that_need_more_than_the_warm_up_wait_in_prenext(
    mode: dict[str, Any],
) -> None:
    assert run(6, mode, period=8).calls == [
        ("prenext", 6),
        ("prenext", 7),
        ("nextstart", 8),
        *[("next", bar) for bar in range(8, 13)],
    ]


@pytest.mark.parametrize("mode", MODES, ids="+".join)
@pytest.mark.parametrize("first_bar", [2, 4, 6])
def test_nextstart_is_called_once(mode: dict[str, Any], first_bar: int) -> None:
    late = daily([None] * 4 + [float(2_000 + number) for number in range(8)])
    calls = run(first_bar, mode, CANDLES, late).calls
    assert [name for name, _bar in calls].count("nextstart") == 1
    assert min(bar for _name, bar in calls) == first_bar


def test_gate_at_infinity_never_opens() -> None:
    strategy = run(None, {})
    assert strategy.calls == []
    assert strategy.started == 1


def test_gated_class_keeps_name_and_parameters() -> None:
    gated = hold_until(Calls, 0.0)
    assert (gated.__name__, gated.__qualname__) == (Calls.__name__, Calls.__qualname__)
    assert gated.__module__ == Calls.__module__
    assert run(1, {}, period=5).p.period == 5


def test_two_strategies_open_their_own_gates() -> None:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleFeed(dataname=CANDLES))
    firsts = [bt.date2num(CANDLES.end[bar].astype(datetime)) for bar in (4, 8)]
    for first in firsts:
        cerebro.addstrategy(hold_until(Calls, first))
    assert [s.calls[0] for s in cerebro.run()] == [("nextstart", 5), ("nextstart", 9)]


def test_what_a_run_leaves_in_its_class_is_not_found_by_the_next() -> None:
    first = hold_until(Calls, 0.0)
    assert hold_until(Calls, 0.0) is first
    first.seen = 1  # as `type(self).seen = 1` in a strategy
    second = hold_until(Calls, 0.0)
    assert second is not first
    assert not hasattr(second, "seen")
    del first.seen


def test_what_a_run_leaves_in_its_parameters_is_not_found_either() -> None:
    first = hold_until(Calls, 0.0)
    first.params.extra = 5
    first.seen = np.arange(3)  # it has no truth value
    second = hold_until(Calls, 0.0)
    assert not hasattr(second.params, "extra")
    assert not hasattr(second, "seen")
    del first.params.extra
    del first.seen
