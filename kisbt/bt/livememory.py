"""What a live run remembers over restarts: news heard, orders, strategies' states."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kisbt.bt.resume import StateKeeper
from kisbt.errors import StrategyError
from kisbt.orders.records import OrderVenue
from kisbt.text import _


class Memory:
    """Keeps states in the journal, in one commit with what has been heard.

    A strategy that has `save_state` is asked for a dict after each bar, and given it
    back with `load_state` before the first bar of the next run.
    """

    def __init__(self, keeper: StateKeeper | None, venue: OrderVenue) -> None:
        """Remember through `keeper`; without one only the news heard."""
        self._keeper = keeper
        self._venue = venue
        self._told = 0
        self._kept: dict[str, Any] = {}

    def recall(self, name: str) -> Mapping[str, Any]:
        """Return what was kept under a name; empty if nothing was.

        Raises:
            StorageError: it cannot be read.
        """
        return {} if self._keeper is None else self._keeper.load_state(name) or {}

    def give_back(self, strategies: Iterable[Any]) -> None:
        """Let the strategies take over what those of the run before remembered."""
        for name, strategy in _named(strategies):
            load = getattr(strategy, "load_state", None)
            kept = self.recall(name)
            if load is not None and kept:
                load(dict(kept))

    def keep(
        self, heard: int, broker: Mapping[str, Any], strategies: Iterable[Any]
    ) -> None:
        """Note that the strategies have heard everything up to `heard`.

        Raises:
            StrategyError: a strategy's state is no JSON.
            StorageError: nothing was written.
        """
        if self._keeper is None:
            if heard > self._told:
                self._venue.delivered(heard)
        else:
            states = {"broker": dict(broker), **_states(strategies)}
            changed = {n: v for n, v in states.items() if self._kept.get(n) != v}
            if changed or heard > self._told:
                self._keeper.mark_delivered(heard, changed)
            self._kept.update(changed)
        self._told = max(self._told, heard)

    def save(self, broker: Mapping[str, Any]) -> None:
        """Keep the broker's state alone, at once.

        Raises:
            StorageError: it was not written.
        """
        if self._keeper is not None:
            self._keeper.save_state("broker", broker)
            self._kept["broker"] = dict(broker)


def _named(strategies: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    return ((f"strategy-{n}", item) for n, item in enumerate(strategies))


def _states(strategies: Iterable[Any]) -> dict[str, Any]:
    found = {}
    for name, strategy in _named(strategies):
        save = getattr(strategy, "save_state", None)
        if save is not None:
            found[name] = _plain(save(), type(strategy).__name__)
    return found


def _plain(state: Any, name: str) -> Any:
    """Return a strategy's state as it will come back from JSON.

    Raises:
        StrategyError: it cannot be written as JSON.
    """
    try:
        plain = json.loads(json.dumps(state, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise StrategyError(
            _(
                "{strategy}.save_state must return a dict of texts, numbers, lists "
                "and dicts: {problem}"
            ).format(strategy=name, problem=error)
        ) from error
    if not isinstance(plain, dict):
        raise StrategyError(
            _("{strategy}.save_state must return a dict, not {found}").format(
                strategy=name, found=type(state).__name__
            )
        )
    return plain
