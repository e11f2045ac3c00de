"""Make a user's folder: configurations, strategies and the sample candles."""

import shutil
from importlib.resources import files
from pathlib import Path

from kisbt.errors import InputError, StorageError
from kisbt.text import _, current_language

PARTS = ("configs", "strategies", "data")
"""Folders a project starts with."""


def starter_folder() -> Path:
    """Return where the folders to copy lie.

    A wheel carries them in `kisbt/starter`; a checkout has them at its top.

    Raises:
        StorageError: neither is there; the installation is damaged.
    """
    package = Path(str(files("kisbt")))
    for folder in (package / "starter", package.parent):
        if all((folder / part).is_dir() for part in PARTS):
            return folder
    raise StorageError(
        _("{folder} has no starter files; install kisbt again").format(folder=package)
    )


def init_folder(target: Path) -> list[Path]:
    """Copy the starter files to `target`; return what lies in it then.

    Either everything is there afterwards or nothing.

    Args:
        target: a new or an empty folder.

    Raises:
        InputError: it is a file, or not empty.
        StorageError: it could not be written.
    """
    target = target.expanduser().absolute()
    if target.exists() and not target.is_dir():
        raise InputError(_("{path} is a file; name a new folder").format(path=target))
    existed = target.is_dir()
    if existed and any(target.iterdir()):
        raise InputError(
            _("{path} is not empty; name a new or an empty folder").format(path=target)
        )
    source = starter_folder()
    try:
        target.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            shutil.copytree(
                source / part,
                target / part,
                copy_function=shutil.copyfile,
                ignore=_ignore,
            )
        (target / ".gitignore").write_text(_GITIGNORE, encoding="utf-8")
        readme = _README_KO if current_language() == "ko" else _README_EN
        (target / "README.md").write_text(readme, encoding="utf-8")
    except (OSError, shutil.Error) as error:
        for part in (*PARTS, ".gitignore", "README.md"):
            _remove(target / part)
        if not existed:
            _remove(target)
        raise StorageError(
            _("{path} cannot be written: {error}; nothing was kept there").format(
                path=target, error=_reason(error)
            )
        ) from error
    return sorted(target.iterdir())


def _reason(error: OSError) -> str:
    if error.strerror:
        return error.strerror
    # shutil.Error: a list of (source, destination, why)
    return str(error.args[0][0][2]) if error.args else str(error)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _ignore(folder: str, names: list[str]) -> set[str]:
    """Leave out caches, and in a checkout the developer's own candles."""
    left_out = {
        name
        for name in names
        if name in {"__pycache__", ".cache"} or name.endswith((".pyc", ".npy"))
    }
    if Path(folder).name in {"1d", "1m"}:
        left_out |= {name for name in names if not name.startswith(SAMPLE_PREFIX)}
    return left_out


SAMPLE_PREFIX = "99"
"""How the codes of the bundled synthetic sample begin."""

_GITIGNORE = """\
# run output and caches
/runs/
/demo/
__pycache__/
*.npy

# your own candles; the bundled sample is kept
/data/*
!/data/README.md
!/data/symbols.csv
!/data/1d/
/data/1d/*
!/data/1d/99*.csv
!/data/1m/
/data/1m/*
!/data/1m/99*.csv

# secrets and state
.env
.env.*
*.key
*.pem
kis_devlp.yaml
*token*.json
secrets.*
*.sqlite
*.sqlite-*
"""

_README_EN = """\
# My kisbt project

- `configs/` what to run: strategy, symbols, candles, costs, limits
- `strategies/` the strategies; a new one: `kisbt strategy new my_idea`
- `data/` candles; 990001-990005 and the index 990100 are synthetic

```
kisbt backtest                        # configs/ma_rsi_bollinger.yaml
kisbt backtest configs/ma_cross.yaml
kisbt data import FILE --symbol 005930 --interval 1d
kisbt config check configs/ma_cross.yaml
```
"""

_README_KO = """\
# 나의 kisbt 프로젝트

- `configs/` 실행 설정: 전략, 종목, 캔들, 비용, 한도
- `strategies/` 전략; 새로 만들기: `kisbt strategy new my_idea`
- `data/` 캔들; 990001-990005와 지수 990100은 가상의 자료입니다

```
kisbt backtest                        # configs/ma_rsi_bollinger.yaml
kisbt backtest configs/ma_cross.yaml
kisbt data import FILE --symbol 005930 --interval 1d
kisbt config check configs/ma_cross.yaml
```
"""
