import json
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest

from kisbt.errors import WireError
from kisbt.kis.wire.codes import Retry
from kisbt.kis.wire.crypto import NoticeCipher
from kisbt.kis.wire.stream import (
    WIDTHS,
    BadFrame,
    Confirmation,
    Distrust,
    Notices,
    Ping,
    Quotes,
    Registration,
    StreamDecoder,
    Ticks,
    decode_registration,
    encode_confirmation,
    encode_notices,
    encode_ping,
    encode_quote,
    encode_registration,
    encode_ticks,
    layout_on,
)
from kisbt.kis.wire.texts import KST
from kisbt.model.order import NoticeAction, NoticeKind, OrderKind, Side, Venue
from kisbt.model.quote import Board, MarketClass
from tests.helpers.frames import a_notice, a_price, a_quote, a_tick

_KEY, _IV = "k" * 32, "i" * 16
_CIPHER = NoticeCipher(_KEY, _IV)
_DAY = date(2026, 9, 11)


def _with_key(tr_id: str = "H0STCNI0") -> StreamDecoder:
    decoder = StreamDecoder()
    answer = Confirmation(tr_id, "myhtsid", True, "OPSP0000", "SUBSCRIBE SUCCESS")
    decoder.decode(encode_confirmation(answer, key=_KEY, iv=_IV))
    return decoder


def _change(frame: str, at: int, text: str) -> str:
    values = frame.split("^")
    head, _bar, first = values[0].rpartition("|")
    values[0] = first
    values[at] = text
    return f"{head}|{'^'.join(values)}"


@pytest.mark.parametrize(
    ("tr_id", "day", "width"),
    [
        ("H0STCNT0", date(2026, 9, 11), 46),
        ("H0STCNT0", date(2026, 9, 14), 47),
        ("H0STASP0", date(2026, 9, 11), 59),
        ("H0STASP0", date(2026, 9, 14), 63),
        ("H0NXASP0", date(2026, 9, 11), 65),
        ("H0UNASP0", date(2026, 9, 14), 66),
        ("H0STCNI9", date(2025, 3, 3), 23),
        ("H0STCNI0", date(2025, 3, 4), 26),
    ],
)
def test_width_of_a_record_depends_on_the_date(
    tr_id: str, day: date, width: int
) -> None:
    assert layout_on(tr_id, day).width == width


def test_widths_read_are_those_of_the_tables() -> None:
    assert WIDTHS["H0STCNT0"] == {46, 47}
    assert WIDTHS["H0STASP0"] == {59, 60, 61, 62, 63}
    assert WIDTHS["H0UNASP0"] == {65, 66}
    assert WIDTHS["H0STCNI9"] == {23, 26}


@pytest.mark.parametrize("board", list(Board))
@pytest.mark.parametrize("count", [1, 2, 20])
def test_trades_read_as_they_were_written(board: Board, count: int) -> None:
    ticks = tuple(
        a_tick(board=board, price=71_500 + n, base=72_000) for n in range(count)
    )

    frame = StreamDecoder().decode(encode_ticks(ticks, price=a_price()))

    assert isinstance(frame, Ticks)
    assert frame.rows == ticks


@pytest.mark.parametrize(
    ("sign", "change", "base"),
    [
        ("1", "500", 71_000),
        ("2", "500", 71_000),
        ("3", "0", 71_500),
        ("4", "500", 72_000),
        ("5", "-500", 72_000),
        ("5", "500", 72_000),
        ("", "", 0),
        ("0", "0", 0),
    ],
)
def test_base_price_is_read_from_the_change_and_its_sign(
    sign: str, change: str, base: int
) -> None:
    frame = encode_ticks([a_tick(price=71_500)])
    decoder = StreamDecoder()
    for _turn in range(2):  # read anew, then looked up
        found = decoder.decode(_change(_change(frame, 3, sign), 4, change))
        assert isinstance(found, Ticks)
        assert [tick.base for tick in found.rows] == [base]


