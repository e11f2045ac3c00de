import numpy as np
import pytest

from kisbt.errors import ConfigError
from kisbt.optimize.space import Choice, Space, make_range
from kisbt.optimize.windows import efficiency, make_windows, stability, yearly

DAYS = np.datetime64("2024-01-01", "D") + np.arange(100)


def test_rolling_windows_move_by_a_test_and_never_look_ahead() -> None:
    found = make_windows(DAYS, train=40, test=20, anchored=False)
    spans = [
        (str(w.train.first), str(w.train.last), str(w.test.first), str(w.test.last))
        for w in found
    ]
    assert spans == [
        (str(DAYS[0]), str(DAYS[39]), str(DAYS[40]), str(DAYS[59])),
        (str(DAYS[20]), str(DAYS[59]), str(DAYS[60]), str(DAYS[79])),
        (str(DAYS[40]), str(DAYS[79]), str(DAYS[80]), str(DAYS[99])),
    ]


def test_anchored_windows_begin_at_the_first_session() -> None:
    found = make_windows(DAYS, train=40, test=20, anchored=True)
    assert {str(w.train.first) for w in found} == {str(DAYS[0])}
    assert [str(w.train.last) for w in found] == [str(DAYS[k]) for k in (39, 59, 79)]


@pytest.mark.parametrize(("sessions", "windows", "last"), [(90, 3, 10), (89, 2, 20)])
def test_a_short_rest_is_a_test_when_it_is_half_as_long(
    sessions: int, windows: int, last: int
) -> None:
    found = make_windows(DAYS[:sessions], train=40, test=20, anchored=False)
    assert len(found) == windows
    test = found[-1].test
    assert (test.last - test.first).days + 1 == last


def test_too_few_sessions_for_two_windows_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least two are needed"):
        make_windows(DAYS[:55], train=40, test=20, anchored=False)


def test_efficiency_is_the_part_of_the_training_result_that_was_kept() -> None:
    year = 250
    trained = [
        np.full(year, 1.2 ** (1 / year) - 1),
        np.full(year, 1.0 ** (1 / year) - 1),
    ]
    tested = [
        np.full(125, 1.05 ** (1 / year) - 1),
        np.full(125, 1.05 ** (1 / year) - 1),
    ]
    found = efficiency(trained, tested, year)
    assert found.in_sample == pytest.approx(0.1)
    assert found.out_of_sample == pytest.approx(0.05)
    assert found.ratio == pytest.approx(0.5)
    assert found.profitable == 1.0


def test_training_that_lost_money_has_no_efficiency() -> None:
    found = efficiency([np.full(10, -0.01)], [np.array([0.1, -0.5])], 250)
    assert found.ratio is None
    assert found.profitable == 0.0


def test_yearly_rate_of_ruin_and_of_nothing() -> None:
    assert yearly(np.array([0.1, -1.0]), 250) == -1.0
    assert yearly(np.array([]), 250) == 0.0
    assert yearly(np.full(250, 0.0), 250) == 0.0


def test_stability_says_how_far_values_wander() -> None:
    space = Space(parameters={"a": make_range(0, 10), "kind": Choice(("x", "y"))})
    chosen = [{"a": 0, "kind": "x"}, {"a": 10, "kind": "x"}, {"a": 5, "kind": "y"}]
    found = stability(space, chosen)
    assert found["a"].values == (0, 10, 5)
    assert found["a"].spread == pytest.approx(0.5)
    assert found["a"].kept == 0.0
    assert found["kind"].spread is None
    assert found["kind"].kept == 0.5
