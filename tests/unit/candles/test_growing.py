"""Candles that grow come out as they went in."""

from datetime import datetime, timedelta

from kisbt.candles.growing import GrowingCandles
from kisbt.krx.calendar import KST
from kisbt.model.candle import Candle

FIRST = datetime(2026, 3, 2, 9, 1, tzinfo=KST)


def _candle(minute: int) -> Candle:
    price = 1000.0 + minute / 3
    return Candle(
        end=FIRST + timedelta(minutes=minute),
        open=price,
        high=price + 2,
        low=price - 2,
        close=price + 1,
        volume=10.0 * minute,
    )


def _grown(*minutes: int) -> GrowingCandles:
    grown = GrowingCandles()
    for minute in minutes:
        grown.append(_candle(minute))
    return grown


def test_a_candle_comes_out_as_it_went_in() -> None:
    grown = _grown(0, 1, 5)
    assert list(grown) == [_candle(0), _candle(1), _candle(5)]
    assert grown[-1].end.tzinfo is KST


def test_a_candle_is_found_by_its_end() -> None:
    grown = _grown(0, 1, 5)
    assert grown.find(_candle(5).end) == _candle(5)
    assert grown.find(_candle(3).end) is None
    assert grown.find(_candle(9).end) is None
    assert grown.first_from(_candle(2).end) == 2


def test_columns_are_a_copy() -> None:
    grown = _grown(0, 1, 5)
    columns = grown.columns()
    grown.append(_candle(6))
    assert columns.end.tolist()[-1] == datetime(2026, 3, 2, 9, 6)
    assert columns.close.tolist() == [_candle(n).close for n in (0, 1, 5)]
    assert len(grown.columns(2)) == 2
    assert len(GrowingCandles().columns()) == 0
