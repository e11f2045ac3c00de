"""The stream under every fault of the fault table, rows 32 and 44 to 64."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta

import pytest

from kisbt.clock import KST, ManualClock, SystemClock
from kisbt.errors import ConfigError, InputError
from kisbt.kis.keys import Secret
from kisbt.kis.servers import emulator_server
from kisbt.kis.stream import (
    Alert,
    Gap,
    KisStream,
    StreamEvent,
    Trouble,
    thin_out,
)
from kisbt.kis.wire.stream import Registration, encode_ping, encode_ticks
from kisbt.model.account import Environment
from kisbt.model.order import Notice, NoticeAction, NoticeKind, OrderKind, Side, Venue
from kisbt.model.quote import Board, Tick
from tests.helpers.fakews import DROP, FakeServer, FakeSocket
from tests.helpers.kis import make_keys

pytestmark = pytest.mark.fault

START = datetime(2026, 11, 20, 9, 0, tzinfo=KST)
SERVER = emulator_server(Environment.MOCK, "http://127.0.0.1:9", "ws://127.0.0.1:9")


class Approvals:
    """Gives approval keys and remembers which were refused."""

    def __init__(self) -> None:
        self.given = 0
        self.refused: list[Secret] = []

    def approval_key(self, *, refused: Secret | None = None) -> Secret:
        if refused is not None:
            self.refused.append(refused)
        self.given += 1
        return Secret(f"approval-{self.given}")


class Rig:
    """A stream, its server and its time."""

    def __init__(self, **options: object) -> None:
        self.clock = ManualClock(START)
        self.server = FakeServer(self.clock)
        self.approvals = Approvals()
        self.stream = KisStream(
            make_keys(),
            SERVER,
            self.approvals,
            clock=self.clock,
            connect=self.server.connect,
            **options,
        )

    def events(self, count: int, of: type = object) -> list[StreamEvent]:
        """Return the next `count` events of a kind, in real time of 20 s."""
        found: list[StreamEvent] = []
        began = SystemClock().monotonic()
        while len(found) < count:
            event = self.stream.next_event(1.0)
            if isinstance(event, of):
                found.append(event)
            assert SystemClock().monotonic() - began < 20, (found, self.stream.state())
        return found

    def until(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        began = SystemClock().monotonic()
        while not condition():
            SystemClock().sleep(0.001)
            assert SystemClock().monotonic() - began < within_s, self.stream.state()


@contextmanager
def rig(**options: object) -> Iterator[Rig]:
    made = Rig(**options)
    try:
        yield made
    finally:
        assert made.stream.stop(20)


def notice(number: int, quantity: int = 10) -> Notice:
    return Notice(
        account="5011223301",
        number=f"{number:010}",
        original_number="",
        side=Side.BUY,
        kind=NoticeKind.FILLED,
        action=NoticeAction.NEW,
        order_kind=OrderKind.LIMIT,
        symbol="005930",
        name="삼성전자",
        quantity=quantity,
        price=71_500,
        time=time(10, 5, 12, tzinfo=None),
        branch="00950",
        order_quantity=10,
        order_price=71_500,
        venue=Venue.KRX,
        customer="canaryhts",
        holder="홍길동",
    )


def tick(number: int, *, symbol: str = "005930", price: int = 71_500) -> Tick:
    return Tick(
        symbol=symbol,
        at=START + timedelta(seconds=number % 3600),
        price=price,
        quantity=1,
        total_quantity=number,
        ask=price,
        bid=price,
        taker=Side.BUY,
        board=Board.KRX,
    )


def once(*frames: object) -> Callable[[FakeSocket], None]:
    """Send frames the first time a subscribed connection is idle."""
    waiting = list(frames)

    def idle(socket: FakeSocket) -> None:
        while waiting:
            frame = waiting.pop(0)
            socket.frames.append(frame(socket) if callable(frame) else frame)

    return idle


def test_everything_wanted_is_confirmed_notices_first() -> None:
    with rig() as r:
        r.stream.subscribe_trades("000660")
        r.stream.subscribe_notices()
        r.stream.start()
        assert r.stream.wait_ready(10)
        first = next(iter(r.server.sockets[0].registered))
        assert first[0] == "H0STCNI9"


def test_row_44_drop_is_followed_by_a_gap_since_the_last_frame() -> None:
    with rig() as r:
        r.server.idle = once(lambda s: r.server.notice(s, notice(1)), DROP)
        r.stream.subscribe_notices()
        r.stream.start()
        gaps = r.events(2, Gap)
        assert gaps[0].since is None
        assert gaps[1].since is not None
        assert gaps[1].since < gaps[1].until


@pytest.mark.parametrize("trades", [False, True])
def test_a_connection_says_what_comes_over_it(trades: bool) -> None:
    with rig() as r:
        r.server.idle = once(DROP)
        if trades:
            r.stream.subscribe_trades("005930")
        else:
            r.stream.subscribe_notices()
        r.stream.start()
        lost, back = r.events(1, Alert)[0], r.events(1, Gap)[0]
        assert lost.trouble is Trouble.DOWN
        assert (lost.trades, lost.orders) == (trades, not trades)
        assert (back.trades, back.orders) == (trades, not trades)


def test_a_refused_symbol_is_told_and_asked_for_again_on_the_next_connection() -> None:
    refuse = [True]

    def answer(socket: FakeSocket, request: Registration) -> str:
        if refuse[0] and request.tr_key == "005930":
            return r.server.say(request, "OPSP8993", "no such symbol")
        return r.server.confirm(socket, request)

    with rig() as r:
        r.server.answer = answer
        r.stream.subscribe_notices()
        r.stream.subscribe_trades("005930")
        r.stream.start()
        for _connection in range(2):
            told = r.events(1, Alert)[0]
            assert (told.trouble, told.symbol) == (Trouble.REFUSED, "005930")
            assert (told.trades, told.orders) == (True, False)
            gap = r.events(1, Gap)[0]
            assert (gap.trades, gap.orders) == (False, True)
            r.until(lambda: r.stream.state().settled)
            assert not r.stream.state().ready
            refuse[0] = _connection == 0
            r.server.sockets[-1].frames.append(DROP)
            assert r.events(1, Alert)[0].trouble is Trouble.DOWN
        assert r.events(1, Gap)[0].trades
        assert r.stream.wait_ready(10)


def test_row_46_duplicates_are_all_handed_over() -> None:
    # Only REST can tell two equal fills from one sent twice.
    with rig() as r:
        same = [lambda s: r.server.notice(s, notice(1))] * 3
        r.server.idle = once(*same)
        r.stream.subscribe_notices()
        r.stream.start()
        assert r.events(3, Notice) == [notice(1)] * 3


@pytest.mark.parametrize("width", [45, 48])
def test_row_51_unknown_width_is_told_once_and_loudly(width: int) -> None:
    frame = "0|H0STCNT0|001|" + "^".join(["1"] * width)
    with rig() as r:
        r.server.idle = once(frame, frame)
        r.stream.subscribe_trades("005930")
        r.stream.start()
        alerts = r.events(1, Alert)
        r.until(lambda: r.stream.state().counts.get("distrusted") == 2)
        assert alerts[0].trouble is Trouble.DISTRUSTED
        assert r.stream.state().distrusted == ("H0STCNT0",)


@pytest.mark.parametrize("again", [False, True])
def test_a_new_connection_is_trusted_until_it_errs(again: bool) -> None:
    strange = "0|H0STCNT0|001|" + "^".join(["1"] * 45)
    with rig() as r:
        r.stream.subscribe_trades("005930")
        r.stream.start()
        assert r.stream.wait_ready(10)
        r.server.sockets[-1].frames += [encode_ticks([tick(1)]), strange, DROP]
        first, distrust, down, back = r.events(4)
        assert isinstance(first, Gap)
        assert isinstance(distrust, Alert)
        assert isinstance(down, Alert)
        assert isinstance(back, Gap)
        assert (distrust.trouble, down.trouble) == (Trouble.DISTRUSTED, Trouble.DOWN)
        assert back.trades
        assert r.stream.wait_ready(10)
        r.server.sockets[-1].frames += [strange if again else encode_ticks([tick(2)])]
        if again:
            (told,) = r.events(1)
            assert isinstance(told, Alert)
            assert told.trouble is Trouble.DISTRUSTED
        else:
            r.until(lambda: r.stream.state().counts["trades"] == 2)


def test_row_52_every_record_of_a_frame_arrives() -> None:
    with rig() as r:
        r.server.idle = once(encode_ticks([tick(1), tick(2), tick(3)]))
        r.stream.subscribe_trades("005930")
        r.stream.start()
        r.until(lambda: r.stream.state().counts.get("trades") == 3)
        assert [row.total_quantity for row in r.stream.take_ticks()] == [1, 2, 3]


def test_row_53_unreadable_notice_is_asked_for_with_a_new_key() -> None:
    with rig() as r:
        r.server.idle = once(
            "1|H0STCNI9|001|bm90IGVuY3J5cHRlZA==",
            lambda s: r.server.notice(s, notice(7)),
        )

        def idle(socket: FakeSocket) -> None:
            steps = len(socket.sent)
            if steps == 1:
                socket.frames.append("1|H0STCNI9|001|bm90IGVuY3J5cHRlZA==")
            elif steps == 3 and not socket.frames:
                r.server.idle = lambda _: None
                socket.frames.append(r.server.notice(socket, notice(7)))

        r.server.idle = idle
        r.stream.subscribe_notices()
        r.stream.start()
        assert r.events(1, Alert)[0].trouble is Trouble.UNREADABLE
        assert r.events(1, Notice)[0].number == f"{7:010}"


def test_row_54_garbage_does_no_harm() -> None:
    noise = random.Random(1)
    frames = [bytes(noise.randrange(256) for _ in range(60)) for _ in range(500)]
    with rig() as r:
        r.server.idle = once(*frames, lambda s: r.server.notice(s, notice(1)))
        r.stream.subscribe_notices()
        r.stream.start()
        assert r.events(1, Notice)
        assert len(r.server.sockets) == 1


def test_row_55_silence_is_a_lost_connection() -> None:
    with rig(silence_s=25.0) as r:
        r.server.pings = False
        r.stream.subscribe_notices()
        r.stream.start()
        r.events(2, Gap)
        assert 25 < r.server.times[1] - r.server.times[0] < 31


def test_row_56_pingpong_is_echoed_as_it_came() -> None:
    ping = encode_ping(START)
    with rig() as r:
        r.server.idle = once(ping)
        r.stream.subscribe_notices()
        r.stream.start()
        r.until(lambda: r.stream.state().counts.get("pings"))
        r.until(lambda: len(r.server.sockets[0].sent) == 2)
        assert r.server.sockets[0].sent[1] == ping


def test_row_57_session_in_use_is_not_fought_over() -> None:
    with rig() as r:
        r.server.answer = lambda _socket, _request: (
            '{"header":{"tr_id":"(null)","tr_key":"","encrypt":"N"},"body":{"rt_cd":"9",'
            '"msg_cd":"OPSP8996","msg1":"ALREADY IN USE appkey"}}'
        )
        r.stream.subscribe_notices()
        r.stream.start()
        alerts = [e for e in r.events(6, Alert) if e.trouble is Trouble.IN_USE]
        assert alerts
        r.until(lambda: r.clock.monotonic() > 1800)
        assert _most_in_window(r.server.times) <= 3


def _most_in_window(times: list[float], window: float = 600.0) -> int:
    return max(
        sum(start <= other < start + window for other in times) for start in times
    )


def test_row_58_forty_second_registration_is_refused_here() -> None:
    with rig() as r:
        for number in range(40):
            r.stream.subscribe_trades(f"{number:06}")
        with pytest.raises(InputError):
            r.stream.subscribe_trades("999999")
        r.stream.subscribe_notices()
        r.stream.start()
        assert r.stream.wait_ready(10)
        assert len(r.server.sockets[0].registered) == 41


def test_row_59_missing_answer_is_asked_again_then_reconnected() -> None:
    with rig() as r:
        r.server.answer = lambda _socket, _request: None
        r.server.idle = lambda s: (
            s.frames.append(encode_ping(r.clock.now())) or (r.clock.sleep(1.0))
        )
        r.stream.subscribe_notices()
        r.stream.start()
        r.until(lambda: len(r.server.sockets) >= 2)
        asked = [p for p in r.server.sockets[0].sent if "PINGPONG" not in p]
        assert (len(asked), r.stream.wait_ready(0)) == (2, False)


def test_row_60_five_hundred_drops_keep_to_the_budget() -> None:
    delivered: list[int] = []
    noise = random.Random(7)
    with rig() as r:

        def idle(socket: FakeSocket) -> None:
            if len(r.server.sockets) > 500:
                return
            for _ in range(noise.randrange(4)):
                delivered.append(len(delivered))
                socket.frames.append(r.server.notice(socket, notice(delivered[-1])))
            r.clock.sleep(noise.uniform(0, 40))
            socket.frames.append(DROP)

        r.server.idle = idle
        r.stream.subscribe_notices()
        r.stream.subscribe_trades("005930")
        r.stream.start()
        r.until(lambda: len(r.server.sockets) > 500)
        assert r.stream.wait_ready(10)
        found = [e.number for e in r.events(len(delivered), Notice)]
        assert found == [f"{number:010}" for number in delivered]
        assert _most_in_window(r.server.times) <= 20
        assert all(len(s.registered) == 2 for s in r.server.sockets[:-1])


class Storm:
    """Sends good notices with every fault of the line among them, in seeded order."""

    KINDS = ("drop", "double", "swap", "corrupt", "several", "wide")

    def __init__(self, server: FakeServer, clock: ManualClock, seed: int) -> None:
        self.noise = random.Random(seed)
        self.server = server
        self.clock = clock
        self.steps = [kind for kind in self.KINDS for _ in range(500)]
        self.noise.shuffle(self.steps)
        self.told: list[str] = []
        self.incomplete = 0

    def __call__(self, socket: FakeSocket) -> None:
        if not self.steps:
            return
        self.incomplete += len(socket.registered) != 3
        self.clock.sleep(self.noise.uniform(0, 3))
        getattr(self, f"_{self.steps.pop()}")(socket)

    def _tell(self, socket: FakeSocket, *numbers: int) -> None:
        rows = [notice(number) for number in numbers]
        socket.frames.append(self.server.notice(socket, *rows))
        self.told += [row.number for row in rows]

    def _next(self) -> int:
        return len(self.told) + 1

    def _drop(self, socket: FakeSocket) -> None:
        self._tell(socket, self._next())
        socket.frames.append(DROP)

    def _double(self, socket: FakeSocket) -> None:
        number = self._next()
        self._tell(socket, number)
        self._tell(socket, number)

    def _swap(self, socket: FakeSocket) -> None:
        number = self._next()
        self._tell(socket, number + 1)
        self._tell(socket, number)

    def _corrupt(self, socket: FakeSocket) -> None:
        text = self.server.notice(socket, notice(0))
        if self.noise.random() < 0.5:
            text = encode_ticks([tick(1)])
        at = self.noise.randrange(len(text))
        socket.frames.append(text[:at].encode() + b"\xff\x00|^" + text[at:].encode())
        self._tell(socket, self._next())

    def _several(self, socket: FakeSocket) -> None:
        number = self._next()
        self._tell(socket, number, number + 1, number + 2)
        socket.frames.append(encode_ticks([tick(number), tick(number + 1)]))

    def _wide(self, socket: FakeSocket) -> None:
        tr_id, cipher = next(iter(socket.ciphers.items()))
        columns = "^".join(["1"] * self.noise.choice([22, 24, 25, 27]))
        socket.frames.append(f"1|{tr_id}|001|{cipher.encrypt(columns)}")
        self._tell(socket, self._next())


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
def test_five_hundred_faults_of_each_kind_lose_no_notice(seed: int) -> None:
    with rig() as r:
        storm = Storm(r.server, r.clock, seed)
        r.server.idle = storm
        r.stream.subscribe_notices()
        r.stream.subscribe_trades("005930")
        r.stream.subscribe_quotes("005930")
        r.stream.start()
        r.until(lambda: not storm.steps and r.stream.wait_ready(0), within_s=200)
        found: list[str] = []
        alerts: set[Trouble] = set()
        gaps = 0
        while (event := r.stream.next_event(0.5)) is not None:
            if isinstance(event, Notice):
                found.append(event.number)
            elif isinstance(event, Gap):
                gaps += 1
            else:
                alerts.add(event.trouble)
        assert [number for number in found if int(number)] == storm.told
        assert (len(r.server.times), gaps, storm.incomplete) == (501, 501, 0)
        assert _most_in_window(r.server.times) <= 20
        assert alerts == {Trouble.DOWN, Trouble.UNREADABLE, Trouble.DISTRUSTED}


def test_row_61_slow_consumer_loses_no_notice() -> None:
    with rig(buffer=200) as r:
        frames = [encode_ticks([tick(n, price=71_000 + n)]) for n in range(1, 1001)]
        r.server.idle = once(*frames, lambda s: r.server.notice(s, notice(1)))
        r.stream.subscribe_notices()
        r.stream.subscribe_trades("005930")
        r.stream.start()
        r.events(1, Notice)
        kept = r.stream.take_ticks()
        state = r.stream.state()
        assert len(kept) <= 200
        assert sum(row.quantity for row in kept) == 1000
        assert state.counts["conflated"] == 1000 - len(kept)
        assert max(row.price for row in kept) == 72_000


def test_row_63_missed_and_late_trades_are_counted() -> None:
    with rig() as r:
        r.server.idle = once(
            *(encode_ticks([tick(n)]) for n in (1, 2, 5, 3)),
        )
        r.stream.subscribe_trades("005930")
        r.stream.start()
        r.until(lambda: r.stream.state().counts.get("trades") == 4)
        counts = r.stream.state().counts
        assert (counts["missed"], counts["out_of_order"]) == (1, 1)


def test_row_64_quiet_symbol_is_seen() -> None:
    with rig() as r:
        r.server.idle = once(encode_ticks([tick(1)]))
        r.stream.subscribe_trades("005930")
        r.stream.start()
        r.until(lambda: (r.stream.quiet_s("005930") or 0) > 10)
        assert r.stream.quiet_s("000660") is None


def test_row_32_refused_approval_key_is_replaced_once() -> None:
    refused: list[str] = []

    with rig() as r:

        def answer(socket: FakeSocket, request: Registration) -> str:
            if request.approval_key == "approval-1":
                refused.append(request.approval_key)
                return r.server.say(request, "OPSP0011", "invalid approval : NOT FOUND")
            return r.server.confirm(socket, request)

        r.server.answer = answer
        r.stream.subscribe_notices()
        r.stream.start()
        r.until(lambda: r.stream.wait_ready(0.01))
        assert (r.approvals.given, len(refused)) == (2, 1)


def test_wrong_hts_id_is_told_and_the_rest_goes_on() -> None:
    with rig() as r:

        def answer(socket: FakeSocket, request: Registration) -> str:
            if request.tr_id == "H0STCNI9":
                return (
                    '{"header":{"tr_id":"(null)"},"body":{"rt_cd":"9",'
                    '"msg_cd":"OPSP0017","msg1":"ERROR : htsid"}}'
                )
            return r.server.confirm(socket, request)

        r.server.answer = answer
        r.stream.subscribe_notices()
        r.stream.subscribe_trades("005930")
        r.stream.start()
        alert = r.events(1, Alert)[0]
        r.until(lambda: r.stream.state().confirmed == 1)
        assert (alert.trouble, alert.code) == (Trouble.REFUSED, "OPSP0017")
        assert not r.stream.wait_ready(0)


def test_unsubscribed_symbol_is_given_back() -> None:
    with rig() as r:
        r.stream.subscribe_trades("005930")
        r.stream.subscribe_trades("000660")
        r.stream.start()
        assert r.stream.wait_ready(10)
        r.stream.unsubscribe("005930")
        socket = r.server.sockets[0]
        r.until(lambda: ("H0STCNT0", "005930") not in socket.registered)
        assert r.stream.wait_ready(10)


def test_mistake_in_the_thread_is_told_and_survived() -> None:
    with rig() as r:
        broken = iter([ValueError("a mistake of ours")])

        def idle(socket: FakeSocket) -> None:
            for error in broken:
                raise error

        r.server.idle = idle
        r.stream.subscribe_notices()
        r.stream.start()
        faults = [e for e in r.events(1, Alert) if e.trouble is Trouble.FAULT]
        assert faults
        assert r.events(1, Gap)
        assert r.stream.alive


def test_stop_closes_properly() -> None:
    with rig() as r:
        r.stream.subscribe_notices()
        r.stream.start()
        assert r.stream.wait_ready(10)
        r.stream.stop()
        assert (r.server.sockets[0].closed, r.stream.alive) == (True, False)


def test_notices_need_an_hts_id() -> None:
    from dataclasses import replace

    keys = replace(make_keys(), hts_id=Secret(""))
    stream = KisStream(keys, SERVER, Approvals())
    with pytest.raises(ConfigError):
        stream.subscribe_notices()


def test_thinned_trades_make_the_same_candle() -> None:
    noise = random.Random(3)
    rows = [tick(n, price=noise.randrange(70_000, 72_000)) for n in range(1, 500)]
    kept = thin_out(rows)

    def candles(ticks: list[Tick]) -> dict[datetime, tuple[int, ...]]:
        by_minute: dict[datetime, list[Tick]] = {}
        for row in ticks:
            by_minute.setdefault(row.at.replace(second=0), []).append(row)
        return {
            minute: (
                group[0].price,
                max(row.price for row in group),
                min(row.price for row in group),
                group[-1].price,
                sum(row.quantity for row in group),
            )
            for minute, group in by_minute.items()
        }

    assert (candles(kept), len(kept) < 40) == (candles(rows), True)
