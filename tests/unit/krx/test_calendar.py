from datetime import date, datetime, time, timedelta

import numpy as np
import pytest

from kisbt.errors import InputError
from kisbt.krx.calendar import (
    KST,
    KrxCalendar,
    SessionHours,
    default_calendar,
    regular_hours,
)

FRIDAY = date(2026, 11, 20)
SATURDAY = date(2026, 11, 21)
MONDAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    "day",
    [
        date(2000, 1, 3),
        date(2000, 12, 27),
        date(2000, 12, 28),
        date(2024, 10, 1),
        date(2025, 1, 27),
        date(2025, 6, 3),
        date(2026, 6, 3),
        date(2026, 7, 17),
        date(2026, 12, 31),
        SATURDAY,
    ],
)
def test_closed_days(day):
    assert not default_calendar().is_session(day)


def test_sessions_include_both_ends():
    found = default_calendar().sessions(FRIDAY, date(2026, 11, 24))
    assert found.dtype == np.dtype("datetime64[D]")
    assert found.astype(str).tolist() == ["2026-11-20", "2026-11-23", "2026-11-24"]


def test_sessions_of_a_weekend_are_none():
    assert default_calendar().sessions(SATURDAY, date(2026, 11, 22)).size == 0


def test_sessions_cannot_be_changed_by_a_caller():
    found = default_calendar().sessions(FRIDAY, MONDAY)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = np.datetime64("2026-11-22")


def test_count_of_a_year():
    assert default_calendar().count(date(2025, 1, 1), date(2025, 12, 31)) == 242


@pytest.mark.parametrize(
    ("day", "after", "before", "same_or_after"),
    [
        (FRIDAY, MONDAY, date(2026, 11, 19), FRIDAY),
        (SATURDAY, MONDAY, FRIDAY, MONDAY),
        (MONDAY, date(2026, 11, 24), FRIDAY, MONDAY),
    ],
)
def test_neighbouring_sessions(day, after, before, same_or_after):
    calendar = default_calendar()
    assert calendar.next_session(day) == after
    assert calendar.previous_session(day) == before
    assert calendar.session_on_or_after(day) == same_or_after


def test_settlement_is_two_sessions_later():
    calendar = default_calendar()
    assert calendar.sessions_after(date(2026, 11, 19), 2) == MONDAY
    # Rates of a year hold from trades that settle in it.
    assert calendar.sessions_after(date(2024, 12, 27), 2) == date(2025, 1, 2)


def test_sessions_after_needs_a_count():
    with pytest.raises(ValueError, match="expected 1 or more"):
        default_calendar().sessions_after(FRIDAY, 0)


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        (date(2016, 7, 29), time(9), time(15)),
        (date(2016, 8, 1), time(9), time(15, 30)),
        (FRIDAY, time(9), time(15, 30)),
        # First session of a year, in both eras of the close.
        (date(2015, 1, 2), time(10), time(15)),
        (date(2026, 1, 2), time(10), time(15, 30)),
        # University entrance exam, in both eras of the close.
        (date(2015, 11, 12), time(10), time(16)),
        (date(2016, 11, 17), time(10), time(16, 30)),
        (date(2026, 11, 19), time(10), time(16, 30)),
        # The exam put off by the earthquake, and its new day.
        (date(2017, 11, 16), time(10), time(16, 30)),
        (date(2017, 11, 23), time(10), time(16, 30)),
        (date(2001, 9, 12), time(12), time(15)),
    ],
)
def test_hours(day, opens, closes):
    calendar = default_calendar()
    assert calendar.hours(day) == SessionHours(opens, closes)
    assert calendar.open_time(day) == datetime.combine(day, opens, KST)
    assert calendar.close_time(day) == datetime.combine(day, closes, KST)


def test_times_are_aware_and_korean():
    found = default_calendar().close_time(FRIDAY)
    assert found.utcoffset() == timedelta(hours=9)
    assert found.isoformat() == "2026-11-20T15:30:00+09:00"


def test_regular_hours_know_no_odd_days():
    assert regular_hours(date(2026, 11, 19)) == SessionHours(time(9), time(15, 30))
    assert regular_hours(date(2015, 11, 12)) == SessionHours(time(9), time(15))


def test_close_times_agree_with_close_time():
    calendar = default_calendar()
    sessions = calendar.sessions(date(2000, 1, 1), date(2027, 12, 31))
    found = calendar.close_times(sessions)
    assert found.dtype == np.dtype("datetime64[s]")
    expected = [
        calendar.close_time(day).replace(tzinfo=None) for day in sessions.tolist()
    ]
    assert found.tolist() == expected


def test_close_times_keep_the_order_given():
    days = np.array(["2026-11-20", "2015-11-12"], "M8[D]")
    found = default_calendar().close_times(days)
    assert found.astype(str).tolist() == ["2026-11-20T15:30:00", "2015-11-12T16:00:00"]


@pytest.mark.parametrize("day", ["2026-11-21", "2027-12-31"])
def test_close_times_refuse_days_without_a_session(day):
    days = np.array(["2026-11-20", day], "M8[D]")
    with pytest.raises(InputError):
        default_calendar().close_times(days)


def test_hours_of_a_closed_day_name_the_next_session():
    with pytest.raises(InputError, match="the next one is 2026-11-23"):
        default_calendar().open_time(SATURDAY)


@pytest.mark.parametrize("day", [date(1999, 12, 31), date(2028, 1, 1)])
def test_days_outside_the_range_are_refused(day):
    with pytest.raises(InputError, match="known from 2000-01-01 to 2027-12-31"):
        default_calendar().is_session(day)


def test_no_session_beyond_either_end():
    calendar = default_calendar()
    with pytest.raises(InputError, match="known from"):
        calendar.next_session(date(2027, 12, 30))
    with pytest.raises(InputError, match="known from"):
        calendar.previous_session(date(2000, 1, 4))
    with pytest.raises(InputError, match="known from"):
        calendar.session_on_or_after(date(2027, 12, 31))


def test_default_calendar_is_built_once():
    assert default_calendar() is default_calendar()


def test_own_days_and_hours():
    exam = date(2027, 11, 18)
    calendar = KrxCalendar(
        closed=[FRIDAY],
        opened=[date(2027, 5, 3)],
        hours={exam: SessionHours(time(10), time(16, 30))},
    )
    assert not calendar.is_session(FRIDAY)
    assert calendar.next_session(date(2026, 11, 19)) == MONDAY
    assert calendar.is_session(date(2027, 5, 3))
    assert calendar.close_time(exam).time() == time(16, 30)
    assert default_calendar().close_time(exam).time() == time(15, 30)


def test_a_closed_exam_day_has_no_hours():
    calendar = KrxCalendar(closed=[date(2026, 11, 19)])
    with pytest.raises(InputError, match="is no session"):
        calendar.hours(date(2026, 11, 19))


def test_first_session_of_a_year_moves_with_a_new_holiday():
    calendar = KrxCalendar(closed=[date(2026, 1, 2)])
    assert calendar.hours(date(2026, 1, 5)).open == time(10)


def test_own_days_must_not_contradict():
    with pytest.raises(InputError, match="keep one"):
        KrxCalendar(closed=[FRIDAY], opened=[FRIDAY])


def test_own_hours_need_a_session():
    with pytest.raises(InputError, match="is no session"):
        KrxCalendar(hours={SATURDAY: SessionHours(time(10), time(16))})


def test_own_days_must_lie_in_the_range():
    with pytest.raises(InputError, match="known from"):
        KrxCalendar(closed=[date(2030, 1, 1)])
