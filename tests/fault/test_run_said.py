"""What a run must say before it trades, and how it ends when it is stuck."""

import os
import shutil
import signal
import threading
from datetime import date, datetime
from pathlib import Path

import backtrader as bt
import pytest

from kisbt.app import live, loops
from kisbt.app.ending import Ending
from kisbt.app.history import plan_live
from kisbt.app.instances import find_instance
from kisbt.app.live import LiveOptions, run_live
from kisbt.app.session import LiveSession
from kisbt.app.stop import stop_run
from kisbt.app.venue import Mode
from kisbt.candles.store import CandleStore
from kisbt.clock import SystemClock
from kisbt.errors import InputError
from kisbt.orders.desk import OrderDesk
from strategies.ma_rsi_bollinger import MaRsiBollinger
from tests.helpers.haltbed import wait_for
from tests.helpers.runs import ROOT, market, minute_config

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

LATE = datetime(2025, 12, 30, 14, 50)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def test_a_hole_between_history_and_the_first_session_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    (folder / "1m").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "symbols.csv", folder)
    for symbol in ("990001", "990002"):
        lines = (ROOT / "data" / "1m" / f"{symbol}.csv").read_text("utf-8").splitlines()
        if symbol == "990002":
            lines = [row for row in lines if row[:10] != "2025-12-29"]
        path = folder / "1m" / f"{symbol}.csv"
        path.write_text("\n".join(lines) + "\n", "utf-8")
    config = minute_config(universe__symbols=["990001", "990002"], data__warmup=600)
    session = date(2025, 12, 30)
    found = plan_live(config, CandleStore(folder), session).warnings
    (told,) = [text for text in found if "end before" in text]
    assert "990002 (2025-12-26, 1 sessions)" in told
    assert "990001" not in told
    whole = plan_live(config, CandleStore(ROOT / "data"), session)
    assert not [text for text in whole.warnings if "end before" in text]


def test_own_shares_outside_the_universe_are_named(tmp_path: Path) -> None:
    said: list[str] = []
    with market(tmp_path) as there:
        first = there.run(minute_config(paper__sessions=1), once=True)
        (held,) = first.result.open_positions
        others = [f"99000{n}" for n in range(1, 6) if f"99000{n}" != held.symbol]
        there.run(
            minute_config(paper__sessions=1, universe__symbols=others),
            once=True,
            say=said.append,
        )
        assert there.untrue(ended=False) == []
    (line,) = [text for text in said if "outside the universe" in text]
    assert f"{held.symbol} {held.quantity:,} shares" in line


def test_a_market_in_its_own_time_says_how_long_a_session_takes() -> None:
    said: list[str] = []
    config = minute_config(
        paper__speed=600, paper__from=LATE, paper__step=False, paper__sessions=1
    )
    run_live(
        config, Mode.PAPER, LiveOptions(once=True, with_report=False), say=said.append
    )
    (line,) = [text for text in said if "takes about" in text]
    assert "speed 600" in line
    assert "0.1 minutes" in line  # 14:50 to 16:10
    assert "--step" in line


@pytest.mark.skipif(os.name == "nt", reason="no such signals to send to oneself")
def test_a_strategy_that_never_returns_ends_at_the_third_ctrl_c(
    tmp_path: Path,
) -> None:
    class Stuck(MaRsiBollinger):
        def next(self) -> None:
            while True:
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(0.01)

    with market(tmp_path) as there:
        with pytest.raises(KeyboardInterrupt):
            there.run(strategy=Stuck)
        assert there.untrue(ended=False) == []


def test_a_run_told_to_stop_ends_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, told = threading.Event(), list[bool]()
    look = live.end_is_wanted

    def looking(listing: Path) -> bool:
        if found := look(listing):
            heard.set()
        return found

    monkeypatch.setattr(live, "end_is_wanted", looking)
    other = threading.Thread(
        target=lambda: told.append(stop_run(find_instance(), wait_s=60.0))
    )

    class Told(MaRsiBollinger):
        def next(self) -> None:
            super().next()
            if not other.ident:
                other.start()
                wait_for(heard.is_set, 30)

    with market(tmp_path) as there:
        finished = there.run(strategy=Told)
        other.join()
        assert there.untrue() == []
    assert told == [True]
    assert finished.exit_state == "stopped: SIGINT"
    with pytest.raises(InputError, match="no run is alive"):
        find_instance()


