"""Tax and commission against amounts worked out by hand."""

from datetime import date
from fractions import Fraction

import pytest

from kisbt.krx.calendar import default_calendar
from kisbt.krx.fees import TAX_TABLE, commission, parse_commission, transaction_tax
from kisbt.model.instrument import Market, Product

# 137 shares at 71,300 won. Worked out by hand, fractions dropped:
# x 0.0030 = 29,304.3; x 0.0025 = 24,420.25; x 0.0023 = 22,466.63;
# x 0.0020 = 19,536.2; x 0.0018 = 17,582.58; x 0.0015 = 14,652.15; x 0.001 = 9,768.1
AMOUNT = 9_768_100

DAYS = [
    # session, KOSPI, KOSDAQ, KONEX
    (date(2019, 5, 29), 29_304, 29_304, 29_304),
    (date(2019, 5, 30), 24_420, 24_420, 9_768),
    (date(2020, 12, 28), 24_420, 24_420, 9_768),
    (date(2020, 12, 29), 22_466, 22_466, 9_768),
    (date(2022, 12, 27), 22_466, 22_466, 9_768),
    (date(2022, 12, 28), 19_536, 19_536, 9_768),
    (date(2023, 12, 26), 19_536, 19_536, 9_768),
    (date(2023, 12, 27), 17_582, 17_582, 9_768),
    (date(2024, 12, 26), 17_582, 17_582, 9_768),
    (date(2024, 12, 27), 14_652, 14_652, 9_768),
    (date(2025, 12, 26), 14_652, 14_652, 9_768),
    (date(2025, 12, 29), 19_536, 19_536, 9_768),
]


@pytest.mark.parametrize(("session", "kospi", "kosdaq", "konex"), DAYS)
def test_tax_on_both_sides_of_each_change(session, kospi, kosdaq, konex):
    found = [
        transaction_tax(AMOUNT, market=market, product=Product.STOCK, session=session)
        for market in (Market.KOSPI, Market.KOSDAQ, Market.KONEX)
    ]
    assert found == [kospi, kosdaq, konex]


@pytest.mark.parametrize(
    ("row", "settles"),
    [
        (1, date(2019, 6, 3)),
        (2, date(2021, 1, 1)),
        (3, date(2023, 1, 1)),
        (4, date(2024, 1, 1)),
        (5, date(2025, 1, 1)),
        (6, date(2026, 1, 1)),
    ],
)
def test_a_rate_begins_with_the_first_trade_that_settles_under_it(row, settles):
    calendar = default_calendar()
    first = TAX_TABLE[row].trade_from
    assert calendar.sessions_after(first, 2) == calendar.session_on_or_after(settles)
    last = calendar.previous_session(first)
    assert calendar.sessions_after(last, 2) < settles


@pytest.mark.parametrize("product", [Product.ETF, Product.ETN, Product.ELW])
def test_exempt_products_pay_no_tax_on_any_date(product):
    for session, *_taxes in DAYS:
        assert (
            transaction_tax(
                AMOUNT, market=Market.KOSPI, product=product, session=session
            )
            == 0
        )


def test_bankis_commission_by_hand():
    # 9,768,100 x 0.000140527 = 1,372.68...; x 0.000146527 = 1,431.29...
    assert commission(AMOUNT, parse_commission("bankis", Product.STOCK)) == 1_372
    assert commission(AMOUNT, parse_commission("bankis", Product.ETF)) == 1_431


def test_commission_of_a_free_account_by_hand():
    # The institutions' fee alone: 9,768,100 x 0.000036396 = 355.51...
    rate = parse_commission("0.000036396", Product.STOCK)
    assert rate == Fraction(36_396, 1_000_000_000)
    assert commission(AMOUNT, rate) == 355
