"""What to break, when and how often; scripted, and the same for the same seed.

A fault is a mapping, or a line such as ``http(order, 1, read_then_close)``:

    http(TR, NTH, DO)       break a call before it is carried out; DO is refuse, rst,
                            read_then_close, hang, delay, drip, truncate, garbage,
                            html, redirect, status, no_number, lower_case, swap
                            (the answer to the order before)
    accept_then(DO)         carry an order out, then break the answer (also gw)
    gw(CODE, HTTP)          answer with a code instead of carrying the call out
    token(ttl=S|revoke|per_min=S|forget_approval)
    lag(ledger|balance, S)  queries trail the truth by S virtual seconds
    page(size=N|change_between|endless|repeat|fail)
    quirk(daily_ccld_empty|late_balance, on)
    ws(DO, N)               drop, half_open, mute, dup, reorder, delay, corrupt,
                            bad_key, multi, width, notice_width, no_ping,
                            sub_reject, mute_control, stuck_slot, flood
    ex(DO, ...)             partial, reject, cancel, vi, halt, resume, limit_lock,
                            delist, split, expire, external, route
    clock(jump|pause|speed|skew, S)

Common options: ``tr`` (a call's name, a TR id, order, notice, trade, book or *),
``nth`` (the first event that is hit), ``count`` (how many), ``rate`` and ``seed``
(instead: each event with that probability).
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kisbt.errors import InputError
from kisbt.text import _

_VERBS: Mapping[str, tuple[str, ...]] = {
    "http": ("tr", "nth", "do", "arg"),
    "accept_then": ("do", "arg"),
    "gw": ("code", "http"),
    "token": ("do",),
    "lag": ("do", "seconds"),
    "page": ("do", "arg"),
    "quirk": ("do", "on"),
    "ws": ("do", "arg"),
    "ex": ("do", "arg", "arg2", "arg3"),
    "clock": ("do", "arg"),
}
"""Verbs and the names of what may stand in them without a name."""

_ACTIONS: Mapping[str, frozenset[str]] = {
    "http": frozenset(
        [
            "refuse",
            "rst",
            "read_then_close",
            "hang",
            "delay",
            "drip",
            "truncate",
            "garbage",
            "html",
            "redirect",
            "status",
            "no_number",
            "lower_case",
            "swap",
        ]
    ),
    "accept_then": frozenset(
        [
            "rst",
            "read_then_close",
            "hang",
            "delay",
            "drip",
            "truncate",
            "garbage",
            "html",
            "redirect",
            "status",
            "gw",
            "no_number",
            "lower_case",
        ]
    ),
    "token": frozenset(["ttl", "revoke", "per_min", "forget_approval"]),
    "lag": frozenset(("ledger", "balance")),
    "page": frozenset(["size", "change_between", "endless", "repeat", "fail"]),
    "quirk": frozenset(("daily_ccld_empty", "late_balance")),
    "ws": frozenset(
        [
            "drop",
            "half_open",
            "mute",
            "dup",
            "reorder",
            "delay",
            "corrupt",
            "bad_key",
            "multi",
            "width",
            "notice_width",
            "no_ping",
            "sub_reject",
            "mute_control",
            "stuck_slot",
            "flood",
        ]
    ),
    "ex": frozenset(
        [
            "partial",
            "reject",
            "cancel",
            "vi",
            "halt",
            "resume",
            "limit_lock",
            "delist",
            "split",
            "expire",
            "external",
            "route",
        ]
    ),
    "clock": frozenset(["jump", "pause", "speed", "skew"]),
}
_LINE = re.compile(r"\s*([a-z_]+)\s*\((.*)\)\s*", re.DOTALL)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_COMMON = frozenset(("tr", "nth", "count", "rate", "seed", "symbol"))
_EVERY = 10**9


@dataclass(slots=True)
class Fault:
    """One scripted fault and how often it has struck.

    Attributes:
        target: which events count; "*" all of them.
        nth: the first event that is hit, counted from 1 since it was scripted.
        count: how many in a row are hit.
        rate: instead of `nth`, the probability that an event is hit.
        options: what else the verb needs.
    """

    verb: str
    do: str = ""
    target: str = "*"
    nth: int = 1
    count: int = 1
    rate: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    struck: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(0))

    @property
    def spent(self) -> bool:
        """Whether it will never strike again."""
        return self.struck >= self.count

    def strikes(self) -> bool:
        """Count an event it is for; whether it is hit."""
        if self.spent:
            return False
        self.seen += 1
        if self.rate is not None:
            hit = self.dice.random() < self.rate
        else:
            hit = self.seen >= self.nth
        self.struck += hit
        return hit

    def number(self, name: str, default: float) -> float:
        """Return an option as a number.

        Raises:
            InputError: it is none.
        """
        value = self.options.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(
                _("fault {verb}: {name} {found!r}: expected a number").format(
                    verb=self.verb, name=name, found=value
                )
            )
        return float(value)

    def word(self, name: str, default: str = "") -> str:
        """Return an option as text."""
        return str(self.options.get(name, default))

    def as_json(self) -> dict[str, Any]:
        """Return it as the control plane shows it."""
        return {
            "verb": self.verb,
            "do": self.do,
            "tr": self.target,
            "nth": self.nth,
            "count": self.count,
            "seen": self.seen,
            "struck": self.struck,
            **self.options,
        }


class FaultPlan:
    """The faults in force."""

    def __init__(self) -> None:
        """Break nothing."""
        self.faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Script a fault; its counting begins now."""
        self.faults.append(fault)

    def clear(self) -> None:
        """Break nothing any more."""
        self.faults.clear()

    def strike(self, verb: str, names: Iterable[str], *, do: str = "") -> Fault | None:
        """Count an event; return the first fault that hits it.

        Args:
            verb: of the faults concerned.
            names: under which the event goes: call, TR id, kind.
            do: only faults that do this.
        """
        if not self.faults:
            return None
        known = {"*", *names}
        hit = None
        for fault in self.faults:
            if fault.verb != verb or (do and fault.do != do):
                continue
            if fault.target in known and fault.strikes():
                hit = hit or fault
        return hit

    def standing(self, verb: str, do: str) -> Fault | None:
        """Return the fault that is in force until cleared; None without one."""
        for fault in reversed(self.faults):
            if fault.verb == verb and fault.do == do:
                return fault
        return None


