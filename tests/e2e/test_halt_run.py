"""Halt and stop of a run that is well: the whole program, in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kisbt.app.instances import running
from kisbt.app.state import journal_path
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access
from kisbt.orders.watch import STALE_S
from tests.helpers.emulator import stepped
from tests.helpers.haltbed import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROOT = Path(__file__).parents[2]
STRATEGY = '''
import backtrader as bt


class Patient(bt.Strategy):
    """Orders one share far below the market on every bar."""

    def next(self):
        self.buy(size=1, exectype=bt.Order.Limit, price=self.data.close[0] * 0.8)
'''


HANGS = """
        self.calls = getattr(self, "calls", 0) + 1
        while self.calls == 3:
            pass
"""


def write_project(folder: Path, strategy: str = STRATEGY) -> Path:
    (folder / "patient.py").write_text(strategy, "utf-8")
    path = folder / "config.yaml"
    values: dict[str, Any] = {
        "mode": "paper",
        "strategy": {"class": "patient:Patient"},
        "universe": {"symbols": ["990001"]},
        "bars": {"interval": "1m"},
        "data": {"path": str(ROOT / "data"), "warmup": 5},
        "paper": {"replay": str(ROOT / "data"), "speed": 60},
    }
    path.write_text(yaml.safe_dump(values), "utf-8")
    return path


def kisbt(*arguments: str, timeout_s: float = 50) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kisbt", "--lang", "en", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_halt_and_stop_of_a_healthy_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    settings = stepped(
        step=False,
        speed=30.0,
        environment="mock",
        virtual_limits=True,
        limits=True,
    )
    with Emulator(settings) as emulator:
        ready = tmp_path / "ready.json"
        write_ready_file(ready, emulator.ready)
        path = write_project(tmp_path)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "kisbt", "--lang", "en", "run", str(path)),
                *("--emulator", str(ready), "--out", str(tmp_path / "run")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ},
        )
        try:

            def working() -> list[dict[str, Any]]:
                rows = emulator.state()["mock"]["orders"]
                return [row for row in rows if row["open"] > 0]

            wait_for(lambda: bool(working()), 45)
            (instance,) = running()
            halted = kisbt("halt", "--json")
            assert halted.returncode == 0, halted.stderr
            (row,) = json.loads(halted.stdout)
            assert row["complete"]
            assert working() == []
            assert HaltLatch(Path(instance.state)).is_raised()
            count = len(emulator.state()["mock"]["orders"])
            later = emulator.now().replace(second=0).minute + 4
            wait_for(lambda: emulator.now().minute >= later, 30)
            assert len(emulator.state()["mock"]["orders"]) == count
            assert process.poll() is None
            stopped = kisbt("stop")
            assert stopped.returncode == 0, stopped.stderr
            process.wait(20)  # it has let go of the account, and prints its summary
        finally:
            process.kill()
            said, _errors = process.communicate(timeout=30)
        assert process.returncode == 0, said
        path = journal_path(Path(instance.state))
        with Journal(path, access=Access.READ) as journal:
            assert journal.open_orders() == ()


@pytest.mark.timeout(180)
def test_row_103_a_strategy_that_never_returns_is_halted_by_the_watchdog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    settings = stepped(step=False, speed=30.0, environment="mock", virtual_limits=True)
    with Emulator(settings) as emulator:
        ready = tmp_path / "ready.json"
        write_ready_file(ready, emulator.ready)
        path = write_project(tmp_path, STRATEGY.rstrip() + HANGS)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "kisbt", "--lang", "en", "run", str(path)),
                *("--emulator", str(ready), "--out", str(tmp_path / "run")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        watchdog: subprocess.Popen[bytes] | None = None
        try:

            def working() -> int:
                rows = emulator.state()["mock"]["orders"]
                return sum(row["open"] > 0 for row in rows)

            wait_for(lambda: working() > 1, 60)
            (instance,) = running()
            # As a run with KIS starts it; on an emulator it is not started.
            watchdog = subprocess.Popen(
                [sys.executable, "-m", "kisbt.app.watchdog", str(process.pid)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            latch = HaltLatch(Path(instance.state))
            wait_for(latch.is_raised, STALE_S + 20.0)  # it is not hung at once
            wait_for(lambda: working() == 0, 20)
            halted = latch.raised()
            assert halted is not None
            assert halted.by == "watchdog"
            assert process.poll() is None  # it hangs, and trades no more
        finally:
            for started in (watchdog, process):
                if started is not None:
                    started.kill()
                    started.wait(30)
