from collections.abc import Mapping
from typing import Any

import pytest

from kisbt.errors import ConfigError
from kisbt.optimize.expression import parse_condition

VALUES: Mapping[str, Any] = {"a": 5, "b": 20, "x": 0.5, "word": "any", "gone": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b", True),
        ("a * 4 < b", False),
        ("a * 4 <= b", True),
        ("1 < a <= 5 < b", True),
        ("a + b == 25 and not x > 1", True),
        ("a > b or word == 'any'", True),
        ("word in ['all', 'any']", True),
        ("a not in (1, 2)", True),
        ("b % a == 0 and b // a - -1 == 5", True),
        ("b / 0.5 != 40", False),
        ("(a < b) == (b < a)", False),
    ],
)
def test_condition_says_what_python_says(text: str, expected: bool) -> None:
    assert parse_condition(text, VALUES, "where").holds(VALUES) is expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.__class__ == 1",
        "[x for x in a] == 1",
        "(lambda: 1)() == 1",
        "VALUES['a'] == 1",
        "a < 9 ** 9 ** 9",
        "f'{a}' == '5'",
        "(a := 1) == 1",
        "a if b else x",
        "a + b",
        "a",
        "a is b",
        "a <",
        "",
        "a < b " + "and a < b " * 100,
    ],
)
def test_anything_but_a_comparison_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="where") as refused:
        parse_condition(text, VALUES, "where")
    assert refused.value.path == "where"


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"reads c, which is not known; known: a"):
        parse_condition("a < c", VALUES, "where")


def test_condition_on_a_missing_number_does_not_hold() -> None:
    condition = parse_condition("gone < 1 or a < b", VALUES, "where")
    assert condition.names == {"gone", "a", "b"}
    assert not condition.holds(VALUES)


@pytest.mark.parametrize("text", ["word < 3", "a % 0 == 1", "word * 3 == 'anyanyany'"])
def test_condition_that_cannot_be_computed_names_itself(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be computed"):
        parse_condition(text, VALUES, "where").holds(VALUES)
