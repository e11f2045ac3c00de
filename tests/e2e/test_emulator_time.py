"""How the emulated market passes its time: at a speed, flat out, or not at all."""

from datetime import datetime, timedelta

import pytest

from kisbt.emulator.rules import Matching
from kisbt.emulator.runner import Emulator
from kisbt.krx.calendar import KST
from tests.helpers.emulator import TEN, Caller, Listener, stepped, until

pytestmark = pytest.mark.e2e

CLOSE = datetime(2025, 12, 29, 15, 30, tzinfo=KST)


def test_market_runs_at_its_speed_and_its_clock_with_it() -> None:
    with Emulator(stepped(step=False, speed=3_600.0)) as running:
        until(lambda: running.now() > TEN + timedelta(minutes=10))
        ahead = abs(running.clock.now() - running.now())
        truth = running.state()
        assert ahead < timedelta(minutes=30)
        assert truth["clock"]["speed"] == 3_600.0
        assert truth["book"]["990001"]["volume"] > 0


def test_paused_market_stands_still() -> None:
    with Emulator(stepped(step=False, speed=60.0)) as running:
        caller = Caller(running, "mock").log_in()
        caller.control("clock", {"pause": True})
        stopped = running.now()
        assert caller.price().json()["rt_cd"] == "0"
        assert running.now() == stopped
        caller.control("clock", {"pause": False, "speed": 36_000})
        until(lambda: running.now() > stopped + timedelta(minutes=5))


def test_night_is_skipped_at_any_speed() -> None:
    evening = datetime(2025, 12, 29, 19, 55, tzinfo=KST)
    with Emulator(stepped(step=False, speed=3_600.0, start=evening)) as running:
        until(lambda: running.now().date() > evening.date())
        assert running.now().date() == datetime(2025, 12, 30, tzinfo=KST).date()


def test_flat_out_market_waits_for_somebody_to_listen() -> None:
    settings = stepped(
        step=False, speed=0.0, environment="mock", matching=Matching.CANDLE
    )
    with Emulator(settings) as running:
        caller = Caller(running).log_in()
        assert caller.order("buy", 1).json()["rt_cd"] == "0"
        assert running.now() == TEN
        with Listener(caller) as stream:
            stream.notices()
            stream.subscribe("H0STCNT0")
            last = ""
            while last < "1530":
                frame = stream.frame()
                if frame.startswith("0|"):
                    last = frame.split("^")[1][:4]
            until(lambda: running.now() >= CLOSE)
        assert running.state()["mock"]["orders"][0]["state"] == "filled"


def test_wall_limits_hold_while_virtual_time_races() -> None:
    settings = stepped(step=False, speed=3_600.0, limits=True, environment="mock")
    with Emulator(settings) as running:
        caller = Caller(running).log_in()
        codes = [caller.price().json()["msg_cd"] for _turn in range(3)]
        assert codes == ["MCA00000", "EGW00201", "EGW00201"]
        assert running.ready["limits"] == "wall"


def test_limits_can_follow_virtual_time() -> None:
    settings = stepped(
        step=False, speed=3_600.0, virtual_limits=True, limits=True, environment="mock"
    )
    with Emulator(settings) as running:
        caller = Caller(running).log_in()
        taken = 0

        def taken_twice() -> bool:
            nonlocal taken
            taken += caller.price().status_code == 200
            return taken >= 2

        until(taken_twice)
        assert running.ready["limits"] == "virtual"
