"""Differences of candles come back as they were put down."""

from datetime import datetime, timedelta

from hypothesis import given, strategies as st

from kisbt.app.candleevents import CandleEvents
from kisbt.clock import KST
from kisbt.model.liverun import CandleChange, CandleEvent

NINE = datetime(2025, 12, 30, 9, 0, tzinfo=KST)
moments = st.builds(
    lambda micros: NINE + timedelta(microseconds=micros), st.integers(0, 10**12)
)
values = st.none() | st.floats(allow_nan=False, allow_infinity=False)
events = st.builds(
    CandleEvent,
    at=moments,
    kind=st.sampled_from(CandleChange),
    symbol=st.sampled_from(["005930", "000660", "0126Z0"]),
    bar=moments,
    open=values,
    high=values,
    low=values,
    close=values,
    volume=values,
    true_open=values,
    true_high=values,
    true_low=values,
    true_close=values,
    true_volume=values,
    note=st.sampled_from(["", "why"]),
)


@given(st.lists(events, max_size=20))
def test_events_come_back_as_they_were(made: list[CandleEvent]) -> None:
    kept = CandleEvents()
    for event in made:
        kept.append(event)
    assert len(kept) == len(made)
    assert list(kept) == made
    assert [str(event) for event in kept] == [str(event) for event in made]
