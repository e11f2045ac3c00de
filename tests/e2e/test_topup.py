"""History from the broker before a session: the real client, the emulator's candles."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kisbt.app import gate, venue as venue_module
from kisbt.app.connect import access_of_row
from kisbt.app.history import LivePlan, plan_live
from kisbt.app.live import LiveOptions, run_live
from kisbt.app.topup import Renewal, after_top_up, note_rebased, top_up
from kisbt.app.venue import Mode, Venue
from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.errors import WireError
from kisbt.krx.calendar import KST, default_calendar
from kisbt.model.candle import DAILY, MINUTE, Interval
from kisbt.model.order import Side
from kisbt.orders.lifecycle import Status
from tests.helpers.desk import SYMBOL, bench
from tests.helpers.parity import PERMISSIVE, configured
from tests.helpers.runs import ROOT, minute_config

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SAMPLE = ROOT / "data"
SYMBOLS = ("990001", "990002")
DAY = date(2025, 12, 29)
BEFORE = date(2025, 12, 26)  # the session before
MORNING = datetime.combine(DAY, time(8, 20), KST)
DAYS_CONFIG = ROOT / "configs" / "ma_rsi_bollinger.yaml"


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def _store(folder: Path, interval: Interval, last: str, factor: float = 1.0) -> Path:
    """Copy the sample up to a date, its prices multiplied."""
    store, true = CandleStore(folder), CandleStore(SAMPLE)
    for symbol in SYMBOLS:
        found = true.read(symbol, interval).between(None, np.datetime64(f"{last}T23"))
        prices = ("open", "high", "low", "close")
        store.write(
            symbol,
            interval,
            replace(found, **{name: getattr(found, name) * factor for name in prices}),
        )
    store.add_instruments(
        item for item in true.instruments().values() if item.symbol in SYMBOLS
    )
    return folder


class Server:
    """Gives venues that take an emulator for the broker's own server."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.emulator: Emulator

    def __call__(self, mode: Mode, start: datetime = MORNING, **changes: Any) -> Venue:
        values: dict[str, Any] = {
            "data": SAMPLE,
            "start": start,
            "environment": mode.environment.value,
            "step": True,
            "limits": False,
        }
        self.emulator = self._stack.enter_context(
            Emulator(Settings(**{**values, **changes}))
        )
        side = self.emulator.side(mode.environment.value)
        access = access_of_row(side, "test")
        client = access.open(clock=self.emulator.clock, interval_s=0.0)
        self._stack.callback(client.close)
        return Venue(
            mode=mode,
            access=access,
            data_access=access,
            client=client,
            data=client,
            clock=self.emulator.clock,
            calendar=default_calendar(),
        )


@pytest.fixture
def server() -> Iterator[Server]:
    with ExitStack() as stack:
        yield Server(stack)


def _days(store: Path, warmup: int = 30, session: date = DAY) -> LivePlan:
    config = configured(
        DAYS_CONFIG,
        **PERMISSIVE,
        universe__symbols=list(SYMBOLS),
        data__path=str(store),
        data__warmup=warmup,
    )
    return plan_live(config, CandleStore(store), session)


def _minutes(store: Path, warmup: int) -> LivePlan:
    config = minute_config(
        universe__symbols=list(SYMBOLS),
        data__path=str(store),
        data__warmup=warmup,
    )
    return plan_live(config, CandleStore(store), DAY)


def _same(left: CandleColumns, right: CandleColumns) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("end", "open", "high", "low", "close", "volume")
    )


