"""What the emulated market does: stored candles replayed, or a seeded random walk."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Protocol

import numpy as np

from kisbt.candles.bases import SessionBases
from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.emulator.market import Bar, day_band
from kisbt.errors import InputError, MissingCandles
from kisbt.krx.calendar import KST, KrxCalendar
from kisbt.krx.limits import limit_pct
from kisbt.krx.ticks import move_ticks, round_down_to_tick, round_up_to_tick
from kisbt.model.candle import DAILY, MINUTE, Interval
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.order import Side
from kisbt.text import _

# Where in a candle its four prices trade, as shares of its length. The last one is
# just before the end: a trade at the end itself belongs to the next candle.
_PLACES = (0.0, 0.3, 0.65, 0.98)
_ONE_MINUTE = timedelta(minutes=1)
# No trades between the last continuous minute and the close: the closing auction.
_AUCTION_MINUTES = 10
_STEPS = 5  # limits are rounded towards the base price


class Scenario(Protocol):
    """Where candles come from."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Everything listed, in universe order."""
        ...

    def sessions(self) -> Sequence[date]:
        """Dates that can be replayed, oldest first."""
        ...

    def session_after(self, day: date) -> date | None:
        """Return the first session to replay after `day`; None at the end."""
        ...

    def bars(self, session: date) -> list[Bar]:
        """Return the candles of a session by END time, then universe order."""
        ...

    def base(self, symbol: str, session: date) -> float:
        """Return the session's base price, won; 0 where none is known."""
        ...

    def daily(self, symbol: str, *, adjusted: bool) -> CandleColumns:
        """Return the daily candles of a symbol; past ones are asked for only."""
        ...


