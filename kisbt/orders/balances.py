"""The second witness: what the broker's balance says of shares and money."""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from kisbt.clock import KST
from kisbt.model.account import Balance
from kisbt.model.order import Side
from kisbt.model.ports import Urgency
from kisbt.orders.alarms import alarm, freeze
from kisbt.orders.booking import book, told
from kisbt.orders.decode import order_key
from kisbt.orders.deskstate import Desk
from kisbt.orders.ledger import (
    Claim,
    book_witnessed,
    noticed,
    witnessed,
    witnessed_amount,
)
from kisbt.orders.lifecycle import AT_BROKER
from kisbt.orders.reconcile import Finding, Kind, compare_positions
from kisbt.orders.rows import ExternalOrder, OrderRecord, TicketRole
from kisbt.text import _

log = logging.getLogger(__name__)


def shares(balance: Balance) -> dict[str, int]:
    """Return the shares of an account by symbol, without empty rows."""
    return {row.symbol: row.quantity for row in balance.positions if row.quantity}


def external_moves(desk: Desk, asked: datetime) -> dict[str, int]:
    """Return shares bought less sold by others since `outside` was agreed."""
    day = asked.astimezone(KST).date()
    agreed = desk.journal.load_state("external_levels") or {}
    moves: Counter[str] = Counter()
    for order in desk.journal.externals(day):
        key = f"{order.day}:{order_key(order.number)}:{order.branch}"
        more = order.filled - int(agreed.get(key, 0))
        moves[order.symbol] += more if order.side is Side.BUY else -more
    return {symbol: number for symbol, number in moves.items() if number}


def note_levels(desk: Desk, asked: datetime) -> None:
    """Remember that `outside` contains what others have filled so far."""
    day = asked.astimezone(KST).date()
    levels = external_levels(desk.journal.externals(day))
    desk.journal.save_state("external_levels", levels)


def external_levels(orders: Sequence[ExternalOrder]) -> dict[str, int]:
    """Return what orders of others have filled, as `note_levels` keeps it."""
    return {
        f"{order.day}:{order_key(order.number)}:{order.branch}": order.filled
        for order in orders
    }


def take_balance(desk: Desk, balance: Balance, asked: datetime) -> tuple[Finding, ...]:
    """Compare the account with the journal; act on what has lasted long enough.

    Args:
        desk: the parts.
        balance: complete.
        asked: when it was asked, aware KST.

    Returns:
        What differs now, acted on or not.
    """
    _watch_money(desk, balance)
    broker = shares(balance)
    if desk.state.query_broken:
        _book_witnessed(desk, broker)
    active = {
        order.symbol
        for order in desk.journal.orders(statuses=AT_BROKER)
        if order.open_quantity
    }
    findings = compare_positions(
        desk.journal.positions(),
        desk.journal.outside(),
        broker,
        external_moves=external_moves(desk, asked),
        own_active=active,
    )
    late = _late(desk, asked)
    if late & {item.symbol for item in findings}:
        desk.state.balance.want(desk.clock.monotonic() + desk.settings.mismatch_s)
    findings = tuple(item for item in findings if item.symbol not in late)
    # What agrees again is free again.
    differs = {item.symbol for item in findings} | late
    for symbol in [name for name in desk.state.capped if name not in differs]:
        del desk.state.capped[symbol]
    lasting = _lasting(desk, findings)
    for finding in lasting:
        _act(desk, finding)
    if lasting and not any(item.stops for item in findings):
        note_levels(desk, asked)
    return findings


def _late(desk: Desk, asked: datetime) -> set[str]:
    """Return symbols with an own fill so young that the balance may not show it."""
    lag_s = desk.settings.balance_lag_s
    now_s = desk.clock.monotonic()
    found = {
        symbol for symbol, at_s in desk.state.filled_s.items() if now_s - at_s < lag_s
    }
    today = asked.astimezone(KST).date()
    since = asked - timedelta(seconds=lag_s)
    recent = desk.journal.fills(session=today, since=since)
    return found | {fill.symbol for fill in recent if fill.at > since}


def _lasting(desk: Desk, findings: tuple[Finding, ...]) -> list[Finding]:
    """Return the findings two balances some seconds apart agree on.

    Holdings are shown late, and a fill may be booked between two questions.
    """
    state, now_s = desk.state, desk.clock.monotonic()
    found = []
    seen = set()
    for item in findings:
        key = f"holding:{item.symbol}"
        seen.add(key)
        value, since_s = state.mismatch.get(key, (item.broker, now_s))
        own = item.broker - item.own
        if value != own or key not in state.mismatch:
            since_s = now_s
        state.mismatch[key] = (own, since_s)
        if now_s - since_s >= desk.settings.mismatch_s:
            found.append(item)
        else:
            state.balance.want(now_s + desk.settings.mismatch_s)
    for key in [k for k in state.mismatch if k.startswith("holding:")]:
        if key not in seen:
            del state.mismatch[key]
    return found


