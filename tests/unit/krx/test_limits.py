from datetime import date

import numpy as np
import pytest

from kisbt.errors import MarketRuleError
from kisbt.krx.limits import (
    PriceBand,
    band_tolerance,
    ipo_band,
    limit_pct,
    price_band,
    price_bands,
)
from kisbt.model.instrument import Market, Product

KOSPI, KOSDAQ, KONEX = Market.KOSPI, Market.KOSDAQ, Market.KONEX
STOCK = Product.STOCK
NOW = date(2026, 11, 20)

# Closes at the limit, from official end-of-day data.
UPPER = [
    (date(2021, 1, 4), KOSDAQ, 167_300, 217_400),
    (date(2021, 1, 6), KOSPI, 8_280, 10_750),
    (date(2025, 2, 4), KOSDAQ, 953, 1_238),
    (date(2024, 2, 8), KOSDAQ, 1_746, 2_265),
    (date(2026, 1, 26), KOSDAQ, 3_915, 5_080),
    (date(2024, 1, 23), KOSPI, 17_420, 22_600),
    (date(2025, 2, 6), KOSDAQ, 43_150, 56_000),
    (date(2024, 2, 13), KOSDAQ, 206_000, 267_500),
]
LOWER = [
    (date(2024, 1, 31), KOSPI, 773, 542),
    (date(2026, 2, 6), KOSDAQ, 6_360, 4_460),
    # One rounding of base x 0.7 would give 17,220.
    (date(2024, 2, 1), KOSDAQ, 24_600, 17_250),
]


@pytest.mark.parametrize(("session", "market", "base", "upper"), UPPER)
def test_upper_limit_as_seen_on_the_exchange(session, market, base, upper):
    band = price_band(base, market=market, product=STOCK, session=session)
    assert band is not None
    assert band.upper == upper


@pytest.mark.parametrize(("session", "market", "base", "lower"), LOWER)
def test_lower_limit_as_seen_on_the_exchange(session, market, base, lower):
    band = price_band(base, market=market, product=STOCK, session=session)
    assert band is not None
    assert band.lower == lower


@pytest.mark.parametrize(
    ("market", "session", "pct"),
    [
        (KOSPI, date(2000, 1, 4), 0.15),
        (KOSPI, date(2015, 6, 12), 0.15),
        (KOSPI, date(2015, 6, 15), 0.30),
        (KOSDAQ, date(2005, 3, 25), 0.12),
        (KOSDAQ, date(2005, 3, 28), 0.15),
        (KOSDAQ, date(2015, 6, 12), 0.15),
        (KOSDAQ, date(2015, 6, 15), 0.30),
        # The small board kept 15 %.
        (KONEX, NOW, 0.15),
    ],
)
def test_limit_follows_board_and_date(market, session, pct):
    assert limit_pct(market=market, product=STOCK, session=session) == pct


@pytest.mark.parametrize(
    ("leverage", "pct"), [(1, 0.3), (2, 0.6), (-2, 0.6), (-1, 0.3), (0.5, 0.3)]
)
def test_leverage_widens_the_limit(leverage, pct):
    found = limit_pct(market=KOSPI, product=Product.ETF, session=NOW, leverage=leverage)
    assert found == pytest.approx(pct)


def test_leveraged_fund_had_a_wide_limit_before_2015_too():
    # 2011-08-09: funds with a multiple of 2 fell by 19.8 % and more.
    band = price_band(
        10_755,
        market=KOSPI,
        product=Product.ETF,
        session=date(2011, 8, 9),
        leverage=2,
    )
    assert band == PriceBand(7_530, 13_980)


def test_limits_change_on_the_day_of_the_reform():
    def band(session):
        return price_band(10_000, market=KOSPI, product=STOCK, session=session)

    assert band(date(2015, 6, 12)) == PriceBand(8_500, 11_500)
    assert band(date(2015, 6, 15)) == PriceBand(7_000, 13_000)


@pytest.mark.parametrize("product", [Product.ELW, Product.INDEX])
def test_warrants_and_indices_have_no_limit(product):
    how = {"market": KOSPI, "product": product, "session": NOW}
    assert price_band(1_000, **how) is None
    assert band_tolerance(1_000, **how) == 0.0
    lower, upper = price_bands(
        np.array([1_000.0]),
        np.array([NOW], "M8[D]"),
        market=KOSPI,
        product=product,
    )
    assert np.isnan(lower).all()
    assert np.isnan(upper).all()


