"""What a search looks for: a number of the summary, or a weighted sum of several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kisbt.errors import ConfigError
from kisbt.optimize.expression import Condition, parse_condition
from kisbt.text import _

Metrics = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A weighted sum to maximise, among the trials that meet the constraints."""

    weights: Mapping[str, float]
    constraints: Sequence[Condition] = ()

    def value(self, metrics: Metrics | None) -> float | None:
        """Return the sum, None when a number of it is missing."""
        if metrics is None:
            return None
        total = 0.0
        for name, weight in self.weights.items():
            number = metrics.get(name)
            if number is None:
                return None
            total += weight * number
        return total

    def feasible(self, metrics: Metrics | None) -> bool:
        """Return whether every constraint holds; a missing number breaks one."""
        return metrics is not None and all(c.holds(metrics) for c in self.constraints)

    @property
    def text(self) -> str:
        """The sum as people write it."""
        if list(self.weights.values()) == [1.0]:
            return next(iter(self.weights))
        parts = [f"{weight:+g} × {name}" for name, weight in self.weights.items()]
        return " ".join(parts).removeprefix("+")


def make_objective(
    weights: str | Mapping[str, float], constraints: Iterable[str], known: set[str]
) -> Objective:
    """Return the objective of a configuration.

    Args:
        weights: a number of the summary, or weights by number.
        constraints: conditions on numbers of the summary.
        known: every number of the summary.

    Raises:
        ConfigError: a name is none of them.
    """
    wanted = {weights: 1.0} if isinstance(weights, str) else dict(weights)
    for name in wanted:
        if name not in known:
            raise ConfigError(
                _(
                    "optimize.objective: {name} is no number of the summary; known: "
                    "{known}"
                ).format(name=name, known=", ".join(sorted(known))),
                path="optimize.objective",
            )
    return Objective(
        weights=wanted,
        constraints=tuple(
            parse_condition(text, known, "optimize.constraints") for text in constraints
        ),
    )
