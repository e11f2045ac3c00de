"""The life of an order as one table: what may follow what, and when it is over.

An order that has ended is not deaf: the broker's word may still contradict the end
until its day is closed. Such a move is allowed, and told apart as `Move.REOPENED`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Where an order is."""

    HELD = "held"
    """Written down; its phase has not come."""
    INTENT = "intent"
    """Written down; to be sent now. Certainly not sent yet."""
    SENDING = "sending"
    """Written before the first byte leaves: from here on it may be at the broker."""
    UNKNOWN = "unknown"
    """Sent, and no trustworthy answer came. Never sent again; looked for."""
    CLAIMED = "claimed"
    """The broker says it was too fast or the token is bad, so nothing happened; one
    clean query must agree before it is believed."""
    ACKED = "acked"
    """The broker has given it a number."""
    WORKING = "working"
    """At the exchange, seen there by a query or a notice."""
    PARTIAL = "partial"
    CANCELLING = "cancelling"
    AMENDING = "amending"
    QUARANTINE = "quarantine"
    """More than one order of the broker could be this one: a person must decide."""
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUSED = "refused"
    """The broker answered no."""
    REJECTED = "rejected"
    """The exchange refused it after the broker had taken it."""
    NOT_SENT = "not_sent"
    DENIED = "denied"
    """Refused by a check on this machine."""
    ABSENT = "absent"
    """Sent, and not to be found at the broker."""


TERMINAL = frozenset(
    {
        Status.FILLED,
        Status.CANCELLED,
        Status.EXPIRED,
        Status.REFUSED,
        Status.REJECTED,
        Status.NOT_SENT,
        Status.DENIED,
        Status.ABSENT,
    }
)
UNSENT = frozenset({Status.HELD, Status.INTENT})
"""Certainly never left this machine (so far)."""
UNRESOLVED = frozenset(
    {Status.SENDING, Status.UNKNOWN, Status.CLAIMED, Status.QUARANTINE}
)
"""May or may not be at the broker: counted at their worst, one a symbol."""
AT_BROKER = frozenset(
    {
        Status.ACKED,
        Status.WORKING,
        Status.PARTIAL,
        Status.CANCELLING,
        Status.AMENDING,
    }
)
"""Has a number of the broker and may still fill."""
OPEN = UNSENT | UNRESOLVED | AT_BROKER

_ENDS_AT_EXCHANGE = frozenset(
    {Status.FILLED, Status.CANCELLED, Status.EXPIRED, Status.REJECTED}
)
_WORKS = frozenset({Status.WORKING, Status.PARTIAL, Status.CANCELLING, Status.AMENDING})
_UNSENT_ENDS = frozenset(
    {Status.CANCELLED, Status.EXPIRED, Status.DENIED, Status.NOT_SENT}
)

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.HELD: frozenset({Status.INTENT}) | _UNSENT_ENDS,
    # Back to HELD: the phase it was released for is over before it could be sent.
    Status.INTENT: frozenset({Status.SENDING, Status.HELD}) | _UNSENT_ENDS,
    # Back to INTENT: it certainly did not leave, and is tried once more.
    Status.SENDING: frozenset(
        {
            Status.INTENT,
            Status.ACKED,
            Status.REFUSED,
            Status.CLAIMED,
            Status.UNKNOWN,
            Status.NOT_SENT,
        }
    ),
    Status.CLAIMED: frozenset(
        {
            Status.INTENT,
            Status.ACKED,
            Status.UNKNOWN,
            Status.QUARANTINE,
            Status.NOT_SENT,
        }
    ),
    Status.UNKNOWN: frozenset({Status.ACKED, Status.ABSENT, Status.QUARANTINE}),
    Status.QUARANTINE: frozenset({Status.ACKED, Status.ABSENT}),
    Status.ACKED: _WORKS | _ENDS_AT_EXCHANGE,
    Status.WORKING: _WORKS - {Status.WORKING} | _ENDS_AT_EXCHANGE,
    Status.PARTIAL: _WORKS - {Status.WORKING, Status.PARTIAL} | _ENDS_AT_EXCHANGE,
    Status.CANCELLING: _WORKS - {Status.CANCELLING} | _ENDS_AT_EXCHANGE,
    Status.AMENDING: _WORKS - {Status.AMENDING} | _ENDS_AT_EXCHANGE,
} | {status: frozenset() for status in TERMINAL}

