"""Work on an account without a strategy: sell everything, reconcile, book a split."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from kisbt.app.calibration import own_channel
from kisbt.app.instances import sole_owner
from kisbt.app.targets import Target
from kisbt.candles.symbols import read_symbols
from kisbt.clock import KST, Clock
from kisbt.config import Config, load_config
from kisbt.errors import (
    InputError,
    KisError,
    RiskRefused,
    SafetyRefused,
)
from kisbt.kis.client import KisClient
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.overrides import KrxOverrides
from kisbt.krx.phases import phase_at, takes_order
from kisbt.model.account import Environment
from kisbt.model.instrument import Instrument, Product
from kisbt.model.order import BrokerOrder, OrderKind, OrderType, Side
from kisbt.model.ports import NewOrder
from kisbt.orders.decode import order_key
from kisbt.orders.desk import OrderDesk
from kisbt.orders.deskstate import DeskSettings
from kisbt.orders.dispatch import facts_for, settle_answer
from kisbt.orders.guard import GuardLimits, Proposal
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access as JournalAccess
from kisbt.orders.ledger import Tariff
from kisbt.orders.lifecycle import AT_BROKER, UNRESOLVED, Status
from kisbt.orders.polling import MOCK_RATES, REAL_RATES
from kisbt.orders.reconcile import Finding, SplitPlan, plan_split
from kisbt.orders.records import OrderPlan
from kisbt.orders.rows import OrderRecord
from kisbt.text import _

SELL_ALL = "sell_all"
_LOOK_S = 1.0
_CATCH_UP_S = 45.0
"""An order whose answer was lost is given up after half a minute."""

Tell = Callable[[str], None]


def config_of(target: Target, path: Path | None) -> Config | None:
    """Return the configuration named, or that of the living run; None without.

    Raises:
        ConfigError: the one named is wrong.
    """
    if path is not None:
        return load_config(path)
    if target.instance is None or not target.instance.config:
        return None
    return load_config(Path(target.instance.config))


def open_desk(
    target: Target,
    journal: Journal,
    client: KisClient,
    clock: Clock,
    config: Config | None,
) -> OrderDesk:
    """Return a desk that books and asks; it sends nothing by itself.

    Args:
        target: the account.
        journal: open for writing.
        client: of the account.
        clock: of its market.
        config: for what trades cost and what the symbols are; without it they are
            taken for shares at the usual commission.
    """
    mock = client.environment is Environment.MOCK
    overrides = KrxOverrides.from_mapping(
        {} if config is None else config.krx_overrides
    )
    symbols = {order.symbol for order in journal.orders(watched=True)}
    symbols |= {item.symbol for item in journal.positions()}
    tariff = Tariff(tax_rows=overrides.tax_table())
    if config is not None:
        tariff = Tariff(
            commission=config.broker.commission,
            tax=config.broker.tax,
            tax_rows=overrides.tax_table(),
        )
    desk = OrderDesk(
        journal,
        client,
        DeskSettings(
            instruments=_instruments(config, symbols),
            tariff=tariff,
            mock=mock,
            own_channel=own_channel(target.state, client.environment),
            guard=GuardLimits(needs_stream=False, intent_age_s=None),
            rates=MOCK_RATES if mock else REAL_RATES,
        ),
        clock=clock,
        calendar=overrides.calendar(),
    )
    desk.close()  # without a latch of its own it must never send what it finds
    return desk


def _instruments(
    config: Config | None, symbols: Iterable[str]
) -> dict[str, Instrument]:
    known = {}
    if config is not None:
        known = dict(read_symbols(config.data_path / "symbols.csv"))
    return {name: known.get(name, Instrument(symbol=name)) for name in symbols}


# Sell everything of kisbt's.


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What became of the sale of one holding.

    Attributes:
        wanted, sold: shares.
        problem: for people; "" if it went through.
    """

    symbol: str
    wanted: int
    sold: int
    problem: str = ""


