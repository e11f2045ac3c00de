from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kisbt.candles.columns import CandleColumns
from kisbt.candles.importer import ImportReport, import_candles
from kisbt.candles.labels import Label
from kisbt.candles.reader import FileReport, ImportRequest
from kisbt.candles.store import CandleStore
from kisbt.errors import BadCandle, DataError, InputError, KisbtError, StorageError
from kisbt.model.candle import DAILY, MINUTE, Interval
from kisbt.model.instrument import Instrument, Market, Product

DAILY_CSV = (
    "date,open,high,low,close,volume\n"
    "2024-01-02,78200,79800,78200,79600,17142847\n"
    "2024-01-03,78500,78800,77000,77000,21753644\n"
    "2024-01-04,76100,77300,76100,76600,15324439\n"
)
ENDS = ["2024-01-02T15:30:00", "2024-01-03T15:30:00", "2024-01-04T15:30:00"]


def _write(folder: Path, text: str | bytes, name: str = "candles.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _import(
    folder: Path, text: str | bytes, request: ImportRequest | None = None
) -> tuple[CandleColumns, FileReport, ImportReport]:
    request = request or ImportRequest(symbol="005930")
    store = CandleStore(folder / "store")
    report = import_candles(_write(folder, text), store, request)
    symbol = report.symbols[0].symbol
    candles = store.read(
        symbol, request.interval, adjusted=request.adjusted, keep_silent=True
    )
    return candles, report.files[0], report


def _refused(
    folder: Path, text: str | bytes, request: ImportRequest | None = None
) -> KisbtError:
    """Import, expecting an error; check that nothing was written."""
    with pytest.raises(KisbtError) as caught:
        _import(folder, text, request)
    assert not list((folder / "store").rglob("*"))
    assert "candles.csv" in str(caught.value)
    return caught.value


def test_a_plain_file_is_imported(tmp_path: Path) -> None:
    candles, file, report = _import(tmp_path, DAILY_CSV)
    assert np.datetime_as_string(candles.end).tolist() == ENDS
    assert candles.close.tolist() == [79600, 77000, 76600]
    assert candles.volume.tolist() == [17142847, 21753644, 15324439]
    assert (file.encoding, file.order, file.rows) == ("ASCII", "oldest first", 3)
    assert report.symbols[0].merge.added == 3


KOREAN = (
    "일자,종가,대비,등락률,시가,고가,저가,거래량\n"
    '2024/01/04,"76,600",-400,-0.52,"76,100","77,300","76,100","15,324,439"\n'
    '2024/01/03,"77,000","-2,600",-3.27,"78,500","78,800","77,000","21,753,644"\n'
    '2024/01/02,"79,600","1,100",1.40,"78,200","79,800","78,200","17,142,847"\n'
)


@pytest.mark.parametrize(
    ("codec", "name"), [("cp949", "CP949"), ("utf-8", "UTF-8"), ("utf-16", "UTF-16")]
)
def test_the_exchange_s_own_export_is_understood(tmp_path, codec, name) -> None:
    text = KOREAN.replace("\n", "\r\n").encode(codec)
    candles, file, _report = _import(tmp_path, text)
    assert candles.close.tolist() == [79600, 77000, 76600]
    assert candles.volume.tolist() == [17142847, 21753644, 15324439]
    assert (file.encoding, file.order) == (name, "newest first")
    assert file.ignored == ("대비", "등락률")
    assert file.columns["close"] == "종가"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + DAILY_CSV,
        DAILY_CSV.replace(",", "\t"),
        DAILY_CSV.replace(",", ";"),
        DAILY_CSV.replace("2024-01-0", "2024010"),
        DAILY_CSV.replace("2024-01-0", "2024/1/"),
        DAILY_CSV.replace("2024-01-0", "2024.01.0"),
        DAILY_CSV.replace("2024-01-02", "2024. 1. 2.")
        .replace("2024-01-03", "2024. 1. 3.")
        .replace("2024-01-04", "2024. 1. 4."),
        DAILY_CSV.replace("2024-01-02", "2024년 1월 2일")
        .replace("2024-01-03", "2024년 1월 3일")
        .replace("2024-01-04", "2024년 1월 4일"),
        DAILY_CSV.replace(",78200,79800", " 00:00:00,78200,79800")
        .replace(",78500,78800", " 00:00:00,78500,78800")
        .replace(",76100,77300", " 00:00:00,76100,77300"),
        DAILY_CSV.upper(),
        DAILY_CSV.replace("date,open", "<DATE>,<OPEN>"),
        DAILY_CSV.replace("date,", ","),
        DAILY_CSV.replace("date,open", "Date , Open Price"),
        "삼성전자 일별 시세\n\n" + DAILY_CSV,
        DAILY_CSV.replace("\n", "\n\n"),
        "\n".join('"' + line.replace(",", '","') + '"' for line in DAILY_CSV.split()),
    ],
)
def test_ways_of_writing_the_same_candles(tmp_path: Path, text: str) -> None:
    candles, _file, _report = _import(tmp_path, text)
    assert np.datetime_as_string(candles.end).tolist() == ENDS
    assert candles.open.tolist() == [78200, 78500, 76100]


