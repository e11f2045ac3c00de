from datetime import date

import pytest

from kisbt.emulator.market import day_band
from kisbt.emulator.scenario import covering_base
from kisbt.model.instrument import Instrument

DAY = date(2025, 10, 20)
STOCK = Instrument(symbol="990001")


@pytest.mark.parametrize(
    ("base", "high", "low"),
    [
        (4_175.0, 6_060.0, 5_800.0),  # minutes of a month are missing
        (9_000.0, 6_060.0, 5_800.0),
        (5_930.0, 7_710.0, 5_500.0),  # opened low, closed at the upper limit
        (101_300.0, 140_000.0, 110_000.0),
    ],
)
def test_limits_of_a_day_hold_its_trades(base: float, high: float, low: float) -> None:
    found = covering_base(base, high, low, STOCK, DAY)
    band = day_band(STOCK, found, DAY)
    assert band is not None
    assert high in band
    assert low in band
    # None nearer to the one asked for does.
    closer = found - 10 if found > base else found + 10
    nearer = day_band(STOCK, closer, DAY)
    assert found == base or nearer is None or high not in nearer or low not in nearer


def test_a_base_that_fits_is_kept() -> None:
    assert covering_base(5_000.0, 6_500.0, 3_500.0, STOCK, DAY) == 5_000.0


def test_the_first_day_of_a_listing_has_none() -> None:
    assert covering_base(10_000.0, 40_000.0, 9_000.0, STOCK, DAY) == 0.0
