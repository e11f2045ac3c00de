"""Keys, tokens and limits, with time as an argument."""

from datetime import datetime

import pytest
from hypothesis import given, strategies as st

from kisbt.emulator.gate import (
    CallLimit,
    IssuedTooOften,
    TokenDesk,
    invent_keys,
    is_invented,
)
from kisbt.krx.calendar import KST

NOW = datetime(2025, 12, 29, 10, 0, tzinfo=KST)


def test_invented_keys_have_the_brokers_lengths_and_say_what_they_are() -> None:
    keys = invent_keys("7:mock")
    assert (len(keys.app_key), len(keys.app_secret)) == (36, 180)
    assert is_invented(keys.app_key)
    assert is_invented(keys.app_secret)
    assert keys != invent_keys("7:real")
    assert not is_invented("PSabcdefgh")


def test_token_is_issued_again_for_six_hours() -> None:
    desk = TokenDesk("x")
    first = desk.issue(0.0, NOW)
    with pytest.raises(IssuedTooOften):
        desk.issue(59.0, NOW)
    assert desk.issue(60.0, NOW) is first
    assert desk.issue(6 * 3600 - 1.0, NOW) is first
    assert desk.issue(6 * 3600 + 60.0, NOW) is not first


def test_refused_issue_does_not_prolong_the_wait() -> None:
    desk = TokenDesk("x")
    desk.issue(0.0, NOW)
    with pytest.raises(IssuedTooOften):
        desk.issue(59.0, NOW)
    desk.issue(60.0, NOW)


def test_approval_key_lives_a_day() -> None:
    desk = TokenDesk("x")
    key = desk.approve(0.0)
    assert desk.approved(key, 86_399.0)
    assert not desk.approved(key, 86_400.0)
    assert not desk.approved("other", 0.0)


@given(st.lists(st.floats(0, 0.4), min_size=30, max_size=80))
def test_no_sliding_second_has_more_calls_than_allowed(gaps: list[float]) -> None:
    limit = CallLimit(5)
    now, taken = 0.0, []
    for gap in gaps:
        now += gap
        if limit.take(now):
            taken.append(now)
    for start in taken:
        assert sum(start <= moment < start + 0.99 for moment in taken) <= 5


def test_limit_below_one_a_second_spreads_calls() -> None:
    limit = CallLimit(0.5)
    assert [limit.take(t) for t in (0.0, 1.0, 2.0)] == [True, False, True]


def test_without_a_limit_every_call_passes() -> None:
    limit = CallLimit(None)
    assert all(limit.take(0.0) for _call in range(1_000))
    assert limit.busiest == 1_000


def test_hash_key_pays_for_one_order_only() -> None:
    limit = CallLimit(1)
    assert limit.take(0.0)
    limit.remember_hash("h", 0.0)
    assert limit.take(0.1, hash_text="h")
    assert not limit.take(0.2, hash_text="h")
