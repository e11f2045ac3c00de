"""Files only their owner may read: keys, tokens.

On Windows the user's data folder is private by its own access list, so the mode
bits are neither set nor checked there.
"""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from kisbt.errors import StorageError
from kisbt.text import _

_LARGEST = 1 << 20  # bytes; these files hold a few hundred
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner may read, whole or not at all.

    It is private from its first byte, whatever the umask.

    Raises:
        StorageError: nothing was changed.
    """
    temporary = None
    try:
        make_private_folder(path.parent)
        # mkstemp creates with O_EXCL and mode 0600.
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
        )
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise StorageError(
            _("{path}: not written: {why}").format(
                path=path, why=error.strerror or error
            )
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, if there is none.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        if os.name != "nt":
            folder.chmod(_FOLDER_MODE)


def read_private(path: Path) -> str | None:
    """Return the text of a private file; None if there is none.

    Raises:
        StorageError: others may read it, it belongs to somebody else, it is a
            link, or it is no text file of sensible size. The message says what
            to do.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = _("it is a link") if path.is_symlink() else error.strerror or str(error)
        raise StorageError(
            _("{path}: not read: {why}").format(path=path, why=why)
        ) from error
    with os.fdopen(handle, "rb") as stream:
        _require_private(path, os.fstat(stream.fileno()))
        content = stream.read(_LARGEST + 1)
    try:
        if len(content) > _LARGEST:
            raise ValueError
        return content.decode("utf-8")
    except ValueError as error:
        raise StorageError(
            _("{path}: not a file kisbt has written; remove it").format(path=path)
        ) from error


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(_("{path}: not a file").format(path=path))
    if os.name == "nt":
        return
    if status.st_uid != os.getuid():
        raise StorageError(
            _("{path}: belongs to another user; remove it or take it over").format(
                path=path
            )
        )
    if status.st_mode & 0o077:
        raise StorageError(
            _(
                "{path}: other users may read it; run: chmod 600 {path}. If they "
                "could have, make new keys"
            ).format(path=path)
        )


def remove_private(path: Path) -> bool:
    """Remove a file; return whether there was one.

    Raises:
        StorageError: it is still there.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(
            _("{path}: not removed: {why}").format(
                path=path, why=error.strerror or error
            )
        ) from error
    return True
