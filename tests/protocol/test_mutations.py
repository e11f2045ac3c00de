"""Broken frames and answers: read as nothing, never a crash, nothing remembered."""

import json
import random
from typing import Any

import pytest

from kisbt.errors import KisError, WireError
from kisbt.kis.wire.calls import CALLS
from kisbt.kis.wire.crypto import NoticeCipher
from kisbt.kis.wire.rest import RestCall, decode_reply, decode_request, request_texts
from kisbt.kis.wire.stream import (
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
)
from kisbt.model.account import Environment
from tests.helpers.frames import a_notice, a_tick
from tests.helpers.wire import REQUESTS, all_calls, frames, full_body

_KEY, _IV = "k" * 32, "i" * 16
_ALPHABET = '0123456789^|{}":.,-+ \x00ABCXYZ_eE가\ud55c\ufffd\uff11'


def mutate(text: str, random_: random.Random) -> str:
    """Return `text` with one to three small or large damages."""
    for _time in range(random_.randint(1, 3)):
        at = random_.randrange(len(text) + 1)
        end = min(len(text), at + random_.randint(1, 12))
        kind = random_.randrange(6)
        if kind == 0:
            text = text[:at]
        elif kind == 1:
            text = text[:at] + random_.choice(_ALPHABET) + text[at:]
        elif kind == 2:
            text = text[:at] + text[end:]
        elif kind == 3:
            text = text[:end] + text[at:]
        elif kind == 4:
            text = text[:at] + random_.choice(_ALPHABET) + text[at + 1 :]
        else:
            junk = "".join(random_.choices(_ALPHABET, k=end - at))
            text = text[:at] + junk + text[end:]
    return text


def _confirmed() -> StreamDecoder:
    decoder = StreamDecoder()
    answer = Confirmation("H0STCNI9", "myhtsid", True, "OPSP0000", "SUBSCRIBE SUCCESS")
    decoder.decode(encode_confirmation(answer, key=_KEY, iv=_IV))
    return decoder


def _good_frames() -> list[str]:
    found = frames()
    notice = encode_notices(
        [a_notice()],
        tr_id="H0STCNI9",
        cipher=NoticeCipher(_KEY, _IV),
        day=a_tick().at.date(),
    )
    one = found["data_H0STCNT0_one"]
    return [
        one,
        f"{one}^2",
        found["data_H0STCNT0_two_records"],
        found["data_H0STASP0"],
        notice,
        json.dumps(found["server_bad_htsid"], ensure_ascii=False),
        json.dumps(found["server_pingpong"]),
    ]


def _fuzz_frames(count: int, seed: int) -> int:
    random_ = random.Random(seed)
    good = _good_frames()
    decoder = _confirmed()
    refused = 0
    for _number in range(count):
        frame = mutate(random_.choice(good), random_)
        try:
            value = decoder.decode(frame)
        except WireError:
            refused += 1
            continue
        assert isinstance(
            value, Ticks | Quotes | Notices | Distrust | Ping | Confirmation
        )
        if isinstance(value, Ticks):
            assert all(tick.price > 0 and tick.quantity >= 0 for tick in value.rows)
    # What was read before still reads: the damage left nothing behind.
    assert isinstance(decoder.decode(good[0]), Ticks)
    assert isinstance(decoder.decode(good[4]), Notices)
    return refused


def _fuzz_bodies(count: int, seed: int) -> int:
    random_ = random.Random(seed)
    calls = all_calls()
    bodies = {
        call.name: json.dumps(full_body(call, rows=1), ensure_ascii=False)
        for call in calls
    }
    refused = 0
    for _number in range(count):
        call = random_.choice(calls)
        body = mutate(bodies[call.name], random_)
        try:
            _decode(call, body)
        except KisError:
            refused += 1
    return refused


def _decode(call: RestCall[Any, Any], body: str) -> None:
    decode_reply(
        call,
        status=200,
        headers={"tr_cont": "M"},
        body=body.encode("utf-8", "surrogatepass"),
        environment=Environment.REAL,
    )


def test_broken_frames_do_no_harm() -> None:
    assert 0 < _fuzz_frames(20_000, seed=1) < 20_000


def test_broken_answers_raise_errors_of_kis_only() -> None:
    assert 0 < _fuzz_bodies(3_000, seed=2) < 3_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_million_broken_frames_do_no_harm() -> None:
    assert _fuzz_frames(1_000_000, seed=3) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_broken_answers_raise_errors_of_kis_only() -> None:
    assert _fuzz_bodies(100_000, seed=4) > 0


_JUNK: tuple[Any, ...] = (
    None,
    True,
    12,
    1.5,
    [],
    {},
    [[]],
    "nan",
    "1e9",
    "9" * 5000,
    "-",
    "가" * 100,
)


def test_values_of_the_wrong_type_raise_errors_of_kis_only() -> None:
    refused = 0
    for call in all_calls():
        for block in call.endpoint.fields.response:
            for junk in _JUNK:
                body = full_body(call, rows=1)
                body[block.name] = junk
                refused += _refuses(call, body)
                for item in block.fields:
                    body = full_body(call, rows=1)
                    part = body[block.name]
                    row = part[0] if block.is_list else part
                    row[item.name] = junk
                    refused += _refuses(call, body)
    assert refused > 0


def _refuses(call: RestCall[Any, Any], body: Any) -> bool:
    try:
        _decode(call, json.dumps(body))
    except KisError:
        return True
    return False


def test_requests_of_the_wrong_type_are_refused_or_read() -> None:
    refused = 0
    for name, value in REQUESTS:
        call = CALLS[name]
        variant = next(iter(call.endpoint.real))
        texts = request_texts(call, value)
        for key in texts:
            for junk in _JUNK:
                try:
                    decode_request(call, {**texts, key: junk}, variant=variant)
                except WireError:
                    refused += 1
    assert refused > 0


def test_broken_frames_of_clients_are_answered() -> None:
    random_ = random.Random(5)
    good = json.dumps(frames()["client_subscribe"])
    kinds = set()
    for _number in range(5_000):
        answer = decode_registration(mutate(good, random_))
        assert isinstance(answer, Registration | Ping | BadFrame)
        kinds.add(type(answer))
    assert BadFrame in kinds


def test_deep_nesting_is_no_crash() -> None:
    deep = "[" * 200_000

    with pytest.raises(WireError):
        StreamDecoder().decode(deep)
    assert isinstance(decode_registration(deep), BadFrame)
    assert _refuses(CALLS["inquire_price"], json.loads("[" * 900 + "]" * 900))
