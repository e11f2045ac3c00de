"""A new journal in the place of a damaged one, from what the broker shows.

Nobody can know any more which shares and orders were kisbt's. So nothing is: all of
them are external, are never touched, and a person says in ``live.adopt`` which shares
belong to the strategy.
"""

from dataclasses import dataclass
from pathlib import Path

from kisbt.app.arming import disarm
from kisbt.app.instances import sole_owner
from kisbt.app.targets import Target
from kisbt.clock import Clock
from kisbt.errors import JournalDamaged, SafetyRefused
from kisbt.model.account import Balance
from kisbt.model.order import BrokerOrder
from kisbt.orders.balances import external_levels, shares
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import set_aside
from kisbt.orders.rows import ExternalOrder
from kisbt.text import _


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a new journal begins with.

    Attributes:
        aside: where the damaged one is now.
        outside: shares of the account by symbol, none of them kisbt's.
        working: orders that may still fill, for people, a line each.
        disarmed: live was armed, and is not any more.
    """

    aside: Path
    outside: dict[str, int]
    working: tuple[str, ...]
    disarmed: bool


def require_damage(target: Target) -> str:
    """Return what is wrong with a journal.

    Raises:
        SafetyRefused: nothing is, or a run trades the account.
        StorageError: it cannot be opened for another reason.
    """
    if not target.journal.exists():
        raise SafetyRefused(
            _("{path}: there is no journal to rebuild").format(path=target.journal)
        )
    with sole_owner(target.state):
        try:
            Journal(target.journal).close()
        except JournalDamaged as error:
            return str(error)
    raise SafetyRefused(
        _(
            "{path}: the journal is sound, so it is kept; to compare it with the "
            "broker: kisbt reconcile"
        ).format(path=target.journal)
    )


def rebuild(target: Target) -> Rebuilt:
    """Set a damaged journal aside and begin a new one; sends nothing.

    Args:
        target: the account; `require_damage` has looked at its journal.

    Raises:
        SafetyRefused: a run trades the account.
        KisError: the broker did not answer; nothing was changed.
        StorageError: the new one could not be written.
    """
    with sole_owner(target.state), target.open() as (_access, client, clock):
        today = clock.now().date()
        history = client.fetch_orders(today, today)
        balance = client.fetch_balance()
        # First: without the journal nobody knows what of the capital is spent.
        disarmed = disarm(target.state)
        aside = set_aside(target.journal, clock)
        with Journal(target.journal, clock=clock) as journal:
            _fill(journal, [row for row in history.rows if row.day == today], balance)
            _note(journal, aside, clock)
    return Rebuilt(
        aside=aside,
        outside=shares(balance),
        working=tuple(_text(row) for row in history.rows if _works(row)),
        disarmed=disarmed,
    )


def _fill(journal: Journal, rows: list[BrokerOrder], balance: Balance) -> None:
    with journal.together():
        for row in rows:
            journal.note_external(
                ExternalOrder(
                    day=row.day,
                    branch=row.branch,
                    number=row.number,
                    symbol=row.symbol,
                    side=row.side,
                    quantity=row.quantity,
                    filled=row.filled_quantity,
                    channel=row.channel,
                    told=True,
                )
            )
        for day in {row.day for row in rows}:
            seen = [(row.number, row.branch) for row in rows if row.day == day]
            journal.note_seen(day, seen)
        # The balance contains what they have filled so far.
        journal.save_state("external_levels", external_levels(journal.externals()))
        journal.set_outside(shares(balance), "rebuild")


def _note(journal: Journal, aside: Path, clock: Clock) -> None:
    journal.note(
        kind="rebuilt", at_day=clock.now().date().isoformat(), aside=aside.name
    )


def _works(row: BrokerOrder) -> bool:
    return row.remaining_quantity > 0 and not row.cancelled


def _text(row: BrokerOrder) -> str:
    return _("order {number}: {side} {quantity:,} {symbol}, {left:,} open").format(
        number=row.number,
        side=row.side.value,
        quantity=row.quantity,
        symbol=row.symbol,
        left=row.remaining_quantity,
    )
