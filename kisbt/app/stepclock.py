"""Time of a run that moves its emulator itself."""

import math
import threading
from datetime import datetime, timedelta

from kisbt.app.links import EmulatorLink


class StepClock:
    """The clock of a market that moves only when told: a sleep moves it.

    So a wait for the rate budget passes virtual time at once, and nothing can wait
    for ever. Safe to share between threads.
    """

    def __init__(self, link: EmulatorLink) -> None:
        """Take over the emulator's time."""
        self._link = link
        self._lock = threading.RLock()
        self._started = link.started
        self._now = link.now()

    def now(self) -> datetime:
        """Return the virtual time of day, aware, in KST."""
        return self._now

    def monotonic(self) -> float:
        """Return the virtual seconds since the emulator began."""
        return (self._now - self._started).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Move the market by `seconds`, a microsecond at least if above zero."""
        if seconds > 0:
            with self._lock:
                # Rounded up: whoever waits for a moment must not wake before it.
                self.advance_to(
                    self._now + timedelta(microseconds=math.ceil(seconds * 1e6))
                )

    def advance_to(self, moment: datetime) -> None:
        """Move the market to a moment; an earlier one does nothing."""
        with self._lock:
            if moment > self._now:
                self._link.advance_to(moment)
                self._now = moment
