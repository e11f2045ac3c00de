"""`kisbt strategy`: ls, new, check."""

from pathlib import Path
from typing import Annotated

import typer

from kisbt.cli.common import Column, note, print_rows, say, warn
from kisbt.text import _


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help=_("List, create and check strategies."),
        epilog=_("Example: kisbt strategy new my_idea"),
        no_args_is_help=True,
    )
    app.add_typer(group, name="strategy")

    @group.command(
        name="ls",
        help=_("List the strategies in ./strategies."),
        epilog=_("Example: kisbt strategy ls"),
    )
    def ls(
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> None:
        from kisbt.app.strategies import list_strategies

        found = list_strategies(Path.cwd())
        rows = [
            {
                "class": item.reference,
                "about": item.about,
                "params": dict(item.params),
                "problem": item.problem,
            }
            for item in found
        ]
        columns = (
            Column("class", _("Class")),
            Column("about", _("About")),
            Column("params", _("Parameters"), show=_show_params),
        )
        working = [row for row in rows if not row["problem"]]
        print_rows(rows if json else working, columns, as_json=json)
        if not found:
            note(_("no strategy in ./strategies; make one: kisbt strategy new NAME"))
        for item in found:
            if item.problem:
                warn(item.problem)

    @group.command(
        name="new",
        help=_("Write a new strategy and its configuration."),
        epilog=_("Example: kisbt strategy new my_idea"),
    )
    def new(
        name: Annotated[
            str, typer.Argument(metavar="NAME", help=_("Such as my_idea."))
        ],
    ) -> None:
        from kisbt.app.strategies import create_strategy

        written = create_strategy(name, Path.cwd())
        for path in written:
            say(_("wrote {path}").format(path=path.relative_to(Path.cwd())))
        note(
            _("next: kisbt backtest {path}").format(
                path=written[-1].relative_to(Path.cwd())
            )
        )

    @group.command(
        name="check",
        help=_("Load a strategy and look for future bars and the wall clock."),
        epilog=_("Example: kisbt strategy check strategies.ma_cross:MaCross"),
    )
    def check(
        reference: Annotated[
            str, typer.Argument(metavar="MODULE:CLASS", help=_("The class."))
        ],
    ) -> None:
        from kisbt.app.strategies import load_strategy_class, strategy_warnings

        strategy = load_strategy_class(reference, Path.cwd())
        for text in strategy_warnings(strategy):
            warn(text)
        say(_("{reference}: loads").format(reference=reference))


def _show_params(params: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items())
