from datetime import date

import numpy as np
import pytest

from kisbt.errors import MarketRuleError
from kisbt.krx.ticks import (
    is_on_grid,
    is_valid_print,
    move_ticks,
    round_down_to_tick,
    round_up_to_tick,
    tick_size,
    tick_sizes,
    tick_table,
    tick_tables,
    valid_prints,
)
from kisbt.model.instrument import Market, Product

KOSPI, KOSDAQ, KONEX = Market.KOSPI, Market.KOSDAQ, Market.KONEX
STOCK = Product.STOCK
NOW = date(2026, 11, 20)
OLD = date(2020, 1, 6)
BEFORE_2010 = date(2010, 10, 1)


@pytest.mark.parametrize(
    ("price", "market", "session", "expected"),
    [
        (1_999, KOSPI, NOW, 1),
        (2_000, KOSPI, NOW, 5),
        (4_995, KOSDAQ, NOW, 5),
        (5_000, KOSDAQ, NOW, 10),
        (19_990, KONEX, NOW, 10),
        (20_000, KONEX, NOW, 50),
        (50_000, KOSPI, NOW, 100),
        (200_000, KOSPI, NOW, 500),
        (500_000, KOSPI, NOW, 1_000),
        # The last session of the old table and the first of the new one.
        (15_000, KOSPI, date(2023, 1, 24), 50),
        (15_000, KOSPI, date(2023, 1, 25), 10),
        (1_500, KOSDAQ, date(2023, 1, 24), 5),
        (1_500, KOSDAQ, date(2023, 1, 25), 1),
        (100_000, KOSPI, OLD, 500),
        (100_000, KOSDAQ, OLD, 100),
        (1_000_000, KONEX, OLD, 100),
        (500_000, KOSPI, OLD, 1_000),
        (999, KOSPI, date(2010, 10, 1), 5),
        (999, KOSPI, date(2010, 10, 4), 1),
        (999, KOSDAQ, date(2010, 10, 1), 5),
        (999, KOSDAQ, date(2010, 10, 4), 1),
    ],
)
def test_tick_size_follows_price_board_and_date(price, market, session, expected):
    assert tick_size(price, market=market, product=STOCK, session=session) == expected


@pytest.mark.parametrize("product", [Product.ETF, Product.ETN])
def test_tick_size_of_cheap_funds_fell_to_one_won(product):
    def at(price, session):
        return tick_size(price, market=KOSPI, product=product, session=session)

    assert at(1_995, date(2023, 12, 8)) == 5
    assert at(1_995, date(2023, 12, 11)) == 1
    assert at(2_000, NOW) == 5
    assert at(300_000, NOW) == 5


def test_tick_size_of_warrants_is_five():
    assert tick_size(45, market=KOSPI, product=Product.ELW, session=NOW) == 5


def test_an_index_has_no_tick_size():
    with pytest.raises(MarketRuleError) as caught:
        tick_size(2_500, market=KOSPI, product=Product.INDEX, session=NOW)
    assert caught.value.rule == "tick"


@pytest.mark.parametrize("price", [-1, float("nan"), float("inf")])
def test_tick_size_refuses_what_is_no_price(price):
    with pytest.raises(MarketRuleError, match="expected a number of won"):
        tick_size(price, market=KOSPI, product=STOCK, session=NOW)


@pytest.mark.parametrize("market", list(Market))
@pytest.mark.parametrize("product", list(Product))
def test_band_bounds_lie_on_the_grids_of_both_bands(market, product):
    for table in tick_tables(market=market, product=product):
        assert list(table.ticks) == sorted(table.ticks)
        for number in range(1, len(table.lower)):
            assert table.lower[number] % table.ticks[number - 1] == 0
            assert table.lower[number] % table.ticks[number] == 0


def test_tick_table_is_the_one_in_force():
    table = tick_table(market=KOSDAQ, product=STOCK, session=date(2023, 1, 25))
    assert table.first == date(2023, 1, 25)
    assert table.lower == (0, 2_000, 5_000, 20_000, 50_000, 200_000, 500_000)
    assert table.ticks == (1, 5, 10, 50, 100, 500, 1_000)


@pytest.mark.parametrize(
    ("price", "down", "up"),
    [
        (16_060, 16_060, 16_060),
        (16_060.0000000001, 16_060, 16_060),
        (16_059.9999999999, 16_060, 16_060),
        (16_063, 16_060, 16_070),
        (1_999.5, 1_999, 2_000),
        (1_999.9999999999, 2_000, 2_000),
        (19_995, 19_990, 20_000),
        (20_001, 20_000, 20_050),
        (0.4, 0, 1),
        (0, 0, 0),
    ],
)
def test_rounding_finds_the_neighbours_on_the_grid(price, down, up):
    how = {"market": KOSPI, "product": STOCK, "session": NOW}
    assert round_down_to_tick(price, **how) == down
    assert round_up_to_tick(price, **how) == up


