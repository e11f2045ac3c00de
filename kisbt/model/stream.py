"""What a broker's push stream tells its owner, besides prices."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kisbt.model.order import Notice


class Trouble(StrEnum):
    """What the owner of a stream must know about."""

    DOWN = "down"
    """The connection is lost; the stream is coming back by itself."""
    IN_USE = "in_use"
    """Another program holds the session of this key."""
    REFUSED = "refused"
    """The broker does not accept a subscription."""
    DISTRUSTED = "distrusted"
    """Frames of a kind have a width nobody knows; they are no longer read."""
    UNREADABLE = "unreadable"
    """A notice could not be read: ask for the orders."""
    FAULT = "fault"
    """A mistake in kisbt itself; the stream was started anew."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something is wrong; `text` is for people.

    Attributes:
        code: of the broker; "" without one.
        trades, orders: whether it concerns trades, or notices of orders. They may
            come over two connections.
        symbol: whose trades it concerns; "" for all.
    """

    at: datetime
    trouble: Trouble
    text: str
    code: str = ""
    trades: bool = True
    orders: bool = True
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """A connection is up, after a time in which something may have been lost.

    The first connection has one as well. Ask over REST what happened since `since`.

    Attributes:
        since: when the stream was last heard; None before the first connection.
        trades, orders: what comes over it: trades, notices of orders. What the
            broker has refused there does not.
    """

    since: datetime | None
    until: datetime
    trades: bool = True
    orders: bool = True


StreamEvent = Notice | Gap | Alert