def test_rows_in_no_order_are_sorted_and_said(tmp_path: Path) -> None:
    header, first, second, third = DAILY_CSV.splitlines()
    text = "\n".join([header, second, first, third])
    candles, file, _report = _import(tmp_path, text)
    assert file.order == "mixed"
    assert np.datetime_as_string(candles.end).tolist() == ENDS


def test_the_close_of_odd_sessions_is_the_end(tmp_path: Path) -> None:
    text = "date,open,high,low,close,volume\n" + "".join(
        f"{day},10,10,10,10,1\n" for day in ("2016-07-29", "2016-08-01", "2023-11-16")
    )
    candles, _file, _report = _import(tmp_path, text)
    assert np.datetime_as_string(candles.end).tolist() == [
        "2016-07-29T15:00:00",
        "2016-08-01T15:30:00",
        "2023-11-16T16:30:00",
    ]


def _row(changed: str) -> str:
    """DAILY_CSV with its second row (line 3) replaced."""
    lines = DAILY_CSV.splitlines()
    return "\n".join([*lines[:2], changed, *lines[3:]]) + "\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (_row("2024-01-03,78500,78800,77000,,1"), 3, "close is empty"),
        (_row("2024-01-03,78500,78800,77000,nan,1"), 3, "close is 'nan'"),
        (_row("2024-01-03,78500,inf,77000,77000,1"), 3, "high is 'inf'"),
        (_row("2024-01-03,abc,78800,77000,77000,1"), 3, "open is 'abc'"),
        (_row("2024-01-03,78_500,78800,77000,77000,1"), 3, "open is '78_500'"),
        (_row('2024-01-03,"78,50",78800,77000,77000,1'), 3, "open is '78,50'"),
        (_row("2024-01-03,78500,78800,77000"), 3, "close is empty"),
        (_row("2024-01-03,78,500,78800,77000,77000,1"), 3, "thousands separators"),
        (_row("2024-01-03,-78500,78800,77000,77000,1"), 3, "open is -78,500"),
        (_row("2024-01-03,78500,78800,0,77000,1"), 3, "low is 0"),
        (_row("2024-01-03,0,0,0,0,0"), 3, "close is 0"),
        (_row("2024-01-03,78500,78800,77000,77000,-1"), 3, "volume is -1"),
        (_row("2024-01-03,78500,70000,77000,77000,1"), 3, "outside low to high"),
        (_row("2024-01-02,78500,78800,77000,77000,1"), 3, "already, in line 2"),
        (_row("2024-01-06,78500,78800,77000,77000,1"), 3, "2024-01-06 is no session"),
        (_row("2024-01-01,78500,78800,77000,77000,1"), 3, "2024-01-01 is no session"),
        (_row("1999-01-05,78500,78800,77000,77000,1"), 3, "1999-01-05 is no session"),
        (_row("2031-01-07,78500,78800,77000,77000,1"), 3, "2031-01-07 is no session"),
        (_row("2024-02-30,78500,78800,77000,77000,1"), 3, "'2024-02-30' is no date"),
        (_row("20240103,78500,78800,77000,77000,1"), 3, "as the first one"),
        (_row(",78500,78800,77000,77000,1"), 3, "the date is empty"),
        (DAILY_CSV.replace("2024-01-0", "01/02/202"), 2, "is no date; expected YYYY"),
        (DAILY_CSV.replace("2024-01-0", "24-01-0"), 2, "is no date; expected YYYY"),
        (DAILY_CSV.replace("-02,", "-02T06:30:00Z,"), 2, "time zone; expected Korean"),
        (DAILY_CSV.replace("volume", "amount"), 1, "no column for the volume"),
        (DAILY_CSV.replace("date", "when"), 1, "no column for the date"),
        (DAILY_CSV.replace("high", "종가"), 1, "both '종가' and 'close'"),
        (DAILY_CSV.replace("high", "datetime"), 1, "both 'date' and 'datetime'"),
        (DAILY_CSV.split("\n", 1)[1], 1, "is no header I know"),
        ("", 0, "is empty"),
        (" \n\n", 0, "is empty"),
        (DAILY_CSV.split("\n")[0] + "\n", 0, "no candles below the header"),
        (KOREAN.encode("cp949").decode("latin-1"), 1, "CP949 that was read as"),
        (KOREAN.encode("cp949").decode("utf-8", "replace"), 1, "CP949 that was read"),
        (DAILY_CSV.encode() + b"\xff\x81\xff", 5, "neither UTF-8 nor CP949"),
    ],
)
def test_a_broken_file_names_file_and_line(tmp_path, text, line, said) -> None:
    error = _refused(tmp_path, text)
    assert isinstance(error, BadCandle)
    assert said in str(error)
    assert error.line == line
    assert error.file == str(tmp_path / "candles.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"PK\x03\x04rest", "Excel"),
        (b"\x1f\x8brest", "gzip"),
        (b"date,open\0,high", "binary"),
        (b"\xff\xfe\x00", "neither UTF-8"),
        (b"PAR1rest", "broken Parquet"),
    ],
)
def test_a_binary_file_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    assert said in str(_refused(tmp_path, text))


