import math
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st

from kisbt.errors import MarketRuleError
from kisbt.krx.limits import PriceBand
from kisbt.krx.sendable import Standing, reserve_price, sendable, unit_cost
from kisbt.krx.ticks import is_on_grid
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.order import OrderRequest, OrderType, Side

STANDING = Standing(
    instrument=Instrument(symbol="005930"),
    session=date(2024, 1, 3),
    last_price=10_000.0,
    band=PriceBand(7_000, 13_000),
    fee=Fraction(0),
    free_cash=1_000_000.0,
    sellable=10,
)


def request(side: Side = Side.BUY, quantity: float = 1, **asked: Any) -> OrderRequest:
    return OrderRequest(symbol="005930", side=side, quantity=quantity, **asked)


def limit(side: Side, price: float | None, quantity: float = 1) -> OrderRequest:
    return request(side, quantity, order_type=OrderType.LIMIT, limit_price=price)


def rule_of(asked: OrderRequest, standing: Standing = STANDING) -> str | None:
    """Return the rule that forbids the order, None if it may be sent."""
    try:
        sendable(asked, standing)
    except MarketRuleError as error:
        return error.rule
    return None


@pytest.mark.parametrize(
    ("quantity", "whole"), [(1, 1), (1.0, 1), (3.999, 3), (76, 76)]
)
def test_quantity_is_cut_to_whole_shares(quantity: float, whole: int) -> None:
    found = sendable(request(quantity=quantity), STANDING).quantity
    assert found == whole
    assert type(found) is int


@pytest.mark.parametrize("quantity", [0, 0.99, -1, math.nan, math.inf, -math.inf])
def test_quantity_below_one_share_is_refused(quantity: float) -> None:
    assert rule_of(request(quantity=quantity)) == "quantity"


@pytest.mark.parametrize(
    ("side", "price", "sent"),
    [
        (Side.BUY, 9_999.9, 9_990),
        (Side.BUY, 10_000, 10_000),
        (Side.BUY, 10_009, 10_000),
        (Side.SELL, 10_001, 10_010),
        (Side.SELL, 10_000.0000001, 10_000),
    ],
)
def test_price_moves_to_the_grid_never_against_the_order(
    side: Side, price: float, sent: int
) -> None:
    assert sendable(limit(side, price), STANDING).limit_price == sent


def test_grid_is_that_of_the_board_and_the_session() -> None:
    # 153,000 to 153,070: steps of 100 since 2023-01-25; before, 500 on the KOSPI
    # and 100 on the KOSDAQ.
    def sent(market: Market, session: date) -> int | None:
        standing = replace(
            STANDING,
            instrument=Instrument(symbol="005930", market=market),
            session=session,
            band=None,
        )
        return sendable(limit(Side.BUY, 153_370), standing).limit_price

    assert sent(Market.KOSPI, date(2023, 1, 25)) == 153_300
    assert sent(Market.KOSPI, date(2023, 1, 20)) == 153_000
    assert sent(Market.KOSDAQ, date(2023, 1, 20)) == 153_300


@pytest.mark.parametrize("price", [0, -10, math.nan, math.inf])
def test_price_that_is_none_is_refused(price: float) -> None:
    assert rule_of(limit(Side.BUY, price)) == "price"


def test_price_below_one_step_cannot_be_sent() -> None:
    standing = replace(STANDING, band=None)
    assert rule_of(limit(Side.BUY, 0.4), standing) == "price"
    assert rule_of(limit(Side.SELL, 0.4), standing) is None  # one won


def test_limit_order_without_a_price_is_refused() -> None:
    assert rule_of(limit(Side.BUY, None)) == "price"


@pytest.mark.parametrize(
    ("price", "rule"),
    [(13_000, None), (13_010, "price_limit"), (7_000, None), (6_990, "price_limit")],
)
def test_limit_price_must_lie_within_the_limits(price: float, rule: str | None) -> None:
    assert rule_of(limit(Side.SELL, price)) == rule


def test_limit_price_is_free_where_there_is_no_limit() -> None:
    assert rule_of(limit(Side.SELL, 100_000), replace(STANDING, band=None)) is None


def test_stop_price_may_lie_outside_the_limits() -> None:
    asked = request(Side.SELL, order_type=OrderType.STOP, stop_price=5_001)
    sent = sendable(asked, STANDING)
    assert (sent.stop_price, sent.limit_price) == (5_010, None)


def test_stop_limit_is_checked_at_its_limit() -> None:
    def ask(limit_price: float) -> str | None:
        return rule_of(
            request(
                order_type=OrderType.STOP_LIMIT,
                stop_price=12_000,
                limit_price=limit_price,
            )
        )

    assert (ask(13_000), ask(13_010)) == (None, "price_limit")


