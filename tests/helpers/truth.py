"""Oracle P: the journal of kisbt against the emulator's own book.

The emulator knows what really happened. `differences` names every point in which the
journal says otherwise; an empty list is the proof of a test.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kisbt.orders.journal import Journal
from kisbt.orders.lifecycle import Status
from kisbt.orders.rows import OrderRecord, TicketRecord, TicketRole

OURS = "OpnAPI"


def _number(text: str) -> str:
    return text.lstrip("0")


def differences(
    journal: Journal,
    state: Mapping[str, Any],
    *,
    capital: int,
    environment: str = "mock",
    others: Iterable[str] = (),
    ended: bool = True,
    start: Mapping[str, int] | None = None,
) -> list[str]:
    """Return everything in which the journal differs from the truth.

    Args:
        journal: of the run, open.
        state: ``Emulator.state(calls=True)``.
        capital: won the strategy began with.
        environment: server.
        others: numbers of ``OpnAPI`` orders another program made.
        ended: every order must have ended (P5).
        start: own shares before the first order, by symbol.
    """
    side = state[environment]
    foreign = {_number(number) for number in others}
    real = [
        row
        for row in side["orders"]
        if row["channel"] == OURS and _number(row["number"]) not in foreign
    ]
    orders = journal.orders()
    tickets = [ticket for order in orders for ticket in journal.tickets(order.ref)]
    found = [
        *_numbers(real, orders, tickets),
        *_levels(real, tickets),
        *_money(journal, side, real, capital, dict(start or {})),
        *_posts(side, orders),
    ]
    if ended:
        found += [
            f"order {order.ref} is {order.status}"
            for order in orders
            if not order.is_ended and order.status is not Status.QUARANTINE
        ]
    return found


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["session"], _number(row["number"])


def _numbers(
    real: list[Any], orders: Iterable[OrderRecord], tickets: list[TicketRecord]
) -> list[str]:
    """P1: every order at the broker is one of ours, and the other way round."""
    there = Counter(_key(row) for row in real)
    here = Counter((str(t.day), _number(t.number)) for t in tickets)
    quarantined = [o for o in orders if o.status is Status.QUARANTINE]
    found = [f"{key} is at the broker, not in the journal" for key in there - here]
    if quarantined:
        found = []
    found += [f"{key} is in the journal, not at the broker" for key in here - there]
    new = Counter(t.ref for t in tickets if t.role is TicketRole.NEW)
    found += [
        f"order {ref} has {n} orders at the broker" for ref, n in new.items() if n > 1
    ]
    return found


def _levels(real: list[Any], tickets: list[TicketRecord]) -> list[str]:
    """P2: shares and won of every number."""
    booked = {
        (str(t.day), _number(t.number)): (t.applied, t.applied_amount) for t in tickets
    }
    return [
        f"{_key(row)}: {booked[_key(row)]} booked, {row['filled']}, {row['amount']} real"
        for row in real
        if _key(row) in booked and booked[_key(row)] != (row["filled"], row["amount"])
    ]


def _money(
    journal: Journal,
    side: Mapping[str, Any],
    real: list[Any],
    capital: int,
    start: dict[str, int],
) -> list[str]:
    """P3: shares exactly; cash to one won a fill, because costs are cut to a won."""
    ours = {_key(row) for row in real}
    shares: Counter[str] = Counter(start)
    cash, fills = capital, 0
    for fill in side["fills"]:
        if (fill["session"], _number(fill["number"])) not in ours:
            continue
        sign = 1 if fill["side"] == "buy" else -1
        shares[fill["symbol"]] += sign * fill["quantity"]
        cash -= sign * fill["quantity"] * fill["price"]
        cash -= fill["commission"] + fill["tax"]
        fills += 1
    held = {item.symbol: item.quantity for item in journal.positions() if item.quantity}
    real_held = {symbol: number for symbol, number in shares.items() if number}
    found = []
    if held != real_held:
        found.append(f"positions {held}, really {real_held}")
    if abs(journal.cash() - cash) > 2 * fills:
        found.append(f"cash {journal.cash()}, really {cash}")
    return found


def _posts(side: Mapping[str, Any], orders: Iterable[OrderRecord]) -> list[str]:
    """P4: no more orders reached the server than the journal says were sent."""
    rows = list(orders)
    sent = sum(order.attempts for order in rows)
    seen = sum(call["name"] == "order_cash" for call in side.get("call_log", ()))
    found = [] if seen <= sent else [f"{seen} orders were posted, {sent} written down"]
    found += [
        f"order {o.ref} was tried {o.attempts} times" for o in rows if o.attempts > 2
    ]
    return found
