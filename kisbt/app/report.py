"""Render the report of a stored run again."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kisbt.clock import KST
from kisbt.errors import InputError, KisbtError
from kisbt.model.result import FillRow, RunResult
from kisbt.report.charts import SymbolChart
from kisbt.report.folder import REPORT_FILE, read_run
from kisbt.report.html import write_report
from kisbt.report.metrics import Summary, summarise
from kisbt.text import _

RUNS = Path("runs")
"""Where runs are kept unless ``--out`` says otherwise."""

_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A report that was written.

    Attributes:
        path: of the page.
        summary: the numbers on it.
        warning: why it has no candles, "" if it has.
    """

    path: Path
    summary: Summary
    warning: str = ""


def find_run(text: str, runs: Path = RUNS) -> Path:
    """Return the folder of a run, given as a path or as its name in `runs`.

    Raises:
        InputError: there is none; names the latest runs there are.
    """
    for folder in (Path(text), runs / text):
        if text and folder.is_dir():
            return folder
    known = sorted(path.parent.name for path in runs.glob("*/run.json"))[-_LISTED:]
    if not known:
        raise InputError(
            _(
                "no run {found!r}: expected the folder of a run; make one with "
                "kisbt backtest"
            ).format(found=text)
        )
    raise InputError(
        _(
            "no run {found!r}: expected the folder of a run; the latest are {known}"
        ).format(found=text, known=", ".join(known))
    )


def make_report(
    run_folder: Path,
    language: str,
    *,
    charts_of: Callable[[RunResult], Mapping[str, SymbolChart]],
) -> Rendered:
    """Write report.html of a stored run again, in place of the old one.

    Args:
        run_folder: as `kisbt backtest` wrote it.
        language: ``ko`` or ``en``.
        charts_of: computes candles and indicators again. When it cannot, because
            the candles have gone, the page is written without them.

    Raises:
        InputError: `run_folder` is no run folder, or damaged.
        StorageError: the page could not be written; the old one is untouched.
    """
    result = read_run(run_folder)
    warning = ""
    charts: Mapping[str, SymbolChart] = {}
    try:
        charts = charts_of(result)
    except KisbtError as error:
        warning = _("the report has no candle charts: {cause}").format(cause=error)
    stranger = _fill_off_its_candle(result, charts)
    if stranger is not None:
        # Marks beside the candles would tell a wrong story about the strategy.
        charts = {}
        warning = _(
            "the report has no candle charts: the candles of {symbol} on {day} are "
            "not those of the run; run the backtest again"
        ).format(symbol=stranger.symbol, day=f"{stranger.bar:%Y-%m-%d}")
    summary = summarise(result)
    path = write_report(
        run_folder / REPORT_FILE, result, summary, charts, language=language
    )
    return Rendered(path=path, summary=summary, warning=warning)


def _fill_off_its_candle(
    result: RunResult, charts: Mapping[str, SymbolChart]
) -> FillRow | None:
    """Return a fill that its candle cannot have made, None if there is none."""
    by_symbol: dict[str, list[FillRow]] = defaultdict(list)
    for fill in result.fills:
        if fill.symbol in charts:
            by_symbol[fill.symbol].append(fill)
    for symbol, fills in by_symbol.items():
        chart = charts[symbol]
        if not len(chart.end):
            return fills[0]
        naive = [fill.bar.astimezone(KST).replace(tzinfo=None) for fill in fills]
        bars = np.array(naive, dtype="datetime64[s]")
        price = np.array([fill.price for fill in fills])
        at = np.searchsorted(chart.end, bars)
        known = at < len(chart.end)
        at = np.minimum(at, len(chart.end) - 1)
        room = 1e-6 * price
        good = (
            known
            & (chart.end[at] == bars)
            & (price >= chart.low[at] - room)
            & (price <= chart.high[at] + room)
        )
        if not good.all():
            return fills[int(np.argmin(good))]
    return None
