"""Calibrate: one share at a price that cannot fill, sent, amended and taken back.

What KIS documents nowhere is looked at once, with a person's consent, and kept: how
long an order takes to appear in the order query, whether notices come, how the numbers
in them are written, which channel an order over the API is given, and whether the
quantities of an order add up through an amendment and a cancellation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import kisbt
from kisbt.app.arming import account_id
from kisbt.app.calibration import Calibration, write_calibration
from kisbt.app.connect import Access
from kisbt.app.instances import sole_owner
from kisbt.app.state import journal_path
from kisbt.clock import Clock
from kisbt.errors import InputError, KisbtError, SafetyRefused
from kisbt.kis.client import KisClient
from kisbt.kis.stream import KisStream
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.phases import Phase, phase_at
from kisbt.krx.ticks import move_ticks
from kisbt.model.account import Environment
from kisbt.model.instrument import Instrument
from kisbt.model.order import BrokerOrder, Notice, OrderKind, OrderType, Side
from kisbt.model.quote import Price
from kisbt.model.stream import StreamEvent
from kisbt.orders.decode import order_key
from kisbt.orders.desk import OrderDesk
from kisbt.orders.deskstate import DeskSettings
from kisbt.orders.guard import GuardLimits
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import Tariff
from kisbt.orders.lifecycle import AT_BROKER, UNSENT, Status
from kisbt.orders.polling import MOCK_RATES, REAL_RATES
from kisbt.orders.records import OrderPlan
from kisbt.orders.rows import OrderRecord
from kisbt.text import _

WAIT_S = 60.0
"""Seconds each step may take before it counts as a problem."""

_LOOK_S = 0.25
_STREAM_S = 20.0
# Below this share of the price of the moment nobody sells before the limit is reached.
_FAR = 0.85

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is going to be sent, to be consented to.

    Attributes:
        price, second: won, of the order and of its amendment.
    """

    symbol: str
    name: str
    last: int
    price: int
    second: int
    account: str

    @property
    def phrase(self) -> str:
        """What a person must type."""
        return f"CALIBRATE {self.account[4:8]} {self.symbol}"

    @property
    def text(self) -> str:
        """For people."""
        return _(
            "account {account}: buy 1 share of {symbol} {name} at {price:,} won (last "
            "price {last:,}), amend it to {second:,}, cancel it"
        ).format(
            account=self.account,
            symbol=self.symbol,
            name=self.name,
            price=self.price,
            last=self.last,
            second=self.second,
        )


