import numpy as np
import pytest

from kisbt.candles.columns import CandleColumns, halted
from kisbt.errors import BadCandle

ENDS = ["2024-01-02T15:30:00", "2024-01-03T15:30:00", "2024-01-04T15:30:00"]


def _candles(ends: list[str] = ENDS, **changes: list[float]) -> CandleColumns:
    values: dict[str, list[float]] = {
        "open": [10, 11, 12],
        "high": [12, 13, 14],
        "low": [9, 10, 11],
        "close": [11, 12, 13],
        "volume": [100, 0, 300],
    } | changes
    return CandleColumns(np.array(ends, "datetime64[s]"), **values)  # type: ignore[arg-type]


def test_columns_are_converted_and_frozen() -> None:
    candles = _candles()
    assert len(candles) == 3
    assert candles.close.dtype == np.float64
    assert candles.end.dtype == np.dtype("datetime64[s]")
    with pytest.raises(ValueError, match="read-only"):
        candles.close[0] = 1


def test_columns_leave_the_arrays_of_the_caller_writable() -> None:
    close = np.array([1.0, 2.0, 3.0])
    _candles(close=close)  # type: ignore[arg-type]
    close[0] = 5.0


@pytest.mark.parametrize(
    ("ends", "changes", "said"),
    [
        (ENDS[:2], {}, "differ in length"),
        (ENDS, {"volume": [1, 2]}, "differ in length"),
        ([ENDS[0], ENDS[0], ENDS[1]], {}, "candle 2: .* does not come after"),
        (ENDS[::-1], {}, "does not come after"),
        (["NaT", *ENDS[:2]], {}, "no time"),
    ],
)
def test_columns_refuse_what_is_not_a_series(ends, changes, said) -> None:
    with pytest.raises(BadCandle, match=said):
        _candles(ends, **changes)


@pytest.mark.parametrize(
    ("first", "last", "kept"),
    [
        (None, None, [0, 1, 2]),
        ("2024-01-03", None, [1, 2]),
        (None, "2024-01-03", [0, 1]),
        ("2024-01-03T15:30:00", "2024-01-03T15:30:00", [1]),
        ("2024-01-03T15:30:01", "2024-01-04T15:29:59", []),
        ("2025-01-01", None, []),
    ],
)
def test_between_includes_both_bounds(first, last, kept) -> None:
    candles = _candles()
    part = candles.between(
        None if first is None else np.datetime64(first),
        None if last is None else np.datetime64(last),
    )
    assert part.close.tolist() == candles.close[kept].tolist()


def test_slice_and_where_keep_all_columns_together() -> None:
    candles = _candles()
    assert candles.slice(1, None).open.tolist() == [11, 12]
    kept = candles.where(candles.volume > 0)
    assert kept.end.tolist() == candles.end[[0, 2]].tolist()
    assert kept.volume.tolist() == [100, 300]


def test_empty_has_no_candles() -> None:
    assert len(CandleColumns.empty()) == 0
    assert CandleColumns.empty().sessions.dtype == np.dtype("datetime64[D]")


def test_halted_needs_all_three_prices_zero() -> None:
    candles = _candles(open=[0, 0, 12], high=[0, 13, 14], low=[0, 0, 11])
    assert halted(candles).tolist() == [True, False, False]
