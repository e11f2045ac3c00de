"""One trial of a search, as a worker process runs it: a backtest without its papers."""

import hashlib
import inspect
import pickle
import platform
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from kisbt.app.backtest import (
    benchmark_curve,
    build_cerebro,
    buy_and_hold_curve,
    run_cerebro,
)
from kisbt.app.prepare import Prepared, prepare
from kisbt.app.strategies import load_strategy_class
from kisbt.bt.engine.recall import recalled
from kisbt.bt.result import Times, equity_curve, fill_rows, round_trips
from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.config.schema import Config
from kisbt.errors import InputError, KisbtError, MissingCandles
from kisbt.model.result import Curve, Floats, RunResult
from kisbt.optimize.pool import check_versions, versions
from kisbt.optimize.shared import Block, Shelf, ShelfStore, map_block, pack, save_block
from kisbt.optimize.space import Params
from kisbt.optimize.trials import STORED, Trial
from kisbt.optimize.windows import Range
from kisbt.report.metrics import (
    metrics_of,
    returns_of,
    session_values,
    starting_value,
)
from kisbt.text import _, current_language, use_language


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What all trials of a search have in common; small, or sent once.

    Attributes:
        digest: of its content; jobs of one digest are the same.
        packed: configuration, shelf and versions, pickled once.
        candles: the path of a block of candles, or the block itself.
    """

    digest: str
    packed: bytes
    candles: str | Block

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.digest == self.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """What `Job.packed` holds."""

    config: Config
    shelf: Shelf
    versions: dict[str, str]
    source: str
    language: str


def make_job(prepared: Prepared, folder: Path | None) -> Job:
    """Return the job of a prepared run.

    Args:
        prepared: with every candle that any window needs.
        folder: where to put the candles for other processes of this machine; if
            None they are part of the job, for workers elsewhere.
    """
    shelf, block = pack(
        stored_candles(prepared.config, prepared.store, prepared.instruments),
        prepared.store,
        prepared.config.bars.length,
    )
    candles = block if folder is None else str(save_block(block, folder))
    # By code: a file of names may not be there where the workers are.
    universe = prepared.config.universe.model_copy(
        update={"symbols": tuple(prepared.instruments), "file": None}
    )
    config = prepared.config.model_copy(update={"universe": universe})
    return bare_job(config, prepared.strategy_class, shelf, candles)


def bare_job(
    config: Config, strategy: type[Any], shelf: Shelf, candles: str | Block
) -> Job:
    """Return a job over these candles."""
    packed = pickle.dumps(
        _Packed(
            config=config.model_copy(update={"optimize": None}),
            shelf=shelf,
            versions=versions(),
            source=source_digest(strategy),
            language=current_language(),
        )
    )
    return Job(hashlib.sha256(packed).hexdigest(), packed, candles)


def stored_candles(
    config: Config, store: CandleStore, symbols: Iterable[str]
) -> dict[str, CandleColumns]:
    """Return the candles of symbols and of the benchmark, as the store has them."""
    interval, adjusted = config.bars.length, config.data.adjusted
    found = {
        symbol: store.read(symbol, interval, adjusted=adjusted) for symbol in symbols
    }
    benchmark = config.report.benchmark
    if benchmark is not None and benchmark not in found:
        with suppress(MissingCandles):  # the run itself warns
            found[benchmark] = store.read(benchmark, interval)
    return found


def source_digest(strategy: type[Any]) -> str:
    """Return a SHA-256 of the files that define a strategy and its bases."""
    files = set()
    for kind in strategy.__mro__:
        module = sys.modules.get(kind.__module__)
        if module is not None and not kind.__module__.startswith(
            ("builtins", "backtrader", "kisbt")
        ):
            file = inspect.getsourcefile(module)
            if file is not None:
                files.add(file)
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: Path(file).name):
        # Line ends may differ between machines.
        digest.update(Path(file).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """A run ready for many trials."""

    prepared: Prepared
    benchmark: Curve | None
    hold: Curve | None
    times: Times
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A job as a worker sees it; versions and code were found to be the same.

    Attributes:
        strategy: the class.
        store: of the job's candles.
    """

    config: Config
    strategy: type[Any]
    store: ShelfStore
    language: str


