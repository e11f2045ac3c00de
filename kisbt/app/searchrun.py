"""A search from its configuration to its folder, begun or gone on with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kisbt.app.optimize import Plan, Search, best_params, make_plan, optimize
from kisbt.app.searchfolder import (
    SEARCH_FILE,
    TRIALS_FILE,
    begin,
    check_same,
    config_to_resume,
    describe,
    locked,
    read_search,
    storage_of,
    table_text,
    trial_rows,
    write_best,
    write_json,
    write_page,
)
from kisbt.clock import Clock, SystemClock
from kisbt.config.schema import Config
from kisbt.optimize.export import export_to_optuna
from kisbt.optimize.search import Notice
from kisbt.optimize.verdict import explain
from kisbt.report.folder import check_target, write_text
from kisbt.text import _

KIND = "optimize"
PAGE_FILE = "search.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A search that may start: its plan, and its folder.

    Attributes:
        head: of search.json.
        resumed: whether the folder has some of it already.
    """

    plan: Plan
    folder: Path
    head: Mapping[str, Any]
    resumed: bool


def new_search(
    config: Config, folder: Path | None, *, clock: Clock | None = None
) -> Begun:
    """Check a search and where it goes; nothing is written.

    Args:
        config: with its `optimize` block.
        folder: new or empty; ``runs/ID`` if None.
        clock: for the times.

    Raises:
        ConfigError, DataError, StrategyError: see `make_plan`.
        InputError: the folder is in use.
    """
    time_source = clock or SystemClock()
    check_target(folder if folder is not None else Path("runs") / "new")
    plan = make_plan(config, clock=time_source)
    head = describe(KIND, plan.prepared, config, time_source.now())
    target = folder if folder is not None else free_folder(head["id"])
    return Begun(plan=plan, folder=target, head=head, resumed=False)


def free_folder(run_id: str) -> Path:
    """Return ``runs/ID``, with a number behind it when that is taken."""
    folder, number = Path("runs") / run_id, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{run_id}-{number}"
    return folder


def old_search(
    folder: Path, storage: str | None = None, *, clock: Clock | None = None
) -> Begun:
    """Take up a search again.

    Args:
        folder: of the search.
        storage: address of its database, when it is not the file in the folder.
        clock: for the times.

    Raises:
        InputError: it is no such folder, or candles, code or versions have changed.
    """
    time_source = clock or SystemClock()
    before = read_search(folder, KIND)
    plan = make_plan(config_to_resume(before, storage), clock=time_source)
    now = describe(KIND, plan.prepared, plan.config, time_source.now())
    check_same(before, now)
    kept = {key: before[key] for key in ("id", "started", "config", "config_file")}
    return Begun(plan=plan, folder=folder, head={**now, **kept}, resumed=True)


def run_begun(
    begun: Begun,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    notice: Notice | None = None,
    clock: Clock | None = None,
    with_report: bool = True,
) -> Search:
    """Run a search and fill its folder.

    Interrupted, the folder keeps what was finished; `old_search` goes on.

    Args:
        begun: by `new_search` or `old_search`.
        workers, cluster, notice: see `optimize`.
        clock: for the times.
        with_report: whether to write search.html.
    """
    time_source = clock or SystemClock()
    folder, plan = begun.folder, begun.plan
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        begin(folder, begun.head)
        url = storage_of(plan.config, folder)
        search = optimize(
            plan,
            workers=workers,
            cluster=cluster,
            storage=url,
            study=begun.head["id"],
            notice=notice,
            clock=time_source,
        )
        write_text(
            folder / TRIALS_FILE,
            table_text(trial_rows(search.found.trials, plan.objective, plan.names)),
        )
        if search.best is not None:
            write_best(plan.config, best_params(search), folder)
        if with_report:
            from kisbt.app.searchpage import search_sheet

            write_page(folder / PAGE_FILE, search_sheet(search))
        if plan.settings.sampler == "tpe" or plan.settings.storage:
            export_to_optuna(url, begun.head["id"], plan.space, search.found)
        content = {**begun.head, **outcome(search)}
        content["ended"] = time_source.now().isoformat(timespec="seconds")
        write_json(folder / SEARCH_FILE, {**content, "state": "done"})
    return search


def outcome(search: Search) -> dict[str, Any]:
    """Return what a search found, as search.json and ``--json`` have it."""
    best, assessment = search.best, search.assessment
    plan = search.plan
    return {
        "objective": plan.objective.text,
        "trials": len(search.found.trials),
        "failed": sum(trial.metrics is None for trial in search.found.trials),
        "feasible": sum(value is not None for value in search.found.values),
        "best": None
        if best is None
        else {
            "number": best.number,
            "value": search.best_value,
            "params": dict(best.params),
            "metrics": best.metrics,
        },
        "baseline": plan.baseline.metrics,
        "importance": dict(search.importance),
        "verdict": assessment.verdict.value if assessment else None,
        "explanation": explain(assessment) if assessment else _("no best trial"),
        "checks": None
        if assessment is None
        else {
            "deflated_sharpe": assessment.deflated,
            "overfitting": None
            if assessment.backtests is None
            else {
                "probability": assessment.backtests.probability,
                "loss": assessment.backtests.loss,
                "blocks": assessment.backtests.blocks,
                "splits": len(assessment.backtests.logits),
            },
            "neighbours": assessment.neighbours,
            "random_entries": assessment.entries,
            "total_return": assessment.total_return,
            "buy_and_hold_return": assessment.hold_return,
        },
        "seconds": round(search.seconds, 3),
        "seconds_a_trial": round(plan.seconds, 6),
        "workers": search.workers,
    }
