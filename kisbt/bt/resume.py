"""What a live broker begins with: own cash, own shares, orders still going."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol

from kisbt.model.order import OrderType, Side
from kisbt.orders.journal import Journal
from kisbt.orders.records import Filled, Holding


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingOrder:
    """An order of an earlier run that may still fill, or of which there is news.

    Attributes:
        ref: the journal's number.
        number: within the run that made it.
        filled: shares of which the strategy has heard.
        amount: won of those shares.
        last_price: won, when it was made.
        cancelling: a cancellation has been asked for.
        is_open: it has not ended; otherwise its end is news.
    """

    ref: int
    number: int
    symbol: str
    side: Side
    quantity: int
    filled: int
    amount: float
    order_type: OrderType
    limit_price: int | None
    stop_price: int | None
    session: date
    bar: datetime
    reason: str
    last_price: float
    cancelling: bool
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Where the strategy stands, as of the last event it was told.

    Attributes:
        cash: won of its own.
        holdings: its own shares.
        orders: oldest first.
    """

    cash: float
    holdings: Sequence[Holding] = ()
    orders: Sequence[GoingOrder] = field(default=())


class StateKeeper(Protocol):
    """Where the state of broker and strategies outlives the process."""

    def save_state(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a value of JSON under a name, durably.

        Raises:
            StorageError: it was not written.
        """
        ...

    def mark_delivered(
        self, sequence: int, states: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Note what the strategy has heard, and in the same breath keep states.

        Raises:
            StorageError: nothing of it was written.
        """
        ...

    def load_state(self, name: str) -> dict[str, Any] | None:
        """Return what was kept last; None if nothing was."""
        ...


def resume_from(journal: Journal) -> Resume:
    """Return where the strategy of a journal stands.

    Events it has not been told yet are left out: the venue tells them again.

    Raises:
        StorageError: the journal cannot be read.
    """
    delivered = journal.delivered_to()
    snapshot = journal.snapshot(delivered=True)
    untold = journal.events_after(delivered)
    wanted = {event.ref for event in untold}
    wanted.update(record.ref for record in journal.open_orders())
    orders = []
    for ref in sorted(wanted):
        record = journal.order(ref)
        if record.origin != "strategy":
            continue
        fresh = [e for e in untold if e.ref == ref and isinstance(e, Filled)]
        orders.append(
            GoingOrder(
                ref=ref,
                number=record.number,
                symbol=record.symbol,
                side=record.side,
                quantity=record.quantity,
                filled=record.filled - sum(e.quantity for e in fresh),
                amount=record.amount - sum(e.quantity * e.price for e in fresh),
                order_type=record.order_type,
                limit_price=record.limit_price,
                stop_price=record.stop_price,
                session=record.session,
                bar=record.bar,
                reason=record.reason,
                last_price=record.last_price,
                cancelling=bool(record.cancel_wanted),
                is_open=record.is_open,
            )
        )
    return Resume(
        cash=float(snapshot.cash),
        holdings=snapshot.holdings,
        orders=orders,
    )
