import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from kisbt.app.init import init_folder
from kisbt.config import load_config, resolve_universe
from kisbt.errors import InputError, StorageError
from kisbt.text import use_language


def test_a_new_folder_has_everything_a_backtest_needs(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "mine"
    names = [path.name for path in init_folder(target)]
    assert names == [".gitignore", "README.md", "configs", "data", "strategies"]
    config = load_config(target / "configs" / "ma_rsi_bollinger.yaml")
    assert config.data_path == (target / "data").resolve()
    for instrument in resolve_universe(config, {}):
        assert (config.data_path / "1d" / f"{instrument.symbol}.csv").is_file()
    assert not list(target.rglob("__pycache__"))
    assert not list(target.rglob("*.npy"))


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert len(init_folder(tmp_path)) == 5


def test_the_readme_speaks_the_users_language(tmp_path: Path) -> None:
    with use_language("ko"):
        init_folder(tmp_path / "ko")
    assert "프로젝트" in (tmp_path / "ko" / "README.md").read_text("utf-8")


def test_a_folder_in_use_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="is not empty"):
        init_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(InputError, match="is a file; name a new folder"):
        init_folder(path)


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = []

    def copy_three(source: Any, target: Any, **_rest: Any) -> Any:
        if len(copied) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        copied.append(target)
        return real(source, target)

    real = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", copy_three)
    target = tmp_path / "x"
    with pytest.raises(StorageError, match=r"No space left.*nothing was kept"):
        init_folder(target)
    assert not target.exists()
