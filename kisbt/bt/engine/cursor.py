"""Lines that share one position instead of keeping an index each.

For the length of a run the class of a line is replaced by a subclass that reads
its position from a cell: a list ``[position, position of the time below, time]``
shared by all lines of one calendar. Moving the cell moves them all.
"""

from datetime import datetime, timedelta
from typing import Any

import backtrader as bt
from backtrader.feed import AbstractDataBase, DataClone
from backtrader.lineseries import LineSeries

from kisbt.bt.feed import CandleFeed

Cell = list[Any]

_POSITION, _TIME_OF, _TIME = range(3)
_TICKS = ("open", "high", "low", "close", "volume", "openinterest")


_TIMES_OF_DAY: dict[float, timedelta] = {}


def new_cell() -> Cell:
    """Return a cell before the first bar."""
    return [-1, None, None]


def _moment(number: float) -> datetime:
    """Return `bt.num2date(number)`; the time of day is worked out once."""
    day = int(number)
    since_midnight = _TIMES_OF_DAY.get(number - day)
    midnight = datetime.fromordinal(day)
    if since_midnight is None:
        since_midnight = bt.num2date(number) - midnight
        _TIMES_OF_DAY[number - day] = since_midnight
    return midnight + since_midnight


class CursorLine:
    """Mixed in before a line's class: its position is that of its cell."""

    _watchers: tuple[Any, ...] = ()

    def __getitem__(self, ago: int) -> Any:
        return self.array[self._cell[0] + ago]  # type: ignore[attr-defined]

    def __setitem__(self, ago: int, value: Any) -> None:
        if self._watchers:
            self._tell_watchers()
        self.array[self._cell[0] + ago] = value  # type: ignore[attr-defined]
        for binding in self.bindings:  # type: ignore[attr-defined]
            binding[ago] = value

    def set(self, value: Any, ago: int = 0) -> None:
        self[ago] = value

    def watch(self, watcher: Any) -> None:
        """Let `watcher.settle()` be called before the line is written into."""
        self._watchers = (*self._watchers, watcher)

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            watcher.settle()
        self._watchers = ()

    def __len__(self) -> int:
        return self._cell[0] + 1  # type: ignore[attr-defined]

    def get(self, ago: int = 0, size: int = 1) -> Any:
        end = self._cell[0] + ago + 1  # type: ignore[attr-defined]
        return self.array[end - size : end]  # type: ignore[attr-defined]

    def datetime(self, ago: int = 0, tz: Any = None, naive: bool = True) -> Any:
        if ago or tz is not None or self._tz is not None:  # type: ignore[attr-defined]
            return super().datetime(ago, tz, naive)  # type: ignore[misc]
        cell: Cell = self._cell  # type: ignore[attr-defined]
        if cell[_TIME_OF] != cell[_POSITION]:
            cell[_TIME] = _moment(self.array[cell[_POSITION]])  # type: ignore[attr-defined]
            cell[_TIME_OF] = cell[_POSITION]
        return cell[_TIME]

    def date(self, ago: int = 0, tz: Any = None, naive: bool = True) -> Any:
        return self.datetime(ago, tz, naive).date()

    def time(self, ago: int = 0, tz: Any = None, naive: bool = True) -> Any:
        return self.datetime(ago, tz, naive).time()

    # Nothing but the cell moves a line; what it would store is dropped.
    idx = _idx = property(lambda self: self._cell[0], lambda self, value: None)
    lencount = property(lambda self: self._cell[0] + 1, lambda self, value: None)


class CursorSeries:
    """Mixed in before the class of an indicator or feed: its first line, quickly."""

    array = None  # in place of a property; every object has its own
    # Array and cell together: backtrader's `__getattr__` makes each look-up slow.
    _cursor: tuple[Any, Cell]

    def __getitem__(self, ago: int) -> Any:
        values, cell = self._cursor
        return values[cell[0] + ago]

    def __len__(self) -> int:
        return self._cell[0] + 1  # type: ignore[attr-defined]


