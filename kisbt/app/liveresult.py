"""A paper or live run as the values its folder is written from."""

import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import kisbt
from kisbt.app.history import LivePlan
from kisbt.app.liverecord import Record
from kisbt.app.venue import Mode, Venue
from kisbt.bt.feed import CandleFeed
from kisbt.bt.recorder import Recorder
from kisbt.bt.result import (
    Times,
    decision_rows,
    equity_curve,
    fill_rows,
    order_rows,
    round_trips,
)
from kisbt.candles.bases import write_bases
from kisbt.candles.columns import CandleColumns
from kisbt.candles.sample import SAMPLE_SYMBOLS
from kisbt.candles.store import CandleStore
from kisbt.config.schema import config_hash, dump_config
from kisbt.errors import MissingCandles
from kisbt.model.result import Curve, OrderRow, RunResult
from kisbt.orders.journal import Journal
from kisbt.report.livefiles import CarriedOrder, live_run


@dataclass(slots=True)
class Start:
    """Where the strategy stood when the run began.

    Attributes:
        cash: won.
        positions: shares and their average price in won, by symbol.
        left: shares not filled of the orders taken over, by the journal's number.
        orders: those taken over, once the run has ended.
        state: what the strategy's `load_state` was given; None if nothing.
        guard: what the risk guard remembered of the day; None if nothing.
    """

    cash: float
    positions: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    left: Mapping[int, int] = field(default_factory=dict)
    orders: Collection[CarriedOrder] = ()
    state: Mapping[str, Any] | None = None
    guard: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    """What is known of a run when it has ended.

    Attributes:
        run_id: name of its folder by default.
        started, ended: machine time, aware KST.
        exit_state: ``done``, ``stopped: ...`` or ``failed: ...``.
        warnings: what the user should know.
    """

    run_id: str
    mode: Mode
    started: datetime
    ended: datetime
    exit_state: str
    warnings: Sequence[str]


def live_result(
    plan: LivePlan,
    venue: Venue,
    recorder: Recorder,
    feeds: Mapping[str, CandleFeed],
    record: Record,
    start: Start,
    facts: LiveFacts,
) -> RunResult:
    """Return everything a run leaves behind."""
    times = Times()
    known = {symbol: feed for symbol, feed in feeds.items() if len(feed.candles)}
    trades, held = round_trips(recorder, known, times)
    warnings = list(facts.warnings)
    equity = equity_curve(recorder)
    return RunResult(
        run={
            **_run(plan, venue, record, start, facts),
            "warnings": warnings,
        },
        instruments={
            symbol: item for symbol, item in plan.instruments.items() if symbol in known
        },
        orders=order_rows(recorder, times),
        fills=fill_rows(recorder, times),
        trades=trades,
        equity=equity,
        decisions=decision_rows(recorder, times),
        open_positions=held,
        benchmark=_benchmark(plan, equity.time),
        buy_and_hold=_buy_and_hold(plan, record),
    )


def carried_orders(
    recorder: Recorder, record: Record, start: Start
) -> dict[int, CarriedOrder]:
    """Return the orders taken over from an earlier run, by the journal's number.

    One that was only watched on this machine has none there: it stands under its own
    number, negative.
    """
    times = Times()
    found: dict[int, CarriedOrder] = {}
    for placed in recorder.orders:
        made = times(placed.created)
        if record.first_bar is not None and made >= record.first_bar:
            break
        ref = placed.journal_ref
        if ref is None or ref not in start.left:
            ref = -placed.number
        found[ref] = CarriedOrder(
            order_ref=placed.number,
            symbol=placed.symbol,
            side=placed.side,
            type=placed.order_type,
            quantity=start.left.get(ref, placed.quantity),
            limit_price=placed.limit_price,
            stop_price=placed.stop_price,
        )
    return found


def with_broker_numbers(
    result: RunResult, journal: Journal, run: int, since: Mapping[int, int]
) -> RunResult:
    """Return the result with the broker's order numbers.

    Args:
        result: of the run.
        journal: of the account.
        run: the journal's number of this run.
        since: order number of this run to the journal's, for orders of earlier runs.
    """
    by_number = {
        record.number: record
        for record in journal.orders()
        if record.run == run and record.origin == "strategy"
    }
    by_number |= {number: journal.order(ref) for number, ref in since.items()}

    def named(row: OrderRow) -> OrderRow:
        found = by_number.get(row.ref)
        if found is None:
            return replace(row, confirmed_by=row.confirmed_by or "local")
        return replace(
            row,
            broker_order_no=found.broker_number,
            confirmed_by=found.confirmed_by or row.confirmed_by or "local",
        )

    return replace(result, orders=tuple(named(row) for row in result.orders))


