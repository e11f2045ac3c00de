"""From a name of stored keys, or an emulator's ready file, to a client."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kisbt.app.state import keys_folder, profile_folder, server_folder
from kisbt.clock import Clock
from kisbt.errors import InputError
from kisbt.kis.client import KisClient, Orders, open_client
from kisbt.kis.keys import KeyStore, KisKeys, Secret, parse_account, usable_keyring
from kisbt.kis.servers import Server, emulator_server, kis_server
from kisbt.model.account import Environment
from kisbt.text import _


@dataclass(frozen=True, slots=True)
class Access:
    """Keys, and the server they belong to.

    Attributes:
        instance: name of the emulator; "" for the broker's own server.
    """

    keys: KisKeys
    server: Server
    instance: str = ""

    @property
    def folder(self) -> Path:
        """Where tokens and rate budgets of the server are kept."""
        return server_folder(self.server, self.instance)

    @property
    def state(self) -> Path:
        """Where the account's journal, latch and calibration are kept."""
        return profile_folder(self.server, self.keys.profile, self.instance)

    def open(
        self,
        *,
        read_only: bool = False,
        clock: Clock | None = None,
        interval_s: float | None = None,
    ) -> KisClient:
        """Return a client; nothing is sent yet.

        Args:
            read_only: refuse orders.
            clock: real, or the emulator's.
            interval_s: seconds between calls; None for the broker's rate.

        Raises:
            ConfigError: keys and server do not belong together.
            StorageError: the state folder cannot be written.
        """
        return open_client(
            self.keys,
            self.server,
            folder=self.folder,
            clock=clock,
            interval_s=interval_s,
            orders=Orders.REFUSED if read_only else Orders.PLAIN,
        )


def key_store() -> KeyStore:
    """Return where this user's keys are."""
    return KeyStore(keys_folder(), keyring=usable_keyring())


def kis_access(profile: str, environment: Environment) -> Access:
    """Return access to the broker's own server.

    Raises:
        ConfigError: there are no such keys.
        StorageError: they cannot be read.
    """
    return Access(key_store().load(profile, environment), kis_server(environment))


def data_access(trading: Access, data_profile: str | None) -> Access:
    """Return access for market data, given the one for orders.

    Practice money with real prices: orders go to mock, and the keys of
    `data_profile` only read. Its real keys are taken if there are any, because the
    real server has more calls and fifteen times the rate.

    Args:
        trading: for orders.
        data_profile: as ``kis.data_profile`` says; None for the same keys.

    Raises:
        ConfigError: there are no such keys.
        StorageError: they cannot be read.
    """
    if data_profile is None or trading.server.is_emulator:
        return trading
    known = {(item.profile, item.environment) for item in key_store().list()}
    real = (data_profile, Environment.REAL) in known
    return kis_access(
        data_profile, Environment.REAL if real else trading.server.environment
    )


def emulator_access(ready_file: Path, environment: Environment) -> Access:
    """Return access to an emulator out of the file it wrote when it was ready.

    Args:
        ready_file: as ``kisbt emulator --ready-file`` writes it.
        environment: which of its servers, if it plays both.

    Raises:
        InputError: it is no such file, or that server is not in it.
    """
    return access_of_row(emulator_row(ready_file, environment), ready_file)


class ReadyRow(dict[str, Any]):
    """What an emulator's ready file says; printed, it names its keys only.

    Some of its values open an account, an invented one, and it stands in the
    variables that a crash report shows.
    """

    def __repr__(self) -> str:
        return f"ReadyRow({', '.join(self)})"


def access_of_row(row: Mapping[str, Any], path: Path | str) -> Access:
    """Return access to an emulator out of what it says when it is ready.

    Args:
        row: of one server.
        path: where it stands, for the message.

    Raises:
        InputError: something is missing in it.
    """
    row = ReadyRow(row)
    try:
        environment = Environment(str(row["environment"]))
        keys = KisKeys(
            profile="emulator",
            environment=environment,
            app_key=Secret(str(row["app_key"])),
            app_secret=Secret(str(row["app_secret"])),
            account=parse_account(str(row["account"])),
            hts_id=Secret(str(row["hts_id"])),
        )
        rest_url, ws_url = str(row["rest_url"]), str(row["ws_url"])
        instance = str(row.get("instance", ""))
        if not re.fullmatch(r"[0-9a-f]{0,32}", instance):  # it names a folder
            raise KeyError("instance")
    except KeyError as error:
        raise InputError(
            _("{path}: not the ready file of an emulator: no {key}").format(
                path=path, key=error
            )
        ) from error
    return Access(keys, emulator_server(environment, rest_url, ws_url), instance)


def emulator_row(path: Path, environment: Environment) -> ReadyRow:
    """Return what a ready file says of one of the emulator's servers.

    Args:
        path: as ``kisbt emulator --ready-file`` writes it.
        environment: which of its servers.

    Raises:
        InputError: it is no such file, or that server is not in it.
    """
    try:
        content = json.loads(path.read_text("utf-8"), object_hook=ReadyRow)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            _("{path}: not the ready file of an emulator").format(path=path)
        ) from error
    if not isinstance(content, ReadyRow):
        raise InputError(
            _("{path}: not the ready file of an emulator").format(path=path)
        )
    part = content.get(environment.value)
    if isinstance(part, ReadyRow):
        return ReadyRow(content | part)
    if content.get("environment", environment.value) != environment.value:
        raise InputError(
            _("{path}: this emulator plays the {found} server, not {wanted}").format(
                path=path, found=content["environment"], wanted=environment
            )
        )
    return content
