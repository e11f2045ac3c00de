"""Which orders the emulated servers take at which time, and which can fill.

The mock server takes orders of the regular session only; the real one also takes
orders of the auctions, at fixed closes, of the after-market and of NXT.
"""

from datetime import date, datetime, time, timedelta

from kisbt.emulator.orders import SHAPES, Kind, Part, Refusal, Term, Ticket
from kisbt.krx.calendar import KST, KrxCalendar
from kisbt.krx.phases import Phase, session_phases
from kisbt.model.instrument import Product
from kisbt.model.order import OrderKind, Venue

# Order kinds the mock server takes. Source: python-kis marks the others real only.
MOCK_KINDS = frozenset(
    {
        OrderKind.LIMIT,
        OrderKind.MARKET,
        OrderKind.CONDITIONAL_LIMIT,
        OrderKind.BEST_LIMIT,
        OrderKind.PRIORITY_LIMIT,
    }
)

# Order kinds by venue. Source: KIS portal, enumeration of ORD_DVSN.
_SOR_KINDS = frozenset(
    {
        OrderKind.LIMIT,
        OrderKind.MARKET,
        OrderKind.BEST_LIMIT,
        OrderKind.PRIORITY_LIMIT,
        OrderKind.LIMIT_IOC,
        OrderKind.LIMIT_FOK,
        OrderKind.MARKET_IOC,
        OrderKind.MARKET_FOK,
        OrderKind.BEST_IOC,
        OrderKind.BEST_FOK,
    }
)
_NXT_KINDS = (_SOR_KINDS - {OrderKind.MARKET}) | {
    OrderKind.MID_PRICE,
    OrderKind.MID_PRICE_IOC,
    OrderKind.MID_PRICE_FOK,
    OrderKind.STOP_LIMIT,
    OrderKind.PRE_MARKET_LIMIT,
    OrderKind.PRE_MARKET_BEST,
    OrderKind.PRE_MARKET_PRIORITY,
}
_KRX_KINDS = frozenset(
    kind for kind, shape in SHAPES.items() if shape.part is not Part.NXT_EARLY
)
_KINDS = {Venue.KRX: _KRX_KINDS, Venue.NXT: _NXT_KINDS, Venue.SOR: _SOR_KINDS}

# NXT: pre-market, main and after-market. Source: broker notices of March 2025.
_NXT_HOURS = (
    (time(8, 0), time(8, 50)),
    (time(9, 0, 30), time(15, 20)),
    (time(15, 30), time(20, 0)),
)

# Kinds that belong to one part of the day.
_AT_FIXED_CLOSE = {
    Kind.PRE_CLOSE: Phase.PRE_CLOSE_PRICE,
    Kind.POST_CLOSE: Phase.POST_CLOSE_PRICE,
    Kind.SINGLE_PRICE: Phase.SINGLE_PRICE,
}
_REGULAR = frozenset({Phase.OPENING_AUCTION, Phase.CONTINUOUS, Phase.CLOSING_AUCTION})
# The first trades at today's close come ten minutes after it.
_POST_CLOSE_WAIT = timedelta(minutes=10)
_SINGLE_PRICE_EVERY_MIN = 10


