"""Entry point of the command line."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import kisbt
from kisbt.cli.common import EXIT_INTERRUPTED, EXIT_OK, guard, prepare_streams, say
from kisbt.errors import InputError
from kisbt.text import LANGUAGES, _, default_language, use_language

if TYPE_CHECKING:
    import typer

COMMANDS = (
    "backtest",
    "run",
    "rehearse",
    "optimize",
    "walkforward",
    "init",
    "report",
    "parity",
    "explain",
    "data",
    "config",
    "strategies",
    "rules",
    "emulator",
    "halt",
    "show",
    "arm",
    "calibrate",
    "keys",
    "fetch",
    "doctor",
    "errors",
)
"""Modules of `kisbt.cli`, in the order of the help; each has ``register(app)``."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    `--debug`, `--lang` and `--version` are taken before or after the command.
    """
    prepare_streams()
    rest, options = _take_global_options(list(arguments))
    debug = "--debug" in options or os.environ.get("KISBT_DEBUG", "") not in {"", "0"}
    language = options.get("--lang", "")
    with use_language(language if language in LANGUAGES else default_language()):
        return guard(lambda: _dispatch(rest, options), debug=debug)


def _take_global_options(
    arguments: list[str],
) -> tuple[list[str], dict[str, str]]:
    """Split off the global options, wherever they stand before a ``--``."""
    rest: list[str] = []
    found: dict[str, str] = {}
    queue = iter(arguments)
    for argument in queue:
        name, equals, value = argument.partition("=")
        if argument == "--":
            rest.append(argument)
            rest.extend(queue)
        elif argument in {"--debug", "--version"}:
            found[argument] = ""
        elif name == "--lang":
            found[name] = value if equals else next(queue, "")
        else:
            rest.append(argument)
    return rest, found


def _dispatch(arguments: list[str], options: dict[str, str]) -> int:
    language = options.get("--lang")
    if language is not None and language not in LANGUAGES:
        raise InputError(
            _("--lang {found!r}: expected {known}").format(
                found=language, known=_(" or ").join(LANGUAGES)
            )
        )
    if "--version" in options:
        say(f"kisbt {kisbt.__version__}")
        return EXIT_OK
    return _invoke(build_app(), arguments or ["--help"])


def _invoke(app: "typer.Typer", arguments: list[str]) -> int:
    import typer
    from typer.main import get_command

    from kisbt.cli.words import shows_help, translate_help, usage_problem

    command = get_command(app)
    if shows_help(command, arguments):
        translate_help(command)
    try:
        result = command.main(arguments, prog_name="kisbt", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except SystemExit as error:
        # typer ends the process itself when the reader of a pipe has gone.
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    except typer.TyperException as error:
        if not error.format_message():  # a group alone: its help is printed already
            return EXIT_OK
        # A wrong option or a missing argument: typer's own box would be five lines.
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "kisbt"
        raise InputError(
            _("{problem} See: {path} --help").format(
                problem=usage_problem(error.format_message()), path=path
            )
        ) from error
    if result == EXIT_INTERRUPTED:  # how typer answers Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else EXIT_OK


def build_app() -> "typer.Typer":
    """Return the application with every command; words in the language in force."""
    import typer

    from kisbt.cli.words import HELP_OPTIONS

    app = typer.Typer(
        name="kisbt",
        help=_("Backtest and trade Korean stocks with one backtrader strategy class."),
        epilog=_("Example: kisbt backtest configs/ma_rsi_bollinger.yaml"),
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": list(HELP_OPTIONS)},
    )

    @app.callback()
    def _options(
        debug: Annotated[
            bool, typer.Option("--debug", help=_("Show the traceback of an error."))
        ] = False,
        lang: Annotated[
            str, typer.Option("--lang", metavar="ko|en", help=_("Language of output."))
        ] = "",
        version: Annotated[
            bool, typer.Option("--version", help=_("Print the version."))
        ] = False,
    ) -> None:
        """Declare the options for the help; `run` has already taken them."""

    for name in COMMANDS:
        if find_spec(f"kisbt.cli.{name}") is None:
            continue
        module = import_module(f"kisbt.cli.{name}")
        module.register(app)
    return app
