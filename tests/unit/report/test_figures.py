import numpy as np
import pytest
from hypothesis import given, strategies as st

from kisbt.model.result import Curve
from kisbt.report.figures import MAX_POINTS, heat, overview, thinned, values_at
from tests.helpers.results import CASH, make_run, sessions


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300),
    st.integers(4, 60),
)
def test_thinning_keeps_ends_and_extremes(values: list[float], most: int) -> None:
    path = np.array(values)
    keep = thinned(path, most)
    assert len(keep) <= most or len(keep) == len(path)
    assert (np.diff(keep) > 0).all()
    assert keep[0] == 0
    assert keep[-1] == len(path) - 1
    assert path[keep].max() == path.max()
    assert path[keep].min() == path.min()


def test_values_before_a_curve_are_unknown() -> None:
    time = sessions(4)
    curve = Curve(time=time[[1, 3]], value=np.array([5.0, 7.0]))
    np.testing.assert_array_equal(values_at(curve, time), [np.nan, 5.0, 5.0, 7.0])
    empty = Curve(time=time[:0], value=np.array([]))
    assert np.isnan(values_at(empty, time)).all()


def test_the_benchmark_starts_at_the_starting_cash() -> None:
    columns = overview(make_run(symbols=2, bars=100)[0])
    assert columns["benchmark"][0] == CASH
    assert len(columns["equity"]) == len(columns["time"]) == 100
    assert max(columns["drawdown"]) == 0
    assert all(0 <= share < 1 for share in columns["exposure"])


def test_a_long_run_is_thinned() -> None:
    columns = overview(make_run(symbols=1, bars=MAX_POINTS + 2_000)[0])
    assert len(columns["at"]) <= MAX_POINTS


@pytest.mark.parametrize(
    ("value", "expected"), [(None, 0.0), (0.2, 1.0), (0.1, 1.0), (0.0, 0.0)]
)
def test_heat_is_bounded(value: float | None, expected: float) -> None:
    assert heat(value, 0.1) == expected
    assert heat(0.05, 0.0) == 0.0
