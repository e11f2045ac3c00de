"""The virtual clock that clients of an emulated market share."""

import threading
from datetime import datetime, timedelta

import pytest

from kisbt.clock import KST, EmulatorClock

START = datetime(2025, 12, 29, 9, 0, tzinfo=KST)
_WAIT_S = 5.0


class Wall:
    """Seconds that move when told."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_clock_runs_at_the_markets_speed() -> None:
    wall = Wall()
    clock = EmulatorClock(START, speed=60, wall=wall)
    wall.s += 2
    assert clock.now() == START + timedelta(minutes=2)
    assert clock.monotonic() == 120


def test_clock_stands_still_until_it_is_told() -> None:
    wall = Wall()
    clock = EmulatorClock(START, wall=wall)
    wall.s += 50
    assert clock.now() == START
    clock.tell(START + timedelta(seconds=90), speed=0)
    assert clock.monotonic() == 90


def test_clock_never_goes_back() -> None:
    clock = EmulatorClock(START, wall=Wall())
    clock.tell(START + timedelta(seconds=90), speed=0)
    clock.tell(START + timedelta(seconds=30), speed=0)
    assert clock.monotonic() == 90


def test_clock_never_goes_back_for_whoever_reads_while_it_is_told() -> None:
    wall = Wall()
    told: list[float] = []

    def late() -> float:
        """Tell the clock to stand still while another thread reads it."""
        if wall.s == 200.0 and not told:
            told.append(wall.s)
            clock.tell(START, speed=0)
            wall.s = 205.0
        return wall.s

    clock = EmulatorClock(START, speed=60, wall=late)
    wall.s = 200.0
    assert clock.monotonic() == 100 * 60
    assert told
    assert clock.monotonic() == 100 * 60


@pytest.mark.parametrize("seconds", [0, -1])
def test_sleep_of_nothing_returns_at_once(seconds: float) -> None:
    EmulatorClock(START, wall=Wall()).sleep(seconds)


def test_sleeper_on_a_standing_clock_is_woken_by_the_time_it_waits_for() -> None:
    clock = EmulatorClock(START, wall=Wall())
    woken = threading.Event()

    def sleep() -> None:
        clock.sleep(60)
        woken.set()

    sleeper = threading.Thread(target=sleep, name="sleeper")
    sleeper.start()
    waiting = threading.Event()
    for _turn in range(500):
        if clock.wanted_s is not None:
            break
        waiting.wait(0.01)
    assert clock.wanted_s == 60
    clock.tell(START + timedelta(seconds=59), speed=0)
    assert not woken.wait(0.05)
    assert clock.wanted_s == 1
    clock.tell(START + timedelta(seconds=60), speed=0)
    assert woken.wait(_WAIT_S)
    sleeper.join(_WAIT_S)
    assert clock.wanted_s is None
