"""Every call by its name, for a server that looks them up."""

from collections.abc import Mapping
from typing import Any, Final

from kisbt.kis.wire import market, trading
from kisbt.kis.wire.rest import RestCall

CALLS: Final[Mapping[str, RestCall[Any, Any]]] = {
    value.name: value
    for module in (trading, market)
    for value in vars(module).values()
    if isinstance(value, RestCall)
}
"""Endpoint name to call; the token calls are in `wire.auth`."""
