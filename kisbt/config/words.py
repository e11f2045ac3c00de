"""Turn what pydantic found into one line a person can act on."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from kisbt.text import _

MODES = frozenset({"backtest", "paper", "live"})


def nearest(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return "did you mean ...?" with the nearest known word, or ""."""
    by_lower = {item.lower(): item for item in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if not found:
        return ""
    return _("did you mean {word}?").format(word=prefix + by_lower[found[0]])


def explain_errors(
    error: ValidationError, model: type[BaseModel]
) -> list[tuple[tuple[str | int, ...], str]]:
    """Return (path, text) of every problem, unknown keys first.

    An unknown key is often why another one is missing.
    """
    found = [(_clean(item["loc"]), _explain(item, model)) for item in error.errors()]
    found.sort(key=lambda pair: pair[1].find(_("unknown key")) != 0)
    return found


def dotted(path: Iterable[str | int]) -> str:
    """Return a path as people write it: ``universe.symbols[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


# What pydantic adds to the end of a location: the branch of a union, "[key]".
_BRANCH = re.compile(r"float|int|\[key\]|(literal\[|function-|constrained-|nullable).*")


def _clean(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    while (
        location and isinstance(location[-1], str) and _BRANCH.fullmatch(location[-1])
    ):
        location = location[:-1]
    return location


def _explain(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(item["loc"], model)
    if kind == "missing":
        return _("is missing; write it")
    if kind == "value_error":
        text = str(context.get("error", item["msg"]))
        value = item["input"]
        if isinstance(value, Mapping | BaseModel | list | tuple):
            return text
        return _("found {found!r}; {text}").format(found=value, text=text)
    return _("found {found}, expected {expected}").format(
        found=_show(item["input"]), expected=_expected(kind, context, item["msg"])
    )


def _show(value: object) -> str:
    if value is None:
        return _("nothing")
    if isinstance(value, Mapping):
        return _("a block of keys")
    if isinstance(value, list | tuple):
        return _("a list")
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _expected(kind: str, context: Mapping[str, Any], message: str) -> str:
    bounds = {
        "greater_than_equal": (_("{limit} or more"), "ge"),
        "greater_than": (_("more than {limit}"), "gt"),
        "less_than_equal": (_("{limit} or less"), "le"),
        "less_than": (_("less than {limit}"), "lt"),
    }
    if kind in bounds:
        words, key = bounds[kind]
        return words.format(limit=f"{context[key]:,}".removesuffix(".0"))
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "").replace(" or ", _(" or "))
    for start, words in (
        ("int_", _("a whole number")),
        ("float_", _("a number")),
        ("finite_number", _("a number")),
        ("bool_", _("true or false")),
        ("string_", _("text")),
        ("datetime_", _("a date, or a date and time such as 2025-11-03 09:00")),
        ("date_", _("a date such as 2020-01-31")),
        ("tuple_", _("a list")),
        ("list_", _("a list")),
        ("dict_", _("a block of keys")),
        ("model_", _("a block of keys")),
    ):
        if kind.startswith(start):
            return words
    return message


def _unknown_key(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    key = str(location[-1])
    section = _section(model, location[:-1])
    if _differs_by_mode(location):
        return _(
            "unknown key; strategy parameters are the same in every mode: write them "
            "under strategy.params"
        )
    known = _keys(section)
    inside = "".join(f"{part}." for part in location[:-1])
    hint = nearest(key, known, prefix=inside) or _elsewhere(key, model)
    if not hint and location[:-1] == ("strategy",):
        hint = _("a parameter stands under strategy.params")
    if not hint:
        hint = _("known here: {keys}").format(keys=", ".join(known))
    return _("unknown key; {hint}").format(hint=hint)


def _keys(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _differs_by_mode(location: tuple[str | int, ...]) -> bool:
    parts = {str(part) for part in location}
    return bool(parts & MODES) and (
        location[-1] in {"params", "strategy", "strategies"}
        or (location[0] == "strategy" and location[-1] in MODES)
    )


def _section(
    model: type[BaseModel], location: tuple[str | int, ...]
) -> type[BaseModel]:
    for part in location:
        for name, field in model.model_fields.items():
            if part in {name, field.alias}:
                inner = _model_of(field.annotation)
                if inner is not None:
                    model = inner
    return model


def _model_of(annotation: object) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _elsewhere(key: str, model: type[BaseModel]) -> str:
    """Return a hint when the key belongs in another block, or ""."""
    owners: dict[str, str] = {}
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        if inner is not None:
            owners.update(dict.fromkeys(_keys(inner), name))
    found = get_close_matches(key, owners, n=1, cutoff=0.7)
    if not found:
        return ""
    return _("did you mean {word}?").format(word=f"{owners[found[0]]}.{found[0]}")
