"""Live trades into candles, closed by the calendar and not by silence.

A candle belongs to the minutes the exchange's own time says. It is published once
and never changes afterwards, whatever a later look at the broker's chart shows. A
minute without a trade has no candle.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from kisbt.candles.growing import GrowingCandles
from kisbt.krx.calendar import KST, KrxCalendar
from kisbt.model.candle import MINUTE, Candle, Interval
from kisbt.model.quote import MarketClass, MultiPrice, Tick

# Auctions end up to 30 s after their time, at random (KRX, KOSPI Market Business
# Regulation, Enforcement Rules): the closing print may carry such a time.
AUCTION_TAIL = timedelta(seconds=30)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_REGULAR = frozenset({MarketClass.REGULAR, MarketClass.UNKNOWN})
_AFTER_ENDS_H = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The candles of one moment, of every symbol that traded.

    Attributes:
        end: END label of all of them, aware KST.
        candles: by symbol, in the order of the universe.
        uncertain: symbols of which trades may be missing; look at the broker's
            chart before or after it is published.
    """

    end: datetime
    candles: Mapping[str, Candle]
    uncertain: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Forming:
    """A candle under way.

    Attributes:
        first, last: shares of the day so far at its first and last trade; they
            order trades that arrive in another order.
        settled: taken from the broker's chart; trades no longer change it.
    """

    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    first: int
    last: int
    uncertain: bool = False
    settled: bool = False

    def add(self, tick: Tick) -> None:
        price, total = tick.price, tick.total_quantity
        if total and total < self.first:
            self.open, self.first = price, total
        if not total or total >= self.last:
            self.close, self.last = price, total
        self.high, self.low = max(self.high, price), min(self.low, price)
        self.volume += tick.quantity

    def candle(self) -> Candle:
        return Candle(
            end=self.end,
            open=float(self.open),
            high=float(self.high),
            low=float(self.low),
            close=float(self.close),
            volume=float(self.volume),
        )


@dataclass(slots=True)
class _Symbol:
    """What is known of one symbol.

    Attributes:
        day: session of the totals.
        total: shares of the day so far.
        missing: shares that the totals show and no trade has brought, by the END
            of the candle in which that was seen.
        high, low: of the day, as polls told them; 0 before the first.
        begun: how many of the published candles are of earlier sessions.
    """

    forming: dict[datetime, _Forming] = field(default_factory=dict)
    published: GrowingCandles = field(default_factory=GrowingCandles)
    begun: int = 0
    day: date = date.min
    total: int = 0
    missing: dict[datetime, int] = field(default_factory=dict)
    high: int = 0
    low: int = 0


