"""The candle store: a folder of CSV files.

    DIR/1d/005930.csv        adjusted daily candles
    DIR/1d-raw/005930.csv    unadjusted daily candles
    DIR/1m/005930.csv        minute candles, unadjusted
    DIR/symbols.csv          symbol,name,market,product,leverage
    DIR/bases.csv            symbol,session,price: base prices, of a run only

Times are END labels, naive KST; a daily candle's END is its session's close.
"""

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kisbt.candles.bases import (
    SessionBases,
    read_bases,
    session_bases,
)
from kisbt.candles.columns import VALUES, CandleColumns, Floats, halted
from kisbt.candles.files import replace_files
from kisbt.candles.resample import resample
from kisbt.candles.symbols import (
    FILE_NAME,
    parse_store_symbol,
    read_symbols,
    write_symbols,
)
from kisbt.candles.table import explain, format_table, read_columns
from kisbt.errors import DataError, InputError, MissingCandles
from kisbt.krx.calendar import KrxCalendar
from kisbt.model.candle import DAILY, MINUTE, Interval
from kisbt.model.instrument import Instrument, Product
from kisbt.text import _

# Symbols named in a warning; the rest are counted.
_NAMED = 8
# More differing candles than this are counted, not listed.
_CONFLICTS_SHOWN = 3


