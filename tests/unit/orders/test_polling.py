"""When the broker is asked again."""

import pytest

from kisbt.orders.ladders import LadderLimits, Ladders, Step
from kisbt.orders.polling import REAL_RATES, Poll, resolve_due_s


def test_first_question_is_due_at_once() -> None:
    assert Poll(REAL_RATES).ready_s() <= 0.0


def test_answer_moves_the_next_question_away_and_a_wish_brings_it_back() -> None:
    poll = Poll(REAL_RATES)
    poll.answered(10.0, 20.0)
    assert poll.ready_s() == 30.0
    poll.want(12.0)
    poll.want(25.0)
    assert poll.ready_s() == 12.0


def test_failures_wait_longer_and_longer_but_not_for_ever() -> None:
    poll = Poll(REAL_RATES)
    waits = []
    for _number in range(8):
        poll.failed(100.0)
        waits.append(poll.ready_s() - 100.0)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert poll.failing_s(160.0) == 60.0
    poll.want(0.0)
    assert poll.ready_s() == 130.0  # a wish does not shorten the rest


def test_answer_ends_the_failures() -> None:
    poll = Poll(REAL_RATES)
    poll.failed(1.0)
    poll.answered(2.0, 5.0)
    assert (poll.failing_s(9.0), poll.ready_s()) == (0.0, 7.0)


def test_unclear_order_is_looked_for_at_growing_distances() -> None:
    due = [resolve_due_s(REAL_RATES, 0.0, polls) for polls in range(9)]
    assert due == [0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 60.5, 90.5, 120.5]


def test_refusals_pause_then_stop_a_symbol_then_all_entries() -> None:
    ladders = Ladders(LadderLimits())
    steps = [ladders.refusal("A", "X", float(number)) for number in range(6)]
    assert steps == [
        None,
        None,
        Step.PAUSE_SYMBOL,
        Step.PAUSE_SYMBOL,
        Step.STOP_SYMBOL,
        Step.STOP_SYMBOL,
    ]
    rest = [ladders.refusal(name, "Y", 10.0) for name in "BCDE"]
    assert rest == [None, None, None, Step.ENTRIES_OFF]


def test_old_refusals_and_other_codes_do_not_pause() -> None:
    ladders = Ladders(LadderLimits())
    assert ladders.refusal("A", "X", 0.0) is None
    assert ladders.refusal("A", "Y", 1.0) is None
    assert ladders.refusal("A", "X", 400.0) is None


def test_third_lost_answer_of_a_day_halts() -> None:
    ladders = Ladders(LadderLimits())
    assert [ladders.lost_answer() for _n in range(3)] == [None, None, Step.HALT]
    ladders.begin_day()
    assert ladders.lost_answer() is None


@pytest.mark.parametrize(
    ("seconds", "step"), [(30.0, None), (61.0, Step.ALERT), (301.0, Step.HALT)]
)
def test_silent_server_is_told_then_halts(seconds: float, step: Step | None) -> None:
    ladders = Ladders(LadderLimits())
    assert ladders.queries_fail(seconds) is step
    assert ladders.queries_fail(seconds) is None  # told once


def test_lost_streams_stop_entries_until_it_has_been_quiet() -> None:
    ladders = Ladders(LadderLimits())
    for number in range(6):
        ladders.drop(float(number))
    assert ladders.drops_too_many(6.0)
    assert not ladders.drops_too_many(605.0)
