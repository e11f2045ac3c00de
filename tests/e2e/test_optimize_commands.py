"""Searches from the command line: whole, killed and gone on with, and on a cluster."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kisbt.cli.main import run
from kisbt.clock import SystemClock
from tests.helpers.browser import chromium, find_chromium
from tests.helpers.search_market import ROOT, make_store, noise, trends

pytestmark = pytest.mark.e2e

CLOCK = SystemClock()
TRIALS = "trials.csv"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a store, a strategy and a search, and go there."""
    (tmp_path / "strategies").mkdir()
    for name in ("__init__.py", "portfolio.py", "ma_cross.py"):
        text = (ROOT / "strategies" / name).read_text("utf-8")
        (tmp_path / "strategies" / name).write_text(text, "utf-8")
    (tmp_path / "data").mkdir()
    make_store(tmp_path / "data", {"100000": trends(500, 0), "200000": noise(500, 1)})
    values = {
        "strategy": {
            "class": "strategies.ma_cross:MaCross",
            "params": {"position_size": 0.2},
        },
        "universe": {"symbols": ["100000", "200000"]},
        "data": {"warmup": 60},
        "report": {"benchmark": None},
        "optimize": {
            "space": {
                "ma_short": {"low": 2, "high": 8},
                "ma_long": {"low": 12, "high": 40},
            },
            "where": "ma_short * 3 < ma_long",
            "sampler": "tpe",
            "trials": 24,
            "batch": 6,
            "walkforward": {"train": 200, "test": 100},
        },
    }
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(values), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words: str) -> list[str]:
    code = "import sys; from kisbt.cli.main import run; sys.exit(run(sys.argv[1:]))"
    return [sys.executable, "-c", code, *words]


