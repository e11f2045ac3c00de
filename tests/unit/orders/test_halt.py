import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from kisbt.clock import KST, ManualClock
from kisbt.errors import StorageError
from kisbt.orders.halt import (
    Beat,
    Halt,
    HaltLatch,
    Heartbeat,
    Pulse,
    read_beat,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=KST)
posix = pytest.mark.skipif(os.name == "nt", reason="mode bits are not set on Windows")


def test_latch_is_down_at_first(tmp_path: Path) -> None:
    latch = HaltLatch(tmp_path / "state")
    assert (latch.is_raised(), latch.raised()) == (False, None)


def test_latch_says_why_to_another_process(tmp_path: Path) -> None:
    HaltLatch(tmp_path, clock=ManualClock(NOON)).raise_("손실 한도", "guard")
    assert HaltLatch(tmp_path).raised() == Halt(reason="손실 한도", by="guard", at=NOON)


def test_latch_keeps_the_first_reason(tmp_path: Path) -> None:
    latch = HaltLatch(tmp_path)
    assert latch.raise_("first", "command")
    assert not latch.raise_("second", "watchdog")
    halt = latch.raised()
    assert halt is not None
    assert halt.reason == "first"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"at": "x"}', "\x00" * 9])
def test_latch_is_any_file_of_its_name(tmp_path: Path, content: str) -> None:
    latch = HaltLatch(tmp_path)
    latch.path.write_text(content, "utf-8")
    assert latch.raised() == Halt(reason="", by="file")


def test_latch_is_a_folder_or_a_dead_link_of_its_name_too(tmp_path: Path) -> None:
    latch = HaltLatch(tmp_path)
    latch.path.mkdir()
    assert latch.is_raised()
    with pytest.raises(StorageError, match="could not be removed"):
        latch.clear()
    latch.path.rmdir()
    latch.path.symlink_to(tmp_path / "nowhere")
    assert latch.raised() == Halt(reason="", by="file")
    assert latch.clear()
    assert not latch.is_raised()


def test_latch_does_not_write_through_a_link(tmp_path: Path) -> None:
    latch = HaltLatch(tmp_path)
    latch.path.symlink_to(tmp_path / "victim")
    assert not latch.raise_("x", "command")
    assert not (tmp_path / "victim").exists()


@posix
def test_latch_that_cannot_be_looked_at_is_raised(tmp_path: Path) -> None:
    # A name longer than the file system allows: any error but "not there".
    assert HaltLatch(tmp_path / ("x" * 300)).is_raised()


@posix
def test_latch_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        latch = HaltLatch(tmp_path / "state")
        latch.raise_("x", "command")
    finally:
        os.umask(before)
    assert latch.path.stat().st_mode & 0o777 == 0o600
    assert latch.path.parent.stat().st_mode & 0o777 == 0o700


def test_latch_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="could not be written"):
        HaltLatch(tmp_path / "file").raise_("x", "command")


def test_latch_in_a_folder_that_is_none_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert HaltLatch(tmp_path / "file").is_raised()


def test_latch_cleared_twice(tmp_path: Path) -> None:
    latch = HaltLatch(tmp_path)
    latch.raise_("x", "command")
    assert [latch.clear(), latch.clear()] == [True, False]


def test_heartbeat_counts_once_a_second_and_at_each_change(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    heart = Heartbeat(tmp_path, clock=clock)
    counts = []
    for pulse, seconds in (
        (Pulse.STARTING, 0.0),
        (Pulse.STARTING, 0.5),
        (Pulse.OPEN, 0.1),
        (Pulse.OPEN, 0.9),
        (Pulse.OPEN, 0.2),
    ):
        clock.advance(seconds)
        heart.beat(pulse)
        beat = read_beat(tmp_path)
        assert beat is not None
        counts.append(beat.count)
    assert counts == [1, 1, 2, 2, 3]


def test_heartbeat_tells_whose_it_is(tmp_path: Path) -> None:
    Heartbeat(tmp_path).beat(Pulse.OPEN)
    assert read_beat(tmp_path) == Beat(count=1, pid=os.getpid(), pulse=Pulse.OPEN)
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat.json"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"count": 1}', json.dumps({"count": 1, "pid": 2, "pulse": 3})],
)
def test_heartbeat_that_is_none_reads_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "heartbeat.json").write_text(content)
    assert read_beat(tmp_path) is None


def test_heartbeat_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    Heartbeat(tmp_path / "file").beat(Pulse.OPEN)
    assert read_beat(tmp_path / "file") is None
