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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from kisbt.clock import KST
from kisbt.errors import InputError
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import FillRow, Floats, OpenPosition, OrderRow, Times, TradeRow
from kisbt.text import _

Columns = Mapping[str, str | type[Enum]]
Row = TypeVar("Row", OrderRow, FillRow, TradeRow, OpenPosition)

_OFFSET = "+09:00"
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


def write_table(path: Path, rows: Iterable[Any], columns: Columns) -> None:
    """Write dataclass rows as CSV, one column per entry of `columns`."""
    writers = [(name, _writer(kind)) for name, kind in columns.items()]
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        out = csv.writer(stream, lineterminator="\r\n")
        out.writerow(columns)
        out.writerows(
            [write(getattr(row, name)) for name, write in writers] for row in rows
        )


def _writer(kind: str | type[Enum]) -> Callable[[Any], Any]:
    """Return what turns a value of a column of `kind` into its text."""
    if kind == _TIME:
        return time_text
    if kind == _TEXT:
        return _safe_text
    if kind == _MONEY:
        return lambda value: number_text(round(value, 2))
    if kind == _PRICE:
        return lambda value: "" if value is None else number_text(value)
    if kind == _COUNT:
        return str
    return lambda value: value.value


def number_text(value: float) -> str:
    """Return the shortest text of a number, without a trailing ``.0``."""
    if not math.isfinite(value):
        return ""
    if value == int(value) and abs(value) < 2**53:
        return str(int(value))
    return repr(float(value))


def time_text(value: datetime) -> str:
    """Return an aware time as ISO 8601 in KST."""
    return value.astimezone(KST).isoformat()


def _safe_text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_START) else text


def _unsafe_text(text: str) -> str:
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA_START) else text


def write_columns(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write ``time`` and number columns as CSV; quick for a million rows."""
    texts = [
        _time_texts(column) if name == "time" else _number_texts(column)
        for name, column in columns.items()
    ]
    lines = [",".join(columns), *map(",".join, zip(*texts, strict=True)), ""]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))


def _time_texts(time: Times) -> list[str]:
    texts = np.datetime_as_string(time, unit="s").tolist()
    return [text + _OFFSET for text in texts]


def _number_texts(column: Floats) -> list[str]:
    """Return numbers as text: whole ones without decimals, NaN as nothing."""
    if np.isfinite(column).all() and (column == np.round(column)).all():
        return [str(value) for value in column.astype(np.int64).tolist()]
    # 15 significant digits: everything below is rounding of binary fractions.
    return ["%.15g" % v if v == v else "" for v in column.tolist()]  # noqa: UP031


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
