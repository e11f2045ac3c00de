"""A flag one thread raises and another waits for, on the way of an order.

It does what `threading.Event` does, for one thread that waits, and takes half as long:
an event is made of a condition, which is made of locks, in Python.
"""

import threading
from contextlib import suppress


class Signal:
    """A flag; down at first. Any thread may raise it, one may wait for it."""

    __slots__ = ("_down",)

    def __init__(self) -> None:
        """Make a flag that is down."""
        self._down = threading.Lock()
        self._down.acquire()

    def is_set(self) -> bool:
        """Return whether it is up; no, for a moment, while the waiter passes."""
        return not self._down.locked()

    def set(self) -> None:
        """Raise it; `wait` returns from now on."""
        with suppress(RuntimeError):  # it is up
            self._down.release()

    def clear(self) -> None:
        """Lower it; for the thread that waits: while it passes, others cannot."""
        self._down.acquire(blocking=False)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is up, or so long; return whether it is."""
        if not self._down.acquire(timeout=-1 if seconds is None else max(0.0, seconds)):
            return False
        self.set()
        return True
