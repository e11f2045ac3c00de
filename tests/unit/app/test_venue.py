from datetime import date, datetime

import pytest

from kisbt.app.venue import session_label
from kisbt.krx.calendar import KST, default_calendar

MONDAY, TUESDAY = date(2025, 12, 29), date(2025, 12, 30)


@pytest.mark.parametrize(
    ("hour", "minute", "daily", "session"),
    [
        (8, 0, False, MONDAY),
        (15, 30, False, MONDAY),
        (15, 31, False, TUESDAY),
        (15, 31, True, MONDAY),  # its candle is still to come
        (16, 9, True, MONDAY),
        (16, 10, True, TUESDAY),
        (23, 0, True, TUESDAY),
    ],
)
def test_a_daily_session_is_over_when_its_candle_is_final(
    hour: int, minute: int, daily: bool, session: date
) -> None:
    moment = datetime(2025, 12, 29, hour, minute, tzinfo=KST)
    assert session_label(moment, default_calendar(), daily=daily) == session


def test_a_day_without_a_session_waits_for_the_next() -> None:
    saturday = datetime(2025, 12, 27, 12, 0, tzinfo=KST)
    assert session_label(saturday, default_calendar(), daily=True) == MONDAY
