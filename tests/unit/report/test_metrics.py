import json
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, strategies as st

from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import DecisionRow, OrderRow
from kisbt.report.metrics import (
    SessionValues,
    drawdown_curve,
    max_drawdown,
    session_values,
    summarise,
)
from tests.helpers.results import make_run
from tests.helpers.small_run import FIRST, fill, run_of, trade

POSITIVE = st.lists(st.floats(1, 1e9), min_size=1, max_size=60)


def order(ref: int, state: OrderState, why: str) -> OrderRow:
    return OrderRow(
        ref=ref,
        created=FIRST + timedelta(days=ref),
        symbol="990001",
        side=Side.BUY,
        type=OrderType.MARKET,
        quantity=1,
        limit_price=None,
        stop_price=None,
        state=state,
        reason="",
        filled_quantity=0,
        average_price=None,
        reject_reason=why,
    )


def decision(action: str, reason: str, result: str) -> DecisionRow:
    return DecisionRow(
        bar=FIRST,
        symbol="990001",
        action=action,
        reason=reason,
        indicators={},
        result=result,
    )


@given(POSITIVE)
def test_drawdown_lies_between_zero_and_one(values: list[float]) -> None:
    path = np.array(values)
    fall = drawdown_curve(path)
    assert ((fall >= 0) & (fall < 1)).all()
    assert max_drawdown(path).depth == fall.max()


@given(POSITIVE)
def test_drawdown_recovers_to_its_peak_and_not_before(values: list[float]) -> None:
    path = np.array(values)
    found = max_drawdown(path)
    if found.recovered is not None:
        assert path[found.recovered] >= path[found.peak]
        assert (path[found.peak + 1 : found.recovered] < path[found.peak]).all()
    elif found.depth:
        assert (path[found.trough :] < path[found.peak]).all()


@given(st.lists(st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1), min_size=1))
def test_wins_and_losses_add_up(nets: list[float]) -> None:
    metrics = summarise(run_of([100], trades=tuple(map(trade, nets))))["metrics"]
    assert 0 <= metrics["win_rate"] <= 1
    assert metrics["expectancy"] * len(nets) == pytest.approx(sum(nets), abs=1e-3)
    assert metrics["longest_losing_streak"] <= len(nets)


@given(st.lists(st.floats(100, 1e4), min_size=1, max_size=60))
def test_months_chain_to_the_total_return(values: list[float]) -> None:
    time = np.datetime64("2024-01-02T15:30", "s") + np.arange(
        len(values)
    ) * np.timedelta64(11 * 86_400, "s")
    summary = summarise(run_of(values, start=values[0], time=time))
    growth = 1.0
    for row in summary["monthly"]:
        for value in row["months"]:
            growth *= 1 + (value or 0.0)
    assert growth - 1 == pytest.approx(summary["metrics"]["total_return"], abs=1e-9)


def test_session_values_take_the_last_bar_of_each_day() -> None:
    time = np.array(
        ["2024-01-02T09:01", "2024-01-02T15:30", "2024-01-03T09:01"],
        dtype="datetime64[s]",
    )
    found = session_values(time, np.array([1.0, 2.0, 3.0]))
    assert isinstance(found, SessionValues)
    assert found.value.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("equity", "trades", "key", "why"),
    [
        ([], 0, "total_return", "no_bars"),
        ([100.0] * 30, 0, "sharpe", "no_trades"),
        ([100.0, 101.0] * 5, 1, "sharpe", "too_short"),
        ([100.0] * 30, 1, "sharpe", "no_variance"),
        (list(range(101, 140)), 1, "sortino", "no_losses"),
        ([100.0] * 30, 1, "cagr", "under_a_year"),
        ([100.0] * 30, 1, "calmar", "under_a_year"),
        ([100.0] * 30, 1, "turnover_year", "under_a_year"),
        ([50.0, 0.0] + [0.0] * 30, 1, "sharpe", "ruined"),
        ([100.0] * 30, 0, "win_rate", "no_trades"),
        ([100.0] * 30, 1, "beta", "no_benchmark"),
        ([100.0] * 30, 1, "buy_and_hold_return", "no_buy_and_hold"),
        ([90.0] * 30, 1, "costs_of_profit", "no_profit"),
        ([100.0] * 30, 0, "costs_of_traded", "no_trades"),
    ],
)
def test_a_number_that_rests_on_too_little_is_left_out(
    equity: list[float], trades: int, key: str, why: str
) -> None:
    fills = (fill(1, 100.0),) * trades
    summary = summarise(run_of(equity, fills=fills))
    assert summary["metrics"][key] is None
    assert summary["missing"][key] == why


def test_a_yearly_rate_of_a_ruined_account_is_left_out() -> None:
    time = np.array(["2020-01-02T15:30", "2022-01-01T15:30"], dtype="datetime64[s]")
    assert summarise(run_of([50, 0], time=time))["missing"]["cagr"] == "ruined"


def test_profit_factor_without_a_loss_is_left_out() -> None:
    summary = summarise(run_of([100], trades=(trade(5.0),)))
    assert summary["metrics"]["profit_factor"] is None
    assert summary["missing"]["average_loss"] == "no_losing_trades"


def test_a_flat_benchmark_has_no_beta() -> None:
    equity = [100.0 + number % 3 for number in range(30)]
    result = run_of(equity, benchmark=[5.0] * 30, fills=(fill(1, 1.0),))
    assert summarise(result)["missing"]["beta"] == "no_variance"


def test_refusals_that_differ_in_numbers_count_together() -> None:
    orders = (
        order(1, OrderState.REFUSED, "cash: 1,000 won short"),
        order(2, OrderState.REFUSED, "cash: 25 won short"),
        order(3, OrderState.REFUSED, "halted"),
        order(4, OrderState.EXPIRED, "end of session"),
    )
    decisions = (
        decision("buy", "signal", "max_order_pct"),
        decision("buy", "signal", "accepted"),
        decision("skip", "no cash", "skipped"),
    )
    summary = summarise(run_of([100], orders=orders, decisions=decisions))
    assert summary["refused"] == [
        {"reason": "cash: … won short", "count": 2, "example": "cash: 1,000 won short"},
        {"reason": "halted", "count": 1, "example": "halted"},
        {"reason": "max_order_pct", "count": 1, "example": "max_order_pct"},
    ]
    assert summary["skipped"] == [
        {"reason": "no cash", "count": 1, "example": "no cash"}
    ]
    assert summary["order_states"] == {"refused": 3, "expired": 1}


def test_rare_reasons_are_added_up() -> None:
    decisions = tuple(decision("skip", "x" * n, "skipped") for n in range(1, 41))
    rows = summarise(run_of([100], decisions=decisions))["skipped"]
    assert rows[-1] == {"reason": "", "count": 10, "example": ""}
    assert sum(row["count"] for row in rows) == 40


def test_the_summary_is_plain_json() -> None:
    summary = summarise(make_run(symbols=3, bars=400)[0])
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_every_missing_number_has_a_reason() -> None:
    for result in (make_run(symbols=2, bars=100)[0], run_of([]), run_of([100, 90])):
        summary = summarise(result)
        lacking = {key for key, value in summary["metrics"].items() if value is None}
        assert lacking == set(summary["missing"])
