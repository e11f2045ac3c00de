"""Rows 1 to 20: the order on its way, and what the desk makes of each failure.

The emulator's own book decides: one order at the broker for one in the journal,
nothing sent twice, and what was lost found again.
"""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kisbt.errors import NotSent
from kisbt.model.order import OrderTicket, Side
from kisbt.orders.desk import OrderDesk
from kisbt.orders.lifecycle import Status
from kisbt.orders.records import Accepted, Ended, Filled
from tests.helpers.desk import OTHER, SYMBOL, Bench, bench

pytestmark = pytest.mark.fault


@pytest.fixture(params=[False, True], ids=["in turn", "ahead"])
def live(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Return a desk on the real server's codes, limits off."""
    with bench(
        tmp_path / "state", environment="real", ahead=bool(request.param)
    ) as made:
        yield made


def outcomes(found: Bench) -> list[str]:
    return [event.outcome for event in found.events if isinstance(event, Ended)]


def filled(found: Bench) -> int:
    return sum(event.quantity for event in found.events if isinstance(event, Filled))


class Unreachable:
    """A gateway whose server is not there for its first orders."""

    def __init__(self, gateway: object, failures: int) -> None:
        self._gateway = gateway
        self.left = failures
        self.tries = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._gateway, name)

    def send_order(self, order: object, **options: object) -> OrderTicket:
        self.tries += 1
        if self.left:
            self.left -= 1
            raise NotSent("name or service not known")
        return self._gateway.send_order(order, **options)


def through(live: Bench, gateway: object) -> OrderDesk:
    """Let the desk use another gateway."""
    desk = OrderDesk(
        live.journal,
        gateway,
        live.settings,
        clock=live.time,
        calendar=live.desk.desk.calendar,
        latch=live.latch,
        sources=live.sources,
        notifier=live.told,
        ahead=live.ahead,
    )
    live.desk = desk
    return desk


def test_row_01_refused_connection_is_tried_once_more(live: Bench) -> None:
    ref = live.submit()
    live.emulator.restart(seconds=0.3)
    live.run_until(lambda: live.journal.order(ref).is_ended, seconds=30)
    assert live.journal.order(ref).attempts <= 2
    assert live.posts() <= 1
    assert live.wrong() == []


@pytest.mark.parametrize("row", ["02 name not found", "03 connect time-out"])
def test_rows_02_03_unsent_order_is_tried_once_more(row: str, live: Bench) -> None:
    gateway = Unreachable(live.client, 1)
    through(live, gateway)
    order = live.order()
    live.run_for(3)
    assert (gateway.tries, live.status(order.ref), live.posts()) == (2, "filled", 1)
    assert live.wrong(ended=True) == []


@pytest.mark.parametrize("row", ["02 name not found", "03 connect time-out"])
def test_rows_02_03_order_unsent_twice_is_told_and_dropped(
    row: str, live: Bench
) -> None:
    gateway = Unreachable(live.client, 9)
    through(live, gateway)
    live.order()
    live.run_for(10)
    assert (gateway.tries, outcomes(live), live.posts()) == (2, ["not_sent"], 0)
    assert live.told.titles() == ["order not sent"]


ADOPTED = {
    "05 answer lost": "accept_then(read_then_close)",
    "06 read time-out": "accept_then(hang, 1)",
    "09 answer cut off": "accept_then(truncate)",
    "10 a web page": "accept_then(html)",
    "11 status 502": "accept_then(status, 502)",
    "11 status 503": "accept_then(status, 503)",
    "11 status 504": "accept_then(status, 504)",
    "13 no number": "accept_then(no_number)",
    "13 garbage": "accept_then(garbage)",
    "14 unlisted code": "accept_then(gw, code=ZZZZ9999)",
    "19 slow drip": "accept_then(drip)",
    "reset": "accept_then(rst)",
}


@pytest.mark.parametrize("row", ADOPTED)
def test_accepted_order_whose_answer_is_lost_is_found(row: str, live: Bench) -> None:
    live.emulator.fault(ADOPTED[row])
    order = live.order(Side.BUY, 7)
    live.run_for(5)
    found = live.journal.order(order.ref)
    assert (found.status, found.filled, live.posts()) == (Status.FILLED, 7, 1)
    assert live.wrong(ended=True) == []
    assert live.told.titles() == ["order unclear", "order found"]


ABSENT = {
    "07 read time-out": "http(order, 1, hang, 1)",
    "08 reset before it is read": "http(order, 1, rst)",
    "closed unread": "http(order, 1, read_then_close)",
    "10 a web page": "http(order, 1, html)",
    "11 status 503": "http(order, 1, status, 503)",
    "14 unlisted code": "gw(ZZZZ9999, 500, tr=order)",
}


@pytest.mark.parametrize("row", ABSENT)
def test_order_that_never_arrived_is_given_up_and_not_sent_again(
    row: str, live: Bench
) -> None:
    live.emulator.fault(ABSENT[row])
    order = live.order()
    live.run_for(25)
    assert live.status(order.ref) == "unknown"
    live.run_for(40)
    assert live.status(order.ref) == "absent"
    assert (outcomes(live), live.real_orders()) == (["not_sent"], [])
    assert live.wrong(ended=True) == []
    assert live.told.titles() == ["order unclear", "order absent"]


