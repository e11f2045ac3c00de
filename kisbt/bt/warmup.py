"""Bars that feed indicators only: the strategy is not called on them."""

from typing import Any

_CALLS = ("next", "nextstart", "prenext")


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
    return Gated


def _nothing() -> None:
    """Stand in for a call during warm-up."""