def parse_faults(script: object) -> list[Fault]:
    """Return the faults of a script: a list, or one of them alone.

    Raises:
        InputError: something in it is no fault; says what was expected.
    """
    items = script if isinstance(script, list) else [script]
    return [parse_fault(item) for item in items]


def parse_fault(item: object) -> Fault:
    """Return the fault written as a line or as a mapping.

    Raises:
        InputError: it is none.
    """
    values = _read_line(item) if isinstance(item, str) else item
    if not isinstance(values, Mapping):
        raise InputError(
            _("fault {found!r}: expected a line such as {example} or a mapping").format(
                found=item, example="http(order, 1, rst)"
            )
        )
    return _fault({str(key): value for key, value in values.items()})


def _fault(values: dict[str, Any]) -> Fault:
    verb = str(values.pop("verb", ""))
    if verb not in _VERBS:
        raise InputError(
            _("fault {found!r}: expected one of {known}").format(
                found=verb, known=", ".join(_VERBS)
            )
        )
    do = str(values.pop("do", "gw" if verb == "gw" else ""))
    actions = _ACTIONS.get(verb)
    if actions is not None and do not in actions:
        raise InputError(
            _("fault {verb}({found}): expected one of {known}").format(
                verb=verb, found=do, known=", ".join(sorted(actions))
            )
        )
    # Only orders are ever accepted and then left in the dark, unless one says so.
    default = "order" if verb == "accept_then" or verb == "ex" else "*"
    target = str(values.pop("tr", default))
    nth = values.pop("nth", 1)
    every = nth == "*"
    fault = Fault(
        verb=verb,
        do=do,
        target=target,
        nth=1 if every else _whole(verb, "nth", nth),
        count=_whole(verb, "count", values.pop("count", _EVERY if every else 1)),
        rate=None,
        dice=random.Random(values.pop("seed", 0)),
    )
    rate = values.pop("rate", None)
    fault.options = values
    if rate is not None:
        fault.options["rate"] = rate
        fault.rate = fault.number("rate", 0.0)
        fault.count = _EVERY if fault.count == 1 else fault.count
    return fault


def _whole(verb: str, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(
            _("fault {verb}: {name} {found!r}: expected 1 or more").format(
                verb=verb, name=name, found=value
            )
        )
    return value


def _read_line(line: str) -> dict[str, Any]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise InputError(
            _("fault {found!r}: expected a line such as {example}").format(
                found=line, example="http(order, 1, rst)"
            )
        )
    verb, inside = found.groups()
    values: dict[str, Any] = {"verb": verb}
    names = list(_VERBS.get(verb, ()))
    for part in _parts(inside):
        key, equals, value = part.partition("=")
        nested = _LINE.fullmatch(part)
        if nested is not None and nested.group(1) == "gw":
            values.update(_read_line(part), verb=verb, do="gw")
        elif equals and key.strip().isidentifier():
            _name(values, verb, key.strip(), _value(value))
        elif names:
            _name(values, verb, names.pop(0), _value(part))
    return values


def _name(values: dict[str, Any], verb: str, key: str, value: Any) -> None:
    # token(ttl=60) and page(size=15): the action is named by its value.
    if verb in {"token", "page"} and key in _ACTIONS[verb]:
        values["do"] = key
        values["arg"] = value
    else:
        values[key] = value


def _parts(text: str) -> list[str]:
    """Split at commas and, within a part, at blanks: ``hang 15`` is two."""
    depth = 0
    parts = [""]
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter in ", " and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part]


def _value(text: str) -> Any:
    word = text.strip().strip("'\"")
    if _NUMBER.fullmatch(word):
        return float(word) if "." in word else int(word)
    return {"true": True, "false": False, "on": True, "off": False}.get(word, word)
