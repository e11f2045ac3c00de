"""The client on the emulator: every call, the stream, the shared budget."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import pytest

from kisbt.app.connect import emulator_access
from kisbt.clock import KST
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.errors import KisRefused
from kisbt.kis.client import KisClient, Orders
from kisbt.kis.stream import Gap, KisStream
from kisbt.model.account import Environment
from kisbt.model.order import (
    Notice,
    NoticeAction,
    NoticeKind,
    OrderKind,
    OrderTicket,
    Side,
)
from kisbt.model.ports import NewOrder, OrderRef

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SYMBOL = "990001"
MORNING = datetime(2025, 11, 3, 9, 30, tzinfo=KST)
TODAY = MORNING.date()


class Rig:
    """An emulator in the morning, and a client of it on its clock."""

    def __init__(
        self, emulator: Emulator, folder: Path, environment: Environment
    ) -> None:
        self.emulator = emulator
        ready = folder / "ready.json"
        ready.write_text(json.dumps(emulator.ready))
        self.access = emulator_access(ready, environment)
        self.client: KisClient = self.access.open(clock=emulator.clock, interval_s=0.0)

    @contextmanager
    def stream(self) -> Iterator[KisStream]:
        made = KisStream(self.access.keys, self.access.server, self.client.auth)
        made.subscribe_notices()
        made.subscribe_trades(SYMBOL)
        made.start()
        assert made.wait_ready(10)
        yield made
        assert made.stop(10)


@pytest.fixture(params=list(Environment))
def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    settings = Settings(
        environment=request.param.value, start=MORNING, speed=1.0, limits=False
    )
    with Emulator(settings) as emulator:
        made = Rig(emulator, tmp_path, request.param)
        yield made
        made.client.close()


def buy(quantity: int, price: int = 0) -> NewOrder:
    kind = OrderKind.LIMIT if price else OrderKind.MARKET
    return NewOrder(
        symbol=SYMBOL, side=Side.BUY, quantity=quantity, kind=kind, price=price
    )


def ref(ticket: OrderTicket) -> OrderRef:
    return OrderRef(branch=ticket.branch, number=ticket.number, kind=OrderKind.LIMIT)


def test_order_amend_and_cancel_are_told_by_query_and_notice(rig: Rig) -> None:
    client = rig.client
    with rig.stream() as stream:
        assert isinstance(stream.next_event(5), Gap)
        price = client.fetch_price(SYMBOL)
        filled = client.send_order(buy(3))
        waiting = client.send_order(buy(1, price.lower_limit))
        moved = client.amend_order(
            ref(waiting), quantity=None, price=price.lower_limit + price.tick_size
        )
        assert [row.number for row in client.fetch_open_orders()] == [moved.number]
        client.cancel_order(ref(moved))
        told = [stream.next_event(5) for _ in range(5)]
    assert client.fetch_open_orders() == ()
    rows = {row.number: row for row in client.fetch_orders(TODAY, TODAY).rows}
    assert rows[filled.number].filled_quantity == 3
    assert rows[moved.number].original_number == waiting.number
    kinds = [(item.kind, item.action) for item in told if isinstance(item, Notice)]
    assert (NoticeKind.FILLED, NoticeAction.NEW) in kinds
    assert (NoticeKind.CONFIRMED, NoticeAction.CANCEL) in kinds
    (position,) = client.fetch_balance().positions
    assert (position.symbol, position.quantity) == (SYMBOL, 3)
    assert client.fetch_sellable(SYMBOL).sellable == 3


def test_order_with_a_hash_is_taken(rig: Rig) -> None:
    plain = rig.client
    hashing = KisClient(
        rig.access.keys,
        rig.access.server,
        plain._transport,
        plain.auth,
        plain._limiter,
        clock=rig.emulator.clock,
        orders=Orders.HASHED,
    )
    hashing.send_order(buy(1))
    side = rig.emulator.state(calls=True)[rig.client.environment.value]
    names = [call["name"] for call in side["call_log"]]
    assert names[-2:] == ["hashkey", "order_cash"]


def test_market_is_read(rig: Rig) -> None:
    client = rig.client
    now = MORNING.time()
    price = client.fetch_price(SYMBOL)
    assert price.lower_limit < price.price < price.upper_limit
    assert client.fetch_quote(SYMBOL).asks
    assert client.fetch_trades(SYMBOL)
    assert client.fetch_recent_days(SYMBOL)
    assert client.fetch_minutes(SYMBOL, TODAY, now)[0].start <= now
    assert client.fetch_prices([SYMBOL, "990002"])[1].symbol == "990002"
    assert client.fetch_buying_power(SYMBOL, OrderKind.MARKET).quantity > 0
    assert client.unknown_fields == {}


def test_calls_mock_lacks_are_refused_there_and_answered_on_real(rig: Rig) -> None:
    client = rig.client
    calls = (
        lambda: client.fetch_sessions(TODAY),
        lambda: client.fetch_symbol_info(SYMBOL),
        client.fetch_volume_rank,
        client.fetch_fluctuation_rank,
        lambda: client.fetch_trade_profits(TODAY, TODAY),
        lambda: client.fetch_day_profits(TODAY, TODAY),
        lambda: client.fetch_minutes(SYMBOL, date(2025, 10, 31), MORNING.time()),
    )
    for call in calls:
        if client.environment is Environment.REAL:
            call()
        else:
            with pytest.raises(KisRefused) as caught:
                call()
            assert caught.value.code == "OPSQ0002"


WORKER = """
import json, sys, threading
from pathlib import Path
from kisbt.app.connect import emulator_access
from kisbt.clock import SystemClock
from kisbt.kis.ratelimit import Priority
from kisbt.model.account import Environment
from kisbt.model.order import OrderKind, Side
from kisbt.model.ports import NewOrder
ready, count, order = sys.argv[1:]
client = emulator_access(Path(ready), Environment.REAL).open()
clock = SystemClock()
waits = []
def ask():
    client.fetch_price("990001")
threads = [threading.Thread(target=ask) for _ in range(int(count))]
for thread in threads: thread.start()
if order == "order":
    clock.sleep(2.0)
    began = clock.monotonic()
    client.send_order(NewOrder(symbol="990001", side=Side.BUY, quantity=1,
                               kind=OrderKind.MARKET))
    waits.append(clock.monotonic() - began)
for thread in threads: thread.join()
print(json.dumps(waits))
"""


@pytest.mark.slow
def test_two_processes_with_one_key_keep_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    settings = Settings(environment="real", start=MORNING, speed=1.0)
    with Emulator(settings) as emulator:
        ready = tmp_path / "ready.json"
        ready.write_text(json.dumps(emulator.ready))
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(ready), "100", order],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for order in ("", "order")
        ]
        waits = [
            wait for run in runs for wait in json.loads(run.communicate(timeout=50)[0])
        ]
        seen = emulator.state(calls=True)["real"]
    names = [call["name"] for call in seen["call_log"]]
    order = names.index("order_cash")
    assert len(names) == 202  # the token, two hundred queries, the order
    assert seen["tokens_issued"] == 1
    assert seen["limit"]["refused"] == 0
    assert seen["limit"]["busiest_second"] <= seen["limit"]["per_second"]
    # It did not queue behind the queries: one slot is 67 ms.
    assert waits[0] < 0.5
    assert order < 60
