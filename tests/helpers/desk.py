"""An order desk on a real emulator: journal, client, websocket and all."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from kisbt.app.connect import access_of_row
from kisbt.clock import KST, SystemClock
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.kis.client import KisClient, open_client
from kisbt.kis.stream import KisStream
from kisbt.krx.calendar import default_calendar
from kisbt.model.instrument import Instrument
from kisbt.model.order import OrderType, Side
from kisbt.model.ports import Urgency
from kisbt.orders.desk import OrderDesk
from kisbt.orders.deskstate import DeskSettings, DeskSources
from kisbt.orders.guard import GuardLimits
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.ladders import LadderLimits
from kisbt.orders.ledger import FillSource, Tariff
from kisbt.orders.polling import MOCK_RATES, REAL_RATES
from kisbt.orders.records import DeskEvent, OrderPlan
from kisbt.orders.rows import OrderRecord
from tests.helpers.truth import differences

SESSION = date(2025, 11, 3)
MORNING = datetime(2025, 11, 3, 9, 30, tzinfo=KST)
CAPITAL = 10_000_000
SYMBOL = "990001"
OTHER = "990002"
SYMBOLS = ("990001", "990002", "990003", "990004", "990005")
PATIENT = LadderLimits(
    refusals_pause=10**6,
    refusals_stop=10**6,
    refusals_all=10**6,
    unknown_halt=10**6,
    drops_entries=10**6,
    query_halt_s=10**9,
)
"""Ladders that never stop a test that is about something else."""


class SteppedTime:
    """The emulator's time; whoever sleeps moves it."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._start = emulator.now()
        self._lock = threading.RLock()
        self.offset_s = 0.0
        """Seconds the wall clock of this machine has been moved."""

    def now(self) -> datetime:
        return self._emulator.clock.now() + timedelta(seconds=self.offset_s)

    def monotonic(self) -> float:
        return (self._emulator.clock.now() - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            with self._lock:
                self._emulator.advance(seconds + 1e-6)


class Told:
    """Remembers what a person was told."""

    def __init__(self) -> None:
        self.messages: list[tuple[Urgency, str, str]] = []

    def notify(self, urgency: Urgency, title: str, text: str) -> None:
        self.messages.append((urgency, title, text))

    def titles(self) -> list[str]:
        return [title for _urgency, title, _text in self.messages]


class Bench:
    """Desk, emulator and everything between them, and the questions of tests."""

    def __init__(
        self,
        emulator: Emulator,
        folder: Path,
        *,
        environment: str = "mock",
        stream: bool = False,
        ahead: bool = False,
        **settings: Any,
    ) -> None:
        self.ahead = ahead
        self.emulator = emulator
        self.environment = environment
        self.folder = folder
        self.time = SteppedTime(emulator)
        self.access = access_of_row(emulator.side(environment), "emulator")
        self.client: KisClient = open_client(
            self.access.keys,
            self.access.server,
            folder=folder,
            clock=self.time,
            interval_s=settings.pop("interval_s", 0.0),
        )
        # Hanging servers are waited for in real time.
        self.client._transport._timeout = (0.5, 0.4)
        self.client._transport._total_s = 1.0
        mock = environment == "mock"
        values: dict[str, Any] = {
            "instruments": {s: Instrument(symbol=s) for s in SYMBOLS},
            "tariff": Tariff(),
            "mock": mock,
            "account": emulator.side(environment)["account"].replace("-", ""),
            "fill_source": FillSource.NOTICE if mock else FillSource.REST,
            "rates": MOCK_RATES if mock else REAL_RATES,
            "guard": GuardLimits(duplicate_s=None, needs_stream=stream),
            "close_wait_s": 5.0,
        }
        self.settings = DeskSettings(**(values | settings))
        self.told = Told()
        self.sources = DeskSources(offset_s=self.client.clock_offset_s)
        self.latch = HaltLatch(folder, clock=self.time)
        self.numbers = 0
        self.events: list[DeskEvent] = []
        self.stream: KisStream | None = None
        self.whole_frames = True
        self.open_desk()
        if stream:
            self.open_stream()

    def open_desk(self) -> None:
        """Open the journal and make a desk, as a start of the program does."""
        self.journal = Journal(self.folder / "journal.db", clock=self.time)
        self.journal.begin_run(
            run_id="test",
            version="0",
            config_hash="0",
            mode="paper",
            account="****0000-01",
            capital=CAPITAL,
        )
        self.desk = OrderDesk(
            self.journal,
            self.client,
            self.settings,
            clock=self.time,
            calendar=default_calendar(),
            latch=self.latch,
            sources=self.sources,
            notifier=self.told,
            ahead=self.ahead,
        )
        self.desk.start()
        self.desk.catch_up()
        self.desk.arm()
        self.desk.begin_session(self.time.now().date())

    def restart(self) -> None:
        """Die without a word and start again."""
        self.journal.close()
        self.open_desk()

    def open_stream(self) -> None:
        self.stream = KisStream(
            self.access.keys, self.access.server, self.client.auth, silence_s=600.0
        )
        self.stream.subscribe_notices()
        self.stream.start()
        assert self.stream.wait_ready(10)
        self.hear()

    def close(self) -> None:
        if self.stream is not None:
            self.stream.stop(10)
        self.client.close()
        self.journal.close()

    # Doing.

    def plan(
        self,
        side: Side = Side.BUY,
        quantity: int = 10,
        *,
        symbol: str = SYMBOL,
        limit: int | None = None,
        **changes: Any,
    ) -> OrderPlan:
        self.numbers += 1
        plan = OrderPlan(
            number=self.numbers,
            symbol=symbol,
            side=side,
            quantity=quantity,
            order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            limit_price=limit,
            session=self.time.now().date(),
            bar=self.time.now(),
            last_price=self.price(symbol),
        )
        return replace(plan, **changes)

    def submit(self, *args: Any, **options: Any) -> int:
        """Submit an order; it is not sent yet."""
        return self.desk.submit(self.plan(*args, **options))

    def order(self, *args: Any, **options: Any) -> OrderRecord:
        """Submit an order, send it and hear what has come back."""
        ref = self.submit(*args, **options)
        self.turn()
        return self.journal.order(ref)

    def turn(self, seconds: float = 0.0) -> None:
        """Let the market move on, then everything that is due happen."""
        if seconds:
            self.emulator.advance(seconds)
        self.hear()
        self.desk.work()
        self.hear()
        self.events.extend(self.desk.take_events())

    def hear(self) -> None:
        """Hand over what the stream has heard, once all that was sent is read."""
        if self.stream is None:
            return
        wall = SystemClock()
        until = wall.monotonic() + (0.3 if self.whole_frames else 0.02)
        while wall.monotonic() < until:
            if self.stream.frames >= self.emulator.frames_sent(self.environment):
                break
            wall.sleep(0.001)
        else:
            self.whole_frames = False  # some frame was broken: do not wait again
        while (event := self.stream.next_event(0.001)) is not None:
            self.desk.stream_event(event)

    def run_until(self, done: Any, *, seconds: float = 120.0) -> None:
        """Work as the trading loop does until something is so."""
        waited = 0.0
        while not done():
            due = self.desk.next_due_s()
            step = 1.0 if due is None else min(max(due, 0.05), 5.0)
            waited += step
            assert waited <= seconds, "it never came true"
            self.turn(step)

    def run_for(self, seconds: float) -> None:
        """Work as the trading loop does for some virtual seconds."""
        end = self.time.monotonic() + seconds
        while (left := end - self.time.monotonic()) > 0:
            due = self.desk.next_due_s()
            self.turn(min(max(due if due is not None else 5.0, 0.05), 5.0, left))

    def close_day(self) -> None:
        """Go to the end of the session and close its day."""
        session = self.time.now().date()
        close = default_calendar().close_time(session)
        self.turn((close - self.time.now()).total_seconds() + 1.0)
        for _turn in range(300):
            if self.desk.close_session(session):
                self.events.extend(self.desk.take_events())
                return
            self.turn(1.0)
        raise AssertionError(self.desk.status())

    # Asking.

    def price(self, symbol: str = SYMBOL) -> int:
        return int(self.emulator.state()["book"][symbol]["last"])

    def status(self, ref: int) -> str:
        return str(self.journal.order(ref).status)

    def truth(self) -> dict[str, Any]:
        found: dict[str, Any] = self.emulator.state(calls=True)
        return found

    def real_orders(self) -> list[dict[str, Any]]:
        return list(self.truth()[self.environment]["orders"])

    def posts(self) -> int:
        log = self.truth()[self.environment]["call_log"]
        return sum(call["name"] == "order_cash" for call in log)

    def cancels(self) -> int:
        log = self.truth()[self.environment]["call_log"]
        return sum(call["name"] == "order_rvsecncl" for call in log)

    def wrong(self, **options: Any) -> list[str]:
        """Return what oracle P finds."""
        options.setdefault("ended", False)
        return differences(
            self.journal,
            self.truth(),
            capital=CAPITAL,
            environment=self.environment,
            **options,
        )


@contextmanager
def bench(
    folder: Path,
    *,
    environment: str = "mock",
    start: datetime = MORNING,
    stream: bool = False,
    emulator: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Bench]:
    """Run a desk against an emulator of its own."""
    given = {
        "start": start,
        "step": True,
        "limits": False,
        "environment": environment,
        **(emulator or {}),
    }
    with Emulator(Settings(**given)) as running:
        made = Bench(
            running, folder, environment=environment, stream=stream, **settings
        )
        try:
            yield made
        finally:
            made.close()
