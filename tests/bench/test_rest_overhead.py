"""What a call costs more than the same request over bare `requests`."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from kisbt.app.connect import emulator_access
from kisbt.clock import SystemClock
from kisbt.model.account import Environment

pytestmark = pytest.mark.bench

CALLS = 200
ROUNDS = 5
ALLOWED = 1.25
# In a process of its own: in this one it would wait for the same interpreter lock.
SERVER = """
import json, sys
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
with Emulator(Settings(limits=False, speed=1.0)) as emulator:
    print(json.dumps(emulator.ready), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    ) as server:
        assert server.stdout is not None
        path = tmp_path / "ready.json"
        path.write_text(server.stdout.readline())
        yield path
        assert server.stdin is not None
        server.stdin.close()


def test_typed_call_costs_little_more_than_bare_requests(ready: Path) -> None:
    clock = SystemClock()
    row = json.loads(ready.read_text())
    client = emulator_access(ready, Environment.MOCK).open(interval_s=0.0)
    headers = {
        "content-type": "application/json; charset=utf-8",
        "authorization": f"Bearer {client.auth.token().reveal()}",
        "appkey": row["app_key"],
        "appsecret": row["app_secret"],
        "tr_id": "FHKST01010100",
        "custtype": "P",
    }
    url = row["rest_url"] + "/uapi/domestic-stock/v1/quotations/inquire-price"
    query = {"FID_COND_MRKT_DIV_CODE": "J", "FID_INPUT_ISCD": "990001"}
    ratios = []
    with requests.Session() as bare:
        for _ in range(ROUNDS):
            began = clock.monotonic()
            for _ in range(CALLS):
                bare.get(url, headers=headers, params=query, timeout=5).json()
            between = clock.monotonic()
            for _ in range(CALLS):
                client.fetch_price("990001")
            ratios.append((clock.monotonic() - between) / (between - began))
    client.close()
    assert statistics.median(ratios) <= ALLOWED, ratios
