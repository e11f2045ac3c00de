import numpy as np
import pytest

from kisbt.candles.adjust import (
    adjustment_factors,
    capital_changes,
    split_dates,
    unadjusted_changes,
    volume_steps,
)
from kisbt.candles.columns import CandleColumns
from kisbt.krx.calendar import default_calendar

DAYS = default_calendar().sessions(
    np.datetime64("2024-01-02").item(), np.datetime64("2024-06-28").item()
)
SPLIT = 60


def daily(close: np.ndarray, volume: np.ndarray) -> CandleColumns:
    ends = default_calendar().close_times(DAYS[: close.size])
    return CandleColumns(ends, close, close, close, close, volume)


def _split(ratio: int) -> tuple[CandleColumns, CandleColumns]:
    """Raw and adjusted candles of a company that splits 1 share into `ratio`."""
    wave = 1 + 0.02 * np.sin(np.arange(100))
    raw = np.where(np.arange(100) < SPLIT, 100_000 * ratio * wave, 100_000 * wave)
    volume = np.where(np.arange(100) < SPLIT, 1_000, 1_000 * ratio) * (2 - wave)
    adjusted = np.where(np.arange(100) < SPLIT, np.round(raw / ratio), np.round(raw))
    return daily(np.round(raw), volume), daily(adjusted, volume)


@pytest.mark.parametrize("ratio", [2, 5, 50])
def test_a_split_is_where_the_factor_changes(ratio: int) -> None:
    raw, adjusted = _split(ratio)
    factors = adjustment_factors(raw, adjusted)
    assert factors[0] == pytest.approx(1 / ratio, rel=1e-4)
    assert factors[-1] == 1
    (change,) = capital_changes(raw, adjusted)
    assert change.session == DAYS[SPLIT]
    assert change.price_ratio == pytest.approx(1 / ratio, rel=1e-4)
    assert change.volume_ratio == pytest.approx(ratio, rel=0.05)


def test_rounding_is_no_capital_change() -> None:
    raw, adjusted = _split(7)
    halves = CandleColumns(
        adjusted.end, *(np.round(adjusted.close / 3) for _name in range(4)), raw.volume
    )
    found = split_dates(capital_changes(raw, halves))
    assert found.tolist() == DAYS[SPLIT : SPLIT + 1].tolist()


def test_a_session_the_adjusted_candles_lack_has_no_factor() -> None:
    raw, adjusted = _split(2)
    factors = adjustment_factors(raw, adjusted.slice(10, None))
    assert np.isnan(factors[:10]).all()
    assert np.isfinite(factors[10:]).all()
    assert capital_changes(raw, adjusted.slice(0, 1)) == ()


def test_a_jump_with_the_opposite_volume_looks_unadjusted() -> None:
    raw, _adjusted = _split(5)
    outside = np.zeros(len(raw), dtype=bool)
    outside[SPLIT] = True
    (change,) = unadjusted_changes(raw, outside)
    assert change.session == DAYS[SPLIT]
    assert change.price_ratio == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("volume", [1.0, 1 / 30])
def test_a_fall_without_more_volume_is_no_split(volume: float) -> None:
    raw, _adjusted = _split(5)
    same = np.where(np.arange(100) < SPLIT, 1_000.0, 1_000.0 * volume)
    outside = np.zeros(len(raw), dtype=bool)
    outside[[0, SPLIT]] = True
    assert unadjusted_changes(daily(raw.close, same), outside) == ()


def test_volume_that_steps_after_a_halt_is_seen() -> None:
    _raw, adjusted = _split(50)
    prices = [np.array(getattr(adjusted, name)) for name in ("open", "high", "low")]
    volume = np.array(adjusted.volume)
    for column in (*prices, volume):
        column[SPLIT - 3 : SPLIT] = 0
    with_halt = CandleColumns(adjusted.end, *prices, adjusted.close, volume)
    (step,) = volume_steps(with_halt)
    assert step.session == DAYS[SPLIT]
    assert step.volume_ratio == pytest.approx(50, rel=0.05)
    assert volume_steps(adjusted) == ()
