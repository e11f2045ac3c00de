"""What the README shows is what a reader gets."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run_python(code: str, tmp_path: Path) -> str:
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_strategy_of_the_readme_prints_what_the_readme_says(tmp_path: Path) -> None:
    (code,) = blocks("python")
    (expected,) = blocks("text")
    assert len(code.splitlines()) <= 24
    assert run_python(code, tmp_path) == expected


def test_notebook_runs(tmp_path: Path) -> None:
    printed = run_python(
        (ROOT / "docs/notebook.py")
        .read_text("utf-8")
        .replace("Path(__file__).resolve().parent.parent", f"Path({str(ROOT)!r})"),
        tmp_path,
    )
    assert "closed trades: 15" in printed


@pytest.mark.parametrize("name", ["README.md", "README.ko.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing
