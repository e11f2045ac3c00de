"""What the page of a search shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kisbt.app.optimize import Plan, Search
from kisbt.optimize.overfit import Backtests
from kisbt.optimize.space import Params, Space, Span
from kisbt.optimize.trials import Trial
from kisbt.optimize.verdict import Assessment, Verdict, explain, yearly_sharpe
from kisbt.optimize.words import verdict_label
from kisbt.report.metric_words import (
    Unit,
    format_percent,
    format_value,
    metric_notes,
)
from kisbt.report.sheet import (
    Card,
    Section,
    Sheet,
    Table,
    bars_plot,
    curves_plot,
    heat_plot,
    histogram_plot,
    points_plot,
)
from kisbt.text import _

# Trials listed on the page; all of them are in trials.csv.
_LISTED = 100
_SPAN_CELLS = 10
# What a heat map may show besides the objective, and whether less is better.
_SHOWN = {
    "total_return": False,
    "sharpe": False,
    "max_drawdown": True,
    "trades": False,
    "profit_factor": False,
}
_COLUMNS = ("total_return", "sharpe", "max_drawdown", "trades", "win_rate", "costs")

TONES = {Verdict.OVERFIT: "bad", Verdict.WEAK: "doubt", Verdict.SOUND: "good"}


def show(value: float | None, digits: int = 3) -> str:
    """Return a number of no known unit."""
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"
    return text.replace("-", "−")


def show_metric(metrics: Mapping[str, Any] | None, key: str) -> str:
    """Return a number of the summary in its unit."""
    value = (metrics or {}).get(key)
    return "–" if value is None else format_value(value, metric_notes()[key])


def show_params(params: Params) -> str:
    """Return parameters as one line."""
    return ", ".join(f"{name}={value}" for name, value in params.items())


def search_sheet(search: Search) -> Sheet:
    """Return the page of a search, words in the language in force."""
    plan, found = search.plan, search.found
    assessment = search.assessment
    name = plan.config.strategy.class_.rpartition(":")[2]
    failed = sum(trial.metrics is None for trial in found.trials)
    return Sheet(
        title=_("Parameter search: {name}").format(name=name),
        badge=_("Search"),
        lead=_(
            "{trials:,} trials ({sampler}), objective {objective}, {first} – {last}, "
            "{symbols} symbols"
        ).format(
            trials=len(found.trials),
            sampler=plan.settings.sampler,
            objective=plan.objective.text,
            first=plan.prepared.first.astype("datetime64[D]"),
            last=plan.prepared.last.astype("datetime64[D]"),
            symbols=len(plan.prepared.instruments),
        ),
        alert=_("{count} trials failed; trials.csv says why.").format(count=failed)
        if failed
        else "",
        verdict=explain(assessment) if assessment else nothing_found(),
        tone=TONES[assessment.verdict] if assessment else "bad",
        sections=[
            section
            for section in (
                _best_section(search),
                check_section(assessment) if assessment else None,
                _equity_section(search),
                _heat_section(search),
                _importance_section(search),
                _progress_section(search),
                splits_section(assessment.backtests) if assessment else None,
                _trials_section(search),
            )
            if section is not None
        ],
        settings=[
            *settings_of(plan),
            ("seconds", f"{search.seconds:.1f}"),
            ("workers", str(search.workers)),
        ],
    )


def settings_of(plan: Plan) -> list[tuple[str, str]]:
    """Return the `optimize` block, without the address of the database."""
    return [
        (f"optimize.{key}", str(value))
        for key, value in plan.settings
        if key != "storage"
    ]


def nothing_found() -> str:
    """Return what to say when no trial can be chosen."""
    return _(
        "No trial has a value and meets the constraints, so there is no best one. "
        "Loosen optimize.constraints or widen optimize.space."
    )


def _best_section(search: Search) -> Section | None:
    best, baseline = search.best, search.plan.baseline
    if best is None:
        return None
    own = {name: search.plan.prepared.params[name] for name in search.plan.names}
    rows = [
        (name, str(best.params[name]), str(own[name])) for name in search.plan.names
    ]
    rows += [
        (
            metric_notes()[key].label,
            show_metric(best.metrics, key),
            show_metric(baseline.metrics, key),
        )
        for key in _COLUMNS
    ]
    objective = search.plan.objective
    rows.insert(
        len(own),
        (
            objective.text,
            show(search.best_value),
            show(objective.value(baseline.metrics)),
        ),
    )
    return Section(
        title=_("The best parameters"),
        table=Table(
            columns=("", _("Best"), _("Configuration")), rows=rows, words=frozenset({0})
        ),
        note=_("best.yaml has them, ready to run: kisbt backtest {file}").format(
            file="best.yaml"
        ),
    )


def check_section(found: Assessment) -> Section:
    """Return the overfit checks as cards."""
    cards = [Card(label=_("Verdict"), text=verdict_label(found.verdict))]
    if found.deflated is not None:
        cards += [
            Card(
                label=_("Deflated Sharpe ratio"),
                text=f"{found.deflated.probability:.1%}",
                tip=_(
                    "Probability that the true Sharpe ratio is above zero, after so "
                    "many tries (Bailey and López de Prado 2014). 95% and more is good."
                ),
            ),
            Card(
                label=_("Sharpe ratio, best / by luck"),
                text=f"{yearly_sharpe(found.deflated.observed):.2f} / "
                f"{yearly_sharpe(found.deflated.expected):.2f}",
                tip=_(
                    "Yearly. The second is what the best of so many trials shows on "
                    "average when none has an edge."
                ),
            ),
        ]
    if found.backtests is not None:
        cards.append(
            Card(
                label=_("Probability of overfitting"),
                text=f"{found.backtests.probability:.1%}",
                tip=_(
                    "How often the best trial of one half of the history is in the "
                    "lower half in the other (CSCV; Bailey, Borwein, López de Prado, "
                    "Zhu 2015). Good: near 0%; blind choice: 50%."
                ),
            )
        )
    if found.neighbours is not None:
        cards.append(
            Card(
                label=_("Neighbours' rank"),
                text=f"{found.neighbours.rank:.0%}",
                tip=_(
                    "Share of all trials that the combinations next to the best one "
                    "beat or equal. A plateau is near 100%."
                ),
            )
        )
    if found.entries is not None:
        cards.append(
            Card(
                label=_("Random entries as good"),
                text=f"{found.entries.p_value:.1%}",
                tip=_(
                    "Share of {draws} random sets of trades, with the same symbols, "
                    "holding times and costs, that earned at least as much a trade."
                ).format(draws="2,000"),
            )
        )
    if found.total_return is not None and found.hold_return is not None:
        cards.append(
            Card(
                label=_("Return, best / buy and hold"),
                text=f"{format_percent(found.total_return, signed=True)} / "
                f"{format_percent(found.hold_return, signed=True)}",
            )
        )
    return Section(title=_("Overfit checks"), cards=cards)


def _equity_section(search: Search) -> Section | None:
    run = search.best_run
    if run is None or not len(run.equity.equity):
        return None
    curves = {_("Best"): (run.equity.time, run.equity.equity)}
    if search.hold is not None:
        curves[_("Buy and hold")] = (search.hold.time, search.hold.value)
    return Section(
        title=_("Equity of the best trial"),
        plot=curves_plot(curves),
        note=_("These sessions chose the parameters, so expect less of later ones."),
    )


def heat_parameters(space: Space, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return each parameter's cells for a heat map."""
    found = []
    for name, parameter in space.parameters.items():
        values = [trial.params[name] for trial in trials]
        if isinstance(parameter, Span):
            unit = np.array([parameter.unit(value) for value in values])
            cell = np.minimum((unit * _SPAN_CELLS).astype(int), _SPAN_CELLS - 1)
            labels = []
            for k in range(_SPAN_CELLS):
                inside = [v for v, c in zip(values, cell, strict=True) if c == k]
                labels.append(f"≈{np.mean(inside):.4g}" if inside else f"· {k + 1}")
            found.append({"name": name, "labels": labels, "cell": cell.tolist()})
        else:
            listed = list(parameter.values)
            found.append(
                {
                    "name": name,
                    "labels": [str(value) for value in listed],
                    "cell": [listed.index(value) for value in values],
                }
            )
    return found


