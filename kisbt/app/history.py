"""What a paper or live run knows before its first session: candles and classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from kisbt.app.prepare import label_closes
from kisbt.app.strategies import check_params, load_strategy_class, strategy_params
from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.config.load import resolve_universe
from kisbt.config.schema import Config, sizing_conflicts
from kisbt.errors import ConfigError, MissingCandles
from kisbt.krx.calendar import FIRST_DAY, KrxCalendar
from kisbt.krx.overrides import KrxOverrides
from kisbt.model.instrument import Instrument
from kisbt.text import _

_NAMES_SHOWN = 5
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """A paper or live run ready to be joined with a server.

    Attributes:
        params: the class's defaults and what the configuration changes.
        instruments: the universe, in its order.
        history: candles before the first session, by symbol; they feed indicators
            only. A symbol may have none.
        adjusted: whether daily candles are those adjusted for splits.
        session: first trading date on which the strategy is called.
        warmup_bars: bars of history on the union of all symbols' bars.
        store: where the history came from.
        warnings: what the user should know, each a sentence.
    """

    config: Config
    strategy_class: type[Any]
    params: Mapping[str, Any]
    instruments: Mapping[str, Instrument]
    history: Mapping[str, CandleColumns]
    adjusted: bool
    session: date
    warmup_bars: int
    store: CandleStore
    calendar: KrxCalendar
    tax_rows: Any
    warnings: list[str] = field(default_factory=list)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The codes of the universe, in its order."""
        return tuple(self.instruments)


def plan_live(
    config: Config,
    store: CandleStore,
    session: date,
    *,
    strategy: type[Any] | None = None,
) -> LivePlan:
    """Load and check everything a run needs that is on this machine.

    Args:
        config: of the run.
        store: of past candles.
        session: first trading date of the run; no candle of it is read.
        strategy: a class that is there already; imported by its name if None.

    Raises:
        ConfigError: the strategy, its parameters, a symbol or the sizing is wrong.
        BadCandle: a stored file is broken.
    """
    warnings: list[str] = []
    strategy_class = strategy or load_strategy_class(
        config.strategy.class_, config.root
    )
    check_params(strategy_class, config.strategy.params)
    conflicts = sizing_conflicts(config)
    if conflicts:
        raise ConfigError(
            conflicts[0], path="strategy.params", problems=tuple(conflicts)
        )
    overrides = KrxOverrides.from_mapping(config.krx_overrides)
    calendar = overrides.calendar()
    universe = resolve_universe(config, store.instruments(), notice=warnings.append)
    instruments = {item.symbol: item for item in universe}
    past = {
        symbol: _past(config, store, symbol, session, calendar)
        for symbol in instruments
    }
    history, bars = _window(past, config.data.warmup)
    _warn_about_history(config, history, bars, warnings)
    _warn_about_holes(history, session, calendar, warnings)
    return LivePlan(
        config=config,
        strategy_class=strategy_class,
        params={**strategy_params(strategy_class), **config.strategy.params},
        instruments=instruments,
        history=history,
        adjusted=config.data.adjusted and config.bars.length.is_daily,
        session=session,
        warmup_bars=bars,
        store=store,
        calendar=calendar,
        tax_rows=overrides.tax_table(),
        warnings=warnings,
    )


def _past(
    config: Config,
    store: CandleStore,
    symbol: str,
    session: date,
    calendar: KrxCalendar,
) -> CandleColumns:
    """Return the candles of a symbol before a session; none without a file."""
    interval = config.bars.length
    try:
        candles = store.read(symbol, interval, adjusted=config.data.adjusted)
    except MissingCandles:
        return CandleColumns.empty()
    first = np.datetime64(session, "D").astype("datetime64[s]")
    before = candles.between(None, first - np.timedelta64(1, "s"))
    if interval.is_daily:
        return label_closes(symbol, before, calendar, store)
    return before


def _window(
    past: Mapping[str, CandleColumns], warmup: int
) -> tuple[dict[str, CandleColumns], int]:
    """Return the last `warmup` bars of the union of all symbols, as a backtest does."""
    ends = [candles.end for candles in past.values() if len(candles)]
    if not ends or warmup == 0:
        return {symbol: CandleColumns.empty() for symbol in past}, 0
    union = np.unique(np.concatenate(ends))[-warmup:]
    return {s: c.between(union[0], union[-1]) for s, c in past.items()}, len(union)


def _warn_about_history(
    config: Config,
    history: Mapping[str, CandleColumns],
    bars: int,
    warnings: list[str],
) -> None:
    warmup = config.data.warmup
    if bars < warmup:
        warnings.append(
            _(
                "only {found:,} of {warmup:,} warm-up bars are stored before the first "
                "session: indicators start late or differ from a longer run"
            ).format(found=bars, warmup=warmup)
        )
    missing = [symbol for symbol, candles in history.items() if not len(candles)]
    if missing and warmup:
        shown = ", ".join(missing[:_NAMES_SHOWN])
        more = len(missing) - _NAMES_SHOWN
        if more > 0:
            shown = _("{shown} and {more} more").format(shown=shown, more=more)
        warnings.append(
            _(
                "no stored candles of {names}: their indicators begin with the first "
                "session; fetch history with: kisbt data fetch"
            ).format(names=shown)
        )


def _warn_about_holes(
    history: Mapping[str, CandleColumns],
    session: date,
    calendar: KrxCalendar,
    warnings: list[str],
) -> None:
    """Tell of symbols whose stored candles end before the session before the first."""
    ends = {
        s: candles.end[-1].item().date()
        for s, candles in history.items()
        if len(candles)
    }
    missing = {
        symbol: len(calendar.sessions(max(last, FIRST_DAY) + _DAY, session - _DAY))
        for symbol, last in ends.items()
        if last + _DAY < session
    }
    holes = {symbol: count for symbol, count in missing.items() if count}
    if not holes:
        return
    shown = ", ".join(
        _("{symbol} ({last}, {count:,} sessions)").format(
            symbol=symbol, last=ends[symbol], count=count
        )
        for symbol, count in list(holes.items())[:_NAMES_SHOWN]
    )
    more = len(holes) - _NAMES_SHOWN
    if more > 0:
        shown = _("{shown} and {more} more").format(shown=shown, more=more)
    warnings.append(
        _(
            "stored candles end before the session before {session}: {names}; "
            "indicators go on as if nothing had happened in between; fetch history "
            "with: kisbt data fetch"
        ).format(session=session, names=shown)
    )
