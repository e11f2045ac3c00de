"""Rows 82-90 at the journal: killed at any commit, nothing is lost or done twice."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.journal_worker import faults

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL"),
]

ROOT = Path(__file__).resolve().parents[2]
MARKS = ("W0", "W1", "W2", "P", "W3", "W4", "W5", "W6")


def work(folder: Path, seed: int, mark: str = "never", count: int = 1) -> bool:
    """Run a worker; return whether it was killed."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.helpers.journal_worker",
            str(folder),
            str(seed),
            mark,
            str(count),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def folder_of(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.parametrize("mark", MARKS)
def test_a_kill_at_any_commit_loses_and_doubles_nothing(
    tmp_path: Path, mark: str
) -> None:
    folder = folder_of(tmp_path, "run")
    assert work(folder, 1, mark, 1 if mark == "W0" else 2)
    work(folder, 2)
    assert faults(folder) == []


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mark", MARKS)
def test_fifty_kills_at_each_commit(tmp_path: Path, mark: str) -> None:
    killed = 0
    for turn in range(50):
        folder = folder_of(tmp_path, f"run{turn}")
        killed += work(folder, turn, mark, 1 + turn % (1 if mark == "W0" else 6))
        work(folder, turn + 1000)
        assert faults(folder) == [], turn
        shutil.rmtree(folder)
    assert killed >= 45


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 20))]
)
def test_kills_during_recovery_lose_and_double_nothing(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    folder = folder_of(tmp_path, "run")
    kills = sum(
        work(folder, seed + turn, dice.choice(MARKS[1:]), dice.randint(1, 3))
        for turn in range(6)
    )
    work(folder, seed + 99)
    assert faults(folder) == []
    assert kills >= 1


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.9])
def test_a_power_cut_leaves_a_journal_that_can_be_used(
    tmp_path: Path, keep: float
) -> None:
    folder = folder_of(tmp_path, "run")
    assert work(folder, 1, "W5", 3)
    # Of what was not yet known to be on the disk, any first part may have got there.
    log = folder / "journal.db-wal"
    torn = log.read_bytes()
    last = len(torn) - 4096 - 24
    log.write_bytes(torn[: last + int(4120 * keep)])
    work(folder, 2)
    assert faults(folder) == []
