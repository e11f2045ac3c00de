"""The example strategies on hand-made candles: readiness, slots, exits, sizes."""

import math
from datetime import datetime
from typing import Any

import backtrader as bt
import pytest

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.engine.cerebro import FastCerebro
from kisbt.bt.feed import CandleFeed
from kisbt.candles.columns import CandleColumns
from kisbt.model.candle import DAILY, MINUTE
from kisbt.orders.risk import RiskLimits
from strategies.bollinger_breakout import BollingerBreakout
from strategies.ma_cross import MaCross
from strategies.ma_rsi_bollinger import MaRsiBollinger
from strategies.portfolio import Portfolio
from strategies.rsi_reversion import RsiReversion
from tests.helpers.market import CASH, daily, from_nine, minutes

ALL = (MaCross, RsiReversion, BollingerBreakout, MaRsiBollinger)
# Waves of 2,000 won with a jump now and then: every strategy finds its signal.
UP_AND_DOWN = [
    round(1_000 + 200 * math.sin(step / 6) + (70 if step % 17 == 0 else 0)) * 10.0
    for step in range(80)
]


class Plan(Portfolio):
    """Buys and sells what `buys` and `sells` say of (symbol, its bar number)."""

    params = (("buys", ()), ("sells", ()), ("ready", 1))

    def __init__(self) -> None:
        super().__init__()
        for data in self.datas:
            self.follow(data)
            self._ready_at[data] = self.p.ready

    def buy_signals(self, data: Any) -> dict[str, bool]:
        return {"planned": (data._name, len(data)) in self.p.buys}

    def sell_signals(self, data: Any) -> dict[str, bool]:
        return {"planned": (data._name, len(data)) in self.p.sells}


def run(
    strategy: type[bt.Strategy],
    feeds: dict[str, CandleColumns],
    *,
    mode: dict[str, Any] | None = None,
    broker: dict[str, Any] | None = None,
    cerebro_class: type[bt.Cerebro] = bt.Cerebro,
    **params: Any,
) -> KrxBackBroker:
    """Run a strategy on the Korean broker without costs, and return the broker."""
    free = {"commission": 0.0, "tax": "none", "slippage_ticks": 0, "volume_share": None}
    mode = {"runonce": False} if mode is None else mode
    cerebro = cerebro_class(stdstats=False, **mode)
    cerebro.setbroker(KrxBackBroker(cash=CASH, **{**free, **(broker or {})}))
    for symbol, columns in feeds.items():
        is_daily = len(set(columns.sessions)) == len(columns)
        interval = DAILY if is_daily else MINUTE
        cerebro.adddata(CandleFeed(dataname=columns, name=symbol, interval=interval))
    cerebro.addstrategy(strategy, **params)
    cerebro.run()
    return cerebro.broker


def fills(broker: KrxBackBroker) -> list[tuple[str, int, str]]:
    """Return (symbol, signed quantity, reason of the order) of each fill."""
    reasons = {p.number: p.reason for p in broker.recorder.orders}
    return [
        (
            fill.symbol,
            fill.quantity if fill.side == "buy" else -fill.quantity,
            reasons[fill.order_number],
        )
        for fill in broker.recorder.fills
    ]


def decisions(broker: KrxBackBroker) -> list[tuple[str, str, str]]:
    return [(d.symbol, d.action, d.result) for d in broker.recorder.decisions]


FLAT = daily([10_000.0] * 8)


# Slots, order of the universe, sizes.


def test_slots_go_to_the_first_symbols_of_the_universe() -> None:
    feeds = {"000003": FLAT, "000001": FLAT, "000002": FLAT}
    wants = [("000001", 2), ("000002", 2), ("000003", 2)]
    broker = run(Plan, feeds, buys=wants, max_position=2, position_size=0.1)
    assert [f[0] for f in fills(broker)] == ["000003", "000001"]


def test_exits_come_before_entries_but_free_no_slot_on_their_bar() -> None:
    feeds = {"000001": FLAT, "000002": FLAT}
    broker = run(
        Plan,
        feeds,
        buys=[("000002", 1), ("000001", 3), ("000001", 4)],
        sells=[("000002", 3)],
        max_position=1,
        position_size=0.5,
    )
    # The sale is decided on bar 3 and filled on bar 4: only then is there a slot.
    bars = [round(f.bar) for f in broker.recorder.fills]
    assert [f[0] for f in fills(broker)] == ["000002", "000002", "000001"]
    assert bars == sorted(bars)
    assert bars[1] < bars[2]


def test_sell_signal_wins_over_a_buy_signal() -> None:
    broker = run(Plan, {"000001": FLAT}, buys=[("000001", 2)], sells=[("000001", 2)])
    assert broker.recorder.orders == []


