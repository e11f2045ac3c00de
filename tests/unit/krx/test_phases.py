from datetime import UTC, date, datetime, time

import pytest

from kisbt.errors import InputError
from kisbt.krx.calendar import KST, default_calendar
from kisbt.krx.phases import (
    Phase,
    order_session,
    phase_at,
    session_phases,
    takes_order,
)
from kisbt.model.instrument import Product
from kisbt.model.order import OrderType

CALENDAR = default_calendar()


def at(day, clock):
    return datetime.combine(
        date.fromisoformat(day), time.fromisoformat(clock), tzinfo=KST
    )


@pytest.mark.parametrize(
    ("day", "clock", "phase"),
    [
        # Since 2026-09-14.
        ("2026-11-20", "08:19:59", Phase.CLOSED),
        ("2026-11-20", "08:20", Phase.OPENING_AUCTION),
        ("2026-11-20", "08:35", Phase.OPENING_AUCTION),
        ("2026-11-20", "08:59:59", Phase.OPENING_AUCTION),
        ("2026-11-20", "09:00", Phase.CONTINUOUS),
        ("2026-11-20", "15:19:59", Phase.CONTINUOUS),
        ("2026-11-20", "15:20", Phase.CLOSING_AUCTION),
        ("2026-11-20", "15:30", Phase.POST_CLOSE_PRICE),
        ("2026-11-20", "16:00", Phase.AFTER_MARKET),
        ("2026-11-20", "19:59:59", Phase.AFTER_MARKET),
        ("2026-11-20", "20:00", Phase.CLOSED),
        ("2026-11-21", "10:00", Phase.CLOSED),
        # The last session of the ten-minute auctions, the first of the after-market.
        ("2026-09-11", "08:25", Phase.CLOSED),
        ("2026-09-11", "16:30", Phase.SINGLE_PRICE),
        ("2026-09-11", "18:00", Phase.CLOSED),
        ("2026-09-14", "16:30", Phase.AFTER_MARKET),
        # An exam day: an hour later, the end of the day as ever.
        ("2026-11-19", "09:10", Phase.CLOSED),
        ("2026-11-19", "09:30", Phase.OPENING_AUCTION),
        ("2026-11-19", "10:00", Phase.CONTINUOUS),
        ("2026-11-19", "16:20", Phase.CLOSING_AUCTION),
        ("2026-11-19", "16:30", Phase.POST_CLOSE_PRICE),
        ("2026-11-19", "17:00", Phase.AFTER_MARKET),
        ("2026-11-19", "20:00", Phase.CLOSED),
        ("2025-11-13", "16:45", Phase.POST_CLOSE_PRICE),
        ("2025-11-13", "17:30", Phase.SINGLE_PRICE),
        ("2025-11-13", "18:00", Phase.CLOSED),
        # The first session of a year.
        ("2026-01-02", "09:15", Phase.CLOSED),
        ("2026-01-02", "09:45", Phase.OPENING_AUCTION),
        ("2026-01-02", "15:25", Phase.CLOSING_AUCTION),
        # The longer opening auction until 2019-04-26.
        ("2019-04-26", "07:45", Phase.PRE_CLOSE_PRICE),
        ("2019-04-26", "08:10", Phase.OPENING_AUCTION),
        ("2019-04-29", "08:10", Phase.CLOSED),
        ("2019-04-29", "08:35", Phase.OPENING_AUCTION),
        # The close of 15:00.
        ("2016-07-29", "14:55", Phase.CLOSING_AUCTION),
        ("2016-07-29", "15:10", Phase.POST_CLOSE_PRICE),
        ("2016-07-29", "15:40", Phase.SINGLE_PRICE),
    ],
)
def test_phase_at(day, clock, phase):
    assert phase_at(at(day, clock), CALENDAR) is phase


def test_phase_at_takes_any_zone():
    moment = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
    assert phase_at(moment, CALENDAR) is Phase.CONTINUOUS


def test_times_need_a_zone():
    naive = datetime(2026, 11, 20, 9, 30)
    with pytest.raises(ValueError, match="with its zone"):
        phase_at(naive, CALENDAR)
    with pytest.raises(ValueError, match="with its zone"):
        order_session(naive, CALENDAR)


