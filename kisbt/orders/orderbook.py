"""The journal's orders, and the numbers the broker gave them."""

import sqlite3
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from kisbt.errors import StorageError
from kisbt.model.order import OrderKind, Venue
from kisbt.orders import decode
from kisbt.orders.decode import micros, order_key
from kisbt.orders.ledger import quantities
from kisbt.orders.lifecycle import (
    AT_BROKER,
    OPEN,
    OUTCOMES,
    UNRESOLVED,
    UNSENT,
    Move,
    Quantities,
    Status,
    check_move,
)
from kisbt.orders.owned import OwnedBook
from kisbt.orders.records import OrderPlan
from kisbt.orders.rows import (
    ChangeRecord,
    Mark,
    OrderRecord,
    TicketMark,
    TicketRecord,
    TicketRole,
)
from kisbt.text import _

_ANSWERS = frozenset(
    {Status.ACKED, Status.REFUSED, Status.CLAIMED, Status.UNKNOWN, Status.NOT_SENT}
)
_PRESSING = (
    f"{decode.SELECT_ORDER} WHERE closed = 0 AND (status IN ("
    + ", ".join(f"'{status}'" for status in sorted(UNSENT | UNRESOLVED))
    + ") OR cancel_wanted != '' AND status IN ("
    + ", ".join(f"'{status}'" for status in sorted(AT_BROKER))
    + ")) ORDER BY ref"
)
_RECORDS_KEPT = 500
_TOLD = {"accepted": "accepted_told", "ended": "end_told"}


