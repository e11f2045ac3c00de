"""Money and shares of one emulated account, with settlement two sessions later."""

from collections import deque
from dataclasses import dataclass
from datetime import date

from kisbt.emulator.orders import Fill
from kisbt.model.order import Side


@dataclass(slots=True)
class Holding:
    """Shares of one symbol.

    Attributes:
        cost: won paid for what is still held, fees not included.
        bought, sold: shares traded in this session.
        bought_before, sold_before: shares traded in the session before.
        emptied: settlement date of the sale that left nothing; the row stays
            until then.
    """

    quantity: int = 0
    cost: float = 0.0
    bought: int = 0
    sold: int = 0
    bought_before: int = 0
    sold_before: int = 0
    emptied: date | None = None

    @property
    def average(self) -> float:
        """Won per share; 0 without shares."""
        return self.cost / self.quantity if self.quantity else 0.0


@dataclass(slots=True)
class DayTotals:
    """What was traded in one session, won."""

    bought: int = 0
    sold: int = 0
    costs: int = 0


@dataclass(frozen=True, slots=True)
class Realised:
    """A sale and what it earned.

    Attributes:
        cost: won the shares had cost, fees not included.
    """

    session: date
    fill: Fill
    cost: float


class Account:
    """An account: cash now, cash to come, shares.

    A purchase is paid and a sale is received on the second session after it; both
    count towards what may be spent at once, as at the broker.
    """

    def __init__(self, number: str, hts_id: str, cash: int) -> None:
        """Open an account.

        Args:
            number: eight digits, a hyphen, two digits.
            hts_id: under which its notices are subscribed.
            cash: won.
        """
        self.number = number
        self.hts_id = hts_id
        self.cash = cash
        self.holdings: dict[str, Holding] = {}
        self.today = DayTotals()
        self.before = DayTotals()
        self.realised: list[Realised] = []
        self.opening_worth = cash
        self._coming: deque[tuple[date, int]] = deque()

    @property
    def cash_in_two_days(self) -> int:
        """Won when everything traded so far has settled."""
        return self.cash + sum(amount for _day, amount in self._coming)

    def cash_on(self, day: date) -> int:
        """Return the won once the settlements up to `day` are done."""
        return self.cash + sum(amount for due, amount in self._coming if due <= day)

    def begin_session(self, session: date, worth: int) -> None:
        """Settle what is due and make today's trades yesterday's.

        Args:
            session: that begins.
            worth: won of cash and shares at the previous close.
        """
        while self._coming and self._coming[0][0] <= session:
            self.cash += self._coming.popleft()[1]
        self.before, self.today = self.today, DayTotals()
        self.opening_worth = worth
        for symbol, holding in list(self.holdings.items()):
            holding.bought_before, holding.sold_before = holding.bought, holding.sold
            holding.bought = holding.sold = 0
            over = holding.emptied is not None and holding.emptied <= session
            if not holding.quantity and over:
                del self.holdings[symbol]

    def book(self, fill: Fill, session: date, settles: date) -> None:
        """Book a fill.

        Args:
            fill: of an order of this account.
            session: it was traded in.
            settles: when money changes hands.
        """
        amount = fill.quantity * fill.price
        costs = fill.commission + fill.tax
        self.today.costs += costs
        holding = self.holdings.setdefault(fill.symbol, Holding())
        if fill.side is Side.BUY:
            self._coming.append((settles, -amount - costs))
            self.today.bought += amount
            holding.quantity += fill.quantity
            holding.cost += amount
            holding.bought += fill.quantity
            holding.emptied = None
            return
        cost = holding.average * fill.quantity
        self.realised.append(Realised(session, fill, cost))
        self._coming.append((settles, amount - costs))
        self.today.sold += amount
        holding.quantity -= fill.quantity
        holding.cost -= cost
        holding.sold += fill.quantity
        if holding.quantity == 0:
            holding.cost = 0.0
            holding.emptied = settles

    def set_holding(self, symbol: str, quantity: int, average: float) -> None:
        """Replace what is held of a symbol: a transfer, not a trade.

        Args:
            symbol: of the shares.
            quantity: zero removes the row.
            average: won per share.
        """
        if quantity <= 0:
            self.holdings.pop(symbol, None)
            return
        holding = self.holdings.setdefault(symbol, Holding())
        holding.quantity, holding.cost = quantity, quantity * average
        holding.emptied = None

    def rebase(self, symbol: str, *, new: int, old: int) -> None:
        """Turn every `old` shares of a symbol into `new`: a split."""
        holding = self.holdings.get(symbol)
        if holding is not None:
            holding.quantity = holding.quantity * new // old
