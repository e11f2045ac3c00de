"""Values of indicators at an order, looked up when somebody asks for them.

The arrays of a run's indicators are whole before its first bar and stay, so it is
enough to note the position. A line that the strategy writes into settles what was
noted before.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kisbt.bt.engine.cursor import Cell, CursorLine
from kisbt.bt.snapshot import NamedLine


class LateValues(Mapping[str, float]):
    """What `current_values` would have returned at a position."""

    __slots__ = ("_columns", "_found", "_position")

    def __init__(self, columns: Sequence[tuple[str, Any]], position: int) -> None:
        """Note where in the columns the values are."""
        self._columns = columns
        self._position = position
        self._found: dict[str, float] | None = None

    def settle(self) -> dict[str, float]:
        """Return the values, read now if they have not been."""
        found = self._found
        if found is None:
            at, found = self._position, {}
            for name, values in self._columns:
                if math.isfinite(value := values[at]):
                    found[name] = value
            self._found, self._columns = found, ()
        return found

    def __getitem__(self, name: str) -> float:
        return self.settle()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.settle())

    def __len__(self) -> int:
        return len(self.settle())

    def __repr__(self) -> str:
        return repr(self.settle())


def settled(values: Mapping[str, float]) -> Mapping[str, float]:
    """Return the values themselves, where they are late ones."""
    return values.settle() if isinstance(values, LateValues) else values


class LateLines:
    """The lines of one feed's indicators while the loop runs."""

    def __init__(self, lines: Sequence[NamedLine], cell: Cell) -> None:
        """Take lines that all follow `cell`; see `late_lines`."""
        self._cell = cell
        self._columns = [(named.name, named.line.array) for named in lines]
        self._end = min([len(values) for _name, values in self._columns])
        self._waiting: list[LateValues] = []
        self._is_written = False

    def now(self) -> Mapping[str, float]:
        """Return the values on the current bar."""
        position = self._cell[0]
        if not 0 <= position < self._end:
            return {}
        values = LateValues(self._columns, position)
        if self._is_written:
            values.settle()
        else:
            self._waiting.append(values)
        return values

    def settle(self) -> None:
        """Read what was noted, before a line changes."""
        self._is_written = True
        for values in self._waiting:
            values.settle()
        self._waiting.clear()


def late_lines(lines: Sequence[NamedLine]) -> LateLines | None:
    """Return the lines as ones to be read late; None if they cannot be.

    They have to follow one position, and to have values for all bars.
    """
    parts: list[Any] = [named.line for named in lines]
    if not parts or not all(isinstance(line, CursorLine) for line in parts):
        return None
    cell, bars = parts[0]._cell, len(parts[0].array)
    if any(line._cell is not cell or len(line.array) != bars for line in parts):
        return None
    late = LateLines(lines, cell)
    for line in parts:
        line.watch(late)
    return late
