"""The client under faults the emulator plays; its own book tells what happened."""

import json
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from kisbt.app.connect import Access, emulator_access
from kisbt.clock import KST, SystemClock
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.errors import AuthError, KisError, KisRefused, OutcomeUnknown, RateLimited
from kisbt.kis.client import KisClient
from kisbt.kis.stream import Alert, Gap, KisStream, StreamEvent, Trouble
from kisbt.model.account import Environment
from kisbt.model.order import Notice, NoticeKind, OrderKind, Side
from kisbt.model.ports import NewOrder
from kisbt.model.quote import Tick

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

SYMBOL = "990001"
MORNING = datetime(2025, 11, 3, 9, 30, tzinfo=KST)
BUY = NewOrder(symbol=SYMBOL, side=Side.BUY, quantity=3, kind=OrderKind.MARKET)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(Settings(start=MORNING, speed=1.0, limits=False)) as running:
        yield running


@pytest.fixture
def access(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Access:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps(emulator.ready))
    return emulator_access(ready, Environment.MOCK)


@pytest.fixture
def client(emulator: Emulator, access: Access) -> Iterator[KisClient]:
    made = access.open(clock=emulator.clock, interval_s=0.0)
    made.auth.token()
    yield made
    made.close()


@pytest.fixture
def stream(client: KisClient, access: Access) -> Iterator[KisStream]:
    made = KisStream(access.keys, access.server, client.auth, silence_s=4.0)
    made.subscribe_notices()
    made.subscribe_trades(SYMBOL)
    made.start()
    assert made.wait_ready(10)
    assert isinstance(made.next_event(5), Gap)
    yield made
    assert made.stop(10)


def orders(emulator: Emulator) -> int:
    return len(emulator.state()["mock"]["orders"])


def bodies(emulator: Emulator) -> int:
    log = emulator.state(calls=True)["mock"]["call_log"]
    return sum(call["name"] == "order_cash" for call in log)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("accept_then(read_then_close)", OutcomeUnknown),
        ("accept_then(truncate)", OutcomeUnknown),
        ("accept_then(garbage)", OutcomeUnknown),
        ("accept_then(html)", OutcomeUnknown),
        ("accept_then(status, 502)", OutcomeUnknown),
        ("accept_then(gw, code=EGW00201)", RateLimited),
    ],
)
def test_accepted_order_whose_answer_is_lost_stays_single(
    fault: str, expected: type[KisError], emulator: Emulator, client: KisClient
) -> None:
    emulator.fault(fault)
    with pytest.raises(expected):
        client.send_order(BUY)
    today = MORNING.date()
    assert (orders(emulator), bodies(emulator)) == (1, 1)
    assert len(client.fetch_orders(today, today).rows) == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("http(order, 1, read_then_close)", OutcomeUnknown),
        ("http(order, 1, rst)", OutcomeUnknown),
        ("http(order, 1, status, 503)", OutcomeUnknown),
        ("http(order, 1, no_number)", OutcomeUnknown),
        ("gw(EGW00201, 500, tr=order)", RateLimited),
        ("gw(EGW00123, 500, tr=order)", AuthError),
        ("gw(APBK0952, 500, tr=order)", KisRefused),
        ("gw(ZZZZ9999, 500, tr=order)", OutcomeUnknown),
    ],
)
def test_order_is_sent_at_most_once(
    fault: str, expected: type[KisError], emulator: Emulator, client: KisClient
) -> None:
    emulator.fault(fault)
    with pytest.raises(expected) as caught:
        client.send_order(BUY)
    assert type(caught.value) is expected
    assert bodies(emulator) <= 1


@pytest.mark.parametrize(
    ("fault", "made"), [("accept_then(hang 3)", 1), ("http(order, 1, hang 3)", 0)]
)
def test_rows_06_and_07_unanswered_order_is_open_whether_made_or_not(
    fault: str,
    made: int,
    emulator: Emulator,
    client: KisClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client._transport, "_timeout", (0.5, 0.5))
    emulator.fault(fault)
    with pytest.raises(OutcomeUnknown) as caught:
        client.send_order(BUY)
    assert type(caught.value) is OutcomeUnknown
    assert (orders(emulator), bodies(emulator) <= 1) == (made, True)
    today = MORNING.date()
    assert len(client.fetch_orders(today, today).rows) == made


def test_rows_17_and_18_late_row_is_a_complete_answer_without_it(
    emulator: Emulator, client: KisClient
) -> None:
    # Only time tells an order that was never made from one not shown yet.
    today = MORNING.date()
    emulator.fault("lag(ledger, 20)", "accept_then(read_then_close)")
    with pytest.raises(OutcomeUnknown):
        client.send_order(BUY)
    early = client.fetch_orders(today, today).rows
    emulator.advance(21)
    assert (len(early), len(client.fetch_orders(today, today).rows)) == (0, 1)
    assert bodies(emulator) == 1


def test_revoked_token_is_replaced_within_a_query(
    emulator: Emulator, client: KisClient
) -> None:
    emulator.fault("token(revoke)", "token(per_min=0)")
    assert client.fetch_price(SYMBOL).price > 0


