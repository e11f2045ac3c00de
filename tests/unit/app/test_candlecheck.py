"""Candles made of trades beside the broker's chart: each difference once."""

from datetime import datetime, timedelta

from kisbt.app.candlecheck import ChartComparison
from kisbt.app.liverecord import Record
from kisbt.candles.live import CandleBuilder
from kisbt.clock import KST, ManualClock
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import Candle
from kisbt.model.liverun import CandleChange, CandleEvent
from kisbt.model.quote import Tick

SYMBOL = "990001"
OPEN = datetime(2025, 12, 29, 9, 0, tzinfo=KST)
MINUTE = timedelta(minutes=1)


def chart(minutes: int, close: float) -> Candle:
    return Candle(
        end=OPEN + minutes * MINUTE,
        open=1000.0,
        high=max(1000.0, close),
        low=1000.0,
        close=close,
        volume=1.0,
    )


def test_each_difference_is_noted_once_and_changes_nothing() -> None:
    builder = CandleBuilder(default_calendar(), [SYMBOL])
    record, clock = Record(), ManualClock(OPEN + 5 * MINUTE)
    comparison = ChartComparison(builder, record, clock)
    for seconds in (10, 130):
        at = OPEN + timedelta(seconds=seconds)
        builder.add(Tick(SYMBOL, at, 1000, 1, 0, 0, 0, None))
    batches = builder.close_due(OPEN + 4 * MINUTE)
    published = batches[0].candles[SYMBOL]
    comparison.compare(SYMBOL, [published])
    assert list(record.candle_events) == []
    for _look in range(3):
        comparison.compare(SYMBOL, [chart(1, 1005.0), chart(2, 1000.0)])
    revised, late = record.candle_events
    assert revised == CandleEvent(
        at=clock.now(),
        kind=CandleChange.REVISED,
        symbol=SYMBOL,
        bar=published.end,
        open=1000.0,
        high=1000.0,
        low=1000.0,
        close=1000.0,
        volume=1.0,
        true_open=1000.0,
        true_high=1005.0,
        true_low=1000.0,
        true_close=1005.0,
        true_volume=1.0,
    )
    assert (late.kind, late.bar) == (CandleChange.LATE, OPEN + 2 * MINUTE)
    assert (late.close, late.true_close) == (None, 1000.0)
    assert builder.candles[SYMBOL][0] == published
    assert len(builder.candles[SYMBOL]) == 2


def test_what_can_still_go_out_is_no_difference() -> None:
    builder = CandleBuilder(default_calendar(), [SYMBOL])
    record = Record()
    comparison = ChartComparison(builder, record, ManualClock(OPEN))
    comparison.compare(SYMBOL, [chart(2, 1000.0)])
    assert list(record.candle_events) == []
