"""What the page of a per-symbol backtest shows."""

import numpy as np

from kisbt.app.per_symbol import PerSymbol, SymbolRun, symbol_outcome
from kisbt.app.searchpage import show_metric
from kisbt.report.metric_words import format_percent, metric_notes
from kisbt.report.sheet import (
    Card,
    Section,
    Sheet,
    Table,
    curves_plot,
    histogram_plot,
)
from kisbt.text import _

_COLUMNS = (
    "total_return",
    "buy_and_hold_return",
    "cagr",
    "sharpe",
    "max_drawdown",
    "trades",
    "win_rate",
    "costs",
)
# Rows on the page; per_symbol.csv has all.
_LISTED = 3_000


def symbol_sheet(found: PerSymbol) -> Sheet:
    """Return the page, words in the language in force."""
    name = found.config.strategy.class_.rpartition(":")[2]
    failed = [run for run in found.runs if run.metrics is None]
    sections = [_cards(found)]
    if found.average is not None:
        sections.append(
            Section(
                title=_("Equal shares in every symbol"),
                plot=curves_plot(
                    {_("All runs together"): (found.average.time, found.average.value)}
                ),
                note=_("A symbol listed later keeps its share in cash until then."),
            )
        )
    returns = np.array(
        [
            value
            for run in found.done
            if (value := (run.metrics or {})["total_return"]) is not None
        ]
    )
    sections += [
        Section(
            title=_("Returns"),
            plot=histogram_plot(
                returns, x_title=_("Total return"), mark=0.0, percent=True
            ),
        ),
        _table(found),
    ]
    return Sheet(
        title=_("Each symbol on its own: {name}").format(name=name),
        badge=_("Per symbol"),
        lead=_("{symbols:,} symbols, each with {capital:,} won").format(
            symbols=len(found.runs), capital=found.config.capital
        ),
        alert=_("{count} symbols could not run: {first}").format(
            count=len(failed), first=failed[0].error
        )
        if failed
        else "",
        sections=sections,
    )


def _cards(found: PerSymbol) -> Section:
    numbers = symbol_outcome(found)

    def percent(key: str) -> str:
        value = numbers[key]
        return "–" if value is None else format_percent(value)

    return Section(
        title=_("All symbols"),
        cards=[
            Card(label=_("Profitable"), text=percent("profitable")),
            Card(label=_("At least buy and hold"), text=percent("beat_buy_and_hold")),
            Card(label=_("Median return"), text=percent("median_return")),
            Card(label=_("Equal shares in all"), text=percent("average_return")),
            Card(label=_("Closed trades"), text=f"{numbers['trades']:,}"),
        ],
    )


def _rank(run: SymbolRun) -> tuple[bool, float]:
    value = (run.metrics or {}).get("total_return")
    return value is None, -(value or 0.0)


def _table(found: PerSymbol) -> Section:
    notes = metric_notes()
    return Section(
        title=_("Symbols"),
        table=Table(
            columns=(
                _("Symbol"),
                _("Name"),
                *(notes[key].label for key in _COLUMNS),
                _("Error"),
            ),
            rows=[
                (
                    run.symbol,
                    found.instruments[run.symbol].name,
                    *(show_metric(run.metrics, key) for key in _COLUMNS),
                    run.error,
                )
                for run in sorted(found.runs, key=_rank)[:_LISTED]
            ],
            words=frozenset({0, 1, len(_COLUMNS) + 2}),
        ),
        note=_("per_symbol.csv has every number."),
    )
