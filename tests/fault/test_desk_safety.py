"""Orders that must not leave, or must be able to leave: found by looking for leaks."""

from dataclasses import replace
from pathlib import Path

import pytest

from kisbt.model.order import OrderType, Side
from kisbt.orders.guard import GuardLimits
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access
from kisbt.orders.ledger import FillSource
from kisbt.orders.lifecycle import Status
from kisbt.orders.rows import OrderRecord
from tests.helpers.desk import SYMBOL, Bench, bench

pytestmark = pytest.mark.fault

DEFAULT_GUARD = GuardLimits(needs_stream=False)


def far(live: Bench, symbol: str = SYMBOL) -> int:
    return int(live.price(symbol) * 0.8) // 500 * 500


def test_the_one_retry_is_no_duplicate(tmp_path: Path) -> None:
    with bench(tmp_path / "state", environment="real", guard=DEFAULT_GUARD) as live:
        live.emulator.fault("gw(EGW00201, 500, tr=order)")
        order = live.order(Side.BUY, 5)
        live.run_for(15)
        assert live.status(order.ref) == "filled", live.journal.order(order.ref).note
        assert len(live.real_orders()) == 1
        assert live.wrong(ended=True) == []


def test_an_order_cancelled_before_its_retry_is_not_sent(tmp_path: Path) -> None:
    with bench(tmp_path / "state", environment="real") as live:
        live.emulator.fault("gw(EGW00201, 500, tr=order)")
        order = live.order(Side.BUY, 5)
        assert live.status(order.ref) == "claimed"
        live.desk.cancel(order.ref)
        live.run_for(15)
        assert live.status(order.ref) == "cancelled"
        assert live.real_orders() == []


def test_a_cap_on_sales_goes_when_the_fill_is_booked(tmp_path: Path) -> None:
    with bench(tmp_path / "state", environment="real") as live:
        live.emulator.fault("lag(ledger, 40)")
        order = live.order(Side.BUY, 10)
        live.desk.desk.state.balance.want(live.time.monotonic() + 3)
        live.run_for(90)
        assert live.status(order.ref) == "filled"
        live.emulator.clear_faults()
        sale = live.order(Side.SELL, 10)
        live.run_for(10)
        assert live.status(sale.ref) == "filled", live.journal.order(sale.ref).note


@pytest.mark.parametrize("status", [Status.HELD, Status.INTENT])
def test_a_halt_between_two_looks_ends_no_run(
    tmp_path: Path, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path / "state", environment="real") as live:
        plan = live.plan(Side.BUY, 5)
        if status is Status.HELD:
            plan = replace(plan, order_type=OrderType.CLOSE)
        ref = live.desk.submit(plan)
        assert live.journal.order(ref).status is status
        seen = live.journal.pressing
        halted: list[bool] = []

        def then_halted() -> tuple[OrderRecord, ...]:
            found = seen()
            if any(o.ref == ref for o in found) and not halted:
                halted.append(True)
                live.latch.raise_("test", "command")
                with Journal(
                    live.journal.path, clock=live.time, access=Access.ASSIST
                ) as other:
                    other.want_cancel(ref, "halt")
            return found

        if status is Status.HELD:
            live.emulator.advance(
                (
                    live.time.now().replace(hour=15, minute=21) - live.time.now()
                ).total_seconds()
            )
        monkeypatch.setattr(live.journal, "pressing", then_halted)
        live.turn()
        assert halted
        assert live.status(ref) == "cancelled"
        assert live.posts() == 0


def test_a_halt_while_the_rate_is_waited_for_stops_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path / "state", environment="real", interval_s=2.0) as live:
        sleep = live.time.sleep

        def halted_meanwhile(seconds: float) -> None:
            live.latch.raise_("test", "command")
            sleep(seconds)

        live.client.hold = lambda: "halted" if live.latch.is_raised() else ""
        ref = live.submit(Side.BUY, 5)
        live.client.fetch_balance()
        monkeypatch.setattr(live.time, "sleep", halted_meanwhile)
        live.desk.work(calls=1)
        monkeypatch.setattr(live.time, "sleep", sleep)
        assert live.latch.is_raised()
        assert live.posts() == 0
        live.turn()
        assert live.status(ref) in {"denied", "cancelled"}


def test_a_person_hears_that_a_cancellation_is_given_up(tmp_path: Path) -> None:
    with bench(tmp_path / "state", environment="real", cancel_tries=3) as live:
        order = live.order(Side.BUY, 5, limit=far(live))
        live.emulator.fault("gw(APBK0918, 200, tr=change, count=99)")
        live.desk.cancel(order.ref)
        live.run_for(60)
        assert live.status(order.ref) in {"cancelling", "working"}
        assert live.told.titles().count("order cannot be cancelled") == 1


def test_a_sale_just_filled_is_no_purchase(tmp_path: Path) -> None:
    with bench(tmp_path / "state", stream=True, fill_source=FillSource.NOTICE) as live:
        live.emulator.fault("quirk(daily_ccld_empty, on=true)")
        live.order(Side.BUY, 10)
        live.run_for(100)
        assert live.journal.holding(SYMBOL).quantity == 10
        live.emulator.fault("lag(balance, 20)")
        live.order(Side.BUY, 4, limit=far(live))
        sale = live.order(Side.SELL, 4)
        live.run_for(40)
        assert live.status(sale.ref) == "filled"
        assert live.journal.holding(SYMBOL).quantity == 6
        assert live.wrong() == []
