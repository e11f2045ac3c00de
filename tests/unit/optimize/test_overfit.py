import itertools
import math

import numpy as np
import pytest

from kisbt.optimize.overfit import (
    cross_validate,
    deflated_sharpe,
    expected_best_sharpe,
    independent_trials,
    moments,
    probabilistic_sharpe,
    sharpe,
)


def annual(value: float) -> float:
    return value / math.sqrt(250)


# The worked example of Bailey and Lopez de Prado (2014), "A Numerical Example":
# 1,250 daily returns, yearly Sharpe ratio 2.5, variance of the trials' yearly
# Sharpe ratios 1/2, skewness -3, kurtosis 10.
def test_expected_best_sharpe_is_the_papers() -> None:
    assert expected_best_sharpe(0.5 / 250, 100) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(
    ("trials", "skew", "kurtosis", "expected"),
    [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)],
)
def test_deflated_sharpe_is_the_papers(
    trials: int, skew: float, kurtosis: float, expected: float
) -> None:
    threshold = expected_best_sharpe(0.5 / 250, trials)
    found = probabilistic_sharpe(annual(2.5), threshold, 1250, skew, kurtosis)
    assert found == pytest.approx(expected, abs=5e-5)


def test_expected_best_sharpe_is_what_a_simulation_finds() -> None:
    drawn = np.random.default_rng(1).normal(0, 0.3, (20_000, 200)).max(axis=1)
    assert expected_best_sharpe(0.09, 200) == pytest.approx(drawn.mean(), rel=0.01)
    assert expected_best_sharpe(0.09, 1) == 0.0


def test_probabilistic_sharpe_is_its_own_frequency() -> None:
    """Among strategies with a true ratio of zero, one in twenty is above 95 %."""
    returns = np.random.default_rng(2).normal(0, 1, (4000, 500))
    found = []
    for row in returns:
        ratio = sharpe(row)
        assert ratio is not None
        found.append(probabilistic_sharpe(ratio, 0.0, 500, *moments(row)))
    assert np.mean(np.array(found) > 0.95) == pytest.approx(0.05, abs=0.012)


def test_moments_of_a_known_distribution() -> None:
    values = np.random.default_rng(3).exponential(size=2_000_000)
    assert moments(values) == pytest.approx((2.0, 9.0), rel=0.03)
    assert moments(np.ones(5)) == (0.0, 3.0)


def test_sharpe_of_a_constant_is_none() -> None:
    assert sharpe(np.full(10, 0.1)) is None
    assert sharpe(np.array([0.1])) is None
    assert sharpe(np.array([0.0, 0.2])) == pytest.approx(0.1 / np.std([0, 0.2], ddof=1))


@pytest.mark.parametrize(
    ("correlation", "expected"), [(0.0, 50), (0.5, 25.5), (0.9, 5.9)]
)
def test_independent_trials_follow_the_average_correlation(
    correlation: float, expected: float
) -> None:
    rng = np.random.default_rng(4)
    common = rng.normal(size=20_000)
    own = rng.normal(size=(50, 20_000))
    returns = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own
    assert independent_trials(returns) == pytest.approx(expected, rel=0.05)


def test_independent_trials_of_copies_are_one() -> None:
    row = np.random.default_rng(5).normal(size=300)
    assert independent_trials(np.tile(row, (7, 1))) == pytest.approx(1.0)
    assert independent_trials(row[None]) == 1.0


def test_deflated_sharpe_of_a_table() -> None:
    rng = np.random.default_rng(6)
    noise = rng.normal(0, 0.01, (40, 1000))
    edge = noise.copy()
    edge[7] += 0.0015
    best = int(np.argmax(noise.mean(axis=1) / noise.std(axis=1)))
    lucky, real = deflated_sharpe(noise, best), deflated_sharpe(edge, 7)
    assert lucky is not None
    assert real is not None
    assert lucky.probability < 0.95 < real.probability
    assert lucky.expected == pytest.approx(lucky.observed, rel=0.5)
    assert deflated_sharpe(np.zeros((3, 100)), 0) is None


