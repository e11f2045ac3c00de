"""`kisbt rehearse`: the whole live path on the emulator, without money."""

from pathlib import Path
from typing import Annotated

import typer

from kisbt.cli.common import DEFAULT_CONFIG
from kisbt.cli.run import (
    load_for,
    options,
    overrides_of,
    run_live_and_show,
    run_words,
)
from kisbt.text import _


def register(app: typer.Typer) -> None:
    """Add the command."""
    words = run_words()

    @app.command(
        name="rehearse",
        help=_(
            "Rehearse live trading: the code, limits and order codes of a real account "
            "on the local emulator. It uses the paper block of the file, and needs "
            "neither mode: live nor arming. No money, no keys."
        ),
        epilog=_("Example: kisbt rehearse configs/ma_rsi_bollinger.yaml --step"),
    )
    def rehearse(
        config: Annotated[Path, words.config] = DEFAULT_CONFIG,
        once: Annotated[bool, words.once] = False,
        sessions: Annotated[int | None, words.sessions] = None,
        speed: Annotated[float | None, words.speed] = None,
        step: Annotated[bool, words.step] = False,
        emulator: Annotated[Path | None, words.emulator] = None,
        faults: Annotated[Path | None, words.faults] = None,
        on_exit: Annotated[str, words.on_exit] = "cancel",
        out: Annotated[Path | None, words.out] = None,
        settings: Annotated[list[str] | None, words.set] = None,
        report: Annotated[bool, words.report] = True,
        as_json: Annotated[bool, words.json] = False,
    ) -> int:
        from kisbt.app.venue import Mode

        overrides = overrides_of(settings, sessions=sessions, speed=speed, step=step)
        return run_live_and_show(
            load_for(config, overrides, ""),
            Mode.REHEARSAL,
            options(
                ready_file=emulator,
                faults=faults,
                out=out,
                once=once,
                on_exit=on_exit,
                with_report=report,
            ),
            as_json=as_json,
        )
