"""Results kept between the runs of a search: found by bits, within a bound."""

from collections import OrderedDict

import numpy as np
import pytest

from kisbt.bt.engine import recall as kept
from kisbt.bt.engine.recall import recall, recalled


class Counted:
    """Adds up, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, values: np.ndarray, first: float) -> np.ndarray:
        self.calls += 1
        return np.add.accumulate(np.concatenate(([first], values)))


def test_the_same_bits_are_computed_once() -> None:
    work, values = Counted(), np.array([1.0, 2.0])
    with recalled():
        first = recall(work, values, 0.5)
        again = recall(work, values.copy(), 0.5)
    assert again.tobytes() == first.tobytes() == work(values, 0.5).tobytes()
    assert work.calls == 2


@pytest.mark.parametrize(
    ("values", "first"), [([0.0, 2.0], 0.0), ([-0.0, 2.0], -0.0), ([0.0, 3.0], -0.0)]
)
def test_other_bits_are_another_result(values: list[float], first: float) -> None:
    """0.0 and -0.0 are equal and make different sums."""
    work = Counted()
    with recalled():
        recall(work, np.array([0.0, 2.0]), -0.0)
        found = recall(work, np.array(values), first)
    assert found.tobytes() == work(np.array(values), first).tobytes()
    assert work.calls == 3


def test_a_run_on_its_own_keeps_nothing() -> None:
    work, values = Counted(), np.array([1.0])
    recall(work, values, 0.0)
    recall(work, values, 0.0)
    assert work.calls == 2


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_kept", OrderedDict())
    monkeypatch.setattr(kept, "_bytes_kept", 0)
    monkeypatch.setattr(kept, "_MOST_BYTES", 100)
    work = Counted()
    with recalled():
        for number in range(9):
            recall(work, np.array([float(number)]), 0.0)
        recall(work, np.array([0.0]), 0.0)
    assert work.calls == 10
    assert len(kept._kept) == 4
    assert kept._bytes_kept == 4 * (8 + 16)
