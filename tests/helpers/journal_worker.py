"""A small order desk on the real journal, made to be killed at any commit.

Run as ``python -m tests.helpers.journal_worker FOLDER SEED MARK COUNT``: it trades
with a broker whose book is a file, and kills itself right after the COUNT-th commit
of MARK (``P`` is the moment between the broker's booking and its answer). Started
again it recovers, and goes on until all orders have ended.
"""

import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from kisbt.clock import ManualClock
from kisbt.model.instrument import Instrument
from kisbt.model.order import BrokerOrder, OrderKind, Side
from kisbt.orders.decode import order_key
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import FillSource, Tariff, decide, notice_digest
from kisbt.orders.lifecycle import AT_BROKER, OPEN, UNSENT, Status, status_of
from kisbt.orders.reconcile import Restart, at_start
from kisbt.orders.resolve import Looked, Verdict, candidates, resolve, search_for
from kisbt.orders.rows import OrderRecord
from tests.helpers.orders import (
    BRANCH,
    CAPITAL,
    DAY,
    NINE,
    begin,
    make_notice,
    make_plan,
    make_row,
)

ORDERS = 6
TARIFF = Tariff()


class Killer:
    """Ends the process at once, as a power cut would, at a chosen mark."""

    def __init__(self, mark: str, count: int) -> None:
        self.mark, self.left = mark, count

    def __call__(self, mark: str) -> None:
        if mark == self.mark:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class FileBroker:
    """The truth: a file to which every order and fill is added once."""

    def __init__(self, folder: Path, killer: Killer) -> None:
        self._file = folder / "broker.jsonl"
        self._kill = killer

    def lines(self) -> Iterator[dict[str, Any]]:
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                yield json.loads(line)

    def _add(self, **line: Any) -> None:
        with self._file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def post(self, order: OrderRecord, at: datetime) -> str:
        """Take an order; the answer may not arrive."""
        number = sum(line["do"] == "order" for line in self.lines()) + 1
        self._add(
            do="order",
            number=f"{number:010d}",
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            at=at.isoformat(),
        )
        self._kill("P")
        return f"{number:010d}"

    def trade(self, dice: random.Random) -> None:
        """Fill a part of each order."""
        for row in self.rows():
            if row.remaining_quantity and dice.random() < 0.7:
                part = dice.randint(1, row.remaining_quantity)
                price = dice.choice([1000, 1005])
                self._add(do="fill", number=row.number, quantity=part, price=price)

    def rows(self) -> tuple[BrokerOrder, ...]:
        """Return what a complete query of the day shows."""
        found = {line["number"]: line for line in self.lines() if line["do"] == "order"}
        filled = dict.fromkeys(found, (0, 0))
        for line in self.fills():
            shares, won = filled[line["number"]]
            part = line["quantity"]
            filled[line["number"]] = (shares + part, won + part * line["price"])
        return tuple(
            make_row(
                number=number,
                symbol=line["symbol"],
                side=Side(line["side"]),
                quantity=line["quantity"],
                time=datetime.fromisoformat(line["at"]).time().replace(microsecond=0),
                filled_quantity=filled[number][0],
                filled_amount=filled[number][1],
                remaining_quantity=line["quantity"] - filled[number][0],
            )
            for number, line in found.items()
        )

    def fills(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["do"] == "fill"]


