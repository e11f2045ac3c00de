"""Nothing leaves the machine that should not: keys, hosts, modes, limits, arming.

The broker's addresses are watched at the lowest place there is: an audit hook of the
interpreter sees every connection and every name looked up.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from kisbt.app.arming import account_id, arm, arming_phrase
from kisbt.app.calibration import Calibration, write_calibration
from kisbt.app.connect import Access, key_store
from kisbt.app.state import profile_folder
from kisbt.cli.main import run
from kisbt.clock import KST, SystemClock
from kisbt.config import load_config
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.errors import ConfigError
from kisbt.kis.keys import KisKeys, Secret, parse_account
from kisbt.kis.servers import Server, emulator_server, kis_server
from kisbt.krx.calendar import LAST_DAY
from kisbt.model.account import Environment
from kisbt.orders.halt import HaltLatch
from tests.helpers.emulator import stepped

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SYMBOLS = ["990001", "990002"]
RISK = {
    "max_order_pct": 25,
    "max_symbol_pct": 30,
    "max_daily_loss_pct": 3,
    "max_orders_per_day": 100,
}
_watched: list[list[str]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event == "socket.connect":
        where = arguments[1]
        host = where[0] if isinstance(where, tuple) else str(where)
        if host not in {"127.0.0.1", "::1"}:
            _watched[-1].append(str(host))
    elif event == "socket.getaddrinfo" and arguments[0] not in {"127.0.0.1", "::1"}:
        _watched[-1].append(str(arguments[0]))


sys.addaudithook(_hook)


@contextmanager
def nothing_leaves() -> Iterator[None]:
    seen: list[str] = []
    _watched.append(seen)
    try:
        yield
    finally:
        _watched.pop()
    assert seen == []


def test_the_watch_has_eyes() -> None:
    with pytest.raises(AssertionError, match=r"127\.0\.0\.2"), nothing_leaves():
        sys.audit("socket.connect", None, ("127.0.0.2", 9))


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("KISBT_STATE", str(folder))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return folder


def keys(environment: Environment, **changes: Any) -> KisKeys:
    values: dict[str, Any] = {
        "profile": "default",
        "environment": environment,
        "app_key": Secret("INVENTEDKEY"),
        "app_secret": Secret("INVENTEDSECRETTHATISLONGER"),
        "account": parse_account("12345678-01"),
        "hts_id": Secret("invented"),
        **changes,
    }
    return KisKeys(**values)


def keep(environment: Environment, **changes: Any) -> KisKeys:
    found = keys(environment, **changes)
    key_store().add(found, in_file=True)
    return found


def write_config(folder: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "mode": "live",
        "strategy": {"class": "strategies.ma_rsi_bollinger:MaRsiBollinger"},
        "universe": {"symbols": SYMBOLS},
        "data": {"path": str(ROOT / "data")},
        "paper": {"replay": str(ROOT / "data"), "step": True},
        "risk": RISK,
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), "utf-8")
    return path


def armed(path: Path, **changes: Any) -> None:
    """Do as a person at a terminal would: calibrate, then arm."""
    kept = keep(Environment.REAL)
    state = profile_folder(kis_server(Environment.REAL), "default")
    now = SystemClock().now()
    write_calibration(
        state,
        Calibration(
            account=kept.account.masked,
            account_id=account_id(kept),
            environment="real",
            version="0",
            at=now,
        ),
    )
    values: dict[str, Any] = {
        "symbols": SYMBOLS,
        "won_cap": 500_000,
        "until": now.date() + timedelta(days=5),
        "typed": arming_phrase(kept, 500_000),
        **changes,
    }
    arm(state, load_config(path), kept, **values)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with nothing_leaves():
        code = run(["--lang", "en", *arguments])
    return code, capsys.readouterr().err


# What a configuration may not do.

BAD_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "missing limits": ({"risk": {}}, "risk.max_order_pct"),
    "one limit missing": (
        {"risk": {k: v for k, v in RISK.items() if k != "max_orders_per_day"}},
        "risk.max_orders_per_day",
    ),
    "limit of zero": ({"risk": {**RISK, "max_order_pct": 0}}, "max_order_pct"),
    "limit above all": ({"risk": {**RISK, "max_symbol_pct": 101}}, "max_symbol_pct"),
    "limit as text": ({"risk": {**RISK, "max_order_pct": "much"}}, "max_order_pct"),
    "unknown key": ({"risk": {**RISK, "max_ordr_pct": 5}}, "max_order_pct"),
    "another host": ({"kis": {"host": "https://evil.example"}}, "kis.host"),
    "keys in the file": ({"kis": {"app_key": "x"}}, "kis.app_key"),
    "another server": ({"live": {"server": "mock"}}, "live.server"),
    "arming in the file": ({"live": {"armed": True}}, "live.armed"),
    "no rules": ({"broker": {"rules": "none"}}, "broker.rules"),
    "negative capital": ({"capital": -1}, "capital"),
    "sizing above its limit": (
        {
            "strategy": {
                "class": "strategies.ma_rsi_bollinger:MaRsiBollinger",
                "params": {"position_size": 0.9},
            }
        },
        "position_size",
    ),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_a_wrong_configuration_reaches_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    changes, expected = BAD_CONFIGS[name]
    keep(Environment.REAL)
    path = write_config(tmp_path, **changes)
    code, said = refused(capsys, "run", str(path))
    assert (code, expected in said) == (2, True), said


@pytest.mark.parametrize("mode", ["backtest", "paper"])
def test_live_must_be_written_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    keep(Environment.REAL)
    path = write_config(tmp_path, mode=mode)
    code, said = refused(capsys, "run", str(path), "--mode", "live")
    assert (code, "mode: live" in said) == (2, True), said


# Keys and hosts.


def test_live_without_real_keys_reaches_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(Environment.MOCK)
    code, said = refused(capsys, "run", str(write_config(tmp_path)))
    assert (code, "kisbt keys add" in said) == (2, True), said


def test_live_does_not_take_keys_from_the_environment(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "KISBT_APP_KEY": "INVENTEDKEY",
        "KISBT_APP_SECRET": "INVENTEDSECRETTHATISLONGER",
        "KISBT_ACCOUNT": "12345678-01",
    }.items():
        monkeypatch.setenv(name, value)
    code, said = refused(capsys, "run", str(write_config(tmp_path)))
    assert (code, "kisbt keys add" in said) == (2, True), said


EMULATORS = {
    environment: emulator_server(environment, "http://127.0.0.1:9", "ws://127.0.0.1:9")
    for environment in Environment
}


@pytest.mark.parametrize("server_of", Environment)
@pytest.mark.parametrize("keys_of", Environment)
@pytest.mark.parametrize("emulated_server", [False, True])
@pytest.mark.parametrize("emulated_keys", [False, True])
def test_keys_go_to_their_own_server_only(
    server_of: Environment,
    keys_of: Environment,
    emulated_server: bool,
    emulated_keys: bool,
) -> None:
    server = EMULATORS[server_of] if emulated_server else kis_server(server_of)
    prefix = "KISBTEMULATOR" if emulated_keys else "INVENTED"
    mine = keys(
        keys_of,
        app_key=Secret(f"{prefix}KEY"),
        app_secret=Secret(f"{prefix}SECRETTHATISLONGER"),
    )
    belongs = server_of is keys_of and emulated_server is emulated_keys
    with nothing_leaves():
        if belongs:
            Access(mine, server).open().close()
            return
        with pytest.raises(ConfigError, match="Nothing was sent"):
            Access(mine, server).open()


@pytest.mark.parametrize(
    ("environment", "rest", "ws"),
    [
        (Environment.REAL, kis_server(Environment.MOCK).rest_url, None),
        (Environment.MOCK, kis_server(Environment.REAL).rest_url, None),
        (Environment.REAL, "https://evil.example:9443", None),
        (Environment.REAL, None, "ws://evil.example:21000"),
        (Environment.REAL, "http://openapi.koreainvestment.com:9443", None),
    ],
)
def test_no_server_but_those_in_the_code(
    environment: Environment, rest: str | None, ws: str | None
) -> None:
    own = kis_server(environment)
    with pytest.raises(ConfigError):
        Server(
            environment=environment,
            rest_url=rest or own.rest_url,
            ws_url=ws or own.ws_url,
        )


def test_live_on_an_emulator_is_a_rehearsal_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(stepped()) as emulator:
        ready = tmp_path / "ready.json"
        write_ready_file(ready, emulator.ready)
        path = write_config(tmp_path)
        code, said = refused(capsys, "run", str(path), "--emulator", str(ready))
        assert (code, "live.server: emulator" in said) == (2, True), said
        assert not emulator.state()["real"]["calls"]


# Arming.


def run_unarmed(tmp_path: Path) -> Path:
    keep(Environment.REAL)
    return write_config(tmp_path)


def run_expired(tmp_path: Path) -> Path:
    path = write_config(tmp_path)
    armed(path)
    state = profile_folder(kis_server(Environment.REAL), "default")
    file = state / "arming.json"
    row = json.loads(file.read_text())
    row["until"] = str(date(2020, 1, 1))
    file.write_text(json.dumps(row))
    return path


def run_changed(tmp_path: Path) -> Path:
    armed(write_config(tmp_path))
    return write_config(tmp_path, risk={**RISK, "max_order_pct": 30})


def run_other_universe(tmp_path: Path) -> Path:
    armed(write_config(tmp_path))
    return write_config(tmp_path, universe={"symbols": [*SYMBOLS, "990003"]})


def run_other_capital(tmp_path: Path) -> Path:
    armed(write_config(tmp_path))
    return write_config(tmp_path, capital=20_000_000)


def run_other_account(tmp_path: Path) -> Path:
    path = write_config(tmp_path)
    armed(path)
    keep(Environment.REAL, account=parse_account("87654321-01"))
    return path


def run_halted(tmp_path: Path) -> Path:
    path = write_config(tmp_path)
    armed(path)
    state = profile_folder(kis_server(Environment.REAL), "default")
    HaltLatch(state).raise_("loss of the day", "guard")
    return path


def run_loose_arming(tmp_path: Path) -> Path:
    path = write_config(tmp_path)
    armed(path)
    state = profile_folder(kis_server(Environment.REAL), "default")
    (state / "arming.json").chmod(0o644)
    return path


ARMINGS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "unarmed": (run_unarmed, "kisbt arm"),
    "expired": (run_expired, "it ended on 2020-01-01"),
    "changed limits": (run_changed, "has changed"),
    "changed universe": (run_other_universe, "has changed"),
    "changed capital": (run_other_capital, "capital was"),
    "changed account": (run_other_account, "another"),
    "halted": (run_halted, "kisbt unhalt"),
}


@pytest.mark.parametrize("name", ARMINGS)
def test_live_that_is_not_armed_reaches_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    prepare, expected = ARMINGS[name]
    path = prepare(tmp_path)
    code, said = refused(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert (code, expected in said) == (3, True), said


def test_an_arming_others_can_read_is_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_loose_arming(tmp_path)
    code, said = refused(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert (code != 0, "chmod 600" in said) == (True, True), said


def test_arming_is_typed_at_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path)
    armed(path)
    state = profile_folder(kis_server(Environment.REAL), "default")
    (state / "arming.json").unlink()
    until = str(SystemClock().now().date() + timedelta(days=5))
    code, said = refused(
        capsys, "arm", str(path), "--until", until, "--won-cap", "500000"
    )
    assert (code, "terminal" in said) == (3, True), said
    assert not (state / "arming.json").exists()


def test_no_environment_variable_arms(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KISBT_ARM", "KISBT_ARMED", "KISBT_LIVE", "KISBT_YES", "KISBT_FORCE"):
        monkeypatch.setenv(name, "1")
    path = run_unarmed(tmp_path)
    code, _said = refused(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert code == 3


def test_live_beyond_the_calendar_reaches_nobody(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = datetime.combine(
        LAST_DAY + timedelta(days=1), datetime.min.time(), tzinfo=KST
    )
    monkeypatch.setattr(SystemClock, "now", lambda _clock: later)
    path = write_config(tmp_path)
    armed(path)
    code, said = refused(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert (code in (2, 3), "calendar" in said) == (True, True), said


# The account.


def test_another_account_than_the_keys_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(stepped(virtual_limits=True)) as emulator:
        ready = tmp_path / "ready.json"
        row = {**emulator.side("real"), "account": "87654321-01"}
        ready.write_text(json.dumps(row), "utf-8")
        path = write_config(tmp_path, live={"server": "emulator"})
        code, said = refused(
            capsys,
            "rehearse",
            str(path),
            *("--emulator", str(ready), "--out", str(tmp_path / "run"), "--once"),
        )
        assert code in (2, 3), said
        assert "account" in said
        assert not emulator.state()["real"]["orders"]


@pytest.mark.parametrize("command", ["run", "rehearse"])
def test_long_term_shares_are_never_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """A whole account of the very symbols the strategy trades stays as it was."""
    mine = {symbol: {"quantity": 700, "average": 50_000} for symbol in SYMBOLS}
    start = date(2025, 12, 15)
    environment = "mock" if command == "run" else "real"
    settings = stepped(start=start, virtual_limits=True, limits=True)
    with Emulator(settings) as emulator:
        emulator.set_account(environment=environment, holdings=mine)
        ready = tmp_path / "ready.json"
        write_ready_file(ready, emulator.ready)
        path = write_config(
            tmp_path,
            mode="paper" if command == "run" else "live",
            strategy={
                "class": "strategies.ma_rsi_bollinger:MaRsiBollinger",
                "params": {
                    "ma_short": 2,
                    "ma_long": 3,
                    "rsi_oversold": 60,
                    "stop_loss": 0.001,
                    "take_profit": 0.001,
                },
            },
            live={"server": "emulator"},
            paper={"replay": str(ROOT / "data"), "step": True, "sessions": 6},
        )
        code, said = refused(
            capsys,
            command,
            str(path),
            *("--emulator", str(ready), "--out", str(tmp_path / "run"), "--once"),
            "--no-report",
        )
        assert code == 0, said
        side = emulator.state()[environment]
    assert any(fill["side"] == "sell" for fill in side["fills"])
    bought = dict.fromkeys(SYMBOLS, 0)
    for fill in sorted(side["fills"], key=lambda row: row["time"]):
        signed = fill["quantity"] if fill["side"] == "buy" else -fill["quantity"]
        bought[fill["symbol"]] += signed
        assert bought[fill["symbol"]] >= 0
    assert {
        symbol: row["quantity"] for symbol, row in side["account"]["holdings"].items()
    } == {symbol: 700 + count for symbol, count in bought.items()}
