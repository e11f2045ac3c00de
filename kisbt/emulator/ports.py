"""The sockets of an emulator: opened, closed, and opened again after a restart."""

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from kisbt.emulator.links import LinkedHttp, protocol_config
from kisbt.errors import KisbtError
from kisbt.text import _

HOST = "127.0.0.1"
"""The emulator never listens to another machine."""

_BACKLOG = 512
_FAREWELL_S = 0.5


@dataclass(slots=True)
class Port:
    """A port of this machine.

    Attributes:
        number: 0 until it is taken.
    """

    config: Config
    scheme: str
    number: int
    state: ServerState = field(default_factory=ServerState)
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.scheme}://{HOST}:{self.number}"


class Ports:
    """All ports of an emulator."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Have none yet; REST ports speak TLS when a context is given."""
        self.all: list[Port] = []
        self._tls = tls
        self._busy = asyncio.Lock()

    def add(self, app: Any, scheme: str, number: int) -> Port:
        """Note a port to be opened; 0 takes any free one."""
        port = Port(protocol_config(app), scheme, number)
        self.all.append(port)
        return port

    async def open(self) -> None:
        """Accept connections on every port.

        Raises:
            KisbtError: a port is taken.
        """
        for port in self.all:
            port.server = await self._listen(port)

    async def _listen(self, port: Port) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        # With the protocol named, asyncio sends at once (TCP_NODELAY) on its sockets.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port.number))
        except OSError as error:
            sock.close()
            raise KisbtError(
                _("port {number} cannot be used: {why}").format(
                    number=port.number, why=error.strerror
                )
            ) from error
        port.number = sock.getsockname()[1]
        return await loop.create_server(
            lambda: LinkedHttp(port.config, port.state, {}, loop),
            sock=sock,
            ssl=self._tls if port.scheme == "https" else None,
            backlog=_BACKLOG,
        )

    async def close(self) -> None:
        """Accept nothing more and end every connection."""
        for port in self.all:
            if port.server is not None:
                port.server.close()
                port.server = None
            for connection in list(port.state.connections):
                transport = getattr(connection, "transport", None)
                if transport is not None:
                    transport.abort()
        # One turn for the transports to tell their protocols.
        await asyncio.sleep(0)

    async def restart(self, *, seconds: float) -> None:
        """End every connection and accept none for some seconds of wall time."""
        async with self._busy:
            await self.close()
            await asyncio.sleep(seconds)
            await self.open()

    async def finish(self) -> None:
        """Close for good and wait for the applications to end."""
        await self.close()
        tasks = {task for port in self.all for task in port.state.tasks}
        if not tasks:
            return
        # Most end by themselves once their client is gone; scripted waits do not.
        _done, late = await asyncio.wait(tasks, timeout=_FAREWELL_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