@pytest.mark.parametrize(
    ("price", "ticks", "expected"),
    [
        (16_060, 0, 16_060),
        (16_060, 3, 16_090),
        (16_060, -3, 16_030),
        (19_990, 1, 20_000),
        (19_990, 3, 20_100),
        (20_100, -3, 19_990),
        (20_000, -1, 19_990),
        (1_999, 2, 2_005),
        (2_005, -2, 1_999),
        (2, -5, 1),
        (1, -1, 1),
        (0.5, -1, 0.5),
        (16_063, 1, 16_073),
        (16_063, -1, 16_053),
        # Half a step below the border is half a step below it one step later too.
        (19_995, 1, 20_025),
        (20_025, -1, 19_995),
    ],
)
def test_move_ticks_crosses_bands(price, ticks, expected):
    moved = move_ticks(price, ticks, market=KOSPI, product=STOCK, session=NOW)
    assert moved == expected


def test_move_ticks_gives_whole_won_as_int():
    how = {"market": KOSPI, "product": STOCK, "session": NOW}
    assert isinstance(move_ticks(16_060.0, 1, **how), int)
    assert move_ticks(16_060.25, 1, **how) == pytest.approx(16_070.25)


@pytest.mark.parametrize(
    ("price", "session", "expected"),
    [
        (16_060, NOW, True),
        (16_060.0000000001, NOW, True),
        (16_065, NOW, False),
        (1_004, OLD, False),
        (1_005, OLD, True),
    ],
)
def test_is_on_grid(price, session, expected):
    assert is_on_grid(price, market=KOSPI, product=STOCK, session=session) is expected


def test_every_value_of_an_index_is_on_its_grid():
    assert is_on_grid(2_677.53, market=KOSPI, product=Product.INDEX, session=NOW)
    assert is_valid_print(2_677.53, market=KOSPI, product=Product.INDEX, session=NOW)


FIRST_MID = date(2025, 3, 4)
LAST_WITHOUT = date(2025, 2, 28)
PRINTS = [
    (4_162, FIRST_MID, True),
    (4_162, LAST_WITHOUT, False),
    (4_163, FIRST_MID, False),
    (402_250, FIRST_MID, True),
    (402_250, LAST_WITHOUT, False),
    (402_300, FIRST_MID, False),
    (16_065, FIRST_MID, True),
    (16_060, LAST_WITHOUT, True),
    (1_999, FIRST_MID, True),
    (1_999.5, FIRST_MID, False),
]


@pytest.mark.parametrize(("price", "session", "expected"), PRINTS)
def test_half_ticks_are_valid_prints_since_mid_price_orders(price, session, expected):
    assert (
        is_valid_print(price, market=KOSPI, product=STOCK, session=session) is expected
    )


def test_valid_prints_agrees_with_the_scalar_form():
    prices = np.array([price for price, _session, _expected in PRINTS], dtype=float)
    sessions = np.array([session for _price, session, _expected in PRINTS], "M8[D]")
    found = valid_prints(prices, sessions, market=KOSPI, product=STOCK)
    assert found.tolist() == [expected for _price, _session, expected in PRINTS]


def test_valid_prints_refuses_what_is_no_price():
    prices = np.array([np.nan, 0.0, -5.0, np.inf, 16_060.0])
    sessions = np.full(5, np.datetime64("2026-11-20"))
    found = valid_prints(prices, sessions, market=KOSPI, product=STOCK)
    assert found.tolist() == [False, False, False, False, True]


def test_valid_prints_takes_any_value_of_an_index():
    prices = np.array([2_677.53, np.nan])
    sessions = np.full(2, np.datetime64("2026-11-20"))
    found = valid_prints(prices, sessions, market=KOSPI, product=Product.INDEX)
    assert found.tolist() == [True, False]


def test_tick_sizes_knows_the_table_of_each_session():
    prices = np.array([15_000.0, 15_000.0, 999.0, np.nan])
    sessions = np.array(
        ["2023-01-20", "2023-01-25", "2010-10-01", "2023-01-25"], "M8[D]"
    )
    found = tick_sizes(prices, sessions, market=KOSPI, product=STOCK)
    assert found[:3].tolist() == [50, 10, 5]
    assert np.isnan(found[3])


def test_tick_sizes_of_an_index_are_unknown():
    found = tick_sizes(
        np.array([2_677.5]),
        np.array(["2026-11-20"], "M8[D]"),
        market=KOSPI,
        product=Product.INDEX,
    )
    assert np.isnan(found).all()
