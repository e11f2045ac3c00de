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
        # Virtual seconds, the wall's at which they were told, speed, where it stops.
        # None while it changes: most readers need no lock, and see no time twice.
        self._course: tuple[float, float, float, float] | None
        self._course = 0.0, wall(), speed, math.inf
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
        until_s = math.inf
        if until is not None:
            until_s = (until - self._start).total_seconds()
        with self._changed:
            before = course = self._course
            assert before is not None, "changed with the lock only"
            self._course = None
            try:
                wall_s = self._wall()
                course = max(_elapsed_s(before, wall_s), told), wall_s, speed, until_s
            finally:
                self._course = course
            self._changed.notify_all()

    def now(self) -> datetime:
        """Return the virtual time of day, aware, in KST."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the virtual seconds since the start."""
        course = self._course
        if course is not None:
            now_s = _elapsed_s(course, self._wall())
            if course is self._course:  # nor has it changed meanwhile
                return now_s
        with self._changed:
            assert self._course is not None, "changed with the lock only"
            return _elapsed_s(self._course, self._wall())

    def sleep(self, seconds: float) -> None:
        """Wait until virtual time has moved by `seconds`."""
        if seconds <= 0:
            return
        me = threading.get_ident()
        with self._changed:
            until = self.monotonic() + seconds
            self._sleeping[me] = until
            self._changed.notify_all()
            try:
                while (left := until - self.monotonic()) > 0:
                    # Standing still: only a new time ends the wait.
                    speed = self._course[2] if self._course else 0.0
                    self._changed.wait(left / speed if speed else None)
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
            return max(0.0, min(self._sleeping.values()) - self.monotonic())


def _elapsed_s(course: tuple[float, float, float, float], wall_s: float) -> float:
    at_s, told_s, speed, until_s = course
    moved_s = at_s + (wall_s - told_s) * speed
    # Not min and max: an order asks some thirty times on its way.
    if moved_s > until_s:
        moved_s = until_s
    return max(at_s, moved_s)
