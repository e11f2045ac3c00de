"""Was it the same? A run and a backtest of the candles it saw."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kisbt.app.backtest import run_cerebro
from kisbt.app.prepare import Prepared
from kisbt.app.replays import Case, free_run, naive, read_case, replay_cerebro
from kisbt.bt.replay import ReplayBroker
from kisbt.bt.result import Times, execution_rows, order_rows
from kisbt.candles.columns import VALUES, CandleColumns
from kisbt.krx.fees import commission, parse_commission, parse_rate, transaction_tax
from kisbt.krx.ticks import tick_size
from kisbt.model.candle import Candle
from kisbt.model.instrument import Instrument
from kisbt.model.liverun import CandleChange, CandleEvent
from kisbt.model.order import Side
from kisbt.model.result import FillRow, RunResult
from kisbt.report.folder import write_text
from kisbt.report.livefiles import LiveRun
from kisbt.report.parity import find_differences
from kisbt.report.parity_values import (
    Cause,
    Difference,
    Evidence,
    Parity,
    Replayed,
)
from kisbt.text import _

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A run beside its backtest.

    Attributes:
        folder: of the run.
        live: what the run left that a backtest does not.
        backtest: of the candles the run saw.
        parity: the answer.
    """

    folder: Path
    run: RunResult
    live: LiveRun
    backtest: RunResult
    parity: Parity


def check_parity(folder: Path) -> Checked:
    """Backtest the candles a paper or live run saw and compare.

    Args:
        folder: of the run.

    Raises:
        InputError: no run folder, damaged, of a backtest, or of a run that saw no
            bar.
        ConfigError, DataError: its strategy or its candles are gone.
        StrategyError: the strategy raised in the backtest.
    """
    case = read_case(folder)
    run, live, prepared = case.run, case.live, case.prepared
    free = free_run(case)
    evidence = Evidence(
        run=run,
        live=live,
        backtest=free,
        replayed=None,
        candle_at=_candle_at(prepared),
        marks=_marks(prepared),
        fees_of=partial(_fees_of, prepared),
        reach_of=partial(_reach_of, prepared),
    )
    evidence = replace(evidence, candle_costs=tuple(_candle_costs(case, free)))
    found = find_differences(evidence)
    if not found.same:
        replayed = _replay(case)
        found = find_differences(replace(evidence, replayed=replayed))
    return Checked(folder=folder, run=run, live=live, backtest=free, parity=found)


def write_parity(
    checked: Checked, *, language: str, folder: Path | None = None
) -> Path:
    """Write parity.json and parity.html; return the path of the page.

    Args:
        checked: what `check_parity` found.
        language: of the page, ``ko`` or ``en``.
        folder: where to; the run's own if None.

    Raises:
        StorageError: they could not be written; older ones are untouched.
    """
    import json

    # Imported late: plotly is not needed for the numbers.
    from kisbt.report.parity_page import (
        PARITY_JSON,
        PARITY_PAGE,
        parity_json,
        render_parity,
    )

    target = folder or checked.folder
    target.mkdir(parents=True, exist_ok=True)
    found = parity_json(checked.run, checked.parity)
    text = json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False)
    write_text(target / PARITY_JSON, text + "\n")
    page = render_parity(
        checked.run, checked.live, checked.backtest, checked.parity, language=language
    )
    write_text(target / PARITY_PAGE, page)
    return target / PARITY_PAGE


# What candles cost, and what is decided again.


def _candle_costs(case: Case, free: RunResult) -> Iterator[Difference]:
    """Yield what late and revised candles cost: the same backtest on the true ones."""
    before = _end_of(free)
    for kind, cause in (
        (CandleChange.LATE, Cause.CANDLE_LATE),
        (CandleChange.REVISED, Cause.CANDLE_REVISED),
    ):
        events = [e for e in case.live.candle_events if e.kind is kind]
        true, changed = _true_candles(case.prepared.candles, events)
        if not changed:
            continue
        case = replace(case, prepared=replace(case.prepared, candles=true))
        after = _end_of(free_run(case))
        yield Difference(
            cause=cause,
            bar=changed[0].bar,
            symbol=changed[0].symbol if len({e.symbol for e in changed}) == 1 else "",
            side=None,
            order_ref=None,
            expected=None,
            found=None,
            note=_("{count:,} candles, the last of {bar:%m-%d %H:%M}").format(
                count=len(changed), bar=changed[-1].bar
            ),
            cost=after - before,
        )
        before = after


