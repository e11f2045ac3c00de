"""Bollinger breakout: buy strength above the upper band, leave at the middle."""

from collections.abc import Mapping
from typing import Any

import backtrader as bt

from strategies.portfolio import Portfolio


class BollingerBreakout(Portfolio):
    """Buy a close above the upper band, sell a close below the middle one.

    Params:
        bb_period, bb_std: bars and population deviations of the bands.
    """

    params: Any = (("bb_period", 20), ("bb_std", 2))

    def __init__(self) -> None:
        """Make the bands of every symbol."""
        super().__init__()
        self._bands: dict[Any, Any] = {}
        for data in self.datas:
            self._bands[data] = bt.ind.BollingerBands(
                data.close, period=self.p.bb_period, devfactor=self.p.bb_std
            )
            self.follow(data, self._bands[data])

    def buy_signals(self, data: Any) -> Mapping[str, bool]:
        return {"above_upper_band": data.close[0] > self._bands[data].top[0]}

    def sell_signals(self, data: Any) -> Mapping[str, bool]:
        return {"below_middle_band": data.close[0] < self._bands[data].mid[0]}
