"""A strategy's indicators by feed: their names, lines and values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt
from backtrader.feed import AbstractDataBase
from backtrader.lineiterator import LineIterator
from backtrader.lineseries import LineSeriesStub

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NamedLine:
    """One line of an indicator.

    Attributes:
        name: for example ``SMA(5)`` or ``BollingerBands(20, 2).top``.
        line: backtrader's line buffer.
        overlay: whether it is drawn on the price.
    """

    name: str
    line: Any
    overlay: bool


def indicator_lines(strategy: Any) -> dict[Any, tuple[NamedLine, ...]]:
    """Return the lines of the strategy's own indicators, by the feed they follow.

    Indicators made inside other indicators are left out.
    """
    found: dict[Any, dict[str, NamedLine]] = {}
    for indicator in strategy._lineiterators[LineIterator.IndType]:
        if not isinstance(indicator, bt.Indicator):
            continue
        feed = _feed_of(indicator)
        if feed is None:
            continue
        lines = found.setdefault(feed, {})
        for name, line in _lines_of(indicator):
            unique = name
            while unique in lines:
                unique += "'"
            overlay = not indicator.plotinfo.subplot
            lines[unique] = NamedLine(unique, line, overlay)
    return {feed: tuple(lines.values()) for feed, lines in found.items()}


def current_values(lines: tuple[NamedLine, ...]) -> Mapping[str, float]:
    """Return the lines' values on the current bar; those not ready left out."""
    values = {}
    for named in lines:
        line = named.line
        if len(line) and math.isfinite(value := line[0]):
            values[named.name] = float(value)
    return values


def line_values(named: NamedLine, bars: int) -> Floats:
    """Return all values of a line after a run, NaN where it has none.

    Args:
        bars: number of bars of its feed.
    """
    stored = np.frombuffer(named.line.array, dtype=np.float64)[:bars].copy()
    if len(stored) == bars:
        return stored
    return np.concatenate([stored, np.full(bars - len(stored), np.nan)])


def _feed_of(indicator: Any) -> Any:
    source: Any = indicator
    for _step in range(64):
        if isinstance(source, AbstractDataBase):
            return source
        if isinstance(source, LineSeriesStub):
            source = source._owner
        else:
            source = getattr(source, "_clock", None)
        if source is None:
            return None
    return None


def _lines_of(indicator: Any) -> list[tuple[str, Any]]:
    parameters = ", ".join(
        f"{value:g}"
        for value in indicator._plotlabel()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
    label = type(indicator).__name__ + (f"({parameters})" if parameters else "")
    names = indicator.getlinealiases()
    lines = list(indicator.lines)
    if len(lines) == 1:
        return [(label, lines[0])]
    return [(f"{label}.{name}", line) for name, line in zip(names, lines, strict=True)]
