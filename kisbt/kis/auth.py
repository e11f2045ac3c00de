"""The access token and the approval key: fetched once, shared by all processes.

KIS gives out one token a minute and sends its owner a message each time. So the
token lives in a file beside the rate budget; whoever needs a new one takes the
file's lock, looks whether another process has just written one, and only then asks.
"""

import json
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from kisbt.clock import KST, Clock, SystemClock
from kisbt.errors import (
    ForeignReply,
    KisRefused,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    StorageError,
)
from kisbt.kis.keys import KisKeys, Secret
from kisbt.kis.private import (
    make_private_folder,
    read_private,
    remove_private,
    write_private,
)
from kisbt.kis.ratelimit import Priority, RateLimiter
from kisbt.kis.servers import Server, require_own_keys
from kisbt.kis.transport import HttpReply, HttpRequest, HttpTransport, Text
from kisbt.kis.wire import auth as wire, fields as f
from kisbt.kis.wire.codes import ONE_TOKEN_A_MINUTE, RETRY, WAIT_S, Retry
from kisbt.kis.wire.endpoints import ENDPOINTS
from kisbt.kis.wire.rest import parse_body, raise_refusal
from kisbt.text import _

log = logging.getLogger(__name__)

RENEW_BEFORE = timedelta(minutes=5)
"""A token is renewed this long before it expires."""
APPROVAL_LIFE = timedelta(hours=23)
"""An approval key is good for 24 hours. Source: portal, websocket section."""

_NONE: Mapping[str, Text] = {}
_ATTEMPTS = 4  # of one request for a token, time-outs and throttling included
_PAUSE_S = 2.0
_MINUTE_S = 60.0
_LOCK_S = 150.0  # another process may be waiting out its minute
_WATERMARK = "x-kisbt-emulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A token or approval key, and until when it is good (aware, KST)."""

    secret: Secret
    expires: datetime


