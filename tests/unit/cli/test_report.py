import json
from pathlib import Path

import pytest

from kisbt.cli.main import run
from kisbt.report.folder import write_run
from tests.helpers.results import make_run


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    first = write_run(make_run(symbols=2, bars=80)[0], tmp_path / "runs" / "one")
    second = make_run(symbols=2, bars=80, seed=8)[0]
    return first, write_run(second, tmp_path / "runs" / "two")


def test_compare_prints_and_writes_a_page(
    stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "one", "two", "--lang", "en"]) == 0
    out = capsys.readouterr().out
    assert "Both runs used the same settings." in out
    assert "the first 0 are the same" in out
    assert "Total return" in out
    assert Path("compare.html").is_file()


def test_compare_says_when_all_is_the_same(
    stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "one", "one", "--lang", "en"]) == 0
    assert "fills are the same." in capsys.readouterr().out


def test_compare_json_is_json_and_writes_nothing(
    stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *map(str, stored), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"runs", "settings", "numbers", "fills", "candles_differ"}
    assert not Path("compare.html").exists()


def test_compare_of_no_run_is_one_line(
    stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "one", "none", "--lang", "en"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no run 'none'")
    assert error.count("\n") == 1


def test_report_of_a_run_whose_candles_are_gone_still_shows_the_numbers(
    stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", "one", "--lang", "en"]) == 0
    captured = capsys.readouterr()
    assert "Total return" in captured.out
    assert "no candle charts" in captured.err
    assert (stored[0] / "report.html").is_file()


def test_report_of_a_damaged_run_is_one_line(
    stored: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (stored[0] / "run.json").write_text("{", encoding="utf-8")
    assert run(["report", "one", "--lang", "en"]) == 2
    assert "run.json is damaged" in capsys.readouterr().err
