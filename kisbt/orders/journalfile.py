"""The journal's file: where it may lie, who may open it, what is in it.

One SQLite database in write-ahead mode; every commit is on the disk before anything
is sent (`synchronous=FULL`). It belongs to its owner alone and is never repaired,
emptied or made anew by itself.
"""

import logging
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from enum import StrEnum
from pathlib import Path

from kisbt.clock import Clock
from kisbt.errors import JournalDamaged, StorageError
from kisbt.text import _

BUSY_MS = 5_000
"""How long a writer waits for another one; commits take a fraction of a millisecond."""


DAILY_COPIES = 3
# SQLite's write-ahead log, which it begins anew after a thousand pages.
_LOG_PAGES = 1000
_CACHE_KB = 250  # what is in use; the system keeps the rest of the file
_LOG_HEAD = 32
_FRAME_HEAD = 24

log = logging.getLogger(__name__)


class Access(StrEnum):
    """What a process may do with a journal."""

    MAIN = "main"
    """The one that trades; a second one is refused."""
    ASSIST = "assist"
    """`halt`, `cancel`, the watchdog: may add, and need the main one neither dead
    nor alive."""
    READ = "read"


_FIRST = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, run_id TEXT NOT NULL, started INTEGER NOT NULL,
    version TEXT NOT NULL, config_hash TEXT NOT NULL, mode TEXT NOT NULL,
    account TEXT NOT NULL, capital INTEGER NOT NULL,
    ended INTEGER, exit_state TEXT NOT NULL DEFAULT '');
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
    kind TEXT NOT NULL, ref INTEGER, tell TEXT, facts TEXT);
CREATE INDEX events_of_order ON events (ref) WHERE ref IS NOT NULL;
CREATE TABLE orders (
    ref INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL,
    number INTEGER NOT NULL, origin TEXT NOT NULL, symbol TEXT NOT NULL,
    side TEXT NOT NULL, quantity INTEGER NOT NULL CHECK (quantity > 0),
    order_type TEXT NOT NULL, kind TEXT NOT NULL, venue TEXT NOT NULL,
    limit_price INTEGER, stop_price INTEGER, session TEXT NOT NULL,
    bar INTEGER NOT NULL, reason TEXT NOT NULL, grp TEXT NOT NULL,
    last_price REAL NOT NULL, created INTEGER NOT NULL, plan_check INTEGER NOT NULL,
    status TEXT NOT NULL, changed INTEGER NOT NULL, sent INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0, known_to INTEGER NOT NULL DEFAULT 0,
    branch TEXT NOT NULL DEFAULT '', broker_number TEXT NOT NULL DEFAULT '',
    filled INTEGER NOT NULL DEFAULT 0, amount INTEGER NOT NULL DEFAULT 0,
    commission INTEGER NOT NULL DEFAULT 0, tax INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0,
    cancel_wanted TEXT NOT NULL DEFAULT '', rule TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '', confirmed_by TEXT NOT NULL DEFAULT '',
    accepted_told INTEGER NOT NULL DEFAULT 0, end_told INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX orders_open ON orders (ref) WHERE closed = 0;
CREATE INDEX orders_of_session ON orders (session);
CREATE TABLE tickets (
    ticket INTEGER PRIMARY KEY, ref INTEGER NOT NULL REFERENCES orders (ref),
    role TEXT NOT NULL, day TEXT NOT NULL, key TEXT NOT NULL, branch TEXT NOT NULL,
    number TEXT NOT NULL, parent TEXT NOT NULL, quantity INTEGER NOT NULL,
    applied INTEGER NOT NULL DEFAULT 0, applied_amount INTEGER NOT NULL DEFAULT 0,
    confirmed INTEGER NOT NULL DEFAULT 0,
    confirmed_amount INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0,
    remaining INTEGER);
CREATE UNIQUE INDEX tickets_once ON tickets (day, key, branch);
CREATE INDEX tickets_of_order ON tickets (ref);
CREATE TABLE notices (
    day TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL,
    branch TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    quantity INTEGER NOT NULL, price INTEGER NOT NULL, at INTEGER NOT NULL,
    received INTEGER NOT NULL, PRIMARY KEY (day, key, digest));
CREATE TABLE fills (
    sequence INTEGER PRIMARY KEY, ref INTEGER NOT NULL, ticket INTEGER NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity >= 0), amount INTEGER NOT NULL,
    commission INTEGER NOT NULL, tax INTEGER NOT NULL, cumulative INTEGER NOT NULL,
    at INTEGER NOT NULL, confirmed_by TEXT NOT NULL,
    held_before INTEGER NOT NULL, average_before REAL NOT NULL);
