"""Sockets that keep a total deadline and remember whether they sent anything.

The timeout of a socket is for one byte: a server that sends one every few seconds
holds a caller for ever. Here every wait is cut to what is left of the exchange.
"""

import socket
import ssl
import threading
from typing import Any, Self

from kisbt.clock import SystemClock

_clock = SystemClock()


class _Local(threading.local):
    exchange: "Exchange | None" = None


_local = _Local()


class Exchange:
    """One request and its reply, as the sockets of this thread see it.

    Attributes:
        sent: a socket was given bytes of the request to send.
        watched: the connection was made during the exchange by our own sockets,
            so that `sent` being false is a proof.
    """

    __slots__ = ("_deadline_s", "_read_s", "_total_s", "sent", "watched")

    def __init__(self, read_s: float, total_s: float) -> None:
        self._read_s = read_s
        self._total_s = total_s
        self._deadline_s = _clock.monotonic() + total_s
        self.sent = False
        self.watched = False

    @classmethod
    def start(cls, read_s: float, total_s: float) -> Self:
        """Begin an exchange on this thread.

        Args:
            read_s: longest wait for a byte.
            total_s: seconds after which all of it must be over.
        """
        exchange = cls(read_s, total_s)
        _local.exchange = exchange
        return exchange

    def end(self) -> None:
        """Let the sockets of this thread forget it."""
        _local.exchange = None

    @property
    def nothing_left(self) -> bool:
        """Whether it is proven that not a byte of the request left."""
        return self.watched and not self.sent

    @staticmethod
    def restart() -> None:
        """Count the time from now on: what came before was no work of the server."""
        if _local.exchange is not None:
            _local.exchange.count_from_now()

    def count_from_now(self) -> None:
        """Have all of the time left."""
        self._deadline_s = _clock.monotonic() + self._total_s

    @staticmethod
    def connecting() -> None:
        """Note that a watched connection is being made."""
        if _local.exchange is not None:
            _local.exchange.watched = True

    @staticmethod
    def unwatched() -> None:
        """Note that the connection is none of ours after all."""
        if _local.exchange is not None:
            _local.exchange.watched = False

    def wait_s(self) -> float:
        """Return how long a socket may wait now.

        Raises:
            TimeoutError: the deadline has passed.
        """
        left_s = self._deadline_s - _clock.monotonic()
        if left_s <= 0:
            raise TimeoutError("the exchange took too long")
        return min(left_s, self._read_s)


class WatchedSocket(socket.socket):
    """A plain socket."""

    @classmethod
    def adopt(cls, other: socket.socket) -> "WatchedSocket":
        """Take over a connected socket."""
        timeout = other.gettimeout()
        own = cls(other.family, other.type, other.proto, fileno=other.detach())
        own.settimeout(timeout)
        return own

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        """Receive, within the deadline."""
        _keep_deadline(self)
        return super().recv_into(*arguments, **options)

    def sendall(self, *arguments: Any, **options: Any) -> None:
        """Send, within the deadline, and remember it."""
        _keep_deadline(self)
        _remember()
        super().sendall(*arguments, **options)

    def send(self, *arguments: Any, **options: Any) -> int:
        """Send, within the deadline, and remember it."""
        _keep_deadline(self)
        _remember()
        return super().send(*arguments, **options)


class WatchedTlsSocket(ssl.SSLSocket):
    """A socket with TLS; the handshake sends nothing of the request."""

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        """Receive, within the deadline."""
        _keep_deadline(self)
        return super().recv_into(*arguments, **options)

    def sendall(self, *arguments: Any, **options: Any) -> None:
        """Send, within the deadline, and remember it."""
        _keep_deadline(self)
        _remember()
        super().sendall(*arguments, **options)

    def send(self, *arguments: Any, **options: Any) -> int:
        """Send, within the deadline, and remember it."""
        _keep_deadline(self)
        _remember()
        return super().send(*arguments, **options)


def _keep_deadline(sock: socket.socket) -> None:
    if _local.exchange is not None:
        sock.settimeout(_local.exchange.wait_s())


def _remember() -> None:
    if _local.exchange is not None:
        _local.exchange.sent = True