def _act(desk: Desk, finding: Finding) -> None:
    journal, symbol = desk.journal, finding.symbol
    if finding.stops:
        if finding.broker < finding.own:
            desk.state.capped[symbol] = finding.broker
        if finding.kind is Kind.OWN_UNBOOKED:
            return  # an own order may fill: the next query tells
        freeze(desk, symbol, finding.text + ".")
        return
    if finding.kind is Kind.OWN_SOLD:
        gone = finding.own - finding.own_after
        journal.adjust(symbol=symbol, quantity=-gone, why="sold outside of kisbt")
        desk.state.capped.pop(symbol, None)
        alarm(desk, Urgency.CRITICAL, _("position follows"), finding.text)
    outside = journal.outside()
    outside[symbol] = finding.outside_after
    journal.set_outside(outside, finding.kind.value)
    desk.state.mismatch.pop(f"holding:{symbol}", None)
    log.info("%s", finding.text)


def _watch_money(desk: Desk, balance: Balance) -> None:
    """R7: an account in debt buys nothing."""
    owed = -balance.funds.deposit_d2
    off = desk.state.entries_off
    if owed <= 0:
        off.pop("debt", None)
        return
    if "debt" not in off:
        off["debt"] = _("the account will owe {won:,} won when all has settled").format(
            won=owed
        )
        alarm(desk, Urgency.CRITICAL, _("account in debt"), off["debt"])


def _book_witnessed(desk: Desk, broker: dict[str, int]) -> None:
    """Book what notices and the balance prove together (mock, broken query)."""
    journal = desk.journal
    day = desk.clock.now().astimezone(KST).date()
    outside = journal.outside()
    held = {item.symbol: item.quantity for item in journal.positions()}
    orders = {order.ref: order for order in _claimants(desk, day)}
    tickets = [
        ticket
        for ticket in journal.tickets(day=day)
        if ticket.ref in orders and ticket.role is not TicketRole.CANCEL
    ]
    for symbol in {orders[t.ref].symbol for t in tickets}:
        own = [t for t in tickets if orders[t.ref].symbol == symbol]
        claims = [
            Claim(
                ticket=t.ticket,
                side=orders[t.ref].side,
                noticed=noticed(t, told(desk, t)),
                applied=t.applied,
                # Nothing more comes of one that has ended.
                most=t.applied if orders[t.ref].is_ended else t.quantity,
            )
            for t in own
        ]
        known = held.get(symbol, 0) + outside.get(symbol, 0)
        for number, level in witnessed(claims, broker.get(symbol, 0) - known).items():
            ticket = journal.ticket(number)
            order = orders[ticket.ref]
            notices = told(desk, ticket)
            if noticed(ticket, notices) < level and not _waited(desk, number):
                continue  # its notices tell the price; they may be on their way
            amount = witnessed_amount(
                ticket,
                notices,
                level,
                totals=desk.state.totals,
                booked=_booked(desk, day),
                limit_price=order.limit_price,
                last_price=order.last_price,
            )
            costs = desk.settings.tariff.of(
                desk.settings.instruments[symbol], order.side, order.session
            )
            at = notices[-1].at if notices else desk.clock.now()
            book(desk, book_witnessed(ticket, level, amount, costs=costs, at=at))
            if noticed(ticket, notices) <= level:
                # What rows would confirm, two witnesses have.
                desk.state.unconfirmed_s.pop(number, None)


def _claimants(desk: Desk, day: date) -> list[OrderRecord]:
    """Return the orders whose fills the balance may show, or not show yet."""
    lag_s, now = desk.settings.balance_lag_s, desk.clock.now()
    return [
        order
        for order in desk.journal.orders(session=day, watched=True)
        if order.is_at_broker
        or (
            order.is_ended
            and order.filled
            and (now - order.changed).total_seconds() < lag_s
        )
    ]


def _waited(desk: Desk, ticket: int) -> bool:
    """Whether a fill without its notices has been seen for long enough."""
    state, now_s = desk.state, desk.clock.monotonic()
    _value, since_s = state.mismatch.setdefault(f"witness:{ticket}", (0, now_s))
    if now_s - since_s >= desk.settings.mismatch_s:
        del state.mismatch[f"witness:{ticket}"]
        return True
    # First the day's totals once more: they tell the price too.
    state.orders.want(now_s + desk.settings.rates.confirm_s)
    state.balance.want(now_s + desk.settings.mismatch_s)
    return False


def _booked(desk: Desk, day: date) -> dict[str, int]:
    tickets = desk.journal.tickets(day=day)
    return {
        "quantity": sum(t.applied for t in tickets),
        "amount": sum(t.applied_amount for t in tickets),
    }
