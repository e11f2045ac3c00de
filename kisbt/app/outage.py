"""Whether the stream brings trades, since when it does not, and who was told."""

from collections.abc import Callable
from datetime import datetime

from kisbt.app.liverecord import Record
from kisbt.app.venue import Venue
from kisbt.model.stream import Gap
from kisbt.text import _


class Outage:
    """Follows the stream of trades through its breaks.

    Attributes:
        since: when it broke; None while it is up.
        mended: whether it is up again and that is still to be told.
        ticked_at: when the last trade was heard.
    """

    def __init__(
        self, venue: Venue, record: Record, broken: Callable[[bool], None]
    ) -> None:
        """Begin with a stream that is up.

        Args:
            venue: where.
            record: takes the incidents.
            broken: whom to tell whether bars come.
        """
        self._venue = venue
        self._clock = venue.clock
        self._record = record
        self._broken = broken
        self.since: datetime | None = None
        self.mended = False
        self._sound_at = self.ticked_at = self._clock.now()

    @property
    def is_down(self) -> bool:
        """Whether trades do not come."""
        return self.since is not None

    def sound(self) -> None:
        """Note that the connections stand, unless a break was told."""
        if self.since is None:
            self._sound_at = self._clock.now()

    def ticked(self) -> None:
        """Note that a trade was heard."""
        self.ticked_at = self._clock.now()

    def begin(self) -> None:
        """Note that the stream of trades has broken."""
        if self.since is None:
            self.since = self._sound_at
        self.mended = False
        self._broken(True)

    def end(self, gap: Gap) -> datetime | None:
        """Note that trades come again.

        Returns:
            Since when they may have been missed; None for the first connection of
            the run.
        """
        since = self.since
        if gap.since is None and since is None:
            return None
        now = self._clock.now()
        # A connection may have been dead for some time before that was noticed. The
        # stream's own clock is that of the market only at the broker's.
        broke = missed = since or now
        if self._venue.is_emulator:
            missed = min(broke, self.ticked_at)
        else:
            broke = missed = min(broke, gap.since or now)
        self.since = None
        self._record.disconnected(
            broke, now, _("the stream was down; candles are taken from the chart")
        )
        return missed

    def notices_back(self, gap: Gap) -> None:
        """Note that notices come again over a connection of their own."""
        if gap.since is None or not gap.orders:
            return
        now = self._clock.now()
        self._record.disconnected(
            min(gap.since, now),
            now,
            _("notices of orders did not come; orders were asked for"),
        )

    def mend(self) -> None:
        """Note that nothing is missing any more, unless it is down."""
        self.mended = self.since is None

    def tell_live(self) -> None:
        """Tell that bars are live again, once what was missed has gone out."""
        if self.mended:
            self.mended = False
            self._broken(False)