def test_a_missing_file_and_a_missing_symbol_are_input_errors(tmp_path: Path) -> None:
    store = CandleStore(tmp_path / "store")
    with pytest.raises(InputError, match="does not exist"):
        import_candles(tmp_path / "none.csv", store, ImportRequest(symbol="005930"))
    assert "give --symbol" in str(_refused(tmp_path, DAILY_CSV, ImportRequest()))


def test_a_raw_price_must_be_whole_won(tmp_path: Path) -> None:
    text = DAILY_CSV.replace("79600", "79600.5")
    raw = ImportRequest(symbol="005930", adjusted=False)
    assert "raw prices are whole won" in str(_refused(tmp_path, text, raw))
    candles, _file, _report = _import(tmp_path, text)
    assert candles.close[0] == 79600.5


@pytest.mark.parametrize(
    ("high", "widened"),
    [("79600", 0), ("79595", 1), ("79440.8", 1), ("79440", None)],
)
def test_rounding_of_the_adjustment_is_repaired_within_bounds(
    tmp_path: Path, high: str, widened: int | None
) -> None:
    text = DAILY_CSV.replace("79800", high)
    if widened is None:
        assert "line 2" in str(_refused(tmp_path, text))
        request = ImportRequest(symbol="005930", allow_inconsistent=True)
        candles, file, _report = _import(tmp_path, text, request)
        assert (file.widened, file.widest) == (1, 160)
    else:
        candles, file, _report = _import(tmp_path, text)
        assert file.widened == widened
    assert candles.high[0] == 79600


def test_raw_candles_have_no_rounding_to_repair(tmp_path: Path) -> None:
    raw = ImportRequest(symbol="005930", adjusted=False)
    text = DAILY_CSV.replace("79800", "79599")
    assert "outside low to high in 1 rows" in str(_refused(tmp_path, text, raw))


def test_halts_are_kept_and_counted(tmp_path: Path) -> None:
    text = _row("2024-01-03,0,0,0,79600,0")
    candles, file, _report = _import(tmp_path, text)
    assert (file.halts, file.silent) == (1, 0)
    assert candles.open.tolist() == [78200, 0, 76100]


