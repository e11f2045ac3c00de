"""`kisbt doctor`: each thing that is wrong is named, with its remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kisbt.app.checkup import check_machine
from kisbt.app.findings import Outcome
from kisbt.cli.main import run
from kisbt.clock import ManualClock
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.kis.servers import kis_server
from kisbt.model.account import Environment
from kisbt.orders.halt import HaltLatch
from tests.e2e.test_never_by_accident import RISK, SYMBOLS, keep
from tests.helpers.emulator import TEN, stepped
from tests.helpers.haltbed import hung_run

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("KISBT_STATE", str(folder))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return folder


def doctor(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    code = run(["--lang", "en", "doctor", *arguments, "--json"])
    rows = json.loads(capsys.readouterr().out)
    return code, {row["name"]: row for row in rows}


def write_config(folder: Path, **changes: Any) -> str:
    values: dict[str, Any] = {
        "mode": "live",
        "strategy": {"class": "strategies.ma_rsi_bollinger:MaRsiBollinger"},
        "universe": {"symbols": SYMBOLS},
        "data": {"path": str(ROOT / "data")},
        "risk": RISK,
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values), "utf-8")
    return str(path)


def test_all_is_well_on_an_emulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = stepped(step=False, speed=1.0, environment="mock")
    with Emulator(settings) as emulator:
        ready = tmp_path / "ready.json"
        write_ready_file(ready, emulator.ready)
        path = write_config(tmp_path, mode="paper")
        code, found = doctor(capsys, path, "--emulator", str(ready))
        assert code == 0, found
        assert {row["outcome"] for row in found.values()} <= {"ok", "skipped"}
        for name in ("journal", "websocket", "sizing", "calendar", "disk", "rate"):
            assert found[name]["outcome"] == "ok"
        assert not emulator.state()["mock"]["orders"]


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "sizing": (
        {
            "mode": "backtest",
            "strategy": {
                "class": "strategies.ma_rsi_bollinger:MaRsiBollinger",
                "params": {"position_size": 0.9},
            },
        },
        "sizing",
        "position_size",
    ),
    "messages": (
        {"notify": {"urls": ["nosuchchannel://secretsecret"]}},
        "messages",
        "number 1",
    ),
    "heartbeat": (
        {"notify": {"heartbeat_url": "ftp://x"}},
        "messages",
        "heartbeat_url",
    ),
    "strategy": (
        {"strategy": {"class": "strategies.none:None_"}},
        "configuration",
        "strategies",
    ),
    "profile": ({"kis": {"profile": "other"}}, "mode and keys", "default"),
    "mode": ({"mode": "paper", "paper": {"server": "kis"}}, "mode and keys", "paper"),
    "arming": ({}, "arming", "not armed"),
    "calibration": ({}, "calibration", "never"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    keep(Environment.REAL)
    changes, check, expected = BROKEN[name]
    code, found = doctor(
        capsys,
        write_config(tmp_path, **changes),
        *("--environment", "real", "--offline"),
    )
    assert code == 1
    assert found[check]["outcome"] == "failed"
    assert expected in found[check]["found"]
    assert found[check]["remedy"]
    assert "secretsecret" not in json.dumps(found)


def test_gaps_of_the_mock_server_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(Environment.MOCK)
    path = write_config(
        tmp_path, mode="paper", paper={"server": "kis"}, bars={"interval": "1m"}
    )
    assert run(["--lang", "en", "doctor", path, "--offline"]) == 0
    said = capsys.readouterr().out
    assert "09:00:00" in said
    assert "no minutes of past days" in said


@pytest.mark.parametrize(
    ("changes", "code", "outcome"),
    [
        ({"mode": "backtest"}, 0, "skipped"),
        ({"mode": "paper", "paper": {"server": "emulator"}}, 0, "skipped"),
        ({"mode": "paper", "paper": {"server": "kis"}}, 1, "failed"),
        ({"mode": "live"}, 1, "failed"),
    ],
)
def test_keys_are_wanted_where_the_configuration_needs_them(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    code: int,
    outcome: str,
) -> None:
    found_code, found = doctor(capsys, write_config(tmp_path, **changes), "--offline")
    assert (found_code, found["keys"]["outcome"]) == (code, outcome)


def loosen(state: Path) -> None:
    (state / "loose.json").write_text("{}")
    (state / "loose.json").chmod(0o644)


def halt(state: Path) -> None:
    HaltLatch(state).raise_("loss", "guard")


def damage(state: Path) -> None:
    path = state / "journal.db"
    path.write_bytes(b"SQLite format 3\x00" + b"x" * 5000)
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("spoil", "check", "remedy"),
    [
        (loosen, "file permissions", "chmod"),
        (halt, "halt", "kisbt unhalt"),
        (damage, "journal", "see"),
    ],
)
def test_what_is_wrong_with_an_account_is_named(
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    check: str,
    remedy: str,
) -> None:
    from kisbt.app.state import profile_folder

    keep(Environment.MOCK)
    state = profile_folder(kis_server(Environment.MOCK), "default")
    state.mkdir(parents=True, mode=0o700)
    spoil(state)
    code, found = doctor(capsys, "--offline")
    assert code == 1
    assert found[check]["outcome"] == "failed"
    assert remedy in found[check]["remedy"]


def test_missing_hts_id_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from kisbt.kis.keys import Secret

    keep(Environment.MOCK, hts_id=Secret(""))
    code, found = doctor(capsys, "--offline")
    assert (code, found["HTS id"]["outcome"]) == (1, "failed")


def test_doctor_does_not_throw_out_a_living_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hung_run(tmp_path / "state", environment=Environment.REAL) as bed:
        ready = tmp_path / "ready.json"
        write_ready_file(ready, bed.emulator.side("real"))
        _code, found = doctor(capsys, "--environment", "real", "--emulator", str(ready))
        assert found["websocket"]["outcome"] == "skipped"
        assert bed.side()["stream"]["connects"] == 0


def test_a_calendar_that_ends_is_refused() -> None:
    late = TEN.replace(year=2099)
    found = {check.name: check for check in check_machine(clock=ManualClock(late))}
    assert any(
        check.outcome is Outcome.FAILED and "krx_overrides" in check.remedy
        for check in found.values()
    )