def _heat_section(search: Search) -> Section | None:
    plan, trials = search.plan, search.found.trials
    if len(plan.names) < 2 or not trials:
        return None
    values: list[dict[str, Any]] = [
        {
            "label": plan.objective.text,
            "data": [None if v is None else round(v, 6) for v in search.found.values],
            "percent": False,
        }
    ]
    for key, low in _SHOWN.items():
        if key in plan.objective.weights and len(plan.objective.weights) == 1:
            continue
        note = metric_notes()[key]
        values.append(
            {
                "label": note.label,
                "data": [(trial.metrics or {}).get(key) for trial in trials],
                "percent": note.unit is Unit.PERCENT,
                "low": low,
            }
        )
    return Section(
        title=_("Heat map"),
        plot=heat_plot(heat_parameters(plan.space, trials), values),
        note=_(
            "A wide bright area is worth more than a bright cell: prices never repeat "
            "exactly. Trials that break a constraint have no objective."
        ),
    )


def _importance_section(search: Search) -> Section | None:
    if not search.importance:
        return None
    return Section(
        title=_("What matters"),
        plot=bars_plot(search.importance),
        note=_(
            "Share of the objective's variance that each parameter explains alone. "
            "Near 0%: it hardly matters, or only together with another."
        ),
    )


def _progress_section(search: Search) -> Section:
    trials, values = search.found.trials, search.found.values
    hover = [
        f"{trial.number}: {show(value)} ({show_params(trial.params)})"
        for trial, value in zip(trials, values, strict=True)
    ]
    return Section(
        title=_("Trials in their order"),
        plot=points_plot(
            np.array([np.nan if v is None else v for v in values], dtype=np.float64),
            hover,
            x_title=_("Trial"),
            y_title=search.plan.objective.text,
        ),
    )


