"""A REST server on a real socket that does to each request what a test tells it.

A behaviour is a function of a `Connection` that has received one whole request.
"""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from kisbt.clock import SystemClock


class Connection:
    """One accepted connection and the request it brought."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.sock = sock
        self.stopping = stopping
        self.head = b""
        self.body = b""

    @property
    def path(self) -> str:
        return self.head.split(b" ")[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}

    def json(self) -> dict[str, str]:
        return json.loads(self.body or b"{}")

    def read(self) -> bool:
        """Read one request; False if the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.sock.recv(65536)
            if not part:
                return False
            data += part
        self.head, self.body = data.split(b"\r\n\r\n", 1)
        length = int(self.headers.get("content-length", "0"))
        while len(self.body) < length:
            self.body += self.sock.recv(65536)
        return True

    def reset(self) -> None:
        """Drop the connection with RST."""
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.sock.close()

    def send(self, status: int, body: bytes, headers: str = "") -> None:
        text = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.sock.sendall(text.encode() + body)


Behaviour = Callable[[Connection], None]


def answer(
    content: object, *, status: int = 200, headers: str = "tr_cont: D\r\n"
) -> Behaviour:
    """Answer with JSON."""
    body = json.dumps(content, ensure_ascii=False).encode()
    return lambda connection: connection.send(status, body, headers)


def text(body: bytes, *, status: int = 200, headers: str = "") -> Behaviour:
    """Answer with anything."""
    return lambda connection: connection.send(status, body, headers)


def close(connection: Connection) -> None:
    """Close after the request was read."""
    connection.sock.close()


def reset(connection: Connection) -> None:
    """Reset after the request was read."""
    connection.reset()


def hang(connection: Connection) -> None:
    """Never answer."""
    connection.stopping.wait(30)


def drip(connection: Connection) -> None:
    """Send one byte of the answer every 50 ms, the status line included."""
    for byte in b"HTTP/1.1 200 X\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000:
        if connection.stopping.wait(0.05):
            return
        try:
            connection.sock.sendall(bytes([byte]))
        except OSError:
            return


def truncate(connection: Connection) -> None:
    """Announce more bytes than are sent."""
    connection.sock.sendall(b'HTTP/1.1 200 X\r\nContent-Length: 500\r\n\r\n{"rt_cd"')
    connection.sock.close()


class Loopback:
    """The server: `script` is used up request by request, then `usual` answers."""

    def __init__(
        self,
        usual: Behaviour | None = None,
        *,
        script: list[Behaviour] | None = None,
        reset_unread: bool = False,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.usual = usual or answer({"rt_cd": "0"})
        self.script = list(script or [])
        self.requests: list[Connection] = []
        self.accepted = 0
        self.arrivals: list[float] = []
        self._reset_unread = reset_unread
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def bodies(self, path: str) -> list[dict[str, str]]:
        """What was sent to a path."""
        return [item.json() for item in self.requests if item.path.endswith(path)]

    def __enter__(self) -> "Loopback":
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(5)

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._spawn(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0.2)
        with contextlib.suppress(OSError, ssl.SSLError), contextlib.closing(sock):
            if self._tls is not None:
                sock.settimeout(5)
                sock = self._tls.wrap_socket(sock, server_side=True)
                sock.settimeout(0.2)
            self._talk(sock)
            sock.close()

    def _talk(self, sock: socket.socket) -> None:
        while not self._stopping.is_set():
            sock.settimeout(0.2)
            try:
                waiting = isinstance(sock, ssl.SSLSocket) or sock.recv(
                    1, socket.MSG_PEEK
                )
            except TimeoutError:
                continue
            if not waiting:
                return
            connection = Connection(sock, self._stopping)
            if self._reset_unread:
                connection.reset()
                return
            sock.settimeout(5)
            if not connection.read():
                return
            with self._lock:
                self.requests.append(connection)
                self.arrivals.append(SystemClock().monotonic())
                behaviour = self.script.pop(0) if self.script else self.usual
            behaviour(connection)
            if sock.fileno() < 0:
                return
