"""Search the parameters of a strategy, and say what the best ones are worth."""

import math
import os
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kisbt.app.backtest import buy_and_hold_curve
from kisbt.app.prepare import Prepared, prepare
from kisbt.app.strategies import check_params
from kisbt.app.trials import Job, lean_result, make_job, returns_table, run_trial
from kisbt.clock import Clock, SystemClock
from kisbt.config.optimize import OptimizeConfig, RangeConfig
from kisbt.config.schema import Config
from kisbt.errors import ConfigError, StrategyError
from kisbt.model.result import Curve, RunResult
from kisbt.optimize.entries import random_entries
from kisbt.optimize.expression import parse_condition
from kisbt.optimize.landscape import Neighbourhood, importance, neighbourhood
from kisbt.optimize.objective import Objective, make_objective
from kisbt.optimize.overfit import (
    Backtests,
    Deflated,
    cross_validate,
    deflated_sharpe,
)
from kisbt.optimize.pool import Pool, open_pool
from kisbt.optimize.sampler import Sampler, make_sampler
from kisbt.optimize.search import Found, Notice, run_search
from kisbt.optimize.space import Choice, Params, Space, make_range
from kisbt.optimize.trials import Trial, TrialTable
from kisbt.optimize.verdict import Assessment
from kisbt.optimize.windows import Range
from kisbt.report.metric_words import metric_notes
from kisbt.text import _

