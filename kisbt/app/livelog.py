"""The log of a paper or live run: one line per event, rotated, private."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from kisbt.clock import Clock
from kisbt.errors import StorageError
from kisbt.kis.private import make_private_folder
from kisbt.text import _

LOG_NAME = "kisbt.log"
_BYTES = 5_000_000
_FILES = 5


class _Line(logging.Formatter):
    """One line per record, with the market's time and the machine's."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s")
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; a traceback is folded into it."""
        text = " ⏎ ".join(super().format(record).splitlines())
        machine = datetime.fromtimestamp(record.created).astimezone()
        market = self._clock.now()
        return (
            f"{market.isoformat(timespec='milliseconds')} "
            f"[{machine:%Y-%m-%dT%H:%M:%S%z}] {text}"
        )


class _PrivateFile(RotatingFileHandler):
    """A rotating file that only its owner may read."""

    def _open(self):  # type: ignore[no-untyped-def]  # as logging has it
        handle = os.open(
            self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        return os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace")


@contextmanager
def run_log(folder: Path, clock: Clock) -> Iterator[Path]:
    """Write everything kisbt logs into a file while the block runs.

    Args:
        folder: of the run's state.
        clock: of the market: its time stands first in each line.

    Raises:
        StorageError: the file cannot be written.
    """
    path = folder / LOG_NAME
    try:
        make_private_folder(folder)
        handler = _PrivateFile(path, maxBytes=_BYTES, backupCount=_FILES)
    except OSError as error:
        raise StorageError(
            _("{path}: not written: {why}").format(
                path=path, why=error.strerror or error
            )
        ) from error
    handler.setFormatter(_Line(clock))
    logger = logging.getLogger("kisbt")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield path
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
