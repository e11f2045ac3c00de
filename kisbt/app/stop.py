"""End a run from another process, in order."""

import os
import signal
from pathlib import Path

from kisbt.app.instances import Instance, ask_end, is_owned, running
from kisbt.clock import Clock, SystemClock
from kisbt.errors import InputError, StorageError
from kisbt.text import _

_LOOK_EVERY_S = 0.2


def stop_run(instance: Instance, *, wait_s: float, clock: Clock | None = None) -> bool:
    """Ask a run to end; return whether it has ended in time.

    Raises:
        InputError: it is not alive any more.
        StorageError: the word cannot be written (Windows; others send a signal).
    """
    time = clock or SystemClock()
    try:
        alive = ask_end(instance)
    except StorageError:
        if os.name == "nt":
            raise
        os.kill(instance.pid, signal.SIGTERM)  # a full disk keeps no run alive
        alive = True
    if not alive:
        raise InputError(
            _("{name} (pid {pid}) is not alive any more").format(
                name=instance.id, pid=instance.pid
            )
        )
    until_s = time.monotonic() + wait_s
    while is_alive(instance):
        if time.monotonic() >= until_s:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def is_alive(instance: Instance) -> bool:
    """Return whether a run is listed, or still holds its account."""
    listed = any(item.pid == instance.pid for item in running())
    return listed or is_owned(Path(instance.state))
