"""Frames of the websocket to values, and back for a server.

A frame is either JSON (confirmations, PINGPONG) or ``enc|TR|count|fields`` with the
fields of all records joined by ``^``. Widths of records have changed without warning:
a frame of a width that is not in `LAYOUTS` is answered with `Distrust`, never read.

Source:
    Official websocket samples and portal tables; widths and dates: see `LAYOUTS`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

from kisbt.errors import WireError
from kisbt.kis.wire import fields as f
from kisbt.kis.wire.codes import RETRY, Retry
from kisbt.kis.wire.crypto import NoticeCipher
from kisbt.kis.wire.texts import (
    KST,
    choices,
    format_date,
    format_decimal,
    format_time,
    parse_time,
    parse_whole,
    sign_code,
)
from kisbt.model.order import Notice, NoticeAction, NoticeKind, OrderKind, Side, Venue
from kisbt.model.quote import Board, Level, MarketClass, Price, Quote, Tick
from kisbt.text import _

LEVELS: Final = 10
_NXT_OPENED: Final = date(2025, 3, 4)
_AFTER_MARKET: Final = date(2026, 9, 14)
_BEFORE: Final = date.min


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one record from a date on."""

    since: date
    fields: tuple[f.Field, ...]

    @property
    def width(self) -> int:
        """Columns of a record."""
        return len(self.fields)


_ATS_BOOK: Final = (*f.BOOK_FIELDS, *f.ATS_BOOK_TAIL)
_OLD_NOTICE: Final = (*f.NOTICE_FIELDS[:18], *f.OLD_NOTICE_TAIL)

# Trades: 46 columns, MARKET_CLS_CODE since 2026-09-14 (KIS notice of 2026-09-09 and
# the official sample). Exchange's book: 63 since the same day (one client's notes),
# 60 to 62 are read too, because only the first 59 columns are. Notices: 23 columns
# until NXT opened (portal's example, python-kis), 26 since.
_TRADE: Final = (
    Layout(_BEFORE, f.TRADE_FIELDS[:-1]),
    Layout(_AFTER_MARKET, f.TRADE_FIELDS),
)
_NOTICE: Final = (Layout(_BEFORE, _OLD_NOTICE), Layout(_NXT_OPENED, f.NOTICE_FIELDS))
_KRX_BOOK: Final = (
    Layout(_BEFORE, f.BOOK_FIELDS),
    Layout(_AFTER_MARKET, (*f.BOOK_FIELDS, *f.BOOK_TAIL)),
)
_NXT_BOOK: Final = (
    Layout(_BEFORE, _ATS_BOOK[:-1]),
    Layout(_AFTER_MARKET, _ATS_BOOK),
)

LAYOUTS: Final[Mapping[str, tuple[Layout, ...]]] = {
    **dict.fromkeys(f.TRADE_TRS, _TRADE),
    **{
        tr_id: _KRX_BOOK if board == "KRX" else _NXT_BOOK
        for tr_id, board in f.BOOK_TRS.items()
    },
    **dict.fromkeys(f.NOTICE_TRS, _NOTICE),
}
"""TR id to its layouts, oldest first."""

WIDTHS: Final[Mapping[str, frozenset[int]]] = {
    tr_id: frozenset(layout.width for layout in layouts)
    | (frozenset(range(59, 64)) if layouts is _KRX_BOOK else frozenset())
    for tr_id, layouts in LAYOUTS.items()
}
"""TR id to the widths that are read."""


def layout_on(tr_id: str, day: date) -> Layout:
    """Return the layout in which a record is sent on `day`."""
    return next(item for item in reversed(LAYOUTS[tr_id]) if item.since <= day)


# --- what comes from the server --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ping:
    """A sign of life; the same text must be sent back."""

    text: str


