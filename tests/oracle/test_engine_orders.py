"""Both engines send, fill, cancel and report orders alike, in either set of rules."""

import datetime as dt
import functools
import random
from collections.abc import Callable
from typing import Any

import backtrader as bt
import pytest
from backtrader.brokers.bbroker import BackBroker

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.orders.risk import RiskLimits
from tests.helpers.engine_runs import (
    CASH,
    Feeds,
    Outcome,
    assert_equal,
    krx,
    make_candles,
    none,
    run,
)

Order = bt.Order
Act = Callable[[Any, Any, random.Random], Any]


class Player(bt.Strategy):
    """Does one thing or another on every bar, by a seeded die."""

    params = (("act", None), ("seed", 1), ("every", 2))

    def __init__(self) -> None:
        self.die = random.Random(self.p.seed)
        self.live: list[Any] = []
        self.average = {d: bt.ind.SMA(d.close, period=3) for d in self.datas}

    def notify_order(self, order: Any) -> None:
        if not order.alive():
            self.live = [o for o in self.live if o.ref != order.ref]

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        for feed in self.datas:
            if len(feed) < 4 or (len(self) + self.datas.index(feed)) % self.p.every:
                continue
            made = self.p.act(self, feed, self.die)
            made = made if isinstance(made, list) else [made]
            self.live += [o for o in made if o is not None and o.alive()]


def _held(s: Any, d: Any) -> int:
    return s.getposition(d).size


def market(s: Any, d: Any, r: random.Random) -> Any:
    if _held(s, d):
        return s.close(data=d, reason="out")
    return s.buy(data=d, size=r.randint(1, 900), reason="in")


def adding(s: Any, d: Any, r: random.Random) -> Any:
    if _held(s, d) > 500:
        return s.sell(data=d, size=r.randint(1, 300))
    return s.buy(data=d, size=r.randint(1, 200))


def limit(s: Any, d: Any, r: random.Random) -> Any:
    price = d.close[0] * r.uniform(0.97, 1.03)
    if _held(s, d):
        return s.sell(data=d, size=_held(s, d), exectype=Order.Limit, price=price)
    return s.buy(data=d, size=50, exectype=Order.Limit, price=price)


def limit_by_plimit(s: Any, d: Any, r: random.Random) -> Any:
    price = d.close[0] * r.uniform(0.98, 1.0)
    return s.buy(data=d, size=5, exectype=Order.Limit, plimit=price)


def stop(s: Any, d: Any, r: random.Random) -> Any:
    if _held(s, d):
        low = d.close[0] * r.uniform(0.97, 1.0)
        return s.sell(data=d, size=_held(s, d), exectype=Order.Stop, price=low)
    high = d.close[0] * r.uniform(1.0, 1.03)
    return s.buy(data=d, size=40, exectype=Order.Stop, price=high)


def stop_limit(s: Any, d: Any, r: random.Random) -> Any:
    trigger, worst = sorted((r.uniform(0.98, 1.02), r.uniform(0.98, 1.02)))
    close = d.close[0]
    how = {"exectype": Order.StopLimit, "price": close * trigger}
    if _held(s, d):
        return s.sell(data=d, size=_held(s, d), plimit=close * worst, **how)
    return s.buy(data=d, size=30, plimit=close * worst, **how)


def at_close(s: Any, d: Any, r: random.Random) -> Any:
    if _held(s, d):
        return s.sell(data=d, size=_held(s, d), exectype=Order.Close)
    return s.buy(data=d, size=20, exectype=Order.Close)


def trail(s: Any, d: Any, r: random.Random) -> Any:
    if not _held(s, d):
        return s.buy(data=d, size=60)
    by = {"trailpercent": 0.02} if r.random() < 0.5 else {"trailamount": 150.0}
    return s.sell(data=d, size=_held(s, d), exectype=Order.StopTrail, **by)


