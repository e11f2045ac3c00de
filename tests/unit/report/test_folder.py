import csv
import errno
import json
import math
import os
from dataclasses import replace
from datetime import date, datetime
from enum import Enum
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, strategies as st

from kisbt.clock import KST
from kisbt.errors import InputError, StorageError
from kisbt.model.result import EquityCurve, RunResult
from kisbt.report import csvfiles, folder as folder_module
from kisbt.report.folder import check_target, read_run, write_run, write_text
from tests.helpers.results import CASH, make_run, sessions


@pytest.fixture(scope="module")
def result() -> RunResult:
    return make_run(symbols=3, bars=300, nasty=True)[0]


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream))


def test_a_run_comes_back_as_it_was_written(result: RunResult, tmp_path: Path) -> None:
    back = read_run(write_run(result, tmp_path / "run"))
    assert back.run == result.run
    assert back.instruments == result.instruments
    for name in ("orders", "fills", "trades", "open_positions"):
        assert getattr(back, name) == getattr(result, name)
    for own, other in zip(back.decisions, result.decisions, strict=True):
        assert replace(own, indicators={}) == replace(other, indicators={})
        assert own.indicators == pytest.approx(other.indicators, nan_ok=True)
    assert (back.equity.time == result.equity.time).all()
    assert back.equity.time.dtype == "datetime64[s]"
    np.testing.assert_allclose(back.equity.equity, result.equity.equity, atol=0.01)
    assert result.benchmark is not None
    assert back.benchmark is not None
    np.testing.assert_allclose(back.benchmark.value, result.benchmark.value)


def test_the_columns_are_those_of_the_format(result: RunResult, tmp_path: Path) -> None:
    folder = write_run(result, tmp_path / "run")
    expected = {
        "orders.csv": "ref created symbol side type quantity limit_price state reason "
        "filled_quantity average_price broker_order_no reject_reason confirmed_by",
        "fills.csv": "time bar symbol side quantity price commission tax slippage "
        "order_ref",
        "trades.csv": "symbol entry_time entry_price exit_time exit_price quantity "
        "gross_pnl commission tax net_pnl return_pct bars_held entry_reason exit_reason",
        "equity.csv": "time cash positions_value equity",
    }
    for name, columns in expected.items():
        header = rows(folder / name)[0]
        assert header[: len(columns.split())] == columns.split()


def test_files_open_in_excel_and_times_carry_their_zone(
    result: RunResult, tmp_path: Path
) -> None:
    folder = write_run(result, tmp_path / "run")
    for name in ("orders", "fills", "trades", "equity", "curves", "open_positions"):
        assert (folder / f"{name}.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert rows(folder / "equity.csv")[1] == [
        "2010-01-04T15:30:00+09:00",
        "10000000",
        "0",
        "10000000",
    ]
    assert rows(folder / "fills.csv")[1][0].endswith("T15:30:00+09:00")


def test_whole_numbers_have_no_decimals_and_prices_keep_theirs() -> None:
    assert csvfiles.number_text(71_300.0) == "71300"
    assert csvfiles.number_text(1234.0567) == "1234.0567"
    assert csvfiles.number_text(-0.5) == "-0.5"
    assert csvfiles.number_text(math.nan) == ""


def test_fractional_money_is_written_to_the_hundredth(
    result: RunResult, tmp_path: Path
) -> None:
    curve = EquityCurve(
        time=sessions(2),
        cash=np.array([9_999_999.999999998, 1.239]),
        positions_value=np.array([0.0, 2.5]),
    )
    folder = write_run(replace(result, equity=curve), tmp_path / "run")
    assert [row[1:] for row in rows(folder / "equity.csv")[1:]] == [
        ["10000000", "0", "10000000"],
        ["1.24", "2.5", "3.74"],
    ]


@pytest.mark.parametrize(
    "text", ["=1+1", "+82", "-1", "@sum", "'=", "'x", "\t=1", "\uff1d1", "plain", ""]
)
def test_a_formula_is_defused_and_read_back(
    text: str, result: RunResult, tmp_path: Path
) -> None:
    order = replace(result.orders[0], reason=text)
    folder = write_run(replace(result, orders=(order,)), tmp_path / "run")
    written = rows(folder / "orders.csv")[1][8]
    assert not written.startswith(("=", "+", "-", "@", "\t", "\uff1d"))
    assert read_run(folder).orders[0].reason == text


def test_a_reason_may_hold_commas_quotes_and_line_breaks(
    result: RunResult, tmp_path: Path
) -> None:
    text = 'a,"b"\r\n둘째 줄'
    order = replace(result.orders[0], reason=text)
    folder = write_run(replace(result, orders=(order,)), tmp_path / "run")
    assert read_run(folder).orders == (order,)


def test_an_empty_run_comes_back(result: RunResult, tmp_path: Path) -> None:
    nothing = EquityCurve(
        time=sessions(0), cash=np.zeros(0), positions_value=np.zeros(0)
    )
    empty = replace(
        result,
        orders=(),
        fills=(),
        trades=(),
        decisions=(),
        open_positions=(),
        equity=nothing,
        benchmark=None,
        buy_and_hold=None,
    )
    back = read_run(write_run(empty, tmp_path / "run"))
    assert len(back.equity.time) == 0
    assert back.benchmark is None
    assert back.trades == ()


def test_extra_files_appear_with_the_run(result: RunResult, tmp_path: Path) -> None:
    folder = write_run(
        result, tmp_path / "run", extra_files={"report.html": "<p>가</p>"}
    )
    assert (folder / "report.html").read_text(encoding="utf-8") == "<p>가</p>"


