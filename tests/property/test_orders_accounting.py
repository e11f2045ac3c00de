"""Nothing is lost and nothing booked twice, whatever happens to notices and queries."""

import random
from collections import Counter
from dataclasses import replace
from datetime import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings, strategies as st

from kisbt.model.instrument import Instrument
from kisbt.model.order import BrokerOrder, OrderKind, Side
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import FillSource, Tariff, decide, notice_digest
from kisbt.orders.lifecycle import Status, status_of
from kisbt.orders.rows import Booking, NoticeRecord, TicketRecord
from tests.helpers.orders import (
    BRANCH,
    CAPITAL,
    DAY,
    NINE,
    begin,
    free,
    make_notice,
    make_noticed,
    make_plan,
    make_row,
    make_ticket,
)

Fill = tuple[int, int, int]
"""Shares, won a share, second."""


def history(dice: random.Random) -> tuple[int, list[Fill]]:
    """Return an order's shares and the fills it really gets."""
    ordered = dice.randint(1, 60)
    fills, left = [], ordered if dice.random() < 0.8 else dice.randint(0, ordered)
    second = 0
    while left:
        part = dice.choice([1, 5, 10, left])
        part = min(part, left)
        second += dice.choice([0, 0, 1, 7])
        fills.append((part, dice.choice([1000, 1000, 1005]), second))
        left -= part
    return ordered, fills


def evidence(dice: random.Random, fills: list[Fill]) -> list[tuple[str, int]]:
    """Return what arrives, in the order of arrival: notices and lagging queries."""
    found: list[tuple[float, str, int]] = []
    for number in range(len(fills)):
        if dice.random() < 0.8:  # one in five is lost
            found.append((number + dice.expovariate(1.0), "notice", number))
        if dice.random() < 0.2:  # one in five comes twice
            found.append((number + dice.expovariate(0.5), "notice", number))
    # A query tells the level of an earlier moment; its answer may be overtaken.
    found += [
        (asked + dice.expovariate(0.5), "level", max(0, asked - dice.randint(0, 3)))
        for asked in range(len(fills) + 1)
        if dice.random() < 0.6
    ]
    return [(kind, number) for _at, kind, number in sorted(found)]


def level_of(fills: list[Fill], number: int) -> tuple[int, int]:
    """Return shares and won after the first `number` fills."""
    done = fills[:number]
    return sum(f[0] for f in done), sum(f[0] * f[1] for f in done)


def apply(ticket: TicketRecord, bookings: tuple[Booking, ...]) -> TicketRecord:
    for booking in bookings:
        ticket = replace(
            ticket,
            applied=ticket.applied + booking.quantity,
            applied_amount=ticket.applied_amount + booking.amount,
        )
        assert booking.cumulative == ticket.applied
    return ticket


def told(ticket: TicketRecord, level: int, amount: int) -> TicketRecord:
    if level <= ticket.confirmed:
        return ticket
    return replace(ticket, confirmed=level, confirmed_amount=amount)


@pytest.mark.parametrize("source", list(FillSource))
@pytest.mark.parametrize("block", range(4))
def test_booked_is_never_above_the_truth_and_ends_at_it(
    source: FillSource, block: int
) -> None:
    dice = random.Random(block)
    lost = 0
    for _turn in range(3_000):
        ordered, fills = history(dice)
        ticket = make_ticket(quantity=ordered)
        notices: dict[str, NoticeRecord] = {}
        happened = 0
        for kind, number in evidence(dice, fills):
            if kind == "notice":
                happened = max(happened, number + 1)
                quantity, price, second = fills[number]
                notice = make_noticed(
                    quantity=quantity, price=price, time=time(9, 0, second % 60)
                )
                notices.setdefault(notice.digest, notice)
            else:
                happened = max(happened, number)
                ticket = told(ticket, *level_of(fills, number))
            before = ticket.applied
            seen = tuple(notices.values())
            ticket = apply(
                ticket, decide(ticket, seen, source=source, costs=free, at=NINE)
            )
            assert before <= ticket.applied <= level_of(fills, len(fills))[0]
        truth = level_of(fills, len(fills))
        lost += sum(n.quantity for n in notices.values()) < truth[0]
        ticket = told(ticket, *truth)
        seen = tuple(notices.values())
        for _again in range(3):
            ticket = apply(
                ticket, decide(ticket, seen, source=source, costs=free, at=NINE)
            )
        assert (ticket.applied, ticket.applied_amount) == truth
    assert lost > 900  # the histories are hard enough