class Hours:
    """The hours of one server."""

    def __init__(self, calendar: KrxCalendar, *, mock: bool) -> None:
        """Use the sessions of `calendar`; `mock` for the mock server's hours."""
        self.calendar = calendar
        self.mock = mock
        self._phases: dict[date, tuple[tuple[Phase, datetime, datetime], ...]] = {}

    def phases_at(self, moment: datetime) -> frozenset[Phase]:
        """Return the phases of the exchange in force; more than one may be."""
        return frozenset(
            phase
            for phase, start, end in self._of(moment.date())
            if start <= moment < end
        )

    def _of(self, day: date) -> tuple[tuple[Phase, datetime, datetime], ...]:
        found = self._phases.get(day)
        if found is None:
            spans = (
                session_phases(day, self.calendar)
                if self.calendar.is_session(day)
                else ()
            )
            found = tuple((span.phase, span.start, span.end) for span in spans)
            self._phases[day] = found
        return found

    def refusal(
        self, ticket: Ticket, product: Product, moment: datetime
    ) -> Refusal | None:
        """Return why an order cannot be taken at `moment`; None if it can."""
        if not self.calendar.is_session(moment.date()):
            return Refusal.HOLIDAY
        if self.mock:
            return self._mock_refusal(ticket, moment)
        if ticket.order_kind not in _KINDS[ticket.venue]:
            return Refusal.TYPE
        if self._taken(ticket, product, moment):
            return None
        opens = self.calendar.open_time(moment.date())
        return Refusal.BEFORE_OPEN if moment < opens else Refusal.CLOSED

    def _mock_refusal(self, ticket: Ticket, moment: datetime) -> Refusal | None:
        if ticket.venue is not Venue.KRX:
            return Refusal.VENUE
        if ticket.order_kind not in MOCK_KINDS:
            return Refusal.TYPE
        day = moment.date()
        if moment < self.calendar.open_time(day):
            return Refusal.BEFORE_OPEN
        return Refusal.CLOSED if moment >= self.calendar.close_time(day) else None

    def _taken(self, ticket: Ticket, product: Product, moment: datetime) -> bool:
        on_nxt = self.nxt_open(moment) and product is Product.STOCK
        if ticket.venue is Venue.NXT:
            early = moment < self.calendar.open_time(moment.date())
            return on_nxt and (early or ticket.part is not Part.NXT_EARLY)
        phases = self.phases_at(moment)
        if ticket.part is Part.AFTER:
            return Phase.AFTER_MARKET in phases and product is Product.STOCK
        if ticket.kind in _AT_FIXED_CLOSE:
            return _AT_FIXED_CLOSE[ticket.kind] in phases
        if phases & _REGULAR:
            immediate = ticket.term is not Term.DAY or ticket.kind in {
                Kind.BEST,
                Kind.PRIORITY,
                Kind.MID,
                Kind.STOP_LIMIT,
            }
            # In an auction there is no price of the moment to refer to.
            return Phase.CONTINUOUS in phases or not immediate
        if ticket.venue is Venue.SOR and on_nxt:
            return ticket.kind is Kind.LIMIT
        after = Phase.AFTER_MARKET in phases and product is Product.STOCK
        return after and ticket.kind is Kind.LIMIT

    def nxt_open(self, moment: datetime) -> bool:
        """Return whether NXT trades at `moment`."""
        day = moment.date()
        if not self.calendar.is_session(day):
            return False
        clock = moment.time()
        # On days that open late NXT has no pre-market and follows the exchange.
        late = self.calendar.open_time(day).time() > time(9, 0)
        if late:
            opens = self.calendar.open_time(day) + timedelta(seconds=30)
            return opens <= moment < _at(day, time(20, 0))
        return any(start <= clock < end for start, end in _NXT_HOURS)

    def in_candles(self, moment: datetime) -> bool:
        """Return whether candles decide fills: from the opening to the close."""
        day = moment.date()
        if not self.calendar.is_session(day):
            return False
        opens, closes = self.calendar.open_time(day), self.calendar.close_time(day)
        return opens <= moment < closes

    def continuous(self, moment: datetime) -> bool:
        """Return whether trades happen one by one at `moment`."""
        return Phase.CONTINUOUS in self.phases_at(moment)

    def fills_off_hours(self, ticket: Ticket, moment: datetime) -> bool:
        """Return whether an order can fill outside the regular session.

        Args:
            ticket: a working order.
            moment: a whole minute.
        """
        if ticket.venue is not Venue.KRX and self.nxt_open(moment):
            return not self.in_candles(moment)
        phases = self.phases_at(moment)
        if ticket.kind in _AT_FIXED_CLOSE:
            if _AT_FIXED_CLOSE[ticket.kind] not in phases:
                return False
            if ticket.kind is Kind.POST_CLOSE:
                close = self.calendar.close_time(moment.date())
                return moment >= close + _POST_CLOSE_WAIT
            if ticket.kind is Kind.SINGLE_PRICE:
                return moment.minute % _SINGLE_PRICE_EVERY_MIN == 0
            return True
        return Phase.AFTER_MARKET in phases

    def ends(self, ticket: Ticket, created: datetime) -> datetime:
        """Return when an order that has not filled expires."""
        day = created.date()
        close = self.calendar.close_time(day)
        if ticket.venue is not Venue.KRX:
            # Orders of NXT and SOR stay valid into the after-market.
            return _at(day, time(20, 0))
        wanted = _AT_FIXED_CLOSE.get(ticket.kind)
        for phase, start, end in self._of(day):
            if phase is wanted:
                return end
            inside = start <= created < end
            if wanted is None and phase is Phase.AFTER_MARKET and inside:
                return end
        return close


def _at(day: date, of: time) -> datetime:
    return datetime.combine(day, of, KST)
