"""What others did to a run, read out of a real journal."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from kisbt.app.incidents import journal_incidents
from kisbt.clock import KST, ManualClock
from kisbt.model.liverun import Incident, IncidentKind
from kisbt.model.order import OrderKind, OrderType, Side
from kisbt.orders.journal import Journal
from kisbt.orders.records import OrderPlan
from kisbt.orders.rows import ExternalOrder

NINE = datetime(2025, 11, 3, 9, 0, tzinfo=KST)


def begin(journal: Journal, run_id: str) -> int:
    return journal.begin_run(
        run_id=run_id,
        version="0",
        config_hash="x",
        mode="paper",
        account="****5678-01",
        capital=1_000_000,
    ).number


def plan(number: int) -> OrderPlan:
    return OrderPlan(
        number=number,
        symbol="005930",
        side=Side.BUY,
        quantity=1,
        order_type=OrderType.LIMIT,
        limit_price=60_000,
        session=NINE.date(),
        bar=NINE,
        last_price=71_000.0,
    )


def found(journal: Journal, run: int, run_id: str = "b") -> list[Incident]:
    def number(ref: int) -> int | None:
        order = journal.order(ref)
        return order.number if order.run == run else None

    return list(journal_incidents(journal, run_id, number))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NINE)


def test_a_quiet_run_has_none(tmp_path: Path, clock: ManualClock) -> None:
    with Journal(tmp_path / "journal.db", clock=clock) as journal:
        run = begin(journal, "b")
        journal.add_order(plan(1), kind=OrderKind.LIMIT)
        assert found(journal, run) == []
        assert found(journal, run, "unknown") == []


def test_what_befell_a_run_is_told_and_nothing_before_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    with Journal(tmp_path / "journal.db", clock=clock) as journal:
        begin(journal, "a")
        journal.adjust(cash=5_000, why="before")
        journal.end_run("done")
        clock.sleep(60)
        run = begin(journal, "b")
        clock.sleep(60)
        journal.adjust(cash=-7_000, why="by hand")
        mine, asked = (journal.add_order(plan(n), kind=OrderKind.LIMIT) for n in (1, 2))
        journal.want_cancel(mine, "halt")
        journal.want_cancel(asked, "strategy")
        journal.note_external(
            ExternalOrder(
                day=date(2025, 11, 3),
                branch="00950",
                number="77",
                symbol="000660",
                side=Side.SELL,
                quantity=12,
                filled=0,
                channel="HTS",
            )
        )
        journal.freeze("035720", "two orders could be this one")
        clock.sleep(30)
        journal.thaw("035720", "a person")
        journal.freeze("035720", "again")
        incidents = found(journal, run)
    kinds = [incident.kind for incident in incidents]
    assert kinds == [
        IncidentKind.RESTART,
        IncidentKind.ADJUSTMENT,
        IncidentKind.HALT,
        IncidentKind.EXTERNAL_ORDER,
        IncidentKind.PAUSE,
        IncidentKind.PAUSE,
    ]
    restart, adjusted, halted, external, paused, again = incidents
    assert (restart.at, restart.until) == (NINE, NINE + timedelta(seconds=60))
    assert adjusted.note == "by hand"
    assert (halted.order_ref, halted.symbol) == (1, "005930")
    assert external.symbol == "000660"
    assert "12" in external.note
    assert paused.until == paused.at + timedelta(seconds=30)
    assert again.until is None


def test_a_run_of_another_day_is_no_restart(tmp_path: Path, clock: ManualClock) -> None:
    with Journal(tmp_path / "journal.db", clock=clock) as journal:
        begin(journal, "a")
        journal.end_run("done")
        clock.sleep(86_400)
        run = begin(journal, "b")
        assert found(journal, run) == []
