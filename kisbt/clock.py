"""Time as an argument: the only module that reads the wall clock.

Korea has had no daylight saving time since 1988, so KST is a fixed offset for
every date kisbt knows.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Protocol

KST = timezone(timedelta(hours=9), "KST")


class Clock(Protocol):
    """Where code that needs time gets it from."""

    def now(self) -> datetime:
        """Return the time of day, aware, in KST."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; zero or less returns at once."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the time of day, aware, in KST."""
        return datetime.now(KST)

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; zero or less returns at once."""
        if seconds > 0:
            time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told, for tests and rehearsals."""

    def __init__(self, start: datetime) -> None:
        """Start at `start` (aware) with monotonic time 0."""
        self._now = start.astimezone(KST)
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        """Return the time of day, aware, in KST."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds advanced since the start."""
        return self._elapsed_s

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds` without waiting."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward; zero or less does nothing."""
        if seconds > 0:
            self._elapsed_s += seconds
            self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of monotonic time after which waiting is over."""

    clock: Clock
    at_s: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        """Return the deadline `seconds` from now."""
        return cls(clock, clock.monotonic() + seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at_s - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the moment has come."""
        return self.remaining_s <= 0.0
