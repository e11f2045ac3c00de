"""Names of things on the pages and in the terminal, in the language in force."""

from kisbt.optimize.verdict import Verdict
from kisbt.text import _


def verdict_label(verdict: Verdict) -> str:
    """Return a verdict in two or three words."""
    return {
        Verdict.OVERFIT: _("overfit"),
        Verdict.WEAK: _("doubtful"),
        Verdict.SOUND: _("no sign of overfitting"),
    }[verdict]
