"""One self-contained page: the report of a run, without any network."""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import kisbt
from kisbt.clock import KST
from kisbt.model.order import Side
from kisbt.model.result import OpenPosition, RunResult, Times, TradeRow
from kisbt.report.assumptions import Kind, assumptions, kind_title, setting
from kisbt.report.charts import SymbolChart
from kisbt.report.figures import heat, minutes, overview
from kisbt.report.folder import write_text
from kisbt.report.metric_words import (
    Unit,
    format_metric,
    format_percent,
    format_won,
    metric_groups,
    metric_notes,
)
from kisbt.report.metrics import SESSIONS_A_YEAR, Summary
from kisbt.report.pack import pack_axis, pack_chart, pack_json
from kisbt.report.page_words import page_words
from kisbt.report.words import mode_label, order_state_label
from kisbt.text import _, use_language

_HEADLINE = (
    "total_return",
    "cagr",
    "max_drawdown",
    "sharpe",
    "buy_and_hold_return",
    "benchmark_return",
    "trades",
    "costs",
)


def write_report(
    path: Path,
    result: RunResult,
    summary: Summary,
    charts: Mapping[str, SymbolChart],
    *,
    language: str,
) -> Path:
    """Write the page, whole or not at all.

    Raises:
        StorageError: it could not be written; an older page is untouched.
    """
    write_text(path, render_report(result, summary, charts, language=language))
    return path


def render_report(
    result: RunResult,
    summary: Summary,
    charts: Mapping[str, SymbolChart],
    *,
    language: str,
) -> str:
    """Return the page.

    Args:
        result: the run.
        summary: its numbers, as `kisbt.report.metrics.summarise` returns them.
        charts: candles and indicators by symbol; symbols without stay undrawn.
        language: ``ko`` or ``en``.
    """
    with use_language(language):
        axis = _axis(charts)
        script = asset("report.js")
        page = _page(result, summary, language)
        return (
            environment()
            .get_template("report.html.j2")
            .render(
                **page,
                _=_,
                csp=content_policy(get_plotlyjs(), script),
                plotly=Markup(get_plotlyjs()),  # noqa: S704 - the package's own script
                script=Markup(script),  # noqa: S704 - our own script
                style=Markup(asset("report.css")),  # noqa: S704 - our own style
                payload=pack_json(_payload(result, charts, language)),
                axis=pack_axis(axis),
                charts={
                    code: pack_chart(chart, axis)
                    for code, chart in charts.items()
                    if len(chart.end)
                },
            )
        )


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates; what they are given is escaped."""
    return Environment(
        loader=PackageLoader("kisbt.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=4)
def asset(name: str) -> str:
    """Return a file of the templates folder."""
    return (files("kisbt.report") / "templates" / name).read_text(encoding="utf-8")


def content_policy(*scripts: str) -> str:
    """Return a policy that forbids the network and every script but these.

    Source:
        Content Security Policy Level 3, W3C: ``script-src`` with hashes.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _axis(charts: Mapping[str, SymbolChart]) -> Times:
    """Return every bar time of every chart once, increasing."""
    times = [chart.end for chart in charts.values() if len(chart.end)]
    if not times:
        return np.array([], dtype="datetime64[s]")
    return np.unique(np.concatenate(times))


def _page(result: RunResult, summary: Summary, language: str) -> dict[str, Any]:
    """Return what the template shows without the script."""
    run = result.run
    notes = metric_notes()
    config = run.get("config") or {}
    return {
        "language": language,
        "version": kisbt.__version__,
        "run": run,
        "mode": mode_label(str(run.get("mode", ""))),
        "strategy": setting(config, "strategy.class", ""),
        "summary": summary,
        "notes": notes,
        "headline": [
            {"key": key, **_metric(summary, key)}
            for key in _HEADLINE
            if key != "benchmark_return" or result.benchmark is not None
        ],
        "groups": [
            {
                "title": group.title,
                "rows": [_metric(summary, key) for key in group.keys],
            }
            for group in metric_groups()
        ],
        "months": _months(summary),
        "drawdown": summary["drawdown"],
        "exits": _by_reason(result.trades),
        "costs": _cost_rows(summary),
        "open_positions": _open_rows(result),
        "skipped": summary["skipped"],
        "refused": summary["refused"],
        "states": [
            (order_state_label(state), count)
            for state, count in summary["order_states"].items()
        ],
        "assumptions": _assumption_groups(result),
        "settings": list(flat_settings(config)),
        "provenance": _provenance(run),
        "sessions_a_year": SESSIONS_A_YEAR,
        "failed": str(run.get("exit_state", "done")) != "done",
        "too_old": page_words()["tooOld"],
        "symbol_count": len(result.instruments),
        "won": format_won,
        "percent": format_percent,
        "share": _share,
        "tenths": _tenths,
        "price": _price,
    }