class _Tick:
    """`data.tick_close` and its like as `feed.advance` would have stored them."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, feed: Any, owner: type | None = None) -> Any:
        bars = len(feed)
        if not bars:
            raise AttributeError(f"tick_{self._name}")
        if bars == feed.buflen():
            return None  # backtrader does not fill them on a feed's last bar
        return getattr(feed.lines, self._name)[0]

    def __set__(self, feed: Any, value: Any) -> None:
        raise AttributeError(f"tick_{self._name}")


class CursorFeed(CursorSeries):
    """Mixed in before the class of a feed that stores its ticks bar by bar."""

    tick_open, tick_high, tick_low, tick_close, tick_volume, tick_openinterest = map(
        _Tick, _TICKS
    )
    tick_last = _Tick("close")


class Cursors:
    """The objects that have been changed, to be given back as they were."""

    def __init__(self) -> None:
        """Change nothing yet."""
        self._lines: list[tuple[Any, type, Cell]] = []
        self._series: list[tuple[Any, type, list[str]]] = []

    def add_line(self, line: Any, cell: Cell) -> None:
        """Let a line follow a cell."""
        if isinstance(line, CursorLine):
            return
        self._lines.append((line, type(line), cell))
        line._cell = cell
        line.__class__ = _mixed(type(line), CursorLine)

    def add_series(self, series: Any, cell: Cell) -> None:
        """Let an indicator or a feed and all its lines follow a cell."""
        lines = series.lines.lines
        for line in lines:
            self.add_line(line, cell)
        kind, added = type(series), self.add_names(series)
        if kind.__getitem__ is LineSeries.__getitem__ and "array" not in vars(series):
            values = lines[0].array
            series.__dict__.update(array=values, _cell=cell, _cursor=(values, cell))
            added += ["array", "_cell", "_cursor"]
            series.__class__ = _mixed(kind, _mixin_of(kind))

    def add_names(self, series: Any) -> list[str]:
        """Make the lines of an object its attributes; return the names added.

        backtrader finds them through two calls of `__getattr__`.
        """
        kind, held = type(series), series.__dict__
        added = [
            name
            for name in series.lines._getlines()
            # An attribute of the class or object hides a line of its name.
            if isinstance(name, str) and name not in held and not hasattr(kind, name)
        ]
        held.update((name, getattr(series.lines, name)) for name in added)
        self._series.append((series, kind, added))
        return added

    def restore(self) -> None:
        """Give everything its own index again, at the position it has reached."""
        for line, kind, cell in self._lines:
            line.__class__ = kind
            del line.__dict__["_cell"]
            line.__dict__.pop("_watchers", None)
            line._idx, line.lencount = cell[0], cell[0] + 1
        for series, kind, added in self._series:
            series.__class__ = kind
            for name in added:
                del series.__dict__[name]
            if isinstance(series, AbstractDataBase):
                _after_run(series)


def _after_run(feed: Any) -> None:
    """Leave in a feed what its own `advance` would have left."""
    bars = len(feed)
    if isinstance(feed, DataClone):
        feed._dlen += bars
    if bars and type(feed).advance is not CandleFeed.advance:
        feed._tick_nullify()
        if bars < feed.buflen():
            feed._tick_fill()


def _mixin_of(kind: type) -> type:
    stores_ticks = issubclass(kind, AbstractDataBase) and not issubclass(
        kind, CandleFeed
    )
    return CursorFeed if stores_ticks else CursorSeries


def _mixed(kind: type, mixin: type) -> type:
    """Return the subclass of `kind` with `mixin`, made once."""
    known = kind.__dict__.get("_kisbt_cursor")
    if known is None:
        # backtrader's metaclasses would register a new kind of indicator.
        known = type.__new__(
            type(kind), kind.__name__, (mixin, kind), {"__module__": kind.__module__}
        )
        # Kept with the class itself: both go together.
        type.__setattr__(kind, "_kisbt_cursor", known)
    return known
