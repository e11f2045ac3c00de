"""`kisbt run`: a strategy in the mode its configuration names."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kisbt.cli.common import DEFAULT_CONFIG, EXIT_OK, note, print_json, say, warn
from kisbt.errors import InputError
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.live import Finished, LiveOptions
    from kisbt.app.venue import Mode
    from kisbt.config.schema import Config

MODES = ("backtest", "paper", "live")


def register(app: typer.Typer) -> None:
    """Add the command."""
    words = run_words()

    @app.command(
        name="run",
        help=_(
            "Run a strategy in the mode its configuration names: on stored candles, on "
            "paper (the local emulator or KIS's mock server), or live. Paper and live "
            "runs wait for each session, day after day; Ctrl-C ends them in order, "
            "twice at once."
        ),
        epilog=_("Example: kisbt run configs/ma_rsi_bollinger.yaml --mode paper"),
    )
    def run(
        config: Annotated[Path, words.config] = DEFAULT_CONFIG,
        mode: Annotated[
            str,
            typer.Option("--mode", metavar="MODE", help=_("backtest, paper or live.")),
        ] = "",
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
        from kisbt.app.venue import Mode, mode_of

        if mode and mode not in MODES:
            raise InputError(
                _("--mode {found!r}: expected {names}").format(
                    found=mode, names=", ".join(MODES)
                )
            )
        overrides = overrides_of(settings, sessions=sessions, speed=speed, step=step)
        loaded = load_for(config, overrides, mode)
        if mode_of(loaded) is Mode.BACKTEST:
            from kisbt.cli.backtest import run_and_show

            run_and_show(loaded, out, as_json=as_json, with_report=report)
            return EXIT_OK
        return run_live_and_show(
            loaded,
            mode_of(loaded),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWords:
    """Options of `run` and `rehearse`, in the language in force."""

    config: Any
    once: Any
    sessions: Any
    speed: Any
    step: Any
    emulator: Any
    faults: Any
    on_exit: Any
    out: Any
    set: Any
    report: Any
    json: Any


def run_words() -> RunWords:
    """Return the options, each a typer parameter."""
    return RunWords(
        config=typer.Argument(
            metavar="[CONFIG]", help=_("Configuration file."), show_default=False
        ),
        once=typer.Option(
            "--once", help=_("End after the sessions of paper.sessions.")
        ),
        sessions=typer.Option(
            "--sessions",
            metavar="N",
            min=1,
            help=_("Sessions to run; sets paper.sessions."),
        ),
        speed=typer.Option(
            "--speed",
            metavar="X",
            min=0.0,
            help=_(
                "Emulator: virtual seconds a second; 0: as fast as the run keeps up."
            ),
        ),
        step=typer.Option(
            "--step",
            help=_("Emulator: time moves only when the run is idle (exact parity)."),
        ),
        emulator=typer.Option(
            "--emulator",
            metavar="FILE",
            help=_("Trade on an emulator that runs already; FILE is its ready file."),
        ),
        faults=typer.Option(
            "--faults", metavar="FILE", help=_("Emulator: scripted faults (YAML).")
        ),
        on_exit=typer.Option(
            "--on-exit",
            metavar="cancel|keep",
            help=_(
                "What becomes of own open orders when it is stopped. Positions are kept."
            ),
        ),
        out=typer.Option(
            "--out", metavar="DIR", help=_("Run folder, new or empty; default runs/ID.")
        ),
        set=typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help=_("Set a key of the file, such as strategy.params.ma_long=60."),
        ),
        report=typer.Option(
            "--report/--no-report", help=_("Write report.html into the run folder.")
        ),
        json=typer.Option("--json", help=_("Print the summary as JSON.")),
    )


def options(
    *,
    ready_file: Path | None,
    faults: Path | None,
    out: Path | None,
    once: bool,
    on_exit: str,
    with_report: bool,
) -> "LiveOptions":
    """Return the options of a run, checked.

    Raises:
        InputError: `on_exit` is no such word.
    """
    from kisbt.app.emulator import read_faults
    from kisbt.app.live import LiveOptions

    if on_exit not in {"cancel", "keep"}:
        raise InputError(
            _("--on-exit {found!r}: expected cancel or keep").format(found=on_exit)
        )
    return LiveOptions(
        ready_file=ready_file,
        faults=read_faults(faults),
        out=out,
        once=once,
        cancel_on_exit=on_exit == "cancel",
        with_report=with_report,
    )


def overrides_of(
    settings: list[str] | None,
    *,
    sessions: int | None,
    speed: float | None,
    step: bool,
) -> dict[str, object]:
    """Return values by dotted key out of the options of a run."""
    from kisbt.cli.backtest import parse_settings

    found = parse_settings(settings or [])
    given: dict[str, Any] = {"paper.sessions": sessions, "paper.speed": speed}
    found |= {key: value for key, value in given.items() if value is not None}
    if step:
        found["paper.step"] = True
    return found


def load_for(path: Path, overrides: dict[str, object], mode: str) -> "Config":
    """Load a configuration for a mode.

    Backtest and paper may always be asked for; real money must be in the file.

    Raises:
        ConfigError: the file is wrong.
        InputError: `live` is asked for, and the file does not say so.
    """
    from kisbt.config.load import load_config

    if mode != "live":
        wanted = {"mode": mode} if mode else {}
        return load_config(path, overrides={**overrides, **wanted})
    loaded = load_config(path, overrides=overrides)
    if loaded.mode != "live":
        raise InputError(
            _(
                "--mode live: {path} says mode: {found}. Real money needs mode: live "
                "written in the file, and kisbt arm; a rehearsal without money is: "
                "kisbt rehearse {path}"
            ).format(path=path, found=loaded.mode)
        )
    return loaded


def run_live_and_show(
    config: "Config", mode: "Mode", wanted: "LiveOptions", *, as_json: bool = False
) -> int:
    """Run on a server, print what became of it, and return the exit code."""
    from kisbt.app.live import run_live

    finished = run_live(config, mode, wanted, say=note)
    if as_json:
        print_json(
            {
                **finished.summary,
                "folder": str(finished.folder),
                "mode": str(mode),
                "exit_state": finished.exit_state,
            }
        )
    else:
        _show(finished, mode)
    return finished.exit_code


def _show(finished: "Finished", mode: "Mode") -> None:
    from kisbt.cli.report import print_summary

    for text in finished.result.run["warnings"]:
        warn(text)
    say(_("Mode: {mode}").format(mode=mode.label))
    print_summary(finished.summary)
    for text in finished.left_open:
        say(text)
    say(_("Ended: {state}").format(state=finished.exit_state))
    say(_("Run folder: {folder}").format(folder=finished.folder))
    report = finished.folder / "report.html"
    if report.is_file():
        say(_("Report:     {path}").format(path=report.resolve()))
