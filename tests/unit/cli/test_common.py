import errno
import io
import json
import sys
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from kisbt.cli.common import Column, guard, print_json, print_rows, progress
from kisbt.clock import KST, ManualClock
from kisbt.errors import (
    BadCandle,
    ConfigError,
    InputError,
    MissingCandles,
    StorageError,
    StrategyError,
)
from kisbt.model.order import Side


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (InputError("x"), 2),
        (MissingCandles("x"), 2),
        (BadCandle("x"), 2),
        (StorageError("x"), 1),
        (StrategyError("x"), 1),
        (ValueError("x"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "f"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_has_its_exit_code_and_one_line(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    assert guard(work) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left", "a/b"),
            "no space left on the disk a/b",
        ),
        (PermissionError(errno.EACCES, "denied", "a/b"), "no permission for a/b"),
        (FileNotFoundError(errno.ENOENT, "no", "a/b"), "a/b does not exist"),
        (NotADirectoryError(errno.ENOTDIR, "no", "a/b"), "a/b: a file stands where"),
        (MemoryError(), "out of memory"),
        (ValueError("odd\nthing"), "unexpected ValueError: odd thing; run again with"),
    ],
)
def test_errors_of_the_system_are_put_in_words(
    error: Exception, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    guard(work)
    assert expected in capsys.readouterr().err


def test_the_traceback_needs_debug(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise ConfigError("wrong")

    guard(work)
    assert "Traceback" not in capsys.readouterr().err
    assert guard(work, debug=True) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("error: wrong\n")


def test_a_reader_that_has_gone_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert guard(work) == 0
    assert capsys.readouterr().err == ""


def test_json_takes_what_rows_hold(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(
        {
            "name": "가상전자",
            "day": date(2020, 1, 2),
            "time": datetime(2020, 1, 2, 9, tzinfo=KST),
            "side": Side.BUY,
            "path": Path("a"),
            "number": np.float64(1.5),
        }
    )
    out = capsys.readouterr().out
    assert "가상전자" in out
    assert json.loads(out) == {
        "name": "가상전자",
        "day": "2020-01-02",
        "time": "2020-01-02T09:00:00+09:00",
        "side": "buy",
        "path": "a",
        "number": 1.5,
    }


ROWS = [{"symbol": "990001", "name": "[b]가상[/b]" * 20, "won": 1234567, "more": None}]
COLUMNS = [
    Column("symbol", "Symbol"),
    Column("name", "Name"),
    Column("won", "Won", right=True, show="{:,}".format),
    Column("more", "More"),
]


def test_a_table_in_a_pipe_is_not_cut_and_takes_no_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_rows(ROWS, COLUMNS)
    out = capsys.readouterr().out
    assert "[b]가상[/b]" * 20 in out
    assert "1,234,567" in out


def test_a_table_as_json_has_whole_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, COLUMNS[:1], as_json=True)
    assert json.loads(capsys.readouterr().out) == ROWS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run_bar(seconds: float) -> str:
    clock = ManualClock(datetime(2020, 1, 2, tzinfo=KST))
    with progress("work", total=10, clock=clock) as advance:
        clock.advance(seconds)
        advance(5)
    assert isinstance(sys.stderr, io.StringIO)
    return sys.stderr.getvalue()


def test_a_progress_bar_appears_only_on_long_work_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run_bar(0.5) == ""
    assert "work" in run_bar(2.5)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert run_bar(2.5) == ""
