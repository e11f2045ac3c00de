"""What repeated trouble leads to, step by step; pure.

Source:
    Project study of order faults, table of repeated errors: each step blocks, none
    is only a message (the warnings before the Knight Capital loss were mails).
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum


class Step(StrEnum):
    """What the desk does."""

    PAUSE_SYMBOL = "pause_symbol"
    STOP_SYMBOL = "stop_symbol"
    """No purchase in it for the rest of the day."""
    ENTRIES_OFF = "entries_off"
    """No purchase for the rest of the day."""
    ALERT = "alert"
    HALT = "halt"


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderLimits:
    """When each step is taken.

    Attributes:
        refusals_pause, refusals_stop: refusals of one symbol with one code within
            `refusals_within_s`, and the day's.
        refusals_all: of the day: purchases stop.
        pause_s: how long a symbol pauses.
        unknown_halt: orders of a day whose answer was lost: halt.
        query_entries_s, query_alert_s, query_halt_s: no answer to queries for so
            long while a session is on.
        drops_entries: stream losses within `drops_within_s` that stop purchases
            until it has been quiet for as long.
    """

    refusals_pause: int = 3
    refusals_stop: int = 5
    refusals_all: int = 10
    refusals_within_s: float = 300.0
    pause_s: float = 300.0
    unknown_halt: int = 3
    query_entries_s: float = 10.0
    query_alert_s: float = 60.0
    query_halt_s: float = 300.0
    drops_entries: int = 5
    drops_within_s: float = 600.0


@dataclass(slots=True)
class Ladders:
    """Counts of one day."""

    limits: LadderLimits
    refusals: dict[tuple[str, str], deque[float]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    refused_in_all: int = 0
    unknown: int = 0
    drops: deque[float] = field(default_factory=deque)
    _query_step: Step | None = None

    def begin_day(self) -> None:
        """Forget the day before."""
        self.refusals.clear()
        self.refused.clear()
        self.refused_in_all = 0
        self.unknown = 0

    def refusal(self, symbol: str, code: str, now_s: float) -> Step | None:
        """Count a refusal of the broker."""
        limits = self.limits
        times = self.refusals.setdefault((symbol, code), deque())
        times.append(now_s)
        while times and now_s - times[0] > limits.refusals_within_s:
            times.popleft()
        self.refused[symbol] += 1
        self.refused_in_all += 1
        if self.refused_in_all >= limits.refusals_all:
            return Step.ENTRIES_OFF
        if self.refused[symbol] >= limits.refusals_stop:
            return Step.STOP_SYMBOL
        if len(times) >= limits.refusals_pause:
            return Step.PAUSE_SYMBOL
        return None

    def lost_answer(self) -> Step | None:
        """Count an order whose answer was lost."""
        self.unknown += 1
        return Step.HALT if self.unknown >= self.limits.unknown_halt else None

    def queries_fail(self, for_s: float) -> Step | None:
        """Return the step reached when no query has worked for some seconds.

        Each step is returned once, until a query has worked again.
        """
        limits = self.limits
        step = None
        if for_s >= limits.query_halt_s:
            step = Step.HALT
        elif for_s >= limits.query_alert_s:
            step = Step.ALERT
        new = step if step is not self._query_step else None
        self._query_step = step
        return new

    def drop(self, now_s: float) -> None:
        """Count a loss of the stream."""
        self.drops.append(now_s)

    def drops_too_many(self, now_s: float) -> bool:
        """Return whether the stream is lost so often that purchases stop."""
        while self.drops and now_s - self.drops[0] > self.limits.drops_within_s:
            self.drops.popleft()
        return len(self.drops) > self.limits.drops_entries
