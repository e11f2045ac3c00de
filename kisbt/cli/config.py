"""`kisbt config`: check, show, schema."""

from pathlib import Path
from typing import Annotated

import typer

from kisbt.cli.common import (
    DEFAULT_CONFIG,
    EXIT_INPUT,
    EXIT_OK,
    note,
    print_json,
    say,
    warn,
)
from kisbt.text import _


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help=_("Check and show configurations."),
        epilog=_("Example: kisbt config check configs/ma_rsi_bollinger.yaml"),
        no_args_is_help=True,
    )
    app.add_typer(group, name="config")
    file_help = _("A configuration; without it configs/ma_rsi_bollinger.yaml.")

    @group.command(
        name="check",
        help=_("Tell everything that is wrong with a configuration."),
        epilog=_("Example: kisbt config check configs/ma_cross.yaml"),
    )
    def check(
        config: Annotated[
            Path | None, typer.Argument(metavar="[CONFIG]", help=file_help)
        ] = None,
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> int:
        from kisbt.app.config import check_config

        source = config or DEFAULT_CONFIG
        found = check_config(source)
        if json:
            print_json({"problems": found.problems, "warnings": found.warnings})
        else:
            for text in found.problems:
                note(_("error: {text}").format(text=text))
            for text in found.warnings:
                warn(text)
            if not found.problems:
                say(_("{path}: no errors").format(path=source))
        return EXIT_INPUT if found.problems else EXIT_OK

    @group.command(
        name="show",
        help=_("Print a configuration as merged, defaults included, secrets masked."),
        epilog=_("Example: kisbt config show configs/ma_cross.yaml"),
    )
    def show(
        config: Annotated[
            Path | None, typer.Argument(metavar="[CONFIG]", help=file_help)
        ] = None,
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> None:
        from kisbt.config import config_hash, dump_config, load_config

        loaded = load_config(config or DEFAULT_CONFIG)
        values = dump_config(loaded)
        if json:
            print_json({"config": values, "hash": config_hash(loaded)})
            return
        import yaml

        say(
            yaml.safe_dump(
                values, allow_unicode=True, sort_keys=False, default_flow_style=False
            ).rstrip()
        )
        note(_("hash {hash}").format(hash=config_hash(loaded)))

    @group.command(
        name="schema",
        help=_("Print the JSON schema, which lets editors complete the keys."),
        epilog=_("Example: kisbt config schema > configs/schema.json"),
    )
    def schema() -> None:
        from kisbt.config import json_schema

        print_json(json_schema())
