"""The machine under a whole run sleeps, or its clock is set.

The machine's time is moved as an operating system moves it: after a sleep the wall
clock has gone on and the monotonic one has not; setting the clock moves the wall clock
alone. The market goes on by itself.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import backtrader as bt
import pytest

from kisbt.app.session import LiveSession
from kisbt.app.stepclock import StepClock
from kisbt.krx.calendar import KST
from strategies.ma_rsi_bollinger import MaRsiBollinger
from tests.helpers.runs import market

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

MORNING = datetime(2025, 12, 30, 10, 50, tzinfo=KST)
LATE = datetime(2025, 12, 30, 14, 25, tzinfo=KST)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


class Machine:
    """The two clocks of a machine that runs in the market's steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set_s = 0.0
        """Seconds somebody has set the wall clock on."""
        self._slept_s = 0.0
        self._clock: StepClock | None = None
        now, monotonic = StepClock.now, StepClock.monotonic

        def wall(clock: StepClock) -> datetime:
            self._clock = clock
            return now(clock) + timedelta(seconds=self.set_s)

        def awake(clock: StepClock) -> float:
            return monotonic(clock) - self._slept_s

        monkeypatch.setattr(StepClock, "now", wall)
        monkeypatch.setattr(StepClock, "monotonic", awake)

    def sleep(self, seconds: float) -> None:
        """Be away while the market goes on."""
        assert self._clock is not None
        self._clock.sleep(seconds)
        self._slept_s += seconds


def acting(acts: dict[int, Callable[[bt.Strategy], None]]) -> type[bt.Strategy]:
    """Return the house strategy with something that happens after its n-th bar."""

    class Acting(MaRsiBollinger):
        def next(self) -> None:
            super().next()
            self.passed = getattr(self, "passed", 0) + 1
            if self.passed in acts:
                acts[self.passed](self)

    return Acting


def far(strategy: bt.Strategy) -> bt.Order:
    """Order one share at a price that is never reached."""
    price = strategy.data.close[0] * 0.8 // 500 * 500
    return strategy.buy(size=1, exectype=bt.Order.Limit, price=price)


def test_row_96_after_a_sleep_the_run_sends_nothing_old_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch)
    asked: list[bt.Order] = []

    with market(tmp_path, start=MORNING) as there:

        def sleep(strategy: bt.Strategy) -> None:
            asked.append(far(strategy))
            there.emulator.fault("ws(drop, tr=trade)")
            machine.sleep(7200.0)

        finished = there.run(
            strategy=acting({20: sleep, 25: lambda s: asked.append(far(s))})
        )
        sent = there.emulator.state()["mock"]["orders"]
        assert finished.exit_state == "done"
        assert there.untrue(ended=False) == []
    old, young = asked
    assert old.status == bt.Order.Rejected
    assert young.status == bt.Order.Expired
    far_away = [row for row in sent if row["kind"] == "limit"]
    assert [row["created"][:16] for row in far_away] == ["2025-12-30T13:14"]
    assert [item["kind"] for item in finished.result.run["incidents"]] == ["disconnect"]


@pytest.mark.parametrize("turns", [3, 10**9], ids=["put right", "left"])
def test_row_98_a_clock_set_back_an_hour_stops_and_orders_nothing(
    turns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch)
    turn, left = LiveSession.turn, turns

    def minding(session: LiveSession) -> float:
        nonlocal left
        left -= bool(machine.set_s)
        if not left:  # the network puts it right
            machine.set_s = 0.0
        return turn(session)

    def set_back(_strategy: bt.Strategy) -> None:
        machine.set_s = -3600.0

    monkeypatch.setattr(LiveSession, "turn", minding)
    with market(tmp_path, start=LATE) as there:
        finished = there.run(strategy=acting({10: set_back}))
        sent = there.emulator.state()["mock"]["orders"]
        assert finished.exit_state == "done"
        assert there.untrue(ended=False) == []
    bars = len(finished.result.equity.time)
    # Wrong by more than two seconds, the clock forbids orders; bars go on.
    assert (bars >= 55, len(sent)) == (True, 3 if turns == 3 else 0)