@lru_cache(maxsize=2)
def unpack(job: Job) -> Unpacked:
    """Open a job, once in each process.

    Raises:
        InputError: this process has other versions or another strategy.
    """
    held: _Packed = pickle.loads(job.packed)  # noqa: S301 - made by `make_job`
    check_versions(held.versions, versions(), platform.node())
    config = held.config
    strategy = load_strategy_class(config.strategy.class_, config.root)
    if source_digest(strategy) != held.source:
        raise InputError(
            _(
                "worker {worker} has another version of {name}: copy the strategies "
                "folder to it and start the worker there again"
            ).format(worker=platform.node(), name=config.strategy.class_)
        )
    block = map_block(job.candles) if isinstance(job.candles, str) else job.candles
    return Unpacked(
        config=config,
        strategy=strategy,
        store=ShelfStore(held.shelf, block),
        language=held.language,
    )


@lru_cache(maxsize=4)
def _open(job: Job, window: Range | None) -> _Bench:
    """Prepare a window once in each process."""
    held = unpack(job)
    config = held.config
    if window is not None:
        dates = {"from_": window.first, "to": window.last}
        config = config.model_copy(
            update={"data": config.data.model_copy(update=dates)}
        )
    prepared = prepare(config, strategy=held.strategy, store=held.store)
    return _Bench(
        prepared=prepared,
        benchmark=benchmark_curve(prepared, []),
        hold=buy_and_hold_curve(prepared),
        times=Times(),
        language=held.language,
    )


def run_trial(job: Job, window: Range | None, number: int, params: Params) -> Trial:
    """Run one trial and return its numbers.

    A strategy that raises makes a failed trial, not a failed search.

    Raises:
        KisbtError: this worker cannot run the job at all.
    """
    bench = _open(job, window)
    with use_language(bench.language), recalled():
        try:
            result = lean_result(bench.prepared, params, times=bench.times)
        except KisbtError as error:
            return Trial(number=number, params=params, metrics=None, error=str(error))
    result = replace(result, benchmark=bench.benchmark, buy_and_hold=bench.hold)
    return trial_of(number, params, result)


def trial_of(number: int, params: Params, result: RunResult) -> Trial:
    """Return the trial that a finished run is."""
    return Trial(
        number=number,
        params=params,
        metrics=metrics_of(result),
        returns=session_returns(result).astype(STORED).tobytes(),
    )


def lean_result(
    prepared: Prepared,
    params: Params,
    *,
    engine: str = "auto",
    times: Times | None = None,
) -> RunResult:
    """Run a backtest and return its fills, trades and equity: what numbers need.

    Args:
        prepared: the run.
        params: that differ from its own.
        engine: as in `backtest`.
        times: of earlier runs on the same bars, which need not be converted again.
    """
    cerebro, feeds = build_cerebro(
        replace(prepared, params={**prepared.params, **params}), engine=engine
    )
    run_cerebro(cerebro)
    recorder = cerebro.broker.recorder
    times = times or Times()
    trades, held = round_trips(recorder, feeds, times)
    return RunResult(
        run={"starting_cash": prepared.config.capital},
        instruments={},
        orders=(),
        fills=fill_rows(recorder, times),
        trades=trades,
        equity=equity_curve(recorder),
        decisions=(),
        open_positions=held,
    )


def session_returns(result: RunResult) -> Floats:
    """Return the returns of the sessions, the first one against the starting cash."""
    sessions = session_values(result.equity.time, result.equity.equity)
    path = np.concatenate(([starting_value(result)], sessions.value))
    return np.nan_to_num(returns_of(path))


def returns_table(trials: Sequence[Trial]) -> Floats:
    """Return session returns as a table, shape (trials, sessions).

    A run that ended early has zeros for the rest.
    """
    rows = [trial.session_returns for trial in trials]
    table = np.zeros((len(rows), max(map(len, rows), default=0)))
    for k, row in enumerate(rows):
        table[k, : len(row)] = row
    return table
