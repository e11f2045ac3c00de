"""What the journal remembers, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from kisbt.model.order import OrderKind, OrderType, Side, Venue
from kisbt.orders.lifecycle import AT_BROKER, OPEN, TERMINAL, UNRESOLVED, Status
from kisbt.orders.records import Holding


class Mark(StrEnum):
    """The commits after which a crash must do no harm (`Journal.on_mark`)."""

    RUN = "W0"
    """A run has begun."""
    INTENT = "W1"
    """An order is written down to be sent."""
    SENDING = "W2"
    """Its first byte may leave."""
    RESULT = "W3"
    """What the broker answered."""
    EVIDENCE = "W4"
    """A notice or a changed row of a query."""
    FILL = "W5"
    """Shares, position and cash, in one."""
    DELIVERED = "W6"
    """What the strategy has heard."""


class TicketRole(StrEnum):
    """Why the broker gave a number: amendments and cancellations have their own."""

    NEW = "new"
    AMEND = "amend"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One start of kisbt on this journal.

    Attributes:
        run_id: name of the run folder.
        mode: ``paper``, ``live`` ...
        account: masked.
        ended: None while it runs, or when it crashed.
        exit_state: ``done``, ``failed: ...``; "" with `ended` None.
    """

    number: int
    run_id: str
    started: datetime
    version: str
    config_hash: str
    mode: str
    account: str
    capital: int
    ended: datetime | None = None
    exit_state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order of kisbt as it stands.

    Attributes:
        ref: the journal's number, for ever.
        run, number: of the run that made it; what orders.csv calls it.
        origin: ``strategy``, ``sell_all``, ``calibrate``.
        kind, venue: as sent.
        last_price: won, at which an order without a price counts against limits.
        created: when it was written down.
        sent: when SENDING was written last; None before.
        attempts: how often it was about to be sent.
        known_to: sequence of the journal when it was sent last: numbers of the
            broker seen up to there are not it.
        branch, broker_number: of its first ticket as the broker writes it; "".
        filled, amount, commission, tax: booked, shares and won, fees included in
            none of the others.
        cancelled: shares confirmed as cancelled.
        rejected: shares the exchange refused.
        cancel_wanted: who asked for a cancellation not carried out yet; "".
        rule, note: why it ended, for the strategy and for people.
        confirmed_by: what vouches for its state: "", ``rest``, ``notice``, ``balance``.
        closed: its day is closed; it takes no more evidence.
    """

    ref: int
    run: int
    number: int
    origin: str
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    kind: OrderKind
    venue: Venue
    limit_price: int | None
    stop_price: int | None
    session: date
    bar: datetime
    reason: str
    group: str
    last_price: float
    created: datetime
    status: Status
    changed: datetime
    sent: datetime | None
    attempts: int
    known_to: int
    branch: str
    broker_number: str
    filled: int
    amount: int
    commission: int
    tax: int
    cancelled: int
    rejected: int
    cancel_wanted: str
    rule: str
    note: str
    confirmed_by: str
    closed: bool

    @property
    def is_open(self) -> bool:
        """Whether more may become of it without contradiction."""
        return self.status in OPEN

    @property
    def is_ended(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL

    @property
    def is_unresolved(self) -> bool:
        """Whether nobody knows if it is at the broker."""
        return self.status in UNRESOLVED

    @property
    def is_at_broker(self) -> bool:
        """Whether it has a number and may still fill."""
        return self.status in AT_BROKER

    @property
    def open_quantity(self) -> int:
        """Shares that may still fill, at worst; 0 once ended."""
        if self.is_ended:
            return 0
        return max(0, self.quantity - self.filled - self.cancelled - self.rejected)

    @property
    def average_price(self) -> float | None:
        """Won a share of what was filled; None without a fill."""
        return self.amount / self.filled if self.filled else None


class TicketMark(NamedTuple):
    """Where a ticket stands, small.

    Attributes:
        content: hash of all that is written of it; another one as soon as that changes.
    """

    ticket: int
    content: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRecord:
    """A number the broker gave, and what was booked under it.

    Attributes:
        number, branch: as the broker writes them.
        day: of the broker, KST.
        parent: number it amends or cancels, normalised; "" for NEW.
        quantity: shares of it.
        applied, applied_amount: booked so far, shares and won.
        confirmed, confirmed_amount: largest level a complete query told.
        cancelled, rejected, remaining: of the last complete query; remaining is
            None before the first.
    """

    ticket: int
    ref: int
    role: TicketRole
    day: date
    branch: str
    number: str
    parent: str
    quantity: int
    applied: int
    applied_amount: int
    confirmed: int
    confirmed_amount: int
    cancelled: int
    rejected: int
    remaining: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecord:
    """A fill notice, kept whether or not its order is known yet.

    Attributes:
        digest: of all its fields: equal frames are kept once.
        number: normalised.
        at: of the exchange, whole seconds. received: by this machine.
    """

    day: date
    number: str
    branch: str
    digest: str
    symbol: str
    side: Side
    quantity: int
    price: int
    at: datetime
    received: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """Shares to be booked: what `ledger` decides and `Journal.book` writes.

    Attributes:
        ticket: the journal's number of the ticket that was filled.
        quantity: shares; 0 corrects the amount of what was booked before.
        amount: won of these shares, fees excluded; of a correction the change.
        commission, tax: won; of a correction the change.
        cumulative: shares booked under the ticket afterwards.
        at: when it was filled, aware KST.
        confirmed_by: ``rest``, ``notice`` or ``balance``.
    """

    ticket: int
    quantity: int
    amount: int
    commission: int
    tax: int
    cumulative: int
    at: datetime
    confirmed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecord:
    """Shares booked, or with `quantity` 0 a correction of their price."""

    sequence: int
    ref: int
    ticket: int
    symbol: str
    side: Side
    quantity: int
    amount: int
    commission: int
    tax: int
    cumulative: int
    at: datetime
    confirmed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalOrder:
    """An order of the account that kisbt did not make.

    Attributes:
        number: normalised.
        channel: of the broker, ``OpnAPI`` for another program with an app key.
        filled: shares so far.
        told: a person has been told.
    """

    day: date
    branch: str
    number: str
    symbol: str
    side: Side
    quantity: int
    filled: int
    channel: str
    told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRecord:
    """An amendment or cancellation asked of the broker.

    Attributes:
        quantity: shares to cancel or amend; None means all that remains.
        price: won of an amendment; 0 for a cancellation.
        status: INTENT, SENDING, UNKNOWN, ACKED, REFUSED, NOT_SENT, ABSENT, CLAIMED.
    """

    change: int
    ref: int
    role: TicketRole
    quantity: int | None
    price: int
    status: Status
    known_to: int
    made: datetime
    changed: datetime
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A symbol in which nothing new is sent.

    Attributes:
        until: it thaws by itself then; None needs a person.
    """

    symbol: str
    reason: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One line of the journal's history.

    Attributes:
        kind: a `Status`, or ``run``, ``notice``, ``row``, ``fill``, ``correction``,
            ``audit``, ``cancel_wanted``, ``day`` ...
        ref: of the order; None for the account.
    """

    sequence: int
    at: datetime
    kind: str
    ref: int | None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRecord:
    """A closed trading date.

    Attributes:
        cash: won, own, after it.
        orders, fills: of the date.
    """

    day: date
    closed: datetime
    cash: int
    orders: int
    fills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the strategy owns, as of an event.

    Attributes:
        sequence: every event up to it is contained.
        cash: won.
    """

    sequence: int
    cash: int
    holdings: tuple[Holding, ...]
