import math
from typing import Any

import numpy as np
import pytest

from kisbt.bt.engine.sums import columns_sum, window_sums

RNG = np.random.default_rng(7)
PRICES = RNG.uniform(1_000.0, 90_000.0, 400)
WON = np.rint(PRICES)
VALUES: dict[str, Any] = {
    "won": WON,
    "negative won": WON - 45_000.0,
    "fractions": PRICES / 1.37,
    "squares": PRICES**2,
    "whole squares": WON**2,
    "changes": np.diff(PRICES / 1.37),
    "tiny changes": np.diff(np.cumsum(RNG.normal(0.0, 1e-3, 400)) + 700.0),
    "zeros": np.zeros(50),
    "minus zeros": np.full(50, -0.0),
    "large whole": np.rint(RNG.uniform(2.0**50, 2.0**52, 300)),
}


def fsum_of_windows(values: Any, period: int) -> list[float]:
    return [
        math.fsum(values[at : at + period]) for at in range(len(values) - period + 1)
    ]


@pytest.mark.parametrize("period", [1, 2, 5, 20, 49])
@pytest.mark.parametrize("name", VALUES)
def test_window_sums_are_those_of_fsum(name: str, period: int) -> None:
    sums = window_sums(VALUES[name], period)
    assert sums is not None
    assert sums.tolist() == fsum_of_windows(VALUES[name], period)
    assert not np.signbit(sums[sums == 0.0]).any()


def test_a_window_with_a_gap_sums_to_none() -> None:
    values = PRICES.copy()
    values[[5, 90, 91]] = np.nan
    sums = window_sums(values, 10)
    assert sums is not None
    np.testing.assert_array_equal(sums, fsum_of_windows(values, 10))


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0, np.inf, 2.0]),
        np.array([1.0, 1e-30, 1e30]),
        np.array([1e-300, 3e-300, 2e-300]),
    ],
    ids=["infinite", "far apart", "tiny"],
)
def test_values_that_do_not_fit_are_left_to_fsum(values: Any) -> None:
    assert window_sums(values, 2) is None


@pytest.mark.parametrize("name", VALUES)
def test_a_row_of_columns_sums_as_fsum(name: str) -> None:
    values = VALUES[name]
    weights = [0.5, 3.0, 7.0, 0.1]
    bars = len(values) - 3
    sums = columns_sum(
        lambda: (values[k : k + bars] * weights[k] for k in range(4)), len(weights)
    )
    assert sums is not None
    expected = [
        math.fsum(values[at + k] * weights[k] for k in range(4)) for at in range(bars)
    ]
    assert sums.tolist() == expected
