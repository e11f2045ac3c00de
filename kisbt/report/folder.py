"""The run folder: a finished run as files, and back.

The folder appears whole or not at all. Tables and columns are written by
`kisbt.report.csvfiles`; run.json also holds the instruments, and curves.csv and
open_positions.csv what the other files have no room for.
"""

import json
import math
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from kisbt.errors import InputError, StorageError
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.result import (
    Curve,
    DecisionRow,
    EquityCurve,
    FillRow,
    OpenPosition,
    OrderRow,
    RunResult,
    TradeRow,
)
from kisbt.report.csvfiles import (
    FILLS,
    OPEN_POSITIONS,
    ORDERS,
    TRADES,
    damaged,
    read_columns,
    read_table,
    read_time,
    time_text,
    write_columns,
    write_table,
)
from kisbt.report.metrics import Summary, summarise
from kisbt.text import _

FOLDER_VERSION = 1
REPORT_FILE = "report.html"

_EQUITY = ("time", "cash", "positions_value", "equity")
_CURVES = ("benchmark", "buy_and_hold")
_INDENT = "  "
_ENCODER = json.JSONEncoder(ensure_ascii=False)


def check_target(folder: Path) -> None:
    """Check, before a long run, that `folder` can become its run folder.

    Raises:
        InputError: it is a file, or a folder that is not empty.
        StorageError: it cannot be written to.
    """
    with _storage(folder):
        _check_is_free(folder)
        made = _make_parents(folder)
        try:
            probe = _part(folder if folder.is_dir() else folder.parent, folder.name)
            probe.mkdir()
            probe.rmdir()
        finally:
            for parent in made:
                with suppress(OSError):
                    parent.rmdir()


def _check_is_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(
            _(
                "{folder} is a file: expected a new or empty folder for the run; "
                "choose another with --out"
            ).format(folder=folder)
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            _(
                "{folder} is not empty: expected a new or empty folder for the "
                "run; choose another with --out or remove it"
            ).format(folder=folder)
        )


def write_run(
    result: RunResult,
    folder: Path,
    *,
    summary: Summary | None = None,
    extra_files: Mapping[str, str | bytes] | None = None,
) -> Path:
    """Write the run folder, whole or not at all.

    Args:
        result: the finished run.
        folder: new or empty.
        summary: the content of summary.json; computed when left out.
        extra_files: plain file name to content, for example report.html.

    Returns:
        `folder`.

    Raises:
        InputError: `folder` is a file or not empty.
        StorageError: the disk is full or not writable; nothing is left behind.
    """
    with _storage(folder):
        _check_is_free(folder)
        in_place = folder.is_dir()
        made = _make_parents(folder)
    part = _part(folder if in_place else folder.parent, folder.name)
    try:
        with _storage(folder):
            part.mkdir()
            _write_files(result, part, summary, extra_files or {})
            if in_place:
                _move_into(part, folder)
            else:
                part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        raise
    return folder


def write_text(path: Path, text: str) -> None:
    """Replace one file, whole or not at all.

    Raises:
        StorageError: it could not be written; the old file is untouched.
    """
    part = _part(path.parent, path.name)
    try:
        with _storage(path):
            part.write_bytes(_encoded(text))
            part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def read_run(folder: Path) -> RunResult:
    """Read a run folder back.

    Raises:
        InputError: it is no run folder, one of another version, or damaged.
    """
    if not (folder / "run.json").is_file():
        raise InputError(
            _(
                "{folder} is no run folder (it has no run.json): expected a folder "
                "written by kisbt backtest, for example runs/ID"
            ).format(folder=folder)
        )
    run = _read_json(folder / "run.json")
    found = run.pop("folder_version", None)
    if found != FOLDER_VERSION:
        raise InputError(
            _(
                "{folder}: run folder of version {found}, this kisbt reads version "
                "{expected}; run the backtest again or use the kisbt that wrote it"
            ).format(folder=folder, found=found, expected=FOLDER_VERSION)
        )
    listed = run.pop("instruments", [])
    with damaged(folder / "run.json"):
        instruments = [_instrument(row) for row in listed]
    curves = _read_curves(folder / "curves.csv")
    return RunResult(
        run=run,
        instruments={instrument.symbol: instrument for instrument in instruments},
        orders=read_table(folder / "orders.csv", OrderRow, ORDERS),
        fills=read_table(folder / "fills.csv", FillRow, FILLS),
        trades=read_table(folder / "trades.csv", TradeRow, TRADES),
        equity=_read_equity(folder / "equity.csv"),
        decisions=_read_decisions(folder / "decisions.jsonl"),
        open_positions=read_table(
            folder / "open_positions.csv", OpenPosition, OPEN_POSITIONS
        ),
        benchmark=curves.get("benchmark"),
        buy_and_hold=curves.get("buy_and_hold"),
    )


