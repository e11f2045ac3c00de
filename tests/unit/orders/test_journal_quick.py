"""What makes the journal quick changes nothing of what it says."""

from pathlib import Path

import pytest

from kisbt.model.order import OrderKind
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access
from kisbt.orders.lifecycle import OPEN, Status
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
