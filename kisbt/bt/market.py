"""What the broker has to know about sessions, limits and reference prices."""

import math
from bisect import bisect_left, bisect_right
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import backtrader as bt

from kisbt.bt.feed import CandleFeed, datetime_numbers
from kisbt.clock import KST
from kisbt.krx.calendar import FIRST_DAY, LAST_DAY, KrxCalendar
from kisbt.krx.limits import PriceBand, band_tolerance, price_band
from kisbt.krx.matching import crowded_side
from kisbt.krx.phases import order_session
from kisbt.krx.ticks import is_on_grid
from kisbt.model.instrument import Instrument
from kisbt.model.order import Side

# Days; a date number is good to about 10 us.
_ROUNDING = 1e-8


class Market:
    """The exchange as seen from a bar: sessions by date number, limits by feed."""

    def __init__(self, calendar: KrxCalendar) -> None:
        """Use the sessions of `calendar`."""
        self._calendar = calendar
        self._sessions, self._closes = _known_closes(calendar)
        self._coming: tuple[float, date, float] = (math.nan, date.min, math.nan)

    def session_for(self, now: float) -> date:
        """Return the session in which an order made at date number `now` lives."""
        return self.coming_session(now)[0]

    def coming_session(self, now: float) -> tuple[date, float]:
        """Return `session_for` and the date number of its close."""
        at, session, close = self._coming
        if at != now:
            # As `order_session`, which has to go over a `datetime`; that rounds, so
            # just before a close it is asked.
            coming, closes = bisect_right(self._closes, now), self._closes
            if 0 < coming < len(closes) and closes[coming] - now > _ROUNDING:
                session, close = self._sessions[coming], closes[coming]
            else:
                session = order_session(to_kst(now), self._calendar)
                close = self.close_number(session)
            self._coming = (now, session, close)
        return session, close

    def close_number(self, session: date) -> float:
        """Return the date number of a session's close."""
        known = bisect_left(self._sessions, session)
        if known < len(self._sessions) and self._sessions[known] == session:
            return self._closes[known]
        close = self._calendar.close_time(session).replace(tzinfo=None)
        return float(bt.date2num(close))

    def bar_end(self, feed: Any) -> float:
        """Return the date number at which the current bar of a feed is complete.

        backtrader's own feeds label a day 00:00 or 23:59:59.999989; its candle is
        complete when the session closes.
        """
        number = float(feed.lines.datetime[0])
        if not ends_with_session(feed):
            return number
        day = session_of(number)
        return self.close_number(day) if self._calendar.is_session(day) else number

    def closes_session(self, feed: Any, bar: float) -> bool:
        """Return whether the feed's current bar `bar` is the last of its session."""
        return ends_with_session(feed) or bar >= self.close_number(session_of(bar))

    def coming_band(self, feed: Any, session: date) -> PriceBand | None:
        """Return the limits, in `session`, of an order made on the current bar."""
        return _band(coming_base(feed, session), instrument_of(feed), session)

    def crowded(self, feed: Any, session: date) -> Side | None:
        """Return the side that the current bar, locked at a limit, does not fill."""
        reference, instrument = reference_close(feed), instrument_of(feed)
        band = _band(reference, instrument, session)
        tolerance = 0.0
        if band is not None and is_adjusted(feed):
            tolerance = band_tolerance(
                reference,
                market=instrument.market,
                product=instrument.product,
                session=session,
            )
        return crowded_side(
            float(feed.open[0]),
            float(feed.high[0]),
            float(feed.low[0]),
            float(feed.close[0]),
            band,
            tolerance=tolerance,
        )


@lru_cache(maxsize=4)
def _known_closes(calendar: KrxCalendar) -> tuple[list[date], list[float]]:
    """Return all sessions and the date numbers of their closes."""
    sessions = calendar.sessions(FIRST_DAY, LAST_DAY)
    closes = datetime_numbers(calendar.close_times(sessions))
    return sessions.tolist(), closes.tolist()


def ends_with_session(feed: Any) -> bool:
    """Return whether a feed has daily or longer bars without an END label."""
    daily = feed._timeframe >= bt.TimeFrame.Days
    return bool(daily and not isinstance(feed, CandleFeed))


def session_of(number: float) -> date:
    """Return the date of a date number."""
    return date.fromordinal(int(number))


def to_kst(number: float) -> datetime:
    """Return the aware KST time of a date number."""
    moment: datetime = bt.num2date(number)
    return moment.replace(tzinfo=KST)


def instrument_of(feed: Any) -> Instrument:
    """Return what a feed trades; a foreign feed is taken as a KOSPI stock."""
    if isinstance(feed, CandleFeed):
        return feed.instrument
    return Instrument(symbol=str(feed._name))


def is_adjusted(feed: Any) -> bool:
    """Return whether the feed's prices may have been rescaled for splits."""
    return bool(getattr(feed.p, "adjusted", False))


def on_grid(feed: Any, price: float, session: date) -> bool:
    """Return whether a price of the feed has not been rescaled.

    Decided by the price alone: whether a later candle shows a rescaling must not
    change what happened before it.
    """
    if not is_adjusted(feed):
        return True
    instrument = instrument_of(feed)
    return is_on_grid(
        price,
        market=instrument.market,
        product=instrument.product,
        session=session,
    )


def reference_close(feed: Any) -> float:
    """Return the last close before the session of the current bar; NaN if none."""
    if isinstance(feed, CandleFeed):
        return feed.reference_close(len(feed) - 1)
    day = int(feed.lines.datetime[0])
    for ago in range(1, len(feed)):
        if int(feed.lines.datetime[-ago]) != day:
            return float(feed.close[-ago])
    return math.nan


def coming_base(feed: Any, session: date) -> float:
    """Return the base price, in `session`, of an order made on the current bar."""
    if int(feed.datetime[0]) == session.toordinal():
        return reference_close(feed)
    return float(feed.close[0])


def market_value(feed: Any, position: Any) -> float:
    """Return what a position is worth at its last close, won."""
    if not position.size:
        return 0.0
    price = feed.close[0] if len(feed) else position.price
    return float(position.size * price)


def _band(reference: float, instrument: Instrument, session: date) -> PriceBand | None:
    if not reference > 0:  # no earlier session, or NaN
        return None
    return price_band(
        reference,
        market=instrument.market,
        product=instrument.product,
        session=session,
        leverage=instrument.leverage,
    )
