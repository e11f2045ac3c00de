"""Time and memory grow with the bars, however many there are.

Each size runs in a process of its own, from CSV files to a run folder. What is
compared is the cost of one more bar: the difference of two sizes over that of their
bars, so that start-up and fixed costs do not count. The house strategy holds five
symbols at most: from a hundred symbols on the orders are as many, and the first steps
say nothing about the symbols.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.cases import ROOT, Market

pytest.importorskip("resource", reason="needs Unix")
pytestmark = [
    pytest.mark.bench,
    pytest.mark.timeout(0),
    pytest.mark.skipif(
        os.environ.get("KISBT_BENCH_BIG_RUNS") == "0", reason="KISBT_BENCH_BIG_RUNS=0"
    ),
]

ALLOWED = 0.15
MOST_BYTES = 4 * 1024**3
SYMBOLS = [(1, 2_500), (10, 2_500), (100, 2_500), (1_000, 2_500), (2_000, 2_500)]
BARS = [(1, 1_000), (1, 10_000), (1, 100_000), (1, 1_000_000)]


def measure(
    folder: Path, symbols: int, bars: int, *, minutes: bool
) -> dict[str, float]:
    """Return seconds, bytes grown, the peak and the orders of a run."""
    Market(folder, symbols, bars, minutes=minutes)
    runs = 3 if symbols * bars <= 250_000 else 2
    command = ["-m", "tests.bench.growth", folder, "1m" if minutes else "1d", runs]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("sizes", [SYMBOLS, BARS], ids=["symbols", "bars"])
def test_growth_is_linear(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    found = [
        measure(tmp_path / f"{symbols}x{bars}", symbols, bars, minutes=sizes is BARS)
        for symbols, bars in sizes
    ]
    costs: dict[str, list[float]] = {"seconds": [], "grown": []}
    table = [f"{'symbols x bars':>18}{'s':>9}{'orders':>9}{'us a bar':>10}{'bytes':>8}"]
    for number, (symbols, bars) in enumerate(sizes):
        one = found[number]
        line = f"{symbols:,} x {bars:,}".rjust(18) + f"{one['seconds']:9.2f}"
        line += f"{one['orders']:9,}"
        if number:
            before, (less, fewer) = found[number - 1], sizes[number - 1]
            for name, known in costs.items():
                known.append(
                    (one[name] - before[name]) / (symbols * bars - less * fewer)
                )
            line += f"{costs['seconds'][-1] * 1e6:10.2f}{costs['grown'][-1]:8.0f}"
        table.append(line)
    sys.stdout.write("\n" + "\n".join(table) + "\n")
    peak = max(one["peak"] for one in found)
    sys.stdout.write(f"at most {peak / 2**20:,.0f} MiB\n")
    assert peak <= MOST_BYTES
    for name, known in costs.items():
        assert known[-1] <= known[-2] * (1 + ALLOWED), (name, known)
