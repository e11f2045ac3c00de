from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kisbt.app.compare import compare_runs, write_comparison
from kisbt.app.report import find_run, make_report
from kisbt.errors import InputError, MissingCandles
from kisbt.model.result import RunResult
from kisbt.report.charts import SymbolChart
from kisbt.report.folder import write_run
from tests.helpers.results import make_run, run_json


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return write_run(make_run(symbols=2, bars=80)[0], tmp_path / "runs" / "one")


def test_a_stored_run_is_rendered_again(stored: Path) -> None:
    seen: list[RunResult] = []

    def charts_of(result: RunResult) -> Mapping[str, SymbolChart]:
        seen.append(result)
        return make_run(symbols=2, bars=80)[1]

    made = make_report(stored, "en", charts_of=charts_of)
    page = made.path.read_text(encoding="utf-8")
    assert made.path == stored / "report.html"
    assert made.warning == ""
    assert seen[0].run["id"] == "20260102-153000-ab12"
    assert page.count('class="chart"') == 2


def test_a_report_without_candles_says_why(stored: Path) -> None:
    def charts_of(_result: RunResult) -> Mapping[str, SymbolChart]:
        raise MissingCandles("no candles of 990001")

    made = make_report(stored, "en", charts_of=charts_of)
    assert "no candles of 990001" in made.warning
    assert made.path.is_file()


def test_candles_that_have_changed_are_not_drawn(stored: Path) -> None:
    def charts_of(_result: RunResult) -> Mapping[str, SymbolChart]:
        return make_run(symbols=2, bars=80, seed=8)[1]

    made = make_report(stored, "en", charts_of=charts_of)
    assert "990001 on 2010-02-01 are not those of the run" in made.warning
    assert 'class="chart"' not in made.path.read_text(encoding="utf-8")


def test_a_run_is_found_by_path_and_by_name(stored: Path) -> None:
    assert find_run(str(stored)) == stored
    assert find_run("one", stored.parent) == stored


@pytest.mark.parametrize("text", ["two", ""])
def test_a_run_that_is_not_there_names_the_latest(stored: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"the latest are one"):
        find_run(text, stored.parent)


def test_without_any_run_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make one with kisbt backtest"):
        find_run("one", tmp_path)


def test_two_runs_are_compared_and_written(stored: Path, tmp_path: Path) -> None:
    result = make_run(symbols=2, bars=80, seed=8)[0]
    other = write_run(replace(result, run=run_json(id="b")), tmp_path / "other")
    compared = compare_runs(stored, other)
    assert compared.found["runs"] == ["20260102-153000-ab12", "b"]
    assert compared.found["fills"]["first_difference"] is not None
    path = write_comparison(compared, tmp_path / "compare.html", language="ko")
    assert '<html lang="ko">' in path.read_text(encoding="utf-8")
