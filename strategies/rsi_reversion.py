"""RSI mean reversion: buy what fell too far, sell what recovered."""

from collections.abc import Mapping
from typing import Any

import backtrader as bt

from strategies.portfolio import Portfolio


class RsiReversion(Portfolio):
    """Buy below `rsi_oversold`, sell above `rsi_overbought`.

    Params:
        rsi_period: bars of Wilder's RSI.
        rsi_oversold, rsi_overbought: its bounds, 0 to 100.
    """

    params: Any = (("rsi_period", 14), ("rsi_oversold", 30), ("rsi_overbought", 70))

    def __init__(self) -> None:
        """Make the indicator of every symbol."""
        super().__init__()
        self._rsi: dict[Any, Any] = {}
        for data in self.datas:
            # safediv: a halted or limit-locked symbol has a flat price.
            self._rsi[data] = bt.ind.RSI(
                data.close, period=self.p.rsi_period, safediv=True
            )
            self.follow(data, self._rsi[data])

    def buy_signals(self, data: Any) -> Mapping[str, bool]:
        return {"rsi_oversold": self._rsi[data][0] < self.p.rsi_oversold}

    def sell_signals(self, data: Any) -> Mapping[str, bool]:
        return {"rsi_overbought": self._rsi[data][0] > self.p.rsi_overbought}
