"""The record of a calibration: what a server was seen to do, and when."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kisbt.errors import StorageError
from kisbt.kis.private import read_private, write_private
from kisbt.model.account import Environment
from kisbt.orders.resolve import API_CHANNEL
from kisbt.text import _

_FILE = "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was seen.

    Attributes:
        account: masked.
        account_id: of account and key, one way.
        environment: ``real`` or ``mock``.
        version: of kisbt.
        at: aware KST.
        facts: by name; see `kisbt.app.calibrate`.
        problems: for people, a line each; empty when all went as expected.
    """

    account: str
    account_id: str
    environment: str
    version: str
    at: datetime
    facts: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def write_calibration(folder: Path, record: Calibration) -> None:
    """Keep a record beside the journal; an earlier one is replaced.

    Raises:
        StorageError: nothing was changed.
    """
    row = {**asdict(record), "at": record.at.isoformat()}
    write_private(folder / _FILE, json.dumps(row, ensure_ascii=False, indent=2))


def read_calibration(folder: Path) -> Calibration | None:
    """Return the record of an account; None if there is none.

    Raises:
        StorageError: the file is not private, or not one of these.
    """
    text = read_private(folder / _FILE)
    if text is None:
        return None
    try:
        row = json.loads(text)
        return Calibration(
            account=str(row["account"]),
            account_id=str(row["account_id"]),
            environment=str(row["environment"]),
            version=str(row["version"]),
            at=datetime.fromisoformat(row["at"]),
            facts=dict(row["facts"]),
            problems=tuple(str(item) for item in row["problems"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(
            _("{path}: not a file kisbt has written; remove it").format(
                path=folder / _FILE
            )
        ) from error


def own_channel(folder: Path, environment: Environment) -> str:
    """Return how rows of the order query name orders over the API.

    What calibration saw, which may be "" where rows do not tell; before that what
    public logs show.

    Raises:
        StorageError: the record cannot be believed.
    """
    record = read_calibration(folder)
    if record is None or record.environment != environment.value:
        return API_CHANNEL
    return str(record.facts.get("channel", ""))
