"""Is the strategy loop still turning? Pure: the watchdog brings beats and time."""

from enum import StrEnum

from kisbt.orders.halt import Beat, Pulse

STALE_S = 30.0
"""Seconds of silence during a session after which a run counts as hung."""

# Between two looks of the watchdog: longer, and the machine itself was asleep.
_ASLEEP_S = 5.0


class Finding(StrEnum):
    """What the watchdog concludes from the last look."""

    WELL = "well"
    STALE = "stale"
    """A session is on and the loop does not turn."""
    ENDED = "ended"
    """The run ended in order, or another one has taken its place."""


class Vigil:
    """Watches the heartbeat of one run."""

    def __init__(self, pid: int, *, stale_s: float = STALE_S) -> None:
        """Watch the run of process `pid`; silence counts from the first look."""
        self._pid = pid
        self._stale_s = stale_s
        self._last: Beat | None = None
        self._heard_s: float | None = None
        self._looked_s: float | None = None

    def look(self, beat: Beat | None, now_s: float) -> Finding:
        """Return what a look at the heartbeat file tells.

        Args:
            beat: as read now; None where there is none.
            now_s: monotonic seconds of the machine.
        """
        slept = self._looked_s is not None and now_s - self._looked_s > _ASLEEP_S
        self._looked_s = now_s
        if beat != self._last or self._heard_s is None or slept:
            # After a sleep of the machine the run has had no chance to beat.
            self._last, self._heard_s = beat, now_s
        if beat is None:
            return Finding.WELL  # it has not begun
        if beat.pid != self._pid or beat.pulse is Pulse.ENDED:
            return Finding.ENDED
        if beat.pulse is Pulse.OPEN and now_s - self._heard_s >= self._stale_s:
            return Finding.STALE
        return Finding.WELL

    @property
    def silence_s(self) -> float:
        """Seconds since the last new beat, as of the last look."""
        if self._heard_s is None or self._looked_s is None:
            return 0.0
        return self._looked_s - self._heard_s
