"""The trading loop between two connections: `kisbt.app.session`."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from kisbt.app.hearing import Prices
from kisbt.app.session import LiveSession
from kisbt.app.sessionplan import Hooks, SessionPlan, Stage
from kisbt.app.venue import Mode, Venue, open_venue
from kisbt.candles.live import CandleBuilder
from kisbt.krx.calendar import KST
from kisbt.model.candle import DAILY, MINUTE, Candle, Interval
from kisbt.model.quote import Tick
from kisbt.model.stream import Alert, Gap, StreamEvent, Trouble
from tests.helpers.runs import market, minute_config

LATE = datetime(2025, 12, 30, 14, 25, tzinfo=KST)
SYMBOLS = ("990001", "990002")


class Said:
    """What the websockets say; a test decides."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self.ready = True

    def take_events(self) -> list[StreamEvent]:
        found, self.events = self.events, []
        return found

    def take_ticks(self) -> list[Tick]:
        return []

    def catch_up(self) -> bool:
        return True

    def knows(self, moment: datetime) -> bool:
        return True


class NoOrders:
    """A desk without orders."""

    def __init__(self) -> None:
        self.told: list[StreamEvent] = []

    def stream_event(self, event: StreamEvent) -> None:
        self.told.append(event)

    def work(self) -> float | None:
        return None

    def settle(self) -> None: ...

    def pending(self) -> bool:
        return False

    def awaits_fills(self) -> bool:
        return False

    def ending_bar(self, end: datetime | None) -> None: ...

    def begin_session(self, session: date) -> None: ...

    def close_session(self, session: date) -> bool:
        return True


class Rig:
    """A session on a real emulator, its websockets in the hands of the test."""

    def __init__(self, venue: Venue, interval: Interval = MINUTE) -> None:
        self.venue = venue
        self.said, self.desk = Said(), NoOrders()
        self.broken: list[bool] = []
        self.bars: list[datetime] = []
        self.lines: list[str] = []
        plan = SessionPlan(
            symbols=SYMBOLS,
            followed=SYMBOLS,
            interval=interval,
            adjusted=True,
            first=LATE.date(),
            recheck=False,
            grace_s=0.0,
        )
        self.session = LiveSession(
            plan,
            venue,
            self.desk,
            self.said,
            Prices(venue.clock),
            None
            if interval.is_daily
            else CandleBuilder(venue.calendar, SYMBOLS, grace_s=0.0),
            Hooks(
                publish=self._publish,
                ticks=lambda ticks: None,
                broken=self.broken.append,
                over=lambda: None,
                news=lambda: None,
                watching=lambda: interval.is_daily,
                idle=lambda: True,
                say=self.lines.append,
            ),
        )
        self.turn()

    def _publish(self, candles: Mapping[str, Candle], live: bool) -> None:
        self.bars.append(next(iter(candles.values())).end)

    def turn(self, *events: StreamEvent) -> None:
        self.said.events.extend(events)
        for _number in range(20):
            if self.session.turn() > 0:
                return
        raise AssertionError("the loop finds no end")

    def pass_(self, seconds: float) -> None:
        """Let market time pass, a turn every few seconds."""
        until = self.venue.clock.now() + timedelta(seconds=seconds)
        while self.venue.clock.now() < until:
            self.venue.advance_to(min(until, self.venue.clock.now() + _FEW))
            self.turn()

    def lost(self, trouble: Trouble = Trouble.DOWN, **what: object) -> Alert:
        return Alert(self.venue.clock.now(), trouble, "lost", **what)

    def back(self, **what: bool) -> Gap:
        now = self.venue.clock.now()
        return Gap(now, now, **what)


_FEW = timedelta(seconds=5)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    config = minute_config(universe__symbols=list(SYMBOLS))
    with (
        market(tmp_path, start=LATE) as there,
        open_venue(config, Mode.PAPER, ready_file=there.ready_file) as venue,
    ):
        made = Rig(venue)
        assert made.session.stage is Stage.OPEN
        yield made


def test_daily_bars_and_a_symbol_that_is_not_heard_leave_the_loop_at_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop is watched; nothing is polled where no candle is made of prices."""
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    config = minute_config(universe__symbols=list(SYMBOLS), bars__interval="1d")
    with (
        market(tmp_path, start=LATE) as there,
        open_venue(config, Mode.PAPER, ready_file=there.ready_file) as venue,
    ):
        made = Rig(venue, DAILY)
        made.turn(made.lost(Trouble.REFUSED, orders=False, symbol="990002"))
        made.pass_(60)
        assert "not watched" in made.lines[-1]


def test_trades_stay_down_while_only_the_notices_are_back(rig: Rig) -> None:
    rig.pass_(90)
    rig.broken.clear()
    rig.turn(rig.lost(orders=False))
    assert rig.broken == [True]
    before = list(rig.bars)
    rig.turn(rig.lost(trades=False), rig.back(trades=False))
    rig.pass_(180)
    assert rig.broken == [True]  # no word that bars are live again
    assert rig.bars == before
    rig.turn(rig.back(orders=False))
    rig.pass_(180)
    assert rig.broken[-1] is False
    assert rig.bars[len(before)] - before[-1] == timedelta(minutes=1)
    assert len(rig.desk.told) == 4


def test_notices_down_leave_the_bars_alone(rig: Rig) -> None:
    rig.pass_(90)
    rig.broken.clear()
    rig.turn(rig.lost(trades=False))
    rig.turn(rig.back(trades=False))
    assert rig.broken == []
    (incident,) = rig.session.record.incidents
    assert "notices" in incident.note


@pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.DISTRUSTED])
def test_what_is_not_heard_any_more_is_asked_for(rig: Rig, trouble: Trouble) -> None:
    rig.pass_(60)
    symbol = "990002" if trouble is Trouble.REFUSED else ""
    rig.turn(rig.lost(trouble, orders=False, symbol=symbol))
    rig.bars.clear()
    rig.pass_(300)
    assert "990002" in rig.lines[-1]
    assert rig.bars == sorted(rig.bars)
    heard = rig.session.record.candles["990002"]
    assert [c for c in heard if c.end > rig.bars[0]]


def test_a_connection_that_brings_no_trade_at_all_is_up_all_the_same(rig: Rig) -> None:
    rig.pass_(60)
    rig.turn(rig.lost())
    refused = [
        rig.lost(Trouble.REFUSED, orders=False, symbol=symbol) for symbol in SYMBOLS
    ]
    rig.turn(*refused, rig.back(trades=False))
    rig.bars.clear()
    rig.pass_(300)
    assert rig.bars
    assert rig.broken[-1] is False


def test_trades_that_could_not_be_read_come_back_with_a_new_connection(
    rig: Rig,
) -> None:
    rig.pass_(60)
    for _number in range(2):  # the second one is no better
        rig.turn(rig.lost(Trouble.DISTRUSTED, orders=False))
        rig.turn(rig.lost(orders=False))
        rig.turn(rig.back(orders=False))
    rig.turn(rig.lost(Trouble.DISTRUSTED, orders=False))
    rig.bars.clear()
    rig.pass_(300)
    assert len(rig.bars) >= 3
    assert rig.broken[-1] is False
