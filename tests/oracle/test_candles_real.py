"""The importer and the checks against real Korean candles."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kisbt.candles.adjust import capital_changes, volume_steps
from kisbt.candles.importer import import_candles
from kisbt.candles.labels import Label
from kisbt.candles.quality import Oddity, check_symbol
from kisbt.candles.reader import ImportRequest
from kisbt.candles.resample import resample
from kisbt.candles.store import CandleStore
from kisbt.errors import BadCandle, InputError
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.instrument import Instrument, Market
from tests.helpers.real_store import build_real_store, import_some

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(real_candles: Path, tmp_path_factory: pytest.TempPathFactory) -> CandleStore:
    pytest.importorskip("pyarrow")
    return build_real_store(real_candles, tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def adjusted(real_candles: Path) -> dict[str, pd.DataFrame]:
    frame = pd.read_parquet(real_candles / "daily_adjusted.parquet")
    return dict(iter(frame.groupby("symbol", sort=False)))


def test_all_200_symbols_are_imported_with_what_is_known_about_them(
    real_candles: Path, tmp_path: Path
) -> None:
    report = import_candles(
        real_candles / "daily_adjusted.parquet", CandleStore(tmp_path), ImportRequest()
    )
    known = pd.read_csv(real_candles / "anomalies.csv")["kind"].value_counts()
    (file,) = report.files
    assert len(report.symbols) == 200
    assert sum(row.merge.added for row in report.symbols) == file.rows == 767_736
    assert file.halts == known["halt_zero_ohl"]
    assert file.widened == known["ohlc_inconsistent"]
    assert file.silent == known["traded_prices_zero_volume"]
    assert file.widest == 125


def test_imported_candles_are_those_of_the_source(store, adjusted) -> None:
    for symbol, frame in adjusted.items():
        candles = store.read(symbol, DAILY, keep_silent=True)
        assert np.array_equal(
            candles.sessions, frame["date"].to_numpy().astype("datetime64[D]")
        )
        for name in ("open", "close", "volume"):
            assert np.array_equal(getattr(candles, name), frame[name].to_numpy())
        sound = frame["high"] >= frame[["open", "low", "close"]].max(axis=1)
        assert np.array_equal(candles.high[sound], frame["high"].to_numpy()[sound])


def test_silent_days_give_no_bar(store, adjusted) -> None:
    for symbol, frame in adjusted.items():
        traded = (frame["volume"] > 0) & (frame["open"] > 0)
        assert len(store.read(symbol, DAILY)) == traded.sum()


def test_csv_and_parquet_give_the_same_candles(
    real_candles: Path, store: CandleStore, tmp_path: Path
) -> None:
    other = CandleStore(tmp_path)
    report = import_candles(real_candles / "daily_csv", other, ImportRequest())
    symbols = [row.symbol for row in report.symbols]
    assert len(symbols) == 20
    assert other.content_hash(symbols, DAILY) == store.content_hash(symbols, DAILY)


def test_minutes_end_with_their_session_and_agree_with_the_day(store, adjusted) -> None:
    symbols = store.symbols(MINUTE)
    assert len(symbols) == 29
    compared = 0
    for symbol in symbols:
        candles = store.read(symbol, MINUTE)
        days = resample(candles, 1440)
        assert np.array_equal(np.unique(candles.sessions), days.sessions)
        if symbol not in adjusted:
            continue
        daily = store.read(symbol, DAILY)
        same = np.searchsorted(daily.sessions, days.sessions)
        assert np.array_equal(daily.end[same], days.end)
        for name in ("open", "high", "low", "close"):
            assert np.array_equal(getattr(daily, name)[same], getattr(days, name))
        # The rest of the day is traded outside regular hours.
        share = days.volume / daily.volume[same]
        assert ((share > 0.93) & (share < 1.001)).all()
        compared += len(days)
    assert compared > 100


def test_start_and_end_labels_of_the_same_minutes_agree(
    real_candles: Path, store: CandleStore, tmp_path: Path
) -> None:
    frame = pd.read_csv(real_candles / "minute/402340_1m.csv", parse_dates=["datetime"])
    frame["datetime"] += pd.Timedelta(minutes=1)  # 15:30 becomes 15:31
    path = tmp_path / "end.csv"
    frame.iloc[::-1].to_csv(path, index=False)
    other = CandleStore(tmp_path / "store")
    report = import_candles(
        path, other, ImportRequest(symbol="402340", interval=MINUTE)
    )
    assert report.files[0].label is Label.END
    assert report.files[0].order == "newest first"
    hashes = {item.content_hash(["402340"], MINUTE) for item in (store, other)}
    assert len(hashes) == 1


def test_end_labelled_minutes_need_the_user_s_word(
    real_candles: Path, tmp_path: Path
) -> None:
    path = real_candles / "minute/naver_1m_2019-09-20.parquet"
    store = CandleStore(tmp_path)
    with pytest.raises(InputError, match="--label"):
        import_candles(path, store, ImportRequest(interval=MINUTE))
    request = ImportRequest(interval=MINUTE, label=Label.END)
    report = import_candles(path, store, request)
    assert len(report.symbols) == 13
    source = pd.read_parquet(path).set_index("symbol").loc["005930"]
    candles = store.read("005930", MINUTE, keep_silent=True)
    assert np.array_equal(
        candles.end, source["datetime"].to_numpy().astype("datetime64[s]")
    )


def test_no_adjusted_candle_is_found_broken_or_past_its_limit(store, adjusted) -> None:
    expected = {Oddity.HALT, Oddity.SILENT, Oddity.VOLUME_STEP}
    for symbol in adjusted:
        quality = check_symbol(store, symbol, DAILY)
        assert {finding.kind for finding in quality.findings} <= expected, symbol


def test_etfs_and_indices_have_nothing_odd(store: CandleStore) -> None:
    for symbol in ("122630", "252670", "114800", "KOSPI", "KOSDAQ", "KOSPI200"):
        assert check_symbol(store, symbol, DAILY).findings == (), symbol


def test_official_raw_candles_obey_ticks_and_limits(
    real_candles: Path, tmp_path: Path
) -> None:
    frame = pd.read_parquet(real_candles / "krx_official_windows_2021_2026.parquet")
    store = CandleStore(tmp_path / "store")
    store.add_instruments(
        Instrument(symbol=symbol, market=Market(market.split()[0]))
        for symbol, market in frame.groupby("symbol")["market"].first().items()
    )
    path = tmp_path / "official.parquet"
    frame.to_parquet(path)
    import_candles(path, store, ImportRequest(adjusted=False))
    found = [
        (symbol, finding)
        for symbol in store.symbols(DAILY, adjusted=False)
        for finding in check_symbol(store, symbol, DAILY, adjusted=False).findings
    ]
    usual = {Oddity.HALT, Oddity.HALF_TICK, Oddity.MISSING_SESSION}
    assert {finding.kind for _symbol, finding in found} == usual | {Oddity.BEYOND_LIMIT}
    # The one capital change inside a window: the exchange's base price is not the
    # last close.
    ((symbol, beyond),) = [row for row in found if row[1].kind is Oddity.BEYOND_LIMIT]
    rows = frame[frame["symbol"] == symbol].set_index("date")
    day = pd.Timestamp(beyond.first).normalize()
    assert beyond.count == 1
    assert rows.loc[day, "prev_close_base"] * 2 == pytest.approx(
        rows["close"].shift(1)[day], rel=0.01
    )


def test_a_split_shows_in_raw_and_in_adjusted_candles(
    real_candles: Path, store: CandleStore, tmp_path: Path
) -> None:
    raw_store = CandleStore(tmp_path)
    import_candles(
        real_candles / "005930_unadjusted_2017_2018.csv",
        raw_store,
        ImportRequest(symbol="005930", adjusted=False),
    )
    split = np.datetime64("2018-05-04")
    raw = raw_store.read("005930", DAILY, adjusted=False)
    (change,) = capital_changes(raw, store.read("005930", DAILY))
    assert change.session == split
    assert change.price_ratio == pytest.approx(1 / 50, rel=1e-3)
    quality = check_symbol(raw_store, "005930", DAILY, adjusted=False)
    found = {finding.kind: finding for finding in quality.findings}
    assert found[Oddity.UNADJUSTED_SPLIT].first == split
    assert Oddity.BEYOND_LIMIT not in found


@pytest.mark.parametrize(
    ("symbol", "session"),
    [
        ("005930", "2018-05-04"),
        ("035420", "2018-10-12"),
        ("035720", "2021-04-15"),
        ("002790", "2015-05-08"),
    ],
)
def test_known_splits_show_as_volume_steps(store, symbol: str, session: str) -> None:
    steps = volume_steps(store.read(symbol, DAILY, keep_silent=True))
    assert np.datetime64(session) in [step.session for step in steps]


def test_a_collector_s_broken_days_are_refused_by_line(
    real_candles: Path, tmp_path: Path
) -> None:
    path = real_candles / "daily_unadjusted_2010_2019.parquet"
    store = CandleStore(tmp_path)
    # It also has flat rows on holidays declared late, such as 2015-08-14.
    with pytest.raises(BadCandle, match=r"2015-08-14 is no session .*203 such rows"):
        import_candles(path, store, ImportRequest(adjusted=False))
    request = ImportRequest(adjusted=False, skip_outside=True)
    with pytest.raises(BadCandle, match="row 35661: open is 0; prices are above zero"):
        import_candles(path, store, request)
    frame = pd.read_parquet(path)
    better = tmp_path / "better.parquet"
    frame[frame["open"] > 0].to_parquet(better)
    with pytest.raises(BadCandle, match=r"row \d+: .*outside low to high in 35 rows"):
        import_candles(better, store, request)
    assert not store.symbols(DAILY, adjusted=False)
    request = ImportRequest(adjusted=False, skip_outside=True, allow_inconsistent=True)
    (file,) = import_candles(better, store, request).files
    assert (file.skipped, file.widened) == (203, 35)


def test_a_part_of_the_real_candles_can_be_built(
    real_candles: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    chosen = ("005930", "402340", "KOSPI")
    part = build_real_store(real_candles, tmp_path, symbols=chosen)
    assert part.symbols(DAILY) == ("005930", "KOSPI")
    assert part.symbols(MINUTE) == ("402340",)
    assert set(part.instruments()) == set(chosen)
    request = ImportRequest(interval=DAILY)
    path = real_candles / "etf_daily.parquet"
    assert import_some(path, part, request, ("005930",)) is None