class Replay:
    """Candles of a store.

    A session is replayed from the minute candles of a symbol where there are any,
    else from its daily candle; unadjusted daily candles come before adjusted ones.
    """

    def __init__(
        self,
        store: CandleStore,
        calendar: KrxCalendar,
        *,
        symbols: Sequence[str] = (),
        interval: Interval | None = None,
    ) -> None:
        """Replay `store`.

        Args:
            store: of candles.
            calendar: sessions and hours.
            symbols: which; all that have candles by default.
            interval: daily or minute candles only; None prefers minutes.

        Raises:
            MissingCandles: the store has none of what is asked for.
        """
        self._store = store
        self._calendar = calendar
        self._interval = interval
        wanted = tuple(symbols) or tuple(
            sorted({*self._having(MINUTE), *self._having(DAILY)})
        )
        if not wanted:
            raise MissingCandles(
                _("no candles in {path}: nothing to replay").format(path=store.path)
            )
        found, _assumed = store.describe(wanted)
        self._instruments = [found[symbol] for symbol in wanted]
        self._read: dict[tuple[str, str], CandleColumns] = {}
        self._based: dict[str, SessionBases] = {}
        self._days: list[date] | None = None

    def _having(self, interval: Interval) -> set[str]:
        if interval.is_daily:
            adjusted = self._store.symbols(DAILY, adjusted=True)
            return {*adjusted, *self._store.symbols(DAILY, adjusted=False)}
        return set(self._store.symbols(MINUTE))

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Everything listed, in universe order."""
        return self._instruments

    def sessions(self) -> Sequence[date]:
        """Dates that have candles of the interval replayed, oldest first."""
        if self._days is None:
            minutes = self._dates(self._minutes)
            days = minutes
            if self._interval == DAILY or (self._interval is None and not minutes):
                days = self._dates(self._raw)
            self._days = [day for day in days if self._calendar.is_session(day)]
        return self._days

    def _dates(self, read: Callable[[str], CandleColumns]) -> list[date]:
        found: set[date] = set()
        for instrument in self._instruments:
            if instrument.product is not Product.INDEX:
                found.update(np.unique(read(instrument.symbol).sessions).tolist())
        return sorted(found)

    def session_after(self, day: date) -> date | None:
        """Return the first session to replay after `day`; None at the end."""
        days = self.sessions()
        at = bisect_right(days, day)
        return days[at] if at < len(days) else None

    def _minutes(self, symbol: str) -> CandleColumns:
        if self._interval == DAILY or not self._store.has(symbol, MINUTE):
            return CandleColumns.empty()
        return self._cached(symbol, "1m")

    def _raw(self, symbol: str) -> CandleColumns:
        return self.daily(symbol, adjusted=False)

    def daily(self, symbol: str, *, adjusted: bool) -> CandleColumns:
        """Return the daily candles; the other kind where one is missing."""
        for kind in (adjusted, not adjusted):
            if self._store.has(symbol, DAILY, adjusted=kind):
                return self._cached(symbol, "1d" if kind else "1d-raw")
        return CandleColumns.empty()

    def _cached(self, symbol: str, kind: str) -> CandleColumns:
        key = (symbol, kind)
        if key not in self._read:
            interval = MINUTE if kind == "1m" else DAILY
            adjusted = kind != "1d-raw"
            self._read[key] = self._store.read(symbol, interval, adjusted=adjusted)
        return self._read[key]

    def bars(self, session: date) -> list[Bar]:
        """Return the candles of a session by END time, then universe order."""
        found = [
            (bar.end, number, bar)
            for number, instrument in enumerate(self._instruments)
            for bar in self._bars_of(instrument.symbol, session)
        ]
        found.sort(key=lambda row: row[:2])
        return [bar for _end, _number, bar in found]

    def _bars_of(self, symbol: str, session: date) -> Iterable[Bar]:
        day = np.datetime64(session, "D")
        minutes = self._minutes(symbol).between(day, day)
        opens = self._calendar.open_time(session)
        if len(minutes):
            return bars_of(symbol, minutes, _ONE_MINUTE)
        if self._interval == MINUTE:
            return ()
        daily = self._raw(symbol).between(day, day)
        return bars_of(symbol, daily, self._calendar.close_time(session) - opens)

    def base(self, symbol: str, session: date) -> float:
        """Return the last close before the session, won; 0 where none is known."""
        day = np.datetime64(session, "D")
        minutes = self._minutes(symbol)
        today = minutes.between(day, day)
        if len(today):
            return self._base_of(symbol, session, today)
        daily = self._raw(symbol)
        before = int(np.searchsorted(daily.sessions, day))
        if before:
            return float(daily.close[before - 1])
        before = int(np.searchsorted(minutes.sessions, day))
        return float(minutes.close[before - 1]) if before else 0.0

    def _base_of(self, symbol: str, session: date, today: CandleColumns) -> float:
        """Return the base price of a session with minutes.

        Where sessions are missing before it, one whose limits hold its trades.
        """
        if symbol not in self._based:
            self._based[symbol] = self._store.bases(symbol, self._minutes(symbol))
        day = np.array([session], "datetime64[D]")
        known = float(self._based[symbol].of_bars(day)[0])
        instrument = next(i for i in self._instruments if i.symbol == symbol)
        return covering_base(
            known if known > 0 else float(today.open[0]),
            float(today.high.max()),
            float(today.low.min()),
            instrument,
            session,
        )


def covering_base(
    base: float, high: float, low: float, instrument: Instrument, session: date
) -> float:
    """Return the base price nearest to `base` whose limits hold a day's trades.

    0 where there is none, as on the first day of a listing.
    """
    band = day_band(instrument, base, session)
    if band is None or (high in band and low in band):
        return base
    share = limit_pct(
        market=instrument.market,
        product=instrument.product,
        session=session,
        leverage=instrument.leverage,
    )
    assert share is not None
    up = high > band.upper
    market, product = instrument.market, instrument.product
    nearest = round_up_to_tick if up else round_down_to_tick
    found = nearest(
        high / (1.0 + share) if up else low / (1.0 - share),
        market=market,
        product=product,
        session=session,
    )
    for steps in range(_STEPS):
        price = move_ticks(
            found,
            steps if up else -steps,
            market=market,
            product=product,
            session=session,
        )
        band = day_band(instrument, price, session)
        if band is not None and high in band and low in band:
            return float(price)
    return 0.0


def bars_of(symbol: str, candles: CandleColumns, length: timedelta) -> list[Bar]:
    """Return columns as candles of `length`."""
    return [
        Bar(symbol, end - length, end, *values)
        for end, *values in zip(
            (moment.replace(tzinfo=KST) for moment in candles.end.tolist()),
            candles.open.tolist(),
            candles.high.tolist(),
            candles.low.tolist(),
            candles.close.tolist(),
            map(int, candles.volume.tolist()),
            strict=True,
        )
    ]


class Walk:
    """Prices that wander by seed; the same seed makes the same market.

    Minute candles of invented sessions, as many as are asked for.
    """

    def __init__(
        self,
        calendar: KrxCalendar,
        start: date,
        *,
        seed: int = 0,
        instruments: Sequence[Instrument] = (),
        price: int = 50_000,
    ) -> None:
        """Begin with the first session on or after `start`.

        Args:
            calendar: sessions and hours.
            start: date.
            seed: of the prices.
            instruments: five invented stocks by default.
            price: first base price, won; each symbol gets another multiple.
        """
        self._calendar = calendar
        self._first = calendar.session_on_or_after(start)
        self._seed = seed
        self._instruments = list(instruments) or [
            Instrument(
                symbol=f"99000{number}",
                name=f"가상{number}",
                market=Market.KOSPI if number < 4 else Market.KOSDAQ,
            )
            for number in range(1, 6)
        ]
        self._price = price
        self._made: dict[date, dict[str, list[Bar]]] = {}
        self._order = [self._first]

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Everything listed, in universe order."""
        return self._instruments

    def sessions(self) -> Sequence[date]:
        """Sessions made so far; there is always another one."""
        return list(self._order)

    def session_after(self, day: date) -> date | None:
        """Return the first session after `day`; a walk never ends."""
        return self._calendar.next_session(max(day, self._first - timedelta(days=1)))

    def _session(self, session: date) -> dict[str, list[Bar]]:
        if session not in self._made:
            # Prices depend on the day before: make every session up to this one.
            day = self._order[-1] if self._made else self._first
            while day <= session:
                if day not in self._made:
                    self._make(day)
                day = self._calendar.next_session(day)
        return self._made.get(session, {})

    def _make(self, session: date) -> None:
        self._made[session] = {
            instrument.symbol: self._wander(
                instrument, session, self.base(instrument.symbol, session)
            )
            for instrument in self._instruments
        }
        if session not in self._order:
            self._order.append(session)

    def _wander(self, instrument: Instrument, session: date, base: float) -> list[Bar]:
        source = random.Random(f"{self._seed}:{instrument.symbol}:{session}")
        opens = self._calendar.open_time(session)
        closes = self._calendar.close_time(session)
        lower, upper = int(base * 0.75), int(base * 1.25)

        def moved(price: int, ticks: int) -> int:
            to = move_ticks(
                price,
                ticks,
                market=instrument.market,
                product=instrument.product,
                session=session,
            )
            return int(to) if lower <= to <= upper else price

        price = moved(int(base), source.randint(-10, 10))
        bars = []
        start = opens
        while start < closes - timedelta(minutes=_AUCTION_MINUTES):
            path = [price]
            for _turn in range(3):
                path.append(moved(path[-1], source.choice((-2, -1, -1, 0, 1, 1, 2))))
            volume = source.randint(40, 4_000)
            end = start + _ONE_MINUTE
            bars.append(
                Bar(
                    instrument.symbol,
                    start,
                    end,
                    path[0],
                    max(path),
                    min(path),
                    path[-1],
                    volume,
                )
            )
            price = moved(path[-1], source.choice((-1, 0, 0, 1)))
            start = end
        bars.append(
            Bar(
                instrument.symbol,
                closes - _ONE_MINUTE,
                closes,
                *(price,) * 4,
                source.randint(1_000, 20_000),
            )
        )
        return bars

    def bars(self, session: date) -> list[Bar]:
        """Return the candles of a session by END time, then universe order."""
        found = [
            (bar.end, number, bar)
            for number, bars in enumerate(self._session(session).values())
            for bar in bars
        ]
        found.sort(key=lambda row: row[:2])
        return [bar for _end, _number, bar in found]

    def base(self, symbol: str, session: date) -> float:
        """Return the last close, or the invented first price."""
        at = bisect_left(self._order, session)
        if at:
            bars = self._session(self._order[at - 1]).get(symbol)
            if bars:
                return bars[-1].close
        number = [item.symbol for item in self._instruments].index(symbol)
        instrument = self._instruments[number]
        return round_down_to_tick(
            self._price * (1 + number),
            market=instrument.market,
            product=instrument.product,
            session=session,
        )

    def daily(self, symbol: str, *, adjusted: bool) -> CandleColumns:
        """Return the sessions made so far as daily candles."""
        del adjusted  # nothing is ever split here
        rows = [
            (
                np.datetime64(bars[-1].end.replace(tzinfo=None), "s"),
                bars[0].open,
                max(bar.high for bar in bars),
                min(bar.low for bar in bars),
                bars[-1].close,
                sum(bar.volume for bar in bars),
            )
            for session in sorted(self._made)
            if (bars := self._made[session].get(symbol))
        ]
        if not rows:
            return CandleColumns.empty()
        end, *values = zip(*rows, strict=True)
        return CandleColumns(
            np.array(end, "datetime64[s]"),
            *(np.array(column, np.float64) for column in values),
        )


