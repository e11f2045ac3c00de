"""The journal costs nothing at the rates at which orders can be sent."""

import statistics
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import pytest

from kisbt.clock import ManualClock
from kisbt.model.order import OrderKind, Side
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import notice_digest
from kisbt.orders.lifecycle import Status
from kisbt.orders.rows import Booking
from tests.helpers.orders import (
    BRANCH,
    DAY,
    NINE,
    begin,
    make_clock,
    make_journal,
    make_notice,
    make_plan,
    make_row,
)

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(300)]


def whole_life(journal: Journal, clock: ManualClock, number: int) -> None:
    """Take one order through everything: seven commits."""
    clock.advance(0.5)
    day = DAY + timedelta(days=number // 1_000)
    name = f"{number + 1:010d}"
    side = Side.SELL if number % 2 else Side.BUY
    plan = make_plan(number=number, side=side, session=day, reason="golden cross")
    ref = journal.add_order(plan, kind=OrderKind.LIMIT)
    journal.record(ref, Status.SENDING)
    journal.record(
        ref,
        Status.ACKED,
        day=day,
        branch=BRANCH,
        number=name,
        http=200,
        code="40600000",
    )
    notice = make_notice(number=name, side=side, quantity=10)
    journal.add_notice(day, notice, notice_digest(notice))
    ticket = journal.tickets(ref)[0].ticket
    row = make_row(number=name, side=side, filled_quantity=10, filled_amount=10_000)
    journal.add_row(ticket, row)
    fill = journal.book(
        Booking(
            ticket=ticket,
            quantity=10,
            amount=10_000,
            commission=1,
            tax=0,
            cumulative=10,
            at=NINE,
            confirmed_by="rest",
        ),
        status=Status.FILLED,
    )
    assert fill is not None
    journal.mark_delivered(fill.sequence)


def test_a_commit_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    times = []
    clock = make_clock()
    with make_journal(tmp_path, clock) as journal:
        begin(journal)
        assert journal._one("PRAGMA synchronous")[0] == 2  # FULL
        for number in range(5_000):
            before = perf_counter()
            journal.note("line", number=number)
            times.append(perf_counter() - before)
    assert statistics.median(times) < 0.001


def test_a_hundred_thousand_lines_open_in_seconds_and_stay_small(
    tmp_path: Path,
) -> None:
    clock = make_clock()
    orders = 20_000
    with make_journal(tmp_path, clock) as journal:
        # The disk is another test's; this one is about size.
        journal._one("PRAGMA synchronous = OFF")
        begin(journal, capital=10_000_000_000)
        for number in range(orders):
            whole_life(journal, clock, number)
        for day in range(orders // 1_000 - 1):
            journal.close_day(DAY + timedelta(days=day))
        assert len(journal.history()) > 100_000
        path = journal.path
    assert path.stat().st_size <= 1_024 * orders
    before = perf_counter()
    with make_journal(tmp_path, clock) as journal:
        assert perf_counter() - before < 5.0
        before = perf_counter()
        assert journal.open_orders() == ()
        assert journal.events_after(journal.delivered_to()) == ()
        assert perf_counter() - before < 0.1
