"""What the parts of the order desk share: its settings, and what it knows for now.

Nothing here must survive a restart; what must is in the journal.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from math import inf

from kisbt.clock import Clock
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.limits import PriceBand
from kisbt.model.instrument import Instrument
from kisbt.model.order import Notice, OrderTotals, Venue
from kisbt.model.ports import Notifier, OrderGateway
from kisbt.orders.guard import GuardLimits, LiveGuard, MarketNow, SentOrder
from kisbt.orders.halt import HaltLatch
from kisbt.orders.journal import Journal
from kisbt.orders.ladders import LadderLimits, Ladders
from kisbt.orders.ledger import FillSource, Tariff
from kisbt.orders.polling import REAL_RATES, Poll, PollRates
from kisbt.orders.sender import OrderSender


class Foreign(StrEnum):
    """What an order of another program with the same key leads to."""

    PAUSE_SYMBOL = "pause_symbol"
    HALT = "halt"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskSettings:
    """How a desk behaves.

    Attributes:
        instruments: what may be traded, by symbol.
        tariff: what trades cost.
        mock: the practice server: it takes no order before the opening, and its
            order query may be empty.
        account: digits of number and product, as notices carry them; "" to believe
            every notice.
        fill_source, foreign: see there.
        own_channel: how rows of the order query name orders over the API; "" if
            that has not been calibrated.
        guard, ladders, rates: limits.
        release_grace_s: held orders are sent so much after their phase begins.
        attempts: how often an order may be tried when the try before certainly did
            not leave or was refused unseen.
        close_wait_s: after the close, before the day is closed.
        cancel_tries: cancellations of one order before a person is asked.
        mismatch_s: a difference in holdings is believed after so long.
        balance_lag_s: and not so soon after an own fill: balances show them late.
        unconfirmed_s: a fill told by a notice must be confirmed by then.
        claim_wait_s: before a query is believed that shows nothing of an order the
            broker says it refused unseen.
        send_timeout_s: how long an answer to an order may take, in market time.
        external_pause_s: purchases rest so long after somebody else has ordered in
            a symbol.
    """

    instruments: Mapping[str, Instrument]
    tariff: Tariff
    mock: bool = False
    account: str = ""
    fill_source: FillSource = FillSource.REST
    foreign: Foreign = Foreign.PAUSE_SYMBOL
    own_channel: str = "OpnAPI"
    guard: GuardLimits = field(default_factory=GuardLimits)
    ladders: LadderLimits = field(default_factory=LadderLimits)
    rates: PollRates = REAL_RATES
    release_grace_s: float = 0.0
    attempts: int = 2
    close_wait_s: float = 900.0
    cancel_tries: int = 20
    mismatch_s: float = 5.0
    balance_lag_s: float = 30.0
    unconfirmed_s: float = 10.0
    claim_wait_s: float = 2.0
    send_timeout_s: float = 15.0
    external_pause_s: float = 60.0


def _unknown(symbol: str) -> None:
    del symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskSources:
    """Facts of the moment that the desk asks others for.

    Attributes:
        market: price of the moment of a symbol; None where prices are not followed.
        band: daily limits of a symbol today; None where not known.
        offset_s: the broker's clock less ours; None if never heard.
        disarmed: why nothing may be bought although the run is on; "" if it may.
        order_cap: won of one purchase, as typed when live was armed; None without.
    """

    market: Callable[[str], MarketNow | None] | None = None
    band: Callable[[str], PriceBand | None] = _unknown
    offset_s: Callable[[], float | None] = lambda: None
    disarmed: Callable[[], str] = lambda: ""
    order_cap: Callable[[], int | None] = lambda: None


@dataclass(slots=True)
class DeskState:
    """What the desk knows for now; touched by the trading thread alone.

    Attributes:
        ready: the start gate has passed.
        entries_off: reasons for which nothing is bought, by name.
        paused: symbols in which nothing is bought: why, and until which monotonic
            second.
        capped: most shares of a symbol that may be sold, after holdings were found
            smaller than they should be.
        stream_up: notices come.
        trades_up: trades come.
        trades_asked: on this connection the broker does not bring them, or not
            readably: their prices are asked for, and that will do.
        notices_trusted: their form is known.
        query_broken: the order query contradicts its own totals (mock).
        orders, balance: the two queries.
        resolve_polls: complete queries since an order became unresolved, by ref.
        cancel_polls: the same since its last cancellation was sent.
        retry_s: when an order may be tried again, by ref.
        released: monotonic second and network time when an order became due.
        network_s: seconds spent in calls so far.
        asked: when the order query was asked whose answer is being read.
        bar_end: END of the bar that is published next; None if not known.
        sent: orders of the last moments.
        mismatch: differences in holdings: value and since when.
        filled_s: when own shares of a symbol were booked last.
        heard: notices of the day that show a new order or an end, by number.
        session: under way, None before the first.
        venues: where the broker says an order lies, by ref; cancelling must name it.
        settled: numbers of which everything is booked and nothing is left, by
            ticket: a hash of what the journal and the broker's row said then.
        calls: network calls made.
    """

    orders: Poll
    balance: Poll
    ladders: Ladders
    ready: bool = True
    entries_off: dict[str, str] = field(default_factory=dict)
    paused: dict[str, tuple[str, float]] = field(default_factory=dict)
    capped: dict[str, int] = field(default_factory=dict)
    stream_up: bool = True
    trades_up: bool = True
    trades_asked: bool = False
    notices_trusted: bool = True
    query_broken: bool = False
    resolve_polls: dict[int, int] = field(default_factory=dict)
    cancel_polls: dict[int, int] = field(default_factory=dict)
    retry_s: dict[int, float] = field(default_factory=dict)
    released: dict[int, tuple[float, float]] = field(default_factory=dict)
    network_s: float = 0.0
    sent: deque[SentOrder] = field(default_factory=deque)
    mismatch: dict[str, tuple[int, float]] = field(default_factory=dict)
    unconfirmed_s: dict[int, float] = field(default_factory=dict)
    filled_s: dict[str, float] = field(default_factory=dict)
    heard: dict[str, Notice] = field(default_factory=dict)
    session: date | None = None
    venues: dict[int, Venue] = field(default_factory=dict)
    settled: dict[int, int] = field(default_factory=dict)
    close_polls: int = 0
    close_seen: tuple[object, ...] = ()
    calls: int = 0
    last_now: datetime | None = None
    last_s: float = -inf
    halt_told: str = ""
    bar_end: datetime | None = None
    asked: datetime | None = None
    totals: OrderTotals | None = None
    looked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts every part of the desk needs."""

    journal: Journal
    gateway: OrderGateway
    guard: LiveGuard
    sender: OrderSender
    settings: DeskSettings
    sources: DeskSources
    state: DeskState
    clock: Clock
    calendar: KrxCalendar
    latch: HaltLatch | None
    notifier: Notifier | None


def new_state(settings: DeskSettings) -> DeskState:
    """Return the state of a desk that knows nothing yet: everything is due."""
    return DeskState(
        orders=Poll(settings.rates),
        balance=Poll(settings.rates),
        ladders=Ladders(settings.ladders),
    )
