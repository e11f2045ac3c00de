import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kisbt.app.strategies import (
    check_params,
    create_strategy,
    list_strategies,
    load_strategy_class,
    strategy_params,
    strategy_warnings,
)
from kisbt.config import load_config
from kisbt.errors import ConfigError, InputError, StrategyError

GOOD = '''\
"""Doc."""
import backtrader as bt


class Good(bt.Strategy):
    """One line.

    More.
    """

    params = (("period", 20), ("size", 0.2))
'''


@pytest.fixture(autouse=True)
def _own_imports() -> Iterator[None]:
    """Give `sys.path` and the modules named strategies back after a test."""
    path = list(sys.path)
    mine = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "strategies"}
    yield
    sys.path[:] = path
    for name in [n for n in sys.modules if n.split(".")[0] == "strategies"]:
        del sys.modules[name]
    sys.modules.update(mine)


def project(folder: Path, **files: str) -> Path:
    package = folder / "strategies"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, text in files.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def test_a_class_is_loaded_from_the_project(tmp_path: Path) -> None:
    root = project(tmp_path, good=GOOD)
    found = load_strategy_class("strategies.good:Good", root)
    assert strategy_params(found) == {"period": 20, "size": 0.2}


def test_each_project_gets_its_own_strategies(tmp_path: Path) -> None:
    first = project(tmp_path / "a", good=GOOD)
    second = project(tmp_path / "b", good=GOOD.replace("20", "30"))
    for root, period in ((first, 20), (second, 30), (first, 20)):
        found = load_strategy_class("strategies.good:Good", root)
        assert strategy_params(found)["period"] == period


def test_a_module_beside_the_configuration_is_found(tmp_path: Path) -> None:
    (tmp_path / "kisbt_test_alone.py").write_text(GOOD)
    assert load_strategy_class("kisbt_test_alone:Good", tmp_path).__name__ == "Good"
    del sys.modules["kisbt_test_alone"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("strategies.goood:Good", "did you mean strategies.good?"),
        ("strategies.zzz:Good", "known: strategies.good"),
        ("strategies.good.deep:Good", "no module strategies.good.deep"),
        ("strategies.good:Goood", "has no class Goood; did you mean Good?"),
        ("strategies.good:bt", "bt in "),
    ],
)
def test_an_unknown_reference_names_the_nearest(
    tmp_path: Path, reference: str, expected: str
) -> None:
    root = project(tmp_path, good=GOOD)
    with pytest.raises(ConfigError) as caught:
        load_strategy_class(reference, root)
    assert expected in str(caught.value)
    assert caught.value.path == "strategy.class"


def test_a_class_that_is_no_strategy_is_refused(tmp_path: Path) -> None:
    root = project(tmp_path, plain="class Plain:\n    pass\n")
    with pytest.raises(ConfigError, match="is no strategy; derive it from bt"):
        load_strategy_class("strategies.plain:Plain", root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import backtrader\n\nx = 1 / 0\n", "broken.py, line 3: ZeroDivisionError"),
        ("import nonexistent_module\n", "broken.py, line 1: ModuleNotFoundError"),
        ("def f(:\n", "broken.py, line 1: SyntaxError"),
        ("raise SystemExit(0)\n", "broken.py, line 1: SystemExit"),
    ],
)
def test_a_file_that_raises_is_named_with_its_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    root = project(tmp_path, broken=text)
    with pytest.raises(StrategyError) as caught:
        load_strategy_class("strategies.broken:X", root)
    assert expected in str(caught.value)


def test_a_parameter_the_class_lacks_is_refused(tmp_path: Path) -> None:
    found = load_strategy_class("strategies.good:Good", project(tmp_path, good=GOOD))
    check_params(found, {"period": 5})
    with pytest.raises(ConfigError, match="did you mean period") as caught:
        check_params(found, {"perod": 5})
    assert caught.value.path == "strategy.params.perod"


def test_a_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    found = list_strategies(project(tmp_path, bad="x = y\n", good=GOOD))
    assert [item.reference for item in found] == [
        "strategies.good:Good",
        "strategies.bad",
    ]
    assert found[0].about == "One line."
    assert "NameError" in found[1].problem


def test_a_common_base_is_not_listed(tmp_path: Path) -> None:
    derived = "from strategies.good import Good\n\n\nclass Better(Good):\n    pass\n"
    found = list_strategies(project(tmp_path, good=GOOD, better=derived))
    assert [item.reference for item in found] == ["strategies.better:Better"]


def test_listing_outside_a_project_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kisbt init DIR"):
        list_strategies(tmp_path)


def test_future_bars_and_clocks_are_pointed_out(tmp_path: Path) -> None:
    lines = """
    def next(self):
        a = self.data.close[1] + self.data.close[0] + self.data.close[-1]
        b = self.values[1]
        c = datetime.now()
        time.sleep(1)
"""
    root = project(tmp_path, risky=GOOD.replace("Good", "Risky") + lines)
    found = strategy_warnings(load_strategy_class("strategies.risky:Risky", root))
    assert [text.split(": ", 1)[1] for text in found] == [
        "a positive index is a future bar; use 0 or below",
        "datetime.now() is the wall clock; take the bar's time",
        "sleeping stops the whole run; count bars instead",
    ]
    assert "risky.py, line 14" in found[0]


def test_a_new_strategy_loads_with_its_configuration(tmp_path: Path) -> None:
    files = create_strategy("My-Idea two", tmp_path)
    assert [path.name for path in files] == ["my_idea_two.py", "my_idea_two.yaml"]
    config = load_config(files[1])
    found = load_strategy_class(config.strategy.class_, config.root)
    assert found.__name__ == "MyIdeaTwo"
    check_params(found, config.strategy.params)
    assert strategy_warnings(found) == []


def test_a_new_strategy_replaces_nothing(tmp_path: Path) -> None:
    create_strategy("idea", tmp_path)
    with pytest.raises(InputError, match="is there already; choose another name"):
        create_strategy("idea", tmp_path)


@pytest.mark.parametrize("name", ["", "1st", "class", "a.b", "../x"])
def test_a_name_python_cannot_take_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected letters, digits and _"):
        create_strategy(name, tmp_path)
    assert list(tmp_path.iterdir()) == []
