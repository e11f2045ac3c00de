"""Runs of this user on this machine: who runs, and that no two share an account.

Each run holds two locked files. One names it in the folder of running instances, so
that a second terminal finds its journal, its emulator and its folder; the other one
stands beside the journal, and who cannot lock it does not trade. A lock is let go
when its process ends, however it ends.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kisbt.app.connect import Access, ReadyRow, access_of_row, kis_access
from kisbt.app.state import state_folder
from kisbt.errors import InputError, SafetyRefused, StorageError
from kisbt.kis.private import make_private_folder, read_private, write_private
from kisbt.model.account import Environment
from kisbt.text import _

LOCK_NAME = "run.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One running run.

    Attributes:
        id: of the run; its folder is named so by default.
        pid: of its process.
        mode: ``paper``, ``rehearsal`` or ``live``.
        environment: ``mock`` or ``real``.
        profile: name of the set of keys.
        state: folder of its journal.
        emulator: what the emulator's ready file says; None on the broker's server.
        folder: run folder it will write.
        config: configuration file; "" if it was made from a mapping.
        strategy: class name.
        started: machine time, ISO 8601.
    """

    id: str
    pid: int
    mode: str
    environment: str
    profile: str
    state: str
    emulator: ReadyRow | None
    folder: str
    config: str
    strategy: str
    started: str

    def access(self) -> Access:
        """Return keys and server of the account it trades.

        Raises:
            ConfigError, StorageError: the keys cannot be read.
        """
        if self.emulator is not None:
            return access_of_row(self.emulator, self.state)
        return kis_access(self.profile, Environment(self.environment))


def instances_folder() -> Path:
    """Return where running instances are listed."""
    return state_folder() / "running"


@contextmanager
def listed(instance: Instance) -> Iterator[Path]:
    """List an instance while the block runs.

    Raises:
        StorageError: it cannot be written.
    """
    folder = instances_folder()
    with _storage(folder):
        make_private_folder(folder)
    path = folder / f"{instance.pid}-{secrets.token_hex(3)}.json"
    lock = FileLock(f"{path}.lock", mode=0o600)
    with _storage(path):
        lock.acquire(timeout=5.0)
    try:
        write_private(path, json.dumps(asdict(instance), ensure_ascii=False))
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()
        _forget(path)


def ask_end(instance: Instance) -> bool:
    """Leave word that a run is to end; return whether it is alive to find it.

    A file beside its listing: signals between terminals are not known everywhere.

    Raises:
        StorageError: the word cannot be written.
    """
    for path in instances_folder().glob(f"{instance.pid}-*.json"):
        if not _is_held(path):
            _forget(path)
        elif _read(path) == instance:
            write_private(_word(path), "")
            if path.exists():
                return True
            _forget(path)  # it has just ended
    return False


def end_is_wanted(listing: Path) -> bool:
    """Return whether word was left that a run is to end; it counts once.

    Args:
        listing: what `listed` gave.
    """
    try:
        _word(listing).unlink()
    except OSError:
        return False
    return True


def _word(listing: Path) -> Path:
    return listing.with_suffix(".end")


def _forget(listing: Path) -> None:
    for path in (listing, _word(listing), Path(f"{listing}.lock")):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def running() -> tuple[Instance, ...]:
    """Return the runs that are alive, oldest first; forgets those that have died."""
    found = []
    for path in sorted(instances_folder().glob("*.json")):
        if not _is_held(path):
            _forget(path)
            continue
        instance = _read(path)
        if instance is not None:
            found.append(instance)
    return tuple(sorted(found, key=lambda item: (item.started, item.id)))


def find_instance(name: str = "") -> Instance:
    """Return the running run of that id; the only one without a name.

    Args:
        name: id, or the name of its mode, profile or state folder.

    Raises:
        InputError: none, or several that could be meant; lists them.
    """
    known = running()
    fitting = [
        item
        for item in known
        if not name or name in {item.id, item.mode, item.profile, item.state}
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not known:
        raise InputError(_("no run is alive on this machine"))
    names = ", ".join(f"{item.id} ({item.mode})" for item in known)
    if not fitting:
        raise InputError(
            _("{name}: no such run is alive; there are: {names}").format(
                name=name, names=names
            )
        )
    raise InputError(_("several runs are alive, name one: {names}").format(names=names))


@contextmanager
def sole_owner(state: Path) -> Iterator[None]:
    """Hold the lock of an account's state folder while the block runs.

    Args:
        state: folder of the journal.

    Raises:
        SafetyRefused: another run holds it.
        StorageError: the folder cannot be written.
    """
    with _storage(state):
        make_private_folder(state)
        lock = FileLock(state / LOCK_NAME, mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise SafetyRefused(_taken(state)) from None
    try:
        yield
    finally:
        lock.release()


def is_owned(state: Path) -> bool:
    """Return whether a run holds the lock of a state folder."""
    path = state / LOCK_NAME
    return path.exists() and _is_locked(path)


def _taken(state: Path) -> str:
    holder = next((item for item in running() if item.state == str(state)), None)
    who = _("another run") if holder is None else f"{holder.id} (pid {holder.pid})"
    return _(
        "{who} trades this account already; two would undo each other's orders. End it "
        "first: kisbt stop"
    ).format(who=who)


def _is_held(path: Path) -> bool:
    return _is_locked(Path(f"{path}.lock"))


def _is_locked(path: Path) -> bool:
    lock = FileLock(path, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return path.exists()
    lock.release()
    return False


def _read(path: Path) -> Instance | None:
    """Return what a file says; None for one half-made or of another version."""
    try:
        text = read_private(path)
        if text is None:
            return None
        return Instance(**json.loads(text, object_hook=ReadyRow))
    except (StorageError, ValueError, TypeError):
        return None


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, Timeout) as error:
        raise StorageError(
            _("{path}: not written: {why}").format(path=path, why=error)
        ) from error


def current_pid() -> int:
    """Return the number of this process."""
    return os.getpid()
