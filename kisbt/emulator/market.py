"""Prices of the emulated market: the last trade, the day so far, a derived book."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache

from kisbt.krx.limits import PriceBand, price_band
from kisbt.krx.ticks import move_ticks, round_down_to_tick, tick_size
from kisbt.model.instrument import Instrument, Product
from kisbt.model.order import Side

LEVELS = 10
# Trades kept for the queries of recent ones.
_TRADES_KEPT = 400


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade of the market.

    Attributes:
        price: won; hundredths of a point are kept for an index.
        side: which side was the aggressor.
    """

    symbol: str
    time: datetime
    price: float
    quantity: int
    side: Side


@dataclass(frozen=True, slots=True)
class Level:
    """One price of the book."""

    price: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Book:
    """Ten levels each way, best first; an absent level is price 0, quantity 0."""

    asks: tuple[Level, ...]
    bids: tuple[Level, ...]

    @property
    def ask_total(self) -> int:
        """Shares offered on all levels."""
        return sum(level.quantity for level in self.asks)

    @property
    def bid_total(self) -> int:
        """Shares wanted on all levels."""
        return sum(level.quantity for level in self.bids)


@dataclass(frozen=True, slots=True)
class Bar:
    """A candle of the replay.

    Attributes:
        start, end: aware KST; the candle covers start ≤ time < end.
    """

    symbol: str
    start: datetime
    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int


@dataclass(slots=True)
class Listing:
    """A security in one session.

    Attributes:
        base: the session's base price, won.
        band: the session's price limits; None without any.
        open, high, low, last: won; `last` is the base before the first trade.
        volume, value: shares and won traded so far.
        year_range: highest and lowest price of the sessions before, once asked for.
        halted: no order of this symbol is taken and none fills; `halted_until`
            tells when that ends by itself.
    """

    instrument: Instrument
    session: date
    base: float
    band: PriceBand | None
    last: float
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    volume: int = 0
    value: float = 0.0
    open_time: datetime | None = None
    high_time: datetime | None = None
    low_time: datetime | None = None
    buys: int = 0
    sells: int = 0
    buy_volume: int = 0
    sell_volume: int = 0
    volume_before: int = 0
    last_side: Side = Side.BUY
    halted: bool = False
    halted_until: datetime | None = None
    delisted: bool = False
    locked: Side | None = None
    year_range: tuple[float, float] | None = None
    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=_TRADES_KEPT))

    @property
    def symbol(self) -> str:
        """Six-character code."""
        return self.instrument.symbol

    @property
    def tradable(self) -> bool:
        """Whether orders are taken at all."""
        return self.instrument.product is not Product.INDEX and not self.delisted

    def tick(self, price: float) -> int:
        """Return the price step at `price`, won."""
        return tick_size(
            price,
            market=self.instrument.market,
            product=self.instrument.product,
            session=self.session,
        )

    def on_grid(self, price: int) -> bool:
        """Return whether a price is a multiple of its step."""
        return price > 0 and price % self.tick(price) == 0

    def apply(self, trade: Trade) -> None:
        """Take over one trade."""
        price = trade.price
        if not self.volume and self.open_time is None:
            self.open = self.high = self.low = price
            self.open_time = self.high_time = self.low_time = trade.time
        if price > self.high:
            self.high, self.high_time = price, trade.time
        if price < self.low:
            self.low, self.low_time = price, trade.time
        self.last, self.last_side = price, trade.side
        self.volume += trade.quantity
        self.value += trade.quantity * price
        if trade.side is Side.BUY:
            self.buys += 1
            self.buy_volume += trade.quantity
        else:
            self.sells += 1
            self.sell_volume += trade.quantity
        self.trades.append(trade)

    def book(self) -> Book:
        """Return ten levels around the last trade.

        A buyer's trade leaves its price as the best offer, a seller's as the best
        bid. Sizes are invented but the same for the same price and session.
        """
        if self.instrument.product is Product.INDEX or self.last <= 0:
            return _NO_BOOK
        return _book(
            self.instrument, self.session, int(self.last), self.last_side, self.band
        )


_NOTHING = Level(0, 0)
_NO_BOOK = Book((_NOTHING,) * LEVELS, (_NOTHING,) * LEVELS)


@lru_cache(maxsize=4096)
def _book(
    instrument: Instrument,
    session: date,
    last: int,
    side: Side,
    band: PriceBand | None,
) -> Book:
    ask = last if side is Side.BUY else _moved(instrument, session, last, 1)
    bid = last if side is Side.SELL else _moved(instrument, session, last, -1)
    # At a limit only one side is left.
    if band is not None and last >= band.upper:
        bid, ask = band.upper, 0
    if band is not None and last <= band.lower:
        bid, ask = 0, band.lower
    asks = _levels(instrument, session, ask, 1, band)
    bids = _levels(instrument, session, bid, -1, band)
    return Book(tuple(asks), tuple(bids))


def _levels(
    instrument: Instrument, session: date, best: int, way: int, band: PriceBand | None
) -> Iterable[Level]:
    found = []
    price = best
    for depth in range(LEVELS):
        beyond = band is not None and price not in band
        if price <= 0 or beyond:
            found.append(_NOTHING)
            continue
        # A fixed mix of the price and the day: no state, the same at each call.
        noise = (price * 2_654_435_761 + session.toordinal() * 40_503) % 997
        found.append(Level(price, 100 + depth * 37 + noise))
        price = _moved(instrument, session, price, way)
    return found


def _moved(instrument: Instrument, session: date, price: int, ticks: int) -> int:
    moved = int(
        move_ticks(
            price,
            ticks,
            market=instrument.market,
            product=instrument.product,
            session=session,
        )
    )
    return 0 if moved == price else moved  # there is nothing below one step


def day_band(instrument: Instrument, base: float, session: date) -> PriceBand | None:
    """Return the price limits of a session; None without any."""
    if not base > 0:
        return None
    return price_band(
        base,
        market=instrument.market,
        product=instrument.product,
        session=session,
        leverage=instrument.leverage,
    )


def middle(book: Book, listing: Listing) -> int:
    """Return the price halfway between the best ones, on the grid; 0 without."""
    bid, ask = book.bids[0].price, book.asks[0].price
    if not bid or not ask:
        return bid or ask
    return round_down_to_tick(
        (bid + ask) / 2,
        market=listing.instrument.market,
        product=listing.instrument.product,
        session=listing.session,
    )