@pytest.mark.parametrize("market_class", list(MarketClass))
def test_trade_tells_its_part_of_the_day_since_the_after_market(
    market_class: MarketClass,
) -> None:
    tick = a_tick(
        at=datetime(2026, 9, 14, 16, 0, 1, tzinfo=KST), market_class=market_class
    )

    frame = StreamDecoder().decode(encode_ticks([tick]))

    assert isinstance(frame, Ticks)
    assert frame.rows == (tick,)


def test_unknown_part_of_the_day_is_unknown() -> None:
    tick = a_tick(at=datetime(2026, 9, 14, 10, 0, tzinfo=KST))
    frame = StreamDecoder().decode(_change(encode_ticks([tick]), 46, "9"))

    assert isinstance(frame, Ticks)
    assert frame.rows[0].market_class is MarketClass.UNKNOWN


@pytest.mark.parametrize("taker", [Side.BUY, Side.SELL, None])
def test_side_of_a_trade_is_kept(taker: Side | None) -> None:
    frame = StreamDecoder().decode(encode_ticks([a_tick(taker=taker)]))

    assert isinstance(frame, Ticks)
    assert frame.rows[0].taker is taker


def test_days_and_times_do_not_mix() -> None:
    decoder = StreamDecoder()
    moments = [
        datetime(2026, 9, day, hour, 0, 1, tzinfo=KST)
        for day in (10, 11, 10)
        for hour in (9, 10, 9)
    ]

    read = [decoder.decode(encode_ticks([a_tick(at=at)])) for at in moments]

    assert [frame.rows[0].at for frame in read if isinstance(frame, Ticks)] == moments


@pytest.mark.parametrize(
    ("at", "text", "price", "ask"),
    [(10, "", 71_500, 0), (2, " 71500.00 ", 71_500, 71_600), (10, "0", 71_500, 0)],
)
def test_blank_and_padded_numbers_of_a_trade_read(
    at: int, text: str, price: int, ask: int
) -> None:
    frame = StreamDecoder().decode(_change(encode_ticks([a_tick()]), at, text))

    assert isinstance(frame, Ticks)
    assert (frame.rows[0].price, frame.rows[0].ask) == (price, ask)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, ""),
        (1, "250000"),
        (1, "10051"),
        (2, "0"),
        (2, "-5"),
        (2, "abc"),
        (2, "1_0"),
        (12, "-1"),
        (13, "1.5"),
        (33, "20261301"),
    ],
)
def test_trade_that_makes_no_sense_is_refused(at: int, text: str) -> None:
    decoder = StreamDecoder()
    good = encode_ticks([a_tick()])
    decoder.decode(good)

    with pytest.raises(WireError):
        decoder.decode(_change(good, at, text))
    assert decoder.decode(good) == ("H0STCNT0", (a_tick(),))


def test_numbers_kept_are_bounded() -> None:
    decoder = StreamDecoder()
    for price in range(100, 45_000):
        frame = decoder.decode(encode_ticks([a_tick(price=price)]))
        assert isinstance(frame, Ticks)
        assert frame.rows[0].price == price
    assert len(decoder._numbers) < 30_000


def test_times_kept_are_bounded() -> None:
    decoder = StreamDecoder()
    for second in range(2_000):
        at = a_tick().at + timedelta(seconds=second)
        frame = decoder.decode(encode_ticks([a_tick(at=at)]))
        assert isinstance(frame, Ticks)
        assert frame.rows[0].at == at
    assert len(decoder._moments) < 1_000


@pytest.mark.parametrize("change", [-1, 2])
def test_unknown_width_is_not_read(change: int) -> None:
    frame = encode_ticks([a_tick()])
    frame = frame.rsplit("^", 1)[0] if change < 0 else frame + "^0" * change

    found = StreamDecoder().decode(frame)

    assert found == Distrust("H0STCNT0", 46 + change, frozenset({46, 47}))
    assert str(46 + change) in str(found)
    assert "46, 47" in str(found)


