"""One backtest in a process of its own: what it takes in time and memory.

``python -m tests.bench.growth FOLDER INTERVAL RUNS`` runs the house strategy on all
CSV files of a folder and prints JSON.
"""

import gc
import json
import shutil
import sys
import time
from pathlib import Path

from kisbt.app.backtest import backtest
from kisbt.config.load import load_config
from tests.bench.cases import CASH, ROOT, peak_bytes


def run(folder: Path, interval: str) -> int:
    """Run from the CSV files to a run folder; return the orders."""
    symbols = sorted(path.stem for path in (folder / interval).glob("*.csv"))
    for cached in (folder / interval).glob("*.npy"):
        cached.unlink()
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    config = load_config(
        {
            "strategy": {"class": "strategies.ma_rsi_bollinger:MaRsiBollinger"},
            "universe": {"symbols": symbols},
            "bars": {"interval": interval},
            "data": {"path": str(folder), "warmup": 0},
            "capital": CASH,
            "report": {"benchmark": None},
        },
        root=ROOT,
    )
    done = backtest(config)
    done.save(out, with_report=False)
    return len(done.result.orders)


def main() -> None:
    """Run a few times; print the least seconds, the peak of memory and the orders."""
    folder, interval, runs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    before = peak_bytes()
    seconds, orders, grown = [], 0, 0
    for turn in range(runs):
        gc.collect()
        start = time.process_time()
        orders = run(folder, interval)
        seconds.append(time.process_time() - start)
        if turn == 0:
            grown = peak_bytes() - before
    result = {
        "seconds": min(seconds),
        "orders": orders,
        "grown": grown,
        "peak": peak_bytes(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
