"""The REST end: bytes in, `ServerSide` asked, bytes out."""

import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

from kisbt.emulator.breaking import (
    Outgoing,
    Send,
    changed,
    gateway_refusal,
    outgoing,
    send_broken,
    send_whole,
)
from kisbt.emulator.house import House
from kisbt.emulator.links import link_of
from kisbt.emulator.side import Incoming, ServerSide
from kisbt.kis.wire import served
from kisbt.kis.wire.rest import WireReply, encode_refusal

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOG = logging.getLogger(__name__)

WATERMARK = "X-Kisbt-Emulator"
"""Header of every answer: who plays the broker. Clients of the broker refuse it."""

_MOST_BODY = 64 * 1024
_MOST_KEYS = 200

_CONTROL = "/emulator"


class RestApp:
    """ASGI application of one server's REST port, with the control plane beside."""

    def __init__(
        self,
        house: House,
        side: ServerSide,
        control: App,
        catch_up: Callable[[], None],
    ) -> None:
        """Serve `side`.

        Args:
            house: it belongs to.
            side: who answers.
            control: application of the paths below ``/emulator``.
            catch_up: brings the market to the time of the request.
        """
        self._house = house
        self._side = side
        self._control = control
        self._catch_up = catch_up
        # The answer to the order before, for a fault that mixes answers up.
        self._before: WireReply | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        path = "/" + "/".join(part for part in scope["path"].split("/") if part)
        if path == _CONTROL or path.startswith(_CONTROL + "/"):
            await self._control({**scope, "path": path}, receive, send)
            return
        try:
            request = await _read(scope, path, receive)
        except _Gone:
            return
        await self._serve(request, scope, send)

    async def _serve(self, request: Incoming, scope: Scope, send: Send) -> None:
        side = self._side
        self._catch_up()
        names = side.names(request)
        transport = link_of(scope).transport
        refused = side.faults.strike("gw", names)
        if refused is not None:
            await send_whole(self._bytes(gateway_refusal(refused)), send)
            return
        fault = side.faults.strike("http", names)
        if fault is not None and fault.do not in _OF_CONTENT:
            empty = self._bytes(encode_refusal("", ""))
            if fault.do == "delay":
                empty = self._bytes(self._answer(request))
                self._house.flush()
            await send_broken(fault, empty, send, transport)
            return
        reply = self._answer(request)
        self._house.flush()
        if fault is not None and fault.do == "swap":
            reply = self._before or reply
        if names and "order" in names:
            self._before = reply
        after = side.faults.strike("accept_then", names)
        for change in (fault, after):
            if change is not None and change.do in _OF_CONTENT:
                reply = changed(change, reply)
        answer = self._bytes(reply)
        if after is not None and after.do not in _OF_CONTENT:
            await send_broken(after, answer, send, transport)
            return
        await send_whole(answer, send)

    def _answer(self, request: Incoming) -> WireReply:
        try:
            return self._side.answer(request)
        except Exception:  # noqa: BLE001 - the end of a request
            # The broker answers something whatever it is sent; so does this.
            _LOG.exception("a request could not be answered")
            refused = served.SERVER_ERROR
            return encode_refusal(
                refused.code, refused.text, tr_id="", status=refused.status
            )

    def _bytes(self, reply: WireReply) -> Outgoing:
        skew = timedelta(seconds=self._house.skew_s)
        now = (self._house.floor.now + skew).astimezone(UTC)
        return outgoing(
            reply,
            {
                "gt_uid": secrets.token_hex(16),
                "Date": format_datetime(now, usegmt=True),
                WATERMARK: str(self._side.environment),
            },
        )


_OF_CONTENT = frozenset({"gw", "no_number", "lower_case", "swap"})
"""Faults that change what an answer says, not how it travels."""


class _Gone(Exception):
    """The client closed the connection before its request was complete."""


async def _read(scope: Scope, path: str, receive: Receive) -> Incoming:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        # Clients write appKey and appkey; ASGI has lowered the names.
        headers[name.decode("latin-1").lower()] = value.decode("latin-1")
    method = scope["method"]
    if method == "GET":
        await _body(receive)
        texts, broken = _query(scope["query_string"])
        return Incoming(method, path, headers, texts, None, broken)
    content, broken = _parsed(await _body(receive))
    is_object = isinstance(content, Mapping)
    texts = dict(content) if is_object else {}
    return Incoming(method, path, headers, texts, content, broken or not is_object)


async def _body(receive: Receive) -> bytes | None:
    """Return the body; None if it is longer than anybody needs."""
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        size += len(message.get("body", b""))
        if size <= _MOST_BODY:
            parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts) if size <= _MOST_BODY else None


def _query(raw: bytes) -> tuple[dict[str, Any], bool]:
    try:
        pairs = parse_qsl(
            raw.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_KEYS
        )
    except ValueError:
        return {}, True
    return dict(pairs), False


def _parsed(body: bytes | None) -> tuple[Any, bool]:
    if body is None:
        return None, True
    if not body.strip():
        return {}, False
    try:
        return json.loads(body), False
    except (ValueError, RecursionError):
        return None, True