def trail_limit(s: Any, d: Any, r: random.Random) -> Any:
    if not _held(s, d):
        return s.buy(data=d, size=60)
    return s.sell(
        data=d,
        size=_held(s, d),
        exectype=Order.StopTrailLimit,
        price=d.close[0] * 0.99,
        plimit=d.close[0] * 0.98,
        trailamount=120.0,
    )


def oco(s: Any, d: Any, r: random.Random) -> Any:
    held, close = _held(s, d), d.close[0]
    if not held:
        return s.buy(data=d, size=r.randint(10, 3000))
    first = s.sell(data=d, size=held, exectype=Order.Stop, price=close * 0.985)
    second = s.sell(
        data=d, size=held, exectype=Order.Limit, price=close * 1.01, oco=first
    )
    third = s.sell(
        data=d, size=held, exectype=Order.Limit, price=close * 1.03, oco=first
    )
    return [first, second, third]


def bracket(s: Any, d: Any, r: random.Random) -> Any:
    close = d.close[0]
    return s.buy_bracket(
        data=d,
        size=r.randint(1, 60),
        price=close * r.uniform(0.99, 1.01),
        exectype=r.choice([Order.Limit, Order.Market, Order.Stop]),
        stopprice=close * 0.98,
        limitprice=close * 1.02,
    )


def bracket_by_hand(s: Any, d: Any, r: random.Random) -> Any:
    entry = s.buy(data=d, size=9, transmit=False)
    exit_ = s.sell(
        data=d,
        size=9,
        exectype=Order.Stop,
        price=d.close[0] * 0.99,
        parent=entry,
        transmit=r.random() < 0.8,
    )
    return [entry, exit_]


def cancelling(s: Any, d: Any, r: random.Random) -> Any:
    if s.live and r.random() < 0.5:
        s.cancel(r.choice(s.live))
    price = d.close[0] * (0.995 if r.random() < 0.7 else 1.01)
    return s.buy(data=d, size=r.randint(1, 20), exectype=Order.Limit, price=price)


def valid_until(s: Any, d: Any, r: random.Random) -> Any:
    now = d.datetime.datetime(0)
    until = r.choice(
        [None, Order.DAY, 0, dt.timedelta(days=2), now + dt.timedelta(days=3), 2.5]
    )
    how = {"exectype": Order.Limit, "price": d.close[0] * 0.99, "valid": until}
    return s.buy(data=d, size=10, **how)


def valid_date(s: Any, d: Any, r: random.Random) -> Any:
    until = d.datetime.date(0) + dt.timedelta(days=3)
    return s.buy(
        data=d, size=10, exectype=Order.Limit, price=d.close[0] * 0.985, valid=until
    )


def targets(s: Any, d: Any, r: random.Random) -> Any:
    return r.choice(
        [
            lambda: s.order_target_size(data=d, target=r.randint(0, 90)),
            lambda: s.order_target_percent(data=d, target=r.choice([0.0, 0.1, 0.3])),
            lambda: s.order_target_value(data=d, target=1_000_000.0),
        ]
    )()


def too_much(s: Any, d: Any, r: random.Random) -> Any:
    return s.buy(data=d, size=r.choice([10, 100_000_000, 3_000]))


def fractional(s: Any, d: Any, r: random.Random) -> Any:
    return s.buy(data=d, size=r.choice([0.4, 2.7, 1, 3.0]))


def refused(s: Any, d: Any, r: random.Random) -> Any:
    if r.random() < 0.5:
        return s.sell(data=d, size=10)
    return s.buy(data=d, size=10, exectype=Order.Limit, price=d.close[0] * 1.9)


def short(s: Any, d: Any, r: random.Random) -> Any:
    return s.order_target_size(data=d, target=r.randint(-60, 60))


def trade_ids(s: Any, d: Any, r: random.Random) -> Any:
    side = s.sell if _held(s, d) > 20 else s.buy
    return side(data=d, size=r.randint(1, 9), tradeid=r.randint(0, 2), note=r.random())


def cash_moves(s: Any, d: Any, r: random.Random) -> Any:
    if r.random() < 0.2:
        s.broker.add_cash(r.choice([1_000.0, -500.0]))
    if r.random() < 0.05:
        s.broker.set_cash(s.broker.getcash() + 7.0)
    return market(s, d, r)


