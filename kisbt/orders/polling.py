"""When to ask the broker what: a schedule without a socket.

One complete query of the day's orders answers many questions at once, so that every
reason to ask only moves the same query forward.

Source:
    Rates: KIS notices of 2026-02-25 and 2026-04-20, 18 calls a second on the real
    server and 1 on mock, of which orders must keep the larger part.
"""

from dataclasses import dataclass, field
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRates:
    """Seconds between queries.

    Attributes:
        working_s: while own orders work.
        idle_s: while none do; orders of others are seen then.
        balance_s: of the balance.
        confirm_s: after a notice, at the earliest; notices come in bursts.
        resolve_s: after an unclear answer, one after the other; the last repeats.
        failed_s: after a query that failed, growing to `failed_most_s`.
    """

    working_s: float = 2.0
    idle_s: float = 20.0
    balance_s: float = 30.0
    confirm_s: float = 0.0
    resolve_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
    failed_s: float = 1.0
    failed_most_s: float = 30.0


REAL_RATES = PollRates()
MOCK_RATES = PollRates(
    working_s=5.0,
    idle_s=60.0,
    balance_s=60.0,
    confirm_s=1.0,
    resolve_s=(1.0, 2.0, 4.0, 8.0, 15.0, 30.0),
    failed_s=2.0,
)


@dataclass(slots=True)
class Poll:
    """One repeated query and when it is due.

    Attributes:
        asked_s: when the last complete answer was asked for; -inf before.
        due_s: when it is to be asked at the latest, whatever else is known.
        failures: in a row.
        failing_since_s: first of these; None while it works.
    """

    rates: PollRates
    asked_s: float = -inf
    due_s: float = -inf
    failures: int = 0
    failing_since_s: float | None = None
    _not_before_s: float = field(default=-inf)

    def want(self, at_s: float) -> None:
        """Ask no later than `at_s`."""
        self.due_s = min(self.due_s, at_s)

    def ready_s(self) -> float:
        """Return when it may be asked: as wanted, but not while failures rest."""
        return max(self.due_s, self._not_before_s)

    def answered(self, asked_s: float, interval_s: float) -> None:
        """Note a complete answer to a question of `asked_s`."""
        self.asked_s = asked_s
        self.due_s = asked_s + interval_s
        self.failures = 0
        self.failing_since_s = None
        self._not_before_s = -inf

    def failed(self, now_s: float) -> None:
        """Note a question without a usable answer; the next one waits longer."""
        if self.failing_since_s is None:
            self.failing_since_s = now_s
        wait_s = min(
            self.rates.failed_s * 2.0 ** min(self.failures, 10),
            self.rates.failed_most_s,
        )
        self.failures += 1
        self._not_before_s = now_s + wait_s
        self.due_s = now_s

    def failing_s(self, now_s: float) -> float:
        """Return for how long no answer has come; 0 while it works."""
        return 0.0 if self.failing_since_s is None else now_s - self.failing_since_s


def resolve_due_s(rates: PollRates, sent_s: float, polls: int) -> float:
    """Return when to look again for an order whose fate is open.

    Args:
        rates: in force.
        sent_s: monotonic time of its sending.
        polls: complete answers since then.
    """
    steps = rates.resolve_s
    waited = sum(steps[:polls]) + steps[min(polls, len(steps) - 1)]
    if polls > len(steps):
        waited += steps[-1] * (polls - len(steps))
    return sent_s + waited
