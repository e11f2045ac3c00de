"""Each symbol in a run of its own: a whole market, on many processors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kisbt.app.backtest import ENGINES, benchmark_curve, buy_and_hold_curve
from kisbt.app.optimize import default_workers
from kisbt.app.prepare import prepare
from kisbt.app.searchfolder import table_text, write_json, write_page
from kisbt.app.strategies import check_params, load_strategy_class
from kisbt.app.trials import (
    Job,
    bare_job,
    lean_result,
    source_digest,
    stored_candles,
    trial_of,
    unpack,
)
from kisbt.candles.store import CandleStore
from kisbt.clock import Clock, SystemClock
from kisbt.config.load import resolve_universe
from kisbt.config.schema import Config, config_hash, dump_config
from kisbt.errors import DataError, InputError, KisbtError
from kisbt.model.instrument import Instrument
from kisbt.model.result import Curve
from kisbt.optimize.pool import open_pool, versions
from kisbt.optimize.shared import Block, Shelf, ShelfStore, pack
from kisbt.optimize.trials import STORED
from kisbt.report.folder import write_text
from kisbt.report.metrics import session_values
from kisbt.text import _, use_language

TABLE_FILE = "per_symbol.csv"
PAGE_FILE = "per_symbol.html"
HEAD_FILE = "per_symbol.json"

# Candles of this many symbols are in memory at a time when they are sent.
_SENT_AT_ONCE = 100

SymbolNotice = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRun:
    """What one symbol's own run left.

    Attributes:
        metrics: numbers of its summary; None when it could not run.
        days: its sessions, days since 1970 as little-endian int32.
        returns: session returns, little-endian float32.
        error: why it could not run, else "".
        warnings: what the run had to say.
    """

    symbol: str
    metrics: Mapping[str, Any] | None
    days: bytes = b""
    returns: bytes = b""
    error: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerSymbol:
    """A finished backtest of each symbol on its own.

    Attributes:
        runs: in the order of the universe.
        instruments: by symbol.
        average: equal shares of the capital in all runs, won; None without any.
        started: wall clock, as text.
    """

    config: Config
    runs: tuple[SymbolRun, ...]
    instruments: Mapping[str, Instrument]
    average: Curve | None
    run_id: str
    started: str
    strategy_hash: str
    seconds: float
    workers: int

    @property
    def done(self) -> list[SymbolRun]:
        """The runs that could run."""
        return [run for run in self.runs if run.metrics is not None]


def run_symbol(
    job: Job, symbol: str, engine: str, sent: tuple[Shelf, Block] | None
) -> SymbolRun:
    """Run one symbol with the whole capital and return its numbers.

    Args:
        job: what all symbols have in common.
        symbol: of the run.
        engine: as in `backtest`.
        sent: its candles; read from the configuration's store if None.
    """
    held = unpack(job)
    universe = held.config.universe.model_copy(
        update={"symbols": (symbol,), "file": None}
    )
    config = held.config.model_copy(update={"universe": universe})
    with use_language(held.language):
        try:
            prepared = prepare(
                config,
                strategy=held.strategy,
                store=None if sent is None else ShelfStore(*sent),
            )
            result = lean_result(prepared, {}, engine=engine)
        except KisbtError as error:
            return SymbolRun(symbol=symbol, metrics=None, error=str(error))
        whole = replace(
            result,
            benchmark=benchmark_curve(prepared, []),
            buy_and_hold=buy_and_hold_curve(prepared),
        )
    trial = trial_of(0, {}, whole)
    day = session_values(result.equity.time, result.equity.equity).day
    return SymbolRun(
        symbol=symbol,
        metrics=trial.metrics,
        days=day.astype(np.int64).astype("<i4").tobytes(),
        returns=trial.returns,
        warnings=tuple(prepared.warnings),
    )


def per_symbol(
    config: Config,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    engine: str = "auto",
    notice: SymbolNotice | None = None,
    clock: Clock | None = None,
) -> PerSymbol:
    """Run every symbol of the universe on its own, each with the whole capital.

    A symbol without candles, or with too few, gets an error in its row and stops
    nobody else.

    Args:
        config: of the runs.
        workers: processes of this machine; as many as it has if None.
        cluster: address of a Dask scheduler; candles are sent along.
        engine: as in `backtest`.
        notice: told after each symbol.
        clock: for the times.

    Raises:
        ConfigError: the strategy or the universe is wrong.
        DataError: no symbol could run.
        InputError: see `open_pool`.
    """
    if engine not in ENGINES:
        raise InputError(
            _("engine {found!r}: expected one of {names}").format(
                found=engine, names=", ".join(ENGINES)
            )
        )
    time_source = clock or SystemClock()
    started, begun_s = time_source.now(), time_source.monotonic()
    strategy = load_strategy_class(config.strategy.class_, config.root)
    check_params(strategy, config.strategy.params)
    store = CandleStore(config.data_path)
    universe = resolve_universe(config, store.instruments())
    shelf, block = pack({}, store, config.bars.length)
    job = bare_job(config, strategy, shelf, block)
    symbols = [instrument.symbol for instrument in universe]
    found: list[SymbolRun] = []
    with open_pool(workers or default_workers(), cluster=cluster, shared=job) as pool:
        for calls in _calls(job, config, store, symbols, engine, send=bool(cluster)):
            for run in pool.map(run_symbol, calls):
                found.append(run)
                if notice is not None:
                    notice(len(found), len(symbols))
        used = pool.workers
    if all(run.metrics is None for run in found):
        raise DataError(found[0].error)
    name = config.strategy.class_.rpartition(":")[2]
    return PerSymbol(
        config=config,
        runs=tuple(found),
        instruments={instrument.symbol: instrument for instrument in universe},
        average=_average(found, float(config.capital)),
        run_id=f"{started:%Y%m%d-%H%M%S}-{name}-per-symbol",
        started=started.isoformat(timespec="seconds"),
        strategy_hash=source_digest(strategy),
        seconds=time_source.monotonic() - begun_s,
        workers=used,
    )


def _calls(
    job: Job,
    config: Config,
    store: CandleStore,
    symbols: Sequence[str],
    engine: str,
    *,
    send: bool,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the calls; a few at a time when candles go along."""
    if not send:
        yield [(job, symbol, engine, None) for symbol in symbols]
        return
    for at in range(0, len(symbols), _SENT_AT_ONCE):
        calls = []
        for symbol in symbols[at : at + _SENT_AT_ONCE]:
            try:
                candles = stored_candles(config, store, [symbol])
            except DataError:
                candles = {}  # the run itself says what is missing
            packed = pack(candles, store, config.bars.length)
            calls.append((job, symbol, engine, packed))
        yield calls


