"""Bodies of the token, approval key and hash key calls, both ways.

Secrets may be any type here: the client keeps them wrapped until they are sent.

Source:
    Portal, OAuth; the approval call names the secret ``secretkey`` where the others
    say ``appsecret``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from kisbt.errors import WireError
from kisbt.kis.wire import fields as f
from kisbt.kis.wire.texts import format_moment, parse_moment
from kisbt.text import _

Secret = TypeVar("Secret")

GRANT: Final = "client_credentials"
TOKEN_TYPE: Final = "Bearer"
TOKEN_SECONDS: Final = 86_400
_LONGEST: Final = 9
"""Digits of a lifetime that makes sense: thirty years in seconds."""
_REVOKED: Final = "접근토큰 폐기에 성공하였습니다"


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """An access token.

    Attributes:
        token: never shown.
        expires: by KIS's clock, aware KST; None if its text makes no sense.
        seconds: it lives from now on; None if not told.
    """

    token: str
    expires: datetime | None
    seconds: int | None

    def __repr__(self) -> str:
        return f"TokenAnswer(token=***, expires={self.expires})"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says about itself when it asks for a token or a key.

    Attributes:
        token: of a revocation; "" otherwise.
        grant: must be `GRANT`; "" if not sent.
    """

    app_key: str
    app_secret: str
    token: str
    grant: str

    def __repr__(self) -> str:
        return "Credentials(***)"


def token_body(app_key: Secret, app_secret: Secret) -> dict[str, Secret | str]:
    """Return the body that asks for an access token."""
    return {"grant_type": GRANT, f.H_APP_KEY: app_key, f.H_APP_SECRET: app_secret}


def approval_body(app_key: Secret, app_secret: Secret) -> dict[str, Secret | str]:
    """Return the body that asks for the key of the websocket."""
    return {"grant_type": GRANT, f.H_APP_KEY: app_key, "secretkey": app_secret}


def revoke_body(
    app_key: Secret, app_secret: Secret, token: Secret
) -> dict[str, Secret | str]:
    """Return the body that takes a token back."""
    return {f.H_APP_KEY: app_key, f.H_APP_SECRET: app_secret, "token": token}


def parse_token(content: Mapping[str, Any]) -> TokenAnswer:
    """Return the token of an answer.

    Raises:
        WireError: there is none, or it never ends.
    """
    token = _text(content, "access_token", "token")
    seconds = _seconds(str(content.get("expires_in", "")))
    expires = parse_moment(str(content.get("access_token_token_expired", "")))
    if seconds is None and expires is None:
        raise WireError(_("answer of token: no time at which it expires"))
    return TokenAnswer(token, expires, seconds)


def _seconds(text: str) -> int | None:
    plain = text.isascii() and text.isdigit() and len(text) <= _LONGEST
    return int(text) if plain else None


def parse_approval(content: Mapping[str, Any]) -> str:
    """Return the approval key of an answer.

    Raises:
        WireError: there is none.
    """
    return _text(content, "approval_key", "approval")


def parse_hash(content: Mapping[str, Any]) -> str:
    """Return the hash key of an answer.

    Raises:
        WireError: there is none.
    """
    return _text(content, "HASH", "hashkey")


def _text(content: Mapping[str, Any], name: str, call: str) -> str:
    value = content.get(name)
    # What stands there instead may be a secret: it is not shown.
    if not isinstance(value, str) or not value.strip():
        raise WireError(_("answer of {call}: no {name}").format(call=call, name=name))
    return value


def read_credentials(content: Mapping[str, Any]) -> Credentials:
    """Return who asks, from the body of a token, approval or revoke request."""
    lower = {name.lower(): value for name, value in content.items()}
    secret = lower.get(f.H_APP_SECRET) or lower.get("secretkey")
    found = (
        lower.get(f.H_APP_KEY),
        secret,
        lower.get("token"),
        lower.get("grant_type"),
    )
    return Credentials(*(text if isinstance(text, str) else "" for text in found))


def token_answer(token: str, expires: datetime, seconds: int) -> dict[str, Any]:
    """Return the answer that hands out a token."""
    return {
        "access_token": token,
        "access_token_token_expired": format_moment(expires),
        "token_type": TOKEN_TYPE,
        "expires_in": seconds,
    }


def approval_answer(key: str) -> dict[str, Any]:
    """Return the answer that hands out an approval key."""
    return {"approval_key": key}


def revoke_answer() -> dict[str, Any]:
    """Return the answer to a revocation."""
    return {"code": 200, "message": _REVOKED}


def hash_answer(body: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Return the answer of the hash key call, which repeats the body."""
    return {"BODY": dict(body), "HASH": digest}


def token_refusal(code: str, text: str) -> dict[str, Any]:
    """Return the refusal of the token calls; it comes with HTTP 403."""
    return {f.TOKEN_ERROR_TEXT: text, f.TOKEN_ERROR_CODE: code}


def bearer(token: str) -> str:
    """Return the header text that carries a token."""
    return f"{TOKEN_TYPE} {token}"


def read_bearer(text: str) -> str | None:
    """Return the token in a header; None if it is no bearer token."""
    kind, _blank, token = text.strip().partition(" ")
    return token.strip() if kind == TOKEN_TYPE and token.strip() else None
