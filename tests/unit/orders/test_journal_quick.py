"""What makes the journal quick changes nothing of what it says."""

import gc
import threading
from pathlib import Path

import pytest

from kisbt.model.order import OrderKind
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access
from kisbt.orders.lifecycle import OPEN, Status
from kisbt.orders.rows import OrderRecord
from tests.helpers.orders import begin, make_clock, make_journal, make_plan, send


def test_orders_are_read_again_after_every_change(tmp_path: Path) -> None:
    journal = begin(make_journal(tmp_path))
    ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT)
    first = journal.open_orders()
    assert journal.open_orders() is first  # nothing was written since
    journal.record(ref, Status.SENDING)
    assert [order.status for order in journal.open_orders()] == [Status.SENDING]
    with Journal(journal.path, clock=make_clock(), access=Access.ASSIST) as other:
        other.want_cancel(ref, "halt")
        assert journal.open_orders()[0].cancel_wanted == "halt"


def test_a_moment_sees_own_changes_and_those_of_others_after_it(
    tmp_path: Path,
) -> None:
    journal = begin(make_journal(tmp_path))
    ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT)
    with Journal(journal.path, clock=make_clock(), access=Access.ASSIST) as other:
        with journal.moment():
            journal.record(ref, Status.HELD)
            assert [order.status for order in journal.pressing()] == [Status.HELD]
            other.want_cancel(ref, "halt")
            held = journal.pressing()
            # What decides reads inside its transaction.
            with journal.together():
                assert journal.pressing() == ()
            asked: list[int] = []
            begun = journal.begin_sending(ref, meanwhile=lambda: asked.append(ref))
            assert not begun
            assert asked == []  # its connection is not even begun
        assert [order.status for order in held] == [Status.HELD]
        assert journal.pressing() == ()
        assert journal.order(ref).status is Status.CANCELLED


def test_only_the_thread_in_a_moment_is_in_it(tmp_path: Path) -> None:
    journal = begin(make_journal(tmp_path))
    ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT)
    seen: list[int] = []
    with (
        Journal(journal.path, clock=make_clock(), access=Access.ASSIST) as other,
        journal.moment(),
    ):
        assert len(journal.pressing()) == 1
        other.want_cancel(ref, "halt")
        thread = threading.Thread(target=lambda: seen.append(len(journal.pressing())))
        thread.start()
        thread.join()
    assert seen == [0]


@pytest.mark.parametrize("wanted", [False, True])
def test_pressing_orders_are_those_something_is_to_be_done_about(
    tmp_path: Path, wanted: bool
) -> None:
    journal = begin(make_journal(tmp_path))
    intent = journal.add_order(make_plan(number=1), kind=OrderKind.LIMIT)
    held = journal.add_order(make_plan(number=2), kind=OrderKind.LIMIT, held=True)
    lost = journal.add_order(make_plan(number=3), kind=OrderKind.LIMIT)
    journal.record(lost, Status.SENDING)
    journal.record(lost, Status.UNKNOWN)
    working, _ticket = send(journal, number=4)
    gone = journal.add_order(make_plan(number=5), kind=OrderKind.LIMIT)
    journal.record(gone, Status.DENIED, rule="halt")
    if wanted:
        journal.want_cancel(working, "user")
    found = [order.ref for order in journal.pressing()]
    assert found == [intent, held, lost, *([working] if wanted else [])]


def test_a_record_that_is_kept_is_that_of_the_row(tmp_path: Path) -> None:
    journal = begin(make_journal(tmp_path))
    ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT)
    first = journal.order(ref)
    assert journal.order(ref) is first
    assert journal.open_orders()[0] is first
    journal.record(ref, Status.SENDING)
    assert (first.status, journal.order(ref).status) == (Status.INTENT, Status.SENDING)


def test_an_order_that_ended_is_not_kept_in_memory(tmp_path: Path) -> None:
    journal = begin(make_journal(tmp_path))
    refs = [journal.add_order(make_plan(), kind=OrderKind.LIMIT) for _ in range(5)]
    before = _records_alive()
    assert len(journal.open_orders()) == 5
    assert _records_alive() - before == 5
    for ref in refs:
        journal.want_cancel(ref, "user")
        assert journal.order(ref).status is Status.CANCELLED
    assert journal.open_orders() == ()
    assert _records_alive() == before


def _records_alive() -> int:
    gc.collect()
    return sum(type(found) is OrderRecord for found in gc.get_objects())


def test_what_was_undone_was_never_read(tmp_path: Path) -> None:
    journal = begin(make_journal(tmp_path))

    def give_up() -> None:
        with journal.together():
            journal.add_order(make_plan(), kind=OrderKind.LIMIT)
            assert len(journal.orders(statuses=OPEN)) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        give_up()
    assert journal.orders(statuses=OPEN) == ()


def test_a_reserved_log_holds_the_same_and_ends_with_the_last_commit(
    tmp_path: Path,
) -> None:
    journal = begin(make_journal(tmp_path))
    log = journal.path.with_name(journal.path.name + "-wal")
    journal.reserve()
    size = log.stat().st_size
    assert size > 4_000_000
    ref, _ticket = send(journal)
    journal.tidy()
    send(journal, "0000000013", number=2)
    assert log.stat().st_size == size  # no commit makes it longer
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    for name in ("", "-wal"):  # as a power cut leaves them
        source = journal.path.with_name(journal.path.name + name)
        target = copy / f"journal.db{name}"
        target.write_bytes(source.read_bytes())
        target.chmod(0o600)
    with Journal(copy / "journal.db", clock=make_clock()) as after:
        assert [order.status for order in after.orders()] == [Status.ACKED] * 2
        assert after.order(ref).broker_number == "0000000012"