@pytest.mark.skipif(os.name == "nt", reason="no thread is woken there")
def test_a_strategy_that_sleeps_hears_each_word_at_once() -> None:
    stopped, stopped_now = threading.Event(), threading.Event()
    ending, words = Ending(), list[int]()

    def wanted() -> bool:
        # The next when the one before was heard: two signals at once are one.
        given = len(words) == ending.asked and len(words) < 3
        words.extend([1] * given)
        return given

    began_s = SystemClock().monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        ending.watched(wanted, every_s=0.01),
        ending.signals(stopped.set, stopped_now.set),
    ):
        threading.Event().wait(60)
    assert SystemClock().monotonic() - began_s < 30
    assert (ending.asked, ending.why) == (3, "SIGINT")
    assert stopped.is_set()
    assert stopped_now.is_set()


def test_told_to_stop_before_it_trades_is_interrupted() -> None:
    asked = iter([False, True])
    with (
        pytest.raises(KeyboardInterrupt),
        Ending().watched(lambda: next(asked, False), every_s=0.01),
    ):
        wait_for(lambda: False, 30)  # as a start that is not ready yet
    assert list(asked) == []


def test_once_it_has_ended_nothing_interrupts_its_report() -> None:
    looks: list[int] = []
    ending = Ending()

    def wanted() -> bool:
        looks.append(1)
        return len(looks) == 1 or ended

    ended = False
    with ending.watched(wanted, every_s=0.001):
        with ending.signals(lambda: None, lambda: None):
            wait_for(lambda: ending.asked > 0, 30)
        ended, count = True, len(looks)
        threading.Event().wait(0.1)  # where it would be interrupted
        assert len(looks) == count


def test_a_run_beside_the_main_thread_is_stopped_without_a_signal() -> None:
    stopped, interrupted = threading.Event(), list[bool]()
    ending = Ending()

    def run() -> None:
        with (
            ending.watched(lambda: True, every_s=0.01),
            ending.signals(stopped.set, stopped.set),
        ):
            interrupted.append(not stopped.wait(30))

    other = threading.Thread(target=run)
    other.start()
    other.join()
    assert (interrupted, ending.asked) == ([False], 0)


@pytest.mark.skipif(os.name == "nt", reason="no such signals to send to oneself")
def test_a_trading_loop_that_hangs_keeps_the_desk_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, hangs = threading.Event(), threading.Event()
    turn, work = LiveSession.turn, OrderDesk.work
    workers: set[str] = set()

    def hanging(self: LiveSession) -> float:
        if not self.is_stopping:
            return turn(self)
        hangs.set()
        go_on.wait(60)
        return 60.0

    def watched(self: OrderDesk) -> float | None:
        workers.add(threading.current_thread().name)
        return work(self)

    class Interrupted(MaRsiBollinger):
        def next(self) -> None:
            self.buy(
                data=self.data,
                size=1,
                exectype=bt.Order.Limit,
                price=self.data.close[0] * 0.9,
            )
            os.kill(os.getpid(), signal.SIGTERM)
            assert hangs.wait(60)
            self.env.runstop()

    monkeypatch.setattr(LiveSession, "turn", hanging)
    monkeypatch.setattr(OrderDesk, "work", watched)
    monkeypatch.setattr(loops, "_JOIN_S", 0.5)
    said: list[str] = []
    config = minute_config(paper__speed=60, paper__from=LATE, paper__step=False)
    try:
        run_live(
            config,
            Mode.PAPER,
            LiveOptions(out=tmp_path / "run", with_report=False),
            say=said.append,
            strategy=Interrupted,
        )
    finally:
        go_on.set()
    assert any("still waits for the server" in text for text in said)
    assert workers == {"kisbt-trading"}