class OnConflict(StrEnum):
    """What a merge does where a stored candle and a new one differ."""

    REFUSE = "refuse"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge did.

    Attributes:
        added: new candles. same: already stored, equal.
        replaced: stored candles that were overwritten.
        kept: stored candles the new ones say nothing about.
        path: the file written, or left as it was.
    """

    added: int
    same: int
    replaced: int
    kept: int
    path: Path


class CandleStore:
    """Candles of many symbols in one folder.

    Attributes:
        path: the folder; it need not exist until something is written.
    """

    def __init__(
        self, path: Path | str, *, calendar: KrxCalendar | None = None
    ) -> None:
        """Use the folder `path`.

        Args:
            path: of the store.
            calendar: knows where sessions end; the KRX one by default.
        """
        self.path = Path(path)
        self._calendar = calendar
        self._instruments: dict[str, Instrument] | None = None
        self._told: dict[str, dict[date, float]] | None = None

    def file(self, symbol: str, interval: Interval, *, adjusted: bool = True) -> Path:
        """Return where the candles are, or would be."""
        return self._folder(interval, adjusted=adjusted) / f"{symbol}.csv"

    def has(self, symbol: str, interval: Interval, *, adjusted: bool = True) -> bool:
        """Return whether `read` would find a file."""
        return self._source(symbol, interval, adjusted=adjusted).is_file()

    def symbols(self, interval: Interval, *, adjusted: bool = True) -> tuple[str, ...]:
        """Return the symbols that have candles of `interval`, sorted."""
        folders = {self._folder(interval, adjusted=adjusted)}
        if not interval.is_daily:
            folders.add(self._folder(MINUTE, adjusted=adjusted))
        return tuple(
            sorted({file.stem for folder in folders for file in folder.glob("*.csv")})
        )

    def read(
        self,
        symbol: str,
        interval: Interval,
        *,
        adjusted: bool = True,
        keep_silent: bool = False,
    ) -> CandleColumns:
        """Return the candles of one symbol.

        A candle exists only if something traded: rows of a halt (open = high =
        low = 0) and rows with volume 0 are left out. An index keeps rows without
        volume, which early years do not have. Minutes other than 1 are made of
        1-minute candles unless they have a folder of their own.

        Args:
            adjusted: which daily candles; minutes are always raw.
            keep_silent: return every row of the file.

        Raises:
            MissingCandles: no such file; names it and the command that makes it.
            BadCandle: a row is broken; names file and line.
        """
        path = self._source(symbol, interval, adjusted=adjusted)
        if not path.is_file():
            raise self._missing(symbol, interval, adjusted=adjusted)
        candles = read_columns(path)
        if interval.is_daily and _not_daily(candles):
            raise explain(path, daily=True)
        if not keep_silent:
            candles = self._traded(symbol, candles)
        own = path.parent == self._folder(interval, adjusted=adjusted)
        return candles if own else self._resampled(candles, interval)

    def write(
        self,
        symbol: str,
        interval: Interval,
        candles: CandleColumns,
        *,
        adjusted: bool = True,
    ) -> Path:
        """Write the candles of one symbol in place of any stored; atomic.

        Raises:
            StorageError: nothing was changed.
        """
        path = self.file(parse_store_symbol(symbol), interval, adjusted=adjusted)
        replace_files({path: format_table(candles)})
        return path

    def merge(
        self,
        candles: Mapping[str, CandleColumns],
        interval: Interval,
        *,
        adjusted: bool = True,
        on_conflict: OnConflict = OnConflict.REFUSE,
    ) -> dict[str, MergeReport]:
        """Add candles to those stored; all symbols or none.

        Args:
            candles: by symbol.
            interval: of all of them.
            adjusted: which daily candles.
            on_conflict: what to do where a stored candle differs.

        Raises:
            DataError: a stored candle differs and may not be replaced, or the
                adjusted prices are on another basis than the stored ones while
                only a part of them is given. Nothing was changed.
            BadCandle: a stored file is broken. Nothing was changed.
            StorageError: no file is half-written.
        """
        contents: dict[Path, bytes] = {}
        reports: dict[str, MergeReport] = {}
        for name, new in candles.items():
            symbol = parse_store_symbol(name)
            path = self.file(symbol, interval, adjusted=adjusted)
            report, result = _merged(
                path, new, on_conflict, rebased=interval.is_daily and adjusted
            )
            reports[symbol] = report
            if report.added or report.replaced:
                contents[path] = format_table(result)
        replace_files(contents)
        return reports

    def instruments(self) -> Mapping[str, Instrument]:
        """Return what ``symbols.csv`` says, by symbol; {} without the file.

        Raises:
            BadCandle: a row of it is broken.
        """
        if self._instruments is None:
            self._instruments = read_symbols(self.path / FILE_NAME)
        return self._instruments

    def describe(
        self, symbols: Iterable[str]
    ) -> tuple[dict[str, Instrument], tuple[str, ...]]:
        """Return the instrument of each symbol, and what had to be assumed.

        A symbol that ``symbols.csv`` does not list is taken as a KOSPI stock (an
        index when it is a word such as KOSPI); one warning names all of them.
        """
        known = self.instruments()
        found: dict[str, Instrument] = {}
        assumed: list[str] = []
        for symbol in symbols:
            if symbol in known:
                found[symbol] = known[symbol]
                continue
            index = symbol[:1].isalpha()
            product = Product.INDEX if index else Product.STOCK
            found[symbol] = Instrument(symbol=symbol, product=product)
            if not index:
                assumed.append(symbol)
        if not assumed:
            return found, ()
        named = ", ".join(assumed[:_NAMED])
        if len(assumed) > _NAMED:
            named += _(" and {count} more").format(count=len(assumed) - _NAMED)
        warning = _(
            "{symbols}: not in {file}, so taken as KOSPI stocks (tax, ticks and limits "
            "depend on it); add lines such as {first},NAME,KOSDAQ,STOCK"
        )
        return found, (
            warning.format(symbols=named, file=self.path / FILE_NAME, first=assumed[0]),
        )

    def bases(self, symbol: str, minutes: CandleColumns) -> SessionBases:
        """Return the base price of every session of minute candles.

        Args:
            symbol: of the candles.
            minutes: all that are stored.

        Raises:
            BadCandle: the daily candles or ``bases.csv`` are broken.
        """
        if self._told is None:
            self._told = read_bases(self.path)
        daily = CandleColumns.empty()
        adjusted = not self.has(symbol, DAILY, adjusted=False)
        if self.has(symbol, DAILY, adjusted=adjusted):
            daily = self.read(symbol, DAILY, adjusted=adjusted)
        listed = self.instruments().get(symbol)
        return session_bases(
            minutes,
            daily,
            self._told.get(symbol),
            adjusted=adjusted,
            leverage=1.0 if listed is None else listed.leverage,
        )

    def add_instruments(self, instruments: Iterable[Instrument]) -> None:
        """Add or change rows of ``symbols.csv``; atomic.

        Raises:
            BadCandle: the file there is broken; it is left alone.
            StorageError: nothing was changed.
        """
        merged = {**self.instruments(), **{item.symbol: item for item in instruments}}
        if merged != self.instruments():
            write_symbols(self.path / FILE_NAME, merged)
        self._instruments = merged

    def find(self, text: str) -> str:
        """Return the symbol of a code or of a name in ``symbols.csv``.

        Raises:
            InputError: neither; the message offers the nearest names.
        """
        known = self.instruments()
        wanted = text.strip()
        if wanted.upper() in known:
            return wanted.upper()
        named = [symbol for symbol, item in known.items() if item.name == wanted]
        if len(named) == 1:
            return named[0]
        if named:
            raise InputError(
                _("{name} is the name of {symbols}: write the code").format(
                    name=wanted, symbols=", ".join(named)
                )
            )
        try:
            return parse_store_symbol(wanted)
        except InputError as error:
            names = [item.name for item in known.values()]
            near = difflib.get_close_matches(wanted, names, n=3)
            hint = _(" Did you mean {names}?").format(names=", ".join(near))
            raise InputError(
                _("{found!r} is neither a code nor a name in {file}.").format(
                    found=wanted, file=self.path / FILE_NAME
                )
                + (hint if near else "")
            ) from error

    def content_hash(
        self, symbols: Iterable[str], interval: Interval, *, adjusted: bool = True
    ) -> str:
        """Return a SHA-256 of the candles themselves, however they are written.

        With minutes, of the base prices as well.

        Raises:
            MissingCandles, BadCandle: as `read`.
        """
        digest = hashlib.sha256(f"{interval}:{adjusted}".encode())
        for symbol in sorted(set(symbols)):
            candles = self.read(symbol, interval, adjusted=adjusted, keep_silent=True)
            digest.update(f"{symbol}:{len(candles)}".encode())
            digest.update(candles.end.astype("<i8").tobytes())
            for name in VALUES:
                digest.update(getattr(candles, name).astype("<f8").tobytes())
            if not interval.is_daily:
                bases = self.bases(symbol, self._traded(symbol, candles))
                digest.update(bases.prices.astype("<f8").tobytes())
        return digest.hexdigest()

    def _folder(self, interval: Interval, *, adjusted: bool) -> Path:
        raw = interval.is_daily and not adjusted
        return self.path / (f"{interval}-raw" if raw else str(interval))

    def _source(self, symbol: str, interval: Interval, *, adjusted: bool) -> Path:
        own = self.file(symbol, interval, adjusted=adjusted)
        if interval.is_daily or interval == MINUTE or own.is_file():
            return own
        return self.file(symbol, MINUTE, adjusted=adjusted)

    def _resampled(self, candles: CandleColumns, interval: Interval) -> CandleColumns:
        assert interval.minutes is not None
        return resample(candles, interval.minutes, calendar=self._calendar)

    def _traded(self, symbol: str, candles: CandleColumns) -> CandleColumns:
        keep = ~halted(candles)
        instrument = self.instruments().get(symbol)
        index = (
            instrument.product is Product.INDEX
            if instrument
            else symbol[:1].isalpha()  # an index word
        )
        return candles.where(keep if index else keep & (candles.volume > 0))

    def _missing(
        self, symbol: str, interval: Interval, *, adjusted: bool
    ) -> MissingCandles:
        source = self._source(symbol, interval, adjusted=adjusted)
        raw = interval.is_daily and not adjusted
        command = (
            f"kisbt data import FILE --symbol {symbol} "
            f"--interval {interval if interval.is_daily else MINUTE}"
            f"{' --raw' if raw else ''} --data {self.path}"
        )
        message = _(
            "no {interval} candles of {symbol}: there is no {file}. "
            "Bring them in with: {command}"
        ).format(interval=interval, symbol=symbol, file=source, command=command)
        if interval.is_daily and self.has(symbol, interval, adjusted=not adjusted):
            other = _("Adjusted") if raw else _("Raw")
            message += _(" {kind} ones are there (data.adjusted).").format(kind=other)
        return MissingCandles(message)


def _not_daily(candles: CandleColumns) -> bool:
    """Whether a label is at midnight (a START label), or a date comes twice."""
    sessions = candles.sessions
    return bool(
        (candles.end == sessions).any() or (sessions[1:] == sessions[:-1]).any()
    )


def _merged(
    path: Path, new: CandleColumns, on_conflict: OnConflict, *, rebased: bool
) -> tuple[MergeReport, CandleColumns]:
    """Return the candles of `path` with `new` among them, and what that changes."""
    if not path.is_file():
        return MergeReport(added=len(new), same=0, replaced=0, kept=0, path=path), new
    stored = read_columns(path)
    here, there = np.intersect1d(
        stored.end, new.end, assume_unique=True, return_indices=True
    )[1:]
    differ = np.zeros(here.size, dtype=bool)
    for name in VALUES:
        differ |= getattr(stored, name)[here] != getattr(new, name)[there]
    kept = np.ones(len(stored), dtype=bool)
    kept[here] = False
    if differ.any():
        if on_conflict is OnConflict.REFUSE:
            raise _conflict(path, stored, new, here[differ], there[differ])
        if rebased and kept.any():
            _require_same_basis(path, stored.close[here], new.close[there])
    report = MergeReport(
        added=len(new) - int(here.size),
        same=int(here.size - differ.sum()),
        replaced=int(differ.sum()),
        kept=int(kept.sum()),
        path=path,
    )
    return report, _joined(stored.where(kept), new)


def _joined(left: CandleColumns, right: CandleColumns) -> CandleColumns:
    end = np.concatenate([left.end, right.end])
    order = np.argsort(end, kind="stable")
    return CandleColumns(
        end[order],
        *(
            np.concatenate([getattr(left, name), getattr(right, name)])[order]
            for name in VALUES
        ),
    )


def _conflict(
    path: Path,
    stored: CandleColumns,
    candles: CandleColumns,
    here: npt.NDArray[np.intp],
    there: npt.NDArray[np.intp],
) -> DataError:
    shown = [
        _(
            "{time}: close {old:,.10g}, volume {old_volume:,.10g} → {new:,.10g}, {new_volume:,.10g}"
        ).format(
            time=stored.end[i],
            old=stored.close[i],
            old_volume=stored.volume[i],
            new=candles.close[j],
            new_volume=candles.volume[j],
        )
        for i, j in zip(here[:_CONFLICTS_SHOWN], there, strict=False)
    ]
    return DataError(
        _(
            "{path} has {count} of these candles with other values; nothing was "
            "written. Give --replace to take the new ones. First: {list}"
        ).format(path=path, count=here.size, list="; ".join(shown))
    )


def _require_same_basis(path: Path, stored: Floats, new: Floats) -> None:
    ratio = float(np.median(new / stored))
    if abs(ratio - 1) > 0.005:
        raise DataError(
            _(
                "{path}: the new prices are {ratio:.4g} times the stored ones (a "
                "split or rights issue since). Import the whole history, or remove "
                "the file first; nothing was written."
            ).format(path=path, ratio=ratio)
        )