CREATE UNIQUE INDEX fills_once ON fills (ticket, cumulative) WHERE quantity > 0;
CREATE INDEX fills_of_order ON fills (ref);
CREATE TABLE positions (
    symbol TEXT PRIMARY KEY, quantity INTEGER NOT NULL, average REAL NOT NULL);
CREATE TABLE adjustments (
    sequence INTEGER PRIMARY KEY, symbol TEXT NOT NULL, cash INTEGER NOT NULL,
    quantity INTEGER NOT NULL, held_before INTEGER NOT NULL,
    average_before REAL NOT NULL, why TEXT NOT NULL);
CREATE TABLE adopted (symbol TEXT PRIMARY KEY, quantity INTEGER NOT NULL);
CREATE TABLE account (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE seen (
    day TEXT NOT NULL, key TEXT NOT NULL, branch TEXT NOT NULL,
    sequence INTEGER NOT NULL, PRIMARY KEY (day, key, branch)) WITHOUT ROWID;
CREATE TABLE externals (
    day TEXT NOT NULL, key TEXT NOT NULL, branch TEXT NOT NULL,
    symbol TEXT NOT NULL, side TEXT NOT NULL, quantity INTEGER NOT NULL,
    filled INTEGER NOT NULL, channel TEXT NOT NULL,
    told INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (day, key, branch)) WITHOUT ROWID;
CREATE TABLE outside (symbol TEXT PRIMARY KEY, quantity INTEGER NOT NULL);
CREATE TABLE changes (
    change INTEGER PRIMARY KEY AUTOINCREMENT, ref INTEGER NOT NULL,
    role TEXT NOT NULL, quantity INTEGER, price INTEGER NOT NULL,
    status TEXT NOT NULL, known_to INTEGER NOT NULL, made INTEGER NOT NULL,
    changed INTEGER NOT NULL, note TEXT NOT NULL DEFAULT '');
CREATE INDEX changes_of_order ON changes (ref);
CREATE TABLE freezes (
    symbol TEXT PRIMARY KEY, reason TEXT NOT NULL, since INTEGER NOT NULL,
    until INTEGER);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE days (
    day TEXT PRIMARY KEY, closed INTEGER NOT NULL, cash INTEGER NOT NULL,
    orders INTEGER NOT NULL, fills INTEGER NOT NULL);
CREATE VIEW history AS SELECT sequence,
    strftime('%Y-%m-%d %H:%M:%f', at / 1e6, 'unixepoch', '+9 hours') AS kst,
    kind, ref, facts FROM events;
"""

STEPS: tuple[str, ...] = (_FIRST,)
"""What each schema version adds to the one before; `user_version` counts them."""


def open_database(
    path: Path, access: Access, clock: Clock, steps: Sequence[str] = STEPS
) -> sqlite3.Connection:
    """Open a journal, make a new one, or bring an old one up to date.

    Args:
        path: of the file; its folder is made private to the user.
        access: ASSIST and READ need a journal that is there and up to date.
        clock: for the names of copies.
        steps: the schema, one script a version.

    Raises:
        StorageError: not there, not private, damaged, of a newer kisbt, locked.
            The message says what to do; nothing was changed.
    """
    fresh = not path.exists() and not path.is_symlink()
    if fresh and access is not Access.MAIN:
        raise StorageError(
            _("{path}: no journal; nothing has been traded here").format(path=path)
        )
    try:
        _require_private(path, fresh=fresh)
        connection = _connect(path, access)
    except (OSError, sqlite3.Error, UnicodeError) as error:
        if access is Access.MAIN and _is_damage(error):
            raise _damaged(path, str(error), access, clock) from error
        raise StorageError(
            _("{path}: the journal cannot be opened: {why}").format(
                path=path, why=_words(error)
            )
        ) from error
    try:
        if access is Access.MAIN and not fresh:
            check_pages(path, connection, access, clock)
        _bring_up_to_date(path, connection, access, clock, steps)
    except (sqlite3.Error, UnicodeError) as error:
        connection.close()
        if access is Access.MAIN and _is_damage(error):
            raise _damaged(path, str(error), access, clock) from error
        raise StorageError(
            _("{path}: the journal cannot be used: {why}").format(
                path=path, why=_words(error)
            )
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, access: Access) -> sqlite3.Connection:
    mode = "ro" if access is Access.READ else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        if access is Access.READ:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if sys.platform == "darwin":
                # fsync on macOS leaves the data in the drive's cache.
                connection.execute("PRAGMA fullfsync = ON")
                connection.execute("PRAGMA checkpoint_fullfsync = ON")
            # What cannot be written now must be known before an order is sent.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


def reserve_log(path: Path, connection: sqlite3.Connection) -> None:
    """Give the write-ahead log its usual size at once.

    A commit that makes a file longer must also write the file system's own books,
    which takes several times as long. The log is filled with zeros up to the size
    at which SQLite begins it anew; it reads them as the end of the log.

    Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log, section 4.3
    (a frame without the header's salt ends the log).
    """
    log_file = path.with_name(path.name + "-wal")
    with suppress(OSError, sqlite3.Error):
        page = int(connection.execute("PRAGMA page_size").fetchone()[0])
        size = _LOG_HEAD + _LOG_PAGES * (page + _FRAME_HEAD)
        connection.execute("BEGIN IMMEDIATE")  # nobody else writes to it meanwhile
        try:
            with log_file.open("r+b") as stream:
                length = stream.seek(0, os.SEEK_END)
                if length < size:
                    stream.write(bytes(size - length))
                    stream.flush()
                    os.fsync(stream.fileno())
        finally:
            connection.execute("ROLLBACK")


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


# Who may read it.


def _require_private(path: Path, *, fresh: bool) -> None:
    folder = path.parent
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        if os.name != "nt":
            folder.chmod(0o700)
    _require_own(folder, directory=True)
    if fresh:
        # SQLite gives its side files the mode of the database.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        os.close(os.open(path, flags, 0o600))
    for name in ("", "-wal", "-shm"):
        file = path.with_name(path.name + name)
        if file.exists() or file.is_symlink():
            _require_own(file, directory=False)


def _require_own(path: Path, *, directory: bool) -> None:
    status = path.lstat()
    expected = stat.S_ISDIR if directory else stat.S_ISREG
    if not expected(status.st_mode):
        raise StorageError(
            _("{path}: a link or no ordinary file; the journal is not opened").format(
                path=path
            )
        )
    if os.name == "nt":
        return
    if status.st_uid != os.getuid():
        raise StorageError(
            _("{path}: belongs to another user; the journal is not opened").format(
                path=path
            )
        )
    if status.st_mode & 0o077:
        raise StorageError(
            _(
                "{path}: other users may enter or read it; run: chmod {mode} {path}"
            ).format(path=path, mode="700" if directory else "600")
        )


# What is in it.


def check_pages(
    path: Path, connection: sqlite3.Connection, access: Access, clock: Clock
) -> None:
    """Look through the database's pages; a damaged one is copied, unless READ.

    Raises:
        StorageError: it is damaged; the message says what to do.
    """
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.DatabaseError, UnicodeError) as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        found = str(error)
    if found == "ok":
        return
    raise _damaged(path, str(found), access, clock)


def _is_damage(error: Exception) -> bool:
    """Whether SQLite could read the file, and it makes no sense."""
    if isinstance(error, UnicodeError):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _damaged(path: Path, found: str, access: Access, clock: Clock) -> JournalDamaged:
    """Return the error of a damaged journal; a copy of it has been made by then."""
    kept = "-" if access is Access.READ else str(keep_copy(path, "damaged", clock))
    return JournalDamaged(
        _(
            "{path}: the journal is damaged ({found}). Nothing is traded. A copy is "
            "in {kept}. Put a daily copy ({daily}) in its place if there is one, then "
            "kisbt reconcile; otherwise make a new one from what the broker shows: "
            "kisbt reconcile --rebuild"
        ).format(
            path=path,
            found=found,
            kept=kept,
            daily=f"{path.stem}.daily.*{path.suffix}",
        )
    )


def _bring_up_to_date(
    path: Path,
    connection: sqlite3.Connection,
    access: Access,
    clock: Clock,
    steps: Sequence[str],
) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    newest = len(steps)
    if version > newest:
        raise StorageError(
            _(
                "{path}: written by a newer kisbt (schema {found}, this one knows "
                "{newest}): update kisbt"
            ).format(path=path, found=version, newest=newest)
        )
    if version == newest:
        return
    if access is not Access.MAIN:
        raise StorageError(
            _("{path}: written by an older kisbt: start `kisbt run` once").format(
                path=path
            )
        )
    if version:
        back_up(path, connection, f"schema{version}", clock)
    for number in range(version, newest):
        _apply(connection, steps[number], number + 1)


def _apply(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Run one step whole or not at all."""
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};\nCOMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# Copies.


def _copy_name(path: Path, why: str, clock: Clock) -> Path:
    stamp = clock.now().strftime("%Y%m%d-%H%M%S-%f")
    return path.with_name(f"{path.stem}.{why}.{stamp}{path.suffix}")


def back_up(path: Path, connection: sqlite3.Connection, why: str, clock: Clock) -> Path:
    """Write a consistent copy beside the journal and return its path."""
    copy = _copy_name(path, why, clock)
    unfinished = copy.with_name(copy.name + ".tmp")
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(unfinished)) as target:
            connection.backup(target)
            # A copy is one file: it needs no log beside it.
            target.execute("PRAGMA journal_mode = DELETE")
        unfinished.replace(copy)
    finally:
        unfinished.unlink(missing_ok=True)
    return copy


