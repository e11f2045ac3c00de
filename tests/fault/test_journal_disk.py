"""Rows 91-94 at the journal: disk full, read-only, locked, damaged, of another kisbt."""

import json
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kisbt.errors import StorageError
from kisbt.model.order import OrderKind
from kisbt.orders import journalfile
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import STEPS, Access, open_database
from kisbt.orders.ledger import notice_digest
from kisbt.orders.lifecycle import Status
from kisbt.orders.rows import Booking
from tests.helpers.orders import (
    BRANCH,
    CAPITAL,
    DAY,
    NINE,
    begin,
    make_clock,
    make_journal,
    make_notice,
    make_plan,
    send,
)

pytestmark = pytest.mark.fault
POSIX = pytest.mark.skipif(os.name == "nt", reason="mode bits")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 2 MB, where the user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name == "nt" or os.getuid():
        pytest.skip("cannot mount")
    options = ["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(folder)]
    done = subprocess.run([mount, *options], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("cannot mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def filled(folder: Path, orders: int = 29) -> Path:
    """Make a journal with some orders and fills; return its path."""
    with make_journal(folder) as journal:
        begin(journal)
        for number in range(1, orders + 1):
            ref, ticket = send(journal, str(number), number=number)
            journal.book(
                Booking(
                    ticket=ticket.ticket,
                    quantity=10,
                    amount=10_000 + number,
                    commission=1,
                    tax=0,
                    cumulative=10,
                    at=NINE,
                    confirmed_by="rest",
                ),
                status=Status.FILLED,
            )
            assert journal.order(ref).status is Status.FILLED
        return journal.path


# Row 91: the disk is full before anything is sent.


def test_a_full_disk_lets_no_order_leave(tiny_disk: Path) -> None:
    journal = begin(Journal(tiny_disk / "journal.db", emergency=tiny_disk))
    kept = 0

    def fill_up() -> None:
        nonlocal kept
        for number in range(10_000):
            ref = journal.add_order(make_plan(number=number), kind=OrderKind.LIMIT)
            journal.record(ref, Status.SENDING)
            kept += 1  # from here on it would have been sent

    with pytest.raises(StorageError, match="cannot be used"):
        fill_up()
    assert journal.broken
    sending = journal.orders(statuses=frozenset({Status.SENDING}))
    assert len(sending) == kept
    journal.close()


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    begin(journal)
    _ref, ticket = send(journal)
    pages = journal._one("PRAGMA page_count")[0]
    journal._one(f"PRAGMA max_page_count = {pages}")

    def add_much() -> None:
        with journal.together():
            journal.book(
                Booking(
                    ticket=ticket.ticket,
                    quantity=10,
                    amount=10_000,
                    commission=1,
                    tax=0,
                    cumulative=10,
                    at=NINE,
                    confirmed_by="rest",
                ),
                status=Status.FILLED,
            )
            journal.save_state("big", {"text": "x" * 1_000_000})

    with pytest.raises(StorageError, match="full"):
        add_much()
    assert journal.cash() == CAPITAL
    assert journal.positions() == ()
    assert journal.order(1).status is Status.ACKED
    journal.close()
    make_journal(tmp_path).close()


# Row 92: the answer of the broker cannot be written.


def test_an_answer_that_cannot_be_kept_is_cried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(journalfile, "BUSY_MS", 20)
    second = tmp_path / "second"
    second.mkdir()
    journal = make_journal(tmp_path, emergency=second)
    begin(journal)
    ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT)
    journal.record(ref, Status.SENDING)
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            journal.record(
                ref, Status.ACKED, day=DAY, branch=BRANCH, number="0000000012"
            )
    assert journal.broken
    (line,) = (second / "kisbt-emergency.jsonl").read_text().splitlines()
    assert json.loads(line)["number"] == "0000000012"
    assert "EMERGENCY" in capsys.readouterr().err
    (kept,) = journal.emergencies()
    assert (kept["ref"], kept["status"]) == (ref, "acked")
    journal.close()
    with make_journal(tmp_path, emergency=second) as again:
        assert again.order(ref).status is Status.SENDING
        assert again.emergencies() == (kept,)
        assert not again.broken


def test_a_journal_of_another_folder_has_its_own_emergencies(tmp_path: Path) -> None:
    (tmp_path / "kisbt-emergency.jsonl").write_text(
        'no json\n{"journal": "/another", "ref": 1}\n[1]\n'
    )
    with make_journal(tmp_path) as journal:
        assert journal.emergencies() == ()


# Row 93: it can be read only, or somebody holds it.


def test_a_locked_journal_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path)
    monkeypatch.setattr(journalfile, "BUSY_MS", 20)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="locked"):
            make_journal(tmp_path)
    make_journal(tmp_path).close()


