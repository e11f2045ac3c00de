"""Why a symbol was or was not traded on a date: conditions, values, orders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np

from kisbt.app.backtest import build_cerebro, run_cerebro
from kisbt.app.prepare import Prepared, prepare
from kisbt.app.replays import read_case, replay_cerebro
from kisbt.bt.feed import CandleFeed
from kisbt.bt.probe import BarProbe
from kisbt.bt.result import Times, decision_rows, fill_rows
from kisbt.config.schema import Config
from kisbt.errors import InputError, MissingCandles
from kisbt.model.instrument import Instrument
from kisbt.model.result import DecisionRow, FillRow
from kisbt.text import _


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedBar:
    """One bar of the symbol as the strategy saw it at its close.

    Attributes:
        time: END of the bar, aware KST.
        close: won.
        conditions: by name; empty when the strategy does not tell them, or its
            indicators have no value yet.
        indicators: values by name.
        position: shares held after this bar's fills.
        average_price: won; None when flat.
        taken: symbols held at this bar's close.
        slots: how many may be held; None when the strategy has no such parameter.
        warming_up: whether the bar lies before the first tradable one.
    """

    time: datetime
    close: float
    conditions: Mapping[str, bool]
    indicators: Mapping[str, float]
    position: int
    average_price: float | None
    taken: int
    slots: int | None
    warming_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What happened to a symbol on a date.

    Attributes:
        bars: of that date; one for daily candles.
        decisions: orders made, refused or passed over on those bars.
        fills: on those bars.
    """

    instrument: Instrument
    day: date
    bars: tuple[ExplainedBar, ...]
    decisions: tuple[DecisionRow, ...]
    fills: tuple[FillRow, ...]
    tells_conditions: bool
    warnings: tuple[str, ...] = field(default_factory=tuple)


def explain(config: Config, word: str, day: date) -> Explanation:
    """Run the strategy up to the end of `day` and look at one symbol.

    Args:
        config: of the run.
        word: code or listed name.
        day: a session.

    Raises:
        InputError: the symbol is not in the universe.
        MissingCandles: it has no candle on that day; says which are nearest.
        StrategyError: the strategy raised.
    """
    end = np.datetime64(day + timedelta(days=1), "s") - np.timedelta64(1, "s")
    prepared = prepare(config, last=end)
    instrument = _find(prepared, word)
    _require_candle(prepared, instrument, day)
    cerebro, feeds = build_cerebro(prepared)
    return _look(prepared, cerebro, feeds, instrument, day)


def explain_run(folder: Path, word: str, day: date) -> Explanation:
    """Look at one symbol and day of a paper or live run, as it happened.

    The strategy is told again what it was told, on the candles it saw.

    Args:
        folder: of the run.
        word, day: as in `explain`.

    Raises:
        InputError, MissingCandles, StrategyError: as `explain`; also of a folder
            that is none of such a run.
    """
    case = read_case(folder)
    instrument = _find(case.prepared, word)
    _require_candle(case.prepared, instrument, day)
    cerebro, feeds = replay_cerebro(case)
    return _look(case.prepared, cerebro, feeds, instrument, day)


def _look(
    prepared: Prepared,
    cerebro: bt.Cerebro,
    feeds: Mapping[str, CandleFeed],
    instrument: Instrument,
    day: date,
) -> Explanation:
    cerebro.addanalyzer(BarProbe, feed=feeds[instrument.symbol], day=day.toordinal())
    strategy = run_cerebro(cerebro)
    probe = strategy.analyzers[-1]
    recorder, times = cerebro.broker.recorder, Times()
    return Explanation(
        instrument=instrument,
        day=day,
        bars=tuple(_bar(row, prepared, times) for row in probe.rows),
        decisions=tuple(
            row
            for row in decision_rows(recorder, times)
            if row.symbol == instrument.symbol and row.bar.date() == day
        ),
        fills=tuple(
            row
            for row in fill_rows(recorder, times)
            if row.symbol == instrument.symbol and row.bar.date() == day
        ),
        tells_conditions=hasattr(strategy, "conditions"),
        warnings=tuple(prepared.warnings),
    )


def _bar(row: Mapping[str, Any], prepared: Prepared, times: Times) -> ExplainedBar:
    time = times(row["time"])
    first = prepared.first.astype(datetime)
    return ExplainedBar(
        time=time,
        close=row["close"],
        conditions=row["conditions"],
        indicators=row["indicators"],
        position=row["position"],
        average_price=row["average_price"],
        taken=row["taken"],
        slots=row["slots"],
        warming_up=time.replace(tzinfo=None) < first,
    )


def _find(prepared: Prepared, word: str) -> Instrument:
    for instrument in prepared.instruments.values():
        if word.strip().upper() in (instrument.symbol, instrument.name.upper()):
            return instrument
    raise InputError(
        _("{found} has no candles in this configuration's universe: {known}").format(
            found=word, known=", ".join(prepared.instruments)
        )
    )


def _require_candle(prepared: Prepared, instrument: Instrument, day: date) -> None:
    sessions = prepared.candles[instrument.symbol].sessions
    if np.datetime64(day) in sessions:
        return
    before = sessions[sessions < np.datetime64(day)]
    raise MissingCandles(
        _(
            "{label} has no candle on {day}: no session, a halt, or not stored; the "
            "last one before is of {before}"
        ).format(
            label=instrument.label,
            day=day,
            before=before[-1] if len(before) else _("no day"),
        )
    )
