"""What every command shares: consoles, tables, progress, the error boundary."""

import codecs
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from kisbt.clock import Clock, SystemClock
from kisbt.errors import (
    ConfigError,
    DataError,
    InputError,
    KisbtError,
    SafetyRefused,
)
from kisbt.text import _

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_CONFIG = Path("configs") / "ma_rsi_bollinger.yaml"
"""What runs when no configuration is named."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_REFUSED = 3
EXIT_INTERRUPTED = 130

PROGRESS_AFTER_S = 1.0
"""Seconds of work before a progress bar appears; shorter jobs show none."""

WIDE = 10_000
"""Columns of a table that is not on a terminal: nothing is cut in a pipe."""


def prepare_streams() -> None:
    """Let the console print Korean, whatever its code page.

    A Windows console or a pipe may be CP949 or CP437; a character it cannot
    show must not end the run.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is None:
            continue
        encoding = codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name
        if os.name == "nt" or encoding in {"ascii", "iso8859-1"}:
            reconfigure(encoding="utf-8", errors="replace")
        else:
            reconfigure(errors="replace")


def stdout_console() -> "Console":
    """Return the console of results."""
    return _console(stderr=False)


def stderr_console() -> "Console":
    """Return the console of errors, notices and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    # Made on each call: tests and pipes replace sys.stdout.
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(
        stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False
    )


def say(text: str = "") -> None:
    """Print a line of results, as it is: no markup, no wrapping."""
    print(text)


def note(text: str) -> None:
    """Print a line on stderr that is no result: a notice, a next step."""
    print(text, file=sys.stderr)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    note(_("warning: {text}").format(text=text))


def print_json(value: object) -> None:
    """Print `value` as JSON on stdout: Korean as it is, dates in ISO 8601."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # a numpy scalar
        return value.item()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        key: of the row.
        title: header for people.
        right: aligned right, for numbers.
        show: cell to text; None shows "" for None, else `str`.
    """

    key: str
    title: str
    right: bool = False
    show: Callable[[Any], str] | None = None


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    as_json: bool = False,
    title: str = "",
) -> None:
    """Print rows as a table, or with `as_json` whole as a JSON list."""
    if as_json:
        print_json([dict(row) for row in rows])
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(column, row.get(column.key))) for column in columns))
    stdout_console().print(table)


def _cell(column: Column, value: object) -> str:
    if column.show is not None:
        return column.show(value)
    return "" if value is None else str(value)


class Advance(Protocol):
    """What `progress` hands over."""

    def __call__(self, done: int, text: str = "") -> None:
        """Show that `done` of the total is finished."""
        ...


def _advance_nothing(done: int, text: str = "") -> None:
    """Show nothing: stderr is no terminal."""


@contextmanager
def progress(
    description: str, total: int | None = None, *, clock: Clock | None = None
) -> Iterator[Advance]:
    """Show a progress bar on stderr while the block runs.

    Nothing is shown when stderr is no terminal, nor in the first second. The
    value handed over is called as ``advance(done, text)``: `done` counts from 0
    to `total`, `text` replaces the description unless "".
    """
    if not sys.stderr.isatty():
        yield _advance_nothing
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    time_source = clock or SystemClock()
    started_s = time_source.monotonic()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=stderr_console(),
        transient=True,
    )
    task = bar.add_task(description, total=total)
    shown = False

    def advance(done: int, text: str = "") -> None:
        nonlocal shown
        if not shown and time_source.monotonic() - started_s >= PROGRESS_AFTER_S:
            shown = True
            bar.start()
        bar.update(task, completed=done, description=text or description)

    try:
        yield advance
    finally:
        if shown:
            bar.stop()


def exit_code(error: BaseException) -> int:
    """Return the exit code: 1 failed, 2 wrong input, 3 refused, 130 interrupted."""
    if isinstance(error, ConfigError | InputError | DataError):
        return EXIT_INPUT
    if isinstance(error, SafetyRefused):
        return EXIT_REFUSED
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return EXIT_FAILED


def explain(error: BaseException) -> str:
    """Return one line for people: what happened and what to do."""
    if isinstance(error, KisbtError):
        text = str(error)
    elif isinstance(error, KeyboardInterrupt):
        text = _("interrupted; nothing half-written was kept")
    elif isinstance(error, OSError):
        text = _explain_os_error(error)
    elif isinstance(error, MemoryError):
        text = _("out of memory; use fewer symbols or a shorter range")
    else:
        text = _(
            "unexpected {kind}: {error}; run again with --debug and report what it shows"
        ).format(kind=type(error).__name__, error=error)
    return " ".join(text.split())


@lru_cache(maxsize=1)
def _full() -> frozenset[int]:
    return frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


def _explain_os_error(error: OSError) -> str:
    where = str(error.filename or "")
    if error.errno in _full():
        return _(
            "no space left on the disk {path}; free some, or name another folder with "
            "--out"
        ).format(path=where)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return _(
            "no permission for {path}; choose a folder you may write to, or change "
            "its permissions"
        ).format(path=where or _("a file"))
    if error.errno == errno.ENOENT:
        return _("{path} does not exist; check the path").format(
            path=where or _("a file")
        )
    if error.errno in {errno.ENOTDIR, errno.EISDIR}:
        return _(
            "{path}: a file stands where a folder is needed, or the other way round; "
            "check the path"
        ).format(path=where or _("a path"))
    return _("{path}: {error}").format(path=where, error=error.strerror or error)


def guard(work: Callable[[], int | None], *, debug: bool = False) -> int:
    """Run `work`; turn any error into one line on stderr and an exit code.

    Args:
        work: returns its exit code; None is 0.
        debug: also print the traceback.
    """
    try:
        code = work() or EXIT_OK
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody is left to tell, and Python's
        # own flush at exit must not complain either.
        _silence_stdout()
        return EXIT_OK
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the boundary
        if debug:
            traceback.print_exception(error)
        note(_("error: {text}").format(text=explain(error)))
        return exit_code(error)
    return code


def _silence_stdout() -> None:
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # captured: there is no pipe behind it
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
