"""The same numbers from pandas, and the year recounted from the calendar."""

from datetime import date, timedelta

import holidays
import numpy as np
import pandas as pd
import pytest

from kisbt.report.metrics import SESSIONS_A_YEAR, starting_value, summarise
from tests.helpers.results import make_run


@pytest.mark.parametrize("seed", range(5))
def test_numbers_agree_with_pandas(seed: int) -> None:
    result = make_run(symbols=4, bars=700, seed=seed)[0]
    metrics = summarise(result)["metrics"]
    curve = pd.Series(result.equity.equity, index=pd.DatetimeIndex(result.equity.time))
    before = curve.index[0] - pd.Timedelta(days=1)
    full = pd.concat([pd.Series([starting_value(result)], index=[before]), curve])
    returns = full.pct_change().dropna()
    assert metrics["volatility"] == pytest.approx(returns.std() * 246**0.5)
    assert metrics["sharpe"] == pytest.approx(returns.mean() / returns.std() * 246**0.5)
    downside = (returns.clip(upper=0) ** 2).mean() ** 0.5
    assert metrics["sortino"] == pytest.approx(returns.mean() / downside * 246**0.5)
    assert metrics["max_drawdown"] == pytest.approx((1 - full / full.cummax()).max())
    assert result.benchmark is not None
    index = pd.Series(result.benchmark.value, index=curve.index).pct_change().dropna()
    own = curve.pct_change().dropna()
    slope, intercept = np.polyfit(index, own, 1)
    assert metrics["beta"] == pytest.approx(slope)
    assert metrics["alpha"] == pytest.approx(intercept * 246)
    net = pd.DataFrame([{"net": t.net_pnl} for t in result.trades])["net"]
    assert metrics["profit_factor"] == pytest.approx(
        net[net > 0].sum() / -net[net < 0].sum()
    )


def test_months_agree_with_pandas() -> None:
    result = make_run(symbols=3, bars=900, seed=3)[0]
    curve = pd.Series(result.equity.equity, index=pd.DatetimeIndex(result.equity.time))
    ends = curve.resample("ME").last()
    expected = ends / ends.shift(fill_value=starting_value(result)) - 1
    found = [
        value
        for row in summarise(result)["monthly"]
        for value in row["months"]
        if value is not None
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_year_has_the_sessions_the_exchange_had() -> None:
    closed = holidays.financial_holidays("XKRX", years=range(2010, 2026))
    day, last = date(2010, 1, 1), date(2025, 12, 31)
    sessions = 0
    while day <= last:
        sessions += day.weekday() < 5 and day not in closed
        day += timedelta(days=1)
    assert round(sessions / 16) == SESSIONS_A_YEAR
