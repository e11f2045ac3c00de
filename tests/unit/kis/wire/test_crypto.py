import base64
import contextlib

import pytest
from hypothesis import given, strategies as st

from kisbt.errors import WireError
from kisbt.kis.wire.crypto import NoticeCipher, hash_body

_KEY, _IV = "k" * 32, "i" * 16


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_text_decrypts_to_itself(text: str) -> None:
    cipher = NoticeCipher(_KEY, _IV)

    assert cipher.decrypt(cipher.encrypt(text)) == text


@given(st.binary(max_size=64))
def test_what_was_not_encrypted_is_read_as_something_or_refused(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    with contextlib.suppress(WireError):
        assert isinstance(NoticeCipher(_KEY, _IV).decrypt(text), str)


@pytest.mark.parametrize("text", ["", "!!!!", "YWJj", "\ud55c", "A" * 7])
def test_what_is_no_cipher_text_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        NoticeCipher(_KEY, _IV).decrypt(text)


def test_broken_utf8_is_replaced() -> None:
    cipher = NoticeCipher(_KEY, _IV)
    raw = cipher._cipher.encryptor()
    block = b"\xff" + b"\x0f" * 15  # one byte and the padding of fifteen
    text = base64.b64encode(raw.update(block) + raw.finalize()).decode()

    assert cipher.decrypt(text) == "\ufffd"


@pytest.mark.parametrize(
    ("key", "iv"), [("short", _IV), (_KEY, "short"), ("", ""), ("가" * 32, _IV)]
)
def test_key_of_the_wrong_length_is_refused(key: str, iv: str) -> None:
    with pytest.raises(WireError):
        NoticeCipher(key, iv)


def test_key_is_not_shown() -> None:
    assert _KEY not in repr(NoticeCipher(_KEY, _IV))


def test_hash_key_depends_on_the_body_and_not_on_its_order() -> None:
    one = hash_body({"CANO": "12345678", "PDNO": "005930"})

    assert one == hash_body({"PDNO": "005930", "CANO": "12345678"})
    assert one != hash_body({"CANO": "12345678", "PDNO": "000660"})
    assert len(one) == 64
    assert len(hash_body({"text": "\ud800"})) == 64
