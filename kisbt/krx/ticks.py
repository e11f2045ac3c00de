"""Price steps (호가단위) of each day, and rounding to them.

Every table is dated: a backtest over ten years needs the old ones. A price picks
its band itself; band bounds lie on the grids of both their bands, so rounding
never leaves a price between two grids.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from math import ceil, floor, isfinite

import numpy as np
import numpy.typing as npt

from kisbt.errors import MarketRuleError
from kisbt.model.instrument import Market, Product
from kisbt.text import _

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Days = npt.NDArray[np.datetime64]

# Won. Prices reach some millions, where doubles are exact to 1e-9; a sum or a
# product of a few of them is off by far less than this.
NOISE = 1e-6

# First session of mid-price orders: a print may be half a tick, cut to whole won.
# Source: KRX KOSPI Market Business Regulation in force 2026-04-28; NXT launch.
MID_PRICE_FROM = date(2025, 3, 4)


@dataclass(frozen=True, slots=True)
class TickTable:
    """One dated table of price steps.

    Attributes:
        first: first session on which it is in force.
        lower: won, the lower bound of each band, inclusive; the first is 0.
        ticks: won, the price step of each band.
        steps: number of price steps from 0 to each band's lower bound.
    """

    first: date
    lower: tuple[int, ...]
    ticks: tuple[int, ...]
    steps: tuple[int, ...]

    def band(self, price: float) -> int:
        """Return the number of the band that `price` (won) falls into."""
        return bisect_right(self.lower, price + NOISE) - 1

    def holds(self, price: float) -> bool:
        """Return whether `price` (won, zero or more) lies on the grid."""
        tick = self.ticks[self.band(price)]
        return abs(price - round(price / tick) * tick) <= NOISE

    def moved(self, price: float, ticks: int) -> float:
        """Return `price` (won, zero or more) moved as `move_ticks` does."""
        band = self.band(price)
        at = self.steps[band] + (price - self.lower[band]) / self.ticks[band]
        lowest = min(at, 1.0) if ticks < 0 else at
        goal = max(at + ticks, lowest)
        band = bisect_right(self.steps, goal + NOISE) - 1
        moved = self.lower[band] + (goal - self.steps[band]) * self.ticks[band]
        whole = round(moved)
        return whole if abs(moved - whole) <= NOISE else moved


def _table(first: date, *bands: tuple[int, int]) -> TickTable:
    """Build a table from (lower bound, tick) pairs in won."""
    lower = tuple(bound for bound, _tick in bands)
    ticks = tuple(tick for _bound, tick in bands)
    steps = [0]
    for number in range(1, len(bands)):
        width = lower[number] - lower[number - 1]
        steps.append(steps[-1] + width // ticks[number - 1])
    return TickTable(first, lower, ticks, tuple(steps))


# In force since 2003 at the latest; no older table is known here.
_ALWAYS = date.min

# Since 2023-01-25 one table for all three boards.
# Source: Enforcement Rules of the KOSPI Market Business Regulation, 2026-04-27;
# checked on every official price of 2023-01-25 to 2025-02.
_STOCKS_2023 = _table(
    date(2023, 1, 25),
    (0, 1),
    (2_000, 5),
    (5_000, 10),
    (20_000, 50),
    (50_000, 100),
    (200_000, 500),
    (500_000, 1_000),
)
_KOSPI = (
    # Source: derived from unadjusted candles before 2010-10-04.
    _table(
        _ALWAYS,
        (0, 5),
        (5_000, 10),
        (10_000, 50),
        (50_000, 100),
        (100_000, 500),
        (500_000, 1_000),
    ),
    # The step of 1 won below 1,000 is new. Source: press on the 2023 change, which
    # quotes the old table; the first such prices appear on 2010-10-04.
    _table(
        date(2010, 10, 4),
        (0, 1),
        (1_000, 5),
        (5_000, 10),
        (10_000, 50),
        (50_000, 100),
        (100_000, 500),
        (500_000, 1_000),
    ),
    _STOCKS_2023,
)
_KOSDAQ = (
    # In force since 2003-07-21, taken for the years before too.
    # Source: 한국경제 2003052902901, 서울경제 1HVLRK85PY.
    _table(_ALWAYS, (0, 5), (5_000, 10), (10_000, 50), (50_000, 100)),
    # Source: as for KOSPI.
    _table(
        date(2010, 10, 4), (0, 1), (1_000, 5), (5_000, 10), (10_000, 50), (50_000, 100)
    ),
    _STOCKS_2023,
)
_ETP = (
    # Source: 이투데이 2289674; checked on five ETFs 2009 to 2023.
    _table(_ALWAYS, (0, 5)),
    # Table: Enforcement Rules of the KOSPI Market Business Regulation, 2026-04-27.
    # The start day is not confirmed (press gave 12-08 and 12-18); it matters only
    # to prices below 2,000 won in those days.
    _table(date(2023, 12, 11), (0, 1), (2_000, 5)),
)
# Source: Enforcement Rules of the KOSPI Market Business Regulation, 2026-04-27.
_ELW = (_table(_ALWAYS, (0, 5)),)

_STOCKS = {Market.KOSPI: _KOSPI, Market.KOSDAQ: _KOSDAQ, Market.KONEX: _KOSDAQ}
_OTHERS = {Product.ETF: _ETP, Product.ETN: _ETP, Product.ELW: _ELW, Product.INDEX: ()}


def tick_tables(*, market: Market, product: Product) -> tuple[TickTable, ...]:
    """Return the dated tables of a kind of security, oldest first; none for an index."""
    return _STOCKS[market] if product is Product.STOCK else _OTHERS[product]


@lru_cache(maxsize=1 << 15)
def _table_at(market: Market, product: Product, session: date) -> TickTable | None:
    found = None
    for table in tick_tables(market=market, product=product):
        if table.first <= session:
            found = table
    return found


def tick_table(*, market: Market, product: Product, session: date) -> TickTable:
    """Return the table in force on `session`.

    Raises:
        MarketRuleError: an index has no price step; it is not traded.
    """
    table = _table_at(market, product, session)
    if table is None:
        raise MarketRuleError(
            _("an index has no tick size: it is not traded"), rule="tick"
        )
    return table


def _checked(price: float) -> float:
    if not (isfinite(price) and price >= 0):
        raise MarketRuleError(
            _("price {found}: expected a number of won, zero or more").format(
                found=price
            ),
            rule="tick",
        )
    return price


def tick_size(price: float, *, market: Market, product: Product, session: date) -> int:
    """Return the price step in won at `price` (won) on `session`.

    Raises:
        MarketRuleError: the price is negative or no number, or it is an index.
    """
    table = tick_table(market=market, product=product, session=session)
    return table.ticks[table.band(_checked(price))]


def floor_to(price: float, tick: int) -> int:
    """Return the multiple of `tick` at or below `price`, float noise forgiven."""
    return floor((price + NOISE) / tick) * tick


def ceil_to(price: float, tick: int) -> int:
    """Return the multiple of `tick` at or above `price`, float noise forgiven."""
    return ceil((price - NOISE) / tick) * tick


def round_down_to_tick(
    price: float, *, market: Market, product: Product, session: date
) -> int:
    """Return the highest price in won on the grid that is not above `price`.

    0 when `price` is below one tick: no such order can be sent.

    Raises:
        MarketRuleError: as `tick_size`.
    """
    return floor_to(
        price, tick_size(price, market=market, product=product, session=session)
    )


def round_up_to_tick(
    price: float, *, market: Market, product: Product, session: date
) -> int:
    """Return the lowest price in won on the grid that is not below `price`.

    Raises:
        MarketRuleError: as `tick_size`.
    """
    return ceil_to(
        price, tick_size(price, market=market, product=product, session=session)
    )


def move_ticks(
    price: float, ticks: int, *, market: Market, product: Product, session: date
) -> float:
    """Return the price `ticks` price steps above (or, if negative, below) `price`.

    A step is as wide as the band it lies in, also when the way crosses bands. An
    off-grid price (adjusted candles) keeps its share of a step, so that moving up
    and down again gives the same price. Never below one tick, unless `price` is.

    Returns:
        Won; an int when it is whole, as every price on the grid is.

    Raises:
        MarketRuleError: as `tick_size`.
    """
    table = tick_table(market=market, product=product, session=session)
    return table.moved(_checked(price), ticks)


def is_on_grid(
    price: float, *, market: Market, product: Product, session: date
) -> bool:
    """Return whether an order may carry `price` (won); always so for an index.

    Raises:
        MarketRuleError: the price is negative or no number.
    """
    table = _table_at(market, product, session)
    return table is None or table.holds(_checked(price))


def is_valid_print(
    price: float, *, market: Market, product: Product, session: date
) -> bool:
    """Return whether the exchange can have printed `price` (won).

    On the grid, or from 2025-03-04 half a tick above it, cut to a whole won.

    Raises:
        MarketRuleError: the price is negative or no number.
    """
    if is_on_grid(price, market=market, product=product, session=session):
        return True
    if session < MID_PRICE_FROM:
        return False
    tick = tick_size(price, market=market, product=product, session=session)
    return abs(price - floor_to(price, tick) - tick // 2) <= NOISE


def tick_sizes(
    prices: Floats, sessions: Days, *, market: Market, product: Product
) -> Floats:
    """Return the price step of each price on its session.

    Args:
        prices: won, float64, shape (n,).
        sessions: datetime64[D], shape (n,).
        market, product: of the one security that all prices belong to.

    Returns:
        Won, float64, shape (n,); NaN for an index and where the price is NaN.
    """
    found = np.full(prices.shape, np.nan)
    for table in tick_tables(market=market, product=product):
        late = sessions >= np.datetime64(table.first, "D")
        lower = np.asarray(table.lower, dtype=np.float64)
        band = np.searchsorted(lower, prices[late] + NOISE, side="right") - 1
        found[late] = np.asarray(table.ticks, dtype=np.float64)[band]
    found[np.isnan(prices)] = np.nan
    return found


def valid_prints(
    prices: Floats, sessions: Days, *, market: Market, product: Product
) -> Bools:
    """Return `is_valid_print` of each price; False where it is no positive number.

    Args:
        prices: won, float64, shape (n,).
        sessions: datetime64[D], shape (n,).
        market, product: of the one security that all prices belong to.
    """
    usable = np.isfinite(prices) & (prices > 0)
    if product is Product.INDEX:
        return usable
    known = np.where(usable, prices, np.nan)
    tick = tick_sizes(known, sessions, market=market, product=product)
    rest = known - np.floor((known + NOISE) / tick) * tick
    half = np.abs(rest - np.floor(tick / 2)) <= NOISE
    mid = half & (sessions >= np.datetime64(MID_PRICE_FROM, "D"))
    return usable & ((np.abs(rest) <= NOISE) | mid)
