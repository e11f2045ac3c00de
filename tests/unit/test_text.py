import locale
import os
import subprocess
import sys
from threading import Thread

import pytest

from kisbt.cli.main import run
from kisbt.text import (
    _,
    current_language,
    default_language,
    set_language,
    use_language,
)

VARIABLES = ("KISBT_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.fixture(autouse=True)
def _no_language(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_text_is_in_the_language_in_force() -> None:
    with use_language("ko"):
        assert _("Deepest drawdown") == "최대 낙폭(MDD)"
    with use_language("en"):
        assert _("Deepest drawdown") == "Deepest drawdown"


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("text", ["", "kisbt: a text nobody translated"])
def test_what_has_no_translation_stays(text: str, language: str) -> None:
    with use_language(language):
        assert _(text) == text


def test_the_language_before_comes_back() -> None:
    with use_language("en"):
        with use_language("ko"):
            assert current_language() == "ko"
        assert current_language() == "en"
        with pytest.raises(KeyError), use_language("ko"):
            raise KeyError
        assert current_language() == "en"


def test_set_language_lasts() -> None:
    with use_language("en"):
        set_language("ko")
        assert _("yes") == "예"


def test_another_thread_keeps_its_own_language() -> None:
    seen = []
    with use_language("ko"):
        thread = Thread(target=lambda: seen.append(current_language()))
        thread.start()
        thread.join()
    assert seen == ["en"]


@pytest.mark.parametrize("language", ["", "KO", "fr"])
def test_an_unknown_language_is_refused(language: str) -> None:
    with use_language("en"):
        with pytest.raises(ValueError, match="expected one of"):
            set_language(language)
        with pytest.raises(ValueError, match="expected one of"), use_language(language):
            pass
        assert current_language() == "en"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.eucKR"}, "ko"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "ko_KR.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LC_MESSAGES": "ko_KR.UTF-8", "LANG": "en_US.UTF-8"}, "ko"),
        ({"KISBT_LANG": "ko", "LC_ALL": "en_US.UTF-8"}, "ko"),
        ({"KISBT_LANG": "KO"}, "ko"),
        ({"KISBT_LANG": "en", "LANG": "ko_KR.UTF-8"}, "en"),
        ({"KISBT_LANG": "fr"}, "en"),
    ],
)
def test_the_environment_names_the_language(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_language() == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (("Korean_Korea", "949"), "ko"),
        (("ko_KR", "UTF-8"), "ko"),
        (("English_United States", "1252"), "en"),
        ((None, None), "en"),
    ],
)
def test_the_locale_decides_without_variables(
    found: tuple[str | None, str | None],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locale, "getlocale", lambda: found)
    assert default_language() == expected


@pytest.mark.parametrize(
    ("variables", "options", "expected"),
    [
        ({"KISBT_LANG": "ko"}, [], "가격제한폭: ±30%"),
        ({"LANG": "ko_KR.UTF-8"}, [], "가격제한폭: ±30%"),
        ({"LANG": "en_US.UTF-8"}, ["--lang", "ko"], "가격제한폭: ±30%"),
        ({"KISBT_LANG": "ko"}, ["--lang", "en"], "Daily price limit: ±30 %"),
    ],
)
def test_commands_speak_the_language_asked_for(
    variables: dict[str, str],
    options: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run(["rules", "--date", "2026-11-19", *options]) == 0
    assert expected in capsys.readouterr().out


def test_a_new_process_speaks_korean() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kisbt", "rules", "--date", "1990-01-01"],
        env={**os.environ, "LANG": "ko_KR.UTF-8", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("오류: 1990-01-01: 한국거래소")
