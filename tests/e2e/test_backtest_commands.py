"""The commands a newcomer types, and everything a user may hand in broken."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kisbt.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
RUN_FILES = {
    "run.json",
    "orders.csv",
    "fills.csv",
    "trades.csv",
    "equity.csv",
    "decisions.jsonl",
    "summary.json",
    "report.html",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder as `kisbt init` makes it, as the working directory."""
    assert run(["init", str(tmp_path / "mine"), "--lang", "en"]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


def config(project: Path, *changes: tuple[str, str]) -> str:
    """Write a copy of the shipped configuration with texts replaced."""
    text = (project / "configs/ma_rsi_bollinger.yaml").read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = project / "configs/changed.yaml"
    path.write_text(text, "utf-8")
    return str(path)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_demo_writes_a_whole_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert run(["demo", "--out", str(out), "--lang", "en"]) == 0
    assert {path.name for path in out.iterdir()} >= RUN_FILES
    printed = capsys.readouterr().out
    assert str(out / "report.html") in printed
    assert "synthetic" in printed
    assert "The run and the backtest are the same" in printed
    emulator = out / "emulator"
    assert {path.name for path in emulator.iterdir()} >= RUN_FILES
    found = json.loads((emulator / "parity.json").read_text(encoding="utf-8"))
    assert found["same"]
    assert found["trades"]["same"] > 10


def test_backtest_in_an_init_folder_names_its_folder(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["backtest", "--json", "--no-report"]) == 0
    summary = json.loads(capsys.readouterr().out)
    folder = project / summary["folder"]
    assert folder.parent == project / "runs"
    assert len(rows(folder / "trades.csv")) == summary["metrics"]["trades"]


def test_equity_starts_after_warm_up(project: Path) -> None:
    assert run(["backtest", "--out", "r", "--no-report", "--lang", "en"]) == 0
    first = rows(project / "r/equity.csv")[0]
    candles = rows(project / "data/1d/990001.csv")
    assert first["time"].startswith(candles[250]["datetime"][:10])
    assert float(first["equity"]) == 10_000_000


def test_from_and_to_bound_the_run(project: Path) -> None:
    arguments = ["--from", "2020-01-02", "--to", "2021-12-30", "--out", "r"]
    assert run(["backtest", *arguments, "--no-report"]) == 0
    equity = rows(project / "r/equity.csv")
    assert equity[0]["time"].startswith("2020-01-02")
    assert equity[-1]["time"].startswith("2021-12-30")


@pytest.mark.parametrize(
    "name",
    ["ma_cross", "rsi_reversion", "bollinger_breakout", "ma_rsi_bollinger_1m"],
)
def test_every_shipped_configuration_runs(project: Path, name: str) -> None:
    assert run(["backtest", f"configs/{name}.yaml", "--out", "r", "--no-report"]) == 0
    assert rows(project / "r/trades.csv")


def test_set_changes_a_key(project: Path) -> None:
    setting = ["--set", "strategy.params.ma_long=60", "--set", "capital=5000000"]
    assert run(["backtest", *setting, "--out", "r", "--no-report"]) == 0
    settings = json.loads((project / "r/run.json").read_text("utf-8"))["config"]
    assert settings["strategy"]["params"]["ma_long"] == 60
    assert settings["capital"] == 5_000_000


def test_report_again_and_compare(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backtest", "--out", "a", "--no-report"]) == 0
    assert run(["backtest", "--set", "capital=20000000", "--out", "b"]) == 0
    assert run(["report", "a", "--lang", "ko"]) == 0
    assert (project / "a/report.html").stat().st_size > 1_000_000
    capsys.readouterr()
    assert run(["compare", "a", "b", "--lang", "en"]) == 0
    assert "capital" in capsys.readouterr().out


def test_explain_shows_conditions_and_the_order(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backtest", "--out", "r", "--no-report"]) == 0
    order = rows(project / "r/orders.csv")[0]
    capsys.readouterr()
    arguments = ["explain", order["symbol"], order["created"][:10], "--json"]
    assert run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    (bar,) = found["bars"]
    held = {name for name, holds in bar["conditions"].items() if holds}
    assert set(order["reason"].split("+")) <= held
    assert found["decisions"][0]["result"] == "accepted"


def test_unquoted_codes_are_text(project: Path) -> None:
    path = config(project, ('["990001", "990002", ', "[990001, 990002, "))
    assert run(["backtest", path, "--out", "r", "--no-report"]) == 0
    assert {row["symbol"] for row in rows(project / "r/orders.csv")} >= {"990001"}


def _typo(project: Path) -> list[str]:
    return ["backtest", config(project, ("slippage_ticks: 1 ", "slipage_ticks: 1 "))]


def _unknown_class(project: Path) -> list[str]:
    changed = config(project, (":MaRsiBollinger", ":MaRsiBolinger"))
    return ["backtest", changed]


def _unknown_parameter(project: Path) -> list[str]:
    return ["backtest", "--set", "strategy.params.ma_shrt=5"]


def _missing_config(project: Path) -> list[str]:
    return ["backtest", "configs/absent.yaml"]


def _end_before_start(project: Path) -> list[str]:
    return ["backtest", "--from", "2021-01-04", "--to", "2020-01-02"]


def _no_bars(project: Path) -> list[str]:
    return ["backtest", "--from", "2026-06-01"]


def _long_warmup(project: Path) -> list[str]:
    return ["backtest", "--set", "data.warmup=9000"]


def _no_candles(project: Path) -> list[str]:
    return ["backtest", "--set", 'universe.symbols=["005930"]']


def _broken_row(project: Path) -> list[str]:
    path = project / "data/1d/990002.csv"
    lines = path.read_text("utf-8").splitlines()
    cells = lines[100].split(",")
    lines[100] = ",".join([*cells[:4], "abc", cells[5]])
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return ["backtest"]


def _missing_number(project: Path) -> list[str]:
    path = project / "data/1d/990002.csv"
    lines = path.read_text("utf-8").splitlines()
    cells = lines[100].split(",")
    lines[100] = ",".join([*cells[:4], "", cells[5]])
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return ["backtest"]


def _duplicate_date(project: Path) -> list[str]:
    path = project / "data/1d/990002.csv"
    lines = path.read_text("utf-8").splitlines()
    lines.insert(101, lines[100])
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return ["backtest"]


def _wrong_column(project: Path) -> list[str]:
    (project / "x.csv").write_text("date,open,high,low\n2024-01-02,1,1,1\n", "utf-8")
    return ["data", "import", "x.csv", "--symbol", "005930", "--interval", "1d"]


def _korean_config_in_cp949(project: Path) -> list[str]:
    path = project / "configs/ma_cross.yaml"
    text = path.read_text("utf-8") + "\n# 한국어 설명\n"
    path.write_bytes(text.encode("cp949", errors="ignore"))
    return ["backtest", "configs/ma_cross.yaml"]


def _run_folder_taken(project: Path) -> list[str]:
    return ["backtest", "--out", "configs"]


def _bad_parameter_value(project: Path) -> list[str]:
    return ["backtest", "--set", "strategy.params.entry=sometimes"]


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (_typo, 2, "slippage_ticks"),
        (_unknown_class, 2, "MaRsiBollinger"),
        (_unknown_parameter, 2, "ma_short"),
        (_missing_config, 2, "kisbt init"),
        (_end_before_start, 2, "2021-01-04"),
        (_no_bars, 2, "2025-12-30"),
        (_long_warmup, 2, "data.warmup"),
        (_no_candles, 2, "kisbt data import"),
        (_broken_row, 2, "line 101"),
        (_missing_number, 2, "line 101"),
        (_duplicate_date, 2, "line 102"),
        (_wrong_column, 2, "close"),
        (_korean_config_in_cp949, 2, "UTF-8"),
        (_run_folder_taken, 2, "--out"),
        (_bad_parameter_value, 1, "at_least"),
    ],
)
def test_bad_input_gets_one_clear_line(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], list[str]],
    code: int,
    says: str,
) -> None:
    arguments = make(project)
    before = sorted(path.name for path in project.rglob("*"))
    capsys.readouterr()
    assert run([*arguments, "--lang", "en"]) == code
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    errors = [line for line in printed.err.splitlines() if "warning" not in line]
    assert len(errors) == 1
    left = sorted(p.name for p in project.rglob("*") if "__pycache__" not in p.parts)
    assert [n for n in left if not n.endswith((".npy", ".pyc"))] == [
        n for n in before if not n.endswith((".npy", ".pyc", "__pycache__"))
    ]


