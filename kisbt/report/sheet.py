"""A page of cards, tables and plots: searches, walk-forward analyses, many symbols.

Whoever makes the page says what is on it in values; everything is in one offline
file, as the report of a run is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

import kisbt
from kisbt.model.result import Floats, Times
from kisbt.report.figures import json_numbers, minutes, thinned
from kisbt.report.html import asset, content_policy, environment
from kisbt.report.pack import pack_json
from kisbt.text import _, use_language


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A headline number.

    Attributes:
        tip: what it means; "" for none.
        tone: ``up``, ``down`` or "".
    """

    label: str
    text: str
    tip: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts.

    Attributes:
        columns: headers.
        rows: cells as text, one for each column.
        words: positions of the columns that hold words, aligned left.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page; what it does not have is left out.

    Attributes:
        note: a sentence that says what is seen.
        plot: what `templates/sheet.js` draws; see the functions below.
    """

    title: str
    note: str = ""
    cards: Sequence[Card] = ()
    table: Table | None = None
    plot: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A page.

    Attributes:
        badge: what kind of page, in one word.
        lead: a line under the title.
        alert: a text nobody may miss; "" for none.
        verdict: the plain paragraph on top; "" for none.
        tone: ``good``, ``doubt`` or ``bad``: the colour of the verdict.
    """

    title: str
    badge: str
    lead: str
    sections: Sequence[Section]
    alert: str = ""
    verdict: str = ""
    tone: str = "doubt"
    settings: Sequence[tuple[str, str]] = field(default_factory=tuple)


def render_sheet(sheet: Sheet, language: str) -> str:
    """Return the page; its words must be in `language` (``ko`` or ``en``) already."""
    with use_language(language):
        script = asset("sheet.js")
        plots = [
            {"id": f"plot-{number}", **section.plot}
            for number, section in enumerate(sheet.sections)
            if section.plot is not None
        ]
        return (
            environment()
            .get_template("sheet.html.j2")
            .render(
                _=_,
                language=language,
                version=kisbt.__version__,
                sheet=sheet,
                csp=content_policy(get_plotlyjs(), script),
                plotly=Markup(get_plotlyjs()),  # noqa: S704 - the package's own script
                script=Markup(script),  # noqa: S704 - our own script
                style=Markup(asset("report.css")),  # noqa: S704 - our own style
                payload=pack_json(
                    {"language": language, "words": _words(), "plots": plots}
                ),
            )
        )


def _words() -> dict[str, str]:
    return {
        "across": _("Across"),
        "up": _("Up"),
        "colour": _("Colour"),
        "best": _("best of the cell"),
        "median": _("median of the cell"),
        "trials": _("{count} trials"),
    }


def curves_plot(
    curves: Mapping[str, tuple[Times, Floats]], *, borders: Sequence[str] = ()
) -> dict[str, Any]:
    """Return lines over time that begin at 1.

    Args:
        curves: times (naive KST) and values by name.
        borders: dates at which a vertical line is drawn.
    """
    found = []
    for name, (time, value) in curves.items():
        keep = thinned(value)
        gain = value[keep] / value[0] - 1.0
        found.append(
            {"name": name, "time": minutes(time[keep]), "y": json_numbers(gain, 6)}
        )
    return {"kind": "curves", "curves": found, "borders": list(borders)}


def points_plot(
    y: Floats, hover: Sequence[str], *, x_title: str, y_title: str
) -> dict[str, Any]:
    """Return a point for each trial, and a line of the best one so far."""
    return {
        "kind": "points",
        "y": json_numbers(y, 6),
        "hover": list(hover),
        "xTitle": x_title,
        "yTitle": y_title,
        "bestSoFar": _("best so far"),
    }


def bars_plot(values: Mapping[str, float], *, percent: bool = True) -> dict[str, Any]:
    """Return horizontal bars, the longest on top."""
    ordered = sorted(values.items(), key=lambda item: item[1])
    return {
        "kind": "bars",
        "labels": [name for name, _value in ordered],
        "values": [round(value, 6) for _name, value in ordered],
        "percent": percent,
    }


def histogram_plot(
    values: Floats, *, x_title: str, mark: float | None = None, percent: bool = False
) -> dict[str, Any]:
    """Return how often each value comes, with a vertical line at `mark`."""
    return {
        "kind": "histogram",
        "values": json_numbers(values, 5),
        "mark": mark,
        "xTitle": x_title,
        "percent": percent,
    }


def heat_plot(
    parameters: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a map of any number over any two parameters.

    Args:
        parameters: ``name``, ``labels`` of its cells, and ``cell`` of each trial.
        values: ``label``, ``data`` of each trial, ``percent``, and ``low`` when less
            is better.
    """
    return {"kind": "heat", "parameters": list(parameters), "values": list(values)}
