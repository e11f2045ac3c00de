from datetime import datetime, time, timedelta
from typing import Any

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given, strategies as st

from kisbt.bt.feed import CandleFeed, datetime_numbers, number_to_datetime
from kisbt.candles.columns import CandleColumns
from kisbt.model.candle import MINUTE, Interval
from kisbt.model.instrument import Instrument, Market
from tests.helpers.market import daily, from_nine, minutes

LINES = ("datetime", "open", "high", "low", "close", "volume", "openinterest")
SESSIONS = minutes(
    [
        {"09:01": (10, 12, 9, 11, 100), "15:30": (11, 13, 10, 12, 50)},
        {"09:01": (12, 12, 12, 12, 30)},
        {"15:29": (13, 14, 12, 13, 70), "15:30": (13, 13, 13, 13, 10)},
    ]
)


@given(
    st.lists(
        st.datetimes(
            datetime(1980, 1, 1),
            datetime(2100, 1, 1),
        ).map(lambda moment: moment.replace(microsecond=0)),
        min_size=1,
        max_size=50,
    )
)
def test_date_numbers_are_those_of_backtrader_to_the_last_bit(
    moments: list[datetime],
) -> None:
    numbers = datetime_numbers(np.array(moments, dtype="datetime64[s]"))
    assert numbers.tolist() == [bt.date2num(moment) for moment in moments]


def test_every_second_of_a_day_has_the_number_of_backtrader() -> None:
    start = datetime(2024, 2, 29)
    moments = [start + timedelta(seconds=s) for s in range(0, 86_400, 7)]
    numbers = datetime_numbers(np.array(moments, dtype="datetime64[s]"))
    assert numbers.tolist() == [bt.date2num(moment) for moment in moments]


def test_no_times_have_no_numbers() -> None:
    assert len(datetime_numbers(np.empty(0, "datetime64[s]"))) == 0


def test_number_is_the_time_it_was_made_of() -> None:
    moment = datetime(2024, 1, 3, 15, 30)
    assert number_to_datetime(bt.date2num(moment)) == moment


class Seen(bt.Strategy):
    """Writes down every bar of its feeds."""

    def __init__(self) -> None:
        self.bars: list[tuple[float, ...]] = []

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        for data in self.datas:
            if len(data):
                self.bars.append(
                    (len(data), *(getattr(data, name)[0] for name in LINES))
                )


MODES: list[dict[str, Any]] = [
    {"runonce": True},
    {"runonce": False},
    {"runonce": False, "preload": False},
    {"live": True},
    {"runonce": False, "exactbars": 1, "preload": False},
]


def bars_of(mode: dict[str, Any], *columns: CandleColumns) -> list[tuple[float, ...]]:
    cerebro = bt.Cerebro(stdstats=False, **mode)
    for number, candles in enumerate(columns):
        cerebro.adddata(CandleFeed(dataname=candles, name=str(number), interval=MINUTE))
    cerebro.addstrategy(Seen)
    bars: list[tuple[float, ...]] = cerebro.run()[0].bars
    return bars


@pytest.mark.parametrize("mode", MODES, ids="+".join)
def test_bars_are_the_candles_in_every_mode_of_cerebro(mode: dict[str, Any]) -> None:
    expected = [
        (
            number + 1,
            bt.date2num(SESSIONS.end[number].astype(datetime)),
            SESSIONS.open[number],
            SESSIONS.high[number],
            SESSIONS.low[number],
            SESSIONS.close[number],
            SESSIONS.volume[number],
            0.0,
        )
        for number in range(len(SESSIONS))
    ]
    assert bars_of(mode, SESSIONS) == expected


@pytest.mark.parametrize("mode", MODES[1:4], ids="+".join)
def test_feeds_of_different_times_are_merged_alike(mode: dict[str, Any]) -> None:
    other = minutes([from_nine(1.0, 2.0, 3.0), {}, {"15:30": 4.0}])
    assert bars_of(mode, SESSIONS, other) == bars_of(MODES[0], SESSIONS, other)


