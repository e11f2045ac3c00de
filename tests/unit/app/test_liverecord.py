"""What a run notes of its candles."""

from datetime import datetime, timedelta

from kisbt.app.liverecord import Record
from kisbt.candles.growing import GrowingCandles
from kisbt.krx.calendar import KST
from kisbt.model.candle import Candle

FIRST = datetime(2026, 3, 2, 9, 1, tzinfo=KST)


def _candle(minute: int) -> Candle:
    return Candle(
        end=FIRST + timedelta(minutes=minute),
        open=1000.0,
        high=1002.0,
        low=999.0,
        close=1001.0 + minute,
        volume=5.0,
    )


def _seen(record: Record, symbol: str) -> list[float]:
    return record.seen(symbol).close.tolist()


def test_what_went_out_is_seen() -> None:
    record = Record()
    assert _seen(record, "990001") == []
    record.published(FIRST, {"990001": _candle(0)}, live=True)
    record.published(FIRST, {"990001": _candle(1), "990002": _candle(1)}, live=False)
    assert _seen(record, "990001") == [1001.0, 1002.0]
    assert _seen(record, "990002") == [1002.0]
    assert (record.first_bar, record.last_bar) == (_candle(0).end, _candle(1).end)
    assert record.held_bars == [_candle(1).end]


def test_candles_kept_elsewhere_are_kept_once_and_seen_when_they_go_out() -> None:
    made = {"990001": GrowingCandles(), "990002": GrowingCandles()}
    record = Record(made=made)
    for minute in range(3):
        made["990001"].append(_candle(minute))
    record.published(FIRST, {"990001": _candle(0)}, live=True)
    record.published(FIRST, {"990001": _candle(1)}, live=True)
    assert record.candles["990001"] is made["990001"]
    assert len(made["990001"]) == 3
    # The third is held back until the orders of the day are accounted for.
    assert _seen(record, "990001") == [1001.0, 1002.0]
    assert _seen(record, "990002") == []
