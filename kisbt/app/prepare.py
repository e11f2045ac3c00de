"""From a configuration to everything a run needs, checked, before it starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kisbt.app.strategies import (
    check_params,
    load_strategy_class,
    strategy_params,
)
from kisbt.candles.bases import SessionBases
from kisbt.candles.columns import PRICES, CandleColumns, Times
from kisbt.candles.store import CandleStore
from kisbt.config.load import resolve_universe
from kisbt.config.schema import Config, sizing_conflicts
from kisbt.errors import BadCandle, ConfigError, MissingCandles
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.overrides import KrxOverrides
from kisbt.krx.ticks import valid_prints
from kisbt.model.candle import DAILY
from kisbt.model.instrument import Instrument
from kisbt.text import _

# More symbols than this are counted in a warning, not listed.
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run ready to start.

    Attributes:
        params: the class's defaults and what the configuration changes.
        instruments: those of the universe that have candles, in its order.
        candles: by symbol, warm-up included.
        bases: base prices by symbol, of minute candles.
        adjusted: whether the candles are the split-adjusted ones, so that prices
            may lie off the grid.
        first: END of the first tradable bar, datetime64[s].
        last: END of the last bar.
        warmup_bars: bars before `first` on the union of all symbols' bars.
        bars: bars of that union, warm-up included.
        tax_rows: dated tax rows in force; None for the built-in ones.
        warnings: what the user should know, each a sentence.
    """

    config: Config
    store: CandleStore
    strategy_class: type[Any]
    params: Mapping[str, Any]
    instruments: Mapping[str, Instrument]
    candles: Mapping[str, CandleColumns]
    bases: Mapping[str, SessionBases]
    adjusted: bool
    first: np.datetime64
    last: np.datetime64
    warmup_bars: int
    bars: int
    calendar: KrxCalendar
    tax_rows: Any
    warnings: list[str] = field(default_factory=list)


def prepare(
    config: Config,
    *,
    strategy: type[Any] | None = None,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
    store: CandleStore | None = None,
) -> Prepared:
    """Load and check everything `config` names.

    Args:
        config: of the run.
        strategy: a class that is there already; imported by its name if None.
        first: END of the first tradable bar, every stored bar before it warms up;
            what the configuration says if None.
        last: END after which bars are cut off; the configuration's own `to` if
            None.
        store: of the candles; the one that `config` names if None.

    Raises:
        ConfigError: the strategy, its parameters or a symbol is wrong.
        MissingCandles: no symbol has candles in the range.
        BadCandle: a stored file is broken.
    """
    warnings: list[str] = []
    strategy_class = strategy or load_strategy_class(
        config.strategy.class_, config.root
    )
    check_params(strategy_class, config.strategy.params)
    overrides = KrxOverrides.from_mapping(config.krx_overrides)
    warnings += sizing_conflicts(config)
    store = store or CandleStore(config.data_path)
    universe = resolve_universe(config, store.instruments(), notice=warnings.append)
    candles = _read_all(config, store, universe, warnings)
    union = union_of([c.end for c in candles.values()])
    last_day = union[-1].astype("datetime64[D]")
    union = union[union <= _last_bound(config, last)]
    if first is not None:
        start, tradable = 0, int(np.searchsorted(union, first))
    else:
        start, tradable = _first_bar(config, union, last_day, warnings)
    window = {s: c.between(union[start], union[-1]) for s, c in candles.items()}
    instruments = {i.symbol: i for i in universe if len(window.get(i.symbol, ()))}
    silent = [s for s in window if s not in instruments]
    if silent:
        warnings.append(
            _("no candles in the range, left out: {names}").format(names=_names(silent))
        )
    traded = {symbol: window[symbol] for symbol in instruments}
    calendar = overrides.calendar()
    if config.bars.length.is_daily:
        traded = {s: label_closes(s, c, calendar, store) for s, c in traded.items()}
    adjusted = config.data.adjusted and config.bars.length.is_daily
    if adjusted and config.broker.rules == "krx":
        _warn_about_volumes(config, instruments, traded, warnings)
    return Prepared(
        config=config,
        store=store,
        strategy_class=strategy_class,
        params={**strategy_params(strategy_class), **config.strategy.params},
        instruments=instruments,
        candles=traded,
        bases=_bases(config, store, {s: candles[s] for s in traded}),
        adjusted=adjusted,
        first=union[tradable],
        last=union[-1],
        warmup_bars=tradable - start,
        bars=len(union) - start,
        calendar=calendar,
        tax_rows=overrides.tax_table(),
        warnings=warnings,
    )


def _read_all(
    config: Config,
    store: CandleStore,
    universe: list[Instrument],
    warnings: list[str],
) -> dict[str, CandleColumns]:
    """Read every symbol; one without a file must not stop the others."""
    found: dict[str, CandleColumns] = {}
    missing: list[tuple[str, MissingCandles]] = []
    interval = config.bars.length
    for instrument in universe:
        symbol = instrument.symbol
        try:
            candles = store.read(symbol, interval, adjusted=config.data.adjusted)
        except MissingCandles as error:
            missing.append((symbol, error))
            continue
        if len(candles):
            found[symbol] = candles
    if not found:
        if missing:
            raise missing[0][1]
        raise MissingCandles(
            _("{folder} holds no candle with volume for any symbol").format(
                folder=store.path
            )
        )
    if missing:
        warnings.append(
            _("no candle file, left out: {names}").format(
                names=_names([symbol for symbol, _error in missing])
            )
        )
    return found