def test_session_phases_of_today_in_order():
    spans = session_phases(date(2026, 11, 20), CALENDAR)
    found = [(s.phase.value, f"{s.start:%H:%M}", f"{s.end:%H:%M}") for s in spans]
    assert found == [
        ("opening_auction", "08:20", "09:00"),
        ("pre_close_price", "08:30", "08:40"),
        ("continuous", "09:00", "15:20"),
        ("closing_auction", "15:20", "15:30"),
        ("post_close_price", "15:30", "16:00"),
        ("after_market", "16:00", "20:00"),
    ]


def test_session_phases_of_an_exam_day_as_announced():
    # 2025-11-13: 09:30-09:40, 10:00-16:30, 16:40-17:00, 17:00-18:00.
    spans = {s.phase: s for s in session_phases(date(2025, 11, 13), CALENDAR)}
    single = spans[Phase.SINGLE_PRICE]
    assert f"{single.start:%H:%M}-{single.end:%H:%M}" == "17:00-18:00"
    previous = spans[Phase.PRE_CLOSE_PRICE]
    assert f"{previous.start:%H:%M}-{previous.end:%H:%M}" == "09:30-09:40"


def test_a_closed_day_has_no_phases():
    with pytest.raises(InputError, match="is no session"):
        session_phases(date(2026, 11, 21), CALENDAR)


REGULAR = [Phase.OPENING_AUCTION, Phase.CONTINUOUS, Phase.CLOSING_AUCTION]


@pytest.mark.parametrize("phase", REGULAR)
@pytest.mark.parametrize("order_type", list(OrderType))
def test_regular_phases_take_every_order(phase, order_type):
    assert takes_order(phase, product=Product.ETF, order_type=order_type)


@pytest.mark.parametrize(
    ("phase", "product", "order_type", "taken"),
    [
        (Phase.AFTER_MARKET, Product.STOCK, OrderType.LIMIT, True),
        (Phase.AFTER_MARKET, Product.STOCK, OrderType.STOP_LIMIT, True),
        (Phase.AFTER_MARKET, Product.STOCK, OrderType.MARKET, False),
        (Phase.AFTER_MARKET, Product.STOCK, OrderType.STOP, False),
        (Phase.AFTER_MARKET, Product.STOCK, OrderType.CLOSE, False),
        (Phase.AFTER_MARKET, Product.ETF, OrderType.LIMIT, False),
        (Phase.AFTER_MARKET, Product.ETN, OrderType.LIMIT, False),
        (Phase.SINGLE_PRICE, Product.ETF, OrderType.LIMIT, True),
        (Phase.SINGLE_PRICE, Product.STOCK, OrderType.MARKET, False),
        (Phase.PRE_CLOSE_PRICE, Product.STOCK, OrderType.LIMIT, False),
        (Phase.POST_CLOSE_PRICE, Product.STOCK, OrderType.LIMIT, False),
        (Phase.CLOSED, Product.STOCK, OrderType.LIMIT, False),
        (Phase.CONTINUOUS, Product.INDEX, OrderType.LIMIT, False),
    ],
)
def test_takes_order(phase, product, order_type, taken):
    assert takes_order(phase, product=product, order_type=order_type) is taken


def test_after_market_excludes_overheated_issues():
    assert not takes_order(
        Phase.AFTER_MARKET,
        product=Product.STOCK,
        order_type=OrderType.LIMIT,
        overheated=True,
    )


@pytest.mark.parametrize(
    ("day", "clock", "session"),
    [
        ("2026-11-20", "00:00", "2026-11-20"),
        ("2026-11-20", "15:29:59", "2026-11-20"),
        # A daily candle ends at the close: its orders wait.
        ("2026-11-20", "15:30", "2026-11-23"),
        ("2026-11-21", "10:00", "2026-11-23"),
        ("2026-11-19", "16:00", "2026-11-19"),
        ("2026-11-19", "16:30", "2026-11-20"),
        ("2016-07-29", "15:00", "2016-08-01"),
    ],
)
def test_order_session(day, clock, session):
    assert order_session(at(day, clock), CALENDAR) == date.fromisoformat(session)
