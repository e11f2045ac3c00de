import json
from pathlib import Path

import pytest

from kisbt.cli.main import run

HEADER = "일자,시가,고가,저가,종가,거래량,비고\n"
ROWS = "20240103,105,106,100,101,20,\n20240102,100,110,90,105,10,\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KISBT_LANG", "en")
    Path("in.csv").write_bytes((HEADER + ROWS).encode("cp949"))


def test_import_says_what_it_found(capsys) -> None:
    assert run(["data", "import", "in.csv", "--symbol", "005930"]) == 0
    out, err = capsys.readouterr()
    assert "in.csv: CP949, 2 rows, newest first" in out
    assert "close ← 종가" in out
    assert "not used: 비고" in out
    assert "2024-01-02 15:30:00" in out
    assert "taken as KOSPI stocks" in err
    assert Path("data/1d/005930.csv").read_text() == (
        "datetime,open,high,low,close,volume\n"
        "2024-01-02 15:30:00,100,110,90,105,10\n"
        "2024-01-03 15:30:00,105,106,100,101,20\n"
    )


def test_import_check_and_ls_speak_json(capsys) -> None:
    options = ["--symbol", "091990", "--market", "kosdaq", "--name", "셀트리온"]
    assert run(["data", "import", "in.csv", *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["symbols"][0]["added"] == 2
    assert run(["data", "ls", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["market"], row["rows"]) == ("셀트리온", "KOSDAQ", 2)
    assert run(["data", "check", "셀트리온", "--json"]) == 0
    (quality,) = json.loads(capsys.readouterr().out)
    assert quality["findings"] == []


def test_findings_are_no_failure(capsys) -> None:
    text = HEADER + ROWS + "20240105,101,101,50,60,1,\n20240108,0,0,0,60,0,\n"
    Path("in.csv").write_bytes(text.encode("cp949"))
    assert run(["data", "import", "in.csv", "--symbol", "005930"]) == 0
    assert "past the daily limit" not in capsys.readouterr().err
    assert run(["data", "check"]) == 0
    out = capsys.readouterr().out
    assert "! sessions without a row between the first and the last: 2024-01-04" in out
    assert "trading halted" in out
    assert run(["data", "ls"]) == 0
    assert "005930" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "none.csv", "--symbol", "005930"], "does not exist"),
        (["import", "in.csv"], "give --symbol"),
        (["import", "in.csv", "--symbol", "5930"], "keep leading zeros"),
        (
            ["import", "in.csv", "--symbol", "005930", "--interval", "2d"],
            "interval '2d'",
        ),
        (["import", "in.csv", "--symbol", "005930", "--label", "x"], "--label 'x'"),
        (["import", "in.csv", "--symbol", "005930", "--interval", "1m"], "line 2"),
        (["check"], "does not exist"),
        (["ls", "--data", "elsewhere"], "does not exist"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(capsys, arguments, said) -> None:
    assert run(["data", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not Path("data").exists()


def test_a_store_that_cannot_be_written_is_exit_code_1(capsys) -> None:
    Path("data").mkdir()
    Path("data/1d").write_text("a file")
    assert run(["data", "import", "in.csv", "--symbol", "005930"]) == 1
    assert "not written" in capsys.readouterr().err


def test_the_user_s_own_calendar_counts(capsys) -> None:
    Path("krx_overrides.yaml").write_text("holidays: {add: [2024-01-03]}\n")
    assert run(["data", "import", "in.csv", "--symbol", "005930"]) == 2
    assert "line 2: 2024-01-03 is no session" in capsys.readouterr().err
