import pytest

from kisbt.report.metric_words import (
    format_metric,
    format_percent,
    format_won,
    metric_groups,
    metric_notes,
    missing_text,
)
from kisbt.report.metrics import summarise
from kisbt.report.terminal import summary_lines, summary_title
from tests.helpers.results import make_run
from tests.helpers.small_run import run_of


def test_the_title_says_what_ran() -> None:
    summary = summarise(make_run(symbols=2, bars=300)[0])
    assert summary_title(summary) == (
        "Backtest · 2010-01-04 to 2011-02-25 · 300 sessions"
    )


def test_the_lines_name_what_must_not_be_overlooked() -> None:
    summary = summarise(make_run(symbols=3, bars=150)[0])
    lines = dict(summary_lines(summary))
    assert lines["Total return"].endswith("%")
    assert lines["Positions still open"].startswith("3, unrealised")
    assert lines["Orders refused"] == str(sum(r["count"] for r in summary["refused"]))


def test_a_missing_number_says_why() -> None:
    summary = summarise(run_of([100.0]))
    assert format_metric(summary, "sharpe") == "– (no trades)"
    assert "Positions still open" not in dict(summary_lines(summary))


def test_every_number_that_is_shown_is_explained() -> None:
    notes = metric_notes()
    metrics = summarise(run_of([100.0]))["metrics"]
    shown = {key for group in metric_groups() for key in group.keys}
    assert shown <= set(notes)
    assert shown <= set(metrics)
    assert all(note.formula and note.label for note in notes.values())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234, "12.34%"), (-0.1234, "−12.34%"), (0.000123, "0.0123%"), (0.0, "0.00%")],
)
def test_percent(value: float, text: str) -> None:
    assert format_percent(value) == text


def test_signs_are_shown_where_they_mean_something() -> None:
    assert format_percent(0.01, signed=True) == "+1.00%"
    assert format_won(1_234_567.4, signed=True) == "+1,234,567 won"
    assert format_won(-1_234.0) == "−1,234 won"
    assert format_won(-0.2, signed=True) == "0 won"


def test_an_unknown_reason_is_still_a_text() -> None:
    assert missing_text("anything") == "not defined"
