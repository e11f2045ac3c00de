"""The websocket end of one emulated server."""

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kisbt.emulator.answers import order_text
from kisbt.emulator.framing import FrameFaults, change_width
from kisbt.emulator.links import Link, link_of
from kisbt.emulator.market import Listing, Trade
from kisbt.emulator.orders import Act, Event, Kind, Notice as Happening
from kisbt.emulator.quotes import quote_of
from kisbt.emulator.side import ServerSide
from kisbt.kis.wire import fields as f
from kisbt.kis.wire.crypto import NoticeCipher
from kisbt.kis.wire.endpoints import REGISTRATIONS
from kisbt.kis.wire.stream import (
    ALREADY,
    SUBSCRIBED,
    UNSUBSCRIBED,
    BadFrame,
    Confirmation,
    Ping,
    Registration,
    book_tr,
    decode_registration,
    encode_confirmation,
    encode_notices,
    encode_ping,
    encode_quote,
    encode_ticks,
    trade_tr,
)
from kisbt.model.account import Environment
from kisbt.model.instrument import Product
from kisbt.model.order import Notice, NoticeAction, NoticeKind
from kisbt.model.quote import Board, MarketClass, Price, Tick

_LOG = logging.getLogger(__name__)

# Seen in clients: about ten seconds without traffic; when a silent client is dropped
# is not known.
PING_EVERY_S = 10.0
SILENCE_S = 60.0
# Frames waiting for a slow client before the connection is given up.
_MOST_WAITING = 200_000

# A burst: so many frames wait that trades are packed together, this many a frame.
_BURST = 32
_MOST_RECORDS = 10
_TRADE_FRAMES = tuple(f"0|{tr_id}|001|" for tr_id in f.TRADE_TRS)
_HEAD_WIDTH = len(_TRADE_FRAMES[0])

_KINDS = {
    Event.ACCEPTED: NoticeKind.ACCEPTED,
    Event.CONFIRMED: NoticeKind.CONFIRMED,
    Event.FILLED: NoticeKind.FILLED,
    Event.REJECTED: NoticeKind.REFUSED,
    Event.ENDED: NoticeKind.CANCELLED,
}
_ACTIONS = {
    Act.NEW: NoticeAction.NEW,
    Act.AMEND: NoticeAction.AMEND,
    Act.CANCEL: NoticeAction.CANCEL,
}
_BOARDS = (Board.KRX, Board.NXT, Board.UNIFIED)


@dataclass(slots=True)
class Session:
    """One websocket connection.

    Attributes:
        registered: TR id and key to the cipher of notices; None for other TRs.
        outgoing: frames to be sent, oldest first.
        holds_slot: whether it is the session of the app key.
        asked: when a PINGPONG went out that has not been answered; None if none.
        dead: nothing is sent any more, and the client is not told.
    """

    link: Link
    registered: dict[tuple[str, str], NoticeCipher | None] = field(default_factory=dict)
    outgoing: deque[str] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    holds_slot: bool = False
    asked: float | None = None
    sent_s: float = 0.0
    sent_at: datetime | None = None
    dead: bool = False
    closing: bool = False

    def push(self, frame: str) -> None:
        """Queue a frame."""
        if self.dead:
            return
        if len(self.outgoing) >= _MOST_WAITING:
            self.cut()
            return
        self.outgoing.append(frame)
        self.wake.set()

    def cut(self) -> None:
        """End the connection without a farewell."""
        self.dead = True
        if self.link.transport is not None:
            self.link.transport.abort()
        self.wake.set()


