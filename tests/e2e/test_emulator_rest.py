"""The REST end over real sockets: answers, keys, limits, pages, malformed requests."""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from kisbt.emulator.runner import Emulator
from kisbt.kis.wire.calls import CALLS
from kisbt.kis.wire.requests import (
    OrdersQuery,
    PastMinutesQuery,
    PlaceOrder,
)
from kisbt.kis.wire.rest import encode_request
from kisbt.model.account import Account, Environment
from kisbt.model.order import OrderKind, Side
from tests.helpers.emulator import (
    QUOTATIONS,
    SESSION,
    SYMBOL,
    TRADING,
    Caller,
    stepped,
)
from tests.helpers.wire import FIELDS, REQUESTS

pytestmark = pytest.mark.e2e

_FORMS = {
    "integer": re.compile(r"-?[0-9]+"),
    "decimal": re.compile(r"-?[0-9]+(\.[0-9]+)?"),
    "date": re.compile(r"([0-9]{8})?"),
    "time": re.compile(r"([0-9]{6})?"),
    "flag": re.compile(r"[YN]?"),
    "code": re.compile(r"[^\x00-\x1f]*"),
    "text": re.compile(r"[^\x00-\x1f]*"),
    "string": re.compile(r"[^\x00-\x1f]*"),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    """Return an emulator whose account these tests only read."""
    with Emulator(stepped()) as running:
        for environment in ("mock", "real"):
            caller = Caller(running, environment).log_in()
            caller.order("buy", 10)
            caller.order("sell", 4)
            caller.order("buy", 1, ORD_DVSN="00", ORD_UNPR="100000")
        yield running


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(stepped()) as running:
        yield running


def _asked(wanted: Any, account: Account) -> Any:
    """Return a request of the tables, about a symbol and a day there is."""
    changes: dict[str, Any] = {}
    if hasattr(wanted, "account"):
        changes["account"] = account
    known = {"symbol": SYMBOL, "day": SESSION, "last": SESSION}
    changes |= {
        name: value for name, value in known.items() if getattr(wanted, name, 0)
    }
    if getattr(wanted, "first", None):
        changes["first"] = date(2025, 12, 1)
    if hasattr(wanted, "until"):
        changes["until"] = time(9, 59)
    if isinstance(wanted, OrdersQuery):
        changes.update(side=None, symbol="", number="", branch="", venue=None)
    if hasattr(wanted, "symbols"):
        changes["symbols"] = (SYMBOL, "990002")
    if hasattr(wanted, "index"):
        changes["index"] = "0001"
    if hasattr(wanted, "side_code"):
        changes["side_code"] = "0"
    return replace(wanted, **changes)


@pytest.mark.parametrize("environment", list(Environment))
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        pytest.param(name, wanted, id=f"{name}-{number}")
        for number, (name, wanted) in enumerate(REQUESTS)
        if name not in {"order_cash", "order_rvsecncl"}
    ],
)
def test_every_answer_has_the_fields_of_the_tables_in_their_order(
    shared: Emulator, environment: Environment, name: str, wanted: Any
) -> None:
    call = CALLS[name]
    caller = Caller(shared, environment.value)
    caller.token = _token(shared, environment.value)
    if not call.endpoint.offered(environment):
        answer = caller.get(
            call.endpoint.path, next(iter(call.endpoint.real.values())), caller.account
        )
        assert (answer.status_code, answer.json()["msg_cd"]) == (500, "OPSQ0002")
        return
    number, product = caller.server["account"].split("-")
    asked = _asked(wanted, Account(number, product))
    request = encode_request(call, asked, environment=environment)

    answer = caller.get(request.path, request.tr_id, dict(request.query))

    body = answer.json()
    assert (answer.status_code, body["rt_cd"]) == (200, "0"), body
    assert answer.headers["tr_id"] == request.tr_id
    for block, spec in FIELDS["rest"][name]["response"].items():
        rows = body[block] if spec["list"] else [body[block]]
        if name not in _MAY_BE_EMPTY:
            assert rows, block
        for row in rows:
            assert list(row) == list(spec["fields"])
            for field, text in row.items():
                kind = spec["fields"][field]
                assert _FORMS[kind].fullmatch(text), f"{field}: {text!r} is no {kind}"