def brute_force(returns: np.ndarray, blocks: int) -> tuple[list[float], list[float]]:
    """CSCV as the paper writes it, step by step, on the joined returns themselves."""
    parts = np.split(returns, blocks, axis=1)
    logits, outside = [], []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        rest = [k for k in range(blocks) if k not in chosen]
        train = np.concatenate([parts[k] for k in chosen], axis=1)
        test = np.concatenate([parts[k] for k in rest], axis=1)
        inside = train.mean(axis=1) / train.std(axis=1, ddof=1)
        other = test.mean(axis=1) / test.std(axis=1, ddof=1)
        best = int(np.argmax(inside))
        rank = int(np.sum(other <= other[best]))
        share = rank / (len(returns) + 1)
        logits.append(math.log(share / (1 - share)))
        outside.append(float(other[best]))
    return logits, outside


@pytest.mark.parametrize("blocks", [2, 4, 8])
def test_cross_validation_equals_the_papers_steps(blocks: int) -> None:
    returns = np.random.default_rng(7).normal(0.0002, 0.01, (23, 160))
    found = cross_validate(returns, blocks)
    assert found is not None
    logits, outside = brute_force(returns, blocks)
    assert found.logits == pytest.approx(logits)
    assert found.out_of_sample == pytest.approx(outside)
    assert found.probability == np.mean(np.array(logits) <= 0)
    assert found.loss == np.mean(np.array(outside) < 0)


def test_cross_validation_of_noise_is_a_coin_and_of_an_edge_is_not() -> None:
    rng = np.random.default_rng(8)
    noise = [
        found.probability
        for _turn in range(20)
        if (found := cross_validate(rng.normal(0, 0.01, (30, 800)), 10)) is not None
    ]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.12)
    edge = rng.normal(0, 0.01, (30, 800))
    edge[3] += 0.002
    found = cross_validate(edge, 10)
    assert found is not None
    assert found.probability < 0.02


def test_cross_validation_takes_sixteen_blocks_where_there_is_room() -> None:
    rng = np.random.default_rng(9)
    full = cross_validate(rng.normal(size=(5, 1003)))
    assert full is not None
    assert (full.blocks, len(full.logits)) == (16, 12_870)
    short = cross_validate(rng.normal(size=(5, 59)))
    assert short is not None
    assert short.blocks == 4


def test_cross_validation_needs_two_trials_that_vary_and_some_sessions() -> None:
    rng = np.random.default_rng(10)
    flat = np.zeros((5, 400))
    assert cross_validate(flat) is None
    flat[0] = rng.normal(size=400)
    assert cross_validate(flat) is None
    assert cross_validate(rng.normal(size=(5, 19))) is None


# Of the same returns: Sharpe ratios and probabilities by skfolio 1.12.2, probability of
# overfitting (8 blocks) by sharpebench 0.28.0.
OTHERS = [
    # trials, sessions, edge, PSR above 0.02, best by chance, deflated, overfit
    (
        10,
        400,
        0.0,
        0.8219472868152469,
        0.06338671226955905,
        0.5227891577361765,
        46 / 70,
    ),
    (
        30,
        504,
        0.03,
        0.9082218109493383,
        0.06901437486741323,
        0.5857636586583875,
        52 / 70,
    ),
    (
        6,
        1000,
        0.08,
        0.9941369439157575,
        0.06557151762048875,
        0.8520136678751506,
        15 / 70,
    ),
]


@pytest.mark.parametrize("seed", range(len(OTHERS)))
def test_other_peoples_programs_find_the_same(seed: int) -> None:
    trials, sessions, edge, above, chance, deflated, overfit = OTHERS[seed]
    returns = np.random.default_rng(seed).standard_t(5, (trials, sessions)) * 0.01
    returns[0] += edge * 0.01
    ratios = np.array([sharpe(row) for row in returns])
    best = returns[int(ratios.argmax())]
    observed, (skew, kurtosis) = float(ratios.max()), moments(best)
    expected = expected_best_sharpe(float(ratios.var(ddof=1)), trials)
    found = cross_validate(returns, 8)

    assert found is not None
    assert probabilistic_sharpe(
        observed, 0.02, sessions, skew, kurtosis
    ) == pytest.approx(above, rel=1e-12)
    assert expected == pytest.approx(chance, rel=1e-12)
    assert probabilistic_sharpe(
        observed, expected, sessions, skew, kurtosis
    ) == pytest.approx(deflated, rel=1e-12)
    assert found.probability == pytest.approx(overfit, rel=1e-12)
