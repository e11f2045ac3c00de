"""`kisbt parity`: was a paper or live run the same as its backtest?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisbt.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    Column,
    print_json,
    print_rows,
    progress,
    say,
    warn,
)
from kisbt.text import _, current_language

if TYPE_CHECKING:
    from kisbt.app.parity import Checked

_SHOWN = 20
"""Differences printed; the page has all of them."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        name="parity",
        help=_(
            "Backtest the candles a paper or live run saw and explain each difference. "
            "Exit code 0 only if every difference is explained."
        ),
        epilog=_("Example: kisbt parity runs/20260102-085000-paper-MaCross"),
    )
    def parity(
        run: Annotated[
            str,
            typer.Argument(
                metavar="RUN", help=_("A run folder, or its name in runs/.")
            ),
        ],
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                metavar="DIR",
                help=_(
                    "Where parity.html and parity.json go; the run folder if left out."
                ),
            ),
        ] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Print parity.json."))
        ] = False,
        show: Annotated[
            bool, typer.Option("--open", help=_("Open it in the browser."))
        ] = False,
    ) -> int:
        from kisbt.app.parity import check_parity, write_parity
        from kisbt.app.report import find_run
        from kisbt.cli.report import open_in_browser

        with progress(_("Comparing with a backtest")):
            checked = check_parity(find_run(run))
            page = write_parity(checked, language=current_language(), folder=out)
        if as_json:
            from kisbt.report.parity_page import parity_json

            print_json(parity_json(checked.run, checked.parity))
        else:
            show_parity(checked)
            say(_("page: {path}").format(path=page))
        if show:
            open_in_browser(page)
        return EXIT_OK if checked.parity.explained else EXIT_FAILED


def show_parity(checked: "Checked") -> None:
    """Print the answer, what it cost by cause, and the first differences."""
    from kisbt.report.parity_words import (
        cause_label,
        difference_row,
        verdict,
        won_text,
    )

    found = checked.parity
    say(verdict(found))
    if not found.differences:
        return
    rows = [
        {"cause": cause_label(cause), "cost": won_text(won)}
        for cause, won in found.costs.items()
    ]
    rows.append({"cause": _("What followed"), "cost": won_text(found.followed)})
    rows.append({"cause": _("Backtest minus run"), "cost": won_text(found.total_cost)})
    print_rows(
        rows,
        [Column("cause", _("Cause")), Column("cost", _("Cost, won"), right=True)],
    )
    print_rows(
        [difference_row(d) for d in found.differences[:_SHOWN]],
        [
            Column("bar", _("Bar of the order")),
            Column("symbol", _("Symbol")),
            Column("side", _("Side")),
            Column("cause", _("Cause")),
            Column("expected", _("Backtest")),
            Column("found", _("Run")),
            Column("note", _("Evidence")),
            Column("cost", _("Cost, won"), right=True),
        ],
        title=_("Differences"),
    )
    more = len(found.differences) - _SHOWN
    if more > 0:
        say(_("and {more:,} more: see the page").format(more=more))
    unknown = sum(not d.explained for d in found.differences)
    if unknown:
        warn(
            _(
                "{unknown:,} differences are not explained: look at them before the "
                "next run"
            ).format(unknown=unknown)
        )
