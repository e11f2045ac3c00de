"""How many calls and ticks a second the emulator serves, limits off.

Run with ``make bench``. The clients run in processes of their own, so that only the
emulator's thread is measured here; a machine shared with others shows less.
"""

import json
import multiprocessing
import socket
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from kisbt.emulator.runner import Emulator
from tests.helpers.emulator import SYMBOL, Caller, Listener, stepped

pytestmark = pytest.mark.bench

CALLS = 2_000
TICKS = 60_000
BATCH = 1_000
# Budgets of the project: one core, limits off.
LEAST_CALLS_PER_S = 500
LEAST_TICKS_PER_S = 20_000


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(stepped(environment="real")) as running:
        yield running


def _call_often(address: tuple[str, int], request: bytes, answer: Connection) -> None:
    """Send the same request again and again on one connection."""
    with socket.create_connection(address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = sock.makefile("rb")
        began = time.perf_counter()
        for _call in range(CALLS):
            sock.sendall(request)
            length = 0
            while (line := reader.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = reader.read(length)
            assert json.loads(body)["rt_cd"] == "0"
        answer.send(CALLS / (time.perf_counter() - began))


@pytest.mark.parametrize("call", ["price", "balance"])
def test_rest_calls_a_second(emulator: Emulator, call: str) -> None:
    caller = Caller(emulator, "real").log_in()
    caller.order("buy", 10)
    answered = caller.price() if call == "price" else caller.balance()
    sent = answered.request
    lines = [f"GET {sent.path_url} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in sent.headers.items()]
    raw = ("\r\n".join(lines) + "\r\n\r\n").encode()
    host, port = caller.server["rest_url"].removeprefix("http://").split(":")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    client = context.Process(target=_call_often, args=((host, int(port)), raw, sender))
    client.start()
    rate: float = receiver.recv()
    client.join(10)
    sys.stdout.write(f"\n{call}: {rate:,.0f} REST calls/s\n")
    assert rate >= LEAST_CALLS_PER_S


def _count_ticks(server: dict[str, Any], approval: str, answer: Connection) -> None:
    """Read frames until every tick has come."""
    stream = Listener(_Quiet(server), approval)
    stream.send("H0STCNT0", SYMBOL)
    stream.answer()
    answer.send("ready")
    seen = 0
    sock = stream.socket
    while seen < TICKS:
        frame = sock.recv()
        if frame[0] == "0":
            seen += int(frame[11:14])
    answer.send("all")
    sock.close()


class _Quiet:
    """What a listener needs of a caller, in another process."""

    mock = False

    def __init__(self, server: dict[str, Any]) -> None:
        self.server = server


def test_ticks_a_second(emulator: Emulator) -> None:
    caller = Caller(emulator, "real").log_in()
    # The best of three: what else the machine does only slows it down.
    rate = max(_ticks_a_second(emulator, caller) for _turn in range(3))
    sys.stdout.write(f"\n{rate:,.0f} ticks/s to a reading client\n")
    assert rate >= LEAST_TICKS_PER_S


def _ticks_a_second(emulator: Emulator, caller: Caller) -> float:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    client = context.Process(
        target=_count_ticks, args=(caller.server, caller.approve(), sender)
    )
    client.start()
    assert receiver.recv() == "ready"
    # From the first trade made to the last frame read: matching, encoding, sending.
    began = time.perf_counter()
    for _turn in range(TICKS // BATCH):
        emulator.fault({"verb": "ws", "do": "flood", "arg": BATCH, "symbol": SYMBOL})
    assert receiver.recv() == "all"
    took_s = time.perf_counter() - began
    client.join(10)
    return TICKS / took_s
