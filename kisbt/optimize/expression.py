"""Conditions of a configuration as values: parsed, never executed as code."""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kisbt.errors import ConfigError
from kisbt.text import _

# No power: 9**9**9 would never end.
_ARITHMETIC: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_UNARY: Mapping[type[ast.AST], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_MAX_LENGTH = 500

Evaluate = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition such as ``ma_short < ma_long``.

    Attributes:
        text: as written.
        names: the names it reads.
    """

    text: str
    names: frozenset[str]
    _evaluate: Evaluate

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether it holds; not when a value it needs is None.

        Raises:
            ConfigError: the values cannot be compared or computed with.
        """
        if any(values.get(name) is None for name in self.names):
            return False
        try:
            return bool(self._evaluate(values))
        except (TypeError, ArithmeticError, ValueError) as error:
            raise ConfigError(
                _("condition {text!r} cannot be computed: {error}").format(
                    text=self.text, error=error
                )
            ) from error


def parse_condition(
    text: str, known: Mapping[str, Any] | set[str], key: str
) -> Condition:
    """Return a condition; only arithmetic, comparison, and, or, not are known.

    Args:
        text: such as ``ma_short < ma_long and rsi_period >= 5``.
        known: the names it may read.
        key: where it stands in the configuration, for the message.

    Raises:
        ConfigError: it is no such condition, or reads an unknown name.
    """
    names: set[str] = set()
    try:
        if len(text) > _MAX_LENGTH:
            raise SyntaxError(_("it is too long"))
        tree = ast.parse(text.strip(), mode="eval").body
        if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
            raise SyntaxError(_("it compares nothing"))
        evaluate = _compile(tree, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            _(
                "{key}: {text!r} is no condition such as ma_short < ma_long: {problem}"
            ).format(key=key, text=text, problem=getattr(error, "msg", None) or error),
            path=key,
        ) from error
    for name in sorted(names - set(known)):
        raise ConfigError(
            _(
                "{key}: {text!r} reads {name}, which is not known; known: {known}"
            ).format(key=key, text=text, name=name, known=", ".join(sorted(known))),
            path=key,
        )
    return Condition(text, frozenset(names), evaluate)


def _compile(node: ast.expr, names: set[str]) -> Evaluate:
    """Return a function of the values; note the names it reads."""
    match node:
        case ast.Constant(value=value) if isinstance(value, int | float | str):
            return lambda _values: value
        case ast.Name(id=name):
            names.add(name)
            return lambda values: values[name]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            items = [_compile(part, names) for part in parts]
            return lambda values: [item(values) for item in items]
        case _:
            return _operation(node, names)


def _operation(node: ast.expr, names: set[str]) -> Evaluate:
    match node:
        case ast.UnaryOp(op=op, operand=inner) if type(op) in _UNARY:
            unary, value_of = _UNARY[type(op)], _compile(inner, names)
            return lambda values: unary(value_of(values))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            binary = _ARITHMETIC[type(op)]
            a, b = _compile(left, names), _compile(right, names)
            return lambda values: _number(
                binary(_number(a(values)), _number(b(values)))
            )
        case ast.BoolOp(op=op, values=parts):
            terms = [_compile(part, names) for part in parts]
            every = all if isinstance(op, ast.And) else any
            return lambda values: every(term(values) for term in terms)
        case ast.Compare():
            return _comparison(node, names)
    raise SyntaxError(_("{part!r} is not allowed here").format(part=ast.unparse(node)))


def _number(value: Any) -> Any:
    # "a" * 10**9 would fill the memory.
    if not isinstance(value, int | float):
        raise TypeError(_("{value!r} is no number").format(value=value))
    return value


def _comparison(node: ast.Compare, names: set[str]) -> Evaluate:
    """Return a chain such as ``1 < a <= b``."""
    for op in node.ops:
        if type(op) not in _COMPARISONS:
            raise SyntaxError(_("only < <= > >= == != in are known"))
    operators = [_COMPARISONS[type(op)] for op in node.ops]
    sides = [_compile(part, names) for part in (node.left, *node.comparators)]

    def evaluate(values: Mapping[str, Any]) -> bool:
        found = [side(values) for side in sides]
        return all(
            compare(left, right)
            for compare, left, right in zip(operators, found, found[1:], strict=False)
        )

    return evaluate