def test_rows_on_closed_days_are_left_out_on_request(tmp_path: Path) -> None:
    text = DAILY_CSV + "2024-01-06,1,1,1,1,0\n2024-01-07,1,1,1,1,0\n"
    error = _refused(tmp_path, text)
    assert "2 such rows; --skip-outside" in str(error)
    request = ImportRequest(symbol="005930", skip_outside=True)
    candles, file, _report = _import(tmp_path, text, request)
    assert (len(candles), file.skipped, file.rows) == (3, 2, 5)


def test_a_file_of_closed_days_only_is_refused(tmp_path: Path) -> None:
    text = "date,open,high,low,close,volume\n2024-01-06,1,1,1,1,1\n"
    request = ImportRequest(symbol="005930", skip_outside=True)
    assert "no row lies inside" in str(_refused(tmp_path, text, request))


def test_many_symbols_in_one_file_are_told_apart(tmp_path: Path) -> None:
    text = (
        "종목코드,종목명,시장구분,일자,시가,고가,저가,종가,거래량\n"
        "005930,삼성전자,KOSPI,20240102,10,12,9,11,5\n"
        "A091990,셀트리온헬스케어,코스닥,20240102,20,22,19,21,6\n"
        "005930,삼성전자,KOSPI,20240103,11,13,10,12,7\n"
    )
    store = CandleStore(tmp_path / "store")
    report = import_candles(_write(tmp_path, text), store, ImportRequest())
    assert {row.symbol: row.rows for row in report.symbols} == {
        "005930": 2,
        "091990": 1,
    }
    assert store.read("091990", DAILY).close.tolist() == [21]
    listed = store.instruments()
    assert listed["091990"].market is Market.KOSDAQ
    assert listed["005930"].name == "삼성전자"
    assert report.warnings == ()


def test_one_symbol_is_picked_out_of_many(tmp_path: Path) -> None:
    text = (
        "symbol,date,open,high,low,close,volume\n"
        "005930,2024-01-02,1,1,1,1,1\n"
        "000660,2024-01-02,2,2,2,2,2\n"
        "000660,2024-01-03,3,2,3,2,2\n"
    )
    path = _write(tmp_path, text)
    store = CandleStore(tmp_path / "store")
    import_candles(path, store, ImportRequest(symbol="005930"))
    assert store.symbols(DAILY) == ("005930",)
    with pytest.raises(InputError, match="has no candles of 035420; it has 005930"):
        import_candles(path, store, ImportRequest(symbol="035420"))


def test_a_code_without_its_zeros_names_the_line(tmp_path: Path) -> None:
    text = "code,date,open,high,low,close,volume\n660,2024-01-02,2,2,2,2,2\n"
    error = _refused(tmp_path, text, ImportRequest())
    assert "line 2" in str(error)
    assert "keep leading zeros" in str(error)


def test_a_folder_of_files_is_imported_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    _write(folder, DAILY_CSV, "005930.csv")
    _write(folder, KOREAN.encode("cp949"), "A000660.csv")
    _write(folder, DAILY_CSV, "notes.csv")
    _write(folder, DAILY_CSV, "readme.md")
    store = CandleStore(tmp_path / "store")
    shares: list[float] = []
    report = import_candles(folder, store, ImportRequest(), on_progress=shares.append)
    assert store.symbols(DAILY) == ("000660", "005930")
    assert [path.name for path in report.skipped_files] == ["notes.csv"]
    assert shares == sorted(shares)
    _write(folder, DAILY_CSV, "000660.csv")
    with pytest.raises(InputError, match="000660 is in more than one file"):
        import_candles(folder, CandleStore(tmp_path / "other"), ImportRequest())
    _write(folder, _row("2024-01-03,1,1,1,1,x"), "000020.csv")
    other = CandleStore(tmp_path / "other")
    with pytest.raises(BadCandle, match=r"000020\.csv, line 3"):
        import_candles(folder, other, ImportRequest())
    assert not other.path.exists()


def test_a_folder_without_codes_is_refused(tmp_path: Path) -> None:
    store = CandleStore(tmp_path / "store")
    with pytest.raises(InputError, match="no file named by a symbol"):
        import_candles(tmp_path, store, ImportRequest())
    with pytest.raises(InputError, match="leave out --symbol"):
        import_candles(tmp_path, store, ImportRequest(symbol="005930"))


