"""Bars that feed indicators only: the strategy is not called on them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

_CALLS = ("next", "nextstart", "prenext")
_PARTS = ("params", "lines", "plotinfo", "plotlines")


class Gate:
    """Marks a class of `hold_until`; `_notify` of its object opens the gate.

    Attributes:
        first_bar: date number of the first bar of which the strategy hears.
    """

    first_bar = 0.0


def hold_until(strategy_class: type[Any], first: float) -> type[Any]:
    """Return the class with a gate: no `next` before date number `first`.

    The class keeps its name and parameters. `nextstart` is called on the first
    bar on which `next` would be, as backtrader does without a gate.

    Args:
        strategy_class: a `bt.Strategy`.
        first: END of the first tradable bar; infinity never opens the gate.
    """
    known: Any = strategy_class
    gated, made_with = _gated(known, first)
    if _is_as_made(gated, made_with):
        return gated
    # A run has left something in the class: the next one must not find it.
    return _gated.__wrapped__(strategy_class, first)[0]


@lru_cache(maxsize=8)
def _gated(strategy_class: type[Any], first: float) -> tuple[type[Any], dict[str, Any]]:
    """Return the class of `hold_until` and its attributes; a search needs it often."""

    class Gated(strategy_class, Gate):
        """The user's strategy behind the gate."""

        first_bar = first

        def _start(self) -> None:
            super()._start()
            for name in _CALLS:
                setattr(self, name, _nothing)

        def _notify(self, *args: Any, **kwargs: Any) -> None:
            held = self.__dict__.get("prenext") is _nothing
            if held and self.lines.datetime[0] >= first:
                for name in _CALLS:
                    delattr(self, name)
                self.next = self._first_next
            super()._notify(*args, **kwargs)

        def _first_next(self) -> None:
            # The bar on which backtrader calls nextstart may lie in the warm-up.
            del self.next
            self.nextstart()

        def nextstart(self) -> None:
            self.__dict__.pop("next", None)
            super().nextstart()

    Gated.__name__ = strategy_class.__name__
    Gated.__qualname__ = strategy_class.__qualname__
    Gated.__module__ = strategy_class.__module__
    return Gated, _attributes(Gated)


def _attributes(made: type[Any]) -> dict[str, Any]:
    """Return what hangs on a class and on the classes backtrader keeps in it."""
    found = dict(vars(made))
    for part in _PARTS:
        if isinstance(kept := getattr(made, part, None), type):
            found |= {f"{part}.{name}": value for name, value in vars(kept).items()}
    return found


def _is_as_made(gated: type[Any], made_with: dict[str, Any]) -> bool:
    """Return whether no run has put or replaced anything; values may be arrays."""
    now = _attributes(gated)
    return now.keys() == made_with.keys() and all(
        value is made_with[name] for name, value in now.items()
    )


def hold_unless(
    strategy_class: type[Any], calls_on: Callable[[float], bool]
) -> type[Any]:
    """Return the class with a gate that opens and closes by the bar.

    Used live: history, and bars that fill a gap in the stream, move the indicators
    and bring news of orders, but the strategy does not decide on them.

    Args:
        strategy_class: a `bt.Strategy`.
        calls_on: tells by a bar's date number whether the strategy is called.
    """

    class Gated(strategy_class, Gate):
        """The user's strategy behind the gate."""

        def _start(self) -> None:
            super()._start()
            self._has_begun = False
            self._shut()

        def _shut(self) -> None:
            for name in _CALLS:
                setattr(self, name, _nothing)

        def _notify(self, *args: Any, **kwargs: Any) -> None:
            if calls_on(self.lines.datetime[0]):
                for name in _CALLS:
                    self.__dict__.pop(name, None)
                if not self._has_begun:
                    self.next = self._first_next
            else:
                self._shut()
            super()._notify(*args, **kwargs)

        def _first_next(self) -> None:
            # The bar on which backtrader calls nextstart may lie in the warm-up.
            self.nextstart()

        def nextstart(self) -> None:
            self._has_begun = True
            self.__dict__.pop("next", None)
            super().nextstart()

    Gated.__name__ = strategy_class.__name__
    Gated.__qualname__ = strategy_class.__qualname__
    Gated.__module__ = strategy_class.__module__
    return Gated


def _nothing() -> None:
    """Stand in for a call during warm-up."""
