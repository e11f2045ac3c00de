"""History over the real client from the emulator: the replayed candles come back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path

import numpy as np
import pytest

from kisbt.app.connect import emulator_access
from kisbt.app.fetch import Fetched, FetchRequest, fetch_history
from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.clock import KST, SystemClock
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.model.account import Environment
from kisbt.model.candle import DAILY, MINUTE, Interval

pytestmark = pytest.mark.e2e

SAMPLE = Path(__file__).resolve().parents[2] / "data"
SYMBOL = "990001"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def last_session(interval: Interval) -> date:
    return CandleStore(SAMPLE).read(SYMBOL, interval).sessions[-1].item()


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[tuple[Emulator, Path]]:
    """A real server that replays the sample, in the evening of its last session."""
    settings = Settings(
        data=SAMPLE,
        start=datetime.combine(last_session(DAILY), time(18, 30), KST),
        environment="real",
        step=True,
        limits=False,
    )
    with Emulator(settings) as running:
        ready = tmp_path / "ready.json"
        ready.write_text(json.dumps(running.ready))
        yield running, ready


def fetch(
    emulator: tuple[Emulator, Path], data: Path, interval: Interval, first: date
) -> Fetched:
    running, ready = emulator
    request = FetchRequest(symbols=(SYMBOL,), interval=interval, first=first)
    (found,) = fetch_history(
        request,
        emulator_access(ready, Environment.REAL),
        data,
        clock=_Evening(running.now()),
        interval_s=0.0,
    )
    return found


class _Evening:
    """The emulator's date with waits of real time."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._real = SystemClock()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._real.monotonic()

    def sleep(self, seconds: float) -> None:
        self._real.sleep(seconds)


def same(left: CandleColumns, right: CandleColumns) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("end", "open", "high", "low", "close", "volume")
    )


def test_ten_years_of_days_come_back_exactly(
    emulator: tuple[Emulator, Path], tmp_path: Path
) -> None:
    stored = CandleStore(SAMPLE).read(SYMBOL, DAILY)
    first = stored.sessions[0].item()
    found = fetch(emulator, tmp_path / "data", DAILY, first)
    assert found.problem == ""
    assert same(CandleStore(tmp_path / "data").read(SYMBOL, DAILY), stored)


def test_five_sessions_of_minutes_come_back_exactly(
    emulator: tuple[Emulator, Path], tmp_path: Path
) -> None:
    stored = CandleStore(SAMPLE).read(SYMBOL, MINUTE)
    first = np.unique(stored.sessions)[-5].item()
    found = fetch(emulator, tmp_path / "data", MINUTE, first)
    wanted = stored.between(np.datetime64(first), None)
    assert found.problem == ""
    assert same(CandleStore(tmp_path / "data").read(SYMBOL, MINUTE), wanted)


WORKER = """
import sys
from datetime import date, datetime
from pathlib import Path
from kisbt.app.connect import emulator_access
from kisbt.app.fetch import FetchRequest, fetch_history
from kisbt.model.account import Environment
from kisbt.model.candle import parse_interval
from tests.e2e.test_data_fetch import _Evening
ready, data, first, now, interval = sys.argv[1:]
request = FetchRequest(symbols=("990001",), interval=parse_interval(interval),
                       first=date.fromisoformat(first))
def tell(done, total, symbol):
    print(done, flush=True)
fetch_history(request, emulator_access(Path(ready), Environment.REAL), Path(data),
              clock=_Evening(datetime.fromisoformat(now)), on_progress=tell,
              interval_s=0.05)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interval", "sessions", "steps"), [(DAILY, 0, 5), (MINUTE, 5, 2)]
)
def test_killed_fetch_goes_on(
    emulator: tuple[Emulator, Path],
    tmp_path: Path,
    interval: Interval,
    sessions: int,
    steps: int,
) -> None:
    running, ready = emulator
    stored = CandleStore(SAMPLE).read(SYMBOL, interval)
    first = np.unique(stored.sessions)[-sessions].item()
    stored = stored.between(np.datetime64(first), None)
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WORKER,
            str(ready),
            str(tmp_path / "data"),
            first.isoformat(),
            running.now().isoformat(),
            str(interval),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert worker.stdout is not None
    while int(worker.stdout.readline()) < steps:
        pass
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(10)
    worker.stdout.close()
    kept = CandleStore(tmp_path / "data")
    half = kept.read(SYMBOL, interval) if kept.has(SYMBOL, interval) else ()
    fetch(emulator, tmp_path / "data", interval, first)
    whole = CandleStore(tmp_path / "data").read(SYMBOL, interval)
    assert len(half) < len(whole)
    assert same(whole, stored)
