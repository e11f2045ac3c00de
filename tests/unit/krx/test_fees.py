from datetime import date
from fractions import Fraction

import pytest

from kisbt.errors import ConfigError
from kisbt.krx.fees import (
    TAX_TABLE,
    TaxRow,
    commission,
    merge_tax_rows,
    parse_commission,
    parse_rate,
    tax_rate,
    transaction_tax,
)
from kisbt.model.instrument import Market, Product

KOSPI, KOSDAQ, KONEX = Market.KOSPI, Market.KOSDAQ, Market.KONEX
STOCK = Product.STOCK


def test_bankis_tariff():
    assert parse_commission("bankis", STOCK) == Fraction("0.000140527")
    for product in (Product.ETF, Product.ETN, Product.ELW):
        assert parse_commission(" BanKIS ", product) == Fraction("0.000146527")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.00015, Fraction(15, 100_000)),
        ("0.00015", Fraction(15, 100_000)),
        (0, Fraction(0)),
        ("1.5e-4", Fraction(15, 100_000)),
        (0.01, Fraction(1, 100)),
    ],
)
def test_a_rate_is_taken_exactly_as_written(value, expected):
    assert parse_commission(value, STOCK) == expected


@pytest.mark.parametrize(
    "value", ["cheap", "", -0.1, 0.11, 15, "nan", float("inf"), True, None, [1]]
)
def test_a_rate_must_be_a_small_share(value):
    with pytest.raises(ConfigError, match="a share of the amount") as caught:
        parse_commission(value, STOCK)
    assert caught.value.path == "broker.commission"


def test_a_rate_names_its_key():
    with pytest.raises(ConfigError) as caught:
        parse_rate("x", path="tax.kospi")
    assert caught.value.path == "tax.kospi"


@pytest.mark.parametrize(
    ("amount", "rate", "expected"),
    [
        (1_000_000, "0.000140527", 140),
        (10_000_000, "0.000140527", 1_405),
        (0, "0.000140527", 0),
        (7_000, "0.000140527", 0),
        # 1,000,000 x 0.00015 is exactly 150; doubles make it 149.99999999999997.
        (1_000_000, "0.00015", 150),
        (999_999, "0.00015", 149),
        (999_999.9999999999, "0.00015", 150),
        (999_999.5, "0.00015", 149),
        (1_000_000, "0", 0),
    ],
)
def test_commission_is_cut_to_whole_won(amount, rate, expected):
    assert commission(amount, Fraction(rate)) == expected


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf")])
def test_commission_refuses_what_is_no_amount(amount):
    with pytest.raises(ValueError, match="expected won"):
        commission(amount, Fraction(1, 1_000))


@pytest.mark.parametrize("product", [Product.ETF, Product.ETN, Product.ELW])
def test_funds_and_warrants_are_exempt(product):
    found = transaction_tax(
        10_000_000, market=KOSPI, product=product, session=date(2026, 11, 20)
    )
    assert found == 0


def test_rows_are_dated_and_in_order():
    days = [row.trade_from for row in TAX_TABLE]
    assert days == sorted(set(days))


def test_own_row_is_added_and_replaces():
    cheaper = TaxRow(
        date(2027, 1, 4), Fraction("0.0015"), Fraction("0.0015"), Fraction("0.001")
    )
    known = TAX_TABLE[-1]
    other = TaxRow(known.trade_from, Fraction(0), Fraction(0), Fraction(0))
    table = merge_tax_rows(cheaper, other)
    how = {"market": KOSDAQ, "product": STOCK, "table": table}
    assert tax_rate(session=date(2027, 1, 4), **how) == Fraction("0.0015")
    assert tax_rate(session=date(2026, 11, 20), **how) == 0
    assert len(table) == len(TAX_TABLE) + 1
    assert tax_rate(market=KOSDAQ, product=STOCK, session=date(2027, 1, 4)) == Fraction(
        "0.002"
    )
