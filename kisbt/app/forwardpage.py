"""What the page of a walk-forward analysis shows."""

import numpy as np

from kisbt.app.searchpage import TONES, settings_of, show, show_params
from kisbt.app.walkforward import WalkForward, window_rows
from kisbt.optimize.verdict import ForwardAssessment, explain_forward
from kisbt.optimize.words import verdict_label
from kisbt.report.metric_words import format_percent
from kisbt.report.sheet import Card, Section, Sheet, Table, curves_plot
from kisbt.text import _


def forward_sheet(done: WalkForward) -> Sheet:
    """Return the page, words in the language in force."""
    plan, found = done.plan, done.assessment
    asked = plan.settings.walkforward
    name = plan.config.strategy.class_.rpartition(":")[2]
    kind = _("anchored") if asked.anchored else _("rolling")
    return Sheet(
        title=_("Walk-forward analysis: {name}").format(name=name),
        badge=_("Walk-forward"),
        lead=_(
            "{windows} {kind} windows of {train} + {test} sessions, {trials:,} trials "
            "each ({sampler}), objective {objective}"
        ).format(
            windows=len(done.steps),
            kind=kind,
            train=asked.train,
            test=asked.test,
            trials=plan.sampler.total,
            sampler=plan.settings.sampler,
            objective=plan.objective.text,
        ),
        alert=_(
            "In {count} windows no trial met the constraints; they are left out."
        ).format(count=len(done.skipped))
        if done.skipped
        else "",
        verdict=explain_forward(found),
        tone=TONES[found.verdict],
        sections=[
            _equity_section(done),
            _check_section(done, found),
            _stability_section(done),
            _windows_section(done),
        ],
        settings=settings_of(plan),
    )


def _equity_section(done: WalkForward) -> Section:
    capital = float(done.plan.config.capital)
    time = np.concatenate((done.equity.time[:1], done.equity.time))
    value = np.concatenate(([capital], done.equity.value))
    curves = {_("Tests strung together"): (time, value)}
    if done.hold is not None:
        curves[_("Buy and hold")] = (done.hold.time, done.hold.value)
    return Section(
        title=_("Equity on unseen sessions"),
        plot=curves_plot(
            curves,
            borders=[step.window.test.first.isoformat() for step in done.steps],
        ),
        note=_(
            "Each test begins without shares; what it still holds at its end counts at "
            "the last close, without the costs of selling. Dotted lines are borders."
        ),
    )


def _check_section(done: WalkForward, found: ForwardAssessment) -> Section:
    kept = done.efficiency
    cards = [
        Card(label=_("Verdict"), text=verdict_label(found.verdict)),
        Card(
            label=_("Walk-forward efficiency"),
            text="–" if kept.ratio is None else f"{kept.ratio:.0%}",
            tip=_(
                "Yearly return of the tests over that of the training windows (Pardo "
                "2008). Half is a common floor."
            ),
        ),
        Card(
            label=_("Yearly return, training / tests"),
            text=f"{format_percent(kept.in_sample, signed=True)} / "
            f"{format_percent(kept.out_of_sample, signed=True)}",
        ),
        Card(
            label=_("Sharpe ratio of the tests"),
            text=show(found.sharpe, 2),
            tip=_("Yearly, on sessions that no search had seen."),
        ),
        Card(
            label=_("Probability that it is above zero"),
            text="–" if found.probability is None else f"{found.probability:.1%}",
            tip=_(
                "Probabilistic Sharpe ratio (Bailey and López de Prado 2012). 95% and "
                "more is good."
            ),
        ),
        Card(label=_("Tests without a loss"), text=f"{kept.profitable:.0%}"),
    ]
    if found.mean_overfitting is not None:
        cards.append(
            Card(
                label=_("Probability of overfitting in training"),
                text=f"{found.mean_overfitting:.1%}",
                tip=_("Average of the windows (CSCV). Good: near 0%; blind: 50%."),
            )
        )
    if found.entries is not None:
        cards.append(
            Card(label=_("Random entries as good"), text=f"{found.entries.p_value:.1%}")
        )
    return Section(title=_("Checks"), cards=cards)


def _stability_section(done: WalkForward) -> Section:
    return Section(
        title=_("Stability of the parameters"),
        table=Table(
            columns=(_("Parameter"), _("Chosen"), _("Spread"), _("Kept")),
            rows=[
                (
                    name,
                    " → ".join(map(str, item.values)),
                    "–" if item.spread is None else f"{item.spread:.0%}",
                    f"{item.kept:.0%}",
                )
                for name, item in done.stability.items()
            ],
            words=frozenset({0, 1}),
        ),
        note=_(
            "Spread: standard deviation as a share of the range searched. Kept: how "
            "often a window chose the value of the one before. Values that wander say "
            "that the search follows noise."
        ),
    )


def _windows_section(done: WalkForward) -> Section:
    return Section(
        title=_("Windows"),
        table=Table(
            columns=(
                "#",
                _("Training"),
                _("Test"),
                _("Parameters"),
                _("Objective, training / test"),
                _("Return, training / test"),
                _("Trades"),
            ),
            rows=[
                (
                    str(row["window"]),
                    step.window.train.text,
                    step.window.test.text,
                    show_params(step.best.params),
                    f"{show(row['train_value'])} / {show(row['test_value'])}",
                    f"{_percent(row['train_return'])} / {_percent(row['test_return'])}",
                    str(row["test_trades"]),
                )
                for row, step in zip(window_rows(done), done.steps, strict=True)
            ],
            words=frozenset({1, 2, 3}),
        ),
        note=_("windows.csv has them with every number, equity.csv the curve."),
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else format_percent(value, signed=True)
