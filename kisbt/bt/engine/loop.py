"""The loop over the bars: backtrader's `_runonce` and `_oncepost`, once prepared."""

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import backtrader as bt
import numpy as np
from backtrader.lineiterator import LineIterator

from kisbt.bt.engine.cursor import Cell, Cursors, new_cell
from kisbt.bt.engine.orders import book_trades
from kisbt.bt.engine.plan import Calendar, Moves, Plan
from kisbt.bt.warmup import Gate

_NAN = float("nan")
_HISTORICAL = bt.Order.Historical

# Per step the cells that move at it; None when every feed moves at every step.
Movers = list[list[Cell]] | None


class Loop:
    """One run over the bars of a plan."""

    def __init__(self, cerebro: Any, strategies: list[Any], plan: Plan) -> None:
        """Take the run over; `restore` gives its objects back."""
        self._cerebro = cerebro
        self._strategies = strategies
        self._times = array("d", plan.times.tobytes())
        self._cursors = Cursors()
        self._shortened: list[Any] = []
        self._runners = [
            _Runner(strategy, moves, plan, self._cursors)
            for strategy, moves in zip(strategies, plan.moves, strict=True)
        ]
        positions = _Positions(plan)
        for feed in cerebro.datas:
            self._cursors.add_series(feed, positions.of(feed))
        self._full, self._movers = positions.full, positions.movers()

    def restore(self) -> None:
        """Leave lines and objects as the plain loop would."""
        self._cursors.restore()
        for strategy in self._shortened:
            del strategy.getposition

    def _shorten(self, broker: Any) -> None:
        """Shorten the way from a strategy to its positions."""
        if not getattr(broker, "_gives_positions", False):
            return
        for strategy in self._strategies:
            if not _overrides(strategy, bt.Strategy, "getposition"):
                quick = _quick_getposition(strategy, broker.positions)
                strategy.getposition = quick
                self._shortened.append(strategy)

    def run(self) -> None:
        """Go through the bars."""
        cerebro, movers = self._cerebro, self._movers
        full, broker = self._full, cerebro._broker
        match = _matcher(broker)
        notices = broker.notifs
        timers, early_timers = cerebro._timers, cerebro._timerscheat
        steps = [runner.stepper() for runner in self._runners]
        self._shorten(broker)
        for step, now in enumerate(self._times):
            full[0] = step
            if movers:
                for cell in movers[step]:
                    cell[0] += 1
            if early_timers:
                cerebro._check_timers(self._strategies, now, cheat=True)
            match(now)
            if notices:
                self._deliver(broker)
            if cerebro._event_stop:
                return
            if timers:
                cerebro._check_timers(self._strategies, now, cheat=False)
            for take_step in steps:
                take_step(step, now)
                if cerebro._event_stop:
                    return

    def _deliver(self, broker: Any) -> None:
        """Do `strategy._addnotification(order)` for every notice."""
        notices, stock = broker.notifs, bt.Strategy._addnotification
        last, is_stock = None, False
        waiting: list[Any] = []
        while notices:
            # `get_notification` is backtrader's own: see `check_options`.
            order = notices.popleft()
            owner = order.owner
            if owner is None:
                owner = self._strategies[0]
            if owner is not last:
                last, waiting = owner, owner._orderspending
                is_stock = type(owner)._addnotification is stock
            if not is_stock:
                owner._addnotification(order, quicknotify=False)
                continue
            if not order.p.simulated:
                waiting.append(order)
            executed = order.executed
            if executed.size:
                book_trades(owner, order, executed)


def _matcher(broker: Any) -> Callable[[float], None]:
    """Return what does the broker's part of a pass."""
    make_pass = getattr(broker, "make_pass", None)
    if make_pass is not None:
        made: Callable[[float], None] = make_pass()
        return made
    match = broker.next
    return lambda _now: match()


