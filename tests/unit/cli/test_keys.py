import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kisbt.cli.main import run
from kisbt.kis import keys as kis_keys
from tests.helpers.loopback import Loopback

APP_KEY = "PS" + "canarykey" * 3 + "x" * 7
APP_SECRET = "canarysecret" * 15


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("KISBT_LANG", "en")
    monkeypatch.setattr("kisbt.app.connect.usable_keyring", lambda: None)
    return tmp_path / "state"


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))


def add(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    type_in(monkeypatch, APP_KEY, APP_SECRET, "50112233-01", "canaryhts")
    return run(["keys", "add", "--no-test", *options])


def test_keys_are_kept_and_listed_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(monkeypatch) == 0
    assert run(["keys", "ls", "--json"]) == 0
    out, err = capsys.readouterr()
    listed = json.loads(out[out.index("[") :])
    assert listed == [
        {
            "profile": "default",
            "environment": "mock",
            "account": "****2233-01",
            "place": "file",
        }
    ]
    assert "canary" not in out + err


def test_keys_out_of_the_brokers_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kis_devlp.yaml"
    path.write_text(
        json.dumps(
            {
                "my_app": APP_KEY,
                "my_sec": APP_SECRET,
                "my_acct_stock": "12345678",
                "paper_app": APP_KEY,
                "paper_sec": APP_SECRET,
                "my_paper_stock": "50112233",
            }
        )
    )
    assert run(["keys", "add", "--import", str(path), "--no-test", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["environment"] for row in json.loads(out)] == ["real", "mock"]
    assert "remove it" in err
    assert "canary" not in out + err


def test_wrong_input_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, APP_SECRET, APP_KEY, "50112233-01", "")
    assert run(["keys", "add", "--no-test"]) == 2
    assert "canary" not in capsys.readouterr().err


def test_removed_keys_are_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(monkeypatch)
    remove = ["keys", "rm", "default", "--environment", "mock", "--no-revoke"]
    assert run(remove) == 0
    capsys.readouterr()
    assert run(remove) == 2
    assert "kisbt keys ls" in capsys.readouterr().err


def test_doctor_names_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--offline"]) == 1
    assert "kisbt keys add" in capsys.readouterr().out


def test_doctor_offline_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add(monkeypatch)
    monkeypatch.setattr("socket.socket.connect", _no_network)
    assert run(["doctor", "--offline", "--json"]) == 0
    out = capsys.readouterr().out
    rows = json.loads(out[out.index("[") :])
    assert rows[-1]["outcome"] == "skipped"


def _no_network(*_: object) -> None:
    raise AssertionError("a connection was tried")


def test_fetch_needs_a_symbol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "fetch", "--data", str(tmp_path)]) == 2
    assert "--config" in capsys.readouterr().err


def test_fetch_refuses_intervals_kis_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["data", "fetch", "005930", "--interval", "5m", "--data", str(tmp_path)]
    assert run(asked) == 2
    assert "1d and 1m" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"rest_url": 1}', '{"environment": "real"}']
)
def test_other_ready_files_are_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text(content)
    assert run(["data", "fetch", "005930", "--emulator", str(ready)]) == 2
    assert str(ready) in capsys.readouterr().err


def test_a_ready_file_cannot_lead_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "rest_url": "http://192.0.2.1:80",
        "ws_url": "ws://192.0.2.1:80",
        "app_key": kis_keys.EMULATOR_PREFIX + "x" * 23,
        "app_secret": kis_keys.EMULATOR_PREFIX + "x" * 167,
        "account": "12345678-01",
        "hts_id": "x",
    }
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps(row))
    assert run(["data", "fetch", "005930", "--emulator", str(ready)]) == 2
    with Loopback() as server:
        row |= {"rest_url": server.url, "ws_url": "ws://127.0.0.1:9"}
        row |= {"app_key": APP_KEY, "app_secret": APP_SECRET}
        ready.write_text(json.dumps(row))
        assert run(["data", "fetch", "005930", "--emulator", str(ready)]) == 2
        assert server.accepted == 0


def test_listing_keys_loads_no_heavy_library() -> None:
    code = (
        "import sys; from kisbt.cli.main import run; run(['keys', 'ls']); "
        "bad = {'pandas', 'backtrader', 'websocket'} & sys.modules.keys(); "
        "sys.exit(', '.join(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip().splitlines()[-1:]) == (
        0,
        ["no keys; add them with: kisbt keys add"],
    )
