from dataclasses import replace
from typing import Any

import pytest

from kisbt.errors import RiskRefused
from kisbt.model.order import Side
from kisbt.orders.risk import (
    RiskLimits,
    RiskState,
    check_risk,
    daily_loss_pct,
    halts_session,
)

CALM = RiskState(equity=10_000_000, day_start_equity=10_000_000)


def refused(limits: RiskLimits, state: RiskState, quantity: int = 10) -> str | None:
    """Return the rule that refuses a buy of `quantity` at 10,000 won."""
    try:
        check_risk(Side.BUY, quantity, 10_000, limits, state)
    except RiskRefused as error:
        return error.rule
    return None


# (limits, state at the limit, state beyond it, quantity).
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "max_symbol_pct": (
        {"max_symbol_pct": 30},
        {"symbol_value": 2_900_000},
        {"symbol_value": 2_900_001},
    ),
    "max_daily_loss_pct": (
        {"max_daily_loss_pct": 3},
        {"equity": 9_700_001},
        {"equity": 9_699_999},
    ),
    "max_orders_per_day": (
        {"max_orders_per_day": 100},
        {"orders_today": 99},
        {"orders_today": 100},
    ),
    "max_orders_per_minute": (
        {"max_orders_per_minute": 30},
        {"orders_this_minute": 29},
        {"orders_this_minute": 30},
    ),
    "max_open_orders": (
        {"max_open_orders": 20},
        {"open_orders": 19},
        {"open_orders": 20},
    ),
    "max_consecutive_losses": (
        {"max_consecutive_losses": 6},
        {"consecutive_losses": 5},
        {"consecutive_losses": 6},
    ),
    "max_adv_pct": (
        {"max_adv_pct": 1},
        {"average_volume": 1_000.0},
        {"average_volume": 999.0},
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_limit_lets_pass_what_reaches_it_and_refuses_more(rule: str) -> None:
    limits, at, beyond = CASES[rule]
    assert refused(RiskLimits(**limits), replace(CALM, **at)) is None
    assert refused(RiskLimits(**limits), replace(CALM, **beyond)) == rule


@pytest.mark.parametrize(("quantity", "rule"), [(250, None), (251, "max_order_pct")])
def test_order_is_limited_by_its_value(quantity: int, rule: str | None) -> None:
    assert refused(RiskLimits(max_order_pct=25), CALM, quantity) == rule


@pytest.mark.parametrize("rule", CASES)
def test_sale_always_passes(rule: str) -> None:
    limits, _at, beyond = CASES[rule]
    state = replace(CALM, halted=True, **beyond)
    check_risk(Side.SELL, 1_000_000, 10_000, RiskLimits(**limits), state)


def test_no_limits_refuse_nothing() -> None:
    state = RiskState(
        equity=1, day_start_equity=10_000_000, orders_today=10**6, open_orders=10**6
    )
    assert refused(RiskLimits(), state, 10**6) is None


def test_unknown_volume_does_not_refuse() -> None:
    assert (
        refused(RiskLimits(max_adv_pct=1), replace(CALM, average_volume=None)) is None
    )


def test_no_equity_left_refuses_any_size() -> None:
    assert refused(RiskLimits(max_order_pct=25), replace(CALM, equity=0)) == (
        "max_order_pct"
    )


@pytest.mark.parametrize(
    ("equity", "loss"), [(9_400_000, 6.0), (10_000_000, 0.0), (11_000_000, 0.0)]
)
def test_loss_is_counted_from_the_start_of_the_session(
    equity: float, loss: float
) -> None:
    assert daily_loss_pct(replace(CALM, equity=equity)) == pytest.approx(loss)


def test_account_that_began_empty_has_no_loss() -> None:
    assert daily_loss_pct(RiskState(equity=0, day_start_equity=0)) == 0


@pytest.mark.parametrize(("equity", "halts"), [(9_400_001, False), (9_399_999, True)])
def test_twice_the_loss_halts_the_session(equity: float, halts: bool) -> None:
    limits = RiskLimits(max_daily_loss_pct=3)
    assert halts_session(limits, replace(CALM, equity=equity)) is halts


def test_no_loss_limit_never_halts() -> None:
    assert not halts_session(RiskLimits(), replace(CALM, equity=1))


def test_halt_outlasts_the_loss_that_caused_it() -> None:
    limits = RiskLimits(max_daily_loss_pct=3)
    with pytest.raises(RiskRefused, match="halted") as caught:
        check_risk(Side.BUY, 1, 10_000, limits, replace(CALM, halted=True))
    assert (caught.value.rule, caught.value.limit) == ("max_daily_loss_pct", 6)


def test_refusal_names_rule_value_and_limit() -> None:
    with pytest.raises(RiskRefused, match=r"max_order_pct.*26.*25") as caught:
        check_risk(Side.BUY, 260, 10_000, RiskLimits(max_order_pct=25), CALM)
    assert caught.value.value == pytest.approx(26)
