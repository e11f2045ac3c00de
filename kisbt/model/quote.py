"""What the market shows: trades, order books, prices, charts."""

from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from typing import NamedTuple

from kisbt.model.instrument import Market, Product
from kisbt.model.order import Side


class MarketClass(StrEnum):
    """The part of the day a trade belongs to, as the exchange says it."""

    PRE = "pre"
    REGULAR = "regular"
    AFTER = "after"
    CLOSE_PRICE = "close_price"
    UNKNOWN = "unknown"
    """Frames before 2026-09-14 do not tell it."""


class Board(StrEnum):
    """Which market's trades and quotes: the exchange, the ATS, or both as one."""

    KRX = "KRX"
    NXT = "NXT"
    UNIFIED = "UNIFIED"


class Tick(NamedTuple):
    """One trade on the market; a tuple, because thousands come in a second.

    Attributes:
        at: aware KST, whole seconds.
        price: won.
        quantity: shares of this trade.
        total_quantity: shares of the day so far.
        ask, bid: best prices after it, won; 0 without one.
        taker: side that took the price; None in an auction.
        market_class: part of the day.
        board: where it was traded.
        base: won, what the day's change is counted from; 0 where it is not told.
    """

    symbol: str
    at: datetime
    price: int
    quantity: int
    total_quantity: int
    ask: int
    bid: int
    taker: Side | None
    market_class: MarketClass = MarketClass.UNKNOWN
    board: Board = Board.KRX
    base: int = 0


class Level(NamedTuple):
    """A price of the order book and the shares waiting at it."""

    price: int
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """An order book.

    Attributes:
        time: of the exchange, KST; None when the broker left it blank.
        asks, bids: best first; levels without a price are left out.
        total_ask, total_bid: shares over all levels.
        expected_price: won of the running auction; 0 outside one.
        expected_quantity: shares of the running auction.
        volume: shares of the day so far.
        last_price: won; 0 where the broker does not tell it.
        in_auction: the prices are those of a call auction; told by the stream only.
        open, high, low, base_price: of the day, won; told by queries only.
    """

    symbol: str
    time: time | None
    asks: tuple[Level, ...]
    bids: tuple[Level, ...]
    total_ask: int
    total_bid: int
    expected_price: int = 0
    expected_quantity: int = 0
    volume: int = 0
    last_price: int = 0
    in_auction: bool = False
    board: Board = Board.KRX
    open: int = 0
    high: int = 0
    low: int = 0
    base_price: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a symbol now, and its day so far.

    Attributes:
        price: won.
        change: won against the previous close, signed.
        change_pct: per cent, signed.
        base_price: won, what the daily limits are measured from.
        tick_size: won.
        average_price: won, weighted by volume.
        status: the broker's status code; see `suspended`, `warned`.
        suspended: temporarily halted.
    """

    symbol: str
    price: int
    change: int
    change_pct: float
    open: int
    high: int
    low: int
    volume: int
    amount: int
    base_price: int
    upper_limit: int
    lower_limit: int
    tick_size: int
    average_price: float = 0.0
    listed_shares: int = 0
    market_name: str = ""
    sector: str = ""
    status: str = ""
    suspended: bool = False
    cautioned: bool = False
    overheated: bool = False
    liquidation: bool = False
    warning: str = ""
    vi: str = ""
    per: float = 0.0
    pbr: float = 0.0
    high_52w: int = 0
    low_52w: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A past trade out of a query.

    Attributes:
        change: won against the previous close, signed.
        total_quantity: shares of the day so far; 0 where it is not told.
    """

    time: time
    price: int
    quantity: int
    change: int
    change_pct: float
    strength: float = 0.0
    total_quantity: int = 0
    ask: int = 0
    bid: int = 0


class Period(StrEnum):
    """Length of a row of a daily chart."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """One row of a chart as the broker labels it.

    Attributes:
        day: trading date; the last one of a week, month or year.
        start: START label of a minute, KST; None on daily rows.
        open, high, low, close: won or index points; fractional if adjusted.
        volume: shares.
        amount: won; of the row on daily charts, of the day so far on minutes.
        rebased: the broker changed prices before this row (split, rights ...).
        rebase_code, rebase_ratio: how, in the broker's words; "" and 0 if not.
    """

    day: date
    start: time | None = None
    open: float
    high: float
    low: float
    close: float
    volume: int
    amount: int
    change: float = 0.0
    rebased: bool = False
    rebase_code: str = ""
    rebase_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartHead:
    """What a chart says about its symbol now.

    Attributes:
        price: last, won or index points.
        previous_close: won or index points.
        volume, amount: of the day so far.
    """

    name: str
    price: float
    change: float
    change_pct: float
    previous_close: float
    volume: int
    amount: int
    symbol: str = ""
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    upper_limit: int = 0
    lower_limit: int = 0
    listed_shares: int = 0
    previous_volume: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart: newest row first, as the broker sends it."""

    head: ChartHead
    rows: tuple[ChartRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeList:
    """Today's trades by time, newest first."""

    head: ChartHead
    rows: tuple[Trade, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexValue:
    """An index now, in points."""

    value: float
    change: float
    change_pct: float
    open: float
    high: float
    low: float
    volume: int
    amount: int
    rising: int = 0
    falling: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexDays:
    """An index now and its past days, newest first."""

    now: IndexValue
    rows: tuple[ChartRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiPrice:
    """One of many symbols asked for at once."""

    symbol: str
    name: str
    price: int
    change: int
    change_pct: float
    open: int
    high: int
    low: int
    volume: int
    amount: int
    base_price: int
    upper_limit: int
    lower_limit: int
    ask: int
    bid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow:
    """A symbol in a ranking."""

    rank: int
    symbol: str
    name: str
    price: int
    change: int
    change_pct: float
    volume: int
    amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStatus:
    """Whether a date is a trading date.

    Attributes:
        open: orders are taken.
        settles: trades settle on it.
    """

    day: date
    weekday: int
    business: bool
    trading: bool
    open: bool
    settles: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolInfo:
    """Master data of a symbol.

    Attributes:
        market: None for a market kisbt does not trade.
        product: None for a kind of security kisbt does not trade.
        previous_close: won.
        nxt: tradable on the alternative market.
    """

    symbol: str
    standard_code: str
    name: str
    short_name: str
    english_name: str
    market: Market | None
    product: Product | None
    listed_shares: int
    par_value: int
    previous_close: int
    listed_kospi: date | None = None
    listed_kosdaq: date | None = None
    delisted: date | None = None
    suspended: bool = False
    supervised: bool = False
    nxt: bool = False
    nxt_suspended: bool = False
    sector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductInfo:
    """Short master data of any product."""

    symbol: str
    standard_code: str
    name: str
    short_name: str
    english_name: str
    kind: str