_MAY_BE_EMPTY = {"inquire_psbl_rvsecncl", "fluctuation", "inquire_daily_ccld"}


def _token(emulator: Emulator, environment: str) -> str:
    """Return the token issued last: another within a minute would be refused."""
    house = emulator._house
    assert house is not None
    token: str = house.sides[Environment(environment)].tokens._tokens[-1].text
    return token


@pytest.mark.parametrize("environment", ["mock", "real"])
def test_standard_headers_are_capitalised_and_the_brokers_own_are_not(
    shared: Emulator, environment: str
) -> None:
    caller = Caller(shared, environment)
    caller.token = _token(shared, environment)
    names = set(caller.price().headers)
    assert {"Content-Type", "Date", "X-Kisbt-Emulator"} <= names
    assert {"tr_id", "tr_cont", "gt_uid"} <= names
    assert not [name for name in names if name.islower() and "-" in name]


def test_date_header_is_virtual_time(shared: Emulator) -> None:
    caller = Caller(shared, "real")
    caller.token = _token(shared, "real")
    told = parsedate_to_datetime(caller.price().headers["Date"])
    assert told == datetime(2025, 12, 29, 1, 0, tzinfo=UTC)


def test_doubled_slashes_lower_case_names_and_old_ids_are_taken(
    shared: Emulator,
) -> None:
    caller = Caller(shared, "real")
    caller.token = _token(shared, "real")
    query = {name.lower(): text for name, text in caller.account.items()}
    dates = {"inqr_strt_dt": "00000101", "inqr_end_dt": ""}
    answer = caller.get(
        "//uapi//domestic-stock/v1/trading//inquire-daily-ccld",
        "TTTC8001R",
        {**query, **dates},
    )
    assert answer.json()["rt_cd"] == "0"
    assert len(answer.json()["output1"]) == 3


def test_call_is_known_by_its_id_even_on_another_path(shared: Emulator) -> None:
    caller = Caller(shared, "real")
    caller.token = _token(shared, "real")
    answer = caller.get(
        TRADING + "inquire-daily-ccld",
        "TTTC8908R",
        {**caller.account, "PDNO": "", "ORD_UNPR": "0", "ORD_DVSN": "02"},
    )
    assert int(answer.json()["output"]["ord_psbl_cash"]) > 8_000_000


# Keys and tokens.


def test_token_is_the_same_within_six_hours_and_dies_after_a_day(
    emulator: Emulator,
) -> None:
    caller = Caller(emulator)
    first = caller.issue().json()
    again = caller.issue()
    assert (again.status_code, again.json()["error_code"]) == (403, "EGW00133")
    emulator.advance(61)
    assert caller.issue().json()["access_token"] == first["access_token"]
    assert first["access_token_token_expired"] == "2025-12-30 10:00:00"
    emulator.advance(6 * 3600)
    second = caller.issue().json()
    assert second["access_token"] != first["access_token"]
    caller.token = first["access_token"]
    assert caller.price().json()["rt_cd"] == "0"
    emulator.advance(24 * 3600)
    refused = caller.price()
    assert (refused.status_code, refused.json()["msg_cd"]) == (500, "EGW00123")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"appkey": ""}, "EGW00102"),
        ({"appkey": "P" * 36}, "EGW00103"),
        ({"appsecret": ""}, "EGW00104"),
        ({"appsecret": "x" * 180}, "EGW00105"),
        ({"grant_type": ""}, "EGW00115"),
        ({"grant_type": "password"}, "EGW00116"),
    ],
)
def test_wrong_keys_get_no_token(
    emulator: Emulator, changes: dict[str, str], code: str
) -> None:
    answer = Caller(emulator).issue(**changes)
    assert (answer.status_code, answer.json()["error_code"]) == (403, code)


def test_keys_are_as_long_as_the_brokers(emulator: Emulator) -> None:
    for environment in ("mock", "real"):
        server = emulator.side(environment)
        assert len(server["app_key"]) == 36
        assert len(server["app_secret"]) == 180
        assert server["app_key"].startswith("KISBTEMULATOR")
        assert server["app_secret"].startswith("KISBTEMULATOR")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"authorization": ""}, "EGW00205"),
        ({"authorization": "Bearer nonsense"}, "EGW00121"),
        ({"appkey": "P" * 36}, "EGW00103"),
        ({"appsecret": "x"}, "EGW00105"),
    ],
)
def test_call_without_the_right_keys_is_refused(
    emulator: Emulator, headers: dict[str, str], code: str
) -> None:
    caller = Caller(emulator).log_in()
    answer = caller.get(QUOTATIONS + "inquire-price", "FHKST01010100", {}, **headers)
    assert answer.json()["msg_cd"] == code