def test_strategy_that_raises_names_file_line_and_bar(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "strategies/broken.py").write_text(
        "import backtrader as bt\n\n\n"
        "class Broken(bt.Strategy):\n"
        "    def next(self):\n"
        "        self.data.close[0] / 0\n",
        "utf-8",
    )
    changed = config(
        project,
        ("strategies.ma_rsi_bollinger:MaRsiBollinger", "strategies.broken:Broken"),
    )
    text = Path(changed).read_text("utf-8")
    start = text.index("  params:")
    end = text.index("universe:")
    Path(changed).write_text(text[:start] + "\n" + text[end:], "utf-8")
    capsys.readouterr()
    one = ["--set", 'universe.symbols=["990001"]']
    assert run(["backtest", changed, *one, "--out", "r", "--lang", "en"]) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "broken.py, line 6" in error
    assert "2017-01-06 15:30" in error
    assert "Traceback" not in error
    assert not (project / "r").exists()


def test_traceback_only_with_debug(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["backtest", "configs/absent.yaml", "--debug", "--lang", "en"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_unwritable_run_folder_is_refused_before_the_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["backtest", "--out", "/proc/kisbt/run", "--lang", "en"]) in {1, 2}
    error = capsys.readouterr().err
    assert "/proc/kisbt" in error
    assert len(error.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_write_that_fails_leaves_nothing_behind(project: Path) -> None:
    # A file size limit makes the operating system refuse the write, as a full
    # disk does.
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from kisbt.cli.main import run\n"
        "sys.exit(run(['backtest', '--out', 'r', '--lang', 'en']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "r" in done.stderr
    assert not (project / "r").exists()
    assert not list(project.glob("*.part*"))


def test_live_needs_more_than_an_option(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "--mode", "live", "--lang", "en"]) == 2
    assert "mode: live written in the file" in capsys.readouterr().err
