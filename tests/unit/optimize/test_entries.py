from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from kisbt.candles.columns import CandleColumns
from kisbt.clock import KST
from kisbt.model.result import TradeRow
from kisbt.optimize.entries import random_entries
from tests.helpers.search_market import candles_of
from tests.helpers.small_run import fill, trade

BARS = 600
FLAT = 0.0001  # what `candles_of` takes off every return


def market(returns: np.ndarray) -> dict[str, CandleColumns]:
    return {"990001": candles_of(returns, 1)}


def trades_at(
    candles: CandleColumns, starts: list[int], held: int = 5, cost: float = 0.0
) -> list[TradeRow]:
    """Return trades bought and sold at the opens of these bars."""
    rows = []
    for start in starts:
        bought, sold = candles.open[start], candles.open[start + held]
        entry = candles.end[start].astype(object).replace(tzinfo=KST)
        gain = sold - bought - cost * bought
        rows.append(
            replace(
                trade(gain, bars=held, return_pct=gain / bought * 100),
                entry_time=entry,
                exit_time=entry + timedelta(days=held),
                entry_price=float(bought),
                exit_price=float(sold),
                commission=float(cost * bought),
            )
        )
    return rows


def test_random_trades_are_as_good_as_random_trades() -> None:
    rng = np.random.default_rng(1)
    found = []
    for turn in range(40):
        candles = market(rng.normal(0, 0.01, BARS))
        rows = trades_at(candles["990001"], rng.integers(0, 590, 30).tolist())
        result = random_entries(
            rows, [], candles, first=candles["990001"].end[0], seed=turn, draws=400
        )
        assert result is not None
        found.append(result.p_value)
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)
    assert np.mean(np.array(found) < 0.1) < 0.25


def test_trades_that_know_the_future_beat_every_random_set() -> None:
    returns = np.random.default_rng(2).normal(0, 0.01, BARS)
    candles = market(returns)
    opens = candles["990001"].open
    best = np.argsort(opens[5:] / opens[:-5])[-20:].tolist()
    found = random_entries(
        trades_at(candles["990001"], best),
        [],
        candles,
        first=candles["990001"].end[0],
        seed=1,
        draws=999,
    )
    assert found is not None
    assert (found.trades, found.p_value) == (20, 0.001)
    assert found.own > 0.02 > found.random


def test_a_rising_market_lifts_random_entries_too() -> None:
    candles = market(np.full(BARS, 0.002))
    rows = trades_at(candles["990001"], list(range(0, 500, 25)))
    found = random_entries(rows, [], candles, first=candles["990001"].end[0], seed=1)
    assert found is not None
    assert found.random == pytest.approx(found.own, rel=1e-6)


def test_random_trades_pay_the_same_costs() -> None:
    candles = market(np.full(BARS, FLAT))
    rows = trades_at(candles["990001"], [10, 20], cost=0.003)
    free = random_entries(rows, [], candles, first=candles["990001"].end[0], seed=1)
    assert free is not None
    assert free.random == pytest.approx(-0.003, abs=1e-9)
    slipped = random_entries(
        rows,
        [fill(1, 100.0, slippage=0.5)],
        candles,
        first=candles["990001"].end[0],
        seed=1,
    )
    assert slipped is not None
    assert slipped.random == pytest.approx(-0.013, abs=1e-9)


def test_bars_of_the_warm_up_are_never_entered() -> None:
    returns = np.r_[np.full(300, 0.01), np.full(300, FLAT)]
    candles = market(returns)
    rows = trades_at(candles["990001"], [400])
    found = random_entries(rows, [], candles, first=candles["990001"].end[305], seed=1)
    assert found is not None
    assert found.random == pytest.approx(0.0, abs=1e-4)


def test_without_trades_there_is_nothing_to_compare() -> None:
    candles = market(np.zeros(50))
    assert (
        random_entries([], [], candles, first=candles["990001"].end[0], seed=1) is None
    )