class Exchange:
    """The truth: what each of its numbers was filled, and when that can be seen."""

    def __init__(self) -> None:
        self.fills: dict[str, list[tuple[int, int]]] = {}
        self.ordered: dict[str, tuple[str, Side, int]] = {}

    def row(self, number: str, lag: int) -> BrokerOrder:
        symbol, side, quantity = self.ordered[number]
        fills = self.fills[number]
        seen = fills[: max(0, len(fills) - lag)]
        shares = sum(f[0] for f in seen)
        return make_row(
            number=number,
            symbol=symbol,
            side=side,
            quantity=quantity,
            filled_quantity=shares,
            filled_amount=sum(a * b for a, b in seen),
            remaining_quantity=quantity - shares,
        )


TARIFF = Tariff()


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), source=st.sampled_from(list(FillSource)))
def test_the_journal_ends_with_the_brokers_shares_and_won(
    seed: int, source: FillSource
) -> None:
    dice = random.Random(seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o700)
        path = folder / "journal.db"
        market = Exchange()
        journal = begin(Journal(path, emergency=folder))
        for turn in range(30):
            if dice.random() < 0.1:  # the process dies and comes back
                journal.close()
                journal = Journal(path, emergency=folder)
            if len(market.ordered) < 6 and dice.random() < 0.4:
                _order(dice, market, journal, turn)
            for number in list(market.ordered):
                _happen(dice, market, journal, number, source)
        for number in market.ordered:
            _query(market, journal, number, 0, source)
        _compare(market, journal)
        journal.close()
        Journal(path, emergency=folder).close()  # its sums agree


def _order(dice: random.Random, market: Exchange, journal: Journal, turn: int) -> None:
    number = f"{turn + 1:010d}"
    symbol = dice.choice(["990001", "990002"])
    side = dice.choice(list(Side))
    quantity = dice.randint(1, 30)
    market.ordered[number] = (symbol, side, quantity)
    market.fills[number] = []
    ref = journal.add_order(
        make_plan(number=turn, symbol=symbol, side=side, quantity=quantity),
        kind=OrderKind.LIMIT,
    )
    journal.record(ref, Status.SENDING)
    journal.record(ref, Status.ACKED, day=DAY, branch=BRANCH, number=number)


def _happen(
    dice: random.Random,
    market: Exchange,
    journal: Journal,
    number: str,
    source: FillSource,
) -> None:
    symbol, side, quantity = market.ordered[number]
    left = quantity - sum(f[0] for f in market.fills[number])
    if left and dice.random() < 0.4:
        part = (dice.randint(1, left), dice.choice([1000, 1005, 1010]))
        market.fills[number].append(part)
        notice = make_notice(
            number=number,
            symbol=symbol,
            side=side,
            quantity=part[0],
            price=part[1],
            time=time(9, 0, dice.randint(0, 3)),
        )
        for _copy in range(dice.choice([0, 1, 1, 2])):
            journal.add_notice(DAY, notice, notice_digest(notice))
    if dice.random() < 0.5:
        _query(market, journal, number, dice.randint(0, 2), source)


def _query(
    market: Exchange, journal: Journal, number: str, lag: int, source: FillSource
) -> None:
    ticket = journal.find_ticket(DAY, number)
    assert ticket is not None
    ticket = journal.add_row(ticket.ticket, market.row(number, lag))
    order = journal.order(ticket.ref)
    costs = TARIFF.of(Instrument(symbol=order.symbol), order.side, DAY)
    notices = journal.notices(DAY, number)
    for booking in decide(ticket, notices, source=source, costs=costs, at=NINE):
        journal.book(booking)
        assert journal.book(booking) is None or not booking.quantity
    parts = journal.quantities(order.ref)
    if not order.is_ended and parts.filled:
        status = status_of(parts, fallback=order.status)
        if status is not order.status:
            journal.record(order.ref, status)


def _compare(market: Exchange, journal: Journal) -> None:
    shares: Counter[str] = Counter()
    amount = 0
    for number, fills in market.fills.items():
        symbol, side, quantity = market.ordered[number]
        sign = 1 if side is Side.BUY else -1
        ticket = journal.find_ticket(DAY, number)
        assert ticket is not None
        filled, won = level_of([(*f, 0) for f in fills], len(fills))
        assert (ticket.applied, ticket.applied_amount) == (filled, won)
        assert (journal.order(ticket.ref).status is Status.FILLED) == (
            filled == quantity
        )
        shares[symbol] += sign * filled
        amount -= sign * won
    held = {h.symbol: h.quantity for h in journal.positions()}
    assert held == {symbol: count for symbol, count in shares.items() if count}
    costs = sum(o.commission + o.tax for o in journal.orders())
    assert journal.cash() == CAPITAL + amount - costs
