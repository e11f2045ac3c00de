"""Run a strategy on stored candles and hand back everything it left behind."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import backtrader as bt
import numpy as np

import kisbt
from kisbt.app.prepare import Prepared, prepare, union_of
from kisbt.app.strategies import error_place
from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.engine.cerebro import FastCerebro
from kisbt.bt.engine.garbage import rare_collections
from kisbt.bt.feed import CandleFeed, datetime_numbers
from kisbt.bt.result import (
    Times,
    decision_rows,
    equity_curve,
    fill_rows,
    order_rows,
    round_trips,
)
from kisbt.bt.snapshot import indicator_lines, line_values
from kisbt.bt.warmup import hold_until
from kisbt.candles.columns import CandleColumns
from kisbt.candles.sample import SAMPLE_SYMBOLS
from kisbt.clock import Clock, SystemClock
from kisbt.config.load import load_config
from kisbt.config.schema import Config, RiskConfig, config_hash, dump_config
from kisbt.errors import InputError, KisbtError, MissingCandles, StrategyError
from kisbt.model.result import Curve, RunResult
from kisbt.orders.risk import RiskLimits
from kisbt.report.charts import ChartLine, SymbolChart
from kisbt.report.folder import write_run
from kisbt.report.metrics import Summary, summarise
from kisbt.text import _, current_language

if TYPE_CHECKING:
    import pandas as pd

ENGINES = ("auto", "fast", "plain")

# Called with (bars done, bars in all).
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """A finished backtest.

    Attributes:
        result: orders, fills, trades, equity, decisions.
        summary: the numbers of summary.json.
        charts: candles and indicators by symbol, for the report.
    """

    result: RunResult
    summary: Summary
    charts: Mapping[str, SymbolChart]

    def frames(self) -> dict[str, "pd.DataFrame"]:
        """Return DataFrames: ``orders``, ``fills``, ``trades``, ``equity`` ...

        ``decisions`` and ``open_positions`` are there, too. Times of rows are
        aware KST; the index of ``equity`` is naive KST.
        """
        from kisbt.app.frames import result_frames

        return result_frames(self.result)

    @rare_collections()
    def save(
        self,
        folder: str | Path,
        *,
        language: str | None = None,
        with_report: bool = True,
    ) -> Path:
        """Write the run folder and return it.

        Args:
            folder: new or empty.
            language: of the report, ``ko`` or ``en``; the one in force if None.
            with_report: whether to write report.html, too.

        Raises:
            InputError: `folder` is a file or not empty.
            StorageError: it cannot be written; nothing is left behind.
        """
        files: dict[str, str | bytes] = {}
        if with_report:
            # Imported late: plotly is not needed for the numbers.
            from kisbt.report.html import render_report

            files["report.html"] = render_report(
                self.result,
                self.summary,
                self.charts,
                language=language or current_language(),
            )
        return write_run(
            self.result, Path(folder), summary=self.summary, extra_files=files
        )


@rare_collections()
def backtest(
    config: Config | str | Path | Mapping[str, Any],
    *,
    strategy: type[bt.Strategy] | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    engine: str = "auto",
) -> Backtest:
    """Run a backtest; nothing is written.

    Args:
        config: a `Config`, the path of a YAML file, or its content as a mapping.
        strategy: a class, in place of the one the configuration names.
        progress: told how far the run is.
        clock: for the times in run.json.
        engine: ``auto`` or ``fast`` for the fast engine, which leaves a run it
            cannot take to the plain one and says so; ``plain`` for backtrader's
            own loop. Results are the same to the last bit.

    Raises:
        ConfigError, DataError: the input is wrong; says what to do.
        StrategyError: the strategy raised.
    """
    time_source = clock or SystemClock()
    started = time_source.now()
    named = {} if strategy is None else {"strategy.class": _name(strategy)}
    if not isinstance(config, Config):
        config = load_config(config, overrides=named)
    elif strategy is not None:
        renamed = config.strategy.model_copy(update={"class_": _name(strategy)})
        config = config.model_copy(update={"strategy": renamed})
    prepared = prepare(config, strategy=strategy)
    cerebro, feeds = build_cerebro(
        prepared, on_bar=_counter(progress, prepared.bars), engine=engine
    )
    ran = run_cerebro(cerebro)
    return finish(prepared, cerebro, feeds, ran, (started, time_source.now()))


def finish(
    prepared: Prepared,
    cerebro: bt.Cerebro,
    feeds: Mapping[str, CandleFeed],
    ran: Any,
    between: tuple[datetime, datetime] | None = None,
) -> Backtest:
    """Return what a Cerebro of `build_cerebro` has left behind.

    Args:
        prepared, cerebro, feeds: of the run.
        ran: what `run_cerebro` returned.
        between: when it began and ended; now if None.
    """
    now = SystemClock().now()
    result = _result(prepared, cerebro, feeds, *(between or (now, now)))
    return Backtest(
        result=result, summary=summarise(result), charts=charts_of_feeds(ran, feeds)
    )


def build_cerebro(
    prepared: Prepared,
    *,
    first: float | None = None,
    on_bar: Callable[[float], None] | None = None,
    engine: str = "auto",
    starting_cash: float | None = None,
    make_broker: Callable[..., KrxBackBroker] = KrxBackBroker,
) -> tuple[bt.Cerebro, dict[str, CandleFeed]]:
    """Return a Cerebro ready to run, and its feeds by symbol.

    Args:
        prepared: the run.
        first: date number of the first bar on which the strategy is called;
            that of `prepared` if None.
        on_bar: called with the date number of each bar.
        engine: as in `backtest`.
        starting_cash: won; the configuration's capital if None.
        make_broker: what is called with the broker's parameters.

    Raises:
        InputError: no engine of that name.
    """
    if engine not in ENGINES:
        raise InputError(
            _("engine {found!r}: expected one of {names}").format(
                found=engine, names=", ".join(ENGINES)
            )
        )
    config = prepared.config
    gate = float(datetime_numbers(np.array([prepared.first]))[0])
    broker = config.broker
    cerebro = (bt.Cerebro if engine == "plain" else FastCerebro)(stdstats=False)
    cerebro.setbroker(
        make_broker(
            cash=float(config.capital if starting_cash is None else starting_cash),
            rules=broker.rules,
            commission=broker.commission,
            tax=broker.tax,
            slippage_ticks=broker.slippage_ticks,
            volume_share=broker.volume_share,
            market_orders=broker.market_orders,
            risk=risk_limits(config.risk),
            calendar=prepared.calendar,
            tax_rows=prepared.tax_rows,
            record_from=gate,
            on_bar=on_bar,
        )
    )
    feeds = {}
    for symbol, candles in prepared.candles.items():
        feed = CandleFeed(
            dataname=candles,
            name=symbol,
            instrument=prepared.instruments[symbol],
            interval=config.bars.length,
            adjusted=prepared.adjusted,
            bases=prepared.bases.get(symbol),
        )
        cerebro.adddata(feed)
        feeds[symbol] = feed
    gated = hold_until(prepared.strategy_class, gate if first is None else first)
    cerebro.addstrategy(gated, **prepared.params)
    return cerebro, feeds


def run_cerebro(cerebro: bt.Cerebro) -> Any:
    """Run, and return the strategy object.

    Raises:
        StrategyError: the user's code raised; names file, line and bar.
    """
    try:
        return cerebro.run()[0]
    except KisbtError:
        raise
    except Exception as error:
        raise strategy_error(error, cerebro.broker) from error


def risk_limits(config: RiskConfig) -> RiskLimits:
    """Return the limits of the `risk:` block that a backtest checks."""
    return RiskLimits(
        max_order_pct=config.max_order_pct,
        max_symbol_pct=config.max_symbol_pct,
        max_daily_loss_pct=config.max_daily_loss_pct,
        max_orders_per_day=config.max_orders_per_day,
        max_adv_pct=config.max_adv_pct,
        max_orders_per_minute=config.max_orders_per_minute,
        max_consecutive_losses=config.max_consecutive_losses,
        max_open_orders=config.max_open_orders,
    )


def config_of(
    result: RunResult, *, overrides: Mapping[str, object] | None = None
) -> Config:
    """Return the configuration of a stored run.

    Raises:
        ConfigError: it is none of this version.
    """
    run = result.run
    # Parameters are merged already; their file may have changed since.
    changes = {"strategy.params_file": None, **(overrides or {})}
    return load_config(
        run["config"], overrides=changes, root=Path(run.get("project") or ".")
    )


def charts_of(result: RunResult) -> Mapping[str, SymbolChart]:
    """Compute candles and indicators of a stored run again, from its settings.

    Raises:
        ConfigError, DataError: its configuration or its candles are gone.
    """
    config = config_of(result)
    prepared = prepare(config)
    cerebro, feeds = build_cerebro(prepared, first=float("inf"))
    return charts_of_feeds(run_cerebro(cerebro), feeds)


def _name(strategy: type[bt.Strategy]) -> str:
    return f"{strategy.__module__}:{strategy.__name__}"


def _counter(progress: Progress | None, bars: int) -> Callable[[float], None] | None:
    if progress is None:
        return None
    step = max(1, bars // 200)
    done = 0

    def count(_now: float) -> None:
        nonlocal done
        done += 1
        if done % step == 0 or done == bars:
            progress(done, bars)

    return count


def strategy_error(error: Exception, broker: KrxBackBroker) -> StrategyError:
    """Return an error of the user's code with file, line and bar."""
    file, line = error_place(error)
    bar = broker.current_bar()
    return StrategyError(
        _(
            "the strategy stopped with {kind}: {message} ({file}, line {line}, bar "
            "{bar}); mend it there, or see the whole trace with --debug"
        ).format(
            kind=type(error).__name__,
            message=error,
            file=file,
            line=line,
            bar=bar or _("none yet"),
        ),
        bar=bar,
    )


