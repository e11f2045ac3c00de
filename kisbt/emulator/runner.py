"""An emulator in a thread of its own, on ports of this machine."""

import asyncio
import contextlib
import json
import os
import secrets
import ssl
import tempfile
import threading
from collections.abc import Coroutine, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from kisbt.clock import EmulatorClock, SystemClock
from kisbt.emulator.control import Control
from kisbt.emulator.faults import parse_faults
from kisbt.emulator.house import House, Settings
from kisbt.emulator.levers import Levers
from kisbt.emulator.ports import Port, Ports
from kisbt.emulator.pump import Pump
from kisbt.emulator.server import RestApp
from kisbt.emulator.truth import state_of
from kisbt.model.account import Environment

_START_S = 30.0
_STOP_S = 10.0
_CALL_S = 300.0

T = TypeVar("T")


class Emulator:
    """A local KIS server for as long as the ``with`` block lasts.

    Attributes:
        settings: what it is made of.
        instance: names this emulator among all there ever were on this machine.
    """

    def __init__(
        self, settings: Settings | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            settings: by default a random walk on the mock server.
            tls: makes the REST ports speak TLS, for tests of clients.
        """
        self.settings = settings or Settings()
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._up = threading.Event()
        self._problem: BaseException | None = None
        self._stop: asyncio.Event | None = None
        self._house: House | None = None
        self._pump: Pump | None = None
        self._ports: Ports | None = None
        self._levers: Levers | None = None
        self._ready: dict[str, Any] = {}
        self.instance = secrets.token_hex(4)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Open the ports and start the clock.

        Raises:
            KisbtError: there is nothing to replay, or a port is taken.
        """
        self._thread = threading.Thread(
            target=self._run, name="kisbt-emulator", daemon=True
        )
        self._thread.start()
        if not self._up.wait(_START_S):
            raise TimeoutError("the emulator did not start")
        if self._problem is not None:
            self._thread.join(_STOP_S)
            raise self._problem

    def stop(self) -> None:
        """Close the ports and end the thread."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._problem = error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        house = House(
            self.settings, wall=SystemClock().monotonic, wall_now=SystemClock().now
        )
        pump, ports = Pump(house, loop), Ports(self._tls)
        self._house, self._pump, self._ports = house, pump, ports
        token = secrets.token_urlsafe(24)
        control = Control(house, pump, ports, token)
        self._levers = control.levers
        for fault in self.settings.faults:
            await control.levers.apply(fault, ports)
        pairs = self._add_ports(house, pump, ports, control)
        await ports.open()
        self._ready = self._describe(house, pairs, token)
        pump.begin()
        moving = loop.create_task(pump.run())
        self._up.set()
        stopping = loop.create_task(self._stop.wait())
        try:
            await asyncio.wait({moving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if moving.done():
                moving.result()
        finally:
            for task in (moving, stopping):
                task.cancel()
            await asyncio.gather(moving, stopping, return_exceptions=True)
            await ports.finish()

    def _add_ports(
        self, house: House, pump: Pump, ports: Ports, control: Control
    ) -> dict[Environment, tuple[Port, Port]]:
        scheme = "http" if self._tls is None else "https"
        rest, stream = self.settings.rest_port, self.settings.ws_port
        pairs = {}
        for number, (environment, side) in enumerate(house.sides.items()):
            app = RestApp(house, side, control, pump.catch_up)
            pairs[environment] = (
                ports.add(app, scheme, rest + number if rest else 0),
                ports.add(
                    house.hubs[environment], "ws", stream + number if stream else 0
                ),
            )
        return pairs

    def _describe(
        self, house: House, pairs: Mapping[Environment, tuple[Port, Port]], token: str
    ) -> dict[str, Any]:
        found = {}
        for environment, (rest, stream) in pairs.items():
            side = house.sides[environment]
            found[environment.value] = {
                "environment": environment.value,
                "instance": self.instance,
                "rest_url": rest.url,
                "ws_url": stream.url,
                "app_key": side.keys.app_key,
                "app_secret": side.keys.app_secret,
                "account": side.exchange.account.number,
                "hts_id": side.exchange.account.hts_id,
                "control_url": f"{rest.url}/emulator",
                "control_token": token,
                "limits": "virtual" if self.settings.counts_virtual else "wall",
            }
        if len(found) > 1:
            return {**found, "environment": "both", "instance": self.instance}
        return next(iter(found.values()))

    # What a test or a run does with it.

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def ready(self) -> dict[str, Any]:
        """Addresses, keys and account: what the ready file says."""
        return self._ready

    def side(self, environment: str = "") -> dict[str, Any]:
        """Return the addresses and keys of one server; of the only one by default."""
        if "rest_url" in self._ready:
            return self._ready
        found: dict[str, Any] = self._ready[environment or "mock"]
        return found

    @property
    def clock(self) -> EmulatorClock:
        """The market's clock, for clients in this process."""
        assert self._pump is not None, "the emulator has not started"
        return self._pump.clock

    def state(self, *, calls: bool = False) -> dict[str, Any]:
        """Return the truth: accounts, orders, fills, prices, counters.

        Args:
            calls: list every call the servers saw.
        """

        async def look() -> dict[str, Any]:
            assert self._house is not None
            assert self._pump is not None
            self._pump.catch_up()
            return state_of(self._house, self._pump, calls=calls)

        return self._call(look())

    def hold(self, moment: datetime | None) -> None:
        """Do not move past a moment (aware) by itself; None lets it go on."""
        assert self._loop is not None, "the emulator has not started"
        assert self._pump is not None, "the emulator has not started"
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._pump.hold, moment)

    def advance(self, seconds: float) -> None:
        """Move virtual time; returns when the clients' sockets have every frame."""
        self.advance_to(self.now() + timedelta(seconds=seconds))

    def advance_to(self, moment: datetime) -> None:
        """Move virtual time to a moment (aware)."""
        assert self._pump is not None
        self._call(self._pump.advance(moment))

    def next_candle_end(self) -> datetime | None:
        """Return when the next candle closes; None when none is left today."""

        async def look() -> datetime | None:
            assert self._house is not None
            return self._house.engine.next_candle_end()

        return self._call(look())

    @property
    def started(self) -> datetime:
        """Virtual time at which it began: where its clock's seconds count from."""
        assert self._house is not None, "the emulator has not started"
        return self._house.started

    @property
    def finished(self) -> bool:
        """Whether nothing is left to replay."""
        assert self._house is not None, "the emulator has not started"
        return self._house.engine.finished

    @property
    def last_session(self) -> date | None:
        """The last date that can be replayed; None if there is always another."""
        assert self._house is not None, "the emulator has not started"
        return self._house.last_session

    def frames_sent(self, environment: str = "") -> int:
        """Return the websocket frames handed to the clients of a server so far."""
        assert self._house is not None, "the emulator has not started"
        hubs = self._house.hubs
        if not environment:
            return next(iter(hubs.values())).sent
        return hubs[Environment(environment)].sent

    def frames_waiting(self, environment: str = "") -> int:
        """Return the websocket frames of a server that have not left yet."""
        assert self._house is not None, "the emulator has not started"
        hubs = self._house.hubs
        if not environment:
            return next(iter(hubs.values())).waiting
        return hubs[Environment(environment)].waiting

    def now(self) -> datetime:
        """Return virtual time, aware KST."""

        async def look() -> datetime:
            assert self._house is not None
            assert self._pump is not None
            self._pump.catch_up()
            return self._house.floor.now

        return self._call(look())

    def fault(self, *script: object) -> None:
        """Script faults, each a line or a mapping.

        Raises:
            InputError: one of them is no fault.
        """

        async def apply() -> None:
            assert self._levers is not None
            assert self._ports is not None
            for item in script:
                for fault in parse_faults(item):
                    await self._levers.apply(fault, self._ports)

        self._call(apply())

    def clear_faults(self) -> None:
        """Break nothing any more."""

        async def clear() -> None:
            assert self._levers is not None
            self._levers.clear_faults()

        self._call(clear())

    def set_account(self, **asked: Any) -> None:
        """Replace ``cash`` or ``holdings`` of an account (``environment``)."""

        async def change() -> None:
            assert self._levers is not None
            self._levers.set_account(asked)

        self._call(change())

    def external_order(self, **asked: Any) -> dict[str, Any]:
        """Order as another of the customer's programs would."""

        async def order() -> dict[str, Any]:
            assert self._levers is not None
            assert self._house is not None
            assert self._pump is not None
            self._pump.catch_up()
            found = self._levers.external_order(asked)
            self._house.flush()
            return found

        return self._call(order())

    def restart(self, *, seconds: float = 0.0) -> None:
        """End every connection and accept none for some seconds of wall time."""
        assert self._ports is not None
        self._call(self._ports.restart(seconds=seconds))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done in the emulator's thread."""
        assert self._loop is not None, "the emulator has not started"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)


def write_ready_file(path: Path, content: Mapping[str, Any]) -> None:
    """Write addresses and keys for other processes; whole or not at all, 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=2)
    Path(name).replace(path)
