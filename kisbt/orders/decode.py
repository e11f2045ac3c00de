"""Rows of the journal's tables to values and back; what its sums must be."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zlib import crc32

from kisbt.clock import KST
from kisbt.model.order import OrderKind, OrderType, Side, Venue
from kisbt.orders.lifecycle import OUTCOMES, TERMINAL, Status
from kisbt.orders.records import (
    Accepted,
    Corrected,
    DeskEvent,
    Ended,
    Filled,
    OrderPlan,
)
from kisbt.orders.rows import (
    ChangeRecord,
    DayRecord,
    EventRecord,
    ExternalOrder,
    FillRecord,
    Freeze,
    NoticeRecord,
    OrderRecord,
    RunRecord,
    TicketMark,
    TicketRecord,
    TicketRole,
)

Row = Any

CLOSABLE = TERMINAL
"""Statuses an order of a closed day may have."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    """Return microseconds since 1970 UTC: what a time is in the file."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(value: int) -> datetime:
    """Return the time of `micros`, aware KST."""
    return (_EPOCH + timedelta(microseconds=value)).astimezone(KST)


def order_key(number: str) -> str:
    """Return a broker's order number without blanks and leading zeros."""
    return number.strip().lstrip("0") or "0"


def to_json(value: Mapping[str, Any]) -> str:
    """Return compact JSON.

    Raises:
        ValueError: NaN or infinite. TypeError: a value JSON does not know.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def average_after(held: int, average: float, quantity: int, price: float) -> float:
    """Return the average price of a holding after `quantity` shares more (or less).

    Source:
        backtrader.position.Position.update: a purchase averages, a sale leaves the
        average, an empty holding has none.
    """
    after = held + quantity
    if after == 0:
        return 0.0
    if held == 0 or (held > 0) != (after > 0):
        return price
    if (quantity > 0) != (held > 0):
        return average
    return (average * held + quantity * price) / after


# Orders.

SELECT_ORDER = (
    "SELECT ref, run, number, origin, symbol, side, quantity, order_type, kind, venue,"
    " limit_price, stop_price, session, bar, reason, grp, last_price, created, status,"
    " changed, sent, attempts, known_to, branch, broker_number, filled, amount,"
    " commission, tax, cancelled, rejected, cancel_wanted, rule, note, confirmed_by,"
    " closed FROM orders"
)


def plan_values(
    plan: OrderPlan, kind: OrderKind, venue: Venue, origin: str
) -> tuple[Any, ...]:
    """Return what is fixed of an order, in the order of its columns."""
    return (
        origin,
        plan.number,
        plan.symbol,
        plan.side.value,
        plan.quantity,
        plan.order_type.value,
        kind.value,
        venue.value,
        plan.limit_price,
        plan.stop_price,
        plan.session.isoformat(),
        micros(plan.bar),
        plan.reason,
        plan.group,
        float(plan.last_price),
    )


def checksum(fixed: tuple[Any, ...]) -> int:
    """Return a checksum of what is fixed of an order: SQLite keeps none."""
    return crc32(repr(fixed).encode())


def order(row: Row) -> OrderRecord:
    """Return a row of SELECT_ORDER."""
    return OrderRecord(
        ref=row[0],
        run=row[1],
        number=row[2],
        origin=row[3],
        symbol=row[4],
        side=Side(row[5]),
        quantity=row[6],
        order_type=OrderType(row[7]),
        kind=OrderKind(row[8]),
        venue=Venue(row[9]),
        limit_price=row[10],
        stop_price=row[11],
        session=date.fromisoformat(row[12]),
        bar=moment(row[13]),
        reason=row[14],
        group=row[15],
        last_price=row[16],
        created=moment(row[17]),
        status=Status(row[18]),
        changed=moment(row[19]),
        sent=None if row[20] is None else moment(row[20]),
        attempts=row[21],
        known_to=row[22],
        branch=row[23],
        broker_number=row[24],
        filled=row[25],
        amount=row[26],
        commission=row[27],
        tax=row[28],
        cancelled=row[29],
        rejected=row[30],
        cancel_wanted=row[31],
        rule=row[32],
        note=row[33],
        confirmed_by=row[34],
        closed=bool(row[35]),
    )


SELECT_TICKET = "SELECT * FROM tickets"


def ticket(row: Row) -> TicketRecord:
    """Return a row of `tickets`."""
    return TicketRecord(
        ticket=row[0],
        ref=row[1],
        role=TicketRole(row[2]),
        day=date.fromisoformat(row[3]),
        branch=row[5],
        number=row[6],
        parent=row[7],
        quantity=row[8],
        applied=row[9],
        applied_amount=row[10],
        confirmed=row[11],
        confirmed_amount=row[12],
        cancelled=row[13],
        rejected=row[14],
        remaining=row[15],
    )


def mark(row: Row) -> TicketMark:
    """Return the mark of a row of `tickets`."""
    return TicketMark(row[0], hash(row))


def run(row: Row) -> RunRecord:
    """Return a row of `runs`."""
    return RunRecord(
        number=row[0],
        run_id=row[1],
        started=moment(row[2]),
        version=row[3],
        config_hash=row[4],
        mode=row[5],
        account=row[6],
        capital=row[7],
        ended=None if row[8] is None else moment(row[8]),
        exit_state=row[9],
    )


def change(row: Row) -> ChangeRecord:
    """Return a row of `changes`."""
    return ChangeRecord(
        change=row[0],
        ref=row[1],
        role=TicketRole(row[2]),
        quantity=row[3],
        price=row[4],
        status=Status(row[5]),
        known_to=row[6],
        made=moment(row[7]),
        changed=moment(row[8]),
        note=row[9],
    )


def notice(row: Row) -> NoticeRecord:
    """Return a row of `notices`."""
    return NoticeRecord(
        day=date.fromisoformat(row[0]),
        number=row[1],
        digest=row[2],
        branch=row[3],
        symbol=row[4],
        side=Side(row[5]),
        quantity=row[6],
        price=row[7],
        at=moment(row[8]),
        received=moment(row[9]),
    )


SELECT_FILL = (
    "SELECT f.sequence, f.ref, f.ticket, o.symbol, o.side, f.quantity, f.amount,"
    " f.commission, f.tax, f.cumulative, f.at, f.confirmed_by"
    " FROM fills f JOIN orders o USING (ref)"
)


def fill(row: Row) -> FillRecord:
    """Return a row of SELECT_FILL."""
    return FillRecord(
        sequence=row[0],
        ref=row[1],
        ticket=row[2],
        symbol=row[3],
        side=Side(row[4]),
        quantity=row[5],
        amount=row[6],
        commission=row[7],
        tax=row[8],
        cumulative=row[9],
        at=moment(row[10]),
        confirmed_by=row[11],
    )


def external(row: Row) -> ExternalOrder:
    """Return a row of `externals`."""
    return ExternalOrder(
        day=date.fromisoformat(row[0]),
        number=row[1],
        branch=row[2],
        symbol=row[3],
        side=Side(row[4]),
        quantity=row[5],
        filled=row[6],
        channel=row[7],
        told=bool(row[8]),
    )


def freeze(row: Row) -> Freeze:
    """Return a row of `freezes`."""
    return Freeze(
        symbol=row[0],
        reason=row[1],
        since=moment(row[2]),
        until=None if row[3] is None else moment(row[3]),
    )


def event(row: Row) -> EventRecord:
    """Return a row of `events`."""
    return EventRecord(
        sequence=row[0],
        at=moment(row[1]),
        kind=row[2],
        ref=row[3],
        facts=json.loads(row[4]) if row[4] else {},
    )


def day(row: Row) -> DayRecord:
    """Return a row of `days`."""
    return DayRecord(
        day=date.fromisoformat(row[0]),
        closed=moment(row[1]),
        cash=row[2],
        orders=row[3],
        fills=row[4],
    )


# What the strategy hears.

SELECT_TOLD = (
    "SELECT e.sequence, e.ref, e.at, e.tell, e.kind, e.facts, f.quantity, f.amount,"
    " f.commission, f.tax, f.confirmed_by, o.side FROM events e"
    " JOIN orders o USING (ref) LEFT JOIN fills f USING (sequence)"
)


def desk_event(row: Row) -> DeskEvent:
    """Return a row of SELECT_TOLD as the strategy's broker hears it."""
    sequence, ref, at, tell, kind, facts = row[:6]
    quantity, amount, commission, tax, confirmed_by, side = row[6:]
    when = moment(at)
    if tell == "accepted":
        return Accepted(sequence=sequence, ref=ref, at=when)
    if tell == "filled":
        return Filled(
            sequence=sequence,
            ref=ref,
            at=when,
            quantity=quantity,
            price=amount / quantity,
            commission=commission,
            tax=tax,
            confirmed_by=confirmed_by,
        )
    if tell == "corrected":
        moved = -amount if side == Side.BUY else amount
        return Corrected(
            sequence=sequence, ref=ref, at=when, amount=moved - commission - tax
        )
    words = json.loads(facts) if facts else {}
    return Ended(
        sequence=sequence,
        ref=ref,
        at=when,
        outcome=OUTCOMES[Status(kind)],
        rule=words.get("rule", ""),
        reason=words.get("note", ""),
    )


