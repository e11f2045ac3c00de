"""Time as an argument: the only module that reads the wall clock.

Korea has had no daylight saving time since 1988, so KST is a fixed offset for
every date kisbt knows.
"""

import math
import threading
import time
from collections.abc import Callable
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


class EmulatorClock:
    """The clock of an emulated market, as its clients see it.

    It runs at the market's speed from the last time it was told, and stands still
    at speed 0: then time moves only when it is told again. Safe to share between
    threads.
    """

    def __init__(
        self,
        start: datetime,
        *,
        speed: float = 0.0,
        wall: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at `start` (aware) with monotonic time 0.

        Args:
            start: virtual time.
            speed: virtual seconds per second; 0 stands still.
            wall: seconds that never go backwards.
        """
        self._start = start.astimezone(KST)
        self._wall = wall
        self._changed = threading.Condition()
        self._at_s = 0.0
        self._told = wall()
        self._speed = speed
        self._until_s = math.inf
        self._sleeping: dict[int, float] = {}

    def tell(
        self, now: datetime, *, speed: float, until: datetime | None = None
    ) -> None:
        """Take over the market's time; it never goes backwards.

        Args:
            now: virtual time of this moment, aware.
            speed: from now on.
            until: where the market will stop; None if it goes on.
        """
        told = (now - self._start).total_seconds()
        with self._changed:
            self._at_s = max(self._elapsed(), told)
            self._told = self._wall()
            self._speed = speed
            self._until_s = math.inf
            if until is not None:
                self._until_s = (until - self._start).total_seconds()
            self._changed.notify_all()

    def _elapsed(self) -> float:
        moved = self._at_s + (self._wall() - self._told) * self._speed
        return max(self._at_s, min(moved, self._until_s))

    def now(self) -> datetime:
        """Return the virtual time of day, aware, in KST."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the virtual seconds since the start."""
        with self._changed:
            return self._elapsed()

    def sleep(self, seconds: float) -> None:
        """Wait until virtual time has moved by `seconds`."""
        if seconds <= 0:
            return
        me = threading.get_ident()
        with self._changed:
            until = self._elapsed() + seconds
            self._sleeping[me] = until
            self._changed.notify_all()
            try:
                while (left := until - self._elapsed()) > 0:
                    # Standing still: only a new time ends the wait.
                    self._changed.wait(left / self._speed if self._speed else None)
            finally:
                del self._sleeping[me]

    @property
    def wanted_s(self) -> float | None:
        """Virtual seconds until the first sleeper wakes; None if nobody sleeps.

        Whoever moves a standing clock looks here before deciding how far.
        """
        with self._changed:
            if not self._sleeping:
                return None
            return max(0.0, min(self._sleeping.values()) - self._elapsed())
