"""`kisbt backtest`, `demo`: a strategy on stored candles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kisbt.cli.common import (
    DEFAULT_CONFIG,
    EXIT_FAILED,
    EXIT_OK,
    print_json,
    progress,
    say,
    warn,
)
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

    each_option = typer.Option(
        "--per-symbol",
        help=_("Run each symbol on its own, with the whole capital, in parallel."),
    )
    workers_option = typer.Option(
        "--workers", metavar="N", help=_("Processes of --per-symbol.")
    )
    cluster_option = typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help=_("Dask scheduler that runs --per-symbol, such as tcp://HOST:8786."),
    )

    @app.command(
        name="demo",
        help=_(
            "Backtest the house strategy on the bundled synthetic candles, then run the "
            "same class for one session on a local KIS server and compare. No keys."
        ),
        epilog=_("Example: kisbt demo"),
    )
    def demo(
        out: Annotated[Path | None, out_option] = None,
        as_json: Annotated[bool, json_option] = False,
    ) -> int:
        from kisbt.app.demo import emulator_demo
        from kisbt.app.init import starter_folder
        from kisbt.cli.parity import show_parity
        from kisbt.config.load import load_config
        from kisbt.report.parity_page import PARITY_PAGE, parity_json

        config = load_config(starter_folder() / DEFAULT_CONFIG)
        done, folder = save_backtest(config, out)
        if not as_json:
            show_run(done, folder)
            say()
            say(_("The same class on a local KIS server, one session of minutes:"))
        with progress(_("Session on the emulator")):
            checked = emulator_demo(folder / "emulator")
        if as_json:
            found = parity_json(checked.run, checked.parity)
            row = {"folder": str(checked.folder), **found}
            print_json({**done.summary, "folder": str(folder), "emulator": row})
        else:
            show_parity(checked)
            say(_("Run folder: {folder}").format(folder=checked.folder))
            page = (checked.folder / PARITY_PAGE).resolve()
            say(_("Comparison: {path}").format(path=page))
            say()
            say(_("The candles are synthetic: invented companies, no real prices."))
            say(_("Your own folder, with everything to change: kisbt init my-trading"))
        return EXIT_OK if checked.parity.same else EXIT_FAILED

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
        each: Annotated[bool, each_option] = False,
        workers: Annotated[int | None, workers_option] = None,
        cluster: Annotated[str, cluster_option] = "",
        as_json: Annotated[bool, json_option] = False,
    ) -> None:
        overrides = parse_settings(settings or [])
        overrides |= _given({"data.path": data, "data.from": first, "data.to": last})
        overrides["mode"] = "backtest"
        if each:
            run_each_symbol(
                _load(config, overrides),
                out,
                as_json=as_json,
                with_report=report,
                engine=engine,
                workers=workers,
                cluster=cluster or None,
            )
            return
        if workers is not None or cluster:
            raise InputError(
                _("--workers and --cluster are for --per-symbol; add it, or drop them")
            )
        run_and_show(
            _load(config, overrides),
            out,
            as_json=as_json,
            with_report=report,
            engine=engine,
        )


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
    done, folder = save_backtest(config, out, with_report=with_report, engine=engine)
    if as_json:
        print_json({**done.summary, "folder": str(folder)})
    else:
        show_run(done, folder, with_report=with_report)
    return done


def save_backtest(
    config: "Config",
    out: Path | None,
    *,
    with_report: bool = True,
    engine: str = "auto",
) -> tuple["Backtest", Path]:
    """Run a backtest and write its folder; return both."""
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
    return done, folder


def show_run(done: "Backtest", folder: Path, *, with_report: bool = True) -> None:
    """Print a backtest that was saved."""
    show_summary(done)
    say(_("Run folder: {folder}").format(folder=folder))
    if with_report:
        say(_("Report:     {path}").format(path=(folder / "report.html").resolve()))


def run_each_symbol(
    config: "Config",
    out: Path | None,
    *,
    as_json: bool,
    with_report: bool,
    **options: Any,
) -> None:
    """Run each symbol on its own, write the folder and print the numbers."""
    from kisbt.app.per_symbol import (
        PAGE_FILE,
        per_symbol,
        save_per_symbol,
        symbol_outcome,
    )
    from kisbt.report.folder import check_target
    from kisbt.report.metric_words import format_percent

    check_target(out if out is not None else Path("runs") / "new")
    with progress(_("Symbols"), 100) as advance:
        found = per_symbol(
            config, notice=lambda at, of: advance(at * 100 // of), **options
        )
    folder = save_per_symbol(
        found, out or free_folder(found.run_id), with_report=with_report
    )
    numbers = symbol_outcome(found)
    if as_json:
        print_json({**numbers, "folder": str(folder)})
        return
    for run in found.runs:
        if run.error:
            warn(f"{run.symbol}: {run.error}")
    say(
        _(
            "{symbols:,} symbols: {profitable} profitable, median return {median}, "
            "equal shares in all {average}, {trades:,} trades"
        ).format(
            symbols=numbers["symbols"],
            profitable=format_percent(numbers["profitable"] or 0.0),
            median=format_percent(numbers["median_return"] or 0.0),
            average=format_percent(numbers["average_return"] or 0.0),
            trades=numbers["trades"],
        )
    )
    say(_("Folder: {folder}").format(folder=folder))
    if with_report:
        say(_("Page:   {path}").format(path=(folder / PAGE_FILE).resolve()))


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
