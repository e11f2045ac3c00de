import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kisbt.app.backtest import backtest
from kisbt.app.optimize import Plan, Search, make_plan, optimize
from kisbt.app.searchfolder import (
    BEST_FILE,
    SEARCH_FILE,
    TRIALS_FILE,
    locked,
    table_text,
    trial_rows,
)
from kisbt.app.searchrun import PAGE_FILE, new_search, old_search, run_begun
from kisbt.app.trials import make_job, run_trial
from kisbt.config.load import load_config
from kisbt.config.schema import Config
from kisbt.errors import ConfigError, InputError, StrategyError
from kisbt.optimize.verdict import Verdict
from tests.helpers.search_market import (
    ROOT,
    make_store,
    noise,
    search_config,
    trends,
)

SYMBOL = "100000"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    return make_store(folder, {SYMBOL: trends(500, 0), "200000": noise(420, 1)})


def config(store: Path, **changes: Any) -> Config:
    return search_config(
        store,
        [SYMBOL],
        **{
            "optimize.space.ma_short": {"low": 2, "high": 6, "step": 2},
            "optimize.space.ma_long": [12, 24],
            **changes,
        },
    )


def table(search: Search) -> str:
    plan = search.plan
    return table_text(trial_rows(search.found.trials, plan.objective, plan.names))


def sampled(store: Path, sampler: str) -> Plan:
    return make_plan(
        config(
            store,
            **{
                "optimize.sampler": sampler,
                "optimize.trials": 12,
                "optimize.batch": 4,
                "optimize.space.ma_short": {"low": 2, "high": 11},
                "optimize.space.ma_long": {"low": 12, "high": 40},
            },
        )
    )


@pytest.mark.parametrize("rules", ["krx", "none"])
def test_a_trial_has_the_numbers_of_a_backtest(store: Path, rules: str) -> None:
    costs = {} if rules == "none" else {"broker": {"rules": "krx"}}
    plan = make_plan(
        search_config(store, [SYMBOL, "200000"], **{"strategy.params": {}, **costs})
    )
    assert plan.config.broker.rules == rules
    job = make_job(plan.prepared, None)
    trial = run_trial(job, None, 0, {"ma_short": 4, "ma_long": 24})
    params = {"ma_short": 4, "ma_long": 24}
    whole = backtest(
        search_config(store, [SYMBOL, "200000"], **{"strategy.params": params, **costs})
    )
    assert trial.metrics == whole.summary["metrics"]
    equity = whole.result.equity.equity
    path = np.r_[plan.config.capital, equity]
    assert trial.session_returns == pytest.approx(path[1:] / path[:-1] - 1, abs=1e-7)


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_trials_do_not_depend_on_the_number_of_workers(
    store: Path, sampler: str
) -> None:
    plan = sampled(store, sampler) if sampler != "grid" else make_plan(config(store))
    one, two = optimize(plan, workers=1), optimize(plan, workers=2)
    assert table(one) == table(two)
    assert one.best == two.best
    assert (one.workers, two.workers) == (1, 2)
    assert [t.returns for t in one.found.trials] == [
        t.returns for t in two.found.trials
    ]


