from datetime import date
from pathlib import Path

import numpy as np
import pytest

from kisbt.candles.bases import read_bases, session_bases, write_bases
from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.errors import BadCandle
from kisbt.model.candle import DAILY, MINUTE

MON, TUE, WED, THU, FRI = (date(2026, 3, day) for day in range(2, 7))
NAN = float("nan")


def minutes(closes: dict[date, float]) -> CandleColumns:
    """Return two candles a day that open and close at one price."""
    ends, prices = [], []
    for day, price in closes.items():
        for minute in ("09:01:00", "15:30:00"):
            ends.append(f"{day}T{minute}")
            prices.append(price)
    return _columns(ends, prices)


def days(closes: dict[date, float]) -> CandleColumns:
    ends = [f"{day}T15:30:00" for day in closes]
    return _columns(ends, list(closes.values()))


def _columns(ends: list[str], prices: list[float]) -> CandleColumns:
    values = np.array(prices, np.float64)
    volume = np.full(len(ends), 10.0)
    time = np.array(ends, "datetime64[s]")
    return CandleColumns(time, values, values, values, values, volume)


def bases(*args: object) -> list[float]:
    return session_bases(*args).prices.tolist()  # type: ignore[arg-type]


def test_without_daily_candles_it_is_the_last_close_at_hand() -> None:
    found = bases(minutes({MON: 100, TUE: 110, THU: 120}), CandleColumns.empty())
    assert found == pytest.approx([NAN, 100, 110], nan_ok=True)


def test_a_daily_close_fills_in_for_minutes_that_are_missing() -> None:
    held = minutes({MON: 100, THU: 120})
    found = bases(held, days({MON: 100, TUE: 110, WED: 115, THU: 120}))
    assert found == pytest.approx([NAN, 115], nan_ok=True)


def test_a_daily_close_comes_before_the_last_minute_of_the_same_day() -> None:
    found = bases(minutes({MON: 100, TUE: 110}), days({MON: 101}))
    assert found == pytest.approx([NAN, 101], nan_ok=True)


def test_the_first_session_has_one_where_daily_candles_begin_earlier() -> None:
    assert bases(minutes({TUE: 110}), days({MON: 101})) == [101]


def test_minutes_that_go_on_after_the_daily_candles_are_followed() -> None:
    held = minutes({MON: 100, TUE: 110, WED: 120, THU: 130})
    found = bases(held, days({MON: 101, TUE: 111}))
    assert found == pytest.approx([NAN, 101, 111, 120], nan_ok=True)


def test_daily_candles_on_another_scale_are_not_believed() -> None:
    held = minutes({MON: 100_000, TUE: 110_000})
    found = bases(held, days({MON: 2_000, TUE: 2_200}))  # split 50:1 since
    assert found == pytest.approx([NAN, 100_000], nan_ok=True)


def test_what_the_broker_told_comes_first() -> None:
    held = minutes({MON: 100, TUE: 110})
    found = bases(held, days({MON: 101}), {TUE: 95.0, WED: 1.0})
    assert found == pytest.approx([NAN, 95], nan_ok=True)


def test_no_minutes_have_no_sessions() -> None:
    found = session_bases(CandleColumns.empty(), days({MON: 101}))
    assert len(found.sessions) == 0
    assert np.isnan(found.of_bars(np.array([MON], "datetime64[D]"))).all()


def test_bars_have_the_base_price_of_their_session() -> None:
    found = session_bases(minutes({TUE: 110, THU: 120}), days({MON: 101, WED: 119}))
    wanted = np.array([MON, TUE, TUE, WED, THU, FRI], "datetime64[D]")
    expected = [NAN, 101, 101, NAN, 119, NAN]
    assert found.of_bars(wanted).tolist() == pytest.approx(expected, nan_ok=True)


def test_a_store_reads_its_daily_candles_and_what_a_run_wrote(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    held = minutes({TUE: 110, THU: 120})
    store.write("990001", MINUTE, held)
    store.write("990001", DAILY, days({MON: 90, WED: 119}))
    store.write("990001", DAILY, days({MON: 101, WED: 119}), adjusted=False)
    write_bases(tmp_path, {("990001", THU): 118.5, ("990002", TUE): 7.0})

    assert CandleStore(tmp_path).bases("990001", held).prices.tolist() == [101, 118.5]
    assert read_bases(tmp_path) == {"990001": {THU: 118.5}, "990002": {TUE: 7.0}}


def test_nothing_told_writes_nothing(tmp_path: Path) -> None:
    write_bases(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    assert read_bases(tmp_path) == {}


@pytest.mark.parametrize(
    "row", ["990001,2026-03-02", "990001,2.3.2026,5", "990001,2026-03-02,-5"]
)
def test_a_broken_row_is_refused_by_line(tmp_path: Path, row: str) -> None:
    (tmp_path / "bases.csv").write_text(f"symbol,session,price\n{row}\n", "utf-8")
    with pytest.raises(BadCandle, match="line 2"):
        read_bases(tmp_path)


def test_a_close_beyond_the_limit_is_none_of_the_day_before() -> None:
    held = minutes({MON: 100, THU: 140, FRI: 175})
    found = bases(held, CandleColumns.empty())
    assert found == pytest.approx([NAN, NAN, 140], nan_ok=True)
    assert session_bases(held, days({MON: 100}), leverage=2).prices[1] == 100


def test_adjusted_closes_only_stand_in_for_missing_minutes() -> None:
    """A dividend since has changed them; the minutes of the day before have not."""
    held, adjusted = minutes({MON: 100, TUE: 110, FRI: 120}), days({MON: 91, THU: 108})
    found = session_bases(held, adjusted, adjusted=True).prices
    assert found == pytest.approx([NAN, 100, 108], nan_ok=True)


def test_the_hash_of_minutes_covers_their_base_prices(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.write("990001", MINUTE, minutes({MON: 100, THU: 120}))
    before = CandleStore(tmp_path).content_hash(["990001"], MINUTE)
    store.write("990001", DAILY, days({MON: 100, WED: 115}), adjusted=False)
    assert CandleStore(tmp_path).content_hash(["990001"], MINUTE) != before
