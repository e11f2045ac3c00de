import base64
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from kisbt.errors import StorageError
from kisbt.model.result import EquityCurve, RunResult
from kisbt.report.charts import SymbolChart
from kisbt.report.html import flat_settings, render_report, write_report
from kisbt.report.metrics import summarise
from tests.helpers.results import NASTY_NAME, make_run, run_json, sessions


@pytest.fixture(scope="module")
def run() -> tuple[RunResult, dict[str, SymbolChart]]:
    return make_run(symbols=3, bars=300, nasty=True)


@pytest.fixture(scope="module")
def page(run: tuple[RunResult, dict[str, SymbolChart]]) -> str:
    return rendered(*run)


def rendered(
    result: RunResult, charts: dict[str, SymbolChart], language: str = "en"
) -> str:
    """Return the page without plotly, which is as long as it is dull."""
    text = render_report(result, summarise(result), charts, language=language)
    assert text.count(get_plotlyjs()) == 1
    return text.replace(get_plotlyjs(), "")


def payload(page: str) -> dict[str, Any]:
    found = re.search(r'id="payload">([^<]*)<', page)
    assert found
    content: dict[str, Any] = json.loads(
        zlib.decompress(base64.b64decode(found.group(1)))
    )
    return content


def test_nothing_the_user_named_becomes_markup(page: str) -> None:
    assert NASTY_NAME not in page
    assert page.count("<script>") == 2
    assert payload(page)["symbols"][0]["name"] == NASTY_NAME


def test_texts_of_the_run_are_escaped(
    run: tuple[RunResult, dict[str, SymbolChart]],
) -> None:
    result, charts = run
    bad = "<img src=x onerror=alert(1)>"
    rows = tuple(replace(trade, exit_reason=bad) for trade in result.trades)
    orders = tuple(replace(order, reject_reason=bad) for order in result.orders)
    changed = replace(
        result,
        trades=rows,
        orders=orders,
        run={
            **result.run,
            "warnings": [bad],
            "exit_state": bad,
            "config": {"strategy": {"class": bad}},
        },
    )
    page = rendered(changed, charts)
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_the_policy_forbids_the_network(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy.group(1).startswith("default-src &#39;none&#39;; script-src")
    assert "http" not in policy.group(1)
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)


def test_the_page_shows_the_numbers_of_the_summary(
    run: tuple[RunResult, dict[str, SymbolChart]], page: str
) -> None:
    metrics = summarise(run[0])["metrics"]
    total = f"{metrics['total_return'] * 100:,.2f}%".replace("-", "−")
    assert total in page
    assert f"{metrics['tax']:,.0f} won" in page


def test_every_number_shows_its_formula(page: str) -> None:
    assert page.count('class="tip"') > 40
    assert "× √246; risk-free rate 0" in page


def test_the_assumptions_follow_the_settings(page: str) -> None:
    assert "Dividends" in page
    assert "the −3.00% stop can end far lower" in page
    assert "Adjusted candles" in page


def test_settings_and_hashes_are_shown(page: str) -> None:
    assert "broker.slippage_ticks" in page
    assert "4f2a9c" in page


def test_a_synthetic_run_says_so(
    run: tuple[RunResult, dict[str, SymbolChart]],
) -> None:
    result, charts = run
    made_up = replace(result, run={**result.run, "synthetic": True})
    assert "are invented" in rendered(made_up, charts)


def test_a_failed_run_says_so(run: tuple[RunResult, dict[str, SymbolChart]]) -> None:
    result, charts = run
    failed = replace(result, run={**result.run, "exit_state": "failed: disk"})
    assert "did not end in order" in rendered(failed, charts)


def test_open_positions_show_their_flag() -> None:
    result, charts = make_run(symbols=3, bars=150)
    assert result.open_positions
    page = rendered(result, charts)
    assert "no candle since 2011-11-30" in page
    assert "valued at an old close" in page


def test_an_empty_run_still_has_a_page() -> None:
    nothing = EquityCurve(
        time=sessions(0), cash=np.zeros(0), positions_value=np.zeros(0)
    )
    empty = RunResult(
        run={"mode": "backtest"},
        instruments={},
        orders=(),
        fills=(),
        trades=(),
        equity=nothing,
        decisions=(),
        open_positions=(),
    )
    page = rendered(empty, {})
    assert "No session, so no month." in page


def test_the_page_of_minute_bars_shows_times(
    run: tuple[RunResult, dict[str, SymbolChart]],
) -> None:
    result = make_run(symbols=3, bars=150)[0]
    minute = replace(result, run=run_json(interval="1m"))
    assert re.search(r"<td>20\d\d-\d\d-\d\d 15:30</td>", rendered(minute, run[1]))


def test_the_language_of_the_page_is_declared(
    run: tuple[RunResult, dict[str, SymbolChart]],
) -> None:
    page = rendered(*run, language="ko")
    assert '<html lang="ko">' in page
    assert payload(page)["language"] == "ko"


def test_an_old_page_survives_a_failed_write(
    run: tuple[RunResult, dict[str, SymbolChart]], tmp_path: Path
) -> None:
    result, charts = run
    path = tmp_path / "missing" / "report.html"
    with pytest.raises(StorageError):
        write_report(path, result, summarise(result), charts, language="en")


def test_settings_become_dotted_keys() -> None:
    config = {"a": {"b": 1, "c": []}, "d": None, "e": {}}
    assert list(flat_settings(config)) == [
        ("a.b", "1"),
        ("a.c", "[]"),
        ("d", "null"),
        ("e", "{}"),
    ]
