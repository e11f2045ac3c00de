"""The call budget of one app key, shared by threads and processes.

KIS counts the calls of an app key, whoever makes them. So the moment of the next
call, the slow-down in force and who is waiting are kept in a small locked file
beside the token; each process queues its own threads by priority and lets only its
best one speak for it there.

Calls are spaced evenly: no more than the rate in any second, and an order that
arrives behind two hundred queries waits for one slot.
"""

import json
import math
import os
import sys
import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from kisbt.clock import Clock, SystemClock
from kisbt.errors import NotSent, StorageError
from kisbt.text import _

if sys.platform != "win32":
    import fcntl

REAL_INTERVAL_S = 1 / 15
"""Seconds between calls of a real key.

Source: kis portal notices of 2026-02-25 and 2026-04-20, 18 calls a second for an app
key; several servers share the counting, so that some room must be left.
"""
MOCK_INTERVAL_S = 1.1
"""Seconds between calls of a mock key; the same notices, one call a second."""

_STEP = 1.5  # a refusal for rate makes the interval this much longer
_LONGEST = 8.0  # ... and never longer than this many times the normal one
_RECOVERY_S = 60.0  # time constant with which the slow-down wears off
_ONE_EVENT_S = 0.25  # refusals this close together were on their way: one event
_GRACE_S = 0.25  # a waiter that has not taken its slot by then is passed over
_OTHER_BOOT_S = 300.0  # a moment further ahead than this was written before a reboot
_LOCK_S = 10.0  # the file is held for microseconds; longer means a hung process
_LOCK_LOOK_S = 0.001
_RECORD = 4096  # bytes of the state file, always written whole and in place
_WAITERS = 24  # processes remembered in it


