"""Whether a run may buy, and for how much: nothing on this machine forbids it."""

from kisbt.app.arming import require_armed
from kisbt.app.gate import adopt
from kisbt.app.history import LivePlan
from kisbt.app.venue import Mode, Venue
from kisbt.config.schema import Config
from kisbt.errors import KisbtError
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal


class Clearance:
    """Looks at the arming in force, each time it is asked."""

    def __init__(self, config: Config, venue: Venue, plan: LivePlan) -> None:
        """Look for the leave to trade the symbols of `plan` as `config` says."""
        self._config = config
        self._venue = venue
        self._plan = plan

    def missing(self) -> str:
        """Return why nothing may be bought; "" if purchases are allowed."""
        if self._venue.mode is not Mode.LIVE:
            return ""
        try:
            self._won_cap()
        except KisbtError as error:
            return str(error)
        return ""

    def order_cap(self) -> int | None:
        """Return the won cap of the arming in force; None where there is none."""
        if self._venue.mode is not Mode.LIVE:
            return None
        try:
            return self._won_cap()
        except KisbtError:
            return 0  # not armed: nothing is bought at all

    def _won_cap(self) -> int | None:
        return require_armed(
            self._venue.state,
            self._config,
            self._venue.access.keys,
            symbols=self._plan.symbols,
            clock=self._venue.clock,
        ).won_cap

    def may_start(self, journal: Journal) -> bool:
        """Return whether nothing on this machine forbids the run."""
        if HaltLatch(self._venue.state).is_raised():
            return False
        return not self.missing() or bool(journal.positions())

    def take_over(self, journal: Journal) -> list[str]:
        """Take over the shares the configuration names, before the broker begins.

        Without leave nothing is taken over: a run that may only reduce would sell it.

        Returns:
            What was taken over, a line each, for people.

        Raises:
            SafetyRefused: the account does not hold them.
            KisError: it could not be asked.
        """
        wanted = self._config.live.adopt
        if not wanted or self._venue.mode is Mode.PAPER:
            return []
        if self.missing() or not self.may_start(journal):
            return []  # the gate says why
        return adopt(journal, wanted, self._venue.client.fetch_balance())
