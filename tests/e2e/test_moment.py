"""The price of the moment, as the guard of real money asks for it."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kisbt.app.hearing import Prices
from kisbt.app.moment import FRESH_S, MomentPrices
from kisbt.krx.calendar import KST, default_calendar
from kisbt.krx.limits import price_band
from kisbt.model.instrument import Market, Product
from kisbt.model.order import OrderType, Side
from kisbt.model.quote import Tick
from kisbt.orders.deskstate import DeskSources
from kisbt.orders.guard import GuardLimits
from kisbt.orders.lifecycle import Status
from tests.helpers.desk import SESSION, SYMBOL, Bench, bench

pytestmark = pytest.mark.e2e

LIMITS = GuardLimits(
    duplicate_s=None, needs_stream=False, collar_pct=3.0, price_age_s=FRESH_S
)
_PRICE_CALLS = ("inquire_price", "inquire_asking_price_exp_ccn")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Bench, Prices]]:
    """Give a desk on the real server, guarded as with real money."""
    start = datetime(2025, 11, 3, 8, 0, tzinfo=KST)
    with bench(tmp_path, environment="real", start=start, guard=LIMITS) as it:
        heard = Prices(it.time)
        prices = MomentPrices(heard, it.client, it.time, default_calendar())
        it.sources = DeskSources(market=prices.market, band=prices.band)
        it.restart()
        yield it, heard


def _to(it: Bench, hour: int, minute: int) -> None:
    it.emulator.advance_to(datetime(2025, 11, 3, hour, minute, tzinfo=KST))
    it.turn()


def _price_calls(it: Bench) -> int:
    calls = it.emulator.state(calls=True)["real"]["calls"]
    return sum(calls.get(name, 0) for name in _PRICE_CALLS)


def test_nobody_pays_far_more_than_the_market(
    guarded: tuple[Bench, Prices],
) -> None:
    it, _heard = guarded
    _to(it, 9, 30)
    price = it.price(SYMBOL)
    near, far = round(price * 1.01, -3), round(price * 1.05, -3)
    assert it.order(limit=near, quantity=1).status is not Status.DENIED
    refused = it.order(limit=far, quantity=1)
    assert (refused.status, refused.rule) == (Status.DENIED, "collar")
    # A sale of own shares is held up by no price at all.
    it.run_until(lambda: it.journal.holding(SYMBOL).quantity == 1)
    asked = _price_calls(it)
    it.turn(FRESH_S + 1)
    assert it.order(Side.SELL, 1).status is not Status.DENIED
    assert _price_calls(it) == asked


def test_a_price_heard_just_now_is_not_asked_for(guarded: tuple[Bench, Prices]) -> None:
    it, heard = guarded
    _to(it, 9, 30)
    it.order(limit=it.price(SYMBOL), quantity=1)  # limits of the day: asked for once
    asked = _price_calls(it)
    it.turn(60.0)
    now = it.time.now()
    heard.note([Tick(SYMBOL, now, 10_000, 1, 1, 0, 0, None)])
    assert it.order(limit=10_500, quantity=1).rule == "price_limit"
    assert it.order(limit=it.price(SYMBOL), quantity=1).rule == "collar"
    assert _price_calls(it) == asked
    it.turn(FRESH_S + 1)  # nothing was heard since: what counts is the market
    assert it.order(limit=it.price(SYMBOL), quantity=1).status is not Status.DENIED
    assert _price_calls(it) == asked + 1


def test_limits_are_those_of_the_day_and_not_asked_before_the_auction(
    guarded: tuple[Bench, Prices],
) -> None:
    it, _heard = guarded
    band = it.sources.band
    assert band(SYMBOL) is None
    assert _price_calls(it) == 0
    _to(it, 8, 35)
    base = it.client.fetch_price(SYMBOL).base_price
    expected = price_band(
        base, market=Market.KOSPI, product=Product.STOCK, session=SESSION
    )
    assert band(SYMBOL) == expected
    asked = _price_calls(it)
    assert band(SYMBOL) == expected
    assert _price_calls(it) == asked


def test_in_the_auction_the_collar_is_wider(guarded: tuple[Bench, Prices]) -> None:
    it, _heard = guarded
    _to(it, 8, 35)
    price = it.client.fetch_price(SYMBOL).price
    at = OrderType.LIMIT
    wide, too_wide = round(price * 1.08, -3), round(price * 1.15, -3)
    assert it.order(limit=wide, quantity=1, order_type=at).status is not Status.DENIED
    assert it.order(limit=too_wide, quantity=1, order_type=at).rule == "collar"


def test_without_any_price_nothing_is_bought_with_real_money(
    guarded: tuple[Bench, Prices],
) -> None:
    it, _heard = guarded
    _to(it, 9, 30)
    price = it.price(SYMBOL)
    it.emulator.fault("gw(EGW00300, 500, tr=inquire_price, count=999)")
    ref = it.submit(limit=price, quantity=1)
    it.run_until(lambda: it.journal.order(ref).is_ended, seconds=30)
    assert it.journal.order(ref).rule == "price_age"
