"""Minute candles into larger ones, cut at session borders."""

import numpy as np

from kisbt.candles.columns import CandleColumns
from kisbt.krx.calendar import KrxCalendar, default_calendar

_MINUTE_S = 60
_DAY_S = 86_400


def resample(
    candles: CandleColumns, minutes: int, *, calendar: KrxCalendar | None = None
) -> CandleColumns:
    """Return candles of `minutes` made of smaller, END-labelled ones.

    A candle covers (END − minutes, END], counted from midnight; the last of a
    session ends at the session's close, so that nothing spans two sessions.
    Prices: open of the first, high, low, close of the last; volumes are added.

    Args:
        candles: END-labelled, without silent ones.
        minutes: length of the new candles, 1 or more.
        calendar: knows the close of each session; the KRX one by default.

    Source:
        On sessions without silent minutes this equals backtrader's resampledata
        (tests/oracle/test_candles_resample.py). After silent ones backtrader joins
        a minute that ends a period to the period still open before it.
    """
    if not len(candles):
        return candles
    calendar = calendar or default_calendar()
    sessions = candles.sessions
    days, positions = np.unique(sessions, return_inverse=True)
    closes = calendar.close_times(days)[positions].astype("datetime64[s]")
    second = (candles.end - sessions).astype(np.int64)
    length = minutes * _MINUTE_S
    label = sessions.astype("datetime64[s]") + (-(-second // length) * length).astype(
        "timedelta64[s]"
    )
    # A candle later than the close (after-market rows) keeps its own label.
    label = np.where(candles.end <= closes, np.minimum(label, closes), label)
    starts = np.flatnonzero(np.r_[True, label[1:] != label[:-1]])
    stops = np.r_[starts[1:], len(candles)] - 1
    return CandleColumns(
        label[starts],
        candles.open[starts],
        np.maximum.reduceat(candles.high, starts),
        np.minimum.reduceat(candles.low, starts),
        candles.close[stops],
        np.add.reduceat(candles.volume, starts),
    )
