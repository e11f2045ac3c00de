"""`kisbt walkforward`: search, trade what follows, move on."""

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
from kisbt.cli.optimize import (
    duration,
    load,
    option_words,
    refuse_changes,
    search_overrides,
)
from kisbt.text import _

if TYPE_CHECKING:
    from kisbt.app.forwardrun import BegunForward
    from kisbt.app.walkforward import WalkForward


def register(app: typer.Typer) -> None:
    """Add the command."""
    words = option_words()
    train_option = typer.Option(
        "--train", metavar="N", help=_("Sessions searched before a test.")
    )
    test_option = typer.Option("--test", metavar="N", help=_("Sessions of a test."))
    anchored_option = typer.Option(
        "--anchored/--rolling",
        help=_("Whether all training begins at the first session."),
        show_default=False,
    )

    @app.command(
        name="walkforward",
        help=_(
            "Search a stretch of the history, trade the next one with the best "
            "parameters, move on: what a search is worth on sessions it has not seen."
        ),
        epilog=_("Example: kisbt walkforward configs/ma_cross_search.yaml --test 60"),
    )
    def walkforward(
        config: Annotated[Path, words.config] = DEFAULT_CONFIG,
        out: Annotated[Path | None, words.out] = None,
        resume: Annotated[Path | None, words.resume] = None,
        train: Annotated[int | None, train_option] = None,
        test: Annotated[int | None, test_option] = None,
        anchored: Annotated[bool | None, anchored_option] = None,
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
        from kisbt.app.forwardrun import new_forward, old_forward

        changes = search_overrides(
            settings,
            sampler=sampler,
            trials=trials,
            seed=seed,
            objective=objective,
            storage=storage,
            **{
                "walkforward.train": train,
                "walkforward.test": test,
                "walkforward.anchored": anchored,
            },
        )
        if resume is None:
            begun = new_forward(load(config, changes), out)
        else:
            refuse_changes(changes, out)
            begun = old_forward(resume, storage or None)
        if estimate or not as_json:
            _show_estimate(begun, workers, to_stdout=estimate)
        if estimate:
            return
        done = _run(begun, workers=workers, cluster=cluster or None, with_report=report)
        _show(done, begun, as_json=as_json, with_report=report)


def _show_estimate(
    begun: "BegunForward", workers: int | None, *, to_stdout: bool
) -> None:
    from kisbt.app.optimize import default_workers

    count = workers or default_workers()
    text = _(
        "{windows} windows, {runs:,} runs of about {seconds:.2f} s with {workers} "
        "workers: about {total}"
    ).format(
        windows=len(begun.windows),
        runs=begun.runs,
        seconds=begun.seconds,
        workers=count,
        total=duration(begun.seconds * begun.runs / count),
    )
    (say if to_stdout else note)(text)


def _run(begun: "BegunForward", **options: Any) -> "WalkForward":
    from kisbt.app.forwardrun import run_forward

    for text in begun.plan.prepared.warnings:
        warn(text)
    with progress(_("Walk-forward"), begun.runs) as advance:

        def notice(window: int, windows: int, done: int, total: int) -> None:
            advance(
                window * total + done,
                _("window {window} of {windows}").format(
                    window=window + 1, windows=windows
                ),
            )

        try:
            return run_forward(begun, notice=notice, **options)
        except KeyboardInterrupt:
            note(
                _(
                    "What was finished is kept: kisbt walkforward --resume {folder}"
                ).format(folder=begun.folder)
            )
            raise


def _show(
    done: "WalkForward", begun: "BegunForward", *, as_json: bool, with_report: bool
) -> None:
    from kisbt.app.forwardrun import PAGE_FILE, forward_outcome
    from kisbt.app.searchfolder import BEST_FILE, plain
    from kisbt.app.searchpage import show, show_params
    from kisbt.app.walkforward import window_rows
    from kisbt.optimize.verdict import explain_forward

    folder = begun.folder
    if as_json:
        print_json(plain({**forward_outcome(done), "folder": str(folder)}))
        return
    print_rows(
        [
            {
                "window": row["window"],
                "test": step.window.test.text,
                "params": show_params(step.best.params),
                "train": show(row["train_value"]),
                "result": show(row["test_value"]),
            }
            for row, step in zip(window_rows(done), done.steps, strict=True)
        ],
        [
            Column("window", "#", right=True),
            Column("test", _("Test")),
            Column("params", _("Parameters")),
            Column("train", _("Training"), right=True),
            Column("result", _("Test result"), right=True),
        ],
        title=done.plan.objective.text,
    )
    say(explain_forward(done.assessment))
    say()
    say(_("Folder: {folder}").format(folder=folder))
    if with_report:
        say(_("Page:   {path}").format(path=(folder / PAGE_FILE).resolve()))
    say(
        _("With the latest parameters: kisbt backtest {file}").format(
            file=folder / BEST_FILE
        )
    )
