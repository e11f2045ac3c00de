import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kisbt.config import json_schema, load_config, sizing_conflicts

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(
    path for path in (ROOT / "configs").glob("*.yaml") if path.stem != "trading_config"
)


def config_with(**sections: Any) -> Any:
    return load_config(
        {
            "strategy": {"class": "a:B", **sections.pop("strategy", {})},
            "universe": {"symbols": ["005930"]},
            **sections,
        }
    )


def test_a_configuration_cannot_be_changed() -> None:
    config = config_with()
    with pytest.raises(ValidationError, match="frozen"):
        config.broker.rules = "none"


def test_sizing_within_the_limits_has_no_conflict() -> None:
    assert (
        sizing_conflicts(config_with(strategy={"params": {"position_size": 0.2}})) == []
    )
    limits = {"max_order_pct": 30, "max_symbol_pct": 30}
    config = config_with(strategy={"params": {"position_size": 0.3}}, risk=limits)
    assert sizing_conflicts(config) == []


def test_sizing_above_a_limit_names_both() -> None:
    config = config_with(strategy={"params": {"position_size": 0.3}})
    (conflict,) = sizing_conflicts(config)
    assert "position_size 0.3 is 30 per cent of equity" in conflict
    assert "risk.max_order_pct 25 %" in conflict


def test_a_limit_that_is_off_conflicts_with_nothing() -> None:
    config = config_with(
        strategy={"params": {"position_size": 0.9}},
        risk={"max_order_pct": None, "max_symbol_pct": None},
    )
    assert sizing_conflicts(config) == []


def test_live_is_accepted_once_its_limits_are_written() -> None:
    risk = {
        "max_order_pct": 25,
        "max_symbol_pct": 30,
        "max_daily_loss_pct": 3,
        "max_orders_per_day": None,
    }
    assert config_with(mode="live", risk=risk).mode == "live"


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((ROOT / "configs" / "schema.json").read_text("utf-8"))
    assert committed == json_schema(), "kisbt config schema > configs/schema.json"


def test_there_is_an_example_of_each_kind() -> None:
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_and_keeps_its_own_limits(path: Path) -> None:
    config = load_config(path)
    assert sizing_conflicts(config) == []
    assert config.universe.symbols == tuple(f"99000{n}" for n in range(1, 6))
    assert path.read_text("utf-8").startswith("# yaml-language-server: $schema=")


def test_the_default_example_spells_out_the_defaults() -> None:
    written = load_config(ROOT / "configs" / "ma_rsi_bollinger.yaml")
    bare = config_with()
    for section in (
        "mode",
        "bars",
        "data",
        "capital",
        "broker",
        "paper",
        "live",
        "risk",
    ):
        assert getattr(written, section) == getattr(bare, section), section


def test_the_parameter_file_example_equals_the_default_one() -> None:
    default = load_config(ROOT / "configs" / "ma_rsi_bollinger.yaml")
    values = {
        "strategy": {
            "class": "a:B",
            "params_file": str(ROOT / "configs" / "trading_config.yaml"),
        },
        "universe": {"file": str(ROOT / "configs" / "target_stocks.txt")},
    }
    params = dict(default.strategy.params)
    del params["entry"], params["exits"]
    assert load_config(values).strategy.params == params
