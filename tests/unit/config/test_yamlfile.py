from contextlib import suppress

import pytest
import yaml
from hypothesis import given, strategies as st

from kisbt.config.yamlfile import parse_yaml
from kisbt.errors import ConfigError


def parse(text: str) -> object:
    return parse_yaml(
        text, name="x.yaml", keep_text=lambda path: path[:1] == ("keep",)
    ).values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("000660", "000660"),
        ("12:30", "12:30"),
        ("0x10", "0x10"),
        ("1e-3", 0.001),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("1_000", 1000),
        ("0", 0),
        ("yes", "yes"),
        ("True", True),
        ("~", None),
        ("", None),
        ("2020-01-02", "2020-01-02"),
        ('"5"', "5"),
    ],
)
def test_only_plain_numbers_words_and_null_are_not_text(
    text: str, value: object
) -> None:
    assert parse(f"key: {text}\n") == {"key": value}


def test_kept_scalars_are_text_but_null_stays_null() -> None:
    assert parse("keep: [1, 1.0, true, null, ~]\n") == {
        "keep": ["1", "1.0", "true", None, None]
    }


def test_keys_that_are_kept_are_text() -> None:
    assert parse("keep: {000660: a, 990001: b}\n") == {
        "keep": {"000660": "a", "990001": "b"}
    }


def test_lines_are_known_by_path() -> None:
    document = parse_yaml("a: 1\nb:\n  c: [1,\n    2]\n", name="x", keep_text=bool)
    assert document.lines[("b", "c")] == 3
    assert document.lines[("b", "c", 1)] == 4


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.none() | st.booleans() | st.integers(0, 10**9) | st.text(),
        min_size=1,
    )
)
def test_what_yaml_writes_is_read_back(values: dict[str, object]) -> None:
    # allow_unicode=False escapes what YAML cannot hold as it is.
    text = yaml.safe_dump(values, default_style='"')
    quoted = parse_yaml(text, name="x", keep_text=lambda _path: False).values
    assert {str(k): v for k, v in quoted.items()} == values


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with suppress(ConfigError):
        parse_yaml(text, name="x.yaml", keep_text=lambda _path: False)
