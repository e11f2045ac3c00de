"""`kisbt arm` and `disarm`: a person's leave to trade with real money."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer

from kisbt.cli.common import DEFAULT_CONFIG, EXIT_OK, note, say
from kisbt.cli.halt import require_typed
from kisbt.errors import InputError
from kisbt.model.account import Environment
from kisbt.text import _


def _arm_words() -> SimpleNamespace:
    """Return what both commands share, in the language in force."""
    return SimpleNamespace(
        config=typer.Argument(
            metavar="[CONFIG]", help=_("Configuration file with mode: live.")
        ),
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _add_arm(app)
    _add_disarm(app)


def _add_arm(app: typer.Typer) -> None:
    words = _arm_words()

    @app.command(
        name="arm",
        help=_(
            "Allow a configuration to trade with real money until a date, at most 30 "
            "days away. Typed at a terminal; bound to the account, the capital, the "
            "cap, the configuration and the version of kisbt. Any change ends it: a "
            "run may then reduce its positions, never add."
        ),
        epilog=_(
            "Example: kisbt arm configs/live.yaml --until 2026-12-01 --won-cap 1000000"
        ),
    )
    def arm(
        config: Annotated[Path, words.config] = DEFAULT_CONFIG,
        until: Annotated[
            str,
            typer.Option("--until", metavar="DATE", help=_("Last date it holds.")),
        ] = "",
        won_cap: Annotated[
            int,
            typer.Option(
                "--won-cap", metavar="WON", help=_("No purchase is larger than this.")
            ),
        ] = 0,
    ) -> int:
        from kisbt.app import arming
        from kisbt.app.arming import arm as arm_account
        from kisbt.app.connect import kis_access
        from kisbt.candles.symbols import read_symbols
        from kisbt.clock import SystemClock
        from kisbt.config.load import load_config, resolve_universe

        loaded = load_config(config)
        last = _date(until)
        today = SystemClock().now().date()
        arming.check_terms(loaded, won_cap=won_cap, until=last, today=today)
        known = read_symbols(loaded.data_path / "symbols.csv")
        symbols = [item.symbol for item in resolve_universe(loaded, known)]
        access = kis_access(loaded.kis.profile, Environment.REAL)
        arming.require_calibration(access.state, access.keys)
        note(
            _("REAL MONEY: account {account}, {count} symbols, until {date}").format(
                account=access.keys.account.masked, count=len(symbols), date=last
            )
        )
        for line in arming.exposure_lines(loaded, won_cap):
            note(f"  {line}")
        typed = require_typed(arming.arming_phrase(access.keys, won_cap), money=True)
        armed = arm_account(
            access.state,
            loaded,
            access.keys,
            symbols=symbols,
            won_cap=won_cap,
            until=last,
            typed=typed,
        )
        say(
            _("armed until {date} for account {account}").format(
                date=armed.until, account=armed.account
            )
        )
        return EXIT_OK


def _add_disarm(app: typer.Typer) -> None:
    @app.command(
        name="disarm",
        help=_(
            "Take the leave back: from now on positions may be reduced, never added to. "
            "A living run notices before its next order."
        ),
        epilog=_("Example: kisbt disarm"),
    )
    def disarm(
        profile: Annotated[
            str, typer.Option("--profile", metavar="NAME", help=_("Which keys."))
        ] = "default",
    ) -> int:
        from kisbt.app.arming import disarm as disarm_account
        from kisbt.app.targets import kis_target

        found = disarm_account(kis_target(profile, Environment.REAL).state)
        say(_("disarmed") if found else _("was not armed"))
        return EXIT_OK


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            _("--until {found!r}: expected a date such as 2026-12-01").format(
                found=text
            )
        ) from error