def _write_files(
    result: RunResult,
    part: Path,
    summary: Summary | None,
    extra_files: Mapping[str, str | bytes],
) -> None:
    run = {
        "folder_version": FOLDER_VERSION,
        **result.run,
        "instruments": [_instrument_json(i) for i in result.instruments.values()],
    }
    write_table(part / "orders.csv", result.orders, ORDERS)
    write_table(part / "fills.csv", result.fills, FILLS)
    write_table(part / "trades.csv", result.trades, TRADES)
    write_table(part / "open_positions.csv", result.open_positions, OPEN_POSITIONS)
    _write_equity(part / "equity.csv", result.equity)
    _write_curves(part / "curves.csv", result)
    _write_decisions(part / "decisions.jsonl", result.decisions)
    _write_json(
        part / "summary.json", summarise(result) if summary is None else summary
    )
    for name, content in extra_files.items():
        if PurePath(name).name != name:
            raise ValueError(f"extra file {name!r}: expected a plain file name")
        (part / name).write_bytes(
            _encoded(content) if isinstance(content, str) else content
        )
    _write_json(part / "run.json", run)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_bytes(_encoded(_json(content, "\n") + "\n"))


def _encoded(text: str) -> bytes:
    """Return UTF-8; lone surrogates, as of an odd file name, become escapes."""
    return text.encode(errors="backslashreplace")


def _json(value: Any, line: str) -> str:
    """Return `value` as indented JSON; a number that is none becomes null.

    Written here: an indented text is what the encoder of `json` is slow at.

    Args:
        value: mappings, sequences and sets of numbers, texts, times and paths.
        line: how a line begins at this depth, line break included.
    """
    deeper = line + _INDENT
    if isinstance(value, Mapping):
        named = {str(key): item for key, item in value.items()}
        parts = [f"{_quoted(k)}: {_json(item, deeper)}" for k, item in named.items()]
        return f"{{{deeper}{(',' + deeper).join(parts)}{line}}}" if parts else "{}"
    if isinstance(value, list | tuple | set | frozenset):
        parts = [_json(item, deeper) for item in value]
        return f"[{deeper}{(',' + deeper).join(parts)}{line}]" if parts else "[]"
    if isinstance(value, Enum):
        value = value.value
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, datetime | date):
        value = value.isoformat()
    elif isinstance(value, PurePath):
        value = str(value)
    return _quoted(value) if isinstance(value, str) else _number(value)


def _instrument_json(instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": instrument.symbol,
        "name": instrument.name,
        "market": instrument.market.value,
        "product": instrument.product.value,
        "leverage": instrument.leverage,
    }


def _write_equity(path: Path, curve: EquityCurve) -> None:
    cash, held = np.round(curve.cash, 2), np.round(curve.positions_value, 2)
    columns = (curve.time, cash, held, np.round(cash + held, 2))
    write_columns(path, dict(zip(_EQUITY, columns, strict=True)))


def _write_curves(path: Path, result: RunResult) -> None:
    """Write benchmark and buy-and-hold on one time axis; no file without them."""
    curves = {name: getattr(result, name) for name in _CURVES}
    known = {name: curve for name, curve in curves.items() if curve is not None}
    if not known:
        return
    times = [curve.time for curve in known.values()]
    alike = all(np.array_equal(time, times[0]) for time in times)
    time = times[0] if alike else np.unique(np.concatenate(times))
    columns: dict[str, npt.NDArray[Any]] = {"time": time}
    for name, curve in known.items():
        column = np.full(len(time), np.nan)
        column[np.searchsorted(time, curve.time)] = curve.value
        columns[name] = column
    write_columns(path, columns)


