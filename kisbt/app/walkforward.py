"""Walk-forward analysis: search a stretch, trade the next one, move on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kisbt.app.backtest import benchmark_curve, buy_and_hold_curve
from kisbt.app.optimize import (
    IN_MEMORY,
    Plan,
    check_choice,
    default_workers,
    evaluate,
    hold_return,
    open_workers,
)
from kisbt.app.prepare import Prepared, prepare
from kisbt.app.trials import (
    Job,
    lean_result,
    session_returns,
    trial_of,
)
from kisbt.clock import Clock, SystemClock
from kisbt.config.schema import Config
from kisbt.errors import ConfigError
from kisbt.model.result import Curve, FillRow, Floats, RunResult, TradeRow
from kisbt.optimize.entries import RandomEntries, random_entries
from kisbt.optimize.overfit import moments, probabilistic_sharpe, sharpe
from kisbt.optimize.pool import Pool
from kisbt.optimize.search import Found, run_search
from kisbt.optimize.space import Params
from kisbt.optimize.trials import Trial, TrialTable
from kisbt.optimize.verdict import ForwardAssessment, yearly_sharpe
from kisbt.optimize.windows import (
    Days,
    Efficiency,
    Range,
    Stability,
    Window,
    efficiency,
    make_windows,
    stability,
)
from kisbt.report.metrics import SESSIONS_A_YEAR, session_values
from kisbt.text import _

# Called with windows done, windows in all, trials done and in all of this one.
ForwardNotice = Callable[[int, int, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """A window, what its search chose and what that earned afterwards.

    Attributes:
        found: the trials of the training part.
        best: the one chosen.
        value: its objective in training.
        tested: the trial of its parameters in the test part.
        run: the test's fills, trades and equity.
        days: its sessions.
        overfitting, deflated, rank: of the training part; None if not computable.
    """

    window: Window
    found: Found
    best: Trial
    value: float
    tested: Trial
    run: RunResult
    days: Days
    overfitting: float | None
    deflated: float | None
    rank: float | None

    @property
    def tested_returns(self) -> Floats:
        """Session returns of the test."""
        return session_returns(self.run)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WalkForward:
    """A finished walk-forward analysis.

    Attributes:
        plan: what was searched.
        steps: one a window; windows without a usable trial trade nothing and are
            in `skipped`.
        equity: of the tests put together, won, from the starting capital.
        hold: buy-and-hold over the same sessions.
        efficiency, stability, assessment: see their classes.
        skipped: windows in which no trial had a value.
        seconds: it took.
    """

    plan: Plan
    steps: tuple[Step, ...]
    equity: Curve
    hold: Curve | None
    efficiency: Efficiency
    stability: Mapping[str, Stability]
    assessment: ForwardAssessment
    skipped: tuple[Window, ...]
    seconds: float
    workers: int


def windows_of(plan: Plan) -> tuple[Window, ...]:
    """Return the windows of a plan.

    Raises:
        ConfigError: the history is too short for two.
    """
    asked = plan.settings.walkforward
    return make_windows(
        tradable_days(plan.prepared),
        train=asked.train,
        test=asked.test,
        anchored=asked.anchored,
    )


def tradable_days(prepared: Prepared) -> Days:
    """Return the sessions on which the strategy may trade."""
    ends = np.unique(np.concatenate([c.end for c in prepared.candles.values()]))
    days: Days = np.unique(ends[ends >= prepared.first].astype("datetime64[D]"))
    return days


def walk_forward(
    plan: Plan,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    storage: str = IN_MEMORY,
    study: str = "walkforward",
    notice: ForwardNotice | None = None,
    clock: Clock | None = None,
) -> WalkForward:
    """Run a walk-forward analysis.

    Each test begins without shares and with the starting capital; its returns are
    strung together. What is still held at its end counts at the last close.

    Args:
        plan: of `make_plan`.
        workers, cluster, storage, study: see `optimize`.
        notice: told after each trial.
        clock: for the time it took.

    Raises:
        ConfigError: the history is too short, or no window has a usable trial.
        InputError: see `optimize`.
    """
    time_source = clock or SystemClock()
    started = time_source.monotonic()
    windows = windows_of(plan)
    steps, skipped = [], []
    with open_workers(plan.prepared, workers or default_workers(), cluster) as (
        pool,
        job,
    ):
        work = _Work(
            plan=plan,
            pool=pool,
            job=job,
            clock=time_source,
            windows=len(windows),
            notice=notice,
        )
        for window in windows:
            name = f"{study}-{window.number:03}"
            with TrialTable(storage, name) as table:
                found = work.search(table, window)
            if found.best is None:
                skipped.append(window)
                continue
            steps.append(_step(plan, window, found))
        used = pool.workers
    if not steps:
        raise ConfigError(
            _(
                "no window has a trial that meets the constraints: loosen "
                "optimize.constraints or lengthen optimize.walkforward.train"
            ),
            path="optimize.constraints",
        )
    return _finished(
        plan, steps, skipped, time_source.monotonic() - started, workers=used
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the searches of all windows have in common."""

    plan: Plan
    pool: Pool
    job: Job
    clock: Clock
    windows: int
    notice: ForwardNotice | None

    def search(self, table: TrialTable, window: Window) -> Found:
        """Search the training part of a window."""

        def tell(done: int, total: int, _best: float | None) -> None:
            if self.notice is not None:
                self.notice(window.number - 1, self.windows, done, total)

        return run_search(
            self.plan.sampler,
            self.plan.objective,
            lambda missing: evaluate(self.pool, self.job, window.train, missing),
            table,
            clock=self.clock,
            notice=tell,
        )


