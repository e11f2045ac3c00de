"""What else a backtrader user may put into a run: equal, or plain and said so."""

import datetime as dt
import io
import re
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.engine.cerebro import FastCerebro
from kisbt.bt.feed import CandleFeed, datetime_numbers
from kisbt.bt.probe import BarProbe
from kisbt.bt.warmup import hold_until
from kisbt.model.candle import Interval
from tests.helpers.engine_runs import (
    Outcome,
    assert_equal,
    krx,
    make_candles,
    none,
    pandas_feed,
    run,
)

DAILY = {
    "000001": make_candles(120, 11),
    "000002": make_candles(120, 12, gaps=0.06, late=20, factor=1 / 1.3),
}
MINUTES = {"000001": make_candles(500, 13, minutes=True)}


class Crossing(bt.Strategy):
    """Trades every feed on a crossing of two averages."""

    params = (("short", 3), ("long", 7))

    def __init__(self) -> None:
        self.cross = {
            d: bt.ind.CrossOver(
                bt.ind.SMA(d, period=self.p.short), bt.ind.EMA(d, period=self.p.long)
            )
            for d in self.datas
        }

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        for feed, cross in self.cross.items():
            if len(cross) <= self.p.long:
                continue
            held = self.getposition(feed).size
            if cross[0] > 0 and not held:
                self.buy(data=feed, size=100, reason="up")
            elif cross[0] < 0 and held:
                self.close(data=feed, reason="down")


def both(strategy: type[bt.Strategy], feeds: Any = None, **how: Any) -> Outcome:
    """Run in both engines, compare, and return the fast one's outcome."""
    feeds = DAILY if feeds is None else feeds
    plain = run(strategy, feeds, fast=False, **how)
    fast = run(strategy, feeds, fast=True, **how)
    assert_equal(plain, fast)
    return fast


def quick(strategy: type[bt.Strategy], feeds: Any = None, **how: Any) -> Outcome:
    """Do as `both`; the fast engine must not have fallen back."""
    fast = both(strategy, feeds, **how)
    assert fast.engine == "fast", fast.fallback
    assert fast.fallback is None
    return fast


def slow(strategy: type[bt.Strategy], why: str, feeds: Any = None, **how: Any) -> None:
    """Do as `both`; the fast engine must have fallen back and say why."""
    fast = both(strategy, feeds, **how)
    assert fast.engine == "plain"
    assert re.search(why, fast.fallback or ""), fast.fallback


# Exceptions.


@pytest.mark.parametrize("where", ["next", "notify_order", "notify_trade", "prenext"])
def test_an_exception_leaves_the_same_behind(where: str) -> None:
    class Failing(Crossing):
        def _maybe_fail(self, name: str) -> None:
            if name == where and len(self) > (5 if name == "prenext" else 60):
                raise RuntimeError(f"in {name} at {self.datetime.date(0)}")

        def next(self) -> None:
            super().next()
            self._maybe_fail("next")

        def prenext(self) -> None:
            super().prenext()
            self._maybe_fail("prenext")

        def notify_order(self, order: Any) -> None:
            self._maybe_fail("notify_order")

        def notify_trade(self, trade: Any) -> None:
            self._maybe_fail("notify_trade")

    fast = quick(Failing)
    assert fast.error.startswith(f"RuntimeError: in {where}")


def test_an_indicator_that_divides_by_zero_fails_alike() -> None:
    class Dividing(bt.Strategy):
        def __init__(self) -> None:
            self.ratio = 1.0 / (self.data.close - self.data.close)

    fast = both(Dividing)
    assert fast.error.startswith("ZeroDivisionError")


def test_a_feed_too_short_for_an_indicator_stays_silent() -> None:
    """Plain backtrader stops with an IndexError here; the fast engine goes on."""
    feeds = {"000001": make_candles(60, 1), "000002": make_candles(60, 2, late=55)}
    fast = run(Crossing, feeds, fast=True)
    assert (fast.engine, fast.error) == ("fast", "")
    assert "nextstart" not in {event[0] for event in fast.events}
    alone = run(Crossing, {"000001": feeds["000001"]}, fast=True)
    assert fast.account["fills"] == alone.account["fills"] != []


def test_a_run_that_is_stopped_ends_on_the_same_bar() -> None:
    class Stopping(Crossing):
        def next(self) -> None:
            super().next()
            if len(self) == 70:
                self.env.runstop()

    assert quick(Stopping).events[-1][1] == 70


