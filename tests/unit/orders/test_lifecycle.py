import pytest

from kisbt.orders.lifecycle import (
    AT_BROKER,
    OPEN,
    OUTCOMES,
    REOPENINGS,
    TERMINAL,
    TRANSITIONS,
    UNRESOLVED,
    UNSENT,
    Move,
    Quantities,
    Status,
    check_move,
    status_of,
)


def test_every_status_is_open_or_ended_and_in_the_table() -> None:
    assert OPEN | TERMINAL == frozenset(Status) == TRANSITIONS.keys()
    assert not OPEN & TERMINAL
    assert len(UNSENT) + len(UNRESOLVED) + len(AT_BROKER) == len(OPEN)


def test_only_an_intent_can_be_sent() -> None:
    before = {old for old, after in TRANSITIONS.items() if Status.SENDING in after}
    assert before == {Status.INTENT}
    assert not any(Status.SENDING in after for after in REOPENINGS.values())


def test_an_unknown_outcome_never_leads_back_to_sending() -> None:
    reached, waiting = set(), [Status.UNKNOWN]
    while waiting:
        status = waiting.pop()
        for after in TRANSITIONS[status] | REOPENINGS.get(status, frozenset()):
            if after not in reached:
                reached.add(after)
                waiting.append(after)
    assert not reached & {Status.INTENT, Status.SENDING, Status.HELD}


def test_every_open_status_leads_to_an_end() -> None:
    for start in OPEN:
        reached, waiting = {start}, [start]
        while waiting:
            for after in TRANSITIONS[waiting.pop()] - reached:
                reached.add(after)
                waiting.append(after)
        assert reached & TERMINAL


def test_ends_are_reopened_only_by_evidence_of_the_broker() -> None:
    assert REOPENINGS.keys() <= TERMINAL
    assert all(after <= AT_BROKER | TERMINAL for after in REOPENINGS.values())
    assert Status.DENIED not in REOPENINGS
    assert Status.FILLED not in REOPENINGS


def test_every_end_but_full_has_an_outcome_for_the_strategy() -> None:
    assert OUTCOMES.keys() == TERMINAL - {Status.FILLED}


@pytest.mark.parametrize(
    ("old", "new", "move"),
    [
        (Status.WORKING, Status.WORKING, Move.NONE),
        (Status.INTENT, Status.SENDING, Move.STEP),
        (Status.SENDING, Status.INTENT, Move.STEP),
        (Status.ABSENT, Status.ACKED, Move.REOPENED),
        (Status.CANCELLED, Status.FILLED, Move.REOPENED),
    ],
)
def test_a_move_is_told_apart(old: Status, new: Status, move: Move) -> None:
    assert check_move(old, new) is move


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Status.FILLED, Status.WORKING),
        (Status.DENIED, Status.ACKED),
        (Status.UNKNOWN, Status.INTENT),
        (Status.ACKED, Status.SENDING),
    ],
)
def test_a_move_outside_the_table_is_a_mistake(old: Status, new: Status) -> None:
    with pytest.raises(ValueError, match="cannot go"):
        check_move(old, new)


def test_shares_are_conserved_over_fills_cancellations_and_refusals() -> None:
    parts = Quantities(ordered=10, filled=4, cancelled=5)
    assert (parts.open, parts.conserved, parts.overdrawn) == (1, False, False)
    assert Quantities(ordered=10, filled=4, cancelled=5, rejected=1).conserved
    assert Quantities(ordered=10, filled=11).overdrawn
    assert Quantities(ordered=10, filled=11).open == 0


@pytest.mark.parametrize(
    ("parts", "fallback", "status"),
    [
        (Quantities(ordered=10), Status.ACKED, Status.WORKING),
        (Quantities(ordered=10, filled=1), Status.WORKING, Status.PARTIAL),
        (Quantities(ordered=10, filled=1), Status.CANCELLING, Status.CANCELLING),
        (Quantities(ordered=10, filled=10), Status.CANCELLING, Status.FILLED),
        (
            Quantities(ordered=10, filled=3, cancelled=7),
            Status.PARTIAL,
            Status.CANCELLED,
        ),
        (Quantities(ordered=10, rejected=10), Status.ACKED, Status.REJECTED),
        (Quantities(ordered=10, filled=2, expired=8), Status.PARTIAL, Status.EXPIRED),
    ],
)
def test_the_shares_prove_the_status(
    parts: Quantities, fallback: Status, status: Status
) -> None:
    assert status_of(parts, fallback=fallback) is status
