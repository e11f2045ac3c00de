"""Which bar a moment belongs to, as a live broker counts; numbers are backtrader's."""

from datetime import datetime, timedelta
from typing import Any

from backtrader import date2num

from kisbt.krx.calendar import KrxCalendar


def minutes_of(feed: Any) -> int | None:
    """Return the length of a feed's bars; None for sessions."""
    minutes: int | None = feed.p.interval.minutes
    return minutes


def date_number(moment: datetime) -> float:
    """Return backtrader's number of a moment in KST."""
    return float(date2num(moment.replace(tzinfo=None)))


def bar_of_fill(
    at: datetime, length: int | None, created: float, calendar: KrxCalendar
) -> float:
    """Return the END of the candle in which a fill happened.

    A fill at the very END belongs to the candle that ends there, as the
    emulator's fills of a whole candle do, unless its order was made on it.

    Args:
        at: when it happened, aware KST.
        length: of the bars, minutes; None for sessions.
        created: END of the bar on which the order was made.
        calendar: of the exchange.
    """
    closes = calendar.close_time(at.date())
    if length is None or at >= closes:
        return date_number(closes)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    step = timedelta(minutes=length)
    end = midnight + -(-(at - midnight) // step) * step
    if date_number(end) <= created:
        end += step
    return date_number(min(end, closes))


def coming_end(now: datetime, length: int) -> float:
    """Return the END of the bar under way.

    Args:
        now: aware KST.
        length: of the bars, minutes.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    step = timedelta(minutes=length)
    return date_number(midnight + ((now - midnight) // step + 1) * step)