def _result(
    prepared: Prepared,
    cerebro: bt.Cerebro,
    feeds: Mapping[str, CandleFeed],
    started: datetime,
    ended: datetime,
) -> RunResult:
    times = Times()
    recorder = cerebro.broker.recorder
    trades, held = round_trips(recorder, feeds, times)
    warnings = list(prepared.warnings)
    engine, fallback = _engine_of(cerebro)
    if fallback is not None:
        warnings.append(
            _("the plain engine ran, which is slower: {reason}").format(reason=fallback)
        )
    benchmark = benchmark_curve(prepared, warnings)
    return RunResult(
        run={
            **_run(prepared, started, ended, warnings),
            "engine": engine,
            "engine_fallback": fallback,
        },
        instruments=dict(prepared.instruments),
        orders=order_rows(recorder, times),
        fills=fill_rows(recorder, times),
        trades=trades,
        equity=equity_curve(recorder),
        decisions=decision_rows(recorder, times),
        open_positions=held,
        benchmark=benchmark,
        buy_and_hold=buy_and_hold_curve(prepared),
    )


def _engine_of(cerebro: bt.Cerebro) -> tuple[str, str | None]:
    """Return which engine ran, and why it was not the fast one where that was asked."""
    if isinstance(cerebro, FastCerebro):
        return cerebro.engine, cerebro.fallback
    return "plain", None


