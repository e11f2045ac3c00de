import json
from datetime import date
from itertools import pairwise

import pytest

from kisbt.app.rules import rules_of
from kisbt.errors import InputError
from kisbt.krx.overrides import KrxOverrides
from kisbt.krx.phases import Phase
from kisbt.model.instrument import Instrument, Market, Product

STOCK = Instrument(symbol="005930")
EXAM = date(2026, 11, 19)


def test_rules_of_an_exam_day():
    found = rules_of(EXAM, STOCK, base_price=16_000)
    assert found.is_session
    assert f"{found.opens:%H:%M}-{found.closes:%H:%M}" == "10:00-16:30"
    assert found.settlement == date(2026, 11, 23)
    assert found.band is not None
    assert (found.band.lower, found.band.upper) == (11_200, 20_800)
    assert float(found.tax) == 0.002
    taken = {
        row.span.phase: (row.market_orders, row.limit_orders) for row in found.phases
    }
    assert taken[Phase.CONTINUOUS] == (True, True)
    assert taken[Phase.AFTER_MARKET] == (False, True)
    assert taken[Phase.POST_CLOSE_PRICE] == (False, False)


def test_tick_rows_cover_every_price():
    rows = rules_of(EXAM, STOCK).ticks
    assert rows[0].lower == 0
    assert rows[-1].upper is None
    for row, following in pairwise(rows):
        assert row.upper == following.lower


def test_rules_of_a_closed_day_name_the_next_session():
    found = rules_of(date(2026, 11, 21), STOCK)
    assert not found.is_session
    assert found.next_session == date(2026, 11, 23)
    assert (found.opens, found.closes, found.settlement) == (None, None, None)
    assert found.phases == ()
    assert found.band is None


def test_rules_of_an_index_have_no_ticks_and_no_limit():
    index = Instrument(symbol="KOSPI", product=Product.INDEX)
    found = rules_of(EXAM, index, base_price=2_500)
    assert (found.ticks, found.limit, found.band) == ((), None, None)


def test_own_rows_count():
    overrides = KrxOverrides.from_mapping(
        {
            "holidays": {"add": ["2026-11-20"]},
            "transaction_tax": [
                {"trade_from": "2026-11-01", "kospi": 0, "kosdaq": 0, "konex": 0}
            ],
        }
    )
    found = rules_of(EXAM, STOCK, overrides=overrides)
    assert found.next_session == date(2026, 11, 23)
    assert found.tax == 0


def test_json_form_is_plain():
    found = rules_of(
        EXAM,
        Instrument(symbol="", market=Market.KOSDAQ, product=Product.ETF, leverage=-2),
        base_price=3_000,
    )
    plain = json.loads(json.dumps(found.as_json(), default=str))
    assert plain["limit"] == pytest.approx(0.6)
    assert (plain["lower_limit"], plain["upper_limit"]) == (1_200, 4_800)
    assert plain["tax"] == 0
    assert plain["ticks"][0] == {"from": 0, "below": 2_000, "tick": 1}
    assert plain["phases"][0]["phase"] == "opening_auction"


def test_json_form_without_a_price_has_no_limits():
    plain = rules_of(EXAM, STOCK).as_json()
    assert (plain["base_price"], plain["lower_limit"], plain["upper_limit"]) == (
        None,
        None,
        None,
    )


def test_days_outside_the_calendar_are_refused():
    with pytest.raises(InputError, match="known from"):
        rules_of(date(2030, 1, 2), STOCK)