def back_up_daily(path: Path, connection: sqlite3.Connection, clock: Clock) -> None:
    """Keep a copy of a sound journal of each of the last days it was opened on.

    A copy that cannot be made does not keep anyone from trading.
    """
    made = sorted(path.parent.glob(f"{path.stem}.daily.*{path.suffix}"))
    today = clock.now().strftime("%Y%m%d")
    if any(f".daily.{today}-" in copy.name for copy in made):
        return
    try:
        back_up(path, connection, "daily", clock)
        for copy in made[: 1 - DAILY_COPIES]:
            copy.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        log.warning("%s: no daily copy: %s", path, error)


def keep_copy(path: Path, why: str, clock: Clock) -> Path:
    """Copy a damaged journal byte by byte, side files too; return its path."""
    copy = _copy_name(path, why, clock)
    for name in ("", "-wal"):
        source = path.with_name(path.name + name)
        with suppress(OSError):
            target = copy.with_name(copy.name + name)
            shutil.copyfile(source, target)
            target.chmod(0o600)
    return copy


def set_aside(path: Path, clock: Clock) -> Path:
    """Rename a damaged journal, side files too; return its new path.

    Raises:
        StorageError: it is still in its place.
    """
    aside = _copy_name(path, "aside", clock)
    try:
        # The log first: beside a new database it would be taken for that one's.
        for name in ("-wal", "-shm", ""):
            source = path.with_name(path.name + name)
            if source.exists():
                source.replace(aside.with_name(aside.name + name))
    except OSError as error:
        raise StorageError(
            _("{path}: the damaged journal cannot be moved: {why}").format(
                path=path, why=error.strerror or error
            )
        ) from error
    return aside
