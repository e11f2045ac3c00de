"""No key in anything the tests write: record all of it, then look for keys.

With ``KISBT_TRACES=FOLDER`` every process of pytest writes there, at DEBUG, what is
logged, printed and raised (`conftest.py` hooks it in). After the run
``python -m tests.helpers.canary FOLDER`` searches that, the run's temporary folders
below it, and the repository itself except the tests, where the keys are invented.

A key may stand in a file only its owner can read, and in what a test itself hands in.
"""

import logging
import os
import re
import stat
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

import pytest

import kisbt
from kisbt.errors import KisbtError

VARIABLE = "KISBT_TRACES"

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(kisbt.__file__).resolve().parent

# The keys of tests/helpers/kis.py and of every emulator, tokens, and those of single
# tests of keys.
CANARIES = {
    "key of a server that is none": rb"KISBTEMULATOR[0-9A-Za-z]{8,}",
    "token": rb"eyJINVENTED|eyJ[0-9A-Za-z]{8,}\.[0-9A-Za-z]{8,}",
    "app key": rb"PSk{8,}|(?:canarykey){2,}",
    "HTS id": rb"canaryhts",
    "account": rb"(?<![0-9])50112233(?![0-9]{3,})",
}
_ANY = re.compile(
    b"|".join(b"(?P<k%d>%s)" % (at, text) for at, text in enumerate(CANARIES.values()))
)
_NAMES = tuple(CANARIES)

# What a test writes for the program to read.
_HANDED_IN = re.compile(r"ready.*\.json|kis_devlp.*\.ya?ml")
_NOT_OURS = {".git", ".venv", ".venv-peers", "tests", "__pycache__"}
_CACHES = {".mypy_cache", ".ruff_cache", ".import_linter_cache", "node_modules"}

# A million broken frames raise a million errors from a few lines.
_PER_LINE = 10


class Recorder:
    """Writes what one process of pytest says beside its log."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._seen: Counter[tuple[str, int]] = Counter()
        self._plain = KisbtError.__init__

    def start(self) -> None:
        """Note every error of kisbt where it is made, with all variables there."""
        recorder = self

        def note(error: KisbtError, *arguments: object) -> None:
            Exception.__init__(error, *arguments)
            recorder.raised(error, sys._getframe(1))

        KisbtError.__init__ = note  # type: ignore[method-assign]

    def stop(self) -> None:
        KisbtError.__init__ = self._plain  # type: ignore[method-assign]
        self._out.close()

    def raised(self, error: KisbtError, frame: FrameType) -> None:
        place = (frame.f_code.co_filename, frame.f_lineno)
        self._seen[place] += 1
        if self._seen[place] > _PER_LINE:
            return
        # The test's frames know the keys, and so do those of the emulator.
        stack = [
            (item, line)
            for item, line in traceback.walk_stack(frame)
            if _is_ours(item.f_code.co_filename)
        ]
        if not stack:
            return
        text = traceback.StackSummary.extract(iter(stack), capture_locals=True)
        self._out.write(f"{type(error).__name__}: {error}\n{error!r}\n")
        self._out.writelines(text.format())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        """Note what a test printed, and how it failed."""
        report = yield
        for name, content in report.sections:
            if "log" not in name:
                self._out.write(f"{report.nodeid} {name}\n{content}\n")
        return report


def _is_ours(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(PACKAGE) and "emulator" not in path.parts


def record(config: pytest.Config) -> None:
    """Make this process of pytest write down everything, if it is asked for."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    # One file a process: they write at the same time.
    name = Path(folder) / os.environ.get("PYTEST_XDIST_WORKER", "main")
    config.option.log_file = f"{name}.log"
    config.option.log_file_level = "DEBUG"
    for server in ("uvicorn", "websockets"):  # the emulator's own end of the wire
        logging.getLogger(server).setLevel(logging.INFO)
    # Closed by the recorder.
    out = Path(f"{name}.out").open(  # noqa: SIM115
        "w", encoding="utf-8", errors="backslashreplace"
    )
    recorder = Recorder(out)
    recorder.start()
    config.add_cleanup(recorder.stop)
    config.pluginmanager.register(recorder, "canary")


def search(folder: Path, skip: frozenset[str] = frozenset()) -> Iterator[str]:
    """Tell every key in the files of a folder, by file and line, never the key."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in skip]
        for name in files:
            path = Path(parent, name)
            if not _HANDED_IN.fullmatch(name) and _is_open(path):
                yield from _keys_in(path)


def _is_open(path: Path) -> bool:
    """Return whether a file is one that others than its owner may read."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o077)


def _keys_in(path: Path) -> Iterator[str]:
    content = path.read_bytes()
    for found in _ANY.finditer(content):
        line = content.count(b"\n", 0, found.start()) + 1
        yield f"{path}:{line}: {_NAMES[int(found.lastgroup[1:])]}"


def main(folder: Path) -> int:
    """Search everything a run left; return 1 if a key was found."""
    logs = list(folder.glob("*.log"))
    if not any(log.stat().st_size for log in logs):
        sys.stderr.write(f"{folder}: no log of a test run, nothing was searched\n")
        return 1
    found = [*search(folder), *search(ROOT, frozenset(_NOT_OURS | _CACHES))]
    for line in found[:50]:
        sys.stderr.write(line + "\n")
    megabytes = sum(path.stat().st_size for path in folder.glob("*.*")) / 1e6
    sys.stderr.write(f"{len(found)} keys in {megabytes:.0f} MB of logs, in files\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
