"""History from KIS into the candle store."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from kisbt.app.connect import Access
from kisbt.candles.download import Downloader, FetchReport
from kisbt.candles.store import CandleStore
from kisbt.clock import Clock, SystemClock
from kisbt.errors import AuthError, DataError, InputError, KisRefused, RateLimited
from kisbt.kis.client import KisClient
from kisbt.kis.master import MasterFile, MasterRow, fetch_master
from kisbt.krx.calendar import KrxCalendar, default_calendar
from kisbt.model.account import Environment
from kisbt.model.candle import MINUTE, Interval
from kisbt.model.instrument import Instrument
from kisbt.text import _

FIRST_DAY = date(2014, 1, 1)
"""From when daily candles are fetched unless told: where the calendar begins."""
MINUTE_SESSIONS = 5
"""Sessions of minutes fetched unless told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """What to fetch.

    Attributes:
        first, last: None for all there is, or the last sessions of minutes.
    """

    symbols: tuple[str, ...]
    interval: Interval
    adjusted: bool = True
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one symbol: a report, or why there is none."""

    symbol: str
    report: FetchReport | None = None
    problem: str = ""


def fetch_history(
    request: FetchRequest,
    access: Access,
    data: Path,
    *,
    calendar: KrxCalendar | None = None,
    clock: Clock | None = None,
    interval_s: float | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Fetched, ...]:
    """Fetch what the store lacks.

    A symbol KIS does not know, or whose candles cannot be right, is reported; the
    others go on. A lost connection ends it; what was fetched is kept, and the next
    call goes on from there.

    Args:
        request: symbols and range.
        access: whose keys; no order is ever sent.
        data: folder of the candle store.
        calendar: the KRX one by default.
        clock: tells which session is over.
        interval_s: seconds between calls; None for the broker's rate.
        on_progress: called with pages done, pages in all (a guess) and the symbol.

    Raises:
        KisError: KIS cannot be reached, or refuses the keys.
        InputError: the range cannot be fetched from this server.
        StorageError: the store cannot be written.
    """
    calendar = calendar or default_calendar()
    if clock is None:
        clock = _time_of(access) if access.server.is_emulator else SystemClock()
    client = access.open(read_only=True, clock=clock, interval_s=interval_s)
    try:
        job = _Job(request, client, CandleStore(data), calendar, clock, on_progress)
        return job.run()
    finally:
        client.close()


class _ServersClock:
    """The date an emulator plays, with waits of real time."""

    def __init__(self, offset_s: float) -> None:
        self._offset = timedelta(seconds=offset_s)
        self._real = SystemClock()

    def now(self) -> datetime:
        """Return the emulator's time of day, to a second."""
        return self._real.now() + self._offset

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return self._real.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; zero or less returns at once."""
        self._real.sleep(seconds)


def _time_of(access: Access) -> Clock:
    """Ask an emulator for its time: only its own says which sessions are over."""
    client = access.open(read_only=True)
    try:
        with suppress(KisRefused):  # whatever it answers, the answer has a time
            client.fetch_price("005930")
        return _ServersClock(client.clock_offset_s() or 0.0)
    finally:
        client.close()


class _Job:
    """One fetch of many symbols."""

    def __init__(
        self,
        request: FetchRequest,
        client: KisClient,
        store: CandleStore,
        calendar: KrxCalendar,
        clock: Clock,
        on_progress: Callable[[int, int, str], None] | None,
    ) -> None:
        self._request = request
        self._client = client
        self._tell = on_progress
        self._done = 0
        self._symbol = ""
        self._downloader = Downloader(
            client, store, calendar=calendar, clock=clock, on_page=self._page_done
        )
        today = clock.now().date()
        self._last = self._downloader.last_settled(request.last or today)
        self._first = request.first or self._default_first(calendar)
        if request.interval == MINUTE and client.environment is Environment.MOCK:
            self._only_today(today)
        self._total = self._expected()

    def _default_first(self, calendar: KrxCalendar) -> date:
        if self._request.interval != MINUTE:
            return FIRST_DAY
        day = self._last
        for _number in range(MINUTE_SESSIONS - 1):
            day = calendar.previous_session(day)
        return day

    def _only_today(self, today: date) -> None:
        if self._last != today:
            raise InputError(
                _(
                    "the mock server has the minutes of today only, and they are "
                    "final 40 minutes after the close. Fetch them each evening, or "
                    "use real keys: kisbt data fetch --environment real"
                )
            )
        self._first = today

    def _expected(self) -> int:
        request, downloader = self._request, self._downloader
        if request.interval == MINUTE:
            # A session is 381 minutes: 30 a page on mock, 120 on the real server.
            pages = 13 if self._client.environment is Environment.MOCK else 4
            return pages * sum(
                len(downloader.missing_sessions(symbol, self._first, self._last))
                for symbol in request.symbols
            )
        return downloader.expected_pages(
            request.symbols, self._first, self._last, adjusted=request.adjusted
        )

    def _page_done(self) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, max(self._total, self._done), self._symbol)

    def run(self) -> tuple[Fetched, ...]:
        return tuple(self._fetch(symbol) for symbol in self._request.symbols)

    def _fetch(self, symbol: str) -> Fetched:
        self._symbol = symbol
        request, downloader = self._request, self._downloader
        try:
            if request.interval == MINUTE:
                report = downloader.fetch_minutes(symbol, self._first, self._last)
            else:
                report = downloader.fetch_days(
                    symbol, self._first, self._last, adjusted=request.adjusted
                )
        except (AuthError, RateLimited):
            raise
        except (KisRefused, DataError) as error:
            return Fetched(symbol, problem=str(error))
        return Fetched(symbol, report)


def fetch_symbols(
    data: Path,
    wanted: Sequence[str] = (),
    *,
    fetch: Callable[[MasterFile], Sequence[MasterRow]] = fetch_master,
) -> tuple[Instrument, ...]:
    """Bring names, markets and kinds of symbols into ``symbols.csv``.

    Args:
        data: folder of the candle store.
        wanted: only these symbols; all there are if empty.
        fetch: downloads one master file.

    Raises:
        KisError: a file could not be downloaded or read; nothing was changed.
        StorageError: the file could not be written.
    """
    found = tuple(
        row.instrument
        for file in MasterFile
        for row in fetch(file)
        if not wanted or row.instrument.symbol in wanted
    )
    CandleStore(data).add_instruments(found)
    return found
