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
from tests.helpers.emulator import stepped
from tests.helpers.haltbed import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
STRATEGY = '''
import backtrader as bt


class Patient(bt.Strategy):
    """Orders one share far below the market on every bar."""

    def next(self):
        self.buy(size=1, exectype=bt.Order.Limit, price=self.data.close[0] * 0.8)
'''


def write_project(folder: Path) -> Path:
    (folder / "patient.py").write_text(STRATEGY, "utf-8")
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
