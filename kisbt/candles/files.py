"""Write files completely or not at all."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kisbt.errors import StorageError
from kisbt.text import _


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that can be computed again, without waiting for the disk.

    Whoever reads `path` meanwhile sees the old file or the new one.

    Raises:
        StorageError: nothing was changed (disk full, no permission ...).
    """
    temporary = None
    try:
        temporary = _temporary(path, content, durable=False)
        temporary.replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        _remove(temporary)


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Write files under temporary names in their folders, then rename them all.

    Folders are made if they are missing. Nothing is renamed before everything is
    on the disk, so a full disk changes nothing.

    Raises:
        StorageError: a file could not be written; no file is half-written.
    """
    waiting: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting[path] = _temporary(path, content, durable=True)
        for path in contents:
            waiting.pop(path).replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        for temporary in waiting.values():
            _remove(temporary)
    for folder in {path.parent for path in contents}:
        _sync_folder(folder)


def _temporary(path: Path, content: bytes, *, durable: bool) -> Path:
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        # mkstemp makes files private; a candle file is as readable as its folder.
        Path(name).chmod(0o644)
    except BaseException:
        _remove(Path(name))
        raise
    return Path(name)


def _remove(temporary: Path | None) -> None:
    if temporary is not None:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _failed(path: Path, error: OSError) -> StorageError:
    return StorageError(
        _("{path}: not written: {why}").format(path=path, why=error.strerror or error)
    )


def _sync_folder(folder: Path) -> None:
    """Make the renames themselves durable, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