# Timers.


@pytest.mark.parametrize("cheat", [False, True])
@pytest.mark.parametrize("feeds", [DAILY, MINUTES], ids=["daily", "minutes"])
def test_timers(feeds: Any, cheat: bool) -> None:
    class Timed(Crossing):
        def __init__(self) -> None:
            super().__init__()
            self.add_timer(
                when=dt.time(9, 30),
                repeat=dt.timedelta(minutes=45),
                weekdays=[1, 3, 5],
                cheat=cheat,
            )
            self.add_timer(when=bt.timer.SESSION_START, monthdays=[4, 20])

        def notify_timer(self, timer: Any, when: Any, *args: Any, **kw: Any) -> None:
            if len(self) > 20 and not self.position.size:
                self.buy(size=3, reason=f"{when}")

    fast = quick(Timed, feeds)
    assert sum(event[0] == "timer" for event in fast.events) > 8


# Analyzers and observers.


class Account(bt.Analyzer):
    """A user's analyzer that wants every cash notice and has a child."""

    def __init__(self) -> None:
        self.child = bt.analyzers.DrawDown()

    def start(self) -> None:
        self.rets = []

    def notify_cashvalue(self, cash: float, value: float) -> None:
        self.rets.append((len(self), cash, value))

    def notify_fund(self, cash: Any, value: Any, fundvalue: Any, shares: Any) -> None:
        self.rets.append((fundvalue, shares))

    def notify_order(self, order: Any) -> None:
        self.rets.append((order.ref, order.status))

    def next(self) -> None:
        self.rets.append(self.strategy.datetime.date(0))


class OnlyNext(bt.Analyzer):
    def start(self) -> None:
        self.rets = []

    def prenext(self) -> None:
        self.rets.append("early")

    def next(self) -> None:
        self.rets.append(self.data.close[0])


ANALYZERS = [
    "Calmar",
    "DrawDown",
    "GrossLeverage",
    "LogReturnsRolling",
    "PeriodStats",
    "PositionsValue",
    "PyFolio",
    "Returns",
    "SQN",
    "SharpeRatio",
    "TimeDrawDown",
    "TimeReturn",
    "TradeAnalyzer",
    "Transactions",
    "VWR",
]


@pytest.mark.parametrize("broker", [krx, none])
def test_analyzers(broker: Any) -> None:
    def setup(cerebro: Any) -> None:
        for name in ANALYZERS:
            cerebro.addanalyzer(getattr(bt.analyzers, name))
        cerebro.addanalyzer(Account)
        cerebro.addanalyzer(OnlyNext)

    fast = quick(Crossing, broker=broker, setup=setup)
    assert len(fast.analyses) == len(ANALYZERS) + 2
    assert len(fast.analyses[-1]) > 1000


def test_the_probe_of_one_day() -> None:
    day = int(datetime_numbers(DAILY["000002"].end[50:51])[0])

    def setup(cerebro: Any) -> None:
        cerebro.addanalyzer(BarProbe, feed=cerebro.datas[1], day=day)

    class Probed(Crossing):
        pass

    plain, fast = [], []
    for engine, rows in ((False, plain), (True, fast)):

        def collect(cerebro: Any, rows: list[Any] = rows) -> None:
            setup(cerebro)

            class Keep(bt.Analyzer):
                def stop(self) -> None:
                    rows.extend(self.strategy.analyzers[0].rows)

            cerebro.addanalyzer(Keep)

        assert not run(Probed, DAILY, fast=engine, setup=collect).error
    assert repr(plain) == repr(fast)
    assert len(fast) == 1


@pytest.mark.parametrize("feeds", [DAILY, MINUTES], ids=["two", "one"])
def test_default_observers(feeds: Any) -> None:
    quick(Crossing, feeds, stdstats=True, broker=none)


def test_more_observers() -> None:
    def setup(cerebro: Any) -> None:
        for name in ("DrawDown", "TimeReturn", "Benchmark", "LogReturns", "FundValue"):
            cerebro.addobserver(getattr(bt.observers, name))

    quick(Crossing, {"000001": DAILY["000001"]}, setup=setup, broker=none)


# Strategies.


def test_several_strategies_in_one_run() -> None:
    def setup(cerebro: Any) -> None:
        cerebro.addstrategy(Crossing, short=2, long=5)
        cerebro.addstrategy(Crossing, short=4, long=9)
        cerebro.addanalyzer(bt.analyzers.TradeAnalyzer)

    quick(Crossing, setup=setup)
    quick(Crossing, setup=setup, broker=none)