def test_daily_history_is_brought_up_to_yesterday(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", DAILY, "2025-12-15")
    said: list[str] = []
    before = _days(store)
    assert before.history[SYMBOLS[0]].sessions[-1] == np.datetime64("2025-12-15")
    topped = top_up(before, server(Mode.PAPER), say=said.append)
    plan = _days(store)
    for symbol in SYMBOLS:
        true = CandleStore(SAMPLE).read(symbol, DAILY)
        upto = true.between(None, np.datetime64(f"{BEFORE}T23"))
        assert _same(CandleStore(store).read(symbol, DAILY), upto)
        assert plan.history[symbol].sessions[-1] == np.datetime64(BEFORE)
    assert topped.rebased == ()
    assert topped.added == 2 * default_calendar().count(date(2025, 12, 16), BEFORE)
    assert f"up to {BEFORE}" in said[-1]
    assert "2 symbols" in said[0]


def test_an_empty_store_gets_the_warm_up_and_no_more(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", MINUTE, "2025-12-26")  # no daily candles
    top_up(_days(store, warmup=25), server(Mode.PAPER), say=lambda text: None)
    plan = _days(store, warmup=25)
    assert plan.warmup_bars == 25
    assert [text for text in plan.warnings if "warm-up" in text] == []
    assert len(CandleStore(store).read(SYMBOLS[0], DAILY)) == 25


def test_a_changed_past_is_fetched_anew_and_named(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", DAILY, "2025-12-22", factor=2.0)
    topped = top_up(_days(store), server(Mode.PAPER), say=lambda text: None)
    assert topped.rebased == SYMBOLS
    true = CandleStore(SAMPLE).read(SYMBOLS[0], DAILY)
    found = CandleStore(store).read(SYMBOLS[0], DAILY)
    upto = true.between(found.end[0], np.datetime64(f"{BEFORE}T23"))
    assert _same(found, upto)


def test_minutes_of_past_days_come_from_the_real_server(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", MINUTE, "2025-12-22")
    top_up(_minutes(store, 600), server(Mode.REHEARSAL), say=lambda text: None)
    plan = _minutes(store, 600)
    true = CandleStore(SAMPLE).read(SYMBOLS[0], MINUTE)
    found = plan.history[SYMBOLS[0]]
    assert plan.warmup_bars == 600
    assert _same(found, true.between(found.end[0], np.datetime64(f"{BEFORE}T23")))


def test_on_mock_the_run_says_how_long_the_minutes_take(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", MINUTE, "2025-12-23")
    venue = server(Mode.PAPER)
    held = len(CandleStore(store).read(SYMBOLS[0], MINUTE))
    plan = _minutes(store, held + 780)
    topped = top_up(plan, venue, say=lambda text: None)
    assert topped.unavailable
    missing, old = after_top_up(plan, venue, topped)
    assert "lacks" in missing
    assert "after about 2.0 sessions" in missing
    assert "--environment real" in missing
    assert "2025-12-23; 2 sessions since then are missing" in old
    fresh = _minutes(_store(tmp_path / "fresh", MINUTE, "2025-12-26"), 60)
    assert after_top_up(fresh, venue, topped) == []


def test_a_symbol_without_a_candle_of_yesterday_is_named(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", DAILY, "2025-12-22")
    venue = server(Mode.PAPER, symbols=(SYMBOLS[0],))
    topped = top_up(_days(store), venue, say=lambda text: None)
    plan = _days(store)
    (told,) = after_top_up(plan, venue, topped)
    assert f"no candle of {BEFORE} of {SYMBOLS[1]}:" in told
    assert plan.history[SYMBOLS[0]].sessions[-1] == np.datetime64(BEFORE)


def test_what_kis_refuses_is_named_and_the_rest_goes_on(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", DAILY, "2025-12-22")
    venue = server(Mode.PAPER)
    server.emulator.fault("gw(OPSQ0002, 200, tr=inquire_daily_itemchartprice)")
    plan = _days(store)
    topped = top_up(plan, venue, say=lambda text: None)
    assert list(topped.problems) == [SYMBOLS[0]]
    assert SYMBOLS[0] in after_top_up(plan, venue, topped)[0]
    assert _days(store).history[SYMBOLS[1]].sessions[-1] == np.datetime64(BEFORE)


def test_a_split_seen_before_a_later_session_stops_the_symbol(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", DAILY, "2025-12-24")
    venue = server(Mode.PAPER)
    told: list[tuple[str, bool]] = []
    plan = _days(store, session=BEFORE)
    renewal = Renewal(plan, venue, found=lambda *found: told.append(found))
    renewal.begin(BEFORE, ())
    assert not renewal.step()  # the run's first session: the top-up has looked
    _store(store, DAILY, "2025-12-24", factor=0.5)
    renewal.begin(DAY, held=[SYMBOLS[1]])
    assert renewal.step()
    assert told == [(SYMBOLS[1], False)]  # held ones are looked at first
    assert renewal.step()
    assert not renewal.step()
    renewal.begin(date(2025, 12, 30), held=())
    assert told[2:] == [(SYMBOLS[0], True), (SYMBOLS[1], True)]


def test_a_lost_connection_leaves_the_symbol_to_be_looked_at(
    server: Server, tmp_path: Path
) -> None:
    store = _store(tmp_path / "store", DAILY, "2025-12-24")
    venue = server(Mode.PAPER)
    renewal = Renewal(_days(store, session=BEFORE), venue, found=lambda *found: None)
    renewal.begin(DAY, ())
    venue.data.close()

    def broken(*_arguments: object, **_facts: object) -> None:
        raise WireError("the line is down")

    fetch, venue.data.fetch_days = venue.data.fetch_days, broken  # type: ignore[method-assign,assignment]
    with pytest.raises(WireError):
        renewal.step()
    venue.data.fetch_days = fetch  # type: ignore[method-assign]
    assert renewal.step()
    assert renewal.step()
    assert not renewal.step()


def test_own_shares_of_a_rebased_symbol_freeze_until_a_person_has_looked(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as it:
        it.order(quantity=3)
        it.run_until(lambda: it.journal.holding(SYMBOL).quantity == 3)
        note_rebased(it.desk.desk, SYMBOL)
        assert "kisbt reconcile --split 990001 RATIO" in (
            it.journal.frozen()[SYMBOL].reason
        )
        assert it.told.titles() == ["symbol frozen"]
        assert it.order(Side.SELL, 1).rule == "frozen"
        it.journal.thaw(SYMBOL, "test")
        note_rebased(it.desk.desk, SYMBOL, again=True)
        sold = it.order(Side.SELL, 1)
        assert sold.status is not Status.DENIED  # a person has looked
        assert it.order(quantity=1).rule == "paused"


def test_a_run_on_the_brokers_server_begins_after_the_close(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the top-up to the candle of the day, which is final forty minutes later."""
    start = datetime.combine(DAY, time(15, 36), KST)
    venue = server(
        Mode.PAPER, start, step=False, speed=240.0, limits=True, virtual_limits=True
    )
    monkeypatch.setattr(venue_module, "kis_access", lambda *_which: venue.access)
    monkeypatch.setattr(venue_module, "SystemClock", lambda: venue.clock)
    # A call of 25 ms takes 6 s of this market.
    monkeypatch.setattr(gate, "LARGEST_OFFSET_S", 120.0)
    store = _store(tmp_path / "store", DAILY, "2025-12-15")
    config = configured(
        DAYS_CONFIG,
        **PERMISSIVE,
        mode="paper",
        universe__symbols=list(SYMBOLS),
        data__path=str(store),
        data__warmup=30,
        paper__server="kis",
        paper__sessions=1,
        report__benchmark=None,
    )
    said: list[str] = []
    wanted = LiveOptions(
        out=tmp_path / "run", once=True, with_report=False, watchdog=False
    )
    finished = run_live(config, Mode.PAPER, wanted, say=said.append)
    assert finished.exit_state == "done"
    assert finished.result.run["warnings"] == []
    assert any(f"history of 1d up to {BEFORE}" in text for text in said)
    seen = CandleStore(finished.folder / "candles").read(SYMBOLS[0], DAILY)
    true = CandleStore(SAMPLE).read(SYMBOLS[0], DAILY)
    since = np.datetime64(BEFORE)
    upto = np.datetime64(f"{DAY}T23")
    assert _same(seen.between(since, None), true.between(since, upto))
    assert finished.result.run["first_session"] == str(DAY)
