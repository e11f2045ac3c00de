"""What a paper or live run writes down beside orders, fills and trades.

These are the facts by which `kisbt parity` explains why a run and a backtest of the
same candles differ. Times are aware KST; money is won.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CandleChange(StrEnum):
    """What was the matter with a candle."""

    REVISED = "revised"
    """The exchange's own candle is another than the one the strategy saw."""
    LATE = "late"
    """The strategy saw it later than its time: back-filled, or after a restart."""
    GAP = "gap"
    """Ticks are known to be missing from it; what it should be was not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleEvent:
    """A candle that was not what it should have been, when it should have been.

    Attributes:
        at: when the run noticed.
        bar: END of the candle.
        open, high, low, close, volume: as the strategy saw it; None if it never did.
        true_open ... true_volume: as the exchange tells it now; None if unknown.
        note: for people.
    """

    at: datetime
    kind: CandleChange
    symbol: str
    bar: datetime
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None
    true_open: float | None = None
    true_high: float | None = None
    true_low: float | None = None
    true_close: float | None = None
    true_volume: float | None = None
    note: str = ""


class Heard(StrEnum):
    """What the strategy's broker was told of an order; see `orders.records`."""

    ACCEPTED = "accepted"
    FILLED = "filled"
    CORRECTED = "corrected"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEvent:
    """One thing the strategy's broker was told of an order, and on which bar.

    Attributes:
        sequence: in the journal, rising.
        at: when it happened.
        bar: END of the bar on which the broker booked it: what the strategy then
            knew. A backtest that is told the same on the same bar must decide the
            same.
        order_ref: number of the order within the run, as in orders.csv.
        quantity: shares of a fill, else 0.
        price: won a share of a fill, else None.
        commission, tax: won, as booked.
        amount: won of a correction, else 0.
        outcome, rule, reason: of the end, as in `orders.records.Ended`.
        confirmed_by: what vouches for a fill: ``rest``, ``notice`` or ``balance``.
    """

    sequence: int
    at: datetime
    bar: datetime
    order_ref: int
    kind: Heard
    quantity: int = 0
    price: float | None = None
    commission: float = 0.0
    tax: float = 0.0
    amount: float = 0.0
    outcome: str = ""
    rule: str = ""
    reason: str = ""
    confirmed_by: str = ""


class IncidentKind(StrEnum):
    """Something that befell a run and may have changed what it did."""

    RESTART = "restart"
    """The process was not running: the strategy made no decision meanwhile."""
    DISCONNECT = "disconnect"
    """The stream was down: candles came late or were back-filled."""
    HALT = "halt"
    """Trading was halted, by a person or by a limit."""
    PAUSE = "pause"
    """Entries, or one symbol, were paused: an unresolved order, a limit."""
    EXTERNAL_ORDER = "external_order"
    """Another program or a person ordered in the same account."""
    ADJUSTMENT = "adjustment"
    """A person changed the strategy's cash or shares: capital, split, adoption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that befell a run.

    Attributes:
        at: when it began.
        until: when it was over; None for a moment, or for what was not over yet.
        symbol: which it concerned; "" for all.
        order_ref: the one order of the run that it concerned; None for any.
        note: for people; no account numbers.
    """

    kind: IncidentKind
    at: datetime
    until: datetime | None = None
    symbol: str = ""
    order_ref: int | None = None
    note: str = ""
