"""The journal against the broker's word: pure.

The broker's account holds what kisbt bought and what its user bought besides. The
journal knows the first (own) and remembers the second (outside). Together they must
be what the broker shows; if they are not, nothing is guessed: the symbol waits, or
the run does not start.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction

from kisbt.errors import InputError
from kisbt.orders.ledger import quantities
from kisbt.orders.lifecycle import AT_BROKER, OPEN, UNSENT, Status, status_of
from kisbt.orders.records import Holding
from kisbt.orders.rows import OrderRecord, TicketRecord
from kisbt.text import _

# Positions.


class Kind(StrEnum):
    """A difference between the journal and the broker."""

    OUTSIDE_MORE = "outside_more"
    """The account has more that is not kisbt's than before: noted, never touched."""
    OUTSIDE_LESS = "outside_less"
    """It has less of it: noted; kisbt's own shares are all there."""
    OWN_SOLD = "own_sold"
    """Shares of kisbt's were sold by an order it did not make: the position follows."""
    OWN_MISSING = "own_missing"
    """The account has less than kisbt owns, and no order explains it."""
    OWN_UNBOOKED = "own_unbooked"
    """More than known, in a symbol where an own order may have filled unseen."""
    SPLIT = "split"
    """Missing or surplus in a clean ratio: a split, reverse split or rights issue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference of one symbol.

    Attributes:
        own, outside: as the journal has them, shares.
        broker: as the broker shows.
        stops: it must not be started, or the symbol traded, like this.
        own_after, outside_after: what the journal is to say if it is accepted.
        ratio: new shares for one old one, of SPLIT.
    """

    symbol: str
    kind: Kind
    own: int
    outside: int
    broker: int
    own_after: int
    outside_after: int
    stops: bool
    ratio: Fraction | None = None

    @property
    def text(self) -> str:
        """For people: what differs and what to do."""
        return _TEXTS[self.kind]().format(
            symbol=self.symbol,
            own=self.own,
            outside=self.outside,
            broker=self.broker,
            ratio=self.ratio,
            gone=self.own - self.own_after,
        )


_TEXTS = {
    Kind.OUTSIDE_MORE: lambda: _(
        "{symbol}: the account has {broker} shares, {own} of them kisbt's. The "
        "others are left alone"
    ),
    Kind.OUTSIDE_LESS: lambda: _(
        "{symbol}: some of the {outside} shares that were not kisbt's are gone. "
        "kisbt's own {own} are there"
    ),
    Kind.OWN_SOLD: lambda: _(
        "{symbol}: {gone} of kisbt's {own} shares were sold outside of kisbt. Its "
        "position follows"
    ),
    Kind.OWN_MISSING: lambda: _(
        "{symbol}: kisbt owns {own} shares, the account has only {broker}, and no "
        "order explains it. Look in the HTS; if the account is right, run: kisbt "
        "reconcile --accept-broker-position"
    ),
    Kind.OWN_UNBOOKED: lambda: _(
        "{symbol}: the account has {broker} shares, the journal knows of {own} own "
        "and {outside} others, and an order of kisbt may have filled unseen. Look in "
        "the HTS; if the others are yours, run: kisbt reconcile "
        "--accept-broker-position"
    ),
    Kind.SPLIT: lambda: _(
        "{symbol}: kisbt owns {own} shares, the account has {broker}: it looks like "
        "{ratio} new for 1 old. If there was a split, run: kisbt reconcile --split "
        "{symbol} {ratio}; if not, and the account is right, run: kisbt reconcile "
        "--accept-broker-position"
    ),
}


