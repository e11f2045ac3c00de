from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest

from kisbt.candles.columns import CandleColumns
from kisbt.candles.download import Downloader
from kisbt.candles.store import CandleStore
from kisbt.clock import KST, ManualClock
from kisbt.errors import DataError
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.quote import ChartRow

CALENDAR = default_calendar()
NOW = datetime(2025, 11, 21, 20, 0, tzinfo=KST)
FIRST, LAST = date(2023, 1, 2), date(2025, 11, 21)
SYMBOL = "005930"


class Killed(Exception):
    """The process ends here."""


class Source:
    """A broker with candles of its own, one page a call."""

    def __init__(self, *, page: int = 100, listed: date = FIRST) -> None:
        self.days = list(CALENDAR.sessions(listed, LAST).tolist())
        self.factor = 1.0
        self.page = page
        self.calls: list[tuple[object, ...]] = []
        self.dies_after = 10**9
        self.minute_page = 30

    def fetch_days(
        self, symbol: str, first: date, last: date, *, adjusted: bool
    ) -> tuple[ChartRow, ...]:
        self._count("days", first, last)
        factor = self.factor if adjusted else 1.0
        rows = [self._row(day, factor) for day in self.days if first <= day <= last]
        return tuple(rows[::-1][: self.page])

    def _row(self, day: date, factor: float) -> ChartRow:
        price = 50_000 + 10 * (day.toordinal() % 997)
        open_, high, low, close = price, price + 300, price - 200, price + 100
        return ChartRow(
            day=day,
            open=open_ * factor,
            high=high * factor,
            low=low * factor,
            close=close * factor,
            volume=1000 + day.day,
            amount=0,
        )

    def fetch_minutes(
        self, symbol: str, day: date, until: time
    ) -> tuple[ChartRow, ...]:
        self._count("minutes", day, until)
        rows = [row for row in self.minutes(day) if row.start <= until]
        return tuple(rows[::-1][: self.minute_page])

    def minutes(self, day: date) -> list[ChartRow]:
        opens = CALENDAR.open_time(day)
        starts = [opens + timedelta(minutes=n) for n in range(380)]
        starts.append(CALENDAR.close_time(day))  # the closing auction
        return [
            ChartRow(
                day=day,
                start=at.time(),
                open=1000 + n,
                high=1010 + n,
                low=990 + n,
                close=1005 + n,
                volume=10 + n,
                amount=0,
            )
            for n, at in enumerate(starts)
        ]

    def _count(self, *call: object) -> None:
        self.calls.append(call)
        if len(self.calls) > self.dies_after:
            raise Killed


def downloader(source: Source, folder: Path, **options: object) -> Downloader:
    return Downloader(source, CandleStore(folder), clock=ManualClock(NOW), **options)


def stored(folder: Path, interval=DAILY, *, adjusted: bool = True) -> CandleColumns:
    return CandleStore(folder).read(SYMBOL, interval, adjusted=adjusted)


def expected(source: Source, days: Sequence[date]) -> CandleColumns:
    rows = [source._row(day, source.factor) for day in days]
    return CandleColumns(
        CALENDAR.close_times(np.array(days, "datetime64[D]")),
        *(
            np.array([getattr(row, name) for row in rows], float)
            for name in ("open", "high", "low", "close", "volume")
        ),
    )


def same(left: CandleColumns, right: CandleColumns) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("end", "open", "high", "low", "close", "volume")
    )


def test_years_of_days_are_rebuilt_exactly(tmp_path: Path) -> None:
    source = Source()
    report = downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    assert same(stored(tmp_path), expected(source, source.days))
    assert (report.added, report.empty_sessions) == (len(source.days), 0)
    assert report.pages == len(source.calls) == -(-len(source.days) // 100)


def test_second_run_asks_for_the_overlap_only(tmp_path: Path) -> None:
    source = Source()
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    source.calls.clear()
    report = downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    assert (len(source.calls), report.added) == (1, 0)


@pytest.mark.parametrize("dies_after", range(1, 8))
def test_killed_download_goes_on_where_it_stopped(
    dies_after: int, tmp_path: Path
) -> None:
    source = Source()
    source.dies_after = dies_after
    with pytest.raises(Killed):
        downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    source.dies_after = 10**9
    source.calls.clear()
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    pages = -(-len(source.days) // 100)
    assert same(stored(tmp_path), expected(source, source.days))
    assert len(source.calls) <= pages - dies_after + 2  # the overlap, and a rest


def test_hole_between_an_import_and_new_pages_is_filled(tmp_path: Path) -> None:
    source = Source()
    old = expected(source, source.days[:50])
    CandleStore(tmp_path).write(SYMBOL, DAILY, old)
    source.dies_after = 3
    with pytest.raises(Killed):
        downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    source.dies_after = 10**9
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    assert same(stored(tmp_path), expected(source, source.days))


def test_changed_adjusted_past_is_fetched_anew(tmp_path: Path) -> None:
    source = Source()
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, date(2025, 6, 30))
    source.factor = 0.5  # a split of two for one
    report = downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    assert same(stored(tmp_path), expected(source, source.days))
    assert report.rebased


def test_killed_while_fetching_anew_keeps_the_old_basis(tmp_path: Path) -> None:
    source = Source()
    early = date(2025, 6, 30)
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, early)
    before = stored(tmp_path)
    source.factor = 0.5
    source.dies_after = len(source.calls) + 4
    with pytest.raises(Killed):
        downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    assert same(stored(tmp_path), before)
    source.dies_after = 10**9
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    assert same(stored(tmp_path), expected(source, source.days))


