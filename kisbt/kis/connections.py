"""Connections to one server, made of sockets that keep the deadline.

Queries go over connections that are kept, by way of `requests`. An order has a
connection of its own (see `HttpRequest.fresh`): a socket, and the standard library's
reader of replies. A pool is of no use for one request, and the libraries' way to the
first byte takes as long as all the rest of the way of an order through kisbt.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPResponse
from typing import Any, Final, cast
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
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
# All but the end of a line, which is counted.
_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")


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
        self._host, self._authority = parts.hostname, parts.netloc
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._connect_s, self._read_s = connect_s, read_s
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = _tls_context()
            self._tls.set_alpn_protocols(["http/1.1"])
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
    ) -> Iterator[HTTPResponse]:
        """Send a request over a new connection; yield what is to be read.

        Args:
            method: for example POST.
            target: path and query, beginning with a slash.
            headers: of the request; those of the connection itself are added.
            body: None for none.
            leave: called right before the first byte, all else done already; returns
                why nothing is to leave, "" to let it go. Called again when it took so
                long that the connection was made anew.

        Raises:
            StaysError: `leave` said so.
            OSError, http.client.HTTPException, ValueError: it failed; the exchange
                under way knows whether anything left.
        """
        Exchange.connecting()  # only our own sockets from here on
        data = _request(f"{method} {target}", self._authority, headers, body)
        for _turn in range(_TURNS):
            with closing(self._connected()) as sock:
                if leave is not None and not _is_let_go(leave):
                    continue  # the next call has less to wait for
                # A server that has closed its ear may have answered before.
                with suppress(BrokenPipeError):
                    sock.sendall(data)
                with closing(HTTPResponse(sock, method=method)) as response:
                    response.begin()
                    yield response
                return
        raise TimeoutError("the connections grew old")

    def _connected(self) -> socket.socket:
        """Return a new connection whose sockets are watched."""
        try:
            plain = socket.create_connection((self._host, self._port), self._connect_s)
        except TimeoutError as error:
            raise ConnectTimeout from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock: socket.socket
            if self._tls is None:
                sock = WatchedSocket.adopt(plain)
            else:
                sock = self._tls.wrap_socket(plain, server_hostname=self._host)
            if not isinstance(sock, WatchedSocket | WatchedTlsSocket):
                Exchange.unwatched()
            sock.settimeout(self._read_s)
        except BaseException:
            plain.close()  # nothing, if another socket has taken it over
            raise
        return sock


class StaysError(Exception):
    """The request is not to leave; the text says why."""


class ConnectTimeout(TimeoutError):
    """A server does not take the connection."""


def _is_let_go(leave: Callable[[], str]) -> bool:
    """Ask `leave`; return False if the connection has grown old meanwhile.

    Raises:
        StaysError: the request is not to leave.
    """
    began_s = _clock.monotonic()
    why = leave()
    if why:
        raise StaysError(why)
    Exchange.restart()
    # A server may be about to close a connection that has been silent for long.
    return _clock.monotonic() - began_s < _SILENT_S


def _request(
    line: str, authority: str, headers: Mapping[str, str], body: bytes | None
) -> bytes:
    """Return a request as it goes over the wire (RFC 9112).

    Raises:
        ValueError: a header that HTTP cannot carry; it is not quoted.
    """
    lines = [f"{line} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close")
    head = "\r\n".join(lines)
    if _CONTROLS.search(head) or head.count("\r\n") != len(lines) - 1:
        raise ValueError("a header with a control character")
    try:
        encoded = head.encode("latin-1")
    except UnicodeEncodeError:
        encoded = b""
    if not encoded:  # raised here: the other error holds the text
        raise ValueError("a header with a character beyond latin-1")
    return encoded + b"\r\n\r\n" + (body or b"")


def _tls_context() -> ssl.SSLContext:
    """Return a context that verifies, and makes our own sockets."""
    context = create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
    context.sslsocket_class = WatchedTlsSocket
    return context


class _Connection(HTTPConnection):
    """A plain connection, to the emulator."""

    def connect(self) -> None:
        """Connect, and let the exchange know that it is watched."""
        Exchange.connecting()
        super().connect()

    def _new_conn(self) -> Any:
        return WatchedSocket.adopt(super()._new_conn())


class _TlsConnection(HTTPSConnection):
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
