"""Connections to one server, made of sockets that keep the deadline.

Queries go over connections that are kept, by way of `requests`. An order has a
connection of its own (see `HttpRequest.fresh`), made by `urllib3` directly: neither
library's pool is of use for one request, and each takes as long as all the rest of
the way of an order through kisbt.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import (
    BaseHTTPResponse,
    HTTPConnectionPool,
    HTTPSConnectionPool,
    PoolManager,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from kisbt.clock import SystemClock
from kisbt.kis.servers import Server
from kisbt.kis.sockets import Exchange, WatchedSocket, WatchedTlsSocket
from kisbt.text import _

_clock = SystemClock()  # of the machine, as sockets wait
# No server ends a connection for so short a silence.
_SILENT_S = 1.0
_TURNS = 3


class KeptAdapter(HTTPAdapter):
    """Connections that are kept alive, to one server only."""

    def __init__(self, server: Server, *, connections: int) -> None:
        """Make none yet; at most `connections` are kept."""
        self._server = server
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=connections)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: Any
    ) -> None:
        """Make the pool, with our own sockets."""
        super().init_poolmanager(
            connections, maxsize, block, ssl_context=_tls_context(), **options
        )
        manager = cast("PoolManager", self.poolmanager)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def send(  # type: ignore[override] # the options are passed on as they are
        self, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        """Send, unless the address is another server's.

        Raises:
            requests.exceptions.InvalidURL: it is.
        """
        url = request.url or ""
        if not self._server.allows(url):
            raise requests.exceptions.InvalidURL(_("not on the list"))
        return super().send(request, **options)


class OneShot:
    """Requests that have a connection of their own each, to one server only."""

    def __init__(
        self, server: Server, *, connect_s: float, read_s: float, ca_file: str | None
    ) -> None:
        """Connect to nothing yet.

        Args:
            server: where everything goes.
            connect_s, read_s: longest wait for a connection, and for a byte.
            ca_file: certificates to trust instead of the usual ones, a file.
        """
        parts = urlsplit(server.rest_url)
        assert parts.hostname is not None, "Server has checked its address"
        self._host, self._port = parts.hostname, parts.port
        self._connect_s, self._read_s = connect_s, read_s
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = _tls_context()
            # Read once: with each connection it would cost more than the handshake.
            self._tls.load_verify_locations(ca_file or certifi.where())

    @contextmanager
    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        leave: Callable[[], str] | None = None,
    ) -> Iterator[BaseHTTPResponse]:
        """Send a request over a new connection; yield what is to be read.

        Args:
            method: for example POST.
            target: path and query, beginning with a slash.
            headers: of the request; `Connection: close` is added.
            body: None for none.
            leave: called right before the first byte, all else done already; returns
                why nothing is to leave, "" to let it go. Called again when it took so
                long that the connection was made anew.

        Raises:
            StaysError: `leave` said so.
            HTTPError, OSError, http.client.HTTPException, ValueError: it failed; the
                exchange under way knows whether anything left.
        """
        for _turn in range(_TURNS):
            connection = self._connection()
            try:
                connection.connect()
                connection.timeout = self._read_s
                connection.leave = leave
                # A server that has closed its ear may have answered before.
                with suppress(BrokenPipeError):
                    connection.request(
                        method,
                        target,
                        body=body,
                        headers={**headers, "Connection": "close"},
                        preload_content=False,
                    )
                response = connection.getresponse()
                try:
                    yield response
                finally:
                    response.close()
            except _GrewOldError:
                continue  # the next call of `leave` has less to wait for
            finally:
                connection.close()
            return
        raise TimeoutError("the connections grew old")

    def _connection(self) -> "_Connection | _TlsConnection":
        if self._tls is None:
            return _Connection(self._host, self._port, timeout=self._connect_s)
        return _TlsConnection(
            self._host, self._port, timeout=self._connect_s, ssl_context=self._tls
        )


class StaysError(Exception):
    """The request is not to leave; the text says why."""


class _GrewOldError(Exception):
    """A server may be about to close a connection that has been silent for long."""


class _Leaving(HTTPConnection):
    """A connection that asks before the first byte leaves.

    Attributes:
        leave: see `OneShot.exchange`.
    """

    leave: Callable[[], str] | None = None

    def send(self, data: Any) -> None:
        """Send what a request is made of; the first part waits for `leave`."""
        if self.leave is not None:
            began_s = _clock.monotonic()
            why = self.leave()
            if why:
                raise StaysError(why)
            Exchange.restart()
            if _clock.monotonic() - began_s >= _SILENT_S:
                raise _GrewOldError
            self.leave = None  # only now: nothing leaves here after a refusal
        super().send(data)


def _tls_context() -> ssl.SSLContext:
    """Return a context that verifies, and makes our own sockets."""
    context = create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
    context.sslsocket_class = WatchedTlsSocket
    return context


class _Connection(_Leaving):
    """A plain connection, to the emulator."""

    def connect(self) -> None:
        """Connect, and let the exchange know that it is watched."""
        Exchange.connecting()
        super().connect()

    def _new_conn(self) -> Any:
        return WatchedSocket.adopt(super()._new_conn())


class _TlsConnection(_Leaving, HTTPSConnection):
    """A connection with TLS."""

    def connect(self) -> None:
        """Connect, and let the exchange know that it is watched."""
        Exchange.connecting()
        super().connect()
        if not isinstance(self.sock, WatchedTlsSocket):
            Exchange.unwatched()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