class CandleBuilder:
    """Makes candles of the ticks of a universe.

    Not thread-safe: it belongs to the trading loop.

    Attributes:
        late: trades that came after their candle had been published.
        ignored: trades outside the regular session.
        bases: base prices by symbol and session, as the broker told them, won.
        candles: every candle published, by symbol.
    """

    def __init__(
        self,
        calendar: KrxCalendar,
        symbols: Sequence[str],
        *,
        interval: Interval = MINUTE,
        grace_s: float = 1.5,
        after_market: bool = False,
    ) -> None:
        """Begin without candles.

        Args:
            calendar: sessions and hours.
            symbols: the universe, in its order; ticks of others are ignored.
            interval: of minutes; a day's candle is the broker's, not made here.
            grace_s: how long after its END a candle waits for late trades; 0
                where every trade is known to have arrived.
            after_market: take trades of the after-market, too.

        Raises:
            ValueError: the interval is a day.
        """
        if interval.minutes is None:
            raise ValueError("daily candles are not made of ticks")
        self._calendar = calendar
        self._length = interval.minutes
        self._grace = timedelta(seconds=grace_s)
        self._after = after_market
        self._symbols = {symbol: _Symbol() for symbol in symbols}
        self.candles: Mapping[str, GrowingCandles] = {
            symbol: known.published for symbol, known in self._symbols.items()
        }
        self._ends: set[datetime] = set()
        self._closed: datetime | None = None
        self.late = 0
        self.bases: dict[tuple[str, date], float] = {}
        self.ignored = 0
        self._hours: tuple[date, datetime, datetime] | None = None

    # Trades in.

    def add(self, tick: Tick) -> bool:
        """Take one trade; return whether it belongs to a candle of this session.

        A trade whose candle has been published is counted as late and changes
        nothing.
        """
        known = self._symbols.get(tick.symbol)
        end = self.end_of(tick.at, tick.market_class)
        if known is None or end is None:
            self.ignored += 1
            return False
        if not self._count(known, tick, end):
            return False  # told before
        if self._closed is not None and end <= self._closed:
            self.late += 1
            return True
        self._form(known, end, tick)
        return True

    def add_all(self, ticks: Iterable[Tick]) -> int:
        """Take trades in the order of arrival; return how many count."""
        return sum(map(self.add, ticks))

    def _count(self, known: _Symbol, tick: Tick, end: datetime) -> bool:
        """Follow the day's total; return False for a trade told before."""
        total, quantity = tick.total_quantity, tick.quantity
        if tick.at.date() != known.day:
            known.day = tick.at.date()
            known.missing.clear()
            known.high = known.low = 0
            self._base(tick.symbol, known.day, tick.base)
            # What was traded before the first tick is nobody's loss.
            known.total = max(total - quantity, 0)
        if not total:
            return True
        if total > known.total:
            lost = total - quantity - known.total
            known.total = total
            if lost > 0:
                known.missing[end] = known.missing.get(end, 0) + lost
            return True
        return self._find(known, quantity)

    def _base(self, symbol: str, day: date, price: int) -> None:
        if price > 0:
            self.bases[symbol, day] = float(price)

    def _find(self, known: _Symbol, quantity: int) -> bool:
        """Take a trade that came late off what is missing; False if nothing is."""
        if sum(known.missing.values()) < quantity:
            return False
        for end in sorted(known.missing):
            found = min(quantity, known.missing[end])
            known.missing[end] -= found
            quantity -= found
        return True

    def _form(self, known: _Symbol, end: datetime, tick: Tick) -> None:
        forming = known.forming.get(end)
        if forming is None:
            price = float(tick.price)
            known.forming[end] = _Forming(
                end,
                price,
                price,
                price,
                price,
                float(tick.quantity),
                tick.total_quantity,
                tick.total_quantity,
            )
            self._ends.add(end)
            return
        if not forming.settled:
            forming.add(tick)

    def add_poll(self, at: datetime, price: MultiPrice) -> Tick | None:
        """Take what a query says of a symbol now; return it as a trade.

        The shares traded since the query before become one trade at the current
        price. A new high or low of the day is one of its candle, too. The first
        query of a day only says where it stands: begin before the opening.

        Returns:
            None when nothing has been traded since, or nothing counts.
        """
        known = self._symbols.get(price.symbol)
        if known is None:
            return None
        if known.day != at.date():
            known.day, known.total = at.date(), price.volume
            known.missing.clear()
            known.high, known.low = price.high, price.low
            self._base(price.symbol, known.day, price.base_price)
            return None
        quantity = price.volume - known.total
        if quantity <= 0 or price.price <= 0:
            return None
        highest, lowest = known.high, known.low
        tick = Tick(
            price.symbol,
            at,
            price.price,
            quantity,
            price.volume,
            price.ask,
            price.bid,
            None,
        )
        if not self.add(tick):
            return None
        known.high, known.low = price.high, price.low
        end = self.end_of(at)
        forming = known.forming.get(end) if end is not None else None
        if forming is not None and not forming.settled:
            if price.high > highest:
                forming.high = max(forming.high, float(price.high))
            if price.low > 0 and (price.low < lowest or not lowest):
                forming.low = min(forming.low, float(price.low))
        return tick

    def end_of(
        self, at: datetime, market_class: MarketClass = MarketClass.UNKNOWN
    ) -> datetime | None:
        """Return the END of the candle a trade belongs to; None outside the session.

        Trades of the closing auction belong to the candle that ends at the close.
        """
        opens, closes = self._session(at)
        if at < opens:
            return None
        if market_class in _REGULAR and at <= closes + AUCTION_TAIL:
            return self._label(min(at.replace(second=0, microsecond=0), closes), closes)
        if self._after and market_class is not MarketClass.CLOSE_PRICE and at > closes:
            until = closes.replace(hour=_AFTER_ENDS_H, minute=0)
            return self._label(at.replace(second=0, microsecond=0), until)
        return None

    def _session(self, at: datetime) -> tuple[datetime, datetime]:
        day = at.date()
        if self._hours is None or self._hours[0] != day:
            if self._calendar.is_session(day):
                opens = self._calendar.open_time(day)
                closes = self._calendar.close_time(day)
            else:  # nothing is traded: no time lies in the session
                midnight = datetime(day.year, day.month, day.day, tzinfo=KST)
                opens, closes = midnight + _DAY, midnight + _DAY
            self._hours = (day, opens, closes)
        return self._hours[1], self._hours[2]

    def _label(self, minute: datetime, closes: datetime) -> datetime:
        """Return the END of the candle around the minute that begins at `minute`.

        Counted from midnight, as `resample` does.
        """
        passed = minute.hour * 60 + minute.minute + 1
        ends = -(-passed // self._length) * self._length
        midnight = minute.replace(hour=0, minute=0)
        return min(midnight + ends * _MINUTE, closes)

    # The broker's chart.

    def correct(self, symbol: str, chart: Candle) -> bool:
        """Compare a candle with the broker's chart; return whether they agree.

        A candle not yet published becomes the chart's; of a published one nothing
        changes.

        Args:
            symbol: of the universe.
            chart: complete, END-labelled, of this interval.
        """
        known = self._symbols[symbol]
        if self.is_to_come(chart.end):
            forming = known.forming.get(chart.end)
            same = forming is not None and forming.candle() == chart
            self._settle(known, chart)
            return same
        return self.find(symbol, chart.end) == chart

    def is_to_come(self, end: datetime) -> bool:
        """Return whether the candle that ends at `end` can still be published."""
        return self._closed is None or end > self._closed

    def _settle(self, known: _Symbol, chart: Candle) -> None:
        before = known.forming.get(chart.end)
        known.forming[chart.end] = _Forming(
            chart.end,
            chart.open,
            chart.high,
            chart.low,
            chart.close,
            chart.volume,
            before.first if before else 0,
            before.last if before else 0,
            settled=True,
        )
        self._ends.add(chart.end)

    def mark_gap(self, since: datetime, until: datetime) -> None:
        """Note that trades of a span may have been missed.

        Candles of it are uncertain until `correct` has settled them; the totals
        begin anew, because what was missed is in the broker's chart.
        """
        for known in self._symbols.values():
            known.missing.clear()
            known.day = date.min
            for forming in known.forming.values():
                begins = forming.end - self._length * _MINUTE
                if begins < until and forming.end > since and not forming.settled:
                    forming.uncertain = True

    # Candles out.

    def next_end(self) -> datetime | None:
        """Return the END of the next candle to be closed; None when none is forming."""
        return min(self._ends, default=None)

    def next_close(self) -> datetime | None:
        """Return when the next candle is to be closed; None when none is forming."""
        return min(map(self._due, self._ends), default=None)

    def _due(self, end: datetime) -> datetime:
        if not self._grace:
            return end
        _opens, closes = self._session(end)
        tail = AUCTION_TAIL if end == closes else timedelta(0)
        return end + tail + self._grace

    def close_due(self, now: datetime) -> list[Batch]:
        """Return the candles that are complete at `now`, oldest first.

        Each is returned once; from then on its minute is closed for all symbols.
        """
        batches = []
        for end in sorted(self._ends):
            if self._due(end) > now:
                break
            batches.append(self._close(end))
        return batches

    def _close(self, end: datetime) -> Batch:
        candles, uncertain = {}, set()
        for symbol, known in self._symbols.items():
            forming = known.forming.pop(end, None)
            lost = known.missing.pop(end, 0)
            if forming is None or not forming.volume > 0:
                continue
            candles[symbol] = forming.candle()
            known.published.append(candles[symbol])
            if forming.uncertain or (lost and not forming.settled):
                uncertain.add(symbol)
        self._ends.discard(end)
        self._closed = end
        return Batch(end=end, candles=candles, uncertain=frozenset(uncertain))

    def begin_session(self, day: date) -> None:
        """Forget the candles of earlier sessions, which nothing corrects any more."""
        midnight = datetime(day.year, day.month, day.day, tzinfo=KST)
        for known in self._symbols.values():
            known.begun = known.published.first_from(midnight)
            for end in [end for end in known.forming if end.date() < day]:
                del known.forming[end]
        self._ends = {end for end in self._ends if end.date() >= day}

    def has_published(self, symbol: str) -> bool:
        """Return whether a candle was published since the session began."""
        known = self._symbols[symbol]
        return known.begun < len(known.published)

    def find(self, symbol: str, end: datetime) -> Candle | None:
        """Return the published candle that ends at `end`, of this session."""
        known = self._symbols[symbol]
        if known.published.first_from(end) < known.begun:
            return None
        return known.published.find(end)