@dataclass(frozen=True, slots=True)
class Confirmation:
    """An answer to a subscription, or an error of the whole session.

    Attributes:
        tr_id, tr_key: "" where KIS does not tell what it means.
        accepted: registered, unregistered, or registered before.
        code, text: of KIS.
    """

    tr_id: str
    tr_key: str
    accepted: bool
    code: str
    text: str

    @property
    def registered(self) -> bool:
        """Whether the subscription stands."""
        return self.accepted and self.code != UNSUBSCRIBED

    @property
    def retry(self) -> Retry | None:
        """What may be done after the code; None if it is not known."""
        return RETRY.get(self.code)


class Ticks(NamedTuple):
    """Trades of one frame, in its order."""

    tr_id: str
    rows: tuple[Tick, ...]


class Quotes(NamedTuple):
    """Order books of one frame, in its order."""

    tr_id: str
    rows: tuple[Quote, ...]


class Notices(NamedTuple):
    """Events of orders of one frame, in its order."""

    tr_id: str
    rows: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class Distrust:
    """A frame whose width is not known; nothing of it was read.

    Attributes:
        width: columns of a record as it came.
        known: widths that are read.
    """

    tr_id: str
    width: int
    known: frozenset[int]

    def __str__(self) -> str:
        return _(
            "{tr_id}: a record has {width} columns, known are {known}; KIS has changed "
            "it, so it is no longer read"
        ).format(
            tr_id=self.tr_id,
            width=self.width,
            known=", ".join(str(width) for width in sorted(self.known)),
        )


Frame = Ping | Confirmation | Ticks | Quotes | Notices | Distrust

SUBSCRIBED: Final = "OPSP0000"
UNSUBSCRIBED: Final = "OPSP0001"
ALREADY: Final = "OPSP0002"

_SIDES: Final = {code: Side(side) for side, code in f.CCLD_DVSN.items()}
_CLASSES: Final = {code: MarketClass(name) for name, code in f.MARKET_CLS_CODE.items()}
_BOARDS: Final = {
    tr_id: Board(board) for tr_id, board in {**f.TRADE_TRS, **f.BOOK_TRS}.items()
}
_UNKNOWN: Final = MarketClass.UNKNOWN
_COUNTS: Final = {f"{count:03}": count for count in range(1, 1000)}
_NUMBERS_KEPT: Final = 2_000
_HEADS_KEPT: Final = 1_000
_MOMENTS_KEPT: Final = 300  # seconds of the day; trades of a moment come together
_NARROW, _WIDE = (item.width for item in _TRADE)
_TRADE_NUMBERS: Final = (2, 12, 10, 11, 13)
# From the price back to the base price; the sign stands in a column of its own.
_WAYS: Final = {
    **dict.fromkeys(f.RISING_SIGNS, -1),
    f.SIGN_FLAT: 0,
    **dict.fromkeys(f.FALLING_SIGNS, 1),
}
_taker: Final = _SIDES.get
_class_of: Final = _CLASSES.get
_MOMENT: Final = re.compile(r"[0-9]{14}")
_new_tuple: Final[Callable[..., Any]] = tuple.__new__


