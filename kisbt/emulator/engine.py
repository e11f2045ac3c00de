"""Time of the emulated market: candles become trades, trades meet orders.

Everything that will happen in a session lies in one list ordered by time; moving
the clock takes from its front. Pure: it does not know how fast time passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from kisbt.emulator.exchange import Exchange
from kisbt.emulator.floor import Floor
from kisbt.emulator.market import Bar, Listing, Trade
from kisbt.emulator.rules import Matching
from kisbt.emulator.scenario import Point, Scenario, trade_side, walk_points
from kisbt.krx.calendar import KST, KrxCalendar
from kisbt.model.order import Side

# What happens at night is skipped: time jumps from the end of the last market (NXT,
# 20:00) to before the first one (08:00).
_DAY_ENDS = timedelta(hours=20, seconds=1)
_DAY_BEGINS = timedelta(hours=7, minutes=50)


class Rank(IntEnum):
    """Order of what happens at the same moment."""

    BEGIN = 0
    CLOSING_TRADE = 1
    CANDLE = 2
    TRADE = 3
    MINUTE = 4
    NIGHT = 5


class Step(NamedTuple):
    """One thing that happens."""

    time: datetime
    rank: Rank
    number: int
    bar: Bar | None = None
    point: Point | None = None
    day: date | None = None


@dataclass(slots=True)
class Forming:
    """The minute under way, as its trades have made it so far."""

    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int

    def add(self, price: float, quantity: int) -> None:
        """Let one more trade be part of it."""
        self.high, self.low = max(self.high, price), min(self.low, price)
        self.close = price
        self.volume += quantity


class Engine:
    """Moves the market through its sessions.

    Attributes:
        floor: prices and time.
        closed: today's finished candles by symbol, oldest first.
        inserted: today's minutes of trades that no candle has, by symbol and start.
        finished: nothing is left to replay.
        on_candle: called when a candle has closed, after its orders were matched.
    """

    def __init__(
        self,
        floor: Floor,
        scenario: Scenario,
        desks: Sequence[Exchange],
        calendar: KrxCalendar,
    ) -> None:
        """Get ready at the floor's time.

        What the session under way has traded before that time has happened
        already: it shows in the day's figures, and nobody is told of it.
        """
        self.floor = floor
        self.scenario = scenario
        self.closed: dict[str, list[Bar]] = {}
        self.forming: dict[str, Forming] = {}
        self.inserted: dict[str, dict[datetime, Forming]] = {}
        self.finished = False
        self.on_candle: Callable[[Bar], None] | None = None
        self._desks = desks
        self._calendar = calendar
        self._matching = desks[0].rules.matching if desks else Matching.TICK
        self._steps: list[Step] = []
        self._at = 0
        self._last: dict[str, tuple[float, Side]] = {}
        self._crowded: dict[str, Side | None] = {}
        self._begin_at(floor.now)

    def _begin_at(self, now: datetime) -> None:
        day = now.date()
        if self._calendar.is_session(day):
            self._load(day)
            self._catch_up(now)
            return
        self._list_only(day)
        self._steps = [Step(now, Rank.NIGHT, 0, day=day)]
        self._at = 0

    def _list_only(self, day: date) -> None:
        """Open the listings on a day without trading, at the last closes."""
        scenario = self.scenario
        following = self._calendar.session_on_or_after(day)
        bases = {
            item.symbol: scenario.base(item.symbol, following)
            for item in scenario.instruments
        }
        self.floor.begin_session(following, scenario.instruments, bases)

    def _load(self, day: date) -> None:
        """Put a session's steps into the list and open its books."""
        opened = datetime(day.year, day.month, day.day, tzinfo=KST)
        closes = self._calendar.close_time(day)
        steps = [Step(opened, Rank.BEGIN, 0, day=day)]
        for number, bar in enumerate(self.scenario.bars(day)):
            for at, point in enumerate(walk_points(bar, closes)):
                last = point.time >= bar.end
                rank = Rank.CLOSING_TRADE if last else Rank.TRADE
                steps.append(Step(point.time, rank, number * 8 + at, bar, point))
            steps.append(Step(bar.end, Rank.CANDLE, number * 8 + 7, bar))
        minute = opened + timedelta(hours=8)
        while minute <= opened + timedelta(hours=20):
            steps.append(Step(minute, Rank.MINUTE, 0, day=day))
            minute += timedelta(minutes=1)
        steps.append(Step(opened + _DAY_ENDS, Rank.NIGHT, 0, day=day))
        steps.sort(key=lambda step: step[:3])
        self._steps, self._at = steps, 0

    def _catch_up(self, now: datetime) -> None:
        """Let what lies before `now` have happened, unseen by anybody."""
        watchers, self.floor.watchers = self.floor.watchers, []
        self.floor.now = self._steps[0].time
        while self._at < len(self._steps) and self._steps[self._at].time < now:
            self.step()
        self.floor.watchers = watchers
        self.floor.now = now

    @property
    def next_time(self) -> datetime | None:
        """When something happens next; None when nothing will any more."""
        if self._at < len(self._steps):
            return max(self._steps[self._at].time, self.floor.now)
        return None

    def next_candle_end(self) -> datetime | None:
        """Return when the next candle closes; None when none is left today."""
        for step in self._steps[self._at :]:
            if step.rank is Rank.CANDLE:
                return step.time
        return None

    def advance(self, to: datetime) -> None:
        """Let everything up to `to` (included) happen and set the time."""
        while (coming := self.next_time) is not None and coming <= to:
            self.step()
        self.floor.now = max(self.floor.now, to)
        for desk in self._desks:
            desk.expire(self.floor.now)

    def step(self) -> None:
        """Let the next thing happen."""
        step = self._steps[self._at]
        self._at += 1
        floor = self.floor
        floor.now = max(floor.now, step.time)
        if step.rank is Rank.BEGIN:
            self._begin_session(step.day)
        elif step.bar is None:
            self._pass(step)
        elif step.point is None:
            self._close_candle(step.bar)
        else:
            self._trade(step.bar, step.point)

    def _begin_session(self, day: date | None) -> None:
        assert day is not None
        scenario = self.scenario
        bases = {
            item.symbol: scenario.base(item.symbol, day)
            for item in scenario.instruments
        }
        self.floor.begin_session(day, scenario.instruments, bases)
        self.closed, self.forming, self._last = {}, {}, {}
        self._crowded, self.inserted = {}, {}
        for desk in self._desks:
            desk.begin_session(day)

    def _pass(self, step: Step) -> None:
        """A whole minute, or the end of the day."""
        now = self.floor.now
        for desk in self._desks:
            if not desk.hours.in_candles(now):
                desk.matcher.match_off_hours()
            desk.expire(now)
        if step.rank is Rank.NIGHT:
            assert step.day is not None
            self._go_to_next_session(step.day)

    def _go_to_next_session(self, day: date) -> None:
        following = self.scenario.session_after(day)
        if following is None:
            self.finished = True
            return
        self._load(following)
        begins = self._steps[0].time + _DAY_BEGINS
        # The session begins where the night ends, not at midnight.
        self._steps[0] = self._steps[0]._replace(time=begins)

    def _trade(self, bar: Bar, point: Point) -> None:
        floor = self.floor
        symbol = bar.symbol
        listing = floor.listings[symbol]
        known = self._last.get(symbol)
        before, last = known if known is not None else (listing.base, Side.BUY)
        side = trade_side(point.price, before, last)
        first = self.forming.get(symbol)
        opens = first is None or first.start != bar.start
        if listing.halted and not self._resumes(listing):
            return
        self._form(bar, point, opens=opens)
        if self._matching is Matching.TICK:
            self._match_trade(bar, point, before, opens=opens)
        self._last[symbol] = (point.price, side)
        floor.trade(Trade(symbol, floor.now, point.price, point.quantity, side))

    def insert(self, trade: Trade) -> None:
        """Let a trade happen now that is in no candle of the scenario."""
        if not self.floor.listings[trade.symbol].halted:
            self._insert(trade)
        self.floor.trade(trade)

    def _insert(self, trade: Trade) -> None:
        start = trade.time.replace(second=0, microsecond=0)
        minutes = self.inserted.setdefault(trade.symbol, {})
        found = minutes.get(start)
        if found is not None:
            found.add(trade.price, trade.quantity)
            return
        price = trade.price
        # The price it is made at is the last one: the minute's open if it has one.
        forming = self.forming.get(trade.symbol)
        if forming is not None and forming.start == start:
            price = forming.open
        minutes[start] = Forming(start, price, price, price, price, 0)
        minutes[start].add(trade.price, trade.quantity)

    def _resumes(self, listing: Listing) -> bool:
        """End an interruption whose time is over."""
        until = listing.halted_until
        if until is None or self.floor.now < until:
            return False
        listing.halted, listing.halted_until = False, None
        return True

    def _form(self, bar: Bar, point: Point, *, opens: bool) -> None:
        price = point.price
        if opens:
            self.forming[bar.symbol] = Forming(
                bar.start, price, price, price, price, point.quantity
            )
            return
        self.forming[bar.symbol].add(price, point.quantity)

    def _match_trade(
        self, bar: Bar, point: Point, before: float, *, opens: bool
    ) -> None:
        """Match orders against the way from the last trade to this one."""
        # Between two candles the price jumps; within one it passes every level.
        start = point.price if opens else before
        part = Bar(
            bar.symbol,
            bar.start,
            max(point.time, bar.start + timedelta(microseconds=1)),
            start,
            max(start, point.price),
            min(start, point.price),
            point.price,
            point.quantity,
        )
        for desk in self._desks:
            if opens:
                desk.matcher.begin_bar(bar.symbol)
                self._crowded[bar.symbol] = desk.matcher.crowded(bar)
            desk.matcher.match(part, crowded=self._crowded.get(bar.symbol))

    def _close_candle(self, bar: Bar) -> None:
        self.closed.setdefault(bar.symbol, []).append(bar)
        if self._matching is Matching.CANDLE:
            for desk in self._desks:
                desk.matcher.match_candle(bar)
        if self.on_candle is not None:
            self.on_candle(bar)
