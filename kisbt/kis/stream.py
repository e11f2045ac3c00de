"""The one websocket of an app key: connect, subscribe, listen, come back.

One thread owns the socket and the subscriptions. What it hears goes to two places:
notices and everything an owner must act on into a queue that never drops, trades and
order books into a buffer that is thinned out when nobody takes them.

A notice is a hint and may be lost with the connection; after each interruption the
owner gets a `Gap` and asks over REST.
"""

import logging
import queue
import random
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol
from urllib.parse import urlsplit

import websocket
from websocket import ABNF, WebSocketException, WebSocketTimeoutException
from websocket._logging import isEnabledForTrace

from kisbt.clock import Clock, SystemClock
from kisbt.errors import ConfigError, InputError, KisError, WireError
from kisbt.kis.keys import KisKeys, Secret
from kisbt.kis.servers import Server, require_own_keys
from kisbt.kis.wire import fields as f
from kisbt.kis.wire.codes import Retry
from kisbt.kis.wire.endpoints import REGISTRATIONS
from kisbt.kis.wire.stream import (
    ALREADY,
    Confirmation,
    Distrust,
    Frame,
    Notices,
    Ping,
    Quotes,
    Registration,
    StreamDecoder,
    Ticks,
    book_tr,
    encode_registration,
    trade_tr,
)
from kisbt.model.account import Environment
from kisbt.model.quote import Board, Quote, Tick
from kisbt.model.stream import Alert, Gap, StreamEvent, Trouble
from kisbt.text import _

log = logging.getLogger(__name__)

_PATH = "/tryitout"
_BAD_APPROVAL = "OPSP0011"
_IN_USE = "OPSP8996"
_TOO_MANY = "OPSP0008"

MOST_TRADES = REGISTRATIONS - 1
"""Symbols one session follows; a registration is kept for the notices of orders."""

MAX_CONNECTS = 20
CONNECT_WINDOW_S = 600.0
"""No more than 20 connections in ten minutes: KIS blocks the address and the app key
of clients that connect and drop in a loop (portal notice of 2026-02-24)."""
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 180.0
_IN_USE_PAUSE_S = 200.0  # three attempts in ten minutes: nothing on our side frees it
_SETTLED_S = 60.0  # a connection that lived so long was a good one
_CONNECT_S = 5.0
_CONFIRM_S = 5.0
_POLL_S = 0.2  # how soon a new subscription or a stop is noticed
_SLICE_S = 1.0  # of a pause, so that a stop need not wait for its end


@dataclass(frozen=True, slots=True)
class Topic:
    """One registration: what is wanted, and for which key.

    Attributes:
        key: a symbol; for notices the HTS id, which is not shown.
    """

    tr_id: str
    key: str = field(repr=False)

    @property
    def is_notice(self) -> bool:
        """Whether it brings notices of orders."""
        return self.tr_id in f.NOTICE_TRS

    @property
    def is_trade(self) -> bool:
        """Whether it brings trades."""
        return self.tr_id in f.TRADE_TRS

    @property
    def name(self) -> str:
        """For people and logs."""
        return self.tr_id if self.is_notice else f"{self.tr_id} {self.key}"


