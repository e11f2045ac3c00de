from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kisbt.candles import sample
from kisbt.candles.quality import Oddity, check_symbol
from kisbt.candles.store import CandleStore
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.instrument import Product

BUNDLED = Path(__file__).parents[3] / "data"
STOCKS = ("990001", "990002", "990003", "990004", "990005")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sample")
    sample.main([str(made)])
    return made


@pytest.fixture(scope="module")
def store(folder: Path) -> CandleStore:
    return CandleStore(folder)


def _files(folder: Path) -> Iterator[Path]:
    yield from (folder / "README.md", folder / "symbols.csv")
    yield from sorted(folder.glob("1[dm]/99*.csv"))


def test_the_bundled_files_are_what_the_generator_makes(folder: Path) -> None:
    made = {str(path.relative_to(folder)): path for path in _files(folder)}
    bundled = {str(path.relative_to(BUNDLED)): path for path in _files(BUNDLED)}
    assert made.keys() == bundled.keys()
    assert len(made) == 14
    for name, path in made.items():
        # A checkout may have changed the line ends.
        text = bundled[name].read_bytes().replace(b"\r\n", b"\n")
        assert text == path.read_bytes(), name


def test_the_sample_is_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in _files(folder)) < 3_000_000


def test_the_sample_calls_itself_synthetic(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "SYNTHETIC" in text
    assert "가상 데이터" in text
    assert str(sample.SEED) in text
    assert "python -m kisbt.candles.sample" in text


@pytest.mark.parametrize("symbol", [*STOCKS, "990100"])
@pytest.mark.parametrize("interval", [DAILY, MINUTE], ids=str)
def test_the_rules_of_the_exchange_hold(store, symbol, interval) -> None:
    # The sample has no capital changes, so its candles are raw ones.
    path = store.file(symbol, DAILY, adjusted=False)
    if interval.is_daily:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(store.file(symbol, DAILY).read_bytes())
    quality = check_symbol(store, symbol, interval, adjusted=not interval.is_daily)
    allowed = {Oddity.MISSING_MINUTE}
    if symbol == "990004":
        allowed |= {Oddity.HALT}
    assert {finding.kind for finding in quality.findings} <= allowed
    assert quality.off_grid_share == 0


def test_the_sample_covers_every_session(store: CandleStore) -> None:
    every = default_calendar().sessions(sample.FIRST, sample.LAST)
    for symbol in (*STOCKS[:4], "990100"):
        candles = store.read(symbol, DAILY, keep_silent=True)
        assert np.array_equal(candles.sessions, every)
    late = store.read("990005", DAILY).sessions
    assert late[0] == np.datetime64("2018-05-17")
    assert np.array_equal(late, every[every >= late[0]])


@pytest.mark.parametrize("symbol", [*STOCKS, "990100"])
def test_minutes_add_up_to_their_days(store: CandleStore, symbol: str) -> None:
    minutes = store.read(symbol, MINUTE)
    days, starts = np.unique(minutes.sessions, return_index=True)
    daily = store.read(symbol, DAILY).slice(-sample.MINUTE_SESSIONS, None)
    assert np.array_equal(days, daily.sessions)
    stops = np.r_[starts[1:], len(minutes)] - 1
    assert np.array_equal(minutes.open[starts], daily.open)
    assert np.array_equal(np.maximum.reduceat(minutes.high, starts), daily.high)
    assert np.array_equal(np.minimum.reduceat(minutes.low, starts), daily.low)
    assert np.array_equal(minutes.close[stops], daily.close)
    assert np.array_equal(np.add.reduceat(minutes.volume, starts), daily.volume)
    assert np.array_equal(minutes.end[stops], daily.end)


def test_special_days_happen(store: CandleStore) -> None:
    halts = store.read("990004", DAILY, keep_silent=True)
    silent = halts.sessions[halts.volume == 0]
    assert (
        silent.tolist() == np.arange("2019-08-05", "2019-08-08", dtype="M8[D]").tolist()
    )
    bio = store.read("990004", DAILY)
    change = bio.close[1:] / bio.close[:-1] - 1
    assert (change > 0.29).sum() == 3
    assert (change < -0.29).sum() == 2
    locked = bio.between(np.datetime64("2017-06-12"), np.datetime64("2017-06-12"))
    assert locked.low[0] == locked.high[0]


def test_prices_stay_believable(store: CandleStore) -> None:
    for symbol in STOCKS:
        close = store.read(symbol, DAILY).close
        assert close.min() > 5_000
        assert close.max() < 500_000
        change = np.abs(np.diff(close) / close[:-1])
        assert 0.008 < np.median(change) < 0.03


def test_the_instruments_are_listed(store: CandleStore) -> None:
    listed = store.instruments()
    assert listed["990001"].name == "가상전자"
    assert [str(listed[symbol].market) for symbol in STOCKS] == [
        *("KOSPI",) * 3,
        *("KOSDAQ",) * 2,
    ]
    assert listed["990100"].product is Product.INDEX
    assert store.describe(store.symbols(DAILY))[1] == ()
