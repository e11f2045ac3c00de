"""Backtest and trade Korean stocks with one backtrader strategy class."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> module that defines it. Resolved on first use (PEP 562), so
# that helpers which need neither backtrader nor pandas start without them.
_EXPORTS: dict[str, str] = {
    "Backtest": "kisbt.app.backtest",
    "CandleFeed": "kisbt.bt.feed",
    "CandleStore": "kisbt.candles.store",
    "KrxBackBroker": "kisbt.bt.backbroker",
    "backtest": "kisbt.app.backtest",
    "load_config": "kisbt.config.load",
    "skip_entry": "kisbt.bt.sizers",
    "whole_shares": "kisbt.bt.sizers",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'kisbt' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    """List the public names, those not yet imported included."""
    return sorted({*globals(), *__all__})
