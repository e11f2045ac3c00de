"""Rows 33 to 43: what queries may and may not change."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kisbt.model.order import BrokerOrder, Side
from kisbt.model.ports import OrderHistory
from kisbt.orders.desk import OrderDesk
from kisbt.orders.queries import ask_orders
from tests.helpers.desk import OTHER, SYMBOL, Bench, bench

pytestmark = pytest.mark.fault


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", environment="real") as made:
        yield made


class Retold:
    """A gateway whose order query is changed on its way."""

    def __init__(self, gateway: object) -> None:
        self._gateway = gateway
        self.change: Callable[[OrderHistory], OrderHistory] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._gateway, name)

    def fetch_orders(self, first: object, last: object) -> OrderHistory:
        found = self._gateway.fetch_orders(first, last)
        return found if self.change is None else self.change(found)


@pytest.fixture
def retold(live: Bench) -> Retold:
    gateway = Retold(live.client)
    live.desk = OrderDesk(
        live.journal,
        gateway,
        live.settings,
        clock=live.time,
        calendar=live.desk.desk.calendar,
        latch=live.latch,
        sources=live.sources,
        notifier=live.told,
    )
    return gateway


def three_orders(live: Bench) -> list[int]:
    far = int(live.price() * 0.8) // 100 * 100
    return [live.submit(Side.BUY, 1, limit=far + 100 * number) for number in range(3)]


def test_row_33_failed_second_page_makes_the_whole_query_void(live: Bench) -> None:
    refs = three_orders(live)
    live.emulator.fault("page(size=1)", "page(fail, count=999)")
    live.run_for(20)
    assert {live.status(ref) for ref in refs} == {"acked"}
    assert live.journal.externals() == ()
    live.emulator.clear_faults()
    live.run_for(40)
    assert {live.status(ref) for ref in refs} == {"working"}
    assert live.wrong() == []


def test_row_33_lost_order_is_not_given_up_without_complete_queries(
    live: Bench,
) -> None:
    live.order(Side.BUY, 1)
    live.order(Side.BUY, 1, symbol=OTHER)
    live.run_for(3)
    live.emulator.fault("page(size=1)", "page(fail, count=999)")
    live.emulator.fault("http(order, 1, rst)")
    lost = live.submit(Side.BUY, 2)
    live.run_for(90)
    assert live.status(lost) == "unknown"
    live.emulator.clear_faults()
    live.run_for(180)
    assert live.status(lost) == "absent"
    assert live.wrong(ended=True) == []


def test_row_34_changed_data_are_read_again_from_the_start(live: Bench) -> None:
    refs = three_orders(live)
    live.emulator.fault("page(size=1)", "page(change_between)")
    live.run_for(10)
    assert {live.status(ref) for ref in refs} == {"working"}
    assert live.wrong() == []


def test_row_35_many_pages_are_all_read(live: Bench) -> None:
    far = int(live.price(OTHER) * 0.8) // 500 * 500
    for _number in range(120):
        live.emulator.external_order(
            environment="real", symbol=OTHER, side="buy", quantity=1, price=far
        )
    refs = three_orders(live)
    live.emulator.fault("page(size=5)")
    live.run_for(10)
    assert len(live.journal.externals()) == 120
    assert {live.status(ref) for ref in refs} == {"working"}
    assert live.told.titles() == ["order of others"]
    assert live.wrong() == []


def test_row_36_repeated_row_is_booked_once(live: Bench) -> None:
    live.emulator.fault("page(size=1)", "page(repeat, count=999)")
    live.order(Side.BUY, 4)
    live.order(Side.BUY, 3, symbol=OTHER)
    live.run_for(10)
    live.emulator.clear_faults()
    live.run_for(10)
    assert live.journal.holding(SYMBOL).quantity == 4
    assert live.wrong(ended=True) == []


def test_row_39_older_answer_changes_nothing(live: Bench, retold: Retold) -> None:
    live.order(Side.BUY, 4)
    live.run_for(3)
    assert live.journal.holding(SYMBOL).quantity == 4

    def unfilled(found: OrderHistory) -> OrderHistory:
        rows = tuple(_with_level(row, 0) for row in found.rows)
        return replace(found, rows=rows)

    retold.change = unfilled
    live.turn(1.0)
    ask_orders(live.desk.desk)
    retold.change = None
    live.run_for(30)
    assert live.journal.holding(SYMBOL).quantity == 4
    assert live.journal.frozen() == {}
    assert live.wrong(ended=True) == []


def test_row_40_smaller_level_freezes_and_takes_nothing_back(
    live: Bench, retold: Retold
) -> None:
    live.order(Side.BUY, 4)
    live.run_for(3)

    def busted(found: OrderHistory) -> OrderHistory:
        return replace(found, rows=tuple(_with_level(row, 1) for row in found.rows))

    retold.change = busted
    live.run_for(60)
    assert live.journal.holding(SYMBOL).quantity == 4
    assert SYMBOL in live.journal.frozen()
    assert live.order(Side.SELL, 1).rule == "frozen"
    assert "symbol frozen" in live.told.titles()


def _with_level(row: BrokerOrder, level: int) -> BrokerOrder:
    return replace(
        row,
        filled_quantity=level,
        filled_amount=level * int(row.average_price or row.price),
        remaining_quantity=row.quantity - level,
    )


def test_row_43_endless_pages_are_an_error_and_change_nothing(live: Bench) -> None:
    refs = three_orders(live)
    live.run_for(3)
    live.emulator.fault("page(size=1)", "page(endless, count=999)")
    ask_orders(live.desk.desk)
    calls = live.truth()["real"]["calls"]["inquire_daily_ccld"]
    assert calls < 600
    assert live.desk.status().failing_s >= 0.0
    assert {live.status(ref) for ref in refs} == {"working"}
    live.emulator.clear_faults()
    live.run_for(10)
    assert live.wrong() == []
