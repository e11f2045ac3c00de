from pathlib import Path

import numpy as np
import pytest

from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore, OnConflict
from kisbt.errors import BadCandle, DataError, InputError, MissingCandles
from kisbt.model.candle import DAILY, MINUTE, Interval
from kisbt.model.instrument import Instrument, Market, Product


def daily(*rows: tuple[str, float, float]) -> CandleColumns:
    """Candles of (date, close, volume) that opened, rose and fell a little."""
    close = np.array([row[1] for row in rows], np.float64)
    return CandleColumns(
        np.array([f"{row[0]}T15:30:00" for row in rows], "datetime64[s]"),
        close,
        close + 1,
        close - 1,
        close,
        np.array([row[2] for row in rows], np.float64),
    )


DAYS = daily(("2024-01-02", 100, 10), ("2024-01-03", 101, 11), ("2024-01-04", 102, 12))


def _same(left: CandleColumns, right: CandleColumns) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("end", "open", "high", "low", "close", "volume")
    )


def test_the_layout_is_a_folder_for_each_kind(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.write("005930", DAILY, DAYS)
    store.write("005930", DAILY, DAYS, adjusted=False)
    store.write("005930", MINUTE, DAYS)
    files = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.csv"))
    assert files == ["1d-raw/005930.csv", "1d/005930.csv", "1m/005930.csv"]
    assert _same(store.read("005930", DAILY), DAYS)
    assert store.symbols(DAILY) == store.symbols(Interval(5)) == ("005930",)
    assert store.has("005930", Interval(5))
    assert not store.has("000660", DAILY)


def test_silent_rows_are_no_bars_unless_asked_for(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    (tmp_path / "1d").mkdir()
    (tmp_path / "1d" / "005930.csv").write_text(
        "datetime,open,high,low,close,volume\n"
        "2024-01-02 15:30:00,100,101,99,100,10\n"
        "2024-01-03 15:30:00,0,0,0,100,0\n"
        "2024-01-04 15:30:00,0,0,0,100,77\n"
        "2024-01-05 15:30:00,100,100,100,100,0\n"
        "2024-01-08 15:30:00,100,101,99,101,5\n"
    )
    assert store.read("005930", DAILY).close.tolist() == [100, 101]
    assert len(store.read("005930", DAILY, keep_silent=True)) == 5


@pytest.mark.parametrize("listed", [True, False])
def test_an_index_keeps_sessions_without_volume(tmp_path: Path, listed: bool) -> None:
    store = CandleStore(tmp_path)
    symbol = "990100" if listed else "KOSPI200"
    if listed:
        store.add_instruments([Instrument(symbol=symbol, product=Product.INDEX)])
    store.write(symbol, DAILY, daily(("2024-01-02", 100, 0), ("2024-01-03", 101, 1)))
    assert len(store.read(symbol, DAILY)) == 2


def test_missing_candles_name_the_file_and_the_command(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    with pytest.raises(MissingCandles) as caught:
        store.read("005930", Interval(5))
    assert str(tmp_path / "1m" / "005930.csv") in str(caught.value)
    assert "kisbt data import FILE --symbol 005930 --interval 1m" in str(caught.value)
    store.write("005930", DAILY, DAYS)
    with pytest.raises(MissingCandles, match=r"--raw.*Adjusted ones are there"):
        store.read("005930", DAILY, adjusted=False)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (("2024-01-02 00:00:00", "2024-01-03 00:00:00"), "line 2: .*no END label"),
        (("2024-01-02 15:00:00", "2024-01-02 15:30:00"), "line 3: a second candle"),
    ],
)
def test_daily_candles_need_their_session_close(tmp_path: Path, times, said) -> None:
    (tmp_path / "1d").mkdir()
    rows = [f"{time},1,1,1,1,1\n" for time in times]
    (tmp_path / "1d" / "005930.csv").write_text(
        "datetime,open,high,low,close,volume\n" + "".join(rows)
    )
    with pytest.raises(BadCandle, match=said):
        CandleStore(tmp_path).read("005930", DAILY)


def test_minutes_are_resampled_unless_they_have_a_folder(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    ends = np.datetime64("2024-01-03T09:01:00") + np.arange(10) * np.timedelta64(1, "m")
    price = np.arange(100.0, 110.0)
    store.write(
        "005930", MINUTE, CandleColumns(ends, price, price, price, price, price)
    )
    made = store.read("005930", Interval(5))
    assert made.close.tolist() == [104, 109]
    own = made.slice(0, 1)
    store.write("005930", Interval(5), own)
    assert len(store.read("005930", Interval(5))) == 1


def test_merge_adds_and_reports(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    first = store.merge({"005930": DAYS.slice(0, 2)}, DAILY)["005930"]
    assert (first.added, first.same, first.kept) == (2, 0, 0)
    second = store.merge({"005930": DAYS.slice(1, 3)}, DAILY)["005930"]
    assert (second.added, second.same, second.replaced, second.kept) == (1, 1, 0, 1)
    assert _same(store.read("005930", DAILY), DAYS)


def test_merging_the_same_again_writes_nothing(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    path = store.merge({"005930": DAYS}, DAILY)["005930"].path
    before = path.stat()
    assert store.merge({"005930": DAYS}, DAILY)["005930"].same == 3
    assert path.stat().st_ino == before.st_ino


def test_a_conflict_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.merge({"000660": DAYS}, DAILY)
    other = daily(("2024-01-03", 101.5, 11), ("2024-01-05", 103, 1))
    with pytest.raises(DataError, match=r"1 of these .*close 101, volume 11 → 101.5"):
        store.merge({"005930": DAYS, "000660": other}, DAILY)
    assert not store.has("005930", DAILY)
    assert _same(store.read("000660", DAILY), DAYS)


def test_replace_takes_the_new_candles_and_keeps_the_rest(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.merge({"005930": DAYS}, DAILY)
    other = daily(("2024-01-03", 101.2, 11), ("2024-01-05", 103, 1))
    report = store.merge({"005930": other}, DAILY, on_conflict=OnConflict.REPLACE)
    row = report["005930"]
    assert (row.added, row.replaced, row.kept) == (1, 1, 2)
    assert store.read("005930", DAILY).close.tolist() == [100, 101.2, 102, 103]


def test_a_part_on_another_basis_is_refused_even_with_replace(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.merge({"005930": DAYS}, DAILY)
    half = daily(("2024-01-03", 50.5, 22), ("2024-01-04", 51, 24))
    with pytest.raises(DataError, match=r"0\.5 times the stored ones"):
        store.merge({"005930": half}, DAILY, on_conflict=OnConflict.REPLACE)
    whole = daily(
        ("2024-01-02", 50, 20), ("2024-01-03", 50.5, 22), ("2024-01-04", 51, 1)
    )
    store.merge({"005930": whole}, DAILY, on_conflict=OnConflict.REPLACE)
    assert store.read("005930", DAILY).close.tolist() == [50, 50.5, 51]


def test_the_hash_is_of_the_candles_not_of_the_file(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    path = store.write("005930", DAILY, DAYS)
    before = store.content_hash(["005930"], DAILY)
    path.write_bytes(
        path.read_bytes().replace(b"\n", b"\r\n").replace(b"100", b"100.0")
    )
    assert store.content_hash(["005930"], DAILY) == before
    store.write("005930", DAILY, DAYS.slice(0, 2))
    assert store.content_hash(["005930"], DAILY) != before


def test_instruments_come_from_symbols_csv(tmp_path: Path) -> None:
    (tmp_path / "symbols.csv").write_text(
        "\ufeffsymbol,name,market,product,leverage,first\n"
        "A091990,셀트리온헬스케어,KOSDAQ,,,2017\n"
        "122630,KODEX 레버리지,KOSPI,ETF,2,\n"
        "KOSPI,코스피,kospi,index,,\n",
        encoding="utf-8",
    )
    store = CandleStore(tmp_path)
    assert store.instruments() == {
        "091990": Instrument(
            symbol="091990", name="셀트리온헬스케어", market=Market.KOSDAQ
        ),
        "122630": Instrument(
            symbol="122630", name="KODEX 레버리지", product=Product.ETF, leverage=2
        ),
        "KOSPI": Instrument(symbol="KOSPI", name="코스피", product=Product.INDEX),
    }


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("code,name\n", 1, "no column symbol"),
        ("symbol,market\n005930,NYSE\n", 2, "market 'NYSE'"),
        ("symbol,product\n005930,STOCK\n000660,BOND\n", 3, "product 'BOND'"),
        ("symbol\n5930\n", 2, "keep leading zeros"),
        ("symbol\n005930\n005930\n", 3, "listed twice"),
        ("symbol,leverage\n122630,x\n", 2, "leverage 'x'"),
        ("symbol,leverage\n122630,nan\n", 2, "leverage 'nan'"),
    ],
)
def test_a_broken_symbols_csv_names_its_line(tmp_path, text, line, said) -> None:
    (tmp_path / "symbols.csv").write_text(text)
    with pytest.raises(BadCandle, match=said) as caught:
        CandleStore(tmp_path).instruments()
    assert caught.value.line == line


def test_symbols_csv_in_cp949_says_so(tmp_path: Path) -> None:
    (tmp_path / "symbols.csv").write_bytes("symbol,name\n005930,삼성".encode("cp949"))
    with pytest.raises(BadCandle, match="not UTF-8"):
        CandleStore(tmp_path).instruments()


def test_an_unlisted_symbol_is_assumed_with_one_warning(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.add_instruments([Instrument(symbol="091990", market=Market.KOSDAQ)])
    found, warnings = store.describe(["091990", "KOSPI", "005930", "000660"])
    assert found["091990"].market is Market.KOSDAQ
    assert found["KOSPI"].product is Product.INDEX
    assert found["005930"] == Instrument(symbol="005930")
    assert len(warnings) == 1
    assert "005930, 000660" in warnings[0]
    assert "KOSPI, " not in warnings[0]


def test_added_instruments_are_read_again_by_others(tmp_path: Path) -> None:
    item = Instrument(symbol="252670", name='인버스,"2X"', leverage=-2, product="ETF")  # type: ignore[arg-type]
    CandleStore(tmp_path).add_instruments([item])
    CandleStore(tmp_path).add_instruments(
        [Instrument(symbol="005930", name="삼성전자")]
    )
    assert CandleStore(tmp_path).instruments()["252670"] == item
    assert list(CandleStore(tmp_path).instruments()) == ["005930", "252670"]


def test_find_takes_codes_and_names(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.add_instruments(
        [
            Instrument(symbol="005930", name="삼성전자"),
            Instrument(symbol="009150", name="삼성전기"),
            Instrument(symbol="990001", name="쌍둥이"),
            Instrument(symbol="990002", name="쌍둥이"),
        ]
    )
    assert store.find("삼성전자") == store.find(" 005930 ") == store.find("A005930")
    assert store.find("000660") == "000660"
    assert store.find("kospi") == "KOSPI"
    with pytest.raises(InputError, match="Did you mean 삼성전자, 삼성전기"):
        store.find("삼성전")
    with pytest.raises(InputError, match="990001, 990002"):
        store.find("쌍둥이")
    with pytest.raises(InputError, match="neither a code nor a name"):
        store.find("432")
