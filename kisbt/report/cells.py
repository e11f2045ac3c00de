"""Columns of numbers and times as the bytes of a CSV file, without a text per cell.

A column becomes a table of bytes, one row of the file a row, in which 0 stands for
nothing; side by side and without the zeros the tables are the file.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Whole = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

# Rows at a time: few enough for the caches of a processor.
_BLOCK = 1 << 13
# Digits are looked up four at once.
_GROUP, _GROUP_SIZE = 4, 10_000
_MOST = 10**15
_ZERO, _MINUS = b"0-"
_STAMP = np.frombuffer(b"0000-00-00T00:00:00+09:00", np.uint8)
_EPOCH_MONTH = 12 * 1970  # of datetime64


def csv_lines(columns: Sequence[npt.NDArray[Any]]) -> Iterator[bytes]:
    """Yield the lines of a CSV file with these columns, many at a time.

    Args:
        columns: datetime64[s], naive KST, years 1000 to 9999, or float64, all of
            shape (n,). Times are written as ISO 8601 with +09:00; numbers that are
            all whole without decimals, others to 15 digits, NaN as nothing.
    """
    whole = [_is_whole(column) for column in columns]
    for start in range(0, len(columns[0]), _BLOCK):
        parts = [column[start : start + _BLOCK] for column in columns]
        rows = len(parts[0])
        tables: list[Bytes] = []
        for part, is_whole in zip(parts, whole, strict=True):
            if part.dtype.kind == "M":
                table = _time_cells(part)
            elif is_whole:
                table = _whole_cells(part.astype(np.int64))
            else:
                table = _text_cells(part)
            tables += [table, _repeated(b",", rows)]
        tables[-1] = _repeated(b"\r\n", rows)
        yield np.concatenate(tables, axis=1).tobytes().replace(b"\0", b"")


def _is_whole(column: npt.NDArray[Any]) -> bool:
    if column.dtype.kind == "M" or not np.isfinite(column).all():
        return False
    return bool((column == np.round(column)).all() and (np.abs(column) < _MOST).all())


def _repeated(text: bytes, rows: int) -> Bytes:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (rows, len(text)))


def _whole_cells(values: Whole) -> Bytes:
    left = np.abs(values)
    tables: list[Bytes] = []
    for _group in range(-(-len(str(left.max())) // _GROUP)):
        higher = left // _GROUP_SIZE
        # In front of the first digit there is nothing.
        bare = (higher == 0) * _GROUP_SIZE
        digits = _digits(last=not tables)
        tables.insert(0, digits.take(left - higher * _GROUP_SIZE + bare, axis=0))
        left = higher
    if (values < 0).any():
        signs = np.where(values < 0, np.uint8(_MINUS), np.uint8(0))
        tables.insert(0, signs[:, None])
    return np.concatenate(tables, axis=1)


def _text_cells(values: Floats) -> Bytes:
    # 15 significant digits: everything below is rounding of binary fractions.
    texts = ["%.15g" % v if v == v else "" for v in values.tolist()]  # noqa: UP031
    table = np.array(texts, dtype="S")
    return table.view(np.uint8).reshape(len(values), -1)


def _time_cells(times: Times) -> Bytes:
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    year, month = np.divmod(months.astype(np.int64) + _EPOCH_MONTH, 12)
    minute, second = np.divmod((times - days).astype(np.int64), 60)
    hour, minute = np.divmod(minute, 60)
    cells = np.tile(_STAMP, (len(times), 1))
    digits = _digits(last=True)
    cells[:, :4] = digits.take(year, axis=0)
    pairs = (month + 1, (days - months).astype(np.int64) + 1, hour, minute, second)
    for at, value in zip((5, 8, 11, 14, 17), pairs, strict=True):
        cells[:, at : at + 2] = digits.take(value, axis=0)[:, 2:]
    return cells


@lru_cache(maxsize=2)
def _digits(*, last: bool) -> Bytes:
    """Return the four digits of every number below 10,000, then without leading zeros.

    Args:
        last: whether they end a number: its last digit stays, even a zero.
    """
    numbers = np.arange(_GROUP_SIZE)[:, None]
    powers = np.array([1000, 100, 10, 1])
    padded = (numbers // powers % 10 + _ZERO).astype(np.uint8)
    bare = np.where(numbers >= powers, padded, np.uint8(0))
    if last:
        bare[0, -1] = _ZERO
    return np.concatenate([padded, bare])