def sell_all(
    target: Target, config: Config | None, *, tell: Tell, wait_s: float = 60.0
) -> tuple[Sale, ...]:
    """Sell every share kisbt owns, at the market; call after a halt.

    Shares that are not kisbt's stay where they are: no more than it owns is sold.

    Args:
        target: the account, halted.
        config: see `open_desk`.
        tell: a line for people for each thing that happens.
        wait_s: longest wait for the fills, of the market's time.

    Raises:
        SafetyRefused: the account is not halted, or the market takes no such order.
        KisError: the balance could not be read; nothing was sold.
    """
    if not target.latch.is_raised():
        raise SafetyRefused(_("halt first: a strategy could buy again what is sold"))
    with (
        target.open() as (_access, client, clock),
        Journal(target.journal, clock=clock, access=JournalAccess.ASSIST) as journal,
    ):
        desk = open_desk(target, journal, client, clock, config)
        _require_market(clock, desk.desk.calendar)
        _catch_up(target, desk, clock)
        held = {row.symbol: row.sellable for row in client.fetch_balance().positions}
        refs = {}
        sales = {}
        for item in journal.positions():
            quantity = min(item.quantity, held.get(item.symbol, 0))
            problem = ""
            if quantity < item.quantity:
                problem = _("only {count:,} of {own:,} are there and free").format(
                    count=quantity, own=item.quantity
                )
            if quantity > 0:
                try:
                    refs[item.symbol] = _sell(desk, clock, item.symbol, quantity)
                    tell(
                        _("{symbol}: selling {count:,} shares at the market").format(
                            symbol=item.symbol, count=quantity
                        )
                    )
                except (RiskRefused, KisError) as error:
                    problem = str(error)
            sales[item.symbol] = (item.quantity, problem)
        _follow(desk, clock, refs.values(), wait_s)
        return tuple(
            _sale(journal, symbol, wanted, refs.get(symbol), problem)
            for symbol, (wanted, problem) in sales.items()
        )


def _catch_up(target: Target, desk: OrderDesk, clock: Clock) -> None:
    """Book what a dead run did not see; its cancelled sales free their shares."""
    if not target.is_traded:
        desk.start()
    until_s = clock.monotonic() + _CATCH_UP_S
    desk.catch_up()
    while _holds_back(desk.journal) and clock.monotonic() < until_s:
        clock.sleep(_LOOK_S)
        desk.catch_up()


def _holds_back(journal: Journal) -> bool:
    """Whether shares may be promised to an order that is being cancelled."""
    if _searching(journal):
        return True
    return any(o.side is Side.SELL for o in journal.orders(statuses=AT_BROKER))


def _require_market(clock: Clock, calendar: KrxCalendar) -> None:
    phase = phase_at(clock.now(), calendar)
    if not takes_order(phase, product=Product.STOCK, order_type=OrderType.MARKET):
        raise SafetyRefused(
            _(
                "the market takes no market orders now ({phase}); halted, nothing sold. "
                "Repeat it in the regular session: kisbt sell-all"
            ).format(phase=phase.value)
        )


def _sell(desk: OrderDesk, clock: Clock, symbol: str, quantity: int) -> int:
    """Send one sale, written down first; return the journal's number of it.

    Raises:
        RiskRefused: the guard refuses it; nothing was written or sent.
    """
    journal, now = desk.journal, clock.now()
    plan = OrderPlan(
        number=0,
        symbol=symbol,
        side=Side.SELL,
        quantity=quantity,
        order_type=OrderType.MARKET,
        limit_price=None,
        session=now.date(),
        bar=now,
        reason="kisbt sell-all",
    )
    order = NewOrder(
        symbol=symbol, side=Side.SELL, quantity=quantity, kind=OrderKind.MARKET
    )
    # In one commit: a run that lives must not take it for an order to be sent or,
    # being halted, cancelled.
    with journal.together():
        ref = journal.add_order(plan, kind=OrderKind.MARKET, origin=SELL_ALL)
        record = journal.order(ref)
        permit = desk.desk.guard.permit(
            Proposal(
                ref=ref,
                order=order,
                instrument=desk.desk.settings.instruments[symbol],
                order_type=OrderType.MARKET,
                value=0.0,
            ),
            # The halt is what this sale follows, by a person's word.
            replace(facts_for(desk.desk, record), halted=""),
        )
        journal.record(ref, Status.SENDING)
    try:
        sent = desk.desk.sender.send(permit)
    except BaseException:
        journal.record(ref, Status.UNKNOWN, note="interrupted")
        raise
    settle_answer(desk.desk, journal.order(ref), sent)
    return ref


def _follow(desk: OrderDesk, clock: Clock, refs: Iterable[int], wait_s: float) -> None:
    """Ask until the sales have ended, or time is up."""
    until_s, mine = clock.monotonic() + wait_s, list(refs)
    while any(desk.journal.order(ref).is_open for ref in mine):
        if clock.monotonic() > until_s:
            return
        clock.sleep(_LOOK_S)
        try:
            desk.catch_up()
        except KisError:
            continue


