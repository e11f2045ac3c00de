import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kisbt.clock import ManualClock, SystemClock
from kisbt.errors import NotSent
from kisbt.kis.ratelimit import Budget, Priority, RateLimiter, Waiter, parse_budget
from tests.helpers.kis import QuickClock

BASE = 0.1


def waiter(owner: str, priority: Priority, since: float) -> Waiter:
    return Waiter(owner=owner, priority=priority, since_s=since, until_s=since)


def test_calls_are_spaced_evenly() -> None:
    clock = ManualClock(QuickClock().now())
    limiter = RateLimiter(BASE, clock=clock)
    times = []
    for _ in range(50):
        limiter.acquire(Priority.MARKET_DATA)
        times.append(clock.monotonic())
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) >= BASE - 1e-9
    assert max(gaps) <= BASE + 0.02 + 1e-9


def test_first_call_leaves_at_once() -> None:
    clock = ManualClock(QuickClock().now())
    RateLimiter(BASE, clock=clock).acquire(Priority.MARKET_DATA)
    assert clock.monotonic() == 0


def test_order_goes_before_a_query_that_waits_longer() -> None:
    state, _ = Budget().take(waiter("a", Priority.MARKET_DATA, 0), 0, BASE)
    state, query_s = state.take(waiter("a", Priority.MARKET_DATA, 0.01), 0.01, BASE)
    state, order_s = state.take(waiter("b", Priority.ORDER, 0.05), 0.05, BASE)
    assert order_s == pytest.approx(0.05)
    # At the moment of the slot the query stands back, and the order takes it.
    state, query_s = state.take(waiter("a", Priority.MARKET_DATA, 0.01), 0.1, BASE)
    _, order_s = state.take(waiter("b", Priority.ORDER, 0.05), 0.1001, BASE)
    assert (query_s > 0, order_s) == (True, 0.0)


def test_dead_waiter_is_passed_over() -> None:
    state, _ = Budget().take(waiter("a", Priority.MARKET_DATA, 0), 0, BASE)
    state, _ = state.take(waiter("dead", Priority.ORDER, 0.01), 0.01, BASE)
    _, wait_s = state.take(waiter("b", Priority.BALANCE, 0.02), 1.0, BASE)
    assert wait_s == 0.0


def test_throttling_slows_down_and_wears_off() -> None:
    state = Budget().slowed(10.0, BASE, 0.5)
    assert state.interval_s(10.0, BASE) == pytest.approx(0.15)
    assert state.next_s == pytest.approx(10.5)
    assert state.interval_s(70.0, BASE) == pytest.approx(0.1184, abs=1e-3)
    assert state.interval_s(1000.0, BASE) == pytest.approx(BASE)


def test_refusals_at_once_are_one_event() -> None:
    state = Budget().slowed(10.0, BASE, 0).slowed(10.2, BASE, 0).slowed(10.4, BASE, 0)
    assert state.interval_s(10.4, BASE) < BASE * 1.5


def test_row_25_lower_limit_is_found_and_left_again() -> None:
    """A server that takes five calls a second, then twenty again."""
    clock = ManualClock(QuickClock().now())
    limiter = RateLimiter(1 / 15, clock=clock)
    taken: list[float] = []
    refused = {"first": 0, "rest": 0}
    while clock.monotonic() < 60:
        limiter.acquire(Priority.MARKET_DATA)
        now = clock.monotonic()
        if sum(now - at < 1 for at in taken[-25:]) < 5:
            taken.append(now)
            continue
        refused["first" if now < 10 else "rest"] += 1
        limiter.throttled(0.5)
    assert refused["first"] <= 6
    assert refused["rest"] <= 15
    assert len(taken) > 150
    clock.advance(600)
    assert limiter.interval_s() == pytest.approx(1 / 15, rel=0.01)


def test_slow_down_has_an_end() -> None:
    state = Budget()
    for second in range(0, 100, 2):
        state = state.slowed(float(second), BASE, 0)
    assert state.interval_s(98.0, BASE) <= 8 * BASE


@pytest.mark.parametrize(
    "text", ["", "{", "[1", "null", "[1,2]", '[1,"x",null,[]]', "[" * 3000]
)
def test_torn_state_costs_one_interval_at_most(text: str) -> None:
    state = parse_budget(text, 100.0, BASE)
    assert state.next_s <= 100.0 + BASE


