"""How likely it is that the best trial is the luckiest one.

Sharpe ratios here are per session, not annualised, unless a name says otherwise.
"""

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from kisbt.model.result import Floats

EULER_GAMMA = 0.5772156649015329
MOST_BLOCKS = 16
"""Blocks of sessions of the cross-validation: 12,870 ways to split them in halves."""

SESSIONS_A_BLOCK = 10
"""Fewer sessions than this in a block make its Sharpe ratio meaningless."""

_NORMAL = NormalDist()
_CHUNK = 2_000_000
_NO_SPREAD = 1e-12


def sharpe(returns: Floats) -> float | None:
    """Return mean over sample deviation; None when nothing varies."""
    if len(returns) < 2:
        return None
    spread = float(returns.std(ddof=1))
    return float(returns.mean()) / spread if spread > _NO_SPREAD else None


def moments(returns: Floats) -> tuple[float, float]:
    """Return skewness and kurtosis (3 for a normal distribution)."""
    centred = returns - returns.mean()
    variance = float(np.mean(centred**2))
    if variance <= _NO_SPREAD**2:
        return 0.0, 3.0
    return (
        float(np.mean(centred**3)) / variance**1.5,
        float(np.mean(centred**4)) / variance**2,
    )


def probabilistic_sharpe(
    observed: float, threshold: float, sessions: int, skew: float, kurtosis: float
) -> float:
    """Return the probability that the true Sharpe ratio is above `threshold`.

    Args:
        observed, threshold: Sharpe ratios per session.
        sessions: how many returns `observed` rests on.
        skew, kurtosis: of the returns; 0 and 3 when they are normal.

    Source:
        Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier",
        J. of Risk 15 (2012), eq. 11.
    """
    variance = 1.0 - skew * observed + (kurtosis - 1.0) / 4.0 * observed**2
    z = (observed - threshold) * math.sqrt(sessions - 1) / math.sqrt(variance)
    return _NORMAL.cdf(z)


def expected_best_sharpe(variance: float, trials: float) -> float:
    """Return the best Sharpe ratio that chance alone gives among `trials`.

    Args:
        variance: of the Sharpe ratios of the trials.
        trials: how many independent ones; one or fewer choose nothing.

    Source:
        Bailey and Lopez de Prado, "The Deflated Sharpe Ratio", J. of Portfolio
        Management 40 (2014), eq. 1 and the definition of SR0.
    """
    if trials <= 1.0:
        return 0.0
    quantile = _NORMAL.inv_cdf
    return math.sqrt(variance) * (
        (1.0 - EULER_GAMMA) * quantile(1.0 - 1.0 / trials)
        + EULER_GAMMA * quantile(1.0 - 1.0 / (trials * math.e))
    )