def test_numbers_that_json_lacks_become_null(result: RunResult, tmp_path: Path) -> None:
    run = {**result.run, "odd": math.inf, "day": datetime(2026, 1, 2, tzinfo=KST)}
    folder = write_run(replace(result, run=run), tmp_path / "run")
    written = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert written["odd"] is None
    assert written["day"] == "2026-01-02T00:00:00+09:00"


def test_an_empty_folder_is_filled_in_place(result: RunResult, tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    before = target.stat().st_ino
    write_run(result, target)
    assert target.stat().st_ino == before
    assert (target / "run.json").is_file()
    assert not list(target.glob(".*"))


def test_missing_parents_are_made(result: RunResult, tmp_path: Path) -> None:
    assert read_run(write_run(result, tmp_path / "a" / "b" / "run")).run == result.run


@pytest.mark.parametrize("check", [True, False])
def test_a_folder_with_files_is_refused(
    check: bool, result: RunResult, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        _ = check_target(tmp_path) if check else write_run(result, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("keep")
    with pytest.raises(InputError, match="is a file"):
        check_target(tmp_path / "run")


def test_a_file_as_parent_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep")
    with pytest.raises(StorageError):
        check_target(tmp_path / "file" / "run")


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_target(tmp_path / "a" / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write")
def test_an_unwritable_folder_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="could not be written"):
            check_target(tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("victim", ["orders.csv", "equity.csv", "run.json"])
def test_a_full_disk_leaves_nothing_behind(
    in_place: bool,
    victim: str,
    result: RunResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(path: object, *args: object, **kwargs: object) -> object:
        if str(path).endswith(victim):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_open(path, *args, **kwargs)  # type: ignore[call-overload]

    real_open = open
    monkeypatch.setattr("builtins.open", full)
    monkeypatch.setattr("io.open", full)
    target = tmp_path / "new" / "run"
    if in_place:
        target.mkdir(parents=True)
    with pytest.raises(StorageError, match="No space left"):
        write_run(result, target)
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == (["new", "run"] if in_place else [])


def test_a_folder_without_run_json_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run folder.*run\.json"):
        read_run(tmp_path)


def test_another_version_is_refused(result: RunResult, tmp_path: Path) -> None:
    folder = write_run(result, tmp_path / "run")
    path = folder / "run.json"
    path.write_text(path.read_text(encoding="utf-8").replace(": 1,", ": 9,", 1))
    with pytest.raises(InputError, match="version 9"):
        read_run(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fills.csv", ("buy", "bought"), "fills.csv, line 2"),
        ("orders.csv", ("reason", "raison"), "reason is missing"),
        ("equity.csv", (",10000000,", ",ten,"), "equity.csv is damaged"),
        ("equity.csv", (",10000000,", ",,"), "a number is missing"),
        ("equity.csv", ("+09:00", "Z"), "does not end in"),
        ("decisions.jsonl", ("{", "<"), "decisions.jsonl, line 1"),
        ("run.json", ("{", "["), "run.json is damaged"),
    ],
)
def test_a_damaged_file_is_named(
    name: str,
    change: tuple[str, str],
    message: str,
    result: RunResult,
    tmp_path: Path,
) -> None:
    folder = write_run(result, tmp_path / "run")
    text = (folder / name).read_text(encoding="utf-8-sig")
    (folder / name).write_text(text.replace(*change, 1), encoding="utf-8-sig"[:5])
    with pytest.raises(InputError, match=message):
        read_run(folder)


def test_a_missing_file_is_named(result: RunResult, tmp_path: Path) -> None:
    folder = write_run(result, tmp_path / "run")
    (folder / "trades.csv").unlink()
    with pytest.raises(InputError, match=r"trades\.csv is missing"):
        read_run(folder)


def test_replacing_one_file_keeps_the_old_one_on_failure(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    (tmp_path / "page.html" / "x").touch()
    with pytest.raises(StorageError):
        write_text(tmp_path / "page.html", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_books_of_the_made_up_run_balance(result: RunResult) -> None:
    realised = sum(trade.net_pnl for trade in result.trades)
    paid = sum(f.commission for f in result.fills) - sum(
        t.commission for t in result.trades
    )
    held = sum(position.unrealised_pnl for position in result.open_positions)
    assert result.equity.equity[-1] == pytest.approx(CASH + realised + held - paid)


def test_a_name_that_is_no_text_does_not_lose_the_run(
    result: RunResult, tmp_path: Path
) -> None:
    odd = replace(result, run={**result.run, "project": "/home/\udcff"})
    folder = write_run(odd, tmp_path / "run", extra_files={"report.html": "\udcff"})
    assert read_run(folder).run["project"] == "/home/\udcff"


class _Colour(Enum):
    RED = "red"


PLAIN = st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e300, 1e300)


@given(
    st.recursive(PLAIN, lambda part: st.lists(part) | st.dictionaries(st.text(), part))
)
def test_indented_json_is_that_of_the_standard_library(content: object) -> None:
    expected = json.dumps({"a": content}, ensure_ascii=False, indent=2)
    assert folder_module._json({"a": content}, "\n") == expected


def test_what_json_does_not_have_is_written_as_what_it_has() -> None:
    content = {
        1: (math.nan, math.inf, np.float64(0.5), np.int64(7)),
        "day": date(2024, 1, 2),
        "at": datetime(2024, 1, 2, 9, tzinfo=KST),
        "path": PurePosixPath("a/b"),
        "colour": _Colour.RED,
        "none": frozenset(),
    }
    assert json.loads(folder_module._json(content, "\n")) == {
        "1": [None, None, 0.5, 7],
        "day": "2024-01-02",
        "at": "2024-01-02T09:00:00+09:00",
        "path": "a/b",
        "colour": "red",
        "none": [],
    }
