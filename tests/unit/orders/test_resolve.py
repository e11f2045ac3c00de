from datetime import time, timedelta

import pytest

from kisbt.model.order import OrderKind, Side, Venue
from kisbt.orders.lifecycle import Status
from kisbt.orders.resolve import (
    ABSENT_AFTER_S,
    CLEAN_POLLS,
    Looked,
    Search,
    Verdict,
    candidates,
    resolve,
    search_for,
)
from kisbt.orders.rows import ChangeRecord, TicketRole
from tests.helpers.orders import DAY, NINE, make_order, make_row

SEARCH = search_for(make_order(), timeout_s=10.0)
LONG = Looked(clean=CLEAN_POLLS, waited_s=ABSENT_AFTER_S)


def found(*rows: object, search: Search = SEARCH, **how: object) -> list[str]:
    how = {"known": (), "bound": ()} | how
    return [r.number for r in candidates(search, rows, **how)]  # type: ignore[arg-type]


def test_the_row_that_is_the_order_is_found() -> None:
    assert found(make_row()) == ["0000000012"]
    assert found() == []


@pytest.mark.parametrize(
    "change",
    [
        {"day": DAY - timedelta(days=1)},
        {"symbol": "990002"},
        {"side": Side.SELL},
        {"kind": OrderKind.MARKET},
        {"quantity": 11},
        {"price": 1005},
        {"venue": Venue.NXT},
        {"original_number": "0000000011"},
        {"channel": "Nsmart"},
        {"time": time(8, 59, 57)},
        {"time": time(9, 0, 41)},
    ],
)
def test_a_row_that_differs_is_not_it(change: dict[str, object]) -> None:
    assert found(make_row(**change)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"venue": None},
        {"original_number": "0000000000"},
        {"channel": ""},
        {"time": None},
        {"time": time(8, 59, 58)},
        {"time": time(9, 0, 40)},
    ],
)
def test_what_the_broker_leaves_out_is_not_held_against_a_row(
    change: dict[str, object],
) -> None:
    assert found(make_row(**change)) == ["0000000012"]


def test_numbers_known_before_or_bound_to_others_are_not_it() -> None:
    assert found(make_row(), known=("12",)) == []
    assert found(make_row(), bound=("12",)) == []
    assert found(make_row(), known=("13",), bound=("14",)) == ["0000000012"]


def test_a_row_told_twice_counts_once() -> None:
    assert found(make_row(), make_row(venue=None)) == ["0000000012"]
    assert found(make_row(), make_row(number="13")) == ["0000000012", "13"]


def test_an_uncalibrated_channel_is_not_looked_at() -> None:
    assert found(make_row(channel="?"), channel=None) == ["0000000012"]


def test_the_clocks_difference_is_taken_out() -> None:
    ahead = search_for(make_order(), timeout_s=10.0, clock_ahead_s=60.0)
    assert found(make_row(time=time(8, 59, 0)), search=ahead) == ["0000000012"]
    assert found(make_row(time=time(9, 0, 0)), search=ahead) == []


def test_a_market_orders_row_has_price_zero() -> None:
    market = search_for(make_order(kind=OrderKind.MARKET, limit_price=None))
    row = make_row(kind=OrderKind.MARKET, price=0)
    assert found(row, search=market) == ["0000000012"]


def change_of(role: TicketRole, quantity: int | None, price: int) -> ChangeRecord:
    return ChangeRecord(
        change=1,
        ref=1,
        role=role,
        quantity=quantity,
        price=price,
        status=Status.UNKNOWN,
        known_to=0,
        made=NINE,
        changed=NINE,
        note="",
    )


def test_a_lost_cancellation_is_found_by_its_original() -> None:
    order = make_order(status=Status.CANCELLING, broker_number="0000000012")
    search = search_for(order, change_of(TicketRole.CANCEL, None, 0))
    row = make_row(number="13", original_number="0000000012", quantity=6, price=1000)
    assert found(row, make_row(number="14"), search=search) == ["13"]


def test_a_lost_amendment_is_found_by_its_new_price() -> None:
    order = make_order(status=Status.AMENDING, broker_number="0000000012")
    search = search_for(order, change_of(TicketRole.AMEND, 6, 1010))
    row = make_row(number="13", original_number="12", quantity=6, price=1010)
    assert found(row, search=search) == ["13"]
    assert found(make_row(number="13", original_number="12"), search=search) == []


def test_what_was_not_sent_is_not_looked_for() -> None:
    with pytest.raises(ValueError, match="not been sent"):
        search_for(make_order(sent=None))


ONE, TWO = make_row(), make_row(number="13")


@pytest.mark.parametrize(
    ("status", "rows", "looked", "verdict"),
    [
        (Status.UNKNOWN, (ONE,), Looked(clean=1, waited_s=0.5), Verdict.ADOPT),
        (Status.UNKNOWN, (ONE, TWO), LONG, Verdict.QUARANTINE),
        (Status.UNKNOWN, (), LONG, Verdict.ABSENT),
        (Status.UNKNOWN, (), Looked(clean=99, waited_s=29.9), Verdict.WAIT),
        (Status.UNKNOWN, (), Looked(clean=4, waited_s=999.0), Verdict.WAIT),
        (Status.CLAIMED, (), Looked(clean=0, waited_s=9.0), Verdict.WAIT),
        (Status.CLAIMED, (), Looked(clean=1, waited_s=0.1), Verdict.NOT_SENT),
        (Status.CLAIMED, (ONE,), Looked(clean=1, waited_s=0.1), Verdict.ADOPT),
        (Status.ABSENT, (), LONG, Verdict.WAIT),
        (Status.ABSENT, (ONE,), LONG, Verdict.ADOPT_LATE),
        (Status.REFUSED, (ONE,), LONG, Verdict.ADOPT_LATE),
        (Status.NOT_SENT, (ONE,), LONG, Verdict.ADOPT_LATE),
    ],
)
def test_the_verdict_follows_from_the_rows(
    status: Status, rows: tuple[object, ...], looked: Looked, verdict: Verdict
) -> None:
    resolution = resolve(status, rows, looked)  # type: ignore[arg-type]
    assert resolution.verdict is verdict
    if verdict in (Verdict.ADOPT, Verdict.ADOPT_LATE):
        assert resolution.row is ONE


def test_without_a_known_channel_a_person_decides_where_they_trade_too() -> None:
    looked = Looked(clean=1, waited_s=1.0)
    verdicts = [
        resolve(
            Status.UNKNOWN, (ONE,), looked, channel_known=known, by_hand=by_hand
        ).verdict
        for known, by_hand in ((False, True), (False, False), (True, True))
    ]
    assert verdicts == [Verdict.QUARANTINE, Verdict.ADOPT, Verdict.ADOPT]