def splits_section(found: Backtests | None) -> Section | None:
    """Return how the winners of half the history did in the other half."""
    if found is None:
        return None
    yearly = [float(yearly_sharpe(value)) for value in found.out_of_sample]
    return Section(
        title=_("Winners of one half in the other half"),
        plot=histogram_plot(
            np.array(yearly), x_title=_("Yearly Sharpe ratio out of sample"), mark=0.0
        ),
        note=_(
            "{splits:,} ways to split the sessions into {blocks} blocks, half to "
            "choose and half to test. In {loss:.0%} of them the winner lost money."
        ).format(splits=len(found.logits), blocks=found.blocks, loss=found.loss),
    )


def _trials_section(search: Search) -> Section:
    plan = search.plan
    pairs = list(zip(search.found.trials, search.found.values, strict=True))
    pairs.sort(key=lambda pair: (pair[1] is None, -(pair[1] or 0.0), pair[0].number))
    notes = metric_notes()
    return Section(
        title=_("The best {count} trials").format(count=min(_LISTED, len(pairs))),
        table=Table(
            columns=(
                "#",
                *plan.names,
                plan.objective.text,
                *(notes[key].label for key in _COLUMNS),
                _("Error"),
            ),
            rows=[
                (
                    str(trial.number),
                    *(str(trial.params[name]) for name in plan.names),
                    show(value),
                    *(show_metric(trial.metrics, key) for key in _COLUMNS),
                    trial.error,
                )
                for trial, value in pairs[:_LISTED]
            ],
            words=frozenset({len(plan.names) + len(_COLUMNS) + 2}),
        ),
        note=_("trials.csv has all of them with every number."),
    )
