"""What `_once` does before the loop, with room made in blocks and by kernels."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from backtrader.linebuffer import LineActions
from backtrader.lineiterator import LineIterator
from backtrader.lineseries import LineSeries

from kisbt.bt.engine.kernels import compute

_NAN = np.array([np.nan]).tobytes()


def compute_all(strategy: Any) -> None:
    """Compute every indicator of a strategy; equal to its `_once`."""
    # Python floats overflow and make NaN without a word.
    with np.errstate(all="ignore"):
        _once(strategy)


def _once(item: Any) -> None:
    if not _is_stock(item):
        item._once()
        return
    bars = item._clock.buflen()
    if isinstance(item, LineIterator):
        _once_of_iterator(item, bars)
    else:
        _make_room([item], bars)
        item.home()
        _fill(item)
        item.oncebinding()


def _is_stock(item: Any) -> bool:
    """Return whether the class left the steps before `once` as they are."""
    kind = type(item)
    if isinstance(item, LineIterator):
        return kind._once is LineIterator._once and kind.forward is LineSeries.forward
    return kind._once is LineActions._once and kind.forward is LineActions.forward


def _once_of_iterator(item: Any, bars: int) -> None:
    _make_room(item.lines.lines, bars)
    indicators = item._lineiterators[LineIterator.IndType]
    observers = item._lineiterators[LineIterator.ObsType]
    for indicator in indicators:
        _once(indicator)
    for observer in observers:
        if type(observer).forward is LineSeries.forward:
            _make_room(observer.lines.lines, item.buflen())
        else:
            observer.forward(size=item.buflen())
    for group in (item.datas, indicators, observers):
        for part in group:
            part.home()
    item.home()
    _fill(item)
    for line in item.lines:
        line.oncebinding()


def _fill(item: Any) -> None:
    first, bars = item._minperiod, item.buflen()
    if bars < first:
        # A feed too short for its indicator: backtrader would write past the end.
        item.preonce(0, bars)
        return
    item.preonce(0, first - 1)
    item.oncestart(first - 1, first)
    if not compute(item, first, bars):
        item.once(first, bars)


def _make_room(lines: Iterable[Any], bars: int) -> None:
    """Do what `forward` does, in one go."""
    for line in lines:
        line.idx += bars
        line.lencount += bars
        line.array.frombytes(_NAN * bars)