def test_a_strategy_that_stops_the_others() -> None:
    class Ending(Crossing):
        def next(self) -> None:
            super().next()
            if len(self) == 40:
                self.env.runstop()

    quick(Crossing, setup=lambda cerebro: cerebro.addstrategy(Ending))


def test_signals() -> None:
    how = {"params": {"signals": SIGNALS}, "broker": none, "listen": False}
    fast = quick(bt.SignalStrategy, **how)
    assert len(fast.account["fills"]) > 5


class Rises(bt.Indicator):
    lines = ("signal",)

    def __init__(self) -> None:
        self.lines.signal = self.data.close - bt.ind.SMA(self.data, period=6)


SIGNALS = [(bt.SIGNAL_LONGSHORT, Rises, (), {}), (bt.SIGNAL_LONGEXIT, Rises, (), {})]


def test_lines_of_a_strategy() -> None:
    class Lined(Crossing):
        lines = ("score",)

        def __init__(self) -> None:
            super().__init__()
            self.early = bt.ind.SMA(self.data.close, period=2)

        def next(self) -> None:
            super().next()
            self.lines.score[0] = self.early[0] + len(self)
            assert self.lines.score.get(size=1)[0] == self.l.score[0]

    quick(Lined)


def test_an_indicator_that_follows_the_strategy() -> None:
    class Behind(Crossing):
        def __init__(self) -> None:
            super().__init__()
            self.constant = bt.Max(0.0, self.data.close - self.data.open)
            self.smooth = bt.ind.SMA(self.constant, period=3)

        def next(self) -> None:
            super().next()
            if self.smooth[0] > self.smooth[-1]:
                self.buy(size=1)

    quick(Behind, {"000001": DAILY["000001"]})


@pytest.mark.parametrize("bar", [0, 1, 12, 60, 119, 400])
def test_the_warm_up_gate(bar: int) -> None:
    times = datetime_numbers(DAILY["000001"].end)
    first = float(times[bar]) if bar < len(times) else float("inf")

    class Early(Crossing):
        def start(self) -> None:
            self.buy(size=1)  # refused: no bar yet

    for strategy in (Crossing, Early):
        quick(
            hold_until(strategy, first),
            setup=lambda cerebro: cerebro.addanalyzer(OnlyNext),
        )


def test_a_gated_strategy_that_hears_of_cash() -> None:
    heard: list[Any] = []

    class Hearing(Crossing):
        def notify_cashvalue(self, cash: float, value: float) -> None:
            heard.append((len(self), cash, value))

        def notify_fund(self, *values: float) -> None:
            heard.append(values)

    quick(hold_until(Hearing, float(datetime_numbers(DAILY["000001"].end)[30])))
    half = len(heard) // 2
    assert heard[:half] == heard[half:]
    assert half == 240


def test_methods_replaced_on_the_object() -> None:
    class Switching(Crossing):
        def start(self) -> None:
            self.notify_cashvalue = lambda cash, value: self.log.append((cash, value))
            self.log: list[Any] = []

        def next(self) -> None:
            super().next()
            self.next = self.later

        def later(self) -> None:
            if len(self) % 7 == 0:
                self.buy(size=1, reason=str(len(self.log)))

    quick(Switching)


def test_an_indicator_that_is_written_into() -> None:
    """A decision shows the values its indicators had when it was made."""

    class Writing(Crossing):
        def __init__(self) -> None:
            super().__init__()
            self.average = bt.ind.SMA(period=4)

        def next(self) -> None:
            super().next()
            if len(self) % 5 == 0:
                self.buy(size=1)
                self.average.lines.sma[0] = 1.0 + len(self)
            elif len(self) % 7 == 0:
                self.sell(size=1)
                self.average.lines.sma.set(2.0, ago=-3)
                self.average.lines.sma[-1] = 3.0

    for broker in (krx, none):
        assert not quick(Writing, broker=broker).error


def test_sizers_and_trade_history() -> None:
    class Sized(Crossing):
        def next(self) -> None:
            if not self.position and len(self) % 3:
                self.buy()
            elif len(self) % 3 == 0:
                self.sell()

    def setup(cerebro: Any) -> None:
        cerebro.addsizer(bt.sizers.PercentSizer, percents=30)

    quick(Sized, setup=setup, tradehistory=True, broker=none)


