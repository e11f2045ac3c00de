"""The `optimize:` block: what a parameter search tries and what it looks for."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from kisbt.config.section import Float, Int, Section
from kisbt.text import _


class RangeConfig(Section):
    """Numbers from `low` to `high`, both included."""

    low: Int | Float
    """Smallest value."""
    high: Int | Float
    """Largest value."""
    step: Annotated[Int | Float, Field(gt=0)] | None = None
    """Distance between values; null: 1 for whole numbers, none for others."""
    log: bool = False
    """Whether random draws are even on a logarithmic scale."""

    @model_validator(mode="after")
    def _check_range(self) -> "RangeConfig":
        if self.low >= self.high:
            raise ValueError(
                _("low {low} is not below high {high}").format(
                    low=self.low, high=self.high
                )
            )
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError(_("log needs a low above zero and no step"))
        return self


class WalkForwardConfig(Section):
    """Windows of `kisbt walkforward`, in sessions."""

    train: Annotated[Int, Field(ge=20)] = 500
    """Sessions searched before each test."""
    test: Annotated[Int, Field(ge=5)] = 125
    """Sessions traded with the best parameters found; windows move by as many."""
    anchored: bool = False
    """Whether every training window begins at the first session."""


class OptimizeConfig(Section):
    """A parameter search: space, sampler, objective."""

    space: Annotated[dict[str, RangeConfig | tuple[Any, ...]], Field(min_length=1)]
    """Parameters of the strategy: `{low: 3, high: 20}` or a list of values."""
    where: tuple[str, ...] = ()
    """Conditions each combination must meet, such as `ma_short < ma_long`."""
    sampler: Literal["grid", "random", "tpe"] = "grid"
    """grid: every combination; random; tpe: Optuna's, which learns on the way."""
    trials: Annotated[Int, Field(ge=1, le=1_000_000)] = 200
    """Combinations tried by random and tpe; the most a grid may have."""
    seed: Annotated[Int, Field(ge=0)] = 1
    """Start of every random choice: the same seed gives the same trials."""
    batch: Annotated[Int, Field(ge=1, le=1000)] = 8
    """Trials tpe proposes at a time; more than the workers there are is of use."""
    objective: str | dict[str, Float] = "sharpe"
    """A number of the summary to maximise, or a weighted sum such as
    `{sharpe: 1, max_drawdown: -2}`."""
    constraints: tuple[str, ...] = ()
    """What the summary must meet, such as `trades >= 30`."""
    storage: str | None = None
    """Database of the trials, as SQLAlchemy writes it; null: study.db in the run
    folder."""
    walkforward: WalkForwardConfig = Field(default_factory=WalkForwardConfig)
    """Windows of `kisbt walkforward`."""

    @field_validator("space", mode="before")
    @classmethod
    def _check_space(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        for name, item in value.items():
            if isinstance(item, list | tuple) and len(item) < 2:
                raise ValueError(
                    _("{name}: a list needs two values or more").format(name=name)
                )
            if not isinstance(item, Mapping | list | tuple | RangeConfig):
                raise ValueError(
                    _(
                        "{name}: expected a range such as {{low: 3, high: 20}} or a "
                        "list of values, found {found!r}"
                    ).format(name=name, found=item)
                )
        return value

    @field_validator("where", "constraints", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if value is None:
            return ()
        return (value,) if isinstance(value, str) else value

    @field_validator("walkforward", mode="before")
    @classmethod
    def _empty_block(cls, value: object) -> object:
        return {} if value is None else value
