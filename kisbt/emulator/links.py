"""uvicorn's protocols, with the socket in reach: scripted faults break it."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from websockets.frames import Frame


@dataclass(slots=True)
class Link:
    """One connection.

    Attributes:
        heard: loop time of the last control PONG.
    """

    transport: asyncio.Transport | None = None
    heard: float = 0.0


def link_of(scope: Any) -> Link:
    """Return the connection a request came over."""
    found = scope.get("state", {}).get("link")
    return found if isinstance(found, Link) else Link()


class LinkedHttp(H11Protocol):
    """HTTP on a connection that the application can reach."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note the transport."""
        self.app_state["link"] = Link(transport)
        super().connection_made(transport)


class LinkedWebSocket(WebSocketsSansIOProtocol):
    """A websocket whose control PONG frames are noted.

    Some clients answer the broker's PINGPONG text by such a frame.
    """

    def handle_pong(self, event: Frame) -> None:
        """Note when the client was last heard."""
        link = cast("Link | None", self.app_state.get("link"))
        if link is not None:
            link.heard = self.loop.time()
        super().handle_pong(event)


def protocol_config(app: Any) -> Config:
    """Return the settings both kinds of ports use."""
    return Config(
        app,
        http=LinkedHttp,
        ws=LinkedWebSocket,
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        ws_max_size=64 * 1024,
        timeout_keep_alive=600,
        interface="asgi3",
    )
