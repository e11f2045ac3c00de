"""Ticks and limits against prices of the exchange."""

from datetime import date

import numpy as np
import pytest

from kisbt.krx.limits import band_tolerance, price_bands
from kisbt.krx.ticks import MID_PRICE_FROM, tick_sizes, valid_prints
from kisbt.model.instrument import Market, Product

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

PRICES = ["open", "high", "low", "close"]
MARKETS = [Market.KOSPI, Market.KOSDAQ]
REFORM = np.datetime64("2015-06-15")


def boards(folder):
    table = pd.read_csv(folder / "symbols.csv", dtype=str)
    return dict(zip(table["symbol"], table["market"], strict=True))


def sessions_of(rows):
    return rows["date"].to_numpy().astype("datetime64[D]")


def won(rows, column):
    return rows[column].to_numpy().astype(float)


@pytest.fixture(scope="module")
def official(real_candles):
    """Official end-of-day rows, unadjusted; the base price is the exchange's own."""
    rows = pd.read_parquet(real_candles / "krx_official_windows_2021_2026.parquet")
    return rows[rows["volume"] > 0]


@pytest.fixture(scope="module")
def unadjusted(real_candles):
    rows = pd.read_parquet(real_candles / "daily_unadjusted_2010_2019.parquet")
    rows = rows.assign(
        market=rows["symbol"].map(boards(real_candles)),
        base=rows.groupby("symbol")["close"].shift(),
    )
    # These 90 rows are off every grid: the source rescaled them.
    rescaled = (rows["symbol"] == "011070") & (rows["date"] < "2010-05-18")
    return rows[~rescaled]


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("column", PRICES)
def test_every_official_price_is_a_valid_print(official, market, column):
    rows = official[official["market"] == market.value]
    found = valid_prints(
        won(rows, column), sessions_of(rows), market=market, product=Product.STOCK
    )
    assert len(rows) > 10_000
    assert found.all()


def test_half_ticks_are_rare_and_only_since_mid_price_orders(official):
    halves = 0
    for market in MARKETS:
        rows = official[official["market"] == market.value]
        for column in PRICES:
            price, session = won(rows, column), sessions_of(rows)
            tick = tick_sizes(price, session, market=market, product=Product.STOCK)
            off = price % tick != 0
            assert (session[off] >= np.datetime64(MID_PRICE_FROM)).all()
            halves += int(off.sum())
    assert halves == 42


def test_official_prices_touch_the_limits_and_never_pass_them(official):
    at_upper = at_lower = beyond = 0
    for market in MARKETS:
        rows = official[official["market"] == market.value]
        lower, upper = price_bands(
            won(rows, "prev_close_base"),
            sessions_of(rows),
            market=market,
            product=Product.STOCK,
        )
        high, low = won(rows, "high"), won(rows, "low")
        at_upper += int((high == upper).sum())
        at_lower += int((low == lower).sum())
        beyond += int(((high > upper) | (low < lower)).sum())
    assert (at_upper, at_lower, beyond) == (48, 2, 0)


@pytest.mark.parametrize("market", MARKETS)
def test_unadjusted_prices_of_2010_to_2019_are_on_the_grid(unadjusted, market):
    rows = unadjusted[unadjusted["market"] == market.value]
    for column in PRICES:
        price = won(rows, column)
        found = valid_prints(
            price, sessions_of(rows), market=market, product=Product.STOCK
        )
        # A price of 0 stands for a session without a trade.
        assert found[price > 0].all()
        assert (price > 0).sum() > 50_000


def test_one_won_steps_begin_on_2010_10_04(unadjusted):
    cheap = unadjusted[(unadjusted["close"] > 0) & (unadjusted["close"] < 1_000)]
    fine = cheap[cheap["close"] % 5 != 0]
    assert fine["date"].min() == pd.Timestamp("2010-10-04")