def test_size_is_a_share_of_the_equity_at_the_close() -> None:
    broker = run(Plan, {"000001": FLAT}, buys=[("000001", 1)], position_size=0.2)
    assert fills(broker) == [("000001", 200, "planned")]


def test_size_is_cut_to_what_the_upper_limit_leaves() -> None:
    # Equity would pay 1,000 shares; the broker charges 13,000 each.
    broker = run(Plan, {"000001": FLAT}, buys=[("000001", 2)], position_size=1.0)
    assert fills(broker) == [("000001", 769, "planned")]


def test_entries_of_one_bar_share_the_cash() -> None:
    feeds = {"000001": FLAT, "000002": FLAT}
    wants = [("000001", 2), ("000002", 2)]
    broker = run(Plan, feeds, buys=wants, position_size=0.6)
    # 600 x 13,000 set aside leaves 2.2 million: 169 shares at the upper limit.
    assert [f[1] for f in fills(broker)] == [600, 169]


def test_entry_of_less_than_a_share_is_written_down_as_skipped() -> None:
    dear = daily([3_000_000.0] * 3)
    broker = run(Plan, {"000001": dear}, buys=[("000001", 2)], position_size=0.2)
    assert decisions(broker) == [("000001", "skip", "skipped")]
    assert broker.recorder.orders == []


def test_symbol_with_a_live_order_waits() -> None:
    rows = {
        f"09:{m:02d}": (10_000.0, 10_000.0, 10_000.0, 10_000.0, 1_000.0)
        for m in range(1, 9)
    }
    broker = run(
        Plan,
        {"000001": minutes([{"15:30": 10_000.0}, rows])},
        broker={"volume_share": 0.1},
        buys=[("000001", 2)],
        sells=[("000001", bar) for bar in range(3, 10)],
        position_size=0.25,
    )
    # 250 shares in three bars of 100; only then is the sell signal heard.
    assert [f[1] for f in fills(broker)] == [100, 100, 50, -100, -100, -50]


def test_refused_order_does_not_block_its_symbol() -> None:
    broker = run(
        Plan,
        {"000001": FLAT},
        broker={"risk": RiskLimits(max_order_pct=10)},
        buys=[("000001", 1), ("000001", 2)],
        position_size=0.2,
    )
    assert [p.order.getstatusname() for p in broker.recorder.orders] == ["Rejected"] * 2


# Ragged universes.

# Stock Cerebro raises an IndexError on such a symbol unless it steps bar by bar.
ENGINES: list[dict[str, Any]] = [
    {"mode": {"runonce": False}},
    {"mode": {"live": True}},
    {"mode": {}, "cerebro_class": FastCerebro},
]


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("engine", ENGINES, ids=str)
@pytest.mark.parametrize("bars", [1, 5])
def test_symbol_with_a_few_bars_silences_nobody(
    strategy: type[bt.Strategy], engine: dict[str, Any], bars: int
) -> None:
    long = daily(UP_AND_DOWN)
    alone = run(strategy, {"000001": long}, **engine)
    short = daily([None] * 40 + [5_000.0] * bars)
    with_short = run(strategy, {"000001": long, "000002": short}, **engine)
    assert len(fills(alone)) > 2
    assert fills(with_short) == fills(alone)


@pytest.mark.parametrize("strategy", ALL)
def test_late_listing_trades_only_from_its_own_readiness(
    strategy: type[bt.Strategy],
) -> None:
    late = daily([None] * 40 + UP_AND_DOWN)
    broker = run(strategy, {"000001": daily([10_000.0] * 120), "000002": late})
    first = min(p.created for p in broker.recorder.orders if p.symbol == "000002")
    listed = bt.date2num(late.end[0].astype(datetime))
    assert first > listed
    bars = [bt.date2num(end.astype(datetime)) for end in late.end]
    period = {MaCross: 21, RsiReversion: 15, BollingerBreakout: 20, MaRsiBollinger: 21}
    assert bars.index(first) + 1 >= period[strategy]


@pytest.mark.parametrize("strategy", ALL)
def test_flat_price_makes_no_error_and_no_trade(strategy: type[bt.Strategy]) -> None:
    for mode in ({"runonce": True}, {"runonce": False}):
        broker = run(strategy, {"000001": daily([10_000.0] * 60)}, mode=mode)
        assert broker.recorder.fills == []


def test_bar_of_another_symbol_decides_nothing_about_a_halted_one() -> None:
    feeds = {"000001": FLAT, "000002": daily([10_000.0, None, None, 10_000.0])}
    broker = run(Plan, feeds, buys=[("000002", 1)])
    assert len([d for d in decisions(broker) if d[0] == "000002"]) == 1


# The house strategy.


