"""A finished run as values: rows and columns of `model.result`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from kisbt.bt.engine.late import settled
from kisbt.bt.feed import CandleFeed, number_to_datetime, whole_seconds
from kisbt.bt.mapping import order_state
from kisbt.bt.recorder import Execution, PlacedOrder, Recorder
from kisbt.candles.columns import CandleColumns
from kisbt.clock import KST
from kisbt.model.order import Side
from kisbt.model.result import (
    DecisionRow,
    EquityCurve,
    FillRow,
    OpenPosition,
    OrderRow,
    TradeRow,
)
from kisbt.text import _

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=KST)  # of naive KST times
_FIRST_DAY = datetime(1, 1, 1, tzinfo=KST)  # of date numbers
_SECOND = timedelta(seconds=1)


class Times:
    """Date numbers as aware KST times; each is converted once."""

    def __init__(self) -> None:
        """Start empty."""
        self._known: dict[float, datetime] = {}
        self._since_midnight: dict[float, int] = {}

    def __call__(self, number: float) -> datetime:
        """Return the time of a date number."""
        moment = self._known.get(number)
        if moment is None:
            day = int(number)
            # Most bars of a run end at the same few times of day.
            seconds = self._since_midnight.get(number - day)
            if seconds is None:
                exact = number_to_datetime(number).replace(microsecond=0)
                seconds = (exact - datetime.fromordinal(day)) // _SECOND
                self._since_midnight[number - day] = seconds
            moment = self._known[number] = _FIRST_DAY + timedelta(day - 1, seconds)
        return moment


def order_rows(recorder: Recorder, times: Times) -> tuple[OrderRow, ...]:
    """Return the orders of the run, in the order in which they were made."""
    return tuple([_order_row(placed, times) for placed in recorder.orders])


def fill_rows(recorder: Recorder, times: Times) -> tuple[FillRow, ...]:
    """Return the fills of the run, in the order in which they happened."""
    return execution_rows(recorder.fills, times)


def execution_rows(fills: Iterable[Execution], times: Times) -> tuple[FillRow, ...]:
    """Return fills as rows of fills.csv, in their order."""
    rows = []
    for fill in fills:
        bar = times(fill.bar)
        rows.append(
            FillRow(
                time=fill.at or bar,
                bar=bar,
                symbol=fill.symbol,
                side=fill.side,
                quantity=fill.quantity,
                price=fill.price,
                commission=fill.commission,
                tax=fill.tax,
                slippage=fill.slippage,
                order_ref=fill.order_number,
            )
        )
    return tuple(rows)


def decision_rows(recorder: Recorder, times: Times) -> tuple[DecisionRow, ...]:
    """Return what the strategy decided, in the order in which it did."""
    return tuple(
        [
            DecisionRow(
                bar=times(decision.bar),
                symbol=decision.symbol,
                action=decision.action,
                reason=decision.reason,
                indicators=settled(decision.indicators),
                result=decision.result,
                order_ref=decision.order_number,
            )
            for decision in recorder.decisions
        ]
    )


def equity_curve(recorder: Recorder) -> EquityCurve:
    """Return cash and positions at each bar from the first tradable one on."""
    numbers = np.array(recorder.times, dtype=np.float64)
    return EquityCurve(
        time=whole_seconds(numbers),
        cash=np.array(recorder.cash, dtype=np.float64),
        positions_value=np.array(recorder.values, dtype=np.float64),
    )


@dataclass(slots=True)
class _RoundTrip:
    """Fills of one symbol since it was last flat, and what they have earned.

    Attributes:
        size: shares held, negative when short (only without exchange rules).
        average: won, price of the shares still held.
        realised: won earned by shares closed, before costs.
    """

    entries: list[Execution] = field(default_factory=list)
    exits: list[Execution] = field(default_factory=list)
    size: int = 0
    average: float = 0.0
    realised: float = 0.0

    def add(self, fill: Execution) -> None:
        """Add a fill that does not pass zero."""
        signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
        if self.size * signed >= 0:
            held = abs(self.size)
            self.average = (held * self.average + fill.quantity * fill.price) / (
                held + fill.quantity
            )
            self.entries.append(fill)
        else:
            self.realised += -signed * (fill.price - self.average)
            self.exits.append(fill)
        self.size += signed

    @property
    def costs(self) -> float:
        return sum(f.commission + f.tax for f in (*self.entries, *self.exits))


def round_trips(
    recorder: Recorder, feeds: Mapping[str, CandleFeed], times: Times
) -> tuple[tuple[TradeRow, ...], tuple[OpenPosition, ...]]:
    """Pair the fills: closed round trips by exit, and what is still held.

    A fill that turns a position around (possible only without exchange rules)
    ends one trip and begins the next; its costs are shared by quantity.

    Args:
        recorder: of the run.
        feeds: by symbol.
        times: of date numbers.
    """
    reasons = {placed.number: placed.reason for placed in recorder.orders}
    reasons.update((fill.order_number, "") for fill in recorder.opening)
    going: dict[str, _RoundTrip] = {}
    closed: list[_RoundTrip] = []
    for fill in (*recorder.opening, *recorder.fills):
        trip = going.get(fill.symbol)
        # Most fills open a trip.
        for part in (fill,) if trip is None else _split_at_zero(fill, trip.size):
            if trip is None:
                trip = going[fill.symbol] = _RoundTrip()
            trip.add(part)
            if trip.size == 0:
                closed.append(trip)
                del going[fill.symbol]
                trip = None
    last = max((feed.candles.end[-1] for feed in feeds.values()), default=None)
    held = tuple(
        _open_position(symbol, trip, feeds[symbol].candles, last, times)
        for symbol, trip in going.items()
    )
    return _trade_rows(closed, feeds, reasons, times), held


def _split_at_zero(fill: Execution, size: int) -> tuple[Execution, ...]:
    """Return the part of a fill that closes and the part that opens the other way."""
    signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
    closing = abs(size)
    if size * signed >= 0 or closing >= fill.quantity:
        return (fill,)
    share = closing / fill.quantity
    return tuple(
        replace(
            fill,
            quantity=quantity,
            commission=fill.commission * part,
            tax=fill.tax * part,
            slippage=fill.slippage * part,
        )
        for quantity, part in (
            (closing, share),
            (fill.quantity - closing, 1.0 - share),
        )
    )


def _order_row(placed: PlacedOrder, times: Times) -> OrderRow:
    order = placed.order
    filled = abs(int(order.executed.size))
    return OrderRow(
        ref=placed.number,
        created=times(placed.created),
        symbol=placed.symbol,
        side=placed.side,
        type=placed.order_type,
        quantity=placed.quantity,
        limit_price=placed.limit_price,
        stop_price=placed.stop_price,
        state=order_state(order),
        reason=placed.reason,
        filled_quantity=filled,
        average_price=float(order.executed.price) if filled else None,
        reject_reason=placed.end_reason,
        confirmed_by=placed.confirmed_by,
    )


def _trade_rows(
    trips: Sequence[_RoundTrip],
    feeds: Mapping[str, CandleFeed],
    reasons: Mapping[int, str],
    times: Times,
) -> tuple[TradeRow, ...]:
    """Return finished round trips as rows, in their order."""
    spans = [(times(t.entries[0].bar), times(t.exits[-1].bar)) for t in trips]
    symbols = [trip.entries[0].symbol for trip in trips]
    of_symbol: dict[str, list[int]] = {}
    for number, symbol in enumerate(symbols):
        of_symbol.setdefault(symbol, []).append(number)
    bars = [0] * len(trips)
    for symbol, numbers in of_symbol.items():
        counts = _bars_between(feeds[symbol].candles, [spans[k] for k in numbers])
        for number, count in zip(numbers, counts, strict=True):
            bars[number] = count
    return tuple(
        _trade_row(trip, symbol, span, count, reasons)
        for trip, symbol, span, count in zip(trips, symbols, spans, bars, strict=True)
    )


def _trade_row(
    trip: _RoundTrip,
    symbol: str,
    span: tuple[datetime, datetime],
    bars: int,
    reasons: Mapping[int, str],
) -> TradeRow:
    entries, exits = trip.entries, trip.exits
    paid, received = _amount(entries), _amount(exits)
    quantity = _total(entries)
    gross = received - paid if entries[0].side is Side.BUY else paid - received
    fills = [*entries, *exits]
    commission = sum([fill.commission for fill in fills])
    tax = sum([fill.tax for fill in fills])
    net = gross - commission - tax
    return TradeRow(
        symbol=symbol,
        entry_time=span[0],
        entry_price=paid / quantity,
        exit_time=span[1],
        exit_price=received / quantity,
        quantity=quantity,
        gross_pnl=gross,
        commission=commission,
        tax=tax,
        net_pnl=net,
        return_pct=net / paid * 100.0,
        bars_held=bars,
        entry_reason=_joined(reasons, entries),
        exit_reason=_joined(reasons, exits),
    )


def _open_position(
    symbol: str,
    trip: _RoundTrip,
    candles: CandleColumns,
    last: Any,
    times: Times,
) -> OpenPosition:
    price = float(candles.close[-1])
    end = candles.end[-1]
    flag = ""
    if end < last:
        flag = _(
            "no candle since {day}: halted or delisted, valued at that close"
        ).format(day=end.astype("datetime64[D]"))
    return OpenPosition(
        symbol=symbol,
        quantity=trip.size,
        average_price=trip.average,
        entry_time=times(trip.entries[0].bar),
        last_price=price,
        last_time=end.astype(datetime).replace(tzinfo=KST),
        market_value=trip.size * price,
        unrealised_pnl=trip.size * (price - trip.average),
        realised_pnl=trip.realised,
        costs=trip.costs,
        flag=flag,
    )


def _bars_between(
    candles: CandleColumns, spans: Sequence[tuple[datetime, datetime]]
) -> list[int]:
    """Return how many bars lie from each first fill to the last one of its trip."""
    # As numbers, all at once: numpy is slow at turning single times into its own.
    seconds = [(moment - _UNIX_EPOCH) // _SECOND for span in spans for moment in span]
    at = candles.end.view(np.int64).searchsorted(seconds)
    counts: list[int] = (at[1::2] - at[::2]).tolist()
    return counts


def _total(fills: Sequence[Execution]) -> int:
    return sum([fill.quantity for fill in fills])


def _amount(fills: Sequence[Execution]) -> float:
    if len(fills) == 1:  # most are
        return fills[0].quantity * fills[0].price
    return sum([fill.quantity * fill.price for fill in fills])


def _joined(reasons: Mapping[int, str], fills: Sequence[Execution]) -> str:
    if len(fills) == 1:
        return reasons[fills[0].order_number]
    named = dict.fromkeys([reasons[fill.order_number] for fill in fills])
    return ", ".join([reason for reason in named if reason])
