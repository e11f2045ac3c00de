import os
from pathlib import Path

import pytest

from kisbt.candles.files import replace_files
from kisbt.errors import StorageError


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def test_files_and_their_folders_are_made(tmp_path: Path) -> None:
    replace_files({tmp_path / "1d" / "a.csv": b"a", tmp_path / "1m" / "b.csv": b"b"})
    assert (tmp_path / "1d" / "a.csv").read_bytes() == b"a"
    assert _names(tmp_path) == ["1d/a.csv", "1m/b.csv"]


def test_a_full_disk_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_bytes(b"old")
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"b\.csv: not written: No space left"):
        replace_files({tmp_path / "a.csv": b"new", tmp_path / "b.csv": b"new"})
    assert (tmp_path / "a.csv").read_bytes() == b"old"
    assert _names(tmp_path) == ["a.csv"]


def test_a_file_where_a_folder_is_needed_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "1d").write_bytes(b"")
    with pytest.raises(StorageError, match="not written"):
        replace_files({tmp_path / "1d" / "a.csv": b"a"})


def test_written_files_are_readable_by_others(tmp_path: Path) -> None:
    replace_files({tmp_path / "a.csv": b"a"})
    assert (tmp_path / "a.csv").stat().st_mode & 0o444 == 0o444
