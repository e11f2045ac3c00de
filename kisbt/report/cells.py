"""Columns of numbers and times as the bytes of a CSV file, without a text per cell.

A column becomes pieces of four bytes, one row of the file a row, in which a byte 0
stands for nothing; side by side and without the zeros the pieces are the file.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

# Four bytes each: numpy handles them much quicker than rows of single ones.
Pieces = npt.NDArray[np.uint32]
Whole = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

# Rows at a time: few enough for the caches of a processor.
_BLOCK = 1 << 13
# Digits are looked up four at once.
_GROUP_SIZE = 10_000
_MOST = 10**15
_EPOCH_MONTH = 12 * 1970  # of datetime64
# A number of 15 digits that has decimals is below this.
_DIGITS, _MOST_DECIMAL = 15, 1e14
_POWERS: Floats = np.array([10.0**power for power in range(_DIGITS + 1)])
# Decimals are aligned to this many groups of four.
_DECIMAL_GROUPS = 4
# Source: Dekker, "A floating-point technique for extending the available
# precision", Numerische Mathematik 18 (1971).
_SPLITTER = 2.0**27 + 1.0


def csv_lines(columns: Sequence[npt.NDArray[Any]]) -> Iterator[bytes]:
    """Yield the lines of a CSV file with these columns, many at a time.

    Args:
        columns: datetime64[s], naive KST, years 1000 to 9999, or float64, all of
            shape (n,). Times are written as ISO 8601 with +09:00; numbers that are
            all whole without decimals, others to 15 digits, NaN as nothing.
    """
    whole = [_is_whole(column) for column in columns]
    comma, line_end = (int(piece) for piece in _pieces([b",", b"\r\n"]))
    rows = len(columns[0])
    for start in range(0, rows, _BLOCK):
        pieces: list[Pieces | int] = []
        for column, is_whole in zip(columns, whole, strict=True):
            part = column[start : start + _BLOCK]
            if part.dtype.kind == "M":
                pieces += _time_cells(part)
            elif is_whole:
                pieces += _whole_cells(part.astype(np.int64))
            else:
                pieces += _decimal_cells(part)
            pieces.append(comma)
        pieces[-1] = line_end
        table = np.empty((min(_BLOCK, rows - start), len(pieces)), np.uint32)
        for at, piece in enumerate(pieces):
            table[:, at] = piece
        yield table.tobytes().translate(None, b"\0")


def _is_whole(column: npt.NDArray[Any]) -> bool:
    if column.dtype.kind == "M" or not np.isfinite(column).all():
        return False
    return bool((column == np.round(column)).all() and (np.abs(column) < _MOST).all())


def _whole_cells(values: Whole) -> list[Pieces | int]:
    left = np.abs(values)
    pieces: list[Pieces | int] = []
    while not pieces or left.any():
        higher = left // _GROUP_SIZE
        # In front of the first digit there is nothing.
        bare = (higher == 0) * _GROUP_SIZE
        digits = _digits(last=not pieces)
        pieces.insert(0, digits.take(left - higher * _GROUP_SIZE + bare))
        left = higher
    return _signs(values < 0) + pieces


def _decimal_cells(values: Floats) -> list[Pieces | int]:
    # 15 significant digits: everything below is rounding of binary fractions.
    size = np.abs(values)
    if not ((size >= 1.0) & (size < _MOST_DECIMAL) | (size == 0.0)).all():
        return _text_cells(values)
    # As whole numbers of 15 digits, and how many of these are decimals.
    scale = _POWERS[_DIGITS - np.searchsorted(_POWERS, size, side="right")]
    digits = _rounded_product(size, scale).astype(np.int64)
    power = scale.astype(np.int64)
    whole = digits // power
    rest = (digits - whole * power) * (_GROUP_SIZE**_DECIMAL_GROUPS // power)
    point = int(_pieces([b"."])[0])
    pieces = _signs(np.signbit(values)) + _whole_cells(whole)
    pieces.append(np.where(rest > 0, np.uint32(point), np.uint32(0)))
    for group in reversed(range(_DECIMAL_GROUPS)):
        higher = rest // _GROUP_SIZE**group
        rest = rest - higher * _GROUP_SIZE**group
        # Behind the last digit that counts there is nothing.
        pieces.append(_decimals().take(higher + (rest == 0) * _GROUP_SIZE))
    return pieces


def _rounded_product(values: Floats, scale: Floats) -> Floats:
    """Return the whole numbers nearest to the exact products, ties to even.

    Args:
        values: float64, shape (n,).
        scale: float64, shape (n,); products are below 10**15.
    """
    product = values * scale
    rounded = np.rint(product)
    # A product is off by 1/16 at most: only a tie may be none.
    (tied,) = np.nonzero(np.abs(product - rounded) == 0.5)
    if tied.size:
        value, factor, found = values[tied], scale[tied], product[tied]
        high, low = _halves(value)
        other_high, other_low = _halves(factor)
        error = high * other_high - found
        error = error + high * other_low + low * other_high + low * other_low
        up = np.where(error > 0, np.ceil(found), np.floor(found))
        rounded[tied] = np.where(error == 0, rounded[tied], up)
    return rounded


def _halves(values: Floats) -> tuple[Floats, Floats]:
    """Return two numbers of half the digits that add up to each value."""
    shifted = values * _SPLITTER
    high = shifted - (shifted - values)
    return high, values - high


def _text_cells(values: Floats) -> list[Pieces | int]:
    texts = ["%.15g" % v if v == v else "" for v in values.tolist()]  # noqa: UP031
    table = np.array(texts, dtype="S")
    width = -(-table.itemsize // 4)
    cells = table.astype(f"S{4 * width}").view(np.uint32).reshape(len(values), width)
    return list(cells.T)


def _time_cells(times: Times) -> list[Pieces | int]:
    days = times.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    year, month = _divided(months.astype(np.int64) + _EPOCH_MONTH, 12)
    minute, second = _divided((times - days).astype(np.int64), 60)
    hour, minute = _divided(minute, 60)
    return [
        _digits(last=True).take(year),
        _pairs(b"-").take(month + 1),
        _pairs(b"-").take((days - months).astype(np.int64) + 1),
        _pairs(b"T").take(hour),
        _pairs(b":").take(minute),
        _pairs(b":").take(second),
        *(int(piece) for piece in _pieces([b"+09:", b"00"])),
    ]


def _divided(values: Whole, by: int) -> tuple[Whole, Whole]:
    parts = values // by
    return parts, values - parts * by


def _signs(negative: npt.NDArray[np.bool_]) -> list[Pieces | int]:
    if not negative.any():
        return []
    return [np.where(negative, _pieces([b"-"])[0], np.uint32(0))]


def _pieces(texts: Sequence[bytes]) -> Pieces:
    return np.array(texts, dtype="S4").view(np.uint32)


@lru_cache(maxsize=4)
def _pairs(mark: bytes) -> Pieces:
    """Return every number below 100 as two digits behind a mark."""
    return _pieces([b"%s%02d" % (mark, number) for number in range(100)])


@lru_cache(maxsize=1)
def _decimals() -> Pieces:
    """Return the four digits of every number below 10,000, then without zeros behind."""
    texts = [b"%04d" % number for number in range(_GROUP_SIZE)]
    return _pieces([*texts, *(text.rstrip(b"0") for text in texts)])


@lru_cache(maxsize=2)
def _digits(*, last: bool) -> Pieces:
    """Return the four digits of every number below 10,000, then without leading zeros.

    Args:
        last: whether they end a number: its last digit stays, even a zero.
    """
    texts = [b"%04d" % number for number in range(_GROUP_SIZE)]
    bare = [text.lstrip(b"0") for text in texts]
    if last:
        bare[0] = b"0"
    return _pieces([*texts, *bare])
