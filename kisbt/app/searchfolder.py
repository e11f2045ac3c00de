"""The folder of a search: what lets it go on, and what it found."""

import csv
import io
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from filelock import FileLock, Timeout

from kisbt.app.prepare import Prepared
from kisbt.app.trials import source_digest
from kisbt.config.load import load_config
from kisbt.config.schema import Config, NotifyConfig, config_hash, dump_config
from kisbt.errors import InputError
from kisbt.optimize.objective import Objective
from kisbt.optimize.pool import versions
from kisbt.optimize.trials import Trial
from kisbt.report.folder import write_text
from kisbt.text import _, current_language

if TYPE_CHECKING:
    from kisbt.report.sheet import Sheet

FOLDER_VERSION = 1
SEARCH_FILE = "search.json"
TRIALS_FILE = "trials.csv"
BEST_FILE = "best.yaml"
DATABASE_FILE = "study.db"

_MASK = "://***"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a search's folder.

    Raises:
        InputError: one is at work there.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            _("another process is working on {folder}; wait for it").format(
                folder=folder
            )
        ) from error
    try:
        yield
    finally:
        lock.release()
        (folder / ".lock").unlink(missing_ok=True)


def begin(folder: Path, content: Mapping[str, Any]) -> None:
    """Write down what is searched, so that it can go on after an interruption."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SEARCH_FILE, {**content, "state": "running"})


def describe(
    kind: str, prepared: Prepared, config: Config, started: datetime
) -> dict[str, Any]:
    """Return what identifies a search: the head of search.json.

    Args:
        kind: ``optimize``, ``walkforward`` or ``per-symbol``.
        prepared: the run.
        config: with its `optimize` block, if it needs one.
        started: wall clock.
    """
    name = config.strategy.class_.rpartition(":")[2]
    run_id = f"{started:%Y%m%d-%H%M%S}-{name}-{kind}"
    return {
        "folder_version": FOLDER_VERSION,
        "kind": kind,
        "id": run_id,
        "config": _without_secrets(config),
        # Without the addresses: they are not in the folder either.
        "config_hash": config_hash(
            config.model_copy(update={"notify": NotifyConfig()})
        ),
        "config_file": None if config.source is None else config.source.name,
        "project": str(config.root),
        "store_hash": prepared.store.content_hash(
            prepared.instruments,
            config.bars.length,
            adjusted=config.data.adjusted,
        ),
        "strategy_hash": source_digest(prepared.strategy_class),
        "versions": {**versions(), "python": platform.python_version()},
        "first_session": str(prepared.first.astype("datetime64[D]")),
        "last_session": str(prepared.last.astype("datetime64[D]")),
        "started": started.isoformat(timespec="seconds"),
    }


def _without_secrets(config: Config) -> dict[str, Any]:
    values = dump_config(config)
    values["strategy"]["params_file"] = None  # its parameters are merged
    del values["notify"]
    return values


def read_search(folder: Path, kind: str) -> dict[str, Any]:
    """Return search.json of a folder.

    Raises:
        InputError: it is not the folder of such a search, or of another version.
    """
    path = folder / SEARCH_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            _("{folder} is no folder of a search: {file} cannot be read").format(
                folder=folder, file=SEARCH_FILE
            )
        ) from error
    if content.get("folder_version") != FOLDER_VERSION or content.get("kind") != kind:
        raise InputError(
            _(
                "{folder} holds a {found} of version {version}, expected {kind} of "
                "version {expected}"
            ).format(
                folder=folder,
                found=content.get("kind"),
                version=content.get("folder_version"),
                kind=kind,
                expected=FOLDER_VERSION,
            )
        )
    found: dict[str, Any] = content
    return found


def config_to_resume(content: Mapping[str, Any], storage: str | None) -> Config:
    """Return the configuration of a search that goes on.

    Args:
        content: its search.json.
        storage: address of the database, needed again when it was not the file in
            the folder, because addresses may hold passwords.

    Raises:
        InputError: the address is needed.
        ConfigError: the configuration is none of this version.
    """
    overrides: dict[str, object] = {}
    kept = content["config"].get("optimize", {}).get("storage")
    if storage is not None:
        overrides["optimize.storage"] = storage
    elif kept and kept.endswith(_MASK):
        raise InputError(
            _(
                "this search keeps its trials in {storage}: give the address again "
                "with --storage"
            ).format(storage=kept)
        )
    return load_config(
        content["config"], overrides=overrides, root=Path(content["project"])
    )


def check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other candles, code or versions than before.

    Raises:
        InputError: names what changed.
    """
    keys = {
        "store_hash": _("the candles"),
        "strategy_hash": _("the strategy's code"),
        "config_hash": _("the configuration"),
        "versions": _("the versions of the packages"),
    }
    changed = [words for key, words in keys.items() if before.get(key) != now.get(key)]
    if changed:
        raise InputError(
            _(
                "changed since the search began: {what}; its trials would not fit "
                "together: begin a new one"
            ).format(what=", ".join(changed))
        )


def storage_of(config: Config, folder: Path) -> str:
    """Return the address of the database that keeps the trials."""
    assert config.optimize is not None
    return config.optimize.storage or f"sqlite:///{(folder / DATABASE_FILE).as_posix()}"


def trial_rows(
    trials: Sequence[Trial], objective: Objective, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the trials as rows of trials.csv."""
    return [
        {
            "number": trial.number,
            "value": objective.value(trial.metrics),
            "feasible": objective.feasible(trial.metrics),
            **{name: trial.params[name] for name in names},
            **(trial.metrics or {}),
            "error": trial.error,
        }
        for trial in trials
    ]


def table_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a byte order mark, so that Excel reads Korean."""
    listed = list(rows)
    columns = list(dict.fromkeys(key for row in listed for key in row))
    # Errors last, whatever the first row had.
    columns.sort(key=lambda name: name == "error")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in listed:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return "\ufeff" + out.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return value


def write_best(config: Config, params: Mapping[str, Any], folder: Path) -> Path:
    """Write the configuration with these parameters, ready for `kisbt backtest`.

    Paths become absolute when the project lies elsewhere; the addresses of `notify`
    are left out, because they are secrets.
    """
    values = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for key in ("optimize", "notify"):
        values.pop(key, None)
    values["mode"] = "backtest"
    values["strategy"] = {
        "class": config.strategy.class_,
        "params": dict(params),
    }
    data = dict(values.get("data") or {})
    data["path"] = str(config.data_path)
    values["data"] = data
    listed = config.universe.file
    if listed is not None:
        values["universe"] = {
            **values["universe"],
            "file": str(config.resolve(listed)),
        }
    head = _("# The best parameters of {search}. Run it: kisbt backtest {file}")
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    path = folder / BEST_FILE
    write_text(path, f"{head.format(search=folder.name, file=path)}\n{text}")
    if config.krx_overrides:
        extra = yaml.safe_dump(dict(config.krx_overrides), allow_unicode=True)
        write_text(folder / "krx_overrides.yaml", extra)
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all; what is no number becomes null."""
    text = json.dumps(plain(content), ensure_ascii=False, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def plain(value: Any) -> Any:
    """Return a value as JSON has it; dataclasses become mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    elif isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    elif hasattr(value, "isoformat"):
        value = value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_page(path: Path, sheet: "Sheet") -> None:
    """Write a page in the language in force; atomic."""
    # Imported late: plotly is not needed for the numbers.
    from kisbt.report.sheet import render_sheet

    write_text(path, render_sheet(sheet, current_language()))
