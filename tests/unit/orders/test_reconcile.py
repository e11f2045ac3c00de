from datetime import timedelta
from fractions import Fraction

import pytest

from kisbt.errors import InputError
from kisbt.orders.lifecycle import Status
from kisbt.orders.reconcile import (
    DayEnd,
    Kind,
    Restart,
    at_day_end,
    at_start,
    compare_positions,
    parse_ratio,
    plan_split,
    split_ratio,
)
from kisbt.orders.records import Holding
from kisbt.orders.rows import TicketRecord
from tests.helpers.orders import DAY, NINE, make_order, make_ticket

# Positions.


def one(
    own: int,
    outside: int,
    broker: int,
    moved: int = 0,
    *,
    active: bool = False,
) -> tuple[Kind, int, int, bool] | None:
    findings = compare_positions(
        [Holding(symbol="A", quantity=own, average=1000.0)] if own else [],
        {"A": outside} if outside else {},
        {"A": broker} if broker else {},
        external_moves={"A": moved} if moved else {},
        own_active=["A"] if active else [],
    )
    if not findings:
        return None
    (finding,) = findings
    assert finding.text
    assert finding.own_after + finding.outside_after == broker or finding.stops
    return finding.kind, finding.own_after, finding.outside_after, finding.stops


@pytest.mark.parametrize("active", [False, True])
def test_equal_positions_have_no_finding(active: bool) -> None:
    assert one(10, 7, 17, active=active) is None
    assert one(0, 7, 7, active=active) is None
    assert compare_positions([], {}, {}) == ()


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        # The user bought, or sold of their own, and an order shows it.
        ((10, 7, 20, 3), (Kind.OUTSIDE_MORE, 10, 10, False)),
        ((10, 7, 15, -2), (Kind.OUTSIDE_LESS, 10, 5, False)),
        # Or no order shows it; kisbt's own shares are there.
        ((0, 0, 100), (Kind.OUTSIDE_MORE, 0, 100, False)),
        ((10, 7, 18), (Kind.OUTSIDE_MORE, 10, 8, False)),
        ((10, 7, 14), (Kind.OUTSIDE_LESS, 10, 4, False)),
        # The user sold shares of kisbt's.
        ((10, 0, 6, -4), (Kind.OWN_SOLD, 6, 0, False)),
        ((10, 7, 0, -17), (Kind.OWN_SOLD, 0, 0, False)),
        # Own shares are missing.
        ((10, 0, 9), (Kind.OWN_MISSING, 9, 0, True)),
        ((10, 7, 0), (Kind.OWN_MISSING, 0, 0, True)),
        # Splits.
        ((10, 0, 50), (Kind.SPLIT, 50, 0, True)),
        ((10, 20, 6), (Kind.SPLIT, 2, 4, True)),
    ],
)
def test_a_difference_has_a_cause_and_a_consequence(
    case: tuple[int, ...], expected: tuple[Kind, int, int, bool]
) -> None:
    assert one(*case) == expected


def test_a_surplus_may_be_an_own_fill_where_kisbt_has_traded() -> None:
    assert one(10, 7, 18, active=True) == (Kind.OWN_UNBOOKED, 10, 8, True)
    assert one(0, 0, 7, active=True) == (Kind.OWN_UNBOOKED, 0, 7, True)
    assert one(10, 7, 14, active=True) == (Kind.OUTSIDE_LESS, 10, 4, True)
    assert one(10, 7, 20, 3, active=True) == (Kind.OUTSIDE_MORE, 10, 10, False)


def test_long_term_shares_are_never_kisbts() -> None:
    account = {"005930": 100, "000660": 30, "990001": 12}
    findings = compare_positions(
        [Holding(symbol="990001", quantity=5, average=1000.0)], {}, account
    )
    assert {f.symbol: (f.own_after, f.stops) for f in findings} == {
        "000660": (0, False),
        "005930": (0, False),
        "990001": (5, False),
    }


# Splits.


@pytest.mark.parametrize(
    ("own", "outside", "broker", "ratio"),
    [
        (10, 0, 50, Fraction(5)),
        (10, 5, 30, Fraction(2)),
        (7, 0, 1, Fraction(1, 5)),
        (10, 0, 10, None),
        (10, 0, 17, None),
        (0, 10, 50, None),
    ],
)
def test_a_split_is_recognised_by_its_ratio(
    own: int, outside: int, broker: int, ratio: Fraction | None
) -> None:
    assert split_ratio(own, outside, broker) == ratio