# Feeds.


def test_feeds_of_backtrader_with_their_ticks() -> None:
    seen: list[Any] = []

    class Ticking(Crossing):
        def next(self) -> None:
            super().next()
            for feed in self.datas:
                names = ("open", "high", "low", "close", "volume", "last")
                seen.append([getattr(feed, f"tick_{n}", "none") for n in names])

    feeds = [
        lambda: pandas_feed(DAILY["000001"], "a"),
        lambda: pandas_feed(DAILY["000002"], "b"),
    ]
    quick(Ticking, feeds, broker=none)
    half = len(seen) // 2
    assert seen[:half] == seen[half:]
    quick(Ticking, feeds, broker=krx)


@pytest.mark.parametrize("broker", [krx, none])
def test_resampled_feeds_need_the_plain_loop(broker: Any) -> None:
    def setup(cerebro: Any) -> None:
        feed = CandleFeed(dataname=MINUTES["000001"], interval=Interval(1), name="a")
        cerebro.adddata(feed)
        cerebro.resampledata(feed, timeframe=bt.TimeFrame.Minutes, compression=15)

    class Two(bt.Strategy):
        def __init__(self) -> None:
            self.fine = bt.ind.SMA(self.data0, period=5)
            self.coarse = bt.ind.RSI_Safe(self.data1, period=3)

        def next(self) -> None:
            held = self.position.size
            if not held and self.coarse[0] < 45 and self.data.close[0] > self.fine[0]:
                self.buy(size=5)
            elif held and self.coarse[0] > 50:
                self.close()

    slow(Two, "resampled or replayed", [], setup=setup, broker=broker)


def test_feeds_of_two_intervals() -> None:
    """The way that stays fast: candles of both intervals as feeds of their own."""

    class Two(Crossing):
        pass

    minutes = MINUTES["000001"]

    def setup(cerebro: Any) -> None:
        coarse = minutes.where(np.arange(len(minutes)) % 15 == 14)
        for name, candles, length in (("a", minutes, 1), ("a15", coarse, 15)):
            feed = CandleFeed(dataname=candles, interval=Interval(length), name=name)
            cerebro.adddata(feed)

    quick(Two, [], setup=setup, broker=none)


def test_prices_that_are_not_numbers() -> None:
    frame = pd.DataFrame(
        {
            name: getattr(DAILY["000001"], name)
            for name in ("open", "high", "low", "close", "volume")
        },
        index=pd.DatetimeIndex(DAILY["000001"].end),
    )
    holes = np.random.default_rng(3).random(len(frame)) < 0.05
    frame.loc[holes, ["open", "high", "low", "close"]] = np.nan

    class Everything(Crossing):
        def __init__(self) -> None:
            super().__init__()
            d = self.data
            self.made = [
                bt.ind.StdDev(d, period=4),
                bt.ind.WMA(d, period=4),
                bt.ind.Highest(d, period=4),
                bt.ind.SumN(d, period=3),
                bt.ind.AnyN(d.close > d.open, period=2),
                bt.ind.RSI_Safe(d, period=4),
                bt.Max(d.close, d.open),
                bt.Min(0.0, d.close - d.open),
                bt.And(d.close, d.close > d.open),
                bt.If(d.close, d.open, 1.0),
                bt.Cmp(d.close, d.open),
                bt.ind.CrossUp(d.close, d.open),
            ]

    def feeds() -> list[Any]:
        return [
            lambda: bt.feeds.PandasData(dataname=frame, name="a", openinterest=None),
            lambda: pandas_feed(DAILY["000002"], "b"),
        ]

    quick(Everything, feeds(), broker=none)


def test_one_bar_and_no_indicator() -> None:
    class Buys(bt.Strategy):
        def next(self) -> None:
            self.buy(size=1)

    quick(Buys, {"000001": make_candles(1, 1)})
    quick(Buys, {"000001": make_candles(3, 1), "000002": make_candles(9, 2, late=5)})


def test_a_cerebro_that_runs_twice() -> None:
    cerebro = FastCerebro(stdstats=False)
    cerebro.setbroker(none())
    for symbol, candles in DAILY.items():
        cerebro.adddata(CandleFeed(dataname=candles, name=symbol))
    cerebro.addstrategy(Crossing)
    values = []
    for engine in ("fast", "plain", "fast"):
        cerebro.run(runonce=engine == "fast")
        assert cerebro.engine == engine
        values.append((cerebro.broker.getvalue(), repr(cerebro.broker.recorder.fills)))
    assert values[0] == values[1] == values[2]


