"""What of an order is booked, and at what price: pure.

For each number of the broker three levels are kept: H, the shares of its distinct
notices; C, the largest level a complete query told; A, what is booked. Distinct
notices are distinct fills, so H is never above the truth; a query may lag, so C is
not either. A follows the larger of them, falls never, and ends at the truth because
the last query does.

Source:
    200,000 simulated histories with notices lost, doubled and out of order and with
    lagging queries: nothing lost, nothing booked twice, at no step above the truth.
    tests/property repeats it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from kisbt.krx.fees import (
    BANKIS,
    TaxTable,
    commission,
    parse_commission,
    parse_rate,
    transaction_tax,
)
from kisbt.model.instrument import Instrument
from kisbt.model.order import BrokerOrder, Notice, OrderTotals, Side
from kisbt.orders.lifecycle import Quantities
from kisbt.orders.rows import Booking, NoticeRecord, TicketRecord, TicketRole


class FillSource(StrEnum):
    """What fills are booked from."""

    REST = "rest"
    """Complete queries only; a notice is a reason to ask."""
    NOTICE = "notice"
    """Notices too, at once; their price is trued up by the next query."""


REST, NOTICE, BALANCE = "rest", "notice", "balance"
"""What vouches for a fill (`confirmed_by`)."""


# Costs.


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What trades cost, in the words of the broker's settings.

    The same whole won a fill as in a backtest.

    Attributes:
        commission: ``bankis`` or a share of the amount.
        tax: ``krx`` for the tax of the trade date, ``none``, or a share of sales.
        tax_rows: dated rows in place of the built-in ones.
    """

    commission: str | float = BANKIS
    tax: str | float = "krx"
    tax_rows: TaxTable | None = None

    def costs(
        self, instrument: Instrument, side: Side, amount: int, session: date
    ) -> tuple[int, int]:
        """Return commission and tax on a fill of `amount` won."""
        rate = parse_commission(self.commission, instrument.product)
        paid = commission(amount, rate)
        if side is Side.BUY or self.tax == "none":
            return paid, 0
        if self.tax != "krx":
            return paid, commission(amount, parse_rate(self.tax, path="broker.tax"))
        tax = transaction_tax(
            amount,
            market=instrument.market,
            product=instrument.product,
            session=session,
            table=self.tax_rows,
        )
        return paid, tax

    def of(self, instrument: Instrument, side: Side, session: date) -> "Costs":
        """Return the costs of one order's fills, by their amount."""
        return lambda amount: self.costs(instrument, side, amount, session)


Costs = Callable[[int], tuple[int, int]]
"""Commission and tax on a fill of so many won; of one order."""


# Notices.