def cut(config: Config, part: Range) -> Config:
    """Return the configuration with only these sessions tradable."""
    data = config.data.model_copy(update={"from_": part.first, "to": part.last})
    return config.model_copy(update={"data": data})


def _step(plan: Plan, window: Window, found: Found) -> Step:
    assert found.best is not None
    best, value = found.trials[found.best], found.values[found.best]
    assert value is not None
    prepared = _prepared(plan, window.test)
    run = lean_result(prepared, best.params)
    checks = check_choice(plan, found)
    whole = replace(
        run,
        benchmark=benchmark_curve(prepared, []),
        buy_and_hold=buy_and_hold_curve(prepared),
    )
    return Step(
        window=window,
        found=found,
        best=best,
        value=value,
        tested=trial_of(best.number, best.params, whole),
        run=run,
        days=session_values(run.equity.time, run.equity.equity).day,
        overfitting=checks.backtests.probability if checks.backtests else None,
        deflated=checks.deflated.probability if checks.deflated else None,
        rank=checks.neighbours.rank if checks.neighbours else None,
    )


def _prepared(plan: Plan, part: Range) -> Prepared:
    return prepare(
        cut(plan.config, part),
        strategy=plan.prepared.strategy_class,
        store=plan.prepared.store,
    )


def _finished(
    plan: Plan,
    steps: list[Step],
    skipped: list[Window],
    seconds: float,
    *,
    workers: int,
) -> WalkForward:
    tested = [step.tested_returns for step in steps]
    stitched = np.concatenate(tested)
    capital = float(plan.config.capital)
    days = np.concatenate([step.days for step in steps])
    equity = Curve(
        time=days.astype("datetime64[s]"),
        value=np.asarray(capital * np.cumprod(1.0 + stitched), dtype=np.float64),
    )
    kept = efficiency(
        [step.best.session_returns for step in steps], tested, SESSIONS_A_YEAR
    )
    hold = _hold(plan, steps)
    return WalkForward(
        plan=plan,
        steps=tuple(steps),
        equity=equity,
        hold=hold,
        efficiency=kept,
        stability=stability(plan.space, [step.best.params for step in steps]),
        assessment=_assess(plan, steps, stitched, kept, hold),
        skipped=tuple(skipped),
        seconds=seconds,
        workers=workers,
    )


def _hold(plan: Plan, steps: list[Step]) -> Curve | None:
    first, last = steps[0].window.test.first, steps[-1].window.test.last
    return buy_and_hold_curve(_prepared(plan, Range(first, last)))


def _assess(
    plan: Plan,
    steps: list[Step],
    stitched: Floats,
    kept: Efficiency,
    hold: Curve | None,
) -> ForwardAssessment:
    observed = sharpe(stitched)
    probability = None
    if observed is not None:
        skew, kurtosis = moments(stitched)
        probability = probabilistic_sharpe(observed, 0.0, len(stitched), skew, kurtosis)
    return ForwardAssessment(
        probability=probability,
        sharpe=None if observed is None else yearly_sharpe(observed),
        efficiency=kept,
        overfitting=[s.overfitting for s in steps if s.overfitting is not None],
        deflated=[s.deflated for s in steps if s.deflated is not None],
        ranks=[s.rank for s in steps if s.rank is not None],
        entries=_entries(plan, steps),
        total_return=float(np.prod(1.0 + stitched)) - 1.0,
        hold_return=hold_return(plan.config, hold),
    )


def _entries(plan: Plan, steps: list[Step]) -> RandomEntries | None:
    """Compare the trades of all tests with random days of all tests."""
    trades: list[TradeRow] = []
    fills: list[FillRow] = []
    for step in steps:
        trades += step.run.trades
        fills += step.run.fills
    part = Range(steps[0].window.test.first, steps[-1].window.test.last)
    prepared = _prepared(plan, part)
    return random_entries(
        trades,
        fills,
        prepared.candles,
        first=prepared.first,
        seed=plan.settings.seed,
    )


def window_rows(done: WalkForward) -> list[dict[str, Any]]:
    """Return the windows as rows of windows.csv."""
    return [
        {
            "window": step.window.number,
            "train_first": step.window.train.first.isoformat(),
            "train_last": step.window.train.last.isoformat(),
            "test_first": step.window.test.first.isoformat(),
            "test_last": step.window.test.last.isoformat(),
            "trial": step.best.number,
            **step.best.params,
            "train_value": step.value,
            "train_return": (step.best.metrics or {}).get("total_return"),
            "test_value": done.plan.objective.value(step.tested.metrics),
            "test_return": (step.tested.metrics or {}).get("total_return"),
            "test_trades": (step.tested.metrics or {}).get("trades"),
            "overfitting": step.overfitting,
            "deflated_sharpe": step.deflated,
            "neighbours_rank": step.rank,
        }
        for step in done.steps
    ]


def last_params(done: WalkForward) -> Params:
    """Return the parameters the latest window chose: those to trade next."""
    return done.steps[-1].best.params