def _end_of(result: RunResult) -> float:
    return float(result.equity.equity[-1])


def _true_candles(
    seen: Mapping[str, CandleColumns], events: Sequence[CandleEvent]
) -> tuple[dict[str, CandleColumns], list[CandleEvent]]:
    """Return the candles with what the exchange says, and the events that matter."""
    found, changed = dict(seen), []
    for event in sorted(events, key=lambda e: (e.bar, e.symbol)):
        candles = found.get(event.symbol)
        values = _true_values(event)
        if candles is None or values is None:
            continue
        at = int(np.searchsorted(candles.end, naive(event.bar)))
        known = at < len(candles) and candles.end[at] == naive(event.bar)
        if known and all(
            getattr(candles, name)[at] == value for name, value in values.items()
        ):
            continue
        changed.append(event)
        found[event.symbol] = CandleColumns(
            end=_put(candles.end, at, naive(event.bar), replace_it=known),
            **{
                name: _put(getattr(candles, name), at, value, replace_it=known)
                for name, value in values.items()
            },
        )
    return found, changed


def _true_values(event: CandleEvent) -> dict[str, float] | None:
    """Return what the exchange says of a candle; None if that is not known."""
    true = {name: getattr(event, f"true_{name}") for name in VALUES}
    if None in true.values():
        if event.kind is not CandleChange.LATE:
            return None
        true = {name: getattr(event, name) for name in VALUES}
    return None if None in true.values() else true


def _put(column: Any, at: int, value: Any, *, replace_it: bool) -> Any:
    if not replace_it:
        return np.insert(column, at, value)
    changed = column.copy()
    changed[at] = value
    return changed


def _replay(case: Case) -> Replayed:
    """Run the strategy again and tell it what the run's strategy was told."""
    cerebro, _feeds = replay_cerebro(case)
    prompter = run_cerebro(cerebro).analyzers[0]
    broker: ReplayBroker = cerebro.broker
    times = Times()
    prompted = prompter.prompted
    return Replayed(
        orders=tuple(
            row
            for row in order_rows(broker.recorder, times)
            if broker.run_refs[row.ref] not in prompted
        ),
        run_refs=broker.run_refs,
        missed=frozenset(prompter.missed | broker.unbooked),
        refused=frozenset(broker.refused - prompted),
        ended=frozenset(broker.ended),
        expected=execution_rows(broker.expected, times),
    )


# What is looked up.


def _candle_at(prepared: Prepared) -> Callable[[str, datetime], Candle | None]:
    def look(symbol: str, bar: datetime) -> Candle | None:
        candles = prepared.candles.get(symbol)
        if candles is None:
            return None
        at = int(np.searchsorted(candles.end, naive(bar)))
        if at >= len(candles) or candles.end[at] != naive(bar):
            return None
        return _candle(candles, at, bar)

    return look


def _candle(candles: CandleColumns, at: int, bar: datetime) -> Candle:
    return Candle(
        end=bar,
        open=float(candles.open[at]),
        high=float(candles.high[at]),
        low=float(candles.low[at]),
        close=float(candles.close[at]),
        volume=float(candles.volume[at]),
    )


def _marks(prepared: Prepared) -> Mapping[str, float]:
    return {symbol: float(c.close[-1]) for symbol, c in prepared.candles.items()}


def _reach_of(prepared: Prepared, fill: FillRow) -> float:
    """Return how far from the trades of its candle a fill may lie, won.

    A candle is made of trades; a market order takes the other side of the book, at
    least a step away, and as many more as the configuration gives to slippage.
    """
    instrument: Instrument = prepared.instruments[fill.symbol]
    step = tick_size(
        fill.price,
        market=instrument.market,
        product=instrument.product,
        session=fill.bar.date(),
    )
    return float(step * (1 + prepared.config.broker.slippage_ticks))


def _fees_of(prepared: Prepared, fill: FillRow) -> float:
    """Return commission and tax of a fill by the configured rates, won."""
    broker = prepared.config.broker
    instrument: Instrument = prepared.instruments[fill.symbol]
    amount = fill.quantity * fill.price
    paid = commission(amount, parse_commission(broker.commission, instrument.product))
    if fill.side is Side.BUY or broker.tax == "none":
        return paid
    if broker.tax != "krx":
        return paid + commission(amount, parse_rate(broker.tax, path="broker.tax"))
    return paid + transaction_tax(
        amount,
        market=instrument.market,
        product=instrument.product,
        session=fill.bar.date(),
        table=prepared.tax_rows,
    )