def test_a_short_lock_is_waited_for(tmp_path: Path) -> None:
    filled(tmp_path)
    with (
        make_journal(tmp_path) as main,
        make_journal(tmp_path, access=Access.ASSIST) as halt,
    ):
        with halt.together():
            assert len(main.orders()) == 29
        main.note("after")
        assert not main.broken


def test_a_read_only_disk_is_refused(tiny_disk: Path) -> None:
    path = filled(tiny_disk, orders=3)
    assert path.parent.parent == tiny_disk
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(StorageError):
        Journal(path, clock=make_clock(), emergency=tiny_disk)


@POSIX
def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path)
    if not os.getuid():
        pytest.skip("root writes anything")
    path.chmod(0o400)
    with pytest.raises(StorageError, match="readonly"):
        make_journal(tmp_path)


# Row 94: it is damaged.


def test_a_damaged_journal_is_refused_and_kept(tmp_path: Path) -> None:
    path = filled(tmp_path)
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        make_journal(tmp_path)
    (copy,) = path.parent.glob("journal.damaged.*.db")
    assert copy.read_bytes() == bytes(content)
    assert path.read_bytes() == bytes(content)


def test_an_assistant_uses_a_journal_whose_sums_are_wrong(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE positions SET quantity = quantity + 1")
    with pytest.raises(StorageError, match="sums"):
        make_journal(tmp_path)
    with make_journal(tmp_path, access=Access.ASSIST) as halt:
        assert len(halt.orders()) == 29
        with pytest.raises(StorageError, match="sums"):
            halt.check()


def test_an_overwritten_journal_is_never_made_anew(tmp_path: Path) -> None:
    path = filled(tmp_path)
    path.write_bytes(b"not a database, but something long enough" * 200)
    with pytest.raises(StorageError):
        make_journal(tmp_path)
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("size", [1, 512])
def test_flipped_bytes_are_found_or_change_no_number(tmp_path: Path, size: int) -> None:
    path = filled(tmp_path)
    sound = path.read_bytes()
    with make_journal(tmp_path) as journal:
        truth = _numbers(journal)
    for copy in path.parent.glob("*.daily.*"):
        copy.unlink()
    dice = random.Random(size)
    used = [n for n in range(100, len(sound) - size) if sound[n]]
    refused = 0
    for _turn in range(60):
        content = bytearray(sound)
        at = dice.choice(used)
        for place in range(at, at + size):
            content[place] ^= dice.randrange(1, 256)
        path.write_bytes(content)
        for name in ("-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        try:
            with make_journal(tmp_path) as journal:
                assert _numbers(journal) == truth
        except StorageError:
            refused += 1
    assert refused >= 20


def _numbers(journal: Journal) -> object:
    return (
        journal.cash(),
        journal.positions(),
        [(o.ref, o.status, o.filled, o.amount) for o in journal.orders()],
    )


def test_a_sound_journal_is_copied_once_a_day(tmp_path: Path) -> None:
    path = filled(tmp_path)
    clock = make_clock()
    for _day in range(5):
        make_journal(tmp_path, clock).close()
        make_journal(tmp_path, clock).close()
        clock.advance(86_400.0)
    copies = sorted(path.parent.glob("journal.daily.*.db"))
    assert [copy.name.split(".")[2][:8] for copy in copies] == [
        "20251105",
        "20251106",
        "20251107",
    ]
    shutil.copyfile(copies[-1], path)
    with make_journal(tmp_path, clock) as journal:
        assert len(journal.orders()) == 29


# Another schema.


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer kisbt"):
        make_journal(tmp_path)


def test_an_older_journal_is_copied_and_brought_up_to_date(tmp_path: Path) -> None:
    path = filled(tmp_path)
    steps = (*STEPS, "ALTER TABLE orders ADD COLUMN later TEXT NOT NULL DEFAULT 'x';")
    with closing(open_database(path, Access.MAIN, make_clock(), steps)) as opened:
        assert opened.execute("SELECT count(*), max(later) FROM orders").fetchone() == (
            29,
            "x",
        )
        assert opened.execute("PRAGMA user_version").fetchone() == (2,)
    (copy,) = path.parent.glob("journal.schema1.*.db")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600 or os.name == "nt"
    copy.replace(path)
    with make_journal(tmp_path) as journal:
        assert len(journal.orders()) == 29


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path)
    steps = (*STEPS, "CREATE TABLE later (x); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(StorageError, match="nowhere"):
        open_database(path, Access.MAIN, make_clock(), steps)
    with make_journal(tmp_path) as journal:
        assert len(journal.orders()) == 29
        assert journal._all("SELECT name FROM sqlite_master WHERE name = 'later'") == []


@pytest.mark.parametrize("access", [Access.ASSIST, Access.READ])
def test_only_the_main_process_changes_a_schema(tmp_path: Path, access: Access) -> None:
    path = filled(tmp_path)
    steps = (*STEPS, "CREATE TABLE later (x);")
    with pytest.raises(StorageError, match="older kisbt"):
        open_database(path, access, make_clock(), steps)


# Privacy.


@POSIX
def test_the_journal_is_its_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with make_journal(tmp_path) as journal:
            begin(journal)
            modes = {
                file.name: stat.S_IMODE(file.stat().st_mode)
                for file in journal.path.parent.iterdir()
            }
    finally:
        os.umask(old)
    assert {"journal.db", "journal.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


@POSIX
@pytest.mark.parametrize(
    ("name", "mode"), [(".", 0o755), ("journal.db", 0o640), ("journal.db", 0o604)]
)
def test_what_others_may_read_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    path = filled(tmp_path)
    (path.parent / name).chmod(mode)
    with pytest.raises(StorageError, match="chmod"):
        make_journal(tmp_path)


@POSIX
@pytest.mark.parametrize("access", list(Access))
def test_a_link_is_refused(tmp_path: Path, access: Access) -> None:
    path = filled(tmp_path)
    real = path.with_name("elsewhere.db")
    path.replace(real)
    path.symlink_to(real)
    with pytest.raises(StorageError, match="link"):
        make_journal(tmp_path, access=access)


@POSIX
def test_somebody_elses_journal_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path)
    if os.getuid():
        pytest.skip("only root can give files away")
    os.chown(path, 12345, 12345)
    with pytest.raises(StorageError, match="another user"):
        make_journal(tmp_path)


def test_no_secret_can_be_found_in_the_file(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        notice = make_notice(
            account="8765432101", customer="holder-id", holder="김철수"
        )
        journal.add_notice(DAY, notice, notice_digest(notice))
        path = journal.path
    content = path.read_bytes()
    for word in ("87654321", "holder-id", "김철수"):
        assert word.encode() not in content


def test_a_process_that_ends_gives_the_journal_free(tmp_path: Path) -> None:
    path = filled(tmp_path)
    code = (
        "import os, sys; from pathlib import Path; from kisbt.orders.journal import"
        " Journal; Journal(Path(sys.argv[1])); os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, check=False, timeout=50
    )
    assert done.returncode == 9
    make_journal(tmp_path).close()


def test_any_folder_name_will_do(tmp_path: Path) -> None:
    folder = (
        tmp_path / "모의 #1 50% a?b" if os.name != "nt" else tmp_path / "모의 #1 50%"
    )
    folder.mkdir()
    path = filled(folder, orders=1)
    assert path.is_file()
    with make_journal(folder, access=Access.READ) as reader:
        assert len(reader.orders()) == 1


def test_processes_may_add_at_the_same_time(tmp_path: Path) -> None:
    path = filled(tmp_path, orders=1)
    code = (
        "import sys; from pathlib import Path; from kisbt.orders.journal import Journal;"
        " from kisbt.orders.journalfile import Access\n"
        "with Journal(Path(sys.argv[1]), access=Access.ASSIST) as journal:\n"
        "    for n in range(100): journal.note('helper', n=n)"
    )
    with make_journal(tmp_path) as main:
        before = len(main.history())
        helpers = [
            subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT)
            for _helper in range(2)
        ]
        for number in range(100):
            main.note("main", number=number)
        assert [helper.wait(50) for helper in helpers] == [0, 0]
        lines = main.history()
    assert len(lines) - before == 300
    assert [line.sequence for line in lines] == list(range(1, len(lines) + 1))
