"""Two runs side by side: settings, numbers and the first fill that differs."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import kisbt
from kisbt.model.result import FillRow, RunResult
from kisbt.report.csvfiles import time_text
from kisbt.report.figures import json_numbers, minutes, thinned
from kisbt.report.html import asset, content_policy, environment, flat_settings
from kisbt.report.metric_words import (
    format_difference,
    format_metric,
    metric_groups,
    metric_notes,
)
from kisbt.report.metrics import Summary, starting_value
from kisbt.report.pack import pack_json
from kisbt.report.words import mode_label
from kisbt.text import _, use_language

Comparison = Mapping[str, Any]
"""What `compare` found: plain JSON values."""


def compare(
    first: RunResult,
    second: RunResult,
    first_summary: Summary,
    second_summary: Summary,
) -> dict[str, Any]:
    """Return what differs between two runs.

    Returns:
        ``runs`` (two ids), ``settings`` (rows ``key``, ``a``, ``b`` of dotted keys
        that differ, values as JSON text, None where a run lacks the key),
        ``numbers`` (rows ``key``, ``a``, ``b``, ``difference`` for every number),
        ``fills`` (``a``, ``b``: how many, ``same``: how many are equal before the
        first that differs, ``first_difference``: ``a`` and ``b``, or None) and
        ``candles_differ`` (whether the runs read different candles).
    """
    runs = (first.run, second.run)
    return {
        "runs": [run.get("id") for run in runs],
        "candles_differ": runs[0].get("store_hash") != runs[1].get("store_hash"),
        "settings": _different_settings(*(run.get("config") or {} for run in runs)),
        "numbers": _numbers(first_summary["metrics"], second_summary["metrics"]),
        "fills": _fills(first.fills, second.fills),
    }


def _different_settings(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[dict[str, Any]]:
    a, b = dict(flat_settings(first)), dict(flat_settings(second))
    return [
        {"key": key, "a": a.get(key), "b": b.get(key)}
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key)
    ]


def _numbers(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[dict[str, Any]]:
    rows = []
    for key in (key for group in metric_groups() for key in group.keys):
        a, b = first.get(key), second.get(key)
        difference = None if a is None or b is None else b - a
        rows.append({"key": key, "a": a, "b": b, "difference": difference})
    return rows


def _order_of(fill: FillRow) -> tuple[Any, ...]:
    # Which of two symbols comes first within a bar means nothing.
    return (fill.bar, fill.symbol)


def _same(a: FillRow | None, b: FillRow | None) -> bool:
    if a is None or b is None:
        return a is b
    return (
        (a.bar, a.symbol, a.side, a.quantity) == (b.bar, b.symbol, b.side, b.quantity)
        and abs(a.price - b.price) <= 1e-9 * max(1.0, abs(a.price))
        and (round(a.commission, 2), round(a.tax, 2))
        == (round(b.commission, 2), round(b.tax, 2))
    )


def _fills(first: Sequence[FillRow], second: Sequence[FillRow]) -> dict[str, Any]:
    pairs = zip_longest(sorted(first, key=_order_of), sorted(second, key=_order_of))
    same = 0
    difference = None
    for a, b in pairs:
        if not _same(a, b):
            difference = {"a": _fill_json(a), "b": _fill_json(b)}
            break
        same += 1
    return {
        "a": len(first),
        "b": len(second),
        "same": same,
        "first_difference": difference,
    }


def _fill_json(fill: FillRow | None) -> dict[str, Any] | None:
    if fill is None:
        return None
    return {
        "bar": time_text(fill.bar),
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": fill.quantity,
        "price": fill.price,
        "commission": fill.commission,
        "tax": fill.tax,
    }


def fill_line(fill: Mapping[str, Any] | None) -> str:
    """Return a fill of a comparison as one line for people."""
    if fill is None:
        return _("no further fill")
    return _("{bar} {symbol} {side} {quantity} at {price} won").format(
        bar=fill["bar"][:16].replace("T", " "),
        symbol=fill["symbol"],
        side=_("buy") if fill["side"] == "buy" else _("sell"),
        quantity=f"{fill['quantity']:,}",
        price=f"{fill['price']:,.2f}".removesuffix(".00"),
    )


def number_rows(
    found: Comparison, first_summary: Summary, second_summary: Summary
) -> list[dict[str, str]]:
    """Return the numbers as rows ``label``, ``a``, ``b``, ``difference`` of text."""
    notes = metric_notes()
    return [
        {
            "label": notes[row["key"]].label,
            "a": format_metric(first_summary, row["key"]),
            "b": format_metric(second_summary, row["key"]),
            "difference": "–"
            if row["difference"] is None
            else format_difference(row["difference"], notes[row["key"]]),
        }
        for row in found["numbers"]
    ]


def render_comparison(
    first: RunResult,
    second: RunResult,
    summaries: tuple[Summary, Summary],
    *,
    names: tuple[str, str],
    language: str,
) -> str:
    """Return one offline page that shows two runs side by side.

    Args:
        first, second: the runs.
        summaries: their numbers.
        names: what to call them, for example their folders.
        language: ``ko`` or ``en``.
    """
    with use_language(language):
        found = compare(first, second, *summaries)
        script = asset("compare.js")
        payload = {
            "language": language,
            "words": {
                "wonAmount": _("{amount} won"),
                "return": _("Return since the start"),
            },
            "curves": [
                curve_json(run, name)
                for run, name in zip((first, second), names, strict=True)
            ],
        }
        difference = found["fills"]["first_difference"]
        return (
            environment()
            .get_template("compare.html.j2")
            .render(
                _=_,
                language=language,
                version=kisbt.__version__,
                csp=content_policy(get_plotlyjs(), script),
                plotly=Markup(get_plotlyjs()),  # noqa: S704 - the package's own script
                script=Markup(script),  # noqa: S704 - our own script
                style=Markup(asset("report.css")),  # noqa: S704 - our own style
                payload=pack_json(payload),
                names=names,
                modes=[mode_label(str(s["mode"])) for s in summaries],
                summaries=summaries,
                found=found,
                numbers=number_rows(found, *summaries),
                lines=[fill_line(difference[side]) for side in ("a", "b")]
                if difference
                else None,
            )
        )


def curve_json(result: RunResult, name: str) -> dict[str, Any]:
    """Return equity as a return since the start, thinned for drawing."""
    equity = result.equity.equity
    start = starting_value(result)
    keep = thinned(equity)
    gain = equity[keep] / start - 1.0 if start else np.zeros(len(keep))
    return {
        "name": name,
        "time": minutes(result.equity.time[keep]),
        "gain": json_numbers(gain, 6),
        "equity": json_numbers(equity[keep], 0),
    }
