"""A run that hangs: its account, its open orders and its locks, and nobody behind them.

What a second terminal finds while the strategy does not answer. The emulator runs in
real time in a thread; commands and watchdog run as processes of their own.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kisbt.app.connect import Access, ReadyRow, access_of_row
from kisbt.app.instances import Instance, listed, sole_owner
from kisbt.app.remoteclock import RemoteClock
from kisbt.app.state import journal_path
from kisbt.clock import SystemClock
from kisbt.emulator.runner import Emulator
from kisbt.kis.client import KisClient
from kisbt.model.account import Environment
from kisbt.model.order import OrderKind, OrderType, Side
from kisbt.model.ports import NewOrder, OrderRef
from kisbt.orders.journal import Journal
from kisbt.orders.lifecycle import Status
from kisbt.orders.records import OrderPlan
from kisbt.orders.rows import TicketRole
from tests.helpers.emulator import stepped

ROOT = Path(__file__).parents[2]
CAPITAL = 10_000_000
FAR = 0.75  # of the last price: inside the daily limits, and never filled


@dataclass
class Bed:
    """The hung run.

    Attributes:
        die: end the run as kill -9 would.
        numbers: of the open orders at the broker, by the journal's number.
    """

    emulator: Emulator
    environment: Environment
    access: Access
    client: KisClient
    clock: RemoteClock
    journal: Journal
    instance: Instance
    die: Callable[[], None]
    numbers: dict[int, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.access.state

    def side(self) -> dict[str, Any]:
        found: dict[str, Any] = self.emulator.state(calls=True)[self.environment.value]
        return found

    def working(self) -> list[str]:
        """Numbers of all orders that may still fill, also of others."""
        return [row["number"] for row in self.side()["orders"] if row["open"] > 0]

    def cancels(self) -> list[dict[str, Any]]:
        """Calls that asked for a cancellation, oldest first."""
        calls = self.side()["call_log"]
        return [call for call in calls if call["body"].get("RVSE_CNCL_DVSN_CD") == "02"]

    def order(
        self,
        symbol: str = "990001",
        *,
        quantity: int = 10,
        side: Side = Side.BUY,
        price: int | None = None,
        send: bool = True,
        until: Status = Status.ACKED,
    ) -> int:
        """Write an order down and send it; stop in the state `until`."""
        day = self.clock.now().date()
        price = price or self.far(symbol)
        plan = OrderPlan(
            number=len(self.numbers) + 1,
            symbol=symbol,
            side=side,
            quantity=quantity,
            order_type=OrderType.LIMIT,
            limit_price=price,
            session=day,
            bar=self.clock.now(),
            last_price=float(price),
        )
        ref = self.journal.add_order(
            plan, kind=OrderKind.LIMIT, held=until is Status.HELD
        )
        if until in (Status.HELD, Status.INTENT):
            return ref
        self.journal.record(ref, Status.SENDING)
        if send:
            ticket = self.client.send_order(
                NewOrder(
                    symbol=symbol,
                    side=side,
                    quantity=quantity,
                    kind=OrderKind.LIMIT,
                    price=price,
                )
            )
            self.numbers[ref] = ticket.number
            if until is Status.ACKED:
                self.journal.record(
                    ref,
                    Status.ACKED,
                    day=day,
                    branch=ticket.branch,
                    number=ticket.number,
                )
        if until is Status.UNKNOWN:
            self.journal.record(ref, Status.UNKNOWN)
        return ref

    def far(self, symbol: str) -> int:
        """Return a price that is allowed and never reached."""
        return int(self.emulator.state()["book"][symbol]["last"] * FAR) // 100 * 100

    def stranger(self, symbol: str = "990001") -> str:
        """Order by hand in the HTS; return the number."""
        row = self.emulator.external_order(
            environment=self.environment.value,
            symbol=symbol,
            quantity=1,
            price=self.far(symbol),
        )
        number: str = row["number"]
        return number

    def amend(self, ref: int) -> str:
        """Move an order one tick up, as the desk would; return its new number."""
        order = self.journal.order(ref)
        assert order.limit_price is not None
        price = order.limit_price + 100
        change = self.journal.add_change(ref, TicketRole.AMEND, price=price)
        self.journal.record_change(change, Status.SENDING)
        ticket = self.client.amend_order(
            OrderRef(branch=order.branch, number=order.broker_number, kind=order.kind),
            quantity=None,
            price=price,
        )
        self.journal.record_change(
            change,
            Status.ACKED,
            day=self.clock.now().date(),
            branch=ticket.branch,
            number=ticket.number,
        )
        return ticket.number

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "kisbt", "--lang", "en"]

    def kisbt(
        self, *arguments: str, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a second terminal would."""
        return subprocess.run(
            [*self.command, *arguments],
            input=typed,
            capture_output=True,
            text=True,
            timeout=55,
            cwd=ROOT,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a module of kisbt as a process."""
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )


@contextmanager
def hung_run(
    folder: Path,
    *,
    environment: Environment = Environment.REAL,
    config: str = "",
    **settings: Any,
) -> Iterator[Bed]:
    """Give a run that holds its account and does nothing."""
    before = os.environ.get("KISBT_STATE")
    os.environ["KISBT_STATE"] = str(folder)
    values = {"step": False, "speed": 1.0, "limits": True, "environment": environment}
    with ExitStack() as stack:
        stack.callback(_put_back, before)
        emulator = stack.enter_context(Emulator(stepped(**{**values, **settings})))
        row = emulator.side(environment.value)
        access = access_of_row(row, "test")
        clock = RemoteClock(row)
        stack.callback(clock.close)
        client = access.open(clock=clock)
        stack.callback(client.close)
        life = stack.enter_context(ExitStack())
        life.enter_context(sole_owner(access.state))
        journal = life.enter_context(Journal(journal_path(access.state), clock=clock))
        journal.begin_run(
            run_id="hung",
            version="0",
            config_hash="0",
            mode="rehearsal",
            account=access.keys.account.masked,
            capital=CAPITAL,
        )
        instance = Instance(
            id="hung",
            pid=os.getpid(),
            mode="rehearsal" if environment is Environment.REAL else "paper",
            environment=environment.value,
            profile="emulator",
            state=str(access.state),
            emulator=ReadyRow(row),
            folder=str(folder / "run"),
            config=config,
            strategy="Hung",
            started=SystemClock().now().isoformat(),
        )
        life.enter_context(listed(instance))
        yield Bed(
            emulator, environment, access, client, clock, journal, instance, life.close
        )


def _put_back(before: str | None) -> None:
    if before is None:
        os.environ.pop("KISBT_STATE", None)
    else:
        os.environ["KISBT_STATE"] = before


def modules_of(module: str) -> set[str]:
    """Return the names of all modules that importing one brings with it."""
    code = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until something has become true, for longer than `until` does."""
    waiting = threading.Event()
    for _turn in range(int(seconds / 0.05)):
        if holds():
            return
        waiting.wait(0.05)
    raise AssertionError("it never came true")
