"""The websocket end over real sockets: frames, notices, registrations, keys."""

import json
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest
import websocket

from kisbt.candles.store import CandleStore
from kisbt.emulator.rules import Matching
from kisbt.emulator.runner import Emulator
from kisbt.model.candle import MINUTE
from tests.helpers.emulator import SAMPLE, SYMBOL, Caller, Listener, stepped, until

pytestmark = pytest.mark.e2e

_WAIT_S = 5.0


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(stepped()) as running:
        yield running


@pytest.fixture(params=["mock", "real"])
def caller(request: pytest.FixtureRequest, emulator: Emulator) -> Caller:
    return Caller(emulator, request.param).log_in()


def test_trades_of_a_minute_are_those_of_its_candle(
    emulator: Emulator, caller: Caller
) -> None:
    with Listener(caller) as stream:
        answer = stream.subscribe("H0STCNT0")
        assert answer["body"]["msg_cd"] == "OPSP0000"
        assert answer["header"]["encrypt"] == "N"
        emulator.advance(180)
        rows = stream.rows("H0STCNT0", 5)
    minute = [row for row in rows if row[1].startswith("1002")]
    stored = CandleStore(SAMPLE).read(SYMBOL, MINUTE)
    (at,) = np.flatnonzero(stored.end == np.datetime64("2025-12-29T10:03:00"))
    prices = [int(row[2]) for row in minute]
    assert [prices[0], max(prices), min(prices), prices[-1]] == [
        getattr(stored, name)[at] for name in ("open", "high", "low", "close")
    ]
    assert sum(int(row[12]) for row in minute) == stored.volume[at]
    assert {len(row) for row in rows} == {46}
    assert minute[0][1] == "100200"
    assert {row[33] for row in rows} == {"20251229"}
    assert all(int(row[10]) >= int(row[11]) for row in rows)


def test_book_comes_with_each_trade(emulator: Emulator, caller: Caller) -> None:
    with Listener(caller) as stream:
        stream.subscribe("H0STASP0")
        emulator.advance(60)
        row = stream.rows("H0STASP0", 1)[0]
    assert len(row) == 59
    asks, bids = [int(x) for x in row[3:13]], [int(x) for x in row[13:23]]
    assert asks == sorted(asks)
    assert bids == sorted(bids, reverse=True)
    assert asks[0] > bids[0]


@pytest.mark.parametrize(
    ("day", "trade", "book"),
    [(datetime(2026, 9, 11, 9, 30), 46, 59), (datetime(2026, 9, 14, 9, 30), 47, 63)],
)
def test_frames_are_as_wide_as_on_the_virtual_date(
    day: datetime, trade: int, book: int
) -> None:
    with (
        Emulator(stepped(data=None, start=day)) as running,
        Listener(Caller(running).log_in()) as stream,
    ):
        stream.subscribe("H0STCNT0")
        stream.subscribe("H0STASP0")
        running.advance(60)
        assert len(stream.rows("H0STCNT0", 1)[0]) == trade
        assert len(stream.rows("H0STASP0", 1)[0]) == book


def test_fill_comes_encrypted_with_a_key_of_its_own(
    emulator: Emulator, caller: Caller
) -> None:
    keys = []
    for _turn in range(2):
        with Listener(caller) as stream:
            answer = stream.notices()
            assert answer["header"]["encrypt"] == "Y"
            keys.append(answer["body"]["output"])
            number = caller.order("buy", 2).json()["output"]["ODNO"]
            tr_id = answer["header"]["tr_id"]
            accepted, filled = stream.rows(tr_id, 2)
        until(lambda: emulator.state()["mock"]["stream"]["sessions"] == 0)
        assert len(accepted) == 26
        assert [accepted[13], filled[13]] == ["1", "2"]
        assert [int(accepted[9]), int(accepted[10])] == [2, 0]
        assert {accepted[2], filled[2]} == {number}
        fill = emulator.state()[caller.server["environment"]]["fills"][-1]
        assert [int(filled[9]), int(filled[10])] == [2, fill["price"]]
        assert filled[1] == caller.server["account"].replace("-", "")
    assert keys[0] != keys[1]
    assert (len(keys[0]["key"]), len(keys[0]["iv"])) == (32, 16)


def test_amendment_and_cancellation_are_told(
    emulator: Emulator, caller: Caller
) -> None:
    with Listener(caller) as stream:
        tr_id = stream.notices()["header"]["tr_id"]
        placed = caller.order("buy", 2, ORD_DVSN="00", ORD_UNPR="100000").json()
        first = placed["output"]["ODNO"]
        second = caller.change(first, RVSE_CNCL_DVSN_CD="01", ORD_UNPR="99900")
        number = second.json()["output"]["ODNO"]
        third = caller.change(number).json()["output"]["ODNO"]
        rows = stream.rows(tr_id, 3)
    assert [row[2] for row in rows] == [first, number, third]
    assert [row[3] for row in rows] == ["", first, number]
    assert [row[5] for row in rows] == ["0", "1", "2"]
    assert {row[13] for row in rows} == {"1"}


def test_with_candle_matching_a_fill_comes_before_the_next_minute() -> None:
    with Emulator(stepped(matching=Matching.CANDLE, environment="mock")) as running:
        caller = Caller(running).log_in()
        with Listener(caller) as stream:
            stream.notices()
            stream.subscribe("H0STCNT0")
            caller.order("buy", 1)
            running.advance(120)
            kinds = []
            while "1001" not in kinds or "fill" not in kinds:
                frame = stream.frame()
                if frame.startswith("0|"):
                    kinds.append(frame.split("^")[1][:4])
                elif frame.startswith("1|"):
                    payload = stream.decrypt("H0STCNI9", frame.split("|", 3)[3])
                    kinds.append("fill" if payload.split("^")[13] == "2" else "")
    at = kinds.index("fill")
    assert set(kinds[:at]) <= {"1000", ""}
    assert set(kinds[at + 1 :]) <= {"1001", "1002"}