class Priority(IntEnum):
    """What a call is for; a smaller number goes first."""

    ORDER = 0
    CANCEL = 1
    RESOLVE = 2
    FILLS = 3
    BALANCE = 4
    MARKET_DATA = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """One process that waits for a slot.

    Attributes:
        owner: names the process and its limiter.
        since_s: monotonic time at which its best call began to wait.
        until_s: after this it is taken to have died.
    """

    owner: str
    priority: int
    since_s: float
    until_s: float

    def goes_before(self, other: "Waiter") -> bool:
        """Whether it is served before `other`."""
        return (self.priority, self.since_s, self.owner) < (
            other.priority,
            other.since_s,
            other.owner,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The state of an app key's budget; pure: the caller brings the time and sleeps.

    Attributes:
        next_s: monotonic time from which the next call may leave.
        slow: factor on the interval at `slowed_s`, from where it wears off to 1.
        waiters: one for each process that waits.
    """

    next_s: float = 0.0
    slow: float = 1.0
    slowed_s: float = -math.inf
    waiters: tuple[Waiter, ...] = ()

    def interval_s(self, now_s: float, base_s: float) -> float:
        """Return the seconds between calls at `now_s`."""
        return base_s * self._factor(now_s)

    def take(
        self, waiter: Waiter, now_s: float, base_s: float
    ) -> tuple["Budget", float]:
        """Take the slot, or queue for it.

        Returns:
            The new state, and the seconds to wait before asking again: zero if
            the call may leave now.
        """
        others = tuple(
            item
            for item in self.waiters
            if item.owner != waiter.owner and item.until_s >= now_s
        )
        ahead = sum(item.goes_before(waiter) for item in others)
        interval_s = self.interval_s(now_s, base_s)
        if now_s >= self.next_s and not ahead:
            return replace(self, next_s=now_s + interval_s, waiters=others), 0.0
        wait_s = max(self.next_s - now_s, 0.0) + ahead * interval_s
        if self.next_s <= now_s:  # whoever is ahead is waking up this moment
            wait_s = min(interval_s, 0.02)
        mine = replace(waiter, until_s=now_s + wait_s + _GRACE_S)
        queue = sorted((*others, mine), key=lambda item: (item.priority, item.since_s))
        return replace(self, waiters=tuple(queue[:_WAITERS])), wait_s

    def leave(self, owner: str) -> "Budget":
        """Forget a waiter that gave up."""
        return replace(
            self, waiters=tuple(item for item in self.waiters if item.owner != owner)
        )

    def slowed(self, now_s: float, base_s: float, retry_after_s: float) -> "Budget":
        """Return the state after KIS said that there were too many calls."""
        factor = self._factor(now_s)
        if now_s - self.slowed_s >= _ONE_EVENT_S:
            factor = min(factor * _STEP, _LONGEST)
        pause_s = max(retry_after_s, base_s * factor)
        return replace(
            self,
            next_s=max(self.next_s, now_s + pause_s),
            slow=factor,
            slowed_s=now_s,
        )

    def _factor(self, now_s: float) -> float:
        age_s = max(now_s - self.slowed_s, 0.0)
        return 1.0 + (self.slow - 1.0) * math.exp(-age_s / _RECOVERY_S)

    def as_json(self) -> str:
        """Return the state as text for the file."""
        slowed = repr(self.slowed_s) if math.isfinite(self.slowed_s) else "null"
        rows = "[]"
        if self.waiters:
            rows = json.dumps(
                [[i.owner, i.priority, i.since_s, i.until_s] for i in self.waiters]
            )
        return f"[{self.next_s!r}, {self.slow!r}, {slowed}, {rows}]"


def parse_budget(text: str, now_s: float, base_s: float) -> Budget:
    """Return the state that `as_json` wrote.

    A torn record (a process killed while writing) costs one interval. One that
    reaches far ahead was written before the machine was started anew, when the
    monotonic clock counted from another zero; it says nothing.
    """
    if not text.strip("\0 \n"):
        return Budget()
    try:
        next_s, slow, slowed_s, rows = json.loads(text)
        state = Budget(
            next_s=float(next_s),
            slow=min(max(float(slow), 1.0), _LONGEST),
            slowed_s=-math.inf if slowed_s is None else float(slowed_s),
            waiters=tuple(
                Waiter(
                    owner=str(owner),
                    priority=int(priority),
                    since_s=float(since_s),
                    until_s=float(until_s),
                )
                for owner, priority, since_s, until_s in rows
            ),
        )
    except (ValueError, TypeError, RecursionError):
        return Budget(next_s=now_s + base_s)
    if state.next_s > now_s + _OTHER_BOOT_S or state.slowed_s > now_s + 1:
        return Budget()
    # A process cannot have begun to wait in the future either.
    alive = tuple(item for item in state.waiters if item.since_s <= now_s + 1)
    return replace(state, waiters=alive)


if sys.platform == "win32":

    class _Lock:
        """Keeps other processes out."""

        def __init__(self, path: str) -> None:
            self._lock = FileLock(path, timeout=_LOCK_S)

        def acquire(self) -> None:
            """Take it; raises `Timeout` if another process does not let go."""
            self._lock.acquire()

        def release(self) -> None:
            """Let go."""
            self._lock.release()

        def close(self) -> None:
            """Forget the file; nothing is open while it is not held."""

else:

    class _Lock:
        """Keeps other processes out, with a file that stays open.

        `FileLock` opens its file anew each time, on the way of every order. Threads
        of one process are kept apart by whoever owns it.
        """

        def __init__(self, path: str) -> None:
            self._path = path
            self._clock = SystemClock()  # others let go in real time
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

        def acquire(self) -> None:
            """Take it; raises `Timeout` if another process does not let go."""
            until_s = self._clock.monotonic() + _LOCK_S
            while not self._taken():
                if self._clock.monotonic() > until_s:
                    raise Timeout(self._path)
                self._clock.sleep(_LOCK_LOOK_S)

        def _taken(self) -> bool:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def release(self) -> None:
            """Let go."""
            fcntl.flock(self._handle, fcntl.LOCK_UN)

        def close(self) -> None:
            """Forget the file."""
            os.close(self._handle)


class _NoTurnError(Exception):
    """No call may leave; the text says why."""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except _NoTurnError as error:
        why = str(error)
    else:
        return
    raise NotSent(why)


class _BudgetFile:
    """The state on disk; without a path, in memory."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._memory = ""
        self._handle = -1
        self._lock: _Lock | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._lock = _Lock(f"{path}.lock")
        except OSError as error:
            raise StorageError(
                _("{path}: not written: {why}").format(
                    path=path, why=error.strerror or error
                )
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        if self._lock is None:
            yield
            return
        try:
            self._lock.acquire()
        except Timeout as error:
            raise _NoTurnError(
                _(
                    "{path} is held by another process that does not answer; "
                    "nothing was sent. End that process and try again."
                ).format(path=self._path)
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    def read(self) -> str:
        if self._path is None:
            return self._memory
        os.lseek(self._handle, 0, os.SEEK_SET)
        return os.read(self._handle, _RECORD).decode("ascii", errors="replace")

    def write(self, text: str) -> None:
        if self._path is None:
            self._memory = text
            return
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, text.encode("ascii").ljust(_RECORD)[:_RECORD])

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            if self._lock is not None:
                self._lock.close()


class RateLimiter:
    """Hand out the moments at which calls may leave.

    One of it serves all threads of a process; processes meet in the file.

    Attributes:
        turn_s: seconds between calls, while the server has refused none.
    """

    def __init__(
        self,
        interval_s: float,
        *,
        path: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Space calls by `interval_s` seconds; zero switches the limit off.

        Args:
            interval_s: seconds between calls.
            path: state file shared by processes; None keeps it in this one.
            clock: its monotonic time must be the same in all processes.

        Raises:
            StorageError: the file cannot be written.
        """
        self.turn_s = interval_s
        self._clock = clock or SystemClock()
        self._file = _BudgetFile(path if interval_s > 0 else None)
        self._owner = f"{os.getpid()}-{id(self):x}"
        self._lock = threading.Lock()
        self._written: tuple[str, Budget] = "", Budget()
        self._numbers = count()
        self._queue: list[tuple[int, int]] = []
        self._next_s = -math.inf

    def acquire(self, priority: Priority, *, max_wait_s: float | None = None) -> None:
        """Wait until a call of this priority may leave.

        Args:
            priority: what the call is for.
            max_wait_s: give up rather than wait longer.

        Raises:
            NotSent: `max_wait_s` would be exceeded.
        """
        why = self.wait_turn(priority, max_wait_s=max_wait_s)
        if why:
            raise NotSent(why)

    def wait_turn(self, priority: Priority, *, max_wait_s: float | None = None) -> str:
        """Wait as `acquire` does; return why no call may leave, "" if one may.

        For callers below frames that hold keys, which an error would take along.
        """
        if self.turn_s <= 0:
            return ""
        try:
            self._wait_turn(priority, max_wait_s)
        except _NoTurnError as error:
            return str(error)
        return ""

    def _wait_turn(self, priority: Priority, max_wait_s: float | None) -> None:
        since_s = self._clock.monotonic()
        with self._lock:
            ticket = (int(priority), next(self._numbers))
            insort(self._queue, ticket)
        try:
            while (wait_s := self._ask(ticket, since_s)) > 0:
                left_s = self._left(since_s, max_wait_s)
                self._clock.sleep(min(wait_s, left_s))
        except BaseException:
            self._give_up(ticket)
            raise

    def throttled(self, retry_after_s: float = 0.0) -> None:
        """Slow down: KIS said that there were too many calls.

        Raises:
            NotSent: another process holds the file.
        """
        if self.turn_s <= 0:
            return
        with _told(), self._lock, self._file.held():
            now_s = self._clock.monotonic()
            state = self._read(now_s)
            state = state.slowed(now_s, self.turn_s, retry_after_s)
            self._next_s = state.next_s
            self._write(state)

    def interval_s(self) -> float:
        """Return the seconds between calls now, slow-down included.

        Raises:
            NotSent: another process holds the file.
        """
        with _told(), self._lock, self._file.held():
            now_s = self._clock.monotonic()
            state = self._read(now_s)
            return state.interval_s(now_s, self.turn_s)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()

    def _read(self, now_s: float) -> Budget:
        """Return the state in the file, which is held."""
        text = self._file.read().rstrip()
        known, state = self._written
        # Most often nobody else has written since.
        return state if text == known else parse_budget(text, now_s, self.turn_s)

    def _write(self, state: Budget) -> None:
        text = state.as_json()
        self._file.write(text)
        self._written = text, state

    def _left(self, since_s: float, max_wait_s: float | None) -> float:
        if max_wait_s is None:
            return math.inf
        left_s = since_s + max_wait_s - self._clock.monotonic()
        if left_s <= 0:
            raise _NoTurnError(
                _(
                    "no call was free within {seconds:g} s, so nothing was sent; too "
                    "many programs or symbols share this app key"
                ).format(seconds=max_wait_s)
            )
        return left_s

    def _ask(self, ticket: tuple[int, int], since_s: float) -> float:
        """Return the seconds to wait before asking again; 0 if the slot is taken."""
        with self._lock:
            rank = bisect_left(self._queue, ticket)
            now_s = self._clock.monotonic()
            if rank:  # only the first of the queue looks at the file
                return max(self._next_s - now_s, 0.0) + rank * self.turn_s
            with self._file.held():
                now_s = self._clock.monotonic()
                state = self._read(now_s)
                state, wait_s = state.take(
                    Waiter(
                        owner=self._owner,
                        priority=ticket[0],
                        since_s=since_s,
                        until_s=now_s,
                    ),
                    now_s,
                    self.turn_s,
                )
                self._write(state)
            self._next_s = state.next_s
            if wait_s <= 0:
                self._queue.remove(ticket)
            return wait_s

    def _give_up(self, ticket: tuple[int, int]) -> None:
        with self._lock:
            if ticket in self._queue:
                self._queue.remove(ticket)
            with self._file.held():
                now_s = self._clock.monotonic()
                state = self._read(now_s)
                self._write(state.leave(self._owner))