def test_revoked_token_is_refused(emulator: Emulator) -> None:
    caller = Caller(emulator).log_in()
    body = {**caller.keys, "token": caller.token}
    assert caller.post_raw("/oauth2/revokeP", body).json()["code"] == 200
    assert caller.price().json()["msg_cd"] == "EGW00121"


def test_token_of_one_server_is_refused_by_the_other(emulator: Emulator) -> None:
    mock, real = Caller(emulator, "mock").log_in(), Caller(emulator, "real").log_in()
    real.token = mock.token
    assert real.price().json()["msg_cd"] == "EGW00121"


# Limits.


@pytest.mark.parametrize(("environment", "most"), [("mock", 1), ("real", 18)])
def test_no_more_calls_than_allowed_in_a_sliding_second(
    environment: str, most: int
) -> None:
    with Emulator(stepped(environment=environment, limits=True)) as running:
        caller = Caller(running, environment).log_in()
        codes = [caller.price().json()["msg_cd"] for _turn in range(most + 3)]
        assert codes == ["MCA00000"] * most + ["EGW00201"] * 3
        running.advance(0.5)
        assert caller.price().status_code == 500
        running.advance(0.5)
        assert caller.price().status_code == 200


def test_hash_key_and_its_order_count_as_one_call() -> None:
    with Emulator(stepped(environment="mock", limits=True)) as running:
        caller = Caller(running).log_in()
        body = {**caller.account, "PDNO": SYMBOL, "ORD_DVSN": "01", "ORD_QTY": "1"}
        body["ORD_UNPR"] = "0"
        hashed = caller.post_raw("/uapi/hashkey", body, **caller.keys).json()["HASH"]
        headers = caller.headers("VTTC0802U", hashkey=hashed)
        first = caller.post_raw(TRADING + "order-cash", body, **headers)
        assert first.json()["rt_cd"] == "0"
        assert caller.price().json()["msg_cd"] == "EGW00201"


# Orders.


@pytest.mark.parametrize(
    ("environment", "changes", "code", "result"),
    [
        ("mock", {"ORD_QTY": "1000"}, "40250000", "1"),
        ("real", {"ORD_QTY": "1000"}, "APBK0952", "7"),
        ("mock", {"ORD_DVSN": "00", "ORD_UNPR": "100001"}, "40030000", "1"),
        ("real", {"ORD_DVSN": "00", "ORD_UNPR": "100001"}, "APBK0506", "7"),
        ("mock", {"PDNO": "123456"}, "40070000", "1"),
        ("real", {"PDNO": "123456"}, "APBK0656", "7"),
        ("mock", {"ORD_DVSN": "11", "ORD_UNPR": "100000"}, "90000000", "1"),
        ("mock", {"EXCG_ID_DVSN_CD": "SOR"}, "90000000", "1"),
        ("real", {"ORD_DVSN": "06"}, "APBK0918", "7"),
        ("real", {"ORD_QTY": "0"}, "APBK0986", "7"),
        ("real", {"ORD_DVSN": "zz"}, "IGW00007", "1"),
        ("real", {"ORD_UNPR": "70000.0"}, "IGW00007", "1"),
        ("real", {"CANO": "00000000"}, "OPSQ2000", "1"),
    ],
)
def test_order_is_refused_in_the_servers_own_words(
    emulator: Emulator,
    environment: str,
    changes: dict[str, str],
    code: str,
    result: str,
) -> None:
    caller = Caller(emulator, environment).log_in()
    body = caller.order("buy", 1, **changes).json()
    assert (body["msg_cd"], body["rt_cd"]) == (code, result)
    assert emulator.state()[environment]["orders"] == []