def test_a_split_keeps_what_was_paid() -> None:
    held = Holding(symbol="A", quantity=7, average=50_000.0)
    plan = plan_split(held, Fraction(5))
    assert (plan.after.quantity, plan.after.average, plan.cash) == (35, 10_000.0, 0)
    merged = plan_split(held, Fraction(1, 5), price=240_000)
    assert (merged.after.quantity, merged.after.average) == (1, 250_000.0)
    assert merged.cash == 96_000  # two fifths of a new share
    gone = plan_split(held, Fraction(1, 50))
    assert (gone.after.quantity, gone.after.average) == (0, 0.0)


def test_a_split_needs_a_holding() -> None:
    with pytest.raises(InputError, match="holds none"):
        plan_split(Holding(symbol="A", quantity=0, average=0.0), Fraction(5))


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("5", Fraction(5)),
        (" 1/5", Fraction(1, 5)),
        ("1:2", Fraction(1, 2)),
        ("1.5", Fraction(3, 2)),
    ],
)
def test_a_ratio_is_read(text: str, ratio: Fraction) -> None:
    assert parse_ratio(text) == ratio


@pytest.mark.parametrize("text", ["", "0", "1", "-2", "1/0", "five"])
def test_a_ratio_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="split ratio"):
        parse_ratio(text)


# Start and end of a day.


@pytest.mark.parametrize(
    ("status", "need"),
    [
        (Status.HELD, Restart.KEEP),
        (Status.INTENT, Restart.NOT_SENT),
        (Status.SENDING, Restart.RESOLVE),
        (Status.UNKNOWN, Restart.RESOLVE),
        (Status.CLAIMED, Restart.RESOLVE),
        (Status.QUARANTINE, Restart.ASK),
        (Status.ACKED, Restart.FOLLOW),
        (Status.CANCELLING, Restart.FOLLOW),
        (Status.FILLED, None),
        (Status.ABSENT, None),
    ],
)
def test_a_restart_does_what_the_status_needs(
    status: Status, need: Restart | None
) -> None:
    assert at_start(make_order(status=status), DAY) is need


def test_an_order_held_over_its_session_expires() -> None:
    held = make_order(status=Status.HELD, sent=None)
    assert at_start(held, DAY + timedelta(days=1)) is Restart.EXPIRE


def day_end(
    status: Status, *tickets: TicketRecord, over: bool = True, polls: int = 2
) -> DayEnd | None:
    return at_day_end(
        make_order(status=status),
        tickets,
        now=NINE,
        session_over=NINE - timedelta(seconds=1)
        if over
        else NINE + timedelta(seconds=1),
        agreeing_polls=polls,
    )


@pytest.mark.parametrize(
    ("status", "tickets", "end"),
    [
        (Status.WORKING, (make_ticket(),), Status.EXPIRED),
        (Status.PARTIAL, (make_ticket(applied=4, confirmed=4),), Status.EXPIRED),
        (Status.CANCELLING, (make_ticket(applied=10),), Status.FILLED),
        (Status.CANCELLING, (make_ticket(applied=4, cancelled=6),), Status.CANCELLED),
        (Status.ACKED, (make_ticket(rejected=10),), Status.REJECTED),
        (Status.HELD, (), Status.EXPIRED),
        (Status.INTENT, (), Status.NOT_SENT),
    ],
)
def test_an_order_ends_with_its_day(
    status: Status, tickets: tuple[TicketRecord, ...], end: Status
) -> None:
    assert day_end(status, *tickets) == DayEnd(ref=1, status=end)


@pytest.mark.parametrize(
    "end",
    [
        day_end(Status.WORKING, make_ticket(), over=False),
        day_end(Status.WORKING, make_ticket(), polls=1),
        day_end(Status.WORKING, make_ticket(confirmed=4)),
        day_end(Status.UNKNOWN),
        day_end(Status.QUARANTINE),
        day_end(Status.HELD, over=False),
    ],
)
def test_an_order_that_may_still_fill_waits(end: DayEnd | None) -> None:
    assert end is not None
    assert end.status is None
    assert end.why


def test_an_ended_order_needs_nothing() -> None:
    assert day_end(Status.FILLED) is None
