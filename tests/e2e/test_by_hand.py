"""Commands of a second terminal that move money: sell-all, reconcile, splits."""

import json
from pathlib import Path
from typing import Any

import pytest

from kisbt.cli.main import run
from kisbt.emulator.rules import Matching
from kisbt.model.account import Environment
from kisbt.model.order import OrderKind, OrderType, Side
from kisbt.model.ports import NewOrder
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access
from kisbt.orders.lifecycle import Status
from kisbt.orders.records import OrderPlan
from tests.helpers.emulator import until
from tests.helpers.haltbed import Bed, hung_run

pytestmark = pytest.mark.e2e

LONG_TERM = {"990001": {"quantity": 700, "average": 50_000}}


def give(bed: Bed, holdings: dict[str, Any], own: dict[str, int]) -> None:
    """Put shares into the account, of which kisbt owns some."""
    bed.emulator.set_account(environment=bed.environment.value, holdings=holdings)
    for symbol, quantity in own.items():
        bed.journal.adopt(symbol, quantity, 50_000.0)


def held(bed: Bed) -> dict[str, int]:
    rows = bed.side()["account"]["holdings"]
    return {symbol: row["quantity"] for symbol, row in rows.items()}


def digits(bed: Bed) -> str:
    return bed.access.keys.account.number[-4:]


def sold(bed: Bed) -> list[dict[str, Any]]:
    return [row for row in bed.side()["orders"] if row["side"] == "sell"]


def test_sell_all_sells_own_shares_and_no_other(tmp_path: Path) -> None:
    with hung_run(tmp_path, matching=Matching.TICK) as bed:
        give(bed, LONG_TERM, {"990001": 30})
        bed.order("990002")
        done = bed.kisbt("sell-all", "--json", typed=f"SELL ALL {digits(bed)}\n")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout) == [
            {"symbol": "990001", "wanted": 30, "sold": 30, "problem": ""}
        ]
        assert held(bed) == {"990001": 670}
        assert bed.working() == []
        assert HaltLatch(bed.state).is_raised()
        assert bed.journal.positions() == ()


