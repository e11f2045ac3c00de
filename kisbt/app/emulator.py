"""Run the local KIS server until told to stop."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from kisbt.emulator.faults import Fault, parse_faults
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.errors import InputError
from kisbt.krx.calendar import KST
from kisbt.text import _

# How often a waiting process looks at the emulator's thread, seconds.
_LOOK_S = 0.5


def parse_start(text: str) -> date | datetime | None:
    """Return a date or a time; None for "".

    Raises:
        InputError: it is neither.
    """
    if not text:
        return None
    try:
        if len(text.strip()) == len("2025-11-03"):
            return date.fromisoformat(text.strip())
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InputError(
            _("--from {found!r}: expected 2025-11-03 or 2025-11-03T10:30").format(
                found=text
            )
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=KST)


def read_faults(path: Path | None) -> tuple[Fault, ...]:
    """Return the faults scripted in a YAML or JSON file; none without a file.

    Raises:
        InputError: it cannot be read, or something in it is no fault.
    """
    if path is None:
        return ()
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            _("{path}: cannot be read as YAML: {why}").format(path=path, why=error)
        ) from error
    return tuple(parse_faults(content or []))


def serve(
    settings: Settings,
    *,
    ready_file: Path | None,
    started: Callable[[Mapping[str, Any]], None],
) -> None:
    """Run an emulator until Ctrl-C or a request to end the process.

    Args:
        settings: what it is made of.
        ready_file: written once every port accepts; removed at the end.
        started: called with what the ready file says.

    Raises:
        KisbtError: there is nothing to replay, or a port is taken.
    """
    with Emulator(settings) as emulator, _until_told() as told:
        try:
            if ready_file is not None:
                write_ready_file(ready_file, emulator.ready)
            started(emulator.ready)
            while emulator.running and not told.wait(_LOOK_S):
                pass
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set."""
    told = threading.Event()
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in wanted}
    for number in wanted:
        signal.signal(number, lambda _number, _frame: told.set())
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
