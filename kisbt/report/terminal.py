"""The summary of a run as rows of text, for a terminal."""

from kisbt.report.metric_words import format_metric, metric_notes
from kisbt.report.metrics import Summary
from kisbt.report.words import mode_label
from kisbt.text import _

_HEADLINE = (
    "total_return",
    "cagr",
    "buy_and_hold_return",
    "benchmark_return",
    "max_drawdown",
    "sharpe",
    "trades",
    "win_rate",
    "profit_factor",
    "exposure",
    "costs",
    "final_equity",
)


def summary_title(summary: Summary) -> str:
    """Return one line that says what ran: mode, period, sessions."""
    return _("{mode} · {first} to {last} · {sessions} sessions").format(
        mode=mode_label(str(summary["mode"])),
        first=summary["first_session"],
        last=summary["last_session"],
        sessions=f"{summary['sessions']:,}",
    )


def summary_lines(summary: Summary) -> list[tuple[str, str]]:
    """Return label and text of the headline numbers, in the language in force.

    What a reader must not overlook follows them: open positions, skipped entries
    and refused orders, each only if there are any.
    """
    notes = metric_notes()
    lines = [(notes[key].label, format_metric(summary, key)) for key in _HEADLINE]
    if summary["metrics"].get("open_positions"):
        count = format_metric(summary, "open_positions")
        value = format_metric(summary, "unrealised_pnl")
        lines.append(
            (
                notes["open_positions"].label,
                _("{count}, unrealised {value}").format(count=count, value=value),
            )
        )
    skipped = sum(row["count"] for row in summary["skipped"])
    refused = sum(row["count"] for row in summary["refused"])
    if skipped:
        lines.append((_("Entries skipped"), f"{skipped:,}"))
    if refused:
        lines.append((_("Orders refused"), f"{refused:,}"))
    return lines
