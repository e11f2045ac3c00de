"""Halt: from another process than the one that trades, and without its help.

The latch comes first, so that nothing more is sent. Then every own order is cancelled
out of the journal, without asking first, again and again until a complete query of the
broker shows none of them open. What is not kisbt's own is never touched.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date

from kisbt.app.calibration import own_channel
from kisbt.app.targets import Target
from kisbt.clock import KST, Clock, SystemClock
from kisbt.errors import KisbtError, StorageError
from kisbt.kis.client import KisClient
from kisbt.kis.messages import nothing_left
from kisbt.kis.ratelimit import Priority
from kisbt.model.order import BrokerOrder, Side
from kisbt.model.ports import OrderHistory, OrderRef
from kisbt.orders.decode import order_key
from kisbt.orders.guard import GuardLimits, LiveGuard
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access as JournalAccess
from kisbt.orders.ledger import rows_agree
from kisbt.orders.lifecycle import AT_BROKER, OPEN, UNRESOLVED, Status
from kisbt.orders.resolve import Looked, Verdict, candidates, resolve, search_for
from kisbt.orders.rows import OrderRecord, TicketRecord, TicketRole
from kisbt.orders.sender import Answer, OrderSender, Sent
from kisbt.text import _

GIVE_UP_S = 120.0
"""Seconds of real time after which what is still open is left to a person."""

_ATTEMPTS = 4  # of a cancellation refused for rate or token, before the query
_FIRST_PAUSE_S = 0.3
_LONGEST_PAUSE_S = 5.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """An own order that may still fill at the broker.

    Attributes:
        number: of the broker, the one that works now (an amendment has its own).
        open_quantity: shares that may still fill, at worst.
    """

    ref: int
    symbol: str
    side: Side
    open_quantity: int
    branch: str
    number: str

    @property
    def text(self) -> str:
        """For people."""
        side = _("buy") if self.side is Side.BUY else _("sell")
        return _("order {number}, {symbol} {side} {quantity:,} shares").format(
            number=self.number,
            symbol=self.symbol,
            side=side,
            quantity=self.open_quantity,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltReport:
    """What a halt has done.

    Attributes:
        raised: the latch was raised by this call; False if it was up already.
        cancelled: numbers of orders whose cancellation the broker took.
        left: what may still work, for people, a line each.
        complete: a complete query has shown nothing own open.
        problems: what went wrong on the way, for people.
    """

    raised: bool = False
    cancelled: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    complete: bool = False
    problems: tuple[str, ...] = ()


def halt(
    target: Target,
    *,
    reason: str,
    by: str,
    tell: Tell,
    give_up_s: float = GIVE_UP_S,
) -> HaltReport:
    """Raise the latch of an account, then cancel its own open orders.

    Args:
        target: the account.
        reason: for people.
        by: ``command`` or ``watchdog``.
        tell: called with a line for people for each thing that happens.
        give_up_s: of real time.

    Raises:
        StorageError: the latch could not be raised.
    """
    raised = raise_latch(target, reason=reason, by=by, tell=tell)
    found = cancel_own(target, by=by, tell=tell, give_up_s=give_up_s)
    return HaltReport(
        raised=raised,
        cancelled=found.cancelled,
        left=found.left,
        complete=found.complete,
        problems=found.problems,
    )


def raise_latch(target: Target, *, reason: str, by: str, tell: Tell) -> bool:
    """Raise the latch alone; False if it was up already.

    Raises:
        StorageError: it could not be written.
    """
    raised = target.latch.raise_(reason, by)
    tell(
        _("{name}: halted, nothing more is sent").format(name=target.name)
        if raised
        else _("{name}: was halted already").format(name=target.name)
    )
    return raised


def cancel_own(
    target: Target,
    *,
    by: str,
    tell: Tell,
    refs: Collection[int] | None = None,
    give_up_s: float = GIVE_UP_S,
    wall: Clock | None = None,
) -> HaltReport:
    """Cancel own open orders until a complete query shows none of them open.

    Args:
        target: the account.
        by: who wants it, as the journal writes it.
        tell: as in `halt`.
        refs: only these of the journal's numbers; None for all.
        give_up_s: of real time.
        wall: the machine's own clock.

    Returns:
        What was done; problems are in it and not raised.
    """
    try:
        with (
            target.open() as (_access, client, clock),
            _open_journal(target, clock) as journal,
        ):
            channel = own_channel(target.state, client.environment)
            work = _Canceller(journal, client, clock, by, tell, refs, channel)
            return work.run(give_up_s, wall or SystemClock())
    except KisbtError as error:
        if not target.journal.exists():
            tell(_("{name}: no journal, so no own orders").format(name=target.name))
            return HaltReport(complete=True)
        tell(str(error))
        return HaltReport(problems=(str(error),), left=(_by_hand(),))


def _open_journal(target: Target, clock: Clock) -> Journal:
    """Open the journal to add to, or where something holds it, to read only."""
    try:
        return Journal(target.journal, clock=clock, access=JournalAccess.ASSIST)
    except StorageError:
        return Journal(target.journal, clock=clock, access=JournalAccess.READ)


def _by_hand() -> str:
    return _("cancel by hand in the HTS or the app (amend/cancel orders)")


@dataclass(slots=True)
class _Look:
    """What a query showed; `complete` only if it can be believed."""

    complete: bool = False
    open: list[Working] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)


class _Canceller:
    def __init__(
        self,
        journal: Journal,
        client: KisClient,
        clock: Clock,
        by: str,
        tell: Tell,
        refs: Collection[int] | None,
        channel: str,
    ) -> None:
        self._channel = channel
        self._journal = journal
        self._client = client
        self._clock = clock
        self._by = by
        self._tell = tell
        self._refs = refs
        # Cancelling is all this sender is for: its guard never sees an order.
        self._sender = OrderSender(client, LiveGuard(GuardLimits()))
        self._taken: dict[str, str] = {}  # number -> for people
        self._over: set[str] = set()  # numbers the broker says are over
        self._problems: list[str] = []
        self._clean = 0
        self._day = SystemClock().now().date()

    def run(self, give_up_s: float, wall: Clock) -> HaltReport:
        began_s = wall.monotonic()
        self._forbid()
        todo, pause_s = self._by_journal(), _FIRST_PAUSE_S
        while True:
            for item in todo:
                self._insist(item)
            look = self._look()
            if look.complete and not look.open and not look.waiting:
                return self._report(look)
            if wall.monotonic() - began_s >= give_up_s:
                return self._report(look)
            wall.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            # A query that failed shows nothing; what was not taken is tried again.
            todo = look.open if look.complete else self._by_journal(untaken=True)

    def _today(self) -> date:
        """Return the broker's date; the last one known if its clock is gone."""
        with suppress(KisbtError):
            self._day = self._clock.now().date()
        return self._day

    # What there is.

    def _orders(self, statuses: frozenset[Status]) -> list[OrderRecord]:
        try:
            found = self._journal.orders(statuses=statuses, watched=True)
        except StorageError as error:
            self._problem(str(error))
            return []
        return [o for o in found if self._refs is None or o.ref in self._refs]

    def _forbid(self) -> None:
        """Write down that all open orders are unwanted; ends those not sent yet."""
        for order in self._orders(OPEN):
            try:
                after = self._journal.want_cancel(order.ref, self._by)
            except StorageError as error:
                # Cancelling does no harm and must not wait for a disk.
                self._problem(str(error))
                return
            if after.status is Status.CANCELLED:
                self._tell(
                    _(
                        "order {ref} of {symbol} was not sent yet and never will be"
                    ).format(ref=order.ref, symbol=order.symbol)
                )

    def _by_journal(self, *, untaken: bool = False) -> list[Working]:
        today = self._today()
        found = []
        for order in self._orders(AT_BROKER):
            ticket = self._working_ticket(order, today)
            if ticket is None:
                continue
            done = ticket.number in self._taken or ticket.number in self._over
            if not (untaken and done):
                found.append(_working(order, ticket))
        return found

    def _working_ticket(self, order: OrderRecord, today: date) -> TicketRecord | None:
        """Return the number under which an order works; day orders die overnight."""
        tickets = [
            ticket
            for ticket in self._journal.tickets(order.ref)
            if ticket.role is not TicketRole.CANCEL and ticket.day == today
        ]
        return tickets[-1] if tickets else None

    # What is done.

    def _insist(self, item: Working) -> None:
        """Cancel; at once again where the broker did not even look at it."""
        for _attempt in range(_ATTEMPTS):
            if self._cancel(item) not in (Answer.CLAIMED, Answer.NOT_SENT):
                return

    def _cancel(self, item: Working) -> Answer:
        order = self._journal.order(item.ref)
        name = OrderRef(
            branch=item.branch,
            number=item.number,
            kind=order.kind,
            venue=order.venue,
        )
        with self._written(item) as note:
            sent = self._sender.cancel(self._sender.guard.permit_cancel(item.ref, name))
            note(sent)
        self._after(item, sent)
        return sent.answer

    def _after(self, item: Working, sent: Sent) -> None:
        if sent.answer is Answer.TAKEN:
            self._taken[item.number] = item.text
            self._tell(_("{order}: cancellation taken").format(order=item.text))
        elif sent.answer is Answer.REFUSED and nothing_left(sent.code):
            self._over.add(item.number)
            self._tell(_("{order}: nothing is left to cancel").format(order=item.text))
        else:
            self._problem(
                _("{order}: {why}; trying again").format(order=item.text, why=sent.text)
            )

    @contextmanager
    def _written(self, item: Working) -> Iterator[Callable[[Sent], None]]:
        """Write a cancellation down around its sending, as far as that is possible."""
        change = None
        try:
            change = self._journal.add_change(item.ref, TicketRole.CANCEL)
            self._journal.record_change(change, Status.SENDING)
        except StorageError as error:
            self._problem(str(error))
        statuses = {
            Answer.TAKEN: Status.ACKED,
            Answer.NOT_SENT: Status.NOT_SENT,
            Answer.REFUSED: Status.REFUSED,
            Answer.CLAIMED: Status.CLAIMED,
            Answer.UNKNOWN: Status.UNKNOWN,
            Answer.IMPOSSIBLE: Status.REFUSED,
        }

        def note(sent: Sent) -> None:
            if change is None:
                return
            ticket = sent.ticket
            try:
                self._journal.record_change(
                    change,
                    statuses[sent.answer],
                    note=sent.text,
                    day=self._today() if ticket else None,
                    branch=ticket.branch if ticket else "",
                    number=ticket.number if ticket else "",
                    code=sent.code,
                )
            except StorageError as error:
                self._problem(str(error))

        yield note

    # What the broker says.

    def _look(self) -> _Look:
        today = self._clock.now().date()
        try:
            history = self._client.fetch_orders(today, today, priority=Priority.RESOLVE)
        except KisbtError as error:
            self._problem(_("orders could not be read: {why}").format(why=error))
            return _Look()
        look = _Look(complete=True)
        # Before those with a number: whoever trades may hear one in between.
        unresolved = self._orders(UNRESOLVED)
        self._look_at_rows(history, today, look)
        self._look_for_lost(history, look)
        if rows_agree(history.rows, history.totals):
            self._clean += 1  # any other shows too little to prove an absence
        for order in unresolved:
            self._look_for_unknown(order, history, today, look)
        return look

    def _look_at_rows(self, history: OrderHistory, today: date, look: _Look) -> None:
        for row in history.rows:
            if row.day != today or row.remaining_quantity <= 0:
                continue
            ticket = self._journal.find_ticket(today, row.number, row.branch)
            if ticket is None and row.original_number.strip(" 0"):
                # An amendment whose answer was lost is a child of ours.
                ticket = self._journal.find_ticket(today, row.original_number)
            if ticket is None or ticket.role is TicketRole.CANCEL:
                continue
            if self._refs is not None and ticket.ref not in self._refs:
                continue
            if not row.cancelled:
                look.open.append(_from_row(ticket.ref, row))

    def _look_for_unknown(
        self, order: OrderRecord, history: OrderHistory, today: date, look: _Look
    ) -> None:
        """Find an order whose answer was lost, and leave no doubt unsaid."""
        if order.sent is None or order.sent.astimezone(KST).date() != today:
            return
        offset_s = self._client.clock_offset_s() or 0.0
        found = candidates(
            search_for(order, clock_ahead_s=-offset_s),
            history.rows,
            known=self._journal.seen(today, order.known_to),
            # Of today: the broker's numbers begin anew each day.
            bound={
                order_key(ticket.number)
                for ticket in self._journal.tickets(day=today)
                if ticket.ref != order.ref
            },
            channel=self._channel or None,
        )
        waited_s = (self._clock.now() - order.sent).total_seconds()
        resolution = resolve(
            Status.UNKNOWN, found, Looked(clean=self._clean, waited_s=waited_s)
        )
        if resolution.verdict is Verdict.ADOPT:
            if resolution.row.remaining_quantity > 0:
                look.open.append(_from_row(order.ref, resolution.row))
        elif resolution.verdict is not Verdict.ABSENT:
            text = _(
                "{symbol} {side} {quantity:,} shares (ref {ref}): sent, and its answer "
                "was lost"
            ).format(
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                ref=order.ref,
            )
            many = resolution.verdict is Verdict.QUARANTINE
            (look.stuck if many else look.waiting).append(text)

    def _look_for_lost(self, history: OrderHistory, look: _Look) -> None:
        """Doubt a query that lacks orders the broker has confirmed.

        Mock shows some accounts no rows at all, and rows may lag; then only the
        broker's refusal to cancel again vouches for an order's end.
        """
        shown = {order_key(row.number) for row in history.rows}
        for item in self._by_journal():
            if order_key(item.number) in shown or item.number in self._over:
                continue
            look.open.append(item)

    def _report(self, look: _Look) -> HaltReport:
        left = [item.text for item in look.open] + look.waiting + look.stuck
        if not look.complete:
            left = [item.text for item in self._by_journal(untaken=True)] + left
            left.append(_("the broker could not be asked; look there"))
        lost = [
            _("{order}: {hint}").format(order=text, hint=_by_hand()) for text in left
        ]
        return HaltReport(
            cancelled=tuple(self._taken),
            left=tuple(lost),
            complete=look.complete and not left,
            problems=tuple(dict.fromkeys(self._problems)),
        )

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._tell(text)
        self._problems.append(text)


def _working(order: OrderRecord, ticket: TicketRecord) -> Working:
    return Working(
        ref=order.ref,
        symbol=order.symbol,
        side=order.side,
        open_quantity=order.open_quantity,
        branch=ticket.branch,
        number=ticket.number,
    )


def _from_row(ref: int, row: BrokerOrder) -> Working:
    return Working(
        ref=ref,
        symbol=row.symbol,
        side=row.side,
        open_quantity=row.remaining_quantity,
        branch=row.branch,
        number=row.number,
    )