def compare_positions(
    own: Iterable[Holding],
    outside: Mapping[str, int],
    broker: Mapping[str, int],
    *,
    external_moves: Mapping[str, int] | None = None,
    own_active: Iterable[str] = (),
) -> tuple[Finding, ...]:
    """Return where the journal's shares and the broker's differ.

    Args:
        own: what the journal says kisbt owns.
        outside: shares that are not kisbt's, as last agreed.
        broker: shares by symbol, of a complete balance.
        external_moves: shares bought less sold by orders kisbt did not make, since
            `outside` was agreed.
        own_active: symbols in which kisbt has sent an order since then: there a
            surplus may be a fill nobody has told.
    """
    owned = {holding.symbol: holding.quantity for holding in own}
    moves = dict(external_moves or {})
    active = frozenset(own_active)
    found = []
    for symbol in sorted(owned.keys() | outside.keys() | broker.keys() | moves.keys()):
        finding = _compare(
            symbol,
            owned.get(symbol, 0),
            outside.get(symbol, 0),
            broker.get(symbol, 0),
            moves.get(symbol, 0),
            active=symbol in active,
        )
        if finding is not None:
            found.append(finding)
    return tuple(found)


def _compare(
    symbol: str, own: int, outside: int, broker: int, moved: int, *, active: bool
) -> Finding | None:
    if own + outside == broker and not moved:
        return None
    # Orders of others sell what is theirs first; only then is it kisbt's.
    theirs, taken = max(0, outside + moved), max(0, -(outside + moved))
    kind, ratio = _kind(own, outside, broker, theirs, taken, active=active)
    own_after = {
        Kind.OWN_SOLD: own - taken,
        Kind.OWN_MISSING: broker,
        Kind.SPLIT: int(own * (ratio or 1)),
    }.get(kind, own)
    explained = own + theirs - taken == broker
    return Finding(
        symbol=symbol,
        kind=kind,
        own=own,
        outside=outside,
        broker=broker,
        own_after=own_after,
        outside_after=max(0, broker - own_after),
        stops=kind in _ALWAYS_STOP or (active and not explained),
        ratio=ratio,
    )


_ALWAYS_STOP = frozenset({Kind.OWN_MISSING, Kind.OWN_UNBOOKED, Kind.SPLIT})


def _kind(
    own: int, outside: int, broker: int, theirs: int, taken: int, *, active: bool
) -> tuple[Kind, Fraction | None]:
    if own + theirs - taken == broker:
        if taken:
            return Kind.OWN_SOLD, None
        return (Kind.OUTSIDE_MORE if theirs > outside else Kind.OUTSIDE_LESS), None
    ratio = split_ratio(own, theirs, broker)
    if ratio is not None:
        return Kind.SPLIT, ratio
    if broker < own:
        return Kind.OWN_MISSING, None
    if broker < own + theirs:
        return Kind.OUTSIDE_LESS, None
    return (Kind.OWN_UNBOOKED if active else Kind.OUTSIDE_MORE), None


# Splits.

_RATIOS = frozenset(
    [Fraction(n) for n in (2, 3, 4, 5, 10, 20, 25, 50, 100)]
    + [Fraction(1, n) for n in (2, 3, 4, 5, 10, 20, 25, 50, 100)]
)


def split_ratio(own: int, outside: int, broker: int) -> Fraction | None:
    """Return the ratio of a split that explains the broker's shares exactly.

    Korean par value changes are whole multiples of each other (100, 200, 500, 1,000,
    2,500, 5,000 won), hence 2 to 50 for one or back. Fractions are paid out, so both
    parts are cut to whole shares.
    """
    if not own or not broker:
        return None
    for ratio in sorted(_RATIOS):
        together = int((own + outside) * ratio)
        if broker == together != own + outside:
            return ratio
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """What a split does to a holding of kisbt's.

    Attributes:
        before, after: shares and average.
        cash: won paid out for the fraction that is left over.
    """

    symbol: str
    ratio: Fraction
    before: Holding
    after: Holding
    cash: int


def parse_ratio(text: str) -> Fraction:
    """Return a split's ratio: ``5`` is five new for one old, ``1/5`` the reverse.

    Raises:
        InputError: no number above zero, or 1.
    """
    try:
        ratio = Fraction(text.strip().replace(":", "/"))
    except (ValueError, ZeroDivisionError):
        ratio = Fraction(0)
    if ratio <= 0 or ratio == 1:
        raise InputError(
            _(
                "split ratio {text!r}: expected new shares for one old one, for "
                "example 5, or 1/5 for a merger of five into one"
            ).format(text=text)
        )
    return ratio