def test_forty_one_registrations_and_no_more(caller: Caller) -> None:
    with Listener(caller) as stream:
        codes = [
            stream.subscribe("H0STCNT0", f"{number:06}")["body"]["msg_cd"]
            for number in range(42)
        ]
        assert codes == ["OPSP0000"] * 41 + ["OPSP0008"]
        stream.send("H0STCNT0", "000000", "2")
        assert stream.answer()["body"]["msg_cd"] == "OPSP0001"
        assert stream.subscribe("H0STCNT0", "000041")["body"]["msg_cd"] == "OPSP0000"


def test_second_session_of_a_key_is_refused_and_a_reset_frees_the_slot(
    emulator: Emulator, caller: Caller
) -> None:
    environment = caller.server["environment"]
    first = Listener(caller)
    first.subscribe("H0STCNT0")
    with Listener(caller, first.approval) as second:
        refused = second.subscribe("H0STCNT0")
        assert refused["body"] == {
            "rt_cd": "9",
            "msg_cd": "OPSP8996",
            "msg1": "ALREADY IN USE appkey",
        }
        assert refused["header"]["tr_id"] == "(null)"
    first.socket.sock.close()
    until(lambda: emulator.state()[environment]["stream"]["sessions"] == 0)
    with Listener(caller, first.approval) as third:
        assert third.subscribe("H0STCNT0")["body"]["msg_cd"] == "OPSP0000"


def test_both_servers_have_a_session_at_the_same_time(emulator: Emulator) -> None:
    callers = [Caller(emulator, name).log_in() for name in ("mock", "real")]
    with Listener(callers[0]) as one, Listener(callers[1]) as two:
        assert one.subscribe("H0STCNT0")["body"]["rt_cd"] == "0"
        assert two.subscribe("H0STCNT0")["body"]["rt_cd"] == "0"


def test_registrations_are_refused_with_the_brokers_codes(
    emulator: Emulator,
) -> None:
    caller = Caller(emulator, "mock").log_in()
    with Listener(caller) as stream:
        assert stream.subscribe("H0STCNT0")["body"]["msg_cd"] == "OPSP0000"
        assert stream.subscribe("H0STCNT0")["body"]["msg_cd"] == "OPSP0002"
        stream.send("H0STCNT0", "990002", "2")
        assert stream.answer()["body"]["msg_cd"] == "OPSP0003"
        wrong = stream.subscribe("H0STCNI9", "somebody")
        assert (wrong["body"]["msg_cd"], wrong["body"]["rt_cd"]) == ("OPSP0017", "9")
        assert stream.subscribe("H0UNCNT0")["body"]["msg_cd"] == "OPSP8991"
    with Listener(caller, "no-such-key") as stream:
        assert stream.subscribe("H0STCNT0")["body"]["msg_cd"] == "OPSP0011"


def test_pingpong_comes_when_it_is_quiet(emulator: Emulator, caller: Caller) -> None:
    with Listener(caller) as stream:
        stream.subscribe("H0STCNT0", "999999")
        emulator.advance(30)
        ping = stream.answer()
        assert ping["header"]["tr_id"] == "PINGPONG"
        assert len(ping["header"]["datetime"]) == 14
        stream.socket.send(json.dumps(ping))
        stream.socket.pong(json.dumps(ping).encode())
        stream.socket.ping(b"x")
        assert stream.subscribe("H0STCNT0")["body"]["rt_cd"] == "0"


_NONSENSE: list[str | bytes] = [
    "",
    "{",
    "[]",
    "null",
    "17",
    '{"header": 5, "body": []}',
    '{"header": {}, "body": {}}',
    '{"header": {"tr_type": "9"}, "body": {"input": {"tr_id": "H0STCNT0"}}}',
    '{"header": {"tr_type": "1"}, "body": {"input": {"tr_id": null}}}',
    "[" * 20_000,
    "0|H0STCNT0|001|a^b",
    b"\xff\x00\xfe",
    '{"header": {"tr_id": "PINGPONG"}}',
]


@pytest.mark.parametrize("raw", _NONSENSE)
def test_nonsense_frames_do_not_end_the_session(
    caller: Caller, raw: str | bytes
) -> None:
    with Listener(caller) as stream:
        stream.subscribe("H0STCNT0")
        if isinstance(raw, bytes):
            stream.socket.send_binary(raw)
        else:
            stream.socket.send(raw)
        stream.send("H0STASP0", SYMBOL)
        codes = [stream.answer()["body"]["msg_cd"]]
        if codes[0] != "OPSP0000":
            codes.append(stream.answer()["body"]["msg_cd"])
        assert codes[-1] == "OPSP0000"


def test_too_long_a_frame_ends_only_its_session(
    emulator: Emulator, caller: Caller
) -> None:
    with Listener(caller) as stream:
        stream.socket.send("x" * 200_000)
        with pytest.raises((websocket.WebSocketException, OSError)):
            stream.answer()
    assert caller.price().json()["rt_cd"] == "0"


def test_plain_http_on_the_websocket_port_is_refused(caller: Caller) -> None:
    url = caller.server["ws_url"].replace("ws://", "http://")
    assert caller.session.get(url, timeout=_WAIT_S).status_code == 426


def test_websocket_on_the_rest_port_is_refused(caller: Caller) -> None:
    url = caller.server["rest_url"].replace("http://", "ws://")
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(url, timeout=_WAIT_S)
