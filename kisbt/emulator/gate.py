"""Who may call the emulated server, and how often: keys, tokens, limits.

Pure: the time of each call is an argument.
"""

import hashlib
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

_KEY_LENGTH = 36
_SECRET_LENGTH = 180
_HANDED_OUT = "KISBTEMULATOR"

TOKEN_LIFE_S = 86_400
# Issued again within six hours, a token is the same. Source: KIS portal.
_SAME_TOKEN_S = 6 * 3_600
_ISSUE_EVERY_S = 60.0
_APPROVAL_LIFE_S = 86_400
# A hash key and the order that carries it count as one call: the order follows at
# once in every client that asks for one.
_HASH_PAIR_S = 1.0
# Wall time does not fall exactly on the second: what comes this early is let pass.
_SLACK_S = 0.005


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Invented keys, as long as the broker's and never valid there."""

    app_key: str
    app_secret: str


def invent_keys(seed: str) -> KeyPair:
    """Return the keys that belong to `seed`: 36 and 180 characters."""

    def letters(name: str, length: int) -> str:
        text = _HANDED_OUT
        number = 0
        while len(text) < length:
            text += hashlib.sha256(f"{seed}:{name}:{number}".encode()).hexdigest()
            number += 1
        return text[:length]

    key = letters("key", _KEY_LENGTH)
    return KeyPair(key.upper(), letters("secret", _SECRET_LENGTH))


def is_invented(key: str) -> bool:
    """Return whether a key is one of an emulator's."""
    return key.startswith(_HANDED_OUT)


@dataclass(slots=True)
class Token:
    """An access token or a websocket approval key.

    Attributes:
        issued, expires: seconds of the clock that counts limits.
        expires_at: the same moment for people.
    """

    text: str
    issued: float
    expires: float
    expires_at: datetime
    revoked: bool = False

    def good(self, now_s: float) -> bool:
        """Return whether it is accepted."""
        return not self.revoked and now_s < self.expires


class IssuedTooOften(Exception):
    """A token was asked for twice within a minute."""


class TokenDesk:
    """Issues access tokens and approval keys of one key pair.

    Attributes:
        life_s: of new tokens. every_s: least time between two issues.
    """

    def __init__(self, seed: str) -> None:
        """Start with none issued; `seed` makes the texts unlike another run's."""
        self.life_s = float(TOKEN_LIFE_S)
        self.every_s = _ISSUE_EVERY_S
        self._seed = seed
        self._tokens: list[Token] = []
        self._approvals: dict[str, float] = {}
        self._asked: float | None = None
        self.issues = 0

    def issue(self, now_s: float, now: datetime) -> Token:
        """Return a token: the last one if it is younger than six hours.

        Raises:
            IssuedTooOften: within a minute of the last issue.
        """
        if self._asked is not None and now_s - self._asked < self.every_s - _SLACK_S:
            raise IssuedTooOften
        self._asked = now_s
        self.issues += 1
        last = self._tokens[-1] if self._tokens else None
        if (
            last is not None
            and last.good(now_s)
            and now_s - last.issued < _SAME_TOKEN_S
        ):
            return last
        text = hashlib.sha512(f"{self._seed}:{self.issues}".encode()).hexdigest()
        token = Token(
            # Three parts, as the broker's tokens have.
            f"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMiJ9.{text[:64]}.{text[64:]}",
            now_s,
            now_s + self.life_s,
            now + timedelta(seconds=self.life_s),
        )
        self._tokens.append(token)
        return token

    def find(self, text: str) -> Token | None:
        """Return an issued token, expired and revoked ones too."""
        return next((token for token in self._tokens if token.text == text), None)

    def revoke_all(self) -> None:
        """Make every token invalid, as maintenance does."""
        for token in self._tokens:
            token.revoked = True

    def shorten(self, expires: float) -> None:
        """Let no issued token live beyond a moment of the limit clock."""
        for token in self._tokens:
            token.expires = min(token.expires, expires)

    def revoke(self, text: str) -> bool:
        """Make one token invalid; whether there was such a token."""
        token = self.find(text)
        if token is None:
            return False
        token.revoked = True
        return True

    def approve(self, now_s: float) -> str:
        """Return a new approval key for the websocket."""
        number = len(self._approvals) + 1
        digits = hashlib.sha256(f"{self._seed}:approval:{number}".encode()).hexdigest()
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])
        text = "-".join(parts)
        self._approvals[text] = now_s + _APPROVAL_LIFE_S
        return text

    def approved(self, text: str, now_s: float) -> bool:
        """Return whether an approval key is valid."""
        return now_s < self._approvals.get(text, 0.0)

    def forget_approvals(self) -> None:
        """Make every approval key unknown."""
        self._approvals.clear()


@dataclass(slots=True)
class CallLimit:
    """At most so many calls in every sliding second.

    Attributes:
        per_second: None for no limit.
        taken: calls let through. refused: calls turned away.
        busiest: most calls, refused ones too, seen in one sliding second.
    """

    per_second: float | None
    taken: int = 0
    refused: int = 0
    busiest: int = 0
    _recent: deque[float] = field(default_factory=deque)
    _seen: deque[float] = field(default_factory=deque)
    _hashed: dict[str, float] = field(default_factory=dict)

    def take(self, now_s: float, *, hash_text: str = "") -> bool:
        """Count a call; False when it is one too many.

        Args:
            now_s: seconds that never go backwards.
            hash_text: a hash key the call carries; the pair counts once.
        """
        self._count(now_s)
        if hash_text:
            made = self._hashed.pop(hash_text, None)
            if made is not None and now_s - made <= _HASH_PAIR_S:
                self.taken += 1
                return True
        if self.per_second is None:
            self.taken += 1
            return True
        window = 1.0 if self.per_second >= 1 else 1.0 / self.per_second
        most = max(1, int(self.per_second))
        while self._recent and self._recent[0] <= now_s - window + _SLACK_S:
            self._recent.popleft()
        if len(self._recent) >= most:
            self.refused += 1
            return False
        self._recent.append(now_s)
        self.taken += 1
        return True

    def _count(self, now_s: float) -> None:
        while self._seen and self._seen[0] <= now_s - 1.0:
            self._seen.popleft()
        self._seen.append(now_s)
        self.busiest = max(self.busiest, len(self._seen))

    def remember_hash(self, text: str, now_s: float) -> None:
        """Note a hash key, whose order will not count again."""
        if len(self._hashed) > 100:
            self._hashed.clear()
        self._hashed[text] = now_s
