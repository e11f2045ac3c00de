"""What is written has the names, order and types of KIS's own tables."""

import re
from datetime import date
from typing import Any

import pytest

from kisbt.kis.wire import fields as f
from kisbt.kis.wire.calls import CALLS
from kisbt.kis.wire.crypto import NoticeCipher
from kisbt.kis.wire.endpoints import ENDPOINTS, Area
from kisbt.kis.wire.requests import Continuation
from kisbt.kis.wire.rest import (
    NextPage,
    RestCall,
    decode_position,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    request_texts,
)
from kisbt.kis.wire.stream import (
    StreamDecoder,
    encode_notices,
    encode_quote,
    encode_ticks,
    layout_on,
)
from kisbt.model.account import Environment
from tests.helpers.frames import a_notice, a_price, a_quote, a_tick
from tests.helpers.wire import FIELDS, REQUESTS, all_calls, full_body

_REAL = Environment.REAL
_BY_NAME = pytest.mark.parametrize("call", all_calls(), ids=lambda call: call.name)

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


def _decode(call: RestCall[Any, Any], body: Any, **headers: str) -> Any:
    import json

    return decode_reply(
        call,
        status=200,
        headers=headers,
        body=json.dumps(body, ensure_ascii=False),
        environment=_REAL,
    )


def _check_row(row: dict[str, str], kinds: dict[str, str]) -> None:
    assert list(row) == list(kinds)
    for name, text in row.items():
        assert _FORMS[kinds[name]].fullmatch(text), f"{name}: {text!r}"


@_BY_NAME
def test_answer_has_every_field_of_the_tables_in_order(
    call: RestCall[Any, Any],
) -> None:
    value = _decode(call, full_body(call)).value

    body = encode_reply(call, value, environment=_REAL, tr_id="X").body

    for name, block in FIELDS["rest"][call.name]["response"].items():
        kinds = block["fields"]
        if call.name == "order_rvsecncl":  # the portal's example shows capitals
            kinds = {field.upper(): kind for field, kind in kinds.items()}
        rows = body[name] if block["list"] else [body[name]]
        assert rows
        for row in rows:
            _check_row(row, kinds)
    assert list(body)[-3:] == ["rt_cd", "msg_cd", "msg1"]


@_BY_NAME
def test_answer_reads_as_the_value_it_was_written_from(
    call: RestCall[Any, Any],
) -> None:
    value = _decode(call, full_body(call)).value

    reply = encode_reply(call, value, environment=_REAL, tr_id="X")

    again = _decode(call, reply.body)
    assert again.value == value
    assert again.unknown == ()


@_BY_NAME
def test_answer_reads_in_any_case_with_blanks_around_values(
    call: RestCall[Any, Any],
) -> None:
    body = full_body(call)
    plain = _decode(call, body).value

    def change(part: Any) -> Any:
        if isinstance(part, list):
            return [change(row) for row in part]
        if isinstance(part, dict):
            return {name.upper(): f"  {text} " for name, text in part.items()}
        return part

    assert _decode(call, {name: change(part) for name, part in body.items()}).value == (
        plain
    )


@_BY_NAME
def test_call_is_where_the_tables_say(call: RestCall[Any, Any]) -> None:
    row, endpoint = FIELDS["rest"][call.name], call.endpoint

    assert (endpoint.method, endpoint.path) == (row["method"], row["path"])
    assert sorted(endpoint.real.values()) == row["real"]
    assert sorted(endpoint.mock.values()) == row["mock"]


def test_every_endpoint_has_a_call() -> None:
    named = {name for name, item in ENDPOINTS.items() if item.area is not Area.AUTH}

    assert named == set(CALLS) == set(FIELDS["rest"])


@pytest.mark.parametrize(("name", "request_value"), REQUESTS)
def test_request_has_every_key_of_the_tables_in_order(
    name: str, request_value: Any
) -> None:
    wanted = FIELDS["rest"][name]["request"]

    texts = request_texts(CALLS[name], request_value)

    if name == "intstock_multprice":
        wanted = [
            f"{key}_{n}"
            for n in (1, 2)
            for key in ("FID_COND_MRKT_DIV_CODE", "FID_INPUT_ISCD")
        ]
    if name == "order_rvsecncl":
        wanted = [key for key in wanted if key != "CNDT_PRIC"]
    assert list(texts) == wanted
    assert all(isinstance(text, str) for text in texts.values())


