"""The simulated exchange with the real journal before it, and runs that crash."""

from collections.abc import Mapping
from typing import Any

import backtrader as bt

from kisbt.bt.livebroker import LiveBroker
from kisbt.bt.livefeed import LiveFeed
from kisbt.bt.resume import resume_from
from kisbt.bt.store import LiveStore
from kisbt.bt.warmup import hold_unless
from kisbt.candles.columns import CandleColumns
from kisbt.model.candle import MINUTE
from kisbt.model.instrument import Instrument
from kisbt.model.order import OrderKind
from kisbt.orders.journal import Journal
from kisbt.orders.lifecycle import Status
from kisbt.orders.records import Accepted, DeskEvent, Ended, Filled, OrderPlan
from kisbt.orders.rows import Booking
from tests.helpers.simvenue import SimVenue

_ENDS = {
    "cancelled": Status.CANCELLED,
    "expired": Status.EXPIRED,
    "refused": Status.REFUSED,
}


class Crashed(Exception):
    """The process is gone."""


class JournalVenue(SimVenue):
    """`SimVenue` whose news goes through a journal; the exchange survives a crash.

    Attributes:
        crash: (turn, place): ``before`` the candles of a turn, after a ``trade`` of
            it, or when its ``fills`` are booked and nobody has been told.
    """

    def __init__(self, journal: Journal, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.journal = journal
        self.taken = 0
        self.turn = 0
        self.crash: tuple[int, str] | None = None
        self.unpublished: Any = None
        self._cumulative: dict[int, int] = {}

    def submit(self, plan: OrderPlan) -> int:
        kind = OrderKind.LIMIT if plan.limit_price else OrderKind.MARKET
        ref = self.journal.add_order(plan, kind=kind)
        assert ref == len(self.plans) + 1
        super().submit(plan)
        return ref

    def cancel(self, ref: int) -> None:
        self.journal.want_cancel(ref, "strategy")
        super().cancel(ref)

    def _tell(self, kind: Any, ref: int, **facts: Any) -> None:
        super()._tell(kind, ref, **facts)
        event = self.events.pop()
        assert event is self.log[-1]
        if isinstance(event, Accepted):
            self.journal.record(ref, Status.SENDING)
            self.journal.record(
                ref,
                Status.ACKED,
                day=self.now.date(),
                branch="00950",
                number=f"{ref:010}",
            )
        elif isinstance(event, Filled):
            self._book(ref, event)
        elif isinstance(event, Ended):
            self.journal.record(ref, _ENDS[event.outcome], note=event.reason)

    def _book(self, ref: int, event: Filled) -> None:
        done = self._cumulative.get(ref, 0) + event.quantity
        self._cumulative[ref] = done
        whole = done == self.plans[ref - 1].quantity
        self.journal.book(
            Booking(
                ticket=self.journal.tickets(ref)[0].ticket,
                quantity=event.quantity,
                amount=round(event.quantity * event.price),
                commission=event.commission,
                tax=event.tax,
                cumulative=done,
                at=event.at,
                confirmed_by="rest",
            ),
            status=Status.FILLED if whole else None,
        )

    def take_events(self) -> list[DeskEvent]:
        found = list(self.journal.events_after(self.taken))
        if found:
            self.taken = found[-1].sequence
        return found

    def has_events(self) -> bool:
        return bool(self.journal.events_after(self.taken))

    def settle(self) -> None:
        while True:
            for order in list(self.orders.values()):
                if order.leaves:
                    del self.orders[order.ref]
                    self._tell(Ended, order.ref, outcome="cancelled")
            if not self.has_events():
                return
            self.broker.work()

    def _crash_at(self, place: str) -> None:
        if self.crash is None:
            return
        turn, where = self.crash
        if self.turn >= turn and where == place:
            self.crash = None
            raise Crashed

    def pump(self) -> None:
        assert self.store is not None
        if self.unpublished is not None:
            self.settle()
            candles, self.unpublished = self.unpublished, None
            self.store.publish(candles)
            return
        if not self.half_done:
            self.turn += 1
            self._crash_at("before")
        publish = self.store.publish
        self.store.publish = self._publish_or_crash(publish)  # type: ignore[method-assign]
        try:
            super().pump()
        finally:
            self.store.publish = publish  # type: ignore[method-assign]

    def _publish_or_crash(self, publish: Any) -> Any:
        def tell(candles: Any) -> None:
            self.unpublished = candles
            self._crash_at("fills")
            self.unpublished = None
            publish(candles)

        return tell

    def _after_trade(self) -> None:
        self._crash_at("trade")

    def restart(self) -> None:
        """Forget what the process knew; the exchange has its orders."""
        self.taken = self.journal.delivered_to()


def run_once(
    venue: JournalVenue,
    strategy: type[Any],
    *,
    params: Mapping[str, Any],
    instruments: Mapping[str, Instrument],
    candles: Mapping[str, CandleColumns],
    live_broker: type[LiveBroker] = LiveBroker,
    **broker: Any,
) -> Any:
    """Run until the end or the crash; return the strategy, None after a crash."""
    venue.restart()
    store = LiveStore(pump=venue.pump)
    venue.store = store
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(
        live_broker(
            venue=venue,
            store=store,
            keeper=venue.journal,
            resume=resume_from(venue.journal),
            **broker,
        )
    )
    venue.broker = cerebro.broker
    for symbol, columns in candles.items():
        cerebro.adddata(
            LiveFeed(
                dataname=columns,
                name=symbol,
                store=store,
                instrument=instruments[symbol],
                interval=MINUTE,
            )
        )
    cerebro.addstrategy(hold_unless(strategy, store.calls_on), **params)
    try:
        return cerebro.run()[0]
    except Crashed:
        return None
