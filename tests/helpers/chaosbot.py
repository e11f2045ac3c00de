"""A trader that orders at random and dies at random: one life of a random fault run.

Run by `tests.helpers.chaos` as a process of its own, so that ``kill -9`` is real. It
ends with 0 when everything it wanted has been ordered and its last day is closed.
"""

import os
import random
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path

from kisbt.app.links import AttachedEmulator
from kisbt.app.stepclock import StepClock
from kisbt.clock import KST
from kisbt.errors import KisError
from kisbt.kis.client import open_client
from kisbt.kis.stream import KisStream
from kisbt.krx.calendar import default_calendar
from kisbt.model.account import Environment
from kisbt.model.instrument import Instrument, Market
from kisbt.model.order import OrderType, Side
from kisbt.orders.desk import OrderDesk
from kisbt.orders.deskstate import DeskSettings, DeskSources
from kisbt.orders.guard import GuardLimits
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import FillSource, Tariff
from kisbt.orders.lifecycle import OPEN, UNRESOLVED
from kisbt.orders.polling import MOCK_RATES, REAL_RATES
from kisbt.orders.records import OrderPlan
from tests.helpers.desk import PATIENT
from tests.helpers.kis import QuickClock

SYMBOLS = ("990001", "990002", "990003", "990004", "990005")
CAPITAL = 1_000_000_000
_PER_DAY = 60
_LAST = time(15, 0)
_FIRST = time(9, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a trader is to do.

    Attributes:
        ready: file of the emulator. folder: for the journal.
        kill: probability of dying right after a commit; 0 never dies.
    """

    ready: Path
    folder: Path
    seed: int
    orders: int
    kill: float
    environment: str


class Bot:
    """One life."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        folder = asked.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lives = folder / "lives"
        life = int(lives.read_text() or 0) + 1 if lives.exists() else 1
        lives.write_text(str(life))
        self.dice = random.Random(f"{asked.seed}:{life}")
        self.deaths = random.Random(f"death:{asked.seed}:{life}")
        environment = Environment(asked.environment)
        mock = environment is Environment.MOCK
        self.link = AttachedEmulator(asked.ready, environment)
        self.time = StepClock(self.link)
        self.calendar = default_calendar()
        access = self.link.access
        self.client = open_client(
            access.keys, access.server, folder=folder, clock=self.time, interval_s=0.0
        )
        self.client._transport._timeout = (0.5, 0.5)
        self.journal = Journal(
            folder / "journal.db", clock=self.time, on_mark=self.maybe_die
        )
        self.journal.begin_run(
            run_id=f"life{life}",
            version="0",
            config_hash="0",
            mode="paper",
            account="****0000-01",
            capital=CAPITAL,
        )
        self.desk = OrderDesk(
            self.journal,
            self.client,
            DeskSettings(
                instruments={
                    name: Instrument(
                        symbol=name,
                        market=Market.KOSPI if name < "990004" else Market.KOSDAQ,
                    )
                    for name in SYMBOLS
                },
                tariff=Tariff(),
                mock=mock,
                account=f"{access.keys.account.number}{access.keys.account.product}",
                fill_source=FillSource.NOTICE if mock else FillSource.REST,
                rates=MOCK_RATES if mock else REAL_RATES,
                guard=GuardLimits(
                    duplicate_s=None, needs_stream=False, intent_age_s=None
                ),
                ladders=PATIENT,
                close_wait_s=5.0,
            ),
            clock=self.time,
            calendar=self.calendar,
            sources=DeskSources(),
            ahead=True,
        )
        self.stream: KisStream | None = None
        if mock:
            self.stream = KisStream(
                access.keys,
                access.server,
                self.client.auth,
                clock=QuickClock(),
                silence_s=1e9,
            )
            self.stream.subscribe_notices()
            self.stream.start()
        if asked.kill:
            # Also where no commit is: in the middle of a call, of a query, of Python.
            timer = threading.Timer(self.deaths.uniform(0.3, 6.0), self.die)
            timer.daemon = True
            timer.start()

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def maybe_die(self, mark: str) -> None:
        """Die right after a commit, once in a while."""
        del mark
        if self.asked.kill and self.deaths.random() < self.asked.kill:
            self.die()

    # A life.

    def live(self) -> None:
        self.catch_up()
        while self.made() < self.asked.orders:
            self.day()
        self.finish_day()

    def catch_up(self) -> None:
        self.desk.start()
        for _try in range(200):
            try:
                self.desk.catch_up()
            except KisError:
                self.time.sleep(1.0)
            else:
                break
        self.desk.arm()
        self.desk.begin_session(self.time.now().date())

    def day(self) -> None:
        today = self.time.now().date()
        begins = datetime.combine(today, _FIRST, KST)
        if self.calendar.is_session(today) and self.time.now() < begins:
            self.time.advance_to(begins)
        self.desk.begin_session(today)
        while self.may_order():
            for _number in range(self.dice.randint(1, 3)):
                self.order()
            self.maybe_cancel()
            self.turn(self.dice.choice((0.0, 0.2, 1.0, 2.0, 7.0)))
        self.finish_day()
        following = self.calendar.next_session(today)
        self.time.advance_to(datetime.combine(following, _FIRST, KST))

    def made(self) -> int:
        # Counted by the database: reading them all would make a long run quadratic.
        return self.journal.count_orders()

    def may_order(self) -> bool:
        now = self.time.now()
        return (
            self.calendar.is_session(now.date())
            and now.time() < _LAST
            and self.journal.count_orders(now.date()) < _PER_DAY
            and self.made() < self.asked.orders
        )

    def order(self) -> None:
        closed = set(self.journal.frozen()) | {
            order.symbol for order in self.journal.orders(statuses=UNRESOLVED)
        }
        free = [name for name in SYMBOLS if name not in closed]
        if not free:
            return
        symbol = self.dice.choice(free)
        held = self.journal.holding(symbol).quantity
        sells = held > 0 and self.dice.random() < 0.45
        quantity = self.dice.randint(1, min(held, 30) if sells else 30)
        price = self.prices.get(symbol, 50_000)
        limit = None
        if self.dice.random() < 0.6:
            away = self.dice.uniform(-0.02, 0.02)
            limit = max(1000, int(price * (1 + away)) // 1000 * 1000)
        self.desk.submit(
            OrderPlan(
                number=self.made() + 1,
                symbol=symbol,
                side=Side.SELL if sells else Side.BUY,
                quantity=quantity,
                order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
                limit_price=limit,
                session=self.time.now().date(),
                bar=self.time.now(),
                last_price=float(price),
            )
        )

    def maybe_cancel(self) -> None:
        if self.dice.random() < 0.4:
            working = self.journal.orders(statuses=OPEN)
            if working:
                self.desk.cancel(self.dice.choice(working).ref)

    @property
    def prices(self) -> dict[str, int]:
        known = getattr(self, "_prices", None)
        if known is None or self.dice.random() < 0.02:
            known = {}
            for symbol in SYMBOLS:
                try:
                    known[symbol] = self.client.fetch_price(symbol).price
                except KisError:
                    known[symbol] = 50_000
            self._prices = known
        return dict(known)

    def turn(self, seconds: float) -> None:
        self.time.sleep(seconds)
        self.hear()
        self.desk.work()
        self.hear()
        events = self.desk.take_events()
        if events:
            self.desk.delivered(events[-1].sequence)

    def hear(self) -> None:
        if self.stream is None:
            return
        while (event := self.stream.next_event(0.001)) is not None:
            self.desk.stream_event(event)

    def finish_day(self) -> None:
        today = self.time.now().date()
        if not self.calendar.is_session(today):
            return
        close = self.calendar.close_time(today)
        if self.time.now() < close:
            self.time.advance_to(close + timedelta(seconds=1))
        for _turn in range(2_000):
            self.turn(1.0)
            if self.desk.close_session(today):
                for symbol in self.journal.frozen():
                    self.journal.thaw(symbol, "chaos")
                return
        raise AssertionError(f"the day does not close: {self.desk.status()}")


def live_once(asked: Asked, log: Path) -> None:
    """Live one life in this process, and end the process.

    Args:
        asked: what to do.
        log: takes what it prints and how it failed.
    """
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        Bot(asked).live()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # a stream thread may still wait for its next connection
