"""An order whose answer was lost is found, or known to be gone; never another one."""

import random
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from kisbt.model.order import BrokerOrder
from kisbt.orders.decode import order_key
from kisbt.orders.lifecycle import Status
from kisbt.orders.resolve import (
    API_CHANNEL,
    Looked,
    Verdict,
    candidates,
    resolve,
    search_for,
)
from tests.helpers.orders import NINE, make_order, make_row

POLLS_S = (0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 60.5, 120.5, 240.5)


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of the broker, and from when on a query shows it."""

    row: BrokerOrder
    seen_s: float
    ours: bool = False


@dataclass(slots=True)
class Case:
    """One order sent into the dark, and what else is in the account."""

    rows: list[Shown]
    known: set[str]
    bound: set[str]
    accepted: bool


def make_case(dice: random.Random) -> Case:
    rows: list[Shown] = []
    known: set[str] = set()
    bound: set[str] = set()
    number = 0

    def add(at_s: float, lag_s: float, channel: str, *, ours: bool = False) -> str:
        nonlocal number
        number += 1
        when = NINE + timedelta(seconds=at_s)
        row = make_row(
            number=f"{number:010d}",
            time=when.time().replace(microsecond=0),
            channel=channel,
        )
        rows.append(Shown(row, at_s + lag_s, ours=ours))
        return order_key(row.number)

    if dice.random() < 0.3:  # an equal order of kisbt's own, a moment ago
        bound.add(add(-dice.random() * 5, 0.0, API_CHANNEL))
    if dice.random() < 0.2:  # an equal order of another program, seen before
        known.add(add(-1.0, 0.0, API_CHANNEL))
    accepted = dice.random() < 0.6
    by_hand = dice.random() < 0.2
    if by_hand and dice.random() < 0.5:
        add(dice.random(), dice.expovariate(1.0), "Nsmart")
    if accepted:
        lag = dice.choice([dice.expovariate(1 / 1.2), 20.0, 100.0])
        add(dice.random(), lag, API_CHANNEL, ours=True)
    if by_hand:
        add(1.0 + dice.random() * 5, dice.expovariate(1.0), "Nsmart")
    return Case(rows, known, bound, accepted)


def look(
    case: Case, *, channel: str | None, by_hand: bool
) -> tuple[Verdict, str, bool]:
    """Poll until it is decided; return verdict, number bound, and whether late."""
    order = make_order(status=Status.UNKNOWN)
    verdict, late = Verdict.WAIT, False
    for polls, at_s in enumerate(POLLS_S, start=1):
        shown = [row.row for row in case.rows if row.seen_s <= at_s]
        random.Random(polls).shuffle(shown)
        found = candidates(
            search_for(order),
            [*shown, *shown[:1]],
            known=case.known,
            bound=case.bound,
            channel=channel,
        )
        looked = Looked(clean=polls, waited_s=at_s)
        resolution = resolve(
            order.status,
            found,
            looked,
            channel_known=channel is not None,
            by_hand=by_hand,
        )
        verdict = resolution.verdict
        if verdict is Verdict.ABSENT:
            late = True
            order = replace(order, status=Status.ABSENT)
        elif verdict in (Verdict.ADOPT, Verdict.ADOPT_LATE):
            return verdict, resolution.row.number, late
        elif verdict is Verdict.QUARANTINE:
            return verdict, "", late
    return (Verdict.ABSENT if late else verdict), "", late


@pytest.mark.parametrize("block", range(4))
def test_with_the_channel_no_order_is_lost_and_none_mistaken(block: int) -> None:
    dice = random.Random(block)
    verdicts = set()
    for _turn in range(3_000):
        case = make_case(dice)
        verdict, number, late = look(case, channel=API_CHANNEL, by_hand=False)
        verdicts.add(verdict)
        ours = [row.row.number for row in case.rows if row.ours]
        assert [number] == ours if case.accepted else verdict is Verdict.ABSENT
        assert (verdict is Verdict.ADOPT_LATE) == (late and case.accepted)
    assert verdicts == {Verdict.ADOPT, Verdict.ADOPT_LATE, Verdict.ABSENT}


def test_without_the_channel_nothing_is_guessed_where_a_person_trades() -> None:
    dice = random.Random(7)
    verdicts = []
    for _turn in range(3_000):
        verdict, number, _late = look(make_case(dice), channel=None, by_hand=True)
        verdicts.append(verdict)
        assert not number
    assert set(verdicts) == {Verdict.QUARANTINE, Verdict.ABSENT}
