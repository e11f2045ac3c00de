"""The speed budgets: kisbt against plain backtrader, in one run.

``KISBT_BENCH_RUNS`` (15) is the number of turns of a small case,
``KISBT_BENCH_BIG_RUNS`` (5) that of the cases of 200 symbols or a million bars,
of which one turn of plain backtrader takes minutes; 0 leaves them out.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.bench.cases import (
    ROOT,
    Alternating,
    Idle,
    Market,
    NeverTrades,
    Reference,
    Row,
    measure,
    peak_bytes,
    run_fast,
    run_house_plain,
    run_kisbt,
    run_plain,
    write_rows,
)

pytest.importorskip("resource", reason="needs Unix")
pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]

RUNS = int(os.environ.get("KISBT_BENCH_RUNS", "15"))
BIG_RUNS = int(os.environ.get("KISBT_BENCH_BIG_RUNS", "5"))
# Peak memory of a whole run, growth over the start of the process.
BYTES_PER_BAR = 1024
# (symbols, bars, minutes).
SHAPES = {
    "1 x 2,500": (1, 2_500, False),
    "200 x 2,500": (200, 2_500, False),
    "1 x 100,000": (1, 100_000, True),
    "1 x 1,000,000": (1, 1_000_000, True),
}
BIG = {"200 x 2,500", "1 x 1,000,000"}

Markets = Callable[[str], Market]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    found: list[Row] = []
    yield found
    sys.stdout.write(f"\n\n{write_rows(found, ROOT / '.bench')}\n")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Markets:
    made: dict[str, Market] = {}

    def get(shape: str) -> Market:
        if shape not in made:
            made.clear()
            folder: Path = tmp_path_factory.mktemp("market")
            symbols, bars, minutes = SHAPES[shape]
            made[shape] = Market(folder, symbols, bars, minutes=minutes)
        return made[shape]

    return get


def turns(shape: str) -> int:
    """Return how often a case runs; skip it when that is not at all."""
    runs = BIG_RUNS if shape in BIG else RUNS
    if runs == 0:
        pytest.skip("KISBT_BENCH_BIG_RUNS=0")
    return runs


@pytest.mark.parametrize(
    ("shape", "trades", "floor", "stretch"),
    [
        ("1 x 2,500", True, 5.0, 8.0),
        ("1 x 100,000", False, 16.0, 22.0),
        ("200 x 2,500", True, 15.0, 20.0),
        ("1 x 1,000,000", True, 6.0, 9.0),
    ],
)
def test_fast_engine(
    rows: list[Row],
    market: Markets,
    shape: str,
    trades: bool,
    floor: float,
    stretch: float,
) -> None:
    runs, candles = turns(shape), market(shape)
    strategy = Reference if trades else NeverTrades
    assert trades == (run_fast(candles, strategy) > 0)
    seconds = measure(
        {
            "plain": lambda: run_plain(candles, strategy),
            "fast": lambda: run_fast(candles, strategy),
        },
        runs,
    )
    row = Row(
        name="fast engine",
        case=shape if trades else f"{shape}, never trades",
        ratio=seconds["plain"] / seconds["fast"],
        floor=floor,
        stretch=stretch,
        runs=runs,
        seconds=seconds,
        notes={"bars": candles.size},
    )
    rows.append(row)
    assert row.held, row


def test_backtest(rows: list[Row], market: Markets) -> None:
    """CSV on disk to a run folder, and the memory it takes."""
    shape = "200 x 2,500"
    runs, candles = turns(shape), market(shape)
    seconds = measure(
        {
            "plain": lambda: run_house_plain(candles),
            "krx": lambda: run_kisbt(candles),
        },
        runs,
    )
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        grown = pool.submit(memory_of_a_run, candles).result()
    row = Row(
        name="backtest",
        case=shape,
        ratio=seconds["plain"] / seconds["krx"],
        floor=4.0,
        stretch=4.0,
        runs=runs,
        seconds=seconds,
        notes={"bytes a bar and symbol": grown / candles.size},
    )
    rows.append(row)
    assert row.held, row
    assert grown / candles.size <= BYTES_PER_BAR


def memory_of_a_run(candles: Market) -> int:
    """Return the bytes by which a run raises this process's peak."""
    before = peak_bytes()
    run_kisbt(candles)
    return peak_bytes() - before


@pytest.mark.parametrize(
    ("shape", "floor", "stretch"),
    [
        ("1 x 2,500", 6.0, 8.0),
        ("200 x 2,500", 15.0, 22.0),
        ("1 x 1,000,000", 8.0, 12.0),
    ],
)
def test_as_a_user_runs_it(
    rows: list[Row], market: Markets, shape: str, floor: float, stretch: float
) -> None:
    runs, candles = turns(shape), market(shape)
    assert run_kisbt(candles) > 0
    seconds = measure(
        {
            "plain": lambda: run_house_plain(candles),
            "krx": lambda: run_kisbt(candles),
            "none": lambda: run_kisbt(candles, rules="none"),
        },
        runs,
    )
    row = Row(
        name="as a user runs it",
        case=shape,
        ratio=seconds["plain"] / seconds["krx"],
        floor=floor,
        stretch=stretch,
        runs=runs,
        seconds=seconds,
        notes={"without exchange rules": seconds["plain"] / seconds["none"]},
    )
    rows.append(row)
    assert row.held, row


def test_order(rows: list[Row], market: Markets) -> None:
    candles = market("1 x 2,500")
    seconds = measure(
        {
            f"{engine} {strategy.__name__}": lambda run=run, s=strategy: run(candles, s)
            for engine, run in (("plain", run_plain), ("fast", run_fast))
            for strategy in (Alternating, Idle)
        },
        RUNS,
    )
    orders = run_fast(candles, Alternating)
    plain = seconds["plain Alternating"] - seconds["plain Idle"]
    fast = seconds["fast Alternating"] - seconds["fast Idle"]
    row = Row(
        name="order",
        case="market order, buy() to notice",
        ratio=fast / plain,
        floor=0.4,
        stretch=0.25,
        runs=RUNS,
        seconds={**seconds, "plain": plain},
        notes={"plain us": plain / orders * 1e6, "fast us": fast / orders * 1e6},
        lower_is_better=True,
    )
    rows.append(row)
    assert row.held, row
