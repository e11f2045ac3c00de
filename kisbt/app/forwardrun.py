"""A walk-forward analysis from its configuration to its folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kisbt.app.optimize import Plan, make_plan
from kisbt.app.searchfolder import (
    SEARCH_FILE,
    begin,
    check_same,
    config_to_resume,
    describe,
    locked,
    read_search,
    storage_of,
    table_text,
    write_best,
    write_json,
    write_page,
)
from kisbt.app.searchrun import free_folder
from kisbt.app.walkforward import (
    ForwardNotice,
    WalkForward,
    last_params,
    walk_forward,
    window_rows,
    windows_of,
)
from kisbt.clock import Clock, SystemClock
from kisbt.config.schema import Config
from kisbt.optimize.verdict import explain_forward
from kisbt.optimize.windows import Window
from kisbt.report.folder import check_target, write_text

KIND = "walkforward"
PAGE_FILE = "walkforward.html"
WINDOWS_FILE = "windows.csv"
EQUITY_FILE = "equity.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunForward:
    """A walk-forward analysis that may start; see `searchrun.Begun`."""

    plan: Plan
    windows: tuple[Window, ...]
    folder: Path
    head: Mapping[str, Any]
    resumed: bool

    @property
    def runs(self) -> int:
        """Backtests it takes, the tests themselves left out."""
        return self.plan.sampler.total * len(self.windows)

    @property
    def seconds(self) -> float:
        """About how long one of them takes: a part of the whole history's time."""
        asked = self.plan.settings.walkforward
        whole = max(1, self.plan.prepared.bars)
        daily = self.plan.config.bars.length.is_daily
        share = min(1.0, (asked.train + 250) / whole) if daily else 1.0
        return self.plan.seconds * share


def new_forward(
    config: Config, folder: Path | None, *, clock: Clock | None = None
) -> BegunForward:
    """Check a walk-forward analysis; nothing is written. See `new_search`."""
    time_source = clock or SystemClock()
    check_target(folder if folder is not None else Path("runs") / "new")
    plan = make_plan(config, clock=time_source)
    head = describe(KIND, plan.prepared, config, time_source.now())
    return BegunForward(
        plan=plan,
        windows=windows_of(plan),
        folder=folder if folder is not None else free_folder(head["id"]),
        head=head,
        resumed=False,
    )


def old_forward(
    folder: Path, storage: str | None = None, *, clock: Clock | None = None
) -> BegunForward:
    """Take up a walk-forward analysis again. See `old_search`."""
    time_source = clock or SystemClock()
    before = read_search(folder, KIND)
    plan = make_plan(config_to_resume(before, storage), clock=time_source)
    now = describe(KIND, plan.prepared, plan.config, time_source.now())
    check_same(before, now)
    kept = {key: before[key] for key in ("id", "started", "config", "config_file")}
    return BegunForward(
        plan=plan,
        windows=windows_of(plan),
        folder=folder,
        head={**now, **kept},
        resumed=True,
    )


def run_forward(
    begun: BegunForward,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    notice: ForwardNotice | None = None,
    clock: Clock | None = None,
    with_report: bool = True,
) -> WalkForward:
    """Run a walk-forward analysis and fill its folder. See `run_begun`."""
    time_source = clock or SystemClock()
    folder, plan = begun.folder, begun.plan
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        begin(folder, begun.head)
        done = walk_forward(
            plan,
            workers=workers,
            cluster=cluster,
            storage=storage_of(plan.config, folder),
            study=begun.head["id"],
            notice=notice,
            clock=time_source,
        )
        write_text(folder / WINDOWS_FILE, table_text(window_rows(done)))
        write_text(folder / EQUITY_FILE, table_text(equity_rows(done)))
        write_best(
            plan.config, {**plan.config.strategy.params, **last_params(done)}, folder
        )
        if with_report:
            from kisbt.app.forwardpage import forward_sheet

            write_page(folder / PAGE_FILE, forward_sheet(done))
        content = {**begun.head, **forward_outcome(done)}
        content["ended"] = time_source.now().isoformat(timespec="seconds")
        write_json(folder / SEARCH_FILE, {**content, "state": "done"})
    return done


def equity_rows(done: WalkForward) -> list[dict[str, Any]]:
    """Return the stitched equity as rows: session, window, equity."""
    numbers = [step.window.number for step in done.steps for _day in step.days]
    return [
        {
            "session": str(time.astype("datetime64[D]")),
            "window": number,
            "equity": round(float(value), 2),
        }
        for time, number, value in zip(
            done.equity.time, numbers, done.equity.value, strict=True
        )
    ]


def forward_outcome(done: WalkForward) -> dict[str, Any]:
    """Return what was found, as search.json and ``--json`` have it."""
    found = done.assessment
    return {
        "objective": done.plan.objective.text,
        "windows": window_rows(done),
        "skipped": [window.number for window in done.skipped],
        "efficiency": asdict(done.efficiency),
        "stability": {name: asdict(item) for name, item in done.stability.items()},
        "verdict": found.verdict.value,
        "explanation": explain_forward(found),
        "checks": {
            "sharpe": found.sharpe,
            "probability": found.probability,
            "overfitting": found.mean_overfitting,
            "random_entries": found.entries,
            "total_return": found.total_return,
            "buy_and_hold_return": found.hold_return,
        },
        "next_params": dict(last_params(done)),
        "seconds": round(done.seconds, 3),
        "workers": done.workers,
    }