class Worker:
    """Sends, polls, books and tells; what `recover` needs is in the journal alone."""

    def __init__(self, folder: Path, seed: int, killer: Killer) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        started = folder / "starts"
        starts = len(started.read_text()) if started.exists() else 0
        started.write_text("x" * (starts + 1))
        self.clock = ManualClock(NINE + timedelta(minutes=starts))
        self.broker = FileBroker(folder, killer)
        self.journal = Journal(
            folder / "journal.db",
            clock=self.clock,
            on_mark=killer,
            emergency=folder,
        )

    def run(self) -> None:
        if not self.journal.runs():
            begin(self.journal)
        else:
            self.recover()
            begin(self.journal, run_id="again")
        for _turn in range(200):
            self.clock.advance(1.0)
            made = len(self.journal.orders())
            if made < ORDERS and not self.journal.open_orders():
                self.make(made + 1)
            for order in self.journal.orders(statuses=frozenset({Status.INTENT})):
                self.send(order)
            self.broker.trade(self.dice)
            self.hear_notices()
            self.poll()
            self.tell()
            if made >= ORDERS and not self.journal.open_orders():
                break
        self.journal.end_run("done")
        self.journal.close()

    def make(self, number: int) -> None:
        held = self.journal.holding("990001").quantity
        side = Side.SELL if held else Side.BUY
        plan = make_plan(
            number=number, side=side, quantity=held or self.dice.randint(1, 9)
        )
        self.journal.add_order(plan, kind=OrderKind.LIMIT)

    def send(self, order: OrderRecord) -> None:
        self.journal.record(order.ref, Status.SENDING)
        number = self.broker.post(order, self.clock.now())
        self.journal.record(
            order.ref, Status.ACKED, day=DAY, branch=BRANCH, number=number
        )

    def hear_notices(self) -> None:
        for serial, line in enumerate(self.broker.fills()):
            notice = make_notice(
                number=line["number"],
                quantity=line["quantity"],
                price=line["price"],
                time=time(9, serial // 60 % 60, serial % 60),
            )
            self.journal.add_notice(DAY, notice, notice_digest(notice))

    def poll(self) -> None:
        rows = self.broker.rows()
        for row in rows:
            ticket = self.journal.find_ticket(DAY, row.number, row.branch)
            if ticket is None:
                continue
            self.journal.add_row(ticket.ticket, row)
            order = self.journal.order(ticket.ref)
            if order.status in AT_BROKER:
                self.book(order)
        self.journal.note_seen(DAY, [(row.number, row.branch) for row in rows])

    def book(self, order: OrderRecord) -> None:
        costs = TARIFF.of(Instrument(symbol=order.symbol), order.side, DAY)
        (ticket,) = self.journal.tickets(order.ref)
        notices = self.journal.notices(DAY, ticket.number)
        status = status_of(self.journal.quantities(order.ref), fallback=order.status)
        bookings = decide(
            ticket,
            notices,
            source=FillSource.NOTICE,
            costs=costs,
            at=self.clock.now(),
        )
        for booking in bookings:
            self.journal.book(booking, status=status)
        if self.journal.order(order.ref).status is not status:
            self.journal.record(order.ref, status, confirmed_by="rest")

    def tell(self) -> None:
        for event in self.journal.events_after(self.journal.delivered_to()):
            with (self.folder / "heard").open("a") as stream:
                stream.write(f"{event.sequence} {event.ref} {type(event).__name__}\n")
            self.journal.mark_delivered(event.sequence)

    def recover(self) -> None:
        rows = self.broker.rows()
        for order in self.journal.open_orders():
            need = at_start(order, DAY)
            if need is Restart.NOT_SENT:
                self.journal.record(order.ref, Status.NOT_SENT)
            elif need is Restart.RESOLVE:
                if order.status is Status.SENDING:
                    self.journal.record(order.ref, Status.UNKNOWN)
                self.find(self.journal.order(order.ref), rows)

    def find(self, order: OrderRecord, rows: tuple[BrokerOrder, ...]) -> None:
        found = candidates(
            search_for(order),
            rows,
            known=self.journal.seen(DAY, order.known_to),
            bound=[order_key(t.number) for t in self.journal.tickets(day=DAY)],
        )
        looked = Looked(clean=5, waited_s=60.0)
        resolution = resolve(order.status, found, looked)
        if resolution.verdict is Verdict.ADOPT:
            self.journal.record(
                order.ref,
                Status.ACKED,
                day=DAY,
                branch=resolution.row.branch,
                number=resolution.row.number,
                confirmed_by="rest",
            )
        else:
            assert resolution.verdict is Verdict.ABSENT
            self.journal.record(order.ref, Status.ABSENT)


def faults(folder: Path) -> list[str]:
    """Return every way in which the journal differs from the broker's book."""
    found = []
    broker = FileBroker(folder, Killer("", 0))
    with Journal(folder / "journal.db", emergency=folder) as journal:
        orders = journal.orders()
        found += [f"{o.ref} is {o.status}" for o in orders if o.status in OPEN | UNSENT]
        numbers = {t.number: t for t in journal.tickets()}
        rows = {row.number: row for row in broker.rows()}
        if numbers.keys() != rows.keys():
            found.append(f"numbers {sorted(numbers)} and {sorted(rows)}")
        shares, cash = 0, CAPITAL
        for number, row in rows.items():
            sign = 1 if row.side is Side.BUY else -1
            shares += sign * row.filled_quantity
            cash -= sign * row.filled_amount
            ticket = numbers.get(number)
            level = ticket and (ticket.applied, ticket.applied_amount)
            if level != (row.filled_quantity, row.filled_amount):
                found.append(f"{number}: {level}, really {row}")
        cash -= sum(o.commission + o.tax for o in orders)
        if journal.holding("990001").quantity != shares or journal.cash() != cash:
            found.append(f"{journal.snapshot()}, really {shares} and {cash}")
        posted = sum(line["do"] == "order" for line in broker.lines())
        if posted > sum(o.attempts for o in orders) or any(
            o.attempts > 1 for o in orders
        ):
            found.append(f"{posted} posts")
        heard = (folder / "heard").read_text().splitlines()
        to_tell = [e.sequence for e in journal.events_after(0)]
        if sorted({int(line.split()[0]) for line in heard}) != to_tell:
            found.append(f"heard {heard}, told {to_tell}")
        found += [line for line in heard if heard.count(line) > 1]
    return found


def main() -> None:
    folder, seed, mark, count = sys.argv[1:]
    Worker(Path(folder), int(seed), Killer(mark, int(count))).run()


if __name__ == "__main__":
    main()
