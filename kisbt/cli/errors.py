"""`kisbt errors`: what a code of KIS means and what to do about it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from kisbt.cli.common import Column, print_json, print_rows, say
from kisbt.text import _

if TYPE_CHECKING:
    import typer


def register(app: "typer.Typer") -> None:
    """Add the command."""
    import typer

    @app.command(
        "errors",
        help=_("Explain a message code of KIS, or list all of them."),
        epilog=_("Example: kisbt errors APBK0952"),
    )
    def errors(
        code: Annotated[
            str, typer.Argument(metavar="[CODE]", help=_("Code as KIS showed it."))
        ] = "",
        as_json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> None:
        _show_one(code, as_json=as_json) if code else _show_all(as_json=as_json)


def _show_one(code: str, *, as_json: bool) -> None:
    from kisbt.app.errors import explain

    found = explain(code)
    if as_json:
        print_json(asdict(found))
        return
    say(f"{found.code}  ({found.family})")
    say(_("Cause: {text}").format(text=found.cause))
    say(_("What to do: {text}").format(text=found.action))
    say(_("Send again: {text}").format(text=found.repeat))


def _show_all(*, as_json: bool) -> None:
    from kisbt.app.errors import explain_all

    rows = [asdict(found) for found in explain_all()]
    columns = (
        Column("code", _("Code")),
        Column("family", _("From")),
        Column("cause", _("Cause")),
        Column("repeat", _("Send again")),
    )
    print_rows(rows, columns, as_json=as_json)