def _metric(summary: Summary, key: str) -> dict[str, Any]:
    """Return one number as the template shows it."""
    note = metric_notes()[key]
    value = summary["metrics"].get(key)
    return {
        "label": note.label,
        "text": format_metric(summary, key),
        "formula": note.formula,
        "tone": _tone(value) if note.signed else "",
        "missing": value is None,
        "money": note.unit is Unit.WON,
    }


def _tenths(value: float) -> str:
    """Return a fraction in per cent with one decimal, without the sign."""
    return f"{round(value * 100, 1) + 0.0:,.1f}".replace("-", "−")


def _share(value: float) -> str:
    return f"{_tenths(value)}%"


def _price(value: float) -> str:
    return f"{value:,.2f}".removesuffix(".00")


def _tone(value: float | None) -> str:
    if not value:
        return ""
    return "up" if value > 0 else "down"


def _months(summary: Summary) -> dict[str, Any]:
    """Return the monthly table with colours."""
    yearly = {row["year"]: row for row in summary["yearly"]}
    cells = [v for row in summary["monthly"] for v in row["months"] if v is not None]
    # One wild month must not pale all others.
    most = float(np.quantile(np.abs(cells), 0.95)) if cells else 0.0
    others = [
        name
        for name in ("benchmark", "buy_and_hold")
        if any(name in row for row in summary["yearly"])
    ]
    return {
        "names": _month_names(),
        "others": others,
        "rows": [
            {
                "year": row["year"],
                "months": [
                    {"value": v, "tone": _tone(v), "heat": round(heat(v, most), 3)}
                    for v in row["months"]
                ],
                "total": yearly[row["year"]]["return"],
                "total_tone": _tone(yearly[row["year"]]["return"]),
                "others": [yearly[row["year"]].get(name) for name in others],
            }
            for row in summary["monthly"]
        ],
    }


def _month_names() -> tuple[str, ...]:
    return (
        *(_("Jan"), _("Feb"), _("Mar"), _("Apr"), _("May"), _("Jun")),
        *(_("Jul"), _("Aug"), _("Sep"), _("Oct"), _("Nov"), _("Dec")),
    )


def _by_reason(trades: Iterable[TradeRow]) -> list[dict[str, Any]]:
    """Return what each exit reason brought, the most frequent first."""
    groups: dict[str, list[TradeRow]] = defaultdict(list)
    for trade in trades:
        groups[trade.exit_reason].append(trade)
    rows = [
        {
            "reason": reason,
            "trades": len(group),
            "win_rate": sum(trade.net_pnl > 0 for trade in group) / len(group),
            "net": (net := sum(trade.net_pnl for trade in group)),
            "tone": _tone(net),
            "average": sum(trade.return_pct for trade in group) / len(group) / 100,
            "worst": min(trade.return_pct for trade in group) / 100,
        }
        for reason, group in groups.items()
    ]
    return sorted(rows, key=lambda row: -float(row["trades"]))


def _cost_rows(summary: Summary) -> list[dict[str, Any]]:
    """Return commission, tax and slippage with their share of all costs."""
    metrics = summary["metrics"]
    total = metrics["costs"]
    traded = metrics["bought"] + metrics["sold"]
    return [
        {
            "key": key,
            "label": metric_notes()[key].label,
            "formula": metric_notes()[key].formula,
            "value": metrics[key],
            "share": metrics[key] / total if total else 0.0,
            "of_traded": metrics[key] / traded if traded else None,
        }
        for key in ("commission", "tax", "slippage")
    ]


def _open_rows(result: RunResult) -> list[dict[str, Any]]:
    rows = []
    for held in result.open_positions:
        instrument = result.instruments.get(held.symbol)
        cost = held.quantity * held.average_price
        rows.append(
            {
                "symbol": held.symbol,
                "name": instrument.name if instrument else "",
                "quantity": held.quantity,
                "average_price": held.average_price,
                "entry": _moment(held.entry_time, result),
                "last_price": held.last_price,
                "last": _moment(held.last_time, result),
                "value": held.market_value,
                "pnl": held.unrealised_pnl,
                "tone": _tone(held.unrealised_pnl),
                "return": held.unrealised_pnl / cost if cost else None,
                "flag": _note(held),
            }
        )
    return rows


def _note(held: OpenPosition) -> str:
    """Return what a reader must know of an open position."""
    notes = [held.flag] if held.flag else []
    if held.realised_pnl:
        notes.append(
            _("partly sold: {won} earned so far, before costs").format(
                won=format_won(held.realised_pnl, signed=True)
            )
        )
    return "; ".join(notes)


def _moment(time: datetime, result: RunResult) -> str:
    """Return a date for daily bars, a date and time for shorter ones."""
    daily = result.run.get("interval", "1d") == "1d"
    return time.astimezone(KST).strftime("%Y-%m-%d" if daily else "%Y-%m-%d %H:%M")