def test_the_configuration_s_own_parameters_are_the_baseline(store: Path) -> None:
    plan = make_plan(config(store))
    own = backtest(config(store))
    assert plan.baseline.metrics == own.summary["metrics"]
    assert plan.sampler.total == 6
    assert plan.estimate_s(2) == pytest.approx(plan.seconds * 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pure_noise_is_called_overfit(tmp_path: Path, seed: int) -> None:
    make_store(tmp_path, {SYMBOL: noise(1200, seed)})
    search = optimize(make_plan(search_config(tmp_path, [SYMBOL])), workers=1)
    assert search.assessment is not None
    assert search.assessment.verdict is Verdict.OVERFIT


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_edge_is_not_called_overfit(tmp_path: Path, seed: int) -> None:
    make_store(tmp_path, {SYMBOL: trends(1500, seed)})
    search = optimize(make_plan(search_config(tmp_path, [SYMBOL])), workers=1)
    assert search.assessment is not None
    assert search.assessment.verdict is not Verdict.OVERFIT
    assert search.assessment.deflated is not None
    assert search.assessment.deflated.probability > 0.99


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"optimize": None}, "there is no optimize: block"),
        ({"optimize.space.ma_shor": [1, 2]}, r"optimize\.space\.ma_shor: .* ma_short"),
        ({"optimize.space.ma_long": [5]}, "a list needs two values"),
        ({"optimize.space.ma_long": 5}, r"expected a range such as \{low: 3"),
        ({"optimize.space.ma_long": {"low": 9, "high": 3}}, "low 9 is not below"),
        ({"optimize.space.ma_long": {"low": 9, "hihg": 3}}, "unknown key"),
        ({"optimize.where": "ma_short < open('x')"}, "is no condition"),
        ({"optimize.where": "ma_shrt < 3"}, "reads ma_shrt"),
        ({"optimize.objective": "profit"}, "profit is no number"),
        ({"optimize.constraints": "trades > n"}, "reads n"),
        ({"optimize.sampler": "gird"}, "found 'gird', expected grid"),
        ({"optimize.trials": 5}, "6 combinations, more than optimize.trials 5"),
        ({"optimize.space": {}}, "optimize.space"),
    ],
)
def test_a_wrong_block_is_refused_in_words(
    store: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        make_plan(config(store, **changes))


FRAIL = """
import backtrader as bt


class Frail(bt.Strategy):
    params = (("n", 1), ("m", 1))

    def next(self):
        if self.p.n == 2:
            raise RuntimeError("two is too much")
        if len(self) % (10 * self.p.n) == 0 and not self.position.size:
            self.buy(size=1)
        elif self.position.size:
            self.close()
"""


def frail(folder: Path, store: Path, **changes: Any) -> Config:
    (folder / "strategies").mkdir(exist_ok=True)
    (folder / "strategies" / "__init__.py").touch()
    (folder / "strategies" / "frail.py").write_text(FRAIL)
    values = {
        "strategy": {"class": "strategies.frail:Frail"},
        "universe": {"symbols": [SYMBOL]},
        "data": {"path": str(store), "warmup": 20},
        "broker": {"rules": "none", "commission": 0.0, "tax": "none"},
        "report": {"benchmark": None},
        "optimize": {"space": {"n": [1, 2, 3]}},
    }
    return load_config(values, overrides=changes, root=folder)


def test_a_trial_that_raises_fails_alone(tmp_path: Path, store: Path) -> None:
    search = optimize(make_plan(frail(tmp_path, store)), workers=1)
    failed = search.found.trials[1]
    assert failed.metrics is None
    assert "two is too much" in failed.error
    assert search.found.values[1] is None
    assert search.best is not None
    assert search.best.number != 1
    with pytest.raises(StrategyError, match="two is too much"):
        make_plan(frail(tmp_path, store, **{"strategy.params": {"n": 2}}))


def test_without_a_feasible_trial_there_is_no_best_one(
    tmp_path: Path, store: Path
) -> None:
    plan = make_plan(frail(tmp_path, store, **{"optimize.constraints": "trades > 1e6"}))
    search = optimize(plan, workers=1)
    assert search.best is None
    assert search.assessment is None
    begun = new_search(plan.config, tmp_path / "out")
    run_begun(begun, workers=1)
    assert "No trial has a value" in (tmp_path / "out" / PAGE_FILE).read_text("utf-8")
    assert not (tmp_path / "out" / BEST_FILE).exists()


class Stop(Exception):
    """An interruption in the middle."""


def stop_at(count: int) -> Any:
    def notice(done: int, total: int, best: float | None) -> None:
        if done == count:
            raise Stop

    return notice


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_goes_on_and_ends_as_if_never_stopped(
    tmp_path: Path, store: Path, sampler: str
) -> None:
    wanted = sampled(store, sampler).config
    whole = run_begun(new_search(wanted, tmp_path / "whole"), workers=1)
    stopped = new_search(wanted, tmp_path / "stopped")
    with pytest.raises(Stop):
        run_begun(stopped, workers=1, notice=stop_at(6))
    head = json.loads((tmp_path / "stopped" / SEARCH_FILE).read_text("utf-8"))
    assert head["state"] == "running"
    again = run_begun(old_search(tmp_path / "stopped"), workers=1)
    assert again.found.resumed == 6
    assert table(again) == table(whole)
    tables = [(tmp_path / n / TRIALS_FILE).read_bytes() for n in ("whole", "stopped")]
    assert tables[0] == tables[1]


def test_a_changed_store_is_not_gone_on_with(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_store(data, {SYMBOL: trends(300, 0)})
    begun = new_search(config(data), tmp_path / "out")
    with pytest.raises(Stop):
        run_begun(begun, workers=1, notice=stop_at(2))
    make_store(data, {SYMBOL: trends(300, 1)})
    with pytest.raises(InputError, match="changed since the search began: the candles"):
        old_search(tmp_path / "out")


def test_the_folder_has_everything_and_best_yaml_runs(
    tmp_path: Path, store: Path
) -> None:
    folder = tmp_path / "out"
    search = run_begun(new_search(config(store), folder), workers=1)
    assert {path.name for path in folder.iterdir()} == {
        BEST_FILE,
        PAGE_FILE,
        SEARCH_FILE,
        TRIALS_FILE,
        "study.db",
    }
    rows = list(
        csv.DictReader(io.StringIO((folder / TRIALS_FILE).read_text("utf-8-sig")))
    )
    assert [row["ma_short"] for row in rows] == ["2", "2", "4", "4", "6", "6"]
    head = json.loads((folder / SEARCH_FILE).read_text("utf-8"))
    assert head["state"] == "done"
    assert head["trials"] == 6
    assert head["explanation"] in (folder / PAGE_FILE).read_text("utf-8")
    assert search.best is not None
    again = backtest(load_config(folder / BEST_FILE))
    assert again.summary["metrics"] == search.best.metrics


def test_secrets_stay_out_of_the_folder(tmp_path: Path, store: Path) -> None:
    secret = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"
    url = f"sqlite:///{(tmp_path / 'trials.db').as_posix()}"
    wanted = config(store, **{"notify.urls": [secret], "optimize.storage": url})
    begun = new_search(wanted, tmp_path / "out")
    with pytest.raises(Stop):
        run_begun(begun, workers=1, notice=stop_at(3))
    with pytest.raises(InputError, match="--storage"):
        old_search(tmp_path / "out")
    run_begun(old_search(tmp_path / "out", url), workers=1)
    for path in (tmp_path / "out").iterdir():
        assert b"JHMHI8" not in path.read_bytes()
        assert b"trials.db" not in path.read_bytes()


def test_tpe_leaves_a_study_that_optuna_reads(tmp_path: Path, store: Path) -> None:
    import optuna

    folder = tmp_path / "out"
    search = run_begun(new_search(sampled(store, "tpe").config, folder), workers=1)
    head = json.loads((folder / SEARCH_FILE).read_text("utf-8"))
    study = optuna.load_study(
        study_name=head["id"], storage=f"sqlite:///{(folder / 'study.db').as_posix()}"
    )
    assert [t.params for t in study.trials] == [
        dict(t.params) for t in search.found.trials
    ]
    assert study.best_value == search.best_value


def test_two_processes_do_not_share_a_folder(tmp_path: Path, store: Path) -> None:
    begun = new_search(config(store), tmp_path / "out")
    (tmp_path / "out").mkdir()
    with (
        locked(tmp_path / "out"),
        pytest.raises(InputError, match="another process is working"),
    ):
        run_begun(begun, workers=1)


def test_a_job_needs_no_file_of_the_project(tmp_path: Path, store: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{SYMBOL}  # the first one\n")
    universe = {"universe.symbols": [], "universe.file": str(names)}
    plan = make_plan(config(store, **universe))
    names.unlink()
    job = make_job(plan.prepared, tmp_path)
    assert run_trial(job, None, 0, {}).metrics == plan.baseline.metrics


@pytest.mark.parametrize("name", ["optimize.md", "optimize.ko.md"])
def test_the_block_of_the_guide_is_read(name: str, store: Path) -> None:
    text = (ROOT / "docs" / name).read_text("utf-8")
    block = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    read = search_config(store, [SYMBOL], **block).optimize
    assert read is not None
    assert list(read.space) == ["ma_short", "ma_long", "stop_loss", "bb_std", "entry"]
    assert read.walkforward.train == 500


def test_other_sessions_of_the_range_are_never_looked_at(store: Path) -> None:
    """A search up to a day has the same trials whatever comes after it."""
    cut = {"data.to": "2013-06-28"}
    whole = optimize(make_plan(config(store, **cut)), workers=1)
    days = np.frombuffer(whole.found.trials[0].returns, "<f4")
    first = backtest(config(store, **cut)).result.equity
    assert len(days) == len(first.time)
    assert str(first.time[-1])[:10] == "2013-06-28"
