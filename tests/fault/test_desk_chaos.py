"""The random fault run: calls, frames and the process itself break at random.

`make chaos` is the full size: 10,000 orders for each of 100 seeds.
"""

from pathlib import Path

import pytest

from tests.helpers.chaos import run_seed

pytestmark = [pytest.mark.fault, pytest.mark.e2e]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(4))
def test_random_faults_and_deaths_leave_equal_books(seed: int, tmp_path: Path) -> None:
    outcome = run_seed(seed, 50, tmp_path, kill=0.004)
    assert outcome.wrong == [], outcome.line()
    assert outcome.at_broker >= 20


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(5))
def test_thousand_orders_with_random_faults_and_deaths(
    seed: int, tmp_path: Path
) -> None:
    outcome = run_seed(seed, 1_000, tmp_path, kill=0.002)
    assert outcome.wrong == [], outcome.line()
    assert outcome.at_broker >= 500
