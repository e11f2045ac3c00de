"""The four example strategies once more, as plain backtrader scripts.

They share nothing with `strategies/` nor `kisbt`: one symbol, stock
`bt.Cerebro`, stock `BackBroker`, a pandas feed. They are the yardstick of
``tests/oracle/test_backtest_plain.py``.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import backtrader as bt
import pandas as pd


@dataclass(frozen=True)
class PlainFill:
    """One execution as stock backtrader told it."""

    bar: pd.Timestamp
    quantity: int
    price: float
    commission: float


@dataclass(frozen=True)
class PlainTrade:
    """One closed position as stock backtrader told it."""

    opened: pd.Timestamp
    closed: pd.Timestamp
    pnl: float
    pnl_net: float


class OneSymbol(bt.Strategy):
    """One symbol, market orders, whole shares; a subclass says when."""

    params = (("position_size", 0.2), ("warmup", 250), ("fee", 0.0))

    def __init__(self):
        self.working = None
        self.fills = []
        self.trades = []
        self.equity = []

    def bar_time(self):
        return pd.Timestamp(self.data.datetime.datetime(0))

    def notify_order(self, order):
        # backtrader hands over a copy.
        if self.working is not None and order.ref == self.working.ref:
            self.working = self.working if order.alive() else None
        if order.status == order.Completed:
            done = order.executed
            self.fills.append(
                PlainFill(
                    pd.Timestamp(bt.num2date(done.dt)),
                    int(done.size),
                    done.exbits[-1].price,  # done.price is a mean, with its noise
                    done.comm,
                )
            )

    def notify_trade(self, trade):
        if trade.isclosed:
            self.trades.append(
                PlainTrade(
                    pd.Timestamp(bt.num2date(trade.dtopen)),
                    pd.Timestamp(bt.num2date(trade.dtclose)),
                    trade.pnl,
                    trade.pnlcomm,
                )
            )

    def whole_shares(self):
        close = self.data.close[0]
        wanted = math.floor(self.p.position_size * self.broker.getvalue() / close)
        affordable = math.floor(self.broker.getcash() / (close * (1 + self.p.fee)))
        return min(wanted, affordable)

    def next(self):
        if len(self) <= self.p.warmup:
            return
        self.trade()
        self.equity.append((self.bar_time(), self.broker.getvalue()))

    def trade(self):
        if self.working is not None:
            return
        if self.position.size > 0:
            if self.leaves():
                self.working = self.sell(size=self.position.size)
        elif self.buys() and not self.sells():
            shares = self.whole_shares()
            if shares > 0:
                self.working = self.buy(size=shares)

    def leaves(self):
        return self.sells()


class PlainMaCross(OneSymbol):
    """Buy the cross up of two averages, sell the cross down."""

    params = (("ma_short", 5), ("ma_long", 20))

    def __init__(self):
        super().__init__()
        close = self.data.close
        self.cross = bt.ind.CrossOver(
            bt.ind.SMA(close, period=self.p.ma_short),
            bt.ind.SMA(close, period=self.p.ma_long),
        )

    def buys(self):
        return self.cross[0] > 0

    def sells(self):
        return self.cross[0] < 0


class PlainRsiReversion(OneSymbol):
    """Buy oversold, sell overbought."""

    params = (("rsi_period", 14), ("rsi_oversold", 30), ("rsi_overbought", 70))

    def __init__(self):
        super().__init__()
        self.rsi = bt.ind.RSI(self.data.close, period=self.p.rsi_period, safediv=True)

    def buys(self):
        return self.rsi[0] < self.p.rsi_oversold

    def sells(self):
        return self.rsi[0] > self.p.rsi_overbought


class PlainBollingerBreakout(OneSymbol):
    """Buy above the upper band, sell below the middle one."""

    params = (("bb_period", 20), ("bb_std", 2))

    def __init__(self):
        super().__init__()
        self.bands = bt.ind.BollingerBands(
            self.data.close, period=self.p.bb_period, devfactor=self.p.bb_std
        )

    def buys(self):
        return self.data.close[0] > self.bands.top[0]

    def sells(self):
        return self.data.close[0] < self.bands.mid[0]


class PlainHouse(OneSymbol):
    """Three buy signals, three sell signals, a stop and a target."""

    params = (
        ("ma_short", 5),
        ("ma_long", 20),
        ("rsi_period", 14),
        ("rsi_oversold", 30),
        ("rsi_overbought", 70),
        ("bb_period", 20),
        ("bb_std", 2),
        ("stop_loss", 0.03),
        ("take_profit", 0.05),
        ("needed", 1),
        ("resting_exits", False),
    )

    def __init__(self):
        super().__init__()
        close = self.data.close
        self.cross = bt.ind.CrossOver(
            bt.ind.SMA(close, period=self.p.ma_short),
            bt.ind.SMA(close, period=self.p.ma_long),
        )
        self.rsi = bt.ind.RSI(close, period=self.p.rsi_period, safediv=True)
        self.bands = bt.ind.BollingerBands(
            close, period=self.p.bb_period, devfactor=self.p.bb_std
        )
        self.stop_order = None
        self.target_order = None

    def buys(self):
        votes = [
            self.cross[0] > 0,
            self.rsi[0] < self.p.rsi_oversold,
            self.data.close[0] < self.bands.bot[0],
        ]
        return sum(votes) >= self.p.needed

    def sells(self):
        return (
            self.cross[0] < 0
            or self.rsi[0] > self.p.rsi_overbought
            or self.data.close[0] > self.bands.top[0]
        )

    def leaves(self):
        close, paid = self.data.close[0], self.position.price
        return (
            close <= paid * (1 - self.p.stop_loss)
            or close >= paid * (1 + self.p.take_profit)
            or self.sells()
        )

    def trade(self):
        if not self.p.resting_exits:
            super().trade()
        elif self.position.size > 0:
            self.keep_pair_or_sell()
        elif self.working is None:
            super().trade()

    def keep_pair_or_sell(self):
        if self.working is not None:
            return
        pair = self.stop_order is not None and self.stop_order.alive()
        if self.sells():
            if pair:
                self.cancel(self.stop_order)
            self.working = self.sell(size=self.position.size)
        elif not pair:
            shares, paid = self.position.size, self.position.price
            self.stop_order = self.sell(
                size=shares,
                exectype=bt.Order.Stop,
                price=paid * (1 - self.p.stop_loss),
            )
            self.target_order = self.sell(
                size=shares,
                exectype=bt.Order.Limit,
                price=paid * (1 + self.p.take_profit),
                oco=self.stop_order,
            )


def read_candle_file(path: Path) -> pd.DataFrame:
    """Read one candle file as a user would, without halts and silent bars."""
    frame = pd.read_csv(path, parse_dates=["datetime"], index_col="datetime")
    return frame[(frame["volume"] > 0) & (frame["open"] > 0)]


def run_plain(strategy, frame, *, cash, fee, **params):
    """Run on stock backtrader and return the strategy object."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame, openinterest=None))
    cerebro.broker.setcash(cash)
    cerebro.broker.setcommission(commission=fee)
    cerebro.addstrategy(strategy, fee=fee, **params)
    return cerebro.run()[0]
