from datetime import date, time
from fractions import Fraction

import pytest

from kisbt.errors import ConfigError
from kisbt.krx.calendar import SessionHours, default_calendar
from kisbt.krx.fees import TAX_TABLE, tax_rate
from kisbt.krx.overrides import KrxOverrides
from kisbt.model.instrument import Market, Product

CONTENT = {
    "holidays": {"add": ["2027-06-14"], "remove": [date(2027, 5, 3)]},
    "hours": {"2027-11-18": {"open": "10:00", "close": time(16, 30)}},
    "transaction_tax": [
        {"trade_from": "2026-12-29", "kospi": 0.0015, "kosdaq": 0.0015, "konex": 0.001}
    ],
}


def test_everything_is_read():
    found = KrxOverrides.from_mapping(CONTENT)
    assert found.closed == {date(2027, 6, 14)}
    assert found.opened == {date(2027, 5, 3)}
    assert found.hours == {date(2027, 11, 18): SessionHours(time(10), time(16, 30))}
    calendar = found.calendar()
    assert not calendar.is_session(date(2027, 6, 14))
    assert calendar.is_session(date(2027, 5, 3))
    assert calendar.close_time(date(2027, 11, 18)).time() == time(16, 30)
    rate = tax_rate(
        market=Market.KOSPI,
        product=Product.STOCK,
        session=date(2026, 12, 29),
        table=found.tax_table(),
    )
    assert rate == Fraction("0.0015")


@pytest.mark.parametrize(
    "content",
    [{}, {"holidays": None, "hours": None, "transaction_tax": None}, {"holidays": {}}],
)
def test_nothing_given_changes_nothing(content):
    found = KrxOverrides.from_mapping(content)
    assert found == KrxOverrides()
    assert found.calendar() is default_calendar()
    assert found.tax_table() == TAX_TABLE


@pytest.mark.parametrize(
    ("content", "path", "words"),
    [
        ({"holliday": {}}, "holliday", "expected holidays"),
        ({"xyz": 1}, "xyz", "holidays or hours or transaction_tax"),
        ({"holidays": ["2027-06-14"]}, "holidays", "a block with add, remove"),
        ({"holidays": {"addd": []}}, "holidays.addd", "expected add"),
        ({"holidays": {"add": "2027-06-14"}}, "holidays.add", "a list"),
        ({"holidays": {"add": ["x"]}}, "holidays.add.0", "a date such as"),
        ({"holidays": {"add": [20270614.5]}}, "holidays.add.0", "a date such as"),
        ({"hours": ["10:00"]}, "hours", "dates as keys"),
        ({"hours": {"2027-11-18": "10:00"}}, "hours.2027-11-18", "open, close"),
        (
            {"hours": {"2027-11-18": {"open": "10:00"}}},
            "hours.2027-11-18.close",
            "all of open, close",
        ),
        (
            {"hours": {"2027-11-18": {"open": "10:00", "close": "25:00"}}},
            "hours.2027-11-18.close",
            "a time such as",
        ),
        (
            {"hours": {"2027-11-18": {"open": "10:00+09:00", "close": "16:30"}}},
            "hours.2027-11-18.open",
            "a time such as",
        ),
        (
            {"hours": {"2027-11-18": {"open": "10:00", "close": "16:30:30"}}},
            "hours.2027-11-18.close",
            "a time such as",
        ),
        (
            {"hours": {"2027-11-18": {"open": "10:00", "close": "09:00"}}},
            "hours.2027-11-18.close",
            "a time after 10:00",
        ),
        (
            {"hours": {"soon": {"open": "10:00", "close": "16:30"}}},
            "hours.soon",
            "a date such as",
        ),
        ({"transaction_tax": {}}, "transaction_tax", "a list"),
        (
            {"transaction_tax": [{"trade_from": "2027-01-04"}]},
            "transaction_tax.0.kospi",
            "all of trade_from, kospi, kosdaq, konex",
        ),
        (
            {"transaction_tax": [{**CONTENT["transaction_tax"][0], "kospi": 0.15}]},
            "transaction_tax.0.kospi",
            "expected a share",
        ),
    ],
)
def test_each_mistake_names_its_key(content, path, words):
    with pytest.raises(ConfigError, match=words) as caught:
        KrxOverrides.from_mapping(content)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "content",
    [
        {"holidays": {"add": ["2031-01-02"]}},
        {"holidays": {"add": ["2027-06-14"], "remove": ["2027-06-14"]}},
        {"hours": {"2027-11-20": {"open": "10:00", "close": "16:30"}}},
    ],
)
def test_days_the_calendar_cannot_take_are_configuration_errors(content):
    with pytest.raises(ConfigError, match="krx_overrides"):
        KrxOverrides.from_mapping(content).calendar()
