from pathlib import Path

import numpy as np
import pytest

from kisbt.candles.columns import CandleColumns
from kisbt.candles.quality import Oddity, Quality, check_columns, check_symbol
from kisbt.candles.store import CandleStore
from kisbt.errors import MissingCandles
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import DAILY, MINUTE, Interval
from kisbt.model.instrument import Instrument, Market, Product

HEADER = "datetime,open,high,low,close,volume\n"
STOCK = Instrument(symbol="005930")


def _check(
    folder: Path, *rows: str, interval: Interval = DAILY, adjusted: bool = True
) -> Quality:
    store = CandleStore(folder)
    path = store.file("005930", interval, adjusted=adjusted)
    path.parent.mkdir(parents=True)
    path.write_text(HEADER + "".join(row + "\n" for row in rows))
    return check_symbol(store, "005930", interval, adjusted=adjusted)


def _kinds(quality: Quality) -> dict[Oddity, int]:
    return {finding.kind: finding.count for finding in quality.findings}


def test_sound_candles_have_nothing_odd(tmp_path: Path) -> None:
    quality = _check(
        tmp_path,
        "2024-01-02 15:30:00,100,110,100,105,10",
        "2024-01-03 15:30:00,105,108,100,101,10",
    )
    assert quality.findings == ()
    assert (quality.rows, quality.traded) == (2, 2)
    assert quality.first == np.datetime64("2024-01-02T15:30:00")
    assert quality.last == np.datetime64("2024-01-03T15:30:00")


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("2024-01-04 15:30:00,100,90,95,92,10", Oddity.BROKEN),
        ("2024-01-04 15:30:00,100,101,99,-100,10", Oddity.BROKEN),
        ("2024-01-04 15:30:00,100,101,99,100,-1", Oddity.BROKEN),
        ("2024-01-03 15:30:00,100,101,99,100,1", Oddity.DUPLICATE),
        ("2024-01-02 15:00:00,100,101,99,100,1", Oddity.UNSORTED),
        ("2024-01-06 15:30:00,100,101,99,100,1", Oddity.CLOSED_DAY),
        ("2024-01-04 15:00:00,100,101,99,100,1", Oddity.WRONG_END),
        ("2024-01-05 15:30:00,100,101,99,100,1", Oddity.MISSING_SESSION),
        ("2024-01-04 15:30:00,0,0,0,105,0", Oddity.HALT),
        ("2024-01-04 15:30:00,105,105,105,105,0", Oddity.SILENT),
        ("2024-01-04 15:30:00,105,150,105,120,9", Oddity.BEYOND_LIMIT),
        ("2024-01-04 15:30:00,105,105,60,90,9", Oddity.BEYOND_LIMIT),
    ],
)
def test_each_oddity_is_found(tmp_path: Path, row: str, kind: Oddity) -> None:
    quality = _check(
        tmp_path,
        "2024-01-02 15:30:00,100,110,100,105,10",
        "2024-01-03 15:30:00,105,108,100,105,10",
        row,
    )
    assert _kinds(quality)[kind] == 1
    harmless = {finding.kind: finding.harmless for finding in quality.findings}
    assert harmless[kind] is (kind in {Oddity.HALT, Oddity.SILENT})


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    quality = _check(tmp_path, "2024-01-02 15:30:00,100,x,100,105,10")
    assert _kinds(quality) == {Oddity.UNREADABLE: 1}
    assert "line 2" in quality.findings[0].detail


def test_an_empty_file_has_no_range(tmp_path: Path) -> None:
    quality = _check(tmp_path)
    assert (quality.rows, quality.first, quality.findings) == (0, None, ())


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingCandles, match="005930"):
        check_symbol(CandleStore(tmp_path), "005930", DAILY)


def _daily(
    close: list[float], *, first: str = "2024-01-02", volume: list[float] | None = None
) -> CandleColumns:
    start = np.datetime64(first).item()
    days = default_calendar().sessions(start, start.replace(month=12))[: len(close)]
    price = np.array(close, np.float64)
    return CandleColumns(
        default_calendar().close_times(days),
        price,
        price,
        price,
        price,
        np.array(volume or [10.0] * price.size),
    )


@pytest.mark.parametrize(
    ("close", "adjusted", "beyond"),
    [
        ([10_000, 13_000], False, 0),
        ([10_000, 13_010], False, 1),
        ([10_000, 7_000], False, 0),
        ([10_000, 6_990], False, 1),
        # The limits of 10,030 are 7,030 and 13,030: the width is cut to the tick.
        ([10_030, 13_040], False, 1),
        ([10_030, 13_040], True, 0),
        ([10_000, 13_020], True, 0),
        ([10_000, 13_021], True, 1),
        ([10_000, 6_979], True, 1),
    ],
)
def test_the_limit_is_exact_on_raw_and_rounded_on_adjusted(
    close: list[float], adjusted: bool, beyond: int
) -> None:
    quality = check_columns(_daily(close), STOCK, DAILY, adjusted=adjusted)
    assert _kinds(quality).get(Oddity.BEYOND_LIMIT, 0) == beyond


