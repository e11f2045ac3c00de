"""Ends and restarts of a whole run: nothing is lost, nothing is done twice."""

import json
import os
import subprocess
import sys
import threading
from datetime import time
from pathlib import Path

import backtrader as bt
import numpy as np
import pytest

from kisbt.app.live import run_live
from kisbt.app.session import LiveSession
from kisbt.app.venue import Mode
from kisbt.candles.store import CandleStore
from kisbt.errors import SafetyRefused, StrategyError
from kisbt.model.candle import MINUTE
from kisbt.report.folder import read_run
from tests.helpers.runs import (
    ROOT,
    interrupted_after,
    market,
    minute_config,
    raising_after,
)

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def test_row_100_ctrl_c_cancels_own_orders_and_says_what_is_left(
    tmp_path: Path,
) -> None:
    with market(tmp_path) as there:
        finished = there.run(strategy=interrupted_after(200))
        assert finished.exit_state == "stopped: SIGINT"
        assert finished.left_open == ()
        book = there.emulator.state()["mock"]["orders"]
        assert not [row for row in book if row["open"]]
        assert there.untrue() == []
    assert read_run(finished.folder).run["exit_state"] == "stopped: SIGINT"


def test_a_run_goes_on_where_the_one_before_ended(tmp_path: Path) -> None:
    with market(tmp_path) as there:
        first = there.run(strategy=interrupted_after(150))
        held = there.emulator.state()["mock"]["account"]["holdings"]
        second = there.run()
        assert second.exit_state == "done"
        assert there.untrue(ended=False) == []
    started = {
        symbol: row["quantity"]
        for symbol, row in second.result.run["starting_positions"].items()
    }
    assert started == {symbol: row["quantity"] for symbol, row in held.items()}
    assert first.result.fills
    assert second.result.fills
    kinds = [item["kind"] for item in second.result.run["incidents"]]
    assert "restart" in kinds


def test_the_candles_missed_while_it_was_down_feed_indicators_only(
    tmp_path: Path,
) -> None:
    with market(tmp_path) as there:
        first = there.run(strategy=interrupted_after(100))
        there.emulator.advance(30 * 60)
        second = there.run()
    whole = CandleStore(ROOT / "data").read("990001", MINUTE)
    seen = CandleStore(second.folder / "candles").read("990001", MINUTE)
    day = np.datetime64("2025-12-29")
    for name in ("end", "open", "high", "low", "close", "volume"):
        here = getattr(seen.between(day, day), name)
        assert here.tolist() == getattr(whole.between(day, day), name).tolist()
    called = second.result.equity.time
    assert called[0] - first.result.equity.time[-1] >= np.timedelta64(30, "m")
    events = (second.folder / "candle_events.csv").read_text("utf-8-sig")
    assert events.count(",late,") > 30


def test_row_102_a_mistake_of_the_strategy_ends_the_run_in_order(
    tmp_path: Path,
) -> None:
    with market(tmp_path) as there:
        with pytest.raises(StrategyError, match="mistake of the strategy's author"):
            there.run(strategy=raising_after(120))
        assert there.untrue(ended=False) == []
    written = read_run(tmp_path / "run1")
    assert written.run["exit_state"].startswith("failed: ")
    assert written.fills


def test_row_95_a_second_instance_is_refused(tmp_path: Path) -> None:
    refused: list[str] = []

    with market(tmp_path) as there:

        def second(text: str) -> None:
            if "open" in text and not refused:
                try:
                    there.run()
                except SafetyRefused as error:
                    refused.append(str(error))

        there.run(strategy=interrupted_after(5), say=second)
        orders = there.emulator.state()["mock"]["orders"]
    assert "trades this account already" in refused[0]
    assert len({row["number"] for row in orders}) == len(orders)


def test_row_97_a_clock_five_minutes_wrong_is_refused(tmp_path: Path) -> None:
    with market(tmp_path) as there:
        there.emulator.fault("clock(skew, 300)")
        with pytest.raises(SafetyRefused, match="NTP"):
            there.run()
        assert there.emulator.state()["mock"]["orders"] == []


def test_row_101_a_dead_trading_loop_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, turns = LiveSession.turn, 0

    def dying(self: LiveSession) -> float:
        nonlocal turns
        turns += 1
        if turns > 20:
            raise MemoryError
        return turn(self)

    monkeypatch.setattr(LiveSession, "turn", dying)
    config = minute_config(paper__speed=60)
    with pytest.raises(MemoryError):
        run_live(config, Mode.PAPER)
    assert not [t for t in threading.enumerate() if t.name == "kisbt-trading"]


_TZ_RUN = """
import json, sys
from pathlib import Path
from kisbt.app.live import LiveOptions, run_live
from kisbt.app.venue import Mode
from tests.helpers.parity import rows
from tests.helpers.runs import minute_config
done = run_live(
    minute_config(paper__step=True, paper__sessions=2), Mode.PAPER,
    LiveOptions(out=Path(sys.argv[1]), with_report=False, once=True),
)
print(json.dumps({k: [list(map(str, r)) for r in v] for k, v in rows(done.result).items()}))
"""


@pytest.mark.skipif(os.name == "nt", reason="TZ is of POSIX")
def test_row_99_the_zone_of_the_machine_changes_nothing(tmp_path: Path) -> None:
    found = []
    for zone in ("UTC", "America/New_York"):
        done = subprocess.run(
            [sys.executable, "-c", _TZ_RUN, str(tmp_path / zone.replace("/", "-"))],
            cwd=ROOT,
            env={
                **os.environ,
                "TZ": zone,
                "KISBT_STATE": str(tmp_path / "state" / zone.replace("/", "-")),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[0] == found[1]
    assert found[0]["fills"]


class LastBar(bt.Strategy):
    """Buys one share at the close of the first session it sees."""

    def __init__(self) -> None:
        self.is_done = False

    def next(self) -> None:
        if self.data.datetime.time() == time(15, 30) and not self.is_done:
            self.is_done = True
            self.buy(size=1)


def test_orders_held_for_the_next_session_survive_the_end(tmp_path: Path) -> None:
    config = minute_config(strategy__params={})
    with market(tmp_path) as there:
        first = there.run(config, strategy=LastBar, once=True)
        (held,) = first.result.orders
        assert held.filled_quantity == 0
        assert not there.emulator.state()["mock"]["orders"]
        second = there.run(config, strategy=LastBar)
        assert second.exit_state == "done"
        assert there.untrue(ended=False) == []
    opens = [fill for fill in second.result.fills if fill.bar.time() == time(9, 1)]
    assert [(fill.symbol, fill.quantity) for fill in opens] == [(held.symbol, 1)]
