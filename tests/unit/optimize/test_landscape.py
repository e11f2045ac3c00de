import itertools

import numpy as np
import pytest

from kisbt.optimize.landscape import importance, neighbourhood
from kisbt.optimize.space import Choice, Space, Span, make_range

SPACE = Space(parameters={"a": make_range(0, 9), "b": make_range(0, 9)})
GRID = [{"a": a, "b": b} for a, b in itertools.product(range(10), range(10))]


def values(function) -> np.ndarray:
    return np.array([float(function(row["a"], row["b"])) for row in GRID])


def test_importance_is_the_share_each_parameter_explains_alone() -> None:
    # Nine tenths and one tenth of the variance, of which chance explains 9 of 99.
    found = importance(SPACE, GRID, values(lambda a, b: 3 * a + b))
    assert found["a"] == pytest.approx(0.89)
    assert found["b"] == pytest.approx(0.01)
    assert importance(SPACE, GRID, values(lambda a, b: a))["a"] == pytest.approx(1.0)


def test_importance_of_noise_and_of_a_constant_is_nothing() -> None:
    rng = np.random.default_rng(1)
    noise = importance(SPACE, GRID, rng.normal(size=100))
    assert max(noise.values()) < 0.12
    assert importance(SPACE, GRID, np.ones(100)) == {"a": 0.0, "b": 0.0}
    assert importance(SPACE, [], np.array([])) == {"a": 0.0, "b": 0.0}


def test_importance_of_a_span_is_taken_in_bins() -> None:
    rng = np.random.default_rng(2)
    rows = [{"x": float(x)} for x in rng.uniform(0, 1, 300)]
    space = Space(parameters={"x": Span(0.0, 1.0)})
    found = importance(space, rows, np.array([row["x"] ** 2 for row in rows]))
    assert found["x"] > 0.9


def test_neighbours_of_a_plateau_rank_high_and_of_a_peak_do_not() -> None:
    plateau = values(lambda a, b: -((a - 5) ** 2) - (b - 5) ** 2)
    found = neighbourhood(SPACE, GRID, plateau, int(plateau.argmax()))
    assert found is not None
    assert (found.count, found.median) == (8, -1.5)
    assert found.rank > 0.9
    peak = np.random.default_rng(3).normal(size=100)
    peak[55] = 9.0
    lone = neighbourhood(SPACE, GRID, peak, 55)
    assert lone is not None
    assert lone.count == 8
    assert lone.rank < 0.9


def test_values_of_an_unordered_list_are_no_neighbours() -> None:
    space = Space(parameters={"kind": Choice(("any", "all", "two"))})
    rows = [{"kind": kind} for kind in ("any", "all", "two")]
    assert neighbourhood(space, rows, np.array([1.0, 2.0, 3.0]), 2) is None


def test_only_the_nearest_of_many_neighbours_count() -> None:
    rng = np.random.default_rng(4)
    rows = [{"x": float(x)} for x in rng.uniform(0.45, 0.55, 200)]
    space = Space(parameters={"x": Span(0.0, 1.0)})
    distance = np.array([abs(row["x"] - 0.5) for row in rows])
    best = int(distance.argmin())
    found = neighbourhood(space, rows, -distance, best)
    assert found is not None
    assert found.count == 30
    assert found.rank > 0.8