def plan_split(holding: Holding, ratio: Fraction, price: int = 0) -> SplitPlan:
    """Return what a split makes of a holding; what it cost stays what it was.

    Args:
        holding: of kisbt's.
        ratio: new shares for one old one.
        price: won for a new share, paid for the fraction left over; 0 when it is
            booked by hand.

    Raises:
        InputError: nothing is held.
    """
    if holding.quantity <= 0:
        raise InputError(
            _("{symbol}: kisbt holds none of it").format(symbol=holding.symbol)
        )
    exact = holding.quantity * ratio
    quantity = int(exact)
    return SplitPlan(
        symbol=holding.symbol,
        ratio=ratio,
        before=holding,
        after=Holding(
            symbol=holding.symbol,
            quantity=quantity,
            average=holding.average / float(ratio) if quantity else 0.0,
        ),
        cash=int((exact - quantity) * price),
    )


# Start and end of a day.


class Restart(StrEnum):
    """What an order found in the journal at a start needs."""

    NOT_SENT = "not_sent"
    """It was to be sent, and certainly was not: too late for it now."""
    RESOLVE = "resolve"
    """It may have left: look for it."""
    FOLLOW = "follow"
    """It is at the broker: ask what became of it."""
    KEEP = "keep"
    """It waits for its phase."""
    EXPIRE = "expire"
    """Its session is over without it having been sent."""
    ASK = "ask"
    """A person must decide."""


def at_start(order: OrderRecord, today: date) -> Restart | None:
    """Return what is to be done with an order after a restart; None if it ended."""
    if order.status not in OPEN:
        return None
    if order.status is Status.QUARANTINE:
        return Restart.ASK
    if order.status is Status.HELD:
        return Restart.EXPIRE if order.session < today else Restart.KEEP
    if order.status is Status.INTENT:
        return Restart.NOT_SENT
    if order.status in AT_BROKER:
        return Restart.FOLLOW
    return Restart.RESOLVE


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEnd:
    """What is to happen with an order when its session is over.

    Attributes:
        status: its end; None when it has to wait.
        why: for people, when it waits.
    """

    ref: int
    status: Status | None
    why: str = ""


POLLS_TO_EXPIRE = 2


def at_day_end(
    order: OrderRecord,
    tickets: Sequence[TicketRecord],
    *,
    now: datetime,
    session_over: datetime,
    agreeing_polls: int,
) -> DayEnd | None:
    """Return how an order ends with its day; None if it has ended already.

    Args:
        order: of the day.
        tickets: all of its numbers.
        now: aware.
        session_over: when nothing can fill any more at the order's venue.
        agreeing_polls: complete queries asked after that in a row that said the same
            of all its numbers.
    """
    if order.is_ended:
        return None
    why = _why_not_over(order, tickets, agreeing_polls, over=now >= session_over)
    status = None if why else _end_of(order, tickets)
    return DayEnd(ref=order.ref, status=status, why=why)


def _why_not_over(
    order: OrderRecord,
    tickets: Sequence[TicketRecord],
    agreeing_polls: int,
    *,
    over: bool,
) -> str:
    if not over:
        return _("the venue's session is not over")
    if order.status in UNSENT:
        return ""
    if order.status is Status.QUARANTINE:
        return _("a person must decide")
    if order.status not in AT_BROKER:
        return _("its outcome is not known yet")
    if agreeing_polls < POLLS_TO_EXPIRE:
        return _("two complete queries must agree")
    booked = all(ticket.confirmed <= ticket.applied for ticket in tickets)
    return "" if booked else _("a fill has not been booked yet")


def _end_of(order: OrderRecord, tickets: Sequence[TicketRecord]) -> Status:
    if order.status is Status.INTENT:
        return Status.NOT_SENT
    parts = quantities(order.quantity, tickets)
    if order.status is Status.HELD or parts.open:
        return Status.EXPIRED
    return status_of(parts, fallback=order.status)
