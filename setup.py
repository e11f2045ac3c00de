"""Build step that setup.cfg cannot express: the starter files of `kisbt init`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
PARTS = ("configs", "strategies", "data")
SAMPLE_PREFIX = "99"


def leave_out(folder: str, names: list[str]) -> set[str]:
    """Name what is no part of the starter: caches and a developer's own candles."""
    out = {n for n in names if n == "__pycache__" or n.endswith((".pyc", ".npy"))}
    if Path(folder).name in {"1d", "1m"}:
        out |= {n for n in names if not n.startswith(SAMPLE_PREFIX)}
    elif Path(folder) == HERE / "data":
        out |= {n for n in names if n not in {"1d", "1m", "README.md", "symbols.csv"}}
    return out


class BuildWithStarter(build_py):
    """Copy `configs`, `strategies` and `data` into `kisbt/starter` of a wheel."""

    def run(self) -> None:
        """Build as usual, then copy; an editable install reads the checkout."""
        super().run()
        if self.editable_mode:
            return
        for part in PARTS:
            target = Path(self.build_lib) / "kisbt" / "starter" / part
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / part, target, ignore=leave_out)


setup(cmdclass={"build_py": BuildWithStarter})
