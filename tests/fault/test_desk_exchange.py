"""Rows 65 to 80: what the exchange and other people do to orders and holdings."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kisbt.clock import KST
from kisbt.model.order import OrderTicket, Side
from kisbt.orders.desk import OrderDesk
from kisbt.orders.deskstate import Foreign
from kisbt.orders.lifecycle import Status
from kisbt.orders.records import Ended
from tests.helpers.desk import CAPITAL, OTHER, SESSION, SYMBOL, Bench, bench

pytestmark = pytest.mark.fault


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", environment="real") as made:
        yield made


def far(live: Bench, symbol: str = SYMBOL) -> int:
    """Return a price at which nothing is bought today."""
    return int(live.price(symbol) * 0.8) // 500 * 500


def outcomes(found: Bench) -> list[str]:
    return [event.outcome for event in found.events if isinstance(event, Ended)]


def bought(live: Bench, quantity: int, symbol: str = SYMBOL) -> None:
    order = live.order(Side.BUY, quantity, symbol=symbol)
    live.run_for(3)
    assert live.status(order.ref) == "filled"


def test_row_65_order_refused_after_acceptance_ends_and_costs_nothing(
    live: Bench,
) -> None:
    live.emulator.fault("ex(reject)")
    order = live.order(Side.BUY, 3)
    live.run_for(5)
    assert (live.status(order.ref), outcomes(live)) == ("rejected", ["refused"])
    assert live.journal.cash() == CAPITAL
    assert live.wrong(ended=True) == []


def test_row_66_partial_fill_then_cancel_is_exact(live: Bench) -> None:
    live.emulator.fault("ex(partial, 3)")
    order = live.order(Side.BUY, 10, limit=far(live))
    live.run_for(5)
    assert live.status(order.ref) == "partial"
    live.desk.cancel(order.ref)
    live.run_for(10)
    found = live.journal.order(order.ref)
    assert (found.status, found.filled, found.cancelled) == (Status.CANCELLED, 3, 7)
    assert outcomes(live) == ["cancelled"]
    assert live.wrong(ended=True) == []


def test_row_67_cancel_that_loses_the_race_leaves_a_filled_order(live: Bench) -> None:
    order = live.order(Side.BUY, 4, limit=far(live))
    live.run_for(3)
    gateway = Racing(live)
    live.desk = _desk(live, gateway)
    live.desk.cancel(order.ref)
    live.run_for(10)
    assert live.status(order.ref) == "filled"
    assert outcomes(live) == []
    assert live.wrong(ended=True) == []


class Racing:
    """A gateway on whose way the exchange fills what is to be cancelled."""

    def __init__(self, live: Bench) -> None:
        self._live = live

    def __getattr__(self, name: str) -> object:
        return getattr(self._live.client, name)

    def cancel_order(self, order: object, **options: object) -> OrderTicket:
        house = self._live.emulator._house
        for side in house.sides.values():
            for working in list(side.exchange.working()):
                side.exchange.fill(working, working.open_quantity, working.price)
        return self._live.client.cancel_order(order, **options)


def _desk(live: Bench, gateway: object) -> OrderDesk:
    return OrderDesk(
        live.journal,
        gateway,
        live.settings,
        clock=live.time,
        calendar=live.desk.desk.calendar,
        latch=live.latch,
        sources=live.sources,
        notifier=live.told,
    )


@pytest.mark.parametrize(
    "fault",
    [
        "accept_then(read_then_close, tr=change)",
        "accept_then(html, tr=change)",
        "accept_then(gw, code=EGW00201, tr=change)",
    ],
)
def test_row_68_amendment_whose_answer_is_lost_is_found(
    fault: str, live: Bench
) -> None:
    order = live.order(Side.BUY, 5, limit=far(live))
    live.run_for(3)
    live.emulator.fault(fault)
    live.desk.amend(order.ref, price=far(live) + 500)
    live.run_for(15)
    found = live.journal.order(order.ref)
    numbers = [ticket.number for ticket in live.journal.tickets(order.ref)]
    assert (found.status, found.open_quantity) == (Status.WORKING, 5)
    assert len(numbers) == 2
    live.desk.cancel(order.ref)
    live.run_for(15)
    assert live.status(order.ref) == "cancelled"
    assert live.wrong(ended=True) == []


@pytest.mark.parametrize(
    "fault",
    [
        "accept_then(read_then_close, tr=change)",
        "http(change, 1, rst)",
        "gw(EGW00201, 500, tr=change)",
        "gw(EGW00300, 500, tr=change)",
        "accept_then(gw, code=EGW00201, tr=change)",
    ],
)
def test_cancellation_with_an_unclear_answer_is_carried_out(
    fault: str, live: Bench
) -> None:
    order = live.order(Side.BUY, 5, limit=far(live))
    live.run_for(3)
    live.emulator.fault(fault)
    live.desk.cancel(order.ref)
    live.run_for(40)
    assert live.status(order.ref) == "cancelled"
    assert outcomes(live) == ["cancelled"]
    assert live.wrong(ended=True) == []


def test_row_69_cancellation_names_the_venue_the_order_lies_at(live: Bench) -> None:
    live.emulator.fault("ex(route, NXT)")
    order = live.order(Side.BUY, 5, limit=far(live))
    live.run_for(3)
    live.desk.cancel(order.ref)
    live.run_for(10)
    assert (live.status(order.ref), live.cancels()) == ("cancelled", 1)
    assert live.wrong(ended=True) == []


def test_row_70_volatility_interruption_is_waited_out(live: Bench) -> None:
    order = live.order(Side.BUY, 5, limit=far(live))
    live.run_for(3)
    live.emulator.fault(f"ex(vi, {SYMBOL})")
    live.run_for(150)
    assert (live.status(order.ref), live.posts(), live.cancels()) == ("working", 1, 0)
    assert live.wrong() == []


def test_row_71_order_against_a_locked_price_waits(live: Bench) -> None:
    live.emulator.fault(f"ex(limit_lock, {SYMBOL}, buy)")
    order = live.order(Side.BUY, 5)
    live.run_for(90)
    assert (live.journal.order(order.ref).is_at_broker, live.posts()) == (True, 1)
    live.emulator.fault(f"ex(resume, {SYMBOL})")
    live.run_for(120)
    assert live.status(order.ref) == "filled"
    assert live.wrong(ended=True) == []


def test_row_72_halted_symbol_takes_no_order_and_keeps_the_open_one(
    live: Bench,
) -> None:
    order = live.order(Side.BUY, 5, limit=far(live))
    live.run_for(3)
    live.emulator.fault(f"ex(halt, {SYMBOL})")
    refused = live.order(Side.BUY, 1)
    live.run_for(60)
    assert (refused.status, live.status(order.ref)) == (Status.REFUSED, "working")
    assert outcomes(live) == ["refused"]
    assert live.wrong() == []


def test_row_73_order_of_a_delisted_share_ends(live: Bench) -> None:
    order = live.order(Side.BUY, 5, limit=far(live))
    live.run_for(3)
    live.emulator.fault(f"ex(delist, {SYMBOL})")
    live.run_for(30)
    refused = live.order(Side.BUY, 1)
    assert (live.status(order.ref), refused.status) == ("cancelled", Status.REFUSED)
    assert live.wrong(ended=True) == []


def test_row_74_split_freezes_the_symbol_and_sells_nothing(live: Bench) -> None:
    bought(live, 6)
    live.emulator.fault(f"ex(split, {SYMBOL}, 5)")
    live.run_for(90)
    assert SYMBOL in live.journal.frozen()
    assert live.order(Side.SELL, 6).rule == "frozen"
    assert live.journal.holding(SYMBOL).quantity == 6
    assert [row["side"] for row in live.real_orders()] == ["buy"]
    assert "symbol frozen" in live.told.titles()


def test_row_75_cash_that_comes_from_elsewhere_is_not_the_strategys(
    live: Bench,
) -> None:
    bought(live, 6)
    before = live.journal.cash()
    live.emulator.set_account(environment="real", cash=99_000_000)
    live.run_for(90)
    assert live.journal.cash() == before
    assert live.wrong(ended=True) == []


def test_row_76_account_in_debt_buys_nothing_and_may_sell(live: Bench) -> None:
    bought(live, 6)
    live.emulator.set_account(environment="real", cash=0)
    live.run_for(90)
    entry, exit_ = live.order(Side.BUY, 1, symbol=OTHER), live.order(Side.SELL, 6)
    live.run_for(3)
    assert (entry.status, entry.rule) == (Status.DENIED, "entries_off")
    assert live.status(exit_.ref) == "filled"
    assert "account in debt" in live.told.titles()


def test_row_77_own_shares_sold_by_hand_are_followed_and_not_sold_again(
    live: Bench,
) -> None:
    bought(live, 10)
    live.emulator.external_order(
        environment="real", symbol=SYMBOL, side="sell", quantity=4
    )
    live.run_for(120)
    assert live.journal.holding(SYMBOL).quantity == 6
    too_much = live.order(Side.SELL, 10)
    rest = live.order(Side.SELL, 6)
    live.run_for(3)
    assert (too_much.status, too_much.rule) == (Status.DENIED, "holding")
    assert live.status(rest.ref) == "filled"
    state = live.truth()["real"]["account"]["holdings"]
    assert SYMBOL not in state
    assert {"order of others", "position follows"} <= set(live.told.titles())


def test_row_77_shares_bought_by_hand_are_never_sold(live: Bench) -> None:
    bought(live, 3)
    live.emulator.external_order(
        environment="real", symbol=SYMBOL, side="buy", quantity=20
    )
    live.run_for(120)
    assert live.journal.holding(SYMBOL).quantity == 3
    assert live.order(Side.SELL, 4).rule == "holding"
    assert live.journal.outside() == {SYMBOL: 20}
    assert live.wrong(ended=True) == []


def test_row_78_other_program_with_the_key_pauses_the_symbol(live: Bench) -> None:
    bought(live, 2)
    made = live.emulator.external_order(
        environment="real", symbol=SYMBOL, side="buy", quantity=2, channel="OpnAPI"
    )
    live.run_for(90)
    entry = live.order(Side.BUY, 1)
    elsewhere = live.order(Side.BUY, 1, symbol=OTHER)
    exit_ = live.order(Side.SELL, 2)
    live.run_for(3)
    assert (entry.status, entry.rule) == (Status.DENIED, "paused")
    assert live.status(elsewhere.ref) == live.status(exit_.ref) == "filled"
    assert live.told.titles().count("order of others") == 1
    assert live.wrong(ended=True, others=[made["number"]]) == []


def test_row_78_other_program_with_the_key_halts_if_so_configured(
    tmp_path: Path,
) -> None:
    options = {"environment": "real", "foreign": Foreign.HALT}
    with bench(tmp_path / "state", **options) as live:
        live.emulator.external_order(
            environment="real", symbol=OTHER, side="buy", quantity=2, channel="OpnAPI"
        )
        live.run_for(60)
        assert live.latch.is_raised()
        assert live.order(Side.BUY, 1).status in (Status.DENIED, Status.CANCELLED)
        assert live.posts() == 0


@pytest.mark.parametrize("environment", ["mock", "real"])
def test_row_79_order_left_at_the_end_of_the_day_expires(
    environment: str, tmp_path: Path
) -> None:
    with bench(tmp_path / "state", environment=environment) as live:
        live.emulator.fault("ex(partial, 3)")
        order = live.order(Side.BUY, 10, limit=far(live))
        live.run_for(10)
        live.close_day()
        found = live.journal.order(order.ref)
        assert (found.status, found.filled, found.closed) == (Status.EXPIRED, 3, True)
        assert outcomes(live) == ["expired"]
        assert live.wrong(ended=True) == []


def test_row_79_order_is_not_expired_while_queries_fail(live: Bench) -> None:
    order = live.order(Side.BUY, 10, limit=far(live))
    live.run_for(10)
    live.emulator.advance_to(datetime(2025, 11, 3, 15, 30, 10, tzinfo=KST))
    live.emulator.fault("http(ccld, *, rst)")
    for _turn in range(5):
        assert not live.desk.close_session(SESSION)
        live.emulator.advance(1)
    assert live.status(order.ref) != "expired"
    live.emulator.clear_faults()
    live.run_until(lambda: live.desk.close_session(SESSION))
    assert live.status(order.ref) == "expired"


def test_row_80_late_fill_at_the_other_venue_is_booked(live: Bench) -> None:
    live.emulator.fault("ex(route, NXT)")
    order = live.order(Side.BUY, 4, limit=far(live))
    live.run_for(3)
    live.emulator.advance_to(datetime(2025, 11, 3, 16, 0, tzinfo=KST))
    live.turn()
    assert not live.desk.close_session(SESSION)
    for working in live.emulator._house.sides["real"].exchange.working():
        live.emulator._house.sides["real"].exchange.fill(working, 4, working.price)
    live.emulator.advance_to(datetime(2025, 11, 3, 20, 0, 10, tzinfo=KST))
    live.run_until(lambda: live.desk.close_session(SESSION))
    assert live.status(order.ref) == "filled"
    assert live.wrong(ended=True) == []


def test_held_order_is_sent_when_its_phase_begins(tmp_path: Path) -> None:
    early = datetime(2025, 11, 3, 8, 0, tzinfo=KST)
    for environment, hour in (("real", (8, 30)), ("mock", (9, 0))):
        folder = tmp_path / environment
        with bench(folder, environment=environment, start=early) as live:
            ref = live.submit(Side.BUY, 2)
            due = datetime(2025, 11, 3, *hour, tzinfo=KST)
            live.emulator.advance_to(due - timedelta(seconds=1))
            live.turn()
            assert (live.status(ref), live.posts()) == ("held", 0)
            live.emulator.advance_to(due)
            live.turn()
            assert (live.journal.order(ref).is_ended, live.posts()) == (False, 1)
            live.emulator.advance_to(datetime(2025, 11, 3, 9, 5, tzinfo=KST))
            live.run_for(10)
            assert live.status(ref) == "filled"
            assert live.wrong(ended=True) == []


def test_held_order_may_be_cancelled_and_never_leaves(tmp_path: Path) -> None:
    early = datetime(2025, 11, 3, 8, 0, tzinfo=KST)
    with bench(tmp_path / "state", start=early) as live:
        ref = live.submit(Side.BUY, 2)
        live.desk.cancel(ref)
        live.emulator.advance_to(datetime(2025, 11, 3, 9, 5, tzinfo=KST))
        live.turn()
        assert (live.status(ref), live.posts()) == ("cancelled", 0)
        assert outcomes(live) == ["cancelled"]
