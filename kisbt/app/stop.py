"""End a run from another process, in order."""

import os
import signal
from pathlib import Path

from kisbt.app.instances import Instance, is_owned, running
from kisbt.clock import Clock, SystemClock
from kisbt.errors import InputError
from kisbt.text import _

_LOOK_EVERY_S = 0.2


def stop_run(instance: Instance, *, wait_s: float, clock: Clock | None = None) -> bool:
    """Ask a run to end; return whether it has ended in time.

    Raises:
        InputError: it is not alive, or not this user's.
    """
    time = clock or SystemClock()
    number = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
    try:
        os.kill(instance.pid, number)
    except OSError as error:  # Windows has no word of its own for these
        raise InputError(
            _("{name} (pid {pid}) cannot be told: {why}").format(
                name=instance.id, pid=instance.pid, why=error.strerror
            )
        ) from error
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
