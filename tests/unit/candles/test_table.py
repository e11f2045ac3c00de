import os
from pathlib import Path

import numpy as np
import pytest

from kisbt.candles.columns import CandleColumns
from kisbt.candles.table import format_table, read_columns
from kisbt.errors import BadCandle, StorageError

HEADER = "datetime,open,high,low,close,volume\n"
ROW_1 = "2024-01-02 15:30:00,100,110,90,105,1000\n"
ROW_2 = "2024-01-03 15:30:00,105,108,101,102.5,900\n"


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "005930.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_file_reads_as_written(tmp_path: Path) -> None:
    candles = read_columns(_file(tmp_path, HEADER + ROW_1 + ROW_2))
    assert (
        candles.end.tolist()
        == np.array(["2024-01-02T15:30", "2024-01-03T15:30"], "datetime64[s]").tolist()
    )
    assert candles.close.tolist() == [105, 102.5]
    assert format_table(candles).decode() == HEADER + ROW_1 + ROW_2


@pytest.mark.parametrize("text", [HEADER, "\ufeff" + HEADER.replace("\n", "\r\n")])
def test_a_file_with_only_a_header_is_empty(tmp_path: Path, text: str) -> None:
    assert len(read_columns(_file(tmp_path, text))) == 0


def test_prices_are_read_to_the_last_bit(tmp_path: Path) -> None:
    text = "0.1234567890123456789"
    row = f"2024-01-02 15:30:00,{text},{text},{text},{text},1\n"
    assert read_columns(_file(tmp_path, HEADER + row)).close[0] == float(text)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "empty"),
        ("date,open,high,low,close,volume\n", 1, "the header is"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,1,2,,1,1\n", 3, "low is ''"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,1,x,1,1,1\n", 3, "high is 'x'"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,1,2,1,nan,1\n", 3, "close is 'nan'"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,1,2,1,inf,1\n", 3, "close is 'inf'"),
        (HEADER + ROW_1 + "2024-01-03,1,2,1,1,1\n", 3, "is no time"),
        (HEADER + "2024-13-03 15:30:00,1,2,1,1,1\n", 2, "is no time"),
        (HEADER + ROW_2 + ROW_1, 3, "does not come after"),
        (HEADER + ROW_1 + ROW_1, 3, "does not come after"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,1,2,1\n", 3, "4 cells"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,1,2,1,1,1,9\n", 3, "7 cells"),
        (HEADER + "2024-01-03 15:30:00,1,2,1,1,1,9\n" * 2, 2, "7 cells"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,5,4,6,5,1\n", 3, "expected 0 < low"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,5,6,4,7,1\n", 3, "expected 0 < low"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,-5,6,-5,5,1\n", 3, "expected 0 < low"),
        (HEADER + ROW_1 + "2024-01-03 15:30:00,5,6,4,5,-1\n", 3, "volume ≥ 0"),
        (HEADER + ROW_1 + "\n\n2024-01-03 15:30:00,5,x,4,5,1\n", 5, "high is 'x'"),
        (HEADER.encode() + b"\xb3\xaf,1,1,1,1,1\n", 0, "not UTF-8"),
    ],
)
def test_a_broken_row_names_file_and_line(
    tmp_path: Path, text: str | bytes, line: int, said: str
) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(BadCandle, match=said) as caught:
        read_columns(path)
    assert caught.value.line == line
    assert caught.value.file == str(path)
    assert str(path) in str(caught.value)
    assert not path.with_suffix(".npy").exists()


def test_a_halt_is_no_broken_row(tmp_path: Path) -> None:
    path = _file(tmp_path, HEADER + ROW_1 + "2024-01-03 15:30:00,0,0,0,105,0\n")
    assert read_columns(path).open.tolist() == [100, 0]


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_columns(tmp_path / "none.csv")


def test_the_cache_is_used_while_the_file_is_unchanged(tmp_path: Path) -> None:
    path = _file(tmp_path, HEADER + ROW_1)
    first = read_columns(path)
    cache = path.with_suffix(".npy")
    written = cache.stat().st_mtime_ns
    # Same size and time, other content: only the cache can answer 105.
    stat = path.stat()
    path.write_text(HEADER + ROW_1.replace(",105,", ",106,"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read_columns(path).close.tolist() == first.close.tolist() == [105]
    assert cache.stat().st_mtime_ns == written


@pytest.mark.parametrize("change", ["size", "time"])
def test_the_cache_is_renewed_when_the_file_changes(
    tmp_path: Path, change: str
) -> None:
    path = _file(tmp_path, HEADER + ROW_1)
    read_columns(path)
    stat = path.stat()
    if change == "size":
        path.write_text(HEADER + ROW_1 + ROW_2)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert len(read_columns(path)) == 2
    else:
        path.write_text(HEADER + ROW_1.replace(",105,", ",106,"))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        assert read_columns(path).close.tolist() == [106]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"no numpy file",
        lambda whole: whole[:-8],
        lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
        lambda whole: whole.replace(b"<i8", b"<f8"),
    ],
)
def test_a_corrupt_cache_is_ignored_and_renewed(tmp_path: Path, damage) -> None:
    path = _file(tmp_path, HEADER + ROW_1)
    read_columns(path)
    cache = path.with_suffix(".npy")
    whole = cache.read_bytes()
    cache.write_bytes(damage(whole))
    assert read_columns(path).close.tolist() == [105]
    assert cache.read_bytes() == whole


def test_a_cache_of_pickles_is_never_loaded(tmp_path: Path) -> None:
    path = _file(tmp_path, HEADER + ROW_1)
    np.save(path.with_suffix(".npy"), np.array([print], dtype=object))
    assert read_columns(path).close.tolist() == [105]


def test_a_folder_that_takes_no_files_still_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path, HEADER + ROW_1)

    def refuse(**_options: object) -> tuple[int, str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("kisbt.candles.files.tempfile.mkstemp", refuse)
    assert read_columns(path).close.tolist() == [105]
    assert [file.name for file in tmp_path.iterdir()] == ["005930.csv"]


def test_fractions_and_whole_numbers_are_written_short() -> None:
    candles = CandleColumns(
        np.array(["2024-01-02T15:30:00"], "datetime64[s]"),
        *([value] for value in (1000.0, 1000.25, 999.1, 1e15, 3.0)),  # type: ignore[arg-type]
    )
    last = format_table(candles).decode().splitlines()[1]
    assert last == "2024-01-02 15:30:00,1000,1000.25,999.1,1000000000000000,3"