def test_market_order_keeps_no_price() -> None:
    sent = sendable(request(limit_price=9_000.0), STANDING)
    assert (sent.order_type, sent.limit_price) == (OrderType.MARKET, None)


@pytest.mark.parametrize(("quantity", "rule"), [(10, None), (11, "holding")])
def test_sale_is_covered_by_free_shares(quantity: int, rule: str | None) -> None:
    assert rule_of(request(Side.SELL, quantity)) == rule


def test_sale_whose_holding_is_checked_later_passes() -> None:
    assert rule_of(request(Side.SELL, 10**6), replace(STANDING, sellable=None)) is None


def test_sale_needs_no_cash() -> None:
    standing = replace(STANDING, free_cash=0.0)
    assert sendable(request(Side.SELL), standing).reserve_price == 0
    assert rule_of(request(Side.SELL), standing) is None


@pytest.mark.parametrize(
    ("asked", "price"),
    [
        (request(), 13_000),
        (limit(Side.BUY, 9_000), 9_000),
        (request(order_type=OrderType.STOP, stop_price=11_000), 13_000),
        (
            request(
                order_type=OrderType.STOP_LIMIT, stop_price=11_000, limit_price=11_500
            ),
            11_500,
        ),
        (request(order_type=OrderType.CLOSE), 13_000),
    ],
)
def test_buy_is_charged_at_the_worst_price_it_may_pay(
    asked: OrderRequest, price: float
) -> None:
    assert sendable(asked, STANDING).reserve_price == price


def test_buy_without_limits_is_charged_at_the_last_price() -> None:
    assert reserve_price(OrderType.MARKET, None, None, 10_000.0) == 10_000


@pytest.mark.parametrize(
    ("quantity", "fee", "rule"),
    [
        (76, Fraction(0), None),  # 988,000
        (77, Fraction(0), "cash"),  # 1,001,000
        (76, Fraction(12, 1_000), None),  # 999,856
        (76, Fraction(13, 1_000), "cash"),  # 1,000,844
    ],
)
def test_buy_must_be_payable_commission_included(
    quantity: int, fee: Fraction, rule: str | None
) -> None:
    assert rule_of(request(quantity=quantity), replace(STANDING, fee=fee)) == rule


def test_unit_cost_is_price_and_commission() -> None:
    assert unit_cost(10_000, Fraction(15, 100_000)) == pytest.approx(10_001.5)


def test_index_is_refused_before_anything_else() -> None:
    index = replace(
        STANDING, instrument=Instrument(symbol="KOSPI", product=Product.INDEX)
    )
    assert rule_of(request(quantity=0), index) == "product"


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 10_300), (Side.SELL, 9_700)])
def test_protected_market_order_is_a_limit_order(side: Side, price: int) -> None:
    standing = replace(STANDING, protect_market_orders=True)
    sent = sendable(request(side), standing)
    assert (sent.order_type, sent.limit_price) == (OrderType.LIMIT, price)


@pytest.mark.parametrize(
    ("side", "band", "price"),
    [
        (Side.BUY, PriceBand(9_000, 10_200), 10_200),
        (Side.SELL, PriceBand(9_800, 13_000), 9_800),
    ],
)
def test_protected_price_stays_within_the_limits(
    side: Side, band: PriceBand, price: int
) -> None:
    standing = replace(STANDING, protect_market_orders=True, band=band)
    assert sendable(request(side), standing).limit_price == price


def test_other_orders_are_not_protected() -> None:
    standing = replace(STANDING, protect_market_orders=True)
    asked = request(order_type=OrderType.STOP, stop_price=10_500)
    assert sendable(asked, standing).order_type is OrderType.STOP


@given(
    st.sampled_from(Side),
    st.floats(10, 2e6),
    st.sampled_from([Market.KOSPI, Market.KOSDAQ]),
    st.dates(date(2005, 1, 1), date(2026, 12, 31)),
)
def test_every_price_sent_is_on_the_grid_and_no_worse_than_asked(
    side: Side, price: float, market: Market, session: date
) -> None:
    standing = replace(
        STANDING,
        instrument=Instrument(symbol="005930", market=market),
        session=session,
        band=None,
        free_cash=math.inf,
    )
    sent = sendable(limit(side, price), standing).limit_price
    assert sent is not None
    assert is_on_grid(sent, market=market, product=Product.STOCK, session=session)
    assert sent <= price + 1e-6 if side is Side.BUY else sent >= price - 1e-6