@pytest.mark.parametrize(
    ("hour", "mock", "real"),
    [
        (time(8, 25), "40570000", "APBK0918"),
        (time(8, 45), "40570000", "APBK0013"),
        (time(9, 0), "40600000", "APBK0013"),
        (time(15, 25), "40600000", "APBK0013"),
        (time(15, 30), "40580000", "APBK0918"),
    ],
)
def test_hours_of_the_two_servers_differ(hour: time, mock: str, real: str) -> None:
    start = datetime.combine(SESSION, hour)
    with Emulator(stepped(start=start)) as running:
        answers = [
            Caller(running, environment).log_in().order("buy", 1).json()["msg_cd"]
            for environment in ("mock", "real")
        ]
    assert answers == [mock, real]


def test_orders_are_refused_on_a_holiday() -> None:
    with Emulator(stepped(start=datetime(2025, 12, 25, 10, 0))) as running:
        assert Caller(running).log_in().order("buy", 1).json()["msg_cd"] == "40100000"


def test_amended_and_cancelled_orders_have_numbers_of_their_own(
    emulator: Emulator,
) -> None:
    caller = Caller(emulator, "real").log_in()
    placed = caller.order("buy", 5, ORD_DVSN="00", ORD_UNPR="100000").json()["output"]
    amended = caller.change(
        placed["ODNO"], RVSE_CNCL_DVSN_CD="01", ORD_UNPR="99900"
    ).json()["output"]
    part = caller.change(amended["ODNO"], QTY_ALL_ORD_YN="N", ORD_QTY="2").json()
    rows = caller.orders(INQR_DVSN="01").json()["output1"]
    assert part["rt_cd"] == "0"
    assert [row["odno"][-1] for row in rows] == ["1", "2", "3"]
    assert [row["orgn_odno"][-1:] for row in rows] == ["", "1", "2"]
    assert [row["rmn_qty"] for row in rows] == ["0", "3", "0"]
    assert [row["cncl_yn"] for row in rows] == ["N", "N", "Y"]
    assert rows[2]["sll_buy_dvsn_cd_name"] == "매수취소*"
    assert {row["ord_gno_brno"] for row in rows} == {placed["KRX_FWDG_ORD_ORGNO"]}
    over = caller.change(amended["ODNO"], QTY_ALL_ORD_YN="N", ORD_QTY="9").json()
    assert over["msg_cd"] == "APBK0344"


@pytest.mark.parametrize(
    ("environment", "code"), [("mock", "40320000"), ("real", "APBK0344")]
)
def test_unknown_order_cannot_be_cancelled(
    emulator: Emulator, environment: str, code: str
) -> None:
    caller = Caller(emulator, environment).log_in()
    assert caller.change("0000099999").json()["msg_cd"] == code


def test_finished_order_cannot_be_cancelled(emulator: Emulator) -> None:
    caller = Caller(emulator).log_in()
    number = caller.order("buy", 1).json()["output"]["ODNO"]
    assert caller.change(number).json()["msg_cd"] == "40330000"


def test_order_must_be_cancelled_where_it_was_sent(emulator: Emulator) -> None:
    caller = Caller(emulator, "real").log_in()
    placed = caller.order(
        "buy", 1, ORD_DVSN="00", ORD_UNPR="100000", EXCG_ID_DVSN_CD="NXT"
    )
    number = placed.json()["output"]["ODNO"]
    assert caller.change(number).json()["msg_cd"] == "APBK0344"
    assert caller.change(number, EXCG_ID_DVSN_CD="NXT").json()["rt_cd"] == "0"


@pytest.mark.parametrize(
    ("environment", "count", "size"), [("mock", 40, 15), ("real", 150, 100)]
)
def test_long_lists_come_in_pages_that_end_with_d(
    emulator: Emulator, environment: str, count: int, size: int
) -> None:
    caller = Caller(emulator, environment).log_in()
    emulator.set_account(environment=environment, cash=100_000_000)
    for _turn in range(count):
        caller.order("buy", 1, ORD_DVSN="00", ORD_UNPR="90000")
    answer = caller.orders()
    seen = [row["odno"] for row in answer.json()["output1"]]
    assert len(seen) == size
    while answer.headers["tr_cont"] == "M":
        body = answer.json()
        assert len(body["ctx_area_fk100"]) == 100
        answer = caller.orders(
            tr_cont="N",
            CTX_AREA_FK100=body["ctx_area_fk100"],
            CTX_AREA_NK100=body["ctx_area_nk100"],
        )
        seen += [row["odno"] for row in answer.json()["output1"]]
    assert answer.headers["tr_cont"] == "D"
    assert len(set(seen)) == len(seen) == count