@pytest.mark.parametrize(("name", "request_value"), REQUESTS)
def test_request_reads_as_the_value_it_was_written_from(
    name: str, request_value: Any
) -> None:
    call = CALLS[name]
    position = Continuation("12345678^01^", "20260706")
    sent = encode_request(call, request_value, environment=_REAL, position=position)
    routes = {tr_id: variant for variant, tr_id in call.endpoint.real.items()}

    texts = sent.body if sent.body is not None else sent.query
    again = decode_request(call, texts, variant=routes[sent.tr_id])

    assert again == request_value
    assert sent.headers["tr_cont"] == "N"
    paged = "CTX_AREA" in str(FIELDS["rest"][name]["request"])
    assert decode_position(call, texts) == (position if paged else Continuation())


def test_all_requests_are_tried() -> None:
    assert {name for name, _value in REQUESTS} == set(CALLS)


@pytest.mark.parametrize(
    ("next_page", "mark", "more"),
    [
        (NextPage(Continuation("f", "n")), "F", True),
        (NextPage(Continuation("f", "n"), first=False), "M", True),
        (None, "D", False),
    ],
)
def test_page_says_whether_another_follows(
    next_page: NextPage | None, mark: str, more: bool
) -> None:
    call = CALLS["inquire_balance"]
    value = _decode(call, full_body(call)).value

    reply = encode_reply(call, value, environment=_REAL, tr_id="X", next_page=next_page)

    assert reply.headers["tr_cont"] == mark
    assert len(reply.body["ctx_area_fk100"]) == 100
    read = _decode(call, reply.body, tr_cont=mark)
    assert read.more is more


def test_frame_tables_are_those_of_kis() -> None:
    day = date(2026, 9, 11)
    for tr_id, kinds in FIELDS["frames"].items():
        names = [item.name for item in layout_on(tr_id, day).fields]
        wanted = ["CCLD_DVSN" if name == "CNTG_CLS_CODE" else name for name in kinds]
        assert names == wanted


def _records(frame: str, tr_id: str) -> list[dict[str, str]]:
    _encrypted, found, count, payload = frame.split("|", 3)
    assert found == tr_id
    values = payload.split("^")
    width = len(values) // int(count)
    return [
        dict(zip(FIELDS["frames"][tr_id], values[at:], strict=False))
        for at in range(0, len(values), width)
    ]


def test_frames_are_written_with_the_types_of_the_tables() -> None:
    day = date(2026, 9, 11)
    cipher = NoticeCipher("k" * 32, "i" * 16)
    notices = encode_notices([a_notice()], tr_id="H0STCNI0", cipher=cipher, day=day)
    head, payload = notices.rsplit("|", 1)
    frames = {
        "H0STCNT0": encode_ticks([a_tick(), a_tick()], price=a_price()),
        "H0STASP0": encode_quote(a_quote(), day=day),
        "H0STCNI0": f"{head}|{cipher.decrypt(payload)}",
    }

    for tr_id, frame in frames.items():
        for row in _records(frame, tr_id):
            kinds = dict(FIELDS["frames"][tr_id])
            if tr_id == "H0STCNI0":  # digits for flags; a stop price only if there
                kinds |= dict.fromkeys(("RFUS_YN", "CNTG_YN", "ACPT_YN"), "integer")
                kinds["ORD_COND_PRC"] = "string"
            _check_row(row, kinds)


def test_kinds_of_numbers_are_those_of_the_tables() -> None:
    letters = {"i": "integer", "d": "decimal"}
    for call in all_calls():
        for block in call.endpoint.fields.response:
            kinds = FIELDS["rest"][call.name]["response"][block.name]["fields"]
            numbers = {
                item.name.lower(): letters[item.kind]
                for item in block.fields
                if item.kind in f.NUMBERS
            }
            assert numbers == {
                name.lower(): kind
                for name, kind in kinds.items()
                if kind in letters.values()
            }


def test_written_ticks_read_back() -> None:
    frame = StreamDecoder().decode(encode_ticks([a_tick()], price=a_price()))

    assert frame == ("H0STCNT0", (a_tick(base=72_000),))
