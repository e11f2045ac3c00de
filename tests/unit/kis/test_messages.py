import pytest

from kisbt.kis.messages import _texts, explain_code, explain_words, known_codes
from kisbt.kis.wire.codes import RETRY, Retry
from kisbt.text import use_language
from tests.helpers.wire import read_sample, sample_names


def test_every_code_is_explained() -> None:
    with use_language("en"):
        texts = _texts()
        assert set(texts) == set(RETRY) == set(known_codes())
        assert all(cause and action for cause, action in texts.values())


@pytest.mark.parametrize("code", known_codes())
def test_explanation_says_whether_to_repeat(code: str) -> None:
    found = explain_code(code)

    assert found is not None
    assert found.family
    assert found.repeat
    assert found.safe is (RETRY[code] in {Retry.SAFE, Retry.THROTTLED, Retry.RENEW})


def test_code_is_found_in_small_letters_with_blanks() -> None:
    found = explain_code(" apbk0952 ")

    assert found is not None
    assert found.code == "APBK0952"
    assert not found.safe


def test_unknown_code_is_not_explained() -> None:
    assert explain_code("ZZZZ9999") is None
    assert explain_code("") is None


def test_codes_that_leave_an_order_open_are_not_safe() -> None:
    for code in ("EGW00301", "EGW00302", "EGW00002", "IGW00009"):
        found = explain_code(code)
        assert found is not None
        assert not found.safe


def test_words_of_refused_orders_say_what_to_do() -> None:
    refused = [name for name in sample_names() if name.startswith("order_reject")]
    for name in refused:
        text = read_sample(name).body["msg1"]
        assert explain_words(text) or "매매불가" in text
    assert explain_words("모름") == ""
