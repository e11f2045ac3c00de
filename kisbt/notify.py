"""Messages to a person; they may fail and never hold up trading.

Two threads of their own: one sends texts over apprise (Telegram, Slack, Discord,
mail...), one calls an address each minute so that an outside monitor notices a dead
machine. Whoever notifies only puts something into a bounded queue.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import requests

from kisbt.errors import ConfigError
from kisbt.model.ports import Urgency
from kisbt.text import _

log = logging.getLogger(__name__)

QUEUE_SIZE = 200
"""Messages kept while the way out is slow; older and lesser ones give way."""

_TOGETHER = 20  # messages of one urgency sent as one: chats allow a few a second
_LONGEST = 1500  # characters of one message; SMS gateways and chats cut beyond
_RETRY_S = (2.0, 10.0)  # only for what is critical
_PING_EVERY_S = 60.0
_PING_TIMEOUT_S = (5.0, 10.0)
_RANK = {Urgency.INFO: 0, Urgency.WARNING: 1, Urgency.CRITICAL: 2}


@dataclass(frozen=True, slots=True)
class _Message:
    urgency: Urgency
    title: str
    text: str


class Messenger:
    """Sends messages to every configured address; a `Notifier`.

    Attributes:
        sent: messages handed to all addresses.
    failed: messages that an address would not take.
    dropped: messages that gave way in a full queue.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        size: int = QUEUE_SIZE,
        retry_s: Sequence[float] = _RETRY_S,
    ) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            urls: of apprise, one per channel; they hold secrets. Without any, every
                message is dropped silently.
            size: messages kept at most.
            retry_s: waits before a critical message is tried again.

        Raises:
            ConfigError: an address is none, or apprise is not installed.
        """
        self._outlet: Any = _open_apprise(urls) if urls else None
        self._size = size
        self._retry_s = tuple(retry_s)
        self._queue: deque[_Message] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._busy = False
        self._thread: threading.Thread | None = None
        self.sent = 0
        self.failed = 0
        self.dropped = 0

    def start(self) -> None:
        """Start the thread; nothing happens without an address."""
        if self._outlet is not None and self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="kisbt-notify", daemon=True
            )
            self._thread.start()

    def notify(self, urgency: Urgency, title: str, text: str) -> None:
        """Queue a message; returns at once, whatever the way out does."""
        if self._outlet is None:
            return
        with self._changed:
            if self._closing:
                return
            if len(self._queue) >= self._size:
                self._make_room(urgency)
            if len(self._queue) < self._size:
                self._queue.append(_Message(urgency, title, text[:_LONGEST]))
            self._changed.notify_all()

    def close(self, timeout_s: float = 10.0) -> bool:
        """Send what is queued, then end the thread.

        Returns:
            Whether everything has left in time; what has not is given up.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is queued or being sent; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._queue and not self._busy, timeout_s
            )

    def _make_room(self, urgency: Urgency) -> None:
        """Drop the oldest of the least urgent, unless all matter more."""
        least = min(self._queue, key=lambda item: _RANK[item.urgency])
        self.dropped += 1
        if _RANK[least.urgency] <= _RANK[urgency]:
            self._queue.remove(least)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                batch = self._take_batch()
                self._busy = True
            self._send(batch)

    def _take_batch(self) -> list[_Message]:
        """Take the most urgent first, and with it what else is as urgent."""
        top = max(self._queue, key=lambda item: _RANK[item.urgency]).urgency
        batch = [item for item in self._queue if item.urgency is top][:_TOGETHER]
        for item in batch:
            self._queue.remove(item)
        return batch

    def _send(self, batch: list[_Message]) -> None:
        first = batch[0]
        title, text = first.title, first.text
        if len(batch) > 1:
            title = _("kisbt: {count} messages").format(count=len(batch))
            text = "\n".join(f"{item.title}: {item.text}" for item in batch)
        waits = self._retry_s if first.urgency is Urgency.CRITICAL else ()
        for wait_s in (*waits, None):
            if self._hand_over(first.urgency, title, text):
                self.sent += len(batch)
                return
            if wait_s is None or self._closed_within(wait_s):
                break
        self.failed += len(batch)
        # Not the address: it holds the secret of the channel.
        log.warning("message not delivered: %s", title)

    def _closed_within(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, seconds)

    def _hand_over(self, urgency: Urgency, title: str, text: str) -> bool:
        kinds = {
            Urgency.INFO: "info",
            Urgency.WARNING: "warning",
            Urgency.CRITICAL: "failure",
        }
        try:
            # apprise would read a text as Markdown for some channels.
            taken = self._outlet.notify(
                body=text, title=title, notify_type=kinds[urgency], body_format="text"
            )
        except Exception as error:  # noqa: BLE001 - a plugin must not end the thread
            log.warning("message not delivered: %s", type(error).__name__)
            return False
        return bool(taken)


def _open_apprise(urls: Sequence[str]) -> Any:
    if find_spec("apprise") is None:
        raise ConfigError(
            _(
                "notify.urls needs the package apprise: pip install 'kisbt[notify]', or "
                "remove notify.urls"
            ),
            path="notify.urls",
        )
    import apprise

    # Its own log repeats parts of the addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    outlet = apprise.Apprise()
    for number, url in enumerate(urls, 1):
        if not outlet.add(url):
            scheme = url.partition("://")[0] if "://" in url else ""
            raise ConfigError(
                _(
                    "notify.urls, number {number} ({scheme}://***): no address apprise "
                    "knows; see github.com/caronc/apprise for the form of each channel"
                ).format(number=number, scheme=scheme),
                path="notify.urls",
            )
    return outlet


class Pinger:
    """Calls an address each minute while the run says that it is alive.

    The monitor behind it raises the alarm when the calls stop: when the machine, the
    network or the strategy loop is dead.

    Attributes:
        pings: calls answered with success.
        failed: calls that were not.
    """

    def __init__(self, url: str, *, every_s: float = _PING_EVERY_S) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            url: http or https.
            every_s: seconds between calls.

        Raises:
            ConfigError: it is no such address.
        """
        try:
            parts = urlsplit(url)
            known = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            known = False
        if not known:
            raise ConfigError(
                _("notify.heartbeat_url: expected an address such as https://host/id"),
                path="notify.heartbeat_url",
            )
        self._url = url
        self._every_s = every_s
        self._alive = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.pings = 0
        self.failed = 0

    def start(self) -> None:
        """Start the thread; the first call follows the first `alive`."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="kisbt-heartbeat", daemon=True
            )
            self._thread.start()

    def alive(self) -> None:
        """Say that the strategy loop turns; returns at once."""
        self._alive.set()

    def close(self, timeout_s: float = 5.0) -> bool:
        """End the thread; return whether it has ended in time."""
        self._ended.set()
        self._alive.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                self._alive.wait()
                if self._ended.is_set():
                    return
                self._alive.clear()
                self._call(session)
                if self._ended.wait(self._every_s):
                    return

    def _call(self, session: requests.Session) -> None:
        try:
            reply = session.get(
                self._url, timeout=_PING_TIMEOUT_S, allow_redirects=False, stream=True
            )
            reply.close()
        except (requests.RequestException, ValueError) as error:
            self.failed += 1
            log.warning("heartbeat not delivered: %s", type(error).__name__)
            return
        if reply.status_code < requests.codes.bad_request:
            self.pings += 1
        else:
            self.failed += 1
            log.warning("heartbeat refused: status %s", reply.status_code)
