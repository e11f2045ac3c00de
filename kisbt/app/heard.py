"""What the strategy's broker was told of its orders, and on which bar."""

from collections.abc import Callable, Sequence
from datetime import datetime

from kisbt.bt.market import to_kst
from kisbt.bt.packed import Packed
from kisbt.model.liverun import Heard, OrderEvent
from kisbt.orders.records import (
    Accepted,
    Corrected,
    DeskEvent,
    Ended,
    Filled,
    OrderPlan,
    OrderVenue,
)


class HeardVenue:
    """An `OrderVenue` that notes what passes through it.

    What is taken between two bars counts for the later one: there the strategy
    decides for the first time knowing it.
    """

    def __init__(self, venue: OrderVenue) -> None:
        """Pass everything on to `venue`."""
        self._venue = venue
        self._waiting: list[DeskEvent] = []
        self._heard: Packed[tuple[DeskEvent, datetime | None]] = Packed()
        self._last: datetime | None = None

    def submit(self, plan: OrderPlan) -> int:
        """Write an order down; see `OrderVenue`."""
        return self._venue.submit(plan)

    def cancel(self, ref: int) -> None:
        """Ask for a cancellation; see `OrderVenue`."""
        self._venue.cancel(ref)

    def take_events(self) -> Sequence[DeskEvent]:
        """Return what has happened since the last call; see `OrderVenue`."""
        events = self._venue.take_events()
        self._waiting.extend(events)
        return events

    def delivered(self, sequence: int) -> None:
        """Note what the strategy has heard; see `OrderVenue`."""
        self._venue.delivered(sequence)

    def on_bar(self, bar: float) -> None:
        """Note that the broker has booked what it took, on a bar's date number."""
        self._last = to_kst(bar)
        self._heard.extend((event, self._last) for event in self._waiting)
        self._waiting.clear()

    def events(self, number: Callable[[int], int | None]) -> tuple[OrderEvent, ...]:
        """Return everything heard, in journal order.

        Args:
            number: of an order in the run, by the journal's; None if it is not of
                this run.
        """
        rows = [*self._heard, *((event, self._last) for event in self._waiting)]
        found = []
        for event, bar in sorted(rows, key=lambda row: row[0].sequence):
            ref = number(event.ref)
            if ref is not None:
                found.append(_row(event, bar or event.at, ref))
        return tuple(found)


def _row(event: DeskEvent, bar: datetime, ref: int) -> OrderEvent:
    bar = bar.replace(microsecond=0)
    if isinstance(event, Filled):
        return OrderEvent(
            sequence=event.sequence,
            at=event.at,
            bar=bar,
            order_ref=ref,
            kind=Heard.FILLED,
            quantity=event.quantity,
            price=event.price,
            commission=event.commission,
            tax=event.tax,
            confirmed_by=event.confirmed_by,
        )
    if isinstance(event, Corrected):
        return OrderEvent(
            sequence=event.sequence,
            at=event.at,
            bar=bar,
            order_ref=ref,
            kind=Heard.CORRECTED,
            amount=event.amount,
        )
    if isinstance(event, Ended):
        return OrderEvent(
            sequence=event.sequence,
            at=event.at,
            bar=bar,
            order_ref=ref,
            kind=Heard.ENDED,
            outcome=event.outcome,
            rule=event.rule,
            reason=event.reason,
        )
    assert isinstance(event, Accepted)
    return OrderEvent(
        sequence=event.sequence,
        at=event.at,
        bar=bar,
        order_ref=ref,
        kind=Heard.ACCEPTED,
    )
