"""State folders of emulators that are gone: kept for a week, then removed.

Each start of an emulator has a folder of its own, with the journal of the runs on it.
Nothing of the broker's own servers is ever touched.
"""

import logging
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from kisbt.app.instances import is_owned, running
from kisbt.app.state import state_folder
from kisbt.clock import KST
from kisbt.model.account import Environment

log = logging.getLogger(__name__)

KEEP = timedelta(days=7)
_NAME = re.compile(r"emulator-[0-9a-f]{1,32}")


def prune_emulators(now: datetime, *, keep: timedelta = KEEP) -> tuple[Path, ...]:
    """Remove the folders of emulators in which nothing has been written for long.

    A folder that a run holds stays, and so does one that cannot be removed.

    Args:
        now: machine time, aware.
        keep: how long one stays after its last change.

    Returns:
        The folders removed.
    """
    in_use = {Path(item.state) for item in running()}
    gone = []
    for folder in sorted(state_folder().glob("emulator-*")):
        if not _NAME.fullmatch(folder.name) or folder.is_symlink():
            continue
        places = [folder / item.value for item in Environment]
        try:
            # The look at its lock would count as a change.
            old = now - _changed(folder) > keep
            if not old or any(p in in_use or is_owned(p) for p in places):
                continue
            shutil.rmtree(folder)
        except OSError as error:
            log.info("%s: not removed: %s", folder, error)
            continue
        gone.append(folder)
    return tuple(gone)


def _changed(folder: Path) -> datetime:
    """Return when something in a folder was changed last."""
    newest = max(
        path.lstat().st_mtime for path in (folder, *folder.rglob("*")) if path.exists()
    )
    return datetime.fromtimestamp(newest, KST)
