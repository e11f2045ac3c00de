"""Who proposes the next combinations: a grid, chance, or Optuna's TPE."""

import itertools
import json
import math
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

from kisbt.errors import ConfigError
from kisbt.optimize.needs import require
from kisbt.optimize.objective import Objective
from kisbt.optimize.space import Choice, Params, Space, Span, Steps, key_of
from kisbt.optimize.trials import Trial
from kisbt.text import _

SAMPLERS = ("grid", "random", "tpe")

# Proposals in a row that break a condition or repeat a trial before TPE gives up.
_PATIENCE = 500


class Sampler(Protocol):
    """Proposes combinations; what it proposes depends on finished trials only."""

    total: int

    def propose(self, done: Sequence[Trial]) -> Sequence[Params]:
        """Return the next combinations after `done`; none when the search ends."""
        ...


class Listed:
    """Combinations known beforehand: a grid, or random draws."""

    def __init__(self, params: Sequence[Params]) -> None:
        """Propose these, in their order."""
        self._params = params
        self.total = len(params)

    def propose(self, done: Sequence[Trial]) -> Sequence[Params]:
        """Return all that are left."""
        return self._params[len(done) :]


class Tpe:
    """Optuna's tree-structured Parzen estimator, asked in batches of fixed size.

    Each proposal rests on the batches before it and has a seed of its own. So it
    is the same whatever the number of workers, and after a restart.

    Source:
        Bergstra, Bardenet, Bengio, Kegl, "Algorithms for Hyper-Parameter
        Optimization", NeurIPS 2011; `optuna.samplers.TPESampler`.
    """

    def __init__(
        self, space: Space, objective: Objective, *, trials: int, batch: int, seed: int
    ) -> None:
        """Propose `trials` combinations, `batch` at a time."""
        self._optuna = require("optuna")
        self._space, self._objective = space, objective
        self.total = self._wanted = trials
        self._batch, self._seed = batch, seed
        self._distributions = distributions(space)

    def propose(self, done: Sequence[Trial]) -> Sequence[Params]:
        """Return the next batch; fewer, or none, when nothing new is left."""
        count = min(self._batch, self._wanted - len(done))
        if count <= 0 or len(done) % self._batch:
            return []  # an incomplete batch was the last one
        study = self._study(done)
        seen = {key_of(trial.params) for trial in done}
        found: list[Params] = []
        attempts = itertools.count()
        failures = 0
        while len(found) < count and failures < _PATIENCE:
            params = self._ask(study, len(done), next(attempts))
            key = key_of(params)
            if key in seen or not self._space.allows(params):
                failures += 1
                continue
            failures = 0
            seen.add(key)
            found.append(params)
        if not done and not found:
            raise ConfigError(
                _("no combination that meets optimize.where was found"),
                path="optimize.where",
            )
        return found

    def _study(self, done: Sequence[Trial]) -> Any:
        """Return a study in memory that knows the finished trials."""
        optuna = self._optuna
        # A study announces itself on stderr, which the progress bar owns.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params=to_optuna(self._space, trial.params),
                    distributions=self._distributions,
                    value=value,
                )
                for trial, value in zip(
                    done, told_values(done, self._objective), strict=True
                )
            ]
        )
        return study

    def _ask(self, study: Any, done: int, attempt: int) -> Params:
        seed = (self._seed * 1_000_003 + done * 1_009 + attempt) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            asked = study.ask(self._distributions)
        return from_optuna(self._space, asked.params)


def told_values(done: Sequence[Trial], objective: Objective) -> list[float]:
    """Return what TPE is told: the objective, and worse than all where there is none."""
    values = [
        objective.value(trial.metrics) if objective.feasible(trial.metrics) else None
        for trial in done
    ]
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    penalty = low - max(high - low, 1.0)
    return [penalty if value is None else value for value in values]


def distributions(space: Space) -> dict[str, Any]:
    """Return the space as Optuna's distributions; list entries become JSON text."""
    kinds = require("optuna").distributions
    found: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if isinstance(parameter, Span):
            found[name] = kinds.FloatDistribution(
                parameter.low, parameter.high, log=parameter.log
            )
        elif isinstance(parameter, Steps):
            last = parameter.values[-1]
            kind = kinds.IntDistribution if parameter.whole else kinds.FloatDistribution
            found[name] = kind(parameter.low, last, step=parameter.step)
        else:
            found[name] = kinds.CategoricalDistribution(
                [json.dumps(value, ensure_ascii=False) for value in parameter.values]
            )
    return found


def to_optuna(space: Space, params: Params) -> dict[str, Any]:
    """Return parameters as the distributions hold them."""
    return {
        name: json.dumps(value, ensure_ascii=False)
        if isinstance(space.parameters[name], Choice)
        else value
        for name, value in params.items()
    }


def from_optuna(space: Space, params: Params) -> dict[str, Any]:
    """Return parameters as the strategy takes them."""
    found: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        value = params[name]
        if isinstance(parameter, Choice):
            texts = [json.dumps(item, ensure_ascii=False) for item in parameter.values]
            found[name] = parameter.values[texts.index(value)]
        elif isinstance(parameter, Steps):
            found[name] = parameter.at(
                round((float(value) - parameter.low) / parameter.step)
            )
        else:
            digits = float(f"{value:.6g}") if math.isfinite(value) else value
            found[name] = min(max(digits, parameter.low), parameter.high)
    return found


def make_sampler(
    kind: str,
    space: Space,
    objective: Objective,
    *,
    trials: int,
    seed: int,
    batch: int,
) -> Sampler:
    """Return the sampler `kind`: ``grid``, ``random`` or ``tpe``.

    Raises:
        ConfigError: the space does not suit it.
    """
    if kind == "grid":
        return Listed(space.grid(trials))
    if kind == "random":
        return Listed(list(itertools.islice(space.draws(seed), trials)))
    return Tpe(space, objective, trials=trials, batch=batch, seed=seed)
