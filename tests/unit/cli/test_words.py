import pytest

from kisbt.cli.main import run
from kisbt.cli.words import usage_problem
from kisbt.text import use_language


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_LANG", "en")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonesuch"], "'nonesuch' 명령이 없습니다."),
        (["confg"], "'confg' 명령이 없습니다. 비슷한 명령: 'config'."),
        (["rules", "--qqq"], "없는 옵션입니다: --qqq."),
        (["rules", "--jsn"], "없는 옵션입니다: --jsn (비슷한 옵션: --json)."),
        (["init"], "'DIR' 인자가 없습니다."),
        (["rules", "--date"], "'--date' 옵션에는 값이 필요합니다."),
        (["rules", "--json=1"], "'--json' 옵션에는 값을 줄 수 없습니다."),
        (["rules", "a", "b"], "남는 인자가 있습니다: a b."),
        (["rules", "--price", "dear"], "--price: 숫자를 쓰세요."),
        (["rules", "--market", "nyse"], "--market 'nyse': 다음 중 하나를 쓰세요: "),
    ],
)
def test_what_typer_says_is_in_korean(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--lang", "ko"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"오류: {expected}")
    assert "도움말: kisbt" in error


def test_an_unknown_problem_stays_as_it_is() -> None:
    with use_language("ko"):
        assert usage_problem("Something\nelse") == "Something else."


def test_help_is_in_the_language_of_each_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["data", "import", "--help", "--lang", "ko"]) == 0
    korean = capsys.readouterr().out
    for words in ("─ 인자 ─", "─ 옵션 ─", "[필수]", "[기본값: data]", "이 도움말을"):
        assert words in korean
    assert run(["data", "import", "--help"]) == 0
    english = capsys.readouterr().out
    for words in ("─ Arguments ─", "─ Options ─", "[required]", "[default: data]"):
        assert words in english


def test_a_group_alone_prints_its_help_in_korean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["data", "--lang", "ko"]) == 0
    assert "─ 명령 ─" in capsys.readouterr().out


@pytest.mark.parametrize("columns", range(78, 102))
def test_help_loses_no_letter_at_the_end_of_a_full_line(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["data", "--help", "--lang", "ko"]) == 0
    assert "…" not in capsys.readouterr().out