class StreamHub:
    """All websocket sessions of one server; there is at most one per app key.

    Attributes:
        connects: connections so far.
        sent: frames so far, with those that a broken connection keeps from its
            client: who counts what has come knows that something was lost.
        ping: whether PINGPONG is sent.
        stuck_until: seconds of the limit clock until which a lost session keeps its
            slot.
    """

    def __init__(self, side: ServerSide) -> None:
        """Serve what `side` trades."""
        self.side = side
        self.sessions: list[Session] = []
        self.connects = 0
        self.sent = 0
        self.stuck_until = 0.0
        self.frames = FrameFaults(side.faults)
        self._wanted: dict[tuple[str, str], int] = {}
        side.exchange.floor.watch(self._on_trade)

    # One connection.

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Talk to one client until it leaves."""
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 426, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        self.connects += 1
        session = Session(link_of(scope))
        session.sent_s = asyncio.get_running_loop().time()
        session.sent_at = self.side.exchange.floor.now
        self.sessions.append(session)
        sender = asyncio.create_task(self._send_all(session, send))
        try:
            await self._listen(session, receive)
        finally:
            self._leave(session)
            session.wake.set()
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    def _leave(self, session: Session) -> None:
        session.dead = True
        self.sessions.remove(session)
        for key in session.registered:
            self._wanted[key] -= 1
        if session.holds_slot:
            stuck = self.side.faults.strike("ws", ("slot",), do="stuck_slot")
            if stuck is not None:
                seconds = stuck.number("arg", 30.0)
                self.stuck_until = self.side.times.limit_s() + seconds

    async def _listen(self, session: Session, receive: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            raw = message.get("text")
            if raw is None:
                raw = message.get("bytes") or b""
            if session.dead:
                continue
            self._handle(session, raw)

    async def _send_all(self, session: Session, send: Any) -> None:
        loop = asyncio.get_running_loop()
        # The client leaves whenever it likes: what is sent then goes nowhere.
        with contextlib.suppress(Exception):
            while not session.dead:
                await session.wake.wait()
                session.wake.clear()
                while session.outgoing and not session.dead:
                    frame = self._next_frame(session.outgoing)
                    # Counted first: whoever sees no frame waiting must not miss
                    # the one that is on its way.
                    self.sent += 1
                    await send({"type": "websocket.send", "text": frame})
                session.sent_s = loop.time()
                session.sent_at = self.side.exchange.floor.now
                if session.closing and not session.outgoing:
                    await send({"type": "websocket.close", "code": 1000})
                    return

    def _next_frame(self, outgoing: deque[str]) -> str:
        """Take the next frame; in a burst, trades of one TR share a frame.

        The broker packs several trades into a frame as well when many come at once.
        """
        frame = outgoing.popleft()
        backlog = len(outgoing) > _BURST and not self.side.faults.faults
        if not backlog or not frame.startswith(_TRADE_FRAMES):
            return frame
        head = frame[:_HEAD_WIDTH]
        rows = [frame[_HEAD_WIDTH:]]
        while len(rows) < _MOST_RECORDS and outgoing and outgoing[0].startswith(head):
            rows.append(outgoing.popleft()[_HEAD_WIDTH:])
        tr_id = frame.split("|", 2)[1]
        return f"0|{tr_id}|{len(rows):03}|{'^'.join(rows)}"

    # What a client says.

    def _handle(self, session: Session, raw: str | bytes) -> None:
        found = decode_registration(raw)
        if isinstance(found, Ping):
            session.asked = None
            return
        if self.side.faults.strike("ws", ("control",), do="mute_control"):
            return
        if isinstance(found, BadFrame):
            answer = Confirmation("", "", False, found.code, found.text)
            session.push(encode_confirmation(answer, result="9"))
            return
        self._register(session, found)

    def _register(self, session: Session, asked: Registration) -> None:
        refused = self._refused(session, asked)
        if refused is not None:
            answer, result = refused
            session.push(encode_confirmation(answer, result=result))
            if answer.code == _IN_USE:
                session.closing = True
                session.wake.set()
            return
        session.holds_slot = True
        key = (asked.tr_id, asked.tr_key)
        if not asked.register:
            self._unregister(session, key)
            return
        if key in session.registered:
            session.push(_confirm(asked, ALREADY, "ALREADY IN SUBSCRIBE"))
            return
        if len(session.registered) >= REGISTRATIONS:
            answer = Confirmation(*key, False, "OPSP0008", "MAX SUBSCRIBE OVER")
            session.push(encode_confirmation(answer))
            return
        aes_key, iv = secrets.token_hex(16), secrets.token_hex(8)
        is_notice = asked.tr_id in f.NOTICE_TRS
        session.registered[key] = NoticeCipher(aes_key, iv) if is_notice else None
        self._wanted[key] = self._wanted.get(key, 0) + 1
        answer = Confirmation(*key, True, SUBSCRIBED, "SUBSCRIBE SUCCESS")
        session.push(encode_confirmation(answer, key=aes_key, iv=iv))

    def _unregister(self, session: Session, key: tuple[str, str]) -> None:
        if key not in session.registered:
            text = "UNSUBSCRIBE ERROR(not found!)"
            answer = Confirmation(*key, False, "OPSP0003", text)
            session.push(encode_confirmation(answer))
            return
        del session.registered[key]
        self._wanted[key] -= 1
        answer = Confirmation(*key, True, UNSUBSCRIBED, "UNSUBSCRIBE SUCCESS")
        session.push(
            encode_confirmation(
                answer, key=secrets.token_hex(16), iv=secrets.token_hex(8)
            )
        )

    def _refused(
        self, session: Session, asked: Registration
    ) -> tuple[Confirmation, str] | None:
        """Return why a registration is refused, and its result code."""
        side = self.side
        key = (asked.tr_id, asked.tr_key)
        fault = side.faults.strike("ws", ("control", asked.tr_id), do="sub_reject")
        if fault is not None:
            code = fault.word("arg", "OPSP0007")
            return Confirmation(*key, False, code, f"scripted fault {code}"), ""
        now_s = side.times.limit_s()
        if not side.tokens.approved(asked.approval_key, now_s):
            text = "invalid approval : NOT FOUND"
            return Confirmation(*key, False, "OPSP0011", text), ""
        holder = any(item.holds_slot for item in self.sessions if item is not session)
        if holder or (not session.holds_slot and now_s < self.stuck_until):
            return Confirmation("", "", False, _IN_USE, "ALREADY IN USE appkey"), "9"
        if asked.tr_id not in self._offered():
            return Confirmation(*key, False, "OPSP8991", "INVALID tr_id"), ""
        wrong_id = asked.tr_key != side.exchange.account.hts_id
        if asked.tr_id in f.NOTICE_TRS and wrong_id:
            text = "ERROR : htsid가잘못되었습니다"
            return Confirmation("", "", False, "OPSP0017", text), "9"
        return None

    def _offered(self) -> frozenset[str]:
        if self.side.environment is Environment.MOCK:
            return _MOCK_TRS
        return _REAL_TRS

    # What the market and the desk say.

    def _on_trade(self, trade: Trade, listing: Listing) -> None:
        if not self.sessions or listing.instrument.product is Product.INDEX:
            return
        # A fill of the candle that has just closed goes out before the next trade.
        self.flush_notices()
        for board in _BOARDS:
            key = (trade_tr(board), trade.symbol)
            if self._wanted.get(key):
                self._publish(key, "trade", _tick_frame(trade, listing, board))
            key = (book_tr(board), trade.symbol)
            if self._wanted.get(key):
                self._publish(key, "book", _book_frame(trade, listing, board))

    def _publish(self, key: tuple[str, str], kind: str, text: str) -> None:
        for session in self.sessions:
            if key in session.registered:
                self._deliver(session, ("data", key[0], kind), text)

    def _deliver(self, session: Session, names: tuple[str, ...], text: str) -> None:
        if not session.dead:
            self.frames.deliver(session, names, text)
        if session.dead:
            self.sent += 1

    def flush_notices(self) -> None:
        """Send what happened to orders since the last time."""
        if not self.side.exchange.notices:
            return
        happenings, self.side.exchange.notices = self.side.exchange.notices, []
        tr_id = self._notice_tr()
        key = (tr_id, self.side.exchange.account.hts_id)
        for session in self.sessions:
            cipher = session.registered.get(key)
            if cipher is None:
                continue
            for happening in happenings:
                frame = self._notice_frame(happening, tr_id, cipher)
                self._deliver(session, ("data", tr_id, "notice"), frame)

    def _notice_frame(
        self, happening: Happening, tr_id: str, cipher: NoticeCipher
    ) -> str:
        strike = self.side.faults.strike
        used = cipher
        if strike("ws", ("notice",), do="bad_key"):
            used = NoticeCipher(secrets.token_hex(16), secrets.token_hex(8))
        day = happening.time.date()
        notice = self._notice(happening)
        frame = encode_notices((notice,), tr_id=tr_id, cipher=used, day=day)
        wider = strike("ws", ("notice",), do="notice_width")
        if wider is None:
            return frame
        # The width changes inside the encryption, as it did at the broker's.
        head, _bar, payload = frame.rpartition("|")
        text = change_width(wider, used.decrypt(payload))
        return f"{head}|{used.encrypt(text)}"

    def _notice_tr(self) -> str:
        mock = self.side.environment is Environment.MOCK
        return f.NOTICE_TR_MOCK if mock else f.NOTICE_TR_REAL

    def _notice(self, happening: Happening) -> Notice:
        order, answers = happening.order, self.side.answers
        account = self.side.exchange.account
        ticket = order.ticket
        return Notice(
            account=account.number.replace("-", ""),
            number=order_text(order.number),
            original_number=order_text(order.original),
            side=ticket.side,
            kind=_KINDS[happening.event],
            action=_ACTIONS[order.act],
            order_kind=ticket.order_kind,
            symbol=ticket.symbol,
            name=answers.name(ticket.symbol),
            quantity=happening.quantity,
            price=happening.price,
            time=happening.time.time().replace(microsecond=0),
            branch=answers.branch,
            order_quantity=order.quantity,
            order_price=0 if ticket.kind is Kind.MARKET else order.price,
            venue=ticket.venue,
            stop_price=ticket.trigger,
            customer=account.hts_id,
            holder="에뮬레이터",
        )

    # Time.

    def keep_alive(self, loop_time: float, now: datetime) -> None:
        """Send a PINGPONG where it is quiet; leave those who never answer."""
        for session in list(self.sessions):
            if session.asked is not None:
                answered = session.link.heard > session.asked
                if answered:
                    session.asked = None
                elif loop_time - session.asked > SILENCE_S:
                    session.cut()
                    self.sent += 1
                    continue
            if not session.holds_slot or session.outgoing:
                continue
            quiet_s = loop_time - session.sent_s
            quiet = now - (session.sent_at or now)
            due = quiet_s >= PING_EVERY_S or quiet.total_seconds() >= PING_EVERY_S
            if due and not self.side.faults.standing("ws", "no_ping"):
                session.sent_s, session.sent_at = loop_time, now
                session.push(encode_ping(now))
                if session.asked is None:
                    session.asked = loop_time

    @property
    def waiting(self) -> int:
        """Frames not sent yet."""
        return sum(len(session.outgoing) for session in self.sessions)

    @property
    def registrations(self) -> int:
        """Registrations of the session of the app key."""
        return sum(len(session.registered) for session in self.sessions)


_IN_USE = "OPSP8996"
_REAL_TRS = frozenset({*f.TRADE_TRS, *f.BOOK_TRS, f.NOTICE_TR_REAL})
# The mock port serves the exchange's own trades and books. Source: portal.
_MOCK_TRS = frozenset({trade_tr(Board.KRX), book_tr(Board.KRX), f.NOTICE_TR_MOCK})


def _confirm(asked: Registration, code: str, text: str) -> str:
    return encode_confirmation(
        Confirmation(asked.tr_id, asked.tr_key, True, code, text)
    )


def _tick_frame(trade: Trade, listing: Listing, board: Board) -> str:
    book = listing.book()
    tick = Tick(
        trade.symbol,
        trade.time,
        round(trade.price),
        trade.quantity,
        listing.volume,
        book.asks[0].price,
        book.bids[0].price,
        trade.side,
        MarketClass.REGULAR,
        board,
    )
    return encode_ticks((tick,), price=_day_so_far(listing))


def _day_so_far(listing: Listing) -> Price:
    base = listing.base
    change = listing.last - base
    return Price(
        symbol=listing.symbol,
        price=round(listing.last),
        change=round(change),
        change_pct=change / base * 100 if base else 0.0,
        open=round(listing.open),
        high=round(listing.high),
        low=round(listing.low),
        volume=listing.volume,
        amount=round(listing.value),
        base_price=round(base),
        upper_limit=0,
        lower_limit=0,
        tick_size=0,
        average_price=listing.value / listing.volume if listing.volume else 0.0,
    )


def _book_frame(trade: Trade, listing: Listing, board: Board) -> str:
    moment = trade.time.time().replace(microsecond=0)
    return encode_quote(quote_of(listing, moment, board=board), day=trade.time.date())
