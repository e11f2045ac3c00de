"""A paper or live run done again on the candles it saw: freely, or as it was told."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np

from kisbt.app.backtest import build_cerebro, config_of, finish, run_cerebro
from kisbt.app.prepare import Prepared, prepare
from kisbt.bt.feed import CandleFeed
from kisbt.bt.replay import Prompter, ReplayBroker, Script
from kisbt.bt.result import Times
from kisbt.bt.seed import SeededBroker
from kisbt.bt.warmup import hold_unless
from kisbt.clock import KST
from kisbt.errors import InputError
from kisbt.model.result import RunResult
from kisbt.report.folder import read_run
from kisbt.report.livefiles import CANDLES, LiveRun, read_live
from kisbt.text import _


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run, and everything that is needed to do it again.

    Attributes:
        prepared: its strategy and the candles it saw.
        script: what its strategy was told.
    """

    run: RunResult
    live: LiveRun
    prepared: Prepared
    script: Script


def read_case(folder: Path) -> Case:
    """Read the folder of a paper or live run.

    Raises:
        InputError: no run folder, damaged, of a backtest, or of a run that saw no
            bar.
        ConfigError, DataError: its strategy or its candles are gone.
    """
    run = read_run(folder)
    if run.run.get("mode") == "backtest":
        raise InputError(
            _(
                "{folder} is a backtest: expected the folder of a paper or live run; "
                "to compare two backtests use kisbt compare"
            ).format(folder=folder)
        )
    live = read_live(folder, run)
    if live.first_bar is None or live.last_bar is None:
        raise InputError(
            _(
                "{folder}: the run saw no bar of a session, so there is nothing to "
                "compare"
            ).format(folder=folder)
        )
    prepared = _prepare(folder, run, live)
    script = _script(run, live, prepared)
    return Case(run=run, live=live, prepared=prepared, script=script)


def free_run(case: Case) -> RunResult:
    """Backtest, knowing nothing of the run but what it began with."""
    prepared = case.prepared
    strategy = _resumed(prepared.strategy_class, case.live)
    cerebro, feeds = build_cerebro(
        replace(prepared, strategy_class=strategy), **_broker(SeededBroker, case)
    )
    if case.script.carried:
        cerebro.addanalyzer(Prompter, script=case.script)
    return finish(prepared, cerebro, feeds, run_cerebro(cerebro)).result


def replay_cerebro(case: Case) -> tuple[bt.Cerebro, dict[str, CandleFeed]]:
    """Return a Cerebro that tells the strategy what the run's strategy was told.

    Its broker is a `ReplayBroker`, its first analyzer a `Prompter`.
    """
    strategy = _resumed(case.prepared.strategy_class, case.live)
    if case.live.held_bars:
        strategy = hold_unless(strategy, _calls_except(case.live))
    cerebro, feeds = build_cerebro(
        replace(case.prepared, strategy_class=strategy),
        **_broker(ReplayBroker, case, script=case.script),
    )
    cerebro.addanalyzer(Prompter, script=case.script)
    return cerebro, feeds


def naive(moment: datetime | None) -> np.datetime64:
    """Return an aware time as the candles have it: naive KST."""
    assert moment is not None
    return np.datetime64(moment.astimezone(KST).replace(tzinfo=None), "s")


def _prepare(folder: Path, run: RunResult, live: LiveRun) -> Prepared:
    changes = {
        "mode": "backtest",
        "data.path": str((folder / CANDLES).resolve()),
        "data.from": None,
        "data.to": None,
        "data.adjusted": bool(run.run.get("adjusted", False)),
        "report.benchmark": None,
    }
    prepared = prepare(
        config_of(run, overrides=changes),
        first=naive(live.first_bar),
        last=naive(live.last_bar),
    )
    # What was traded is known better by the run than by any list of symbols.
    instruments = {
        symbol: run.instruments.get(symbol, known)
        for symbol, known in prepared.instruments.items()
    }
    return replace(prepared, instruments=instruments)


def _script(run: RunResult, live: LiveRun, prepared: Prepared) -> Script:
    ends = np.unique(np.concatenate([c.end for c in prepared.candles.values()]))
    before = ends[ends < prepared.first]
    first = live.first_bar
    assert first is not None
    return Script(
        orders=run.orders,
        # What came while history was read counts for the first bar.
        events=tuple(replace(e, bar=max(e.bar, first)) for e in live.order_events),
        carried={order.order_ref: order.quantity for order in live.starting_orders},
        begin=before[-1].astype(datetime).replace(tzinfo=KST) if len(before) else None,
    )


def _broker(kind: type[SeededBroker], case: Case, **more: Any) -> dict[str, Any]:
    """Return how `build_cerebro` makes the broker that begins as the run did."""
    return {
        "starting_cash": float(case.run.run["starting_cash"]),
        "make_broker": partial(
            kind,
            holdings=case.live.starting_positions,
            guard=case.live.starting_guard,
            **more,
        ),
    }


def _calls_except(live: LiveRun) -> Callable[[float], bool]:
    """Return what tells by a date number whether the run's strategy was called."""
    times, held, first = Times(), set(live.held_bars), live.first_bar
    assert first is not None
    return lambda number: times(number) >= first and times(number) not in held


def _resumed(strategy_class: type[Any], live: LiveRun) -> type[Any]:
    """Return the class, given the state that the run's strategy was given."""
    if live.starting_state is None or "load_state" not in dir(strategy_class):
        return strategy_class
    state = dict(live.starting_state)

    class Resumed(strategy_class):  # type: ignore[misc]
        """The user's strategy, resumed."""

        def start(self) -> None:
            super().start()
            self.load_state(state)

    Resumed.__name__ = strategy_class.__name__
    Resumed.__qualname__ = strategy_class.__qualname__
    Resumed.__module__ = strategy_class.__module__
    return Resumed
