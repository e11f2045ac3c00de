"""An order made ready while it is written down: not a byte leaves before it is.

A thread waits for token and rate and connects; the journal's commit goes on beside it.
"""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kisbt.errors import NotSent, StorageError
from kisbt.kis import connections, sockets
from kisbt.kis.servers import emulator_server
from kisbt.kis.transport import TOTAL_S, HttpRequest, RequestsTransport
from kisbt.model.account import Environment
from kisbt.orders.lifecycle import Status
from kisbt.orders.rows import Mark
from kisbt.orders.sender import ORDER_THREAD, Departure
from tests.helpers.desk import Bench, bench
from tests.helpers.loopback import Loopback, answer

pytestmark = pytest.mark.fault


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", environment="real", ahead=True) as made:
        yield made


def test_first_byte_finds_the_order_in_the_journal(
    live: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    send = sockets.WatchedSocket.sendall

    def sendall(self: Any, data: bytes, *rest: Any) -> None:
        if b"order-cash" in bytes(data[:200]):
            with sqlite3.connect(live.folder / "journal.db") as other:
                row = other.execute("SELECT status FROM orders ORDER BY ref DESC")
                seen.append((row.fetchone()[0], threading.current_thread().name))
        send(self, data, *rest)

    monkeypatch.setattr(sockets.WatchedSocket, "sendall", sendall)
    for _order in range(20):
        live.order(quantity=1)
    assert [status for status, _thread in seen] == ["sending"] * 20
    assert {thread for _status, thread in seen} == {ORDER_THREAD}
    assert live.posts() == 20
    assert live.wrong() == []


def test_connection_is_made_before_the_commit_ends(
    live: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half: what is made ready really is made ready meanwhile."""
    connected = threading.Event()
    connect, run_sql = connections.OneShot._connected, live.journal._run_sql
    waited: list[bool] = []

    def connecting(self: Any) -> Any:
        sock = connect(self)
        if threading.current_thread().name == ORDER_THREAD:
            connected.set()
        return sock

    def running(sql: str, *values: Any) -> Any:
        if sql == "COMMIT" and live.journal._marks == [Mark.SENDING]:
            waited.append(connected.wait(10))
        return run_sql(sql, *values)

    monkeypatch.setattr(connections.OneShot, "_connected", connecting)
    monkeypatch.setattr(live.journal, "_run_sql", running)
    assert live.order().status is not Status.INTENT
    assert waited == [True]
    assert live.posts() == 1
    assert live.wrong() == []


def test_order_ended_meanwhile_by_another_process_stays(
    live: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = live.journal.begin_sending

    def begin_sending(ref: int, **options: Any) -> bool:
        live.journal.record(ref, Status.CANCELLED, confirmed_by="local")
        return begin(ref, **options)

    with monkeypatch.context() as patch:
        patch.setattr(live.journal, "begin_sending", begin_sending)
        first = live.order()
    second = live.order(quantity=3)
    live.run_for(3)
    assert live.status(first.ref) == "cancelled"
    assert live.status(second.ref) == "filled"
    assert live.posts() == 1
    assert live.wrong(ended=True) == []


def test_order_that_cannot_be_written_down_stays(
    live: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_sending(ref: int, **options: Any) -> bool:
        raise StorageError("disk full")

    monkeypatch.setattr(live.journal, "begin_sending", begin_sending)
    with pytest.raises(StorageError):
        live.order()
    # Whoever waits for the connection has been let go.
    live.client.fetch_balance()

    assert live.client._order_lock.acquire(timeout=10)
    live.client._order_lock.release()
    assert live.posts() == 0
    assert live.wrong() == []


def test_halt_during_the_commit_holds_the_order(
    live: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = live.journal.begin_sending

    def begin_sending(ref: int, **options: Any) -> bool:
        begun = begin(ref, **options)
        live.client.hold = lambda: "halted"
        return begun

    monkeypatch.setattr(live.journal, "begin_sending", begin_sending)
    live.order()
    live.run_for(3)
    assert live.posts() == 0
    assert "order not sent" in live.told.titles()
    assert live.wrong() == []


@pytest.mark.parametrize("free", [True, False])
def test_rate_is_asked_for_again_after_a_slow_commit(
    live: Bench, free: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is no turn any more, nothing leaves, and that is known."""
    asked: list[float] = []
    ready = threading.Event()
    delays_s = iter((0.0, 0.3))
    wait_turn, begin = live.client._limiter.wait_turn, live.journal.begin_sending
    last_step = Departure._last_step

    def asking(*args: Any, **options: Any) -> str:
        asked.append(live.time.monotonic())
        return wait_turn(*args, **options) if free or len(asked) < 2 else "no turn"

    def waiting(self: Departure) -> str:
        ready.set()
        return last_step(self)

    def begin_sending(ref: int, **options: Any) -> bool:
        ready.clear()
        begun = begin(ref, **options)
        assert ready.wait(10)
        live.emulator.advance(next(delays_s))
        return begun

    monkeypatch.setattr(Departure, "_last_step", waiting)
    monkeypatch.setattr(live.client._limiter, "wait_turn", asking)
    monkeypatch.setattr(live.journal, "begin_sending", begin_sending)
    found = []
    for _order in range(2):
        asked.clear()
        ref = live.submit()
        live.desk.work(calls=1)
        found.append((len(asked), live.journal.order(ref).status))
    late = Status.ACKED if free else Status.INTENT  # tried again later
    assert found == [(1, Status.ACKED), (2, late)]
    assert len(live.real_orders()) == (2 if free else 1)


class Jumping:
    """A clock that jumps when asked to."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("waits_s", "accepted"), [([0.5], 1), ([2.0, 0.0], 2), ([2.0, 2.0, 2.0], 0)]
)
def test_connection_silent_for_long_is_made_anew(
    waits_s: list[float], accepted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whatever forbids the order is asked again."""
    clock, calls = Jumping(), []
    monkeypatch.setattr(connections, "_clock", clock)

    def leave() -> str:
        clock.now_s += waits_s[len(calls)]
        calls.append(clock.now_s)
        return ""

    with Loopback(answer({"rt_cd": "0"})) as server:
        transport = RequestsTransport(
            emulator_server(Environment.MOCK, server.url, "ws://127.0.0.1:9")
        )
        request = HttpRequest(
            method="POST", path="/order", headers={}, body={}, fresh=True, leave=leave
        )
        if accepted:
            assert transport.send(request).status == 200
        else:
            with pytest.raises(NotSent):
                transport.send(request)
        transport.close()
    assert len(calls) == len(waits_s)
    if accepted:
        assert (server.accepted, len(server.requests)) == (accepted, 1)
    else:
        assert server.requests == []


def test_what_the_commit_takes_is_not_taken_from_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Jumping()
    monkeypatch.setattr(sockets, "_clock", clock)

    def leave() -> str:
        clock.now_s += 2 * TOTAL_S
        return ""

    with Loopback(answer({"rt_cd": "0"})) as server:
        transport = RequestsTransport(
            emulator_server(Environment.MOCK, server.url, "ws://127.0.0.1:9")
        )
        request = HttpRequest(
            method="POST", path="/order", headers={}, body={}, fresh=True, leave=leave
        )
        assert transport.send(request).status == 200
        transport.close()