def test_a_parameter_search_of_backtrader() -> None:
    found = []
    for kind in (bt.Cerebro, FastCerebro):
        cerebro = kind(stdstats=False, maxcpus=1)
        cerebro.setbroker(none())
        cerebro.adddata(CandleFeed(dataname=DAILY["000001"], name="000001"))
        cerebro.optstrategy(Crossing, short=[2, 3], long=[5, 8])
        cerebro.addanalyzer(bt.analyzers.Returns)
        runs = cerebro.run()
        found.append([repr(r.analyzers[0].get_analysis()) for [r] in runs])
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


# What falls back.


class OwnAdvance(CandleFeed):
    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> Any:
        super().advance(size, datamaster, ticks)


class OwnLength(bt.Strategy):
    def _getminperstatus(self) -> Any:
        return super()._getminperstatus()


class OwnMove(bt.Indicator):
    lines = ("x",)

    def __init__(self) -> None:
        self.lines.x = self.data.close * 2.0

    def advance(self, size: int = 1) -> None:
        super().advance(size)


class Moves(Crossing):
    def __init__(self) -> None:
        super().__init__()
        self.own = OwnMove(self.data)


class ByBar(Crossing):
    def __init__(self) -> None:
        super().__init__()
        self.candles = bt.ind.HeikinAshi(self.data)


class OwnBroker(bt.brokers.BackBroker):
    def get_notification(self) -> Any:
        return super().get_notification()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"runonce": False}, "runonce=False"),
        ({"preload": False}, "preload=False"),
        ({"exactbars": 1}, "exactbars"),
        ({"exactbars": -1}, "exactbars"),
        ({"quicknotify": True}, "quicknotify"),
        ({"oldsync": True}, "oldsync"),
        ({"cheat_on_open": True}, "cheat_on_open"),
        ({"live": True}, "live"),
    ],
    ids=str,
)
def test_options_that_need_the_plain_loop(options: dict[str, Any], why: str) -> None:
    slow(Crossing, why, {"000001": DAILY["000001"]}, broker=none, **options)


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        (OwnLength, "OwnLength has its own _getminperstatus"),
        (Moves, "OwnMove has its own advance"),
        (ByBar, "bar by bar"),
    ],
)
def test_strategies_that_need_the_plain_loop(strategy: Any, why: str) -> None:
    why = why.replace("OwnLength", "OwnLength")
    slow(strategy, why, {"000001": DAILY["000001"]}, broker=none)


def test_feeds_that_need_the_plain_loop() -> None:
    candles = DAILY["000001"]
    one = lambda: OwnAdvance(dataname=candles, name="a")  # noqa: E731
    slow(Crossing, "OwnAdvance has its own advance", [one], broker=none)

    frame = pd.DataFrame(
        {"open": 1.0, "high": 2.0, "low": 1.0, "close": 2.0, "volume": 1.0},
        index=pd.DatetimeIndex(np.repeat(candles.end[:60], 2)),
    )
    twice = lambda: bt.feeds.PandasData(  # noqa: E731
        dataname=frame, name="twice", openinterest=None
    )
    slow(Crossing, "feed twice: two bars have the same time", [twice], broker=none)

    def replay(cerebro: Any) -> None:
        feed = CandleFeed(dataname=MINUTES["000001"], interval=Interval(1), name="a")
        cerebro.replaydata(feed, timeframe=bt.TimeFrame.Minutes, compression=60)

    slow(Crossing, "resampled or replayed", [], setup=replay, broker=none)


def test_a_writer_needs_the_plain_loop() -> None:
    written = []

    def setup(cerebro: Any) -> None:
        out = io.StringIO()
        written.append(out)
        cerebro.addwriter(bt.WriterFile, csv=True, out=out)

    slow(Crossing, "writer", setup=setup)


def test_a_foreign_broker_needs_the_plain_loop() -> None:
    slow(Crossing, "get_notification", broker=OwnBroker)


def test_a_users_subclass_of_the_broker_stays_itself() -> None:
    filled: list[Any] = []

    class Counting(KrxBackBroker):
        def next(self) -> None:
            filled.append(self._now)
            super().next()

    quick(Crossing, broker=lambda: Counting(cash=1e8))
    half = len(filled) // 2
    assert filled[:half] == filled[half:]
    assert half == 120
