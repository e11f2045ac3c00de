"""Parts of a trading day on the Korean exchange, and the orders each one takes.

Only the exchange's own boards: the alternative market NXT has hours of its own.
Off-hours phases before 2016-08-01 follow the close of that time; they were shorter
in the early 2000s.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache

from kisbt.krx.calendar import KST, KrxCalendar
from kisbt.model.instrument import Product
from kisbt.model.order import OrderType


class Phase(StrEnum):
    """A part of a trading day."""

    CLOSED = "closed"
    PRE_CLOSE_PRICE = "pre_close_price"
    OPENING_AUCTION = "opening_auction"
    CONTINUOUS = "continuous"
    CLOSING_AUCTION = "closing_auction"
    POST_CLOSE_PRICE = "post_close_price"
    SINGLE_PRICE = "single_price"
    AFTER_MARKET = "after_market"


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """A phase of one session.

    Attributes:
        start: aware, KST, included.
        end: aware, KST, not included; auctions end up to 30 s later at random.
    """

    phase: Phase
    start: datetime
    end: datetime


# The opening auction takes orders for 30 minutes, an hour before 2019-04-29.
# Source: Enforcement Rules of the KOSPI Market Business Regulation, 2026-04-27.
_SHORT_AUCTION_FROM = date(2019, 4, 29)
# From 2026-09-14 orders are taken from 08:20 (live observation, not the regulation),
# and the after-market follows the close instead of the ten-minute auctions.
# Source: KIS notice of 2026-09-09 and live logs of 2026-09-14.
AFTER_MARKET_FROM = date(2026, 9, 14)

_CLOSING_AUCTION = timedelta(minutes=10)
# Trades at the day's close: entry from the close on, trades from 10 minutes after it.
_POST_CLOSE = timedelta(minutes=30)
# Source: KRX notices of exam days: a late close moves only the start of these.
_SINGLE_PRICE_END = time(18, 0)
_AFTER_MARKET_END = time(20, 0)


@lru_cache(maxsize=1024)  # asked for with every order
def session_phases(session: date, calendar: KrxCalendar) -> tuple[PhaseSpan, ...]:
    """Return the phases of a session in order of their start.

    Trades at the previous close run beside the opening auction; all other phases
    follow one another.

    Raises:
        InputError: `session` is no session, or outside the calendar.
    """
    opens, closes = calendar.open_time(session), calendar.close_time(session)
    after = closes + _POST_CLOSE
    if session < _SHORT_AUCTION_FROM:
        entry = opens - timedelta(hours=1)
        previous = (opens - timedelta(minutes=90), opens - timedelta(minutes=30))
    else:
        early = session >= AFTER_MARKET_FROM
        entry = opens - timedelta(minutes=40 if early else 30)
        previous = (opens - timedelta(minutes=30), opens - timedelta(minutes=20))
    last = (
        PhaseSpan(Phase.AFTER_MARKET, after, _at(session, _AFTER_MARKET_END))
        if session >= AFTER_MARKET_FROM
        else PhaseSpan(Phase.SINGLE_PRICE, after, _at(session, _SINGLE_PRICE_END))
    )
    spans = (
        PhaseSpan(Phase.PRE_CLOSE_PRICE, *previous),
        PhaseSpan(Phase.OPENING_AUCTION, entry, opens),
        PhaseSpan(Phase.CONTINUOUS, opens, closes - _CLOSING_AUCTION),
        PhaseSpan(Phase.CLOSING_AUCTION, closes - _CLOSING_AUCTION, closes),
        PhaseSpan(Phase.POST_CLOSE_PRICE, closes, after),
        last,
    )
    return tuple(sorted(spans, key=lambda span: span.start))


def _at(session: date, of: time) -> datetime:
    return datetime.combine(session, of, KST)


def _korean(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment}: expected a time with its zone")
    return moment.astimezone(KST)


def phase_at(moment: datetime, calendar: KrxCalendar) -> Phase:
    """Return the phase in force at `moment` (aware).

    Where trades at the previous close run beside the opening auction, the auction
    is the answer.

    Raises:
        InputError: `moment` is outside the calendar.
    """
    local = _korean(moment)
    if not calendar.is_session(local.date()):
        return Phase.CLOSED
    found = Phase.CLOSED
    for span in session_phases(local.date(), calendar):
        if span.start <= local < span.end and found is not Phase.OPENING_AUCTION:
            found = span.phase
    return found


# A stop waits at kisbt and is sent, once touched, as what it stands for; an order
# for the close is a market order in the closing auction.
_MARKET_LIKE = frozenset(
    {OrderType.MARKET, OrderType.CLOSE, OrderType.STOP, OrderType.STOP_TRAIL}
)
_REGULAR = frozenset({Phase.OPENING_AUCTION, Phase.CONTINUOUS, Phase.CLOSING_AUCTION})


def takes_order(
    phase: Phase,
    *,
    product: Product,
    order_type: OrderType,
    overheated: bool = False,
) -> bool:
    """Return whether an order may be sent in `phase`.

    Trades at a fixed close (before the opening, after the close) are orders of
    another kind, which kisbt does not send.

    Args:
        phase: of the moment.
        product: what is ordered; an index is never taken.
        order_type: a stop counts as the market or limit order it becomes.
        overheated: the issue is designated 단기과열; the after-market excludes it.

    Source:
        Regular phases and the ten-minute auctions: KOSPI Market Business Regulation
        in force 2026-04-28. After-market (limit orders of stocks only): KIS notice of
        2026-09-09.
    """
    if product is Product.INDEX:
        return False
    if phase in _REGULAR:
        return True
    if order_type in _MARKET_LIKE:
        return False
    if phase is Phase.AFTER_MARKET:
        return product is Product.STOCK and not overheated
    return phase is Phase.SINGLE_PRICE


def order_session(created: datetime, calendar: KrxCalendar) -> date:
    """Return the session in which an order created at `created` (aware) can live.

    That of its day while the regular session has not ended, else the next one: an
    order made at the close, as on a daily candle, waits for the next session.

    Raises:
        InputError: outside the calendar.
    """
    local = _korean(created)
    day = local.date()
    if calendar.is_session(day) and local < calendar.close_time(day):
        return day
    return calendar.next_session(day)
