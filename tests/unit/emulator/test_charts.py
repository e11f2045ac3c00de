"""Minutes of the emulator's charts, with trades that are in no candle."""

from datetime import datetime, time, timedelta

import pytest

from kisbt.clock import KST
from kisbt.emulator.charts import minute_rows, with_inserted
from kisbt.emulator.engine import Forming
from kisbt.emulator.market import Bar

CLOSES = time(15, 30)


def _at(hour: int, minute: int) -> datetime:
    return datetime(2025, 11, 3, hour, minute, tzinfo=KST)


def _bar(start: datetime, *prices: int, volume: int = 10) -> Bar:
    return Bar("990001", start, start + timedelta(minutes=1), *prices, volume)


def _forming(start: datetime, price: int, volume: int = 3) -> Forming:
    return Forming(start, price, price, price, price, volume)


def _rows(bars: list[Bar], *inserted: Forming) -> list[tuple[object, ...]]:
    found = with_inserted(bars, {item.start: item for item in inserted}, CLOSES)
    return [
        (row.start, row.open, row.high, row.low, row.close, row.volume)
        for row in reversed(minute_rows(found, time(15, 59), 99, CLOSES))
    ]


def test_trades_join_their_minute() -> None:
    bars = [
        _bar(_at(10, 0), 100, 105, 95, 101),
        _bar(_at(10, 1), 103, 104, 102, 102),
    ]
    assert _rows(bars, _forming(_at(10, 1), 101), _forming(_at(10, 2), 102)) == [
        (time(10, 0), 100, 105, 95, 101, 10),
        (time(10, 1), 101, 104, 101, 102, 13),
        (time(10, 2), 102, 102, 102, 102, 3),
    ]


@pytest.mark.parametrize("auction", [100, 102])
def test_closing_auction_keeps_its_own_minute(auction: int) -> None:
    bars = [_bar(_at(15, 19), 100, 101, 99, 100), _bar(_at(15, 29), *[auction] * 4)]
    assert _rows(bars, _forming(_at(15, 29), 100), _forming(_at(15, 30), auction)) == [
        (time(15, 19), 100, 101, 99, 100, 10),
        (time(15, 29), 100, 100, 100, 100, 3),
        (time(15, 30), auction, auction, auction, auction, 13),
    ]
