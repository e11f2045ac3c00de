"""The folder of a paper or live run that has ended."""

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from kisbt.app.incidents import journal_incidents
from kisbt.app.liveparts import Parts
from kisbt.app.liveresult import (
    LiveFacts,
    carried_orders,
    live_result,
    with_broker_numbers,
    write_candles,
)
from kisbt.app.venue import Venue
from kisbt.model.result import RunResult
from kisbt.report.folder import write_run
from kisbt.report.livefiles import CANDLES, live_files
from kisbt.report.metrics import Summary, summarise
from kisbt.text import current_language


def write_folder(
    parts: Parts, venue: Venue, facts: LiveFacts, folder: Path, *, with_report: bool
) -> tuple[RunResult, Summary]:
    """Write what a run leaves behind.

    Args:
        parts: of the run.
        venue: where it was.
        facts: of the run.
        folder: to write; new.
        with_report: write report.html.

    Raises:
        StorageError: it cannot be written.
    """
    record = parts.session.record
    carried = carried_orders(parts.broker.recorder, record, parts.start)
    parts.start.orders = carried.values()
    earlier = {order.order_ref: ref for ref, order in carried.items() if ref > 0}
    number = _numbers(parts, earlier)
    record.incidents += journal_incidents(parts.journal, facts.run_id, number)
    result = live_result(
        parts.plan,
        venue,
        parts.broker.recorder,
        parts.feeds,
        record,
        parts.start,
        facts,
    )
    result = with_broker_numbers(result, parts.journal, parts.run_number, earlier)
    summary = summarise(result)
    files: dict[str, str | bytes] = dict(
        live_files(record.candle_events, parts.heard.events(number))
    )
    if with_report:
        files["report.html"] = _report(result, summary, parts)
    write_run(result, folder, summary=summary, extra_files=files)
    part = folder / f".{CANDLES}.{secrets.token_hex(3)}"
    try:
        write_candles(parts.plan, record, part)
        part.rename(folder / CANDLES)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return result, summary


def _numbers(parts: Parts, earlier: dict[int, int]) -> Callable[[int], int | None]:
    """Return what tells an order's number in this run by the journal's.

    Args:
        parts: of the run.
        earlier: the journal's number of orders taken over, by that in this run.
    """
    taken_over = {ref: number for number, ref in earlier.items()}

    def number(ref: int) -> int | None:
        if ref in taken_over:
            return taken_over[ref]
        order = parts.journal.order(ref)
        return order.number if order.run == parts.run_number else None

    return number


def _report(result: RunResult, summary: Summary, parts: Parts) -> str:
    from kisbt.app.backtest import charts_of_feeds
    from kisbt.report.html import render_report

    strategies = getattr(parts.cerebro, "runningstrats", None)
    charts = charts_of_feeds(strategies[0], parts.feeds) if strategies else {}
    return render_report(result, summary, charts, language=current_language())