# What must agree.

_SUMS = (
    (
        "cash",
        (
            "SELECT 'cash', (SELECT coalesce(sum(value), 0) FROM account WHERE name ="
            " 'cash') AS found, (SELECT coalesce(sum(cash), 0) FROM adjustments) +"
            " (SELECT coalesce(sum((CASE o.side WHEN 'buy' THEN -f.amount ELSE f.amount"
            " END) - f.commission - f.tax), 0) FROM fills f JOIN orders o USING (ref))"
            " AS expected WHERE found != expected"
        ),
    ),
    (
        "position",
        (
            "SELECT symbol, sum(held) AS found, sum(moved) AS expected FROM ("
            " SELECT symbol, quantity AS held, 0 AS moved FROM positions UNION ALL"
            " SELECT symbol, 0, quantity FROM adjustments UNION ALL"
            " SELECT o.symbol, 0, CASE o.side WHEN 'buy' THEN f.quantity ELSE -f.quantity"
            " END FROM fills f JOIN orders o USING (ref))"
            " GROUP BY symbol HAVING found != expected"
        ),
    ),
    (
        "order",
        (
            "SELECT o.ref, o.filled, coalesce(sum(f.quantity), 0) AS told FROM orders o"
            " LEFT JOIN fills f USING (ref) GROUP BY o.ref HAVING o.filled != told"
            " OR o.amount != coalesce(sum(f.amount), 0)"
        ),
    ),
    (
        "ticket",
        (
            "SELECT t.number, t.applied, coalesce(sum(f.quantity), 0) AS told FROM"
            " tickets t LEFT JOIN fills f USING (ticket) GROUP BY t.ticket"
            " HAVING t.applied != told"
            " OR t.applied_amount != coalesce(sum(f.amount), 0)"
        ),
    ),
)


def audit(select: Callable[[str], list[Row]]) -> Iterator[str]:
    """Yield where sums and lines differ, and orders whose text has changed."""
    for name, sql in _SUMS:
        for what, found, expected in select(sql):
            yield f"{name} {what}: {found}, its lines say {expected}"
    fixed = (
        "SELECT ref, plan_check, origin, number, symbol, side, quantity, order_type,"
        " kind, venue, limit_price, stop_price, session, bar, reason, grp, last_price"
        " FROM orders WHERE closed = 0"
    )
    for sql, read in ((SELECT_ORDER, order), (SELECT_TICKET, ticket)):
        for row in select(sql):
            try:
                read(row)
            except (ValueError, TypeError) as error:
                yield f"{read.__name__} {row[0]}: {error}"
    for row in select(fixed):
        if checksum(tuple(row[2:])) != row[1]:
            yield f"order {row[0]}: not as it was written"