def test_money_settles_on_the_second_session_after_a_trade(
    emulator: Emulator,
) -> None:
    caller = Caller(emulator, "real").log_in()
    caller.order("buy", 10)
    (fill,) = emulator.state()["real"]["fills"]
    spent = fill["quantity"] * fill["price"] + fill["commission"]
    money = caller.balance().json()["output2"][0]
    assert money["dnca_tot_amt"] == "10000000"
    assert money["nxdy_excc_amt"] == "10000000"
    assert money["prvs_rcdl_excc_amt"] == str(10_000_000 - spent)
    assert money["thdt_buy_amt"] == str(fill["quantity"] * fill["price"])


def test_sale_is_charged_commission_and_tax(emulator: Emulator) -> None:
    caller = Caller(emulator, "real").log_in()
    emulator.set_account(environment="real", holdings={SYMBOL: 10})
    caller.order("sell", 10)
    (fill,) = emulator.state()["real"]["fills"]
    amount = fill["quantity"] * fill["price"]
    # 2025-12-29: 0.05 % and 0.15 % on KOSPI; BanKIS 0.0140527 % a side.
    assert fill["tax"] == amount * 20 // 10_000
    assert fill["commission"] == amount * 140_527 // 10**9


def test_only_what_is_held_can_be_sold(emulator: Emulator) -> None:
    mock, real = Caller(emulator, "mock").log_in(), Caller(emulator, "real").log_in()
    assert mock.order("sell", 1).json()["msg_cd"] == "40240000"
    assert real.order("sell", 1).json()["msg_cd"] == "APBK0400"


# Malformed requests.

_NONSENSE: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"17",
    b"\xff\xfe\x00",
    b"[" * 50_000,
    b'{"CANO": {"a": 1}, "ACNT_PRDT_CD": []}',
    b'{"CANO": null}',
    b'{"\\ud800": "\\ud800"}',
    b"x" * 100_000,
    json.dumps({"CANO": "9" * 5_000}).encode(),
]


@pytest.mark.parametrize("body", _NONSENSE)
@pytest.mark.parametrize(
    "path", ["/oauth2/tokenP", "/oauth2/Approval", "/oauth2/revokeP", "/uapi/hashkey"]
)
def test_nonsense_at_the_token_end_is_refused(
    shared: Emulator, path: str, body: bytes
) -> None:
    caller = Caller(shared, "real")
    answer = caller.post_raw(path, body)
    assert answer.status_code in {403, 500}
    assert answer.json()


@pytest.mark.parametrize("body", _NONSENSE)
def test_nonsense_order_is_refused_and_changes_nothing(
    shared: Emulator, body: bytes
) -> None:
    caller = Caller(shared, "real")
    caller.token = _token(shared, "real")
    before = shared.state()["real"]["orders"]
    for tr_id in ("TTTC0012U", "TTTC0013U", "TTTC0802U"):
        answer = caller.post_raw(TRADING + "order-cash", body, **caller.headers(tr_id))
        assert answer.json()["rt_cd"] != "0"
    assert shared.state()["real"]["orders"] == before


