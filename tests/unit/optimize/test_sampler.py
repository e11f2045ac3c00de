from collections.abc import Sequence
from typing import Any

import pytest

from kisbt.errors import ConfigError
from kisbt.optimize.expression import parse_condition
from kisbt.optimize.objective import make_objective
from kisbt.optimize.sampler import (
    Tpe,
    distributions,
    from_optuna,
    make_sampler,
    to_optuna,
    told_values,
)
from kisbt.optimize.space import Choice, Params, Space, Span, key_of, make_range
from kisbt.optimize.trials import Trial

OBJECTIVE = make_objective("sharpe", ("trades > 0",), {"sharpe", "trades"})


def space(*conditions: str) -> Space:
    parameters = {
        "a": make_range(1, 30),
        "b": make_range(0.0, 1.0, 0.05),
        "c": Span(0.01, 10.0, log=True),
        "d": Choice(("x", {"y": 1})),
    }
    return Space(
        parameters=parameters,
        conditions=tuple(parse_condition(c, parameters, "where") for c in conditions),
    )


def score(params: Params) -> float:
    away = abs(params["a"] - 20) + abs(params.get("b", 0.3) - 0.3)
    return (params.get("d") == "x") - away


def finish(number: int, params: Params) -> Trial:
    metrics: dict[str, Any] = {"sharpe": score(params), "trades": params["a"] % 7}
    return Trial(number=number, params=params, metrics=metrics)


def run(sampler: Any, stop: int = 1000) -> list[Trial]:
    done: list[Trial] = []
    while len(done) < stop and (proposed := sampler.propose(done)):
        done += [finish(len(done) + k, params) for k, params in enumerate(proposed)]
    return done


def tpe(trials: int = 40, seed: int = 3, *conditions: str) -> Tpe:
    return Tpe(space(*conditions), OBJECTIVE, trials=trials, batch=8, seed=seed)


def keys(trials: Sequence[Trial]) -> list[str]:
    return [key_of(trial.params) for trial in trials]


def test_tpe_proposes_the_same_trials_for_a_seed_and_none_twice() -> None:
    first = keys(run(tpe()))
    assert first == keys(run(tpe()))
    assert len(set(first)) == 40
    assert first != keys(run(tpe(seed=4)))


def test_tpe_goes_on_where_it_was_interrupted() -> None:
    whole = run(tpe())
    again = whole[:16]
    while proposed := tpe().propose(again):
        again = again + [finish(len(again) + k, p) for k, p in enumerate(proposed)]
    assert keys(again) == keys(whole)


def test_tpe_finds_more_than_chance() -> None:
    learnt = [score(trial.params) for trial in run(tpe(80))]
    drawn = make_sampler(
        "random", space(), OBJECTIVE, trials=80, seed=3, batch=8
    ).propose([])
    assert max(learnt) > max(map(score, drawn))
    assert sum(learnt[40:]) > sum(learnt[:40])


def test_tpe_meets_the_conditions_or_says_that_nothing_does() -> None:
    assert all(t.params["a"] < 6 for t in run(tpe(24, 3, "a < 6")))
    with pytest.raises(ConfigError, match="no combination"):
        tpe(24, 3, "a > 99").propose([])


def test_tpe_ends_when_the_space_is_used_up() -> None:
    small = Space(parameters={"a": make_range(1, 3)})
    found = run(Tpe(small, OBJECTIVE, trials=20, batch=2, seed=1))
    assert sorted(trial.params["a"] for trial in found) == [1, 2, 3]


def test_trials_without_value_are_told_as_worse_than_all_others() -> None:
    trials = [
        Trial(number=0, params={}, metrics={"sharpe": 2.0, "trades": 1}),
        Trial(number=1, params={}, metrics={"sharpe": 9.0, "trades": 0}),
        Trial(number=2, params={}, metrics=None, error="raised"),
        Trial(number=3, params={}, metrics={"sharpe": -4.0, "trades": 1}),
    ]
    assert told_values(trials, OBJECTIVE) == [2.0, -10.0, -10.0, -4.0]
    assert told_values(trials[1:3], OBJECTIVE) == [-1.0, -1.0]


def test_parameters_go_to_optuna_and_back() -> None:
    params = {"a": 7, "b": 0.35, "c": 0.5, "d": {"y": 1}}
    told = to_optuna(space(), params)
    assert told["d"] == '{"y": 1}'
    for name, kind in distributions(space()).items():
        assert kind._contains(kind.to_internal_repr(told[name]))
    assert from_optuna(space(), told) == params


def test_grid_and_random_are_listed_beforehand() -> None:
    small = Space(parameters={"a": make_range(1, 5)})
    grid = make_sampler("grid", small, OBJECTIVE, trials=9, seed=1, batch=2)
    assert grid.total == 5
    assert len(run(grid)) == 5
    drawn = make_sampler("random", small, OBJECTIVE, trials=3, seed=1, batch=2)
    assert len({trial.params["a"] for trial in run(drawn)}) == 3