@pytest.mark.parametrize("mode", MODES[:4], ids="+".join)
def test_feed_without_candles_does_not_silence_the_others(
    mode: dict[str, Any],
) -> None:
    bars = bars_of(mode, SESSIONS, CandleColumns.empty())
    assert bars == bars_of(mode, SESSIONS)


def test_two_feeds_of_the_same_candles_do_not_share_their_place() -> None:
    assert len(bars_of({}, SESSIONS, SESSIONS)) == 2 * len(SESSIONS)


@pytest.mark.parametrize(
    ("interval", "timeframe", "compression"),
    [
        (Interval(), bt.TimeFrame.Days, 1),
        (MINUTE, bt.TimeFrame.Minutes, 1),
        (Interval(5), bt.TimeFrame.Minutes, 5),
    ],
)
def test_interval_decides_the_timeframe(
    interval: Interval, timeframe: int, compression: int
) -> None:
    feed = CandleFeed(dataname=SESSIONS, interval=interval)
    assert (feed._timeframe, feed._compression) == (timeframe, compression)
    assert (feed.p.timeframe, feed.p.compression) == (timeframe, compression)


def test_reference_price_is_the_last_close_of_the_session_before() -> None:
    feed = CandleFeed(dataname=SESSIONS, interval=MINUTE)
    closes = [feed.reference_close(bar) for bar in range(len(SESSIONS))]
    np.testing.assert_array_equal(closes, [np.nan, np.nan, 12, 12, 12])


def test_average_volume_is_of_the_sessions_before() -> None:
    feed = CandleFeed(dataname=SESSIONS, interval=MINUTE)
    assert feed.average_volume(0, 2) is None
    assert feed.average_volume(2, 2) is None
    assert feed.average_volume(3, 2) == (150 + 30) / 2
    assert feed.average_volume(4, 1) == 30


def test_instrument_is_a_kospi_stock_unless_named() -> None:
    feed = CandleFeed(dataname=SESSIONS, name="005930")
    assert (feed.instrument.symbol, feed.instrument.market) == ("005930", Market.KOSPI)
    other = Instrument(symbol="035720", market=Market.KOSDAQ)
    assert CandleFeed(dataname=SESSIONS, instrument=other).instrument is other


def test_current_values_are_readable_as_tick_attributes() -> None:
    assert CandleFeed.tick_close is None
    feed = CandleFeed(dataname=SESSIONS, interval=MINUTE)
    assert feed.tick_close is None
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(feed)
    cerebro.run()
    assert (feed.tick_open, feed.tick_volume, feed.tick_last) == (13, 10, 13)


@pytest.mark.parametrize("runonce", [True, False])
def test_feed_can_be_cut_resampled_and_filtered_by_backtrader(runonce: bool) -> None:
    closes: list[list[float]] = []

    class Closes(bt.Strategy):
        def next(self) -> None:
            closes.append([data.close[0] for data in self.datas])

    cerebro = bt.Cerebro(stdstats=False, runonce=runonce)
    rows = from_nine(*[float(10 + number) for number in range(10)])
    feed = CandleFeed(
        dataname=minutes([rows]),
        interval=MINUTE,
        fromdate=datetime(2024, 1, 3, 9, 1),
        sessionend=time(15, 30),
    )
    cerebro.adddata(feed)
    cerebro.resampledata(feed, timeframe=bt.TimeFrame.Minutes, compression=5)
    cerebro.addstrategy(Closes)
    cerebro.run()
    assert closes == [[14, 14], [15, 14], [16, 14], [17, 14], [18, 14], [19, 19]]


def test_the_same_feed_can_run_twice() -> None:
    feed = CandleFeed(dataname=daily([10.0, 11.0]), name="000001")
    counts = []
    for _attempt in range(2):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(feed)
        cerebro.addstrategy(Seen)
        counts.append(len(cerebro.run()[0].bars))
    assert counts == [2, 2]
