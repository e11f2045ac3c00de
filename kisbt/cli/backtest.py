"""`kisbt backtest`, `run`, `demo`: a strategy on stored candles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kisbt.cli.common import DEFAULT_CONFIG, print_json, progress, say, warn
from kisbt.errors import InputError
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.backtest import Backtest
    from kisbt.config.schema import Config


def register(app: typer.Typer) -> None:
    """Add the commands."""
    config_argument = typer.Argument(
        metavar="[CONFIG]", help=_("Configuration file."), show_default=False
    )
    out_option = typer.Option(
        "--out", metavar="DIR", help=_("Run folder, new or empty; default runs/ID.")
    )
    json_option = typer.Option("--json", help=_("Print the summary as JSON."))
    data_option = typer.Option(
        "--data", metavar="DIR", help=_("Another candle store than the file names.")
    )
    from_option = typer.Option(
        "--from", metavar="DATE", help=_("First session that may trade.")
    )
    to_option = typer.Option("--to", metavar="DATE", help=_("Last session."))
    set_option = typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help=_("Set a key of the file, such as strategy.params.ma_long=60."),
    )
    report_option = typer.Option(
        "--report/--no-report", help=_("Write report.html into the run folder.")
    )

    engine_option = typer.Option(
        "--engine",
        metavar="ENGINE",
        help=_("auto, fast or plain: backtrader's own loop; results are the same."),
    )

    @app.command(
        name="demo",
        help=_("Backtest the house strategy on the bundled synthetic candles."),
        epilog=_("Example: kisbt demo"),
    )
    def demo(
        out: Annotated[Path | None, out_option] = None,
        as_json: Annotated[bool, json_option] = False,
    ) -> None:
        from kisbt.app.init import starter_folder
        from kisbt.config.load import load_config

        config = load_config(starter_folder() / DEFAULT_CONFIG)
        run_and_show(config, out, as_json=as_json)
        if not as_json:
            say(_("The candles are synthetic: invented companies, no real prices."))
            say(_("Your own folder, with everything to change: kisbt init my-trading"))

    @app.command(
        name="backtest",
        help=_("Run a strategy on stored candles and write its run folder."),
        epilog=_("Example: kisbt backtest configs/ma_rsi_bollinger.yaml"),
    )
    def backtest(
        config: Annotated[Path, config_argument] = DEFAULT_CONFIG,
        out: Annotated[Path | None, out_option] = None,
        data: Annotated[str, data_option] = "",
        first: Annotated[str, from_option] = "",
        last: Annotated[str, to_option] = "",
        settings: Annotated[list[str] | None, set_option] = None,
        report: Annotated[bool, report_option] = True,
        engine: Annotated[str, engine_option] = "auto",
        as_json: Annotated[bool, json_option] = False,
    ) -> None:
        overrides = parse_settings(settings or [])
        overrides |= _given({"data.path": data, "data.from": first, "data.to": last})
        overrides["mode"] = "backtest"
        run_and_show(
            _load(config, overrides),
            out,
            as_json=as_json,
            with_report=report,
            engine=engine,
        )

    @app.command(
        name="run",
        help=_("Run a strategy in the mode its configuration names."),
        epilog=_("Example: kisbt run configs/ma_rsi_bollinger.yaml --mode backtest"),
    )
    def run(
        config: Annotated[Path, config_argument] = DEFAULT_CONFIG,
        mode: Annotated[
            str, typer.Option("--mode", metavar="MODE", help=_("backtest"))
        ] = "",
        out: Annotated[Path | None, out_option] = None,
        settings: Annotated[list[str] | None, set_option] = None,
        as_json: Annotated[bool, json_option] = False,
    ) -> None:
        overrides = parse_settings(settings or []) | _given({"mode": mode})
        loaded = _load(config, overrides)
        if loaded.mode != "backtest":
            raise InputError(
                _(
                    "mode {mode}: this version of kisbt runs backtests only; use "
                    "--mode backtest"
                ).format(mode=loaded.mode)
            )
        run_and_show(loaded, out, as_json=as_json)


def parse_settings(settings: list[str]) -> dict[str, object]:
    """Return values by dotted key from texts such as ``capital=5000000``."""
    from kisbt.config.load import parse_setting

    return dict(parse_setting(text) for text in settings)


def run_and_show(
    config: "Config",
    out: Path | None,
    *,
    as_json: bool = False,
    with_report: bool = True,
    engine: str = "auto",
) -> "Backtest":
    """Run a backtest, write its folder and print the summary."""
    from kisbt.app.backtest import backtest
    from kisbt.report.folder import check_target

    check_target(out if out is not None else Path("runs") / "new")
    with progress(_("Backtest"), 100) as advance:
        done = backtest(
            config, progress=lambda at, of: advance(at * 100 // of), engine=engine
        )
    folder = out if out is not None else free_folder(done.result.run["id"])
    with progress(_("Writing the run folder")):
        done.save(folder, with_report=with_report)
    if as_json:
        print_json({**done.summary, "folder": str(folder)})
        return done
    show_summary(done)
    say(_("Run folder: {folder}").format(folder=folder))
    if with_report:
        say(_("Report:     {path}").format(path=(folder / "report.html").resolve()))
    return done


def show_summary(done: "Backtest") -> None:
    """Print the headline numbers, then what the user should know."""
    from kisbt.cli.report import print_summary

    for text in done.result.run["warnings"]:
        warn(text)
    print_summary(done.summary)


def free_folder(run_id: str) -> Path:
    """Return ``runs/ID``, with a number behind it when that is taken."""
    folder = Path("runs") / run_id
    number = 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{run_id}-{number}"
    return folder


def _load(path: Path, overrides: dict[str, object]) -> "Config":
    from kisbt.config.load import load_config

    return load_config(path, overrides=overrides)


def _given(values: dict[str, Any]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value != ""}