class StreamDecoder:
    """Reads frames; keeps the notice keys of one session.

    It belongs to one thread. A new session needs a new decoder, because keys change.
    """

    def __init__(self) -> None:
        self._ciphers: dict[str, NoticeCipher] = {}
        # Prices repeat and thousands of trades share a second: what was read once
        # is looked up, which is faster.
        self._heads: dict[str, tuple[str, str, Board, int]] = {}
        self._numbers: dict[str, int] = {}
        self._bases: dict[str, int] = {}
        self._day = ""
        self._moments: dict[str, datetime] = {}
        self._readers: dict[str, Callable[[str, int, list[str]], Frame]] = {
            **dict.fromkeys(f.TRADE_TRS, self._ticks),
            **dict.fromkeys(f.BOOK_TRS, _quotes),
            **dict.fromkeys(f.NOTICE_TRS, _notices),
        }

    def decode(self, text: str | bytes) -> Frame:
        """Return what a frame says; broken UTF-8 in it is replaced.

        Raises:
            WireError: it breaks the format, or holds a code of an order that is not
                known; nothing of it was read.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        # Nearly all frames are trades of a symbol seen before: the short way.
        values = text.split("^")
        head = self._heads.get(values[0])
        if head is not None:
            tr_id, symbol, board, count = head
            columns = len(values)
            ticks: Ticks
            if count == 1:
                if _NARROW <= columns <= _WIDE:
                    tick = self._tick(symbol, values, board)
                    ticks = _new_tuple(Ticks, (tr_id, (tick,)))
                    return ticks
            elif columns in (_NARROW * count, _WIDE * count):
                values[0] = symbol
                rows = self._rows(columns // count, values, board)
                ticks = _new_tuple(Ticks, (tr_id, rows))
                return ticks
        return self._decode(text, values)

    def _decode(self, text: str, values: list[str]) -> Frame:
        parts = values[0].split("|", 3)
        if len(parts) != 4 or text[0] == "{":
            return self._control(text)
        encrypted, tr_id, count, values[0] = parts
        reader = self._readers.get(tr_id)
        if reader is None:
            raise _broken(tr_id, _("nobody asked for it"))
        if encrypted != "0" or tr_id in f.NOTICE_TRS:
            payload = text.split("|", 3)[3]
            values = self._plain(tr_id, encrypted, payload).split("^")
        width, rest = divmod(len(values), _COUNTS.get(count) or _count(tr_id, count))
        if rest:
            raise _broken(tr_id, _("its records are of unequal width"))
        if width not in WIDTHS[tr_id]:
            return Distrust(tr_id, width, WIDTHS[tr_id])
        return reader(tr_id, width, values)

    def _plain(self, tr_id: str, encrypted: str, payload: str) -> str:
        cipher = self._ciphers.get(tr_id)
        if encrypted != "1" or cipher is None:
            raise _broken(tr_id, _("it is not encrypted as agreed"))
        return cipher.decrypt(payload)

    def _control(self, text: str) -> Ping | Confirmation:
        content = _json_object(text)
        header, body = _part(content, "header"), _part(content, "body")
        tr_id = _text_of(header, "tr_id")
        if not body:
            if tr_id == f.PINGPONG:
                return Ping(text)
            raise _broken(tr_id, _("it is neither data nor a confirmation"))
        code = _text_of(body, f.MESSAGE_CODE)
        answer = Confirmation(
            tr_id="" if tr_id == "(null)" else tr_id,
            tr_key=_text_of(header, "tr_key"),
            accepted=_text_of(body, f.RESULT_CODE) == f.SUCCESS or code == ALREADY,
            code=code,
            text=_text_of(body, f.MESSAGE_TEXT),
        )
        output = _part(body, "output")
        if answer.registered and tr_id in f.NOTICE_TRS and output:
            key, iv = _text_of(output, "key"), _text_of(output, "iv")
            self._ciphers[tr_id] = NoticeCipher(key, iv)
        return answer

    def _ticks(self, tr_id: str, width: int, values: list[str]) -> Ticks:
        board = _BOARDS[tr_id]
        symbol, count = values[0], len(values) // width
        if len(self._heads) >= _HEADS_KEPT:
            self._heads.clear()
        if symbol:
            head = f"0|{tr_id}|{count:03}|{symbol}"
            self._heads[head] = (tr_id, symbol, board, count)
        return Ticks(tr_id, self._rows(width, values, board))

    def _rows(self, width: int, values: list[str], board: Board) -> tuple[Tick, ...]:
        tick, columns = self._tick, len(values)
        if columns == 2 * width:  # one slice instead of two, and no loop
            later = values[width:]
            del values[width:]
            return (tick(values[0], values, board), tick(later[0], later, board))
        return tuple(
            [
                tick(values[at], values[at : at + width], board)
                for at in range(0, columns, width)
            ]
        )

    def _tick(self, symbol: str, v: list[str], board: Board) -> Tick:
        """Read one trade: columns 1-4, 10-13, 21, 33 and, if it is there, 46."""
        known = self._numbers
        try:
            price = known[v[2]]
            quantity = known[v[12]]
            ask = known[v[10]]
            bid = known[v[11]]
            moment = self._moments[v[1]]
            if v[33] != self._day:
                raise KeyError
            total = int(v[13])
        except (KeyError, ValueError):
            price, quantity, ask, bid, total, moment = self._learn(symbol, v)
        if price <= 0 or quantity < 0 or not symbol:
            raise _broken(symbol, _("a price or a quantity that makes no sense"))
        # What NamedTuple itself does, without its call of a Python function.
        tick: Tick = _new_tuple(
            Tick,
            (
                symbol,
                moment,
                price,
                quantity,
                total,
                ask,
                bid,
                _taker(v[21]),
                _class_of(v[46], _UNKNOWN) if len(v) > 46 else _UNKNOWN,
                board,
                self._bases.get(symbol) or self._base(symbol, price, v),
            ),
        )
        return tick

    def _base(self, symbol: str, price: int, v: list[str]) -> int:
        """Read the base price, which is the same all day; 0 if it is not told."""
        way = _WAYS.get(v[3].strip())
        try:
            change = parse_whole(v[4].strip())
        except ValueError:
            return 0
        base = 0 if way is None else price + way * abs(change)
        if base <= 0:
            return 0
        self._bases[symbol] = base
        return base

    def _learn(
        self, symbol: str, v: list[str]
    ) -> tuple[int, int, int, int, int, datetime]:
        """Read the numbers of a trade, blanks and decimals in them too."""
        if len(self._numbers) > _NUMBERS_KEPT:
            self._numbers.clear()
        try:
            moment = self._moment(v[33].strip(), v[1].strip())
            numbers = [parse_whole(v[at].strip()) for at in _TRADE_NUMBERS]
        except ValueError as error:
            raise _broken(symbol, str(error)) from error
        self._numbers.update(
            zip((v[at] for at in _TRADE_NUMBERS[:4]), numbers[:4], strict=True)
        )
        price, quantity, ask, bid, total = numbers
        return price, quantity, ask, bid, total, moment

    def _moment(self, day: str, hour: str) -> datetime:
        if day != self._day:
            self._moments.clear()
            self._bases.clear()
            self._day = day
        found = self._moments.get(hour)
        if found is None:
            if len(self._moments) >= _MOMENTS_KEPT:
                self._moments.clear()
            if not _MOMENT.fullmatch(day + hour):
                raise ValueError("expected YYYYMMDD and HHMMSS")
            found = datetime.combine(
                date(int(day[:4]), int(day[4:6]), int(day[6:])),
                time(int(hour[:2]), int(hour[2:4]), int(hour[4:]), tzinfo=KST),
            )
            self._moments[hour] = found
        return found


def _count(tr_id: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text)):
        raise _broken(tr_id, _("its count of records makes no sense"))
    return int(text)


def _broken(tr_id: str, why: str) -> WireError:
    return WireError(_("frame {tr_id}: {why}").format(tr_id=tr_id[:20], why=why))


def _json_object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken("", _("it is neither data nor JSON")) from error
    if not isinstance(content, dict):
        raise _broken("", _("it is no JSON object"))
    return content


def _part(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _text_of(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    return value.strip() if isinstance(value, str) else ""


def _chunks(width: int, values: list[str]) -> list[list[str]]:
    clean = [text.strip() for text in values]
    return [clean[at : at + width] for at in range(0, len(clean), width)]


def _quotes(tr_id: str, width: int, values: list[str]) -> Quotes:
    board = _BOARDS[tr_id]
    try:
        return Quotes(
            tr_id, tuple(_quote(row, board) for row in _chunks(width, values))
        )
    except ValueError as error:
        raise _broken(tr_id, str(error)) from error


def _quote(v: list[str], board: Board) -> Quote:
    numbers = [parse_whole(text) for text in v[3:50]]
    if not v[0]:
        raise ValueError("no symbol")
    return Quote(
        symbol=v[0],
        time=parse_time(v[1]),
        asks=_book_side(numbers[0:10], numbers[20:30]),
        bids=_book_side(numbers[10:20], numbers[30:40]),
        total_ask=numbers[40],
        total_bid=numbers[41],
        expected_price=numbers[44],
        expected_quantity=numbers[45],
        volume=parse_whole(v[53]),
        # 0 is the running session, letters are the kinds of expected prices.
        in_auction=v[2] not in {"", "0"},
        board=board,
    )


def _book_side(prices: list[int], sizes: list[int]) -> tuple[Level, ...]:
    return tuple(
        Level(price, size) for price, size in zip(prices, sizes, strict=True) if price
    )


_NOTICE_SIDE: Final = choices(Side, f.SLL_BUY_DVSN_CD)
_NOTICE_KIND: Final = choices(OrderKind, f.ORD_DVSN)
_ACTION: Final = choices(NoticeAction, f.RCTF_CLS)
_REFUSED_CODES: Final = {"": False, "0": False, "N": False, "1": True, "Y": True}
_STATES: Final = {
    "1": NoticeKind.ACCEPTED,
    "2": NoticeKind.CONFIRMED,
    "3": NoticeKind.CANCELLED,
}
_STATE_CODES: Final = {
    NoticeKind.ACCEPTED: "1",
    NoticeKind.CONFIRMED: "2",
    NoticeKind.CANCELLED: "3",
    NoticeKind.REFUSED: "1",
    NoticeKind.FILLED: "2",
}


def _notices(tr_id: str, width: int, values: list[str]) -> Notices:
    try:
        return Notices(tr_id, tuple(_notice(row) for row in _chunks(width, values)))
    except ValueError as error:
        raise _broken(tr_id, str(error)) from error


def _notice(v: list[str]) -> Notice:
    recent = len(v) == len(f.NOTICE_FIELDS)
    kind = _notice_kind(filled=v[13], refused=v[12], state=v[14])
    is_fill = kind is NoticeKind.FILLED
    quantity, price = parse_whole(v[9]), parse_whole(v[10])
    if not v[2] or not v[8] or (is_fill and (quantity <= 0 or price <= 0)):
        raise ValueError("a fill without number, symbol, quantity or price")
    order_time = parse_time(v[11])
    if order_time is None:
        raise ValueError("no time")
    return Notice(
        customer=v[0],
        account=v[1],
        number=v[2],
        original_number=v[3],
        side=_NOTICE_SIDE.parse(v[4]),
        kind=kind,
        action=_ACTION.parse(v[5]),
        order_kind=_NOTICE_KIND.parse(v[6]) if v[6] else None,
        symbol=v[8],
        # Unless it is a fill, this column holds what was ordered.
        quantity=quantity,
        price=price if is_fill else 0,
        time=order_time,
        branch=v[15],
        order_quantity=parse_whole(v[16]) or (0 if is_fill else quantity),
        holder=v[17],
        stop_price=parse_whole(v[18]) if recent else 0,
        venue=_notice_venue(v[19]) if recent else None,
        name=v[24] if recent else v[21] or v[18],
        order_price=parse_whole(v[25] if recent else v[22])
        or (0 if is_fill else price),
    )


def _notice_kind(*, filled: str, refused: str, state: str) -> NoticeKind:
    if filled not in {"1", "2"} or refused not in _REFUSED_CODES:
        raise ValueError("neither an order nor a fill")
    if _REFUSED_CODES[refused]:
        return NoticeKind.REFUSED
    if filled == "2":
        return NoticeKind.FILLED
    if state not in _STATES:
        raise ValueError("unknown state of an order")
    return _STATES[state]


def _notice_venue(code: str) -> Venue | None:
    if not code:
        return None
    if code not in f.ORD_EXG_GB:
        raise ValueError("unknown exchange of an order")
    return Venue(f.ORD_EXG_GB[code])


# --- what a client sends -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registration:
    """A client wants a TR id for a key, or no longer.

    Attributes:
        tr_key: symbol, or the HTS id for notices.
    """

    approval_key: str
    tr_id: str
    tr_key: str
    register: bool

    def __repr__(self) -> str:
        return f"Registration({self.tr_id}, {self.tr_key}, {self.register})"


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A frame of a client that makes no sense, and what KIS answers to it."""

    code: str
    text: str


