"""What a halt must not believe: other days' numbers, empty queries, early looks."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kisbt.app.halt import HaltReport, cancel_own
from kisbt.app.targets import target_of
from kisbt.app.watchdog import Watch
from kisbt.kis.client import KisClient
from kisbt.model.account import Environment
from kisbt.model.ports import OrderHistory
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.lifecycle import Status
from kisbt.orders.rows import OrderRecord
from kisbt.orders.watch import Vigil
from tests.helpers.haltbed import Bed, hung_run

pytestmark = [pytest.mark.fault, pytest.mark.e2e]


def halted(bed: Bed, give_up_s: float = 45.0) -> HaltReport:
    return cancel_own(
        target_of(bed.instance), by="halt", tell=lambda text: None, give_up_s=give_up_s
    )


def test_a_number_of_yesterday_hides_no_lost_order(tmp_path: Path) -> None:
    with hung_run(tmp_path, speed=20.0) as bed:
        old = bed.order("990002", until=Status.INTENT)
        bed.journal.record(old, Status.SENDING)
        ref = bed.order(until=Status.UNKNOWN)
        bed.journal.record(
            old,
            Status.ACKED,
            day=bed.clock.now().date() - timedelta(days=1),
            branch="00950",
            number=bed.numbers[ref],
        )
        bed.journal.record(old, Status.EXPIRED)
        report = halted(bed)
        assert bed.working() == [], report
        assert report.complete


def test_an_empty_query_does_not_prove_a_lost_order_absent(tmp_path: Path) -> None:
    with hung_run(tmp_path, environment=Environment.MOCK, speed=20.0) as bed:
        bed.emulator.fault("quirk(daily_ccld_empty, on=true)")
        bed.order(until=Status.UNKNOWN)
        report = halted(bed, give_up_s=12.0)
        assert bed.working()
        assert not report.complete
        assert report.left


def test_an_order_answered_between_two_looks_is_not_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hung_run(tmp_path, speed=1.0) as bed:
        ref = bed.order(until=Status.SENDING)
        seen = Journal.orders

        def answered(self: Journal, **options: Any) -> tuple[OrderRecord, ...]:
            found = seen(self, **options)
            now = bed.journal.order(ref).status
            wanted = options.get("statuses") or frozenset()
            if (
                self is not bed.journal
                and now is Status.SENDING
                and Status.ACKED in wanted
                and Status.SENDING not in wanted
                and looks
            ):
                bed.journal.record(
                    ref,
                    Status.ACKED,
                    day=bed.clock.now().date(),
                    branch="00950",
                    number=bed.numbers[ref],
                )
            return found

        looks: list[int] = []
        fetch = KisClient.fetch_orders

        def fetched(self: KisClient, *args: Any, **options: Any) -> OrderHistory:
            found = fetch(self, *args, **options)
            looks.append(1)
            return found

        monkeypatch.setattr(KisClient, "fetch_orders", fetched)
        monkeypatch.setattr(Journal, "orders", answered)
        report = halted(bed)
        monkeypatch.undo()
        assert bed.working() == [], report


def test_the_watchdog_tries_again_what_it_could_not_cancel(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        bed.order()
        bed.emulator.fault("gw(APBK0918, 200, tr=change, count=99)")
        alarms: list[str] = []
        HaltLatch(bed.state).raise_("by hand", "file")
        watch = Watch(
            target_of(bed.instance),
            Vigil(bed.instance.pid),
            lambda text: None,
            lambda title, text: alarms.append(text),
            give_up_s=0.5,
            again_s=60.0,
        )
        assert watch.look(0.0)
        assert bed.working()
        assert watch.look(59.0)
        assert watch.look(60.0)
        assert len(alarms) == 1  # nothing new to tell
        bed.emulator.clear_faults()
        assert watch.look(100.0)
        assert bed.working()
        assert watch.look(120.0)
        assert bed.working() == []
        assert len(alarms) == 2
