"""The journal's transactions: on the disk when they return, or not at all."""

import json
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from filelock import FileLock, Timeout

from kisbt.clock import Clock, SystemClock
from kisbt.errors import JournalDamaged, StorageError
from kisbt.orders import decode
from kisbt.orders.decode import micros
from kisbt.orders.journalfile import (
    Access,
    back_up_daily,
    check_pages,
    open_database,
    reserve_log,
)
from kisbt.orders.lifecycle import Status
from kisbt.orders.rows import EventRecord, Mark, OrderRecord
from kisbt.text import _

T = TypeVar("T")


class Database:
    """One open journal file.

    Attributes:
        path: of the file.
        broken: why nothing can be written any more; "" while all is well. Once set,
            no order may be sent until a restart.
        unclean: the run before this one ended without `end_run`.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        access: Access = Access.MAIN,
        on_mark: Callable[[str], None] | None = None,
        emergency: Path | None = None,
    ) -> None:
        """Open the journal, or make a new one with MAIN.

        Args:
            path: of the file, for example ``.../journal.db``.
            clock: for the times of its lines.
            access: MAIN for the process that trades.
            on_mark: called with ``W0`` to ``W6`` right after those commits.
            emergency: second folder, best on another disk, for the broker's answer
                when the journal cannot be written; the system's temporary folder
                if None.

        Raises:
            StorageError: not private, damaged, newer, locked, in use, or its sums
                do not agree. The message says what to do.
        """
        self.path = path
        self.broken = ""
        self._clock = clock or SystemClock()
        self._mark = on_mark or (lambda mark: None)
        self._emergency = emergency or Path(tempfile.gettempdir())
        self._lock = threading.RLock()
        self._depth = 0
        self._marks: list[Mark] = []
        self._undone = 0
        self._kept: dict[object, Any] = {}
        self._kept_at: tuple[int, int, int] | None = None
        self._moment_of: int | None = None
        self._others = 0
        self._records: dict[int, tuple[Any, OrderRecord]] = {}
        self._access = access
        self._main_lock = self._take_main_lock() if access is Access.MAIN else None
        try:
            self._db = open_database(path, access, self._clock)
            try:
                # `halt` must not wait for it, nor be kept from trying.
                if access is Access.MAIN:
                    self._audit()
                    if self._last_sequence():
                        back_up_daily(path, self._db, self._clock)
                self.unclean = self._is_unclean()
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._free_main_lock()
            raise

    def _take_main_lock(self) -> FileLock:
        folder = self.path.parent
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                if os.name != "nt":
                    folder.chmod(0o700)
            lock = FileLock(str(self.path) + ".lock", mode=0o600)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(
                _(
                    "{path}: another kisbt is trading with this journal; end it "
                    "first (`kisbt stop`)"
                ).format(path=self.path)
            ) from error
        except OSError as error:
            raise StorageError(
                _("{path}: the journal cannot be opened: {why}").format(
                    path=self.path, why=error.strerror or error
                )
            ) from error
        return lock

    def _free_main_lock(self) -> None:
        if self._main_lock is not None:
            self._main_lock.release()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._db.close()
            self._free_main_lock()

    def reserve(self) -> None:
        """Make commits quick for a run that trades: see `journalfile.reserve_log`."""
        with self._lock:
            reserve_log(self.path, self._db)

    def tidy(self) -> None:
        """Carry what is committed over into the database, so that its log is reused.

        For a thread of its own: commits of others neither wait for it nor do it
        themselves. What fails is left for the next time.
        """
        where = f"{self.path.absolute().as_uri()}?mode=rw"
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(where, uri=True, timeout=0.0)) as other,
        ):
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def together(self, *, settled: bool = True) -> Iterator[None]:
        """Make everything written inside one transaction.

        Args:
            settled: return only when the disk has it. If not, a loss of power, though
                no death of the process, may undo it, as long as nothing that came
                later has been settled: that settles all before it, too. What
                stands inside another transaction is settled with that.

        Raises:
            StorageError: nothing of it was written.
        """
        with self._lock:
            if self._depth:
                yield
                return
            if not settled:
                self._run_sql("PRAGMA synchronous = NORMAL")
            try:
                self._run_sql("BEGIN IMMEDIATE")
                self._depth, self._marks = 1, []
                try:
                    yield
                    self._run_sql("COMMIT")
                except BaseException:
                    self._undone += 1
                    with suppress(sqlite3.Error):
                        if self._db.in_transaction:
                            self._db.execute("ROLLBACK")
                    raise
                finally:
                    self._depth = 0
            finally:
                if not settled:
                    self._run_sql("PRAGMA synchronous = FULL")
            marks, self._marks = self._marks, []
        for mark in marks:
            self._mark(mark)

    def _run_sql(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        # No context manager: an order passes here some thirty times.
        try:
            return self._db.execute(sql, values)
        except (sqlite3.Error, UnicodeError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StorageError:
        """Return what is told of a failure of SQLite; text that is none is damage."""
        # Another process that has not let go in time has lost nothing of ours.
        if self._access is not Access.READ and not _is_busy(error):
            self.broken = self.broken or str(error)
        return StorageError(
            _("{path}: the journal cannot be used: {why}").format(
                path=self.path, why=error
            )
        )

    def _all(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            cursor = self._run_sql(sql, values)
            try:
                return cursor.fetchall()
            except (sqlite3.Error, UnicodeError) as error:
                raise self._failed(error) from error

    def _one(self, sql: str, *values: Any) -> Any:
        with self._lock:
            cursor = self._run_sql(sql, values)
            try:
                return cursor.fetchone()
            except (sqlite3.Error, UnicodeError) as error:
                raise self._failed(error) from error

    def _keep(self, key: object, read: Callable[[], T]) -> T:
        """Return what `read` has given for `key`, until anything is written.

        By this connection, or by another one, of any process: SQLite counts both.

        Args:
            key: names all that `read` depends on but the file.
            read: makes a value nobody changes.
        """
        with self._lock:
            if self._depth or self._moment_of != threading.get_ident():
                self._others = self._one("PRAGMA data_version")[0]
            state = (self._others, self._db.total_changes, self._undone)
            if state != self._kept_at:
                self._kept.clear()
                self._kept_at = state
            if key not in self._kept:
                self._kept[key] = read()
            found: T = self._kept[key]
            return found

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Look at what other processes have written once, for all that is read inside.

        For some reads in a row that take less than a look for each of them. What this
        process writes is seen as ever, and so is all that a transaction reads.
        """
        try:
            with self._lock:
                self._others = self._one("PRAGMA data_version")[0]
                self._moment_of = threading.get_ident()
            yield
        finally:
            self._moment_of = None

    def _event(
        self,
        kind: str,
        ref: int | None = None,
        *,
        tell: str | None = None,
        at: datetime | None = None,
        **facts: Any,
    ) -> int:
        kept = {name: value for name, value in facts.items() if value not in ("", None)}
        cursor = self._run_sql(
            "INSERT INTO events (at, kind, ref, tell, facts) VALUES (?, ?, ?, ?, ?)",
            (
                micros(at or self._clock.now()),
                kind,
                ref,
                tell,
                decode.to_json(kept) if kept else None,
            ),
        )
        return int(cursor.lastrowid or 0)

    def _number(self, name: str) -> int | None:
        row = self._one("SELECT value FROM account WHERE name = ?", name)
        return None if row is None else int(row[0])

    def _set_number(self, name: str, value: int) -> None:
        self._run_sql(
            "INSERT INTO account VALUES (?, ?) ON CONFLICT (name) DO UPDATE"
            " SET value = excluded.value",
            (name, value),
        )

    def _last_sequence(self) -> int:
        return int(self._one("SELECT coalesce(max(sequence), 0) FROM events")[0])

    def note(self, kind: str, ref: int | None = None, **facts: Any) -> int:
        """Add a line to the history; return its sequence."""
        with self.together():
            return self._event(kind, ref, **facts)

    def history(
        self, *, ref: int | None = None, after: int = 0, limit: int | None = None
    ) -> tuple[EventRecord, ...]:
        """Return lines of the history, oldest first."""
        where = "" if ref is None else " AND ref = ?"
        values = () if ref is None else (ref,)
        rows = self._all(
            "SELECT sequence, at, kind, ref, facts FROM events"  # noqa: S608
            f" WHERE sequence > ?{where} ORDER BY sequence LIMIT ?",
            after,
            *values,
            -1 if limit is None else limit,
        )
        return tuple(decode.event(row) for row in rows)

    def save_state(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a JSON object under a name, in place of the one before."""
        with self.together():
            self._save_state(name, value)

    def _save_state(self, name: str, value: Mapping[str, Any]) -> None:
        self._run_sql(
            "INSERT INTO state VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " value = excluded.value, at = excluded.at",
            (name, decode.to_json(value), micros(self._clock.now())),
        )

    def load_state(self, name: str) -> dict[str, Any] | None:
        """Return the object kept under a name; None if there is none."""
        row = self._one("SELECT value FROM state WHERE name = ?", name)
        return None if row is None else dict(json.loads(row[0]))

    def _cry(self, ref: int, status: Status, **facts: Any) -> None:
        """Keep the broker's answer where the journal could not; stop everything."""
        self.broken = self.broken or _("an answer of the broker could not be kept")
        line = decode.to_json(
            {
                "at": self._clock.now().isoformat(),
                "journal": str(self.path),
                "ref": ref,
                "status": status,
                **{name: value for name, value in facts.items() if value},
            }
        )
        sys.stderr.write(f"kisbt: EMERGENCY: {line}\n")
        sys.stderr.flush()
        with suppress(OSError):
            file = emergency_file(self._emergency)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            handle = os.open(file, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
            with os.fdopen(handle, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
                stream.flush()
                os.fsync(stream.fileno())

    def emergencies(self) -> tuple[Mapping[str, Any], ...]:
        """Return the answers of the broker this journal could not take, oldest first."""
        file = emergency_file(self._emergency)
        try:
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(file, flags), encoding="utf-8") as stream:
                # In a folder all users share, another one may have put it there.
                if os.name != "nt" and os.fstat(stream.fileno()).st_uid != os.getuid():
                    return ()
                text = stream.read()
        except (OSError, UnicodeError):
            return ()
        found = []
        for line in text.splitlines():
            with suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and row.get("journal") == str(self.path):
                    found.append(row)
        return tuple(found)

    def _is_unclean(self) -> bool:
        row = self._one("SELECT ended FROM runs ORDER BY number DESC LIMIT 1")
        return row is not None and row[0] is None

    def check(self) -> None:
        """Look through the pages and compare sums with lines; MAIN does when it opens.

        Raises:
            StorageError: it is damaged; the message says what to do.
        """
        with self._lock:
            check_pages(self.path, self._db, self._access, self._clock)
            self._audit()

    def _audit(self) -> None:
        problems = [*decode.audit(self._all)]
        if problems:
            raise JournalDamaged(
                _(
                    "{path}: the journal's sums do not agree: {problem}. Nothing is "
                    "traded. Put a daily copy ({daily}) in its place if there is one, "
                    "then kisbt reconcile; otherwise make a new one from what the "
                    "broker shows: kisbt reconcile --rebuild"
                ).format(
                    path=self.path,
                    problem="; ".join(problems[:3]),
                    daily=f"{self.path.stem}.daily.*{self.path.suffix}",
                )
            )


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def emergency_file(folder: Path) -> Path:
    """Return where answers go that the journal could not take."""
    return folder / "kisbt-emergency.jsonl"
