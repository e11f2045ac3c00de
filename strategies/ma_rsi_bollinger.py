"""The house strategy: moving averages, RSI and Bollinger bands, with two stops."""

from collections.abc import Mapping
from typing import Any

import backtrader as bt

from strategies.portfolio import Portfolio, named

_STOP_LOSS, _TAKE_PROFIT = _PAIR = ("stop_loss", "take_profit")


class MaRsiBollinger(Portfolio):
    """Buy on any of three signals, sell on any of three others or at a stop.

    Buy: the short average crosses above the long one, RSI is oversold, or the
    close is below the lower band. Sell: the opposite of each. When both hold,
    sell wins. Before the signals a position is sold at a loss of `stop_loss` or
    a gain of `take_profit`, measured from its average price without fees.

    Params:
        ma_short, ma_long: bars of the two simple moving averages.
        rsi_period, rsi_oversold, rsi_overbought: Wilder's RSI and its bounds.
        bb_period, bb_std: bars and population deviations of the bands.
        stop_loss, take_profit: shares of the average price, 0.03 is 3 %.
        entry: ``any``, ``all`` or ``{"at_least": 2}`` of the buy signals.
        exits: ``on_close`` decides at each close; ``orders`` keeps a stop and a
            limit order as one-cancels-other while a position is held.
    """

    params: Any = (
        ("ma_short", 5),
        ("ma_long", 20),
        ("rsi_period", 14),
        ("rsi_oversold", 30),
        ("rsi_overbought", 70),
        ("bb_period", 20),
        ("bb_std", 2),
        ("stop_loss", 0.03),
        ("take_profit", 0.05),
        ("max_position", 5),
        ("position_size", 0.2),
        ("entry", "any"),
        ("exits", "on_close"),
    )

    def __init__(self) -> None:
        """Make the indicators of every symbol."""
        super().__init__()
        self._needed = _needed_signals(self.p.entry, 3)
        if self.p.exits not in ("on_close", "orders"):
            raise ValueError(f"exits {self.p.exits!r}: expected on_close or orders")
        self._exits_by_order = self.p.exits == "orders"
        self._pairs: dict[Any, set[int]] = {}
        self._legs: dict[int, Any] = {}
        self._cross: dict[Any, Any] = {}
        self._rsi: dict[Any, Any] = {}
        self._bands: dict[Any, Any] = {}
        for data in self.datas:
            short = bt.ind.SMA(data.close, period=self.p.ma_short)
            long = bt.ind.SMA(data.close, period=self.p.ma_long)
            cross = bt.ind.CrossOver(short, long)
            rsi = bt.ind.RSI(data.close, period=self.p.rsi_period, safediv=True)
            bands = bt.ind.BollingerBands(
                data.close, period=self.p.bb_period, devfactor=self.p.bb_std
            )
            self._cross[data], self._rsi[data], self._bands[data] = cross, rsi, bands
            self.follow(data, cross, rsi, bands)

    def buy_signals(self, data: Any) -> Mapping[str, bool]:
        return {
            "cross_up": self._cross[data][0] > 0,
            "rsi_oversold": self._rsi[data][0] < self.p.rsi_oversold,
            "below_lower_band": data.close[0] < self._bands[data].bot[0],
        }

    def sell_signals(self, data: Any) -> Mapping[str, bool]:
        return {
            "cross_down": self._cross[data][0] < 0,
            "rsi_overbought": self._rsi[data][0] > self.p.rsi_overbought,
            "above_upper_band": data.close[0] > self._bands[data].top[0],
        }

    def wants_entry(self, signals: Mapping[str, bool]) -> bool:
        return sum(signals.values()) >= self._needed

    def exit_reason(self, data: Any, position: Any) -> str:
        if not self._exits_by_order:
            close = data.close[0]
            if close <= position.price * (1 - self.p.stop_loss):
                return _STOP_LOSS
            if close >= position.price * (1 + self.p.take_profit):
                return _TAKE_PROFIT
        return named(self.sell_signals(data))

    def consider_exit(self, data: Any, position: Any) -> None:
        if self._exits_by_order and data not in self._working:
            if any(self.sell_signals(data).values()):
                for ref in self._pairs.pop(data, set()):
                    self.cancel(self._legs.pop(ref))
            elif data not in self._pairs:
                self._protect(data, position)
        super().consider_exit(data, position)

    def _protect(self, data: Any, position: Any) -> None:
        """Place a stop and a limit of which one cancels the other."""
        stop = self.sell(
            data=data,
            size=position.size,
            exectype=bt.Order.Stop,
            price=position.price * (1 - self.p.stop_loss),
            reason=_STOP_LOSS,
        )
        limit = self.sell(
            data=data,
            size=position.size,
            exectype=bt.Order.Limit,
            price=position.price * (1 + self.p.take_profit),
            oco=stop,
            reason=_TAKE_PROFIT,
        )
        legs = {leg.ref: leg for leg in (stop, limit) if leg.alive()}
        if legs:
            self._pairs[data] = set(legs)
            self._legs.update(legs)

    def take_back(self, order: Any) -> None:
        if self._exits_by_order and order.info["reason"] in _PAIR:
            self._pairs.setdefault(order.data, set()).add(order.ref)
            self._legs[order.ref] = order
        else:
            super().take_back(order)

    def notify_order(self, order: Any) -> None:
        super().notify_order(order)
        if order.ref in self._legs and not order.alive():
            del self._legs[order.ref]
            pair = self._pairs.get(order.data, set())
            pair.discard(order.ref)
            if not pair:
                self._pairs.pop(order.data, None)


def _needed_signals(entry: Any, count: int) -> int:
    """Return how many buy signals `entry` asks for."""
    if entry == "any":
        return 1
    if entry == "all":
        return count
    wanted = entry.get("at_least") if isinstance(entry, Mapping) else None
    if isinstance(wanted, int) and 1 <= wanted <= count:
        return wanted
    raise ValueError(
        f"entry {entry!r}: expected any, all or {{at_least: 1 to {count}}}"
    )
