"""One strategy on the backtest broker, and on the live one with a simulated exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import backtrader as bt
import numpy as np

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.feed import CandleFeed, datetime_numbers
from kisbt.bt.livebroker import LiveBroker
from kisbt.bt.livefeed import LiveFeed
from kisbt.bt.store import LiveStore
from kisbt.bt.warmup import hold_unless, hold_until
from kisbt.candles.columns import CandleColumns
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.instrument import Instrument
from tests.helpers.simvenue import SimVenue

Event = tuple[Any, ...]
COSTS = ("commission", "tax", "slippage_ticks", "volume_share")


def sorted_news(events: list[Event]) -> list[Event]:
    """Return the events, news between two calls by order instead of by arrival."""
    found: list[Event] = []
    news: list[Event] = []
    for event in (*events, ("end",)):
        if event[0] in ("order", "trade"):
            news.append(event)
            continue
        news.sort(key=lambda item: (item[0], item[1]))
        found.extend([*news, event])
        news = []
    return found


@dataclass
class LiveRun:
    """What a run left behind."""

    strategy: Any
    broker: Any
    events: list[Event]
    venue: SimVenue | None = None
    feeds: dict[str, Any] = field(default_factory=dict)

    @property
    def fills(self) -> list[Event]:
        return [
            (f.bar, f.symbol, str(f.side), f.quantity, f.price, f.commission, f.tax)
            for f in self.broker.recorder.fills
        ]

    @property
    def orders(self) -> list[Event]:
        return [
            (
                p.number,
                p.created,
                p.symbol,
                str(p.side),
                str(p.order_type),
                p.quantity,
                p.limit_price,
                p.reason,
                p.order.getstatusname(),
                p.end_reason,
            )
            for p in self.broker.recorder.orders
        ]

    @property
    def equity(self) -> list[Event]:
        kept = self.broker.recorder
        return list(zip(kept.times, kept.cash, kept.values, strict=True))


class _SimClock:
    """The simulated exchange's time."""

    def __init__(self, venue: SimVenue) -> None:
        self._venue = venue

    def now(self) -> Any:
        return self._venue.now


def told(kind: type[Any], events: list[Event]) -> type[Any]:
    """Return the class, which notes every call and every notification."""

    class Told(kind):
        def note(self, call: str) -> None:
            events.append(
                (
                    call,
                    max(d.datetime[0] for d in self.datas if len(d)),
                    tuple(map(len, self.datas)),
                    self.broker.getcash(),
                    self.broker.getvalue(),
                    tuple(self.getposition(d).size for d in self.datas),
                )
            )

        def next(self) -> None:
            self.note("next")
            super().next()

        def prenext(self) -> None:
            self.note("prenext")
            super().prenext()

        def notify_order(self, order: Any) -> None:
            done = order.executed
            made = reversed(self.broker.recorder.orders)  # mostly one of the last
            events.append(
                (
                    "order",
                    next((p.number for p in made if p.order.ref == order.ref), None),
                    order.data._name,
                    order.getstatusname(),
                    done.size,
                    done.price,
                    done.comm,
                    done.remsize,
                    done.psize,
                    done.pprice,
                )
            )
            super().notify_order(order)

        def notify_trade(self, trade: Any) -> None:
            events.append(
                (
                    "trade",
                    trade.data._name,
                    trade.size,
                    trade.price,
                    trade.pnl,
                    trade.pnlcomm,
                    trade.isclosed,
                )
            )
            super().notify_trade(trade)

    return Told


def _interval(columns: CandleColumns) -> Any:
    return DAILY if np.unique(columns.sessions).size == len(columns) else MINUTE


def run_backtest(
    kind: type[Any],
    candles: Mapping[str, CandleColumns],
    *,
    params: Mapping[str, Any] | None = None,
    instruments: Mapping[str, Instrument] | None = None,
    warmup: int = 0,
    **broker: Any,
) -> LiveRun:
    """Run on `KrxBackBroker`; `warmup` bars of each feed are history."""
    events: list[Event] = []
    cerebro = bt.Cerebro(stdstats=False, live=True)
    cerebro.setbroker(
        KrxBackBroker(
            **{**quiet(), **broker}, record_from=_after_history(candles, warmup)
        )
    )
    feeds = {}
    for symbol, columns in candles.items():
        feeds[symbol] = CandleFeed(
            dataname=columns,
            name=symbol,
            instrument=(instruments or {}).get(symbol, Instrument(symbol=symbol)),
            interval=_interval(columns),
        )
        cerebro.adddata(feeds[symbol])
    gated = hold_until(told(kind, events), _after_history(candles, warmup))
    cerebro.addstrategy(gated, **(params or {}))
    strategy = cerebro.run()[0]
    return LiveRun(strategy, cerebro.broker, events, None, feeds)


def run_live(
    kind: type[Any],
    candles: Mapping[str, CandleColumns],
    *,
    params: Mapping[str, Any] | None = None,
    instruments: Mapping[str, Instrument] | None = None,
    warmup: int = 0,
    venue: type[SimVenue] = SimVenue,
    live_broker: type[LiveBroker] = LiveBroker,
    **broker: Any,
) -> LiveRun:
    """Run on `LiveBroker` and a simulated exchange fed with the same candles."""
    events: list[Event] = []
    named = {
        symbol: (instruments or {}).get(symbol, Instrument(symbol=symbol))
        for symbol in candles
    }
    settings = {**quiet(), **broker}
    gate = _after_history(candles, warmup)
    start = {
        symbol: int(np.searchsorted(datetime_numbers(columns.end), gate))
        for symbol, columns in candles.items()
    }
    exchange = venue(
        candles, named, start=start, **{name: settings[name] for name in COSTS}
    )
    store = LiveStore(pump=exchange.pump)
    exchange.store = store
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(
        live_broker(venue=exchange, store=store, clock=_SimClock(exchange), **settings)
    )
    exchange.broker = cerebro.broker
    feeds = {}
    for symbol, columns in candles.items():
        feeds[symbol] = LiveFeed(
            dataname=columns.slice(0, start[symbol]),
            name=symbol,
            store=store,
            instrument=named[symbol],
            interval=_interval(columns),
        )
        cerebro.adddata(feeds[symbol])
    cerebro.addstrategy(
        hold_unless(told(kind, events), store.calls_on), **(params or {})
    )
    strategy = cerebro.run()[0]
    return LiveRun(strategy, cerebro.broker, events, exchange, feeds)


def quiet() -> dict[str, Any]:
    """Return broker settings without costs or limits."""
    return {
        "cash": 10_000_000.0,
        "commission": 0.0,
        "tax": "none",
        "slippage_ticks": 0,
        "volume_share": None,
    }


def _after_history(candles: Mapping[str, CandleColumns], warmup: int) -> float:
    """Return the date number of the first bar on which strategies are called."""
    if not warmup:
        return 0.0
    ends = np.unique(np.concatenate([c.end for c in candles.values()]))
    return float(datetime_numbers(ends[warmup : warmup + 1])[0])