class _Positions:
    """A cell for every calendar."""

    def __init__(self, plan: Plan) -> None:
        self.full = new_cell()
        self._steps = len(plan.times)
        self._calendar_of = {
            id(feed): calendar for calendar in plan.calendars for feed in calendar.feeds
        }
        self._partial: dict[int, tuple[Calendar, Cell]] = {}

    def of(self, feed: Any) -> Cell:
        """Return the cell of a feed's calendar."""
        calendar = self._calendar_of[id(feed)]
        if calendar.steps is None:
            return self.full
        return self._partial.setdefault(id(calendar), (calendar, new_cell()))[1]

    def movers(self) -> Movers:
        """Return when the cells that were asked for move, but the full one."""
        if not self._partial:
            return None
        movers: list[list[Cell]] = [[] for _step in range(self._steps)]
        for calendar, cell in self._partial.values():
            for step in [] if calendar.steps is None else calendar.steps.tolist():
                movers[step].append(cell)
        return movers


class _Runner:
    """A strategy's part of every pass."""

    def __init__(
        self, strategy: Any, moves: Moves, plan: Plan, cursors: Cursors
    ) -> None:
        self._strategy = strategy
        # Indicators move after the broker and the timers, so they have own cells.
        positions = _Positions(plan)
        self._full, self._behind = positions.full, new_cell()
        for item, feed in moves.with_feed:
            _follow(item, positions.of(feed), cursors)
        for item in moves.behind:
            _follow(item, self._behind, cursors)
        self._movers = positions.movers()
        for line in strategy.lines.lines:
            cursors.add_line(line, self._full)
        cursors.add_names(strategy)
        own = strategy.lines.datetime
        self._add_time = own.array.append
        self._others = [x.array for x in strategy.lines.lines if x is not own]
        self._left = _bars_left(strategy, plan)
        self._gate, self._tells = _who_is_told(strategy, plan)
        self._all_analyzers = [*strategy.analyzers, *strategy._slave_analyzers]
        self._analyzers = [a for a in strategy.analyzers if _has_steps(a)]
        self._observes = bool(strategy._lineiterators[LineIterator.ObsType])

    def stepper(self) -> Callable[[int, float], None]:
        """Return `step`, or the same for a strategy with nothing beside it."""
        if (
            self._movers
            or self._others
            or self._tells
            or self._analyzers
            or self._observes
            or not isinstance(self._left, range)
        ):
            return self.step
        # Local names: each look-up saved is saved on every bar. Those in a strategy
        # are slow, since it has a `__getattr__`: what must be there is read from its
        # dictionary.
        strategy, tell, held = self._strategy, self._tell, self._strategy.__dict__
        full, behind, add_time = self._full, self._behind, self._add_time
        first_left, gate = self._left.start, -1 if self._gate is None else self._gate

        def take_step(step: int, now: float) -> None:
            full[0], behind[0] = step, step - 1
            add_time(now)
            if step == gate:
                strategy._notify()
            elif held["_orderspending"] or held["_tradespending"]:
                tell()
            left = held["_minperstatus"] = first_left - step
            if left < 0:
                strategy.next()
            elif left == 0:
                strategy.nextstart()
            else:
                strategy.prenext()
            if held["_orderspending"] or held["_tradespending"]:
                strategy.clear()

        return take_step

    def step(self, step: int, now: float) -> None:
        """Do what `_oncepost` does."""
        strategy = self._strategy
        self._full[0] = step
        self._behind[0] = step - 1
        for cell in self._movers[step] if self._movers else ():
            cell[0] += 1
        self._add_time(now)
        for values in self._others:
            values.append(_NAN)
        if self._tells or step == self._gate:
            strategy._notify()
        elif strategy._orderspending or strategy._tradespending:
            self._tell()
        left = strategy._minperstatus = self._left[step]
        if left < 0:
            strategy.next()
        elif left == 0:
            strategy.nextstart()
        else:
            strategy.prenext()
        if self._analyzers:
            self._next_analyzers(left)
        if self._observes:
            strategy._next_observers(left, once=True)
        if strategy._orderspending or strategy._tradespending:
            strategy.clear()

    def _tell(self) -> None:
        """Do what `_notify` does, where nobody listens for cash and value."""
        strategy, analyzers = self._strategy, self._all_analyzers
        for order in strategy._orderspending:
            if order.exectype != _HISTORICAL or order.histnotify:
                strategy.notify_order(order)
            for analyzer in analyzers:
                analyzer._notify_order(order)
        for trade in strategy._tradespending:
            strategy.notify_trade(trade)
            for analyzer in analyzers:
                analyzer._notify_trade(trade)

    def _next_analyzers(self, left: int) -> None:
        for analyzer in self._analyzers:
            if left < 0:
                analyzer._next()
            elif left == 0:
                analyzer._nextstart()
            else:
                analyzer._prenext()


