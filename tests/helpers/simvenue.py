"""A simulated exchange behind `OrderVenue`: candles in, order news and bars out.

It runs in Cerebro's thread, pumped by the store, without network or journal: one
candle of every symbol a turn, first its trades, then the fills, then the bars.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kisbt.bt.store import LiveStore
from kisbt.candles.columns import CandleColumns
from kisbt.emulator.market import Bar
from kisbt.emulator.scenario import bars_of, walk_points
from kisbt.krx.calendar import default_calendar
from kisbt.krx.fees import commission, parse_commission, transaction_tax
from kisbt.krx.limits import price_band
from kisbt.krx.matching import (
    Terms,
    crowded_side,
    fillable_quantity,
    match_candle,
    slipped_price,
)
from kisbt.model.candle import Candle
from kisbt.model.instrument import Instrument, Product
from kisbt.model.order import OrderType, Side
from kisbt.model.quote import Tick
from kisbt.orders.records import (
    Accepted,
    DeskEvent,
    Ended,
    Filled,
    OrderPlan,
)


@dataclass
class SimOrder:
    """An order at the simulated exchange."""

    ref: int
    plan: OrderPlan
    left: int
    triggered: bool = False
    leaves: bool = False


class SimVenue:
    """An exchange that fills whole candles by `krx.matching`, and its desk."""

    def __init__(
        self,
        candles: Mapping[str, CandleColumns],
        instruments: Mapping[str, Instrument],
        *,
        start: Mapping[str, int] | None = None,
        commission: float | str = 0.0,
        tax: str = "none",
        slippage_ticks: int = 0,
        volume_share: float | None = None,
        length: timedelta | None = None,
    ) -> None:
        """Replay candles; the first `start` of each symbol are history."""
        self.candles, self.instruments = candles, instruments
        self.calendar = default_calendar()
        self.rate = parse_commission(commission, Product.STOCK)
        self.tax, self.slippage, self.share = tax, slippage_ticks, volume_share
        self.store: LiveStore | None = None
        self.broker: Any = None
        self.orders: dict[int, SimOrder] = {}
        self.plans: list[OrderPlan] = []
        self.cancels: list[int] = []
        self.delivered_to = 0
        self.sequence = 0
        self.events: list[DeskEvent] = []
        self.log: list[DeskEvent] = []
        self.half_done: list[Tick] = []
        self.skips: dict[int, str] = {}
        begins = start or {}
        turns: dict[datetime, list[Bar]] = {}
        for symbol, columns in candles.items():
            for bar in self._bars(symbol, columns.slice(begins.get(symbol, 0), None)):
                turns.setdefault(bar.end, []).append(bar)
        self.turns = [turns[end] for end in sorted(turns)]
        self.bases = {symbol: _bases(columns) for symbol, columns in candles.items()}
        self.now = self.turns[0][0].start if self.turns else datetime.max
        self.length = length

    def _bars(self, symbol: str, columns: CandleColumns) -> Iterable[Bar]:
        daily = len(set(columns.sessions.tolist())) == len(columns)
        length = timedelta(hours=6, minutes=30) if daily else timedelta(minutes=1)
        return bars_of(symbol, columns, length)

    # OrderVenue.

    def submit(self, plan: OrderPlan) -> int:
        ref = len(self.plans) + 1
        self.plans.append(plan)
        why = self.skips.get(ref)
        if why is not None:
            self._tell(Ended, ref, outcome="refused", rule=why, reason=f"no {why}")
            return ref
        self.orders[ref] = SimOrder(ref, plan, plan.quantity)
        self._tell(Accepted, ref)
        return ref

    def cancel(self, ref: int) -> None:
        self.cancels.append(ref)
        order = self.orders.get(ref)
        if order is not None:
            order.leaves = True

    def take_events(self) -> list[DeskEvent]:
        found, self.events = self.events, []
        return found

    def delivered(self, sequence: int) -> None:
        assert sequence <= self.sequence
        self.delivered_to = sequence

    def _tell(self, kind: Any, ref: int, **facts: Any) -> None:
        self.sequence += 1
        event = kind(sequence=self.sequence, ref=ref, at=self.now, **facts)
        self.events.append(event)
        self.log.append(event)

    # Time.

    def settle(self) -> None:
        """Carry out cancellations and let the broker react, until all is quiet."""
        while True:
            for order in list(self.orders.values()):
                if order.leaves:
                    del self.orders[order.ref]
                    self._tell(Ended, order.ref, outcome="cancelled")
            if not self.events:
                return
            self.broker.work()

    def pump(self) -> None:
        """Let the next candles happen."""
        assert self.store is not None
        self.settle()
        if not self.turns:
            self.store.finish()
            return
        bars = self.turns[0]
        if not self.half_done:
            self.half_done = self._ticks(bars)
        while self.half_done:
            tick = self.half_done.pop(0)
            self.now = tick.at
            self.store.offer_ticks([tick])
            self.broker.work()
            self.settle()
            if self.half_done:
                self._after_trade()
        del self.turns[0]
        self.now = bars[0].end
        for bar in bars:
            self._match(bar)
        self._expire()
        self.store.publish({bar.symbol: _candle(bar) for bar in bars})

    def _after_trade(self) -> None:
        """Do nothing; a test may end the process here."""

    def _ticks(self, bars: list[Bar]) -> list[Tick]:
        ticks = []
        for bar in bars:
            closes = self.calendar.close_time(bar.end.date())
            for point in walk_points(bar, closes):
                price = point.price
                ticks.append(
                    Tick(bar.symbol, point.time, price, point.quantity, 0, 0, 0, None)
                )
        return sorted(ticks, key=lambda tick: tick.at)

    def _match(self, bar: Bar) -> None:
        closes = self.calendar.close_time(bar.end.date())
        used = 0
        crowd = self._crowded(bar)
        for order in sorted(self.orders.values(), key=_made):
            plan = order.plan
            if plan.symbol != bar.symbol or plan.session != bar.end.date():
                continue
            if crowd is plan.side:
                continue
            outcome = match_candle(
                self._terms(order),
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                closes_session=bar.end >= closes,
            )
            order.triggered = order.triggered or outcome.triggered
            if outcome.price is None:
                continue
            quantity = fillable_quantity(order.left, bar.volume, self.share, used)
            if quantity <= 0:
                continue
            used += quantity
            self._fill(order, bar, outcome, quantity)

    def _terms(self, order: SimOrder) -> Terms:
        """Return what the order stands for: a released stop is matched as one.

        That is what a backtest does, also with what a first candle has left of it.
        """
        plan = order.plan
        kind = plan.order_type
        if plan.stop_price is not None:
            limited = kind is OrderType.LIMIT
            kind = OrderType.STOP_LIMIT if limited else OrderType.STOP
        limit, stop = plan.limit_price, plan.stop_price
        return Terms(plan.side, kind, limit, stop, order.triggered)

    def _fill(self, order: SimOrder, bar: Bar, outcome: Any, quantity: int) -> None:
        plan, price = order.plan, outcome.price
        instrument = self.instruments[plan.symbol]
        session = bar.end.date()
        if outcome.slips:
            buys = plan.side is Side.BUY
            worst = bar.high if buys else bar.low
            if plan.limit_price is not None:
                worst = (min if buys else max)(worst, plan.limit_price)
            price = slipped_price(
                price,
                plan.side,
                self.slippage,
                instrument,
                session,
                on_grid=True,
                worst=worst,
            )
        amount = price * quantity
        tax = 0
        if plan.side is Side.SELL and self.tax == "krx":
            tax = transaction_tax(
                amount,
                market=instrument.market,
                product=instrument.product,
                session=session,
            )
        order.left -= quantity
        if not order.left:
            del self.orders[order.ref]
        self._tell(
            Filled,
            order.ref,
            quantity=quantity,
            price=price,
            commission=commission(amount, self.rate),
            tax=tax,
            confirmed_by="rest",
        )

    def _crowded(self, bar: Bar) -> Side | None:
        base = self.bases[bar.symbol].get(bar.end.date(), 0.0)
        instrument = self.instruments[bar.symbol]
        if not base > 0:
            return None
        band = price_band(
            base,
            market=instrument.market,
            product=instrument.product,
            session=bar.end.date(),
            leverage=instrument.leverage,
        )
        return crowded_side(bar.open, bar.high, bar.low, bar.close, band)

    def _expire(self) -> None:
        day = self.now.date()
        for order in list(self.orders.values()):
            session = order.plan.session
            over = session < day or (
                session == day and self.now >= self.calendar.close_time(day)
            )
            if over:
                del self.orders[order.ref]
                self._tell(Ended, order.ref, outcome="expired")


def _made(order: SimOrder) -> tuple[datetime, int]:
    return order.plan.bar, order.plan.number


def _candle(bar: Bar) -> Candle:
    return Candle(
        end=bar.end,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=float(bar.volume),
    )


def _bases(columns: CandleColumns) -> dict[Any, float]:
    found: dict[Any, float] = {}
    last_day, last_close = None, 0.0
    for day, close in zip(
        columns.sessions.tolist(), columns.close.tolist(), strict=True
    ):
        if day != last_day:
            found[day] = last_close
            last_day = day
        last_close = close
    return found