@dataclass(frozen=True, slots=True)
class Point:
    """One of the prices a candle is walked through.

    Attributes:
        quantity: shares; all points of a candle together have its volume.
    """

    time: datetime
    price: float
    quantity: int


def walk_points(bar: Bar, closes: datetime) -> list[Point]:
    """Return a candle as trades: open → nearer extreme → other extreme → close.

    Equal neighbours are one trade. A candle of one price that ends the session is
    the closing auction: it trades at the close itself.

    Args:
        bar: the candle.
        closes: when its session ends.
    """
    if bar.end == closes and bar.open == bar.high == bar.low == bar.close:
        return [Point(closes, bar.close, bar.volume)]
    length = (bar.end - bar.start).total_seconds()
    whole = bar.end - bar.start > _ONE_MINUTE
    nearer_high = bar.high - bar.open <= bar.open - bar.low
    turns = (bar.high, bar.low) if nearer_high else (bar.low, bar.high)
    prices: list[tuple[float, float]] = []
    for place, price in zip(_PLACES, (bar.open, *turns, bar.close), strict=True):
        if not prices or prices[-1][1] != price:
            prices.append((place, price))
    shares = _split(bar.volume, len(prices))
    points = []
    for (place, price), quantity in zip(prices, shares, strict=True):
        at = bar.start + timedelta(seconds=int(length * place))
        if whole and place == _PLACES[-1]:
            at = bar.end  # a daily candle closes in the closing auction
        points.append(Point(at, price, quantity))
    return points


