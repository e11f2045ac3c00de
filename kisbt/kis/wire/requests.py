"""What can be asked of KIS, as values; a client fills them, a server reads them."""

from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum

from kisbt.model.account import Account
from kisbt.model.order import OrderKind, Side, Venue
from kisbt.model.quote import Board, Period


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where the next page starts, as KIS wrote it; blank on the first call.

    Attributes:
        search: the search condition (FK). key: the row key (NK).
    """

    search: str = ""
    key: str = ""


FIRST_PAGE = Continuation()


class Change(StrEnum):
    """What is done to a working order."""

    AMEND = "amend"
    CANCEL = "cancel"


class Reach(StrEnum):
    """Which of the two archives of orders is asked: they do not overlap."""

    RECENT = "recent"
    """The last three months."""
    OLDER = "older"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """Buy or sell.

    Attributes:
        price, stop_price: won; 0 without one.
        sell_type: the broker's code for special sales, "" for an ordinary one.
    """

    account: Account
    side: Side
    symbol: str
    kind: OrderKind
    quantity: int
    price: int = 0
    stop_price: int = 0
    venue: Venue = Venue.KRX
    sell_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOrder:
    """Amend or cancel a working order.

    Attributes:
        branch: as the order's answer told it; a server must take a blank one.
        number: of the order to change.
        quantity: 0 together with `whole`.
        whole: all that remains of the order.
    """

    account: Account
    change: Change
    branch: str
    number: str
    kind: OrderKind
    quantity: int
    price: int
    whole: bool
    stop_price: int = 0
    venue: Venue = Venue.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrdersQuery:
    """Orders that may be amended or cancelled.

    Attributes:
        side_code: "0" all, "1" sales, "2" purchases.
    """

    account: Account
    sort_code: str = "0"
    side_code: str = "0"


class Filled(StrEnum):
    """Which orders are asked for."""

    ALL = "all"
    FILLED = "filled"
    UNFILLED = "unfilled"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersQuery:
    """Orders and fills of a period.

    Attributes:
        first, last: both included; None, seen from other clients, is today.
        side: None for both.
        symbol, branch, number: "" for all.
        venue: None for all; mock knows KRX only.
    """

    account: Account
    first: date | None
    last: date | None
    reach: Reach = Reach.RECENT
    side: Side | None = None
    symbol: str = ""
    branch: str = ""
    number: str = ""
    filled: Filled = Filled.ALL
    oldest_first: bool = False
    product_code: str = ""
    credit_code: str = "00"
    venue: Venue | None = Venue.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceQuery:
    """Positions and money.

    Attributes:
        price_basis: "N" regular close, "X" NXT, "Y" after hours.
        by_loan_date: rows by date of loan instead of by symbol.
        without_previous_day: leave out the trades of the day before.
    """

    account: Account
    price_basis: str = "N"
    by_loan_date: bool = False
    without_previous_day: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyingPowerQuery:
    """What can be bought.

    Attributes:
        symbol: "" for amounts only.
        price: won; None leaves it blank.
    """

    account: Account
    symbol: str
    kind: OrderKind = OrderKind.MARKET
    price: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SellableQuery:
    """What can be sold of a holding."""

    account: Account
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfitQuery:
    """Realised results of a period; `symbol` is not known to the daily sums."""

    account: Account
    first: date
    last: date
    symbol: str = ""
    oldest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolQuery:
    """Price, order book or latest trades of a symbol."""

    symbol: str
    board: Board = Board.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTradesQuery:
    """Trades of today up to a time."""

    symbol: str
    until: time
    board: Board = Board.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyPricesQuery:
    """The last thirty days, weeks or months."""

    symbol: str
    period: Period = Period.DAY
    adjusted: bool = True
    board: Board = Board.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyChartQuery:
    """The newest rows of a range of dates; None leaves an end open."""

    symbol: str
    first: date | None
    last: date | None
    period: Period = Period.DAY
    adjusted: bool = True
    board: Board = Board.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class MinutesQuery:
    """Minutes of today up to a time.

    Attributes:
        earlier_days: fill the page with minutes of earlier days.
    """

    symbol: str
    until: time
    earlier_days: bool = False
    board: Board = Board.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMinutesQuery:
    """Minutes of a day up to a time."""

    symbol: str
    day: date
    until: time
    earlier_days: bool = False
    board: Board = Board.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexQuery:
    """An index now; its code is four digits, 0001 KOSPI, 1001 KOSDAQ."""

    index: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexChartQuery:
    """The newest rows of an index in a range of dates."""

    index: str
    first: date | None
    last: date | None
    period: Period = Period.DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexDaysQuery:
    """Daily values of an index up to a date."""

    index: str
    last: date | None
    period: Period = Period.DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMinutesQuery:
    """Minutes of an index; `seconds` is the length of a row."""

    index: str
    seconds: int = 60
    earlier_days: bool = False
    without_close: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HolidayQuery:
    """Trading dates from a date on."""

    first: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoQuery:
    """Master data of a symbol; 300 is shares, ETF, ETN and ELW."""

    symbol: str
    product_type: str = "300"


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiPriceQuery:
    """Prices of up to thirty symbols at once."""

    symbols: tuple[str, ...]
    board: Board = Board.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRankQuery:
    """Most traded symbols.

    Attributes:
        sector: "0000" for all.
        by: "0" volume, "1" growth, "2" turnover rate, "3" amount, "4" its rate.
        shares: "0" all, "1" common, "2" preferred.
        lowest, highest: won; None for any. least_volume: shares; None for any.
    """

    sector: str = "0000"
    by: str = "0"
    shares: str = "0"
    lowest: int | None = None
    highest: int | None = None
    least_volume: int | None = None
    board: Board = Board.KRX


@dataclass(frozen=True, slots=True, kw_only=True)
class FluctuationQuery:
    """Symbols whose price changed most.

    Attributes:
        sector: "0000" all, "0001" KOSPI, "1001" KOSDAQ.
        by: "0" rise, "1" fall, "2" rise since the opening, "3" fall since it.
        days: 0 for today alone.
    """

    sector: str = "0000"
    by: str = "0"
    shares: str = "0"
    days: int = 0
    lowest: int | None = None
    highest: int | None = None
    least_volume: int | None = None
    board: Board = Board.KRX
