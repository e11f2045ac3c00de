import numpy as np
import pytest

from kisbt.candles.columns import CandleColumns
from kisbt.candles.resample import resample


def minutes(*ends: str) -> CandleColumns:
    """Candles number 1, 2, 3 … : open n, high n + 0.5, low n - 0.5, close n, volume n."""
    number = np.arange(1.0, len(ends) + 1)
    return CandleColumns(
        np.array(ends, "datetime64[s]"),
        number,
        number + 0.5,
        number - 0.5,
        number,
        number,
    )


def _ends(candles: CandleColumns) -> list[str]:
    return [text[5:16] for text in np.datetime_as_string(candles.end, unit="s")]


def test_a_candle_takes_what_ended_within_it() -> None:
    made = resample(
        minutes(
            "2025-09-01T09:01:00",
            "2025-09-01T09:05:00",
            "2025-09-01T09:06:00",
            "2025-09-01T09:10:00",
        ),
        5,
    )
    assert _ends(made) == ["09-01T09:05", "09-01T09:10"]
    assert made.open.tolist() == [1, 3]
    assert made.high.tolist() == [2.5, 4.5]
    assert made.low.tolist() == [0.5, 2.5]
    assert made.close.tolist() == [2, 4]
    assert made.volume.tolist() == [3, 7]


@pytest.mark.parametrize(
    ("day", "last", "length", "end"),
    [
        ("2025-09-01", "15:30", 60, "15:30"),
        ("2025-09-01", "15:20", 60, "15:30"),
        ("2025-09-01", "15:30", 7, "15:30"),
        ("2016-07-29", "14:50", 60, "15:00"),
        ("2025-11-13", "15:31", 60, "16:00"),
        ("2025-11-13", "16:30", 60, "16:30"),
    ],
)
def test_the_last_candle_ends_at_the_close(day, last, length, end) -> None:
    assert _ends(resample(minutes(f"{day}T{last}"), length)) == [f"{day[5:]}T{end}"]


def test_nothing_spans_two_sessions() -> None:
    made = resample(minutes("2025-09-01T15:30:00", "2025-09-02T09:01:00"), 1440)
    assert _ends(made) == ["09-01T15:30", "09-02T15:30"]


def test_a_candle_after_the_close_is_not_moved_before_it() -> None:
    made = resample(minutes("2025-09-01T15:30:00", "2025-09-01T16:01:00"), 30)
    assert _ends(made) == ["09-01T15:30", "09-01T16:30"]


def test_nothing_becomes_nothing() -> None:
    assert len(resample(CandleColumns.empty(), 5)) == 0
