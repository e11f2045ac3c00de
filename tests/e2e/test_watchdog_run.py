"""A whole run that is killed: its watchdog halts the account and cancels its orders."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kisbt.app.instances import running
from kisbt.app.state import journal_path
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access
from tests.e2e.test_halt_run import write_project
from tests.helpers.emulator import stepped
from tests.helpers.haltbed import wait_for
from tests.helpers.runs import ROOT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.timeout(150),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is of POSIX"),
]

RUN = """
import sys
from pathlib import Path
from kisbt.app.live import LiveOptions, run_live
from kisbt.app.venue import Mode
from kisbt.config.load import load_config
run_live(
    load_config(sys.argv[1]),
    Mode.PAPER,
    LiveOptions(
        ready_file=Path(sys.argv[2]),
        out=Path(sys.argv[3]),
        watchdog=True,
        stale_s=4.0,
    ),
)
"""


@contextmanager
def trading(
    tmp_path: Path, code: str, *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path, Callable[[], list[dict[str, Any]]]]]:
    """Give the process of a run that has an order at the broker, its state folder, and
    what lists the orders that work there. The process is killed in the end."""
    settings = stepped(
        step=False, speed=30.0, environment="mock", virtual_limits=True, limits=True
    )
    with Emulator(settings) as emulator:
        ready = tmp_path / "ready.json"
        write_ready_file(ready, emulator.ready)
        given = (write_project(tmp_path), ready, tmp_path / "run")
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, given), *arguments],
            cwd=ROOT,
            env={**os.environ},
        )

        def working() -> list[dict[str, Any]]:
            rows = emulator.state()["mock"]["orders"]
            return [row for row in rows if row["open"] > 0]

        try:
            wait_for(lambda: bool(working()), 60)
            (instance,) = running()
            yield process, Path(instance.state), working
        finally:
            process.kill()
            process.wait(20)


def test_the_watchdog_of_a_killed_run_halts_and_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    with trading(tmp_path, RUN) as (process, state, working):
        assert not HaltLatch(state).is_raised()
        process.kill()
        process.wait(20)
        wait_for(lambda: HaltLatch(state).is_raised(), 30)
        wait_for(lambda: not working(), 30)
        halted = HaltLatch(state).raised()
        assert halted is not None
        assert halted.by == "watchdog"
        assert "died" in halted.reason
        log = state / "logs" / "watchdog.log"
        wait_for(lambda: "nothing left to watch" in log.read_text("utf-8"), 30)
        with Journal(journal_path(state), access=Access.READ) as journal:
            assert journal.unclean


HANGS = """
import sys
from pathlib import Path
from time import sleep
from kisbt.orders.desk import OrderDesk
work = OrderDesk.work
def hanging(self, **options):
    while Path(sys.argv[4]).exists():
        sleep(0.1)
    return work(self, **options)
OrderDesk.work = hanging
"""


def test_a_trading_loop_that_hangs_is_found_although_the_strategy_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    hang = tmp_path / "hang"
    with trading(tmp_path, HANGS + RUN, str(hang)) as (process, state, working):
        hang.touch()
        wait_for(lambda: HaltLatch(state).is_raised(), 40)
        wait_for(lambda: not working(), 30)
        halted = HaltLatch(state).raised()
        assert halted is not None
        assert halted.by == "watchdog"
        assert "has not answered" in halted.reason
        assert process.poll() is None
