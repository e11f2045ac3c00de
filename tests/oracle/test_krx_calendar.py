"""Sessions against real trading dates and another package."""

import warnings
from datetime import date, time

import numpy as np
import pytest

from kisbt.krx.calendar import default_calendar

pd = pytest.importorskip("pandas")


def days_of(column):
    return np.unique(pd.to_datetime(column).to_numpy().astype("datetime64[D]"))


def ours(first, last):
    return default_calendar().sessions(first.item(), last.item())


@pytest.mark.parametrize("index", ["KOSPI", "KOSDAQ", "KOSPI200"])
def test_sessions_equal_the_days_of_an_index_since_2000(real_candles, index):
    days = days_of(pd.read_csv(real_candles / "index" / f"{index}.csv")["date"])
    assert days[0] == np.datetime64("2000-01-04")
    assert days[-1] >= np.datetime64("2026-03-20")
    assert np.setxor1d(days, ours(np.datetime64("2000-01-01"), days[-1])).size == 0


def test_sessions_equal_the_days_of_candles_to_2026_07(real_candles):
    pytest.importorskip("pyarrow")
    file = real_candles / "daily_adjusted.parquet"
    days = days_of(pd.read_parquet(file, columns=["date"])["date"])
    assert days[-1] >= np.datetime64("2026-07-24")
    assert np.setxor1d(days, ours(days[0], days[-1])).size == 0


# Weekdays without a session, from the exchange's notices.
CLOSED = {
    2024: "01-01 02-09 02-12 03-01 04-10 05-01 05-06 05-15 06-06 08-15 09-16 09-17 "
    "09-18 10-01 10-03 10-09 12-25 12-31",
    2025: "01-01 01-27 01-28 01-29 01-30 03-03 05-01 05-05 05-06 06-03 06-06 08-15 "
    "10-03 10-06 10-07 10-08 10-09 12-25 12-31",
    2026: "01-01 02-16 02-17 02-18 03-02 05-01 05-05 05-25 06-03 07-17 08-17 09-24 "
    "09-25 10-05 10-09 12-25 12-31",
}


@pytest.mark.parametrize("year", sorted(CLOSED))
def test_closed_weekdays_of_a_year(year):
    days = np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="datetime64[D]")
    weekdays = days[np.is_busday(days)]
    found = np.setdiff1d(weekdays, ours(weekdays[0], weekdays[-1]))
    expected = [f"{year}-{day}" for day in CLOSED[year].split()]
    assert found.astype(str).tolist() == expected


@pytest.fixture(scope="module")
def schedule():
    package = pytest.importorskip("exchange_calendars")
    with warnings.catch_warnings():
        # The package uses what newer pandas calls deprecated.
        warnings.simplefilter("ignore")
        return package.get_calendar(
            "XKRX", start="2000-01-01", end="2027-11-30"
        ).schedule


def test_sessions_equal_exchange_calendars_but_for_known_days(schedule):
    days = schedule.index.to_numpy().astype("datetime64[D]")
    # Local elections and the restored Constitution Day: real candles show them closed.
    # The two substitute days of 2027 are not in a notice of the exchange yet.
    known = {"2026-06-03", "2026-07-17", "2027-05-03", "2027-07-19"}
    differing = np.setxor1d(days, ours(np.datetime64("2000-01-01"), days[-1]))
    assert set(differing.astype(str)) <= known
    assert np.setdiff1d(ours(np.datetime64("2000-01-01"), days[-1]), days).size == 0


def test_hours_equal_exchange_calendars_to_2020(schedule):
    calendar = default_calendar()
    rows = schedule[schedule.index < "2021-01-01"]
    opens = rows["open"].dt.tz_convert("Asia/Seoul")
    closes = rows["close"].dt.tz_convert("Asia/Seoul")
    differing = {}
    for day, opened, closed in zip(rows.index, opens, closes, strict=True):
        hours = calendar.hours(day.date())
        if (hours.open, hours.close) != (opened.time(), closed.time()):
            differing[day.date()] = hours.open
    # That package opens the first session of 2000 as usual (its rule names the closed
    # day before) and does not know the late opening after the attacks of 2001.
    assert differing == {date(2000, 1, 4): time(10), date(2001, 9, 12): time(12)}


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        ("2025-11-13", "10:00", "16:30"),
        ("2026-01-02", "10:00", "15:30"),
        ("2025-09-18", "09:00", "15:30"),
    ],
)
def test_hours_equal_minute_bars(real_candles, day, first, last):
    pytest.importorskip("pyarrow")
    rows = pd.read_parquet(real_candles / "minute" / "kis_1m_2025_2026.parquet")
    stamps = pd.to_datetime(rows["datetime"])
    clock = stamps[stamps.dt.strftime("%Y-%m-%d") == day].dt.strftime("%H:%M")
    hours = default_calendar().hours(date.fromisoformat(day))
    assert clock.min() == first == f"{hours.open:%H:%M}"
    # Bars carry their start; the closing auction prints in the bar of the close.
    assert last == f"{hours.close:%H:%M}"
    assert clock.max() <= last
    assert clock.max() >= f"{hours.close.hour:02d}:{hours.close.minute - 1:02d}"
