import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from kisbt.app.data import (
    check_data,
    import_file,
    import_json,
    list_data,
    quality_json,
)
from kisbt.candles.quality import Oddity
from kisbt.candles.reader import ImportRequest
from kisbt.cli.common import print_json
from kisbt.errors import BadCandle, InputError, MissingCandles
from kisbt.krx.overrides import KrxOverrides
from kisbt.model.candle import DAILY, MINUTE, Interval
from kisbt.model.instrument import Market

HEADER = "date,open,high,low,close,volume\n"
ROWS = "2024-01-02,100,110,90,105,10\n2024-01-03,105,106,100,101,20\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store with adjusted, raw and minute candles of 005930."""
    path = tmp_path / "005930.csv"
    path.write_text(HEADER + ROWS)
    store = tmp_path / "store"
    request = ImportRequest(symbol="005930", name="삼성전자", market=Market.KOSPI)
    import_file(path, store, request)
    import_file(path, store, ImportRequest(symbol="005930", adjusted=False))
    minute = tmp_path / "minute.csv"
    minute.write_text(
        "datetime,open,high,low,close,volume\n2024-01-03 09:00,1,1,1,1,1\n"
    )
    import_file(minute, store, ImportRequest(symbol="005930", interval=MINUTE))
    return store


def test_the_list_has_a_row_for_each_file(data: Path) -> None:
    rows = list_data(data)
    assert [(row.kind, row.rows) for row in rows] == [
        ("1d", 2),
        ("1d-raw", 2),
        ("1m", 1),
    ]
    assert rows[0].as_json() == {
        "symbol": "005930",
        "name": "삼성전자",
        "market": "KOSPI",
        "product": "STOCK",
        "interval": "1d",
        "first": "2024-01-02T15:30:00",
        "last": "2024-01-03T15:30:00",
        "rows": 2,
        "problem": "",
    }


def test_the_list_names_a_broken_file_and_goes_on(data: Path) -> None:
    (data / "1d" / "000660.csv").write_text("nonsense")
    (data / "1d" / "000020.csv").write_text("datetime,open,high,low,close,volume\n")
    (data / "notes").mkdir()
    rows = {row.instrument.symbol: row for row in list_data(data)}
    assert "line 1" in rows["000660"].problem
    assert rows["000660"].rows == 0
    assert (rows["000020"].first, rows["000020"].problem) == (None, "")
    assert "005930" in rows


def test_a_store_that_does_not_exist_is_missing_candles(tmp_path: Path) -> None:
    for ask in (list_data, check_data):
        with pytest.raises(MissingCandles, match="does not exist"):
            ask(tmp_path / "none")


def test_all_or_some_symbols_are_checked(data: Path) -> None:
    shares: list[float] = []
    (quality,) = check_data(data, on_progress=shares.append)
    assert quality.instrument.name == "삼성전자"
    assert shares == [1.0]
    assert check_data(data, ["삼성전자"])[0] == quality
    (minute,) = check_data(data, ["005930"], interval=MINUTE)
    assert [finding.kind for finding in minute.findings] == [Oddity.MISSING_MINUTE]
    assert check_data(data, adjusted=False)[0].rows == 2


def test_what_is_not_there_cannot_be_checked(data: Path) -> None:
    with pytest.raises(MissingCandles, match="000660"):
        check_data(data, ["000660"])
    with pytest.raises(MissingCandles, match="5m has no candle files"):
        check_data(data, interval=Interval(5))
    with pytest.raises(InputError, match="neither a code nor a name"):
        check_data(data, ["카카오"])


def test_reports_are_plain_json(data: Path, tmp_path: Path, capsys) -> None:
    again = import_file(tmp_path / "005930.csv", data, ImportRequest(symbol="005930"))
    print_json(import_json(again))
    report = json.loads(capsys.readouterr().out)
    assert report["symbols"][0] == {
        "symbol": "005930",
        "rows": 2,
        "first": "2024-01-02T15:30:00",
        "last": "2024-01-03T15:30:00",
        "added": 0,
        "same": 2,
        "replaced": 0,
        "kept": 0,
        "file": str(data / "1d" / "005930.csv"),
    }
    assert report["files"][0]["columns"]["close"] == "close"
    print_json([quality_json(quality) for quality in check_data(data)])
    assert json.loads(capsys.readouterr().out)[0]["traded"] == 2


def test_the_user_s_own_holiday_is_no_session(tmp_path: Path) -> None:
    path = tmp_path / "005930.csv"
    path.write_text(HEADER + ROWS)
    overrides = KrxOverrides(closed=frozenset({date(2024, 1, 3)}))
    request = ImportRequest(symbol="005930")
    with pytest.raises(BadCandle, match="line 3: 2024-01-03 is no session"):
        import_file(path, tmp_path / "store", request, overrides=overrides)
    import_file(path, tmp_path / "store", request)
    (quality,) = check_data(tmp_path / "store", overrides=overrides)
    (finding,) = quality.findings
    assert finding.kind is Oddity.CLOSED_DAY
    assert finding.first == np.datetime64("2024-01-03T15:30:00")
    assert check_data(tmp_path / "store", interval=DAILY)[0].findings == ()
