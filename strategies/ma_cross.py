"""Moving average cross alone: the smallest trend follower."""

from collections.abc import Mapping
from typing import Any

import backtrader as bt

from strategies.portfolio import Portfolio


class MaCross(Portfolio):
    """Buy when the short average crosses above the long one, sell on the reverse.

    Params:
        ma_short, ma_long: bars of the two simple moving averages.
    """

    params: Any = (("ma_short", 5), ("ma_long", 20))

    def __init__(self) -> None:
        """Make the indicators of every symbol."""
        super().__init__()
        self._cross: dict[Any, Any] = {}
        for data in self.datas:
            short = bt.ind.SMA(data.close, period=self.p.ma_short)
            long = bt.ind.SMA(data.close, period=self.p.ma_long)
            self._cross[data] = bt.ind.CrossOver(short, long)
            self.follow(data, self._cross[data])

    def buy_signals(self, data: Any) -> Mapping[str, bool]:
        return {"cross_up": self._cross[data][0] > 0}

    def sell_signals(self, data: Any) -> Mapping[str, bool]:
        return {"cross_down": self._cross[data][0] < 0}