@pytest.mark.parametrize(
    ("base", "session", "expected"),
    [
        (1, NOW, PriceBand(1, 2)),
        (3, NOW, PriceBand(2, 4)),
        (5, date(2009, 1, 5), PriceBand(5, 10)),
        (20, date(2009, 1, 5), PriceBand(15, 25)),
    ],
)
def test_lowest_prices_may_move_by_one_tick(base, session, expected):
    band = price_band(base, market=KOSPI, product=STOCK, session=session)
    assert band == expected


def test_fractional_base_of_adjusted_candles():
    band = price_band(16_063.4, market=KOSPI, product=STOCK, session=NOW)
    # Width 4,810; 20,873.4 cut to 50, 11,253.4 raised to 10.
    assert band == PriceBand(11_260, 20_850)


@pytest.mark.parametrize("base", [0, -5, float("nan"), float("inf")])
def test_base_price_must_be_positive(base):
    with pytest.raises(MarketRuleError) as caught:
        price_band(base, market=KOSPI, product=STOCK, session=NOW)
    assert caught.value.rule == "price_limit"


def test_band_contains_its_ends_and_no_more():
    band = PriceBand(70, 130)
    assert 70 in band
    assert 130.0000000001 in band
    assert 69 not in band
    assert 131 not in band


def test_ipo_band_since_2023_is_60_to_400_per_cent():
    band = ipo_band(26_000, market=KOSPI, session=date(2023, 6, 26))
    assert band == PriceBand(15_600, 104_000)


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        # 90 % of 10,000 less 30 %, twice 10,000 plus 30 %.
        (date(2023, 6, 23), PriceBand(6_300, 26_000)),
        (date(2014, 6, 23), PriceBand(7_650, 23_000)),
    ],
)
def test_ipo_band_before_2023_is_the_widest_possible(session, expected):
    assert ipo_band(10_000, market=KOSDAQ, session=session) == expected


def test_price_bands_agree_with_the_scalar_form():
    rows = [*UPPER, *LOWER, (date(2015, 6, 12), KOSDAQ, 10_000, 0)]
    bases = np.array([row[2] for row in rows], dtype=float)
    sessions = np.array([row[0] for row in rows], "M8[D]")
    lower, upper = price_bands(bases, sessions, market=KOSDAQ, product=STOCK)
    for number, (session, _market, base, _limit) in enumerate(rows):
        band = price_band(base, market=KOSDAQ, product=STOCK, session=session)
        assert band == PriceBand(int(lower[number]), int(upper[number]))


def test_price_bands_are_unknown_without_a_base():
    bases = np.array([np.nan, 0.0, -1.0, 10_000.0])
    lower, upper = price_bands(
        bases, np.full(4, np.datetime64("2026-11-20")), market=KOSPI, product=STOCK
    )
    assert np.isnan(lower).tolist() == [True, True, True, False]
    assert np.isnan(upper).tolist() == [True, True, True, False]


def test_band_tolerance_is_about_one_per_cent_of_a_large_price():
    how = {"market": KOSPI, "product": STOCK, "session": NOW}
    assert 700 <= band_tolerance(70_000, **how) <= 702
    # Two of its own ticks and the rounding to whole won.
    assert band_tolerance(100, **how) == pytest.approx(2 + 1.15)


@pytest.mark.parametrize("factor", [0.1, 0.37, 1.0, 2.5, 5, 50])
@pytest.mark.parametrize("session", [date(2012, 1, 4), NOW])
def test_band_tolerance_covers_rescaled_limits(factor, session):
    how = {"market": KOSPI, "product": STOCK, "session": session}
    for raw in (205, 997, 1_995, 4_990, 9_990, 19_950, 49_900, 99_900, 498_500):
        real = price_band(raw, **how)
        base = round(raw / factor)
        own = price_band(base, **how)
        assert real is not None
        assert own is not None
        allowed = band_tolerance(base, **how)
        assert abs(round(real.upper / factor) - own.upper) <= allowed
        assert abs(round(real.lower / factor) - own.lower) <= allowed