def test_raw_candles_are_kept_apart(tmp_path: Path) -> None:
    source = Source()
    source.factor = 0.5
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST, adjusted=False)
    assert stored(tmp_path, adjusted=False).open[0] % 10 == 0
    assert not CandleStore(tmp_path).has(SYMBOL, DAILY)


def test_symbol_listed_later_has_no_endless_search(tmp_path: Path) -> None:
    source = Source(listed=date(2025, 3, 4))
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    first_calls = len(source.calls)
    downloader(source, tmp_path).fetch_days(SYMBOL, FIRST, LAST)
    assert (first_calls, len(source.calls) - first_calls) == (3, 1)


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (datetime(2025, 11, 21, 16, 9, tzinfo=KST), date(2025, 11, 20)),
        (datetime(2025, 11, 21, 16, 10, tzinfo=KST), date(2025, 11, 21)),
        (datetime(2025, 11, 22, 12, 0, tzinfo=KST), date(2025, 11, 21)),
        (datetime(2025, 11, 13, 16, 20, tzinfo=KST), date(2025, 11, 12)),  # CSAT
    ],
)
def test_session_still_open_is_left_out(
    now: datetime, last: date, tmp_path: Path
) -> None:
    made = Downloader(Source(), CandleStore(tmp_path), clock=ManualClock(now))
    assert made.last_settled(date(2026, 1, 1)) == last


def test_rows_outside_the_range_are_refused(tmp_path: Path) -> None:
    class Wrong(Source):
        def fetch_days(self, symbol, first, last, *, adjusted):
            return super().fetch_days(symbol, FIRST, LAST, adjusted=adjusted)

    with pytest.raises(DataError):
        downloader(Wrong(), tmp_path).fetch_days(SYMBOL, FIRST, date(2024, 1, 2))


def test_source_that_always_returns_its_newest_page_is_refused(tmp_path: Path) -> None:
    class Stuck(Source):
        def fetch_minutes(self, symbol, day, until):
            return super().fetch_minutes(symbol, day, time(15, 30))

    with pytest.raises(DataError):
        downloader(Stuck(), tmp_path).fetch_minutes(SYMBOL, LAST, LAST)
    assert not CandleStore(tmp_path).has(SYMBOL, MINUTE)


def test_minutes_are_rebuilt_exactly(tmp_path: Path) -> None:
    source = Source()
    days = source.days[-5:]
    report = downloader(source, tmp_path).fetch_minutes(SYMBOL, days[0], days[-1])
    candles = stored(tmp_path, MINUTE)
    assert (len(candles), report.added) == (5 * 381, 5 * 381)
    first = candles.slice(0, 381)
    assert str(first.end[0]) == f"{days[0]}T09:01:00"
    assert str(first.end[-1]) == f"{days[0]}T15:30:00"
    assert first.close.tolist() == [1005.0 + n for n in range(381)]


def test_last_minute_and_auction_become_one(tmp_path: Path) -> None:
    class Both(Source):
        def minutes(self, day: date) -> list[ChartRow]:
            rows = super().minutes(day)
            row = rows[0]
            last = ChartRow(
                day=day,
                start=time(15, 29),
                open=5000,
                high=5000,
                low=5000,
                close=5000,
                volume=0,
                amount=0,
            )
            assert row.start == time(9, 0)
            return [*rows[:-1], last, rows[-1]]

    downloader(Both(), tmp_path).fetch_minutes(SYMBOL, LAST, LAST)
    candles = stored(tmp_path, MINUTE)
    assert (len(candles), candles.close[-1], candles.high[-1]) == (381, 1385, 1390)


def test_killed_minutes_go_on_by_session(tmp_path: Path) -> None:
    source = Source()
    days = source.days[-25:]
    source.dies_after = 13 * 12
    with pytest.raises(Killed):
        downloader(source, tmp_path).fetch_minutes(SYMBOL, days[0], days[-1])
    assert len(stored(tmp_path, MINUTE)) == 12 * 381
    source.dies_after = 10**9
    source.calls.clear()
    downloader(source, tmp_path).fetch_minutes(SYMBOL, days[0], days[-1])
    assert len(stored(tmp_path, MINUTE)) == 25 * 381
    assert len(source.calls) == 13 * 13


def test_progress_is_told_page_by_page(tmp_path: Path) -> None:
    pages: list[int] = []
    made = downloader(Source(), tmp_path, on_page=lambda: pages.append(1))
    total = made.expected_pages([SYMBOL], FIRST, LAST)
    made.fetch_days(SYMBOL, FIRST, LAST)
    assert len(pages) == total
