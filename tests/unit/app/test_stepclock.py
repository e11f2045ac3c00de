from datetime import datetime, timedelta

from kisbt.app.links import OwnEmulator
from kisbt.app.stepclock import StepClock
from kisbt.emulator.house import Settings
from kisbt.krx.calendar import KST
from kisbt.model.account import Environment

NINE = datetime(2025, 11, 3, 9, 0, tzinfo=KST)


def test_a_sleep_moves_the_market() -> None:
    link = OwnEmulator(Settings(start=NINE, step=True), Environment.MOCK)
    try:
        clock = StepClock(link)
        assert clock.now() == NINE
        clock.sleep(61.5)
        assert clock.now() == link.now() == NINE + timedelta(seconds=61.5)
        assert clock.monotonic() == 61.5
    finally:
        link.close()


def test_a_wait_shorter_than_a_microsecond_still_ends() -> None:
    link = OwnEmulator(Settings(start=NINE, step=True), Environment.MOCK)
    try:
        clock = StepClock(link)
        clock.sleep(1e-9)
        assert clock.now() > NINE
        clock.sleep(0.0)
        clock.sleep(-1.0)
        assert clock.monotonic() == 1e-6
    finally:
        link.close()
