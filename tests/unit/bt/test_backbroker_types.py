"""Every order type on hand-made candles: price and bar of the fill, both sides."""

from typing import Any

import pytest
from backtrader import Order

from tests.helpers.market import Row, both, daily, from_nine, keep, minutes, run_script

# open, high, low, close of the bar after the order; prices are on the grid of 10.
RISING = (10_000, 10_200, 9_800, 10_100)
FALLING = (10_000, 10_200, 9_800, 9_900)

STOP_LIMIT = {"exectype": Order.StopLimit}
BUYS: list[tuple[str, Row, dict[str, Any], float | None]] = [
    ("market", RISING, {}, 10_000),
    ("close", RISING, {"exectype": Order.Close}, 10_100),
    ("limit touched", RISING, {"exectype": Order.Limit, "price": 9_900}, 9_900),
    ("limit at low", RISING, {"exectype": Order.Limit, "price": 9_800}, 9_800),
    ("limit missed", RISING, {"exectype": Order.Limit, "price": 9_790}, None),
    ("limit above open", RISING, {"exectype": Order.Limit, "price": 10_150}, 10_000),
    ("limit above high", RISING, {"exectype": Order.Limit, "price": 10_500}, 10_000),
    ("stop touched", RISING, {"exectype": Order.Stop, "price": 10_150}, 10_150),
    ("stop at high", RISING, {"exectype": Order.Stop, "price": 10_200}, 10_200),
    ("stop missed", RISING, {"exectype": Order.Stop, "price": 10_210}, None),
    ("stop gapped", RISING, {"exectype": Order.Stop, "price": 9_950}, 10_000),
    ("sl wide", RISING, STOP_LIMIT | {"price": 10_150, "plimit": 10_180}, 10_150),
    ("sl better", RISING, STOP_LIMIT | {"price": 10_150, "plimit": 10_100}, None),
    ("sl back", FALLING, STOP_LIMIT | {"price": 10_150, "plimit": 10_100}, 10_100),
    ("sl too low", FALLING, STOP_LIMIT | {"price": 10_150, "plimit": 9_890}, None),
    ("sl untouched", RISING, STOP_LIMIT | {"price": 10_300, "plimit": 10_400}, None),
    ("sl gap, limit", RISING, STOP_LIMIT | {"price": 9_950, "plimit": 9_900}, 9_900),
    ("sl gap, open", RISING, STOP_LIMIT | {"price": 9_950, "plimit": 10_050}, 10_000),
    ("trail", RISING, {"exectype": Order.StopTrail, "trailamount": 100}, 10_100),
    ("trail %", RISING, {"exectype": Order.StopTrail, "trailpercent": 0.015}, 10_150),
    ("trail far", RISING, {"exectype": Order.StopTrail, "trailamount": 300}, None),
    (
        "trail limit",
        RISING,
        {
            "exectype": Order.StopTrailLimit,
            "price": 10_000,
            "plimit": 10_050,
            "trailamount": 100,
        },
        10_100,
    ),
]
SELLS: list[tuple[str, Row, dict[str, Any], float | None]] = [
    ("market", RISING, {}, 10_000),
    ("close", RISING, {"exectype": Order.Close}, 10_100),
    ("limit touched", RISING, {"exectype": Order.Limit, "price": 10_100}, 10_100),
    ("limit at high", RISING, {"exectype": Order.Limit, "price": 10_200}, 10_200),
    ("limit missed", RISING, {"exectype": Order.Limit, "price": 10_210}, None),
    ("limit below open", RISING, {"exectype": Order.Limit, "price": 9_850}, 10_000),
    ("limit below low", RISING, {"exectype": Order.Limit, "price": 9_500}, 10_000),
    ("stop touched", RISING, {"exectype": Order.Stop, "price": 9_850}, 9_850),
    ("stop at low", RISING, {"exectype": Order.Stop, "price": 9_800}, 9_800),
    ("stop missed", RISING, {"exectype": Order.Stop, "price": 9_790}, None),
    ("stop gapped", RISING, {"exectype": Order.Stop, "price": 10_050}, 10_000),
    ("sl wide", FALLING, STOP_LIMIT | {"price": 9_850, "plimit": 9_820}, 9_850),
    ("sl better", FALLING, STOP_LIMIT | {"price": 9_850, "plimit": 9_920}, None),
    ("sl back", RISING, STOP_LIMIT | {"price": 9_850, "plimit": 9_900}, 9_900),
    ("sl untouched", RISING, STOP_LIMIT | {"price": 9_700, "plimit": 9_600}, None),
    ("sl gap, limit", RISING, STOP_LIMIT | {"price": 10_050, "plimit": 10_100}, 10_100),
    ("sl gap, open", RISING, STOP_LIMIT | {"price": 10_050, "plimit": 9_950}, 10_000),
    ("trail", RISING, {"exectype": Order.StopTrail, "trailamount": 150}, 9_850),
    ("trail %", RISING, {"exectype": Order.StopTrail, "trailpercent": 0.015}, 9_850),
    ("trail far", RISING, {"exectype": Order.StopTrail, "trailamount": 300}, None),
    (
        "trail limit",
        RISING,
        {
            "exectype": Order.StopTrailLimit,
            "price": 10_000,
            "plimit": 9_950,
            "trailamount": 150,
        },
        9_850,
    ),
]


