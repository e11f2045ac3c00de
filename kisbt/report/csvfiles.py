"""The CSV files of a run folder: tables of rows and columns of arrays.

Money is rounded to 1/100 won, the smallest unit the won has, and has no decimals
when it is whole, as it always is with exchange rules on raw candles. Prices keep
every digit. Times are ISO 8601 with +09:00. Files begin with a byte order mark,
so that Excel reads Korean.

A text that a spreadsheet would take for a formula (it begins with ``=``, ``+``,
``-``, ``@``, their full-width forms or a control character) is written with an
apostrophe before it; reading takes the apostrophe off again.

Source of the formula rule: OWASP, "CSV Injection".
"""

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from kisbt.clock import KST
from kisbt.errors import InputError
from kisbt.model.liverun import CandleChange, CandleEvent, Heard, OrderEvent
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import FillRow, OpenPosition, OrderRow, TradeRow
from kisbt.report.cells import csv_lines
from kisbt.text import _

Columns = Mapping[str, str | type[Enum]]
Row = TypeVar("Row", OrderRow, FillRow, TradeRow, OpenPosition, CandleEvent, OrderEvent)

_OFFSET = "+09:00"
_EXACT_INTEGERS = 2**53
_QUOTED = re.compile('[",\r\n]')
_FORMULA_START = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "'",
    *"\uff1d\uff0b\uff0d\uff20",
)

# Column -> how its text is written and read. A money column is rounded, a price
# is not. The first columns of each table are those every run folder has; what
# follows them is extra.
_TIME, _TEXT, _MONEY, _PRICE, _COUNT = "time", "text", "money", "price", "count"
_FIGURE = "figure"  # a number that may be missing
ORDERS: Columns = {
    "ref": _COUNT,
    "created": _TIME,
    "symbol": _TEXT,
    "side": Side,
    "type": OrderType,
    "quantity": _COUNT,
    "limit_price": _PRICE,
    "state": OrderState,
    "reason": _TEXT,
    "filled_quantity": _COUNT,
    "average_price": _PRICE,
    "broker_order_no": _TEXT,
    "reject_reason": _TEXT,
    "confirmed_by": _TEXT,
    "stop_price": _PRICE,
}
FILLS: Columns = {
    "time": _TIME,
    "bar": _TIME,
    "symbol": _TEXT,
    "side": Side,
    "quantity": _COUNT,
    "price": _PRICE,
    "commission": _MONEY,
    "tax": _MONEY,
    "slippage": _MONEY,
    "order_ref": _COUNT,
}
TRADES: Columns = {
    "symbol": _TEXT,
    "entry_time": _TIME,
    "entry_price": _PRICE,
    "exit_time": _TIME,
    "exit_price": _PRICE,
    "quantity": _COUNT,
    "gross_pnl": _MONEY,
    "commission": _MONEY,
    "tax": _MONEY,
    "net_pnl": _MONEY,
    "return_pct": _PRICE,
    "bars_held": _COUNT,
    "entry_reason": _TEXT,
    "exit_reason": _TEXT,
}
OPEN_POSITIONS: Columns = {
    "symbol": _TEXT,
    "quantity": _COUNT,
    "average_price": _PRICE,
    "entry_time": _TIME,
    "last_price": _PRICE,
    "last_time": _TIME,
    "market_value": _MONEY,
    "unrealised_pnl": _MONEY,
    "realised_pnl": _MONEY,
    "costs": _MONEY,
    "flag": _TEXT,
}
_OPTIONAL = {"limit_price", "stop_price", "average_price"}
CANDLE_EVENTS: Columns = {
    "at": _TIME,
    "kind": CandleChange,
    "symbol": _TEXT,
    "bar": _TIME,
    **dict.fromkeys(("open", "high", "low", "close", "volume"), _FIGURE),
    **dict.fromkeys(
        ("true_open", "true_high", "true_low", "true_close", "true_volume"), _FIGURE
    ),
    "note": _TEXT,
}
ORDER_EVENTS: Columns = {
    "sequence": _COUNT,
    "at": _TIME,
    "bar": _TIME,
    "order_ref": _COUNT,
    "kind": Heard,
    "quantity": _COUNT,
    "price": _FIGURE,
    "commission": _MONEY,
    "tax": _MONEY,
    "amount": _MONEY,
    "outcome": _TEXT,
    "rule": _TEXT,
    "reason": _TEXT,
    "confirmed_by": _TEXT,
}


def write_table(path: Path, rows: Iterable[Any], columns: Columns) -> None:
    """Write dataclass rows as CSV, one column per entry of `columns`."""
    path.write_bytes(table_bytes(rows, columns))


def table_bytes(rows: Iterable[Any], columns: Columns) -> bytes:
    """Return what `write_table` would write."""
    # Column by column: a row at a time would look everything up once a cell.
    values = zip(*map(attrgetter(*columns), rows), strict=True)
    texts = (
        map(_writer(kind), column)
        for kind, column in zip(columns.values(), values, strict=False)
    )
    return _csv_bytes(columns, texts)


def _csv_bytes(names: Iterable[str], texts: Iterable[Iterable[str]]) -> bytes:
    """Return a CSV file of columns whose cells need no more quoting."""
    lines = [",".join(names), *map(",".join, zip(*texts, strict=True)), ""]
    return "\r\n".join(lines).encode("utf-8-sig", "backslashreplace")