def test_unknown_width_of_several_records_is_not_read() -> None:
    one = encode_ticks([a_tick()]).split("|", 3)[3]
    wide = f"{one}^2^3"

    found = StreamDecoder().decode(f"0|H0STCNT0|002|{wide}^{wide}")

    assert isinstance(found, Distrust)
    assert found.width == 48


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "0|H0STCNT0|001",
        "0|H0XXXXX0|001|a^b",
        "0|H0STCNT0|000|" + "^".join(["1"] * 46),
        "0|H0STCNT0|abc|" + "^".join(["1"] * 46),
        "0|H0STCNT0|99999|" + "^".join(["1"] * 46),
        "0|H0STCNT0|003|" + "^".join(["1"] * 92),
        "1|H0STCNT0|001|" + "^".join(["1"] * 46),
        "[]",
        "{}",
        '{"header": {"tr_id": "X"}}',
        '{"header": 5, "body": []}',
        "x" * 100,
    ],
)
def test_frame_that_is_none_is_refused(frame: str) -> None:
    with pytest.raises(WireError):
        StreamDecoder().decode(frame)


def test_frame_in_bytes_with_broken_utf8_is_read_or_refused() -> None:
    good = encode_ticks([a_tick()]).encode()

    assert isinstance(StreamDecoder().decode(good), Ticks)
    with pytest.raises(WireError):
        StreamDecoder().decode(b"\xff\xfe\x80")


@pytest.mark.parametrize("board", list(Board))
@pytest.mark.parametrize("day", [date(2026, 9, 11), date(2026, 9, 14)])
def test_order_book_reads_as_it_was_written(board: Board, day: date) -> None:
    quote = a_quote(board=board)

    frame = StreamDecoder().decode(encode_quote(quote, day=day))

    assert isinstance(frame, Quotes)
    assert frame.rows == (quote,)


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (time(8, 50), "B"),
        (time(9, 0, 5), "C"),
        (time(15, 21), "A"),
        (None, "B"),
    ],
)
def test_auction_book_says_so(at: time | None, code: str) -> None:
    quote = a_quote(
        time=at, in_auction=True, expected_price=71_500, expected_quantity=7
    )

    text = encode_quote(quote, day=_DAY)

    assert text.split("^")[2] == code
    frame = StreamDecoder().decode(text)
    assert isinstance(frame, Quotes)
    assert frame.rows == (quote,)


@pytest.mark.parametrize(("at", "text"), [(0, ""), (3, "x"), (1, "99"), (53, "1.5")])
def test_order_book_that_makes_no_sense_is_refused(at: int, text: str) -> None:
    with pytest.raises(WireError):
        StreamDecoder().decode(_change(encode_quote(a_quote(), day=_DAY), at, text))


def _notice_frame(**changes: Any) -> str:
    return encode_notices(
        [a_notice(**changes)], tr_id="H0STCNI0", cipher=_CIPHER, day=_DAY
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"side": Side.SELL, "venue": Venue.NXT, "order_kind": OrderKind.LIMIT_IOC},
        {"kind": NoticeKind.ACCEPTED, "quantity": 10, "price": 0},
        {"kind": NoticeKind.REFUSED, "quantity": 10, "price": 0},
        {
            "kind": NoticeKind.CONFIRMED,
            "action": NoticeAction.CANCEL,
            "original_number": "0000038614",
            "quantity": 6,
            "price": 0,
        },
        {
            "kind": NoticeKind.CANCELLED,
            "order_kind": OrderKind.MARKET_FOK,
            "quantity": 6,
            "price": 0,
        },
        {"venue": None, "order_kind": None},
        {"venue": Venue.SOR, "stop_price": 71_400, "order_kind": OrderKind.STOP_LIMIT},
    ],
)
def test_notice_reads_as_it_was_written(changes: dict[str, Any]) -> None:
    frame = _with_key().decode(_notice_frame(**changes))

    assert isinstance(frame, Notices)
    assert frame.rows == (a_notice(**changes),)


def test_several_notices_of_one_frame_are_all_read() -> None:
    notices = [a_notice(quantity=n) for n in (1, 2, 3)]
    text = encode_notices(notices, tr_id="H0STCNI9", cipher=_CIPHER, day=_DAY)

    frame = _with_key("H0STCNI9").decode(text)

    assert frame == ("H0STCNI9", tuple(notices))


def test_short_notice_of_before_nxt_reads() -> None:
    text = encode_notices(
        [a_notice()], tr_id="H0STCNI0", cipher=_CIPHER, day=date(2025, 3, 3)
    )

    frame = _with_key().decode(text)

    assert isinstance(frame, Notices)
    assert frame.rows == (a_notice(venue=None),)


