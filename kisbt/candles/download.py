"""History from a broker into the store: pages, resumes, notices a changed past.

Nothing here knows which broker it is: it asks a `CandleSource` for one page after
the other, newest first, and that source keeps to its own limits.

What has been asked for is kept beside the candles (``DIR/.fetched/1d/005930.json``),
page by page, so that a download that was killed goes on where it stopped, and a hole
in the middle of the candles is filled by the next one.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np

from kisbt.candles.columns import VALUES, CandleColumns, halted
from kisbt.candles.files import replace_file
from kisbt.candles.labels import Label, end_labels, session_bounds
from kisbt.candles.store import CandleStore, OnConflict
from kisbt.candles.table import read_columns
from kisbt.clock import Clock, SystemClock
from kisbt.errors import DataError
from kisbt.krx.calendar import KrxCalendar, default_calendar
from kisbt.model.candle import DAILY, MINUTE, Interval
from kisbt.model.ports import CandleSource
from kisbt.model.quote import ChartRow
from kisbt.text import _

_OVERLAP = 5  # stored sessions asked for again, to see whether their prices changed
_PAGE_DAYS = 100  # sessions a page holds at most, as a guess for progress only
_MAX_PAGES = 400  # of one range; forty years of daily candles are 100
_BATCH = 10  # sessions of minutes kept back before the file is written again
_SETTLED = timedelta(minutes=40)
"""After the close, when the candle of a session no longer changes: the closing price
trades end at 16:00 (KRX)."""

_Range = tuple[date, date]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchReport:
    """What a download did to one symbol.

    Attributes:
        pages: asked for.
        added, replaced: candles.
        rebased: the adjusted past had changed and was fetched anew, all of it.
        empty_sessions: sessions for which the source had no candle, between its
            first and its last: halts, or a hole in the source.
        first, last: of the stored candles; None without any.
    """

    symbol: str
    pages: int = 0
    added: int = 0
    replaced: int = 0
    rebased: bool = False
    empty_sessions: int = 0
    first: date | None = None
    last: date | None = None


class Downloader:
    """Fetches what a store lacks."""

    def __init__(
        self,
        source: CandleSource,
        store: CandleStore,
        *,
        calendar: KrxCalendar | None = None,
        clock: Clock | None = None,
        on_page: Callable[[], None] | None = None,
    ) -> None:
        """Fetch from `source` into `store`.

        Args:
            source: one page a call; keeps its own rate.
            store: where to.
            calendar: the KRX one by default.
            clock: tells which session is over.
            on_page: called after each page.
        """
        self._source = source
        self._store = store
        self._calendar = calendar or default_calendar()
        self._clock = clock or SystemClock()
        self._on_page = on_page or _nothing
        self._pages = 0

    def expected_pages(
        self, symbols: Iterable[str], first: date, last: date, *, adjusted: bool = True
    ) -> int:
        """Return about how many pages of daily candles are missing, for progress."""
        last = self.last_settled(last)
        total = 0
        for symbol in symbols:
            gaps = self._gaps(symbol, DAILY, first, last, adjusted=adjusted)
            total += sum(-(-self._calendar.count(*gap) // _PAGE_DAYS) for gap in gaps)
        return total

    def last_settled(self, last: date) -> date:
        """Return the last session up to `last` whose candle is final.

        Today's candle is not taken before the session is over: half a candle would
        look like a whole one ever after.
        """
        now = self._clock.now()
        day = min(last, now.date())
        if not self._calendar.is_session(day):
            return self._calendar.previous_session(day)
        if now < self._calendar.close_time(day) + _SETTLED:
            return self._calendar.previous_session(day)
        return day

    def fetch_days(
        self, symbol: str, first: date, last: date, *, adjusted: bool = True
    ) -> FetchReport:
        """Bring the daily candles of a range into the store.

        A range stored already is not asked for again, but for its last sessions:
        if their adjusted prices changed (a split, a rights issue), everything that
        is stored is fetched anew and replaced at once, so that the file never holds
        prices of two bases.

        Raises:
            DataError: the source breaks off, repeats itself, or returns candles
                that cannot be right. Pages stored so far are kept.
            StorageError: a page could not be written.
        """
        self._pages = 0
        last = self.last_settled(last)
        if first > last:
            return self._report(symbol, DAILY, adjusted=adjusted)
        rebased = adjusted and self._past_changed(symbol)
        if rebased:
            return self._fetch_anew(symbol, first, last)
        added = replaced = empty = 0
        covered = self._covered(symbol, DAILY, adjusted=adjusted)
        for gap in self._gaps(symbol, DAILY, first, last, adjusted=adjusted):
            upper = gap[1]
            for rows in self._day_pages(symbol, *gap, adjusted=adjusted):
                candles = self._daily(rows)
                merge = self._store.merge(
                    {symbol: candles},
                    DAILY,
                    adjusted=adjusted,
                    on_conflict=OnConflict.REPLACE,
                )[symbol]
                added += merge.added
                replaced += merge.replaced
                empty += self._holes(candles)
                covered = _joined([*covered, (rows[-1].day, upper)])
                self._cover(symbol, DAILY, covered, adjusted=adjusted)
                upper = rows[-1].day
            covered = _joined([*covered, gap])
            self._cover(symbol, DAILY, covered, adjusted=adjusted)
        return self._report(
            symbol,
            DAILY,
            adjusted=adjusted,
            added=added,
            replaced=replaced,
            empty=empty,
        )

    def fetch_minutes(self, symbol: str, first: date, last: date) -> FetchReport:
        """Bring the minutes of every settled session of a range into the store.

        Raises:
            DataError, StorageError: as `fetch_days`.
        """
        self._pages = 0
        added = replaced = 0
        waiting: dict[date, CandleColumns] = {}
        try:
            for day in self.missing_sessions(symbol, first, last):
                waiting[day] = self._minutes(self._minute_pages(symbol, day), day)
                if len(waiting) == _BATCH:
                    counts = self._store_minutes(symbol, waiting)
                    added, replaced = added + counts[0], replaced + counts[1]
                    waiting = {}
        finally:  # also of a download that is interrupted
            counts = self._store_minutes(symbol, waiting)
        return self._report(
            symbol,
            MINUTE,
            adjusted=True,
            added=added + counts[0],
            replaced=replaced + counts[1],
        )

    def _store_minutes(
        self, symbol: str, sessions: Mapping[date, CandleColumns]
    ) -> tuple[int, int]:
        """Store whole sessions; return the candles added and replaced."""
        if not sessions:
            return 0, 0
        candles = _concatenated([sessions[day] for day in sorted(sessions)])
        covered = self._covered(symbol, MINUTE, adjusted=True)
        added = replaced = 0
        if len(candles):
            merge = self._store.merge(
                {symbol: candles}, MINUTE, on_conflict=OnConflict.REPLACE
            )[symbol]
            added, replaced = merge.added, merge.replaced
        covered = _joined([*covered, *((day, day) for day in sessions)])
        self._cover(symbol, MINUTE, covered, adjusted=True)
        return added, replaced

    def missing_sessions(
        self, symbol: str, first: date, last: date
    ) -> tuple[date, ...]:
        """Return the settled sessions whose minutes are not stored, newest first."""
        last = self.last_settled(last)
        found: list[date] = []
        for gap in self._gaps(symbol, MINUTE, first, last, adjusted=True):
            found += self._calendar.sessions(*gap).tolist()
        return tuple(sorted(found, reverse=True))

    # Pages.

    def _day_pages(
        self, symbol: str, first: date, last: date, *, adjusted: bool
    ) -> Iterable[tuple[ChartRow, ...]]:
        """Yield the rows of a range, newest first, until the source has no more."""
        for _number in range(_MAX_PAGES):
            rows = self._source.fetch_days(symbol, first, last, adjusted=adjusted)
            self._count_page()
            if not rows:
                return
            rows = tuple(sorted(rows, key=lambda row: row.day, reverse=True))
            if rows[0].day > last or rows[-1].day < first:
                raise DataError(
                    _(
                        "{symbol}: asked for {first} to {last}, the answer has rows "
                        "from {oldest} to {newest}; nothing of it was stored"
                    ).format(
                        symbol=symbol,
                        first=first,
                        last=last,
                        oldest=rows[-1].day,
                        newest=rows[0].day,
                    )
                )
            yield rows
            last = rows[-1].day - timedelta(days=1)
            if last < first or not self._calendar.count(first, last):
                return
        raise DataError(_endless(symbol))

    def _minute_pages(self, symbol: str, day: date) -> list[ChartRow]:
        """Return all rows of a session."""
        opens = self._calendar.open_time(day).time()
        until = self._calendar.close_time(day).time()
        found: dict[time, ChartRow] = {}
        for _number in range(_MAX_PAGES):
            answer = [
                row
                for row in self._source.fetch_minutes(symbol, day, until)
                if row.day == day and row.start is not None
            ]
            rows = [row for row in answer if row.start and row.start <= until]
            if answer and not rows:
                raise DataError(
                    _(
                        "{symbol}: asked for the minutes of {day} up to {until}, the "
                        "answer has later ones only; nothing of it was stored"
                    ).format(symbol=symbol, day=day, until=until)
                )
            self._count_page()
            times = [row.start for row in rows if row.start is not None]
            found.update(zip(times, rows, strict=True))
            oldest = min(times, default=opens)
            if oldest <= opens:
                return list(found.values())
            until = (datetime.combine(day, oldest) - timedelta(minutes=1)).time()
        raise DataError(_endless(symbol))

    def _count_page(self) -> None:
        self._pages += 1
        self._on_page()

    # Rows to candles.

    def _daily(self, rows: Sequence[ChartRow]) -> CandleColumns:
        return daily_candles(rows, self._calendar)

    def _minutes(self, rows: Sequence[ChartRow], day: date) -> CandleColumns:
        return minute_candles(rows, day, self._calendar)

    def _holes(self, candles: CandleColumns) -> int:
        if not len(candles):
            return 0
        days = candles.sessions
        first, last = days[0].item(), days[-1].item()
        return self._calendar.count(first, last) - len(candles)

    # What is there.

    def _past_changed(self, symbol: str) -> bool:
        """Whether the stored adjusted prices are no longer what the source says."""
        path = self._store.file(symbol, DAILY)
        if not path.is_file():
            return False
        stored = read_columns(path)
        tail = stored.slice(max(len(stored) - _OVERLAP, 0), None)
        if not len(tail):
            return False
        days = tail.sessions
        rows = self._source.fetch_days(
            symbol, days[0].item(), days[-1].item(), adjusted=True
        )
        self._count_page()
        if not rows:
            return False
        return _differs(tail, self._daily(rows))

    def _fetch_anew(self, symbol: str, first: date, last: date) -> FetchReport:
        """Fetch the whole history and replace the file in one go."""
        path = self._store.file(symbol, DAILY)
        stored = read_columns(path)
        first = min(first, stored.sessions[0].item())
        rows = [
            row
            for page in self._day_pages(symbol, first, last, adjusted=True)
            for row in page
        ]
        if not rows:
            raise DataError(
                _(
                    "{symbol}: the source has no candles any more; nothing was changed"
                ).format(symbol=symbol)
            )
        candles = self._daily(rows)
        self._store.write(symbol, DAILY, candles)
        self._cover(symbol, DAILY, [(first, last)], adjusted=True)
        return self._report(
            symbol,
            DAILY,
            adjusted=True,
            added=max(len(candles) - len(stored), 0),
            replaced=min(len(candles), len(stored)),
            rebased=True,
            empty=self._holes(candles),
        )

    def _gaps(
        self,
        symbol: str,
        interval: Interval,
        first: date,
        last: date,
        *,
        adjusted: bool,
    ) -> list[_Range]:
        """Return what is missing of a range, newest first; ends are sessions."""
        covered = self._covered(symbol, interval, adjusted=adjusted)
        gaps: list[_Range] = []
        upper = last
        for begin, end in sorted(covered, reverse=True):
            if end < first or begin > upper:
                continue
            if end < upper:
                gaps.append((end + timedelta(days=1), upper))
            upper = begin - timedelta(days=1)
        if upper >= first:
            gaps.append((first, upper))
        return [gap for gap in gaps if self._calendar.count(*gap)]

    def _covered(
        self, symbol: str, interval: Interval, *, adjusted: bool
    ) -> list[_Range]:
        """Return the ranges fetched so far.

        Candles that came another way, by an import, count as whole.
        """
        path = self._store.file(symbol, interval, adjusted=adjusted)
        if not path.is_file():
            return []
        try:
            text = self._note(symbol, interval, adjusted=adjusted).read_text("utf-8")
            return [
                (date.fromisoformat(begin), date.fromisoformat(end))
                for begin, end in json.loads(text)
            ]
        except FileNotFoundError:
            days = read_columns(path).sessions
            if not days.size:
                return []
            covered = [(days[0].item(), days[-1].item())]
            # Written down before anything is added, else what lies between the
            # imported candles and the first page would look fetched.
            self._cover(symbol, interval, covered, adjusted=adjusted)
            return covered
        except (OSError, ValueError, TypeError):
            return []  # everything is fetched again, which does no harm

    def _cover(
        self,
        symbol: str,
        interval: Interval,
        covered: Sequence[_Range],
        *,
        adjusted: bool,
    ) -> None:
        path = self._note(symbol, interval, adjusted=adjusted)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [[begin.isoformat(), end.isoformat()] for begin, end in covered]
        replace_file(path, json.dumps(rows).encode())

    def _note(self, symbol: str, interval: Interval, *, adjusted: bool) -> Path:
        folder = self._store.file(symbol, interval, adjusted=adjusted).parent.name
        return self._store.path / ".fetched" / folder / f"{symbol}.json"

    def _report(
        self,
        symbol: str,
        interval: Interval,
        *,
        adjusted: bool,
        added: int = 0,
        replaced: int = 0,
        rebased: bool = False,
        empty: int = 0,
    ) -> FetchReport:
        first = last = None
        path = self._store.file(symbol, interval, adjusted=adjusted)
        if path.is_file():
            days = read_columns(path).sessions
            if days.size:
                first, last = days[0].item(), days[-1].item()
        return FetchReport(
            symbol=symbol,
            pages=self._pages,
            added=added,
            replaced=replaced,
            rebased=rebased,
            empty_sessions=empty,
            first=first,
            last=last,
        )


def daily_candles(rows: Sequence[ChartRow], calendar: KrxCalendar) -> CandleColumns:
    """Return rows of a daily chart as candles."""
    days = np.array([row.day for row in rows], "datetime64[D]")
    return _columns(rows, calendar.close_times(days))


def minute_candles(
    rows: Sequence[ChartRow], day: date, calendar: KrxCalendar
) -> CandleColumns:
    """Return rows of a minute chart as END-labelled candles of 1 minute.

    The closing auction, which has a row of its own, is part of the last minute.

    Args:
        rows: of one session, in any order.
        day: that session.
        calendar: of the exchange.
    """
    starts = np.array(
        [datetime.combine(day, row.start or time()) for row in rows],
        "datetime64[s]",
    )
    sessions = starts.astype("datetime64[D]")
    opens, closes = session_bounds(sessions, calendar)
    # Rows before the open and after the close are trades outside the session.
    inside = (starts >= opens) & (starts <= closes)
    kept = [row for row, keep in zip(rows, inside.tolist(), strict=True) if keep]
    ends = end_labels(starts[inside], closes[inside], Label.START, 1)
    order = np.argsort(starts[inside], kind="stable")
    return _join_at_close([kept[i] for i in order.tolist()], ends[order])


def _columns(rows: Sequence[ChartRow], ends: np.ndarray) -> CandleColumns:
    order = np.argsort(ends, kind="stable")
    return CandleColumns(
        ends[order],
        *(
            np.array([getattr(row, name) for row in rows], float)[order]
            for name in VALUES
        ),
    )


def _concatenated(parts: Sequence[CandleColumns]) -> CandleColumns:
    return CandleColumns(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("end", *VALUES)
        )
    )


def _join_at_close(rows: Sequence[ChartRow], ends: np.ndarray) -> CandleColumns:
    """Return candles; the last minute and the closing auction become one.

    Both end at the close. Only their prices count that traded.
    """
    if not rows:
        return CandleColumns.empty()
    twins = np.flatnonzero(ends[1:] == ends[:-1])
    if not twins.size:
        return _columns(rows, ends)
    at = int(twins[0])
    before, auction = rows[at], rows[at + 1]
    traded = [row for row in (before, auction) if row.volume > 0] or [before]
    joined = ChartRow(
        day=before.day,
        start=before.start,
        open=traded[0].open,
        high=max(row.high for row in traded),
        low=min(row.low for row in traded),
        close=traded[-1].close,
        volume=before.volume + auction.volume,
        amount=auction.amount,
    )
    rest = [*rows[:at], joined, *rows[at + 2 :]]
    return _columns(rest, np.delete(ends, at))


def _differs(stored: CandleColumns, fetched: CandleColumns) -> bool:
    """Whether any candle both have is another; rows of a halt say nothing."""
    here, there = np.intersect1d(
        stored.sessions, fetched.sessions, assume_unique=True, return_indices=True
    )[1:]
    known = ~(halted(stored)[here] | halted(fetched)[there])
    return any(
        bool(
            (getattr(stored, name)[here] != getattr(fetched, name)[there])[known].any()
        )
        for name in ("open", "high", "low", "close")
    )


def _joined(ranges: Iterable[_Range]) -> list[_Range]:
    """Return the ranges with those that touch or overlap made one."""
    found: list[_Range] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1] + timedelta(days=1):
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _endless(symbol: str) -> str:
    return _(
        "{symbol}: more than {count} pages without an end; what is stored was kept"
    ).format(symbol=symbol, count=_MAX_PAGES)


def _nothing() -> None:
    """Do nothing after a page."""
