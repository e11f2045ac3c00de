"""The clock of an emulator that another process owns, asked over its control plane.

For commands of a second terminal: they share the call budget of the run, which is
counted in the market's time. Where that market moves only when told, and the run that
should move it hangs, a wait here moves it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import requests

from kisbt.clock import Clock, SystemClock
from kisbt.errors import KisbtError
from kisbt.text import _

_TIMEOUT_S = 10.0
_LONGEST_WAIT_S = 0.5  # of real time, before looking again


class RemoteClock:
    """Virtual time of an emulator, one question each time it is read."""

    def __init__(self, row: Mapping[str, Any], *, wall: Clock | None = None) -> None:
        """Ask through the control plane of `row`.

        Args:
            row: what the emulator's ready file says of the server.
            wall: the machine's own clock.
        """
        self._url = f"{row['control_url']}/clock"
        self._wall = wall or SystemClock()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["authorization"] = f"Bearer {row['control_token']}"

    def now(self) -> datetime:
        """Return the virtual time of day, aware, in KST."""
        return _moment(self._ask())

    def monotonic(self) -> float:
        """Return the virtual seconds since the emulator's start."""
        seen = self._ask()
        started = datetime.fromisoformat(seen["started"])
        return (_moment(seen) - started).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Wait until virtual time has moved by `seconds`."""
        if seconds <= 0:
            return
        seen = self._ask()
        # Whole microseconds, upwards: a wait that moves nothing would never end.
        until = _moment(seen) + timedelta(microseconds=ceil(seconds * 1e6))
        while (now := _moment(seen)) < until:
            if seen["step"]:
                seen = self._ask({"to": until.isoformat()})
                continue
            speed = float(seen["speed"])
            left_s = (until - now).total_seconds()
            wait_s = left_s / speed if speed > 0 else _LONGEST_WAIT_S
            self._wall.sleep(min(wait_s, _LONGEST_WAIT_S))
            seen = self._ask()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(self, asked: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Return what the control plane says of the time, after moving it if asked."""
        try:
            answer = (
                self._session.get(self._url, timeout=_TIMEOUT_S, allow_redirects=False)
                if asked is None
                else self._session.post(
                    self._url,
                    json=dict(asked),
                    timeout=_TIMEOUT_S,
                    allow_redirects=False,
                )
            )
            answer.raise_for_status()
            found: Mapping[str, Any] = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise KisbtError(
                _("the emulator does not answer ({kind}); has its run ended?").format(
                    kind=type(error).__name__
                )
            ) from None  # the request in it carries the control token
        return found


def _moment(seen: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(seen["now"])
