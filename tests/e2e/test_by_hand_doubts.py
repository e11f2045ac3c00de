"""Commands by hand where something was left behind: dead runs, frozen symbols."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from kisbt.app.gate import adopt
from kisbt.emulator.rules import Matching
from kisbt.errors import SafetyRefused
from kisbt.model.order import Side
from kisbt.orders.lifecycle import Status
from tests.e2e.test_by_hand import Dead, digits, give, held, kill, market_buy
from tests.helpers.emulator import until
from tests.helpers.haltbed import Bed, hung_run

pytestmark = pytest.mark.e2e

SYMBOL = "990001"


def sell_all(dead: Dead) -> dict[str, Any]:
    """Run `kisbt sell-all` on the account of a dead run."""
    bed = dead.bed
    done = bed.kisbt(
        "sell-all",
        "--json",
        "--environment",
        bed.environment.value,
        "--emulator",
        str(dead.ready),
        typed=f"SELL ALL {digits(bed)}\n",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout)
    return dict(row)


def test_sell_all_of_a_dead_run_sells_what_its_own_sale_held_back(
    tmp_path: Path,
) -> None:
    with hung_run(tmp_path, matching=Matching.TICK) as bed:
        give(bed, {SYMBOL: {"quantity": 50, "average": 50_000}}, {SYMBOL: 30})
        last = int(bed.emulator.state()["book"][SYMBOL]["last"])
        bed.order(
            SYMBOL, side=Side.SELL, quantity=30, price=int(last * 1.2) // 500 * 500
        )
        assert sell_all(kill(bed, tmp_path))["sold"] == 30
        assert held(bed) == {SYMBOL: 20}


def test_sell_all_of_a_dead_run_sells_fills_it_did_not_see(tmp_path: Path) -> None:
    with hung_run(tmp_path, matching=Matching.TICK) as bed:
        market_buy(bed, SYMBOL, 7)
        until(lambda: held(bed).get(SYMBOL) == 7)
        assert sell_all(kill(bed, tmp_path))["sold"] == 7
        assert held(bed) == {}


def test_an_accepted_sale_by_hand_is_not_counted_again(tmp_path: Path) -> None:
    with hung_run(tmp_path, matching=Matching.TICK) as bed:
        give(bed, {SYMBOL: {"quantity": 10, "average": 50_000}}, {SYMBOL: 10})
        bed.emulator.external_order(
            environment="real", symbol=SYMBOL, side="sell", quantity=4, price=0
        )
        until(lambda: held(bed).get(SYMBOL) == 6)
        dead = kill(bed, tmp_path)
        assert dead.kisbt("reconcile", "--accept-broker-position") == 0
        with dead.journal() as journal:
            assert [item.quantity for item in journal.positions()] == [6]
        bed.emulator.external_order(
            environment="real", symbol=SYMBOL, side="sell", quantity=1, price=0
        )
        until(lambda: held(bed).get(SYMBOL) == 5)
        assert dead.kisbt("reconcile", "--accept-broker-position") == 0
        with dead.journal() as journal:
            assert [item.quantity for item in journal.positions()] == [5]
        assert dead.kisbt("reconcile") == 0


def test_what_kisbt_bought_is_not_adopted_as_well(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        give(bed, {SYMBOL: {"quantity": 15, "average": 50_000}}, {})
        bed.journal.adjust(symbol=SYMBOL, quantity=10, why="as if bought")
        balance = bed.client.fetch_balance()
        with pytest.raises(SafetyRefused, match=SYMBOL):
            adopt(bed.journal, {SYMBOL: 6}, balance)
        assert adopt(bed.journal, {SYMBOL: 5}, balance)
        assert bed.journal.holding(SYMBOL).quantity == 15
        assert adopt(bed.journal, {SYMBOL: 5}, balance) == []  # a second start
        bed.journal.adjust(symbol=SYMBOL, quantity=-15, why="as if sold")
        give(bed, {}, {})
        assert adopt(bed.journal, {SYMBOL: 5}, bed.client.fetch_balance()) == []


def test_a_frozen_symbol_is_thawed_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hung_run(tmp_path) as bed:
        bed.journal.freeze(SYMBOL, "answers were mixed up")
        dead = kill(bed, tmp_path)
        assert dead.kisbt("reconcile") == 0
        assert f"--thaw {SYMBOL}" in capsys.readouterr().out
        assert dead.kisbt("reconcile", "--thaw", SYMBOL) == 0
        assert dead.kisbt("reconcile", "--thaw", SYMBOL) == 2
        with dead.journal() as journal:
            assert journal.frozen() == {}


def damage(path: Path) -> None:
    """Write over the middle of a journal."""
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    content = bytearray(path.read_bytes())
    content[100 : len(content) // 2] = b"?" * (len(content) // 2 - 100)
    path.write_bytes(content)


def test_row_94_a_damaged_journal_is_rebuilt_on_request(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with hung_run(tmp_path) as bed:
        give(bed, {SYMBOL: {"quantity": 50, "average": 50_000}}, {SYMBOL: 30})
        ref = bed.order("990002")
        number, phrase = bed.numbers[ref], f"REBUILD {digits(bed)}"
        dead = kill(bed, tmp_path)
        path = bed.state / "journal.db"
        assert dead.kisbt("reconcile", "--rebuild") == 3  # it is sound
        damage(path)
        before = path.read_bytes()
        assert dead.kisbt("reconcile") == 1
        assert "reconcile --rebuild" in capsys.readouterr().err
        monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
        assert dead.kisbt("reconcile", "--rebuild") == 2
        assert path.read_bytes() == before
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{phrase}\n"))
        assert dead.kisbt("reconcile", "--rebuild") == 0
        told = capsys.readouterr().out
        assert f"{SYMBOL}: 50 shares, external" in told
        assert number in told
        (aside,) = bed.state.glob("journal.aside.*.db")
        assert aside.read_bytes() == before
        assert dead.kisbt("reconcile") == 0
        with dead.journal() as journal:
            assert journal.positions() == ()
            assert journal.outside() == {SYMBOL: 50}
            assert [int(item.number) for item in journal.externals()] == [int(number)]
        assert bed.working() == [number]


def quarantined(bed: Bed) -> int:
    """Leave an order that could be any of two others of the same shape."""
    ref = bed.order(until=Status.UNKNOWN)
    bed.journal.record(ref, Status.QUARANTINE, note="could be two")
    return ref


def test_a_person_says_which_order_a_doubtful_one_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hung_run(tmp_path) as bed:
        ref = quarantined(bed)
        number = bed.numbers[ref]
        dead = kill(bed, tmp_path)
        assert dead.kisbt("reconcile") == 1
        assert f"--order {ref}" in capsys.readouterr().out
        assert dead.kisbt("reconcile", "--order", str(ref), "9999999") == 2
        assert dead.kisbt("reconcile", "--order", str(ref), number) == 0
        with dead.journal() as journal:
            order = journal.order(ref)
            assert (order.status, order.broker_number) == (Status.WORKING, number)


def test_a_person_says_that_a_doubtful_order_is_not_there(tmp_path: Path) -> None:
    with hung_run(tmp_path) as bed:
        ref = bed.order(until=Status.UNKNOWN, send=False)
        bed.journal.record(ref, Status.QUARANTINE, note="no query shows anything")
        dead = kill(bed, tmp_path)
        assert dead.kisbt("reconcile", "--order", str(ref), "none") == 0
        with dead.journal() as journal:
            assert journal.order(ref).status is Status.ABSENT
        assert dead.kisbt("reconcile", "--order", str(ref), "none") == 2
