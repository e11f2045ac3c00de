"""Scripted faults and the control plane, over real sockets."""

import json
from collections.abc import Iterator
from datetime import datetime

import pytest
import requests
import websocket

from kisbt.emulator.runner import Emulator
from kisbt.errors import InputError
from tests.helpers.emulator import SYMBOL, Caller, Listener, stepped, until

pytestmark = [pytest.mark.e2e, pytest.mark.fault]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(stepped()) as running:
        yield running


@pytest.fixture
def caller(emulator: Emulator) -> Caller:
    return Caller(emulator, "real").log_in()


def _orders(emulator: Emulator) -> int:
    return len(emulator.state()["real"]["orders"])


# Transport faults: what the client sees, and whether the order was made.


@pytest.mark.parametrize("action", ["rst", "read_then_close", "truncate"])
@pytest.mark.parametrize(
    ("verb", "made"), [("http(order, 1, {})", 0), ("accept_then({})", 1)]
)
def test_connection_breaks_before_or_after_the_order_is_made(
    emulator: Emulator, caller: Caller, verb: str, action: str, made: int
) -> None:
    emulator.fault(verb.format(action))
    with pytest.raises(
        (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    ):
        caller.order("buy", 1)
    assert _orders(emulator) == made
    assert caller.order("buy", 1).json()["rt_cd"] == "0"


@pytest.mark.parametrize(
    ("verb", "made"), [("http(order, 1, hang 2)", 0), ("accept_then(hang 2)", 1)]
)
def test_answer_never_comes(
    emulator: Emulator, caller: Caller, verb: str, made: int
) -> None:
    emulator.fault(verb)
    url = caller.server["rest_url"]
    with pytest.raises(requests.Timeout):
        caller.session.post(
            url + "/uapi/domestic-stock/v1/trading/order-cash",
            json={
                **caller.account,
                "PDNO": SYMBOL,
                "ORD_DVSN": "01",
                "ORD_QTY": "1",
                "ORD_UNPR": "0",
            },
            headers=caller.headers("TTTC0012U"),
            timeout=0.3,
        )
    assert _orders(emulator) == made


@pytest.mark.parametrize(
    ("action", "status", "is_json"),
    [
        ("html", 200, False),
        ("garbage", 200, False),
        ("status 503", 503, False),
        ("redirect 307", 307, False),
        ("no_number", 200, True),
        ("lower_case", 200, True),
        ("gw(EGW00201, 500)", 500, True),
    ],
)
def test_answer_is_changed_after_the_order_was_made(
    emulator: Emulator, caller: Caller, action: str, status: int, is_json: bool
) -> None:
    emulator.fault(f"accept_then({action})")
    answer = caller.order("buy", 1)
    assert (answer.status_code, _orders(emulator)) == (status, 1)
    if is_json:
        answer.json()
    else:
        with pytest.raises(requests.JSONDecodeError):
            answer.json()


def test_drip_is_slow(emulator: Emulator, caller: Caller) -> None:
    emulator.fault("accept_then(drip)")
    with pytest.raises(requests.Timeout):
        caller.session.post(
            caller.server["rest_url"] + "/uapi/domestic-stock/v1/trading/order-cash",
            json={
                **caller.account,
                "PDNO": SYMBOL,
                "ORD_DVSN": "01",
                "ORD_QTY": "1",
                "ORD_UNPR": "0",
            },
            headers=caller.headers("TTTC0012U"),
            timeout=0.5,
        )
    assert _orders(emulator) == 1


def test_refused_connections_are_taken_again_later(
    emulator: Emulator, caller: Caller
) -> None:
    emulator.fault("http(order, 1, refuse, seconds=1.0)")

    def answers() -> bool:
        try:
            return caller.price().status_code == 200
        except requests.ConnectionError:
            return False

    until(lambda: not answers())
    until(answers)


def test_gateway_code_is_answered_instead_of_an_order(
    emulator: Emulator, caller: Caller
) -> None:
    emulator.fault("gw(APBK0919, 500, tr=order, nth=2)")
    codes = [caller.order("buy", 1).json()["msg_cd"] for _turn in range(3)]
    assert codes == ["APBK0013", "APBK0919", "APBK0013"]
    assert _orders(emulator) == 2


def test_random_faults_are_the_same_for_the_same_seed() -> None:
    seen = []
    for _turn in range(2):
        with Emulator(stepped(environment="real")) as running:
            caller = Caller(running, "real").log_in()
            running.fault(
                {"verb": "gw", "code": "EGW00002", "tr": "*", "rate": 0.3, "seed": 7}
            )
            seen.append([caller.price().status_code for _call in range(40)])
    assert seen[0] == seen[1]
    assert 5 < seen[0].count(500) < 25


# Tokens, queries, pages.


def test_token_faults(emulator: Emulator, caller: Caller) -> None:
    emulator.fault("token(ttl=60)")
    assert caller.price().json()["rt_cd"] == "0"
    emulator.advance(61)
    assert caller.price().json()["msg_cd"] == "EGW00123"
    emulator.fault("token(per_min=5)")
    caller.log_in()
    emulator.fault("token(revoke)")
    assert caller.price().json()["msg_cd"] == "EGW00121"


def test_queries_trail_the_truth(emulator: Emulator, caller: Caller) -> None:
    emulator.fault("lag(ledger, 20)", "lag(balance, 10)")
    caller.order("buy", 3)
    assert caller.orders().json()["output1"] == []
    assert caller.balance().json()["output1"] == []
    emulator.advance(11)
    assert caller.balance().json()["output1"][0]["hldg_qty"] == "3"
    assert caller.orders().json()["output1"] == []
    emulator.advance(10)
    (row,) = caller.orders().json()["output1"]
    assert row["tot_ccld_qty"] == "3"


def test_mock_habit_of_empty_lists_can_be_switched_on(emulator: Emulator) -> None:
    caller = Caller(emulator, "mock").log_in()
    caller.order("buy", 3)
    emulator.fault("quirk(daily_ccld_empty)")
    body = caller.orders().json()
    assert (body["output1"], body["msg_cd"], body["rt_cd"]) == ([], "70070000", "0")
    assert body["output2"]["tot_ccld_qty"] == "3"
    emulator.clear_faults()
    assert len(caller.orders().json()["output1"]) == 1


def test_page_faults(emulator: Emulator, caller: Caller) -> None:
    for _turn in range(5):
        caller.order("buy", 1)
    emulator.fault("page(size=2)")
    first = caller.orders()
    assert (len(first.json()["output1"]), first.headers["tr_cont"]) == (2, "M")
    place = {"CTX_AREA_NK100": first.json()["ctx_area_nk100"]}
    emulator.fault("page(repeat)")
    again = caller.orders(tr_cont="N", **place).json()["output1"]
    numbers = [row["odno"] for row in first.json()["output1"]]
    assert again[0]["odno"] == numbers[-1]
    emulator.fault("page(change_between)")
    changed = caller.orders(tr_cont="N", **place).json()
    assert changed["rt_cd"] != "0"
    assert "재조회" in changed["msg1"]
    emulator.fault("page(fail)")
    assert caller.orders(tr_cont="N", **place).status_code == 500
    emulator.fault("page(endless, nth='*')")
    for _turn in range(5):
        page = caller.orders(tr_cont="N", **place)
        assert page.headers["tr_cont"] == "M"


# The exchange.


def test_exchange_faults_of_orders(emulator: Emulator, caller: Caller) -> None:
    limit = {"ORD_DVSN": "00", "ORD_UNPR": "100000"}
    emulator.fault("ex(partial, 2, 3)")
    caller.order("buy", 10, **limit)
    emulator.fault("ex(reject)")
    caller.order("buy", 4, **limit)
    emulator.fault("ex(cancel)")
    caller.order("buy", 5, **limit)
    orders = emulator.state()["real"]["orders"]
    assert [order["state"] for order in orders] == ["working", "rejected", "cancelled"]
    assert [order["filled"] for order in orders] == [5, 0, 0]
    assert orders[1]["rejected"] == 4


def test_routed_order_is_found_at_its_venue_only(
    emulator: Emulator, caller: Caller
) -> None:
    emulator.fault("ex(route, NXT)")
    limit = {"ORD_DVSN": "00", "ORD_UNPR": "90000", "EXCG_ID_DVSN_CD": "SOR"}
    made = caller.order("buy", 3, **limit).json()
    assert made["rt_cd"] == "0"
    (order,) = emulator.state()["real"]["orders"]
    assert order["venue"] == "NXT"
    number = made["output"]["ODNO"]
    assert caller.change(number, EXCG_ID_DVSN_CD="KRX").json()["rt_cd"] != "0"
    assert emulator.state()["real"]["orders"][0]["state"] == "working"
    assert caller.change(number, EXCG_ID_DVSN_CD="NXT").json()["rt_cd"] == "0"
    assert emulator.state()["real"]["orders"][0]["state"] == "cancelled"


def test_halted_symbol_takes_no_order(emulator: Emulator, caller: Caller) -> None:
    emulator.fault(f"ex(halt, {SYMBOL})")
    assert caller.order("buy", 1).json()["msg_cd"] == "APBK0656"
    assert caller.price().json()["output"]["temp_stop_yn"] == "Y"
    emulator.fault(f"ex(resume, {SYMBOL})")
    assert caller.order("buy", 1).json()["rt_cd"] == "0"


def test_interruption_ends_after_two_minutes(
    emulator: Emulator, caller: Caller
) -> None:
    emulator.fault(f"ex(vi, {SYMBOL})")
    emulator.advance(60)
    assert emulator.state()["book"][SYMBOL]["halted"]
    emulator.advance(120)
    assert not emulator.state()["book"][SYMBOL]["halted"]


def test_split_changes_what_is_held(emulator: Emulator, caller: Caller) -> None:
    caller.order("buy", 10)
    emulator.fault(f"ex(split, {SYMBOL}, 5, 1)")
    held = emulator.state()["real"]["account"]["holdings"][SYMBOL]
    assert held["quantity"] == 50


# The stream.


@pytest.mark.parametrize(
    ("fault", "count"), [("ws(dup, 3, tr=trade)", 3), ("ws(mute, tr=trade)", 0)]
)
def test_frames_are_doubled_or_lost(
    emulator: Emulator, caller: Caller, fault: str, count: int
) -> None:
    with Listener(caller) as stream:
        stream.subscribe("H0STCNT0")
        emulator.fault(fault)
        emulator.fault("ws(flood, 3)")
        stream.send("H0STASP0", SYMBOL)
        frames = 0
        while not stream.frame().startswith("{"):
            frames += 1
    assert frames == count  # one trade of the flood is this symbol's


def test_several_trades_come_in_one_frame(emulator: Emulator, caller: Caller) -> None:
    with Listener(caller) as stream:
        stream.subscribe("H0STCNT0")
        emulator.fault("ws(multi, 3, tr=trade, count=3)")
        emulator.fault({"verb": "ws", "do": "flood", "arg": 3, "symbol": SYMBOL})
        frame = stream.frame()
    assert frame.split("|")[2] == "003"
    assert len(frame.split("|", 3)[3].split("^")) == 3 * 46


def test_dropped_stream_ends_at_once(emulator: Emulator, caller: Caller) -> None:
    with Listener(caller) as stream:
        stream.subscribe("H0STCNT0")
        emulator.fault("ws(drop, tr=trade)")
        emulator.advance(60)
        with pytest.raises((websocket.WebSocketException, OSError)):
            stream.frame()


def test_notice_key_and_width_can_be_wrong(emulator: Emulator, caller: Caller) -> None:
    with Listener(caller) as stream:
        tr_id = stream.notices()["header"]["tr_id"]
        emulator.fault("ws(notice_width, 1, tr=notice)")
        caller.order("buy", 1, ORD_DVSN="00", ORD_UNPR="100000")
        assert len(stream.rows(tr_id, 1)[0]) == 27
        emulator.fault("ws(bad_key, tr=notice)")
        caller.order("buy", 1, ORD_DVSN="00", ORD_UNPR="100000")
        with pytest.raises(ValueError, match=r"padding|decode"):
            stream.rows(tr_id, 1)


def test_subscription_is_refused_with_a_scripted_code(
    emulator: Emulator, caller: Caller
) -> None:
    emulator.fault("ws(sub_reject, OPSP8996)")
    with Listener(caller) as stream:
        assert stream.subscribe("H0STCNT0")["body"]["msg_cd"] == "OPSP8996"
    with Listener(caller) as stream:
        assert stream.subscribe("H0STCNT0")["body"]["msg_cd"] == "OPSP0000"


def test_lost_session_can_keep_its_slot(emulator: Emulator, caller: Caller) -> None:
    emulator.fault("ws(stuck_slot, 30, tr=slot)")
    with Listener(caller) as stream:
        stream.subscribe("H0STCNT0")
    until(lambda: not emulator.state()["real"]["stream"]["sessions"])
    with Listener(caller) as stream:
        assert stream.subscribe("H0STCNT0")["body"]["msg_cd"] == "OPSP8996"
    emulator.advance(31)
    with Listener(caller) as stream:
        assert stream.subscribe("H0STCNT0")["body"]["msg_cd"] == "OPSP0000"


# The control plane.


def test_control_plane_needs_its_token_and_this_host(caller: Caller) -> None:
    assert caller.control("state").status_code == 200
    assert caller.control("state", authorization="Bearer x").status_code == 403
    assert caller.control("state", host="evil.example:80").status_code == 403


def test_time_moves_when_told(emulator: Emulator, caller: Caller) -> None:
    told = caller.control("clock", {"advance": 90}).json()
    assert told["now"] == "2025-12-29T10:01:30+09:00"
    assert emulator.clock.now() == datetime.fromisoformat(told["now"])
    told = caller.control("clock", {"candles": 1}).json()
    assert told["now"] == "2025-12-29T10:02:00+09:00"
    told = caller.control("clock", {"to": "2025-12-29T10:05:00"}).json()
    assert told["now"] == "2025-12-29T10:05:00+09:00"


def test_account_and_orders_of_others_can_be_set(
    emulator: Emulator, caller: Caller
) -> None:
    asked = {
        "environment": "real",
        "cash": 5_000_000,
        "holdings": {"990002": {"quantity": 7, "average": 1000}},
    }
    assert caller.control("account", asked).status_code == 200
    made = caller.control(
        "external-order",
        {"environment": "real", "symbol": SYMBOL, "side": "buy", "quantity": 1},
    ).json()
    assert (made["channel"], made["state"]) == ("Nsmart", "filled")
    rows = caller.orders().json()["output1"]
    assert rows[0]["ordr_empno"] == "Nsmart"
    state = emulator.state()["real"]["account"]
    assert state["holdings"]["990002"] == {"quantity": 7, "average": 1000}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"advance": "soon"}),
        ("clock", {"advance": -1}),
        ("clock", {"to": "tomorrow"}),
        ("faults", {"add": ["http(order, 1, sing)"]}),
        ("faults", {"add": ["nonsense"]}),
        ("faults", [17]),
        ("account", {"holdings": {"990001": -4}}),
        ("account", {"cash": "much"}),
        ("account", {"environment": "moon"}),
        ("external-order", {"side": "hold", "quantity": 1}),
        ("external-order", {"symbol": "123456", "quantity": 1}),
        ("restart", {"seconds": "x"}),
        ("state/x", {}),
    ],
)
def test_control_plane_explains_what_it_cannot_do(
    emulator: Emulator, caller: Caller, path: str, body: object
) -> None:
    before = json.dumps(emulator.state())
    answer = caller.control(path, body)
    assert answer.status_code in {400, 404, 405}
    assert answer.json()["error"]
    assert json.dumps(emulator.state()) == before


