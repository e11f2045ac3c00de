"""Questions about the market that no order has to wait for.

A chart or the prices of many symbols take seconds to come. They are asked for in a
thread beside the trading loop, and their answers are taken at the top of its turns,
so that everything that uses them still runs in one thread.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from kisbt.errors import KisError

log = logging.getLogger(__name__)

_JOIN_S = 5.0

T = TypeVar("T")


class Enquiries:
    """Asks in a thread of its own; or at once, where a run goes step by step.

    All methods but `wake` belong to the trading loop.
    """

    def __init__(self, *, at_once: bool, wake: Callable[[], None]) -> None:
        """Begin without questions; the thread begins with the first one.

        Args:
            at_once: ask in the calling thread: the same run each time.
            wake: called in the thread when there is an answer to take.
        """
        self._at_once = at_once
        self._wake = wake
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._answers: deque[Callable[[], None]] = deque()
        self._open: set[str] = set()
        self._thread: threading.Thread | None = None

    def is_asking(self, name: str) -> bool:
        """Return whether a question of that name is not answered yet."""
        return name in self._open

    @property
    def busy(self) -> bool:
        """Whether any question is not answered yet."""
        return bool(self._open)

    def ask(
        self,
        name: str,
        question: Callable[[], T],
        answer: Callable[[T], None],
        failed: Callable[[KisError], None],
    ) -> None:
        """Ask, unless a question of that name is under way.

        Args:
            name: of the question.
            question: asks; must touch nothing of the trading loop.
            answer: takes what came, in the trading loop.
            failed: takes why nothing came, in the trading loop.
        """
        if name in self._open:
            return
        self._open.add(name)
        if self._at_once:
            self._put(name, question, answer, failed)
            self.take()
            return
        self._asked.put(partial(self._put, name, question, answer, failed))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="kisbt-enquiries", daemon=True
            )
            self._thread.start()

    def _put(
        self,
        name: str,
        question: Callable[[], T],
        answer: Callable[[T], None],
        failed: Callable[[KisError], None],
    ) -> None:
        """Ask, and queue what takes the answer."""
        try:
            then: Callable[[], None] = partial(answer, question())
        except KisError as error:
            then = partial(failed, error)
        except Exception as error:  # noqa: BLE001 - raised where it is taken
            then = partial(_raise, error)
        self._answers.append(partial(self._close, name, then))

    def _close(self, name: str, then: Callable[[], None]) -> None:
        self._open.discard(name)
        then()

    def take(self) -> None:
        """Take the answers that have come.

        Raises:
            Exception: a mistake in a question, as if it had been asked here.
        """
        while self._answers:
            self._answers.popleft()()

    def stop(self) -> bool:
        """Ask nothing more; return whether the thread has ended.

        A call under way is waited for a moment; its answer is nobody's.
        """
        if self._thread is None:
            return True
        self._asked.put(None)
        self._thread.join(_JOIN_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._asked.get()) is not None:
            job()
            self._wake()


def _raise(error: Exception) -> None:
    raise error