_A_NOTICE = Topic(f.NOTICE_TR_REAL, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """How a stream does.

    Attributes:
        ready: everything wanted is confirmed.
        settled: everything wanted has been asked for on this connection, and
            answered: what is not confirmed has been refused.
        connects: connections tried since the start.
        counts: frames and what went wrong with them, by name.
    """

    ready: bool
    settled: bool
    connected: bool
    wanted: int
    confirmed: int
    connects: int
    distrusted: tuple[str, ...]
    counts: dict[str, int]


class Socket(Protocol):
    """What the stream needs of a websocket."""

    def send(self, payload: str) -> int:
        """Send a text frame."""
        ...

    def recv_data(self, control_frame: bool = False) -> tuple[int, bytes]:
        """Return the next frame; raises `WebSocketTimeoutException` if none came."""
        ...

    def settimeout(self, timeout: float | None) -> None:
        """Set how long `recv_data` waits."""
        ...

    def close(self) -> None:
        """Close with a handshake."""
        ...


class ApprovalSource(Protocol):
    """Who gives the key that opens the stream: an `Authenticator`."""

    def approval_key(self, *, refused: Secret | None = None) -> Secret:
        """Return an approval key, another one than `refused`."""
        ...


class _Lost(Exception):
    """The connection is over; the message is for the log."""


class _Shared:
    """What the thread hears and the owner takes; each side locks for moments only."""

    def __init__(self, clock: Clock, silence_s: float, buffer: int) -> None:
        self.clock = clock
        self.silence_s = silence_s
        self._buffer = buffer
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.ready = threading.Event()
        self.events: queue.SimpleQueue[StreamEvent] = queue.SimpleQueue()
        self.wanted: dict[Topic, None] = {}
        self.confirmed: set[Topic] = set()
        self.refused: set[Topic] = set()
        self.ticks: list[Tick] = []
        self.quotes: dict[tuple[str, Board], Quote] = {}
        self.heard_s: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self.distrusted: set[str] = set()
        self.connects = 0
        self.connected = False
        self.settled = False
        self.unsettled = True
        """A topic may have to be registered or unregistered."""
        self.frames = 0
        self.on_data: Callable[[], None] = _nothing
        self._totals: dict[tuple[str, Board], int] = {}
        # Of the thread alone:
        self.last_heard: datetime | None = None
        self.bad_approvals = 0

    def alert(
        self, trouble: Trouble, text: str, code: str = "", *, of: Topic | None = None
    ) -> None:
        """Tell the owner of a trouble with one topic, or with all of them."""
        if of is None:
            with self.lock:
                about = tuple(self.wanted)
        else:
            about = (of,)
        self.events.put(
            Alert(
                self.clock.now(),
                trouble,
                text,
                code,
                trades=any(topic.is_trade for topic in about),
                orders=any(topic.is_notice for topic in about),
                symbol="" if of is None or of.is_notice else of.key,
            )
        )
        self.on_data()

    def keep_ticks(self, rows: Iterable[Tick]) -> None:
        now_s = self.clock.monotonic()
        with self.lock:
            for tick in rows:
                place = (tick.symbol, tick.board)
                before = self._totals.get(place)
                if before is not None and tick.total_quantity != before + tick.quantity:
                    ahead = tick.total_quantity > before
                    self.counts["missed" if ahead else "out_of_order"] += 1
                self._totals[place] = tick.total_quantity
                self.heard_s[tick.symbol] = now_s
                self.ticks.append(tick)
            if len(self.ticks) > self._buffer:
                kept = thin_out(self.ticks)[-self._buffer :]
                self.counts["conflated"] += len(self.ticks) - len(kept)
                self.ticks = kept

    def keep_quotes(self, rows: Iterable[Quote]) -> None:
        now_s = self.clock.monotonic()
        with self.lock:
            for quote in rows:
                self.quotes[quote.symbol, quote.board] = quote
                self.heard_s[quote.symbol] = now_s


class KisStream:
    """Everything KIS pushes, for one app key; start it once, stop it once."""

    def __init__(  # noqa: PLR0913 - each is a thing of its own
        self,
        keys: KisKeys,
        server: Server,
        auth: ApprovalSource,
        *,
        clock: Clock | None = None,
        connect: Callable[[str], Socket] | None = None,
        silence_s: float = 25.0,
        buffer: int = 100_000,
        on_data: Callable[[], None] | None = None,
    ) -> None:
        """Make a stream; nothing is connected before `start`.

        Args:
            keys: of the server's environment.
            server: KIS or the emulator.
            auth: gives approval keys.
            clock: of pauses and silence; the real one, also for an emulator, whose
                own time may stand still. A test moves it.
            connect: opens a websocket; the network by default.
            silence_s: without any frame for so long, the connection is dead. KIS
                sends PINGPONG about every ten seconds.
            buffer: trades kept for a consumer that does not come.
            on_data: called in the stream's thread after each frame and event; it
                must return at once.

        Raises:
            ConfigError: the keys do not belong to the server, or websocket-client
                prints what it sends.
        """
        require_own_keys(server, keys)
        if isEnabledForTrace() and not server.is_emulator:
            raise ConfigError(
                _(
                    "websocket.enableTrace is on: it would print the approval key. "
                    "Switch it off."
                )
            )
        self._keys = keys
        self._server = server
        self._auth = auth
        self._clock = clock or SystemClock()
        self._connect = connect or _open_socket
        self._random = random.Random()

        self._shared = _Shared(self._clock, silence_s, buffer)
        self._shared.on_data = on_data or _nothing
        self._thread: threading.Thread | None = None
        # Of the thread alone:
        self._connect_times: deque[float] = deque()
        self._approval: Secret | None = None
        self._failures = 0

    # For the owner.

    def start(self) -> None:
        """Start the thread; it connects as soon as something is wanted."""
        assert self._thread is None, "a stream is started once"
        self._thread = threading.Thread(
            target=self._supervise, name="kis-stream", daemon=True
        )
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Close the connection properly; return whether the thread has ended.

        A connection that is only dropped can keep the app key's one session busy
        for hours.
        """
        self._shared.stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def subscribe_notices(self) -> None:
        """Ask for notices of the account's orders.

        Raises:
            ConfigError: the keys have no HTS id.
        """
        hts_id = self._keys.hts_id.reveal()
        if not hts_id:
            raise ConfigError(
                _(
                    "the keys named {profile} have no HTS id, so KIS sends no notices; "
                    "add it with: kisbt keys add"
                ).format(profile=self._keys.profile),
                path="kis.profile",
            )
        real = self._server.environment is Environment.REAL
        self._want(Topic(f.NOTICE_TR_REAL if real else f.NOTICE_TR_MOCK, hts_id))

    def subscribe_trades(self, symbol: str, board: Board = Board.KRX) -> None:
        """Ask for every trade of a symbol.

        Raises:
            InputError: all registrations of the session are taken.
        """
        self._want(Topic(trade_tr(board), symbol))

    def subscribe_quotes(self, symbol: str, board: Board = Board.KRX) -> None:
        """Ask for the order book of a symbol.

        Raises:
            InputError: all registrations of the session are taken.
        """
        self._want(Topic(book_tr(board), symbol))

    def unsubscribe(self, symbol: str) -> None:
        """No longer ask for trades and order books of a symbol."""
        with self._shared.lock:
            for topic in [item for item in self._shared.wanted if item.key == symbol]:
                if not topic.is_notice:
                    del self._shared.wanted[topic]
            self._shared.unsettled = True

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until everything wanted is confirmed; return whether it is."""
        return self._shared.ready.wait(timeout_s)

    def next_event(self, timeout_s: float | None = None) -> StreamEvent | None:
        """Return the next notice, gap or alert; None if none came in time."""
        try:
            return self._shared.events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def take_ticks(self) -> list[Tick]:
        """Return the trades since the last call, in their order."""
        with self._shared.lock:
            taken, self._shared.ticks = self._shared.ticks, []
        return taken

    def take_quotes(self) -> list[Quote]:
        """Return the latest order book of each symbol that changed."""
        with self._shared.lock:
            taken, self._shared.quotes = self._shared.quotes, {}
        return list(taken.values())

    def quiet_s(self, symbol: str) -> float | None:
        """Return the seconds since a symbol's last frame; None if there was none."""
        with self._shared.lock:
            heard_s = self._shared.heard_s.get(symbol)
        return None if heard_s is None else self._clock.monotonic() - heard_s

    @property
    def frames(self) -> int:
        """Frames read so far, of any kind; each has been dealt with."""
        return self._shared.frames

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def state(self) -> StreamState:
        """Return how the stream does."""
        with self._shared.lock:
            return StreamState(
                ready=self._shared.ready.is_set(),
                settled=self._shared.settled and not self._shared.unsettled,
                connected=self._shared.connected,
                wanted=len(self._shared.wanted),
                confirmed=len(self._shared.confirmed),
                connects=self._shared.connects,
                distrusted=tuple(sorted(self._shared.distrusted)),
                counts=dict(self._shared.counts),
            )

    def _want(self, topic: Topic) -> None:
        with self._shared.lock:
            if topic in self._shared.wanted:
                return
            taken = sum(not item.is_notice for item in self._shared.wanted)
            if not topic.is_notice and taken >= REGISTRATIONS - 1:
                raise InputError(
                    _(
                        "{topic}: KIS allows {limit} registrations a session, one of "
                        "them kept for the notices of orders; use fewer symbols"
                    ).format(topic=topic.name, limit=REGISTRATIONS)
                )
            self._shared.wanted[topic] = None
            self._shared.unsettled = True
            self._shared.ready.clear()

    # The thread.

    def _supervise(self) -> None:
        """Run until stopped, whatever happens."""
        while not self._shared.stop.is_set():
            try:
                self._run()
            except Exception:  # the thread's end
                log.exception("stream thread failed, starting it anew")
                self._shared.alert(
                    Trouble.FAULT,
                    _("a mistake in kisbt interrupted the stream; it starts anew"),
                )
                self._failures += 1
                self._pause(self._backoff_s())

    def _run(self) -> None:
        while not self._shared.stop.is_set():
            with self._shared.lock:
                idle = not self._shared.wanted
            if idle:
                self._pause(_POLL_S)
                continue
            pause_s = self._session()
            self._pause(pause_s)

    def _session(self) -> float:
        """Connect and listen until it ends; return how long to pause after it."""
        self._pause(self._budget_wait_s())
        if self._shared.stop.is_set():
            return 0.0
        began_s = self._clock.monotonic()
        self._connect_times.append(began_s)
        with self._shared.lock:
            self._shared.connects += 1
        session: _Session | None = None
        pause_s: float | None = None
        try:
            if self._approval is None:
                self._approval = self._auth.approval_key()
            url = self._server.ws_url + _PATH
            session = _Session(self._shared, self._connect(url), self._approval)
            session.listen()
        except _Refused as error:
            pause_s = self._after_refusal(error.answer)
        except _Lost as error:
            self._down(str(error))
        except KisError as error:
            self._down(str(error))
        except (OSError, WebSocketException) as error:
            # Their text may quote what was sent.
            self._down(_("no connection ({kind})").format(kind=type(error).__name__))
        finally:
            if session is not None:
                session.close()
            with self._shared.lock:
                self._shared.connected = self._shared.settled = False
                self._shared.confirmed.clear()
            self._shared.ready.clear()
        if self._clock.monotonic() - began_s >= _SETTLED_S:
            self._failures = 0
        self._failures += 1
        return self._backoff_s() if pause_s is None else pause_s

    def _after_refusal(self, answer: Confirmation) -> float | None:
        """Tell the owner; return how long to pause, None for the usual."""
        if answer.code == _IN_USE:
            self._shared.alert(
                Trouble.IN_USE,
                _(
                    "another program uses the websocket of this app key, or an earlier "
                    "connection was not closed; KIS frees it after seconds to hours. "
                    "Close the other program; trying again every few minutes."
                ),
                answer.code,
            )
            self._down(answer.text)
            return _IN_USE_PAUSE_S * self._random.uniform(1.0, 1.3)
        if answer.code == _BAD_APPROVAL:
            refused, self._approval = self._approval, None
            self._shared.bad_approvals += 1
            if self._shared.bad_approvals == 1:
                self._approval = self._auth_again(refused)
        self._down(f"{answer.code} {answer.text}")
        return None

    def _auth_again(self, refused: Secret | None) -> Secret | None:
        try:
            return self._auth.approval_key(refused=refused)
        except KisError as error:
            log.warning("no approval key: %s", error)
            return None

    def _budget_wait_s(self) -> float:
        now_s = self._clock.monotonic()
        times = self._connect_times
        while times and now_s - times[0] >= CONNECT_WINDOW_S:
            times.popleft()
        if len(times) < MAX_CONNECTS:
            return 0.0
        wait_s = times[0] + CONNECT_WINDOW_S - now_s
        log.warning("reconnect budget used up, waiting %.0f s", wait_s)
        return wait_s

    def _backoff_s(self) -> float:
        growing = _FIRST_PAUSE_S * 2.0 ** min(max(self._failures - 1, 0), 10)
        return min(growing, _LONGEST_PAUSE_S) * self._random.uniform(0.5, 1.5)

    def _pause(self, seconds: float) -> None:
        until_s = self._clock.monotonic() + seconds
        while not self._shared.stop.is_set():
            left_s = until_s - self._clock.monotonic()
            if left_s <= 0:
                return
            self._clock.sleep(min(left_s, _SLICE_S))

    def _down(self, why: str) -> None:
        if self._shared.stop.is_set():
            return
        log.warning("stream down: %s", why)
        self._shared.alert(Trouble.DOWN, _("stream down: {why}").format(why=why))


class _Refused(Exception):
    """KIS answered the session with an error that ends it."""

    def __init__(self, answer: Confirmation) -> None:
        super().__init__(answer.code)
        self.answer = answer


class _Session:
    """One connection, from its opening to its end; lives in the stream's thread."""

    def __init__(self, shared: _Shared, sock: Socket, approval: Secret) -> None:
        self._shared = shared
        self._clock = shared.clock
        self._sock = sock
        self._approval = approval
        self._decoder = StreamDecoder()
        self._heard_s = self._clock.monotonic()
        self._asked: tuple[Topic, bool] | None = None
        self._asked_s = 0.0
        self._asked_again = False
        self._told_ready = False
        self._renewed: set[Topic] = set()
        self._drop_first: list[Topic] = []
        with shared.lock:
            shared.connected = True
            shared.unsettled = True
            # What was refused is asked for again, and told again if it still is; the
            # same with what could not be read.
            shared.refused.clear()
            shared.distrusted.clear()
        sock.settimeout(_POLL_S)

    def listen(self) -> None:
        """Subscribe and read frames until the connection ends or is stopped.

        Raises:
            _Lost, _Refused: it has ended.
            OSError, WebSocketException: the socket failed.
        """
        shared = self._shared
        while not shared.stop.is_set():
            self._ask_next()
            try:
                opcode, data = self._sock.recv_data()
            except WebSocketTimeoutException:
                self._check_silence()
                continue
            self._heard_s = self._clock.monotonic()
            if opcode == ABNF.OPCODE_CLOSE:
                raise _Lost(_("KIS closed it"))
            if opcode in {ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY}:
                try:
                    self._hear(data)
                finally:
                    self._shared.frames += 1
                    self._shared.on_data()

    def close(self) -> None:
        """Close with a handshake, so that KIS frees the session."""
        try:
            self._sock.close()
        except (OSError, WebSocketException) as error:
            log.debug("close: %s", type(error).__name__)

    def _check_silence(self) -> None:
        quiet_s = self._clock.monotonic() - self._heard_s
        if quiet_s > self._shared.silence_s:
            raise _Lost(_("silent for {seconds:.0f} s").format(seconds=quiet_s))

    # Subscriptions, one at a time.

    def _ask_next(self) -> None:
        if self._asked is not None:
            self._check_answer()
            return
        shared = self._shared
        if not (shared.unsettled or self._drop_first):
            return  # looked at after each of thousands of frames a second
        shared.unsettled = False  # first: what changes from here on is looked at again
        step = self._next_step()
        if step is None:
            self._tell_ready()
            return
        shared.unsettled = True
        self._asked_again = False
        self._send(*step)

    def _next_step(self) -> tuple[Topic, bool] | None:
        """Return what to register (True) or unregister (False) next."""
        if self._drop_first:
            return self._drop_first.pop(), False
        shared = self._shared
        with shared.lock:
            confirmed, wanted = shared.confirmed, shared.wanted
            for topic in confirmed:
                if topic not in wanted:
                    return topic, False
            missing = [
                topic
                for topic in wanted
                if topic not in confirmed and topic not in shared.refused
            ]
        # The notices first: they are what the others may never displace.
        missing.sort(key=lambda topic: not topic.is_notice)
        return (missing[0], True) if missing else None

    def _send(self, topic: Topic, register: bool) -> None:
        frame = encode_registration(
            Registration(self._approval.reveal(), topic.tr_id, topic.key, register)
        )
        self._asked = (topic, register)
        self._asked_s = self._clock.monotonic()
        self._sock.send(frame)

    def _check_answer(self) -> None:
        assert self._asked is not None
        if self._clock.monotonic() - self._asked_s < _CONFIRM_S:
            return
        if self._asked_again:
            raise _Lost(_("no answer to a subscription"))
        self._asked_again = True
        self._send(*self._asked)

    def _tell_ready(self) -> None:
        shared = self._shared
        with shared.lock:
            done = shared.wanted.keys() <= shared.confirmed
            up = [*shared.confirmed]
            unread = set(shared.distrusted)
        if not self._told_ready:
            self._told_ready = True
            shared.bad_approvals = 0
            now = self._clock.now()
            # Before anybody hears that all is well again: what was missed.
            shared.events.put(
                Gap(
                    shared.last_heard,
                    now,
                    trades=any(t.is_trade and t.tr_id not in unread for t in up),
                    # Notices that cannot be read still say that there is something.
                    orders=any(t.is_notice for t in up),
                )
            )
            shared.last_heard = now
            shared.on_data()
        shared.settled = True
        if done and not shared.ready.is_set():
            shared.ready.set()

    # Frames.

    def _hear(self, data: bytes) -> None:
        shared = self._shared
        if self._told_ready:
            shared.last_heard = self._clock.now()
        try:
            frame = self._decoder.decode(data.decode("utf-8", "replace"))
        except WireError as error:
            self._unreadable(data, error)
            return
        self._take(frame)

    def _take(self, frame: Frame) -> None:
        shared = self._shared
        counts = shared.counts
        if isinstance(frame, Ticks):
            counts["trades"] += len(frame.rows)
            shared.keep_ticks(frame.rows)
        elif isinstance(frame, Quotes):
            counts["quotes"] += len(frame.rows)
            shared.keep_quotes(frame.rows)
        elif isinstance(frame, Notices):
            counts["notices"] += len(frame.rows)
            for notice in frame.rows:
                shared.events.put(notice)
        elif isinstance(frame, Ping):
            counts["pings"] += 1
            self._sock.send(frame.text)
        elif isinstance(frame, Confirmation):
            self._answer(frame)
        else:
            self._distrust(frame)

    def _distrust(self, frame: Distrust) -> None:
        shared = self._shared
        shared.counts["distrusted"] += 1
        with shared.lock:
            new = frame.tr_id not in shared.distrusted
            shared.distrusted.add(frame.tr_id)
        if new:
            log.error("%s", frame)
            shared.alert(Trouble.DISTRUSTED, str(frame), of=Topic(frame.tr_id, ""))

    def _unreadable(self, data: bytes, error: WireError) -> None:
        """Drop a frame; one of notices is asked for again with a new key."""
        shared = self._shared
        shared.counts["unreadable"] += 1
        log.warning("frame dropped: %s", error)
        if not data.startswith(b"1|"):
            return
        shared.alert(
            Trouble.UNREADABLE,
            _("a notice could not be read: {why}").format(why=error),
            of=_A_NOTICE,
        )
        with shared.lock:
            topics = [
                topic
                for topic in shared.confirmed
                if topic.is_notice and topic not in self._renewed
            ]
        for topic in topics:  # once a connection
            self._renewed.add(topic)
            self._drop_first.append(topic)

    def _answer(self, answer: Confirmation) -> None:
        asked = self._asked
        if not answer.accepted and (asked is None or not self._is_about(answer, asked)):
            if answer.tr_id:
                log.warning("late answer: %s %s", answer.code, answer.text)
                return
            raise _Refused(answer)
        if asked is None or not self._is_about(answer, asked):
            return
        topic, register = asked
        shared = self._shared
        self._asked = None
        if answer.accepted or not register:
            if register and answer.code == ALREADY and topic.is_notice:
                # Registered before, but without the key that came with it.
                self._once_more(topic)
                return
            with shared.lock:
                if register:
                    shared.confirmed.add(topic)
                else:
                    shared.confirmed.discard(topic)
            return
        self._refused(topic, answer)

    def _once_more(self, topic: Topic) -> None:
        if topic in self._renewed:
            raise _Lost(_("KIS gives no key for the notices"))
        self._renewed.add(topic)
        self._drop_first.append(topic)

    def _is_about(self, answer: Confirmation, asked: tuple[Topic, bool]) -> bool:
        topic = asked[0]
        if not answer.tr_id:
            return not answer.accepted
        return answer.tr_id == topic.tr_id and answer.tr_key in {topic.key, ""}

    def _refused(self, topic: Topic, answer: Confirmation) -> None:
        lasting = answer.retry is Retry.NO or answer.code == _TOO_MANY
        if answer.code in {_IN_USE, _BAD_APPROVAL} or not lasting:
            raise _Refused(answer)
        shared = self._shared
        with shared.lock:
            shared.refused.add(topic)
        shared.alert(
            Trouble.REFUSED,
            _("{topic}: KIS refuses the subscription: {code} {text}").format(
                topic=topic.name, code=answer.code, text=answer.text
            ),
            answer.code,
            of=topic,
        )


def _nothing() -> None:
    """Tell nobody."""


def thin_out(ticks: Iterable[Tick]) -> list[Tick]:
    """Return at most four trades a symbol and minute: first, high, low, last.

    Candles made of them have the same prices, and the same volume: what is left out
    is added to the quantity of the next one kept.
    """

    def place(tick: Tick) -> tuple[str, str, datetime]:
        return tick.symbol, tick.board, tick.at.replace(second=0)

    numbered = sorted(enumerate(ticks), key=lambda item: (place(item[1]), item[0]))
    kept: list[tuple[int, Tick]] = []
    for _place, group in groupby(numbered, key=lambda item: place(item[1])):
        rows = list(group)
        prices = [tick.price for _number, tick in rows]
        wanted = {
            0,
            prices.index(max(prices)),
            prices.index(min(prices)),
            len(rows) - 1,
        }
        waiting = 0
        for at, (number, tick) in enumerate(rows):
            if at in wanted:
                quantity = tick.quantity + waiting
                kept.append((number, tick._replace(quantity=quantity)))
                waiting = 0
            else:
                waiting += tick.quantity
    return [tick for _number, tick in sorted(kept, key=lambda item: item[0])]


def _open_socket(url: str) -> Socket:
    """Open a websocket: no proxy, no redirect, no cookies.

    Raises:
        OSError, WebSocketException: it cannot be opened.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    # A socket of our own: the library would take a proxy out of the environment.
    sock = socket.create_connection(
        (parts.hostname, parts.port or 80), timeout=_CONNECT_S
    )
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened: Any = websocket.create_connection(
            url,
            timeout=_CONNECT_S,
            socket=sock,
            redirect_limit=0,
            suppress_origin=True,
            skip_utf8_validation=True,
            enable_multithread=False,
        )
    except BaseException:
        sock.close()
        raise
    status = getattr(opened.handshake_response, "status", None)
    if status != 101:
        opened.close()
        raise WebSocketException(f"status {status}")
    checked: Socket = opened
    return checked
