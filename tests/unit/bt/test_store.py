"""Batches of another thread become visible whole, one call a moment."""

import threading
from datetime import timedelta
from typing import Any

import backtrader as bt

from kisbt.bt.livefeed import LiveFeed
from kisbt.bt.store import FeedState, LiveStore
from kisbt.candles.columns import CandleColumns
from kisbt.model.candle import MINUTE, Candle
from kisbt.model.quote import Tick
from tests.helpers.handvenue import OPEN, SYMBOL

SYMBOLS = ("000001", "000002", "000003")
BATCHES = 300


class _Counting(bt.Strategy):
    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []
        self.told: list[str] = []
        self.heard: list[Any] = []

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        self.seen.append(tuple(map(len, self.datas)))

    def notify_data(self, data: Any, status: int, *args: Any, **kwargs: Any) -> None:
        self.told.append(data._getstatusname(status))

    def notify_store(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.heard.append((msg, args))


def _candle(minute: int, price: float) -> Candle:
    return Candle(
        end=OPEN + timedelta(minutes=minute),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=1.0,
    )


def _cerebro(store: LiveStore) -> Any:
    cerebro = bt.Cerebro(stdstats=False)
    for symbol in SYMBOLS:
        cerebro.adddata(
            LiveFeed(
                dataname=CandleColumns.empty(),
                name=symbol,
                store=store,
                interval=MINUTE,
            )
        )
    cerebro.addstrategy(_Counting)
    return cerebro


def test_a_batch_of_another_thread_is_one_call() -> None:
    store = LiveStore(wait_s=0.05)

    def produce() -> None:
        for minute in range(1, BATCHES + 1):
            store.publish({symbol: _candle(minute, 100) for symbol in SYMBOLS})
        store.put_notification("done", 7)
        store.finish()

    producer = threading.Thread(target=produce)
    cerebro = _cerebro(store)
    producer.start()
    strategy = cerebro.run()[0]
    producer.join()
    assert strategy.seen == [(n, n, n) for n in range(1, BATCHES + 1)]
    assert ("done", (7,)) in strategy.heard


def test_a_silent_symbol_has_no_bar_and_states_keep_their_place() -> None:
    store = LiveStore(wait_s=0.01)
    cerebro = _cerebro(store)

    steps = iter(
        [
            lambda: store.announce(FeedState.DELAYED),
            lambda: store.publish({"000001": _candle(1, 1), "000003": _candle(1, 1)}),
            lambda: store.announce(FeedState.LIVE, ["000001"]),
            lambda: store.publish({"000002": _candle(2, 1)}),
            store.finish,
        ]
    )

    def pump() -> None:
        next(steps)()

    store.pump = pump
    strategy = cerebro.run()[0]
    assert strategy.seen == [(1, 0, 1), (1, 1, 1)]
    assert strategy.told == ["DELAYED"] * 3 + ["LIVE"] + ["DISCONNECTED"] * 3


def test_trades_of_symbols_nobody_watches_are_remembered_only() -> None:
    store = LiveStore()
    one, two = (
        Tick(symbol, OPEN, 1000, 1, 0, 0, 0, None) for symbol in (SYMBOL, "000002")
    )
    store.watched = frozenset({SYMBOL})
    store.offer_ticks([one, two])
    assert store.take_ticks() == [one]
    assert store.take_ticks() == []
    assert store.last_ticks == {SYMBOL: one, "000002": two}


def test_loop_waits_until_a_stop_has_seen_its_trade() -> None:
    store = LiveStore(wait_s=0.0)
    tick = Tick(SYMBOL, OPEN, 1000, 1, 0, 0, 0, None)
    assert not store.offer_ticks([tick])  # nobody watches
    assert store.wait_looked(0.0)  # and so there is nothing to wait for
    store.watched = frozenset({SYMBOL})
    assert store.offer_ticks([tick])
    store.get_notifications()  # a pass begins; the trade has not been looked at
    assert not store.wait_looked(0.0)
    store.take_ticks()
    assert not store.wait_looked(0.0)  # nor is the pass over
    store.get_notifications()
    assert store.wait_looked(0.0)


def test_loop_waits_no_longer_once_there_is_an_order() -> None:
    store = LiveStore()
    store.watched = frozenset({SYMBOL})
    store.offer_ticks([Tick(SYMBOL, OPEN, 1000, 1, 0, 0, 0, None)])
    assert not store.wait_looked(0.0)
    store.end_look()
    assert store.wait_looked(0.0)
