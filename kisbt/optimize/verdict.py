"""What the overfit checks say, and one paragraph of plain words about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from kisbt.optimize.entries import RandomEntries
from kisbt.optimize.landscape import Neighbourhood
from kisbt.optimize.overfit import Backtests, Deflated
from kisbt.optimize.windows import Efficiency
from kisbt.report.metrics import SESSIONS_A_YEAR
from kisbt.text import _

ENOUGH = 0.95
"""Probability of more than luck below which a result counts as luck.

Source:
    Bailey and Lopez de Prado (2014) judge the deflated Sharpe ratio at 95 %.
"""

COIN = 0.5
"""Probability of backtest overfitting from which choosing is worse than a coin."""

PLATEAU = 0.7
"""Rank of the neighbours' median below which the best trial is a lone peak."""

EFFICIENT = 0.5
"""Walk-forward efficiency below which too little of the training result is left.

Source:
    Pardo (2008), chapter 11.
"""

SIGNIFICANT = 0.05
"""Share of random entries that may do as well."""


class Verdict(Enum):
    """What to make of a search."""

    OVERFIT = "overfit"
    WEAK = "weak"
    SOUND = "sound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The checks of a search; what could not be computed is None.

    Attributes:
        deflated: Sharpe ratio of the best trial after the search.
        backtests: cross-validation of choosing by Sharpe ratio.
        neighbours: the trials next to the best.
        entries: the best trial's trades on random days.
        total_return, hold_return: of the best trial and of buy-and-hold.
    """

    deflated: Deflated | None
    backtests: Backtests | None
    neighbours: Neighbourhood | None
    entries: RandomEntries | None
    total_return: float | None
    hold_return: float | None

    @property
    def verdict(self) -> Verdict:
        """Overfit when luck explains it; weak when another check speaks against it."""
        deflated, backtests = self.deflated, self.backtests
        if deflated is None or deflated.probability < ENOUGH:
            return Verdict.OVERFIT
        if backtests is not None and backtests.probability >= COIN:
            return Verdict.OVERFIT
        doubts = (
            backtests is None,
            self.neighbours is None or self.neighbours.rank < PLATEAU,
            self.entries is None or self.entries.p_value > SIGNIFICANT,
            _below(self.total_return, self.hold_return),
        )
        return Verdict.WEAK if any(doubts) else Verdict.SOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardAssessment:
    """The checks of a walk-forward analysis.

    Attributes:
        probability: that the Sharpe ratio of the stitched tests is above zero; no
            test chose anything, so it need not be deflated.
        sharpe: of the stitched tests, yearly.
        efficiency: what of the training result was left.
        overfitting: probability of backtest overfitting of each training window.
        deflated: probability of the deflated Sharpe ratio of each training window.
        ranks: rank of the best trial's neighbours in each training window.
        entries: the trades of all tests on random days.
        total_return, hold_return: of the stitched tests and of buy-and-hold.
    """

    probability: float | None
    sharpe: float | None
    efficiency: Efficiency
    overfitting: Sequence[float]
    deflated: Sequence[float]
    ranks: Sequence[float]
    entries: RandomEntries | None
    total_return: float
    hold_return: float | None

    @property
    def mean_overfitting(self) -> float | None:
        """Average probability of backtest overfitting of the windows."""
        return float(np.mean(self.overfitting)) if len(self.overfitting) else None

    @property
    def verdict(self) -> Verdict:
        """Overfit when the tests could be luck; weak when another check is against it."""
        if self.probability is None or self.probability < ENOUGH:
            return Verdict.OVERFIT
        ratio = self.efficiency.ratio
        doubts = (
            ratio is None or ratio < EFFICIENT,
            self.mean_overfitting is None or self.mean_overfitting >= COIN,
            not len(self.ranks) or float(np.median(self.ranks)) < PLATEAU,
            self.entries is None or self.entries.p_value > SIGNIFICANT,
            _below(self.total_return, self.hold_return),
        )
        return Verdict.WEAK if any(doubts) else Verdict.SOUND


def _below(own: float | None, other: float | None) -> bool:
    return own is not None and other is not None and own < other


def yearly_sharpe(per_session: float) -> float:
    """Return a Sharpe ratio per session as one per year."""
    return per_session * math.sqrt(SESSIONS_A_YEAR)


def opening(verdict: Verdict) -> str:
    """Return the verdict as the first sentence."""
    if verdict is Verdict.OVERFIT:
        return _(
            "Treat this result as overfit: it cannot be told apart from the luckiest "
            "of many tries."
        )
    if verdict is Verdict.WEAK:
        return _(
            "Be careful: luck alone does not explain this result, but not every "
            "check supports it."
        )
    return _("No sign of overfitting was found: every check supports this result.")


def explain(found: Assessment) -> str:
    """Return one paragraph that says what the checks mean for this result."""
    parts = [opening(found.verdict)]
    if found.deflated is None:
        parts.append(_("The best trial's value never changed, so nothing can be said."))
    else:
        parts.append(_deflated_words(found.deflated))
    if found.backtests is None:
        parts.append(
            _(
                "There are too few sessions or trials to test the choice on other halves."
            )
        )
    else:
        parts.append(
            _(
                "When the history is cut into halves in {splits:,} ways, the best of "
                "one half falls into the lower half of the trials in the other in "
                "{probability:.0%} of them (choosing blindly gives 50%)."
            ).format(
                splits=len(found.backtests.logits),
                probability=found.backtests.probability,
            )
        )
    if found.neighbours is None:
        parts.append(_("No similar combination was tried, so it may be a lone peak."))
    else:
        parts.append(
            _(
                "The {count} combinations next to it do as well as {rank:.0%} of all "
                "trials: {meaning}."
            ).format(
                count=found.neighbours.count,
                rank=found.neighbours.rank,
                meaning=_("a plateau")
                if found.neighbours.rank >= PLATEAU
                else _("a lone peak, small changes undo it"),
            )
        )
    parts += _common_words(found.entries, found.total_return, found.hold_return)
    return " ".join(parts)


def _deflated_words(found: Deflated) -> str:
    return _(
        "{trials:,} combinations were tried, worth about {independent:.0f} independent "
        "ones; chance alone would make the best of them show a yearly Sharpe ratio of "
        "about {expected:.2f}. This one has {observed:.2f}; the probability that it is "
        "more than luck is {probability:.0%} (the usual bar is 95%)."
    ).format(
        trials=found.trials,
        independent=found.independent,
        expected=yearly_sharpe(found.expected),
        observed=yearly_sharpe(found.observed),
        probability=found.probability,
    )


def _common_words(
    entries: RandomEntries | None, own: float | None, hold: float | None
) -> list[str]:
    parts = []
    if entries is not None:
        parts.append(
            _(
                "Of random entries with the same symbols, holding times and costs, "
                "{share:.1%} did at least as well (a trade brought {own:+.2%} against "
                "{random:+.2%})."
            ).format(share=entries.p_value, own=entries.own, random=entries.random)
        )
    if own is not None and hold is not None:
        words = (
            _("Buying and holding brought {hold:+.1%}, less than its {own:+.1%}.")
            if own >= hold
            else _("Buying and holding brought {hold:+.1%}, more than its {own:+.1%}.")
        )
        parts.append(words.format(hold=hold, own=own))
    return parts


def explain_forward(found: ForwardAssessment) -> str:
    """Return one paragraph that says what a walk-forward analysis means."""
    parts = [
        _(
            "Treat this result as overfit: on sessions that no search had seen, it "
            "cannot be told apart from luck."
        )
        if found.verdict is Verdict.OVERFIT
        else opening(found.verdict)
    ]
    if found.sharpe is None or found.probability is None:
        parts.append(_("The tests never traded, so nothing can be said."))
    else:
        parts.append(
            _(
                "The yearly Sharpe ratio of the tests strung together was "
                "{sharpe:.2f}; it is above zero with a probability of "
                "{probability:.0%} (the usual bar is 95%)."
            ).format(sharpe=found.sharpe, probability=found.probability)
        )
    kept = found.efficiency
    if kept.ratio is None:
        parts.append(_("The training windows lost money, so nothing could be kept."))
    else:
        parts.append(
            _(
                "Of the yearly return in training, {inside:+.1%}, the tests kept "
                "{ratio:.0%} (half is a common floor); {profitable:.0%} of them did "
                "not lose."
            ).format(
                inside=kept.in_sample, ratio=kept.ratio, profitable=kept.profitable
            )
        )
    if found.mean_overfitting is not None:
        parts.append(
            _(
                "Inside the training windows the choice was worse than the middle of "
                "the trials in {probability:.0%} of the splits (choosing blindly gives 50%)."
            ).format(probability=found.mean_overfitting)
        )
    if len(found.ranks):
        parts.append(
            _(
                "The combinations next to the best ones did as well as {rank:.0%} of "
                "all trials."
            ).format(rank=float(np.median(found.ranks)))
        )
    parts += _common_words(found.entries, found.total_return, found.hold_return)
    return " ".join(parts)
