"""LiveFeed: stored history, then the candles of the day as they are published."""

from typing import Any

import numpy as np
from backtrader import date2num

from kisbt.bt.feed import CandleFeed, datetime_numbers
from kisbt.bt.store import FeedState, LiveStore
from kisbt.candles.columns import VALUES, CandleColumns
from kisbt.model.candle import Candle

_STATUS = {
    FeedState.DELAYED: CandleFeed.DELAYED,
    FeedState.LIVE: CandleFeed.LIVE,
    FeedState.BROKEN: CandleFeed.CONNBROKEN,
    FeedState.OVER: CandleFeed.DISCONNECTED,
}


class LiveFeed(CandleFeed):
    """A feed whose candles grow.

    ``LiveFeed(dataname=history, name="005930", store=store, instrument=...)``.
    History is delivered at once, bar by bar; then what the store publishes.

    Params:
        store: `LiveStore`.
    """

    params: Any = (("store", None),)

    def __init__(self, **kwargs: Any) -> None:
        """Take the history; see the class for the parameters."""
        super().__init__(**kwargs)
        self.alive = True
        self._grown: list[Candle] = []
        self._columns: CandleColumns = self.p.dataname
        self._bases: list[float] = []
        self.dropped = 0

    # What is known of the candles.

    @property
    def candles(self) -> CandleColumns:
        """All candles delivered or about to be; bar number k is candle k - 1."""
        history: CandleColumns = self.p.dataname
        if len(self._columns) != len(history) + len(self._grown):
            self._columns = _joined(history, self._grown)
            self._daily_volume = None
        return self._columns

    def reference_close(self, bar: int) -> float:
        history = len(self.p.dataname)
        if bar < history:
            return super().reference_close(bar)
        return self._bases[bar - history]

    def average_volume(self, bar: int, sessions: int) -> float | None:
        _grown = self.candles  # refreshes what is computed from them
        return super().average_volume(bar, sessions)

    # backtrader's side.

    def setenvironment(self, env: Any) -> None:
        super().setenvironment(env)
        env.addstore(self.store)

    @property
    def store(self) -> LiveStore:
        """Where the candles come from."""
        store: LiveStore = self.p.store
        return store

    def islive(self) -> bool:
        return True

    def start(self) -> None:
        super().start()
        self.store.start(data=self)
        self._waiting = self.store.queue(self._name)
        history: CandleColumns = self.p.dataname
        if len(history):
            self.put_notification(self.DELAYED)
            self.store.note_history(float(datetime_numbers(history.end[-1:])[0]))

    @property
    def has_caught_up(self) -> bool:
        """Whether its history has been delivered."""
        return bool(self._at + 1 >= len(self.p.dataname))

    def haslivedata(self) -> bool:
        """Return whether a bar can be delivered in this pass."""
        if not self.has_caught_up:
            return True
        return bool(self._waiting) and self._waiting[0][0] <= self.store.visible

    def _load(self) -> bool | None:  # type: ignore[override]
        if not self.has_caught_up:
            return super()._load()
        while self.haslivedata():
            _number, live, item = self._waiting.popleft()
            if isinstance(item, FeedState):
                self._change(item)
            elif self._take(item):
                if not live:
                    self.store.silence(self.lines.datetime[0])
                return True
        return None if self.alive else False

    def _change(self, state: FeedState) -> None:
        if state is FeedState.OVER:
            self.alive = False
        self.put_notification(_STATUS[state])

    def _take(self, candle: Candle) -> bool:
        """Put a candle into the lines; a back-filled one may be there already."""
        number = float(date2num(candle.end.replace(tzinfo=None)))
        if len(self) > 1 and number <= self.lines.datetime[-1]:
            self.dropped += 1
            return False
        self._remember(candle)
        self.lines.datetime[0] = number
        for name in VALUES:
            getattr(self.lines, name)[0] = getattr(candle, name)
        self.lines.openinterest[0] = 0.0
        return True

    def _remember(self, candle: Candle) -> None:
        """Note the base price of its session, which the price limits follow.

        As the broker told it, else the close of the session before.
        """
        history: CandleColumns = self.p.dataname
        if self._grown:
            before, close = self._grown[-1].end.date(), self._grown[-1].close
            base = self._bases[-1]
        elif len(history):
            before = history.end[-1].astype("datetime64[D]").item()
            close = float(history.close[-1])
            base = super().reference_close(len(history) - 1)
        else:
            before, close, base = None, np.nan, np.nan
        day = candle.end.date()
        known = base if before == day else close
        self._bases.append(self.store.bases.get((self._name, day), known))
        self._grown.append(candle)


def _joined(history: CandleColumns, grown: list[Candle]) -> CandleColumns:
    ends = np.array(
        [candle.end.replace(tzinfo=None) for candle in grown], dtype="datetime64[s]"
    )
    return CandleColumns(
        np.concatenate([history.end, ends]),
        *(
            np.concatenate(
                [getattr(history, name), [getattr(item, name) for item in grown]]
            )
            for name in VALUES
        ),
    )
