import json

import pytest
import typer

from kisbt.cli.common import guard
from kisbt.cli.rules import register
from kisbt.text import use_language


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run ``kisbt rules`` in an empty folder; return exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)

    def invoke(*arguments):
        with use_language("en"):
            code = guard(lambda: app(["rules", *arguments], standalone_mode=False))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


def test_rules_prints_an_exam_day(run):
    code, out, _err = run("--date", "2026-11-19", "--price", "16000")
    assert code == 0
    assert "Regular session 10:00 to 16:30; trades settle on 2026-11-23." in out
    assert "Base price 16,000: 11,200 to 20,800 won" in out
    assert "Commission, each side: 0.0140527 %" in out
    assert "Transaction tax, sales only: 0.2 %" in out
    assert "after-market" in out


def test_rules_prints_a_closed_day(run):
    code, out, _err = run(
        "--date", "2026-11-21", "--market", "kosdaq", "--product", "etf",
        "--leverage", "2", "--price", "16000.5",
    )  # fmt: skip
    assert code == 0
    assert "The exchange is closed; the next session is 2026-11-23." in out
    assert "Daily price limit: ±60 %" in out
    assert "Base price 16,000.5:" in out


def test_rules_of_an_index_have_no_limit(run):
    code, out, _err = run("--date", "2026-11-19", "--product", "INDEX")
    assert code == 0
    assert "No daily price limit." in out
    assert "tick size" not in out


def test_rules_prints_json(run):
    code, out, _err = run("--date", "2026-11-19", "--json")
    assert code == 0
    plain = json.loads(out)
    assert plain["date"] == "2026-11-19"
    assert plain["opens"] == "2026-11-19T10:00:00+09:00"


def test_rules_of_today_without_a_date(run):
    code, out, _err = run("--json")
    assert code == 0
    assert json.loads(out)["market"] == "KOSPI"


def test_rules_reads_the_users_own_rows(run, tmp_path):
    (tmp_path / "krx_overrides.yaml").write_text(
        "holidays:\n  add: [2026-11-20]\n", encoding="utf-8"
    )
    code, out, _err = run("--date", "2026-11-20")
    assert code == 0
    assert "The exchange is closed" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--date", "tomorrow"), "expected a date such as 2026-11-19"),
        (("--date", "2030-01-02"), "is known from 2000-01-01 to 2027-12-31"),
        (("--date", "2026-11-19", "--commission", "15"), "a share of the amount"),
        (("--date", "2026-11-19", "--price", "-3"), "expected won above zero"),
        (("--date", "2026-11-19", "--price", "nan"), "expected won above zero"),
    ],
)
def test_rules_explains_wrong_input_in_one_line(run, arguments, words):
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
