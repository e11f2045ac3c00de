import gc
import weakref

import pytest

from kisbt.bt.engine import garbage
from kisbt.bt.engine.garbage import rare_collections


class Node:
    """Garbage once nobody but itself refers to it."""

    def __init__(self) -> None:
        self.own = self


def test_thresholds_are_given_back() -> None:
    before = gc.get_threshold()
    with rare_collections():
        inside = gc.get_threshold()
        with rare_collections():
            assert gc.get_threshold() == inside
        assert gc.get_threshold() == inside
    assert inside[0] > before[0]
    assert gc.get_threshold() == before


def test_thresholds_are_given_back_after_an_error() -> None:
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), rare_collections():
        raise ZeroDivisionError
    assert gc.get_threshold() == before


def test_garbage_of_a_run_is_found_by_the_next_full_search() -> None:
    with rare_collections():
        seen = weakref.ref(Node())
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert seen() is None


def test_garbage_of_many_runs_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_MOST_UNSEEN", 10)
    with rare_collections():
        seen = weakref.ref(Node())
        kept = [[number] for number in range(100)]
    assert len(kept) == 100
    assert seen() is None
