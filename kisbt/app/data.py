"""Candles in and out of the store: import, check, list."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kisbt.candles.importer import ImportReport, import_candles
from kisbt.candles.quality import Quality, check_symbol
from kisbt.candles.reader import ImportRequest
from kisbt.candles.store import CandleStore
from kisbt.errors import BadCandle, MissingCandles
from kisbt.krx.overrides import KrxOverrides
from kisbt.model.candle import DAILY, Interval, parse_interval
from kisbt.model.instrument import Instrument
from kisbt.text import _

OnProgress = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """One candle file of a store.

    Attributes:
        kind: ``1d``, ``1d-raw``, ``1m`` ...: the folder.
        first, last: END of the first and last row; None if it has none.
        rows: halts and silent minutes included.
        problem: why the file cannot be read, "" if it can.
    """

    instrument: Instrument
    kind: str
    first: np.datetime64 | None
    last: np.datetime64 | None
    rows: int
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **_instrument_json(self.instrument),
            "interval": self.kind,
            "first": _text(self.first),
            "last": _text(self.last),
            "rows": self.rows,
            "problem": self.problem,
        }


def import_file(
    path: Path,
    data: Path,
    request: ImportRequest,
    *,
    overrides: KrxOverrides | None = None,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Import a file or a folder into the store at `data`.

    Raises:
        InputError, DataError, StorageError: as `import_candles`.
    """
    calendar = (overrides or KrxOverrides()).calendar()
    store = CandleStore(data, calendar=calendar)
    return import_candles(
        path, store, request, calendar=calendar, on_progress=on_progress
    )


def check_data(
    data: Path,
    symbols: Sequence[str] = (),
    *,
    interval: Interval = DAILY,
    adjusted: bool = True,
    overrides: KrxOverrides | None = None,
    on_progress: OnProgress | None = None,
) -> list[Quality]:
    """Return the state of stored candles, one entry a symbol.

    Args:
        data: the store.
        symbols: codes or names; none for all.
        interval: of a folder of the store.
        adjusted: which daily candles.
        overrides: the user's own holidays and hours.
        on_progress: called with the share done, 0 … 1.

    Raises:
        MissingCandles: there are none.
        InputError: a name is not known.
    """
    calendar = (overrides or KrxOverrides()).calendar()
    store = _existing(data)
    chosen = [store.find(text) for text in symbols] or [
        symbol
        for symbol in store.symbols(interval, adjusted=adjusted)
        if store.file(symbol, interval, adjusted=adjusted).is_file()
    ]
    if not chosen:
        folder = store.file("CODE", interval, adjusted=adjusted).parent
        raise MissingCandles(
            _("{folder} has no candle files; see kisbt data ls --data {data}").format(
                folder=folder, data=data
            )
        )
    found = []
    for number, symbol in enumerate(chosen):
        found.append(
            check_symbol(store, symbol, interval, adjusted=adjusted, calendar=calendar)
        )
        if on_progress:
            on_progress((number + 1) / len(chosen))
    return found


def list_data(data: Path, *, on_progress: OnProgress | None = None) -> list[StoredRow]:
    """Return every candle file of a store, by symbol, then interval.

    Raises:
        MissingCandles: the folder does not exist.
        BadCandle: ``symbols.csv`` is broken.
    """
    store = _existing(data)
    files = [
        (symbol, interval, adjusted)
        for interval, adjusted in _folders(data)
        for symbol in store.symbols(interval, adjusted=adjusted)
        if store.file(symbol, interval, adjusted=adjusted).is_file()
    ]
    instruments = store.describe({symbol for symbol, *_rest in files})[0]
    rows = []
    for number, (symbol, interval, adjusted) in enumerate(sorted(files, key=_place)):
        rows.append(
            _stored_row(store, instruments[symbol], interval, adjusted=adjusted)
        )
        if on_progress:
            on_progress((number + 1) / len(files))
    return rows


def _stored_row(
    store: CandleStore, instrument: Instrument, interval: Interval, *, adjusted: bool
) -> StoredRow:
    symbol = instrument.symbol
    kind = store.file(symbol, interval, adjusted=adjusted).parent.name
    try:
        candles = store.read(symbol, interval, adjusted=adjusted, keep_silent=True)
    except BadCandle as error:
        return StoredRow(
            instrument=instrument,
            kind=kind,
            first=None,
            last=None,
            rows=0,
            problem=str(error),
        )
    ends = candles.end
    return StoredRow(
        instrument=instrument,
        kind=kind,
        first=ends[0] if ends.size else None,
        last=ends[-1] if ends.size else None,
        rows=int(ends.size),
    )


def _place(file: tuple[str, Interval, bool]) -> tuple[str, int, bool]:
    symbol, interval, adjusted = file
    return symbol, interval.minutes or 0, not adjusted


def _existing(data: Path) -> CandleStore:
    if not data.is_dir():
        raise MissingCandles(
            _(
                "{path} does not exist; name the folder of the candles with --data, or "
                "fill one with kisbt data import FILE --symbol CODE --data {path}"
            ).format(path=data)
        )
    return CandleStore(data)


def _folders(data: Path) -> list[tuple[Interval, bool]]:
    found = []
    for folder in sorted(data.iterdir()):
        name = folder.name.removesuffix("-raw")
        if folder.is_dir() and name.endswith(("m", "d")) and name[:-1].isdecimal():
            interval = parse_interval(name)
            found.append((interval, name == folder.name))
    return found


def import_json(report: ImportReport) -> dict[str, Any]:
    """Return an import's report as plain values."""
    return {
        "interval": str(report.request.interval),
        "adjusted": report.request.adjusted and report.request.interval.is_daily,
        "files": [asdict(file) for file in report.files],
        "symbols": [
            {
                "symbol": row.symbol,
                "rows": row.rows,
                "first": _text(row.first),
                "last": _text(row.last),
                "added": row.merge.added,
                "same": row.merge.same,
                "replaced": row.merge.replaced,
                "kept": row.merge.kept,
                "file": row.merge.path,
            }
            for row in report.symbols
        ],
        "skipped_files": list(report.skipped_files),
        "warnings": list(report.warnings),
    }


def quality_json(quality: Quality) -> dict[str, Any]:
    """Return the state of a symbol's candles as plain values."""
    return {
        **_instrument_json(quality.instrument),
        "interval": str(quality.interval),
        "adjusted": quality.adjusted and quality.interval.is_daily,
        "first": _text(quality.first),
        "last": _text(quality.last),
        "rows": quality.rows,
        "traded": quality.traded,
        "off_grid_share": round(quality.off_grid_share, 6),
        "findings": [
            {
                "kind": finding.kind,
                "count": finding.count,
                "first": _text(finding.first),
                "detail": finding.detail,
                "harmless": finding.harmless,
            }
            for finding in quality.findings
        ],
    }


def _instrument_json(instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": instrument.symbol,
        "name": instrument.name,
        "market": instrument.market,
        "product": instrument.product,
    }


def _text(time: np.datetime64 | None) -> str | None:
    return None if time is None else str(time)
