"""What a search tries: parameters with their ranges, and conditions among them."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kisbt.errors import ConfigError
from kisbt.model.result import Floats
from kisbt.optimize.expression import Condition
from kisbt.text import _

Params = Mapping[str, Any]

# Random draws in a row that bring nothing new before the space counts as used up.
_PATIENCE = 2_000
# Combinations looked at when a grid is counted or listed.
_MOST_LISTED = 5_000_000


@dataclass(frozen=True, slots=True)
class Steps:
    """Evenly spaced numbers: low, low + step ... up to `high`.

    Attributes:
        whole: whether they are whole numbers.
    """

    low: float
    high: float
    step: float
    whole: bool

    @property
    def values(self) -> tuple[Any, ...]:
        """All of them, increasing."""
        # 1e-9: 0.3 / 0.1 is 2.9999999999999996.
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return tuple(self.at(k) for k in range(count))

    def at(self, k: int) -> int | float:
        """Return number `k`, counted from 0, without the dust of float sums."""
        if self.whole:
            return int(self.low) + k * int(self.step)
        return float(f"{self.low + k * self.step:.12g}")

    def draw(self, rng: np.random.Generator) -> Any:
        """Return one of them, all equally likely."""
        return self.at(int(rng.integers(len(self.values))))

    def unit(self, value: Any) -> float:
        """Return where `value` lies between low (0) and high (1)."""
        return (float(value) - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Span:
    """Any number from `low` to `high`; even on a log scale if `log`."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """Return a number with six significant digits."""
        low, high = (math.log(x) if self.log else x for x in (self.low, self.high))
        value = rng.uniform(low, high)
        found = float(f"{math.exp(value) if self.log else value:.6g}")
        return min(max(found, self.low), self.high)

    def unit(self, value: Any) -> float:
        """Return where `value` lies between low (0) and high (1)."""
        low, high, at = (
            math.log(x) if self.log else float(x)
            for x in (self.low, self.high, float(value))
        )
        return (at - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Choice:
    """Values from a list, of any kind."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """Return one of them, all equally likely."""
        return self.values[int(rng.integers(len(self.values)))]

    @property
    def ordered(self) -> bool:
        """Whether they are increasing numbers, so that near means alike."""
        numbers = all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in self.values
        )
        return numbers and list(self.values) == sorted(self.values)

    def unit(self, value: Any) -> float:
        """Return its place in the list, first 0 and last 1."""
        return self.values.index(value) / (len(self.values) - 1)


Parameter = Steps | Span | Choice


def make_range(
    low: float, high: float, step: float | None = None, *, log: bool = False
) -> Parameter:
    """Return the numbers from `low` to `high`, both included.

    Whole bounds give whole numbers, one apart unless `step` says otherwise.
    """
    whole = all(isinstance(x, int) for x in (low, high, 1 if step is None else step))
    if step is None and (log or not whole):
        return Span(float(low), float(high), log)
    return Steps(low, high, 1 if step is None else step, whole)


def key_of(params: Params) -> str:
    """Return the same text for the same parameters."""
    return json.dumps(params, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Parameters, and the conditions every combination meets.

    Attributes:
        parameters: by name, in the order of the file.
        conditions: read parameters and `fixed`.
        fixed: the strategy's other parameters.
    """

    parameters: Mapping[str, Parameter]
    conditions: Sequence[Condition] = ()
    fixed: Params = field(default_factory=dict)

    def allows(self, params: Params) -> bool:
        """Return whether all conditions hold."""
        values = {**self.fixed, **params}
        return all(condition.holds(values) for condition in self.conditions)

    def grid(self, most: int) -> list[Params]:
        """Return every combination, the last parameter fastest.

        Raises:
            ConfigError: a range has no step, there are more than `most`, or none
                meets the conditions.
        """
        axes = []
        for name, parameter in self.parameters.items():
            if isinstance(parameter, Span):
                raise ConfigError(
                    _(
                        "optimize.space.{name}: a grid needs a step, such as "
                        "{{low: {low:g}, high: {high:g}, step: {step:g}}}; or take "
                        "sampler random or tpe"
                    ).format(
                        name=name,
                        low=parameter.low,
                        high=parameter.high,
                        step=float(f"{(parameter.high - parameter.low) / 10:.3g}"),
                    ),
                    path=f"optimize.space.{name}",
                )
            axes.append(parameter.values)
        listed = math.prod(len(axis) for axis in axes)
        found: list[Params] = []
        if listed <= _MOST_LISTED:
            for values in itertools.product(*axes):
                params = dict(zip(self.parameters, values, strict=True))
                if self.allows(params):
                    found.append(params)
        if listed > _MOST_LISTED or len(found) > most:
            raise ConfigError(
                _(
                    "the grid has {count:,} combinations, more than optimize.trials "
                    "{most:,}: raise optimize.trials, widen the steps, or take "
                    "sampler random or tpe"
                ).format(count=len(found) or listed, most=most),
                path="optimize.trials",
            )
        if not found:
            raise self._nothing()
        return found

    def draws(self, seed: int) -> Iterator[Params]:
        """Yield different combinations at random; ends when none is left.

        Raises:
            ConfigError: no combination meets the conditions.
        """
        rng = np.random.default_rng(seed)
        seen: set[str] = set()
        failures = 0
        while failures < _PATIENCE:
            params = {name: p.draw(rng) for name, p in self.parameters.items()}
            key = key_of(params)
            if key in seen or not self.allows(params):
                failures += 1
                continue
            failures = 0
            seen.add(key)
            yield params
        if not seen:
            raise self._nothing()

    def coordinates(self, params: Sequence[Params]) -> Floats:
        """Return combinations as points, each axis from 0 to 1, shape (n, axes)."""
        return np.array(
            [
                [p.unit(row[name]) for name, p in self.parameters.items()]
                for row in params
            ]
        ).reshape(len(params), len(self.parameters))

    def _nothing(self) -> ConfigError:
        return ConfigError(
            _("no combination meets optimize.where: {conditions}").format(
                conditions="; ".join(condition.text for condition in self.conditions)
            ),
            path="optimize.where",
        )
