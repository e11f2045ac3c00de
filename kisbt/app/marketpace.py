"""How far the emulator of a run may let its market go before the run has caught up."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import inf

from kisbt.app.venue import Venue

# An emulator of this run waits so long into a minute for what came before it.
_SLACK_S = 10.0
# Let on for what waits for time, it goes so much further than that.
_BEYOND_S = 0.5


class MarketPace:
    """Holds the market of an emulator that runs on its own; no other one."""

    def __init__(self, venue: Venue, grace_s: float) -> None:
        """Hold nothing yet.

        Args:
            venue: where.
            grace_s: how long the last trades of a candle are waited for.
        """
        self._venue = venue
        self._slack_s = _SLACK_S + grace_s
        self._mark: datetime | None = None
        self._held_until: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Return whether the run must have caught up with the market by now."""
        if self._venue.step or not self._venue.is_emulator:
            return False
        return self._mark is None or now >= self._mark

    def go_on(self, mark: datetime) -> None:
        """Let the market go on: everything up to `mark` is dealt with until then."""
        self._mark = mark
        self._hold_at(mark + timedelta(seconds=self._slack_s))

    def let_pass(self, now: datetime, waits_s: Iterable[float]) -> None:
        """Let time pass for what itself waits for time.

        Args:
            now: time of the market.
            waits_s: how long an answer, or an auction's end, still takes.
        """
        if self._held_until is None or now < self._held_until:
            return
        coming_s = [wait_s for wait_s in waits_s if 0 < wait_s < inf]
        if coming_s:
            self._hold_at(now + timedelta(seconds=min(coming_s) + _BEYOND_S))

    def _hold_at(self, moment: datetime) -> None:
        self._held_until = moment
        self._venue.hold(moment)
