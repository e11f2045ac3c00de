"""The emulated market fills as the backtest does: the same orders, the same fills."""

import random
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pytest

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.feed import CandleFeed, number_to_datetime
from kisbt.candles.store import CandleStore
from kisbt.emulator.account import Account
from kisbt.emulator.engine import Engine
from kisbt.emulator.exchange import Exchange
from kisbt.emulator.floor import Floor
from kisbt.emulator.orders import OrderRefused, Ticket
from kisbt.emulator.rules import Matching, Rules
from kisbt.emulator.scenario import Replay
from kisbt.krx.calendar import KST, default_calendar
from kisbt.krx.ticks import round_down_to_tick
from kisbt.model.candle import MINUTE
from kisbt.model.instrument import Instrument
from kisbt.model.order import OrderKind, Side

SAMPLE = Path(__file__).parents[2] / "data"
SYMBOLS = ("990001", "990004", "990005")
FIRST, LAST = date(2025, 12, 29), date(2025, 12, 30)
CASH = 200_000_000
SLIPPAGE, SHARE = 1, 0.001

Fill = tuple[datetime, str, str, int, float, float, float]
Wish = tuple[Side, int, int | None]


def _wishes(instrument: Instrument, end: datetime, close: float) -> list[Wish]:
    """Return the orders made on a bar: side, quantity, limit; by chance alone."""
    if end.date() < FIRST or end.hour * 100 + end.minute >= 1530:
        return []
    dice = random.Random(f"{instrument.symbol} {end}")
    wishes: list[Wish] = []
    for side, chance in ((Side.SELL, 0.25), (Side.BUY, 0.25)):
        if dice.random() < chance:
            away = dice.choice((None, 0.999, 1.0, 1.001))
            limit = None
            if away is not None:
                limit = round_down_to_tick(
                    close * away,
                    market=instrument.market,
                    product=instrument.product,
                    session=end.date(),
                )
            wishes.append((side, dice.randint(1, 60), limit))
    return wishes


class _Chance(bt.Strategy):  # type: ignore[misc]
    """Sends the wishes of each new bar."""

    def __init__(self) -> None:
        self.seen = dict.fromkeys(self.datas, 0)

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        for feed in self.datas:
            if len(feed) == self.seen[feed]:
                continue
            self.seen[feed] = len(feed)
            end = number_to_datetime(feed.datetime[0])
            for side, quantity, limit in _wishes(feed.instrument, end, feed.close[0]):
                send = self.buy if side is Side.BUY else self.sell
                kind = bt.Order.Market if limit is None else bt.Order.Limit
                send(data=feed, size=quantity, exectype=kind, price=limit)


def _backtest(store: CandleStore) -> list[Fill]:
    cerebro = bt.Cerebro(stdstats=False, runonce=False)
    broker = KrxBackBroker(cash=CASH, slippage_ticks=SLIPPAGE, volume_share=SHARE)
    cerebro.setbroker(broker)
    for symbol in SYMBOLS:
        candles = store.read(symbol, MINUTE).between(
            np.datetime64("2025-12-26"), np.datetime64(LAST)
        )
        instrument = store.instruments()[symbol]
        feed: Any = CandleFeed(
            dataname=candles, name=symbol, instrument=instrument, interval=MINUTE
        )
        cerebro.adddata(feed, name=symbol)
    cerebro.addstrategy(_Chance)
    cerebro.run()
    return sorted(
        (
            number_to_datetime(fill.bar),
            fill.symbol,
            str(fill.side),
            fill.quantity,
            fill.price,
            fill.commission,
            fill.tax,
        )
        for fill in broker.recorder.fills
    )


def _emulated(store: CandleStore) -> list[Fill]:
    calendar = default_calendar()
    floor = Floor(datetime(2025, 12, 29, 8, 20, tzinfo=KST))
    rules = Rules(matching=Matching.CANDLE, slippage_ticks=SLIPPAGE, volume_share=SHARE)
    desk = Exchange(
        floor, Account("50012345-01", "x", CASH), calendar, rules, mock=True
    )
    scenario = Replay(store, calendar, symbols=SYMBOLS)
    engine = Engine(floor, scenario, (desk,), calendar)
    closed: list[Any] = []
    engine.on_candle = closed.append
    while (coming := engine.next_time) is not None:
        engine.advance(coming)
        for bar in sorted(closed, key=lambda bar: SYMBOLS.index(bar.symbol)):
            instrument = store.instruments()[bar.symbol]
            end = bar.end.replace(tzinfo=None)
            for wish in _wishes(instrument, end, bar.close):
                _send(desk, bar.symbol, wish)
        closed.clear()
    return sorted(
        (
            fill.time.replace(tzinfo=None),
            fill.symbol,
            str(fill.side),
            fill.quantity,
            float(fill.price),
            float(fill.commission),
            float(fill.tax),
        )
        for order in desk.orders
        for fill in order.fills
    )


def _send(desk: Exchange, symbol: str, wish: Wish) -> None:
    side, quantity, limit = wish
    kind = OrderKind.MARKET if limit is None else OrderKind.LIMIT
    try:
        desk.submit(
            Ticket(
                symbol=symbol,
                side=side,
                quantity=quantity,
                price=limit or 0,
                order_kind=kind,
            )
        )
    except OrderRefused:
        return  # the backtest refuses it too, or the fills differ


@pytest.mark.slow
def test_candle_matching_makes_the_fills_of_the_backtest() -> None:
    store = CandleStore(SAMPLE)
    expected, found = _backtest(store), _emulated(store)
    assert len(expected) > 500
    assert {fill[2] for fill in expected} == {"buy", "sell"}
    assert found == expected
    assert found[-1][0] - found[0][0] > timedelta(days=1)
