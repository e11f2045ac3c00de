"""The exchange rules of one date, gathered for a person to read."""

from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from kisbt.krx.fees import parse_commission, tax_rate
from kisbt.krx.limits import PriceBand, limit_pct, price_band
from kisbt.krx.overrides import KrxOverrides
from kisbt.krx.phases import PhaseSpan, session_phases, takes_order
from kisbt.krx.ticks import tick_table
from kisbt.model.instrument import Instrument, Product
from kisbt.model.order import OrderType


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRow:
    """A band of prices with one price step.

    Attributes:
        lower: won, included.
        upper: won, not included; None for the last band.
        tick: won.
    """

    lower: int
    upper: int | None
    tick: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRow:
    """A phase of the session and the orders it takes."""

    span: PhaseSpan
    market_orders: bool
    limit_orders: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRules:
    """The rules of one date for one kind of security.

    Attributes:
        is_session: whether the exchange is open on `day`.
        next_session: the first session after `day`.
        settlement: date on which a trade of `day` settles; None if it is no session.
        opens, closes: of the regular session, aware KST; None if it is no session.
        ticks: empty for an index.
        limit: daily limit as a share of the base price; None without a limit.
        base_price: won, as asked for.
        band: limits of `base_price`; None without a price or without a limit.
        commission: share of the amount, each side.
        tax: share of the amount of a sale.
    """

    day: date
    instrument: Instrument
    is_session: bool
    next_session: date
    settlement: date | None
    opens: datetime | None
    closes: datetime | None
    phases: tuple[PhaseRow, ...]
    ticks: tuple[TickRow, ...]
    limit: float | None
    base_price: float | None
    band: PriceBand | None
    commission: Fraction
    tax: Fraction

    def as_json(self) -> dict[str, Any]:
        """Return plain values, rates as numbers and times in ISO 8601."""
        return {
            "date": self.day,
            "market": self.instrument.market,
            "product": self.instrument.product,
            "leverage": self.instrument.leverage,
            "is_session": self.is_session,
            "next_session": self.next_session,
            "settlement": self.settlement,
            "opens": self.opens,
            "closes": self.closes,
            "phases": [
                {
                    "phase": row.span.phase,
                    "start": row.span.start,
                    "end": row.span.end,
                    "market_orders": row.market_orders,
                    "limit_orders": row.limit_orders,
                }
                for row in self.phases
            ],
            "ticks": [
                {"from": row.lower, "below": row.upper, "tick": row.tick}
                for row in self.ticks
            ],
            "limit": self.limit,
            "base_price": self.base_price,
            "lower_limit": self.band.lower if self.band else None,
            "upper_limit": self.band.upper if self.band else None,
            "commission": float(self.commission),
            "tax": float(self.tax),
        }


def rules_of(
    day: date,
    instrument: Instrument,
    *,
    base_price: float | None = None,
    commission: str | float = "bankis",
    overrides: KrxOverrides | None = None,
) -> DayRules:
    """Return the rules in force on `day` for securities like `instrument`.

    Args:
        day: any date of the calendar, a session or not.
        instrument: its market, product and leverage count.
        base_price: won; the limits are computed from it.
        commission: ``bankis`` or a share of the amount.
        overrides: the user's own holidays, hours and tax rows.

    Raises:
        InputError: `day` is outside the calendar.
        ConfigError: the commission or an override cannot be used.
        MarketRuleError: the base price is not positive.
    """
    own = overrides or KrxOverrides()
    calendar = own.calendar()
    market, product = instrument.market, instrument.product
    is_session = calendar.is_session(day)
    spans = session_phases(day, calendar) if is_session else ()
    band = None
    if base_price is not None:
        band = price_band(
            base_price,
            market=market,
            product=product,
            session=day,
            leverage=instrument.leverage,
        )
    return DayRules(
        day=day,
        instrument=instrument,
        is_session=is_session,
        next_session=calendar.next_session(day),
        settlement=calendar.sessions_after(day, 2) if is_session else None,
        opens=calendar.open_time(day) if is_session else None,
        closes=calendar.close_time(day) if is_session else None,
        phases=tuple(_phase_row(span, product) for span in spans),
        ticks=_tick_rows(instrument, day),
        limit=limit_pct(
            market=market, product=product, session=day, leverage=instrument.leverage
        ),
        base_price=base_price,
        band=band,
        commission=parse_commission(commission, product),
        tax=tax_rate(
            market=market, product=product, session=day, table=own.tax_table()
        ),
    )


def _phase_row(span: PhaseSpan, product: Product) -> PhaseRow:
    def takes(order_type: OrderType) -> bool:
        return takes_order(span.phase, product=product, order_type=order_type)

    return PhaseRow(
        span=span,
        market_orders=takes(OrderType.MARKET),
        limit_orders=takes(OrderType.LIMIT),
    )


def _tick_rows(instrument: Instrument, day: date) -> tuple[TickRow, ...]:
    if instrument.product is Product.INDEX:
        return ()
    table = tick_table(
        market=instrument.market, product=instrument.product, session=day
    )
    uppers = (*table.lower[1:], None)
    return tuple(
        TickRow(lower=lower, upper=upper, tick=tick)
        for lower, upper, tick in zip(table.lower, uppers, table.ticks, strict=True)
    )
