"""Builders of plans, rows, notices and journals for tests of `kisbt.orders`."""

from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from kisbt.clock import KST, ManualClock
from kisbt.model.order import (
    BrokerOrder,
    Notice,
    NoticeAction,
    NoticeKind,
    OrderKind,
    OrderType,
    Side,
    Venue,
)
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import notice_digest
from kisbt.orders.lifecycle import Status
from kisbt.orders.records import OrderPlan
from kisbt.orders.rows import NoticeRecord, OrderRecord, TicketRecord, TicketRole

DAY = date(2025, 11, 3)
NINE = datetime(2025, 11, 3, 9, 0, tzinfo=KST)
BRANCH = "00950"
CAPITAL = 10_000_000


def make_clock() -> ManualClock:
    return ManualClock(NINE)


def make_journal(folder: Path, clock: ManualClock | None = None, **how: Any) -> Journal:
    """Open a journal in a private folder below `folder`; begin a run if it is new."""
    place = folder / "state"
    place.mkdir(mode=0o700, exist_ok=True)
    how.setdefault("emergency", folder)
    return Journal(place / "journal.db", clock=clock or make_clock(), **how)


def begin(
    journal: Journal, *, capital: int = CAPITAL, run_id: str = "run-1"
) -> Journal:
    journal.begin_run(
        run_id=run_id,
        version="0.1",
        config_hash="c0ffee",
        mode="paper",
        account="****5678-01",
        capital=capital,
    )
    return journal


def make_plan(**changes: Any) -> OrderPlan:
    values: dict[str, Any] = {
        "number": 1,
        "symbol": "990001",
        "side": Side.BUY,
        "quantity": 10,
        "order_type": OrderType.LIMIT,
        "limit_price": 1000,
        "session": DAY,
        "bar": NINE,
        "reason": "cross up",
        "last_price": 990.0,
    }
    return OrderPlan(**(values | changes))


def send(
    journal: Journal, broker_number: str = "0000000012", **changes: Any
) -> tuple[int, TicketRecord]:
    """Write an order down and take it to ACKED; return it and its ticket."""
    ref = journal.add_order(make_plan(**changes), kind=OrderKind.LIMIT)
    journal.record(ref, Status.SENDING)
    journal.record(ref, Status.ACKED, day=DAY, branch=BRANCH, number=broker_number)
    return ref, journal.tickets(ref)[0]


def make_row(**changes: Any) -> BrokerOrder:
    values: dict[str, Any] = {
        "day": DAY,
        "time": time(9, 0),
        "branch": BRANCH,
        "number": "0000000012",
        "original_number": "",
        "symbol": "990001",
        "name": "가나다",
        "side": Side.BUY,
        "side_note": "현금매수",
        "kind": OrderKind.LIMIT,
        "kind_note": "지정가",
        "quantity": 10,
        "price": 1000,
        "filled_quantity": 0,
        "filled_amount": 0,
        "average_price": 0.0,
        "cancelled": False,
        "cancelled_quantity": 0,
        "remaining_quantity": 10,
        "rejected_quantity": 0,
        "venue": Venue.KRX,
        "channel": "OpnAPI",
    }
    return BrokerOrder(**(values | changes))


def make_notice(**changes: Any) -> Notice:
    values: dict[str, Any] = {
        "account": "1234567801",
        "number": "0000000012",
        "original_number": "",
        "side": Side.BUY,
        "kind": NoticeKind.FILLED,
        "action": NoticeAction.NEW,
        "order_kind": OrderKind.LIMIT,
        "symbol": "990001",
        "name": "가나다",
        "quantity": 4,
        "price": 1000,
        "time": time(9, 0, 5),
        "branch": BRANCH,
        "order_quantity": 10,
        "order_price": 1000,
        "venue": Venue.KRX,
    }
    return Notice(**(values | changes))


def make_noticed(**changes: Any) -> NoticeRecord:
    """Return a notice as the journal gives it back."""
    notice = make_notice(**changes)
    return NoticeRecord(
        day=DAY,
        number=notice.number.lstrip("0"),
        branch=notice.branch,
        digest=notice_digest(notice),
        symbol=notice.symbol,
        side=notice.side,
        quantity=notice.quantity,
        price=notice.price,
        at=datetime.combine(DAY, notice.time, KST),
        received=datetime.combine(DAY, notice.time, KST),
    )


def make_ticket(**changes: Any) -> TicketRecord:
    values: dict[str, Any] = {
        "ticket": 1,
        "ref": 1,
        "role": TicketRole.NEW,
        "day": DAY,
        "branch": BRANCH,
        "number": "0000000012",
        "parent": "",
        "quantity": 10,
        "applied": 0,
        "applied_amount": 0,
        "confirmed": 0,
        "confirmed_amount": 0,
        "cancelled": 0,
        "rejected": 0,
        "remaining": None,
    }
    return TicketRecord(**(values | changes))


def make_order(**changes: Any) -> OrderRecord:
    values: dict[str, Any] = {
        "ref": 1,
        "run": 1,
        "number": 1,
        "origin": "strategy",
        "symbol": "990001",
        "side": Side.BUY,
        "quantity": 10,
        "order_type": OrderType.LIMIT,
        "kind": OrderKind.LIMIT,
        "venue": Venue.KRX,
        "limit_price": 1000,
        "stop_price": None,
        "session": DAY,
        "bar": NINE,
        "reason": "",
        "group": "",
        "last_price": 990.0,
        "created": NINE,
        "status": Status.UNKNOWN,
        "changed": NINE,
        "sent": NINE,
        "attempts": 1,
        "known_to": 0,
        "branch": "",
        "broker_number": "",
        "filled": 0,
        "amount": 0,
        "commission": 0,
        "tax": 0,
        "cancelled": 0,
        "rejected": 0,
        "cancel_wanted": "",
        "rule": "",
        "note": "",
        "confirmed_by": "",
        "closed": False,
    }
    return OrderRecord(**(values | changes))


def free(amount: int) -> tuple[int, int]:
    """Return the costs of a broker that takes none."""
    del amount
    return 0, 0