def test_what_a_symbol_is_can_be_said(tmp_path: Path) -> None:
    request = ImportRequest(
        symbol="091990", name="셀트리온", market=Market.KOSDAQ, product=Product.STOCK
    )
    store = CandleStore(tmp_path / "store")
    path = _write(tmp_path, DAILY_CSV)
    assert import_candles(path, store, request).warnings == ()
    assert CandleStore(store.path).instruments()["091990"] == Instrument(
        symbol="091990", name="셀트리온", market=Market.KOSDAQ
    )
    # A later import that says nothing leaves it alone.
    import_candles(path, store, ImportRequest(symbol="091990"))
    assert CandleStore(store.path).instruments()["091990"].market is Market.KOSDAQ


def test_an_unknown_market_gives_one_warning(tmp_path: Path) -> None:
    report = _import(tmp_path, DAILY_CSV)[2]
    assert len(report.warnings) == 1
    assert "taken as KOSPI stocks" in report.warnings[0]


def test_an_index_may_lack_volume(tmp_path: Path) -> None:
    text = "date,open,high,low,close\n2024-01-02,2645.47,2675.8,2641.1,2669.81\n"
    candles, file, _report = _import(tmp_path, text, ImportRequest(symbol="KOSPI"))
    assert candles.close.tolist() == [2669.81]
    assert candles.volume.tolist() == [0]
    assert file.silent == 0


def test_importing_again_adds_only_what_is_new(tmp_path: Path) -> None:
    store = CandleStore(tmp_path / "store")
    request = ImportRequest(symbol="005930")
    import_candles(_write(tmp_path, DAILY_CSV), store, request)
    more = DAILY_CSV + "2024-01-05,76700,77100,76400,76600,11304316\n"
    row = import_candles(_write(tmp_path, more), store, request).symbols[0]
    assert (row.merge.added, row.merge.same) == (1, 3)
    changed = _write(tmp_path, DAILY_CSV.replace("21753644", "1"))
    with pytest.raises(DataError, match="--replace"):
        import_candles(changed, store, request)
    request = ImportRequest(symbol="005930", replace=True)
    assert import_candles(changed, store, request).symbols[0].merge.replaced == 1
    assert store.read("005930", DAILY).volume[1] == 1


def test_adjusted_prices_imported_as_raw_are_pointed_out(tmp_path: Path) -> None:
    text = DAILY_CSV.replace("78200", "78213").replace("77000", "77033")
    request = ImportRequest(symbol="005930", adjusted=False, market=Market.KOSPI)
    report = _import(tmp_path, text, request)[2]
    assert len(report.warnings) == 1
    assert "off the tick grid: these are adjusted" in report.warnings[0]


MINUTES = (
    "datetime,open,high,low,close,volume\n"
    "2025-09-01 09:00:00,145000,145000,143500,143800,3954\n"
    "2025-09-01 09:01:00,144100,144100,143200,143300,1396\n"
    "2025-09-01 15:19:00,144900,145100,144800,144900,746\n"
    "2025-09-01 15:30:00,145000,145000,145000,145000,20726\n"
)
MINUTE_ENDS = ["09:01:00", "09:02:00", "15:20:00", "15:30:00"]
START = ImportRequest(symbol="402340", interval=MINUTE)


def _times(candles: CandleColumns) -> list[str]:
    return [text[11:] for text in np.datetime_as_string(candles.end, unit="s")]


def test_start_labels_become_end_labels_capped_at_the_close(tmp_path: Path) -> None:
    candles, file, _report = _import(tmp_path, MINUTES, START)
    assert _times(candles) == MINUTE_ENDS
    assert (file.label, file.label_given, file.joined) == (Label.START, False, 0)


@pytest.mark.parametrize("close_label", ["15:30:00", "15:31:00"])
def test_end_labels_stay(tmp_path: Path, close_label: str) -> None:
    text = (
        MINUTES.replace("15:19:00", "15:20:00")
        .replace("09:01:00", "09:02:00")
        .replace("09:00:00", "09:01:00")
        .replace("15:30:00", close_label)
    )
    if close_label == "15:30:00":
        error = _refused(tmp_path, text, START)
        assert isinstance(error, InputError)
        assert "--label start" in str(error)
        request = ImportRequest(symbol="402340", interval=MINUTE, label=Label.END)
    else:
        request = START
    candles, file, _report = _import(tmp_path, text, request)
    assert _times(candles) == MINUTE_ENDS
    assert file.label is Label.END


