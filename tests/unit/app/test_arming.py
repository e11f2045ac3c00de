from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kisbt
from kisbt.app.arming import (
    Arming,
    account_id,
    arm,
    arming_phrase,
    disarm,
    exposure_lines,
    read_arming,
    require_armed,
)
from kisbt.app.calibration import Calibration, write_calibration
from kisbt.clock import KST, ManualClock
from kisbt.config import Config, load_config
from kisbt.errors import ConfigError, InputError, SafetyRefused, StorageError
from kisbt.kis.keys import KisKeys, Secret, parse_account
from kisbt.model.account import Environment

NOW = datetime(2026, 11, 20, 8, tzinfo=KST)
UNTIL = date(2026, 12, 1)
CAP = 1_000_000
SYMBOLS = ("990001", "990002")
RISK = {
    "max_order_pct": 25,
    "max_symbol_pct": 30,
    "max_daily_loss_pct": 3,
    "max_orders_per_day": 100,
}


def config(**changes: Any) -> Config:
    values: dict[str, Any] = {
        "mode": "live",
        "strategy": {"class": "strategies.ma_rsi_bollinger:MaRsiBollinger"},
        "universe": {"symbols": list(SYMBOLS)},
        "risk": RISK,
        **changes,
    }
    return load_config(values)


def keys(**changes: Any) -> KisKeys:
    values: dict[str, Any] = {
        "profile": "default",
        "environment": Environment.REAL,
        "app_key": Secret("INVENTED-KEY"),
        "app_secret": Secret("INVENTED-SECRET-THAT-IS-LONGER"),
        "account": parse_account("12345678-01"),
        "hts_id": Secret("invented"),
        **changes,
    }
    return KisKeys(**values)


def calibrated(folder: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "account": "****5678-01",
        "account_id": account_id(keys()),
        "environment": "real",
        "version": kisbt.__version__,
        "at": NOW,
        **changes,
    }
    write_calibration(folder, Calibration(**values))
    return folder


def armed(folder: Path, **changes: Any) -> Arming:
    values: dict[str, Any] = {
        "symbols": SYMBOLS,
        "won_cap": CAP,
        "until": UNTIL,
        "typed": "LIVE 5678 1000000",
        "clock": ManualClock(NOW),
        **changes,
    }
    return arm(calibrated(folder), config(), keys(), **values)


def check(folder: Path, **changes: Any) -> Arming:
    values: dict[str, Any] = {
        "config": config(),
        "keys": keys(),
        "symbols": SYMBOLS,
        "clock": ManualClock(NOW),
        **changes,
    }
    return require_armed(
        folder,
        values.pop("config"),
        values.pop("keys"),
        symbols=values["symbols"],
        clock=values["clock"],
    )


def test_arming_holds_for_what_was_agreed(tmp_path: Path) -> None:
    agreed = armed(tmp_path)
    assert check(tmp_path) == agreed == read_arming(tmp_path)
    assert check(tmp_path, clock=ManualClock(NOW + timedelta(days=11))) == agreed


def test_arming_is_private_and_holds_no_account_number(tmp_path: Path) -> None:
    armed(tmp_path)
    file = tmp_path / "arming.json"
    assert file.stat().st_mode & 0o077 == 0
    assert "12345678" not in file.read_text()


CHANGES: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "account": (
        lambda: {"keys": keys(account=parse_account("87654321-01"))},
        "account or its app key",
    ),
    "app key": (
        lambda: {"keys": keys(app_key=Secret("ANOTHER-KEY"))},
        "account or its app key",
    ),
    "capital": (lambda: {"config": config(capital=20_000_000)}, "capital was"),
    "risk": (
        lambda: {"config": config(risk={**RISK, "max_order_pct": 90})},
        "configuration",
    ),
    "parameter": (
        lambda: {
            "config": config(
                strategy={
                    "class": "strategies.ma_rsi_bollinger:MaRsiBollinger",
                    "params": {"ma_short": 6},
                }
            )
        },
        "configuration",
    ),
    "universe file": (lambda: {"symbols": (*SYMBOLS, "005930")}, "universe"),
    "order of symbols": (lambda: {"symbols": SYMBOLS[::-1]}, "universe"),
    "expired": (
        lambda: {"clock": ManualClock(NOW + timedelta(days=12))},
        "ended on 2026-12-01",
    ),
    "clock set back": (
        lambda: {"clock": ManualClock(NOW - timedelta(days=1))},
        "check the clock",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_arming_ends_with_any_change(tmp_path: Path, name: str) -> None:
    armed(tmp_path)
    change, reason = CHANGES[name]
    with pytest.raises(SafetyRefused, match=reason) as caught:
        check(tmp_path, **change())
    assert "kisbt arm" in str(caught.value)


def test_arming_ends_with_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed(tmp_path)
    monkeypatch.setattr(kisbt, "__version__", "99.0")
    with pytest.raises(SafetyRefused, match=r"99\.0"):
        check(tmp_path)


def test_nothing_armed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SafetyRefused, match="kisbt arm"):
        check(tmp_path)


