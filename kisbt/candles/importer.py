"""Any file of candles into the store.

Everything is parsed and checked before anything is written.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kisbt.candles.columns import CandleColumns
from kisbt.candles.quality import Oddity, check_columns
from kisbt.candles.reader import FileReport, ImportRequest, read_file
from kisbt.candles.store import CandleStore, MergeReport, OnConflict
from kisbt.candles.symbols import parse_store_symbol
from kisbt.errors import InputError
from kisbt.krx.calendar import KrxCalendar, default_calendar
from kisbt.model.instrument import Instrument
from kisbt.text import _

# Findings of `kisbt data check` worth telling at once, for so many symbols.
_TOLD = frozenset({Oddity.LOOKS_ADJUSTED, Oddity.UNADJUSTED_SPLIT, Oddity.BEYOND_LIMIT})
_TELL_AT_MOST = 5

# Share of the work that is reading; the rest is writing and checking.
_READING = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolReport:
    """What an import did to one symbol; counts as in `MergeReport`."""

    symbol: str
    rows: int
    first: np.datetime64
    last: np.datetime64
    merge: MergeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import found and did.

    Attributes:
        skipped_files: files of a folder whose name is no code.
        warnings: what the user should know, one line each.
    """

    request: ImportRequest
    files: tuple[FileReport, ...]
    symbols: tuple[SymbolReport, ...]
    skipped_files: tuple[Path, ...]
    warnings: tuple[str, ...]


def import_candles(
    path: Path,
    store: CandleStore,
    request: ImportRequest,
    *,
    calendar: KrxCalendar | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> ImportReport:
    """Import a file, or a folder of files named by their symbol.

    Args:
        path: CSV in any of the usual forms, or Parquet.
        store: where to.
        request: how to understand the file.
        calendar: the KRX one by default.
        on_progress: called with the share done, 0 … 1.

    Raises:
        InputError: the file cannot be used, or more must be said about it.
        BadCandle: a row is wrong; names file and line. Nothing was written.
        DataError: stored candles differ. Nothing was written.
        StorageError: no file is half-written.
    """
    _check(request)
    calendar = calendar or default_calendar()
    files, skipped = _files(path, request)
    candles: dict[str, CandleColumns] = {}
    instruments: dict[str, Instrument] = {}
    reports = []
    for number, (file, symbol) in enumerate(files):
        read = read_file(
            file,
            replace(request, symbol=symbol),
            known=store.instruments(),
            calendar=calendar,
        )
        for found, columns in read.candles.items():
            if found in candles:
                raise InputError(
                    _("{symbol} is in more than one file of {folder}").format(
                        symbol=found, folder=path
                    )
                )
            candles[found] = columns
        instruments.update(read.instruments)
        reports.append(read.report)
        if on_progress:
            on_progress(_READING * (number + 1) / len(files))
    merges = store.merge(
        candles,
        request.interval,
        adjusted=request.adjusted,
        on_conflict=OnConflict.REPLACE if request.replace else OnConflict.REFUSE,
    )
    store.add_instruments(instruments.values())
    return ImportReport(
        request=request,
        files=tuple(reports),
        symbols=tuple(
            SymbolReport(
                symbol=symbol,
                rows=len(columns),
                first=columns.end[0],
                last=columns.end[-1],
                merge=merges[symbol],
            )
            for symbol, columns in candles.items()
        ),
        skipped_files=skipped,
        warnings=tuple(_warnings(candles, store, request, calendar, on_progress)),
    )


def _check(request: ImportRequest) -> None:
    if request.label is not None and request.interval.is_daily:
        raise InputError(_("--label is for minute candles; daily ones have dates"))
    if not request.adjusted and not request.interval.is_daily:
        raise InputError(_("--raw is for daily candles; minutes are always raw"))


def _files(
    path: Path, request: ImportRequest
) -> tuple[list[tuple[Path, str]], tuple[Path, ...]]:
    """Return the files to read with the symbol of each, and those left out."""
    if not path.is_dir():
        return [
            (path, parse_store_symbol(request.symbol) if request.symbol else "")
        ], ()
    if request.symbol or request.name:
        raise InputError(
            _(
                "{path} is a folder: its files are named by their symbol; leave out "
                "--symbol and --name"
            ).format(path=path)
        )
    found, skipped = [], []
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in {".csv", ".txt", ".tsv", ".parquet"}:
            continue
        try:
            found.append((file, parse_store_symbol(file.stem)))
        except InputError:
            skipped.append(file)
    if not found:
        raise InputError(
            _(
                "{path} has no file named by a symbol, such as 005930.csv; name a file "
                "and give --symbol"
            ).format(path=path)
        )
    return found, tuple(skipped)


def _warnings(
    candles: Mapping[str, CandleColumns],
    store: CandleStore,
    request: ImportRequest,
    calendar: KrxCalendar,
    on_progress: Callable[[float], None] | None,
) -> Iterator[str]:
    instruments, warnings = store.describe(candles)
    yield from warnings
    told = 0
    for number, (symbol, columns) in enumerate(candles.items()):
        if on_progress:
            on_progress(_READING + (1 - _READING) * number / len(candles))
        quality = check_columns(
            columns,
            instruments[symbol],
            request.interval,
            adjusted=request.adjusted,
            calendar=calendar,
        )
        for finding in quality.findings:
            if finding.kind in _TOLD and not finding.harmless:
                told += 1
                if told <= _TELL_AT_MOST:
                    yield f"{symbol}: {finding.detail} ({finding.count})"
    if told > _TELL_AT_MOST:
        yield _("{count} more such findings: see kisbt data check").format(
            count=told - _TELL_AT_MOST
        )
