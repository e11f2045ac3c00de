"""LiveFeed: stored history, then the candles of the day as they are published."""

import math
from array import array
from bisect import bisect_right
from datetime import date
from typing import Any

import numpy as np
from backtrader import date2num

from kisbt.bt.feed import CandleFeed, datetime_numbers, session_volumes, whole_seconds
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
    History is delivered at once, bar by bar; then what the store publishes. Of a
    published candle only the bar in the lines is kept.

    Params:
        store: `LiveStore`.
    """

    params: Any = (("store", None),)

    def __init__(self, **kwargs: Any) -> None:
        """Take the history; see the class for the parameters."""
        super().__init__(**kwargs)
        self.alive = True
        self._grown = 0
        self._newest: Candle | None = None
        self._columns: CandleColumns = self.p.dataname
        # Base prices, and the grown bars from which on they hold.
        self._base_bars, self._base_prices = array("q"), array("d")
        # Volumes of the sessions that have grown, or of which a part has.
        self._days: list[date] = []
        self._volumes = array("d")
        self._stored_volumes: tuple[Any, Any] | None = None
        self.dropped = 0

    # What is known of the candles.

    @property
    def candles(self) -> CandleColumns:
        """All candles delivered or about to be; bar number k is candle k - 1."""
        history: CandleColumns = self.p.dataname
        if len(self._columns) != len(history) + self._grown:
            self._columns = self._joined(history)
        return self._columns

    def _joined(self, history: CandleColumns) -> CandleColumns:
        """Return the history and, out of the lines, what has grown since."""
        bars = slice(len(history), len(history) + self._grown)
        numbers = np.array(self.lines.datetime.array[bars], np.float64)
        values = (
            np.array(getattr(self.lines, name).array[bars], np.float64)
            for name in VALUES
        )
        grown = CandleColumns(whole_seconds(numbers), *values)
        return CandleColumns(
            *(
                np.concatenate([getattr(history, name), getattr(grown, name)])
                for name in ("end", *VALUES)
            )
        )

    def reference_close(self, bar: int) -> float:
        history = len(self.p.dataname)
        if bar < history:
            return super().reference_close(bar)
        return self._base_prices[bisect_right(self._base_bars, bar - history) - 1]

    def average_volume(self, bar: int, sessions: int) -> float | None:
        if self._stored_volumes is None:
            self._stored_volumes = session_volumes(self.p.dataname)
        days, volumes = self._stored_volumes
        stored = len(days)
        if self._days and stored and days[-1].item() == self._days[0]:
            stored -= 1  # the session has gone on since
        days = np.r_[days[:stored], np.array(self._days, "datetime64[D]")]
        volumes = np.r_[volumes[:stored], np.array(self._volumes)]
        day = date.fromordinal(int(self.lines.datetime.array[bar]))
        at = int(np.searchsorted(days, np.datetime64(day)))
        return float(volumes[at - sessions : at].mean()) if at >= sessions else None

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

    def load(self) -> bool | None:
        if self.haslivedata() or self._barstack or self._barstash:
            return super().load()
        # backtrader makes room in every line first, and takes it back again: most
        # passes bring a feed nothing.
        return None if self.alive else False

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
        if self._newest is not None:
            before, close = self._newest.end.date(), self._newest.close
            base = self._base_prices[-1]
        elif len(history):
            before = history.end[-1].astype("datetime64[D]").item()
            close = float(history.close[-1])
            base = super().reference_close(len(history) - 1)
        else:
            before, close, base = None, np.nan, np.nan
        day = candle.end.date()
        known = base if before == day else close
        price = float(self.store.bases.get((self._name, day), known))
        if not self._grown or not _same(price, self._base_prices[-1]):
            self._base_bars.append(self._grown)
            self._base_prices.append(price)
        self._add_volume(day, candle.volume)
        self._grown += 1
        self._newest = candle

    def _add_volume(self, day: date, volume: float) -> None:
        if not self._days or self._days[-1] != day:
            self._days.append(day)
            self._volumes.append(self._volume_before(day))
        self._volumes[-1] += volume

    def _volume_before(self, day: date) -> float:
        """Return what the history has of a session, shares."""
        history: CandleColumns = self.p.dataname
        if self._grown or not len(history):
            return 0.0
        if history.end[-1].astype("datetime64[D]").item() != day:
            return 0.0
        return float(session_volumes(history)[1][-1])


def _same(price: float, other: float) -> bool:
    """Return whether prices are equal; an unknown one is NaN."""
    return price == other or (math.isnan(price) and math.isnan(other))
