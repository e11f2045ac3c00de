"""Numbers that were computed with pencil and paper."""

import math

import numpy as np
import pytest

from kisbt.model.order import Side
from kisbt.report.metrics import summarise
from tests.helpers.small_run import fill, run_of, trade


def test_total_return_counts_the_first_bar() -> None:
    # 100 -> 110 on the first bar, 121 on the second: 21 % in all.
    metrics = summarise(run_of([110, 121]))["metrics"]
    assert metrics["total_return"] == pytest.approx(0.21)
    assert metrics["net_profit"] == pytest.approx(21)


def test_drawdown_of_a_short_path() -> None:
    # Peak 120, trough 90: 25 %; back above 120 on the sixth bar.
    summary = summarise(run_of([110, 120, 100, 90, 119, 121]))
    assert summary["drawdown"] == {
        "depth": pytest.approx(0.25),
        "peak": "2024-01-03",
        "trough": "2024-01-05",
        "recovered": "2024-01-07",
        "sessions": 4,
    }


def test_drawdown_from_the_starting_cash() -> None:
    # The first bar loses 10 % of the cash: the peak is the cash itself.
    summary = summarise(run_of([90, 95]))
    assert summary["metrics"]["max_drawdown"] == pytest.approx(0.1)
    assert summary["drawdown"]["recovered"] is None


def test_sharpe_and_sortino_of_alternating_returns() -> None:
    # 20 returns, +2 % and -1 % in turn: mean 0.005; squared deviations are all
    # 0.015^2, so the sample deviation is 0.015 * sqrt(20/19). The losses' mean
    # square over all 20 is 0.01^2 / 2.
    path, value = [], 100.0
    for number in range(20):
        value *= 1.02 if number % 2 == 0 else 0.99
        path.append(value)
    metrics = summarise(run_of(path, fills=(fill(1, 100.0),)))["metrics"]
    year = math.sqrt(246)
    deviation = 0.015 * math.sqrt(20 / 19)
    assert metrics["volatility"] == pytest.approx(deviation * year)
    assert metrics["sharpe"] == pytest.approx(0.005 / deviation * year)
    assert metrics["sortino"] == pytest.approx(0.005 / (0.01 / math.sqrt(2)) * year)


def test_cagr_of_two_years() -> None:
    # 2 x 365.25 = 730.5 calendar days; 100 -> 144 is 20 % a year over two years.
    time = np.array(["2020-01-02T15:30", "2022-01-01T15:30"], dtype="datetime64[s]")
    metrics = summarise(run_of([100, 144], time=time))["metrics"]
    assert metrics["cagr"] == pytest.approx(1.44 ** (365.25 / 731) - 1)
    assert metrics["cagr"] == pytest.approx(0.2, abs=2e-4)


def test_trade_numbers() -> None:
    # Wins 30 and 10, losses 5, 5, 10 with a streak of three.
    trades = tuple(
        trade(net, bars=bars)
        for net, bars in ((30, 4), (-5, 1), (-5, 2), (-10, 3), (10, 5))
    )
    metrics = summarise(run_of([100], trades=trades))["metrics"]
    assert metrics["trades"] == 5
    assert metrics["win_rate"] == pytest.approx(0.4)
    assert metrics["profit_factor"] == pytest.approx(40 / 20)
    assert metrics["average_win"] == pytest.approx(20)
    assert metrics["average_loss"] == pytest.approx(-20 / 3)
    assert metrics["expectancy"] == pytest.approx(4)
    assert metrics["average_bars_held"] == pytest.approx(3)
    assert metrics["longest_losing_streak"] == 3
    assert (metrics["best_trade"], metrics["worst_trade"]) == (30, -10)


def test_costs_and_turnover() -> None:
    # Bought 1,000 and sold 1,200: 2,200 traded; costs 10 + 4 + 6 = 20.
    fills = (
        fill(10, 100.0, commission=5.0, slippage=2.0),
        fill(10, 120.0, side=Side.SELL, commission=5.0, tax=4.0, slippage=4.0),
    )
    metrics = summarise(run_of([1_000, 1_180], start=1_000, fills=fills))["metrics"]
    assert (metrics["commission"], metrics["tax"], metrics["slippage"]) == (10, 4, 6)
    assert metrics["costs_of_traded"] == pytest.approx(20 / 2_200)
    assert metrics["profit_before_costs"] == pytest.approx(200)
    assert metrics["costs_of_profit"] == pytest.approx(0.1)
    assert metrics["turnover"] == pytest.approx(1_100 / 1_090)


def test_exposure() -> None:
    # Half invested on two of four bars.
    metrics = summarise(run_of([100, 100, 100, 100], held=[0, 50, 50, 0]))["metrics"]
    assert metrics["exposure"] == pytest.approx(0.25)
    assert metrics["bars_invested"] == pytest.approx(0.5)


def test_twice_the_benchmark_has_beta_two_and_no_alpha() -> None:
    moves = [0.01, -0.02, 0.015, 0.0, -0.005] * 6
    index, own = [100.0], [100.0]
    for move in moves:
        index.append(index[-1] * (1 + move))
        own.append(own[-1] * (1 + 2 * move))
    result = run_of(own, benchmark=index, fills=(fill(1, 1.0),))
    metrics = summarise(result)["metrics"]
    assert metrics["beta"] == pytest.approx(2.0)
    assert metrics["alpha"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["benchmark_return"] == pytest.approx(index[-1] / 100 - 1)
    assert metrics["tracking_error"] == pytest.approx(
        np.std(moves, ddof=1) * math.sqrt(246)
    )


def test_months_and_years() -> None:
    time = np.array(
        [
            "2023-12-27T15:30",
            "2023-12-28T15:30",
            "2024-01-02T15:30",
            "2024-03-04T15:30",
        ],
        dtype="datetime64[s]",
    )
    summary = summarise(run_of([90, 110, 121, 60.5], time=time))
    assert [row["year"] for row in summary["monthly"]] == [2023, 2024]
    assert summary["monthly"][0]["months"][11] == pytest.approx(0.1)
    assert summary["monthly"][1]["months"][0] == pytest.approx(0.1)
    assert summary["monthly"][1]["months"][1] is None
    assert summary["monthly"][1]["months"][2] == pytest.approx(-0.5)
    assert [row["return"] for row in summary["yearly"]] == [
        pytest.approx(0.1),
        pytest.approx(60.5 / 110 - 1),
    ]


def test_minute_bars_count_by_session() -> None:
    # Two sessions of two bars: the path by session is 100 -> 95 -> 110.
    time = np.array(
        [
            "2024-01-02T09:01",
            "2024-01-02T15:30",
            "2024-01-03T09:01",
            "2024-01-03T15:30",
        ],
        dtype="datetime64[s]",
    )
    summary = summarise(run_of([80, 95, 100, 110], time=time))
    assert summary["sessions"] == 2
    # The fall inside the first session is still the deepest.
    assert summary["metrics"]["max_drawdown"] == pytest.approx(0.2)