ACTS: dict[str, Act] = {
    act.__name__: act
    for act in (
        market,
        adding,
        limit,
        limit_by_plimit,
        stop,
        stop_limit,
        at_close,
        trail,
        trail_limit,
        oco,
        bracket,
        bracket_by_hand,
        cancelling,
        valid_until,
        valid_date,
        targets,
        too_much,
        fractional,
        refused,
        trade_ids,
        cash_moves,
    )
}


@functools.cache
def feeds_of(kind: str) -> Feeds:
    if kind == "minutes":
        return {"000001": make_candles(500, 8, minutes=True, volume=5.0, locked=0.03)}
    if kind == "thin":
        return {
            "000001": make_candles(130, 1, volume=6.0, locked=0.1, volatility=0.12),
            "000002": make_candles(130, 2, gaps=0.1, factor=1 / 1.7, volume=5.5),
        }
    return {
        "000001": make_candles(130, 3),
        "000002": make_candles(130, 4, gaps=0.05, late=25, factor=0.37),
    }


def both(
    strategy: type[bt.Strategy] = Player, kind: str = "daily", **how: Any
) -> Outcome:
    """Run in both engines, compare, and return the fast one's outcome."""
    plain = run(strategy, feeds_of(kind), fast=False, **how)
    fast = run(strategy, feeds_of(kind), fast=True, **how)
    assert_equal(plain, fast)
    assert fast.engine == "fast", fast.fallback
    return fast


def stock_broker(**params: Any) -> Any:
    broker = BackBroker(**params)
    broker.setcash(CASH)
    broker.setcommission(0.0007)
    return broker


@pytest.mark.parametrize("kind", ["daily", "thin"])
@pytest.mark.parametrize("name", ACTS)
def test_orders_under_exchange_rules(name: str, kind: str) -> None:
    fast = both(kind=kind, broker=krx, params={"act": ACTS[name]})
    assert len(fast.account["orders"]) > 20


@pytest.mark.parametrize("name", [*ACTS, "short"])
def test_orders_under_backtraders_rules(name: str) -> None:
    act = ACTS.get(name, short)
    fast = both(broker=none, params={"act": act})
    assert len(fast.account["orders"]) > 20


@pytest.mark.parametrize("name", [*ACTS, "short"])
def test_orders_at_backtraders_own_broker(name: str) -> None:
    fast = both(kind="thin", broker=stock_broker, params={"act": ACTS.get(name, short)})
    assert sum(event[0] == "order" for event in fast.events) > 20


@pytest.mark.parametrize("name", ["market", "oco", "bracket", "at_close", "trail"])
def test_orders_on_minutes(name: str) -> None:
    fast = both(
        kind="minutes",
        broker=lambda: krx(volume_share=0.05),
        params={"act": ACTS[name], "every": 3},
    )
    assert len(fast.account["fills"]) > 10


@pytest.mark.parametrize(
    "options",
    [
        {"slip_perc": 0.01},
        {"slip_fixed": 35.0, "slip_open": True},
        {"slip_perc": 0.02, "slip_match": False, "slip_open": True},
        {"coc": True},
        {"checksubmit": False},
        {"shortcash": False},
        {"int2pnl": False},
        {"fundmode": True},
        {"filler": bt.broker.fillers.FixedBarPerc(perc=1.0)},
        {"filler": bt.broker.fillers.FixedSize(size=7)},
    ],
    ids="+".join,
)
@pytest.mark.parametrize("name", ["market", "short"])
def test_options_of_backtraders_broker(name: str, options: dict[str, Any]) -> None:
    # Backtrader's own broker, and ours without rules, one with each way to trade.
    made = stock_broker if name == "market" else none
    act = ACTS.get(name, short)
    both(kind="thin", broker=lambda: made(**options), params={"act": act})


class Scheme(bt.CommInfoBase):
    """A user's own scheme: a flat position is worth something."""

    def getvaluesize(self, size: Any, price: Any) -> Any:
        return size * price + 3.0


