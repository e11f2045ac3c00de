import pytest

from kisbt.errors import ConfigError
from kisbt.optimize.objective import make_objective

KNOWN = {"sharpe", "max_drawdown", "trades"}


def test_weighted_sum_and_its_words() -> None:
    objective = make_objective({"sharpe": 1, "max_drawdown": -2}, (), KNOWN)
    assert objective.value({"sharpe": 1.5, "max_drawdown": 0.25}) == 1.0
    assert objective.text == "1 × sharpe -2 × max_drawdown"
    assert make_objective("sharpe", (), KNOWN).text == "sharpe"


def test_a_missing_number_gives_no_value_and_breaks_a_constraint() -> None:
    objective = make_objective("sharpe", ("trades >= 30",), KNOWN)
    assert objective.value({"sharpe": None}) is None
    assert objective.value(None) is None
    assert objective.feasible({"sharpe": 1.0, "trades": 30})
    assert not objective.feasible({"sharpe": 1.0, "trades": 29})
    assert not objective.feasible({"sharpe": 1.0, "trades": None})
    assert not objective.feasible(None)


def test_a_name_that_is_no_number_of_the_summary_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sharp is no number .* known: max_draw"):
        make_objective("sharp", (), KNOWN)
    with pytest.raises(ConfigError, match=r"optimize\.constraints"):
        make_objective("sharpe", ("trade > 1",), KNOWN)
