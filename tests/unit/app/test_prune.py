import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kisbt.app.instances import sole_owner
from kisbt.app.prune import KEEP, prune_emulators
from kisbt.app.state import state_folder
from kisbt.clock import KST

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=KST)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def _folder(name: str, age: timedelta) -> Path:
    folder = state_folder() / name
    (folder / "mock").mkdir(parents=True)
    (folder / "mock" / "journal.db").write_text("x")
    _make_old(folder, age)
    return folder


def _make_old(folder: Path, age: timedelta) -> None:
    at = (NOW - age).timestamp()
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (at, at))


def test_only_old_emulators_that_nobody_uses_are_removed() -> None:
    old = KEEP + timedelta(hours=1)
    gone = _folder("emulator-aaaa", old)
    young = _folder("emulator-bbbb", KEEP - timedelta(hours=1))
    kis = _folder("kis", timedelta(days=900))
    strange = _folder("emulator-notes of mine", old)
    assert prune_emulators(NOW) == (gone,)
    assert not gone.exists()
    assert young.exists()
    assert kis.exists()
    assert strange.exists()
    assert prune_emulators(NOW) == ()


def test_one_fresh_file_keeps_the_whole_folder() -> None:
    folder = _folder("emulator-cccc", KEEP * 3)
    fresh = folder / "mock" / "heartbeat"
    fresh.write_text("x")
    os.utime(fresh, (NOW.timestamp(), NOW.timestamp()))
    assert prune_emulators(NOW) == ()


def test_a_folder_a_run_holds_stays() -> None:
    folder = _folder("emulator-dddd", timedelta(0))
    with sole_owner(folder / "mock"):
        _make_old(folder, KEEP * 2)
        assert prune_emulators(NOW) == ()
        assert (folder / "mock" / "journal.db").exists()
    _make_old(folder, KEEP * 2)
    assert prune_emulators(NOW) == (folder,)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_is_never_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    _make_old(elsewhere, KEEP * 2)
    state_folder().mkdir()
    (state_folder() / "emulator-eeee").symlink_to(elsewhere)
    assert prune_emulators(NOW) == ()
    assert (elsewhere / "kept").exists()