def next_of(stream: KisStream, kind: type) -> StreamEvent:
    until = SystemClock().monotonic() + 20
    while SystemClock().monotonic() < until:
        event = stream.next_event(1.0)
        if isinstance(event, kind):
            return event
    raise AssertionError(stream.state())


def test_row_44_fill_during_a_drop_is_found_by_the_query_after_the_gap(
    emulator: Emulator, client: KisClient, stream: KisStream
) -> None:
    emulator.fault("ws(drop, tr=notice)")
    client.send_order(BUY)
    alert = next_of(stream, Alert)
    gap = next_of(stream, Gap)
    today = MORNING.date()
    (row,) = client.fetch_orders(today, today).rows
    assert alert.trouble is Trouble.DOWN
    assert gap.since is not None
    assert row.filled_quantity == 3


def test_row_45_lost_notice_of_a_healthy_stream_is_found_by_the_query(
    emulator: Emulator, client: KisClient, stream: KisStream
) -> None:
    emulator.fault("ws(mute, tr=notice, count=99)")
    client.send_order(BUY)
    emulator.clear_faults()
    client.send_order(BUY)
    told = next_of(stream, Notice)
    today = MORNING.date()
    first, second = sorted(
        client.fetch_orders(today, today).rows, key=lambda row: row.number
    )
    assert (told.number, first.filled_quantity) == (second.number, 3)
    assert stream.state().connects == 1


def test_row_51_changed_width_of_notices_is_told(
    emulator: Emulator, client: KisClient, stream: KisStream
) -> None:
    emulator.fault("ws(notice_width, 1, tr=notice)")
    client.send_order(BUY)
    assert next_of(stream, Alert).trouble is Trouble.DISTRUSTED


def test_row_53_notice_with_a_wrong_key_is_followed_by_a_good_one(
    emulator: Emulator, client: KisClient, stream: KisStream
) -> None:
    emulator.fault("ws(bad_key, tr=notice)")
    client.send_order(BUY)
    assert next_of(stream, Alert).trouble is Trouble.UNREADABLE
    while stream.state().confirmed < 2:
        stream.next_event(0.05)
    client.send_order(BUY)
    assert next_of(stream, Notice)


def test_row_46_tripled_notice_arrives_three_times(
    emulator: Emulator, client: KisClient, stream: KisStream
) -> None:
    emulator.fault("ws(dup, 3, tr=notice, count=99)")
    client.send_order(BUY)
    told = [next_of(stream, Notice) for _ in range(6)]
    assert sum(item.kind is NoticeKind.FILLED for item in told) == 3


def test_row_55_half_open_connection_is_noticed(
    emulator: Emulator, client: KisClient, stream: KisStream
) -> None:
    emulator.fault("ws(half_open)", "ws(no_ping)")
    emulator.fault("ws(flood, 3)")
    assert next_of(stream, Alert).trouble is Trouble.DOWN
    emulator.clear_faults()


def test_row_57_second_program_with_the_key_is_told(
    client: KisClient, access: Access, stream: KisStream
) -> None:
    second = KisStream(access.keys, access.server, client.auth)
    second.subscribe_trades(SYMBOL)
    second.start()
    assert next_of(second, Alert).trouble is Trouble.IN_USE
    assert stream.state().ready
    assert second.stop(10)


def test_chart_counts_the_trades_of_a_flood(
    emulator: Emulator, client: KisClient, stream: KisStream
) -> None:
    """What a listener makes of the trades is what the chart says."""
    emulator.fault("clock(pause)")
    emulator.advance_to(MORNING + timedelta(minutes=1))
    for seconds in (40, 15, 8, 30, 20, 45, 3, 29, 31, 20):
        emulator.fault({"verb": "ws", "do": "flood", "arg": 7, "symbol": SYMBOL})
        emulator.advance(seconds)
    heard: dict[time, list[Tick]] = {}
    until = SystemClock().monotonic() + 10
    rows = client.fetch_minutes(SYMBOL, MORNING.date(), time(9, 34))[:4]
    minutes = {row.start for row in rows}
    count = sum(row.volume for row in rows)
    while sum(tick.quantity for ticks in heard.values() for tick in ticks) < count:
        assert SystemClock().monotonic() < until
        for tick in stream.take_ticks():
            if (minute := tick.at.time().replace(second=0)) in minutes:
                heard.setdefault(minute, []).append(tick)
    assert len(rows) == len(heard) == 4
    for row in rows:
        assert row.start is not None
        ticks = heard[row.start]
        prices = [tick.price for tick in ticks]
        assert (row.open, row.high, row.low, row.close, row.volume) == (
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
            sum(tick.quantity for tick in ticks),
        )


def test_trades_arrive(emulator: Emulator, stream: KisStream) -> None:
    emulator.fault("ws(flood, 50)")
    until = SystemClock().monotonic() + 10
    while not (ticks := stream.take_ticks()):
        assert SystemClock().monotonic() < until
    assert ticks[0].symbol == SYMBOL
    assert stream.quiet_s(SYMBOL) is not None