# What the broker's word may make of an order that had ended. FILLED is full: more
# cannot come. DENIED, and what ended before it was sent, never had a number.
REOPENINGS: dict[Status, frozenset[Status]] = {
    Status.REFUSED: frozenset({Status.ACKED}),
    Status.ABSENT: frozenset({Status.ACKED}),
    Status.NOT_SENT: frozenset({Status.ACKED}),
    Status.CANCELLED: frozenset({Status.PARTIAL, Status.FILLED, Status.WORKING}),
    Status.EXPIRED: frozenset({Status.PARTIAL, Status.FILLED, Status.WORKING}),
    Status.REJECTED: frozenset({Status.PARTIAL, Status.FILLED, Status.WORKING}),
}


class Move(StrEnum):
    """What a change of status means."""

    NONE = "none"
    """The same status."""
    STEP = "step"
    REOPENED = "reopened"
    """Evidence contradicts the end: lock the symbol and tell a person."""


def check_move(old: Status, new: Status) -> Move:
    """Return what going from `old` to `new` means.

    Raises:
        ValueError: the table does not have it: a mistake in kisbt.
    """
    if old is new:
        return Move.NONE
    if new in TRANSITIONS[old]:
        return Move.STEP
    if new in REOPENINGS.get(old, ()):
        return Move.REOPENED
    raise ValueError(f"an order cannot go from {old} to {new}")


OUTCOMES: dict[Status, str] = {
    Status.CANCELLED: "cancelled",
    Status.EXPIRED: "expired",
    Status.REFUSED: "refused",
    Status.REJECTED: "refused",
    Status.DENIED: "refused",
    Status.NOT_SENT: "not_sent",
    Status.ABSENT: "not_sent",
}
"""How an end is told to the strategy; FILLED is told by its last fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities:
    """Where the shares of an order are, amendments included.

    Attributes:
        ordered: shares of the root order.
        filled, cancelled, rejected, expired: shares so far, each confirmed by the
            broker; over the root and its amendments.
    """

    ordered: int
    filled: int = 0
    cancelled: int = 0
    rejected: int = 0
    expired: int = 0

    @property
    def accounted(self) -> int:
        """Shares whose fate is known."""
        return self.filled + self.cancelled + self.rejected + self.expired

    @property
    def open(self) -> int:
        """Shares that may still fill; never negative."""
        return max(0, self.ordered - self.accounted)

    @property
    def conserved(self) -> bool:
        """Whether every share is accounted for, once: only then an order ends."""
        return self.accounted == self.ordered

    @property
    def overdrawn(self) -> bool:
        """Whether more came back than was sent: something is not ours, or wrong."""
        return self.accounted > self.ordered


def status_of(quantities: Quantities, *, fallback: Status) -> Status:
    """Return the status the shares themselves prove.

    Args:
        quantities: confirmed by a complete query.
        fallback: for an order that still works, CANCELLING or AMENDING are kept;
            every other one becomes WORKING or PARTIAL.
    """
    if quantities.filled >= quantities.ordered:
        return Status.FILLED
    if quantities.conserved or quantities.overdrawn:
        if quantities.expired:
            return Status.EXPIRED
        return Status.CANCELLED if quantities.cancelled else Status.REJECTED
    if fallback in (Status.CANCELLING, Status.AMENDING):
        return fallback
    return Status.PARTIAL if quantities.filled else Status.WORKING
