"""No order that breaks the form, the price grid or the hours ever gets a permit."""

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given, strategies as st

from kisbt.clock import KST
from kisbt.errors import InputError, RiskRefused
from kisbt.krx.calendar import default_calendar
from kisbt.krx.limits import price_band
from kisbt.krx.phases import phase_at, takes_order
from kisbt.krx.ticks import tick_size
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.order import OrderKind, OrderType, Side
from kisbt.model.ports import NewOrder
from kisbt.orders.guard import GuardLimits, LiveFacts, LiveGuard, Proposal

STOCK = Instrument(symbol="005930")
SESSION = date(2026, 11, 20)
NOON = datetime.combine(SESSION, time(12, 0), KST)
BASE = 70_000
CALENDAR = default_calendar()
GUARD = LiveGuard(GuardLimits(order_cap=None))


def facts(now: datetime) -> LiveFacts:
    return LiveFacts(now=now, now_s=0.0, phase=phase_at(now, CALENDAR), sellable=10**9)


def proposal(side: Side, quantity: object, price: object) -> Proposal:
    limit = price != 0
    band = price_band(BASE, market=Market.KOSPI, product=Product.STOCK, session=SESSION)
    return Proposal(
        ref=1,
        order=NewOrder(
            symbol=STOCK.symbol,
            side=side,
            quantity=quantity,  # type: ignore[arg-type]
            kind=OrderKind.LIMIT if limit else OrderKind.MARKET,
            price=price,  # type: ignore[arg-type]
        ),
        instrument=STOCK,
        order_type=OrderType.LIMIT if limit else OrderType.MARKET,
        value=0.0,
        band=band,
    )


QUANTITIES = st.one_of(
    st.integers(-(10**6), 10**7), st.floats(-1e6, 1e6), st.booleans()
)
PRICES = st.one_of(st.integers(-(10**6), 10**6), st.integers(BASE // 2, BASE * 3 // 2))


@given(side=st.sampled_from(Side), quantity=QUANTITIES, price=PRICES)
def test_only_whole_shares_on_the_grid_inside_the_limits_are_permitted(
    side: Side, quantity: object, price: int
) -> None:
    asked = proposal(side, quantity, price)
    whole = (
        isinstance(quantity, int) and not isinstance(quantity, bool) and quantity >= 1
    )
    lawful = price == 0 or (
        49_000 <= price <= 91_000
        and price
        % tick_size(price, market=Market.KOSPI, product=Product.STOCK, session=SESSION)
        == 0
    )
    assert permitted(asked, NOON) == (whole and lawful)


def permitted(asked: Proposal, now: datetime) -> bool:
    """Return whether an order would be sent."""
    try:
        permit = GUARD.permit(asked, facts(now))
    except RiskRefused:
        return False
    assert permit.use() is asked.order
    return True


MOMENTS = {
    "saturday": datetime(2026, 11, 21, 12, 0, tzinfo=KST),
    "holiday": datetime(2026, 10, 9, 12, 0, tzinfo=KST),
    "last day of the year": datetime(2026, 12, 31, 12, 0, tzinfo=KST),
    "exam day, an hour late": datetime(2026, 11, 19, 9, 10, tzinfo=KST),
    "first session, an hour late": datetime(2026, 1, 2, 9, 10, tzinfo=KST),
    "before the opening auction": datetime(2026, 11, 20, 8, 10, tzinfo=KST),
    "night": datetime(2026, 11, 20, 23, 0, tzinfo=KST),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_no_market_order_leaves_outside_the_calendars_hours(name: str) -> None:
    now = MOMENTS[name]
    if name.endswith("late"):
        # The opening auction takes orders; continuous trading begins at ten.
        assert phase_at(now, CALENDAR) is not phase_at(
            now + timedelta(hours=1), CALENDAR
        )
        return
    with pytest.raises(RiskRefused) as caught:
        GUARD.permit(proposal(Side.BUY, 1, 0), facts(now))
    assert caught.value.rule == "phase"


def test_a_date_beyond_the_calendar_is_no_session() -> None:
    with pytest.raises(InputError, match="known from"):
        phase_at(datetime(2199, 1, 5, 12, 0, tzinfo=KST), CALENDAR)


@given(
    minutes=st.integers(0, 365 * 24 * 60 - 1),
    order_type=st.sampled_from([OrderType.MARKET, OrderType.LIMIT]),
)
def test_hours_are_the_calendars_alone(minutes: int, order_type: OrderType) -> None:
    now = datetime(2026, 1, 1, tzinfo=KST) + timedelta(minutes=minutes)
    price = 0 if order_type is OrderType.MARKET else BASE
    taken = takes_order(
        phase_at(now, CALENDAR), product=Product.STOCK, order_type=order_type
    )
    assert permitted(proposal(Side.BUY, 1, price), now) == taken
    assert not taken or CALENDAR.is_session(now.date())