def test_symbol_of_an_unclear_order_takes_no_other(live: Bench) -> None:
    live.emulator.fault("http(order, 1, rst)")
    live.order()
    second, elsewhere = live.order(), live.order(symbol=OTHER)
    assert (second.status, second.rule) == (Status.DENIED, "unresolved")
    assert elsewhere.status in (Status.ACKED, Status.FILLED)


def test_lower_case_answer_is_read(live: Bench) -> None:
    live.emulator.fault("accept_then(lower_case)")
    order = live.order()
    live.run_for(3)
    assert (order.status is Status.UNKNOWN, live.status(order.ref)) == (False, "filled")
    assert live.wrong(ended=True) == []


def test_row_12_refusal_is_believed_and_looked_at_once(live: Bench) -> None:
    live.emulator.fault("gw(APBK0919, 500, tr=order)")
    order = live.order()
    before = live.desk.desk.state.calls
    live.run_for(1)
    assert order.status is Status.REFUSED
    assert live.desk.desk.state.calls > before or before >= 3
    assert (outcomes(live), live.posts()) == (["refused"], 0)
    assert live.told.titles() == ["order refused"]


def test_row_15_redirect_halts_and_reaches_nobody(live: Bench) -> None:
    with socket.socket() as evil:
        evil.bind(("127.0.0.1", 0))
        evil.listen()
        evil.settimeout(0.2)
        port = evil.getsockname()[1]
        live.emulator.fault(
            {
                "verb": "http",
                "tr": "order",
                "do": "redirect",
                "url": f"http://127.0.0.1:{port}/x",
            }
        )
        order = live.order()
        with pytest.raises(TimeoutError):
            evil.accept()
    assert order.status is Status.UNKNOWN
    assert live.latch.is_raised()
    assert live.order(symbol=OTHER).status in (Status.DENIED, Status.CANCELLED)
    assert live.posts() == 0


def test_row_16_answer_of_the_order_before_is_not_believed(live: Bench) -> None:
    first = live.order(Side.BUY, 3)
    live.run_for(1)
    live.emulator.fault("http(order, 1, swap)")
    second = live.order(Side.BUY, 5, symbol=OTHER)
    live.run_for(10)
    assert "order unclear" in live.told.titles()
    numbers = {live.journal.order(item.ref).broker_number for item in (first, second)}
    assert len(numbers) == 2
    assert live.wrong(ended=True) == []


def test_row_16_number_of_a_strangers_order_freezes_the_symbol(live: Bench) -> None:
    class Mixed(Unreachable):
        def send_order(self, order: object, **options: object) -> OrderTicket:
            stranger = live.emulator.external_order(
                environment="real", symbol=OTHER, side="buy", quantity=2
            )
            ticket = self._gateway.send_order(order, **options)
            return OrderTicket(
                branch=ticket.branch, number=stranger["number"], time=ticket.time
            )

    through(live, Mixed(live.client, 0))
    order = live.order(Side.BUY, 3)
    live.run_for(3)
    assert SYMBOL in live.journal.frozen()
    assert live.journal.order(order.ref).filled == 0
    assert "symbol frozen" in live.told.titles()


def test_row_17_order_shown_after_twenty_seconds_is_still_found(live: Bench) -> None:
    live.emulator.fault("lag(ledger, 20)", "accept_then(read_then_close)")
    order = live.order()
    live.run_for(15)
    assert live.status(order.ref) == "unknown"
    live.run_for(60)
    assert (live.status(order.ref), live.posts()) == ("filled", 1)
    live.emulator.clear_faults()
    live.run_for(5)
    assert live.wrong(ended=True) == []


def test_row_18_order_shown_after_two_minutes_is_taken_over_and_cancelled(
    live: Bench,
) -> None:
    live.emulator.fault("lag(ledger, 120)", "accept_then(read_then_close)")
    far = int(live.price() * 0.8) // 100 * 100
    order = live.order(Side.BUY, 4, limit=far)
    live.run_for(90)
    assert live.status(order.ref) == "absent"
    live.run_for(60)
    live.emulator.clear_faults()
    live.run_for(60)
    assert (live.status(order.ref), live.posts()) == ("cancelled", 1)
    assert SYMBOL in live.journal.frozen()
    assert outcomes(live) == ["not_sent"]
    assert "symbol frozen" in live.told.titles()
    assert live.wrong(ended=True) == []


def test_row_20_loss_of_the_network_stops_entries_until_it_is_back(
    live: Bench,
) -> None:
    far = int(live.price() * 0.8) // 100 * 100
    working = live.order(Side.BUY, 2, limit=far)
    live.run_for(3)
    live.emulator.fault("http(*, *, rst)")
    live.run_for(60)
    during = live.order(Side.BUY, 1, symbol=OTHER)
    live.emulator.clear_faults()
    live.run_for(60)
    after = live.order(Side.BUY, 1, symbol="990003")
    live.run_for(3)
    assert (during.status, during.rule) == (Status.DENIED, "entries_off")
    assert live.status(working.ref) == "working"
    assert live.status(after.ref) == "filled"
    assert live.wrong() == []


def test_strategy_hears_of_each_change_once(live: Bench) -> None:
    live.emulator.fault("accept_then(read_then_close)")
    live.order(Side.BUY, 5)
    live.run_for(10)
    kinds = [type(event) for event in live.events]
    assert kinds == [Accepted, Filled]
    assert filled(live) == 5
