"""`kisbt emulator`: a local KIS server that KIS clients accept."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kisbt.cli.common import note, say
from kisbt.errors import InputError
from kisbt.text import _

if TYPE_CHECKING:
    import typer

# Ports of this machine.
_LAST_PORT = 65_535


class Servers(StrEnum):
    """Which of the broker's servers are played."""

    MOCK = "mock"
    REAL = "real"
    BOTH = "both"


class Matching(StrEnum):
    """When orders meet prices."""

    TICK = "tick"
    CANDLE = "candle"


def register(app: "typer.Typer") -> None:
    """Add the command to `app`."""
    import typer

    @app.command(
        help=_("Run a local KIS server: prices are replayed, keys are invented."),
        epilog=_("Example: kisbt emulator --data data --from 2025-12-29 --speed 60"),
    )
    def emulator(
        data: Annotated[
            Path | None,
            typer.Option("--data", help=_("Candle store to replay; default: data.")),
        ] = None,
        start: Annotated[
            str,
            typer.Option(
                "--from",
                metavar="YYYY-MM-DD",
                help=_("Date (08:20) or time to begin at; default: last session."),
            ),
        ] = "",
        speed: Annotated[
            float,
            typer.Option(
                "--speed",
                min=0.0,
                help=_("Virtual seconds a second; 0: as fast as clients keep up."),
            ),
        ] = 60.0,
        environment: Annotated[
            Servers, typer.Option("--environment", help=_("Which servers to play."))
        ] = Servers.MOCK,
        cash: Annotated[
            int, typer.Option("--cash", min=0, help=_("Won in the account."))
        ] = 10_000_000,
        matching: Annotated[
            Matching,
            typer.Option("--matching", help=_("With each trade, or once a candle.")),
        ] = Matching.TICK,
        rest_port: Annotated[
            int,
            typer.Option(
                "--rest-port", min=0, max=_LAST_PORT, help=_("0: any free one.")
            ),
        ] = 0,
        ws_port: Annotated[
            int,
            typer.Option(
                "--ws-port", min=0, max=_LAST_PORT, help=_("0: any free one.")
            ),
        ] = 0,
        ready_file: Annotated[
            Path | None,
            typer.Option("--ready-file", help=_("Written once ports are open (JSON).")),
        ] = None,
        faults: Annotated[
            Path | None,
            typer.Option("--faults", help=_("Scripted faults (YAML).")),
        ] = None,
        step: Annotated[
            bool, typer.Option("--step", help=_("Time moves only when told."))
        ] = False,
        virtual_limits: Annotated[
            bool,
            typer.Option(
                "--virtual-limits", help=_("Rates and tokens follow virtual time.")
            ),
        ] = False,
        no_limits: Annotated[
            bool, typer.Option("--no-limits", help=_("Do not limit the rate of calls."))
        ] = False,
        symbols: Annotated[
            str,
            typer.Option("--symbols", help=_("Codes to replay, commas between them.")),
        ] = "",
        walk: Annotated[
            int | None,
            typer.Option(
                "--walk", metavar="SEED", help=_("Random prices instead of a store.")
            ),
        ] = None,
    ) -> None:
        from kisbt.app.emulator import parse_start, read_faults, serve
        from kisbt.emulator.house import Settings
        from kisbt.emulator.rules import Matching as Fills

        if walk is not None and data is not None:
            raise InputError(_("--walk and --data: give one of them"))
        store = data if data is not None else Path("data")
        settings = Settings(
            data=None if walk is not None else store,
            seed=walk or 0,
            start=parse_start(start),
            environment=environment.value,
            cash=cash,
            matching=Fills(matching.value),
            speed=speed,
            step=step,
            virtual_limits=virtual_limits,
            limits=not no_limits,
            rest_port=rest_port,
            ws_port=ws_port,
            faults=read_faults(faults),
            symbols=tuple(code.strip() for code in symbols.split(",") if code.strip()),
        )
        serve(settings, ready_file=ready_file, started=_show)


def _show(ready: Mapping[str, Any]) -> None:
    servers = [ready] if "rest_url" in ready else [ready["mock"], ready["real"]]
    for server in servers:
        say(f"{server['environment']}: {server['rest_url']}  {server['ws_url']}")
        say(_("  app key     {key}").format(key=server["app_key"]))
        say(_("  app secret  {key}").format(key=server["app_secret"]))
        say(
            _("  account     {account}, HTS id {hts}").format(
                account=server["account"], hts=server["hts_id"]
            )
        )
    say(
        _("control: {url}, bearer {token}").format(
            url=servers[0]["control_url"], token=servers[0]["control_token"]
        )
    )
    note(_("These keys are invented; never use keys of a real account here."))
    note(_("Ctrl-C ends it."))
