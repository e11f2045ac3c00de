import math
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, strategies as st

from kisbt.report import cells
from kisbt.report.cells import csv_lines

WHOLE = st.integers(-(10**14), 10**14)


def lines(*columns: object) -> list[str]:
    return b"".join(csv_lines([np.asarray(c) for c in columns])).decode().splitlines()


@given(st.lists(WHOLE, min_size=1, max_size=30))
def test_whole_numbers_have_no_decimals(values: list[int]) -> None:
    assert lines(np.array(values, np.float64)) == [str(value) for value in values]


@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=30))
def test_other_numbers_have_15_digits(values: list[float]) -> None:
    # The first makes the column one that is not whole.
    shown = ["" if math.isnan(v) else f"{v:.15g}" for v in (0.5, *values)]
    assert lines(np.array([0.5, *values])) == shown


# Numbers whose 16th digit is a five or nearly one, and what rounding makes longer.
TIES = st.builds(
    lambda whole, scale, up: math.nextafter((2 * whole + 1) / scale, up),
    st.integers(10**13, 10**14),
    st.sampled_from([2, 4, 20, 2**8, 2e5, 2**20, 2e9, 2**30]),
    st.sampled_from([-math.inf, math.inf]),
)
NINES = st.integers(1, 13).map(lambda digits: math.nextafter(10.0**digits, 0))


@given(
    st.lists(
        TIES
        | NINES
        | TIES.map(lambda value: -value)
        | st.floats(1, 1e14)
        | st.floats(1, 1e9).map(lambda value: round(value, 2))
        | st.sampled_from([0.0, -0.0, 1.0, 10_000.0, 10.0001])
        | st.builds(lambda whole, of: whole / of, WHOLE, st.sampled_from([2, 8, 64])),
        min_size=1,
        max_size=30,
    )
)
def test_numbers_from_one_up_have_15_digits(values: list[float]) -> None:
    # The first makes the column one that is not whole.
    assert lines(np.array([1.5, *values])) == [f"{v:.15g}" for v in (1.5, *values)]


@given(
    st.lists(
        st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)),
        min_size=1,
        max_size=30,
    )
)
def test_times_are_iso_8601_of_korea(moments: list[datetime]) -> None:
    found = lines(np.array(moments, "datetime64[s]"))
    assert found == [
        moment.replace(microsecond=0).isoformat() + "+09:00" for moment in moments
    ]


def test_columns_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.datetime64("2024-01-02T15:30:00") + np.arange(5).astype("timedelta64[D]")
    expected = [
        "2024-01-02T15:30:00+09:00,0,,-1",
        "2024-01-03T15:30:00+09:00,9,0.5,22",
        "2024-01-04T15:30:00+09:00,10000,2,-333",
        "2024-01-05T15:30:00+09:00,99999999,3,4444",
        "2024-01-06T15:30:00+09:00,100000000,4,-55555",
    ]
    columns = (
        times,
        np.array([0.0, 9.0, 1e4, 99_999_999.0, 1e8]),
        np.array([math.nan, 0.5, 2.0, 3.0, 4.0]),
        np.array([-1.0, 22.0, -333.0, 4444.0, -55555.0]),
    )
    assert lines(*columns) == expected
    monkeypatch.setattr(cells, "_BLOCK", 2)
    assert lines(*columns) == expected


def test_no_rows_are_no_lines() -> None:
    assert lines(np.array([], "datetime64[s]"), np.array([])) == []
