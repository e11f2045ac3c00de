"""How a check of `kisbt doctor` ended."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        found: what was found, for people.
        remedy: what to do; "" unless it failed.
    """

    name: str
    outcome: Outcome
    found: str
    remedy: str = ""