def independent_trials(returns: Floats) -> float:
    """Return how many independent trials a table of correlated ones is worth.

    Args:
        returns: session returns, shape (trials, sessions).

    Source:
        Bailey and Lopez de Prado (2014), appendix A.3: rho + (1 - rho) M, with
        rho the average correlation between trials.
    """
    count = len(returns)
    if count < 2:
        return float(count)
    centred = returns - returns.mean(axis=1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit = centred / np.where(norms > _NO_SPREAD, norms, np.inf)
    # The sum of all correlations is the squared length of the sum of unit vectors.
    total = float((unit.sum(axis=0) ** 2).sum()) - count
    average = min(1.0, max(0.0, total / (count * (count - 1))))
    return average + (1.0 - average) * count


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflated:
    """The best trial's Sharpe ratio against what chance would have found.

    Attributes:
        probability: that its true Sharpe ratio is above zero, after the search.
        observed: its Sharpe ratio per session.
        expected: the best one that chance alone gives, per session.
        trials: how many were tried.
        independent: how many independent ones they are worth.
        sessions, skew, kurtosis: of the best trial's returns.
    """

    probability: float
    observed: float
    expected: float
    trials: int
    independent: float
    sessions: int
    skew: float
    kurtosis: float


def deflated_sharpe(returns: Floats, best: int) -> Deflated | None:
    """Return the deflated Sharpe ratio of a search.

    Args:
        returns: session returns, shape (trials, sessions).
        best: position of the trial chosen.

    Returns:
        None when the best trial's returns do not vary.

    Source:
        Bailey and Lopez de Prado (2014): the probabilistic Sharpe ratio against
        the best one expected by chance.
    """
    chosen = returns[best]
    observed = sharpe(chosen)
    if observed is None:
        return None
    ratios = np.array([r for row in returns if (r := sharpe(row)) is not None])
    variance = float(ratios.var(ddof=1)) if len(ratios) > 1 else 0.0
    independent = independent_trials(returns)
    expected = expected_best_sharpe(variance, independent)
    skew, kurtosis = moments(chosen)
    return Deflated(
        probability=probabilistic_sharpe(
            observed, expected, len(chosen), skew, kurtosis
        ),
        observed=observed,
        expected=expected,
        trials=len(returns),
        independent=independent,
        sessions=len(chosen),
        skew=skew,
        kurtosis=kurtosis,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backtests:
    """Combinatorially symmetric cross-validation of a search.

    Attributes:
        probability: of backtest overfitting: how often the best half-sample trial
            is at or below the median in the other half.
        logits: of its relative rank in the other half, one a split.
        in_sample, out_of_sample: its Sharpe ratios per session in both halves.
        blocks: into how many parts the sessions were cut.
    """

    probability: float
    logits: Floats
    in_sample: Floats
    out_of_sample: Floats
    blocks: int

    @property
    def loss(self) -> float:
        """Share of splits in which the chosen trial loses in the other half."""
        return float(np.mean(self.out_of_sample < 0))


def cross_validate(returns: Floats, blocks: int | None = None) -> Backtests | None:
    """Return the probability of backtest overfitting, by CSCV.

    Args:
        returns: session returns, shape (trials, sessions).
        blocks: even; chosen by the number of sessions if None.

    Returns:
        None with fewer than two trials that vary or too few sessions.

    Source:
        Bailey, Borwein, Lopez de Prado and Zhu, "The Probability of Backtest
        Overfitting", J. of Computational Finance 20 (2017), section 2.2; first
        version 2015, SSRN 2326253.
    """
    returns = returns[returns.std(axis=1) > _NO_SPREAD]
    sessions = returns.shape[1]
    if blocks is None:
        blocks = min(MOST_BLOCKS, sessions // SESSIONS_A_BLOCK // 2 * 2)
    if len(returns) < 2 or blocks < 2:
        return None
    # Equal blocks: the sessions that are left over are the first ones.
    length = sessions // blocks
    parts = returns[:, sessions - blocks * length :].reshape(-1, blocks, length)
    sums, squares = parts.sum(axis=2), (parts**2).sum(axis=2)
    halves = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    chosen = np.zeros((len(halves), blocks))
    np.put_along_axis(chosen, halves, 1.0, axis=1)
    size = length * (blocks // 2)
    step = max(1, _CHUNK // len(returns))
    pieces = [
        _split(chosen[at : at + step], sums, squares, size)
        for at in range(0, len(chosen), step)
    ]
    logits, inside, outside = (
        np.concatenate(piece) for piece in zip(*pieces, strict=True)
    )
    return Backtests(
        probability=float(np.mean(logits <= 0)),
        logits=logits,
        in_sample=inside,
        out_of_sample=outside,
        blocks=blocks,
    )


def _split(
    chosen: Floats, sums: Floats, squares: Floats, size: int
) -> tuple[Floats, Floats, Floats]:
    """Return logit and both Sharpe ratios of the best trial of each half."""
    inside = _ratios(chosen @ sums.T, chosen @ squares.T, size)
    other = 1.0 - chosen
    outside = _ratios(other @ sums.T, other @ squares.T, size)
    best = inside.argmax(axis=1)
    rows = np.arange(len(best))
    found = outside[rows, best]
    # Ranks from 1 (worst); equal ones share the middle of their places.
    below = (outside < found[:, None]).sum(axis=1)
    equal = (outside == found[:, None]).sum(axis=1)
    rank = below + (equal + 1) / 2.0
    share = rank / (outside.shape[1] + 1.0)
    return np.log(share / (1.0 - share)), inside[rows, best], found


def _ratios(total: Floats, squares: Floats, size: int) -> Floats:
    mean = total / size
    variance = (squares - size * mean**2) / (size - 1)
    usable: npt.NDArray[np.bool_] = variance > _NO_SPREAD**2
    return np.where(usable, mean / np.sqrt(np.where(usable, variance, 1.0)), 0.0)