def _sale(
    journal: Journal, symbol: str, wanted: int, ref: int | None, problem: str
) -> Sale:
    if ref is None:
        return Sale(symbol=symbol, wanted=wanted, sold=0, problem=problem)
    order = journal.order(ref)
    if order.filled < order.quantity and not problem:
        problem = order.note or _("not filled yet ({status})").format(
            status=order.status.value
        )
    return Sale(symbol=symbol, wanted=wanted, sold=order.filled, problem=problem)


# Reconcile.


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """How journal and broker stand to each other.

    Attributes:
        found: what an earlier run had left, a line each.
        findings: differences of holdings.
        unresolved: orders a person must decide about, a line each.
        frozen: symbols in which nothing is sent until a person says so, a line each.
    """

    found: tuple[str, ...]
    findings: tuple[Finding, ...]
    unresolved: tuple[str, ...]
    frozen: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether a run may start."""
        stopping = any(item.stops for item in self.findings)
        return not stopping and not self.unresolved


def reconcile(
    target: Target,
    config: Config | None,
    *,
    accept: bool = False,
    wait_s: float = 90.0,
) -> Reconciled:
    """Ask the broker for orders and balance, and book what the journal missed.

    Args:
        target: the account; no run may be trading it.
        config: see `open_desk`.
        accept: make the journal agree with the broker's holdings, audited.
        wait_s: longest search for orders whose answer was lost.

    Raises:
        SafetyRefused: a run trades the account.
        KisError: the broker did not answer.
        StorageError: the journal cannot be used.
    """
    with (
        sole_owner(target.state),
        target.open() as (_access, client, clock),
        Journal(target.journal, clock=clock) as journal,
    ):
        desk = open_desk(target, journal, client, clock, config)
        found = tuple(desk.start())
        findings = desk.catch_up()
        until_s = clock.monotonic() + wait_s
        while _searching(journal) and clock.monotonic() < until_s:
            clock.sleep(_LOOK_S)
            findings = desk.catch_up()
        if accept:
            for item in findings:
                _accept(journal, item)
            findings = desk.catch_up()
        return _reconciled(journal, found, findings)


def _reconciled(
    journal: Journal, found: tuple[str, ...], findings: tuple[Finding, ...]
) -> Reconciled:
    frozen = _("{symbol} is frozen: {why} When you have looked: {command}")
    return Reconciled(
        found=found,
        findings=findings,
        unresolved=tuple(_unresolved(journal)),
        frozen=tuple(
            frozen.format(
                symbol=item.symbol,
                why=item.reason,
                command=f"kisbt reconcile --thaw {item.symbol}",
            )
            for item in journal.frozen().values()
            if item.until is None
        ),
    )


def thaw(target: Target, symbol: str) -> None:
    """Let a frozen symbol be traded again, also while a run trades the account.

    Raises:
        InputError: it is not frozen.
        StorageError: the journal cannot be used.
    """
    with Journal(target.journal, access=JournalAccess.ASSIST) as journal:
        if symbol not in journal.frozen():
            raise InputError(
                _("{symbol} is not frozen; see: kisbt show status").format(
                    symbol=symbol
                )
            )
        journal.thaw(symbol, "reconcile --thaw")


NOT_THERE = "none"
"""What a person types for the number of an order the broker does not have."""


def decide(target: Target, config: Config | None, ref: int, number: str) -> Reconciled:
    """Take a person's word for which order of the broker a doubtful one is.

    Args:
        target: the account; no run may be trading it.
        config: see `open_desk`.
        ref: the journal's number of the order, in quarantine.
        number: the broker's number of it; `NOT_THERE` if it has none.

    Raises:
        InputError: the order is in no doubt, or the broker shows no such order.
        SafetyRefused: a run trades the account.
        KisError: the broker did not answer; nothing was changed.
    """
    with (
        sole_owner(target.state),
        target.open() as (_access, client, clock),
        Journal(target.journal, clock=clock) as journal,
    ):
        order = _doubtful(journal, ref)
        desk = open_desk(target, journal, client, clock, config)
        found = tuple(desk.start())
        if number == NOT_THERE:
            journal.record(
                ref, Status.ABSENT, rule="absent", note=_("by hand: not at the broker")
            )
        else:
            row = _row_of(journal, client, order, number, clock)
            journal.record(
                ref,
                Status.ACKED,
                day=row.day,
                branch=row.branch,
                number=row.number,
                note=_("by hand: it is number {number}").format(number=row.number),
            )
        findings = desk.catch_up()
        desk.end_late(order.session)
        return _reconciled(journal, found, findings)


def _doubtful(journal: Journal, ref: int) -> OrderRecord:
    try:
        order = journal.order(ref)
    except KeyError:
        order = None
    if order is None or order.status is not Status.QUARANTINE or order.sent is None:
        raise InputError(
            _("order {ref} is none a person must decide about").format(ref=ref)
        )
    return order


def _row_of(
    journal: Journal, client: KisClient, order: OrderRecord, number: str, clock: Clock
) -> BrokerOrder:
    """Return what the broker shows of an order a person has named.

    Raises:
        InputError: nothing that can be it.
    """
    assert order.sent is not None
    day = order.sent.astimezone(KST).date()
    like = [
        row
        for row in client.fetch_orders(day, clock.now().date()).rows
        if row.day == day
        and (row.symbol, row.side) == (order.symbol, order.side)
        and row.quantity == order.quantity
        and journal.find_ticket(day, row.number, row.branch) is None
    ]
    for row in like:
        if order_key(row.number) == order_key(number):
            return row
    raise InputError(
        _(
            "number {number}: the broker shows no such order of {day} to {side} "
            "{quantity:,} {symbol}; there are: {like}"
        ).format(
            number=number,
            day=day,
            side=order.side.value,
            quantity=order.quantity,
            symbol=order.symbol,
            like=", ".join(row.number for row in like) or "-",
        )
    )


def _searching(journal: Journal) -> bool:
    wanted = UNRESOLVED - {Status.QUARANTINE}
    return bool(journal.orders(statuses=wanted))


def _accept(journal: Journal, finding: Finding) -> None:
    """Make the journal say what the broker says of one symbol."""
    why = "accepted by hand: kisbt reconcile --accept-broker-position"
    with journal.together():
        journal.adjust(
            symbol=finding.symbol, quantity=finding.own_after - finding.own, why=why
        )
        outside = journal.outside()
        outside[finding.symbol] = finding.outside_after
        journal.set_outside(outside, why)
        journal.thaw(finding.symbol, "reconcile")


def _unresolved(journal: Journal) -> list[str]:
    text = _(
        "order {ref}: {side} {quantity:,} {symbol}: {status}. Look in the HTS whether "
        "it is there, then: kisbt reconcile --order {ref} NUMBER, or --order {ref} none"
    )
    return [
        text.format(
            ref=order.ref,
            side=order.side.value,
            quantity=order.quantity,
            symbol=order.symbol,
            status=order.status.value,
        )
        for order in journal.orders(statuses=UNRESOLVED)
    ]


def split(
    target: Target, symbol: str, ratio: Fraction, *, apply: bool
) -> tuple[SplitPlan, bool]:
    """Return what a split makes of a holding, and carry it out if asked.

    Args:
        target: the account; no run may be trading it.
        symbol: of the holding.
        ratio: new shares for one old one.
        apply: write it; otherwise only show.

    Returns:
        The plan, and whether it has been written.

    Raises:
        InputError: kisbt holds none of it.
        SafetyRefused: a run trades the account.
    """
    access = JournalAccess.READ
    if not apply:
        with Journal(target.journal, access=access) as journal:
            return _split_plan(journal, symbol, ratio), False
    with sole_owner(target.state), Journal(target.journal) as journal:
        plan = _split_plan(journal, symbol, ratio)
        with journal.together():
            journal.adjust(
                symbol=symbol,
                quantity=plan.after.quantity - plan.before.quantity,
                average=plan.after.average,
                cash=plan.cash,
                why=f"split {ratio}",
            )
            outside = journal.outside()
            if symbol in outside:
                outside[symbol] = int(outside[symbol] * ratio)
                journal.set_outside(outside, f"split {ratio}")
            journal.thaw(symbol, "reconcile --split")
        return plan, True


def _split_plan(journal: Journal, symbol: str, ratio: Fraction) -> SplitPlan:
    held = {item.symbol: item for item in journal.positions()}
    if symbol not in held:
        raise InputError(_("{symbol}: kisbt holds none of it").format(symbol=symbol))
    return plan_split(held[symbol], ratio)
