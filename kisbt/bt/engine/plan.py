"""What moves when: worked out before the loop, or why the loop cannot be taken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt
from backtrader.brokers.bbroker import BackBroker
from backtrader.feed import AbstractDataBase, DataClone
from backtrader.linebuffer import LineBuffer
from backtrader.lineiterator import LineIterator
from backtrader.lineseries import LineSeries, LineSeriesStub

from kisbt.bt.feed import CandleFeed
from kisbt.text import _

Floats = npt.NDArray[np.float64]

# Steps of a pass that the loop does itself: who overrides one means it.
_STRATEGY_STEPS = (
    "_once",
    "_oncepost",
    "_clk_update",
    "_getminperstatus",
    "_next_analyzers",
    "_next_observers",
    "clear",
    "forward",
    "reset",
    "__len__",
)
_FEED_STEPS = (
    "advance_peek",
    "buflen",
    "_tick_nullify",
    "_tick_fill",
    "__len__",
    "__getitem__",
)


class NotPossible(Exception):
    """The run needs the plain loop; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Feeds that have their bars at the same times.

    Attributes:
        feeds: these feeds.
        steps: at which steps of the run they have a bar; None for all.
    """

    feeds: tuple[Any, ...]
    steps: npt.NDArray[np.intp] | None


@dataclass(slots=True)
class Moves:
    """Which of a strategy's indicators move how.

    Attributes:
        with_feed: (indicator, its feed).
        behind: indicators whose clock is the strategy: one bar late.
    """

    with_feed: list[tuple[Any, Any]] = field(default_factory=list)
    behind: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run of the loop.

    Attributes:
        times: date number of each step.
        calendars: the feeds by calendar.
        moves: of each strategy, in their order.
    """

    times: Floats
    calendars: tuple[Calendar, ...]
    moves: tuple[Moves, ...]


def make_plan(cerebro: Any, strategies: Sequence[Any]) -> Plan:
    """Return how the loop runs the strategies, whose indicators are computed.

    Raises:
        NotPossible: something in the run is not of a kind the loop knows.
    """
    times, calendars = _calendars(cerebro.datas)
    moves = tuple(_moves(strategy, cerebro.datas) for strategy in strategies)
    return Plan(times, calendars, moves)


def check_options(cerebro: Any, strategies: Sequence[Any]) -> None:
    """Check what can be checked before the indicators are computed.

    Raises:
        NotPossible: as `make_plan`.
    """
    for name in ("cheat_on_open", "quicknotify", "oldsync", "lookahead"):
        if getattr(cerebro.p, name):
            raise NotPossible(_("Cerebro({name}=...) is set").format(name=name))
    if cerebro.runwriters:
        raise NotPossible(_("a writer wants every bar"))
    if not isinstance(cerebro.broker, BackBroker):
        raise NotPossible(
            _("broker {kind} is not backtrader's BackBroker").format(
                kind=type(cerebro.broker).__name__
            )
        )
    _check_steps(cerebro.broker, BackBroker, ("get_notification",))
    for feed in cerebro.datas:
        _check_feed(feed)
    for strategy in strategies:
        if strategy._oldsync:
            raise NotPossible(_("Cerebro({name}=...) is set").format(name="oldsync"))
        if set(map(id, strategy.datas)) != set(map(id, cerebro.datas)):
            raise NotPossible(_("a strategy has feeds of its own"))
        _check_steps(strategy, bt.Strategy, _STRATEGY_STEPS)


def _check_steps(item: Any, base: type, names: Iterable[str]) -> None:
    for name in names:
        own = name in item.__dict__
        if own or getattr(type(item), name, None) is not getattr(base, name, None):
            raise NotPossible(
                _("{kind} has its own {name}").format(
                    kind=type(item).__name__, name=name
                )
            )


def _check_feed(feed: Any) -> None:
    _check_steps(feed, AbstractDataBase, _FEED_STEPS)
    known = (AbstractDataBase.advance, DataClone.advance, CandleFeed.advance)
    if type(feed).advance not in known:
        raise NotPossible(
            _("{kind} has its own {name}").format(
                kind=type(feed).__name__, name="advance"
            )
        )


# Feeds.


def _calendars(feeds: Sequence[Any]) -> tuple[Floats, tuple[Calendar, ...]]:
    groups: dict[bytes, list[Any]] = {}
    for feed in feeds:
        groups.setdefault(_times(feed).tobytes(), []).append(feed)
    tables = [np.frombuffer(known, dtype=np.float64) for known in groups]
    times = tables[0]
    if len(tables) > 1:
        times = np.unique(np.concatenate(tables))
    calendars = tuple(
        Calendar(
            tuple(members),
            None if len(table) == len(times) else np.searchsorted(times, table),
        )
        for table, members in zip(tables, groups.values(), strict=True)
    )
    return times, calendars


def _times(feed: Any) -> Floats:
    """Return the date numbers of a feed's bars."""
    bars = feed.buflen()
    if any(line.buflen() != bars for line in feed.lines):
        raise NotPossible(
            _("feed {name}: its lines differ in length").format(name=feed._name)
        )
    times = np.frombuffer(feed.lines.datetime.array, dtype=np.float64)[:bars].copy()
    if not (np.diff(times) > 0.0).all() or not np.isfinite(times).all():
        raise NotPossible(
            _("feed {name}: two bars have the same time or stand in disorder").format(
                name=feed._name
            )
        )
    return times


# Indicators.


def _moves(strategy: Any, feeds: Sequence[Any]) -> Moves:
    indicators = strategy._lineiterators[LineIterator.IndType]
    lines = _Followers()
    for feed in feeds:
        lines.add(feed, feed)
    lines.add(strategy, strategy)
    waiting = {id(part) for item in indicators for part in _parts(item)}
    moves = Moves()
    for item in indicators:
        leader = lines.leader_of(item, waiting)
        _check_advance(item)
        if leader is not None:
            lines.add(item, leader)
            if leader is strategy:
                moves.behind.append(item)
            else:
                moves.with_feed.append((item, leader))
        waiting.difference_update(id(part) for part in _parts(item))
    return moves


def _parts(item: Any) -> list[Any]:
    return [item, *item.lines] if isinstance(item, LineSeries) else [item]


class _Followers:
    """Lines and objects that move, and the feed or strategy they move with."""

    def __init__(self) -> None:
        self._leaders: dict[int, Any] = {}

    def add(self, item: Any, leader: Any) -> None:
        """Note that an object and its lines move with `leader`."""
        for part in _parts(item):
            self._leaders[id(part)] = leader

    def leader_of(self, item: Any, waiting: set[int]) -> Any:
        """Return what moves an indicator; None when nothing does.

        Args:
            item: the indicator. Backtrader advances it when its clock is longer.
            waiting: ids of indicators not yet looked at, and of their lines.
        """
        clock = item._clock
        if isinstance(clock, LineSeriesStub):
            clock = clock.lines[0]
        if id(clock) in self._leaders:
            return self._leaders[id(clock)]
        # Inside another indicator nothing moves: such a clock stays at 0 bars.
        if id(clock) in waiting or len(clock):
            raise NotPossible(
                _("{kind} follows something the loop cannot follow").format(
                    kind=type(item).__name__
                )
            )
        return None


def _check_advance(item: Any) -> None:
    known = (bt.Indicator.advance, LineSeries.advance, LineBuffer.advance)
    kind = type(item)
    if kind.advance not in known:
        raise NotPossible(
            _("{kind} has its own {name}").format(kind=kind.__name__, name="advance")
        )
