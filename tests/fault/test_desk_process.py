"""The desk over restarts, sleeps, halts and a journal that cannot be written."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kisbt.clock import KST
from kisbt.errors import StorageError
from kisbt.model.order import OrderTicket, Side
from kisbt.model.stream import Alert, Gap, Trouble
from kisbt.orders.desk import OrderDesk
from kisbt.orders.guard import GuardLimits
from kisbt.orders.lifecycle import Status
from kisbt.orders.records import Ended
from tests.helpers.desk import OTHER, Bench, bench

pytestmark = pytest.mark.fault


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", environment="real") as made:
        yield made


def far(live: Bench) -> int:
    return int(live.price() * 0.8) // 500 * 500


class OnTheWay:
    """A gateway on whose way something happens after the order has left."""

    def __init__(self, live: Bench, happens: object) -> None:
        self._client = live.client
        self._happens = happens

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def send_order(self, order: object, **options: object) -> OrderTicket:
        ticket = self._client.send_order(order, **options)
        self._happens()
        return ticket


def through(live: Bench, gateway: object) -> None:
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


# Restarts.


def test_intent_of_the_run_before_is_not_sent_any_more(live: Bench) -> None:
    ref = live.submit(Side.BUY, 3)
    live.restart()
    live.run_for(5)
    assert (live.status(ref), live.posts()) == ("not_sent", 0)


def test_order_that_was_being_sent_is_looked_for(live: Bench) -> None:
    def dies() -> None:
        raise KeyboardInterrupt

    through(live, OnTheWay(live, dies))
    ref = live.submit(Side.BUY, 3)
    with pytest.raises(KeyboardInterrupt):
        live.desk.work()
    live.restart()
    live.run_for(10)
    assert (live.status(ref), live.posts()) == ("filled", 1)
    assert live.wrong(ended=True) == []


def test_working_order_and_position_survive_a_restart(live: Bench) -> None:
    live.order(Side.BUY, 4)
    working = live.order(Side.BUY, 2, limit=far(live))
    live.run_for(5)
    live.restart()
    assert live.status(working.ref) == "working"
    live.desk.cancel(working.ref)
    live.run_for(10)
    assert live.status(working.ref) == "cancelled"
    assert live.wrong(ended=True) == []


def test_fill_during_the_absence_is_booked_at_the_start(live: Bench) -> None:
    order = live.order(Side.BUY, 2, limit=far(live))
    live.run_for(3)
    exchange = live.emulator._house.sides["real"].exchange
    for working in exchange.working():
        exchange.fill(working, 2, working.price)
    live.restart()
    assert live.status(order.ref) == "filled"
    assert live.wrong(ended=True) == []


def test_cancellation_wanted_before_a_crash_is_carried_out_after_it(
    live: Bench,
) -> None:
    order = live.order(Side.BUY, 2, limit=far(live))
    live.run_for(3)
    live.desk.cancel(order.ref)
    live.restart()
    live.run_for(10)
    assert live.status(order.ref) == "cancelled"


def test_day_that_ended_without_kisbt_is_closed_at_the_next_start(
    live: Bench,
) -> None:
    order = live.order(Side.BUY, 2, limit=far(live))
    bought = live.order(Side.BUY, 3, symbol=OTHER)
    live.emulator.fault("accept_then(read_then_close)")
    lost = live.submit(Side.BUY, 4, symbol="990003")
    live.desk.work(calls=1)
    live.emulator.advance_to(datetime(2025, 11, 4, 9, 30, tzinfo=KST))
    live.restart()
    live.run_for(5)
    assert live.status(order.ref) == "expired"
    assert live.status(bought.ref) == live.status(lost) == "filled"
    assert [str(day.day) for day in live.journal.days()] == ["2025-11-03"]
    assert live.wrong(ended=True) == []


# Time.


def test_row_96_after_a_sleep_no_old_order_is_sent(live: Bench) -> None:
    live.turn()
    ref = live.submit(Side.BUY, 3)
    live.time.offset_s += 7200.0
    live.turn()
    live.time.offset_s = 0.0
    assert (live.status(ref), live.posts()) == ("denied", 0)
    assert live.journal.order(ref).rule == "intent_age"


def test_row_98_clock_set_back_an_hour_changes_no_timer(live: Bench) -> None:
    order = live.order(Side.BUY, 2, limit=far(live))
    live.run_for(3)
    due = live.desk.desk.state.balance.due_s
    live.time.offset_s = -1800.0
    live.turn(1.0)
    assert live.desk.desk.state.orders.asked_s >= due - 60.0
    live.time.offset_s = 0.0
    live.run_for(10)
    assert live.status(order.ref) == "working"
    assert live.wrong() == []


def test_entry_waits_for_the_stream_as_long_as_it_is_young(tmp_path: Path) -> None:
    limits = GuardLimits(duplicate_s=None, needs_stream=True, intent_age_s=3.0)
    with bench(tmp_path / "state", environment="real", guard=limits) as live:
        live.desk.desk.state.stream_up = False
        waits, late = live.submit(Side.BUY, 1), live.submit(Side.BUY, 1, symbol=OTHER)
        live.run_for(1)
        assert live.status(waits) == "intent"
        live.desk.desk.state.stream_up = True
        live.run_for(1)
        assert live.status(waits) in ("acked", "filled")
        del late
        live.desk.desk.state.stream_up = False
        stale = live.submit(Side.BUY, 1, symbol="990003")
        live.run_for(5)
        assert (live.status(stale), live.journal.order(stale).rule) == (
            "denied",
            "stream",
        )


# Halts.


def test_raised_latch_cancels_and_lets_nothing_leave(live: Bench) -> None:
    order = live.order(Side.BUY, 2, limit=far(live))
    live.run_for(3)
    waiting = live.submit(Side.BUY, 1, symbol=OTHER)
    live.latch.raise_("by hand", "test")
    live.run_for(10)
    assert (live.status(order.ref), live.status(waiting)) == ("cancelled", "cancelled")
    posts = live.posts()
    denied = live.order(Side.BUY, 1)
    assert denied.status in (Status.DENIED, Status.CANCELLED)
    assert live.posts() == posts == 1
    live.latch.clear()
    assert live.order(Side.BUY, 1, symbol="990003").broker_number
    assert live.told.titles().count("halted") == 1


def test_unready_desk_sends_nothing_but_cancels(live: Bench) -> None:
    order = live.order(Side.BUY, 2, limit=far(live))
    live.run_for(3)
    live.desk.close()
    ref = live.submit(Side.BUY, 1)
    live.desk.cancel(order.ref)
    live.run_for(10)
    assert (live.status(ref), live.status(order.ref)) == ("intent", "cancelled")


# The journal.


def read_only(live: Bench, *, on: bool = True) -> None:
    live.journal._db.execute(f"PRAGMA query_only = {'ON' if on else 'OFF'}")


def test_row_91_order_that_cannot_be_written_down_does_not_leave(
    live: Bench,
) -> None:
    ref = live.submit(Side.BUY, 3)
    read_only(live)
    with pytest.raises(StorageError):
        live.desk.submit(live.plan())
    with pytest.raises(StorageError):
        live.desk.work()
    read_only(live, on=False)
    assert live.posts() == 0
    assert "journal" in live.desk.status().halted
    live.run_for(5)
    assert (live.status(ref), live.posts()) == ("intent", 0)  # until a restart


def test_row_92_answer_that_cannot_be_written_stops_and_is_found_after_a_restart(
    live: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    through(live, OnTheWay(live, lambda: read_only(live)))
    ref = live.submit(Side.BUY, 3)
    with pytest.raises(StorageError):
        live.desk.work()
    assert "EMERGENCY" in capsys.readouterr().err
    live.restart()
    live.run_for(10)
    assert (live.status(ref), live.posts()) == ("filled", 1)
    assert live.wrong(ended=True) == []


def test_strategy_is_told_once_over_a_restart(live: Bench) -> None:
    order = live.order(Side.BUY, 2, limit=far(live))
    live.desk.cancel(order.ref)
    live.run_for(10)
    live.desk.delivered(live.events[-1].sequence)
    ended = [event for event in live.events if isinstance(event, Ended)]
    live.restart()
    assert len(ended) == 1
    assert live.desk.take_events() == ()


def test_undelivered_events_are_told_again_after_a_crash(live: Bench) -> None:
    live.order(Side.BUY, 2)
    live.run_for(3)
    heard = list(live.events)
    live.restart()
    assert list(live.desk.take_events()) == heard


def _lost(live: Bench, trouble: Trouble = Trouble.DOWN, **what: bool) -> None:
    live.desk.stream_event(Alert(live.time.now(), trouble, "lost", **what))


def _back(live: Bench, **what: bool) -> None:
    now = live.time.now()
    live.desk.stream_event(Gap(now, now, **what))


@pytest.mark.parametrize("trades", [False, True])
def test_of_two_connections_the_one_that_is_back_speaks_for_itself_alone(
    tmp_path: Path, trades: bool
) -> None:
    limits = GuardLimits(duplicate_s=None, needs_stream=True, intent_age_s=60.0)
    with bench(tmp_path / "state", environment="real", guard=limits) as live:
        _lost(live, trades=trades, orders=not trades)
        _back(live, trades=not trades, orders=trades)
        waits = live.submit(Side.BUY, 1)
        live.run_for(2)
        assert live.status(waits) == "intent"
        assert not live.desk.status().stream_up
        _back(live, trades=trades, orders=not trades)
        live.run_for(2)
        assert live.status(waits) in ("acked", "filled")


def test_trades_refused_on_a_new_connection_do_not_keep_purchases_waiting(
    tmp_path: Path,
) -> None:
    """Their prices are asked for, as on a first connection that refuses them."""
    limits = GuardLimits(duplicate_s=None, needs_stream=True, intent_age_s=60.0)
    with bench(tmp_path / "state", environment="real", guard=limits) as live:
        for symbol in ("990001", "990002"):
            _lost(live, Trouble.REFUSED, orders=False)
            _back(live, trades=False)
            order = live.submit(Side.BUY, 1, symbol=symbol)
            live.run_for(2)
            assert live.status(order) in ("acked", "filled")
            _lost(live)
        _back(live, trades=False)
        waits = live.submit(Side.BUY, 1, symbol="990003")
        live.run_for(2)
        assert live.status(waits) == "intent"


def test_notices_refused_on_a_new_connection_keep_purchases_waiting(
    tmp_path: Path,
) -> None:
    limits = GuardLimits(duplicate_s=None, needs_stream=True, intent_age_s=60.0)
    with bench(tmp_path / "state", environment="real", guard=limits) as live:
        _lost(live)
        _lost(live, Trouble.REFUSED, trades=False)
        _back(live, orders=False)
        waits, exit_ = live.submit(Side.BUY, 1), live.told.titles()
        live.run_for(2)
        assert live.status(waits) == "intent"
        assert "stream" in exit_
