"""What the trading loop is given: its plan, the desk, whom to tell; and where it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from kisbt.model.candle import Candle, Interval
from kisbt.model.quote import Tick
from kisbt.model.stream import StreamEvent


class Stage(StrEnum):
    """Where the run is in its day."""

    WAITING = "waiting"
    """For the next session."""
    OPEN = "open"
    CLOSING = "closing"
    """The market is closed; orders are counted for the last time."""
    OVER = "over"


@dataclass(slots=True)
class Progress:
    """Where the run is: only the trading loop moves it on, its parts look at it.

    Attributes:
        stage: of the day.
        day: session under way or waited for.
        stopping: whether the loop has been told to end; set from any thread.
    """

    stage: Stage
    day: date
    stopping: bool = False


class DeskWork(Protocol):
    """The order desk, as the trading loop drives it."""

    def stream_event(self, event: StreamEvent) -> None:
        """Take a notice, gap or alert."""
        ...

    def work(self) -> float | None:
        """Do what is due; return the seconds until something is due again."""
        ...

    def settle(self) -> None:
        """Do what this moment needs, so that its fills are booked."""
        ...

    def pending(self) -> bool:
        """Return whether something is unresolved, or unsent although it is due."""
        ...

    def awaits_fills(self) -> bool:
        """Return whether a notice has told of a fill that is not booked yet."""
        ...

    def ending_bar(self, end: datetime | None) -> None:
        """Note which bar is published next; None if not known."""
        ...

    def begin_session(self, session: date) -> None:
        """Begin a trading date: compare with the broker."""
        ...

    def close_session(self, session: date) -> bool:
        """Close a trading date; False while orders of it are not accounted for."""
        ...


@dataclass(slots=True)
class Hooks:
    """Whom the loop tells.

    Attributes:
        publish: the candles of one moment; False for bars that fill a gap only.
        ticks: trades, for the stops that are watched on this machine.
        broken: whether bars come, whenever that changes.
        over: no more bars will come.
        news: the desk may have something for the strategy's broker.
        watching: whether trades release orders kept on this machine.
        idle: whether the strategy has dealt with all it was given.
        say: a line for people.
        opened: a session has begun.
        chore: does one call that is in no hurry; returns whether there was one.
        tidy: keeps the journal's commits quick; called in another thread.
    """

    publish: Callable[[Mapping[str, Candle], bool], None]
    ticks: Callable[[list[Tick]], None]
    broken: Callable[[bool], None]
    over: Callable[[], None]
    news: Callable[[], None]
    watching: Callable[[], bool]
    idle: Callable[[], bool]
    say: Callable[[str], None]
    opened: Callable[[date], None] = lambda day: None
    chore: Callable[[], bool] = lambda: False
    tidy: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """What the loop is to do.

    Attributes:
        symbols: of the universe, in its order.
        followed: those whose trades are heard; the rest is asked for.
        interval: of the bars.
        adjusted: which daily candles.
        first: the first session.
        sessions: end after so many; None goes on for ever.
        recheck: compare candles with the broker's chart as the session goes on.
        grace_s: how long the last trades of a candle are waited for.
    """

    symbols: tuple[str, ...]
    followed: tuple[str, ...]
    interval: Interval
    adjusted: bool
    first: date
    sessions: int | None = None
    recheck: bool = True
    grace_s: float = 1.5