@pytest.mark.parametrize(
    "scheme",
    [
        {"margin": 2_000.0, "mult": 5.0, "commission": 2.0},
        {"interest": 0.1, "stocklike": True, "commtype": 0},
        {"interest": 0.1, "interest_long": True, "stocklike": True, "commtype": 0},
        {"leverage": 3.0, "stocklike": True, "commtype": 0, "commission": 0.001},
    ],
    ids=str,
)
def test_commission_schemes(scheme: dict[str, Any]) -> None:
    def broker() -> Any:
        made = stock_broker()
        made.setcommission(**scheme)
        return made

    both(kind="thin", broker=broker, params={"act": short})


def test_a_users_own_scheme() -> None:
    def broker() -> Any:
        made = stock_broker()
        made.addcommissioninfo(Scheme(commission=0.001))
        return made

    both(kind="thin", broker=broker, params={"act": short})


class Changing(Player):
    def next(self) -> None:
        if len(self) in (30, 60):
            self.broker.setcommission(0.01, margin=900.0 if len(self) == 60 else None)
        if len(self) == 90:
            self.broker.addcommissioninfo(Scheme(commission=0.001))
        super().next()


def test_schemes_changed_while_it_runs() -> None:
    both(Changing, broker=stock_broker, params={"act": short})


class Reader(Player):
    """Reads what few strategies read, on every bar."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.analysis = self.seen

    def next(self) -> None:
        super().next()
        for feed in self.datas:
            if not len(feed):
                continue
            position = self.getposition(feed)
            self.seen.append(
                (
                    feed.tick_close,
                    feed.datetime.date(0),
                    feed.datetime.time(0),
                    feed.datetime.datetime(-1),
                    feed.num2date(),
                    list(feed.close.get(size=3)),
                    list(feed.get(ago=-1, size=2)),
                    feed.lines[0][0],
                    feed.close[-1] < feed.close,
                    feed.close + 1.0,
                    position.size,
                    position.price,
                    position.adjbase,
                    str(getattr(position, "datetime", None)),
                    [o.ref for o in self.broker.get_orders_open()],
                    self.broker.getvalue([feed]),
                    self.broker.get_leverage(),
                    self.broker.fundvalue,
                    feed.buflen(),
                    feed.lines.datetime.tm_raw(0),
                )
            )

    def stop(self) -> None:
        self.order_log = [(o.ref, o.status) for o in self._orders]


@pytest.mark.parametrize("broker", [krx, none, stock_broker])
def test_what_a_strategy_may_read(broker: Any) -> None:
    seen: list[Any] = []

    class Reading(Reader):
        def stop(self) -> None:
            super().stop()
            seen.append((self.seen, self.order_log))

    both(Reading, broker=broker, params={"act": ACTS["limit"]})
    assert repr(seen[0]) == repr(seen[1])
    assert len(seen[0][0]) > 100


def test_risk_limits_and_progress() -> None:
    bars: list[float] = []
    limits = RiskLimits(
        max_order_pct=20.0,
        max_symbol_pct=25.0,
        max_daily_loss_pct=0.3,
        max_orders_per_day=2,
        max_consecutive_losses=2,
        max_open_orders=3,
        max_adv_pct=1.0,
    )

    def broker() -> KrxBackBroker:
        return krx(risk=limits, on_bar=bars.append, market_orders="protected")

    both(kind="thin", broker=broker, params={"act": ACTS["adding"], "every": 1})
    half = len(bars) // 2
    assert bars[:half] == bars[half:]
    assert half > 100


class OrderHistory(bt.Strategy):
    pass


def test_given_orders_and_fund_history() -> None:
    def setup(cerebro: Any) -> None:
        cerebro.add_order_history(
            [["2016-02-01", 10, 30_000.0], ["2016-03-02", -4, 31_000.0]], notify=True
        )

    both(OrderHistory, broker=stock_broker, setup=setup)
    both(OrderHistory, broker=none, setup=setup)
