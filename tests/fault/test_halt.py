"""Every door of the halt, whatever the run that it stops is doing.

Doors: the command from another process, the file made by hand, the watchdog process.
The emulator runs in real time, and so do the doors.
"""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kisbt.clock import SystemClock
from kisbt.kis.stream import KisStream
from kisbt.model.account import Environment
from kisbt.model.order import Side
from kisbt.orders.halt import HaltLatch, Heartbeat, Pulse
from kisbt.orders.lifecycle import AT_BROKER, Status
from tests.helpers.emulator import until
from tests.helpers.haltbed import Bed, hung_run

pytestmark = [pytest.mark.fault, pytest.mark.e2e]

# Of a machine that has nothing else to do; on a busy one everything takes longer.
SYMBOLS = ("990001", "990002", "990003")
STALE_S = 1.0


# What the run is doing.


@contextlib.contextmanager
def hung(bed: Bed) -> Iterator[None]:
    yield


@contextlib.contextmanager
def dead_stream(bed: Bed) -> Iterator[None]:
    bed.emulator.fault("ws(sub_reject, OPSP8996, nth=*)")
    stream = KisStream(bed.access.keys, bed.access.server, bed.client.auth)
    stream.subscribe_notices()
    stream.start()
    try:
        assert not stream.wait_ready(0.5)
        yield
    finally:
        stream.stop()


@contextlib.contextmanager
def throttled(bed: Bed) -> Iterator[None]:
    bed.emulator.fault("gw(EGW00201, 500, nth=1, count=2)")
    yield


@contextlib.contextmanager
def no_token(bed: Bed) -> Iterator[None]:
    for path in bed.access.folder.glob("token-*.json"):
        path.unlink()
    bed.emulator.fault("token(per_min=0)", "token(revoke)")
    yield


@contextlib.contextmanager
def no_journal_writes(bed: Bed) -> Iterator[None]:
    """The run has died in the middle of a commit: its lock is never let go."""
    with bed.journal.together():
        bed.journal.note("stuck")
        yield


STATES = {
    "hung": hung,
    "dead_stream": dead_stream,
    "throttled": throttled,
    "no_token": no_token,
}

# How it is halted. Each returns the second at which the door was opened.

Door = Callable[[Bed], "contextlib.AbstractContextManager[float]"]


def now_s() -> float:
    return SystemClock().monotonic()


@contextlib.contextmanager
def by_command(bed: Bed) -> Iterator[float]:
    opened_s = now_s()
    process = bed.start("kisbt", "--lang", "en", "halt", "--json")
    try:
        yield opened_s
    except BaseException:
        process.kill()
        raise
    finally:
        said, _errors = process.communicate(timeout=30)
    assert process.returncode == 0, said


@contextlib.contextmanager
def by_file(bed: Bed) -> Iterator[float]:
    with watchdog(bed):
        with contextlib.suppress(FileExistsError):
            (bed.state / "HALT").touch(exist_ok=False)
        yield now_s()


@contextlib.contextmanager
def by_watchdog(bed: Bed) -> Iterator[float]:
    Heartbeat(bed.state).beat(Pulse.OPEN)
    silent_s = now_s()
    with watchdog(bed, "--stale", str(STALE_S)) as watching_s:
        yield max(silent_s, watching_s) + STALE_S


DOORS: dict[str, Door] = {
    "command": by_command,
    "file": by_file,
    "watchdog": by_watchdog,
}


@contextlib.contextmanager
def watchdog(bed: Bed, *options: str) -> Iterator[float]:
    """Run the watchdog of the bed; gives the second at which it began to watch."""
    process = bed.start("kisbt.app.watchdog", str(os.getpid()), *options)
    assert process.stdout is not None
    assert "watching" in process.stdout.readline()
    try:
        yield now_s()
    except BaseException:
        process.kill()
        raise
    finally:
        process.terminate()
        said, _errors = process.communicate(timeout=30)
    assert process.returncode == 0, said


def finish(process: "subprocess.Popen[str]", code: int) -> str:
    said, _errors = process.communicate(timeout=30)
    assert process.returncode == code, said
    return said


def first_cancel_s() -> float:
    """Return the seconds a first cancellation may take on a machine as busy as now."""
    return 2.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def first_cancel_after(bed: Bed, opened_s: float, *, refused: bool) -> float:
    """Return the seconds until a cancellation left, also one that was refused."""
    if refused:  # the emulator lists carried out calls only
        until(lambda: any(e.kind == "cancel_sending" for e in bed.journal.history()))
        return now_s() - opened_s
    until(lambda: bool(bed.cancels()))
    return float(bed.cancels()[0]["at_s"]) - opened_s


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(name, marks=() if name == "hung" else pytest.mark.long)
        for name in STATES
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_halt_cancels_at_once_and_until_nothing_is_open(
    tmp_path: Path, door: str, state: str
) -> None:
    slow = state == "throttled"
    environment = Environment.MOCK if slow else Environment.REAL
    with hung_run(tmp_path, environment=environment) as bed:
        for symbol in SYMBOLS[: 1 if slow else 3]:
            bed.order(symbol)
        bed.order("990004", until=Status.HELD)
        stranger = bed.stranger()
        with STATES[state](bed), DOORS[door](bed) as opened_s:
            took_s = first_cancel_after(bed, opened_s, refused=slow)
            until(lambda: bed.working() == [stranger])
        assert took_s <= first_cancel_s()
        assert HaltLatch(bed.state).is_raised()
        assert not bed.journal.orders(statuses=frozenset({Status.HELD}))


