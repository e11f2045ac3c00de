import itertools

import numpy as np
import pytest

from kisbt.errors import ConfigError
from kisbt.optimize.expression import parse_condition
from kisbt.optimize.space import Choice, Space, Span, Steps, key_of, make_range


def space(*conditions: str) -> Space:
    parameters = {
        "a": make_range(3, 6),
        "b": make_range(4, 10, 3),
        "x": make_range(0.1, 0.3, 0.1),
        "entry": Choice(("any", {"at_least": 2})),
    }
    return Space(
        parameters=parameters,
        conditions=tuple(
            parse_condition(text, {*parameters, "fixed"}, "where")
            for text in conditions
        ),
        fixed={"fixed": 5},
    )


def test_whole_bounds_give_whole_numbers_and_others_give_what_they_say() -> None:
    assert make_range(3, 6) == Steps(3, 6, 1, whole=True)
    assert make_range(3, 10, 3).values == (3, 6, 9)  # type: ignore[union-attr]
    steps = make_range(0.1, 0.7, 0.1)
    assert isinstance(steps, Steps)
    assert steps.values == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert isinstance(make_range(0.1, 0.7), Span)
    assert make_range(1, 100, log=True) == Span(1.0, 100.0, log=True)


def test_grid_lists_every_combination_that_meets_the_conditions() -> None:
    found = space("a < b", "fixed == 5").grid(100)
    expected = [
        {"a": a, "b": b, "x": x, "entry": e}
        for a, b, x, e in itertools.product(
            (3, 4, 5, 6), (4, 7, 10), (0.1, 0.2, 0.3), ("any", {"at_least": 2})
        )
        if a < b
    ]
    assert found == expected


def test_grid_refuses_too_many_and_none_and_a_range_without_steps() -> None:
    with pytest.raises(ConfigError, match="72 combinations, more than"):
        space().grid(71)
    with pytest.raises(ConfigError, match="no combination meets"):
        space("a > b * 9").grid(100)
    with pytest.raises(ConfigError, match="a grid needs a step"):
        Space(parameters={"x": Span(0.0, 1.0)}).grid(10)


def test_draws_are_the_same_for_a_seed_and_never_repeat() -> None:
    first = list(space("a < b").draws(7))
    assert first == list(space("a < b").draws(7))
    assert first != list(space("a < b").draws(8))
    keys = [key_of(params) for params in first]
    assert sorted(set(keys)) == sorted(keys)
    assert set(keys) == {key_of(params) for params in space("a < b").grid(100)}


def test_draws_of_a_span_stay_inside_and_log_spreads_them() -> None:
    drawn = [
        params["x"]
        for params in itertools.islice(
            Space(parameters={"x": Span(0.001, 1.0, log=True)}).draws(1), 2000
        )
    ]
    assert 0.001 <= min(drawn) <= max(drawn) <= 1.0
    assert float(np.median(drawn)) == pytest.approx(0.0316, rel=0.15)


def test_draws_that_can_never_meet_the_conditions_say_so() -> None:
    with pytest.raises(ConfigError, match="no combination meets"):
        next(space("a > 100").draws(1))


def test_coordinates_run_from_zero_to_one() -> None:
    rows = [
        {"a": 3, "b": 4, "x": 0.1, "entry": "any"},
        {"a": 6, "b": 10, "x": 0.3, "entry": {"at_least": 2}},
        {"a": 4, "b": 7, "x": 0.2, "entry": "any"},
    ]
    points = space().coordinates(rows)
    assert points[:2].tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]]
    assert points[2].tolist() == pytest.approx([1 / 3, 0.5, 0.5, 0.0])
    assert Span(1.0, 100.0, log=True).unit(10) == pytest.approx(0.5)


def test_a_list_is_ordered_when_it_is_increasing_numbers() -> None:
    assert Choice((1, 2, 5)).ordered
    assert not Choice((5, 2)).ordered
    assert not Choice((False, True)).ordered
    assert not Choice(("a", "b")).ordered
