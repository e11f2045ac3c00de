import json
from dataclasses import replace

import pytest

from kisbt.model.result import RunResult
from kisbt.report.compare import compare, fill_line, number_rows, render_comparison
from kisbt.report.metrics import summarise
from tests.helpers.results import config, make_run, run_json


@pytest.fixture(scope="module")
def result() -> RunResult:
    made = make_run(symbols=2, bars=200)[0]
    fills = sorted(made.fills, key=lambda fill: (fill.bar, fill.symbol))
    return replace(made, fills=tuple(fills))


def compared(first: RunResult, second: RunResult) -> dict[str, object]:
    return compare(first, second, summarise(first), summarise(second))


def test_a_run_equals_itself(result: RunResult) -> None:
    found = compared(result, result)
    assert found["settings"] == []
    assert found["candles_differ"] is False
    assert found["fills"] == {
        "a": len(result.fills),
        "b": len(result.fills),
        "same": len(result.fills),
        "first_difference": None,
    }


def test_settings_that_differ_are_dotted_keys(result: RunResult) -> None:
    changed = config(extra=1)
    changed["broker"]["slippage_ticks"] = 2
    other = replace(result, run=run_json(config=changed, store_hash="else"))
    found = compared(result, other)
    assert found["settings"] == [
        {"key": "broker.slippage_ticks", "a": "1", "b": "2"},
        {"key": "extra", "a": None, "b": "1"},
    ]
    assert found["candles_differ"] is True


def test_the_first_fill_that_differs_is_found(result: RunResult) -> None:
    fills = list(result.fills)
    fills[3] = replace(fills[3], price=fills[3].price + 50)
    found = compared(result, replace(result, fills=tuple(fills)))["fills"]
    assert found["same"] == 3
    assert found["first_difference"]["a"]["price"] == result.fills[3].price
    assert found["first_difference"]["b"]["price"] == fills[3].price


def test_a_fill_that_is_lacking_is_a_difference(result: RunResult) -> None:
    short = replace(result, fills=result.fills[:-1])
    found = compared(result, short)["fills"]
    assert found["same"] == len(short.fills)
    assert found["first_difference"]["b"] is None
    assert fill_line(None) == "no further fill"


def test_symbols_may_come_in_any_order_within_a_bar(result: RunResult) -> None:
    a, b = result.fills[0], replace(result.fills[0], symbol="990002")
    first = replace(result, fills=(a, b))
    second = replace(result, fills=(b, a))
    assert compared(first, second)["fills"]["first_difference"] is None


def test_numbers_carry_their_difference(result: RunResult) -> None:
    other = make_run(symbols=2, bars=200, seed=9)[0]
    found = compared(result, other)
    row = next(row for row in found["numbers"] if row["key"] == "total_return")
    assert row["difference"] == pytest.approx(row["b"] - row["a"])
    shown = number_rows(found, summarise(result), summarise(other))
    assert shown[0]["label"] == "Total return"
    assert shown[0]["difference"].endswith(" points")


def test_a_comparison_is_plain_json(result: RunResult) -> None:
    found = compared(result, make_run(symbols=2, bars=200, seed=9)[0])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_fill_reads_as_a_line(result: RunResult) -> None:
    found = compared(result, replace(result, fills=()))["fills"]
    line = fill_line(found["first_difference"]["a"])
    fill = result.fills[0]
    assert line == (
        f"{fill.bar:%Y-%m-%d %H:%M} {fill.symbol} buy {fill.quantity:,} at "
        f"{fill.price:,.0f} won"
    )


def test_the_page_escapes_names(result: RunResult) -> None:
    summary = summarise(result)
    page = render_comparison(
        result, result, (summary, summary), names=("<i>a", "b"), language="en"
    )
    assert "<i>a" not in page
    assert "&lt;i&gt;a" in page
    assert "All of them are the same." in page
