"""Sessions by date number: as the calendar says, to the last microsecond."""

import math
from datetime import date

import backtrader as bt
import pytest

from kisbt.bt.market import Market, to_kst
from kisbt.errors import InputError
from kisbt.krx.calendar import default_calendar
from kisbt.krx.phases import order_session

CALENDAR = default_calendar()
# Ordinary days, both closing times, exam days, a year's first session.
DAYS = [
    day
    for first, last in (("2016-07-25", "2016-08-05"), ("2025-11-10", "2026-01-06"))
    for day in CALENDAR.sessions(
        date.fromisoformat(first), date.fromisoformat(last)
    ).tolist()
]


@pytest.mark.parametrize("day", DAYS)
def test_sessions_and_closes_by_date_number(day: date) -> None:
    market = Market(CALENDAR)
    close = float(bt.date2num(CALENDAR.close_time(day).replace(tzinfo=None)))
    assert market.close_number(day) == close
    below, above = math.nextafter(close, 0.0), math.nextafter(close, math.inf)
    near = (close, below, above, math.nextafter(below, 0.0), close - 1e-7)
    far = (close - 0.3, close + 0.3, close - 1.0, float(int(close)))
    for now in (*near, *far):
        assert market.session_for(now) == order_session(to_kst(now), CALENDAR), now


def test_days_nobody_knows() -> None:
    market = Market(CALENDAR)
    with pytest.raises(InputError, match="calendar"):
        market.session_for(float(date(1999, 1, 4).toordinal()))
    with pytest.raises(InputError, match="calendar"):
        market.session_for(float(date(2028, 1, 4).toordinal()))
    with pytest.raises(InputError, match="no session"):
        market.close_number(date(2024, 1, 1))
