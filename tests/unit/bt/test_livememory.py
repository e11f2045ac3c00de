"""What is kept over restarts, and what cannot be."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from kisbt.bt.livememory import Memory
from kisbt.errors import StrategyError
from tests.helpers.handvenue import Bed


class Keeper:
    """Keeps in memory, and counts."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}
        self.heard: list[int] = []

    def save_state(self, name: str, value: Mapping[str, Any]) -> None:
        self.states[name] = value

    def load_state(self, name: str) -> dict[str, Any] | None:
        return self.states.get(name)

    def mark_delivered(
        self, sequence: int, states: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.heard.append(sequence)
        self.states.update(states or {})


class Remembers:
    def __init__(self, state: Any) -> None:
        self.state = state

    def save_state(self) -> Any:
        return self.state

    def load_state(self, kept: Mapping[str, Any]) -> None:
        self.state = kept


def test_a_state_comes_back_and_is_written_only_when_it_changed() -> None:
    keeper = Keeper()
    memory = Memory(keeper, Bed())
    strategy = Remembers({"stage": 1, "seen": ["a"]})
    memory.keep(3, {"bar": 1.0}, [strategy, object()])
    memory.keep(3, {"bar": 1.0}, [strategy])
    assert keeper.heard == [3]
    strategy.state = {"stage": 2}
    memory.keep(3, {"bar": 1.0}, [strategy])
    assert keeper.heard == [3, 3]
    later = Remembers(None)
    Memory(keeper, Bed()).give_back([later])
    assert later.state == {"stage": 2}


@pytest.mark.parametrize("state", [{1, 2}, {"at": object()}, [1], math.nan, "text"])
def test_a_state_that_is_no_json_object_is_named(state: Any) -> None:
    with pytest.raises(StrategyError, match=r"Remembers\.save_state"):
        Memory(Keeper(), Bed()).keep(0, {}, [Remembers(state)])


def test_without_a_keeper_the_venue_hears_what_was_heard() -> None:
    bed = Bed()
    memory = Memory(None, bed)
    memory.keep(4, {}, [])
    memory.keep(2, {}, [])
    assert bed.heard == 4
    assert memory.recall("broker") == {}
