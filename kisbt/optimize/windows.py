"""Walk-forward analysis: windows by session, and what they add up to."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from kisbt.errors import ConfigError
from kisbt.model.result import Floats
from kisbt.optimize.space import Choice, Params, Space
from kisbt.text import _

Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Range:
    """Sessions from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def text(self) -> str:
        """As people write it."""
        return f"{self.first} – {self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch that is searched and the one after it that is traded.

    Attributes:
        number: from 1.
    """

    number: int
    train: Range
    test: Range


def make_windows(
    days: Days, *, train: int, test: int, anchored: bool
) -> tuple[Window, ...]:
    """Cut sessions into windows; each test begins where the last one ended.

    Args:
        days: tradable sessions, increasing.
        train, test: sessions of each part. What is left over at the end, less
            than a test, makes a shorter last one if it is half as long or more.
        anchored: whether every training part begins at the first session.

    Raises:
        ConfigError: the sessions do not fill two windows.
    """
    found: list[Window] = []
    at = train
    while at < len(days):
        stop = min(at + test, len(days))
        if stop - at < test / 2:
            break
        start = 0 if anchored else at - train
        found.append(
            Window(
                number=len(found) + 1,
                train=_range(days, start, at),
                test=_range(days, at, stop),
            )
        )
        at = stop
    if len(found) < 2:
        raise ConfigError(
            _(
                "{found:,} tradable sessions make {count} windows of {train} + {test}; "
                "at least two are needed: shorten optimize.walkforward.train and "
                "test, or import a longer history"
            ).format(found=len(days), count=len(found), train=train, test=test),
            path="optimize.walkforward",
        )
    return tuple(found)


def _range(days: Days, start: int, stop: int) -> Range:
    first: date = days[start].item()
    last: date = days[stop - 1].item()
    return Range(first, last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """What of the training result was left in the tests.

    Attributes:
        ratio: yearly return of the stitched tests over the average yearly return
            of the training windows; None when training lost money.
        in_sample: average yearly return of the best trials, where they were chosen.
        out_of_sample: yearly return of the stitched tests.
        profitable: share of tests that did not lose.

    Source:
        Pardo, The Evaluation and Optimization of Trading Strategies (2008),
        chapter 11: walk-forward efficiency; half is a common floor.
    """

    ratio: float | None
    in_sample: float
    out_of_sample: float
    profitable: float


def efficiency(
    trained: Sequence[Floats], tested: Sequence[Floats], sessions_a_year: int
) -> Efficiency:
    """Compare session returns of the training windows with those of the tests."""
    inside = float(np.mean([yearly(part, sessions_a_year) for part in trained]))
    outside = yearly(np.concatenate(tested), sessions_a_year)
    return Efficiency(
        ratio=outside / inside if inside > 0 else None,
        in_sample=inside,
        out_of_sample=outside,
        profitable=float(np.mean([np.prod(1.0 + part) >= 1.0 for part in tested])),
    )


def yearly(returns: Floats, sessions_a_year: int) -> float:
    """Return the yearly rate of session returns; -1 when all was lost."""
    if not len(returns):
        return 0.0
    growth = float(np.prod(1.0 + returns))
    if growth <= 0:
        return -1.0
    return math.expm1(math.log(growth) * sessions_a_year / len(returns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How far the chosen values of one parameter moved from window to window.

    Attributes:
        values: chosen, window by window.
        spread: sample deviation as a share of the range searched; None for an
            unordered list.
        kept: share of windows that kept the value of the one before.
    """

    values: tuple[Any, ...]
    spread: float | None
    kept: float


def stability(space: Space, chosen: Sequence[Params]) -> Mapping[str, Stability]:
    """Return the stability of every parameter."""
    found = {}
    for name, parameter in space.parameters.items():
        values = tuple(params[name] for params in chosen)
        ordered = not isinstance(parameter, Choice) or parameter.ordered
        units = np.array([parameter.unit(value) for value in values])
        same = [a == b for a, b in itertools.pairwise(values)]
        found[name] = Stability(
            values=values,
            spread=float(units.std(ddof=1)) if ordered and len(units) > 1 else None,
            kept=float(np.mean(same)) if same else 1.0,
        )
    return found
