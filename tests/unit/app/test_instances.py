import multiprocessing
import os
from pathlib import Path

import pytest

from kisbt.app.instances import (
    Instance,
    ask_end,
    end_is_wanted,
    find_instance,
    instances_folder,
    is_owned,
    listed,
    running,
    sole_owner,
)
from kisbt.errors import InputError, SafetyRefused


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def _instance(name: str = "20251229-MaCross", **changes: object) -> Instance:
    values: dict[str, object] = {
        "id": name,
        "pid": os.getpid(),
        "mode": "paper",
        "environment": "mock",
        "profile": "emulator",
        "state": "/state/emulator-1/mock",
        "emulator": None,
        "folder": "runs/x",
        "config": "",
        "strategy": "MaCross",
        "started": "2025-12-29T08:00:00+09:00",
    }
    return Instance(**{**values, **changes})  # type: ignore[arg-type]


def test_a_running_instance_is_listed_until_it_ends() -> None:
    with listed(_instance()) as path:
        assert running() == (_instance(),)
        if os.name != "nt":
            assert path.stat().st_mode & 0o077 == 0
    assert running() == ()
    assert list(instances_folder().iterdir()) == []


def test_one_whose_process_died_is_forgotten() -> None:
    with listed(_instance()) as path:
        left = path.read_text("utf-8")
    path.write_text(left, "utf-8")  # as a killed process leaves it
    path.chmod(0o600)
    assert running() == ()
    assert not path.exists()


def test_word_to_end_is_heard_once_and_by_that_run_only() -> None:
    with listed(_instance("a")) as first, listed(_instance("b")) as second:
        assert not end_is_wanted(first)
        assert ask_end(_instance("a"))
        assert not end_is_wanted(second)
        assert end_is_wanted(first)
        assert not end_is_wanted(first)
        assert ask_end(_instance("b"))
    assert list(instances_folder().iterdir()) == []  # nobody hears it later


def test_word_for_a_run_that_has_ended_is_not_left() -> None:
    with listed(_instance()) as path:
        left = path.read_text("utf-8")
    assert not ask_end(_instance())
    path.write_text(left, "utf-8")  # as a killed process leaves it
    path.chmod(0o600)
    assert not ask_end(_instance())
    assert list(instances_folder().glob("*.end")) == []


def test_find_names_the_choices() -> None:
    with pytest.raises(InputError, match="no run is alive"):
        find_instance()
    with listed(_instance("a")), listed(_instance("b", mode="live")):
        assert find_instance("live").id == "b"
        assert find_instance("a").id == "a"
        with pytest.raises(InputError, match=r"a \(paper\), b \(live\)"):
            find_instance()
        with pytest.raises(InputError, match="c: no such run"):
            find_instance("c")


def _take(state: Path, found: "multiprocessing.Queue[str]") -> None:
    try:
        with sole_owner(state):
            found.put("taken")
    except SafetyRefused as error:
        found.put(str(error))


def test_the_second_owner_of_an_account_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "mock"
    spawn = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[str] = spawn.Queue()
    with sole_owner(state):
        assert is_owned(state)
        process = spawn.Process(target=_take, args=(state, found))
        process.start()
        assert "trades this account already" in found.get(timeout=30)
        process.join()
    assert not is_owned(state)
    with sole_owner(state):
        pass
