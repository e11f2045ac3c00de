from datetime import date
from fractions import Fraction
from math import floor

from hypothesis import given, strategies as st

from kisbt.krx.fees import commission, parse_commission, tax_rate, transaction_tax
from kisbt.model.instrument import Market, Product

rates = st.decimals(0, "0.01", places=9).map(Fraction)
won = st.integers(0, 10**12)
amounts = st.one_of(won, st.floats(0, 1e12))
sales = st.fixed_dictionaries(
    {
        "market": st.sampled_from(Market),
        "product": st.sampled_from(Product),
        "session": st.dates(date(2000, 1, 1), date(2027, 12, 31)),
    }
)


@given(amount=won, rate=rates)
def test_commission_of_whole_won_is_exact(amount, rate):
    assert commission(amount, rate) == floor(amount * rate)
    assert commission(float(amount), rate) == floor(amount * rate)


@given(amount=amounts, rate=rates)
def test_commission_lies_between_nothing_and_the_amount(amount, rate):
    assert 0 <= commission(amount, rate) <= amount + 1e-6


@given(low=amounts, high=amounts, rate=rates)
def test_commission_grows_with_the_amount(low, high, rate):
    low, high = min(low, high), max(low, high)
    assert commission(low, rate) <= commission(high, rate)


@given(rate=st.decimals(0, "0.01", places=9))
def test_a_written_rate_is_kept(rate):
    assert parse_commission(str(rate), Product.STOCK) == Fraction(rate)


@given(amount=amounts, sale=sales)
def test_tax_never_passes_its_rate(amount, sale):
    tax = transaction_tax(amount, **sale)
    due = Fraction(amount) * tax_rate(**sale)
    assert due - 1 < tax <= due + Fraction(1, 10**6)
    assert tax_rate(**sale) <= Fraction("0.003")