def _run(
    prepared: Prepared, started: datetime, ended: datetime, warnings: list[str]
) -> dict[str, Any]:
    config = prepared.config
    name = config.strategy.class_.rpartition(":")[2]
    merged = dump_config(config)
    merged["strategy"]["params"] = _plain(prepared.params)
    interval = config.bars.length
    adjusted = config.data.adjusted
    return {
        "id": f"{started:%Y%m%d-%H%M%S}-{name}",
        "mode": "backtest",
        "config": merged,
        "config_hash": config_hash(config),
        "config_file": None if config.source is None else config.source.name,
        "project": str(config.root),
        "versions": {
            "kisbt": kisbt.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in ("backtrader", "numpy", "pandas")},
        },
        "store_hash": prepared.store.content_hash(
            prepared.instruments, interval, adjusted=adjusted
        ),
        "starting_cash": config.capital,
        "starting_positions": {},
        "started": started.isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "first_session": str(prepared.first.astype("datetime64[D]")),
        "last_session": str(prepared.last.astype("datetime64[D]")),
        "warmup_bars": prepared.warmup_bars,
        "adjusted": prepared.adjusted,
        "synthetic": _is_synthetic(prepared),
        "interval": str(interval),
        "warnings": warnings,
        "exit_state": "done",
    }


@cache
def _version(distribution: str) -> str:
    return version(distribution)


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON can hold them; an object becomes its name."""
    plain = (str, int, float, bool, list, dict, type(None))
    return {k: v if isinstance(v, plain) else repr(v) for k, v in params.items()}


def _is_synthetic(prepared: Prepared) -> bool:
    """Return whether the run stands on the bundled, invented companies."""
    return SAMPLE_SYMBOLS.issuperset(prepared.instruments)


def benchmark_curve(prepared: Prepared, warnings: list[str]) -> Curve | None:
    """Return the benchmark over the run; None, and a warning, without candles."""
    config = prepared.config
    symbol = config.report.benchmark
    if symbol is None:
        return None
    try:
        candles = prepared.store.read(symbol, config.bars.length)
    except MissingCandles:
        warnings.append(
            _(
                "no candles of the benchmark {symbol} in {folder}: import them, or set "
                "report.benchmark to null"
            ).format(symbol=symbol, folder=prepared.store.path)
        )
        return None
    inside = candles.between(prepared.first, prepared.last)
    if not len(inside):
        warnings.append(
            _("the benchmark {symbol} has no candles in the range").format(
                symbol=symbol
            )
        )
        return None
    return Curve(time=inside.end, value=inside.close)


def buy_and_hold_curve(prepared: Prepared) -> Curve | None:
    """Return the starting cash spread evenly at the first tradable close, held."""
    tradable = {
        symbol: candles.between(prepared.first, None)
        for symbol, candles in prepared.candles.items()
    }
    bought = [c for c in tradable.values() if len(c) and c.end[0] == prepared.first]
    if not bought:
        return None
    time = union_of([c.end for c in tradable.values() if len(c)])
    value = np.zeros(len(time))
    for candles in bought:
        close = candles.close
        if len(candles) != len(time):
            close = close[np.searchsorted(candles.end, time, side="right") - 1]
        value += close / candles.close[0]
    return Curve(time=time, value=value * (prepared.config.capital / len(bought)))


def charts_of_feeds(
    strategy: Any, feeds: Mapping[str, CandleFeed]
) -> dict[str, SymbolChart]:
    """Return candles and indicators of a run, by symbol."""
    lines = indicator_lines(strategy)
    charts = {}
    for symbol, feed in feeds.items():
        candles: CandleColumns = feed.candles
        charts[symbol] = SymbolChart(
            end=candles.end,
            open=candles.open,
            high=candles.high,
            low=candles.low,
            close=candles.close,
            volume=candles.volume,
            lines={
                named.name: ChartLine(
                    values=line_values(named, len(candles)), overlay=named.overlay
                )
                for named in lines.get(feed, ())
            },
        )
    return charts
