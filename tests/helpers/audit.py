"""An independent book-keeper: recomputes a run from its fills and its candles.

It shares the price grid and the daily limits with kisbt (they have oracles of their
own); money, sessions, costs and volumes are worked out anew.
"""

import math
from collections import Counter, defaultdict
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import numpy as np

from kisbt.krx.calendar import default_calendar
from kisbt.krx.limits import band_tolerance, price_band
from kisbt.krx.ticks import is_valid_print
from kisbt.model.instrument import Instrument, Product
from kisbt.model.order import OrderState, Side
from kisbt.model.result import FillRow, OrderRow
from tests.helpers.universe import CAPITAL, Records, Universe

# Total tax on a sale by trade date, KOSPI and KOSDAQ alike (KRX, National Tax
# Service); the new rates hold from the trades settled in the new year on.
_TAX = (
    (date(2025, 12, 29), "0.0020"),
    (date(2024, 12, 27), "0.0015"),
    (date(2023, 12, 27), "0.0018"),
    (date(2022, 12, 28), "0.0020"),
    (date(2020, 12, 29), "0.0023"),
    (date(2019, 5, 30), "0.0025"),
    (date(1996, 4, 1), "0.0030"),
)


def audit(
    ran: Records,
    universe: Universe,
    *,
    commission: str | float = "bankis",
    volume_share: float | None = 0.1,
    capital: int = CAPITAL,
    **_others: Any,
) -> None:
    """Check everything that must hold of a run under exchange rules."""
    check_equity(ran, universe, float(capital))
    check_holdings(ran)
    check_lives(ran)
    check_volumes(ran, universe, volume_share)
    for fill in ran.fills:
        check_price(fill, universe)
        check_costs(fill, universe.instruments[fill.symbol], commission)
    assert min(ran.free_cash) >= 0
    assert ran.equity.cash.min() >= 0


def check_equity(ran: Records, universe: Universe, cash: float) -> None:
    """Recompute cash and positions at each bar from the fills and the candles."""
    held: Counter[str] = Counter()
    fills = iter([*ran.fills, None])
    fill = next(fills)
    for number, moment in enumerate(ran.equity.time):
        while fill is not None and naive(fill.bar) <= moment:
            sign = 1 if fill.side is Side.BUY else -1
            cash -= sign * fill.quantity * fill.price + fill.commission + fill.tax
            held[fill.symbol] += sign * fill.quantity
            fill = next(fills)
        value = sum(
            quantity * last_close(universe, symbol, moment)
            for symbol, quantity in held.items()
            if quantity
        )
        # Raw prices and costs are whole won: not a won may be missing.
        near = 1e-6 * CAPITAL if universe.adjusted else 0.0
        assert abs(ran.equity.cash[number] - cash) <= near
        assert abs(ran.equity.positions_value[number] - value) <= near
    assert fill is None


def check_holdings(ran: Records) -> None:
    """No fill sells what is not held."""
    held: Counter[str] = Counter()
    for fill in ran.fills:
        held[fill.symbol] += fill.quantity * (1 if fill.side is Side.BUY else -1)
        assert held[fill.symbol] >= 0
        assert fill.quantity == int(fill.quantity) > 0


def check_lives(ran: Records) -> None:
    """Orders fill after the bar that made them, in one session, then are over."""
    by_order: dict[int, list[FillRow]] = defaultdict(list)
    for fill in ran.fills:
        by_order[fill.order_ref].append(fill)
    last = ran.equity.time[-1].astype(datetime)
    for order in ran.orders:
        session = session_of(order)
        for fill in by_order[order.ref]:
            assert fill.bar > order.created
            assert fill.bar.date() == session
        filled = sum(fill.quantity for fill in by_order[order.ref])
        assert filled == order.filled_quantity <= order.quantity
        if order.state in (OrderState.WORKING, OrderState.PARTLY_FILLED):
            close = default_calendar().close_time(session).replace(tzinfo=None)
            assert last < close
        if order.state is OrderState.FILLED:
            assert filled > 0
        if order.state is OrderState.REFUSED:
            assert order.reject_reason or filled == 0


