from datetime import datetime

import pytest

from kisbt.errors import KisRefused, WireError
from kisbt.kis.wire import auth
from kisbt.kis.wire.rest import raise_refusal
from kisbt.kis.wire.texts import KST

_EXPIRES = datetime(2026, 7, 7, 8, 59, 59, tzinfo=KST)


def test_bodies_name_the_secret_as_each_call_wants_it() -> None:
    token = auth.token_body("key", "secret")
    approval = auth.approval_body("key", "secret")

    assert token == {
        "grant_type": "client_credentials",
        "appkey": "key",
        "appsecret": "secret",
    }
    assert approval["secretkey"] == "secret"
    assert "appsecret" not in approval
    assert auth.revoke_body("key", "secret", "t")["token"] == "t"


@pytest.mark.parametrize(
    "body",
    [
        auth.token_body("key", "secret"),
        auth.approval_body("key", "secret"),
        auth.revoke_body("key", "secret", "t"),
    ],
)
def test_server_reads_who_asks(body: dict[str, str]) -> None:
    found = auth.read_credentials(body)

    assert (found.app_key, found.app_secret) == ("key", "secret")
    assert found.token == body.get("token", "")
    assert "secret" not in repr(found)


def test_nonsense_from_a_client_is_nobody() -> None:
    found = auth.read_credentials({"appkey": 5, "appsecret": None, "token": []})

    assert (found.app_key, found.app_secret, found.token) == ("", "", "")


def test_token_reads_as_it_was_written() -> None:
    content = auth.token_answer("abc", _EXPIRES, 86_400)

    assert content["token_type"] == "Bearer"
    assert auth.parse_token(content) == auth.TokenAnswer("abc", _EXPIRES, 86_400)


@pytest.mark.parametrize(
    ("seconds", "text", "found"),
    [
        ("86400", "", 86_400),
        (None, "2026-07-07 08:59:59", None),
        ("soon", "2026-07-07 08:59:59", None),
        ("1" * 5000, "2026-07-07 08:59:59", None),
    ],
)
def test_token_lives_by_either_clock(
    seconds: object, text: str, found: int | None
) -> None:
    content = {
        "access_token": "abc",
        "expires_in": seconds,
        "access_token_token_expired": text,
    }

    answer = auth.parse_token(content)

    assert answer.seconds == found
    assert (answer.expires == _EXPIRES) is bool(text)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"access_token": ""},
        {"access_token": 5, "expires_in": 1},
        {"access_token": "abc"},
        {"access_token": "abc", "expires_in": "never"},
    ],
)
def test_answer_without_a_usable_token_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(WireError) as raised:
        auth.parse_token(content)

    assert "abc" not in str(raised.value)


def test_keys_read_as_they_were_written() -> None:
    assert auth.parse_approval(auth.approval_answer("uuid")) == "uuid"
    assert auth.parse_hash(auth.hash_answer({"A": "1"}, "digest")) == "digest"
    with pytest.raises(WireError):
        auth.parse_approval({"approval_key": " "})


def test_refused_token_raises_its_code() -> None:
    content = auth.token_refusal("EGW00103", "유효하지 않은 AppKey입니다.")

    with pytest.raises(KisRefused) as raised:
        raise_refusal(content, status=403, is_order=False)

    assert (raised.value.code, raised.value.http_status) == ("EGW00103", 403)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("Bearer abc", "abc"),
        (" Bearer  abc ", "abc"),
        ("abc", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("", None),
    ],
)
def test_header_of_a_token_is_read(text: str, token: str | None) -> None:
    assert auth.read_bearer(text) == token


def test_header_of_a_token_is_written() -> None:
    assert auth.bearer("abc") == "Bearer abc"
