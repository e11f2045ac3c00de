"""A whole session at DEBUG: no key, token, account or id in anything written."""

import io
import logging
import traceback
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.errors import KisError
from kisbt.kis.client import open_client
from kisbt.kis.keys import KisKeys, Secret, parse_account
from kisbt.kis.servers import emulator_server
from kisbt.kis.stream import KisStream
from kisbt.model.account import Environment
from kisbt.model.order import OrderKind, Side
from kisbt.model.ports import NewOrder

pytestmark = pytest.mark.e2e


@pytest.fixture
def debug_log() -> Iterator[io.StringIO]:
    """Everything any logger says, with tracebacks."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.DEBUG)
    # The emulator's own end, in this process for the test only.
    handler.addFilter(lambda record: not record.name.startswith("uvicorn"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def test_nothing_secret_is_written_anywhere(
    tmp_path: Path, debug_log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    failures: list[str] = []
    sockets: list[str] = []
    with Emulator(Settings(speed=1.0, limits=False)) as emulator:
        row = emulator.ready
        keys = KisKeys(
            profile="default",
            environment=Environment.MOCK,
            app_key=Secret(row["app_key"]),
            app_secret=Secret(row["app_secret"]),
            account=parse_account(row["account"]),
            hts_id=Secret(row["hts_id"]),
        )
        server = emulator_server(Environment.MOCK, row["rest_url"], row["ws_url"])
        client = open_client(keys, server, folder=tmp_path / "s", interval_s=0.0)
        stream = KisStream(keys, server, client.auth)
        stream.subscribe_notices()
        stream.start()
        assert stream.wait_ready(10)
        client.fetch_balance()
        order = NewOrder(
            symbol="990001", side=Side.BUY, quantity=1, kind=OrderKind.MARKET
        )
        for work in (
            lambda: client.send_order(order),
            lambda: client.fetch_orders(date(2024, 1, 2), date(2024, 1, 3)),
            lambda: client.fetch_price("XXXXXX"),
            lambda: client.fetch_symbol_info("990001"),
        ):
            try:
                work()
            except KisError as error:
                failures.append(_whole(error))
        event = stream.next_event(5)
        sockets += [repr(event), repr(stream.state()), repr(client), repr(client.auth)]
        token = client.auth.token().reveal()
        approval = client.auth.approval_key().reveal()
    # The emulator has gone: every call fails on the wire now.
    for work in (
        lambda: client.send_order(order),
        client.fetch_balance,
        lambda: client.fetch_price("990001"),
    ):
        try:
            work()
        except KisError as error:
            failures.append(_whole(error))
    stream.stop()
    client.close()
    written = capsys.readouterr()
    everything = "\n".join(
        [debug_log.getvalue(), *failures, *sockets, written.out, written.err]
    )
    assert len(failures) >= 3
    secrets = {
        "app key": row["app_key"],
        "app secret": row["app_secret"],
        "token": token,
        "approval key": approval,
        "account": row["account"].partition("-")[0],
        "hts id": row["hts_id"],
    }
    found = {
        name: line[:200]
        for name, value in secrets.items()
        for line in everything.splitlines()
        if value in line
    }
    assert found == {}


def _whole(error: BaseException) -> str:
    """Return all a report of an error could hold: causes, locals, attributes."""
    trace = error.__traceback__
    assert trace is not None
    # Without the test's own frame, which knows the keys.
    text = "".join(
        traceback.TracebackException(
            type(error), error, trace.tb_next, capture_locals=True
        ).format()
    )
    return f"{text}\n{error!r}\n{vars(error)!r}"
