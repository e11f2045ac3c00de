"""The control plane: the truth for tests, and the levers of the market."""

import asyncio
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kisbt.emulator.faults import parse_faults
from kisbt.emulator.house import House
from kisbt.emulator.levers import Levers
from kisbt.emulator.orders import OrderRefused
from kisbt.emulator.pump import Pump
from kisbt.emulator.truth import state_of
from kisbt.errors import InputError, KisbtError
from kisbt.krx.calendar import KST
from kisbt.text import _

_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_MOST_BODY = 1024 * 1024
_LONGEST = timedelta(days=400)


class Ports(Protocol):
    """Where connections are accepted."""

    async def restart(self, *, seconds: float) -> None:
        """End every connection and accept none for some seconds."""
        ...


class Control:
    """Starlette application of the paths below ``/emulator``."""

    def __init__(self, house: House, pump: Pump, ports: Ports, token: str) -> None:
        """Control `house`.

        Args:
            house: the market and its servers.
            pump: of its time.
            ports: of its connections.
            token: bearer token that every request must carry.
        """
        self._house = house
        self._pump = pump
        self._ports = ports
        self._token = token
        self.levers = Levers(house, pump)
        self.app = Starlette(
            routes=[
                Route("/emulator/state", self._state),
                Route("/emulator/clock", self._clock, methods=["GET", "POST"]),
                Route("/emulator/faults", self._faults, methods=["GET", "POST"]),
                Route("/emulator/account", self._account, methods=["POST"]),
                Route("/emulator/external-order", self._order, methods=["POST"]),
                Route("/emulator/restart", self._restart, methods=["POST"]),
            ],
            exception_handlers={
                KisbtError: _explain,
                OrderRefused: _explain,
                HTTPException: _explain,
                ClientDisconnect: _gone,
            },
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Check who asks, then answer."""
        request = Request(scope, receive)
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        host = request.headers.get("host", "").rpartition(":")[0]
        right = hmac.compare_digest(given.encode(), self._token.encode())
        if not right or host not in _HOSTS:
            refused = _problem(403, _("the control token or the host is wrong"))
            await refused(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _state(self, request: Request) -> Response:
        self._pump.catch_up()
        calls = request.query_params.get("calls") == "1"
        return _answer(state_of(self._house, self._pump, calls=calls))

    async def _clock(self, request: Request) -> Response:
        if request.method == "POST":
            await self._move(await _content(request))
        return _answer(self.levers.time())

    async def _move(self, asked: Mapping[str, Any]) -> None:
        now = self._house.floor.now
        if "speed" in asked:
            self._pump.set_speed(_number(asked, "speed"))
        if "pause" in asked:
            self._pump.pause(on=bool(asked["pause"]))
        if "advance" in asked:
            seconds = timedelta(seconds=_number(asked, "advance"))
            await self._pump.advance(now + min(seconds, _LONGEST))
        if "to" in asked:
            await self._pump.advance(_moment(asked["to"]))
        if "candles" in asked:
            for _turn in range(int(_number(asked, "candles"))):
                await self._next_candle()

    async def _next_candle(self) -> None:
        engine = self._house.engine
        while not engine.finished:
            end = engine.next_candle_end()
            if end is not None:
                await self._pump.advance(end)
                return
            coming = engine.next_time
            if coming is None:
                return
            await self._pump.advance(coming)

    async def _faults(self, request: Request) -> Response:
        if request.method == "POST":
            asked = await _json(request)
            if isinstance(asked, Mapping) and asked.get("clear"):
                self.levers.clear_faults()
            script = asked.get("add", []) if isinstance(asked, Mapping) else asked
            if isinstance(asked, Mapping) and "verb" in asked:
                script = asked
            for fault in parse_faults(script):
                await self.levers.apply(fault, self._ports)
        return _answer({"faults": self.levers.faults()})

    async def _account(self, request: Request) -> Response:
        self.levers.set_account(await _content(request))
        return _answer(state_of(self._house, self._pump, calls=False))

    async def _order(self, request: Request) -> Response:
        self._pump.catch_up()
        order = self.levers.external_order(await _content(request))
        self._house.flush()
        return _answer(order)

    async def _restart(self, request: Request) -> Response:
        asked = await _content(request)
        self.levers.forget(asked.get("forget", []))
        seconds = _number(asked, "seconds", 0.0)
        # After the answer has left: this connection ends too.
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, lambda: loop.create_task(self._restarted(seconds)))
        return _answer({"restarting": True})

    async def _restarted(self, seconds: float) -> None:
        await self._ports.restart(seconds=seconds)


def _answer(content: Any) -> Response:
    return JSONResponse(content)


def _problem(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)


async def _explain(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    text = error.detail if isinstance(error, HTTPException) else str(error)
    return _problem(status, text)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _json(request: Request) -> Any:
    body = await request.body()
    if len(body) > _MOST_BODY:
        raise InputError(_("the body is too long"))
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise InputError(_("the body is no JSON: {why}").format(why=error)) from error


async def _content(request: Request) -> Mapping[str, Any]:
    found = await _json(request)
    if not isinstance(found, Mapping):
        raise InputError(_("the body must be a JSON object"))
    return found


def _number(asked: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise InputError(
            _("{name} {found!r}: expected a number, zero or more").format(
                name=name, found=value
            )
        )
    return float(value)


def _moment(value: object) -> datetime:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise InputError(
            _("to {found!r}: expected a time such as 2025-12-30T09:30:00").format(
                found=value
            )
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=KST)
