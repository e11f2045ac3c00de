import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from kisbt.errors import StorageError
from kisbt.model.order import OrderKind, Side, Venue
from kisbt.orders.decode import order_key
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access
from kisbt.orders.ledger import notice_digest
from kisbt.orders.lifecycle import AT_BROKER, OPEN, Status
from kisbt.orders.records import Accepted, Corrected, Ended, Filled, Holding
from kisbt.orders.rows import Booking, ExternalOrder, FillRecord, TicketRole
from tests.helpers.orders import (
    BRANCH,
    CAPITAL,
    DAY,
    NINE,
    begin,
    make_clock,
    make_journal,
    make_notice,
    make_plan,
    make_row,
    send,
)


def book(
    journal: Journal,
    ticket: int,
    quantity: int,
    amount: int,
    cumulative: int,
    *,
    commission: int = 1,
    tax: int = 0,
    status: Status | None = None,
) -> FillRecord | None:
    return journal.book(
        Booking(
            ticket=ticket,
            quantity=quantity,
            amount=amount,
            commission=commission,
            tax=tax,
            cumulative=cumulative,
            at=NINE,
            confirmed_by="rest",
        ),
        status=status,
    )


# Runs and cash.


def test_the_first_run_gives_the_strategy_its_cash(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        assert journal.cash() == 0
        begin(journal)
        assert journal.cash() == CAPITAL
        begin(journal, run_id="run-2")
        assert journal.cash() == CAPITAL
        assert [run.run_id for run in journal.runs()] == ["run-1", "run-2"]


def test_a_changed_capital_is_an_audited_adjustment(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        _ref, ticket = send(journal)
        book(journal, ticket.ticket, 10, 10_000, 10)
        begin(journal, capital=CAPITAL + 500_000)
        assert journal.cash() == CAPITAL + 500_000 - 10_001
        audits = [e.facts for e in journal.history() if e.kind == "audit"]
        assert [a["cash"] for a in audits] == [CAPITAL, 500_000]


def test_a_run_that_was_not_ended_is_unclean(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        assert not journal.unclean
        begin(journal)
    with make_journal(tmp_path) as journal:
        assert journal.unclean
        begin(journal)
        journal.end_run("done")
    with make_journal(tmp_path) as journal:
        assert not journal.unclean
        assert journal.runs()[-1].exit_state == "done"


# Orders.


def test_an_order_is_kept_as_it_was_planned(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        plan = make_plan(stop_price=1100, group="g1", reason='"따옴표" \n 줄')
        ref = journal.add_order(plan, kind=OrderKind.LIMIT, venue=Venue.KRX, held=True)
    with make_journal(tmp_path) as journal:
        order = journal.order(ref)
    assert order.status is Status.HELD
    assert (order.symbol, order.side, order.quantity) == ("990001", Side.BUY, 10)
    assert (order.limit_price, order.stop_price, order.group) == (1000, 1100, "g1")
    assert (order.session, order.bar, order.reason) == (DAY, NINE, '"따옴표" \n 줄')
    assert (order.run, order.number, order.open_quantity) == (1, 1, 10)


def test_the_marks_come_after_their_commits(tmp_path: Path) -> None:
    marks: list[str] = []
    journal = make_journal(tmp_path, on_mark=marks.append)
    begin(journal)
    _ref, ticket = send(journal)
    journal.add_notice(DAY, make_notice(), notice_digest(make_notice()))
    journal.add_row(ticket.ticket, make_row(filled_quantity=10, filled_amount=10_000))
    book(journal, ticket.ticket, 10, 10_000, 10, status=Status.FILLED)
    journal.mark_delivered(99)
    journal.close()
    assert marks == ["W0", "W1", "W2", "W3", "W4", "W4", "W5", "W6"]


def test_a_mark_is_not_given_when_the_commit_is_undone(tmp_path: Path) -> None:
    marks: list[str] = []
    journal = make_journal(tmp_path, on_mark=marks.append)
    begin(journal)

    def add_and_fail() -> None:
        with journal.together():
            journal.add_order(make_plan(), kind=OrderKind.LIMIT)
            journal.order(99)

    with pytest.raises(KeyError):
        add_and_fail()
    assert marks == ["W0"]
    assert journal.orders() == ()
    journal.close()


def test_sending_remembers_when_and_what_was_known(tmp_path: Path) -> None:
    clock = make_clock()
    with make_journal(tmp_path, clock) as journal:
        begin(journal)
        journal.note_seen(DAY, [("0000000007", BRANCH)])
        ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT)
        clock.advance(3.0)
        order = journal.record(ref, Status.SENDING)
        journal.note_seen(DAY, [("0000000008", BRANCH), ("7", BRANCH)])
        assert order.sent == NINE + timedelta(seconds=3)
        assert order.attempts == 1
        assert journal.seen(DAY, order.known_to) == {"7"}
        assert journal.seen(DAY) == {"7", "8"}


def test_an_answer_binds_the_number_in_the_same_commit(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref, ticket = send(journal, "0000000012")
        order = journal.order(ref)
        assert (order.status, order.branch, order.broker_number) == (
            Status.ACKED,
            BRANCH,
            "0000000012",
        )
        assert journal.find_ticket(DAY, "12", "") == ticket
        assert journal.find_ticket(DAY, "0012", "other") == ticket
        assert journal.find_ticket(DAY, "13") is None
        assert journal.find_ticket(DAY + timedelta(days=1), "12") is None


def test_one_number_for_two_orders_stops_everything(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        send(journal, "12")
        ref = journal.add_order(make_plan(number=2), kind=OrderKind.LIMIT)
        journal.record(ref, Status.SENDING)
        with pytest.raises(StorageError, match="two orders"):
            journal.record(ref, Status.ACKED, day=DAY, branch=BRANCH, number="012")
        assert journal.order(ref).status is Status.SENDING
        assert journal.broken


def test_an_illegal_move_writes_nothing(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref, _ticket = send(journal)
        lines = len(journal.history())
        with pytest.raises(ValueError, match="cannot go"):
            journal.record(ref, Status.SENDING)
        assert len(journal.history()) == lines


def test_orders_are_found_by_what_they_are(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        first, _ticket = send(journal, "1")
        second = journal.add_order(
            make_plan(number=2, symbol="990002", session=DAY + timedelta(days=1)),
            kind=OrderKind.MARKET,
            held=True,
        )
        refs = [
            [order.ref for order in found]
            for found in (
                journal.orders(),
                journal.open_orders(),
                journal.open_orders("990002"),
                journal.orders(statuses=AT_BROKER),
                journal.orders(session=DAY),
                journal.orders(cancel_wanted=True),
                journal.orders(run=2),
            )
        ]
        assert refs == [
            [first, second],
            [first, second],
            [second],
            [first],
            [first],
            [],
            [],
        ]
        assert journal.count_orders(DAY) == 1
        with pytest.raises(KeyError):
            journal.order(99)


def test_a_cancellation_of_an_unsent_order_ends_it_at_once(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT, held=True)
        assert journal.want_cancel(ref, "strategy").status is Status.CANCELLED
        (event,) = journal.events_after(0)
        assert isinstance(event, Ended)
        assert event.outcome == "cancelled"


def test_a_cancellation_of_a_sent_order_is_a_wish(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref, _ticket = send(journal)
        assert journal.want_cancel(ref, "halt").cancel_wanted == "halt"
        assert [o.ref for o in journal.orders(cancel_wanted=True)] == [ref]
        assert journal.want_cancel(ref, "user").cancel_wanted == "halt"


def test_a_cancellation_has_its_own_number_and_its_own_marks(tmp_path: Path) -> None:
    marks: list[str] = []
    with make_journal(tmp_path, on_mark=marks.append) as journal:
        begin(journal)
        ref, root = send(journal, "12")
        del marks[:]
        change = journal.add_change(ref, TicketRole.CANCEL)
        assert journal.record_change(change, Status.SENDING).status is Status.SENDING
        assert journal.order(ref).status is Status.CANCELLING
        journal.record_change(
            change, Status.ACKED, day=DAY, branch=BRANCH, number="0000000013"
        )
        assert marks == ["W1", "W2", "W3"]
        child = journal.find_ticket(DAY, "13")
        assert child is not None
        assert (child.ref, child.role, child.parent) == (ref, TicketRole.CANCEL, "12")
        journal.add_row(
            child.ticket,
            make_row(
                number="13", original_number="12", cancelled=True, cancelled_quantity=10
            ),
        )
        assert journal.order(ref).cancelled == 10
        assert journal.quantities(ref).conserved
        assert journal.ticket(root.ticket).cancelled == 0
        assert journal.changes(ref, statuses=frozenset({Status.ACKED}))
        assert journal.changes(statuses=frozenset({Status.UNKNOWN})) == ()


# Evidence.


def test_equal_notices_are_kept_once_and_others_apart(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        one, other = make_notice(), make_notice(price=1001)
        kept = [
            journal.add_notice(DAY, notice, notice_digest(notice))
            for notice in (one, one, other)
        ]
        assert kept == [True, False, True]
        assert [n.price for n in journal.notices(DAY, "12")] == [1000, 1001]


def test_a_fill_before_its_answer_is_kept_and_found(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        notice = make_notice(number="0000000012")
        journal.add_notice(DAY, notice, notice_digest(notice))
        send(journal, "12")
        assert [n.quantity for n in journal.notices(DAY, "0012")] == [4]


def test_levels_of_a_query_never_fall(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        _ref, ticket = send(journal)
        journal.add_row(
            ticket.ticket,
            make_row(filled_quantity=7, filled_amount=7_100, remaining_quantity=3),
        )
        after = journal.add_row(
            ticket.ticket,
            make_row(filled_quantity=4, filled_amount=4_000, remaining_quantity=6),
        )
        assert (after.confirmed, after.confirmed_amount) == (7, 7_100)


def test_the_same_answer_again_adds_no_line(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        _ref, ticket = send(journal)
        row = make_row(filled_quantity=7, filled_amount=7_100, remaining_quantity=3)
        journal.add_row(ticket.ticket, row)
        lines = len(journal.history())
        journal.add_row(ticket.ticket, row)
        assert len(journal.history()) == lines


# Fills.


def test_a_fill_moves_position_and_cash_together(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref, ticket = send(journal)
        fill = book(journal, ticket.ticket, 4, 4_000, 4, status=Status.PARTIAL)
        assert fill is not None
        assert (fill.symbol, fill.side, fill.quantity) == ("990001", Side.BUY, 4)
        book(journal, ticket.ticket, 6, 6_060, 10, status=Status.FILLED)
        order = journal.order(ref)
        assert (order.status, order.filled, order.amount) == (Status.FILLED, 10, 10_060)
        assert (order.commission, order.average_price) == (2, 1006.0)
        assert journal.cash() == CAPITAL - 10_060 - 2
        (held,) = journal.positions()
        assert held == Holding(symbol="990001", quantity=10, average=1006.0)
    with make_journal(tmp_path) as journal:
        assert journal.cash() == CAPITAL - 10_062
        fills = journal.fills(ref=ref)
        assert [f.quantity for f in fills] == [4, 6]
        assert journal.fills(session=DAY + timedelta(days=1)) == ()
        last = fills[-1].at
        young = [f for f in fills if f.at >= last]
        assert list(journal.fills(since=last)) == young
        assert journal.fills(since=last + timedelta(microseconds=1)) == ()


def test_a_sale_keeps_the_average_and_pays_tax(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        _ref, bought = send(journal, "1")
        book(journal, bought.ticket, 10, 10_000, 10, status=Status.FILLED)
        _ref, sold = send(journal, "2", number=2, side=Side.SELL, quantity=4)
        book(journal, sold.ticket, 4, 4_400, 4, tax=6, status=Status.FILLED)
        assert journal.holding("990001") == Holding(
            symbol="990001", quantity=6, average=1000.0
        )
        assert journal.cash() == CAPITAL - 10_001 + 4_400 - 7


def test_the_same_level_cannot_be_booked_twice(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        _ref, ticket = send(journal)
        assert book(journal, ticket.ticket, 4, 4_000, 4) is not None
        assert book(journal, ticket.ticket, 4, 4_000, 4) is None
        with pytest.raises(ValueError, match="booked"):
            book(journal, ticket.ticket, 4, 4_000, 9)
        assert journal.cash() == CAPITAL - 4_001


def test_a_correction_moves_cash_and_average_without_shares(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref, ticket = send(journal)
        book(journal, ticket.ticket, 10, 10_000, 10, status=Status.FILLED)
        book(journal, ticket.ticket, 0, 50, 10, commission=0)
        assert journal.cash() == CAPITAL - 10_051
        assert journal.holding("990001").average == pytest.approx(1005.0)
        assert journal.order(ref).amount == 10_050
        told = journal.events_after(0)
        assert isinstance(told[-1], Corrected)
        assert told[-1].amount == -50
        assert book(journal, ticket.ticket, 0, 0, 10, commission=0) is None


def test_the_sums_are_checked_when_it_is_opened(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        _ref, ticket = send(journal)
        book(journal, ticket.ticket, 10, 10_000, 10)
        journal._run_sql("UPDATE positions SET quantity = 11")
    with pytest.raises(StorageError, match="position 990001: 11"):
        make_journal(tmp_path)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE account SET value = value + 1 WHERE name = 'cash'", "cash"),
        ("UPDATE orders SET quantity = 100", "not as it was written"),
        ("UPDATE orders SET filled = 3", "order 1"),
        ("UPDATE tickets SET applied_amount = 3", "ticket 0000000012"),
    ],
)
def test_a_changed_number_is_found(tmp_path: Path, damage: str, found: str) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        send(journal)
        journal._run_sql(damage)
    with pytest.raises(StorageError, match=found):
        make_journal(tmp_path)


# What the strategy hears.


def test_the_strategy_hears_each_event_once_and_in_order(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref, ticket = send(journal)
        book(journal, ticket.ticket, 4, 4_000, 4, status=Status.PARTIAL)
        journal.record(ref, Status.CANCELLED, note="취소", confirmed_by="rest")
        events = journal.events_after(0)
        assert [type(e) for e in events] == [Accepted, Filled, Ended]
        filled, ended = events[1:]
        assert isinstance(filled, Filled)
        assert (filled.quantity, filled.price, filled.commission) == (4, 1000.0, 1)
        assert isinstance(ended, Ended)
        assert (ended.outcome, ended.reason) == ("cancelled", "취소")
        journal.mark_delivered(filled.sequence)
    with make_journal(tmp_path) as journal:
        assert journal.events_after(journal.delivered_to()) == (ended,)
        journal.mark_delivered(1)
        assert journal.delivered_to() == filled.sequence


def test_an_end_is_told_once_and_a_late_fill_still_is(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT)
        journal.record(ref, Status.SENDING)
        journal.record(ref, Status.UNKNOWN)
        journal.record(ref, Status.ABSENT, note="not found")
        order = journal.record(
            ref, Status.ACKED, day=DAY, branch=BRANCH, number="12", confirmed_by="rest"
        )
        assert order.status is Status.ACKED
        ticket = journal.tickets(ref)[0].ticket
        book(journal, ticket, 4, 4_000, 4, status=Status.PARTIAL)
        journal.record(ref, Status.CANCELLED)
        told = journal.events_after(0)
        assert [type(e) for e in told] == [Ended, Filled]
        assert isinstance(told[0], Ended)
        assert told[0].outcome == "not_sent"
        reopened = [e for e in journal.history(ref=ref) if "reopened" in e.facts]
        assert [e.facts["reopened"] for e in reopened] == ["absent"]


def test_orders_of_others_are_not_told(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT, origin="sell_all")
        journal.record(ref, Status.SENDING)
        journal.record(ref, Status.ACKED, day=DAY, branch=BRANCH, number="5")
        book(journal, journal.tickets(ref)[0].ticket, 10, 10_000, 10)
        journal.record(ref, Status.FILLED)
        assert journal.events_after(0) == ()


def test_a_snapshot_can_leave_out_what_the_strategy_has_not_heard(
    tmp_path: Path,
) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        _ref, ticket = send(journal)
        first = book(journal, ticket.ticket, 4, 4_000, 4)
        assert first is not None
        journal.mark_delivered(first.sequence)
        book(journal, ticket.ticket, 6, 6_600, 10)
        book(journal, ticket.ticket, 0, 20, 10, commission=0)
        known, now = journal.snapshot(delivered=True), journal.snapshot()
    assert (known.sequence, known.cash) == (first.sequence, CAPITAL - 4_001)
    assert known.holdings == (Holding(symbol="990001", quantity=4, average=1000.0),)
    assert now.cash == CAPITAL - 10_622
    assert [h.quantity for h in now.holdings] == [10]


def test_state_is_kept_and_written_with_what_was_heard(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        journal.save_state("triggers", {"stops": [1, 2.5, "삼"], "none": None})
        journal.mark_delivered(3, {"strategy": {"n": 1}})
        with pytest.raises(ValueError, match="JSON"):
            journal.mark_delivered(9, {"strategy": {"n": float("nan")}})
    with make_journal(tmp_path) as journal:
        assert journal.load_state("triggers") == {
            "stops": [1, 2.5, "삼"],
            "none": None,
        }
        assert journal.load_state("strategy") == {"n": 1}
        assert journal.delivered_to() == 3
        assert journal.load_state("nothing") is None


# What is not kisbt's.


def test_adopted_shares_are_added_once(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        assert journal.adopt("990002", 30, 5_000.0) == 30
        assert journal.adopt("990002", 30, 5_000.0) == 0
        assert journal.adopt("990002", 40, 6_000.0) == 10
        assert journal.holding("990002").average == pytest.approx(5_250.0)
        assert journal.cash() == CAPITAL
        assert journal.adopt("990002", 15, 0.0) == -25
        assert journal.holding("990002").quantity == 15
        assert journal.adopt("990002", 0, 0.0) == -15
        assert journal.positions() == ()


def test_only_what_is_held_can_be_given_back(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        journal.adopt("990002", 30, 5_000.0)
        _ref, ticket = send(journal, symbol="990002", side=Side.SELL, quantity=25)
        book(journal, ticket.ticket, 25, 125_000, 25)
        assert journal.adopt("990002", 0, 0.0) == -5


def test_an_adjustment_is_audited_and_survives(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        journal.adopt("990002", 10, 5_000.0)
        journal.adjust(symbol="990002", quantity=40, average=1_000.0, why="split 5")
    with make_journal(tmp_path) as journal:
        held = journal.holding("990002")
        assert (held.quantity, held.average) == (50, 1_000.0)


def test_an_external_order_is_news_once_and_follows_its_fills(tmp_path: Path) -> None:
    order = ExternalOrder(
        day=DAY,
        branch=BRANCH,
        number="0044",
        symbol="990003",
        side=Side.SELL,
        quantity=5,
        filled=0,
        channel="Nsmart",
    )
    more = ExternalOrder(
        **{n: getattr(order, n) for n in order.__slots__} | {"filled": 3}
    )
    with make_journal(tmp_path) as journal:
        begin(journal)
        assert journal.note_external(order)
        assert not journal.note_external(order)
        assert not journal.note_external(more)
        assert not journal.note_external(order)
        (kept,) = journal.externals(DAY)
        assert (kept.number, kept.filled, kept.told) == ("44", 3, False)
        journal.external_told(kept)
        assert journal.externals()[0].told


def test_outside_holdings_are_replaced_and_audited(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        journal.set_outside({"990003": 7, "990004": 0}, "start")
        journal.set_outside({"990003": 7}, "again")
        journal.set_outside({"990003": 5}, "sold")
        changed = [e.facts["changed"] for e in journal.history() if e.kind == "outside"]
        assert journal.outside() == {"990003": 5}
        assert changed == [{"990003": [0, 7]}, {"990003": [7, 5]}]


def test_a_frozen_symbol_thaws_by_time_or_by_hand(tmp_path: Path) -> None:
    clock = make_clock()
    with make_journal(tmp_path, clock) as journal:
        journal.freeze("990001", "absent", NINE + timedelta(seconds=60))
        journal.freeze("990002", "split")
        journal.freeze("990002", "absent", NINE + timedelta(seconds=60))
        assert set(journal.frozen()) == {"990001", "990002"}
        clock.advance(61.0)
        assert set(journal.frozen()) == {"990002"}
        assert journal.frozen()["990002"].reason == "split"
        journal.thaw("990002", "user")
        journal.thaw("990002", "user")
        assert journal.frozen() == {}
        assert [e.kind for e in journal.history()].count("thawed") == 1


# Days.


def test_a_day_closes_when_its_orders_have_ended(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref, ticket = send(journal)
        with pytest.raises(ValueError, match="acked"):
            journal.close_day(DAY)
        book(journal, ticket.ticket, 4, 4_000, 4, status=Status.PARTIAL)
        journal.record(ref, Status.EXPIRED, confirmed_by="rest")
        day = journal.close_day(DAY)
        assert (day.orders, day.fills, day.cash) == (1, 1, CAPITAL - 4_001)
        assert journal.order(ref).closed
        assert journal.orders(watched=True) == ()
        assert [o.ref for o in journal.orders(watched=False)] == [ref]
        assert journal.days() == (day,)


def test_an_order_in_quarantine_outlives_its_day(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        ref = journal.add_order(make_plan(), kind=OrderKind.LIMIT)
        for status in (Status.SENDING, Status.UNKNOWN, Status.QUARANTINE):
            journal.record(ref, status)
        journal.close_day(DAY)
        assert [o.ref for o in journal.orders(watched=True)] == [ref]


# Several at once.


def test_a_second_main_journal_is_refused(tmp_path: Path) -> None:
    with (
        make_journal(tmp_path),
        pytest.raises(StorageError, match="another kisbt"),
    ):
        make_journal(tmp_path)
    make_journal(tmp_path).close()


def test_an_assistant_may_add_while_the_main_one_runs(tmp_path: Path) -> None:
    with make_journal(tmp_path) as main:
        begin(main)
        ref, _ticket = send(main)
        with make_journal(tmp_path, access=Access.ASSIST) as halt:
            halt.want_cancel(ref, "halt")
        assert main.order(ref).cancel_wanted == "halt"


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with make_journal(tmp_path) as main:
        begin(main)
        with make_journal(tmp_path, access=Access.READ) as reader:
            assert reader.cash() == CAPITAL
            with pytest.raises(StorageError, match="readonly"):
                reader.note("x")
    with make_journal(tmp_path, access=Access.READ) as reader:
        assert reader.cash() == CAPITAL


@pytest.mark.parametrize("access", [Access.ASSIST, Access.READ])
def test_only_the_main_one_makes_a_journal(tmp_path: Path, access: Access) -> None:
    with pytest.raises(StorageError, match="no journal"):
        make_journal(tmp_path, access=access)


def test_every_commit_is_on_the_disk(tmp_path: Path) -> None:
    with make_journal(tmp_path) as main:
        begin(main)
        with make_journal(tmp_path, access=Access.ASSIST) as halt:
            for journal in (main, halt):
                assert journal._one("PRAGMA synchronous")[0] == 2  # FULL
                assert journal._one("PRAGMA journal_mode")[0] == "wal"


def test_what_is_sent_is_on_the_disk_and_all_before_it(tmp_path: Path) -> None:
    said: list[str] = []
    with make_journal(tmp_path) as journal:
        begin(journal)
        journal._db.set_trace_callback(said.append)

        def settled(work: Callable[[], object]) -> list[bool]:
            """Return of each commit whether it waits for the disk."""
            said.clear()
            work()
            full, found = True, []
            for line in said:
                if line.startswith("PRAGMA synchronous"):
                    full = line.endswith("FULL")
                elif line == "COMMIT":
                    found.append(full)
            assert journal._one("PRAGMA synchronous")[0] == 2  # FULL
            return found

        def add(*, held: bool = False) -> object:
            return journal.add_order(make_plan(), kind=OrderKind.LIMIT, held=held)

        assert settled(add) == [False]
        # Nothing leaves before this one, which settles the order itself as well.
        assert settled(lambda: journal.record(1, Status.SENDING)) == [True]
        assert settled(lambda: add(held=True)) == [True]  # it may wait for days

        def together() -> None:
            with journal.together():
                add()

        assert settled(together) == [True]


def test_a_failed_order_leaves_the_journal_as_durable_as_before(
    tmp_path: Path,
) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        with make_journal(tmp_path, access=Access.ASSIST) as other:
            other._run_sql("BEGIN IMMEDIATE")
            journal._db.execute("PRAGMA busy_timeout = 0")
            with pytest.raises(StorageError, match="locked"):
                journal.add_order(make_plan(), kind=OrderKind.LIMIT)
            other._run_sql("ROLLBACK")
        assert journal._one("PRAGMA synchronous")[0] == 2  # FULL
        assert journal.orders() == ()


def test_threads_share_one_journal(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)

        def add(first: int) -> None:
            for number in range(first, first + 25):
                journal.add_order(make_plan(number=number), kind=OrderKind.LIMIT)

        threads = [threading.Thread(target=add, args=(n,)) for n in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        orders = journal.orders(statuses=OPEN)
    assert len({order.ref for order in orders}) == 75
    assert [order.ref for order in orders] == list(range(1, 76))


# Marks.


def test_mark_of_a_ticket_is_another_after_each_change(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        _ref, ticket = send(journal)
        marks = [journal.mark(ticket.ticket)]
        row = make_row(filled_quantity=10, filled_amount=10_000)
        journal.add_row(ticket.ticket, row)
        marks.append(journal.mark(ticket.ticket))
        book(journal, ticket.ticket, 10, 10_000, 10)
        marks.append(journal.mark(ticket.ticket))
        assert {mark.ticket for mark in marks} == {ticket.ticket}
        assert len(set(marks)) == 3
        journal.add_row(ticket.ticket, row)  # nothing new
        assert journal.mark(ticket.ticket) == marks[-1]


def test_marks_are_those_of_all_tickets_of_a_day(tmp_path: Path) -> None:
    with make_journal(tmp_path) as journal:
        begin(journal)
        tickets = [send(journal, number)[1] for number in ("0000000007", "8")]
        assert journal.marks(DAY) == {
            order_key(ticket.number): journal.mark(ticket.ticket) for ticket in tickets
        }
        assert journal.marks(DAY + timedelta(days=1)) == {}
        with pytest.raises(KeyError):
            journal.mark(99)