@dataclass(slots=True)
class Calibrator:
    """Calibrates one account.

    Attributes:
        access, client, clock, calendar: of the account and its market.
        tell: a line for people for each step.
        wait_s: longest wait for each step, of the market's time.
    """

    access: Access
    client: KisClient
    clock: Clock
    calendar: KrxCalendar
    tell: Tell
    wait_s: float = WAIT_S
    _facts: dict[str, Any] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _notices: list[Notice] = field(default_factory=list)
    _stream: KisStream | None = None
    _events: Callable[[StreamEvent], None] | None = None

    def plan(self, symbol: str) -> Trial:
        """Return what would be sent; only asks.

        Raises:
            SafetyRefused: halted, the market is closed, or the price is too near its
                lower limit.
            KisError: the price could not be read.
        """
        halted = HaltLatch(self.access.state).raised()
        if halted is not None:
            raise SafetyRefused(
                _("halted: {why}; nothing is sent. To go on: kisbt unhalt").format(
                    why=halted.reason or halted.by
                )
            )
        phase = phase_at(self.clock.now(), self.calendar)
        if phase is not Phase.CONTINUOUS:
            raise SafetyRefused(
                _(
                    "calibration needs the regular session (09:00 to 15:20 on trading "
                    "days); now it is {now}"
                ).format(now=f"{self.clock.now():%Y-%m-%d %H:%M}")
            )
        price = self.client.fetch_price(symbol)
        return self._trial(symbol, price)

    def _trial(self, symbol: str, price: Price) -> Trial:
        if price.suspended or price.lower_limit > price.price * _FAR:
            raise SafetyRefused(
                _(
                    "{symbol} at {price:,} is near its lower limit {limit:,}, or not "
                    "traded; an order there could fill. Name another: --symbol"
                ).format(symbol=symbol, price=price.price, limit=price.lower_limit)
            )
        known = Instrument(symbol=symbol)
        second = move_ticks(
            price.lower_limit,
            1,
            market=known.market,
            product=known.product,
            session=self.clock.now().date(),
        )
        return Trial(
            symbol=symbol,
            name=price.sector,
            last=price.price,
            price=price.lower_limit,
            second=int(second),
            account=self.access.keys.account.masked,
        )

    def run(self, trial: Trial, typed: str) -> Calibration:
        """Carry a trial out and keep the record of what was seen.

        Raises:
            InputError: the phrase is not the trial's.
            SafetyRefused: a run trades the account, or orders of one still wait.
            StorageError: journal or record could not be written.
        """
        if typed.strip() != trial.phrase:
            raise InputError(
                _("typed {found!r}, expected {wanted!r}; nothing was sent").format(
                    found=typed.strip()[:40], wanted=trial.phrase
                )
            )
        state = self.access.state
        with (
            sole_owner(state),
            Journal(journal_path(state), clock=self.clock) as journal,
        ):
            desk = self._desk(journal, trial.symbol)
            desk.start()
            _require_nothing_waits(journal)
            with self._listening(desk):
                self._try(desk, trial)
        record = Calibration(
            account=self.access.keys.account.masked,
            account_id=account_id(self.access.keys),
            environment=self.client.environment.value,
            version=kisbt.__version__,
            at=self.clock.now(),
            facts=self._facts,
            problems=tuple(self._problems),
        )
        write_calibration(state, record)
        return record

    def _desk(self, journal: Journal, symbol: str) -> OrderDesk:
        mock = self.client.environment is Environment.MOCK
        return OrderDesk(
            journal,
            self.client,
            DeskSettings(
                instruments={
                    name: Instrument(symbol=name)
                    for name in {symbol, *(o.symbol for o in journal.open_orders())}
                },
                tariff=Tariff(),
                mock=mock,
                guard=GuardLimits(needs_stream=False, intent_age_s=None),
                rates=MOCK_RATES if mock else REAL_RATES,
            ),
            clock=self.clock,
            calendar=self.calendar,
            latch=HaltLatch(self.access.state),
        )

    @contextmanager
    def _listening(self, desk: OrderDesk) -> Iterator[None]:
        """Hear notices while the block runs; without an HTS id there are none."""
        keys = self.access.keys
        if not keys.hts_id:
            self._facts["notices"] = "no_hts_id"
            self._problem(
                _("no HTS id is kept with the keys, so no notices come: kisbt keys add")
            )
            yield
            return
        stream = KisStream(keys, self.access.server, self.client.auth, clock=self.clock)
        stream.subscribe_notices()
        stream.start()
        try:
            up = stream.wait_ready(_STREAM_S)
            self._facts["stream_up"] = up
            if not up:
                self._problem(_("the stream of notices did not come up"))
            self._stream, self._events = stream, desk.stream_event
            yield
        finally:
            self._stream = None
            stream.stop()

    # The steps.

    def _try(self, desk: OrderDesk, trial: Trial) -> None:
        desk.catch_up()
        ref = 0
        try:
            desk.arm()
            ref = self._send(desk, trial)
            if self._amend(desk, ref, trial):
                self._cancel(desk, ref)
        except KisbtError as error:
            self._problem(str(error))
        finally:
            if ref:
                self._take_back(desk, ref)
        if ref:
            self._add_up(desk, ref)
            self._about_notices(desk, ref)
        offset_s = self.client.clock_offset_s()
        if offset_s is not None:
            self._facts["clock_offset_s"] = round(offset_s, 1)

    def _send(self, desk: OrderDesk, trial: Trial) -> int:
        now = self.clock.now()
        plan = OrderPlan(
            number=0,
            symbol=trial.symbol,
            side=Side.BUY,
            quantity=1,
            order_type=OrderType.LIMIT,
            limit_price=trial.price,
            session=now.date(),
            bar=now,
            reason="calibrate",
            last_price=float(trial.last),
        )
        ref = desk.journal.add_order(plan, kind=OrderKind.LIMIT, origin="calibrate")
        order = self._until(desk, ref, lambda o: o.status in AT_BROKER or o.is_ended)
        if order.is_ended or order.is_unresolved:
            self._problem(
                _("the order was not taken ({status}): {why}").format(
                    status=order.status.value, why=order.note
                )
            )
            return ref
        self.tell(_("order {number} taken").format(number=order.broker_number))
        self._facts["order_number"] = order.broker_number
        row, after_s = self._first_row(order)
        if row is None:
            self._problem(
                _("the order query does not show the order after {wait:.0f} s").format(
                    wait=self.wait_s
                )
            )
        else:
            self._facts |= {
                "visible_after_s": round(after_s, 2),
                "channel": row.channel,
                "venue": str(row.venue or ""),
                "row_number": row.number,
                "row_branch_equal": row.branch == order.branch,
            }
        return ref

    def _first_row(self, order: OrderRecord) -> tuple[BrokerOrder | None, float]:
        """Return the order's row in the query, and how long it took to appear."""
        began_s = self.clock.monotonic()
        while True:
            today = self.clock.now().date()
            history = self.client.fetch_orders(today, today)
            after_s = self.clock.monotonic() - began_s
            for row in history.rows:
                if order_key(row.number) == order_key(order.broker_number):
                    return row, after_s
            if after_s > self.wait_s:
                return None, after_s
            self.clock.sleep(_LOOK_S)

    def _amend(self, desk: OrderDesk, ref: int, trial: Trial) -> bool:
        """Move the order one tick; False when it cannot be."""
        if desk.journal.order(ref).status not in AT_BROKER:
            return False
        desk.amend(ref, price=trial.second)

        def moved(order: OrderRecord) -> bool:
            return order.is_ended or len(desk.journal.tickets(ref)) > 1

        self._until(desk, ref, moved)
        tickets = desk.journal.tickets(ref)
        if len(tickets) < 2:
            self._problem(_("the amendment was not taken"))
        else:
            self._facts["amend_number"] = tickets[-1].number
            self.tell(_("amended: number {number}").format(number=tickets[-1].number))
        return True

    def _cancel(self, desk: OrderDesk, ref: int) -> None:
        began_s = self.clock.monotonic()
        desk.journal.want_cancel(ref, "calibrate")
        order = self._until(desk, ref, lambda o: o.is_ended)
        if order.status is Status.CANCELLED:
            self._facts["cancelled_after_s"] = round(
                self.clock.monotonic() - began_s, 2
            )
            self.tell(_("cancelled"))

    def _take_back(self, desk: OrderDesk, ref: int) -> None:
        """Leave nothing behind, whatever happened."""
        order = desk.journal.order(ref)
        if not order.is_ended:
            desk.journal.want_cancel(ref, "calibrate")
            order = self._until(desk, ref, lambda o: o.is_ended)
        if not order.is_ended:
            self._problem(
                _(
                    "order {number} of {symbol} may still work: cancel it in the HTS, "
                    "then run kisbt reconcile"
                ).format(number=order.broker_number or "?", symbol=order.symbol)
            )
        elif order.filled:
            self._problem(
                _(
                    "it has FILLED: {count} share of {symbol} was bought and is in the "
                    "journal"
                ).format(count=order.filled, symbol=order.symbol)
            )

    def _add_up(self, desk: OrderDesk, ref: int) -> None:
        order = desk.journal.order(ref)
        together = order.filled + order.cancelled + order.rejected
        self._facts["quantities_add_up"] = together == order.quantity
        self._facts["end"] = order.status.value
        self._facts["confirmed_by"] = order.confirmed_by
        if order.is_ended and together != order.quantity and order.broker_number:
            self._problem(
                _(
                    "of 1 share {filled} filled, {cancelled} cancelled, {rejected} "
                    "refused: the quantities do not add up"
                ).format(
                    filled=order.filled,
                    cancelled=order.cancelled,
                    rejected=order.rejected,
                )
            )

    def _about_notices(self, desk: OrderDesk, ref: int) -> None:
        keys = {
            order_key(ticket.number): ticket for ticket in desk.journal.tickets(ref)
        }
        ours = [note for note in self._notices if order_key(note.number) in keys]
        self._facts["notices"] = [note.kind.value for note in ours]
        if ours:
            first = ours[0]
            self._facts["notice_number"] = first.number
            self._facts["notice_number_equal"] = (
                first.number == keys[order_key(first.number)].number
            )
        elif self._facts.get("stream_up"):
            self._problem(
                _(
                    "no notice of the order came: is the HTS id right? Fills will be "
                    "known by queries only"
                )
            )

    def _until(
        self, desk: OrderDesk, ref: int, holds: Callable[[OrderRecord], bool]
    ) -> OrderRecord:
        """Let the desk work until its order is as wanted, or time is up."""
        began_s = self.clock.monotonic()
        while True:
            self._hear()
            due_s = desk.work()
            order = desk.journal.order(ref)
            if holds(order) or self.clock.monotonic() - began_s > self.wait_s:
                return order
            self.clock.sleep(min(max(due_s or _LOOK_S, 0.05), _LOOK_S))

    def _hear(self) -> None:
        if self._stream is None or self._events is None:
            return
        while (event := self._stream.next_event(0.0)) is not None:
            if isinstance(event, Notice):
                self._notices.append(event)
            self._events(event)

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)
            self.tell(text)


def _require_nothing_waits(journal: Journal) -> None:
    """Refuse an account with orders of a strategy that this desk would send.

    Raises:
        SafetyRefused: there are some.
    """
    waiting = journal.orders(statuses=UNSENT)
    if waiting:
        raise SafetyRefused(
            _(
                "{count} orders of a strategy wait for their session; calibration would "
                "send them. Cancel them first: kisbt cancel {ref}"
            ).format(count=len(waiting), ref=waiting[0].ref)
        )
