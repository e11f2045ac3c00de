"""An analyzer that copies what a strategy sees on the bars of one day."""

from typing import Any

import backtrader as bt

from kisbt.bt.market import session_of
from kisbt.bt.snapshot import current_values, indicator_lines


class BarProbe(bt.Analyzer):
    """Copy conditions, values and position on each bar of one feed and one day.

    Params:
        feed: whose bars.
        day: ordinal of the date.
    """

    params: Any = (("feed", None), ("day", 0))

    def start(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._lines = indicator_lines(self.strategy).get(self.p.feed, ())
        self._seen = 0

    def next(self) -> None:
        self._look()

    def prenext(self) -> None:
        self._look()

    def nextstart(self) -> None:
        self._look()

    def _look(self) -> None:
        feed = self.p.feed
        bars = len(feed)
        if not bars or bars == self._seen:
            return
        self._seen = bars
        if session_of(feed.lines.datetime[0]).toordinal() != self.p.day:
            return
        values = current_values(self._lines)
        ready = len(values) == len(self._lines)
        tell = getattr(self.strategy, "conditions", None)
        position = self.strategy.getposition(feed)
        taken = sum(1 for d in self.strategy.datas if self.strategy.getposition(d).size)
        self.rows.append(
            {
                "time": float(feed.lines.datetime[0]),
                "close": float(feed.close[0]),
                "conditions": {} if tell is None or not ready else dict(tell(feed)),
                "indicators": values,
                "position": int(position.size),
                "average_price": float(position.price) if position.size else None,
                "taken": taken,
                "slots": getattr(self.strategy.p, "max_position", None),
            }
        )
