"""A broker's class is replaced by a lean one while the loop runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import isroutine
from typing import Any

import numpy as np
from backtrader.brokers.bbroker import BackBroker

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.engine.brokers import LeanBackBroker, values_as_backtrader
from kisbt.bt.engine.krxbroker import LeanKrxBroker

_LEAN: dict[type, type] = {BackBroker: LeanBackBroker, KrxBackBroker: LeanKrxBroker}


@contextmanager
def lean_broker(broker: Any, feeds: list[Any]) -> Iterator[None]:
    """Let a broker work on open positions only while the context lasts."""
    kind = type(broker)
    lean = _LEAN.get(kind)
    if (
        lean is None
        or _has_own_methods(broker)
        or not _may_skip_flat_positions(broker, feeds)
    ):
        yield
        return
    broker.__class__ = lean
    broker._begin_run(feeds)
    try:
        yield
    finally:
        broker._end_run()
        broker.__class__ = kind


def _has_own_methods(broker: Any) -> bool:
    """Return whether a method was replaced in the object: nothing may pass it by."""
    kind = type(broker)
    return any(isroutine(getattr(kind, name, None)) for name in vars(broker))


def _may_skip_flat_positions(broker: Any, feeds: list[Any]) -> bool:
    """Return whether a flat position is worth nothing at all times.

    It is NaN where the close is none, and what a commission scheme of the user
    says where there is one.
    """
    schemes = set(map(type, broker.comminfo.values()))
    return all(map(values_as_backtrader, schemes)) and all(
        np.isfinite(np.frombuffer(feed.lines.close.array)).all() for feed in feeds
    )