def test_sell_all_needs_the_phrase(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        give(bed, LONG_TERM, {"990001": 30})
        done = bed.kisbt("sell-all", typed="yes\n")
        assert done.returncode == 2
        assert (held(bed), sold(bed)) == ({"990001": 700}, [])
        assert not HaltLatch(bed.state).is_raised()


def test_sell_all_never_sells_what_is_not_own(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        give(bed, LONG_TERM, {})
        done = bed.kisbt("sell-all", "--json", typed=f"SELL ALL {digits(bed)}\n")
        assert (done.returncode, json.loads(done.stdout)) == (0, [])
        assert sold(bed) == []


def test_sell_all_sells_no_more_than_is_there(tmp_path: Path) -> None:
    with hung_run(tmp_path, matching=Matching.TICK) as bed:
        give(bed, {"990001": {"quantity": 10, "average": 50_000}}, {"990001": 30})
        done = bed.kisbt("sell-all", "--json", typed=f"SELL ALL {digits(bed)}\n")
        (row,) = json.loads(done.stdout)
        assert (done.returncode, row["sold"]) == (1, 10)
        assert "only 10 of 30" in row["problem"]


def test_sell_all_after_hours_halts_and_says_when(tmp_path: Path) -> None:
    from tests.helpers.emulator import TEN

    evening = TEN.replace(hour=16, minute=30)
    with hung_run(tmp_path, start=evening) as bed:
        give(bed, LONG_TERM, {"990001": 30})
        done = bed.kisbt("sell-all", typed=f"SELL ALL {digits(bed)}\n")
        assert done.returncode == 3
        assert "regular session" in done.stderr
        assert sold(bed) == []
        assert HaltLatch(bed.state).is_raised()


# Reconcile: the run has died, nobody holds the account.


class Dead:
    """An account whose run was killed, and a way to look at it."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self.bed = bed
        self.ready = folder / "ready.json"
        row = bed.emulator.side(bed.environment.value)
        self.ready.write_text(json.dumps(row), "utf-8")

    def kisbt(self, *arguments: str) -> int:
        name = self.bed.environment.value
        where = ("--environment", name, "--emulator", str(self.ready))
        return run([*arguments, *where])

    def journal(self) -> Journal:
        return Journal(self.bed.state / "journal.db", access=Access.READ)


def kill(bed: Bed, folder: Path) -> Dead:
    """End the run as kill -9 would: no lock is held, nothing was tidied up."""
    bed.die()
    return Dead(bed, folder)


def test_reconcile_books_what_was_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hung_run(tmp_path, matching=Matching.TICK) as bed:
        ref = market_buy(bed, "990001", 5)
        until(lambda: held(bed).get("990001") == 5)
        dead = kill(bed, tmp_path)
        assert dead.kisbt("reconcile", "--json") == 0
        assert json.loads(capsys.readouterr().out)["clean"]
        with dead.journal() as journal:
            assert journal.order(ref).status is Status.FILLED
            assert [item.quantity for item in journal.positions()] == [5]


def test_reconcile_finds_an_order_whose_answer_was_lost(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        ref = bed.order(until=Status.SENDING)
        dead = kill(bed, tmp_path)
        assert dead.kisbt("reconcile") == 0
        with dead.journal() as journal:
            assert journal.order(ref).broker_number == bed.numbers[ref]


def test_reconcile_does_not_believe_missing_shares_until_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hung_run(tmp_path) as bed:
        give(bed, {"990001": {"quantity": 7, "average": 1}}, {"990001": 30})
        dead = kill(bed, tmp_path)
        assert dead.kisbt("reconcile") == 1
        assert "--accept-broker-position" in capsys.readouterr().out
        with dead.journal() as journal:
            assert [item.quantity for item in journal.positions()] == [30]
        assert dead.kisbt("reconcile", "--accept-broker-position") == 0
        with dead.journal() as journal:
            assert [item.quantity for item in journal.positions()] == [7]


def test_reconcile_of_a_traded_account_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hung_run(tmp_path) as bed:
        living = Dead(bed, tmp_path)
        assert living.kisbt("reconcile") == 3
        assert "kisbt stop" in capsys.readouterr().err


def test_split_is_shown_then_booked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hung_run(tmp_path) as bed:
        give(bed, {"990001": {"quantity": 50, "average": 50_000}}, {"990001": 10})
        dead = kill(bed, tmp_path)
        assert dead.kisbt("reconcile", "--split", "990001", "5") == 0
        with dead.journal() as journal:
            assert [item.quantity for item in journal.positions()] == [10]
        assert dead.kisbt("reconcile", "--split", "990001", "5", "--apply") == 0
        assert "10 shares at 50,000.00 become 50 at 10,000.00" in (
            capsys.readouterr().out
        )
        with dead.journal() as journal:
            (item,) = journal.positions()
        assert (item.quantity, item.average) == (50, 10_000.0)
        assert dead.kisbt("reconcile") == 0
        assert dead.kisbt("reconcile", "--split", "990002", "5") == 2
        assert dead.kisbt("reconcile", "--split", "990001", "0") == 2


def market_buy(bed: Bed, symbol: str, quantity: int) -> int:
    """Buy at the market, and hear nothing but the number."""
    now = bed.clock.now()
    plan = OrderPlan(
        number=1,
        symbol=symbol,
        side=Side.BUY,
        quantity=quantity,
        order_type=OrderType.MARKET,
        limit_price=None,
        session=now.date(),
        bar=now,
    )
    ref = bed.journal.add_order(plan, kind=OrderKind.MARKET)
    bed.journal.record(ref, Status.SENDING)
    ticket = bed.client.send_order(
        NewOrder(symbol=symbol, side=Side.BUY, quantity=quantity, kind=OrderKind.MARKET)
    )
    bed.journal.record(
        ref,
        Status.ACKED,
        day=now.date(),
        branch=ticket.branch,
        number=ticket.number,
    )
    return ref


# What there is to see.


@pytest.mark.parametrize("what", ["orders", "fills", "positions", "status"])
def test_show_of_a_hung_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    with hung_run(tmp_path, environment=Environment.REAL) as bed:
        give(bed, LONG_TERM, {"990001": 30})
        bed.order("990002", until=Status.UNKNOWN)
        HaltLatch(bed.state).raise_("loss of the day", "guard")
        assert run(["--lang", "en", "show", what]) == 0
        plain = capsys.readouterr().out
        assert run(["--lang", "en", "show", what, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
    expected = {
        "orders": ["990002", "UNKNOWN"],
        "fills": [],
        "positions": ["990001", "30"],
        "status": ["HALTED", "loss of the day", "UNKNOWN"],
    }[what]
    assert all(word in plain for word in expected)
    assert isinstance(rows, list)
    assert len(rows) == {"orders": 1, "fills": 0, "positions": 1}.get(what, len(rows))
