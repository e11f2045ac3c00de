"""Where kisbt keeps what outlives a run: keys, tokens, rate budgets."""

import os
from pathlib import Path
from urllib.parse import urlsplit

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

    Each emulator has its own, by its port: another one may hand out the same keys,
    and would not know the tokens.
    """
    if server.is_emulator:
        place = f"emulator-{urlsplit(server.rest_url).port}"
    else:
        place = "kis"
    return state_folder() / place / server.environment.value
