"""The only HTTP of kis: one request, one reply, or a typed failure.

A failure says what is known: `NotSent` if not a byte of the request left this
machine, `OutcomeUnknown` otherwise. The proof is the socket's own: each one notes
whether it was given anything to send. What a library's exception is called proves
nothing: `requests.ConnectionError` means "never read" as well as "read, then the
answer was lost".
"""

import http.client
import json
import logging
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import requests
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

import kisbt
from kisbt.clock import SystemClock
from kisbt.errors import ConfigError, KisError, NotSent, OutcomeUnknown
from kisbt.kis.connections import KeptAdapter, OneShot, StaysError
from kisbt.kis.keys import MASK, Secret
from kisbt.kis.servers import Server
from kisbt.kis.sockets import Exchange
from kisbt.text import _

log = logging.getLogger(__name__)

CONNECT_S = 3.05
READ_S = 10.0
TOTAL_S = 15.0
"""Seconds from the first byte sent to the last one read; also when it only drips."""
_LARGEST = 8 << 20  # bytes of a reply; the longest real one has some 100 kB
_CHUNK = 64 << 10
_HEADERS = {
    "User-Agent": f"kisbt/{kisbt.__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}

Text = str | Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request; values that are `Secret` are revealed only while it is sent.

    Attributes:
        path: begins with a slash.
        query: for GET.
        body: sent as JSON; None for no body.
        fresh: use a connection of its own. A connection kept alive may be closed
            by the server at the moment of sending, and nobody could tell whether
            it still read the request: an order must not risk that.
        leave: called once there is a connection, right before the first byte; returns
            why the request is to stay, "" to let it go. It may be called more than
            once. For `fresh` requests.
        tr_id: for messages.
    """

    method: str
    path: str
    headers: Mapping[str, Text]
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, Text] | None = field(default=None, repr=False)
    fresh: bool = False
    leave: Callable[[], str] | None = field(default=None, repr=False)
    tr_id: str = ""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back, whatever it is.

    Attributes:
        headers: names in lower case.
        body: as it came; it may hold a token, so it is not shown.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any] | None:
        """Return the JSON object in the body; None if there is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


class HttpTransport(Protocol):
    """Sends a request to one server."""

    def send(self, request: HttpRequest) -> HttpReply:
        """Send a request once.

        Raises:
            NotSent: it certainly did not leave.
            OutcomeUnknown: it may have.
        """
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class RequestsTransport:
    """Requests to one server; safe for threads.

    Queries go over `requests`, an order over a connection of its own (`OneShot`).

    Redirects are not followed (`requests` would hand the app secret to the new
    host), `.netrc` and proxy variables are ignored, certificates are verified,
    cookies are refused, nothing is retried.
    """

    def __init__(
        self,
        server: Server,
        *,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
        total_s: float = TOTAL_S,
        ca_file: str | None = None,
    ) -> None:
        """Talk to `server`, and to no other.

        Args:
            server: where everything goes.
            connect_s, read_s: longest wait for a connection, and for a byte.
            total_s: longest time of a whole exchange.
            ca_file: certificates to trust instead of the usual ones; None for
                the usual ones. There is no way to trust any.

        Raises:
            ConfigError: `http.client` prints headers (its debug level is set).
        """
        if http.client.HTTPConnection.debuglevel and not server.is_emulator:
            raise ConfigError(
                _(
                    "http.client.HTTPConnection.debuglevel is set: it would print the "
                    "keys. Set it to 0."
                )
            )
        self._server = server
        self._timeout = (connect_s, read_s)
        self._total_s = total_s
        self._verify: bool | str = ca_file or True
        self._clock = SystemClock()  # sockets wait in real time, whatever is simulated
        # Adapters without a Session around them: that one follows redirects, reads
        # .netrc and proxy variables, and keeps cookies.
        self._kept = KeptAdapter(server, connections=32)
        self._fresh = OneShot(
            server, connect_s=connect_s, read_s=read_s, ca_file=ca_file
        )
        self._fresh_lock = threading.Lock()
        _mask_urllib3_log()

    def send(self, request: HttpRequest) -> HttpReply:
        """Send a request once.

        Raises:
            NotSent: it certainly did not leave.
            OutcomeUnknown: it may have.
        """
        if not request.fresh:
            assert request.leave is None, "only a new connection waits"
            return self._send(request, self._over_kept)
        with self._fresh_lock:  # one order in flight at a time
            return self._send(request, self._over_fresh)

    def close(self) -> None:
        """Close all connections."""
        self._kept.close()

    def _over_kept(self, request: HttpRequest) -> HttpReply:
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=request.method,
            url=self._server.rest_url + request.path,
            headers=_headers(request),
            params=dict(request.query),
            data=_body(request),
        )
        response = self._kept.send(
            prepared, stream=True, timeout=self._timeout, verify=self._verify
        )
        try:
            return _reply(response.raw)
        except BaseException:
            response.close()
            raise

    def _over_fresh(self, request: HttpRequest) -> HttpReply:
        query = f"?{urlencode(request.query)}" if request.query else ""
        target = request.path + query
        with self._fresh.exchange(
            request.method, target, _headers(request), _body(request), request.leave
        ) as response:
            return HttpReply(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                _whole(response),
            )

    def _send(
        self, request: HttpRequest, over: Callable[[HttpRequest], HttpReply]
    ) -> HttpReply:
        started_s = self._clock.monotonic()
        exchange = Exchange.start(self._timeout[1], self._total_s)
        failure: KisError | None = None
        reply: HttpReply | None = None
        try:
            reply = over(request)
        except StaysError as error:
            failure = NotSent(str(error))
        except (
            requests.RequestException,
            HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,  # a header no HTTP can carry; the message quotes it
            _TooLong,
        ) as error:
            failure = self._failure(request, error, exchange)
        finally:
            exchange.end()
        took_ms = (self._clock.monotonic() - started_s) * 1000
        if reply is None:
            # Raised here, not in the handler: the library's exception holds the
            # request with its keys, and would travel along as the context.
            assert failure is not None
            log.warning(
                "call failed: %s %s after %.0f ms: %s",
                request.tr_id,
                request.path,
                took_ms,
                failure,
            )
            raise failure
        log.debug(
            "call: %s %s status %d in %.0f ms",
            request.tr_id,
            request.path,
            reply.status,
            took_ms,
        )
        return reply

    def _failure(
        self, request: HttpRequest, error: Exception, exchange: Exchange
    ) -> KisError:
        words = {
            "what": _what_happened(error),
            "server": self._server.name,
            "tr_id": request.tr_id or request.path,
        }
        context = {
            "tr_id": request.tr_id,
            "environment": self._server.environment.value,
        }
        if exchange.nothing_left:
            return NotSent(
                _("{server}: {what}; {tr_id} was not sent").format(**words), **context
            )
        return OutcomeUnknown(
            _("{server}: {what}; nobody knows whether {tr_id} was carried out").format(
                **words
            ),
            **context,
        )


def _whole(response: http.client.HTTPResponse) -> bytes:
    body = response.read(_LARGEST + 1)
    if len(body) > _LARGEST:
        raise _TooLong
    if response.length:  # what is still to come; None if nobody has told
        raise http.client.IncompleteRead(body, response.length)
    # Nobody was asked for it, but an order's answer must not be lost for that.
    if response.headers.get("content-encoding", "").lower() == "gzip":
        return _unpacked(body)
    return body


def _unpacked(body: bytes) -> bytes:
    packed = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        found = packed.decompress(body, _LARGEST + 1)
    except zlib.error as error:
        raise http.client.IncompleteRead(body) from error
    if len(found) > _LARGEST:
        raise _TooLong
    if not packed.eof:
        raise http.client.IncompleteRead(found)
    return found


def _reply(response: BaseHTTPResponse) -> HttpReply:
    return HttpReply(
        response.status,
        {name.lower(): value for name, value in response.headers.items()},
        _read(response),
    )


class _TooLong(Exception):
    """A reply has more bytes than any of KIS's."""


def _read(response: BaseHTTPResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := response.read1(_CHUNK, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise _TooLong
    response.release_conn()
    return b"".join(parts)


def _headers(request: HttpRequest) -> dict[str, str]:
    """Return the headers with secrets as text; nowhere else but in the body."""
    return {**_HEADERS, **_revealed(request.headers)}


def _body(request: HttpRequest) -> bytes | None:
    if request.body is None:
        return None
    return json.dumps(_revealed(request.body), ensure_ascii=False).encode()


def _revealed(values: Mapping[str, Text]) -> dict[str, str]:
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in values.items()
    }


def _what_happened(error: BaseException) -> str:
    """Return words for people; never the library's, which quote the address."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        reason = getattr(link, "reason", None)
        inner = next((a for a in link.args if isinstance(a, BaseException)), None)
        link = (
            reason
            if isinstance(reason, BaseException)
            else inner or link.__cause__ or link.__context__
        )
    names = {type(item).__name__ for item in chain}
    words = (
        (
            {"SSLError", "SSLCertVerificationError"},
            _("its certificate is not to be trusted, or TLS failed"),
        ),
        ({"NameResolutionError", "gaierror"}, _("its name is not known (DNS)")),
        ({"ConnectTimeoutError", "ConnectTimeout"}, _("it does not answer")),
        ({"ConnectionRefusedError"}, _("it refused the connection")),
        (
            {"ReadTimeoutError", "ReadTimeout", "TimeoutError"},
            _("no answer in time"),
        ),
        ({"IncompleteRead"}, _("the answer broke off")),
        ({"_TooLong"}, _("the answer is too long")),
        (
            {"ConnectionResetError", "RemoteDisconnected", "BrokenPipeError"},
            _("the connection was dropped"),
        ),
    )
    for known, text in words:
        if names & known:
            return text
    return _("the connection failed ({kind})").format(kind=type(error).__name__)


class _MaskQuery(logging.Filter):
    """urllib3 logs addresses with their query, and ours holds the account."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut every address at its question mark."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                f"{item.partition('?')[0]}?{MASK}"
                if isinstance(item, str) and "?" in item
                else item
                for item in record.args
            )
        return True


_mask_query = _MaskQuery()


def _mask_urllib3_log() -> None:
    # addFilter adds the same object once only.
    logging.getLogger("urllib3.connectionpool").addFilter(_mask_query)