def _plain_notice(**columns: str) -> str:
    payload = _CIPHER.decrypt(_notice_frame().split("|", 3)[3])
    values = payload.split("^")
    for name, text in columns.items():
        values[int(name[1:])] = text
    return f"1|H0STCNI0|001|{_CIPHER.encrypt('^'.join(values))}"


@pytest.mark.parametrize(
    "columns",
    [
        {"c2": ""},
        {"c4": "03"},
        {"c4": ""},
        {"c5": "9"},
        {"c6": "99"},
        {"c8": ""},
        {"c9": "0"},
        {"c9": "x"},
        {"c10": "0"},
        {"c11": ""},
        {"c12": "7"},
        {"c13": "3"},
        {"c13": ""},
        {"c13": "1", "c14": "9"},
        {"c19": "8"},
    ],
)
def test_notice_with_an_unknown_code_or_without_a_number_is_refused(
    columns: dict[str, str],
) -> None:
    with pytest.raises(WireError):
        _with_key().decode(_plain_notice(**columns))


@pytest.mark.parametrize("text", ["Y", "1"])
def test_refusal_is_told_by_a_letter_or_a_digit(text: str) -> None:
    frame = _with_key().decode(_plain_notice(c12=text, c13="1"))

    assert isinstance(frame, Notices)
    assert frame.rows[0].kind is NoticeKind.REFUSED


def test_accepted_order_takes_its_figures_from_the_columns_of_a_fill() -> None:
    frame = _with_key().decode(
        _plain_notice(c13="1", c14="1", c9="10", c10="71500", c16="", c25="0")
    )

    assert isinstance(frame, Notices)
    notice = frame.rows[0]
    assert (notice.order_quantity, notice.order_price, notice.price) == (10, 71_500, 0)


@pytest.mark.parametrize("width", [22, 24, 25, 27])
def test_notice_of_another_width_is_not_read(width: int) -> None:
    payload = _CIPHER.encrypt("^".join(["1"] * width))

    found = _with_key().decode(f"1|H0STCNI0|001|{payload}")

    assert found == Distrust("H0STCNI0", width, frozenset({23, 26}))


def test_notice_in_plain_text_or_without_a_key_is_refused() -> None:
    plain = _CIPHER.decrypt(_notice_frame().split("|", 3)[3])

    with pytest.raises(WireError):
        _with_key().decode(f"0|H0STCNI0|001|{plain}")
    with pytest.raises(WireError):
        StreamDecoder().decode(_notice_frame())


def test_notice_of_another_key_is_refused() -> None:
    decoder = StreamDecoder()
    answer = Confirmation("H0STCNI0", "me", True, "OPSP0000", "SUBSCRIBE SUCCESS")
    decoder.decode(encode_confirmation(answer, key="x" * 32, iv=_IV))

    with pytest.raises(WireError):
        decoder.decode(_notice_frame())


def test_new_subscription_brings_a_new_key() -> None:
    decoder = _with_key()
    answer = Confirmation("H0STCNI0", "me", True, "OPSP0000", "SUBSCRIBE SUCCESS")
    decoder.decode(encode_confirmation(answer, key="x" * 32, iv=_IV))
    other = NoticeCipher("x" * 32, _IV)

    frame = decoder.decode(
        encode_notices([a_notice()], tr_id="H0STCNI0", cipher=other, day=_DAY)
    )

    assert isinstance(frame, Notices)


def test_key_of_the_wrong_length_is_refused() -> None:
    answer = Confirmation("H0STCNI0", "me", True, "OPSP0000", "SUBSCRIBE SUCCESS")

    with pytest.raises(WireError):
        StreamDecoder().decode(encode_confirmation(answer, key="short", iv=_IV))


@pytest.mark.parametrize(
    ("code", "accepted", "result", "registered"),
    [
        ("OPSP0000", True, "0", True),
        ("OPSP0001", True, "0", False),
        ("OPSP0002", True, "1", True),
        ("OPSP0008", False, "1", False),
    ],
)
def test_confirmation_reads_as_it_was_written(
    code: str, accepted: bool, result: str, registered: bool
) -> None:
    answer = Confirmation("H0STCNT0", "005930", accepted, code, "TEXT")

    text = encode_confirmation(answer, key=_KEY, iv=_IV)

    content = json.loads(text)
    assert content["body"]["rt_cd"] == result
    assert content["header"]["encrypt"] == "N"
    assert StreamDecoder().decode(text) == answer
    assert answer.registered is registered


