"""One file of candles: its rows, step by step, until they are candles.

Nothing is written here; what had to be found out or repaired is in the report.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from kisbt.candles.cells import parse_numbers, parse_times
from kisbt.candles.columns import PRICES, VALUES, CandleColumns, Flags, Floats, Times
from kisbt.candles.labels import (
    Label,
    decide_label,
    end_labels,
    outside,
    session_bounds,
)
from kisbt.candles.source import read_source
from kisbt.candles.symbols import parse_store_symbol
from kisbt.errors import BadCandle, InputError
from kisbt.krx.calendar import FIRST_DAY, LAST_DAY, KrxCalendar
from kisbt.model.candle import DAILY, Interval
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.text import _

# By how much the rounding of an adjustment may make open or close leave the range
# from low to high. Adjusted prices are raw ones times a factor, each rounded to a
# whole won on its own, once for each capital change since. Measured on 767,736
# adjusted candles of 2010-2026: 7,022 such rows, mostly 1 won, at most 5 won or
# 0.17 % of the close.
_ROUNDING_WON = 5.0
_ROUNDING_SHARE = 0.002

# Lines quoted in an error about several rows.
_SHOWN = 3

_MARKETS = {
    "코스피": Market.KOSPI,
    "유가증권": Market.KOSPI,
    "유가증권시장": Market.KOSPI,
    "코스닥": Market.KOSDAQ,
    "KOSDAQGLOBAL": Market.KOSDAQ,
    "코넥스": Market.KONEX,
    **{str(market): market for market in Market},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What to import, and how to understand it.

    Attributes:
        interval: of the candles in the file.
        symbol: whose candles they are; "" when a column or the file name says it.
        adjusted: False for raw daily candles; minutes are always raw.
        label: what the time of a minute candle names; None to find out.
        replace: take the new candles where stored ones differ.
        allow_inconsistent: widen high and low to contain open and close however
            far they lie outside.
        skip_outside: leave out rows outside the regular sessions.
        name, market, product: for ``symbols.csv``; None leaves it alone.
    """

    interval: Interval = DAILY
    symbol: str = ""
    adjusted: bool = True
    label: Label | None = None
    replace: bool = False
    allow_inconsistent: bool = False
    skip_outside: bool = False
    name: str | None = None
    market: Market | None = None
    product: Product | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What was found in a file.

    Attributes:
        rows: below the header, empty lines not counted.
        encoding, delimiter: "" in Parquet.
        columns: field → header it was read from.
        ignored: headers nothing was read from.
        order: ``oldest first``, ``newest first`` or ``mixed``.
        label: of minute candles; None for daily ones.
        label_given: whether the request said it.
        halts: rows with open = high = low = 0. silent: other rows with volume 0.
        widened: candles whose high or low was widened. widest: won, the most.
        joined: rows that became one with another, at the close.
        skipped: rows outside the regular sessions, left out on request.
    """

    path: Path
    rows: int
    encoding: str
    delimiter: str
    columns: Mapping[str, str]
    ignored: tuple[str, ...]
    order: str
    label: Label | None
    label_given: bool
    halts: int
    silent: int
    widened: int
    widest: float
    joined: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCandles:
    """The content of a file.

    Attributes:
        candles: by symbol, never empty.
        instruments: what the request and the file say the symbols are, where that
            is new.
    """

    candles: Mapping[str, CandleColumns]
    instruments: Mapping[str, Instrument]
    report: FileReport


def read_file(
    path: Path,
    request: ImportRequest,
    *,
    known: Mapping[str, Instrument],
    calendar: KrxCalendar,
) -> FileCandles:
    """Read a file of candles.

    Args:
        path: CSV in any of the usual forms, or Parquet.
        request: how to understand it.
        known: instruments of the store: an index obeys other rules.
        calendar: of the exchange.

    Raises:
        InputError: the file cannot be used, or more must be said about it.
        BadCandle: a row is wrong; names file and line.
        StorageError: it cannot be opened.
    """
    reader = _FileReader(path, request, known, calendar)
    candles = dict(reader.candles())
    return FileCandles(
        candles=candles, instruments=reader.instruments(), report=reader.report()
    )


class _FileReader:
    """One file: its rows, step by step, until they are candles."""

    def __init__(
        self,
        path: Path,
        request: ImportRequest,
        known: Mapping[str, Instrument],
        calendar: KrxCalendar,
    ) -> None:
        self._request = request
        self._known = known
        self._calendar = calendar
        self._widened = 0
        self._widest = 0.0
        self._joined = 0
        self._label = request.label
        # An index may come without volume; one of several in a file may not.
        self._rows = read_source(
            path, volume_required=not self._is_index(request.symbol)
        )
        self._count = len(self._rows)
        if not self._count:
            raise BadCandle(
                _("{path}: no candles below the header").format(path=path),
                file=str(path),
            )
        self._pick_symbol()
        self._given, timed = parse_times(self._rows)
        self._labels = self._given
        self._check_timed(timed)
        self._skipped = self._leave_out(
            ~self._is_session(), _("{day} is no session of the exchange")
        )
        if not request.interval.is_daily:
            self._to_end_labels()
        else:
            self._labels = self._calendar.close_times(self._days())
        self._values = self._numbers()
        self._order = self._sort()
        self._check_values()
        self._halts, self._silent = self._count_silent()

    def candles(self) -> Iterator[tuple[str, CandleColumns]]:
        """Yield the candles of each symbol."""
        starts = np.flatnonzero(np.r_[True, self._codes[1:] != self._codes[:-1]])
        stops = np.r_[starts[1:], self._codes.size]
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            part = slice(start, stop)
            symbol = self._symbols[int(self._codes[start])]
            yield (
                symbol,
                self._join(
                    self._labels[part],
                    {name: column[part] for name, column in self._values.items()},
                ),
            )

    def instruments(self) -> dict[str, Instrument]:
        """Return what the request and the file say the symbols are."""
        request = self._request
        known = self._known
        found: dict[str, Instrument] = {}
        for code, symbol in enumerate(self._symbols):
            name = self._said("name", code)
            market = _MARKETS.get(self._said("market", code).replace(" ", "").upper())
            old = known.get(symbol)
            if old is None and (market or request.market or request.product):
                old = Instrument(
                    symbol=symbol, name=name, market=market or Market.KOSPI
                )
            if old is None and not request.name:
                continue
            new = replace(
                old or Instrument(symbol=symbol),
                name=request.name or (old.name if old and old.name else name),
                market=request.market or (old.market if old else Market.KOSPI),
                product=request.product or (old.product if old else Product.STOCK),
            )
            if new != known.get(symbol):
                found[symbol] = new
        return found

    def report(self) -> FileReport:
        """Return what was found; call it after `candles` is exhausted."""
        return FileReport(
            path=self._rows.path,
            rows=self._count,
            encoding=self._rows.encoding,
            delimiter=self._rows.delimiter,
            columns=self._rows.used,
            ignored=self._rows.ignored,
            order=self._order,
            label=None if self._request.interval.is_daily else self._label,
            label_given=self._request.label is not None,
            halts=self._halts,
            silent=self._silent,
            widened=self._widened,
            widest=self._widest,
            joined=self._joined,
            skipped=self._skipped,
        )

    def _is_index(self, symbol: str) -> bool:
        if self._request.product is not None:
            return self._request.product is Product.INDEX
        listed = self._known.get(symbol)
        return listed.product is Product.INDEX if listed else symbol[:1].isalpha()

    def _said(self, field: str, code: int) -> str:
        """Return what the file's column `field` says of a symbol, "" if nothing."""
        if field not in self._rows.frame:
            return ""
        at = int(np.argmax(self._codes_unsorted == code))
        return str(self._rows.frame[field].iloc[at]).strip()

    def _pick_symbol(self) -> None:
        """Find whose candle each row is; keep the one asked for."""
        rows, wanted = self._rows, self._request.symbol
        if "symbol" not in rows.frame:
            if not wanted:
                raise InputError(
                    _(
                        "{path} does not say whose candles they are; give --symbol CODE"
                    ).format(path=rows.path)
                )
            self._symbols: tuple[str, ...] = (wanted,)
            self._codes = np.zeros(len(rows), np.int64)
            return
        codes, distinct = pd.factorize(rows.frame["symbol"].astype(str))
        symbols = []
        for code, text in enumerate(distinct.tolist()):
            try:
                symbols.append(parse_store_symbol(text))
            except InputError as error:
                position = int(np.argmax(codes == code))
                raise rows.bad(position, str(error)) from error
        if wanted:
            if wanted not in symbols:
                raise InputError(
                    _("{path} has no candles of {symbol}; it has {found}").format(
                        path=rows.path, symbol=wanted, found=", ".join(symbols[:10])
                    )
                )
            keep = codes == symbols.index(wanted)
            self._rows = rows.pick(keep)
            symbols, codes = [wanted], np.zeros(int(keep.sum()), np.int64)
        # Two spellings of one symbol (A005930 and 005930) are one.
        self._symbols = tuple(dict.fromkeys(symbols))
        place = np.array([self._symbols.index(symbol) for symbol in symbols])
        self._codes = place[codes]

    def _check_timed(self, timed: bool) -> None:
        interval = self._request.interval
        if not interval.is_daily and not timed:
            raise self._rows.bad(
                0,
                _(
                    "a date without a time of day; these are daily candles: give "
                    "--interval 1d"
                ),
            )
        if (
            not interval.is_daily
            and (odd := self._labels != self._labels.astype("datetime64[m]")).any()
        ):
            raise self._rows.bad(
                int(np.argmax(odd)),
                _("{time} is no whole minute").format(
                    time=self._labels[int(np.argmax(odd))]
                ),
            )

    def _days(self) -> Times:
        return self._labels.astype("datetime64[D]")

    def _is_session(self) -> Flags:
        days = self._days()
        first, last = _inside(days.min()), _inside(days.max())
        return np.isin(days, self._calendar.sessions(first, last))

    def _leave_out(self, wrong: Flags, problem: str) -> int:
        """Drop the rows of `wrong` if that was asked for, else refuse them."""
        count = int(wrong.sum())
        if not count:
            return 0
        at = int(np.argmax(wrong))
        if not self._request.skip_outside:
            more = (
                _(" ({count} such rows; --skip-outside leaves them out)")
                if count > 1
                else _(" (--skip-outside leaves it out)")
            )
            raise self._rows.bad(
                at,
                problem.format(day=self._days()[at], time=self._labels[at])
                + more.format(count=count),
            )
        if count == wrong.size:
            raise BadCandle(
                _("{path}: no row lies inside a regular session").format(
                    path=self._rows.path
                ),
                file=str(self._rows.path),
            )
        self._rows = self._rows.pick(~wrong)
        self._codes, self._given = self._codes[~wrong], self._given[~wrong]
        self._labels = self._labels[~wrong]
        return count

    def _to_end_labels(self) -> None:
        minutes = self._request.interval.minutes
        assert minutes is not None
        opens, closes = session_bounds(self._days(), self._calendar)
        if self._label is None:
            try:
                self._label = decide_label(self._labels, opens, closes, minutes)
            except InputError as error:
                raise InputError(f"{self._rows.path}: {error}") from error
        wrong = outside(self._labels, opens, closes, self._label, minutes)
        self._skipped += self._leave_out(
            wrong, _("{time} is outside the regular session")
        )
        self._labels = end_labels(self._labels, closes[~wrong], self._label, minutes)

    def _numbers(self) -> dict[str, Floats]:
        return {
            name: parse_numbers(self._rows, name)
            if name in self._rows.frame
            else np.zeros(len(self._rows))
            for name in VALUES
        }

    def _sort(self) -> str:
        """Put the rows in order, by symbol and time; say how they were."""
        self._codes_unsorted = self._codes
        # Minutes by the label given: two of them may end at the close.
        key = self._labels if self._request.interval.is_daily else self._given
        steps = np.diff(key).astype(np.int64)[np.diff(self._codes) == 0]
        if (steps >= 0).all():
            order = "oldest first"
        else:
            order = "newest first" if (steps <= 0).all() else "mixed"
        place = np.lexsort((key, self._codes))
        self._place = place
        self._codes, self._labels = self._codes[place], self._labels[place]
        self._values = {name: column[place] for name, column in self._values.items()}
        self._refuse_duplicates(key[place])
        return order

    def _refuse_duplicates(self, key: Times) -> None:
        same = (np.diff(self._codes) == 0) & (np.diff(key) == np.timedelta64(0, "s"))
        if not same.any():
            return
        at = int(np.argmax(same))
        first, second = sorted(self._place[at : at + 2].tolist())
        raise self._rows.bad(
            second,
            _("{time} is there already, in {place}").format(
                time=self._days()[at]
                if self._request.interval.is_daily
                else self._given[second],
                place=self._rows.place(first),
            )
            + (
                _("; are these minutes? give --interval 1m")
                if self._given[first] != self._given[second]
                else ""
            ),
        )

    def _check_values(self) -> None:
        values = self._values
        halt = _halt(values)
        for name in PRICES:
            wrong = (values[name] <= 0) & ~halt
            self._refuse(
                wrong, name, _("{column} is {value:,.10g}; prices are above zero")
            )
        self._refuse(
            (values["close"] <= 0) & halt,
            "close",
            _(
                "{column} is {value:,.10g}; a halted session has the close of the last one"
            ),
        )
        self._refuse(
            values["volume"] < 0,
            "volume",
            _("{column} is {value:,.10g}; expected 0 or more"),
        )
        if not (self._request.adjusted and self._request.interval.is_daily):
            index = np.array([self._is_index(symbol) for symbol in self._symbols])
            stock = ~index[self._codes]
            for name in PRICES:
                self._refuse(
                    stock & (values[name] != np.floor(values[name])),
                    name,
                    _("{column} is {value:,.10g}; raw prices are whole won"),
                )
        self._widen(halt)

    def _refuse(self, wrong: Flags, name: str, problem: str) -> None:
        if wrong.any():
            at = int(np.argmax(wrong))
            raise self._rows.bad(
                int(self._place[at]),
                problem.format(
                    column=self._rows.used[name], value=float(self._values[name][at])
                ),
            )

    def _widen(self, halt: Flags) -> None:
        """Let high and low contain open and close, within the rounding allowed."""
        values = self._values
        top = np.maximum.reduce([values[name] for name in PRICES])
        floor = np.minimum.reduce([values[name] for name in PRICES])
        off = np.maximum(top - values["high"], values["low"] - floor)
        off[halt] = 0.0
        beyond = off > self._tolerance()
        if beyond.any() and not self._request.allow_inconsistent:
            raise self._inconsistent(beyond)
        repaired = off > 0
        self._widened = int(repaired.sum())
        self._widest = float(off.max(initial=0.0))
        values["high"] = np.where(repaired, top, values["high"])
        values["low"] = np.where(repaired, floor, values["low"])

    def _tolerance(self) -> Floats:
        close = self._values["close"]
        if not (self._request.adjusted and self._request.interval.is_daily):
            return np.zeros(close.size)
        index = np.array([self._is_index(symbol) for symbol in self._symbols])
        won = np.where(index[self._codes], 0.0, _ROUNDING_WON)
        return np.maximum(won, _ROUNDING_SHARE * close)

    def _inconsistent(self, beyond: Flags) -> BadCandle:
        shown = [
            _(
                "{place}: open {open:,.10g}, high {high:,.10g}, low {low:,.10g}, "
                "close {close:,.10g}"
            ).format(
                place=self._rows.place(int(self._place[at])),
                **{name: float(self._values[name][at]) for name in PRICES},
            )
            for at in np.flatnonzero(beyond)[:_SHOWN].tolist()
        ]
        return self._rows.bad(
            int(self._place[int(np.argmax(beyond))]),
            _(
                "open or close lies outside low to high in {count} rows ({rows}); "
                "--allow-inconsistent widens high and low to contain them"
            ).format(count=int(beyond.sum()), rows="; ".join(shown)),
        )

    def _count_silent(self) -> tuple[int, int]:
        halt = _halt(self._values)
        silent = (self._values["volume"] == 0) & ~halt
        index = np.array([self._is_index(symbol) for symbol in self._symbols])
        return int(halt.sum()), int((silent & ~index[self._codes]).sum())

    def _join(self, end: Times, values: Mapping[str, Floats]) -> CandleColumns:
        """Return candles; rows of one END become one (only at the close)."""
        starts = np.flatnonzero(np.r_[True, end[1:] != end[:-1]])
        if starts.size == end.size:
            return CandleColumns(end, *(values[name] for name in VALUES))
        self._joined += int(end.size - starts.size)
        # A flat filler row without trades says nothing about prices.
        groups = np.searchsorted(starts, np.arange(end.size), side="right") - 1
        volumes = np.add.reduceat(values["volume"], starts)
        keep = (values["volume"] > 0) | (volumes[groups] == 0)
        end = end[keep]
        picked = {name: values[name][keep] for name in VALUES}
        starts = np.flatnonzero(np.r_[True, end[1:] != end[:-1]])
        stops = np.r_[starts[1:], end.size] - 1
        return CandleColumns(
            end[starts],
            picked["open"][starts],
            np.maximum.reduceat(picked["high"], starts),
            np.minimum.reduceat(picked["low"], starts),
            picked["close"][stops],
            volumes,
        )


def _inside(day: np.datetime64) -> date:
    found: date = day.astype("datetime64[D]").item()
    return min(max(found, FIRST_DAY), LAST_DAY)


def _halt(values: Mapping[str, Floats]) -> Flags:
    zero: Flags = (values["open"] == 0) & (values["high"] == 0) & (values["low"] == 0)
    return zero
