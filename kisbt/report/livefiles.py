"""What a paper or live run leaves beside the files that every run leaves.

`live_files` and `live_run` make it, `read_live` reads it back:

- ``candle_events.csv``: candles that came late, changed afterwards or had gaps;
- ``order_events.csv``: what the strategy's broker was told of its orders, and on
  which bar;
- in run.json: ``first_bar`` and ``last_bar`` (END labels of the first and last bar
  on which the strategy was called), ``held_bars`` (bars between the two on which it
  was not, such as those that filled a gap in the stream), ``starting_orders`` (working orders taken over
  from an earlier process), ``starting_state`` (what `load_state` was given),
  ``starting_guard`` and ``incidents``.

The candles themselves, history included, are in ``candles/``, a candle store.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kisbt.model.liverun import CandleEvent, Incident, IncidentKind, OrderEvent
from kisbt.model.order import OrderType, Side
from kisbt.model.result import RunResult
from kisbt.report.csvfiles import (
    CANDLE_EVENTS,
    ORDER_EVENTS,
    damaged,
    read_table,
    read_time,
    table_bytes,
    time_text,
)

CANDLES = "candles"
"""Folder, inside the run folder, of every candle the run saw."""

_CANDLE_EVENTS, _ORDER_EVENTS = "candle_events.csv", "order_events.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOrder:
    """An order that was working when the run began.

    Attributes:
        order_ref: its number in orders.csv of this run.
        quantity: shares still to be filled.
    """

    order_ref: int
    symbol: str
    side: Side
    type: OrderType
    quantity: int
    limit_price: float | None = None
    stop_price: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """The facts of a paper or live run that a backtest does not have.

    Attributes:
        first_bar, last_bar: END of the first and last bar on which the strategy
            was called; None when it never was.
        held_bars: END of bars between the two on which it was not called.
        starting_positions: symbol to (shares, average price in won).
        starting_state: what the strategy's `load_state` was given; None if nothing.
        starting_guard: what the risk guard remembered of the day; None if nothing.
    """

    first_bar: datetime | None = None
    last_bar: datetime | None = None
    held_bars: tuple[datetime, ...] = ()
    starting_positions: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    starting_orders: tuple[CarriedOrder, ...] = ()
    starting_state: Mapping[str, Any] | None = None
    starting_guard: Mapping[str, Any] | None = None
    incidents: tuple[Incident, ...] = ()
    candle_events: tuple[CandleEvent, ...] = ()
    order_events: tuple[OrderEvent, ...] = ()


def live_files(
    candle_events: Iterable[CandleEvent], order_events: Iterable[OrderEvent]
) -> dict[str, bytes]:
    """Return the extra files of a run folder, for `report.folder.write_run`."""
    return {
        _CANDLE_EVENTS: table_bytes(candle_events, CANDLE_EVENTS),
        _ORDER_EVENTS: table_bytes(order_events, ORDER_EVENTS),
    }


def live_run(  # noqa: PLR0913 - one key each
    *,
    first_bar: datetime | None,
    last_bar: datetime | None,
    starting_positions: Mapping[str, tuple[int, float]],
    held_bars: Iterable[datetime] = (),
    starting_orders: Iterable[CarriedOrder] = (),
    starting_state: Mapping[str, Any] | None = None,
    starting_guard: Mapping[str, Any] | None = None,
    incidents: Iterable[Incident] = (),
) -> dict[str, Any]:
    """Return the keys that such a run adds to run.json; see `LiveRun`."""
    return {
        "first_bar": None if first_bar is None else time_text(first_bar),
        "last_bar": None if last_bar is None else time_text(last_bar),
        "held_bars": [time_text(bar) for bar in held_bars],
        "starting_positions": {
            symbol: {"quantity": quantity, "average": average}
            for symbol, (quantity, average) in starting_positions.items()
        },
        "starting_orders": [
            {
                "order_ref": order.order_ref,
                "symbol": order.symbol,
                "side": order.side.value,
                "type": order.type.value,
                "quantity": order.quantity,
                "limit_price": order.limit_price,
                "stop_price": order.stop_price,
            }
            for order in starting_orders
        ],
        "starting_state": None if starting_state is None else dict(starting_state),
        "starting_guard": None if starting_guard is None else dict(starting_guard),
        "incidents": [
            {
                "kind": incident.kind.value,
                "at": time_text(incident.at),
                "until": None if incident.until is None else time_text(incident.until),
                "symbol": incident.symbol,
                "order_ref": incident.order_ref,
                "note": incident.note,
            }
            for incident in incidents
        ],
    }


def read_live(folder: Path, result: RunResult) -> LiveRun:
    """Read what a paper or live run left beside the common files.

    A file or key that an interrupted run did not come to write is empty.

    Args:
        folder: of the run.
        result: what `read_run` returned for it.

    Raises:
        InputError: a file is damaged; names file and line.
    """
    run = result.run
    with damaged(folder / "run.json"):
        facts: dict[str, Any] = {
            "first_bar": _moment(run.get("first_bar")),
            "last_bar": _moment(run.get("last_bar")),
            "held_bars": tuple(read_time(bar) for bar in run.get("held_bars") or ()),
            "starting_positions": {
                symbol: (int(held["quantity"]), float(held["average"]))
                for symbol, held in (run.get("starting_positions") or {}).items()
            },
            "starting_orders": tuple(
                _carried(row) for row in run.get("starting_orders") or ()
            ),
            "starting_state": run.get("starting_state"),
            "starting_guard": run.get("starting_guard"),
            "incidents": tuple(_incident(row) for row in run.get("incidents") or ()),
        }
    changed, heard = folder / _CANDLE_EVENTS, folder / _ORDER_EVENTS
    return LiveRun(
        **facts,
        candle_events=read_table(changed, CandleEvent, CANDLE_EVENTS)
        if changed.is_file()
        else (),
        order_events=read_table(heard, OrderEvent, ORDER_EVENTS)
        if heard.is_file()
        else (),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else read_time(text)


def _carried(row: Mapping[str, Any]) -> CarriedOrder:
    return CarriedOrder(
        order_ref=int(row["order_ref"]),
        symbol=row["symbol"],
        side=Side(row["side"]),
        type=OrderType(row["type"]),
        quantity=int(row["quantity"]),
        limit_price=row.get("limit_price"),
        stop_price=row.get("stop_price"),
    )


def _incident(row: Mapping[str, Any]) -> Incident:
    return Incident(
        kind=IncidentKind(row["kind"]),
        at=read_time(row["at"]),
        until=_moment(row.get("until")),
        symbol=row.get("symbol", ""),
        order_ref=row.get("order_ref"),
        note=row.get("note", ""),
    )