def _writer(kind: str | type[Enum]) -> Callable[[Any], str]:
    """Return what turns a value of a column of `kind` into its cell."""
    if kind == _TIME:
        return time_text
    if kind == _TEXT:
        return _text_cell
    if kind == _MONEY:
        return _money_text
    if kind in {_PRICE, _FIGURE}:
        return _price_text
    if kind == _COUNT:
        return str
    return attrgetter("_value_")  # `value` is a property, and slower


def _money_text(value: float) -> str:
    if value % 1 == 0 and -_EXACT_INTEGERS < value < _EXACT_INTEGERS:
        return "%d" % value  # noqa: UP031  (as in `number_text`)
    return number_text(round(value, 2))


def _price_text(value: float | None) -> str:
    if value is None:
        return ""
    if value % 1 == 0 and -_EXACT_INTEGERS < value < _EXACT_INTEGERS:
        return "%d" % value  # noqa: UP031  (as in `number_text`)
    return number_text(value)


def number_text(value: float) -> str:
    """Return the shortest text of a number, without a trailing ``.0``."""
    if value % 1 == 0 and -_EXACT_INTEGERS < value < _EXACT_INTEGERS:
        return "%d" % value  # noqa: UP031  (twice as quick, and 0 for -0.0)
    return repr(float(value)) if math.isfinite(value) else ""


@lru_cache(maxsize=1 << 14)
def time_text(value: datetime) -> str:
    """Return an aware time as ISO 8601 in KST."""
    return value.astimezone(KST).isoformat()


@lru_cache(maxsize=1 << 12)
def _text_cell(text: str) -> str:
    safe = f"'{text}" if text.startswith(_FORMULA_START) else text
    if _QUOTED.search(safe) is None:
        return safe
    doubled = safe.replace('"', '""')
    return f'"{doubled}"'


def _unsafe_text(text: str) -> str:
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA_START) else text


def write_columns(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write ``time`` and number columns as CSV; quick for a million rows."""
    with path.open("wb") as stream:
        stream.write(f"{','.join(columns)}\r\n".encode("utf-8-sig"))
        stream.writelines(csv_lines(list(columns.values())))


def read_table(path: Path, row_type: type[Row], columns: Columns) -> tuple[Row, ...]:
    """Read rows that `write_table` wrote; columns it does not know are ignored.

    Raises:
        InputError: missing or damaged; names file and line.
    """
    readers = {name: _reader(name, kind) for name, kind in columns.items()}
    assert set(readers) == {field.name for field in fields(row_type)}
    rows: list[Row] = []
    with damaged(path) as at:
        text = path.read_bytes().decode("utf-8-sig")
        source = csv.DictReader(io.StringIO(text, newline=""))
        missing = set(readers) - set(source.fieldnames or ())
        if missing:
            raise ValueError(
                _("column {columns} is missing").format(
                    columns=", ".join(sorted(missing))
                )
            )
        for record in source:
            at.line = source.line_num
            rows.append(
                row_type(**{name: read(record[name]) for name, read in readers.items()})
            )
    return tuple(rows)


def _reader(name: str, kind: str | type[Enum]) -> Callable[[str], Any]:
    """Return what turns the text of a column of `kind` into its value."""
    if kind == _TIME:
        return read_time
    if kind == _TEXT:
        return _unsafe_text
    if kind == _COUNT:
        return int
    if kind == _FIGURE:
        return _optional_float
    if kind in (_MONEY, _PRICE):
        return _optional_float if name in _OPTIONAL and kind == _PRICE else float
    return kind  # type: ignore[return-value]  # an Enum class reads its own text


def read_time(text: str) -> datetime:
    """Return the aware KST time of an ISO 8601 text."""
    return datetime.fromisoformat(text).astimezone(KST)


def _optional_float(text: str) -> float | None:
    return float(text) if text else None


def read_columns(path: Path, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Read what `write_columns` wrote: ``time`` and every number column.

    Args:
        path: the file.
        names: columns that must be there.

    Raises:
        InputError: missing or damaged.
    """
    with damaged(path):
        frame = pd.read_csv(path, encoding="utf-8-sig", dtype={"time": "str"})
        missing = {"time", *names} - set(frame.columns)
        if missing:
            raise ValueError(
                _("column {columns} is missing").format(
                    columns=", ".join(sorted(missing))
                )
            )
        text = frame.pop("time")
        if len(text) and not text.str.endswith(_OFFSET).all():
            raise ValueError(_("a time does not end in +09:00"))
        time = text.str.slice(0, -len(_OFFSET)).to_numpy().astype("datetime64[s]")
        columns = {
            str(name): column.to_numpy(dtype=np.float64)
            for name, column in frame.items()
        }
        return {"time": time, **columns}


class At:
    """Where reading has come to.

    Attributes:
        line: counted from 1; 0 when the file is read as a whole.
    """

    line = 0


@contextmanager
def damaged(path: Path) -> Iterator[At]:
    """Turn what goes wrong while reading `path` into an `InputError`."""
    at = At()
    try:
        yield at
    except FileNotFoundError as error:
        raise InputError(
            _("{file} is missing: the run folder is incomplete").format(file=path)
        ) from error
    except OSError as error:
        raise InputError(
            _("{file} cannot be read: {cause}").format(file=path, cause=error.strerror)
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        place = str(path)
        if at.line:
            place = _("{file}, line {line}").format(file=path, line=at.line)
        raise InputError(
            _("{place} is damaged: {cause}; run the backtest again").format(
                place=place, cause=error
            )
        ) from error