def notice_digest(notice: Notice) -> str:
    """Return a fingerprint of a notice: equal frames have equal ones.

    Account, customer and holder are left out: they are the same in all of them.
    """
    parts = (
        notice.number,
        notice.original_number,
        notice.branch,
        notice.side,
        notice.kind,
        notice.action,
        notice.order_kind,
        notice.symbol,
        notice.quantity,
        notice.price,
        notice.time.isoformat(),
        notice.order_quantity,
        notice.order_price,
        notice.venue,
        notice.stop_price,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def noticed(ticket: TicketRecord, notices: Iterable[NoticeRecord]) -> int:
    """Return H: the shares of distinct notices, at most those of the order."""
    return min(ticket.quantity, sum(notice.quantity for notice in notices))


def _notice_amount(notices: Sequence[NoticeRecord], quantity: int) -> int | None:
    """Return the won of the latest `quantity` shares; None if they are not known."""
    left, amount = quantity, 0
    for notice in reversed(notices):
        part = min(left, notice.quantity)
        amount += part * notice.price
        left -= part
        if not left:
            return amount
    return None


# Booking.


def decide(
    ticket: TicketRecord,
    notices: Sequence[NoticeRecord],
    *,
    source: FillSource,
    costs: Costs,
    at: datetime,
) -> tuple[Booking, ...]:
    """Return what is to be booked of a number now; usually nothing or one booking.

    Args:
        ticket: with C and A, as the journal has them.
        notices: all of this number, as they came.
        source: whether notices may be booked.
        costs: of the order's side and session.
        at: when it was filled, as far as known.
    """
    level = noticed(ticket, notices) if source is FillSource.NOTICE else 0
    if ticket.confirmed > ticket.applied and ticket.confirmed >= level:
        return _from_query(ticket, costs, at)
    if level > ticket.applied:
        amount = _notice_amount(notices, level - ticket.applied)
        assert amount is not None
        return (_more(ticket, level, amount, costs, at, NOTICE),)
    if ticket.confirmed == ticket.applied:
        return _true_up(ticket, ticket.confirmed_amount, costs, at)
    return ()


def _from_query(
    ticket: TicketRecord, costs: Costs, at: datetime
) -> tuple[Booking, ...]:
    amount = ticket.confirmed_amount - ticket.applied_amount
    if amount > 0:
        return (_more(ticket, ticket.confirmed, amount, costs, at, REST),)
    # What was booked before cost more than the query says of everything. The new
    # shares get the average, and the rest is put right without shares.
    more = ticket.confirmed - ticket.applied
    share = max(1, ticket.confirmed_amount * more // ticket.confirmed)
    first = _more(ticket, ticket.confirmed, share, costs, at, REST)
    booked = ticket.applied_amount + share
    correction = _correction(
        ticket, booked, ticket.confirmed_amount, ticket.confirmed, costs, at
    )
    return (first, correction)


def _more(
    ticket: TicketRecord,
    level: int,
    amount: int,
    costs: Costs,
    at: datetime,
    confirmed_by: str,
) -> Booking:
    paid, tax = costs(amount)
    return Booking(
        ticket=ticket.ticket,
        quantity=level - ticket.applied,
        amount=amount,
        commission=paid,
        tax=tax,
        cumulative=level,
        at=at,
        confirmed_by=confirmed_by,
    )


def _true_up(
    ticket: TicketRecord, amount: int, costs: Costs, at: datetime
) -> tuple[Booking, ...]:
    if not ticket.applied or amount <= 0 or amount == ticket.applied_amount:
        return ()
    return (
        _correction(ticket, ticket.applied_amount, amount, ticket.applied, costs, at),
    )


def _correction(
    ticket: TicketRecord,
    booked: int,
    amount: int,
    level: int,
    costs: Costs,
    at: datetime,
) -> Booking:
    """Move the won booked under a number to `amount`, with the costs that go with it.

    The costs change by those of the difference, cut to whole won once.
    """
    paid_before, tax_before = costs(booked)
    paid, tax = costs(amount)
    return Booking(
        ticket=ticket.ticket,
        quantity=0,
        amount=amount - booked,
        commission=paid - paid_before,
        tax=tax - tax_before,
        cumulative=level,
        at=at,
        confirmed_by=REST,
    )


# The mock server's two witnesses.


def rows_agree(rows: Sequence[BrokerOrder], totals: OrderTotals) -> bool:
    """Return whether the rows of a query add up to its own totals.

    The mock server has returned no rows, or not all, under right totals; such an
    answer says nothing about an order it does not show.
    """
    filled = sum(row.filled_quantity for row in rows)
    amount = sum(row.filled_amount for row in rows)
    if filled != totals.filled_quantity or amount != totals.filled_amount:
        return False
    return bool(rows) or totals.quantity == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an order of a symbol may have done to its position.

    Attributes:
        ticket: the journal's number.
        noticed: H.
        applied: A.
        most: shares it can reach.
    """

    ticket: int
    side: Side
    noticed: int
    applied: int
    most: int

    @property
    def sign(self) -> int:
        """1 for purchases, -1 for sales."""
        return 1 if self.side is Side.BUY else -1


def witnessed(claims: Sequence[Claim], moved: int) -> dict[int, int]:
    """Return the levels that notices and the balance prove together.

    Used where the query of orders cannot be trusted. Only what has one possible
    explanation is taken; the balance may lag, so that less than the notices say
    proves less, and nothing is ever unproved.

    Args:
        claims: of every number of one symbol that is open, or has ended so lately
            that the balance may not show all of its fills yet.
        moved: shares the broker's balance has more (or less) than what is booked
            and known to be external.

    Returns:
        Level by ticket, above what is applied.
    """
    if not moved:
        return {}
    told = {c.ticket: max(c.noticed, c.applied) for c in claims}
    if sum(c.sign * (told[c.ticket] - c.applied) for c in claims) == moved:
        return {c.ticket: told[c.ticket] for c in claims if told[c.ticket] > c.applied}
    sign = 1 if moved > 0 else -1
    able = [c for c in claims if c.sign == sign and c.most > c.applied]
    # An order of the other side, also a full one, may be what the balance is late
    # with: it would look like a movement of this side.
    alone = len(able) == 1 and all(c.sign == sign for c in claims)
    if alone and abs(moved) <= able[0].most - able[0].applied:
        return {able[0].ticket: able[0].applied + abs(moved)}
    return {}


def witnessed_amount(
    ticket: TicketRecord,
    notices: Sequence[NoticeRecord],
    level: int,
    *,
    totals: OrderTotals | None,
    booked: Mapping[str, int],
    limit_price: int | None,
    last_price: float,
) -> int:
    """Return the won of the shares up to `level` that are not booked yet.

    Best evidence first: the notices of these shares; the totals of the day less
    everything booked, if they are about exactly these shares more; the limit price;
    the last price. What was not the truth is corrected when a query tells it.

    Args:
        ticket: of the number.
        notices: all of it.
        level: shares proved by `witnessed`.
        totals: of the query that showed no rows; None without.
        booked: ``quantity`` and ``amount`` booked for the day by all numbers.
        limit_price: of the order; None without one.
        last_price: won, when the order was made.
    """
    more = level - ticket.applied
    if sum(notice.quantity for notice in notices) >= level:
        amount = _notice_amount(notices, more)
        assert amount is not None
        return amount
    if totals is not None and totals.filled_quantity == booked["quantity"] + more:
        amount = totals.filled_amount - booked["amount"]
        if amount > 0:
            return amount
    return round((limit_price or last_price) * more)


def book_witnessed(
    ticket: TicketRecord, level: int, amount: int, *, costs: Costs, at: datetime
) -> Booking:
    """Return the booking of a level the two witnesses prove."""
    return _more(ticket, level, amount, costs, at, BALANCE)


# Where the shares are.


def quantities(ordered: int, tickets: Sequence[TicketRecord]) -> Quantities:
    """Return where the shares of an order are, over all its numbers.

    A cancellation is told on its own row, on the order's or on both; an amendment
    takes its shares from the row it amends.
    """
    taken: Counter[str] = Counter()
    cancelled: Counter[str] = Counter()
    for ticket in tickets:
        if ticket.role is TicketRole.AMEND:
            taken[ticket.parent] += ticket.quantity - ticket.rejected
        elif ticket.role is TicketRole.CANCEL:
            cancelled[ticket.parent] += ticket.cancelled
    orders = [t for t in tickets if t.role is not TicketRole.CANCEL]
    gone = 0
    for ticket in orders:
        key = ticket.number.strip().lstrip("0") or "0"
        gone += max(cancelled.pop(key, 0), ticket.cancelled - taken[key], 0)
    # A cancellation whose parent is not among the numbers still is one.
    gone += sum(cancelled.values())
    return Quantities(
        ordered=ordered,
        filled=sum(max(t.applied, t.confirmed) for t in orders),
        cancelled=gone,
        rejected=sum(t.rejected for t in orders if t.role is TicketRole.NEW),
    )
