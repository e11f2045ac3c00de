"""The thread that turns the trading loop, and who hears of its hanging."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from kisbt.app import loops
from kisbt.app.loops import TradingThread
from kisbt.app.pulse import beating
from kisbt.app.sessionplan import Stage
from kisbt.clock import KST, ManualClock, SystemClock
from kisbt.orders.halt import Heartbeat, Pulse, read_beat
from kisbt.orders.sender import ORDER_THREAD
from kisbt.orders.watch import STALE_S, Finding, Vigil

MORNING = datetime(2025, 12, 30, 9, 30, tzinfo=KST)


class Session:
    """A trading loop that stops where a test wants it to."""

    def __init__(self) -> None:
        self.stage = Stage.OPEN
        self.turns = 0
        self.turned = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.inside = lambda: None

    def turn(self) -> float:
        self.turns += 1
        self.inside()
        self.turned.set()
        assert self.go.wait(30)
        return 1.0

    def turn_again(self, thread: TradingThread) -> None:
        self.turned.clear()
        thread.wake()
        assert self.turned.wait(30)


@contextmanager
def turning() -> Iterator[tuple[TradingThread, Session, ManualClock]]:
    session, clock = Session(), ManualClock(MORNING)
    venue = SimpleNamespace(wall_s=lambda seconds: seconds)
    thread = TradingThread(session, venue, lambda error: None, wall=clock)
    thread.start()
    try:
        assert session.turned.wait(30)
        yield thread, session, clock
    finally:
        session.go.set()
        assert thread.stop()


def test_a_loop_that_does_not_come_back_hangs() -> None:
    with turning() as (thread, session, clock):
        session.go.clear()
        session.turn_again(thread)
        clock.advance(1.9 * STALE_S)
        assert not thread.hangs(STALE_S)
        thread.sign()  # somebody else's call is no sign of its life
        clock.advance(0.2 * STALE_S)
        assert thread.hangs(STALE_S)
        session.go.set()
        session.turn_again(thread)
        assert not thread.hangs(STALE_S)


def test_a_loop_that_calls_the_server_again_and_again_gets_on() -> None:
    with turning() as (thread, session, clock):

        def calling() -> None:
            for _attempt in range(4):
                clock.advance(STALE_S)
                thread.sign()

        session.inside = calling
        session.turn_again(thread)
        assert not thread.hangs(STALE_S)


def test_a_loop_whose_orders_are_being_sent_gets_on() -> None:
    with turning() as (thread, session, clock):
        session.go.clear()
        session.turn_again(thread)
        clock.advance(1.9 * STALE_S)
        sender = threading.Thread(target=thread.sign, name=ORDER_THREAD)
        sender.start()
        sender.join()
        clock.advance(0.2 * STALE_S)
        assert not thread.hangs(STALE_S)
        session.go.set()


def test_a_loop_that_has_ended_does_not_hang() -> None:
    with turning() as (thread, _session, clock):
        assert thread.stop()
        clock.advance(10 * STALE_S)
        assert not thread.hangs(STALE_S)


def test_the_watchdog_hears_nothing_of_a_run_whose_trading_loop_hangs(
    tmp_path: Path,
) -> None:
    with turning() as (thread, session, clock):
        heart = Heartbeat(tmp_path, clock=clock)
        beat = beating(heart, {"session": session, "thread": thread}, None, STALE_S)
        beat()
        first = read_beat(tmp_path)
        assert first is not None
        assert first.pulse is Pulse.OPEN
        vigil = Vigil(first.pid)
        session.go.clear()
        session.turn_again(thread)
        found = Finding.WELL
        waited_s = 0.0
        while found is Finding.WELL and waited_s < 10 * STALE_S:
            clock.advance(1.0)
            waited_s += 1.0
            beat()  # the strategy's own loop turns all the time
            found = vigil.look(read_beat(tmp_path), clock.monotonic())
        assert found is Finding.STALE
        assert waited_s < 4 * STALE_S


def test_strategy_stands_back_until_its_order_has_been_worked() -> None:
    with turning() as (thread, session, _clock):
        worked: list[int] = []
        session.inside = lambda: worked.append(session.turns)
        for _order in range(20):
            before = session.turns
            thread.hurry()
            thread.stand_back()
            # Five milliseconds are enough for a turn, but no promise.
            while session.turns == before:
                thread.stand_back()
            assert worked
            assert worked[-1] > before


def test_loop_is_hurried_until_the_order_has_been_worked() -> None:
    with turning() as (thread, session, _clock):
        thread.stand_back()
        assert not thread.is_hurried
        hurried: list[bool] = []
        session.inside = lambda: hurried.append(thread.is_hurried)
        session.turned.clear()
        thread.hurry()
        assert session.turned.wait(30)
        assert hurried[-1]


def test_strategy_does_not_wait_for_a_loop_that_hangs() -> None:
    with turning() as (thread, session, _clock):
        session.go.clear()
        session.turn_again(thread)
        thread.hurry()
        thread.stand_back()  # comes back all the same
        assert session.turns == 2


def test_turns_are_spaced_where_trades_come_without_end() -> None:
    with turning() as (thread, session, clock):
        enough = threading.Event()

        def again() -> None:
            clock.advance(0.0001)
            if session.turns < 200:
                thread.wake()
            else:
                enough.set()

        session.inside = again
        before_s = SystemClock().monotonic()
        thread.wake()
        assert enough.wait(30)
        # Eight in eight milliseconds; no fewer on a machine that is busy.
        assert SystemClock().monotonic() - before_s > 0.1


def test_what_python_keeps_is_let_go_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collected: list[float] = []
    with turning() as (_thread, session, clock):
        monkeypatch.setattr(
            loops.gc, "collect", lambda: collected.append(clock.monotonic())
        )
        for _minute in range(12):
            clock.advance(60)
            session.turn_again(_thread)
        session.turn_again(_thread)
    assert len(collected) == 2
