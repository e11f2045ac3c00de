"""The halt latch and the heartbeat: two small files beside the journal.

The latch stops every order; a person, the risk ladder or the watchdog raises it and
only a person clears it. The heartbeat tells the watchdog, another process, that the
strategy loop still turns.
"""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from kisbt.clock import Clock, SystemClock
from kisbt.errors import StorageError
from kisbt.text import _

LATCH_NAME = "HALT"
HEARTBEAT_NAME = "heartbeat.json"
_BEAT_EVERY_S = 1.0
_LARGEST = 1 << 16  # bytes; these files hold a few hundred
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Why nothing may be sent.

    Attributes:
        reason: for people; "" where the file was made by hand.
        by: what raised it: ``command``, ``watchdog``, ``guard``, ``file``...
        at: aware KST; None where the file does not say.
    """

    reason: str
    by: str
    at: datetime | None = None


class HaltLatch:
    """A file whose presence stops every order of one account on one server.

    That it exists is all that counts: empty, made with ``touch`` or unreadable, it
    halts. Any process may raise it; it survives restarts.
    """

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        """Watch the latch of a state folder.

        Args:
            folder: of the journal.
            clock: for the time written into the file; default the machine's.
        """
        self.path = folder / LATCH_NAME
        self._clock = clock or SystemClock()

    def is_raised(self) -> bool:
        """Return whether sending is forbidden; a doubt is a yes."""
        try:
            os.lstat(self.path)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def raised(self) -> Halt | None:
        """Return why sending is forbidden, None if it is not."""
        if not self.is_raised():
            return None
        found = _read_json(self.path)
        try:
            at = datetime.fromisoformat(str(found["at"]))
        except (KeyError, ValueError):
            at = None
        return Halt(
            reason=str(found.get("reason", "")),
            by=str(found.get("by", "file")),
            at=at,
        )

    def raise_(self, reason: str, by: str) -> bool:
        """Forbid sending; what raised it first stays written there.

        Returns:
            False if it was raised already.

        Raises:
            StorageError: the file could not be made, so nothing is forbidden.
        """
        content = {"at": self._clock.now().isoformat(), "by": by, "reason": reason}
        try:
            _make_folder(self.path.parent)
            # Made first and filled after: a full disk still halts.
            handle = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE
            )
        except OSError as error:
            if isinstance(error, FileExistsError) and self.path.parent.is_dir():
                return False
            raise StorageError(
                _("{path}: the halt could not be written: {why}").format(
                    path=self.path, why=error.strerror or error
                )
            ) from error
        with suppress(OSError), os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())
        return True

    def clear(self) -> bool:
        """Allow sending again; for a person's command only.

        Returns:
            False if it was not raised.

        Raises:
            StorageError: it is still there.
        """
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(
                _("{path}: the halt could not be removed: {why}").format(
                    path=self.path, why=error.strerror or error
                )
            ) from error
        return True


class Pulse(StrEnum):
    """What a living run is doing."""

    STARTING = "starting"
    OPEN = "open"  # a session is on: silence is an alarm
    CLOSED = "closed"  # waiting for the next session
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One heartbeat.

    Attributes:
        count: rises with every beat; a standing one means a hung loop.
        pid: of the run.
    """

    count: int
    pid: int
    pulse: Pulse


class Heartbeat:
    """Shows other processes that the strategy loop turns.

    Call `beat` from the loop that must not hang, and from nowhere else.
    """

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        """Write in a state folder.

        Args:
            folder: of the journal.
            clock: the machine's own also where the market is virtual, because a
                hung program is a matter of real time.
        """
        self.path = folder / HEARTBEAT_NAME
        self._clock = clock or SystemClock()
        self._count = 0
        self._pulse: Pulse | None = None
        self._beaten = 0.0

    def beat(self, pulse: Pulse) -> None:
        """Note that the loop turns; writes once a second and at every change.

        A write that fails is left out: the watchdog then sees silence and halts.
        """
        now = self._clock.monotonic()
        if pulse is self._pulse and now - self._beaten < _BEAT_EVERY_S:
            return
        self._pulse, self._beaten = pulse, now
        self._count += 1
        content = {"count": self._count, "pid": os.getpid(), "pulse": pulse.value}
        with suppress(OSError):
            _replace(self.path, json.dumps(content))


def read_beat(folder: Path) -> Beat | None:
    """Return the last heartbeat in a state folder; None if there is none."""
    found = _read_json(folder / HEARTBEAT_NAME)
    try:
        return Beat(
            count=int(found["count"]),
            pid=int(found["pid"]),
            pulse=Pulse(found["pulse"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _read_json(path: Path) -> dict[str, Any]:
    """Return an object, empty where there is none that can be read."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(_LARGEST))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, content: str) -> None:
    _make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        if os.name != "nt":
            folder.chmod(_FOLDER_MODE)
