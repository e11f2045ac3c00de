"""What a run saw: its candles, what was wrong with them, and its incidents."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from kisbt.app.candleevents import CandleEvents
from kisbt.candles.columns import CandleColumns
from kisbt.candles.growing import GrowingCandles
from kisbt.model.candle import Candle
from kisbt.model.liverun import CandleChange, CandleEvent, Incident, IncidentKind

log = logging.getLogger(__name__)

_SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class Record:
    """What the run saw, for its folder.

    Attributes:
        made: candles by symbol, where another keeps them: they are kept once, and are
            there when they go out.
        bases: base prices by symbol and session, won.
        candles: of the symbols seen so far, in the order in which they appeared.
    """

    made: Mapping[str, GrowingCandles] = field(default_factory=dict)
    candles: dict[str, GrowingCandles] = field(default_factory=dict)
    bases: Mapping[tuple[str, date], float] = field(default_factory=dict)
    candle_events: CandleEvents = field(default_factory=CandleEvents)
    incidents: list[Incident] = field(default_factory=list)
    sessions: list[date] = field(default_factory=list)
    first_bar: datetime | None = None
    last_bar: datetime | None = None
    held_bars: list[datetime] = field(default_factory=list)

    def published(
        self, at: datetime, candles: Mapping[str, Candle], *, live: bool
    ) -> None:
        """Note the candles of one moment as they go out.

        Args:
            at: now.
            candles: by symbol.
            live: False for bars that fill a gap only.
        """
        for symbol, candle in candles.items():
            self._keep(symbol, candle)
            if not live:
                self.changed(at, CandleChange.LATE, symbol, candle)
            self.last_bar = candle.end
            if live and self.first_bar is None:
                self.first_bar = candle.end
        first = next(iter(candles.values()), None)
        if not live and first is not None:
            self.held_bars.append(first.end)

    def _keep(self, symbol: str, candle: Candle) -> None:
        kept = self.candles.get(symbol)
        if kept is None:
            kept = self.candles[symbol] = self.made.get(symbol, GrowingCandles())
        if kept.first_from(candle.end) == len(kept):
            kept.append(candle)

    def seen(self, symbol: str) -> CandleColumns:
        """Return the candles of a symbol that went out."""
        kept, last = self.candles.get(symbol), self.last_bar
        if kept is None or last is None:
            return CandleColumns.empty()
        # What is made and held back has not been seen.
        return kept.columns(kept.first_from(last + _SECOND))

    def changed(
        self,
        at: datetime,
        kind: CandleChange,
        symbol: str,
        seen: Candle | None,
        true: Candle | None = None,
    ) -> None:
        """Note that a candle was not what it should have been.

        Args:
            at: now.
            kind: of the difference.
            symbol: whose candle.
            seen: as the strategy got it; None if it did not.
            true: the broker's; None if not known.
        """
        bar = seen or true
        assert bar is not None
        event = CandleEvent(
            at=at,
            kind=kind,
            symbol=symbol,
            bar=bar.end,
            open=seen.open if seen else None,
            high=seen.high if seen else None,
            low=seen.low if seen else None,
            close=seen.close if seen else None,
            volume=seen.volume if seen else None,
            true_open=true.open if true else None,
            true_high=true.high if true else None,
            true_low=true.low if true else None,
            true_close=true.close if true else None,
            true_volume=true.volume if true else None,
        )
        self.candle_events.append(event)
        log.warning("candle %s: %s %s", kind, symbol, bar.end)

    def disconnected(self, since: datetime, until: datetime, note: str) -> None:
        """Note a time in which a stream was down."""
        self.incidents.append(
            Incident(kind=IncidentKind.DISCONNECT, at=since, until=until, note=note)
        )