def _run(
    plan: LivePlan, venue: Venue, record: Record, start: Start, facts: LiveFacts
) -> dict[str, Any]:
    config = plan.config
    merged = dump_config(config)
    merged["strategy"]["params"] = _plain(plan.params)
    sessions = record.sessions or [plan.session]
    symbols = [s for s, candles in plan.history.items() if len(candles)]
    interval = config.bars.length
    return {
        "id": facts.run_id,
        "mode": facts.mode.value,
        "config": merged,
        "config_hash": config_hash(config),
        "config_file": None if config.source is None else config.source.name,
        "project": str(config.root),
        "versions": {
            "kisbt": kisbt.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("backtrader", "numpy", "pandas")},
        },
        "server": venue.access.server.name,
        "account": venue.access.keys.account.masked,
        "store_hash": plan.store.content_hash(
            symbols, interval, adjusted=config.data.adjusted
        )
        if symbols
        else "",
        "starting_cash": start.cash,
        **live_run(
            first_bar=record.first_bar,
            last_bar=record.last_bar,
            held_bars=[
                bar
                for bar in dict.fromkeys(record.held_bars)
                if record.first_bar is not None and bar > record.first_bar
            ],
            starting_positions=start.positions,
            starting_orders=start.orders,
            starting_state=start.state,
            starting_guard=start.guard,
            incidents=record.incidents,
        ),
        "started": facts.started.isoformat(timespec="seconds"),
        "ended": facts.ended.isoformat(timespec="seconds"),
        "first_session": sessions[0].isoformat(),
        "last_session": sessions[-1].isoformat(),
        "warmup_bars": plan.warmup_bars,
        "adjusted": plan.adjusted,
        "synthetic": SAMPLE_SYMBOLS.issuperset(plan.instruments),
        "interval": str(interval),
        "engine": "live",
        "engine_fallback": None,
        "exit_state": facts.exit_state,
    }


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    plain = (str, int, float, bool, list, dict, type(None))
    return {k: v if isinstance(v, plain) else repr(v) for k, v in params.items()}


def _benchmark(plan: LivePlan, time: Any) -> Curve | None:
    """Return the benchmark over the run, where its candles are stored already."""
    symbol = plan.config.report.benchmark
    if symbol is None or not len(time):
        return None
    try:
        candles = plan.store.read(symbol, plan.config.bars.length)
    except MissingCandles:
        return None
    inside = candles.between(time[0], time[-1])
    return Curve(time=inside.end, value=inside.close) if len(inside) else None


def _buy_and_hold(plan: LivePlan, record: Record) -> Curve | None:
    """Return the capital spread evenly at the first bar's closes, held."""
    if record.first_bar is None:
        return None
    first = np.datetime64(record.first_bar.replace(tzinfo=None), "s")
    seen = {
        symbol: record.seen(symbol).between(first, None) for symbol in record.candles
    }
    bought = [c for c in seen.values() if len(c) and c.end[0] == first]
    if not bought:
        return None
    time = np.unique(np.concatenate([c.end for c in seen.values() if len(c)]))
    value = np.zeros(len(time))
    for candles in bought:
        latest = np.searchsorted(candles.end, time, side="right") - 1
        value += candles.close[latest] / candles.close[0]
    return Curve(time=time, value=value * (plan.config.capital / len(bought)))


def write_candles(plan: LivePlan, record: Record, folder: Path) -> None:
    """Write every candle the run saw, history included, as a store.

    Args:
        plan: of the run.
        record: what it saw.
        folder: of the store; new.

    Raises:
        StorageError: it cannot be written.
    """
    store = CandleStore(folder, calendar=plan.calendar)
    interval = plan.config.bars.length
    for symbol in plan.symbols:
        history = plan.history.get(symbol, CandleColumns.empty())
        parts = (history, record.seen(symbol))
        candles = CandleColumns(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("end", "open", "high", "low", "close", "volume")
            )
        )
        if len(candles):
            store.write(symbol, interval, candles, adjusted=plan.config.data.adjusted)
    store.add_instruments(plan.instruments.values())
    write_bases(folder, record.bases)