def _assumption_groups(result: RunResult) -> list[dict[str, Any]]:
    found = assumptions(result)
    return [
        {
            "kind": kind.value,
            "title": kind_title(kind),
            "texts": [item.text for item in found if item.kind is kind],
        }
        for kind in (Kind.CAREFUL, Kind.NOT_MODELLED, Kind.MODELLED)
    ]


def flat_settings(
    config: Mapping[str, Any], prefix: str = ""
) -> Iterable[tuple[str, str]]:
    """Return the merged configuration as dotted keys and JSON texts."""
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat_settings(value, f"{path}.")
        else:
            yield path, json.dumps(value, ensure_ascii=False, default=str)


def _provenance(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what identifies the run: versions and hashes."""
    rows = [
        (_("Run"), run.get("id")),
        (_("Started"), run.get("started")),
        (_("Ended"), run.get("ended")),
        (_("Engine"), run.get("engine")),
        (_("Why not the fast engine"), run.get("engine_fallback")),
        (_("Settings hash"), run.get("config_hash")),
        (_("Candle store hash"), run.get("store_hash")),
        (_("Warm-up bars"), run.get("warmup_bars")),
        (_("Bar interval"), run.get("interval")),
        (_("State at the end"), run.get("exit_state")),
    ]
    versions = run.get("versions") or {}
    return [(label, str(value)) for label, value in rows if value not in (None, "")] + [
        (f"{name}", str(version)) for name, version in versions.items()
    ]


def _payload(
    result: RunResult, charts: Mapping[str, SymbolChart], language: str
) -> dict[str, Any]:
    """Return what the script needs, candles apart."""
    run = result.run
    traded = [row.symbol for row in result.trades] + [f.symbol for f in result.fills]
    codes = list(dict.fromkeys([*charts, *result.instruments, *traded]))
    number = {code: index for index, code in enumerate(codes)}
    params = setting(run.get("config") or {}, "strategy.params", {}) or {}
    return {
        "language": language,
        "words": page_words(),
        "daily": run.get("interval", "1d") == "1d",
        "overview": overview(result),
        "symbols": _symbols(result, charts, codes),
        "trades": _trade_columns(result.trades, number),
        "fills": _fill_columns(result, number),
        "guides": {
            "RSI": [
                value
                for value in (
                    params.get("rsi_oversold", params.get("oversold")),
                    params.get("rsi_overbought", params.get("overbought")),
                )
                if isinstance(value, int | float)
            ]
        },
    }


def _symbols(
    result: RunResult, charts: Mapping[str, SymbolChart], codes: Iterable[str]
) -> list[dict[str, Any]]:
    trades: dict[str, int] = defaultdict(int)
    net: dict[str, float] = defaultdict(float)
    for trade in result.trades:
        trades[trade.symbol] += 1
        net[trade.symbol] += trade.net_pnl
    rows = []
    for code in codes:
        instrument = result.instruments.get(code)
        chart = charts.get(code)
        rows.append(
            {
                "code": code,
                "name": instrument.name if instrument else "",
                "market": instrument.market.value if instrument else "",
                "product": instrument.product.value if instrument else "",
                "trades": trades[code],
                "net": round(net[code]),
                "drawn": chart is not None and len(chart.end) > 0,
            }
        )
    return rows


def _trade_columns(
    trades: Iterable[TradeRow], number: Mapping[str, int]
) -> dict[str, list[Any]]:
    rows = tuple(trades)
    return {
        "symbol": [number[row.symbol] for row in rows],
        "entryTime": _minutes([row.entry_time for row in rows]),
        "entryPrice": [round(row.entry_price, 4) for row in rows],
        "exitTime": _minutes([row.exit_time for row in rows]),
        "exitPrice": [round(row.exit_price, 4) for row in rows],
        "quantity": [row.quantity for row in rows],
        "gross": [round(row.gross_pnl, 2) for row in rows],
        "costs": [round(row.commission + row.tax, 2) for row in rows],
        "net": [round(row.net_pnl, 2) for row in rows],
        "returnPct": [round(row.return_pct, 4) for row in rows],
        "bars": [row.bars_held for row in rows],
        "entryReason": [row.entry_reason for row in rows],
        "exitReason": [row.exit_reason for row in rows],
    }


def _fill_columns(result: RunResult, number: Mapping[str, int]) -> dict[str, list[Any]]:
    reasons = {order.ref: order.reason for order in result.orders}
    return {
        "symbol": [number[fill.symbol] for fill in result.fills],
        "bar": _minutes([fill.bar for fill in result.fills]),
        "buy": [int(fill.side is Side.BUY) for fill in result.fills],
        "quantity": [fill.quantity for fill in result.fills],
        "price": [round(fill.price, 4) for fill in result.fills],
        "reason": [reasons.get(fill.order_ref, "") for fill in result.fills],
    }


def _minutes(times: list[datetime]) -> list[int]:
    naive = [time.astimezone(KST).replace(tzinfo=None) for time in times]
    return minutes(np.array(naive, dtype="datetime64[s]"))
