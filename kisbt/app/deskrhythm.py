"""When the trading loop looks at the order desk: asked to, when due, now and then."""

from collections.abc import Callable
from math import inf

from kisbt.app.sessionplan import DeskWork
from kisbt.app.venue import Venue

# The halt latch and the clock are looked at that often, seconds of the market.
_LOOK_S = 0.5


class DeskRhythm:
    """Has the desk do its work.

    Trades come thousands a second: they alone are no reason to look.
    """

    def __init__(
        self, desk: DeskWork, venue: Venue, worked: Callable[[], None]
    ) -> None:
        """Begin with a first look.

        Args:
            desk: of the orders.
            venue: whose time; in steps every turn looks.
            worked: called when the desk may have something to tell.
        """
        self._desk = desk
        self._clock = venue.clock
        self._step = venue.step
        self._worked = worked
        self._asked = True
        self._due_s = -inf
        self._looked_s = -inf

    def ask(self) -> None:
        """Have it looked at in the next turn; from any thread."""
        self._asked = True

    def due_in_s(self) -> float:
        """Return the seconds until the desk has work again; inf without."""
        return self._due_s - self._clock.monotonic()

    def work(self, *, now_please: bool) -> float:
        """Do the desk's work if it is to be looked at.

        Returns:
            The seconds until it is to be looked at again.
        """
        now_s = self._clock.monotonic()
        asked, self._asked = self._asked, False
        wanted = asked or now_please or self._step
        if not wanted and now_s < min(self._due_s, self._looked_s + _LOOK_S):
            return self._due_s - now_s
        self._looked_s = now_s
        due_s = self._desk.work()
        self._worked()
        now_s = self._clock.monotonic()
        self._due_s = inf if due_s is None else now_s + due_s
        if self._step:
            return self._due_s - now_s
        return min(self._due_s, self._looked_s + _LOOK_S) - now_s