@pytest.mark.parametrize(
    ("date", "clock"),
    [
        ("20250901", "090000"),
        ("2025-09-01", "90000"),
        ("2025/09/01", "0900"),
        ("2025.09.01", "900"),
        ("2025-09-01", "9:00"),
        ("2025-09-01", "09:00:00.000"),
        ("2025-09-01 00:00:00", "09:00:00"),
    ],
)
def test_date_and_time_may_be_two_columns(tmp_path, date: str, clock: str) -> None:
    text = f"일자,시간,시가,고가,저가,종가,체결량\n{date},{clock},1,1,1,1,7\n"
    candles, _file, _report = _import(tmp_path, text, START)
    assert np.datetime_as_string(candles.end).tolist() == ["2025-09-01T09:01:00"]


@pytest.mark.parametrize("clock", ["2500", "9", "0960", "09:00:61", "noon", ""])
def test_a_time_column_names_its_broken_line(tmp_path: Path, clock: str) -> None:
    text = f"일자,시간,시가,고가,저가,종가,체결량\n20250901,0900,1,1,1,1,7\n20250901,{clock},1,1,1,1,7\n"
    error = _refused(tmp_path, text, START)
    assert f"line 3: {clock!r} is no time" in str(error)


@pytest.mark.parametrize(
    "stamp",
    [
        "2025-09-01T09:00:00",
        "2025-09-01T09:00:00+09:00",
        "2025-09-01 09:00:00.000",
        "20250901 09:00",
        "20250901090000",
        "202509010900",
        "2025.09.01 9:00",
        "2025/9/1 09:00",
    ],
)
def test_ways_of_writing_the_same_minute(tmp_path: Path, stamp: str) -> None:
    text = f"일시,시가,고가,저가,종가,거래량\n{stamp},1,1,1,1,7\n"
    candles = _import(tmp_path, text, START)[0]
    assert np.datetime_as_string(candles.end).tolist() == ["2025-09-01T09:01:00"]


def test_a_silent_last_minute_does_not_hide_the_auction(tmp_path: Path) -> None:
    text = MINUTES + "2025-09-01 15:29:00,144900,144900,144900,144900,0\n"
    candles, file, _report = _import(tmp_path, text, START)
    assert file.joined == 1
    assert candles.open[-1] == candles.low[-1] == 145000
    traded = MINUTES + "2025-09-01 15:29:00,144900,144950,144700,144900,5\n"
    other = tmp_path / "other"
    other.mkdir()
    candles, _file, _report = _import(other, traded, START)
    last = candles.slice(-1, None)
    assert (last.open[0], last.high[0], last.low[0], last.close[0], last.volume[0]) == (
        144900,
        145000,
        144700,
        145000,
        20731,
    )


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("09:01:00", "08:59:00"), 3, "08:59:00 is outside the regular session"),
        (("15:30:00", "15:31:00"), 0, "go on after the close"),
        (("15:30:00", "16:10:00"), 5, "16:10:00 is outside the regular session"),
        (("09:01:00", "09:00:00"), 3, "already, in line 2"),
        (("09:01:00", "09:01:30"), 3, "no whole minute"),
        (("09:01:00", "25:01:00"), 3, "is no date"),
        (("145100,144800", "144800,145100"), 4, "outside low to high"),
    ],
)
def test_broken_minutes_name_their_line(tmp_path, change, line, said) -> None:
    error = _refused(tmp_path, MINUTES.replace(*change), START)
    assert said in str(error)
    assert getattr(error, "line", 0) == line


def test_after_hours_rows_are_left_out_on_request(tmp_path: Path) -> None:
    text = MINUTES + "2025-09-01 16:10:00,145000,145000,145000,145000,9\n"
    request = ImportRequest(symbol="402340", interval=MINUTE, skip_outside=True)
    candles, file, _report = _import(tmp_path, text, request)
    assert _times(candles) == MINUTE_ENDS
    assert file.skipped == 1


