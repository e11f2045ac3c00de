"""`kisbt optimize`: search the parameters of a strategy."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kisbt.cli.common import (
    DEFAULT_CONFIG,
    Column,
    note,
    print_json,
    print_rows,
    progress,
    say,
    warn,
)
from kisbt.errors import InputError
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.optimize import Plan, Search
    from kisbt.app.searchrun import Begun
    from kisbt.config.schema import Config


def register(app: typer.Typer) -> None:
    """Add the command."""
    words = option_words()

    @app.command(
        name="optimize",
        help=_(
            "Search the parameters of a strategy and check whether the best ones are "
            "more than luck. The optimize: block of the configuration says what to try."
        ),
        epilog=_("Example: kisbt optimize configs/ma_cross_search.yaml --workers 4"),
    )
    def optimize(
        config: Annotated[Path, words.config] = DEFAULT_CONFIG,
        out: Annotated[Path | None, words.out] = None,
        resume: Annotated[Path | None, words.resume] = None,
        sampler: Annotated[str, words.sampler] = "",
        trials: Annotated[int | None, words.trials] = None,
        seed: Annotated[int | None, words.seed] = None,
        objective: Annotated[str, words.objective] = "",
        workers: Annotated[int | None, words.workers] = None,
        cluster: Annotated[str, words.cluster] = "",
        storage: Annotated[str, words.storage] = "",
        settings: Annotated[list[str] | None, words.set] = None,
        estimate: Annotated[bool, words.estimate] = False,
        report: Annotated[bool, words.report] = True,
        as_json: Annotated[bool, words.json] = False,
    ) -> None:
        from kisbt.app.searchrun import new_search, old_search

        changes = search_overrides(
            settings,
            sampler=sampler,
            trials=trials,
            seed=seed,
            objective=objective,
            storage=storage,
        )
        if resume is None:
            begun = new_search(load(config, changes), out)
        else:
            refuse_changes(changes, out)
            begun = old_search(resume, storage or None)
        count = begun.plan.sampler.total
        if estimate or not as_json:
            show_estimate(begun.plan, count, workers, cluster, to_stdout=estimate)
        if estimate:
            return
        search = _run(
            begun,
            workers=workers,
            cluster=cluster or None,
            with_report=report,
        )
        _show(search, begun, as_json=as_json, with_report=report)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The options that searches have in common, in the language in force."""

    config: Any
    out: Any
    resume: Any
    sampler: Any
    trials: Any
    seed: Any
    objective: Any
    workers: Any
    cluster: Any
    storage: Any
    set: Any
    estimate: Any
    report: Any
    json: Any


def option_words() -> Words:
    """Return the options; called when the language is known."""
    return Words(
        config=typer.Argument(
            metavar="[CONFIG]", help=_("Configuration file."), show_default=False
        ),
        out=typer.Option(
            "--out", metavar="DIR", help=_("Folder of the search, new or empty.")
        ),
        resume=typer.Option(
            "--resume", metavar="DIR", help=_("Go on with the search in this folder.")
        ),
        sampler=typer.Option(
            "--sampler", metavar="NAME", help=_("grid, random or tpe.")
        ),
        trials=typer.Option(
            "--trials", metavar="N", help=_("How many combinations to try.")
        ),
        seed=typer.Option(
            "--seed", metavar="N", help=_("Start of every random choice.")
        ),
        objective=typer.Option(
            "--objective", metavar="NUMBER", help=_("What to maximise, such as sharpe.")
        ),
        workers=typer.Option(
            "--workers",
            metavar="N",
            help=_("Processes; default: as many as processors."),
        ),
        cluster=typer.Option(
            "--cluster",
            metavar="ADDRESS",
            help=_("Dask scheduler, such as tcp://HOST:8786."),
        ),
        storage=typer.Option(
            "--storage",
            metavar="URL",
            help=_("Database of the trials; default: a file."),
        ),
        set=typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help=_("Set a key of the file, such as capital=5000000."),
        ),
        estimate=typer.Option(
            "--estimate", help=_("Say how long it would take, and end.")
        ),
        report=typer.Option("--report/--no-report", help=_("Write the HTML page.")),
        json=typer.Option("--json", help=_("Print the result as JSON.")),
    )