@lru_cache(maxsize=1024)
def _split(volume: int, parts: int) -> tuple[int, ...]:
    share, rest = divmod(volume, parts)
    return tuple(share + (number < rest) for number in range(parts))


def trade_side(price: float, before: float, last: Side) -> Side:
    """Return who took the price: buyers push it up, sellers down."""
    if price == before:
        return last
    return Side.BUY if price > before else Side.SELL


def start_time(
    scenario: Scenario, start: date | datetime | None, calendar: KrxCalendar
) -> datetime:
    """Return when a replay begins.

    Args:
        scenario: what is replayed.
        start: a date begins at 08:20; None is the last session there is.
        calendar: of the exchange.

    Raises:
        InputError: `start` is after everything there is to replay.
    """
    days = scenario.sessions()
    if isinstance(start, datetime):
        return start if start.tzinfo is not None else start.replace(tzinfo=KST)
    if start is None:
        day = days[-1] if days else calendar.session_on_or_after(date(2025, 1, 2))
    else:
        day = start
    if scenario.session_after(day - timedelta(days=1)) is None:
        raise InputError(
            _(
                "nothing to replay from {day} on: the last session stored is {last}"
            ).format(day=day, last=days[-1] if days else "-")
        )
    return datetime(day.year, day.month, day.day, 8, 20, tzinfo=KST)
