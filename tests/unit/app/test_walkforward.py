import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kisbt.app.backtest import backtest
from kisbt.app.forwardrun import (
    EQUITY_FILE,
    PAGE_FILE,
    WINDOWS_FILE,
    new_forward,
    old_forward,
    run_forward,
)
from kisbt.app.optimize import make_plan
from kisbt.app.searchfolder import BEST_FILE, SEARCH_FILE
from kisbt.app.walkforward import cut, walk_forward, window_rows, windows_of
from kisbt.config.load import load_config
from kisbt.config.schema import Config
from kisbt.errors import ConfigError
from kisbt.optimize.verdict import Verdict
from tests.helpers.search_market import make_store, noise, search_config, trends

SYMBOL = "100000"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    return make_store(folder, {SYMBOL: trends(700, 1)})


def config(store: Path, **changes: Any) -> Config:
    return search_config(
        store,
        [SYMBOL],
        **{
            "optimize.space.ma_short": [2, 6],
            "optimize.space.ma_long": [12, 24],
            "optimize.walkforward": {"train": 200, "test": 100},
            **changes,
        },
    )


def with_params(wanted: Config, params: dict[str, Any]) -> Config:
    strategy = wanted.strategy.model_copy(
        update={"params": {**wanted.strategy.params, **params}}
    )
    return wanted.model_copy(update={"strategy": strategy})


def test_training_and_tests_are_backtests_of_their_sessions(store: Path) -> None:
    plan = make_plan(config(store))
    done = walk_forward(plan, workers=1)
    assert len(done.steps) == len(windows_of(plan)) == 4
    for step in done.steps:
        best = with_params(plan.config, dict(step.best.params))
        trained = backtest(cut(best, step.window.train))
        assert step.best.metrics == trained.summary["metrics"]
        tested = backtest(cut(best, step.window.test))
        assert step.tested.metrics == tested.summary["metrics"]
        values = [v for v in step.found.values if v is not None]
        assert step.value == max(values)


def test_stitched_equity_strings_the_tests_together(store: Path) -> None:
    done = walk_forward(make_plan(config(store)), workers=1)
    growth = [1 + (step.tested.metrics or {})["total_return"] for step in done.steps]
    assert done.equity.value[-1] == pytest.approx(1e8 * np.prod(growth))
    assert (np.diff(done.equity.time) > np.timedelta64(0, "s")).all()
    assert len(done.equity.time) == sum(len(step.days) for step in done.steps)
    assert done.assessment.total_return == pytest.approx(np.prod(growth) - 1)


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_windows_do_not_depend_on_the_number_of_workers(
    store: Path, sampler: str
) -> None:
    changes = {"optimize.sampler": sampler, "optimize.trials": 4, "optimize.batch": 2}
    plan = make_plan(config(store, **changes))
    one, two = walk_forward(plan, workers=1), walk_forward(plan, workers=2)
    assert window_rows(one) == window_rows(two)
    assert np.array_equal(one.equity.value, two.equity.value)


def test_later_candles_do_not_change_earlier_windows(
    tmp_path: Path, store: Path
) -> None:
    make_store(tmp_path, {SYMBOL: np.r_[trends(700, 1)[:480], noise(220, 9)]})
    same = walk_forward(make_plan(config(store)), workers=1)
    other = walk_forward(make_plan(config(tmp_path)), workers=1)
    # Warm-up 60, training 200, two tests of 100: bar 460.
    assert window_rows(same)[:2] == window_rows(other)[:2]
    assert window_rows(same)[3] != window_rows(other)[3]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "luck"), [(noise, True), (trends, False)])
def test_noise_is_overfit_and_an_edge_is_not(
    tmp_path: Path, kind: Any, luck: bool
) -> None:
    make_store(tmp_path, {SYMBOL: kind(1500, 0)})
    wanted = search_config(
        tmp_path, [SYMBOL], **{"optimize.walkforward": {"train": 400, "test": 150}}
    )
    found = walk_forward(make_plan(wanted), workers=1).assessment
    assert (found.verdict is Verdict.OVERFIT) is luck


def test_too_short_a_history_is_refused_before_anything_runs(store: Path) -> None:
    with pytest.raises(ConfigError, match="at least two are needed"):
        new_forward(
            config(store, **{"optimize.walkforward.train": 600}), Path("nowhere")
        )


def test_no_feasible_trial_anywhere_is_refused(store: Path) -> None:
    plan = make_plan(config(store, **{"optimize.constraints": "trades > 1e6"}))
    with pytest.raises(ConfigError, match="no window has a trial"):
        walk_forward(plan, workers=1)


class Stop(Exception):
    """An interruption in the middle."""


def test_analysis_goes_on_and_ends_as_if_never_stopped(
    tmp_path: Path, store: Path
) -> None:
    def stop(window: int, windows: int, done: int, total: int) -> None:
        if (window, done) == (2, 2):
            raise Stop

    run_forward(new_forward(config(store), tmp_path / "whole"), workers=1)
    begun = new_forward(config(store), tmp_path / "stopped")
    with pytest.raises(Stop):
        run_forward(begun, workers=1, notice=stop)
    run_forward(old_forward(tmp_path / "stopped"), workers=1)
    for name in (WINDOWS_FILE, EQUITY_FILE):
        files = [(tmp_path / part / name).read_bytes() for part in ("whole", "stopped")]
        assert files[0] == files[1]


def test_the_folder_has_everything_and_best_yaml_runs(
    tmp_path: Path, store: Path
) -> None:
    folder = tmp_path / "out"
    done = run_forward(new_forward(config(store), folder), workers=1)
    head = json.loads((folder / SEARCH_FILE).read_text("utf-8"))
    assert head["state"] == "done"
    assert len(head["windows"]) == 4
    page = (folder / PAGE_FILE).read_text("utf-8")
    assert head["explanation"] in page
    best = load_config(folder / BEST_FILE)
    for name, value in done.steps[-1].best.params.items():
        assert best.strategy.params[name] == value
    assert backtest(best).summary["bars"] > 0