def search_overrides(settings: list[str] | None, **given: Any) -> dict[str, object]:
    """Return what the options change in the configuration."""
    from kisbt.cli.backtest import parse_settings

    overrides = parse_settings(settings or [])
    overrides |= {
        f"optimize.{key}": value
        for key, value in given.items()
        if value not in ("", None)
    }
    return overrides


def refuse_changes(changes: dict[str, object], out: Path | None) -> None:
    """Refuse options that would make another search of the one that goes on."""
    changed = sorted(set(changes) - {"optimize.storage"})
    if out is not None or changed:
        raise InputError(
            _(
                "--resume goes on with the search as it was begun: leave out {options}"
            ).format(options=", ".join(changed) or "--out")
        )


def load(path: Path, overrides: dict[str, object]) -> "Config":
    """Return the configuration with what the options change."""
    from kisbt.config.load import load_config

    return load_config(path, overrides=overrides)


def show_estimate(
    plan: "Plan",
    runs: int,
    workers: int | None,
    cluster: str,
    *,
    to_stdout: bool,
) -> None:
    """Say what the search will cost, from the trial that was measured."""
    from kisbt.app.optimize import default_workers

    count = workers or default_workers()
    if cluster:
        text = _(
            "{runs:,} runs of {seconds:.2f} s each: {total} of work for the cluster"
        ).format(
            runs=runs,
            seconds=plan.seconds,
            total=duration(plan.estimate_s(1, runs)),
        )
    else:
        text = _(
            "{runs:,} runs of {seconds:.2f} s each with {workers} workers: about {total}"
        ).format(
            runs=runs,
            seconds=plan.seconds,
            workers=count,
            total=duration(plan.estimate_s(count, runs)),
        )
    (say if to_stdout else note)(text)


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return _("{seconds:.0f} seconds").format(seconds=max(1.0, seconds))
    if seconds < 5400:
        return _("{minutes:.0f} minutes").format(minutes=seconds / 60)
    return _("{hours:.1f} hours").format(hours=seconds / 3600)


def _run(begun: "Begun", **options: Any) -> "Search":
    from kisbt.app.searchrun import run_begun

    for text in begun.plan.prepared.warnings:
        warn(text)
    with progress(_("Search"), begun.plan.sampler.total) as advance:

        def notice(done: int, total: int, best: float | None) -> None:
            text = "–" if best is None else f"{best:.4g}"
            advance(
                done,
                _("{done:,} of {total:,}, best {best}").format(
                    done=done, total=total, best=text
                ),
            )

        try:
            return run_begun(begun, notice=notice, **options)
        except KeyboardInterrupt:
            note(
                _("What was finished is kept: kisbt optimize --resume {folder}").format(
                    folder=begun.folder
                )
            )
            raise


def _show(
    search: "Search", begun: "Begun", *, as_json: bool, with_report: bool
) -> None:
    from kisbt.app.searchfolder import BEST_FILE, plain
    from kisbt.app.searchpage import nothing_found, show, show_params
    from kisbt.app.searchrun import PAGE_FILE, outcome
    from kisbt.optimize.verdict import explain

    folder = begun.folder
    if as_json:
        print_json(plain({**outcome(search), "folder": str(folder)}))
        return
    ranked = sorted(
        (
            (value, trial)
            for value, trial in zip(
                search.found.values, search.found.trials, strict=True
            )
            if value is not None
        ),
        key=lambda pair: (-pair[0], pair[1].number),
    )
    print_rows(
        [
            {
                "number": trial.number,
                "value": show(value),
                "params": show_params(trial.params),
            }
            for value, trial in ranked[:5]
        ],
        [
            Column("number", "#", right=True),
            Column("value", search.plan.objective.text, right=True),
            Column("params", _("Parameters")),
        ],
    )
    if search.assessment is None:
        warn(nothing_found())
    else:
        say(explain(search.assessment))
        say()
    say(_("Folder: {folder}").format(folder=folder))
    if with_report:
        say(_("Page:   {path}").format(path=(folder / PAGE_FILE).resolve()))
    if search.best is not None:
        say(_("Run it: kisbt backtest {file}").format(file=folder / BEST_FILE))
