import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kisbt
from kisbt.cli.main import run

CONFIG = """\
strategy: {class: "strategies.x:Y"}
universe: {symbols: ["005930"]}
"""


def process(
    *arguments: str, folder: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "kisbt", *arguments],
        cwd=folder,
        env={**os.environ, "KISBT_LANG": "en", **(env or {})},
        capture_output=True,
        check=False,
    )


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_LANG", "en")
    monkeypatch.delenv("KISBT_DEBUG", raising=False)


def test_the_bare_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    out = capsys.readouterr().out
    assert "Usage" in out
    assert "Example: kisbt backtest" in out


@pytest.mark.parametrize("arguments", [["--version"], ["config", "--version"]])
def test_the_version_is_printed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"kisbt {kisbt.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["confg"], "Did you mean 'config'"),
        (["config", "chek"], "Did you mean 'check'"),
        (["config", "check", "--jsn"], "--json"),
        (["init"], "See: kisbt init --help"),
        (["--lang", "fr"], "--lang 'fr': expected ko or en"),
        (["config", "schema", "--lang"], "--lang '': expected ko or en"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err


def test_debug_is_taken_before_and_after_the_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    show = ["config", "show", str(tmp_path / "absent.yaml")]
    assert run(show) == 2
    assert "Traceback" not in capsys.readouterr().err
    for arguments in (["--debug", *show], [*show, "--debug"]):
        assert run(arguments) == 2
        assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("KISBT_DEBUG", "1")
    assert run(show) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_double_dash_ends_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--", "--version"]) == 2
    assert "--version does not exist" in capsys.readouterr().err


def test_every_command_has_help_with_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import typer
    from typer.main import get_command

    from kisbt.cli.main import build_app

    def leaves(command: object, path: list[str]) -> list[list[str]]:
        inner = getattr(command, "commands", None)
        if not inner:
            return [path]
        return [x for n, c in inner.items() for x in leaves(c, [*path, n])]

    app = build_app()
    assert isinstance(app, typer.Typer)
    for path in leaves(get_command(app), []):
        assert run([*path, "--help"]) == 0
        assert f"kisbt {' '.join(path)}" in capsys.readouterr().out.replace("\n", " ")


def test_starting_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kisbt.cli.main import run; "
        "run(['--version']); run(['--help']); "
        "print(sorted({'pandas', 'backtrader', 'plotly', 'numpy', 'pydantic', "
        "'holidays', 'jinja2'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"


def test_the_process_ends_with_code_and_line(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG + "brokr: {}\n")
    done = process("config", "show", "run.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode() == (
        "error: run.yaml, line 3: brokr: unknown key; did you mean broker?\n"
    )


def test_an_unfinished_folder_is_told_about(tmp_path: Path) -> None:
    done = process("config", "check", folder=tmp_path)
    assert done.returncode == 2
    assert b"ma_rsi_bollinger.yaml does not exist" in done.stderr
    assert b"kisbt init DIR" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp949", "latin-1", "utf-8"])
def test_korean_never_breaks_the_console(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "한글.yaml").write_text(CONFIG.replace("005930", "삼성전자😀"))
    done = process(
        "config",
        "show",
        "한글.yaml",
        folder=tmp_path,
        env={"PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    shown = "cp949" if encoding == "cp949" else "utf-8"
    assert "삼성전자" in done.stdout.decode(shown)


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX pipe")
def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    command = f"{sys.executable} -m kisbt config schema | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{", b"")


def test_config_show_is_json_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    assert run(["config", "show", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config"]["universe"]["symbols"] == ["005930"]
    assert len(shown["hash"]) == 64


def test_config_check_lists_every_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG + "capital: x\nbrokr: {}\n")
    assert run(["config", "check", str(path)]) == 2
    assert capsys.readouterr().err.count("error: ") == 2
    assert run(["config", "check", str(path), "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 2


def test_init_and_a_new_strategy_from_the_command_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "mine"]) == 0
    assert "cd mine\n  kisbt backtest\n" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "mine")
    done = process("strategy", "new", "my_idea", folder=tmp_path / "mine")
    assert done.returncode == 0
    done = process("config", "check", "configs/my_idea.yaml", folder=tmp_path / "mine")
    assert (done.returncode, done.stderr) == (0, b"")
    done = process("strategy", "ls", "--json", folder=tmp_path / "mine")
    listed = [item["class"] for item in json.loads(done.stdout)]
    assert "strategies.my_idea:MyIdea" in listed
    reference = "strategies.my_idea:MyIdea"
    done = process("strategy", "check", reference, folder=tmp_path / "mine")
    assert (done.returncode, done.stderr) == (0, b"")