@pytest.mark.parametrize(
    ("bar", "asked", "price"), [c[1:] for c in BUYS], ids=[c[0] for c in BUYS]
)
def test_buy_fills_on_the_next_bar(
    bar: Row, asked: dict[str, Any], price: float | None
) -> None:
    ran = run_script(
        daily([10_000, bar, 10_000]), {1: keep("o", "buy", size=7, **asked)}
    )
    assert ran.fills == ([] if price is None else [(2, 7, price)])
    assert ran.state("o") == ("Expired" if price is None else "Completed")


@pytest.mark.parametrize(
    ("bar", "asked", "price"), [c[1:] for c in SELLS], ids=[c[0] for c in SELLS]
)
def test_sale_fills_on_the_next_bar(
    bar: Row, asked: dict[str, Any], price: float | None
) -> None:
    ran = run_script(
        daily([10_000, 10_000, bar, 10_000]),
        {1: keep("in", "buy", size=7), 2: keep("o", "sell", size=7, **asked)},
    )
    assert ran.fills[1:] == ([] if price is None else [(3, -7, price)])
    assert ran.state("o") == ("Expired" if price is None else "Completed")


def test_stop_limit_touched_once_is_a_limit_order_from_then_on() -> None:
    session = from_nine(10_000, RISING, (10_150, 10_160, 10_090, 10_120), 10_000)
    ran = run_script(
        minutes([session]),
        {1: keep("o", "buy", size=1, price=10_150, plimit=10_100, **STOP_LIMIT)},
    )
    assert ran.fills == [(3, 1, 10_100)]


def test_trailing_sale_follows_the_close_up_and_never_down() -> None:
    session = from_nine(
        10_000,
        10_000,
        (10_000, 10_500, 10_000, 10_500),  # stop 9,800 until here, then 10,300
        (10_500, 10_500, 10_310, 10_400),  # not touched; a lower close leaves it
        (10_400, 10_400, 10_250, 10_260),
    )
    ran = run_script(
        minutes([session]),
        {
            1: keep("in", "buy", size=1),
            2: keep("o", "sell", size=1, exectype=Order.StopTrail, trailamount=200),
        },
    )
    assert ran.fills[1:] == [(5, -1, 10_300)]


def test_trailing_price_is_rounded_to_the_grid_against_the_order() -> None:
    # 1.77 % below 10,000 is 9,823: a sale's stop is rounded up to 9,830.
    session = from_nine(10_000, 10_000, (10_000, 10_000, 9_800, 9_800))
    ran = run_script(
        minutes([session]),
        {
            1: keep("in", "buy", size=1),
            2: keep("o", "sell", size=1, exectype=Order.StopTrail, trailpercent=0.0177),
        },
    )
    assert ran.fills[1:] == [(3, -1, 9_830)]


def test_trailing_limit_moves_with_its_stop() -> None:
    session = from_nine(
        10_000,
        10_000,
        (10_000, 10_500, 10_000, 10_500),  # stop 10,300, limit 10,250
        (10_500, 10_500, 10_240, 10_260),
    )
    ran = run_script(
        minutes([session]),
        {
            1: keep("in", "buy", size=1),
            2: keep(
                "o",
                "sell",
                size=1,
                exectype=Order.StopTrailLimit,
                price=10_000,
                plimit=9_950,
                trailamount=200,
            ),
        },
    )
    assert ran.fills[1:] == [(4, -1, 10_300)]


def test_prices_off_the_grid_are_moved_in_favour_of_the_order() -> None:
    ran = run_script(
        daily([10_000, 10_000, (10_000, 10_200, 9_800, 10_000), 10_000]),
        {
            1: keep("in", "buy", size=2),
            2: both(
                keep("b", "buy", size=1, exectype=Order.Limit, price=9_907),
                keep("s", "sell", size=1, exectype=Order.Limit, price=10_093),
            ),
        },
    )
    assert ran.fills[1:] == [(3, 1, 9_900), (3, -1, 10_100)]


def test_close_order_waits_for_the_last_minute_of_the_session() -> None:
    session = {
        **from_nine(10_000, 10_050, 10_100),
        "15:20": 10_150,
        "15:30": (10_200, 10_200, 10_200, 10_200),
    }
    ran = run_script(
        minutes([session]), {1: keep("o", "buy", size=3, exectype=Order.Close)}
    )
    assert ran.fills == [(5, 3, 10_200)]


def test_close_order_expires_where_the_session_prints_no_close() -> None:
    ran = run_script(
        minutes([from_nine(10_000, 10_050), from_nine(10_000, 10_000)]),
        {1: keep("o", "buy", size=3, exectype=Order.Close)},
    )
    assert ran.fills == []
    assert ran.state("o") == "Expired"


def test_market_order_may_be_protected_by_a_limit_through_the_last_price() -> None:
    # 3 % over 10,000 is 10,300; the bar opens above and comes back to it.
    ran = run_script(
        daily([10_000, (10_400, 10_500, 10_200, 10_300), 10_000]),
        {1: keep("o", "buy", size=1)},
        market_orders="protected",
    )
    assert ran.fills == [(2, 1, 10_300)]
    assert ran.placed[0].limit_price == 10_300


def test_protected_market_sale_is_not_sold_far_below_the_last_price() -> None:
    ran = run_script(
        daily([10_000, 10_000, (9_600, 9_650, 9_500, 9_600), 10_000]),
        {1: keep("in", "buy", size=1), 2: keep("o", "sell", size=1)},
        market_orders="protected",
    )
    assert ran.fills == [(2, 1, 10_000)]
    assert ran.state("o") == "Expired"
