"""Rows 21 to 32 and 81: rates, tokens and a server that is out of order."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kisbt.clock import KST
from kisbt.model.order import Side
from kisbt.orders.lifecycle import Status
from tests.helpers.desk import OTHER, PATIENT, SYMBOL, SYMBOLS, Bench, bench

pytestmark = pytest.mark.fault


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", environment="real") as made:
        yield made


@pytest.mark.parametrize("code", ["EGW00201", "EGW00215"])
def test_row_21_throttled_order_is_sent_once_more_after_a_look(
    code: str, live: Bench
) -> None:
    live.emulator.fault(f"gw({code}, 500, tr=order)")
    order = live.order(Side.BUY, 3)
    live.run_for(5)
    found = live.journal.order(order.ref)
    assert (found.status, found.attempts, live.posts()) == (Status.FILLED, 2, 1)
    assert live.wrong(ended=True) == []


def test_row_22_throttled_order_that_was_taken_is_found_and_not_sent_again(
    live: Bench,
) -> None:
    live.emulator.fault("accept_then(gw, code=EGW00201)")
    order = live.order(Side.BUY, 3)
    live.run_for(5)
    found = live.journal.order(order.ref)
    assert (found.status, found.attempts, live.posts()) == (Status.FILLED, 1, 1)
    assert live.wrong(ended=True) == []


def test_order_throttled_twice_is_dropped_and_told(live: Bench) -> None:
    live.emulator.fault("gw(EGW00201, 500, tr=order, count=2)")
    order = live.order(Side.BUY, 3)
    live.run_for(10)
    assert (live.status(order.ref), live.posts()) == ("not_sent", 0)
    assert live.told.titles() == ["order not sent"]


def test_row_23_balance_that_cannot_be_read_is_not_an_empty_one(live: Bench) -> None:
    live.order(Side.BUY, 6)
    live.run_for(40)
    live.emulator.fault("gw(EGW00215, 500, tr=balance, count=999)")
    live.run_for(60)
    assert live.journal.holding(SYMBOL).quantity == 6
    sale = live.order(Side.SELL, 6)
    live.run_for(3)
    assert live.status(sale.ref) == "filled"
    assert live.wrong(ended=True) == []


def test_row_24_burst_keeps_to_the_rate_in_every_second(tmp_path: Path) -> None:
    options = {"limits": True}
    with bench(
        tmp_path / "state",
        environment="real",
        emulator=options,
        interval_s=1 / 15,
        ladders=PATIENT,
    ) as live:
        far = int(live.price() * 0.8) // 100 * 100
        refs = [live.submit(Side.BUY, 1, limit=far) for _number in range(60)]
        live.run_for(20)
        limit = live.truth()["real"]["limit"]
        assert limit["refused"] == 0
        assert limit["busiest_second"] <= limit["per_second"]
        working = {live.status(ref) for ref in refs}
        assert working == {"working"}
        assert live.wrong() == []


def test_row_24_cancellation_goes_before_waiting_orders(live: Bench) -> None:
    far = int(live.price() * 0.8) // 100 * 100
    first = live.order(Side.BUY, 1, limit=far)
    live.run_for(3)
    refs = [live.submit(Side.BUY, 1, limit=far) for _number in range(20)]
    live.desk.cancel(first.ref)
    live.desk.work(calls=1)
    assert live.cancels() == 1
    live.run_for(5)
    assert {live.status(ref) for ref in refs} == {"working"}
    assert live.wrong() == []


def test_row_25_server_that_refuses_a_third_of_the_calls_gets_every_order(
    tmp_path: Path,
) -> None:
    with bench(
        tmp_path / "state", environment="real", ladders=PATIENT, attempts=9
    ) as live:
        live.emulator.fault(
            {"verb": "gw", "code": "EGW00201", "http": 500, "rate": 0.3, "seed": 5}
        )
        refs = [live.submit(Side.BUY, 1, symbol=name) for name in SYMBOLS]
        live.run_for(60)
        assert {live.status(ref) for ref in refs} == {"filled"}
        live.emulator.clear_faults()
        assert live.wrong(ended=True) == []


@pytest.mark.parametrize("row", ["26 expired", "27 revoked"])
def test_rows_26_27_order_with_a_dead_token_is_sent_once(row: str, live: Bench) -> None:
    kind = "ttl=1" if row == "26 expired" else "revoke"
    live.emulator.fault(f"token({kind})", "token(per_min=0)")
    live.emulator.advance(2)
    live.emulator.fault("token(ttl=86400)")
    before = live.truth()["real"]["tokens_issued"]
    order = live.order(Side.BUY, 3)
    live.run_for(10)
    assert live.status(order.ref) == "filled"
    assert (len(live.real_orders()), live.posts()) == (1, 2)
    assert live.truth()["real"]["tokens_issued"] - before <= 1
    assert live.wrong(ended=True) == []


def test_row_29_without_a_token_at_the_opening_nothing_is_traded(
    tmp_path: Path,
) -> None:
    early = datetime(2025, 11, 3, 8, 29, tzinfo=KST)
    with bench(tmp_path / "state", environment="real", start=early) as live:
        held = live.submit(Side.BUY, 2)
        assert live.status(held) == "held"
        live.emulator.fault("token(revoke)", "http(token, *, status, 503)")
        live.emulator.fault("http(tokenP, *, status, 503)")
        live.run_until(lambda: live.journal.order(held).is_ended, seconds=200)
        assert live.status(held) in ("not_sent", "denied")
        assert live.posts() == 0
        assert "order not sent" in live.told.titles()
        live.emulator.clear_faults()
        live.run_for(120)
        live.latch.clear()  # five minutes without an answer halt
        later = live.order(Side.BUY, 2, symbol=OTHER)
        live.run_for(5)
        assert live.journal.order(later.ref).is_at_broker
        assert live.wrong() == []


def test_row_81_maintenance_is_met_with_patience(live: Bench) -> None:
    far = int(live.price() * 0.8) // 100 * 100
    order = live.order(Side.BUY, 1, limit=far)
    live.run_for(3)
    before = sum(live.truth()["real"]["calls"].values())
    live.emulator.fault("http(*, *, status, 503)")
    calls = live.desk.desk.state.calls
    live.run_for(240)
    assert live.desk.desk.state.calls - calls < 60
    assert live.told.titles() == ["no answer"]
    live.emulator.clear_faults()
    live.run_for(60)
    assert live.status(order.ref) == "working"
    assert sum(live.truth()["real"]["calls"].values()) > before
    assert live.wrong() == []


def test_server_silent_for_five_minutes_of_a_session_halts(live: Bench) -> None:
    live.emulator.fault("http(*, *, status, 503)")
    live.run_for(400)
    assert live.latch.is_raised()
    assert "halted" in live.told.titles()
