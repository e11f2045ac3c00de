"""A finished comparison as JSON and as one offline page."""

from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

import kisbt
from kisbt.model.order import Side
from kisbt.model.result import FillRow, RunResult, TradeRow
from kisbt.report.compare import curve_json
from kisbt.report.csvfiles import time_text
from kisbt.report.html import asset, content_policy, environment
from kisbt.report.livefiles import LiveRun
from kisbt.report.pack import pack_json
from kisbt.report.parity_values import (
    Difference,
    Outcome,
    Parity,
    fill_value,
    whole_fills,
)
from kisbt.report.parity_words import (
    befell_rows,
    cause_label,
    cause_note,
    difference_row,
    verdict,
    won_text,
)
from kisbt.report.words import mode_label
from kisbt.text import _, use_language

PARITY_PAGE, PARITY_JSON = "parity.html", "parity.json"

_SHOWN = 500
"""Fills listed on the page; the rest is in fills.csv."""


def parity_json(run: RunResult, parity: Parity) -> dict[str, Any]:
    """Return the comparison as plain JSON values; money is won."""
    return {
        "run": run.run.get("id"),
        "mode": run.run.get("mode"),
        "same": parity.same,
        "explained": parity.explained,
        "orders": _count_json(parity.orders),
        "fills": _count_json(parity.fills),
        "trades": _count_json(parity.trades),
        "run_equity": round(parity.run_equity, 2),
        "backtest_equity": round(parity.backtest_equity, 2),
        "total_cost": round(parity.total_cost, 2),
        "costs": {cause.value: round(won, 2) for cause, won in parity.costs.items()},
        "followed": round(parity.followed, 2),
        "differences": [_difference_json(d) for d in parity.differences],
    }


def _count_json(count: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("run", "backtest", "same"), count, strict=True))


def _difference_json(difference: Difference) -> dict[str, Any]:
    return {
        "cause": difference.cause.value,
        "explained": difference.explained,
        "bar": time_text(difference.bar),
        "symbol": difference.symbol,
        "side": None if difference.side is None else difference.side.value,
        "order_ref": difference.order_ref,
        "expected": _outcome_json(difference.expected),
        "found": _outcome_json(difference.found),
        "note": difference.note,
        "cost": round(difference.cost, 2),
    }


def _outcome_json(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {
        "state": outcome.state.value,
        "type": outcome.type.value,
        "asked": outcome.asked,
        "limit_price": outcome.limit_price,
        "stop_price": outcome.stop_price,
        "quantity": outcome.quantity,
        "price": outcome.price,
        "fees": outcome.fees,
        "bar": None if outcome.bar is None else time_text(outcome.bar),
    }


def render_parity(
    run: RunResult,
    live: LiveRun,
    backtest: RunResult,
    parity: Parity,
    *,
    language: str,
) -> str:
    """Return one offline page: the answer, the causes, every difference.

    Args:
        run, live: paper or live.
        backtest: of the candles it saw.
        parity: what `find_differences` found.
        language: ``ko`` or ``en``.
    """
    with use_language(language):
        script = asset("compare.js")
        label = mode_label(str(run.run.get("mode", "")))
        payload = {
            "language": language,
            "words": {
                "wonAmount": _("{amount} won"),
                "return": _("Return since the start"),
            },
            "curves": [curve_json(run, label), curve_json(backtest, _("Backtest"))],
        }
        return (
            environment()
            .get_template("parity.html.j2")
            .render(
                _=_,
                language=language,
                version=kisbt.__version__,
                csp=content_policy(get_plotlyjs(), script),
                plotly=Markup(get_plotlyjs()),  # noqa: S704 - the package's own script
                script=Markup(script),  # noqa: S704 - our own script
                style=Markup(asset("report.css")),  # noqa: S704 - our own style
                payload=pack_json(payload),
                run=run.run,
                mode=label,
                parity=parity,
                verdict=verdict(parity),
                counts=[
                    {"name": name, "run": a, "backtest": b, "same": same}
                    for name, (a, b, same) in (
                        (_("Orders"), parity.orders),
                        (_("Fills"), parity.fills),
                        (_("Trades"), parity.trades),
                    )
                ],
                costs=[
                    {
                        "label": cause_label(cause),
                        "note": cause_note(cause),
                        "count": sum(d.cause is cause for d in parity.differences),
                        "cost": won_text(won),
                    }
                    for cause, won in sorted(
                        parity.costs.items(), key=lambda item: -abs(item[1])
                    )
                ],
                befell=befell_rows(live),
                followed=won_text(parity.followed),
                total=won_text(parity.total_cost),
                differences=[
                    {**difference_row(d), "explained": d.explained}
                    for d in parity.differences
                ],
                fills=_fill_rows(run, backtest)[:_SHOWN],
                trades=_trade_rows(run, backtest)[:_SHOWN],
            )
        )


def _fill_rows(run: RunResult, backtest: RunResult) -> list[dict[str, Any]]:
    """Return the fills of both in one list by bar; equal ones stand together."""
    left = whole_fills(backtest.fills)
    values = [fill_value(fill) for fill in left]
    rows = []
    for fill in whole_fills(run.fills):
        value = fill_value(fill)
        if value in values:
            at = values.index(value)
            values.pop(at)
            left.pop(at)
            rows.append(_fill_row(fill, "both"))
        else:
            rows.append(_fill_row(fill, "run"))
    rows += [_fill_row(fill, "backtest") for fill in left]
    rows.sort(key=lambda row: (row["bar"], row["symbol"], row["where"]))
    return rows


def _fill_row(fill: FillRow, where: str) -> dict[str, Any]:
    return {
        "where": where,
        "bar": f"{fill.bar:%Y-%m-%d %H:%M}",
        "symbol": fill.symbol,
        "side": _("buy") if fill.side is Side.BUY else _("sell"),
        "quantity": f"{fill.quantity:,}",
        "price": f"{fill.price:,.10g}",
        "fees": f"{round(fill.commission + fill.tax):,}",
    }


def _trade_rows(run: RunResult, backtest: RunResult) -> list[dict[str, Any]]:
    """Return the round trips of both, paired by symbol and entry."""
    pairs: dict[tuple[Any, ...], list[TradeRow | None]] = {}
    for place, trades in enumerate((run.trades, backtest.trades)):
        seen: dict[tuple[Any, ...], int] = {}
        for trade in trades:
            name = (trade.entry_time, trade.symbol)
            seen[name] = seen.get(name, 0) + 1
            pair = pairs.setdefault((*name, seen[name]), [None, None])
            pair[place] = trade
    rows = []
    for key in sorted(pairs):
        made, expected = pairs[key]
        some = made or expected
        assert some is not None
        rows.append(
            {
                "entry": f"{some.entry_time:%Y-%m-%d %H:%M}",
                "symbol": some.symbol,
                "run": "–" if made is None else won_text(made.net_pnl),
                "backtest": "–" if expected is None else won_text(expected.net_pnl),
                "difference": won_text(
                    (made.net_pnl if made else 0.0)
                    - (expected.net_pnl if expected else 0.0)
                ),
            }
        )
    return rows
