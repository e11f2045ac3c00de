"""What holds in every backtest of the shipped strategies, whatever the candles."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings, strategies as st

from tests.helpers.audit import audit, naive
from tests.helpers.universe import (
    STRATEGIES,
    Records,
    make_universe,
    run_universe,
    with_other_future,
)

KINDS: dict[str, dict[str, bool]] = {
    "daily": {},
    "adjusted": {"adjusted": True},
    "minutes": {"minutes": True},
}
# A smaller seed is no simpler universe: there is nothing to shrink.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
seeds = st.integers(0, 2**32 - 1)
brokers = st.fixed_dictionaries(
    {
        "commission": st.sampled_from(["bankis", 0.00015, 0.004]),
        "slippage_ticks": st.integers(0, 3),
        "volume_share": st.sampled_from([None, 0.1, 0.001]),
        "market_orders": st.sampled_from(["market", "protected"]),
    }
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=8, phases=PHASES)
@given(seed=seeds, broker=brokers)
def test_account_adds_up_and_every_fill_keeps_the_rules(
    strategy: str, kind: str, seed: int, broker: dict[str, Any]
) -> None:
    universe = make_universe(seed, **KINDS[kind])
    with TemporaryDirectory() as folder:
        universe.write(Path(folder))
        ran = run_universe(Path(folder), universe, strategy, **broker)
    audit(ran, universe, **broker)


def past(ran: Records, at: np.datetime64) -> tuple[Any, ...]:
    """Return everything decided, filled and counted up to `at`."""
    known = ran.equity.time <= at
    return (
        [fill for fill in ran.fills if naive(fill.bar) <= at],
        [made for made in ran.decisions if naive(made.bar) <= at],
        ran.equity.time[known].tolist(),
        ran.equity.cash[known].tolist(),
        ran.equity.positions_value[known].tolist(),
        ran.free_cash[: len(ran.free_cash) - int((~known).sum())],
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=6, phases=PHASES)
@given(seed=seeds, where=st.floats(0.3, 0.95), broker=brokers)
def test_nothing_in_the_past_changes_when_the_future_does(
    strategy: str, kind: str, seed: int, where: float, broker: dict[str, Any]
) -> None:
    universe = make_universe(seed, **KINDS[kind])
    ends = universe.candles["000001"].end
    at = ends[int(where * len(ends))]
    other = with_other_future(universe, at, seed)
    seen = []
    for version in (universe, other):
        with TemporaryDirectory() as folder:
            version.write(Path(folder))
            seen.append(
                past(run_universe(Path(folder), version, strategy, **broker), at)
            )
    assert seen[0] == seen[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=4, phases=PHASES)
@given(seed=seeds, arrival=st.permutations(range(5)))
def test_order_in_which_feeds_arrive_within_a_bar_changes_nothing(
    strategy: str, kind: str, seed: int, arrival: list[int]
) -> None:
    """The strategy sees the universe in its order, the broker in any."""
    universe = make_universe(seed, **KINDS[kind])
    with TemporaryDirectory() as folder:
        universe.write(Path(folder))
        straight = run_universe(Path(folder), universe, strategy)
        permuted = run_universe(Path(folder), universe, strategy, arrival=arrival)
    assert straight.comparable == permuted.comparable


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=4, phases=PHASES)
@given(seed=seeds, minutes=st.booleans())
def test_symbols_outside_the_universe_change_nothing(
    strategy: str, seed: int, minutes: bool
) -> None:
    universe = make_universe(seed, minutes=minutes)
    alone = replace(universe, candles=dict(list(universe.candles.items())[:3]))
    with TemporaryDirectory() as folder:
        alone.write(Path(folder))
        before = run_universe(Path(folder), alone, strategy)
        universe.write(Path(folder))
        after = run_universe(Path(folder), alone, strategy)
    assert before.comparable == after.comparable


MODES: tuple[dict[str, Any], ...] = (
    {"runonce": False},
    {"runonce": False, "preload": False},
    {"live": True},
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=4, phases=PHASES)
@given(seed=seeds, mode=st.sampled_from(MODES))
def test_every_mode_of_cerebro_leaves_the_same_records(
    strategy: str, kind: str, seed: int, mode: dict[str, Any]
) -> None:
    universe = make_universe(seed, **KINDS[kind])
    with TemporaryDirectory() as folder:
        universe.write(Path(folder))
        usual = run_universe(Path(folder), universe, strategy)
        other = run_universe(Path(folder), universe, strategy, mode=mode)
    assert usual.comparable == other.comparable
