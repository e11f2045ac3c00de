from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kisbt.app.links import AttachedEmulator
from kisbt.app.stepclock import StepClock
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.errors import ConfigError, InputError, KisbtError
from kisbt.krx.calendar import KST
from kisbt.model.account import Environment

NINE = datetime(2025, 11, 3, 9, 0, tzinfo=KST)


def _ready(emulator: Emulator, tmp_path: Path) -> Path:
    path = tmp_path / "ready.json"
    write_ready_file(path, emulator.ready)
    return path


def test_an_emulator_of_another_process_is_moved_over_its_control_plane(
    tmp_path: Path,
) -> None:
    with Emulator(Settings(start=NINE, step=True, environment="both")) as emulator:
        link = AttachedEmulator(_ready(emulator, tmp_path), Environment.REAL)
        assert link.step
        assert link.access.instance == emulator.instance
        assert link.access.server.environment is Environment.REAL
        clock = StepClock(link)
        clock.sleep(90)
        assert emulator.now() == NINE + timedelta(seconds=90)
        assert clock.monotonic() == 90
        assert link.frames_sent() == 0
        assert link.last_session is None  # a random walk never ends
        link.close()


def test_a_moving_emulator_is_followed(tmp_path: Path) -> None:
    settings = Settings(start=NINE, speed=600.0, virtual_limits=True)
    with Emulator(settings) as emulator:
        link = AttachedEmulator(_ready(emulator, tmp_path), Environment.MOCK)
        here, there = link.clock.now(), emulator.now()
        assert abs((here - there).total_seconds()) < 600
        assert link.clock.monotonic() > 0
        link.close()


def test_limits_on_another_clock_are_refused(tmp_path: Path) -> None:
    with (
        Emulator(Settings(start=NINE, speed=60.0)) as emulator,
        pytest.raises(ConfigError, match="--virtual-limits"),
    ):
        AttachedEmulator(_ready(emulator, tmp_path), Environment.MOCK)


def test_an_emulator_that_has_gone_is_named(tmp_path: Path) -> None:
    with Emulator(Settings(start=NINE, step=True)) as emulator:
        path = _ready(emulator, tmp_path)
    with pytest.raises(KisbtError, match="is it still running") as caught:
        AttachedEmulator(path, Environment.MOCK)
    assert emulator.ready["control_token"] not in str(caught.value)


def test_an_instance_name_that_is_a_path_is_refused(tmp_path: Path) -> None:
    with Emulator(Settings(start=NINE, step=True)) as emulator:
        path = tmp_path / "ready.json"
        write_ready_file(path, {**emulator.ready, "instance": "../../x"})
        with pytest.raises(InputError, match="instance"):
            AttachedEmulator(path, Environment.MOCK)
