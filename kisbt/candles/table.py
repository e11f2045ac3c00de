"""One candle file of the store: parse, format, cache.

The file is ``datetime,open,high,low,close,volume``, UTF-8, oldest first. Reading
is column-wise; only after something failed is the file read again line by line,
to say where.
"""

import csv
import io
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kisbt.candles.columns import VALUES, CandleColumns, Flags, Floats, Times
from kisbt.candles.digits import read_digits
from kisbt.candles.files import replace_file
from kisbt.errors import BadCandle, StorageError
from kisbt.text import _

HEADER = ("datetime", *VALUES)
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
# Numbers as Python's float() reads them, to the last bit: pandas 3.1 always does and
# deprecates the option, older versions do not without it.
_EXACT: dict[str, Any] = (
    {}
    if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
    else {"float_precision": "round_trip"}
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

# Change when the layout of the cache or the meaning of a column changes.
_CACHE_FORMAT = 1
_CACHE_HEAD = 5  # format, mtime_ns, size, rows, crc32


class CandleTable(NamedTuple):
    """The rows of a file as they are: in any order, broken ones included."""

    end: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def format_table(candles: CandleColumns) -> bytes:
    """Return the content of a candle file; whole numbers without ``.0``."""
    times = np.char.replace(np.datetime_as_string(candles.end, unit="s"), "T", " ")
    columns = [_texts(getattr(candles, name)) for name in VALUES]
    lines = [
        ",".join(HEADER),
        *map(",".join, zip(times.tolist(), *columns, strict=True)),
    ]
    return ("\n".join(lines) + "\n").encode()


def _texts(values: Floats) -> list[str]:
    whole = values.astype(np.int64)
    if np.array_equal(whole, values):
        return list(map(str, whole.tolist()))
    return [str(int(x)) if x.is_integer() else repr(x) for x in values.tolist()]


def parse_table(path: Path) -> CandleTable:
    """Return the rows of `path`, unchecked but for their format.

    Raises:
        BadCandle: a header, time or number cannot be read; names the line.
        StorageError: the file cannot be opened.
    """
    try:
        raw = path.read_bytes()
        if (quick := read_digits(raw)) is not None:
            return CandleTable(quick[0], *quick[1])
        frame = pd.read_csv(
            io.BytesIO(raw),
            dtype={"datetime": str, **dict.fromkeys(VALUES, np.float64)},
            engine="c",
            encoding="utf-8",
            na_values=[""],
            keep_default_na=False,
            **_EXACT,
        )
        if tuple(frame.columns) != HEADER or not isinstance(frame.index, pd.RangeIndex):
            raise explain(path)
        end = pd.to_datetime(frame["datetime"], format=TIME_FORMAT).to_numpy()
    except OSError as error:
        raise StorageError(
            _("{path}: cannot be read: {why}").format(path=path, why=error.strerror)
        ) from error
    except ValueError as error:  # parser, encoding and conversion errors
        raise explain(path) from error
    table = CandleTable(
        end.astype("datetime64[s]"),
        *(frame[name].to_numpy(np.float64) for name in VALUES),
    )
    if np.isnat(table.end).any() or not all(
        np.isfinite(column).all() for column in table[1:]
    ):
        raise explain(path)
    return table


def read_columns(path: Path) -> CandleColumns:
    """Return the checked candles of `path`, halts and silent bars included.

    A ``.npy`` copy of the columns beside the file is used while it is current,
    and written when it can be; it is never needed.

    Raises:
        BadCandle: a row breaks the format or the rules; names the line.
        StorageError: the file cannot be opened.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise StorageError(
            _("{path}: cannot be read: {why}").format(path=path, why=error.strerror)
        ) from error
    stamp = (stat.st_mtime_ns, stat.st_size)
    cached = _load_cache(_cache_path(path), stamp)
    if cached is not None:
        return cached
    table = parse_table(path)
    if bool(broken(table).any()) or not (np.diff(table.end).astype(np.int64) > 0).all():
        raise explain(path)
    candles = CandleColumns(*table)
    _save_cache(_cache_path(path), candles, stamp)
    return candles


def broken(rows: CandleTable | CandleColumns) -> Flags:
    """Return which rows cannot be candles, shape (n,).

    A candle has positive prices, its open and close between low and high, and a
    volume of zero or more; or it is a halt: open = high = low = 0.
    """
    floor = np.minimum(rows.open, rows.close)
    top = np.maximum(rows.open, rows.close)
    halt = (rows.open == 0) & (rows.high == 0) & (rows.low == 0) & (rows.close > 0)
    sound = (rows.low > 0) & (rows.low <= floor) & (rows.high >= top)
    good: Flags = (sound | halt) & (rows.volume >= 0)
    return ~good


def explain(path: Path, *, daily: bool = False) -> BadCandle:
    """Return the error that names the first line of `path` that is not sound.

    Args:
        daily: also refuse midnight labels and a second candle of a date.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for line, problem in _problems(stream, daily=daily):
                return _bad(path, line, problem)
    except UnicodeDecodeError:
        return _bad(path, 0, _("not UTF-8 text; import it with kisbt data import"))
    return _bad(path, 0, _("the rows cannot be read"))


def _problems(stream: Iterator[str], *, daily: bool) -> Iterator[tuple[int, str]]:
    reader = csv.reader(stream)
    header = next(reader, None)
    if header is None:
        yield (
            1,
            _("the file is empty; expected {header}").format(header=",".join(HEADER)),
        )
        return
    if tuple(header) != HEADER:
        yield (
            1,
            _(
                "the header is {found!r}, expected {header!r}; "
                "bring the file in with kisbt data import"
            ).format(found=",".join(header), header=",".join(HEADER)),
        )
        return
    before = ""
    for cells in reader:
        if cells:
            problem = _row_problem(cells, before)
            if daily and not problem:
                problem = _daily_problem(cells[0], before)
            if problem:
                yield reader.line_num, problem
            before = cells[0]


def _row_problem(cells: list[str], before: str) -> str:
    if len(cells) != len(HEADER):
        return _("{found} cells, expected {expected}").format(
            found=len(cells), expected=len(HEADER)
        )
    time, *texts = cells
    if not _TIME.fullmatch(time) or not _is_time(time):
        return _("{found!r} is no time; expected YYYY-MM-DD HH:MM:SS").format(
            found=time
        )
    numbers = []
    for name, text in zip(VALUES, texts, strict=True):
        number = _number(text)
        if not math.isfinite(number):
            return _("{column} is {found!r}, expected a number").format(
                column=name, found=text
            )
        numbers.append(number)
    if time <= before:
        return _("{time} does not come after {before}").format(time=time, before=before)
    row = CandleTable(
        np.array([time], "datetime64[s]"), *(np.array([x]) for x in numbers)
    )
    if broken(row)[0]:
        return _(
            "open {open:,.10g}, high {high:,.10g}, low {low:,.10g}, close {close:,.10g}, volume "
            "{volume:,.10g}: expected 0 < low ≤ open, close ≤ high and volume ≥ 0"
        ).format(**dict(zip(VALUES, numbers, strict=True)))
    return ""


def _daily_problem(time: str, before: str) -> str:
    if time.endswith("00:00:00"):
        return _(
            "{time} is no END label; a daily candle ends at its session's close. "
            "Bring the file in with kisbt data import"
        ).format(time=time)
    if time[:10] == before[:10]:
        return _("a second candle of {date}").format(date=time[:10])
    return ""


def _is_time(text: str) -> bool:
    try:
        np.datetime64(text, "s")
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _bad(path: Path, line: int, problem: str) -> BadCandle:
    where = _("{path}, line {line}").format(path=path, line=line) if line else path
    return BadCandle(f"{where}: {problem}", file=str(path), line=line)


def _cache_path(path: Path) -> Path:
    return path.with_suffix(".npy")


def _save_cache(cache: Path, candles: CandleColumns, stamp: tuple[int, int]) -> None:
    body = np.concatenate(
        [
            candles.end.astype(np.int64),
            *(getattr(candles, name).view(np.int64) for name in VALUES),
        ]
    ).astype("<i8")
    head = np.array([_CACHE_FORMAT, *stamp, len(candles), zlib.crc32(body.data)], "<i8")
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate([head, body]))
    try:
        replace_file(cache, buffer.getvalue())
    except StorageError:
        # A read-only store still works, only slower.
        return


def _load_cache(cache: Path, stamp: tuple[int, int]) -> CandleColumns | None:
    try:
        whole = np.load(cache, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if whole.ndim != 1 or whole.dtype != np.dtype("<i8") or whole.size < _CACHE_HEAD:
        return None
    body = whole[_CACHE_HEAD:]
    rows = int(whole[3])
    if (
        whole[0] != _CACHE_FORMAT
        or tuple(whole[1:3].tolist()) != stamp
        or body.size != rows * len(HEADER)
        or whole[4] != zlib.crc32(body.data)
    ):
        return None
    parts = body.reshape(len(HEADER), rows)
    return CandleColumns(
        parts[0].astype("datetime64[s]"), *(part.view("<f8") for part in parts[1:])
    )
