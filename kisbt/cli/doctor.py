"""`kisbt doctor`: what must be right, and what to do where it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisbt.cli.common import EXIT_FAILED, EXIT_OK, print_json, say
from kisbt.model.account import Environment
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.connect import Access
    from kisbt.app.findings import Check


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        name="doctor",
        help=_(
            "Check everything a run depends on: this machine, its files, the calendar, "
            "a configuration, keys, account, journal, token, clock and websocket. Each "
            "line that failed ends with the remedy. No order is sent."
        ),
        epilog=_("Example: kisbt doctor configs/ma_cross.yaml"),
    )
    def doctor(
        config: Annotated[
            Path | None,
            typer.Argument(
                metavar="[CONFIG]",
                help=_("Also check what this configuration needs."),
                show_default=False,
            ),
        ] = None,
        profile: Annotated[
            str,
            typer.Option(
                "--profile",
                metavar="NAME",
                help=_("Which keys; default: those of the configuration."),
            ),
        ] = "",
        environment: Annotated[
            Environment | None,
            typer.Option(
                "--environment",
                help=_("Server of these keys; default: that of the configuration."),
            ),
        ] = None,
        emulator: Annotated[
            Path | None,
            typer.Option(
                "--emulator",
                metavar="FILE",
                help=_("Check an emulator; FILE is its ready file."),
            ),
        ] = None,
        offline: Annotated[
            bool, typer.Option("--offline", help=_("Send nothing."))
        ] = False,
        json: Annotated[bool, typer.Option("--json", help=_("Print JSON."))] = False,
    ) -> int:
        from kisbt.app.doctor import check_all
        from kisbt.app.findings import Outcome

        checks = []
        for check in check_all(
            _access(profile, environment, emulator), config=config, offline=offline
        ):
            checks.append(check)
            if not json:
                say(_line(check))
        if json:
            print_json(
                [
                    {
                        "name": check.name,
                        "outcome": check.outcome.value,
                        "found": check.found,
                        "remedy": check.remedy,
                    }
                    for check in checks
                ]
            )
        failed = any(check.outcome is Outcome.FAILED for check in checks)
        return EXIT_FAILED if failed else EXIT_OK


def _access(
    profile: str, environment: Environment | None, emulator: Path | None
) -> "Callable[[], Access] | None":
    from kisbt.app.connect import emulator_access, kis_access

    server = environment or Environment.MOCK
    if emulator is not None:
        return lambda: emulator_access(emulator, server)
    if not profile and environment is None:
        return None  # what the configuration says
    return lambda: kis_access(profile or "default", server)


def _line(check: "Check") -> str:
    words = {"ok": _("ok"), "failed": _("FAILED"), "skipped": _("skipped")}
    text = f"{words[check.outcome.value]:8} {check.name}: {check.found}"
    return f"{text} → {check.remedy}" if check.remedy else text