IN_MEMORY = "sqlite://"
# A first run that is quicker than this is timed again: it paid for imports.
_QUICK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A search ready to start.

    Attributes:
        config: with its `optimize` block.
        prepared: candles and strategy, as a backtest would have them.
        baseline: the trial of the configuration's own parameters.
        seconds: what one trial takes on this machine.
    """

    config: Config
    settings: OptimizeConfig
    prepared: Prepared
    space: Space
    objective: Objective
    sampler: Sampler
    baseline: Trial
    seconds: float

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters searched."""
        return tuple(self.space.parameters)

    def estimate_s(self, workers: int, runs: int | None = None) -> float:
        """Return about how many seconds the search takes."""
        count = self.sampler.total if runs is None else runs
        return self.seconds * math.ceil(count / max(1, workers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A finished search.

    Attributes:
        plan: what was searched.
        found: all trials.
        assessment: the overfit checks; None when no trial has a value.
        importance: share of the objective's variance by parameter.
        best_run: of the best trial, without orders and decisions.
        seconds: it took.
        seconds_of_trials: of these, until the last trial was written down.
        workers: that ran.
    """

    plan: Plan
    found: Found
    assessment: Assessment | None
    importance: Mapping[str, float]
    best_run: RunResult | None
    hold: Curve | None
    seconds: float
    seconds_of_trials: float
    workers: int

    @property
    def best(self) -> Trial | None:
        """The best trial."""
        if self.found.best is None:
            return None
        return self.found.trials[self.found.best]

    @property
    def best_value(self) -> float | None:
        """Its objective."""
        return None if self.found.best is None else self.found.values[self.found.best]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What the trials themselves say about the best one; None if not computable."""

    deflated: Deflated | None
    backtests: Backtests | None
    neighbours: Neighbourhood | None


def default_workers() -> int:
    """Return how many processes this machine has room for."""
    return os.cpu_count() or 1


def make_plan(config: Config, *, clock: Clock | None = None) -> Plan:
    """Check a search, and measure what a trial costs by running one.

    Raises:
        ConfigError: the `optimize` block is missing or wrong.
        DataError: there are no candles.
        StrategyError: the strategy fails with the configuration's own parameters.
    """
    time_source = clock or SystemClock()
    settings = config.optimize
    if settings is None:
        raise ConfigError(
            _(
                "there is no optimize: block to say what to try; write one, such as "
                "optimize: {{space: {{ma_short: {{low: 3, high: 20}}}}}}"
            ).format(),
            path="optimize",
        )
    prepared = prepare(config)
    space = make_space(settings, prepared)
    objective = make_objective(
        settings.objective, settings.constraints, set(metric_notes())
    )
    sampler = make_sampler(
        settings.sampler,
        space,
        objective,
        trials=settings.trials,
        seed=settings.seed,
        batch=settings.batch,
    )
    job = make_job(prepared, None)
    baseline, seconds = _timed(job, time_source)
    if seconds < _QUICK_S:
        baseline, seconds = _timed(job, time_source)
    if baseline.metrics is None:
        raise StrategyError(baseline.error)
    return Plan(
        config=config,
        settings=settings,
        prepared=prepared,
        space=space,
        objective=objective,
        sampler=sampler,
        baseline=baseline,
        seconds=seconds,
    )


def _timed(job: Job, clock: Clock) -> tuple[Trial, float]:
    started = clock.monotonic()
    trial = run_trial(job, None, -1, {})
    return trial, clock.monotonic() - started


def make_space(settings: OptimizeConfig, prepared: Prepared) -> Space:
    """Return the space of a configuration.

    Raises:
        ConfigError: the strategy has no such parameter, or a condition is wrong.
    """
    for name in settings.space:
        try:
            check_params(prepared.strategy_class, {name: None})
        except ConfigError as error:
            text = str(error).replace("strategy.params.", "optimize.space.", 1)
            raise ConfigError(text, path=f"optimize.space.{name}") from error
    return Space(
        parameters={
            name: make_range(item.low, item.high, item.step, log=item.log)
            if isinstance(item, RangeConfig)
            else Choice(tuple(item))
            for name, item in settings.space.items()
        },
        conditions=tuple(
            parse_condition(text, prepared.params, "optimize.where")
            for text in settings.where
        ),
        fixed=dict(prepared.params),
    )


@contextmanager
def open_workers(
    prepared: Prepared, workers: int, cluster: str | None
) -> Iterator[tuple[Pool, Job]]:
    """Open workers that share the candles of a run.

    On this machine they map one file; workers of a cluster are sent the candles
    once each.
    """
    with tempfile.TemporaryDirectory(
        prefix="kisbt-", ignore_cleanup_errors=True
    ) as folder:
        job = make_job(prepared, None if cluster else Path(folder))
        with open_pool(workers, cluster=cluster, shared=job) as pool:
            yield pool, job


def evaluate(
    pool: Pool, job: Job, window: Range | None, missing: Sequence[tuple[int, Params]]
) -> Generator[Trial, None, None]:
    """Yield the trials of these combinations, in order."""
    calls = [(job, window, number, params) for number, params in missing]
    yield from pool.map(run_trial, calls)


def optimize(
    plan: Plan,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    storage: str = IN_MEMORY,
    study: str = "search",
    notice: Notice | None = None,
    clock: Clock | None = None,
) -> Search:
    """Run a search.

    Args:
        plan: of `make_plan`.
        workers: processes of this machine; as many as it has if None.
        cluster: address of a Dask scheduler, in place of processes here.
        storage: database that keeps the trials.
        study: name of the search in it; one that has trials already is continued.
        notice: told after each trial.
        clock: for the time it took.

    Raises:
        InputError: the database holds another search, a package is missing, or the
            cluster does not fit.
    """
    time_source = clock or SystemClock()
    started = time_source.monotonic()
    with (
        TrialTable(storage, study) as table,
        open_workers(plan.prepared, workers or default_workers(), cluster) as (
            pool,
            job,
        ),
    ):
        found = run_search(
            plan.sampler,
            plan.objective,
            lambda missing: evaluate(pool, job, None, missing),
            table,
            clock=time_source,
            notice=notice,
        )
        of_trials = time_source.monotonic() - started
    run, hold = _best_run(plan, found)
    ranked = [k for k, value in enumerate(found.values) if value is not None]
    params = [found.trials[k].params for k in ranked]
    values = np.array([found.values[k] for k in ranked], dtype=np.float64)
    return Search(
        plan=plan,
        found=found,
        assessment=_assess(plan, found, run, hold),
        importance=importance(plan.space, params, values),
        best_run=run,
        hold=hold,
        seconds=time_source.monotonic() - started,
        seconds_of_trials=of_trials,
        workers=pool.workers,
    )


def _best_run(plan: Plan, found: Found) -> tuple[RunResult | None, Curve | None]:
    """Run the best trial again, for its trades and its curve."""
    if found.best is None:
        return None, None
    run = lean_result(plan.prepared, found.trials[found.best].params)
    return run, buy_and_hold_curve(plan.prepared)


def check_choice(plan: Plan, found: Found) -> Checks:
    """Check whether the best trial may be the luckiest one.

    Args:
        plan: of the search.
        found: its trials, of which one is the best.
    """
    assert found.best is not None
    alive = [trial for trial in found.trials if trial.metrics is not None]
    table = returns_table(alive)
    varied = table.std(axis=1) > 0
    at = alive.index(found.trials[found.best])
    ranked = [k for k, value in enumerate(found.values) if value is not None]
    return Checks(
        deflated=deflated_sharpe(table[varied], int(varied[:at].sum()))
        if varied[at]
        else None,
        backtests=cross_validate(table),
        neighbours=neighbourhood(
            plan.space,
            [found.trials[k].params for k in ranked],
            np.array([found.values[k] for k in ranked], dtype=np.float64),
            ranked.index(found.best),
        ),
    )


def _assess(
    plan: Plan, found: Found, run: RunResult | None, hold: Curve | None
) -> Assessment | None:
    if found.best is None or run is None:
        return None
    checks = check_choice(plan, found)
    metrics = found.trials[found.best].metrics or {}
    return Assessment(
        deflated=checks.deflated,
        backtests=checks.backtests,
        neighbours=checks.neighbours,
        entries=random_entries(
            run.trades,
            run.fills,
            plan.prepared.candles,
            first=plan.prepared.first,
            seed=plan.settings.seed,
        ),
        total_return=metrics.get("total_return"),
        hold_return=hold_return(plan.config, hold),
    )


def hold_return(config: Config, hold: Curve | None) -> float | None:
    """Return what buying and holding brought, as a fraction."""
    if hold is None:
        return None
    return float(hold.value[-1]) / config.capital - 1.0


def best_params(search: Search) -> dict[str, Any]:
    """Return all parameters of the strategy with the best values found."""
    best = search.best
    return {**search.plan.config.strategy.params, **(best.params if best else {})}
