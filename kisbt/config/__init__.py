"""All pydantic models and the loader of configuration files."""

from kisbt.config.load import (
    load_config,
    project_root,
    read_universe_file,
    resolve_universe,
)
from kisbt.config.schema import (
    Config,
    config_hash,
    dump_config,
    json_schema,
    sizing_conflicts,
)

__all__ = [
    "Config",
    "config_hash",
    "dump_config",
    "json_schema",
    "load_config",
    "project_root",
    "read_universe_file",
    "resolve_universe",
    "sizing_conflicts",
]
