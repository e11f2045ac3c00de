"""Sessions of the exchange: which days, from when to when.

The days come from `holidays`, corrected where the history of the index says
otherwise; the odd hours are our own dated table. All times are Korean (KST).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache

import holidays
import numpy as np
import numpy.typing as npt

from kisbt.errors import InputError
from kisbt.text import _

Days = npt.NDArray[np.datetime64]
Times = npt.NDArray[np.datetime64]

# No daylight saving time since 1988.
KST = timezone(timedelta(hours=9), "KST")

FIRST_DAY = date(2000, 1, 1)
LAST_DAY = date(2027, 12, 31)

# Closed days that `holidays` 0.109 takes for sessions.
# Source: index history, KOSPI, KOSDAQ and KOSPI200 have no value. 2000-01-03: the
# computers' year 2000; 2000-12-27 and 28: the year-end break was three days until
# 2000 (동아일보 2006-12-22).
_CLOSED = frozenset({date(2000, 1, 3), date(2000, 12, 27), date(2000, 12, 28)})

_OPEN = time(9, 0)
# Source: first session with the longer day 2016-08-01 (KRX notice of July 2016).
_LONG_DAY_FROM = date(2016, 8, 1)
_CLOSE_BEFORE = time(15, 0)
_CLOSE = time(15, 30)

# The first session of a year opens an hour late and closes as ever.
# Source: 한국경제 2003121049711 (2004-01-02: 10:00 to 15:00); minute bars of 2026-01-02.
_LATE_OPEN = time(10, 0)

# University entrance exam (수능): the whole session is an hour later, also in the
# years that closed at 15:00 (2009-11-12: 10:00 to 16:00, 한국경제 2009110960321).
# Source: KRX notices of each year; equal to exchange_calendars 4.13 to 2020 and to
# the minute bars of 2025-11-13. 2017-11-16 stayed an hour late although the exam
# was put off by a week after an earthquake (서울신문 20171115500194).
_EXAM_DAYS = (
    date(2000, 11, 15),
    date(2001, 11, 7),
    date(2002, 11, 6),
    date(2003, 11, 5),
    date(2004, 11, 17),
    date(2005, 11, 23),
    date(2006, 11, 16),
    date(2007, 11, 15),
    date(2008, 11, 13),
    date(2009, 11, 12),
    date(2010, 11, 18),
    date(2011, 11, 10),
    date(2012, 11, 8),
    date(2013, 11, 7),
    date(2014, 11, 13),
    date(2015, 11, 12),
    date(2016, 11, 17),
    date(2017, 11, 16),
    date(2017, 11, 23),
    date(2018, 11, 15),
    date(2019, 11, 14),
    date(2020, 12, 3),
    date(2021, 11, 18),
    date(2022, 11, 17),
    date(2023, 11, 16),
    date(2024, 11, 14),
    date(2025, 11, 13),
    date(2026, 11, 19),
)

# Late openings that follow no rule. Source: 연합뉴스 AKR20170908184800008 (trading
# began at noon after the attacks in New York and ended at 15:00).
_LATE_OPENINGS = {date(2001, 9, 12): time(12, 0)}


@dataclass(frozen=True, slots=True)
class SessionHours:
    """The regular session of a day, KST.

    Attributes:
        open: start of continuous trading; the opening auction ends then.
        close: end of the closing auction.
    """

    open: time
    close: time


def regular_hours(day: date) -> SessionHours:
    """Return the hours an ordinary session had at the time of `day`."""
    return SessionHours(_OPEN, _CLOSE if day >= _LONG_DAY_FROM else _CLOSE_BEFORE)


def _an_hour_later(of: time) -> time:
    return of.replace(hour=of.hour + 1)


class KrxCalendar:
    """All sessions from 2000 to 2027.

    The lunch break (12:00 to 13:00, until 2000-05-19) is not known here.
    """

    def __init__(
        self,
        *,
        closed: Iterable[date] = (),
        opened: Iterable[date] = (),
        hours: Mapping[date, SessionHours] | None = None,
    ) -> None:
        """Build the calendar.

        Args:
            closed: days without a session, besides the known ones.
            opened: weekdays with a session although they are known as closed.
            hours: sessions whose hours differ from the known ones.

        Raises:
            InputError: a day is outside 2000 to 2027, opened and closed at once, or
                has hours without being a session.
        """
        self._closed = frozenset(closed)
        self._opened = frozenset(opened)
        own_hours = dict(hours or {})
        for day in (*self._closed, *self._opened, *own_hours):
            _check(day)
        self._sessions = _session_days(self._closed, self._opened)
        self._sessions.flags.writeable = False
        self._dates: tuple[date, ...] = tuple(self._sessions.tolist())
        self._number = {day: number for number, day in enumerate(self._dates)}
        known = _odd_hours(self._dates)
        self._odd = {day: odd for day, odd in known.items() if day in self._number}
        for day, own in own_hours.items():
            if day not in self._number:
                raise self._no_session(day)
            self._odd[day] = own
        self._close_at = self._closing_times()

    def _closing_times(self) -> Times:
        days = self._sessions.astype("datetime64[s]")
        since_midnight = np.where(
            self._sessions >= np.datetime64(_LONG_DAY_FROM, "D"),
            _seconds(_CLOSE),
            _seconds(_CLOSE_BEFORE),
        )
        for day, odd in self._odd.items():
            since_midnight[self._number[day]] = _seconds(odd.close)
        closing: Times = days + since_midnight.astype("timedelta64[s]")
        return closing

    def is_session(self, day: date) -> bool:
        """Return whether the exchange is open on `day`.

        Raises:
            InputError: `day` is outside 2000 to 2027, here and below.
        """
        return _check(day) in self._number

    def sessions(self, first: date, last: date) -> Days:
        """Return the sessions from `first` to `last`, both included.

        Returns:
            datetime64[D], increasing; empty when there is none.
        """
        start = bisect_left(self._dates, _check(first))
        return self._sessions[start : bisect_right(self._dates, _check(last))]

    def count(self, first: date, last: date) -> int:
        """Return the number of sessions from `first` to `last`, both included."""
        return int(self.sessions(first, last).size)

    def next_session(self, day: date) -> date:
        """Return the first session after `day`."""
        return self.sessions_after(day, 1)

    def previous_session(self, day: date) -> date:
        """Return the last session before `day`."""
        return self._at(bisect_left(self._dates, _check(day)) - 1, day)

    def session_on_or_after(self, day: date) -> date:
        """Return `day` if it is a session, else the first one after it."""
        return self._at(bisect_left(self._dates, _check(day)), day)

    def sessions_after(self, day: date, count: int) -> date:
        """Return the session that is the `count`-th after `day`.

        Settlement of a trade is ``sessions_after(session, 2)``.
        """
        if count < 1:
            raise ValueError(f"count {count}: expected 1 or more")
        return self._at(bisect_right(self._dates, _check(day)) + count - 1, day)

    def _at(self, number: int, day: date) -> date:
        if not 0 <= number < len(self._dates):
            raise _outside(day)
        return self._dates[number]

    def hours(self, session: date) -> SessionHours:
        """Return the hours of a session.

        Raises:
            InputError: `session` is no session, here and below.
        """
        if not self.is_session(session):
            raise self._no_session(session)
        return self._odd.get(session) or regular_hours(session)

    def _no_session(self, day: date) -> InputError:
        return InputError(
            _(
                "{day} is no session of the Korean exchange; the next one is {next}"
            ).format(day=day, next=self.next_session(day))
        )

    def open_time(self, session: date) -> datetime:
        """Return when continuous trading of a session begins, aware, KST."""
        return datetime.combine(session, self.hours(session).open, KST)

    def close_time(self, session: date) -> datetime:
        """Return when the regular session ends, aware, KST."""
        return datetime.combine(session, self.hours(session).close, KST)

    def close_times(self, sessions: Days) -> Times:
        """Return when each regular session ends.

        Args:
            sessions: datetime64[D], shape (n,), any order.

        Returns:
            datetime64[s], naive KST, shape (n,).
        """
        numbers = np.searchsorted(self._sessions, sessions)
        found = self._sessions[np.minimum(numbers, self._sessions.size - 1)]
        wrong = found != sessions
        if wrong.any():
            # Raises: not a session, or outside the range.
            self.hours(sessions[wrong][0].astype("datetime64[D]").item())
        return self._close_at[numbers]


def _check(day: date) -> date:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise _outside(day)
    return day


def _outside(day: date) -> InputError:
    return InputError(
        _(
            "{day}: the calendar of the Korean exchange is known from {first} to {last}"
        ).format(day=day, first=FIRST_DAY, last=LAST_DAY)
    )


def _seconds(of: time) -> int:
    return of.hour * 3600 + of.minute * 60


@lru_cache(maxsize=1)
def _known_closed() -> Days:
    years = range(FIRST_DAY.year, LAST_DAY.year + 1)
    days = set(holidays.financial_holidays("XKRX", years=years)) | _CLOSED
    return np.array(sorted(days), dtype="datetime64[D]")


def _session_days(closed: frozenset[date], opened: frozenset[date]) -> Days:
    both = closed & opened
    if both:
        raise InputError(
            _("{day}: added to the holidays and taken from them; keep one").format(
                day=min(both)
            )
        )
    span = LAST_DAY - FIRST_DAY
    days = np.datetime64(FIRST_DAY, "D") + np.arange(span.days + 1)
    sessions = set(days[np.is_busday(days, holidays=_known_closed())].tolist())
    return np.array(sorted((sessions - closed) | opened), dtype="datetime64[D]")


def _odd_hours(sessions: Iterable[date]) -> dict[date, SessionHours]:
    found = {}
    year = 0
    for day in sessions:
        if day.year != year:
            year = day.year
            found[day] = SessionHours(_LATE_OPEN, regular_hours(day).close)
    for day, late in _LATE_OPENINGS.items():
        found[day] = SessionHours(late, regular_hours(day).close)
    for day in _EXAM_DAYS:
        usual = regular_hours(day)
        found[day] = SessionHours(
            _an_hour_later(usual.open), _an_hour_later(usual.close)
        )
    return found


@lru_cache(maxsize=1)
def default_calendar() -> KrxCalendar:
    """Return the calendar without anybody's additions, built once."""
    return KrxCalendar()
