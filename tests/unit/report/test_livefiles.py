"""What a live run leaves beside the common files, written and read back."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kisbt.clock import KST
from kisbt.errors import InputError
from kisbt.model.liverun import (
    CandleChange,
    CandleEvent,
    Heard,
    Incident,
    IncidentKind,
    OrderEvent,
)
from kisbt.model.order import OrderType, Side
from kisbt.report.folder import read_run, write_run
from kisbt.report.livefiles import (
    CarriedOrder,
    LiveRun,
    live_files,
    live_run,
    read_live,
)
from tests.helpers.results import make_run

BAR = datetime(2025, 11, 3, 9, 31, tzinfo=KST)
LIVE = LiveRun(
    first_bar=BAR,
    last_bar=BAR + timedelta(hours=6),
    held_bars=(BAR + timedelta(minutes=5), BAR + timedelta(minutes=6)),
    starting_positions={"005930": (10, 71_234.5)},
    starting_orders=(
        CarriedOrder(
            order_ref=1,
            symbol="005930",
            side=Side.SELL,
            type=OrderType.STOP_LIMIT,
            quantity=4,
            limit_price=69_000,
            stop_price=70_000,
        ),
    ),
    starting_state={"seen": [1, 2], "name": "상태"},
    starting_guard={"day": 739_000, "losses": [None, 0]},
    incidents=(
        Incident(kind=IncidentKind.RESTART, at=BAR, until=BAR, note="=a formula"),
        Incident(kind=IncidentKind.HALT, at=BAR, symbol="005930", order_ref=3),
    ),
    candle_events=(
        CandleEvent(
            at=BAR,
            kind=CandleChange.REVISED,
            symbol="005930",
            bar=BAR,
            open=71_000,
            high=71_500.5,
            low=70_900,
            close=71_000,
            volume=12_345,
            true_close=71_100,
        ),
        CandleEvent(at=BAR, kind=CandleChange.GAP, symbol="000660", bar=BAR, note="틱"),
    ),
    order_events=(
        OrderEvent(sequence=1, at=BAR, bar=BAR, order_ref=1, kind=Heard.ACCEPTED),
        OrderEvent(
            sequence=2,
            at=BAR,
            bar=BAR,
            order_ref=1,
            kind=Heard.FILLED,
            quantity=7,
            price=71_050.0,
            commission=69.0,
            tax=746.0,
            confirmed_by="rest",
        ),
        OrderEvent(
            sequence=3,
            at=BAR,
            bar=BAR,
            order_ref=1,
            kind=Heard.ENDED,
            outcome="refused",
            rule="cash",
            reason="APBK0919 주문가능금액, 초과",
        ),
    ),
)


def written(folder: Path, live: LiveRun) -> Path:
    result = make_run(symbols=2, bars=40)[0]
    facts = live_run(
        first_bar=live.first_bar,
        last_bar=live.last_bar,
        held_bars=live.held_bars,
        starting_positions=live.starting_positions,
        starting_orders=live.starting_orders,
        starting_state=live.starting_state,
        starting_guard=live.starting_guard,
        incidents=live.incidents,
    )
    files = live_files(live.candle_events, live.order_events)
    run = {**result.run, "mode": "paper", **facts}
    return write_run(replace(result, run=run), folder / "run", extra_files=files)


@pytest.mark.parametrize("live", [LIVE, LiveRun()])
def test_everything_comes_back(tmp_path: Path, live: LiveRun) -> None:
    folder = written(tmp_path, live)
    assert read_live(folder, read_run(folder)) == live


def test_what_an_interrupted_run_did_not_write_is_empty(tmp_path: Path) -> None:
    folder = written(tmp_path, LIVE)
    (folder / "candle_events.csv").unlink()
    (folder / "order_events.csv").unlink()
    found = read_live(folder, read_run(folder))
    assert found == replace(LIVE, candle_events=(), order_events=())


@pytest.mark.parametrize("name", ["candle_events.csv", "order_events.csv"])
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path, LIVE)
    path = folder / name
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[2].split(",")
    cells[1] = "nothing"
    path.write_text("\n".join([*lines[:2], ",".join(cells)]), encoding="utf-8")
    with pytest.raises(InputError, match=name):
        read_live(folder, read_run(folder))


def test_a_damaged_key_of_run_json_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path, LIVE)
    result = read_run(folder)
    run = {**result.run, "incidents": [{"kind": "strike", "at": "2025-11-03T09:31"}]}
    with pytest.raises(InputError, match=r"run\.json"):
        read_live(folder, replace(result, run=run))
