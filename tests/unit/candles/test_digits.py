from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from kisbt.candles import digits
from kisbt.candles.columns import VALUES
from kisbt.candles.digits import read_digits
from kisbt.candles.table import parse_table

HEADER = "datetime,open,high,low,close,volume\n"
ROW = "2024-01-02 15:30:00,100,110,90,105,1000\n"


def test_cells_of_any_width_are_read() -> None:
    found = read_digits(
        (
            HEADER
            + "1999-12-31 00:00:00,1,999999999999999,007,20,0\n"
            + "2024-02-29 23:59:59,10,1,123456789,2,345\n"
        ).encode()
    )
    assert found is not None
    times, columns = found
    assert times.astype(str).tolist() == ["1999-12-31T00:00:00", "2024-02-29T23:59:59"]
    assert [column.tolist() for column in columns] == [
        [1.0, 10.0],
        [999_999_999_999_999.0, 1.0],
        [7.0, 123_456_789.0],
        [20.0, 2.0],
        [0.0, 345.0],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        HEADER + ROW.rstrip("\n"),
        HEADER.replace(",volume", ""),
        "\ufeff" + HEADER + ROW,
        HEADER + ROW.replace("\n", "\r\n"),
        HEADER + "\n" + ROW,
        HEADER + ROW.replace("105", "105.5"),
        HEADER + ROW.replace("105", "-105"),
        HEADER + ROW.replace("105", ""),
        HEADER + ROW.replace("105", " 105"),
        HEADER + ROW.replace("105", "1e5"),
        HEADER + ROW.replace("105", "1234567890123456"),
        HEADER + ROW.replace(",1000", ""),
        HEADER + ROW.replace(",1000\n", "\n1000,"),
        HEADER + ROW.replace("1000", "1000,7"),
        HEADER + ROW.replace("2024-01-02 15:30:00", "2024-01-02"),
        HEADER + ROW.replace("2024-01-02", "2023-02-29"),
        HEADER + ROW.replace("2024-01-02", "2024-00-02"),
        HEADER + ROW.replace("2024-01-02", "2024-13-02"),
        HEADER + ROW.replace("2024-01-02", "2024-01-00"),
        HEADER + ROW.replace("2024-01-02", "20240-1-02"),
        HEADER + ROW.replace("15:30:00", "24:00:00"),
        HEADER + ROW.replace("15:30:00", "15:60:00"),
        HEADER + ROW.replace("15:30:00", "15:30:60"),
        HEADER + ROW.replace(" 15", "T15"),
        HEADER + ROW.replace("105", "\uff1105"),
    ],
)
def test_any_other_form_is_left_to_the_parser(text: str) -> None:
    assert read_digits(text.encode()) is None


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
            st.lists(st.integers(0, 10**12), min_size=5, max_size=5),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_cells_are_read_as_python_reads_them(
    rows: list[tuple[datetime, list[int]]],
) -> None:
    text = HEADER + "".join(
        f"{moment:%Y-%m-%d %H:%M:%S},{','.join(map(str, cells))}\n"
        for moment, cells in rows
    )
    found = read_digits(text.encode())
    assert found is not None
    assert found[0].tolist() == [moment.replace(microsecond=0) for moment, _c in rows]
    for number, column in enumerate(found[1]):
        assert column.tolist() == [float(cells[number]) for _moment, cells in rows]


def test_a_decimal_point_changes_no_other_cell(tmp_path: Path) -> None:
    """The two parsers agree on a file that only one of them takes."""
    path = tmp_path / "005930.csv"
    path.write_text(HEADER + ROW + ROW.replace("105", "105.5").replace("02 ", "03 "))
    slow = parse_table(path)
    quick = read_digits((HEADER + ROW).encode())
    assert quick is not None
    assert quick[0][0] == slow.end[0]
    for name, column in zip(VALUES, quick[1], strict=True):
        assert column[0] == getattr(slow, name)[0]


def test_many_blocks_are_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEADER + "".join(
        f"2024-01-02 15:{minute:02}:00,{minute},1,2,3,{10**minute % 10**9}\n"
        for minute in range(60)
    )
    whole = read_digits(text.encode())
    monkeypatch.setattr(digits, "_BLOCK", 7)
    parts = read_digits(text.encode())
    assert whole is not None
    assert parts is not None
    assert whole[0].tolist() == parts[0].tolist()
    assert [c.tolist() for c in whole[1]] == [c.tolist() for c in parts[1]]
