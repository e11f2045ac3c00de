"""`kisbt report` and `kisbt compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kisbt.cli.common import Column, note, print_json, print_rows, say, warn
from kisbt.text import _, current_language

if TYPE_CHECKING:
    from kisbt.app.compare import Compared


def register(app: typer.Typer) -> None:
    """Add the commands."""
    run_help = _("A run folder, or its name in runs/.")

    @app.command(
        name="report",
        help=_("Write the HTML report of a run again, in the language asked for."),
        epilog=_("Example: kisbt report runs/20260102-153000-MaCross --lang ko --open"),
    )
    def report(
        run: Annotated[str, typer.Argument(metavar="RUN", help=run_help)],
        show: Annotated[
            bool, typer.Option("--open", help=_("Open it in the browser."))
        ] = False,
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> None:
        from kisbt.app.backtest import charts_of
        from kisbt.app.report import find_run, make_report

        made = make_report(find_run(run), current_language(), charts_of=charts_of)
        if made.warning:
            warn(made.warning)
        if json:
            print_json({"report": made.path, "summary": made.summary})
        else:
            print_summary(made.summary)
            say(_("report: {path}").format(path=made.path))
        if show:
            open_in_browser(made.path)

    @app.command(
        name="compare",
        help=_("Show two runs side by side: settings, numbers, first differing fill."),
        epilog=_("Example: kisbt compare runs/A runs/B --html compare.html"),
    )
    def compare(
        first: Annotated[str, typer.Argument(metavar="RUN", help=run_help)],
        second: Annotated[str, typer.Argument(metavar="RUN", help=run_help)],
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
        html: Annotated[
            Path | None,
            typer.Option(
                "--html",
                metavar="FILE",
                help=_("Page to write; compare.html unless --json is given."),
            ),
        ] = None,
        show: Annotated[
            bool, typer.Option("--open", help=_("Open it in the browser."))
        ] = False,
    ) -> None:
        from kisbt.app.compare import compare_runs, write_comparison
        from kisbt.app.report import find_run

        compared = compare_runs(find_run(first), find_run(second))
        path = html or (None if json else Path("compare.html"))
        if path is not None:
            write_comparison(compared, path, language=current_language())
        if json:
            print_json(compared.found)
        else:
            _print_comparison(compared)
            say(_("page: {path}").format(path=path))
        if show and path is not None:
            open_in_browser(path)


def print_summary(summary: Any) -> None:
    """Print the headline numbers of a run as a table."""
    from kisbt.report.terminal import summary_lines, summary_title

    rows = [{"label": label, "text": text} for label, text in summary_lines(summary)]
    columns = [Column("label", _("Number")), Column("text", _("Value"), right=True)]
    say(summary_title(summary))
    print_rows(rows, columns)


def open_in_browser(path: Path) -> None:
    """Open a page in the user's browser; say so when there is none."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        note(_("no browser could be opened; open {path} yourself").format(path=path))


def _print_comparison(compared: "Compared") -> None:
    from kisbt.report.compare import fill_line

    found = compared.found
    sides = [
        Column("a", f"A {compared.folders[0].name}", right=True),
        Column("b", f"B {compared.folders[1].name}", right=True),
    ]
    if found["candles_differ"]:
        warn(_("the runs did not read the same candles"))
    if found["settings"]:
        print_rows(
            found["settings"],
            [Column("key", _("Setting")), *sides],
            title=_("Settings that differ"),
        )
    else:
        say(_("Both runs used the same settings."))
    print_rows(
        compared.numbers,
        [
            Column("label", _("Number")),
            *sides,
            Column("difference", "B − A", right=True),
        ],
        title=_("Numbers"),
    )
    fills = found["fills"]
    if fills["first_difference"] is None:
        say(_("All {count} fills are the same.").format(count=f"{fills['a']:,}"))
        return
    say(
        _(
            "Fills: {a} and {b}; the first {same} are the same, then they differ:"
        ).format(a=f"{fills['a']:,}", b=f"{fills['b']:,}", same=f"{fills['same']:,}")
    )
    say(f"  A  {fill_line(fills['first_difference']['a'])}")
    say(f"  B  {fill_line(fills['first_difference']['b'])}")
