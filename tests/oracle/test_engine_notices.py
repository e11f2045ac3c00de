"""What a strategy has kept of its notices, and asked in them, is the same in both.

Each notice is read when it comes and once more at the end: a copy that shares too
much with its order would change in between, one that shares too little would not.
"""

import random
from collections.abc import Callable
from itertools import count
from typing import Any

import backtrader as bt
import pytest
from backtrader.brokers.bbroker import BackBroker
from backtrader.order import OrderBase
from backtrader.trade import Trade

from kisbt.bt.engine.cerebro import FastCerebro
from tests.helpers.engine_runs import (
    CandleFeed,
    _account,
    _clean,
    _order,
    _trade,
    krx,
    make_candles,
    none,
)

BARS = 90


class Random(bt.Strategy):
    """Orders of every kind, by the die; all it sees goes to `seen`."""

    params: Any = (("seed", 0), ("seen", None), ("schemes", True))

    def __init__(self) -> None:
        self.die = random.Random(self.p.seed)
        self.kept: list[tuple[Any, Any]] = []
        self.live: list[Any] = []

    def look(self, *more: Any) -> None:
        broker = self.broker
        self.p.seen.append(
            (
                *more,
                _clean(broker.getcash()),
                _clean(broker.getvalue()),
                _clean(broker.getvalue(lever=True)),
                _clean(broker.get_leverage()),
                _clean(broker.fundvalue),
                [order.ref for order in broker.pending],
            )
        )

    def notify_order(self, order: Any) -> None:
        found = _order(order)
        self.kept.append((order, found))
        self.look("order", found)
        if not order.alive():
            self.live = [item for item in self.live if item.ref != order.ref]
        if self.die.random() < 0.1:
            self.buy(data=order.data, size=self.die.randint(1, 9))

    def notify_trade(self, trade: Any) -> None:
        found = _trade(trade)
        self.kept.append((trade, found))
        self.p.seen.append(("trade", found))

    def next(self) -> None:
        for data in self.datas:
            if len(data) < 6:
                continue
            held = self.getposition(data)
            self.look(held.size, _clean(held.price), _clean(self.position.size))
            self.live += [item for item in self.orders_on(data) if item is not None]
            self.change_account(data)

    def orders_on(self, data: Any) -> list[Any]:
        die, price, kind = self.die, data.close[0], self.die.randrange(24)
        if kind < 5:
            size, trade = die.randint(1, 40), die.randint(0, 1)
            return [self.buy(data=data, size=size, tradeid=trade)]
        if kind < 9:
            return [self.sell(data=data, size=die.randint(1, 40), note="x")]
        if kind == 9:
            return [self.close(data=data), self.buy(data=data, size=10**7)]
        if kind == 10:
            prices = {"limitprice": price * 1.02, "stopprice": price * 0.97}
            bracket = self.buy_bracket(data=data, size=3, price=price * 0.99, **prices)
            return list(bracket)
        if kind == 11:
            stop = {"exectype": bt.Order.Stop, "price": price * 0.98}
            return [self.sell(data=data, size=2, **stop)]
        if kind == 12:
            return self.pair_on(data)
        if kind == 14:
            target = die.random() * 0.3
            return [self.order_target_percent(data=data, target=target)]
        if kind == 15:
            trail = {"exectype": bt.Order.StopTrail, "trailpercent": 0.02}
            return [self.buy(data=data, size=3, **trail)]
        if kind == 16 and self.live:
            self.cancel(die.choice(self.live))
        return []

    def pair_on(self, data: Any) -> list[Any]:
        limit = {"exectype": bt.Order.Limit, "price": data.close[0] * 0.99}
        first = self.buy(data=data, size=5, valid=data.datetime[0] + 3, **limit)
        limit["price"] = data.close[0] * 1.01
        return [first, self.sell(data=data, size=5, oco=first, **limit)]

    def change_account(self, data: Any) -> None:
        broker, kind = self.broker, self.die.randrange(90)
        if kind == 0:
            broker.add_cash(1_000.0)
        elif kind == 1:
            broker.set_cash(broker.getcash() + 7.0)
        elif kind == 2 and self.p.schemes:
            broker.setcommission(commission=0.0003)
        elif kind == 3 and self.p.schemes:
            futures = {"margin": 1_000.0, "mult": 2.0}
            broker.setcommission(commission=2.0, name=data._name, **futures)

    def stop(self) -> None:
        for item, was in self.kept:
            now = _order(item) if isinstance(item, OrderBase) else _trade(item)
            self.p.seen.append(("kept", now, now == was))
        self.p.seen.append([_order(order) for order in self.broker.orders])


def backtraders(seed: int) -> BackBroker:
    broker = BackBroker(
        cash=1e7, checksubmit=seed % 4 != 1, slip_perc=0.001 * (seed % 3 == 2)
    )
    broker.setcommission(commission=0.00015)
    if seed % 5 == 2:
        broker.set_filler(bt.broker.fillers.FixedBarPerc(perc=0.05))
    return broker


BROKERS: dict[str, Callable[[int], Any]] = {
    "backtrader": backtraders,
    "none": lambda seed: none(),
    "krx": lambda seed: krx(),
}


def seen_of(cerebro: bt.Cerebro, name: str, seed: int) -> tuple[list[Any], Any]:
    OrderBase.refbasis, Trade.refbasis = count(1), count(1)
    seen: list[Any] = []
    broker = BROKERS[name](seed)
    cerebro.setbroker(broker)
    for number in range(1 + seed % 3):
        candles = make_candles(
            BARS, seed * 10 + number, gaps=0.05 * (seed % 2), late=7 * number
        )
        cerebro.adddata(CandleFeed(dataname=candles, name=f"{number:06d}"))
    own = name != "krx"
    cerebro.addstrategy(Random, seed=seed, seen=seen, schemes=own)
    if seed % 4 == 3:
        cerebro.addstrategy(Random, seed=seed + 1, seen=seen, schemes=own)
    cerebro.run()
    return seen, _account(broker)


@pytest.mark.parametrize("name", sorted(BROKERS))
@pytest.mark.parametrize("seed", range(6))
def test_notices_stay_what_they_were(name: str, seed: int) -> None:
    options = {"stdstats": False, "tradehistory": seed % 2 == 0}
    fast = FastCerebro(**options)
    found = seen_of(fast, name, seed)
    assert fast.engine == "fast", fast.fallback
    assert found == seen_of(bt.Cerebro(**options), name, seed)
    assert any(item[0] == "kept" for item in found[0] if isinstance(item, tuple))