def encode_registration(request: Registration) -> str:
    """Return the frame that registers or unregisters."""
    kind = f.TR_TYPE_REGISTER if request.register else f.TR_TYPE_UNREGISTER
    return _dumps(
        {
            "header": {
                "approval_key": request.approval_key,
                f.H_CUSTOMER: f.PERSON,
                "tr_type": kind,
                "content-type": "utf-8",
            },
            "body": {"input": {"tr_id": request.tr_id, "tr_key": request.tr_key}},
        }
    )


def decode_registration(raw: str | bytes) -> Registration | Ping | BadFrame:
    """Return what a client wants; a PINGPONG sent back is a `Ping`."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    try:
        content = _json_object(text)
    except WireError:
        return BadFrame("OPSP9999", "JSON PARSING ERROR : json")
    header, body = _part(content, "header"), _part(content, "body")
    if _text_of(header, "tr_id") == f.PINGPONG:
        return Ping(text)
    entry = _part(body, "input")
    # Some clients put the ids into the header, or the input into the frame itself.
    tr_id = _text_of(entry, "tr_id") or _text_of(header, "tr_id")
    tr_key = _text_of(entry, "tr_key") or _text_of(header, "tr_key")
    wrong = _wrong_part(header, body, tr_id, tr_key)
    if wrong is not None:
        return wrong
    return Registration(
        approval_key=_text_of(header, "approval_key"),
        tr_id=tr_id,
        tr_key=tr_key,
        register=_tr_type(header) == f.TR_TYPE_REGISTER,
    )


def _tr_type(header: Mapping[str, Any]) -> str:
    # Portal comments say 0 for unregistering where every code sends 2.
    value = header.get("tr_type")
    return str(value).strip() if isinstance(value, str | int) else ""


def _wrong_part(
    header: Mapping[str, Any], body: Mapping[str, Any], tr_id: str, tr_key: str
) -> BadFrame | None:
    checks = (
        (bool(header), "OPSP9998", "JSON PARSING ERROR : header"),
        (bool(body), "OPSP9992", "JSON PARSING ERROR : body"),
        (bool(tr_id), "OPSP9991", "JSON PARSING ERROR : input"),
        (_tr_type(header) in {"0", "1", "2"}, "OPSP8997", "INVALID tr_type"),
        (tr_id in LAYOUTS, "OPSP8991", "INVALID tr_id"),
        (bool(tr_key), "OPSP8992", "INVALID tr_key"),
    )
    return next((BadFrame(code, text) for good, code, text in checks if not good), None)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- what a server sends -------------------------------------------------------------


def encode_ping(at: datetime) -> str:
    """Return the frame that asks for a sign of life."""
    stamp = format_date(at.date()) + format_time(at.time())
    return _dumps({"header": {"tr_id": f.PINGPONG, "datetime": stamp}})


def encode_confirmation(
    answer: Confirmation, *, key: str = "", iv: str = "", result: str = ""
) -> str:
    """Return the frame that answers a registration.

    Args:
        key, iv: of the subscription; without them the answer has no output.
        result: code of the result; by default 0 if accepted, else 1. Errors of the
            session are 9.
    """
    # Clients decrypt a notice only if its confirmation said Y.
    encrypted = "Y" if answer.tr_id in f.NOTICE_TRS else "N"
    code = result or ("0" if answer.accepted and answer.code != ALREADY else "1")
    body: dict[str, Any] = {
        f.RESULT_CODE: code,
        f.MESSAGE_CODE: answer.code,
        f.MESSAGE_TEXT: answer.text,
    }
    if key:
        body["output"] = {"iv": iv, "key": key}
    header = {
        "tr_id": answer.tr_id or "(null)",
        "tr_key": answer.tr_key,
        "encrypt": encrypted,
    }
    return _dumps({"header": header, "body": body})


@lru_cache(maxsize=256)
def _template(
    tr_id: str, day: date
) -> tuple[dict[str, str], Callable[[Mapping[str, str]], tuple[str, ...]]]:
    """Return a record without values, and what puts values into their order."""
    columns = layout_on(tr_id, day).fields
    blank = {name: "0" if kind in f.NUMBERS else "" for name, kind in columns}
    return blank, itemgetter(*(name for name, _kind in columns))


def _record(tr_id: str, day: date, values: Mapping[str, str]) -> str:
    blank, in_order = _template(tr_id, day)
    return "^".join(in_order({**blank, **values}))


def _data_frame(encrypted: str, tr_id: str, count: int, payload: str) -> str:
    return f"{encrypted}|{tr_id}|{count:03}|{payload}"


_TRADE_TR: Final = {Board(board): tr_id for tr_id, board in f.TRADE_TRS.items()}
_BOOK_TR: Final = {Board(board): tr_id for tr_id, board in f.BOOK_TRS.items()}
_TAKER_CODES: Final = {Side(side): code for side, code in f.CCLD_DVSN.items()}


def trade_tr(board: Board) -> str:
    """Return the TR id of the trades of a market."""
    return _TRADE_TR[board]


def book_tr(board: Board) -> str:
    """Return the TR id of the order books of a market."""
    return _BOOK_TR[board]


def encode_ticks(ticks: Sequence[Tick], *, price: Price | None = None) -> str:
    """Return the frame of one or more trades on one market.

    Args:
        price: the day so far, for the columns a trade does not know.
    """
    tr_id = trade_tr(ticks[0].board)
    extra = {} if price is None else _day_columns(price)
    records = (
        _record(tr_id, tick.at.date(), extra | _trade_columns(tick)) for tick in ticks
    )
    return _data_frame("0", tr_id, len(ticks), "^".join(records))


def _trade_columns(tick: Tick) -> dict[str, str]:
    taker = "CCLD_DVSN"
    return {
        "MKSC_SHRN_ISCD": tick.symbol,
        "STCK_CNTG_HOUR": format_time(tick.at.time()),
        "STCK_PRPR": str(tick.price),
        "ASKP1": str(tick.ask),
        "BIDP1": str(tick.bid),
        "CNTG_VOL": str(tick.quantity),
        "ACML_VOL": str(tick.total_quantity),
        taker: _TAKER_CODES[tick.taker] if tick.taker else f.CCLD_DVSN_AUCTION,
        "BSOP_DATE": format_date(tick.at.date()),
        "NEW_MKOP_CLS_CODE": "20",
        "TRHT_YN": "N",
        "HOUR_CLS_CODE": "0",
        "MARKET_CLS_CODE": f.MARKET_CLS_CODE[tick.market_class],
    }


def _day_columns(price: Price) -> dict[str, str]:
    return {
        "PRDY_VRSS_SIGN": sign_code(price.change),
        "PRDY_VRSS": str(price.change),
        "PRDY_CTRT": format_decimal(price.change_pct, 2),
        "WGHN_AVRG_STCK_PRC": format_decimal(price.average_price, 2),
        "STCK_OPRC": str(price.open),
        "STCK_HGPR": str(price.high),
        "STCK_LWPR": str(price.low),
        "OPRC_VRSS_PRPR_SIGN": sign_code(price.price - price.open),
        "OPRC_VRSS_PRPR": str(price.price - price.open),
        "HGPR_VRSS_PRPR_SIGN": sign_code(price.price - price.high),
        "HGPR_VRSS_PRPR": str(price.price - price.high),
        "LWPR_VRSS_PRPR_SIGN": sign_code(price.price - price.low),
        "LWPR_VRSS_PRPR": str(price.price - price.low),
        "ACML_TR_PBMN": str(price.amount),
        "VI_STND_PRC": str(price.base_price),
    }


def encode_quote(quote: Quote, *, day: date) -> str:
    """Return the frame of an order book as it is sent on `day`."""
    tr_id = book_tr(quote.board)
    columns = {
        "MKSC_SHRN_ISCD": quote.symbol,
        "BSOP_HOUR": format_time(quote.time),
        "HOUR_CLS_CODE": _hour_class(quote),
        "TOTAL_ASKP_RSQN": str(quote.total_ask),
        "TOTAL_BIDP_RSQN": str(quote.total_bid),
        "ANTC_CNPR": str(quote.expected_price),
        "ANTC_CNQN": str(quote.expected_quantity),
        "ANTC_VOL": str(quote.expected_quantity),
        "ACML_VOL": str(quote.volume),
    }
    for side, levels in (("ASKP", quote.asks), ("BIDP", quote.bids)):
        for n, level in enumerate(levels[:LEVELS], start=1):
            columns[f"{side}{n}"] = str(level.price)
            columns[f"{side}_RSQN{n}"] = str(level.quantity)
    return _data_frame("0", tr_id, 1, _record(tr_id, day, columns))


_OPENS: Final = time(9, 0)
_LAST_AUCTION: Final = time(15, 0)


def _hour_class(quote: Quote) -> str:
    """Return the session code: before the opening, in it, at its end."""
    if not quote.in_auction:
        return "0"
    if quote.time is None or quote.time < _OPENS:
        return "B"
    return "A" if quote.time >= _LAST_AUCTION else "C"


def encode_notices(
    notices: Sequence[Notice], *, tr_id: str, cipher: NoticeCipher, day: date
) -> str:
    """Return the frame of one or more events of orders, as it is sent on `day`."""
    records = (_record(tr_id, day, _notice_columns(notice)) for notice in notices)
    payload = cipher.encrypt("^".join(records))
    return _data_frame("1", tr_id, len(notices), payload)


_VENUE_CODES: Final = {"KRX": "1", "NXT": "2", "SOR": "3"}


def _notice_columns(notice: Notice) -> dict[str, str]:
    is_fill = notice.kind is NoticeKind.FILLED
    kind = "" if notice.order_kind is None else f.ORD_DVSN[notice.order_kind]
    return {
        "CUST_ID": notice.customer,
        "ACNT_NO": notice.account,
        "ODER_NO": notice.number,
        "OODER_NO": notice.original_number,
        "SELN_BYOV_CLS": f.SLL_BUY_DVSN_CD[notice.side],
        "RCTF_CLS": f.RCTF_CLS[notice.action],
        "ODER_KIND": kind,
        "ODER_COND": _condition(notice.order_kind),
        "STCK_SHRN_ISCD": notice.symbol,
        "CNTG_QTY": f"{notice.quantity:010}",
        "CNTG_UNPR": f"{notice.price:09}",
        "STCK_CNTG_HOUR": format_time(notice.time),
        "RFUS_YN": "1" if notice.kind is NoticeKind.REFUSED else "0",
        "CNTG_YN": "2" if is_fill else "1",
        "ACPT_YN": _STATE_CODES[notice.kind],
        "BRNC_NO": notice.branch,
        "ODER_QTY": f"{notice.order_quantity:09}",
        "ACNT_NAME": notice.holder,
        "ORD_COND_PRC": f"{notice.stop_price:09}" if notice.stop_price else "",
        "ORD_EXG_GB": "" if notice.venue is None else _VENUE_CODES[notice.venue],
        "POPUP_YN": "Y",
        "CRDT_CLS": "10",
        "CNTG_ISNM": notice.name,
        "CNTG_ISNM40": notice.name,
        "ODER_PRC": f"{notice.order_price:09}",
    }


def _condition(kind: OrderKind | None) -> str:
    """Return 1 for an IOC order, 2 for FOK, 0 for every other."""
    words = "" if kind is None else kind.value
    return "1" if words.endswith("_ioc") else "2" if words.endswith("_fok") else "0"
