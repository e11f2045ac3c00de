"""The sweep budget: a parameter search against backtrader's `optstrategy`.

Both sides read the candles from CSV, use two processes and the same rules, and have
the same kind of numbers of every trial: return, Sharpe ratio, drawdown and trades,
which backtrader takes from its four usual analyzers. Ours also says what the best
trial is worth. Wall time is what counts; they run in turns, and only the ratio is
judged. ``KISBT_BENCH_SWEEP_RUNS`` (5) is the number of turns; one of `optstrategy`
takes half a minute, and 0 leaves it out. Once `optstrategy` also runs with nothing but
the total return, which is noted.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kisbt.app.optimize import Plan, Search, make_plan, optimize
from kisbt.app.trials import make_job, run_trial
from kisbt.config.load import load_config

pytest.importorskip("resource", reason="needs Unix")

from tests.bench.cases import (
    ANALYZERS,
    CASH,
    COMMISSION,
    ROOT,
    Market,
    Row,
    write_rows,
)
from tests.bench.sweepcase import SPACE

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]

RUNS = int(os.environ.get("KISBT_BENCH_SWEEP_RUNS", "5"))


def plan_of(market: Market, rules: str) -> Plan:
    values: dict[str, Any] = {
        "strategy": {"class": "tests.bench.sweepcase:Swept"},
        "universe": {"symbols": list(market.candles)},
        "data": {"path": str(market.folder), "warmup": 0},
        "capital": CASH,
        "broker": {"rules": rules, "commission": COMMISSION, "tax": "none"},
        "report": {"benchmark": None},
        "optimize": {"space": SPACE, "objective": "total_return"},
    }
    return make_plan(load_config(values, root=ROOT))


def search_from_csv(market: Market, rules: str) -> Search:
    """Search as `kisbt optimize` does, without its folder."""
    for cached in market.csv.glob("*.npy"):
        cached.unlink()
    return optimize(plan_of(market, rules), workers=2)


def run_optstrategy(market: Market, *analyzers: str) -> dict[str, Any]:
    """Return what stock backtrader takes and finds, in a process of its own."""
    (symbol,) = market.candles
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.bench.sweepcase",
            str(market.csv / f"{symbol}.csv"),
            *analyzers,
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=600,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def seconds_of(work: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def test_sweep(tmp_path: Path) -> None:
    if RUNS == 0:
        pytest.skip("KISBT_BENCH_SWEEP_RUNS=0")
    market = Market(tmp_path, 1, 2_500)
    taken: dict[str, list[float]] = {"plain": [], "sweep": [], "search": [], "krx": []}
    # Starting Python twice is not what is measured.
    search_from_csv(market, "none")
    for _turn in range(RUNS):
        spent, search = seconds_of(lambda: search_from_csv(market, "none"))
        taken["search"].append(search.seconds_of_trials)
        taken["sweep"].append(spent)
        theirs = run_optstrategy(market, *ANALYZERS)
        taken["plain"].append(theirs["seconds"])
        taken["krx"].append(seconds_of(lambda: search_from_csv(market, "krx"))[0])
        ours = [
            (dict(t.params), (t.metrics or {})["total_return"])
            for t in search.found.trials
        ]
        assert [p for p, _total in ours] == [p for p, _total in theirs["trials"]]
        assert [r for _p, r in ours] == pytest.approx([r for _p, r in theirs["trials"]])
    taken["plain, return only"] = [run_optstrategy(market)["seconds"]]
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    job = make_job(plan_of(market, "none").prepared, None)
    one = [
        seconds_of(lambda n=n: run_trial(job, None, 0, {"fast": n}))[0]
        for n in SPACE["fast"]
    ]
    row = Row(
        name="sweep",
        case="200 combinations x 2,500, 2 workers",
        ratio=seconds["plain"] / seconds["sweep"],
        floor=8.0,
        stretch=8.0,
        runs=RUNS,
        seconds=seconds,
        notes={
            "trials alone": seconds["plain"] / seconds["search"],
            "with exchange rules": seconds["plain"] / seconds["krx"],
            "over the total return only": seconds["plain, return only"]
            / seconds["sweep"],
            "ms a trial": statistics.median(one) * 1e3,
        },
    )
    sys.stdout.write(f"\n\n{write_rows([row], ROOT / '.bench', 'sweep.json')}\n")
    sys.stdout.write(f"{row.notes}\n")
    assert row.held, row
