"""`kisbt emulator` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from kisbt.cli.main import run
from tests.helpers.emulator import SAMPLE, until

pytestmark = pytest.mark.e2e


def _start(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "kisbt", "emulator", *arguments],
        cwd=SAMPLE.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(SAMPLE.parent)},
    )


def _stop(process: "subprocess.Popen[bytes]", number: int) -> int:
    process.send_signal(number)
    return process.wait(10)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ready_file_is_there_once_ports_accept_and_gone_at_the_end(
    tmp_path: Path, number: int
) -> None:
    ready = tmp_path / "ready.json"
    faults = tmp_path / "faults.yaml"
    faults.write_text("- gw(EGW00002, 500, tr=inquire_price)\n", "utf-8")
    process = _start(
        *("--data", str(SAMPLE), "--from", "2025-12-29T10:00", "--step"),
        *("--environment", "both", "--ready-file", str(ready)),
        *("--faults", str(faults)),
    )
    try:
        until(ready.exists)
        content: dict[str, Any] = json.loads(ready.read_text("utf-8"))
        if os.name != "nt":
            assert ready.stat().st_mode & 0o077 == 0
        for environment in ("mock", "real"):
            server = content[environment]
            state = requests.get(
                server["control_url"] + "/state",
                headers={"authorization": f"Bearer {server['control_token']}"},
                timeout=10,
            ).json()
            assert state["clock"]["now"] == "2025-12-29T10:00:00+09:00"
            assert server["environment"] == environment
            assert server["limits"] == "virtual"
        listed = requests.get(
            content["mock"]["control_url"] + "/faults",
            headers={"authorization": f"Bearer {content['mock']['control_token']}"},
            timeout=10,
        ).json()
        assert {row["code"] for row in listed["faults"]} == {"EGW00002"}
    finally:
        code = _stop(process, number)
    assert code == 0
    assert not ready.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "--from"),
        (["--data", "no-such-folder"], "no-such-folder"),
        (["--walk", "3", "--data", str(SAMPLE)], "--walk"),
        (["--faults", "no-such-file"], "no-such-file"),
        (["--data", str(SAMPLE), "--from", "2027-06-01"], "2027-06-01"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["emulator", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_taken_port_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        code = run(["emulator", "--data", str(SAMPLE), "--rest-port", number])
    assert code == 1
    assert number in capsys.readouterr().err