class Authenticator:
    """Tokens and approval keys of one set of keys; safe for threads."""

    def __init__(
        self,
        keys: KisKeys,
        server: Server,
        transport: HttpTransport,
        *,
        folder: Path,
        limiter: RateLimiter | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Ask `server` in the name of `keys`.

        Args:
            keys: of the server's environment.
            server: where the transport leads.
            transport: to that server.
            folder: private; holds what was given out, a file for each key.
            limiter: the budget of the app key.
            clock: real, or the emulator's.

        Raises:
            ConfigError: the keys do not belong to the server; nothing was sent.
        """
        require_own_keys(server, keys)
        self._keys = keys
        self._server = server
        self._transport = transport
        self._folder = folder
        self._limiter = limiter
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._known: dict[str, Pass] = {}
        self._refused: dict[str, Secret] = {}
        self._insisted_s: dict[str, float] = {}

    def token(self) -> Secret:
        """Return a token good for five minutes at least.

        Raises:
            AuthError, KisRefused: KIS does not accept the keys.
            NotSent, OutcomeUnknown: KIS could not be asked.
        """
        return self._get("token", self._ask_token, refused=self._refused.get("token"))

    def discard(self, refused: Secret) -> None:
        """Note that KIS did not accept a token; the next one asked for is another."""
        self._refused["token"] = refused

    def renew(self, refused: Secret) -> Secret:
        """Return another token than `refused`, or the same if KIS insists.

        Within six hours of its issue KIS gives the same token again; one that
        maintenance has revoked is replaced only by asking.
        """
        self.discard(refused)
        return self.token()

    def approval_key(self, *, refused: Secret | None = None) -> Secret:
        """Return the key that opens the websocket.

        Args:
            refused: one that the websocket did not accept.
        """
        return self._get("approval", self._ask_approval, refused=refused)

    def revoke(self) -> bool:
        """Take the token back; return whether there was one.

        Raises:
            KisRefused, NotSent, OutcomeUnknown: it may still be good.
        """
        found = self._known.get("token") or self._read("token")
        if found is None:
            return False
        body = wire.revoke_body(self._keys.app_key, self._keys.app_secret, found.secret)
        self._call("revoke", body)
        with self._lock:
            self._known.pop("token", None)
            remove_private(self._path("token"))
        return True

    def hash_key(self, body: Mapping[str, str]) -> str:
        """Return KIS's hash of an order's body; optional, and a call like any other.

        Raises:
            KisRefused, NotSent, OutcomeUnknown, WireError: there is none.
        """
        keys = {f.H_APP_KEY: self._keys.app_key, f.H_APP_SECRET: self._keys.app_secret}
        return wire.parse_hash(self._call("hashkey", dict(body), keys))

    # One of a kind at a time, in this process and among all of them.

    def _get(
        self, kind: str, ask: Callable[[], Pass], *, refused: Secret | None
    ) -> Secret:
        found = self._known.get(kind)
        if found is not None and self._good(found, refused):
            return found.secret
        with self._lock:
            found = self._known.get(kind)
            if found is not None and self._insists(kind):
                refused = None  # asking again within the minute brings the same
            if found is None or not self._good(found, refused):
                found = self._shared(kind, ask, refused)
                self._known[kind] = found
                # KIS insists on it, or it is another one: either way it is to be used.
                self._refused.pop(kind, None)
            return found.secret

    def _shared(
        self, kind: str, ask: Callable[[], Pass], refused: Secret | None
    ) -> Pass:
        path = self._path(kind)
        try:
            make_private_folder(path.parent)
        except OSError as error:
            raise StorageError(
                _("{path}: not written: {why}").format(
                    path=path.parent, why=error.strerror or error
                )
            ) from error
        lock = FileLock(f"{path}.lock", mode=0o600, timeout=_LOCK_S)
        try:
            with lock:
                found = self._read(kind)
                if found is not None and self._good(found, refused):
                    return found
                found = ask()
                if found.secret == refused:
                    self._insisted_s[kind] = self._clock.monotonic()
                self._write(kind, found)
                return found
        except Timeout as error:
            raise NotSent(
                _(
                    "another process holds {path} and does not get a token; nothing "
                    "was sent"
                ).format(path=path)
            ) from error

    def _good(self, found: Pass, refused: Secret | None) -> bool:
        left = found.expires - self._clock.now()
        return left > RENEW_BEFORE and found.secret != refused

    def _insists(self, kind: str) -> bool:
        """Whether KIS has just given the refused one again."""
        since_s = self._insisted_s.get(kind, -math.inf)
        return self._clock.monotonic() - since_s < _MINUTE_S

    # Asking.

    def _ask_token(self) -> Pass:
        body = wire.token_body(self._keys.app_key, self._keys.app_secret)
        asked = self._clock.now()
        content = self._call("token", body)
        answer = wire.parse_token(content)
        # The seconds count from now on our own clock; the text is KIS's clock. The
        # earlier end is the safe one.
        ends = [
            end
            for end in (
                None
                if answer.seconds is None
                else asked + timedelta(seconds=answer.seconds),
                answer.expires,
            )
            if end is not None
        ]
        expires = min(ends)
        if expires - asked <= RENEW_BEFORE and answer.seconds is not None:
            # Our clock is ahead of KIS's, or the token is nearly used up: go by the
            # seconds, else every call would ask for another.
            expires = asked + timedelta(seconds=answer.seconds)
        log.info("token issued, good until %s", expires.isoformat(timespec="seconds"))
        return Pass(secret=Secret(answer.token), expires=expires)

    def _ask_approval(self) -> Pass:
        body = wire.approval_body(self._keys.app_key, self._keys.app_secret)
        content = self._call("approval", body)
        return Pass(
            secret=Secret(wire.parse_approval(content)),
            expires=self._clock.now() + APPROVAL_LIFE,
        )

    def _call(
        self, name: str, body: dict[str, Text], headers: Mapping[str, Text] = _NONE
    ) -> dict[str, object]:
        """Ask until there is an answer; asking twice does no harm here."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._call_once(name, body, headers)
            except (NotSent, OutcomeUnknown) as error:
                if attempt == _ATTEMPTS or isinstance(error, ForeignReply):
                    raise
                wait_s = _PAUSE_S * attempt
            except RateLimited as error:
                if attempt == _ATTEMPTS:
                    raise
                wait_s = error.retry_after_s
                if self._limiter is not None:
                    self._limiter.throttled(wait_s)
            except KisRefused as error:
                if attempt == _ATTEMPTS or RETRY.get(error.code) is not Retry.SAFE:
                    raise
                wait_s = WAIT_S.get(error.code, _PAUSE_S)
                if error.code == ONE_TOKEN_A_MINUTE:
                    log.warning("one token a minute: waiting %.0f s", wait_s)
            self._clock.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _call_once(
        self, name: str, body: dict[str, Text], headers: Mapping[str, Text]
    ) -> dict[str, object]:
        endpoint = ENDPOINTS[name]
        if self._limiter is not None:
            self._limiter.acquire(Priority.ORDER)  # every call waits for the token
        reply = self._transport.send(
            HttpRequest(
                method=endpoint.method,
                path=endpoint.path,
                headers={"content-type": f.FORM, **headers},
                body=body,
                tr_id=name,
            )
        )
        require_from(reply, self._server, tr_id=name)
        environment = str(self._server.environment)
        content = parse_body(
            reply.body, status=reply.status, tr_id=name, environment=environment
        )
        raise_refusal(
            content,
            status=reply.status,
            is_order=False,
            tr_id=name,
            environment=environment,
        )
        if not 200 <= reply.status < 300:
            raise OutcomeUnknown(
                _("{server}: status {status} to the {name} request").format(
                    server=self._server.name, status=reply.status, name=name
                ),
                tr_id=name,
                environment=environment,
            )
        return content

    # The file.

    def _path(self, kind: str) -> Path:
        return self._folder / f"{kind}-{self._keys.fingerprint}.json"

    def _read(self, kind: str) -> Pass | None:
        """Return what is in the file; None for anything that is not of these keys."""
        text = read_private(self._path(kind))
        if text is None:
            return None
        try:
            row = json.loads(text)
            if (row["fingerprint"], row["environment"]) != (
                self._keys.fingerprint,
                self._keys.environment.value,
            ):
                log.warning("%s file of other keys ignored", kind)
                return None
            expires = datetime.fromisoformat(row["expires"]).astimezone(KST)
            secret = Secret(str(row["secret"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("%s file unreadable, asking anew", kind)
            return None
        return Pass(secret=secret, expires=expires) if secret else None

    def _write(self, kind: str, found: Pass) -> None:
        row = {
            "environment": self._keys.environment.value,
            "fingerprint": self._keys.fingerprint,
            "expires": found.expires.isoformat(),
            "secret": found.secret.reveal(),
        }
        write_private(self._path(kind), json.dumps(row))


def require_from(reply: HttpReply, server: Server, *, tr_id: str) -> None:
    """Refuse a reply that `server` cannot have sent.

    Raises:
        ForeignReply: a redirect, which is never followed; or the emulator where
            KIS should be.
    """
    where = {"tr_id": tr_id, "environment": server.environment.value}
    if 300 <= reply.status < 400:
        raise ForeignReply(
            _(
                "{server}: answers with a redirect (status {status}), which KIS never "
                "does; it was not followed. Something stands between: check network "
                "and proxy."
            ).format(server=server.name, status=reply.status),
            **where,
        )
    if _WATERMARK in reply.headers and not server.is_emulator:
        raise ForeignReply(
            _(
                "{server}: the kisbt emulator answered in its place; check the network "
                "and the hosts file"
            ).format(server=server.name),
            **where,
        )