def test_confirmation_of_notices_says_that_they_are_encrypted() -> None:
    answer = Confirmation("H0STCNI9", "me", True, "OPSP0000", "SUBSCRIBE SUCCESS")

    content = json.loads(encode_confirmation(answer, key=_KEY, iv=_IV))

    assert content["header"]["encrypt"] == "Y"
    assert content["body"]["output"] == {"iv": _IV, "key": _KEY}


def test_error_of_a_session_names_no_subscription() -> None:
    answer = Confirmation("", "", False, "OPSP8996", "ALREADY IN USE appkey")

    text = encode_confirmation(answer, result="9")

    assert json.loads(text)["header"]["tr_id"] == "(null)"
    assert json.loads(text)["body"]["rt_cd"] == "9"
    assert StreamDecoder().decode(text) == answer
    assert answer.retry is Retry.SAFE


def test_sign_of_life_reads_as_it_was_written() -> None:
    text = encode_ping(datetime(2026, 7, 6, 10, 5, 12, tzinfo=KST))

    assert json.loads(text)["header"]["datetime"] == "20260706100512"
    assert StreamDecoder().decode(text) == Ping(text)
    assert decode_registration(text) == Ping(text)


@pytest.mark.parametrize("register", [True, False])
def test_registration_reads_as_it_was_written(register: bool) -> None:
    request = Registration("key", "H0STCNT0", "005930", register)

    text = encode_registration(request)

    assert decode_registration(text) == decode_registration(text.encode()) == request
    assert "key" not in repr(request)


def test_unregistering_with_zero_is_understood() -> None:
    content = json.loads(
        encode_registration(Registration("key", "H0STCNT0", "005930", False))
    )
    content["header"]["tr_type"] = 0

    found = decode_registration(json.dumps(content))

    assert isinstance(found, Registration)
    assert found.register is False


def test_ids_in_the_header_are_understood() -> None:
    header = {"tr_type": "1", "tr_id": "H0STCNT0", "tr_key": "005930"}

    found = decode_registration(json.dumps({"header": header, "body": {"x": 1}}))

    assert found == Registration("", "H0STCNT0", "005930", register=True)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"header": {}}, "OPSP9998"),
        ({"body": {}}, "OPSP9992"),
        ({"body": {"input": {"tr_key": "005930"}}}, "OPSP9991"),
        ({"header": {"tr_type": "7"}}, "OPSP8997"),
        ({"header": {"tr_type": []}}, "OPSP8997"),
        ({"body": {"input": {"tr_id": "X", "tr_key": "1"}}}, "OPSP8991"),
        ({"body": {"input": {"tr_id": "H0STCNT0"}}}, "OPSP8992"),
    ],
)
def test_frame_of_a_client_that_makes_no_sense_names_its_fault(
    change: dict[str, Any], code: str
) -> None:
    content = json.loads(
        encode_registration(Registration("key", "H0STCNT0", "005930", True))
    )

    found = decode_registration(json.dumps(content | change))

    assert isinstance(found, BadFrame)
    assert found.code == code
    assert decode_registration("nonsense") == BadFrame(
        "OPSP9999", "JSON PARSING ERROR : json"
    )


def test_symbols_kept_are_bounded_and_read_right() -> None:
    decoder = StreamDecoder()
    for number in range(11_000):
        tick = a_tick(symbol=f"{number:06}")
        assert decoder.decode(encode_ticks([tick])) == ("H0STCNT0", (tick,))
    assert len(decoder._heads) <= 5_000


def test_the_short_way_reads_what_the_long_way_reads() -> None:
    decoder = StreamDecoder()
    tick = a_tick()

    first, second = (decoder.decode(encode_ticks([tick])) for _time in range(2))

    assert first == second == ("H0STCNT0", (tick,))
    assert isinstance(second, Ticks)
