"""Calibration against the emulator, which is both servers of KIS."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from kisbt.app.calibrate import Calibrator
from kisbt.app.calibration import read_calibration
from kisbt.app.connect import Access, access_of_row
from kisbt.app.instances import sole_owner
from kisbt.app.remoteclock import RemoteClock
from kisbt.app.state import journal_path
from kisbt.emulator.runner import Emulator
from kisbt.errors import InputError, SafetyRefused
from kisbt.krx.calendar import default_calendar
from kisbt.model.order import OrderKind, OrderType, Side
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access as JournalAccess
from kisbt.orders.lifecycle import Status
from kisbt.orders.records import OrderPlan
from tests.helpers.emulator import SYMBOL, TEN, stepped

pytestmark = pytest.mark.e2e


class Bed:
    """An account to calibrate, on an emulator that moves when somebody waits."""

    def __init__(self, emulator: Emulator, access: Access, work: Calibrator) -> None:
        self.emulator = emulator
        self.access = access
        self.work = work
        self.told: list[str] = []

    def orders(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.emulator.state()[
            self.access.keys.environment.value
        ]["orders"]
        return found


@contextmanager
def bed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: str = "real",
    **settings: Any,
) -> Iterator[Bed]:
    monkeypatch.setenv("KISBT_STATE", str(folder))
    values = {"limits": True, "virtual_limits": True, **settings}
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator(stepped(**values)))
        row = emulator.side(environment)
        access = access_of_row(row, "test")
        clock = RemoteClock(row)
        stack.callback(clock.close)
        client = access.open(clock=clock)
        stack.callback(client.close)
        told: list[str] = []
        work = Calibrator(access, client, clock, default_calendar(), told.append)
        found = Bed(emulator, access, work)
        found.told = told
        yield found


@pytest.mark.parametrize("environment", ["real", "mock"])
def test_calibration_records_what_it_saw_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    with bed(tmp_path, monkeypatch, environment) as one:
        trial = one.work.plan(SYMBOL)
        record = one.work.run(trial, trial.phrase)
        assert record.problems == ()
        facts = record.facts
        assert facts["channel"] == "OpnAPI"
        assert facts["notice_number_equal"]
        assert "accepted" in facts["notices"]
        assert facts["quantities_add_up"]
        assert facts["end"] == "cancelled"
        assert {row["open"] for row in one.orders()} == {0}
        assert [row["filled"] for row in one.orders()] == [0, 0, 0]
        assert read_calibration(one.access.state) == record
        path = journal_path(one.access.state)
        with Journal(path, access=JournalAccess.READ) as journal:
            (order,) = journal.orders()
        assert (order.origin, order.status) == ("calibrate", Status.CANCELLED)


def test_calibration_orders_one_share_at_the_lower_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bed(tmp_path, monkeypatch) as one:
        trial = one.work.plan(SYMBOL)
        one.work.run(trial, trial.phrase)
        first = one.orders()[0]
        price = one.work.client.fetch_price(SYMBOL)
        assert (first["quantity"], first["price"]) == (1, price.lower_limit)
        assert trial.second > trial.price


def test_calibration_without_consent_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bed(tmp_path, monkeypatch) as one:
        trial = one.work.plan(SYMBOL)
        with pytest.raises(InputError, match="nothing was sent"):
            one.work.run(trial, "yes")
        assert one.orders() == []
        assert read_calibration(one.access.state) is None


def test_calibration_outside_the_session_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = TEN.replace(hour=8, minute=45)
    with (
        bed(tmp_path, monkeypatch, start=early) as one,
        pytest.raises(SafetyRefused, match="regular session"),
    ):
        one.work.plan(SYMBOL)


def test_calibration_of_a_halted_or_traded_account_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bed(tmp_path, monkeypatch) as one:
        trial = one.work.plan(SYMBOL)
        with sole_owner(one.access.state), pytest.raises(SafetyRefused):
            one.work.run(trial, trial.phrase)
        HaltLatch(one.access.state).raise_("loss", "guard")
        with pytest.raises(SafetyRefused, match="loss"):
            one.work.plan(SYMBOL)
        assert one.orders() == []


def test_calibration_takes_back_an_order_whose_answer_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bed(tmp_path, monkeypatch) as one:
        trial = one.work.plan(SYMBOL)
        one.emulator.fault("accept_then(read_then_close)")
        record = one.work.run(trial, trial.phrase)
        assert {row["open"] for row in one.orders()} == {0}
        assert record.facts["end"] == "cancelled"
        assert len([row for row in one.orders() if row["act"] == "new"]) == 1


def test_calibration_that_is_refused_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bed(tmp_path, monkeypatch) as one:
        trial = one.work.plan(SYMBOL)
        one.emulator.set_account(environment="real", cash=1)
        record = one.work.run(trial, trial.phrase)
        assert record.problems
        assert "not taken" in record.problems[0]


def test_record_of_calibration_that_is_none_is_not_believed(tmp_path: Path) -> None:
    from kisbt.errors import StorageError

    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"account": 1}))
    path.chmod(0o600)
    with pytest.raises(StorageError, match="remove it"):
        read_calibration(tmp_path)


def test_calibration_sends_no_order_a_strategy_left_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bed(tmp_path, monkeypatch) as one:
        now = one.work.clock.now()
        with Journal(journal_path(one.access.state), clock=one.work.clock) as journal:
            ref = journal.add_order(
                OrderPlan(
                    number=1,
                    symbol=SYMBOL,
                    side=Side.BUY,
                    quantity=7,
                    order_type=OrderType.MARKET,
                    limit_price=None,
                    session=now.date(),
                    bar=now,
                ),
                kind=OrderKind.MARKET,
                held=True,
            )
        trial = one.work.plan(SYMBOL)
        with pytest.raises(SafetyRefused, match="kisbt cancel"):
            one.work.run(trial, trial.phrase)
        assert one.orders() == []
        with Journal(
            journal_path(one.access.state), access=JournalAccess.READ
        ) as journal:
            assert journal.order(ref).status is Status.HELD