class OrderBook(OwnedBook):
    """Orders, their amendments and cancellations, their tickets."""

    def add_order(
        self,
        plan: OrderPlan,
        *,
        kind: OrderKind,
        venue: Venue = Venue.KRX,
        held: bool = False,
        origin: str = "strategy",
        **facts: Any,
    ) -> int:
        """Write an order down (W1); return its number.

        One to be sent now is settled on the disk by what must come before its first
        byte, SENDING: were the power lost in between, it has never been sent, and
        the strategy's memory is of the time before it as well.

        Args:
            plan: what the strategy wants.
            kind: as it will be sent.
            venue: where to.
            held: it waits for its phase; otherwise it is to be sent now.
            origin: ``strategy``, ``sell_all`` or ``calibrate``.
            facts: what is worth keeping, such as the risk verdict.
        """
        status = Status.HELD if held else Status.INTENT
        now = micros(self._clock.now())
        fixed = decode.plan_values(plan, kind, venue, origin)
        with self.together(settled=held):
            cursor = self._run_sql(
                "INSERT INTO orders (run, origin, number, symbol, side, quantity,"
                " order_type, kind, venue, limit_price, stop_price, session, bar,"
                " reason, grp, last_price, created, plan_check, status, changed)"
                " VALUES ((SELECT coalesce(max(number), 0) FROM runs),"
                " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*fixed, now, decode.checksum(fixed), status, now),
            )
            ref = int(cursor.lastrowid or 0)
            self._event(status, ref, **facts)
            self._marks.append(Mark.INTENT)
        return ref

    def record(  # noqa: PLR0913 - the facts of a result belong in one commit
        self,
        ref: int,
        status: Status,
        *,
        rule: str = "",
        note: str = "",
        confirmed_by: str = "",
        at: datetime | None = None,
        day: date | None = None,
        branch: str = "",
        number: str = "",
        **facts: Any,
    ) -> OrderRecord:
        """Move an order to `status`; the strategy hears what concerns it.

        Args:
            ref: of the order.
            status: SENDING is W2; what follows it is W3.
            rule: what refused it.
            note: for people.
            confirmed_by: ``rest``, ``notice`` or ``balance``.
            at: when it happened; now if None.
            day: with ACKED: date of the broker's number.
            branch: with ACKED: the broker's office.
            number: with ACKED: the broker's number of the order; becomes a ticket.
            facts: http status, code, reply: never headers or keys.

        Returns:
            The order afterwards.

        Raises:
            StorageError: not written. After SENDING the answer is kept in the
                emergency file and on stderr.
            ValueError: `lifecycle.TRANSITIONS` does not have the move.
        """
        words = {"rule": rule, "note": note, "confirmed_by": confirmed_by}
        ticket = (day, branch, number) if day and number else None
        try:
            with self.together():
                return self._record(ref, status, words, at=at, ticket=ticket, **facts)
        except StorageError:
            if status in _ANSWERS:
                self._cry(ref, status, branch=branch, number=number, note=note)
            raise

    def begin_sending(
        self, ref: int, *, meanwhile: Callable[[], None] = lambda: None
    ) -> bool:
        """Note that an order is about to leave (W2); return whether it may.

        It may not if another process has ended it meanwhile. One whose cancellation
        was asked for while it was away on a first try, which did not arrive, ends
        here.

        Args:
            ref: of the order.
            meanwhile: called when only the disk is left to wait for.

        Raises:
            StorageError: not written: it must not leave.
        """
        with self.together():
            order = self.order(ref)
            if order.status is not Status.INTENT:
                return False
            if order.cancel_wanted:
                self._record(ref, Status.CANCELLED, {"confirmed_by": "local"})
                return False
            move = check_move(order.status, Status.SENDING)
            self._write(ref, self._moved(order, Status.SENDING, move, None))
            self._event(Status.SENDING, ref)
            self._note_mark(order.status, Status.SENDING, move)
            meanwhile()
        return True

    def _record(
        self,
        ref: int,
        status: Status,
        words: Mapping[str, str],
        *,
        at: datetime | None = None,
        ticket: tuple[date, str, str] | None = None,
        **facts: Any,
    ) -> OrderRecord:
        # Read inside the transaction: another process may have moved it.
        before = self.order(ref)
        move = check_move(before.status, status)
        tell = self._what_to_tell(before, status, move)
        values = {name: word for name, word in words.items() if word}
        told: dict[str, Any] = {**words, **facts}
        if ticket is not None:
            self._add_ticket(ref, TicketRole.NEW, ticket, "", before.quantity)
            told |= {"branch": ticket[1], "number": ticket[2]}
            if not before.broker_number:
                values |= {"branch": ticket[1], "broker_number": ticket[2]}
        if move is Move.REOPENED:
            told["reopened"] = before.status
        self._write(ref, values | self._moved(before, status, move, tell))
        if move is not Move.NONE or any(told.values()):
            self._event(status, ref, tell=tell, at=at, **told)
        self._note_mark(before.status, status, move)
        return self.order(ref)

    def _moved(
        self, before: OrderRecord, status: Status, move: Move, tell: str | None
    ) -> dict[str, Any]:
        """Return the columns that follow from the status itself."""
        now = micros(self._clock.now())
        values: dict[str, Any] = {}
        if move is not Move.NONE:
            values |= {"status": status, "changed": now}
        if tell is not None:
            values[_TOLD[tell]] = 1
        if status is Status.SENDING and move is not Move.NONE:
            values |= {
                "sent": now,
                "attempts": before.attempts + 1,
                "known_to": self._last_sequence(),
            }
        return values

    def _write(self, ref: int, values: Mapping[str, Any]) -> None:
        if values:
            # Column names are this module's own.
            columns = ", ".join(f"{name} = ?" for name in values)
            self._run_sql(
                f"UPDATE orders SET {columns} WHERE ref = ?",  # noqa: S608
                (*values.values(), ref),
            )

    def _note_mark(self, before: Status, status: Status, move: Move) -> None:
        if move is Move.NONE:
            return
        if status is Status.SENDING:
            self._marks.append(Mark.SENDING)
        elif before is Status.SENDING:
            self._marks.append(Mark.RESULT)
        elif status is Status.INTENT:
            self._marks.append(Mark.INTENT)

    def _what_to_tell(
        self, order: OrderRecord, status: Status, move: Move
    ) -> str | None:
        if move is Move.NONE or order.origin != "strategy":
            return None
        if status not in AT_BROKER and status not in OUTCOMES:
            return None  # nothing to tell, whatever it has heard
        accepted, ended = self._one(
            "SELECT accepted_told, end_told FROM orders WHERE ref = ?", order.ref
        )
        if ended:
            return None  # its later fills are told, nothing else
        if status in AT_BROKER and not accepted:
            return "accepted"
        return "ended" if status in OUTCOMES else None

    def order(self, ref: int) -> OrderRecord:
        """Return an order.

        Raises:
            KeyError: there is none with this number.
        """
        row = self._one(f"{decode.SELECT_ORDER} WHERE ref = ?", ref)
        if row is None:
            raise KeyError(ref)
        return self._decoded(row)

    def _decoded(self, row: decode.Row) -> OrderRecord:
        """Return a row as a record; that of an open order is kept until it changes."""
        read_from, record = self._records.get(row[0], (None, None))
        if record is None or read_from != row:
            record = decode.order(row)
            if not record.is_open:
                self._records.pop(row[0], None)
                return record
            if len(self._records) >= _RECORDS_KEPT:
                self._records.clear()
            self._records[row[0]] = row, record
        return record

    def pressing(self) -> tuple[OrderRecord, ...]:
        """Return the orders something is to be done about, oldest first.

        Those not sent yet, those nobody knows about, and those at the broker whose
        cancellation is wanted.
        """
        return self._keep(
            _PRESSING, lambda: tuple(map(self._decoded, self._all(_PRESSING)))
        )

    def orders(
        self,
        *,
        statuses: frozenset[Status] | None = None,
        watched: bool | None = None,
        session: date | None = None,
        symbol: str | None = None,
        cancel_wanted: bool | None = None,
        run: int | None = None,
    ) -> tuple[OrderRecord, ...]:
        """Return orders, oldest first.

        Args:
            statuses: only these, for example `lifecycle.OPEN`.
            watched: True: only those whose day is not closed; False: the others.
            session: of this trading date.
            symbol: of this symbol.
            cancel_wanted: with, or without, a cancellation asked for.
            run: made by this run.
        """
        terms: list[str] = []
        values: list[Any] = []
        if statuses is not None:
            terms.append(f"status IN ({', '.join('?' * len(statuses))})")
            values += sorted(statuses)
            if not statuses & decode.CLOSABLE and watched is None:
                terms.append("closed = 0")
        for name, value in (
            ("closed", None if watched is None else int(not watched)),
            ("session", None if session is None else session.isoformat()),
            ("symbol", symbol),
            ("run", run),
        ):
            if value is not None:
                terms.append(f"{name} = ?")
                values.append(value)
        if cancel_wanted is not None:
            terms.append(f"cancel_wanted {'!=' if cancel_wanted else '='} ''")
        where = " WHERE " + " AND ".join(terms) if terms else ""
        sql = f"{decode.SELECT_ORDER}{where} ORDER BY ref"
        return self._keep(
            (sql, *values),
            lambda: tuple(map(self._decoded, self._all(sql, *values))),
        )

    def open_orders(self, symbol: str | None = None) -> tuple[OrderRecord, ...]:
        """Return the orders of which more may become, oldest first."""
        return self.orders(statuses=OPEN, symbol=symbol)

    def want_cancel(self, ref: int, by: str) -> OrderRecord:
        """Note that a cancellation is wanted; whoever trades carries it out.

        An order that has certainly not been sent ends here, in the same commit.

        Args:
            ref: of the order.
            by: ``strategy``, ``halt``, ``user`` ...

        Returns:
            The order afterwards.
        """
        with self.together():
            order = self.order(ref)
            if not order.is_open or order.cancel_wanted:
                return order
            if order.status in UNSENT:
                words = {"confirmed_by": "local"}
                return self._record(ref, Status.CANCELLED, words, by=by)
            self._run_sql(
                "UPDATE orders SET cancel_wanted = ? WHERE ref = ?", (by, ref)
            )
            self._event("cancel_wanted", ref, by=by)
            return self.order(ref)

    def count_orders(self, session: date | None = None) -> int:
        """Return how many orders were made for a trading date, or in all."""
        sql = "SELECT count(*) FROM orders"
        if session is None:
            return int(self._one(sql)[0])
        return int(self._one(f"{sql} WHERE session = ?", session.isoformat())[0])

    def add_change(
        self, ref: int, role: TicketRole, *, quantity: int | None = None, price: int = 0
    ) -> int:
        """Write an amendment or cancellation down before it is sent (W1).

        The order becomes AMENDING or CANCELLING when the change is SENDING.
        """
        now = micros(self._clock.now())
        with self.together():
            cursor = self._run_sql(
                "INSERT INTO changes (ref, role, quantity, price, status, known_to,"
                " made, changed) VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
                (ref, role, quantity, price, Status.INTENT, now, now),
            )
            change = int(cursor.lastrowid or 0)
            self._event(f"{role}_intent", ref, quantity=quantity, price=price or None)
            self._marks.append(Mark.INTENT)
        return change

    def record_change(
        self,
        change: int,
        status: Status,
        *,
        note: str = "",
        day: date | None = None,
        branch: str = "",
        number: str = "",
        **facts: Any,
    ) -> ChangeRecord:
        """Note what became of an amendment or cancellation (W2, W3).

        Args:
            change: its number.
            status: SENDING before the first byte; then ACKED with `number`, REFUSED,
                CLAIMED, UNKNOWN, NOT_SENT; ABSENT when it was looked for in vain.
            note: for people.
            day: with ACKED: date of the broker's number.
            branch: with ACKED: the broker's office.
            number: with ACKED: the change's own number at the broker.
            facts: http status, code, reply.
        """
        try:
            with self.together():
                self._record_change(change, status, note, (day, branch, number), facts)
                return self.change(change)
        except StorageError:
            if status in _ANSWERS:
                self._cry(
                    0, status, change=change, branch=branch, number=number, note=note
                )
            raise

    def _record_change(
        self,
        change: int,
        status: Status,
        note: str,
        answer: tuple[date | None, str, str],
        facts: Mapping[str, Any],
    ) -> None:
        before = self.change(change)
        order = self.order(before.ref)
        sends = status is Status.SENDING
        if sends and order.status in AT_BROKER:
            cancels = before.role is TicketRole.CANCEL
            moved = Status.CANCELLING if cancels else Status.AMENDING
            self._record(order.ref, moved, {})
        day, branch, number = answer
        if day and number:
            self._add_ticket(
                order.ref,
                before.role,
                (day, branch, number),
                self._working_number(order),
                before.quantity or order.open_quantity,
            )
        known_to = self._last_sequence() if sends else before.known_to
        self._run_sql(
            "UPDATE changes SET status = ?, changed = ?, note = ?, known_to = ?"
            " WHERE change = ?",
            (status, micros(self._clock.now()), note, known_to, change),
        )
        kind = f"{before.role}_{status}"
        self._event(kind, order.ref, note=note, number=number, **facts)
        if sends:
            self._marks.append(Mark.SENDING)
        elif before.status is Status.SENDING:
            self._marks.append(Mark.RESULT)

    def _working_number(self, order: OrderRecord) -> str:
        """Return the number that works now: an amendment takes its order's place."""
        numbers = [
            ticket.number
            for ticket in self.tickets(order.ref)
            if ticket.role is not TicketRole.CANCEL
        ]
        return numbers[-1] if numbers else order.broker_number

    def change(self, change: int) -> ChangeRecord:
        """Return an amendment or cancellation.

        Raises:
            KeyError: there is none with this number.
        """
        row = self._one("SELECT * FROM changes WHERE change = ?", change)
        if row is None:
            raise KeyError(change)
        return decode.change(row)

    def changes(
        self, ref: int | None = None, *, statuses: frozenset[Status] | None = None
    ) -> tuple[ChangeRecord, ...]:
        """Return amendments and cancellations, of one order or all, oldest first."""
        terms: list[str] = []
        values: list[Any] = []
        if ref is not None:
            terms.append("ref = ?")
            values.append(ref)
        if statuses is not None:  # of a journal's many a few
            terms.append(f"status IN ({', '.join('?' * len(statuses))})")
            values += sorted(statuses)
        where = " WHERE " + " AND ".join(terms) if terms else ""
        sql = f"SELECT * FROM changes{where} ORDER BY change"  # noqa: S608
        return self._keep(
            (sql, *values),
            lambda: tuple(decode.change(row) for row in self._all(sql, *values)),
        )

    def bind(
        self,
        ref: int,
        *,
        day: date,
        branch: str,
        number: str,
        role: TicketRole = TicketRole.NEW,
        parent: str = "",
        quantity: int | None = None,
    ) -> TicketRecord:
        """Make a number of the broker one of an order's; again changes nothing."""
        with self.together():
            order = self.order(ref)
            self._add_ticket(
                ref, role, (day, branch, number), parent, quantity or order.quantity
            )
            if role is TicketRole.NEW and not order.broker_number:
                self._run_sql(
                    "UPDATE orders SET branch = ?, broker_number = ? WHERE ref = ?",
                    (branch, number, ref),
                )
            self._event("bound", ref, number=number, role=role)
        found = self.find_ticket(day, number, branch)
        assert found is not None
        return found

    def _add_ticket(
        self,
        ref: int,
        role: TicketRole,
        ticket: tuple[date, str, str],
        parent: str,
        quantity: int,
    ) -> None:
        day, branch, number = ticket
        known = self.find_ticket(day, number, branch)
        if known is not None:
            if known.ref != ref:
                raise StorageError(
                    _(
                        "the broker gave number {number} of {day} to two orders, "
                        "{first} and {second}: nothing more is sent"
                    ).format(number=number, day=day, first=known.ref, second=ref)
                )
            return
        self._run_sql(
            "INSERT INTO tickets (ref, role, day, key, branch, number, parent,"
            " quantity) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                ref,
                role,
                day.isoformat(),
                order_key(number),
                branch,
                number,
                order_key(parent) if parent else "",
                quantity,
            ),
        )

    def find_ticket(
        self, day: date, number: str, branch: str = ""
    ) -> TicketRecord | None:
        """Return the ticket of a number; None if it is not kisbt's.

        A branch that is blank or unknown is not held against it as long as the
        number is unique on that day.
        """
        rows = self._all(
            "SELECT * FROM tickets WHERE day = ? AND key = ?",
            day.isoformat(),
            order_key(number),
        )
        found = [decode.ticket(row) for row in rows]
        exact = [t for t in found if t.branch == branch]
        best = exact or found
        return best[0] if len(best) == 1 else None

    def tickets(
        self, ref: int | None = None, *, day: date | None = None
    ) -> tuple[TicketRecord, ...]:
        """Return tickets of an order or a day, oldest first."""
        terms: list[str] = []
        values: list[str | int] = []
        if ref is not None:
            terms.append("ref = ?")
            values.append(ref)
        if day is not None:
            terms.append("day = ?")
            values.append(day.isoformat())
        where = " WHERE " + " AND ".join(terms) if terms else ""
        rows = self._all(
            f"SELECT * FROM tickets{where} ORDER BY ticket",  # noqa: S608
            *values,
        )
        return tuple(decode.ticket(row) for row in rows)

    def marks(self, day: date) -> dict[str, TicketMark]:
        """Return where the tickets of a day stand, by their normalised number.

        There may be thousands, and each query asks for all: they are not read whole.
        """
        with self._lock:
            cursor = self._run_sql(
                "SELECT * FROM tickets WHERE day = ? ORDER BY ticket",
                (day.isoformat(),),
            )
            try:
                return {row[4]: decode.mark(row) for row in cursor}
            except (sqlite3.Error, UnicodeError) as error:
                raise self._failed(error) from error

    def mark(self, ticket: int) -> TicketMark:
        """Return where a ticket stands.

        Raises:
            KeyError: there is none.
        """
        return decode.mark(self._ticket_row(ticket))

    def ticket(self, ticket: int) -> TicketRecord:
        """Return a ticket by the journal's number.

        Raises:
            KeyError: there is none.
        """
        return decode.ticket(self._ticket_row(ticket))

    def _ticket_row(self, ticket: int) -> decode.Row:
        row: decode.Row | None = self._one(
            "SELECT * FROM tickets WHERE ticket = ?", ticket
        )
        if row is None:
            raise KeyError(ticket)
        return row

    def _sum_up(self, ref: int) -> None:
        """Carry cancelled and refused shares of the tickets over to their order."""
        found = quantities(self.order(ref).quantity, self.tickets(ref))
        self._run_sql(
            "UPDATE orders SET cancelled = ?, rejected = ? WHERE ref = ?",
            (found.cancelled, found.rejected, ref),
        )

    def quantities(self, ref: int) -> Quantities:
        """Return where the shares of an order are, as far as the broker has said."""
        return quantities(self.order(ref).quantity, self.tickets(ref))
