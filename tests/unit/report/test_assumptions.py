from dataclasses import replace
from typing import Any

import pytest

from kisbt.model.result import RunResult
from kisbt.report.assumptions import Kind, assumptions, setting
from tests.helpers.results import config, make_run, run_json


@pytest.fixture(scope="module")
def result() -> RunResult:
    return make_run(symbols=2, bars=60)[0]


def texts(result: RunResult, **changes: Any) -> str:
    merged = config()
    for path, value in changes.pop("settings", {}).items():
        block, key = path.split(".")
        merged[block][key] = value
    changed = replace(result, run=run_json(config=merged, **changes))
    return "\n".join(item.text for item in assumptions(changed))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"broker.rules": "none"}, "KRX rules were off"),
        ({"broker.volume_share": None}, "no cap"),
        ({"broker.volume_share": 0.25}, "at most 25.00%"),
        ({"broker.commission": 0.00015}, "Commission: 0.0150%"),
        ({"broker.commission": "bankis"}, "tariff bankis"),
        ({"broker.tax": "none"}, "Transaction tax: none"),
        ({"broker.tax": 0.002}, "Transaction tax: 0.20%"),
        ({"broker.slippage_ticks": 0}, "Slippage: none"),
        ({"broker.slippage_ticks": 2}, "Slippage: 2 price"),
        ({"broker.market_orders": "protected"}, "3 % through the last price"),
        ({"broker.rules": "none"}, "short selling is"),
    ],
)
def test_a_setting_changes_what_is_said(
    result: RunResult, settings: dict[str, Any], expected: str
) -> None:
    assert expected in texts(result, settings=settings)


def test_without_krx_rules_none_of_them_is_claimed(result: RunResult) -> None:
    said = texts(result, settings={"broker.rules": "none"})
    assert "price limits are those" not in said
    assert "lives for one session" not in said


def test_raw_and_adjusted_candles_are_told_apart(result: RunResult) -> None:
    assert "Adjusted candles" in texts(result, adjusted=True)
    assert "Raw candles" in texts(result, adjusted=False)


def test_dividends_and_survivorship_are_always_named(result: RunResult) -> None:
    said = assumptions(replace(result, run={}))
    missing = [item.text for item in said if item.kind is Kind.NOT_MODELLED]
    assert any(text.startswith("Dividends") for text in missing)
    assert any(text.startswith("Survivorship") for text in missing)


def test_a_setting_that_is_not_there_is_the_default() -> None:
    assert setting({"a": {"b": 1}}, "a.b") == 1
    assert setting({"a": {"b": 1}}, "a.b.c", "x") == "x"
    assert setting({}, "a") is None
