"""The journal: every order, written down before anything is sent.

It is the memory of what kisbt did and owns. Every method is one transaction that is
on the disk when it returns, or has changed nothing and raised `StorageError`: then
nothing may be sent any more. Methods may be called from any thread, and from several
processes at once.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from kisbt.model.order import BrokerOrder, Notice, Side
from kisbt.orders import decode
from kisbt.orders.decode import micros, order_key
from kisbt.orders.lifecycle import (
    Status,
)
from kisbt.orders.orderbook import OrderBook
from kisbt.orders.records import DeskEvent
from kisbt.orders.rows import (
    Booking,
    DayRecord,
    FillRecord,
    Mark,
    NoticeRecord,
    OrderRecord,
    TicketRecord,
)

_RESULTS = frozenset(
    {
        Status.ACKED,
        Status.REFUSED,
        Status.CLAIMED,
        Status.UNKNOWN,
        Status.NOT_SENT,
        Status.INTENT,
    }
)


class Journal(OrderBook):
    """What kisbt did and owns under one profile and environment."""

    def add_notice(self, day: date, notice: Notice, digest: str) -> bool:
        """Keep a fill notice (W4), also of an order not known yet.

        Args:
            day: on which it came.
            notice: of kind FILLED.
            digest: `ledger.notice_digest`.

        Returns:
            False when the very same one is already there.
        """
        at = datetime.combine(day, notice.time, self._clock.now().tzinfo)
        with self.together():
            cursor = self._run_sql(
                "INSERT OR IGNORE INTO notices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    day.isoformat(),
                    order_key(notice.number),
                    digest,
                    notice.branch,
                    notice.symbol,
                    notice.side,
                    notice.quantity,
                    notice.price,
                    micros(at),
                    micros(self._clock.now()),
                ),
            )
            new = cursor.rowcount == 1
            if new:
                self._marks.append(Mark.EVIDENCE)
        return new

    def notices(self, day: date, number: str) -> tuple[NoticeRecord, ...]:
        """Return the distinct fill notices of a number, as they came."""
        rows = self._all(
            "SELECT * FROM notices WHERE day = ? AND key = ? ORDER BY rowid",
            day.isoformat(),
            order_key(number),
        )
        return tuple(decode.notice(row) for row in rows)

    def add_row(self, ticket: int, row: BrokerOrder) -> TicketRecord:
        """Keep what a complete query says of a ticket (W4), if it is news.

        Levels never fall: of an older, smaller answer nothing is kept. Whoever must
        act on a smaller one (a busted trade) compares before calling.
        """
        before = self.ticket(ticket)
        news = (
            max(before.confirmed, row.filled_quantity),
            before.confirmed_amount
            if row.filled_quantity < before.confirmed
            else row.filled_amount,
            max(before.cancelled, row.cancelled_quantity),
            max(before.rejected, row.rejected_quantity),
            row.remaining_quantity,
        )
        now = (
            before.confirmed,
            before.confirmed_amount,
            before.cancelled,
            before.rejected,
            before.remaining,
        )
        if news == now:
            return before
        with self.together():
            self._run_sql(
                "UPDATE tickets SET confirmed = ?, confirmed_amount = ?, cancelled = ?,"
                " rejected = ?, remaining = ? WHERE ticket = ?",
                (*news, ticket),
            )
            self._sum_up(before.ref)
            self._event(
                "row",
                before.ref,
                number=before.number,
                filled=row.filled_quantity,
                amount=row.filled_amount,
                left=row.remaining_quantity,
                cancelled=row.cancelled_quantity or None,
                rejected=row.rejected_quantity or None,
            )
            self._marks.append(Mark.EVIDENCE)
        return self.ticket(ticket)

    def note_seen(self, day: date, numbers: Sequence[tuple[str, str]]) -> None:
        """Remember numbers a complete query showed, as (number, branch).

        An order sent later cannot be one of them.
        """
        known = self.seen(day)
        new = {
            (order_key(number), branch)
            for number, branch in numbers
            if order_key(number) not in known
        }
        if not new:
            return
        with self.together():
            sequence = self._event("seen", count=len(new))
            for key, branch in sorted(new):
                self._run_sql(
                    "INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?)",
                    (day.isoformat(), key, branch, sequence),
                )

    def seen(self, day: date, up_to: int | None = None) -> frozenset[str]:
        """Return the normalised numbers seen on a day.

        Args:
            day: of the broker.
            up_to: only those seen up to this sequence (`OrderRecord.known_to`);
                kisbt's own tickets are not among them.
        """
        rows = self._all(
            "SELECT key FROM seen WHERE day = ? AND sequence <= ?",
            day.isoformat(),
            sys.maxsize if up_to is None else up_to,
        )
        return frozenset(row[0] for row in rows)

    def book(
        self,
        booking: Booking,
        *,
        status: Status | None = None,
        confirmed_by: str | None = None,
    ) -> FillRecord | None:
        """Book shares, position and cash in one commit (W5).

        Args:
            booking: see `ledger`.
            status: of the order afterwards; None leaves it.
            confirmed_by: of the order; that of the booking if None.

        Returns:
            None when this level of the ticket is booked already.

        Raises:
            StorageError: nothing was booked.
        """
        with self.together():
            ticket = self.ticket(booking.ticket)
            if booking.quantity:
                if booking.cumulative <= ticket.applied:
                    return None
                if booking.cumulative != ticket.applied + booking.quantity:
                    raise ValueError(
                        f"ticket {ticket.number}: {ticket.applied} booked, "
                        f"{booking.quantity} more are not {booking.cumulative}"
                    )
            elif not booking.amount and not booking.commission and not booking.tax:
                return None
            order = self.order(ticket.ref)
            sequence = self._write_fill(order, ticket, booking)
            if status is not None and status is not order.status:
                words = {"confirmed_by": confirmed_by or booking.confirmed_by}
                self._record(order.ref, status, words, at=booking.at)
            self._marks.append(Mark.FILL)
        return self._fill(sequence)

    def _write_fill(
        self, order: OrderRecord, ticket: TicketRecord, booking: Booking
    ) -> int:
        buys = order.side is Side.BUY
        kind = "fill" if booking.quantity else "correction"
        tell = "filled" if booking.quantity else "corrected"
        sequence = self._event(
            kind,
            order.ref,
            tell=tell if order.origin == "strategy" else None,
            at=booking.at,
        )
        if booking.quantity:
            signed = booking.quantity if buys else -booking.quantity
            price = booking.amount / booking.quantity
            before = self._move_position(order.symbol, signed, price)
        else:
            before = self._correct_position(order, booking.amount if buys else 0)
        self._run_sql(
            "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                sequence,
                order.ref,
                ticket.ticket,
                booking.quantity,
                booking.amount,
                booking.commission,
                booking.tax,
                booking.cumulative,
                micros(booking.at),
                booking.confirmed_by,
                *before,
            ),
        )
        self._run_sql(
            "UPDATE tickets SET applied = applied + ?, applied_amount ="
            " applied_amount + ? WHERE ticket = ?",
            (booking.quantity, booking.amount, ticket.ticket),
        )
        self._run_sql(
            "UPDATE orders SET filled = filled + ?, amount = amount + ?, commission ="
            " commission + ?, tax = tax + ?, confirmed_by = ? WHERE ref = ?",
            (
                booking.quantity,
                booking.amount,
                booking.commission,
                booking.tax,
                booking.confirmed_by,
                order.ref,
            ),
        )
        costs = booking.commission + booking.tax
        moved = -booking.amount if buys else booking.amount
        self._set_number("cash", self.cash() + moved - costs)
        return sequence

    def _correct_position(self, order: OrderRecord, amount: int) -> tuple[int, float]:
        """Spread a changed purchase price over the shares still held."""
        held, average = self._move_position(order.symbol, 0, 0.0)
        if held > 0 and amount:
            self._run_sql(
                "UPDATE positions SET average = ? WHERE symbol = ?",
                (average + amount / max(held, order.filled), order.symbol),
            )
        return held, average

    def _fill(self, sequence: int) -> FillRecord:
        row = self._one(f"{decode.SELECT_FILL} WHERE f.sequence = ?", sequence)
        return decode.fill(row)

    def fills(
        self,
        *,
        ref: int | None = None,
        session: date | None = None,
        after: int = 0,
        since: datetime | None = None,
    ) -> tuple[FillRecord, ...]:
        """Return fills and corrections, oldest first.

        Args:
            ref: of this order.
            session: of orders of this trading date.
            after: only those after this sequence.
            since: only those that happened then (aware) or later.
        """
        terms: list[str] = ["f.sequence > ?"]
        values: list[str | int] = [after]
        if ref is not None:
            terms.append("f.ref = ?")
            values.append(ref)
        if session is not None:
            terms.append("o.session = ?")
            values.append(session.isoformat())
        if since is not None:
            terms.append("f.at >= ?")
            values.append(micros(since))
        rows = self._all(
            f"{decode.SELECT_FILL} WHERE {' AND '.join(terms)} ORDER BY f.sequence",
            *values,
        )
        return tuple(decode.fill(row) for row in rows)

    def events_after(self, sequence: int) -> tuple[DeskEvent, ...]:
        """Return what the strategy is to hear, in order, after `sequence`."""
        rows = self._all(
            f"{decode.SELECT_TOLD} WHERE e.sequence > ?"
            " AND e.tell IS NOT NULL ORDER BY e.sequence",
            sequence,
        )
        return tuple(decode.desk_event(row) for row in rows)

    def mark_delivered(
        self, sequence: int, states: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Note what the strategy has heard (W6), and with it what it remembers.

        Args:
            sequence: of the last event heard; an earlier one than noted is ignored.
            states: see `save_state`; written in the same commit.
        """
        with self.together():
            if sequence > self.delivered_to():
                self._set_number("delivered", sequence)
            for name, value in (states or {}).items():
                self._save_state(name, value)
            self._marks.append(Mark.DELIVERED)

    def close_day(self, day: date) -> DayRecord:
        """Close a trading date: its orders take no more evidence.

        Raises:
            ValueError: one of its orders has not ended and is not in quarantine.
        """
        name = day.isoformat()
        with self.together():
            for order in self.orders(session=day, watched=True):
                if not order.is_ended and order.status is not Status.QUARANTINE:
                    raise ValueError(f"order {order.ref} is {order.status}")
            self._run_sql(
                "UPDATE orders SET closed = 1 WHERE session = ? AND status != ?",
                (name, Status.QUARANTINE),
            )
            fills = self._one(
                "SELECT count(*) FROM fills f JOIN orders o USING (ref)"
                " WHERE o.session = ? AND f.quantity > 0",
                name,
            )[0]
            values = (
                name,
                micros(self._clock.now()),
                self.cash(),
                self.count_orders(day),
                fills,
            )
            self._run_sql("INSERT OR REPLACE INTO days VALUES (?, ?, ?, ?, ?)", values)
            self._event("day", day=name, cash=self.cash())
        return decode.day(values)

    def days(self) -> tuple[DayRecord, ...]:
        """Return the closed dates, oldest first."""
        rows = self._all("SELECT * FROM days ORDER BY day")
        return tuple(decode.day(row) for row in rows)
