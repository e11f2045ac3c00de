"""A websocket server in memory: what `KisStream` is connected to in tests.

Time is a `ManualClock`: a receive that finds nothing moves it, so that nobody waits.
"""

import threading
from collections import deque
from collections.abc import Callable
from datetime import date

from websocket import (
    WebSocketConnectionClosedException,
    WebSocketTimeoutException,
)

from kisbt.clock import ManualClock, SystemClock
from kisbt.kis.wire.crypto import NoticeCipher
from kisbt.kis.wire.fields import NOTICE_TRS
from kisbt.kis.wire.stream import (
    Confirmation,
    Ping,
    Registration,
    decode_registration,
    encode_confirmation,
    encode_notices,
    encode_ping,
)
from kisbt.model.order import Notice

DROP = object()


class FakeSocket:
    """One connection; `frames` are what the server sends next."""

    def __init__(self, server: "FakeServer") -> None:
        self.server = server
        self.frames: deque[object] = deque()
        self.sent: list[str] = []
        self.closed = False
        self.registered: dict[tuple[str, str], None] = {}
        self.ciphers: dict[str, NoticeCipher] = {}
        self.wait = 0.2
        self.last = server.clock.monotonic()

    def settimeout(self, timeout: float | None) -> None:
        self.wait = timeout or 0.0

    def send(self, payload: str) -> int:
        self.sent.append(payload)
        self.server.heard(self, payload)
        return len(payload)

    def recv_data(self, control_frame: bool = False) -> tuple[int, bytes]:
        if not self.frames:
            self.server.idle(self)
        now = self.server.clock.monotonic()
        if not self.frames and self.server.pings and now - self.last >= 9:
            self.frames.append(encode_ping(self.server.clock.now()))
        if not self.frames:
            self.server.clock.sleep(self.wait)
            SystemClock().sleep(0.0002)
            raise WebSocketTimeoutException("nothing")
        self.last = now
        frame = self.frames.popleft()
        if frame is DROP:
            raise WebSocketConnectionClosedException("lost")
        return 1, frame if isinstance(frame, bytes) else str(frame).encode()

    def close(self) -> None:
        self.closed = True


class FakeServer:
    """Answers registrations as KIS does; a test decides what else happens."""

    def __init__(self, clock: ManualClock, *, day: date = date(2026, 11, 20)) -> None:
        self.clock = clock
        self.day = day
        self.sockets: list[FakeSocket] = []
        self.times: list[float] = []
        self.idle: Callable[[FakeSocket], None] = lambda _socket: None
        self.answer: Callable[[FakeSocket, Registration], str | None] = self.confirm
        self.refuse_connect = 0
        self.pings = True
        self._keys = 0
        self.opened = threading.Event()

    def connect(self, url: str) -> FakeSocket:
        self.times.append(self.clock.monotonic())
        if self.refuse_connect:
            self.refuse_connect -= 1
            raise ConnectionRefusedError
        socket = FakeSocket(self)
        self.sockets.append(socket)
        self.opened.set()
        return socket

    def heard(self, socket: FakeSocket, payload: str) -> None:
        request = decode_registration(payload)
        if isinstance(request, Ping):
            return
        assert isinstance(request, Registration), request
        text = self.answer(socket, request)
        if text is not None:
            socket.frames.append(text)

    def confirm(self, socket: FakeSocket, request: Registration) -> str:
        place = (request.tr_id, request.tr_key)
        if not request.register:
            socket.registered.pop(place, None)
            return self.say(request, "OPSP0001", "UNSUBSCRIBE SUCCESS")
        socket.registered[place] = None
        key = iv = ""
        if request.tr_id in NOTICE_TRS:
            self._keys += 1
            key, iv = f"{self._keys:032}", f"{self._keys:016}"
            socket.ciphers[request.tr_id] = NoticeCipher(key, iv)
        answer = Confirmation(
            request.tr_id, request.tr_key, True, "OPSP0000", "SUBSCRIBE SUCCESS"
        )
        return encode_confirmation(answer, key=key, iv=iv)

    @staticmethod
    def say(request: Registration, code: str, words: str) -> str:
        accepted = code in {"OPSP0000", "OPSP0001", "OPSP0002"}
        return encode_confirmation(
            Confirmation(request.tr_id, request.tr_key, accepted, code, words)
        )

    def notice(self, socket: FakeSocket, *notices: Notice) -> str:
        tr_id, cipher = next(iter(socket.ciphers.items()))
        return encode_notices(notices, tr_id=tr_id, cipher=cipher, day=self.day)