def _write_decisions(path: Path, rows: Iterable[DecisionRow]) -> None:
    path.write_bytes(_encoded("".join(map(_decision_line, rows))))


def _decision_line(row: DecisionRow) -> str:
    # Put together here: the encoder would look at every name again on every row.
    values = tuple(row.indicators.values())
    if set(map(type, values)) == {float} and all(map(math.isfinite, values)):
        indicators = _named_floats(tuple(row.indicators)) % values
    else:
        pairs = row.indicators.items()
        indicators = ", ".join([f"{_quoted(k)}: {_number(v)}" for k, v in pairs])
    order = "null" if row.order_ref is None else row.order_ref
    return (
        f'{{"bar": "{time_text(row.bar)}", "symbol": {_quoted(row.symbol)}, '
        f'"action": {_quoted(row.action)}, "reason": {_quoted(row.reason)}, '
        f'"indicators": {{{indicators}}}, "result": {_quoted(row.result)}, '
        f'"order_ref": {order}}}\n'
    )


def _number(value: object) -> str:
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else "null"
    return json.dumps(value)


@lru_cache(maxsize=1 << 8)
def _named_floats(names: tuple[str, ...]) -> str:
    """Return what, formatted with floats, is their JSON under these names."""
    return ", ".join([_quoted(name).replace("%", "%%") + ": %r" for name in names])


@lru_cache(maxsize=1 << 12)
def _quoted(text: str) -> str:
    return _ENCODER.encode(text)


def _read_json(path: Path) -> dict[str, Any]:
    with damaged(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(_("expected a JSON object"))
        return content


def _instrument(row: Mapping[str, Any]) -> Instrument:
    return Instrument(
        symbol=row["symbol"],
        name=row["name"],
        market=Market(row["market"]),
        product=Product(row["product"]),
        leverage=float(row["leverage"]),
    )


def _read_equity(path: Path) -> EquityCurve:
    columns = read_columns(path, _EQUITY[1:])
    with damaged(path):
        if not all(np.isfinite(columns[name]).all() for name in _EQUITY[1:]):
            raise ValueError(_("a number is missing"))
    return EquityCurve(
        time=columns["time"],
        cash=np.round(columns["cash"], 2),
        positions_value=np.round(columns["positions_value"], 2),
    )


def _read_curves(path: Path) -> dict[str, Curve]:
    if not path.is_file():
        return {}
    columns = read_columns(path, ())
    curves: dict[str, Curve] = {}
    for name in _CURVES:
        if name in columns:
            known = np.isfinite(columns[name])
            curves[name] = Curve(
                time=columns["time"][known], value=columns[name][known]
            )
    return curves


def _read_decisions(path: Path) -> tuple[DecisionRow, ...]:
    rows: list[DecisionRow] = []
    with damaged(path) as at, path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            at.line = number
            record = json.loads(line)
            rows.append(
                DecisionRow(
                    bar=read_time(record["bar"]),
                    symbol=record["symbol"],
                    action=record["action"],
                    reason=record["reason"],
                    indicators={
                        name: math.nan if value is None else value
                        for name, value in record["indicators"].items()
                    },
                    result=record["result"],
                    order_ref=record["order_ref"],
                )
            )
    return tuple(rows)


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Turn a fault of the disk into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            _(
                "{path} could not be written: {cause}; nothing was left behind. "
                "Check free space and permissions, or choose another folder"
            ).format(path=path, cause=error.strerror or error)
        ) from error


def _part(folder: Path, name: str) -> Path:
    """Return a temporary name in `folder` that nobody else uses."""
    return folder / f".{name or 'run'}.{secrets.token_hex(4)}.part"


def _make_parents(folder: Path) -> list[Path]:
    """Create the missing parents of `folder`; return them, innermost first."""
    missing = []
    parent = folder.parent
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _move_into(part: Path, folder: Path) -> None:
    """Move the files of `part` into `folder`; run.json, which makes it a run, last."""
    files = sorted(part.iterdir(), key=lambda path: path.name == "run.json")
    moved: list[Path] = []
    try:
        for path in files:
            path.replace(folder / path.name)
            moved.append(folder / path.name)
        part.rmdir()
    except OSError:
        for path in moved:
            with suppress(OSError):
                path.unlink()
        raise
