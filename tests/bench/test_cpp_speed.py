"""The fast engine against back-trader-cpp, the engine of backtrader's API in C++.

Run with ``make bench-cpp``, which gives it an environment of its own. Both run the
text of `tests.bench.rules`, each in its own process, turn about.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.bench.cases import ROOT, Row, make_candles, write_rows

OTHER = os.environ.get("KISBT_CPP_PYTHON", "")
RUNS = int(os.environ.get("KISBT_BENCH_RUNS", "5"))
pytestmark = [
    pytest.mark.bench,
    pytest.mark.timeout(0),
    pytest.mark.skipif(not OTHER, reason="run it with make bench-cpp"),
]
# Final values differ in the last bits: the other engine adds in another order.
SAME = 1e-12


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    found: list[Row] = []
    yield found
    table = write_rows(found, ROOT / ".bench", name="cpp.json")
    sys.stdout.write(f"\n\n{table}\n")


def run(python: str, engine: str, folder: Path, strategy: str) -> dict[str, object]:
    """Return what one process prints: seconds, fills and the last value."""
    command = [python, "-m", "tests.bench.rules", engine, str(folder), strategy, "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("symbols", "bars", "strategy", "most"),
    [
        (200, 2_500, "trades", 1.0),
        (1, 100_000, "never trades", 1.0),
        (1, 100_000, "trades", 1.5),
    ],
)
def test_against_cpp(
    rows: list[Row],
    tmp_path: Path,
    symbols: int,
    bars: int,
    strategy: str,
    most: float,
) -> None:
    for number in range(symbols):
        candles = make_candles(bars, number, minutes=bars > 10_000)
        names = ("end", "open", "high", "low", "close", "volume")
        columns = {name: getattr(candles, name) for name in names}
        np.savez(tmp_path / f"{100_000 + 10 * number}.npz", **columns)
    seconds: dict[str, list[float]] = {"kisbt": [], "cpp": []}
    for _turn in range(RUNS):
        own = run(sys.executable, "kisbt", tmp_path, strategy)
        other = run(OTHER, "back_trader", tmp_path, strategy)
        seconds["kisbt"] += own["seconds"]  # type: ignore[operator]
        seconds["cpp"] += other["seconds"]  # type: ignore[operator]
        assert own["fills"] == other["fills"]
        assert own["value"] == pytest.approx(other["value"], rel=SAME)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    row = Row(
        name="against C++",
        case=f"{symbols} x {bars:,}, {strategy}",
        ratio=medians["kisbt"] / medians["cpp"],
        floor=most,
        stretch=most,
        runs=2 * RUNS,
        seconds=medians,
        lower_is_better=True,
    )
    rows.append(row)
    assert row.held, row
