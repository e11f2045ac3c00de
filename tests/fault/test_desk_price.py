"""A price that has gone stale: nothing is bought of that symbol, the rest goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kisbt.app.hearing import Prices
from kisbt.app.moment import MomentPrices
from kisbt.krx.calendar import default_calendar
from kisbt.model.order import Side
from kisbt.model.quote import Tick
from kisbt.orders.deskstate import DeskSources
from kisbt.orders.guard import GuardLimits
from tests.helpers.desk import OTHER, SYMBOL, Bench, bench

pytestmark = pytest.mark.fault

# Asking in vain takes seconds, which are not what is looked at here.
LIMITS = GuardLimits(
    duplicate_s=None, needs_stream=False, price_age_s=10.0, intent_age_s=None
)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", environment="real", guard=LIMITS) as made:
        yield made


def follow(live: Bench) -> Prices:
    """Let the guard look at prices as a run does: those heard, else asked for."""
    heard = Prices(live.time)
    moment = MomentPrices(heard, live.client, live.time, default_calendar())
    live.sources = DeskSources(market=moment.market, offset_s=live.sources.offset_s)
    live.journal.close()
    live.open_desk()
    return heard


def hear(live: Bench, heard: Prices, symbol: str) -> None:
    now, price = live.time.now(), live.price(symbol)
    heard.note([Tick(symbol, now, price, 1, 1, price, price, None)])


def test_row_64_a_stale_price_blocks_purchases_of_its_symbol_only(live: Bench) -> None:
    heard = follow(live)
    for symbol in (SYMBOL, OTHER):
        hear(live, heard, symbol)
    first = live.order(Side.BUY, 2)
    live.run_until(lambda: live.status(first.ref) == "filled")

    live.run_for(30)  # nothing more is heard of it, and the broker cannot be asked
    live.emulator.fault("http(tr=inquire_price, do=status, arg=503, count=99)")
    hear(live, heard, OTHER)
    posts = live.posts()
    stale, fresh = live.submit(Side.BUY, 1), live.submit(Side.BUY, 1, symbol=OTHER)
    live.run_for(10)
    denied = live.journal.order(stale)
    assert (str(denied.status), denied.rule) == ("denied", "price_age")
    assert live.status(fresh) == "filled"
    assert live.posts() == posts + 1

    sale = live.order(Side.SELL, 2)  # the way out stays open
    live.run_until(lambda: live.status(sale.ref) == "filled")
    assert live.wrong() == []


def test_a_price_that_is_asked_for_counts(live: Bench) -> None:
    follow(live)
    order = live.order(Side.BUY, 2)
    live.run_until(lambda: live.status(order.ref) == "filled")
    assert live.wrong() == []