def house(rows: list[Any], **params: Any) -> KrxBackBroker:
    """Run the house strategy with short periods on one symbol."""
    short = {"ma_short": 2, "ma_long": 3, "rsi_period": 2, "bb_period": 3}
    return run(MaRsiBollinger, {"000001": daily(rows)}, **{**short, **params})


# Falls, so that RSI is oversold and buys on bar 4; filled on bar 5 at its open.
FALL = [10_000.0, 9_900.0, 9_800.0, 9_700.0]


@pytest.mark.parametrize(
    ("close", "reason"),
    [(9_410.0, ""), (9_400.0, "stop_loss"), (10_180.0, ""), (10_190.0, "take_profit")],
)
def test_position_is_left_at_the_loss_or_the_gain(close: float, reason: str) -> None:
    # Bought at 9,700: 3 % below is 9,409, 5 % above 10,185.
    rows = [*FALL, 9_700.0, (9_700.0, 10_200.0, 9_390.0, close), close]
    quiet = {"rsi_overbought": 101, "bb_std": 100, "ma_short": 3, "ma_long": 3}
    broker = house(rows, **quiet)
    assert [f[2] for f in fills(broker)][1:] == ([reason] if reason else [])


def test_resting_exits_are_a_stop_and_a_limit_renewed_each_session() -> None:
    rows = [*FALL, 9_700.0, 9_700.0, (9_700.0, 9_700.0, 9_300.0, 9_350.0), 9_350.0]
    quiet = {"rsi_overbought": 101, "bb_std": 100, "ma_short": 3, "ma_long": 3}
    broker = house(rows, exits="orders", **quiet)
    legs = [
        (p.order_type.value, p.stop_price or p.limit_price, p.order.getstatusname())
        for p in broker.recorder.orders
        if p.side == "sell"
    ]
    assert legs[:4] == [
        ("stop", 9_410, "Expired"),
        ("limit", 10_190, "Expired"),
        ("stop", 9_410, "Completed"),
        ("limit", 10_190, "Canceled"),
    ]
    assert broker.recorder.fills[1].price == 9_410


def test_sell_signal_cancels_the_resting_exits_and_sells() -> None:
    # Minutes: at a daily close the pair of the session has expired already.
    rows = from_nine(*FALL, 9_700.0, 9_750.0, 9_800.0, 9_800.0)
    broker = run(
        MaRsiBollinger,
        {"000001": minutes([rows])},
        ma_short=3,
        ma_long=3,
        rsi_period=2,
        bb_period=3,
        bb_std=100,
        exits="orders",
    )
    assert [f[2] for f in fills(broker)] == ["rsi_oversold", "rsi_overbought"]
    pair = [
        (p.reason, p.order.getstatusname())
        for p in broker.recorder.orders
        if p.reason in ("stop_loss", "take_profit")
    ]
    assert pair == [("stop_loss", "Canceled"), ("take_profit", "Canceled")]


@pytest.mark.parametrize(
    ("entry", "needed"),
    [("any", 1), ("all", 3), ({"at_least": 2}, 2), ({"at_least": 3}, 3)],
)
def test_entry_says_how_many_signals_it_takes(entry: Any, needed: int) -> None:
    signals = [{"a": True, "b": k > 1, "c": k > 2} for k in (1, 2, 3)]
    seen = []

    class Asked(MaRsiBollinger):
        def start(self) -> None:
            seen.extend(self.wants_entry(signal) for signal in signals)

    run(Asked, {"000001": daily(UP_AND_DOWN)}, entry=entry)
    assert seen == [count >= needed for count in (1, 2, 3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"entry": "some"},
        {"entry": {"at_least": 4}},
        {"entry": {"at_least": 0}},
        {"entry": {"at_most": 1}},
        {"exits": "never"},
    ],
)
def test_unknown_choice_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        run(MaRsiBollinger, {"000001": daily(UP_AND_DOWN)}, **wrong)


@pytest.mark.parametrize("strategy", ALL)
def test_every_order_says_why(strategy: type[bt.Strategy]) -> None:
    broker = run(strategy, {"000001": daily(UP_AND_DOWN)})
    assert broker.recorder.orders
    assert all(p.reason for p in broker.recorder.orders)
    assert all(p.order.info["reason"] for p in broker.recorder.orders)


def test_minute_strategy_trades_across_sessions() -> None:
    sessions = [from_nine(*UP_AND_DOWN[:40]), from_nine(*UP_AND_DOWN[40:])]
    broker = run(MaRsiBollinger, {"000001": minutes(sessions)})
    assert {int(f.bar) for f in broker.recorder.fills} == {
        int(bt.date2num(datetime(2024, 1, day))) for day in (3, 4)
    }