@pytest.mark.long
@pytest.mark.parametrize("door", DOORS)
def test_halt_twice_is_a_halt(tmp_path: Path, door: str) -> None:
    with hung_run(tmp_path) as bed:
        for symbol in SYMBOLS:
            bed.order(symbol)
        with DOORS[door](bed), DOORS[door](bed):
            until(lambda: not bed.working())
        again = bed.kisbt("halt", "--json")
        assert again.returncode == 0
        (row,) = json.loads(again.stdout)
        assert (row["raised"], row["complete"], row["left"]) == (False, True, [])


def test_watchdog_leaves_a_healthy_run_alone(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        bed.order()
        heart, stop = Heartbeat(bed.state), threading.Event()

        def beat() -> None:
            while not stop.wait(0.2):
                heart.beat(Pulse.OPEN)

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            with watchdog(bed, "--stale", "2.0"):
                assert not stop.wait(4.0)
        finally:
            stop.set()
            thread.join()
        assert not bed.cancels()
        assert not HaltLatch(bed.state).is_raised()


def test_watchdog_of_a_run_that_ended_goes(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        Heartbeat(bed.state).beat(Pulse.ENDED)
        process = bed.start("kisbt.app.watchdog", str(os.getpid()))
        assert "nothing left to watch" in finish(process, 0)


def test_halt_does_not_wait_for_a_journal_that_cannot_be_written(
    tmp_path: Path,
) -> None:
    with hung_run(tmp_path) as bed:
        bed.order()
        with no_journal_writes(bed):
            done = bed.kisbt("halt")
        assert done.returncode == 0, done.stderr
        assert not bed.working()


def test_halt_finds_an_order_whose_answer_was_lost(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        ref = bed.order(until=Status.UNKNOWN)
        done = bed.kisbt("halt")
        assert done.returncode == 0, done.stderr
        assert bed.numbers[ref] in {c["body"]["ORGN_ODNO"] for c in bed.cancels()}
        assert not bed.working()


def test_halt_cancels_the_amendment_of_an_order(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        ref = bed.order()
        amended = bed.amend(ref)
        bed.kisbt("halt")
        assert [c["body"]["ORGN_ODNO"] for c in bed.cancels()][-1] == amended
        assert not bed.working()


def test_halt_tells_what_it_could_not_cancel(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        bed.order()
        bed.emulator.fault("http(change, nth=*, do=status, arg=503)")
        done = bed.kisbt("halt", "--json", "--give-up", "1")
        (row,) = json.loads(done.stdout)
        assert (done.returncode, row["complete"]) == (1, False)
        assert "990001 buy 10 shares" in row["left"][0]
        assert "HTS" in row["left"][0]
        assert HaltLatch(bed.state).is_raised()


def test_halt_believes_no_empty_answer(tmp_path: Path) -> None:
    with hung_run(tmp_path, environment=Environment.MOCK) as bed:
        bed.order()
        bed.emulator.fault("quirk(daily_ccld_empty, on)")
        done = bed.kisbt("halt")
        # The rows are missing: only the refusal to cancel again proves the end.
        assert len(bed.cancels()) >= 2
        assert (done.returncode, bed.working()) == (0, [])


def test_halt_keeps_positions_and_sells_nothing(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        bed.emulator.set_account(
            environment="real", holdings={"990001": {"quantity": 50, "average": 1000}}
        )
        bed.order()
        bed.kisbt("halt")
        assert bed.side()["account"]["holdings"]["990001"]["quantity"] == 50
        assert not [o for o in bed.side()["orders"] if o["side"] == Side.SELL]


def test_cancel_stops_one_order_and_no_other(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        first, second = bed.order("990001"), bed.order("990002")
        done = bed.kisbt("cancel", str(first))
        assert done.returncode == 0, done.stderr
        assert bed.working() == [bed.numbers[second]]
        assert not HaltLatch(bed.state).is_raised()
        again = bed.kisbt("cancel", "999")
        assert (again.returncode, "no order 999" in again.stderr) == (2, True)


def test_unhalt_needs_the_phrase(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        digits = bed.access.keys.account.number[-4:]
        HaltLatch(bed.state).raise_("loss", "guard")
        wrong = bed.kisbt("unhalt", typed="yes\n")
        assert (wrong.returncode, HaltLatch(bed.state).is_raised()) == (2, True)
        assert "loss" in wrong.stderr
        right = bed.kisbt("unhalt", typed=f"UNHALT {digits}\n")
        assert (right.returncode, HaltLatch(bed.state).is_raised()) == (0, False)


def test_halt_without_a_run_names_the_accounts_there_are(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        kept = tmp_path / "kis" / "mock" / "mine"
        kept.mkdir(parents=True)
        (kept / "journal.db").touch()
        other = bed.kisbt("halt", "nosuchrun")
        assert other.returncode == 2
        assert "hung (rehearsal)" in other.stderr
    environment = {**os.environ, "KISBT_STATE": str(tmp_path)}
    done = subprocess.run(
        [*bed.command, "halt"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--profile mine --environment mock" in done.stderr


def test_watchdog_needs_neither_backtrader_nor_pandas() -> None:
    from tests.helpers.haltbed import modules_of

    loaded = modules_of("kisbt.app.watchdog")
    assert not loaded & {"backtrader", "pandas", "plotly", "uvicorn", "apprise"}


def test_orders_are_cancelled_in_the_journal_too(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        ref = bed.order()
        bed.kisbt("halt")
        (change,) = bed.journal.changes(ref)
        assert change.status is Status.ACKED
        assert bed.journal.order(ref).status in AT_BROKER  # its end is for the desk
