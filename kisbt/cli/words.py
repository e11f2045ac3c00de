"""What typer itself says to the user, in the language in force."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kisbt.text import _

if TYPE_CHECKING:
    import typer
    from rich.text import Text

HELP_OPTIONS = ("-h", "--help")


def shows_help(command: Any, arguments: Sequence[str]) -> bool:
    """Return whether these arguments print a help page: asked for, or a group alone."""
    if set(arguments) & set(HELP_OPTIONS):
        return True
    for word in arguments:
        command = getattr(command, "commands", {}).get(word)
    return hasattr(command, "commands")


def translate_help(command: Any, parent: "typer.Context | None" = None) -> None:
    """Put typer's own words in the help of `command` and of its subcommands.

    It loads typer's help pages, which takes 0.1 s: only for those that show one.
    """
    import typer
    from rich.text import Text
    from typer import rich_utils

    Text.rstrip_end = _strip_blanks  # type: ignore[assignment]
    rich_utils.ARGUMENTS_PANEL_TITLE = _("Arguments")
    rich_utils.OPTIONS_PANEL_TITLE = _("Options")
    rich_utils.COMMANDS_PANEL_TITLE = _("Commands")
    rich_utils.DEFAULT_STRING = _("[default: {}]")
    rich_utils.REQUIRED_LONG_STRING = _("[required]")
    context = typer.Context(
        command, parent=parent, help_option_names=list(HELP_OPTIONS)
    )
    option = command.get_help_option(context)
    if option is not None:
        option.help = _("Show this help.")
    for inner in getattr(command, "commands", {}).values():
        translate_help(inner, context)


def _strip_blanks(text: "Text", size: int) -> None:
    """Remove blanks that stick out of `size` columns at the end of `text`.

    Rich (up to 15) counts characters, not columns. A blank left at the end of a
    full line of Korean then costs its last word a letter.
    """
    excess = text.cell_len - size
    blanks = len(text.plain) - len(text.plain.rstrip())
    if excess > 0 and blanks:
        text.right_crop(min(blanks, excess))


def usage_problem(text: str) -> str:
    """Return what typer found wrong with the arguments, as one sentence.

    Typer has English texts and no catalogue. One that is not known here stays.
    """
    text = " ".join(text.split())
    text = text if text.endswith((".", "?", "!")) else f"{text}."
    for pattern, words in _usage_problems():
        found = re.fullmatch(pattern, text)
        if found:
            return words.format(**found.groupdict())
    return text


def _usage_problems() -> list[tuple[str, str]]:
    """Return typer's texts as patterns, and the words for each."""
    invalid = r"Invalid value for '(?P<name>.*?)': .*"
    return [
        (
            r"No such command '(?P<name>.*)'\. Did you mean (?P<near>.*)\?",
            _("No such command {name!r}. Did you mean {near}?"),
        ),
        (r"No such command '(?P<name>.*)'\.", _("No such command {name!r}.")),
        (
            r"No such option: (?P<name>\S+) \(Possible options: (?P<near>.*)\)\.",
            _("No such option: {name} (possible: {near})."),
        ),
        (r"No such option: (?P<name>\S+)\.", _("No such option: {name}.")),
        (r"Missing argument '(?P<name>.*?)'\..*", _("Missing argument {name!r}.")),
        (r"Missing option '(?P<name>.*?)'\..*", _("Missing option {name!r}.")),
        (r"Missing command\.", _("Missing command.")),
        (
            r"Option '(?P<name>.*)' requires an argument\.",
            _("Option {name!r} requires a value."),
        ),
        (
            r"Option '(?P<name>.*)' does not take a value\.",
            _("Option {name!r} takes no value."),
        ),
        (
            r"Got unexpected extra argument\(s\) \((?P<words>.*)\)\.",
            _("Unexpected extra words: {words}."),
        ),
        (
            rf"{invalid}'(?P<found>.*?)' is not one of (?P<known>.*)\.",
            _("{name} {found!r}: expected one of {known}."),
        ),
        (
            rf"{invalid}valid (integer|number).*",
            _("{name}: expected a number."),
        ),
    ]
