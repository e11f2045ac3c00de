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


def server_folder(server: Server, instance: str = "") -> Path:
    """Return the folder of tokens and rate budgets of a server.

    Each emulator has its own, by the name of its instance: another one may hand out
    the same keys, and would not know the tokens.

    Args:
        server: KIS or an emulator.
        instance: of the emulator; "" if it does not tell, then its port serves.
    """
    if server.is_emulator:
        place = f"emulator-{instance or urlsplit(server.rest_url).port}"
    else:
        place = "kis"
    return state_folder() / place / server.environment.value


def profile_folder(server: Server, profile: str, instance: str = "") -> Path:
    """Return the folder of one account's journal, latch and calibration.

    Args:
        server: KIS or an emulator.
        profile: name of the set of keys; an emulator has one account only.
        instance: of the emulator.
    """
    folder = server_folder(server, instance)
    return folder if server.is_emulator else folder / profile


def journal_path(state: Path) -> Path:
    """Return the journal in the state folder of an account."""
    return state / "journal.db"