def _quick_getposition(strategy: Any, positions: Any) -> Callable[..., Any]:
    """Return `strategy.getposition` that asks the broker without three calls."""
    ask, first = strategy.getposition, strategy.datas[0]

    def getposition(data: Any = None, broker: Any = None) -> Any:
        if broker is None:
            return positions[first if data is None else data]
        return ask(data, broker)

    return getposition


def _follow(item: Any, cell: Cell, cursors: Cursors) -> None:
    if isinstance(item, LineIterator):
        cursors.add_series(item, cell)
    else:
        cursors.add_line(item, cell)


def _bars_left(strategy: Any, plan: Plan) -> Any:
    """Return per step how many bars are missing until `next`, as backtrader counts."""
    steps = len(plan.times)
    periods = {
        id(feed): period
        for feed, period in zip(strategy.datas, strategy._minperiods, strict=True)
    }
    parts: list[Any] = []
    for calendar in plan.calendars:
        needed = [periods[id(f)] for f in calendar.feeds if id(f) in periods]
        if not needed:
            continue
        if calendar.steps is None:
            first = max(needed) - 1
            parts.append(range(first, first - steps, -1))
        else:
            bars = np.searchsorted(calendar.steps, np.arange(steps), side="right")
            parts.append(max(needed) - bars)
    if len(parts) == 1 and isinstance(parts[0], range):
        return parts[0]
    left = np.maximum.reduce([np.asarray(part) for part in parts])
    return left.tolist()


def _who_is_told(strategy: Any, plan: Plan) -> tuple[int | None, bool]:
    """Return when the warm-up gate opens, and whether every bar needs `_notify`.

    Without pending orders `_notify` only tells cash and value. Where nobody
    listens it is left out.
    """
    gate, kind = None, type(strategy)
    if issubclass(kind, Gate):
        gate = int(np.searchsorted(plan.times, kind.first_bar))
        kind = kind.__mro__[1]
    analyzers = _with_children([*strategy.analyzers, *strategy._slave_analyzers])
    told = ("notify_cashvalue", "notify_fund")
    tells = (
        kind._notify is not bt.Strategy._notify
        or _overrides(strategy, bt.Strategy, *told)
        or any(
            _overrides(a, bt.Analyzer, *told, "_notify_cashvalue", "_notify_fund")
            for a in analyzers
        )
    )
    return gate, tells


def _with_children(analyzers: Iterable[Any]) -> Iterator[Any]:
    for analyzer in analyzers:
        yield analyzer
        yield from _with_children(analyzer._children)


def _overrides(item: Any, base: type, *names: str) -> bool:
    kind, held = type(item), item.__dict__
    return any(
        name in held or getattr(kind, name) is not getattr(base, name) for name in names
    )


def _has_steps(analyzer: Any) -> bool:
    """Return whether an analyzer or a child of it does anything bar by bar."""
    names = ("_next", "_prenext", "_nextstart", "next", "prenext", "nextstart")
    return any(_overrides(a, bt.Analyzer, *names) for a in _with_children([analyzer]))
