"""What became of an order whose answer was lost: pure.

The broker takes no number of ours, so an order can only be recognised by what it is,
by when it was sent, and by the numbers that were there before. It is never sent
again, whatever comes out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from kisbt.clock import KST
from kisbt.model.order import BrokerOrder, OrderKind, Side, Venue
from kisbt.orders.decode import order_key
from kisbt.orders.lifecycle import Status
from kisbt.orders.rows import ChangeRecord, OrderRecord, TicketRole

API_CHANNEL = "OpnAPI"
"""Channel of orders entered over the API.

Source: rows of the order query in public logs; `kisbt calibrate` confirms it.
"""

CLEAN_POLLS = 5
ABSENT_AFTER_S = 30.0
"""An order is given up after so many complete queries and so many seconds."""
LOCK_S = 60.0
"""How long nothing new is sent in the symbol of an order that was given up."""
_EARLY = timedelta(seconds=2)
_LATE = timedelta(seconds=30)


class Verdict(StrEnum):
    """What to do with an order whose outcome is not known."""

    WAIT = "wait"
    """Ask again."""
    ADOPT = "adopt"
    """Exactly one row can be it: bind its number and go on."""
    QUARANTINE = "quarantine"
    """Several could be, or one that cannot be told from a person's: a human."""
    ABSENT = "absent"
    """Not at the broker; told to the strategy, not sent again, watched."""
    ADOPT_LATE = "adopt_late"
    """It was given up, and is there: bind it, cancel what is open, tell a person."""
    NOT_SENT = "not_sent"
    """The broker said no and a clean query agrees: it may be tried once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is known of the order that is looked for.

    Attributes:
        original: number it amends or cancels, normalised; "" for a new order.
        price: won; 0 for an order without a price, None if it does not matter.
        quantity: shares; None if it does not matter.
        sent: when its first byte may have left, by this machine's clock.
        timeout_s: how long the answer was waited for.
        clock_ahead_s: how much this machine's clock is ahead of the broker's.
    """

    day: date
    symbol: str
    side: Side
    kind: OrderKind
    venue: Venue
    quantity: int | None
    price: int | None
    sent: datetime
    original: str = ""
    timeout_s: float = 15.0
    clock_ahead_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How long it has been looked for.

    Attributes:
        clean: complete queries since it was sent, which agree with their totals.
        waited_s: seconds since it was sent.
    """

    clean: int
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The verdict and the rows it rests on."""

    verdict: Verdict
    rows: tuple[BrokerOrder, ...] = ()

    @property
    def row(self) -> BrokerOrder:
        """The only row, of ADOPT and ADOPT_LATE."""
        (found,) = self.rows
        return found


def search_for(
    order: OrderRecord,
    change: ChangeRecord | None = None,
    *,
    timeout_s: float = 15.0,
    clock_ahead_s: float = 0.0,
) -> Search:
    """Return what to look for: an order, or its amendment or cancellation.

    Raises:
        ValueError: it has not been sent.
    """
    sent = order.sent if change is None else change.changed
    if sent is None:
        raise ValueError(f"order {order.ref} has not been sent")
    if change is None:
        quantity: int | None = order.quantity
        price: int | None = order.limit_price or 0
    else:
        quantity = change.quantity
        # What a cancellation's row has for a price is not known for certain.
        price = change.price if change.role is TicketRole.AMEND else None
    return Search(
        day=sent.astimezone(KST).date(),
        symbol=order.symbol,
        side=order.side,
        kind=order.kind,
        venue=order.venue,
        quantity=quantity,
        price=price,
        sent=sent,
        original="" if change is None else order_key(order.broker_number),
        timeout_s=timeout_s,
        clock_ahead_s=clock_ahead_s,
    )


def candidates(
    search: Search,
    rows: Sequence[BrokerOrder],
    *,
    known: Collection[str],
    bound: Collection[str],
    channel: str | None = API_CHANNEL,
) -> tuple[BrokerOrder, ...]:
    """Return the rows that can be the order, in the order given.

    Args:
        search: what is looked for.
        rows: of one complete query; a row told twice counts once.
        known: normalised numbers seen before it was sent.
        bound: normalised numbers that belong to another order of kisbt.
        channel: of orders over the API; None when calibration found it unusable.
    """
    found: dict[tuple[str, str], BrokerOrder] = {}
    for row in rows:
        key = order_key(row.number)
        if key in known or key in bound or not _can_be(search, row, channel):
            continue
        found.setdefault((key, row.branch), row)
    return tuple(found.values())


def _can_be(search: Search, row: BrokerOrder, channel: str | None) -> bool:
    original = order_key(row.original_number) if row.original_number.strip() else ""
    return (
        row.day == search.day
        and (original if original != "0" else "") == search.original
        and row.symbol == search.symbol
        and row.side is search.side
        and row.kind is search.kind
        and row.venue in (search.venue, None)
        and search.quantity in (None, row.quantity)
        and search.price in (None, row.price)
        and (channel is None or row.channel in (channel, ""))
        and _in_time(search, row)
    )


def _in_time(search: Search, row: BrokerOrder) -> bool:
    if row.time is None:
        return True
    at = datetime.combine(row.day, row.time, KST)
    sent = search.sent.astimezone(KST) - timedelta(seconds=search.clock_ahead_s)
    first = (sent - _EARLY).replace(microsecond=0)
    return first <= at <= sent + timedelta(seconds=search.timeout_s) + _LATE


def resolve(
    status: Status,
    found: Sequence[BrokerOrder],
    looked: Looked,
    *,
    channel_known: bool = True,
    by_hand: bool = False,
) -> Resolution:
    """Return what to do with an order, or a change, whose outcome is not known.

    Args:
        status: UNKNOWN, CLAIMED, or an end that was given without a row (ABSENT,
            NOT_SENT, REFUSED).
        found: `candidates` of the last complete query.
        looked: how long.
        channel_known: calibration has shown that the channel tells API orders.
        by_hand: a person trades this symbol too.
    """
    rows = tuple(found)
    if len(rows) > 1 or (rows and by_hand and not channel_known):
        return Resolution(verdict=Verdict.QUARANTINE, rows=rows)
    if rows:
        late = status not in (Status.UNKNOWN, Status.CLAIMED)
        verdict = Verdict.ADOPT_LATE if late else Verdict.ADOPT
        return Resolution(verdict=verdict, rows=rows)
    if status is Status.CLAIMED and looked.clean:
        return Resolution(verdict=Verdict.NOT_SENT)
    given_up = looked.clean >= CLEAN_POLLS and looked.waited_s >= ABSENT_AFTER_S
    if status is Status.UNKNOWN and given_up:
        return Resolution(verdict=Verdict.ABSENT)
    return Resolution(verdict=Verdict.WAIT)