def test_faults_are_listed_and_cleared(emulator: Emulator, caller: Caller) -> None:
    listed = caller.control("faults", ["http(order, 3, rst)"]).json()["faults"]
    assert [(row["verb"], row["do"], row["nth"]) for row in listed] == [
        ("http", "rst", 3),
        ("http", "rst", 3),
    ]
    assert caller.control("faults", {"clear": True}).json()["faults"] == []


def test_restarted_server_keeps_its_books(emulator: Emulator, caller: Caller) -> None:
    caller.order("buy", 2)
    with Listener(caller) as stream:
        stream.subscribe("H0STCNT0")
        emulator.restart()
        with pytest.raises((websocket.WebSocketException, OSError)):
            stream.frame()
    assert caller.balance().json()["output1"][0]["hldg_qty"] == "2"


def test_calls_are_recorded_for_counting(emulator: Emulator, caller: Caller) -> None:
    caller.price()
    caller.order("buy", 2)
    log = emulator.state(calls=True)["real"]["call_log"]
    assert [call["name"] for call in log] == ["token", "inquire_price", "order_cash"]
    assert log[-1]["body"]["ORD_QTY"] == "2"


def test_script_that_makes_no_sense_is_refused(emulator: Emulator) -> None:
    with pytest.raises(InputError):
        emulator.fault("ex(halt, 123456)")
