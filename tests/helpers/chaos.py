"""A random fault run: calls and frames break, the trader dies, the books must agree.

``python -m tests.helpers.chaos --orders 10000 --seeds 100`` is the full size; a seed
that fails is printed with what differs, and runs again alone with ``--first``.
"""

import argparse
import multiprocessing
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kisbt.clock import SystemClock
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.orders.journal import Journal
from kisbt.orders.lifecycle import Status
from tests.helpers.chaosbot import CAPITAL, Asked, live_once
from tests.helpers.desk import MORNING
from tests.helpers.truth import differences

# Together five of a hundred calls and frames, each kind as likely as the others.
_CALLS = (
    {"verb": "http", "do": "rst", "rate": 0.008},
    {"verb": "http", "do": "read_then_close", "rate": 0.008},
    {"verb": "http", "do": "html", "rate": 0.004},
    {"verb": "http", "do": "status", "arg": 502, "rate": 0.004},
    {"verb": "gw", "code": "EGW00201", "http": 500, "rate": 0.008},
    {"verb": "gw", "code": "ZZZZ9999", "http": 500, "rate": 0.004, "tr": "order"},
    {"verb": "accept_then", "do": "read_then_close", "rate": 0.03, "tr": "order"},
    {"verb": "accept_then", "do": "html", "rate": 0.01, "tr": "order"},
    {"verb": "accept_then", "do": "truncate", "rate": 0.01, "tr": "order"},
    {"verb": "accept_then", "do": "gw", "code": "EGW00201", "rate": 0.01},
    {"verb": "accept_then", "do": "rst", "rate": 0.03, "tr": "change"},
    {"verb": "accept_then", "do": "status", "arg": 503, "rate": 0.02, "tr": "change"},
)
_FRAMES = (
    {"verb": "ws", "do": "mute", "rate": 0.02, "tr": "notice"},
    {"verb": "ws", "do": "dup", "arg": 2, "rate": 0.02, "tr": "notice"},
    {"verb": "ws", "do": "reorder", "rate": 0.01, "tr": "notice"},
    {"verb": "ws", "do": "corrupt", "rate": 0.005, "tr": "notice"},
    {"verb": "ws", "do": "drop", "rate": 0.002, "tr": "notice"},
)
_EXCHANGE = (
    {"verb": "ex", "do": "partial", "arg": 1, "arg2": 2, "rate": 0.05},
    {"verb": "ex", "do": "reject", "rate": 0.01},
    {"verb": "ex", "do": "cancel", "rate": 0.01},
    # Rows and fills appear this much late in every query.
    {"verb": "lag", "do": "ledger", "seconds": 1.5},
)
_LIFE_S = 120.0
_MOST_LIVES = 5_000


@dataclass(slots=True)
class Outcome:
    """What one seed came to.

    Attributes:
        wrong: what differs from the truth; empty is the pass.
        lives: processes used, one more than deaths.
    """

    seed: int
    environment: str
    wrong: list[str]
    lives: int
    seconds: float
    posted: int = 0
    at_broker: int = 0
    fills: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """Return it for people."""
        ends = ", ".join(f"{n} {name}" for name, n in sorted(self.statuses.items()))
        return (
            f"seed {self.seed} {self.environment}: {len(self.wrong)} wrong, "
            f"{self.posted} posted, {self.at_broker} at the broker, {self.fills} fills, "
            f"{self.lives - 1} deaths, {self.seconds:.0f} s ({ends})"
        )


def faults(seed: int) -> list[dict[str, Any]]:
    """Return the script of a seed."""
    found = []
    for number, fault in enumerate((*_CALLS, *_FRAMES, *_EXCHANGE)):
        found.append({**fault, "seed": seed * 1_000 + number, "count": 10**9})
    return found


def run_seed(
    seed: int, orders: int, folder: Path, *, kill: float, environment: str = ""
) -> Outcome:
    """Trade one seed to its end and compare the books.

    Args:
        seed: of the market, the faults, the orders and the deaths.
        orders: to submit.
        folder: for the journal; empty.
        kill: probability of dying right after a commit; dying at any moment comes
            on top. 0 never dies.
        environment: server; by seed if "".
    """
    side = environment or ("real", "mock")[seed % 2]
    wall = SystemClock()
    began_s = wall.monotonic()
    settings = Settings(
        start=MORNING.replace(hour=9, minute=5),
        step=True,
        limits=False,
        environment="mock" if side == "mock" else "real",
        cash=CAPITAL,
        seed=seed,
    )
    with Emulator(settings) as emulator:
        ready = folder / "ready.json"
        write_ready_file(ready, emulator.ready)
        emulator.fault("token(per_min=0)", *faults(seed))
        lives = _live(ready, folder, seed, orders, kill, side)
        emulator.clear_faults()
        _live(ready, folder, seed, 0, 0.0, side)  # look once without faults
        state = emulator.state(calls=True)
        with Journal(folder / "state" / "journal.db") as journal:
            wrong = differences(journal, state, capital=CAPITAL, environment=side)
            wrong += _never(journal)
            return Outcome(
                seed=seed,
                environment=side,
                wrong=wrong,
                lives=lives,
                seconds=wall.monotonic() - began_s,
                posted=sum(order.attempts for order in journal.orders()),
                at_broker=sum(row["act"] == "new" for row in state[side]["orders"]),
                fills=len(journal.fills()),
                statuses=Counter(str(o.status) for o in journal.orders()),
            )


def _never(journal: Journal) -> list[str]:
    """Return what must not be left, whatever happened."""
    return [
        f"order {order.ref} is in quarantine: {order.note}"
        for order in journal.orders(statuses=frozenset({Status.QUARANTINE}))
    ]


def _live(
    ready: Path, folder: Path, seed: int, orders: int, kill: float, side: str
) -> int:
    """Start the trader again and again until it has ended by itself."""
    # A server that forks: a new life must not cost a second of imports. Where there
    # is none (Windows), each life starts from nothing.
    methods = multiprocessing.get_all_start_methods()
    method = "forkserver" if "forkserver" in methods else "spawn"
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["tests.helpers.chaosbot"])
    log = folder / "life.log"
    asked = Asked(
        ready=ready,
        folder=folder / "state",
        seed=seed,
        orders=orders,
        kill=kill,
        environment=side,
    )
    for life in range(1, _MOST_LIVES):
        process = context.Process(target=live_once, args=(asked, log), daemon=True)
        process.start()
        process.join(_LIFE_S + orders)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"a life hangs: {log.read_text('utf-8')[-4_000:]}")
        if process.exitcode == 0:
            return life
        if process.exitcode != -signal.SIGKILL:
            raise AssertionError(log.read_text("utf-8")[-4_000:])
    raise AssertionError("it never came to an end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kill", type=float, default=0.002)
    asked = parser.parse_args()
    bad = 0
    for seed in range(asked.first, asked.first + asked.seeds):
        with tempfile.TemporaryDirectory() as name:
            outcome = run_seed(seed, asked.orders, Path(name), kill=asked.kill)
        bad += bool(outcome.wrong)
        sys.stdout.write(outcome.line() + "\n")
        for line in outcome.wrong[:20]:
            sys.stdout.write(f"    {line}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{asked.seeds} seeds: {bad} with differences\n")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
