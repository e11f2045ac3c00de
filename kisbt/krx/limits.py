"""Daily price limits (가격제한폭).

The band of a session follows from its base price (기준가: the last regular close,
or the exchange's own reference price after a capital change) in two steps: the
width is cut to the tick of the base, then the limits to the tick of the result.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from math import isfinite

import numpy as np

from kisbt.errors import MarketRuleError
from kisbt.krx.ticks import (
    NOISE,
    Days,
    Floats,
    TickTable,
    ceil_to,
    floor_to,
    tick_sizes,
    tick_table,
)
from kisbt.model.instrument import Market, Product
from kisbt.text import _

# (first session, limit as a share of the base price).
_KOSPI = (
    # Source: MBN 2399864 (since December 1998); checked: the largest rise until
    # 2015-06-12 is 15.0 %.
    (date.min, 0.15),
    # Source: KOSPI Market Business Regulation in force 2026-04-28; checked: 29.9 %
    # is first seen on 2015-06-15.
    (date(2015, 6, 15), 0.30),
)
_KOSDAQ = (
    # Source: 한국경제 2000032242611 and 2001122082361 (12 % in 2000 and 2001); the day
    # of the change is unconfirmed.
    (date.min, 0.12),
    (date(2005, 3, 28), 0.15),
    (date(2015, 6, 15), 0.30),
)
# Source: 한국경제 2015051562511, KONEX keeps 15 % when the other boards go to 30 %.
_KONEX = ((date.min, 0.15),)
_PCT = {Market.KOSPI: _KOSPI, Market.KOSDAQ: _KOSDAQ, Market.KONEX: _KONEX}

# Source: Enforcement Rules of the KOSPI Market Business Regulation, 2026-04-27; the
# day is from press.
IPO_BAND_FROM = date(2023, 6, 26)

_UNLIMITED = frozenset({Product.ELW, Product.INDEX})


@dataclass(frozen=True, slots=True)
class PriceBand:
    """The lowest and the highest price of a session, both allowed, in won."""

    lower: int
    upper: int

    def __contains__(self, price: float) -> bool:
        return self.lower - NOISE <= price <= self.upper + NOISE


def limit_pct(
    *, market: Market, product: Product, session: date, leverage: float = 1.0
) -> float | None:
    """Return the daily limit as a share of the base price; None without a limit.

    Args:
        market, product: of the security.
        session: the session it trades on.
        leverage: daily multiple of an ETF or ETN; 2 or -2 doubles the limit.

    Source:
        The multiple: 한국경제 2011080981536 (30 % for a double fund, then 15 % else).
    """
    if product in _UNLIMITED:
        return None
    board = market if product is Product.STOCK else Market.KOSPI
    return _share(board, session) * max(1.0, abs(leverage))


def limit_rows(
    *, market: Market, product: Product, leverage: float = 1.0
) -> tuple[tuple[date, float], ...]:
    """Return every first session and, from it on, `limit_pct`; none without limits."""
    if product in _UNLIMITED:
        return ()
    rows = _PCT[market if product is Product.STOCK else Market.KOSPI]
    return tuple((first, share * max(1.0, abs(leverage))) for first, share in rows)


@lru_cache(maxsize=1 << 15)
def _share(board: Market, session: date) -> float:
    rows = _PCT[board]
    return rows[bisect_right(rows, session, key=lambda row: row[0]) - 1][1]


def price_band(
    base: float,
    *,
    market: Market,
    product: Product,
    session: date,
    leverage: float = 1.0,
) -> PriceBand | None:
    """Return the price limits of `session`; None where there is no limit.

    Args:
        base: the session's base price in won; fractional on adjusted candles.
        market, product, session: what trades, and when.
        leverage: daily multiple of an ETF or ETN; 2 or -2 doubles the limit.

    Raises:
        MarketRuleError: the base price is not positive.

    Source:
        KOSPI Market Business Regulation in force 2026-04-28; recomputed on 454,656
        official stock-days of 2021 to 2026, no limit-up or limit-down differs.
    """
    pct = limit_pct(market=market, product=product, session=session, leverage=leverage)
    if pct is None:
        return None
    table = tick_table(market=market, product=product, session=session)
    return _band(base, down=pct, up=pct, table=table)


def ipo_band(offer_price: float, *, market: Market, session: date) -> PriceBand:
    """Return the price limits of a stock's first session.

    From 2023-06-26 60 % to 400 % of the offer price. Before, the opening auction
    found the base within 90 % to 200 % of the offer price and the daily limit
    applied to that base: the band returned then is the widest possible one.

    Raises:
        MarketRuleError: the offer price is not positive.

    Source:
        Enforcement Rules of the KOSPI Market Business Regulation, 2026-04-27.
    """
    table = tick_table(market=market, product=Product.STOCK, session=session)
    if session >= IPO_BAND_FROM:
        return _band(offer_price, down=0.4, up=3.0, table=table)
    opening = _band(offer_price, down=0.1, up=1.0, table=table)
    pct = limit_pct(market=market, product=Product.STOCK, session=session)
    assert pct is not None
    return PriceBand(
        _band(opening.lower, down=pct, up=pct, table=table).lower,
        _band(opening.upper, down=pct, up=pct, table=table).upper,
    )


def _band(base: float, *, down: float, up: float, table: TickTable) -> PriceBand:
    if not (isfinite(base) and base > 0):
        raise MarketRuleError(
            _("base price {found}: expected won above zero").format(found=base),
            rule="price_limit",
        )
    tick = table.ticks[table.band(base)]
    lowest = max(base - max(floor_to(base * down, tick), tick), table.ticks[0])
    return PriceBand(
        ceil_to(lowest, table.ticks[table.band(lowest)]), upper_limit(base, up, table)
    )


def upper_limit(base: float, share: float, table: TickTable) -> int:
    """Return the highest price of a session, as `price_band` has it, won.

    Args:
        base: won, above zero.
        share: the limit as a share of the base.
        table: price steps of the session.
    """
    tick = table.ticks[table.band(base)]
    highest = base + max(floor_to(base * share, tick), tick)
    return floor_to(highest, table.ticks[table.band(highest)])


def price_bands(
    bases: Floats,
    sessions: Days,
    *,
    market: Market,
    product: Product,
    leverage: float = 1.0,
) -> tuple[Floats, Floats]:
    """Return `price_band` of many sessions of one security.

    Args:
        bases: base price of each session, won, float64, shape (n,).
        sessions: datetime64[D], shape (n,).
        market, product, leverage: of the security.

    Returns:
        Lower and upper limits, won, float64, shape (n,); NaN where there is no
        limit or the base is not a positive number.
    """
    if product in _UNLIMITED:
        return np.full(bases.shape, np.nan), np.full(bases.shape, np.nan)
    base = np.where(np.isfinite(bases) & (bases > 0), bases, np.nan)
    pct = np.empty(base.shape)
    for first, share in _PCT[market if product is Product.STOCK else Market.KOSPI]:
        pct[sessions >= np.datetime64(first, "D")] = share * max(1.0, abs(leverage))

    def ticks_of(prices: Floats) -> Floats:
        return tick_sizes(prices, sessions, market=market, product=product)

    tick = ticks_of(base)
    width = np.maximum(np.floor((base * pct + NOISE) / tick) * tick, tick)
    highest = base + width
    lowest = np.maximum(base - width, ticks_of(np.where(np.isnan(base), base, 0.0)))
    low_tick, high_tick = ticks_of(lowest), ticks_of(highest)
    return (
        np.ceil((lowest - NOISE) / low_tick) * low_tick,
        np.floor((highest + NOISE) / high_tick) * high_tick,
    )


# A raw price is taken to be no lower than this (won): below it a single tick is
# worth so many per cent that no limit could be told from an ordinary move.
_LOWEST_RAW_STOCK = 200
_LOWEST_RAW_ETP = 1_000


def band_tolerance(
    base: float,
    *,
    market: Market,
    product: Product,
    session: date,
    leverage: float = 1.0,
) -> float:
    """Return how far an adjusted limit may lie from `price_band`, in won.

    Adjusted candles are raw ones divided by an unknown factor. With ``p`` the limit
    as a share, ``B`` the raw base and ``t()`` the tick size, the exchange's own
    limit lies in ``(B(1+p) - t(B) - t(B(1+p)), B(1+p)]``: each of two roundings
    takes less than one tick. Divided by the factor, that is less than ``r x base``
    short of ``base x (1+p)``, ``r`` being the largest ``(t(B) + t(B(1+p))) / B`` of
    any raw price from 200 won (stocks; 1,000 ETF and ETN) up. `price_band` of the
    adjusted base is short of the same ``base x (1+p)`` by less than two of its own
    ticks. Hence the larger of the two bounds the difference; the lower limit
    likewise. Adjusted prices written as whole won add half a won to the base
    (times 1+p) and half a won to the limit.

    Raises:
        MarketRuleError: the base price is negative or no number.
    """
    pct = limit_pct(market=market, product=product, session=session, leverage=leverage)
    if pct is None:
        return 0.0
    table = tick_table(market=market, product=product, session=session)
    lowest = _LOWEST_RAW_STOCK if product is Product.STOCK else _LOWEST_RAW_ETP
    own = _ticks_lost(base, pct, table)
    return max(own, base * _worst_share(table, pct, lowest)) + 0.5 * (2 + pct)


def _ticks_lost(base: float, pct: float, table: TickTable) -> int:
    top = table.band(base * (1 + pct))
    return table.ticks[table.band(base)] + table.ticks[top]


@lru_cache(maxsize=256)
def _worst_share(table: TickTable, pct: float, lowest: int) -> float:
    """Return the largest share of a raw base that the roundings can take."""
    # The ticks grow only where the base or the limit enters a band; in between
    # the share falls. So those points are the only candidates.
    entries = [lowest, *table.lower, *(bound / (1 + pct) for bound in table.lower)]
    return max(
        _ticks_lost(entry, pct, table) / entry for entry in entries if entry >= lowest
    )