def test_state_of_an_earlier_boot_is_forgotten() -> None:
    old = Budget(next_s=1_000_000.0, slow=4.0, slowed_s=999_999.0)
    assert parse_budget(old.as_json(), 5.0, BASE) == Budget()


def test_state_survives_the_file() -> None:
    state, _ = (
        Budget().slowed(3.0, BASE, 0).take(waiter("a", Priority.FILLS, 3.0), 3.0, BASE)
    )
    assert parse_budget(state.as_json(), 3.0, BASE) == state


def test_longest_wait_is_kept() -> None:
    clock = ManualClock(QuickClock().now())
    limiter = RateLimiter(10.0, clock=clock)
    limiter.acquire(Priority.ORDER)
    with pytest.raises(NotSent):
        limiter.acquire(Priority.ORDER, max_wait_s=1.0)
    assert clock.monotonic() == pytest.approx(1.0)
    clock.advance(9.0)
    limiter.acquire(Priority.ORDER, max_wait_s=0.001)  # nobody is left in the queue


def test_no_limit_asks_nobody(tmp_path: Path) -> None:
    limiter = RateLimiter(0.0, path=tmp_path / "rate.json")
    limiter.acquire(Priority.ORDER)
    limiter.throttled(5.0)
    assert not list(tmp_path.iterdir())


def test_state_file_is_private(tmp_path: Path) -> None:
    limiter = RateLimiter(BASE, path=tmp_path / "rate.json")
    limiter.acquire(Priority.ORDER)
    limiter.close()
    assert (tmp_path / "rate.json").stat().st_mode & 0o077 == 0


def test_threads_of_one_process_queue_by_priority(tmp_path: Path) -> None:
    limiter = RateLimiter(0.05, path=tmp_path / "rate.json")
    served: list[Priority] = []
    lock = threading.Lock()

    def call(priority: Priority) -> None:
        limiter.acquire(priority)
        with lock:
            served.append(priority)

    limiter.acquire(Priority.MARKET_DATA)
    threads = []
    for priority in (Priority.MARKET_DATA, Priority.BALANCE, Priority.CANCEL):
        thread = threading.Thread(target=call, args=(priority,))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join(5)
    limiter.close()
    assert served == [Priority.CANCEL, Priority.BALANCE, Priority.MARKET_DATA]


WORKER = """
import json, sys, threading
from kisbt.clock import SystemClock
from kisbt.kis.ratelimit import Priority, RateLimiter
path, interval, count, order_after = sys.argv[1:]
clock = SystemClock()
from pathlib import Path
limiter = RateLimiter(float(interval), path=Path(path), clock=clock)
rows, lock = [], threading.Lock()
def call(priority):
    asked = clock.monotonic()
    limiter.acquire(priority)
    with lock:
        rows.append([int(priority), asked, clock.monotonic()])
threads = [threading.Thread(target=call, args=(Priority.MARKET_DATA,))
           for _ in range(int(count))]
for thread in threads: thread.start()
if float(order_after):
    clock.sleep(float(order_after))
    call(Priority.ORDER)
for thread in threads: thread.join()
print(json.dumps(rows))
"""


@pytest.mark.slow
def test_two_processes_share_one_budget_and_the_order_waits_one_slot(
    tmp_path: Path,
) -> None:
    interval = 1 / 50
    runs = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                WORKER,
                str(tmp_path / "rate.json"),
                str(interval),
                "100",
                after,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for after in ("0", "1.0")
    ]
    rows = [row for run in runs for row in json.loads(run.communicate(timeout=50)[0])]
    taken = sorted(row[2] for row in rows)
    order = next(row for row in rows if row[0] == Priority.ORDER)
    ahead = sum(order[1] < row[2] < order[2] for row in rows)
    busiest = max(
        sum(start <= other < start + 1.0 for other in taken) for start in taken
    )
    assert len(rows) == 201
    assert busiest <= 51
    assert ahead <= 1


def test_waiting_costs_little_time() -> None:
    clock = SystemClock()
    limiter = RateLimiter(1e-7, clock=clock)
    began = clock.monotonic()
    for _ in range(500):
        limiter.acquire(Priority.MARKET_DATA)
    assert clock.monotonic() - began < 2.0
