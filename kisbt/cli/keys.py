"""`kisbt keys`: add, ls, rm."""

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisbt.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    Column,
    note,
    print_json,
    print_rows,
    say,
    warn,
)
from kisbt.errors import InputError
from kisbt.model.account import Environment
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.keys import Added
    from kisbt.kis.keys import KisKeys, Secret


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help=_("Keep the app keys of KIS: in the keyring, else in a private file."),
        epilog=_("Example: kisbt keys add --environment mock"),
        no_args_is_help=True,
    )
    app.add_typer(group, name="keys")
    _add_add(group)
    _add_ls(group)
    _add_rm(group)


def _add_add(group: typer.Typer) -> None:
    @group.command(
        name="add",
        help=_(
            "Ask for a set of keys without showing it, keep it, and try it on the "
            "server it belongs to. --import takes them out of the broker's own "
            "kis_devlp.yaml."
        ),
        epilog=_("Example: kisbt keys add --import ~/KIS/config/kis_devlp.yaml"),
    )
    def add(
        profile: Annotated[
            str,
            typer.Option(
                "--profile", metavar="NAME", help=_("Your name for the keys.")
            ),
        ] = "default",
        environment: Annotated[
            Environment,
            typer.Option("--environment", help=_("real, or mock (practice money).")),
        ] = Environment.MOCK,
        devlp: Annotated[
            Path | None,
            typer.Option("--import", metavar="FILE", help=_("A kis_devlp.yaml.")),
        ] = None,
        in_file: Annotated[
            bool,
            typer.Option("--file", help=_("Keep them in a file, not in the keyring.")),
        ] = False,
        no_test: Annotated[
            bool, typer.Option("--no-test", help=_("Send nothing to the server."))
        ] = False,
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> int:
        from kisbt.app.keys import add_keys, import_devlp

        if devlp is not None:
            sets = import_devlp(devlp, profile)
        else:
            sets = (_ask_keys(profile, environment),)
        added = [add_keys(keys, in_file=in_file, test=not no_test) for keys in sets]
        if json:
            print_json([_row(item, tested=not no_test) for item in added])
        else:
            for item in added:
                _print_added(item, tested=not no_test)
        if devlp is not None:
            note(
                _("{path} still holds the keys in plain text; remove it").format(
                    path=devlp
                )
            )
        return EXIT_FAILED if any(item.problem for item in added) else EXIT_OK


def _add_ls(group: typer.Typer) -> None:
    @group.command(
        name="ls",
        help=_("List the sets of keys there are; nothing secret is shown."),
        epilog=_("Example: kisbt keys ls"),
    )
    def ls(
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> None:
        from kisbt.app.keys import list_keys

        found = list_keys()
        rows = [
            {
                "profile": item.profile,
                "environment": item.environment.value,
                "account": item.account,
                "place": item.place.value,
            }
            for item in found
        ]
        columns = (
            Column("profile", _("profile")),
            Column("environment", _("server")),
            Column("account", _("account")),
            Column("place", _("kept in")),
        )
        print_rows(rows, columns, as_json=json)
        if not found:
            note(_("no keys; add them with: kisbt keys add"))


def _add_rm(group: typer.Typer) -> None:
    @group.command(
        name="rm",
        help=_("Forget a set of keys, and give back its token."),
        epilog=_("Example: kisbt keys rm default --environment mock"),
    )
    def rm(
        profile: Annotated[
            str, typer.Argument(metavar="NAME", help=_("Your name for the keys."))
        ],
        environment: Annotated[
            Environment,
            typer.Option("--environment", help=_("real, or mock (practice money).")),
        ],
        no_revoke: Annotated[
            bool, typer.Option("--no-revoke", help=_("Send nothing to the server."))
        ] = False,
    ) -> None:
        from kisbt.app.keys import remove_keys

        if not remove_keys(profile, environment, revoke=not no_revoke):
            raise InputError(
                _(
                    "there are no {environment} keys named {profile}; see: kisbt keys ls"
                ).format(environment=environment, profile=profile)
            )
        say(
            _("forgot the {environment} keys named {profile}").format(
                environment=environment, profile=profile
            )
        )


def _ask_keys(profile: str, environment: Environment) -> "KisKeys":
    from kisbt.app.keys import make_keys

    note(
        _(
            "KIS Developers (apiportal.koreainvestment.com) shows them; nothing is echoed"
        )
    )
    return make_keys(
        profile,
        environment,
        app_key=_ask(_("app key: ")),
        app_secret=_ask(_("app secret: ")),
        account=_ask(_("account (12345678-01): ")),
        hts_id=_ask(_("HTS id (for notices of orders; may stay empty): ")),
    )


def _ask(prompt: str) -> "Secret":
    """Return what is typed, unseen; from a pipe, the next line."""
    from kisbt.kis.keys import Secret

    if sys.stdin.isatty():
        return Secret(getpass.getpass(prompt, stream=sys.stderr).strip())
    line = sys.stdin.readline()
    if not line:
        raise InputError(_("{prompt} nothing was given").format(prompt=prompt))
    return Secret(line.strip())


def _print_added(item: "Added", *, tested: bool) -> None:
    where = {
        "profile": item.profile,
        "environment": item.environment,
        "place": item.place,
    }
    say(_("kept the {environment} keys named {profile} ({place})").format(**where))
    if item.problem:
        warn(item.problem)
    elif tested:
        say(_("the {environment} server gave a token: they work").format(**where))


def _row(item: "Added", *, tested: bool) -> dict[str, object]:
    return {
        "profile": item.profile,
        "environment": item.environment.value,
        "place": item.place.value,
        "tested": tested,
        "problem": item.problem,
    }
