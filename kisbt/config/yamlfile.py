"""Read a YAML file a person wrote: strict, small, no surprises.

YAML 1.1 reads ``000660`` as the octal number 432 and ``12:30`` as 750. Here only
plain numbers, ``true``/``false`` and ``null`` are more than text, and the
scalars a caller names stay as they were written whatever they look like.
"""

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kisbt.errors import ConfigError
from kisbt.text import _

MAX_BYTES = 1_000_000
"""Largest file read: a configuration is written by hand."""

MAX_DEPTH = 20
"""Deepest nesting read."""

Path_ = tuple[str | int, ...]
KeepText = Callable[[Path_], bool]

_STR = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Document:
    """A file as plain values, and where each of them was written.

    Attributes:
        values: None for an empty file.
        lines: line number, from 1, by path of keys and list positions.
    """

    values: Any
    lines: dict[Path_, int]


class _Loader(yaml.SafeLoader):
    """The safe loader with fewer implicit types, no aliases, bounded depth."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as the base has it
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if self.check_event(yaml.AliasEvent):
            raise _at(
                mark,
                _("aliases (*name) are not supported; write the value out"),
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _at(
                mark,
                _("more than {limit} levels deep").format(limit=MAX_DEPTH),
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


# YAML 1.2's core rules, with 1_000_000 and 1e-3 as people write them.
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        (
            r"[-+]?(?:(?:0|[1-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
            r"|(?:0|[1-9][0-9_]*)[eE][-+]?[0-9]+"
            r"|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
            r"|\.(?:inf|Inf|INF|nan|NaN|NAN))"
        ),
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


class _Refused(yaml.MarkedYAMLError):
    """Legal YAML that is not taken; the problem is already in words."""


def _at(mark: Any, text: str) -> _Refused:
    return _Refused(None, None, text, mark)


def read_text_file(path: Path) -> str:
    """Return the text of a small UTF-8 file, with or without a byte order mark.

    Raises:
        ConfigError: missing, too large, or in another encoding.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            _("{path} does not exist; check the path").format(path=path)
        ) from error
    except IsADirectoryError as error:
        raise ConfigError(
            _("{path} is a folder; name a file in it").format(path=path)
        ) from error
    except PermissionError as error:
        if path.is_dir():  # what Windows raises for a folder
            raise ConfigError(
                _("{path} is a folder; name a file in it").format(path=path)
            ) from error
        raise ConfigError(
            _("{path} may not be read; change its permissions").format(path=path)
        ) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(
            _("{path} is larger than {limit} bytes; is it the right file?").format(
                path=path, limit=MAX_BYTES
            )
        )
    return _decode(raw, path)


def _decode(raw: bytes, path: Path) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(
            _("{path} is UTF-16; save it as UTF-8 and run again").format(path=path)
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        try:
            raw.decode("cp949")
        except UnicodeDecodeError:
            kind = _("not UTF-8")
        else:
            kind = _("not UTF-8 but CP949 (EUC-KR)")
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            _(
                "{path}, line {line}: {kind}; save the file as UTF-8 and run again"
            ).format(path=path, line=line, kind=kind)
        ) from error


def read_yaml(path: Path, *, keep_text: KeepText) -> Document:
    """Read one YAML file.

    Args:
        path: of the file, UTF-8.
        keep_text: by the path of a scalar, whether it stays as written; the
            key of a mapping counts as the path of the mapping.

    Raises:
        ConfigError: unreadable, not YAML, a tag, an alias, a key written twice.
    """
    return parse_yaml(read_text_file(path), name=str(path), keep_text=keep_text)


def parse_yaml(text: str, *, name: str, keep_text: KeepText) -> Document:
    """Parse YAML; `name` stands for the file in errors. See `read_yaml`."""
    lines: dict[Path_, int] = {}
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None, lines)
        _walk(node, (), keep_text, lines)
        values = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_explain(error, name)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            _(
                "{path}, line {line}: a control character {code}; delete it and run again"
            ).format(path=name, line=line, code=f"U+{error.character:04X}")
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(
            _("{path}: a number has too many digits; shorten it").format(path=name)
        ) from error
    finally:
        if loader is not None:
            loader.dispose()
    return Document(values, lines)


def _walk(
    node: yaml.Node, path: Path_, keep_text: KeepText, lines: dict[Path_, int]
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _at(key.start_mark, _("a key must be one word"))
            if key.tag.startswith("tag:yaml.org,2002:") and keep_text(path):
                key.tag = _STR
            if key.value in seen:
                raise _at(
                    key.start_mark,
                    _("key {key!r} is written twice; keep one").format(key=key.value),
                )
            seen.add(key.value)
            lines[(*path, key.value)] = key.start_mark.line + 1
            _walk(value, (*path, key.value), keep_text, lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _walk(item, (*path, position), keep_text, lines)
    elif node.tag in _IMPLICIT and keep_text(path):
        node.tag = _STR


_IMPLICIT = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float")}


def _explain(error: yaml.MarkedYAMLError, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = (
        _("{path}, line {line}, column {column}").format(
            path=name, line=mark.line + 1, column=mark.column + 1
        )
        if mark is not None
        else name
    )
    return f"{where}: {_problem(error)}"


def _problem(error: yaml.MarkedYAMLError) -> str:
    text = error.problem or error.context or ""
    if isinstance(error, _Refused):
        return text
    if r"'\t'" in text:
        return _("a tab; indent with spaces")
    if "could not determine a constructor for the tag" in text:
        return _("a tag ({text}); plain values only").format(text=text.split("'")[1])
    if "expected a single document" in (error.context or ""):
        return _("a second document (---); keep one")
    for sign, words in (
        (
            "mapping values are not allowed",
            _(
                "a colon where none may stand; check the indentation, or put the value in quotes"
            ),
        ),
        ("expected <block end>", _("this line is not indented like its neighbours")),
        ("could not find expected ':'", _("a key without a colon; write key: value")),
        ("did not find expected ',' or ']'", _("a list that is not closed with ]")),
        ("expected ',' or ']'", _("a list that is not closed with ]")),
        ("expected ',' or '}'", _("a block that is not closed with }")),
        ("found unexpected end of stream", _("quotes that are not closed")),
    ):
        if sign in text:
            return words
    return _("not YAML: {text}").format(text=text)