def test_limits_of_2010_to_2019_hold_but_for_capital_changes(unadjusted):
    capital_changes = {
        ("007390", "2010-07-21"),
        ("053610", "2011-05-04"),
        ("030530", "2016-05-02"),
        ("031980", "2019-05-10"),
        ("101730", "2019-07-11"),
    }
    at_upper = at_lower = 0
    beyond = set()
    for market in MARKETS:
        rows = unadjusted[(unadjusted["market"] == market.value)]
        rows = rows[(rows["volume"] > 0) & rows["base"].notna()]
        lower, upper = price_bands(
            won(rows, "base"),
            sessions_of(rows),
            market=market,
            product=Product.STOCK,
        )
        high, low = won(rows, "high"), won(rows, "low")
        at_upper += int((high == upper).sum())
        at_lower += int((low == lower).sum())
        passed = rows[(high > upper) | (low < lower)]
        days = passed["date"].dt.strftime("%Y-%m-%d")
        beyond |= set(zip(passed["symbol"], days, strict=True))
    assert beyond == capital_changes
    assert at_upper > 500
    assert at_lower > 200


def test_moves_beyond_15_per_cent_begin_on_2015_06_15(unadjusted):
    rows = unadjusted[(unadjusted["volume"] > 0) & unadjusted["base"].notna()]
    rise = won(rows, "high") / won(rows, "base")
    session = sessions_of(rows)
    assert session[rise > 1.15].min() == REFORM
    assert rise[session < REFORM].max() == pytest.approx(1.15, abs=1e-9)


def test_tolerance_covers_every_adjusted_candle(real_candles):
    rows = pd.read_parquet(real_candles / "daily_adjusted.parquet")
    rows = rows.assign(
        market=rows["symbol"].map(boards(real_candles)),
        base=rows.groupby("symbol")["close"].shift(),
    )
    rows = rows[(rows["volume"] > 0) & (rows["open"] > 0) & rows["base"].notna()]
    outside = 0
    for market in MARKETS:
        board = rows[rows["market"] == market.value]
        base, session = won(board, "base"), sessions_of(board)
        lower, upper = price_bands(base, session, market=market, product=Product.STOCK)
        over = np.maximum(won(board, "high") - upper, lower - won(board, "low"))
        for number in np.flatnonzero(over > 0):
            allowed = band_tolerance(
                base[number],
                market=market,
                product=Product.STOCK,
                session=session[number].item(),
            )
            assert over[number] <= allowed
            outside += 1
    # Rounding of the adjustment makes them; without tolerance all would be faults.
    assert outside > 500


LEVERAGE = {"114800": -1, "122630": 2, "233740": 2, "251340": -1, "252670": -2}


@pytest.mark.parametrize("symbol", sorted(LEVERAGE))
def test_funds_keep_to_their_ticks_and_limits(real_candles, symbol):
    rows = pd.read_parquet(real_candles / "etf_daily.parquet")
    rows = rows[rows["symbol"] == symbol]
    session = sessions_of(rows)
    for column in PRICES:
        assert valid_prints(
            won(rows, column), session, market=Market.KOSPI, product=Product.ETF
        ).all()
    base = np.concatenate([[np.nan], won(rows, "close")[:-1]])
    lower, upper = price_bands(
        base,
        session,
        market=Market.KOSPI,
        product=Product.ETF,
        leverage=LEVERAGE[symbol],
    )
    known = ~np.isnan(base)
    assert (won(rows, "high") <= upper)[known].all()
    assert (won(rows, "low") >= lower)[known].all()


def test_leveraged_fund_fell_through_the_single_limit_in_2011(real_candles):
    rows = pd.read_parquet(real_candles / "etf_daily.parquet")
    rows = rows[rows["symbol"] == "122630"].set_index("date")
    low = rows["low"] / rows["close"].shift()
    assert low.loc["2011-08-09"] < 0.85
    assert date(2011, 8, 9) < REFORM.item()
