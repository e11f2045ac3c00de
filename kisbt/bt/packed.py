"""Rows of a long run, packed: what is only read at its end takes little memory."""

import io
import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload

# Packed as one; as many wait at the most. Orders take a millisecond then.
_ROWS = 16
_QUICK = 1  # of zlib

T = TypeVar("T")


class Rows(Protocol[T]):
    """What a run writes down row by row: a list, or one that takes less memory."""

    def append(self, row: T, /) -> None:
        """Add a row."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T]: ...

    @overload
    def __getitem__(self, at: int, /) -> T: ...

    @overload
    def __getitem__(self, at: slice, /) -> Sequence[T]: ...


class Packed(Sequence[T]):
    """Rows that do not change any more; each is read as a copy.

    A row takes about a tenth of the memory of its objects. Nothing leaves the process
    and nothing comes from outside, so pickle is safe.
    """

    def __init__(self, fixed: Callable[[], Mapping[str, object]] = dict) -> None:
        """Begin empty.

        Args:
            fixed: what rows refer to and is not copied with them, by name.
        """
        self._fixed = fixed
        self._full: list[bytes | list[T]] = []
        self._rest: list[T] = []
        self._read: tuple[int, list[T]] = (-1, [])

    def append(self, row: T) -> None:
        """Add a row."""
        self._rest.append(row)
        if len(self._rest) == _ROWS:
            self._full.append(_dumped(self._rest, self._fixed()))
            self._rest = []

    def extend(self, rows: Iterable[T]) -> None:
        """Add rows."""
        for row in rows:
            self.append(row)

    def __len__(self) -> int:
        return _ROWS * len(self._full) + len(self._rest)

    def __iter__(self) -> Iterator[T]:
        for part in self._full:
            yield from _loaded(part, self._fixed())
        yield from self._rest

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...

    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        number = at + len(self) if at < 0 else at
        if not 0 <= number < len(self):
            raise IndexError(at)
        part, place = divmod(number, _ROWS)
        if part == len(self._full):
            return self._rest[place]
        if self._read[0] != part:
            self._read = (part, _loaded(self._full[part], self._fixed()))
        return self._read[1][place]

    def forget_read(self) -> None:
        """Let go of the copies that were read last."""
        self._read = (-1, [])


class _Pickler(pickle.Pickler):
    """Writes names in place of what is fixed."""

    def __init__(self, out: io.BytesIO, fixed: Mapping[str, object]) -> None:
        super().__init__(out, pickle.HIGHEST_PROTOCOL)
        self._names = {id(item): name for name, item in fixed.items()}

    def persistent_id(self, item: Any) -> str | None:
        return self._names.get(id(item))


class _Unpickler(pickle.Unpickler):
    """Finds what is fixed by its name."""

    def __init__(self, data: bytes, fixed: Mapping[str, object]) -> None:
        super().__init__(io.BytesIO(data))
        self._fixed = fixed

    def persistent_load(self, name: Any) -> Any:
        return self._fixed[name]


def _dumped(rows: list[Any], fixed: Mapping[str, object]) -> bytes | list[Any]:
    """Return rows packed; as they are where a strategy has put strange things in."""
    out = io.BytesIO()
    try:
        _Pickler(out, fixed).dump(rows)
    except (
        pickle.PicklingError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ):
        return rows
    return zlib.compress(out.getbuffer(), _QUICK)


def _loaded(part: bytes | list[Any], fixed: Mapping[str, object]) -> list[Any]:
    if isinstance(part, list):
        return part
    rows: list[Any] = _Unpickler(zlib.decompress(part), fixed).load()
    return rows
