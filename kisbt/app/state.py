"""Where kisbt keeps what outlives a run: keys, tokens, rate budgets."""

import os
from pathlib import Path

from platformdirs import user_data_path

from kisbt.kis.servers import Server


def state_folder() -> Path:
    """Return the folder; ``KISBT_STATE`` names another one."""
    chosen = os.environ.get("KISBT_STATE", "")
    return Path(chosen) if chosen else user_data_path("kisbt", appauthor=False)


def keys_folder() -> Path:
    """Return the folder of keys."""
    return state_folder() / "keys"


def server_folder(server: Server) -> Path:
    """Return the folder of tokens and rate budgets of a server.

    Keys of the emulator are made anew with each of them, and so are its files'
    names; nothing is shared with the broker's.
    """
    place = "emulator" if server.is_emulator else "kis"
    return state_folder() / place / server.environment.value
