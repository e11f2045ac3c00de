"""Answers that go wrong on their way: what a scripted fault does to a connection."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kisbt.emulator.faults import Fault
from kisbt.kis.wire import fields as f
from kisbt.kis.wire.rest import WireReply, encode_refusal

Send = Callable[[dict[str, Any]], Awaitable[None]]

# Actions that replace the answer by nothing at all.
_SILENT = frozenset({"rst", "read_then_close", "hang"})
_HTML = (
    b"<!DOCTYPE html><html><head><title>502</title></head><body>"
    b"<h1>System maintenance</h1></body></html>"
)
_GARBAGE = bytes(range(128, 192)) + b"\x00{]"
_DRIP_S = 1.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An answer as bytes.

    Attributes:
        headers: with the capitals in which they go out.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def outgoing(reply: WireReply, headers: Mapping[str, str]) -> Outgoing:
    """Return an answer as bytes, `headers` added."""
    body = json.dumps(reply.body, ensure_ascii=False).encode("utf-8", "replace")
    named = {**reply.headers, **headers, "Content-Length": str(len(body))}
    return Outgoing(reply.status, tuple(named.items()), body)


async def send_whole(answer: Outgoing, send: Send) -> None:
    """Send an answer as it is."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (name.encode("latin-1"), value.encode("latin-1", "replace"))
                for name, value in answer.headers
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body})


def changed(fault: Fault, reply: WireReply) -> WireReply:
    """Return the answer as a fault of its content makes it."""
    if fault.do == "gw":
        return gateway_refusal(fault)
    body = dict(reply.body)
    for block, content in body.items():
        if not isinstance(content, dict):
            continue
        if fault.do == "no_number":
            body[block] = {
                key: value for key, value in content.items() if key.upper() != "ODNO"
            }
        elif fault.do == "lower_case":
            body[block] = {key.lower(): value for key, value in content.items()}
    return WireReply(status=reply.status, headers=reply.headers, body=body)


def gateway_refusal(fault: Fault) -> WireReply:
    """Return the refusal a fault asks for."""
    code = fault.word("code", "EGW00001")
    return encode_refusal(
        code,
        fault.word("text", f"scripted fault {code}"),
        status=int(fault.number("http", 500)),
        result=fault.word("result", f.REFUSED),
    )


async def send_broken(
    fault: Fault, answer: Outgoing, send: Send, transport: asyncio.Transport | None
) -> None:
    """Send an answer the way a fault says, or not at all."""
    seconds = fault.number("arg", fault.number("seconds", 5.0)) if _timed(fault) else 0
    if fault.do == "delay":
        await asyncio.sleep(seconds)
        await send_whole(answer, send)
    elif fault.do in _SILENT:
        if fault.do == "hang":
            await asyncio.sleep(seconds)
        await _cut(transport, reset=fault.do == "rst")
    elif fault.do == "truncate":
        await _raw(answer, transport, answer.body[: len(answer.body) // 2])
    elif fault.do == "drip":
        await _drip(answer, transport)
    else:
        await send_whole(_replaced(fault, answer), send)


def _timed(fault: Fault) -> bool:
    return fault.do in {"delay", "hang"}


def _replaced(fault: Fault, answer: Outgoing) -> Outgoing:
    if fault.do == "garbage":
        return _with_body(answer, 200, _GARBAGE, f.FORM)
    if fault.do == "redirect":
        status = int(fault.number("arg", 307))
        target = fault.word("url", "http://127.0.0.1:9/elsewhere")
        moved = _with_body(answer, status, b"", "text/html")
        return Outgoing(status, (*moved.headers, ("Location", target)), b"")
    if fault.do == "status":
        status = int(fault.number("arg", 502))
        return _with_body(answer, status, _HTML, "text/html")
    return _with_body(answer, 200, _HTML, "text/html; charset=utf-8")


def _with_body(answer: Outgoing, status: int, body: bytes, kind: str) -> Outgoing:
    kept = {
        name: value
        for name, value in answer.headers
        if name not in {"Content-Type", "Content-Length", f.H_TR_ID, f.H_TR_CONT}
    }
    named = {**kept, "Content-Type": kind, "Content-Length": str(len(body))}
    return Outgoing(status, tuple(named.items()), body)


async def _cut(transport: asyncio.Transport | None, *, reset: bool) -> None:
    """Close the connection without an answer; with RST when `reset`."""
    if transport is None:
        return
    if reset:
        linger(transport)
        transport.abort()
    else:
        transport.close()
    # Two turns of the loop: the server has to learn that the client is gone before
    # the application returns, else it would answer 500.
    for _turn in range(3):
        await asyncio.sleep(0)


def linger(transport: asyncio.Transport) -> None:
    """Make the connection end with a reset instead of a farewell."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _head(answer: Outgoing) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} OK"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


async def _raw(
    answer: Outgoing, transport: asyncio.Transport | None, body: bytes
) -> None:
    """Send the head as it should be and less of the body, then close."""
    if transport is None:
        return
    transport.write(_head(answer) + body)
    await _cut(transport, reset=False)


async def _drip(answer: Outgoing, transport: asyncio.Transport | None) -> None:
    """Send the answer one byte a second, as long as the client stays."""
    if transport is None:
        return
    for byte in _head(answer) + answer.body:
        if transport.is_closing():
            return
        transport.write(bytes([byte]))
        await asyncio.sleep(_DRIP_S)
    await _cut(transport, reset=False)
