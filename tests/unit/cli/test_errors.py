import json

import pytest

from kisbt.cli.main import run
from kisbt.kis.messages import known_codes


def test_one_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["errors", "egw00123", "--lang", "en"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("EGW00123")
    assert "expired" in out


def test_one_code_is_explained_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["errors", "APBK0952", "--json", "--lang", "en"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["code"], found["safe"]) == ("APBK0952", False)


@pytest.mark.parametrize("code", ["EGW0012", "QQQQQQQQQ"])
def test_unknown_code_is_wrong_input(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["errors", code, "--lang", "en"]) == 2
    assert code in capsys.readouterr().err


def test_all_codes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["errors", "--json", "--lang", "en"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["code"] for row in rows] == list(known_codes())

    assert run(["errors", "--lang", "en"]) == 0
    assert "EGW00201" in capsys.readouterr().out
