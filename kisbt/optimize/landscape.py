"""The shape of the objective over the space: who matters, and is the top a plateau."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kisbt.model.result import Floats
from kisbt.optimize.space import Params, Space, Span, key_of

_BINS = 8
# A neighbour is at most this share of each range away, or one step if that is more.
_REACH = 0.1
_MOST_NEIGHBOURS = 30


def importance(
    space: Space, params: Sequence[Params], values: Floats
) -> dict[str, float]:
    """Return how much of the objective's variance each parameter explains alone.

    Args:
        space: of the parameters.
        params: of the trials that have a value.
        values: objective of each, shape (n,).

    Returns:
        Shares from 0 to 1 by parameter. They need not add up to 1: what
        parameters do together is in none of them.

    Source:
        Kelley's epsilon squared (1935), the correlation ratio less what chance
        would explain.
    """
    total = float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0
    found = {}
    for name, parameter in space.parameters.items():
        if isinstance(parameter, Span):
            unit = np.array([parameter.unit(row[name]) for row in params])
            groups = np.minimum((unit * _BINS).astype(int), _BINS - 1)
        else:
            keys = [key_of({name: row[name]}) for row in params]
            groups = np.unique(keys, return_inverse=True)[1]
        found[name] = _explained(groups, values, total)
    return found


def _explained(groups: npt.NDArray[Any], values: Floats, total: float) -> float:
    if total <= 0:
        return 0.0
    within, used = 0.0, 0
    for group in np.unique(groups):
        part = values[groups == group]
        within += float(((part - part.mean()) ** 2).sum())
        used += 1
    free = len(values) - used
    if free <= 0:
        return 0.0
    return max(0.0, 1.0 - (within / free) / (total / (len(values) - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """The trials next to the best one.

    Attributes:
        count: how many.
        median: of their objective.
        rank: share of all trials that this median beats or equals; near 1 on a
            plateau, near 0.5 where the best trial is a lone peak.
    """

    count: int
    median: float
    rank: float


def neighbourhood(
    space: Space, params: Sequence[Params], values: Floats, best: int
) -> Neighbourhood | None:
    """Return what lies around the best trial, None when nothing near was tried.

    A neighbour differs by at most a tenth of each range, or one step where steps
    are wider. Values of an unordered list have none but themselves.

    Args:
        space: of the parameters.
        params: of the trials that have a value.
        values: objective of each, shape (n,).
        best: position of the best one.
    """
    points = space.coordinates(params)
    gap = np.abs(points - points[best])
    reach = np.array([_reach(p) for p in space.parameters.values()])
    near = (gap <= reach + 1e-9).all(axis=1)
    near[best] = False
    found = np.flatnonzero(near)
    if not len(found):
        return None
    if len(found) > _MOST_NEIGHBOURS:
        order = np.argsort((gap[found] ** 2).sum(axis=1), kind="stable")
        found = found[order[:_MOST_NEIGHBOURS]]
    median = float(np.median(values[found]))
    return Neighbourhood(
        count=len(found), median=median, rank=float(np.mean(values <= median))
    )


def _reach(parameter: Any) -> float:
    if isinstance(parameter, Span):
        return _REACH
    steps = len(parameter.values) - 1
    if not getattr(parameter, "ordered", True):
        return 0.0
    return max(_REACH, 1.0 / steps if steps else 0.0)
