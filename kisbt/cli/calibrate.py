"""`kisbt calibrate`: see how the server behaves, with one share that cannot fill."""

from pathlib import Path
from typing import Annotated

import typer

from kisbt.cli.common import EXIT_FAILED, EXIT_OK, note, print_json, say, warn
from kisbt.cli.halt import require_typed, target_words
from kisbt.errors import InputError
from kisbt.model.account import Environment
from kisbt.text import _

_MODES = {"paper": Environment.MOCK, "live": Environment.REAL}


def register(app: typer.Typer) -> None:
    """Add the command."""
    words = target_words()

    @app.command(
        name="calibrate",
        help=_(
            "See how the server behaves: after you have typed your consent, one share "
            "is ordered at the day's lower limit, amended and cancelled. Arming live "
            "needs the record of this. Only during the regular session."
        ),
        epilog=_("Example: kisbt calibrate --mode paper --symbol 005930"),
    )
    def calibrate(
        mode: Annotated[
            str,
            typer.Option("--mode", metavar="paper|live", help=_("Which account.")),
        ] = "paper",
        symbol: Annotated[
            str, typer.Option("--symbol", metavar="CODE", help=_("What to order."))
        ] = "005930",
        profile: Annotated[
            str, typer.Option("--profile", metavar="NAME", help=_("Which keys."))
        ] = "default",
        emulator: Annotated[Path | None, words.emulator] = None,
        json: Annotated[bool, words.json] = False,
    ) -> int:
        from kisbt.app.calibrate import Calibrator
        from kisbt.app.targets import Choice, find_target
        from kisbt.krx.calendar import default_calendar
        from kisbt.model.instrument import parse_symbol

        if mode not in _MODES:
            raise InputError(
                _("--mode {found!r}: expected paper or live").format(found=mode)
            )
        target = find_target(
            Choice(profile=profile, environment=_MODES[mode], emulator=emulator)
        )
        with target.open() as (access, client, clock):
            work = Calibrator(access, client, clock, default_calendar(), note)
            trial = work.plan(parse_symbol(symbol))
            note(trial.text)
            typed = require_typed(trial.phrase, money=target.is_money)
            record = work.run(trial, typed)
        if json:
            print_json(
                {
                    "account": record.account,
                    "environment": record.environment,
                    "at": record.at,
                    "facts": record.facts,
                    "problems": list(record.problems),
                }
            )
        else:
            for name, value in record.facts.items():
                say(f"{name}: {value}")
            for text in record.problems:
                warn(text)
        return EXIT_FAILED if record.problems else EXIT_OK