def test_the_limit_is_that_of_the_date_and_product() -> None:
    narrow = check_columns(_daily([10_000, 12_000], first="2015-01-02"), STOCK, DAILY)
    assert _kinds(narrow) == {Oddity.BEYOND_LIMIT: 1}
    double = Instrument(symbol="122630", product=Product.ETF, leverage=2)
    assert check_columns(_daily([10_000, 15_900]), double, DAILY).findings == ()
    index = Instrument(symbol="KOSPI", product=Product.INDEX)
    jump = _daily([1_000.5, 2_000.7], volume=[0, 0])
    assert check_columns(jump, index, DAILY).findings == ()


def test_the_close_of_a_halt_is_the_base_of_the_next_session(tmp_path: Path) -> None:
    quality = _check(
        tmp_path,
        "2024-01-02 15:30:00,10000,10000,10000,10000,10",
        "2024-01-03 15:30:00,0,0,0,5000,0",
        "2024-01-04 15:30:00,5000,5500,5000,5400,10",
    )
    assert _kinds(quality) == {Oddity.HALT: 1}


@pytest.mark.parametrize("adjusted", [True, False])
def test_a_split_in_raw_candles_is_no_fault(adjusted: bool) -> None:
    close = [50_000.0] * 30 + [10_000.0] * 30
    volume = [100.0] * 30 + [500.0] * 30
    quality = check_columns(
        _daily(close, volume=volume), STOCK, DAILY, adjusted=adjusted
    )
    found = {finding.kind: finding for finding in quality.findings}
    assert found[Oddity.UNADJUSTED_SPLIT].harmless is not adjusted
    assert "price × 0.2, volume × 5" in found[Oddity.UNADJUSTED_SPLIT].detail
    assert (Oddity.BEYOND_LIMIT in found) is adjusted


def test_prices_off_the_grid_matter_only_on_raw_candles() -> None:
    candles = _daily([10_003, 10_010, 10_020])
    adjusted = check_columns(candles, STOCK, DAILY)
    assert adjusted.findings == ()
    assert adjusted.off_grid_share == pytest.approx(1 / 3)
    raw = check_columns(candles, STOCK, DAILY, adjusted=False)
    assert _kinds(raw) == {Oddity.LOOKS_ADJUSTED: 1}
    many = check_columns(
        _daily([10_003] + [10_010.0] * 99), STOCK, DAILY, adjusted=False
    )
    assert _kinds(many) == {Oddity.OFF_GRID: 1}


@pytest.mark.parametrize(
    ("first", "kind"),
    [("2025-03-04", Oddity.HALF_TICK), ("2025-02-28", Oddity.OFF_GRID)],
)
def test_half_ticks_are_legal_since_mid_price_orders(first: str, kind: Oddity) -> None:
    candles = _daily([10_005] + [10_010] * 60, first=first)
    quality = check_columns(candles, STOCK, DAILY, adjusted=False)
    assert _kinds(quality) == {kind: 1}


def _minutes(day: str, *, skip: int = 0) -> CandleColumns:
    start = np.datetime64(f"{day}T09:00:00")
    number = np.r_[np.arange(1 + skip, 381), 390]
    price = np.full(number.size, 10_000.0)
    return CandleColumns(
        start + number * np.timedelta64(1, "m"), price, price, price, price, price
    )


def _joined(*parts: CandleColumns) -> CandleColumns:
    return CandleColumns(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("end", "open", "high", "low", "close", "volume")
        )
    )


def test_minutes_of_whole_sessions_have_nothing_odd() -> None:
    candles = _joined(_minutes("2025-09-01"), _minutes("2025-09-02"))
    assert check_columns(candles, STOCK, MINUTE).findings == ()


def test_missing_minutes_and_sessions_are_counted() -> None:
    candles = _joined(_minutes("2025-09-01", skip=3), _minutes("2025-09-03"))
    quality = check_columns(candles, STOCK, MINUTE)
    assert _kinds(quality) == {Oddity.MISSING_SESSION: 1, Oddity.MISSING_MINUTE: 3}
    assert "on 1 of 2 sessions" in quality.findings[1].detail


@pytest.mark.parametrize(("length", "count"), [(5, 77), (10, 39), (30, 13), (60, 7)])
def test_whole_sessions_of_larger_candles_are_complete(length: int, count: int) -> None:
    from kisbt.candles.resample import resample

    candles = resample(_minutes("2025-09-01"), length)
    assert len(candles) == count
    assert check_columns(candles, STOCK, Interval(length)).findings == ()


def test_a_minute_outside_its_session_is_found() -> None:
    early = CandleColumns(
        np.array(["2025-09-01T09:00:00"], "datetime64[s]"),
        *(np.array([10_000.0]) for _name in range(5)),
    )
    quality = check_columns(
        _joined(early, _minutes("2025-09-01")), STOCK, MINUTE, adjusted=True
    )
    assert _kinds(quality) == {Oddity.WRONG_END: 1}


@pytest.mark.parametrize(("day", "beyond"), [("2025-09-02", 381), ("2025-09-03", 0)])
def test_minutes_are_held_against_the_session_before(day: str, beyond: int) -> None:
    second = _minutes(day)
    doubled = CandleColumns(second.end, *(second.close * 2 for _name in range(5)))
    candles = _joined(_minutes("2025-09-01"), doubled)
    kosdaq = Instrument(symbol="091990", market=Market.KOSDAQ)
    quality = check_columns(candles, kosdaq, MINUTE)
    assert _kinds(quality).get(Oddity.BEYOND_LIMIT, 0) == beyond