def check_volumes(ran: Records, universe: Universe, share: float | None) -> None:
    """All own fills of a bar take no more than their share of its volume."""
    if share is None:
        return
    taken: Counter[tuple[str, datetime]] = Counter()
    for fill in ran.fills:
        taken[fill.symbol, fill.bar] += fill.quantity
    for (symbol, bar), quantity in taken.items():
        columns = universe.candles[symbol]
        volume = int(columns.volume[position(universe, symbol, bar)])
        assert quantity <= volume * Fraction(str(share))


def check_price(fill: FillRow, universe: Universe) -> None:
    """The price lies in the candle, on the grid and within the day's limits."""
    columns = universe.candles[fill.symbol]
    at = position(universe, fill.symbol, fill.bar)
    assert columns.low[at] <= fill.price <= columns.high[at]
    instrument, session = universe.instruments[fill.symbol], fill.bar.date()
    where: dict[str, Any] = {
        "market": instrument.market,
        "product": instrument.product,
        "session": session,
    }
    if not universe.adjusted:
        assert is_valid_print(fill.price, **where)
    base = last_close_before(universe, fill.symbol, session)
    if base is None:
        return
    where["leverage"] = instrument.leverage
    band = price_band(base, **where)
    assert band is not None
    tolerance = band_tolerance(base, **where) if universe.adjusted else 0.0
    assert band.lower - tolerance <= fill.price <= band.upper + tolerance
    flat = columns.high[at] == columns.low[at]
    crowd = band.upper if fill.side is Side.BUY else band.lower
    assert not (flat and fill.price == crowd)


def last_close_before(universe: Universe, symbol: str, session: date) -> float | None:
    """Return the close the limits of `session` are counted from; None if unknown.

    Where sessions are missing between, a capital change may have come.
    """
    columns = universe.candles[symbol]
    at = int(np.searchsorted(columns.sessions, np.datetime64(session))) - 1
    if at < 0 or (
        universe.gaps_are_unknown
        and columns.sessions[at]
        != np.datetime64(default_calendar().previous_session(session))
    ):
        return None
    return float(columns.close[at])


def check_costs(fill: FillRow, instrument: Instrument, commission: str | float) -> None:
    """Commission and tax are whole won, cut, at the rates of the day."""
    fund = instrument.product is not Product.STOCK
    if commission == "bankis":
        rate = Fraction("0.000146527") if fund else Fraction("0.000140527")
    else:
        rate = Fraction(str(commission))
    # A float of an adjusted amount may stand a hair off the number it means.
    amount = Fraction(round(fill.quantity * fill.price, 6))
    assert abs(fill.commission - math.floor(amount * rate)) <= _slack(amount * rate)
    tax = Fraction(0)
    if fill.side is Side.SELL and not fund:
        day = fill.bar.date()
        tax = amount * Fraction(next(rate for since, rate in _TAX if day >= since))
    assert abs(fill.tax - math.floor(tax)) <= _slack(tax)


def _slack(exact: Fraction) -> int:
    return 1 if abs(exact - round(exact)) < Fraction(1, 10_000) else 0


def session_of(order: OrderRow) -> date:
    """Return the session an order lives in: this one until its close, else the next."""
    calendar = default_calendar()
    day = order.created.date()
    if order.created < calendar.close_time(day):
        return day
    return calendar.next_session(day)


def naive(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "s")


def position(universe: Universe, symbol: str, bar: datetime) -> int:
    columns = universe.candles[symbol]
    at = int(np.searchsorted(columns.end, naive(bar)))
    assert columns.end[at] == naive(bar)
    return at


def last_close(universe: Universe, symbol: str, moment: np.datetime64) -> float:
    columns = universe.candles[symbol]
    at = int(np.searchsorted(columns.end, moment, side="right")) - 1
    return float(columns.close[at])