def test_disarm_ends_it(tmp_path: Path) -> None:
    armed(tmp_path)
    assert [disarm(tmp_path), disarm(tmp_path)] == [True, False]
    with pytest.raises(SafetyRefused):
        check(tmp_path)


@pytest.mark.parametrize(
    "typed", ["", "yes", "LIVE 5678", "live 5678 1000000", "LIVE 5678 10000000"]
)
def test_any_other_phrase_arms_nothing(tmp_path: Path, typed: str) -> None:
    with pytest.raises(InputError, match="nothing was armed"):
        armed(tmp_path, typed=typed)
    assert read_arming(tmp_path) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"until": date(2026, 12, 21)},
        {"until": date(2026, 11, 19)},
        {"won_cap": 0, "typed": "LIVE 5678 0"},
        {"won_cap": 10_000_001, "typed": "LIVE 5678 10000001"},
    ],
)
def test_terms_out_of_range_are_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        armed(tmp_path, **changes)
    assert read_arming(tmp_path) is None


@pytest.mark.parametrize("mode", ["paper", "backtest"])
def test_only_live_is_armed(tmp_path: Path, mode: str) -> None:
    with pytest.raises(SafetyRefused, match="only mode live"):
        arm(
            calibrated(tmp_path),
            config(mode=mode),
            keys(),
            symbols=SYMBOLS,
            won_cap=CAP,
            until=UNTIL,
            typed=arming_phrase(keys(), CAP),
            clock=ManualClock(NOW),
        )


def test_a_rehearsal_is_not_armed(tmp_path: Path) -> None:
    with pytest.raises(SafetyRefused, match="rehearsal"):
        arm(
            calibrated(tmp_path),
            config(live={"server": "emulator"}),
            keys(),
            symbols=SYMBOLS,
            won_cap=CAP,
            until=UNTIL,
            typed=arming_phrase(keys(), CAP),
            clock=ManualClock(NOW),
        )


@pytest.mark.parametrize("limit", RISK)
def test_a_limit_that_is_missing_or_off_is_refused(tmp_path: Path, limit: str) -> None:
    with pytest.raises(ConfigError, match=limit):
        config(risk={key: value for key, value in RISK.items() if key != limit})
    with pytest.raises(SafetyRefused, match=limit):
        arm(
            calibrated(tmp_path),
            config(risk={**RISK, limit: None}),
            keys(),
            symbols=SYMBOLS,
            won_cap=CAP,
            until=UNTIL,
            typed=arming_phrase(keys(), CAP),
            clock=ManualClock(NOW),
        )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"account_id": "another"}, "another account"),
        ({"problems": ("no notice came",)}, "no notice came"),
    ],
)
def test_arming_needs_a_good_calibration(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    calibrated(tmp_path, **changes)
    terms: dict[str, Any] = {
        "symbols": SYMBOLS,
        "won_cap": CAP,
        "until": UNTIL,
        "typed": arming_phrase(keys(), CAP),
        "clock": ManualClock(NOW),
    }
    with pytest.raises(SafetyRefused, match=reason):
        arm(tmp_path, config(), keys(), **terms)
    (tmp_path / "calibration.json").unlink()
    with pytest.raises(SafetyRefused, match="kisbt calibrate"):
        arm(tmp_path, config(), keys(), **terms)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"account": "x"}'])
def test_a_file_that_is_no_arming_is_not_believed(tmp_path: Path, content: str) -> None:
    file = tmp_path / "arming.json"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(StorageError, match="remove it"):
        check(tmp_path)


def test_an_arming_others_may_write_is_not_believed(tmp_path: Path) -> None:
    armed(tmp_path)
    (tmp_path / "arming.json").chmod(0o666)
    with pytest.raises(StorageError, match="chmod 600"):
        check(tmp_path)


def test_the_exposure_is_told_before_the_phrase() -> None:
    text = "\n".join(exposure_lines(config(), CAP))
    assert "1,000,000 won, and 25 %" in text
    assert "10,000,000 won" in text
    assert "3 %: purchases stop; of 6 %: everything is halted" in text
    limited = exposure_lines(config(risk={**RISK, "max_open_orders": 3}), CAP)
    assert "3,000,000 won" in limited[-1]
