"""A live run moved by hand: each pass of Cerebro does the next step of a test."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import backtrader as bt

from kisbt.bt.livebroker import LiveBroker
from kisbt.bt.livefeed import LiveFeed
from kisbt.bt.store import LiveStore
from kisbt.bt.warmup import hold_unless
from kisbt.candles.columns import CandleColumns
from kisbt.clock import KST
from kisbt.errors import StorageError
from kisbt.model.candle import MINUTE, Candle
from kisbt.model.instrument import Instrument
from kisbt.model.quote import Tick
from kisbt.orders.records import (
    Accepted,
    Corrected,
    DeskEvent,
    Ended,
    Filled,
    OrderPlan,
)
from tests.helpers.liveruns import quiet
from tests.helpers.market import Scripted, daily

SYMBOL = "000001"
OPEN = datetime(2024, 1, 5, 9, 0, tzinfo=KST)

Step = Callable[["Bed"], Any]


class Bed:
    """An order venue, a store and a strategy of a script.

    Attributes:
        plans, cancels: what the broker has asked for, in order.
    """

    def __init__(self) -> None:
        self.plans: list[OrderPlan] = []
        self.cancels: list[int] = []
        self.heard = 0
        self.broken = False
        self.events: list[DeskEvent] = []
        self.sequence = 0
        self.minute = 0
        self.store = LiveStore(pump=self._step)
        self.steps: list[Step] = []
        self.broker: Any = None
        self.strategy: Any = None

    # OrderVenue.

    def submit(self, plan: OrderPlan) -> int:
        if self.broken:
            raise StorageError("the disk is full")
        self.plans.append(plan)
        return len(self.plans)

    def cancel(self, ref: int) -> None:
        self.cancels.append(ref)

    def take_events(self) -> list[DeskEvent]:
        found, self.events = self.events, []
        return found

    def delivered(self, sequence: int) -> None:
        self.heard = sequence

    # What a step may do.

    @property
    def now(self) -> datetime:
        return OPEN + timedelta(minutes=self.minute)

    def tell(self, kind: type[DeskEvent], ref: int, **facts: Any) -> None:
        self.sequence += 1
        self.events.append(kind(sequence=self.sequence, ref=ref, at=self.now, **facts))

    def accept(self, ref: int = 1) -> None:
        self.tell(Accepted, ref)

    def fill(self, ref: int, quantity: int, price: float, **costs: int) -> None:
        facts = {"commission": 0, "tax": 0, "confirmed_by": "rest", **costs}
        self.tell(Filled, ref, quantity=quantity, price=price, **facts)

    def end(self, ref: int, outcome: str, **facts: str) -> None:
        self.tell(Ended, ref, outcome=outcome, **facts)

    def correct(self, ref: int, amount: int) -> None:
        self.tell(Corrected, ref, amount=amount)

    def trade(self, price: int) -> None:
        at = self.now + timedelta(seconds=20)
        self.store.offer_ticks([Tick(SYMBOL, at, price, 1, 0, 0, 0, None)])

    def bar(
        self,
        close: float,
        *,
        high: float | None = None,
        low: float | None = None,
        live: bool = True,
    ) -> None:
        self.minute += 1
        candle = Candle(
            end=self.now,
            open=close,
            high=high or close,
            low=low or close,
            close=close,
            volume=1e6,
        )
        self.store.publish({SYMBOL: candle}, live=live)

    def _step(self) -> None:
        self.broker.work()
        if not self.steps:
            self.store.finish()
            return
        self.steps.pop(0)(self)

    # The strategy's side.

    def run(
        self,
        script: Mapping[int, Callable[[Any], Any]],
        *steps: Step,
        history: CandleColumns | None = None,
        **broker: Any,
    ) -> "Bed":
        self.steps = list(steps)
        cerebro = bt.Cerebro(stdstats=False)
        settings = {**quiet(), **broker}
        cerebro.setbroker(LiveBroker(venue=self, store=self.store, **settings))
        self.broker = cerebro.broker
        cerebro.adddata(
            LiveFeed(
                dataname=daily([1000]) if history is None else history,
                name=SYMBOL,
                store=self.store,
                instrument=Instrument(symbol=SYMBOL),
                interval=MINUTE,
            )
        )
        cerebro.addstrategy(
            hold_unless(Scripted, self.store.calls_on), script=dict(script)
        )
        self.strategy = cerebro.run()[0]
        return self

    def states(self, name: str) -> list[str]:
        """Return every state the strategy heard of an order it kept."""
        return list(self.strategy.states.get(self.strategy.orders[name].ref, []))

    def size(self) -> int:
        return int(self.broker.getposition(self.strategy.data).size)


def bar(close: float, **how: Any) -> Step:
    """Return a step: a bar."""
    return lambda bed: bed.bar(close, **how)


def do(*actions: Step) -> Step:
    """Return a step: several things at once."""

    def step(bed: Bed) -> None:
        for action in actions:
            action(bed)

    return step