@pytest.mark.parametrize(
    ("method", "path", "tr_id", "status"),
    [
        ("GET", "/nowhere", "FHKST01010100", 500),
        ("GET", QUOTATIONS + "inquire-price", "NOSUCHID", 500),
        ("GET", QUOTATIONS + "inquire-price", "", 500),
        ("POST", QUOTATIONS + "inquire-price", "FHKST01010100", 500),
        ("DELETE", QUOTATIONS + "inquire-price", "FHKST01010100", 500),
        ("GET", TRADING + "order-cash", "TTTC0012U", 500),
        ("PUT", "/oauth2/tokenP", "", 500),
    ],
)
def test_wrong_paths_ids_and_methods_are_refused(
    shared: Emulator, method: str, path: str, tr_id: str, status: int
) -> None:
    caller = Caller(shared, "real")
    caller.token = _token(shared, "real")
    answer = caller.session.request(
        method,
        caller.server["rest_url"] + path,
        headers=caller.headers(tr_id),
        timeout=10,
    )
    assert (answer.status_code, answer.json()["rt_cd"]) == (status, "1")


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /oauth2/tokenP HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab",
        b"GET /%ff%00?%zz=%&& HTTP/1.1\r\nHost: x\r\n\r\n",
        b"A" * 200_000,
    ],
)
def test_broken_http_does_not_stop_the_server(shared: Emulator, raw: bytes) -> None:
    server = shared.side("real")
    host, port = server["rest_url"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(raw)
    caller = Caller(shared, "real")
    caller.token = _token(shared, "real")
    assert caller.price().status_code == 200


def test_who_dies_while_it_asks_leaves_no_traceback(
    shared: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caller = Caller(shared, "real")
    url = urlsplit(caller.server["control_url"])
    head = (
        f"POST {url.path}/clock HTTP/1.1\r\nHost: {url.netloc}\r\n"
        f"Authorization: Bearer {caller.server['control_token']}\r\n"
        "Content-Length: 20\r\n\r\n{"
    )
    with socket.create_connection((url.hostname, url.port), timeout=5) as sock:
        sock.sendall(head.encode())
        sock.shutdown(socket.SHUT_RDWR)
        assert sock.recv(1_000) == b""
    assert caller.control("clock").status_code == 200
    assert [item for item in caplog.records if item.exc_info] == []


# Charts.


def test_daily_chart_pages_back_through_the_whole_store(shared: Emulator) -> None:
    caller = Caller(shared, "mock")
    caller.token = _token(shared, "mock")
    rows: dict[str, dict[str, str]] = {}
    last = "20251228"
    while True:
        page = caller.get(
            QUOTATIONS + "inquire-daily-itemchartprice",
            "FHKST03010100",
            {
                "FID_COND_MRKT_DIV_CODE": "J",
                "FID_INPUT_ISCD": SYMBOL,
                "FID_INPUT_DATE_1": "20100101",
                "FID_INPUT_DATE_2": last,
                "FID_PERIOD_DIV_CODE": "D",
                "FID_ORG_ADJ_PRC": "0",
            },
        ).json()["output2"]
        assert [row["stck_bsop_date"] for row in page] == sorted(
            (row["stck_bsop_date"] for row in page), reverse=True
        )
        new = {row["stck_bsop_date"]: row for row in page}
        if not new.keys() - rows.keys():
            break
        rows |= new
        last = min(new)
    lines = (
        (shared.settings.data or "") / "1d" / f"{SYMBOL}.csv"  # type: ignore[operator]
    ).read_text()
    stored = [line.split(",") for line in lines.splitlines()[1:]]
    stored = [row for row in stored if row[0] < "2025-12-29"]
    assert len(rows) == len(stored)
    for day, open_, high, low, close, volume in stored:
        row = rows[day[:10].replace("-", "")]
        told = [row[f"stck_{name}"] for name in ("oprc", "hgpr", "lwpr", "clpr")]
        assert [*told, row["acml_vol"]] == [open_, high, low, close, volume]


def test_past_minutes_are_those_of_the_store(shared: Emulator) -> None:
    caller = Caller(shared, "real")
    caller.token = _token(shared, "real")
    asked = PastMinutesQuery(
        symbol=SYMBOL, day=date(2025, 12, 26), until=time(23, 59, 59)
    )
    call = CALLS["inquire_time_dailychartprice"]
    request = encode_request(call, asked, environment=Environment.REAL)
    rows = caller.get(request.path, request.tr_id, dict(request.query)).json()
    hours = [row["stck_cntg_hour"] for row in rows["output2"]]
    assert len(hours) == 120
    assert hours[:2] == ["153000", "151900"]
    assert hours == sorted(hours, reverse=True)


def test_client_codec_and_emulator_agree_on_an_order(emulator: Emulator) -> None:
    caller = Caller(emulator, "real").log_in()
    number, product = caller.server["account"].split("-")
    order = PlaceOrder(
        account=Account(number, product),
        side=Side.BUY,
        symbol=SYMBOL,
        kind=OrderKind.LIMIT_IOC,
        quantity=3,
        price=120_000,
    )
    request = encode_request(CALLS["order_cash"], order, environment=Environment.REAL)
    answer = caller.post_raw(
        request.path, request.body, **caller.headers(request.tr_id)
    )
    assert answer.json()["rt_cd"] == "0"
    (made,) = emulator.state()["real"]["orders"]
    assert (made["kind"], made["quantity"], made["state"]) == ("limit_ioc", 3, "filled")
