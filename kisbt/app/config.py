"""Check a configuration as a whole: values, strategy, universe, candles."""

from dataclasses import dataclass
from pathlib import Path

from kisbt.app.strategies import check_params, load_strategy_class, strategy_warnings
from kisbt.candles.symbols import read_symbols
from kisbt.config import Config, load_config, resolve_universe, sizing_conflicts
from kisbt.errors import ConfigError, KisbtError, MissingCandles
from kisbt.krx.overrides import KrxOverrides
from kisbt.text import _


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What `kisbt config check` tells.

    Attributes:
        problems: a run would refuse these, one line each.
        warnings: a run goes through, but the user should know.
        config: None when the file itself is wrong.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    config: Config | None = None


def check_config(source: Path) -> Findings:
    """Return everything wrong with a configuration, as far as it can be told."""
    try:
        config = load_config(source)
    except ConfigError as error:
        return Findings(problems=error.problems, warnings=())
    problems: list[str] = []
    warnings: list[str] = []
    for check in (_check_strategy, _check_universe, _check_overrides, _check_sizing):
        try:
            check(config, warnings)
        except KisbtError as error:
            problems.append(str(error))
    return Findings(problems=tuple(problems), warnings=tuple(warnings), config=config)


def _check_strategy(config: Config, warnings: list[str]) -> None:
    strategy = load_strategy_class(config.strategy.class_, config.root)
    check_params(strategy, config.strategy.params)
    warnings += strategy_warnings(strategy)


def _check_universe(config: Config, warnings: list[str]) -> None:
    folder = config.data_path
    if not folder.is_dir():
        raise MissingCandles(
            _("data.path: {path} does not exist; check the path").format(path=folder)
        )
    known = read_symbols(folder / "symbols.csv")
    resolve_universe(config, known, notice=warnings.append)


def _check_overrides(config: Config, warnings: list[str]) -> None:
    KrxOverrides.from_mapping(config.krx_overrides).calendar()


def _check_sizing(config: Config, warnings: list[str]) -> None:
    conflicts = sizing_conflicts(config)
    if conflicts and config.mode != "backtest":
        raise ConfigError(conflicts[0], problems=tuple(conflicts))
    warnings += conflicts