def test_search_prints_and_writes_what_it_found(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["optimize", "search.yaml", "--out", "out", "--workers", "1"]
    assert run([*words, "--lang", "en"]) == 0
    printed = capsys.readouterr()
    assert "24 runs of" in printed.err
    assert "combinations were tried" in printed.out
    assert run(["backtest", "out/best.yaml", "--out", "best", "--no-report"]) == 0
    head = json.loads((project / "out" / "search.json").read_text("utf-8"))
    summary = json.loads((project / "best" / "summary.json").read_text("utf-8"))
    assert summary["metrics"] == head["best"]["metrics"]


def test_options_change_the_search_and_estimate_runs_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--sampler", "random", "--trials", "5", "--set", "capital=5000000"]
    assert run(["optimize", "search.yaml", "--estimate", *options]) == 0
    assert "5 runs of" in capsys.readouterr().out
    assert not (project / "runs").exists()
    assert run(["optimize", "search.yaml", "--workers", "1", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == 5
    assert found["baseline"]["starting_value"] == 5_000_000
    folder = Path(found["folder"])
    assert run(["optimize", "--resume", str(folder), "--trials", "9"]) == 2
    assert "leave out optimize.trials" in capsys.readouterr().err


def test_walk_forward_prints_and_writes_what_it_found(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["walkforward", "search.yaml", "--trials", "6", "--workers", "1"]
    assert run([*words, "--anchored", "--json", "--out", "forward"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [w["train_first"] for w in found["windows"]] == ["2012-03-29"] * 2
    assert run(["backtest", "forward/best.yaml", "--out", "next", "--no-report"]) == 0


def test_per_symbol_prints_and_writes_what_it_found(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backtest", "search.yaml", "--per-symbol", "--workers", "1"]
    assert run([*words, "--out", "each", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["symbols"] == 2
    rows = (project / "each" / "per_symbol.csv").read_text("utf-8-sig").splitlines()
    assert [row[:6] for row in rows[1:]] == ["100000", "200000"]
    assert run(["backtest", "search.yaml", "--workers", "2"]) == 2
    assert "--per-symbol" in capsys.readouterr().err


def trial_count(database: Path) -> int:
    if not database.exists():
        return 0
    with sqlite3.connect(database) as connection:
        try:
            found = connection.execute("select count(*) from kisbt_trials").fetchone()
        except sqlite3.OperationalError:
            return 0
    connection.close()
    return int(found[0])


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_killed_search_is_gone_on_with(project: Path, sampler: str) -> None:
    options = ["--sampler", sampler, "--trials", "160", "--no-report"]
    words = ["optimize", "search.yaml", *options, "--workers", "1"]
    assert run([*words, "--out", "whole"]) == 0
    child = subprocess.Popen(command(*words, "--out", "killed"), cwd=project)
    try:
        while trial_count(project / "killed" / "study.db") < 6:
            assert child.poll() is None, "it ended before it could be killed"
            CLOCK.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(30)
    head = json.loads((project / "killed" / "search.json").read_text("utf-8"))
    assert head["state"] == "running"
    assert trial_count(project / "killed" / "study.db") < 160
    assert run(["optimize", "--resume", "killed", "--workers", "2"]) == 0
    tables = [(project / name / TRIALS).read_bytes() for name in ("whole", "killed")]
    assert tables[0] == tables[1]


@contextmanager
def local_cluster(project: Path, workers: int) -> Iterator[tuple[str, list[Any]]]:
    """Start a scheduler and workers as processes, as their users do."""
    ready = project / "scheduler.json"
    options = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(ready)]
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    started = [
        subprocess.Popen(
            [*dask, "--port", "0", *options], cwd=project, stderr=subprocess.DEVNULL
        )
    ]
    try:
        while not ready.exists() or not ready.read_text():
            assert started[0].poll() is None
            CLOCK.sleep(0.05)
        address = json.loads(ready.read_text())["address"]
        started += [start_worker(project, address) for _number in range(workers)]
        yield address, started
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def start_worker(project: Path, address: str) -> Any:
    options = ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1"]
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, *options],
        cwd=project,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_cluster_gives_the_same_trials_and_survives_a_lost_worker(
    project: Path,
) -> None:
    words = ["optimize", "search.yaml", "--no-report"]
    assert run([*words, "--workers", "1", "--out", "here"]) == 0
    with local_cluster(project, 2) as (address, processes):
        whole = [*words, "--cluster", address, "--out", "cluster"]
        subprocess.run(command(*whole), cwd=project, timeout=100, check=True)
        longer = [*words, "--sampler", "random", "--trials", "80"]
        child = subprocess.Popen(
            command(*longer, "--cluster", address, "--out", "lost"), cwd=project
        )
        while trial_count(project / "lost" / "study.db") < 4:
            assert child.poll() is None, "it ended before a worker could be killed"
            CLOCK.sleep(0.02)
        processes[1].kill()
        processes.append(start_worker(project, address))
        assert child.wait(120) == 0
        each = ["backtest", "search.yaml", "--per-symbol", "--no-report"]
        sent = [*each, "--cluster", address, "--out", "sent"]
        subprocess.run(command(*sent), cwd=project, timeout=100, check=True)
    assert run([*longer, "--workers", "1", "--out", "alone"]) == 0
    assert run([*each, "--workers", "1", "--out", "read"]) == 0
    for one, other, name in (
        ("here", "cluster", TRIALS),
        ("alone", "lost", TRIALS),
        ("read", "sent", "per_symbol.csv"),
    ):
        files = [(project / part / name).read_bytes() for part in (one, other)]
        assert files[0] == files[1]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_pages_draw_without_network_or_errors(project: Path) -> None:
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium; set KISBT_CHROMIUM")
    words = ["search.yaml", "--trials", "12", "--workers", "1", "--lang", "ko"]
    assert run(["optimize", *words, "--out", "out"]) == 0
    assert run(["walkforward", *words, "--out", "forward"]) == 0
    each = ["backtest", "search.yaml", "--per-symbol", "--workers", "1"]
    assert run([*each, "--out", "each"]) == 0
    pages = {
        "out/search.html": 5,
        "forward/walkforward.html": 1,
        "each/per_symbol.html": 2,
    }
    with chromium(path) as page:
        for name, plots in pages.items():
            address = (project / name).as_uri()
            page.open(address)
            assert page.run("document.querySelectorAll('.js-plotly-plot').length") == (
                plots
            )
            assert page.errors == []
            assert [u for u in page.requests if u.startswith("http")] == []
