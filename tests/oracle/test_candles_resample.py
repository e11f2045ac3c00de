"""Resampled candles against backtrader's own `resampledata`."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from kisbt.candles.columns import CandleColumns
from kisbt.candles.resample import resample

PLAIN_SESSIONS = ("2025-09-01", "2025-09-02", "2025-09-03")


def _minutes(seed: int) -> CandleColumns:
    """END-labelled minutes of three regular sessions, none of them silent."""
    random = np.random.default_rng(seed)
    minute = np.r_[np.arange(1, 381), 390]
    ends = [
        np.datetime64(f"{day}T09:00:00") + minute.astype("m8[m]")
        for day in PLAIN_SESSIONS
    ]
    end = np.concatenate(ends)
    close = 50_000 + 50 * np.cumsum(random.integers(-3, 4, end.size))
    open_ = close + 50 * random.integers(-2, 3, end.size)
    high = np.maximum(open_, close) + 50 * random.integers(0, 2, end.size)
    low = np.minimum(open_, close) - 50 * random.integers(0, 2, end.size)
    return CandleColumns(
        end, open_, high, low, close, random.integers(1, 1_000, end.size)
    )


class _Recorder(bt.Strategy):  # type: ignore[misc]
    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    def next(self) -> None:
        bar = self.data1
        row = (
            bar.datetime.datetime(0).replace(microsecond=0),
            bar.open[0],
            bar.high[0],
            bar.low[0],
            bar.close[0],
            bar.volume[0],
        )
        if not self.rows or self.rows[-1][0] != row[0]:
            self.rows.append(row)


def _backtrader(candles: CandleColumns, minutes: int) -> list[tuple[object, ...]]:
    frame = pd.DataFrame(
        {
            name: getattr(candles, name)
            for name in ("open", "high", "low", "close", "volume")
        },
        index=pd.DatetimeIndex(candles.end),
    )
    cerebro = bt.Cerebro(stdstats=False)
    feed = bt.feeds.PandasData(
        dataname=frame,
        timeframe=bt.TimeFrame.Minutes,
        compression=1,
        sessionstart=pd.Timestamp("09:00").to_pydatetime().time(),
        sessionend=pd.Timestamp("15:30").to_pydatetime().time(),
    )
    cerebro.adddata(feed)
    cerebro.resampledata(feed, timeframe=bt.TimeFrame.Minutes, compression=minutes)
    cerebro.addstrategy(_Recorder)
    rows: list[tuple[object, ...]] = cerebro.run()[0].rows
    return rows


# Lengths that end with continuous trading (15:20) or with the session. Of others,
# and after silent minutes, backtrader puts a minute on an edge into whatever bar is
# still open, which may be one of an earlier period.
@pytest.mark.parametrize("minutes", [2, 4, 5, 10, 15, 20, 30, 60])
def test_resampled_minutes_equal_backtrader(minutes: int) -> None:
    candles = _minutes(minutes)
    expected = _backtrader(candles, minutes)
    made = resample(candles, minutes)
    found = list(
        zip(
            made.end.tolist(),
            *(
                getattr(made, name).tolist()
                for name in ("open", "high", "low", "close", "volume")
            ),
            strict=True,
        )
    )
    # backtrader hands over the last bar of the data only when the next one begins.
    assert len(expected) > 0.9 * len(found)
    assert found[: len(expected)] == expected
