"""`kisbt init`: a folder to start from."""

from pathlib import Path
from typing import Annotated

import typer

from kisbt.cli.common import say
from kisbt.text import _


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        name="init",
        help=_("Make a folder with configurations, strategies and sample candles."),
        epilog=_("Example: kisbt init my-trading"),
    )
    def init(
        folder: Annotated[
            Path, typer.Argument(metavar="DIR", help=_("A new or an empty folder."))
        ],
    ) -> None:
        from kisbt.app.init import init_folder

        for path in init_folder(folder):
            say(f"  {path.name}{'/' if path.is_dir() else ''}")
        say(_("{folder} is ready. Next:").format(folder=folder))
        if folder.resolve() != Path.cwd():
            say(f"  cd {folder}")
        say("  kisbt backtest")