def _bases(
    config: Config, store: CandleStore, candles: Mapping[str, CandleColumns]
) -> dict[str, SessionBases]:
    """Return what minute candles do not show: the base prices of their sessions."""
    if config.bars.length.is_daily or config.broker.rules != "krx":
        return {}
    return {symbol: store.bases(symbol, item) for symbol, item in candles.items()}


def union_of(times: Sequence[Times]) -> Times:
    """Return the times that are in any of the columns, each once, in order.

    Args:
        times: datetime64[s], increasing, one or more.
    """
    # Most symbols have the same bars.
    differing = [column for column in times if not np.array_equal(column, times[0])]
    if not differing:
        return times[0]
    union: Times = np.unique(np.concatenate([times[0], *differing]))
    return union


def _last_bound(config: Config, last: np.datetime64 | None) -> np.datetime64:
    bounds: list[Any] = [np.datetime64("9999-12-31", "s")]
    if config.data.to is not None:
        day = np.datetime64(config.data.to, "D") + np.timedelta64(1, "D")
        bounds.append(day.astype("datetime64[s]") - np.timedelta64(1, "s"))
    if last is not None:
        bounds.append(last)
    bound: np.datetime64 = min(bounds)
    return bound


def _first_bar(
    config: Config, union: Times, last_day: object, warnings: list[str]
) -> tuple[int, int]:
    """Return the positions of the first bar loaded and the first tradable one."""
    warmup = config.data.warmup
    if config.data.from_ is None:
        if len(union) <= warmup:
            raise ConfigError(
                _(
                    "data.warmup takes {warmup:,} bars and only {found:,} are there; "
                    "lower data.warmup, or import a longer history"
                ).format(warmup=warmup, found=len(union)),
                path="data.warmup",
            )
        return 0, warmup
    first = int(np.searchsorted(union, np.datetime64(config.data.from_, "s")))
    if first >= len(union):
        raise MissingCandles(
            _(
                "no bars between {first} and {last}; the candles of this universe "
                "end on {end}"
            ).format(
                first=config.data.from_,
                last=config.data.to or _("today"),
                end=last_day,
            )
        )
    if first < warmup:
        warnings.append(
            _(
                "only {found:,} of {warmup:,} warm-up bars lie before {first}: "
                "indicators start late or differ from a longer run"
            ).format(found=first, warmup=warmup, first=config.data.from_)
        )
    return max(0, first - warmup), first


def label_closes(
    symbol: str, candles: CandleColumns, calendar: KrxCalendar, store: CandleStore
) -> CandleColumns:
    """Return daily candles labelled with the close of their session.

    A store may have been filled before an odd closing time was known. A label
    before the close would let an order live in the session that has just ended.

    Raises:
        BadCandle: a candle lies on a day without a session.
    """
    days = candles.sessions
    if not len(days):
        return candles
    known = calendar.sessions(days[0].astype(object), days[-1].astype(object))
    near = np.searchsorted(known, days)
    strange = days[np.append(known, np.datetime64("NaT", "D"))[near] != days]
    if len(strange):
        raise BadCandle(
            _(
                "{file} has a candle on {day}, which is no session; remove the row, or "
                "the holiday from krx_overrides.yaml"
            ).format(file=store.file(symbol, DAILY), day=strange[0])
        )
    return replace(candles, end=calendar.close_times(days))


def _warn_about_volumes(
    config: Config,
    instruments: Mapping[str, Instrument],
    candles: Mapping[str, CandleColumns],
    warnings: list[str],
) -> None:
    """Say for which symbols and until when the volume cap does not fit.

    This looks at the whole history, so it may only warn: what trades is decided
    bar by bar.
    """
    if config.broker.volume_share is None:
        return
    until: dict[str, Any] = {}
    for symbol, columns in candles.items():
        instrument, days = instruments[symbol], columns.sessions
        fits = (
            valid_prints(
                np.concatenate([getattr(columns, name) for name in PRICES]),
                np.tile(days, len(PRICES)),
                market=instrument.market,
                product=instrument.product,
            )
            .reshape(len(PRICES), -1)
            .all(axis=0)
        )
        if not fits.all():
            until[symbol] = days[np.flatnonzero(~fits)[-1]]
    if until:
        latest = sorted(until.items(), key=lambda item: item[1], reverse=True)
        named = [f"{symbol} ({day})" for symbol, day in latest]
        warnings.append(
            _(
                "prices are adjusted for splits but volumes are not: the volume cap "
                "of {share:.0%} does not fit before the last adjustment of {names}"
            ).format(share=config.broker.volume_share, names=_names(named))
        )


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return (
        shown
        if more <= 0
        else _("{shown} and {more} more").format(shown=shown, more=more)
    )