def test_the_exam_day_ends_an_hour_later(tmp_path: Path) -> None:
    text = (
        "datetime,open,high,low,close,volume\n"
        "2025-11-13 10:00:00,1,1,1,1,1\n"
        "2025-11-13 16:29:00,1,1,1,1,1\n"
    )
    candles = _import(tmp_path, text, START)[0]
    assert _times(candles) == ["10:01:00", "16:30:00"]
    early = text.replace("10:00:00", "09:00:00")
    other = tmp_path / "other"
    other.mkdir()
    given = ImportRequest(symbol="402340", interval=MINUTE, label=Label.START)
    assert "09:00:00 is outside" in str(_refused(other, early, given))


def test_larger_minutes_keep_their_length(tmp_path: Path) -> None:
    text = (
        "datetime,open,high,low,close,volume\n"
        "2025-09-01 09:00:00,1,1,1,1,1\n"
        "2025-09-01 15:15:00,1,1,1,1,1\n"
        "2025-09-01 15:30:00,1,1,1,1,1\n"
    )
    request = ImportRequest(symbol="402340", interval=Interval(15))
    candles, _file, _report = _import(tmp_path, text, request)
    assert _times(candles) == ["09:15:00", "15:30:00"]


@pytest.mark.parametrize(
    ("text", "interval", "said"),
    [
        (DAILY_CSV, MINUTE, "give --interval 1d"),
        (MINUTES, DAILY, "give --interval 1m"),
    ],
)
def test_a_wrong_interval_is_noticed(tmp_path, text, interval, said) -> None:
    request = ImportRequest(symbol="402340", interval=interval)
    assert said in str(_refused(tmp_path, text, request))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ImportRequest(symbol="005930", label=Label.START), "--label is for minute"),
        (
            ImportRequest(symbol="005930", interval=MINUTE, adjusted=False),
            "--raw is for daily",
        ),
        (ImportRequest(symbol="5930"), "keep leading zeros"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, request_, said) -> None:
    path = _write(tmp_path, DAILY_CSV)
    with pytest.raises(InputError, match=said):
        import_candles(path, CandleStore(tmp_path / "store"), request_)


def test_parquet_is_read_with_its_types(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "symbol": ["005930", "005930"],
            "date": pd.to_datetime(["2024-01-02", "2024-01-03"]),
            "open": [1, 2],
            "high": [1, 2],
            "low": [1, 2],
            "close": [1.0, 2.0],
            "volume": [5, 6],
        }
    )
    path = tmp_path / "candles.parquet"
    frame.to_parquet(path)
    store = CandleStore(tmp_path / "store")
    assert import_candles(path, store, ImportRequest()).files[0].rows == 2
    assert store.read("005930", DAILY).volume.tolist() == [5, 6]
    frame.loc[1, "close"] = float("nan")
    frame.to_parquet(path)
    with pytest.raises(BadCandle, match="row 2: close is 'nan'"):
        import_candles(path, CandleStore(tmp_path / "other"), ImportRequest())
    frame.drop(columns="volume").to_parquet(path)
    with pytest.raises(BadCandle, match="no column for the volume"):
        import_candles(path, CandleStore(tmp_path / "other"), ImportRequest())


def test_parquet_times_in_another_zone_become_korean(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    times = pd.to_datetime(["2025-09-01 00:00", "2025-09-01 00:01"]).tz_localize("UTC")
    frame = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close", "volume"), 1), times
    )
    path = tmp_path / "candles.parquet"
    frame.rename_axis("datetime").to_parquet(path)
    store = CandleStore(tmp_path / "store")
    import_candles(path, store, START)
    assert _times(store.read("402340", MINUTE)) == ["09:01:00", "09:02:00"]
    frame.index = pd.DatetimeIndex([None, "2025-09-01 09:00"], name="datetime")
    frame.to_parquet(path)
    with pytest.raises(BadCandle, match="row 1: the date is empty"):
        import_candles(path, store, START)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch) -> None:
    def absent(*_arguments: object) -> None:
        raise ImportError("no pyarrow")

    monkeypatch.setattr(pd, "read_parquet", absent)
    error = _refused(tmp_path, b"PAR1....")
    assert isinstance(error, InputError)
    assert "kisbt[parquet]" in str(error)


def test_a_store_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StorageError, match=r"symbols\.csv"):
        import_candles(
            _write(tmp_path, DAILY_CSV),
            CandleStore(tmp_path / "store"),
            ImportRequest(symbol="005930"),
        )