def _average(runs: Sequence[SymbolRun], capital: float) -> Curve | None:
    """Return the equity of equal shares of the capital in all runs.

    A symbol listed later keeps its share in cash until its first session.
    """
    done = [run for run in runs if run.metrics is not None and run.days]
    if not done:
        return None
    days = [np.frombuffer(run.days, dtype="<i4").astype(np.int64) for run in done]
    axis = np.unique(np.concatenate(days))
    total = np.zeros(len(axis))
    for own, run in zip(days, done, strict=True):
        returns = np.frombuffer(run.returns, dtype=STORED).astype(np.float64)
        path = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
        total += path[np.searchsorted(own, axis, side="right")]
    return Curve(
        time=axis.astype("datetime64[D]").astype("datetime64[s]"),
        value=total * (capital / len(done)),
    )


def symbol_rows(found: PerSymbol) -> list[dict[str, Any]]:
    """Return the rows of per_symbol.csv."""
    return [
        {
            "symbol": run.symbol,
            "name": found.instruments[run.symbol].name,
            "market": found.instruments[run.symbol].market.value,
            "sessions": len(run.days) // 4,
            **(run.metrics or {}),
            "warnings": " | ".join(run.warnings),
            "error": run.error,
        }
        for run in found.runs
    ]


def symbol_outcome(found: PerSymbol) -> dict[str, Any]:
    """Return the numbers of all runs together: what ``--json`` prints."""
    done = found.done
    returns = [
        r for run in done if (r := (run.metrics or {})["total_return"]) is not None
    ]
    beaten = [
        m["total_return"] >= m["buy_and_hold_return"]
        for run in done
        if (m := run.metrics or {})
        and m["total_return"] is not None
        and m["buy_and_hold_return"] is not None
    ]
    average = found.average
    return {
        "symbols": len(found.runs),
        "failed": len(found.runs) - len(done),
        "profitable": float(np.mean([r > 0 for r in returns])) if returns else None,
        "beat_buy_and_hold": float(np.mean(beaten)) if beaten else None,
        "median_return": float(np.median(returns)) if returns else None,
        "quartiles": np.quantile(returns, [0.25, 0.75]).tolist() if returns else None,
        "average_return": float(average.value[-1]) / found.config.capital - 1.0
        if average is not None
        else None,
        "trades": sum((run.metrics or {})["trades"] for run in done),
        "seconds": round(found.seconds, 3),
        "workers": found.workers,
    }


def save_per_symbol(found: PerSymbol, folder: Path, *, with_report: bool) -> Path:
    """Write the folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / TABLE_FILE, table_text(symbol_rows(found)))
    if with_report:
        from kisbt.app.symbolpage import symbol_sheet

        write_page(folder / PAGE_FILE, symbol_sheet(found))
    config = dump_config(found.config)
    del config["notify"]
    write_json(
        folder / HEAD_FILE,
        {
            "id": found.run_id,
            "kind": "per-symbol",
            "config": config,
            "config_hash": config_hash(found.config),
            "strategy_hash": found.strategy_hash,
            "versions": versions(),
            "started": found.started,
            **symbol_outcome(found),
        },
    )
    return folder
