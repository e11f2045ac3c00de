"""What a run hears: trades and notices of its websockets, prices of the moment."""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from kisbt.app.venue import Venue
from kisbt.clock import Clock, SystemClock
from kisbt.errors import InputError
from kisbt.kis.stream import MOST_TRADES, KisStream
from kisbt.model.quote import Board, Tick
from kisbt.model.stream import StreamEvent
from kisbt.orders.guard import MarketNow
from kisbt.text import _

log = logging.getLogger(__name__)

_LOOK_S = 0.0005  # between two looks at the frame counter
# Longer than a stream takes to notice that its connection is dead.
_FRAMES_S = 40.0
_LOST_S = 1.0
_STOP_S = 5.0


class Hearing:
    """The websockets of a run: one, or two where market data has keys of its own."""

    def __init__(
        self, venue: Venue, on_data: Callable[[], None], *, wall: Clock | None = None
    ) -> None:
        """Make the websockets; nothing is connected before `start`.

        Args:
            venue: where to listen.
            on_data: called in their threads when there is something to take.
            wall: the machine's clock.
        """
        self._venue = venue
        self._wall = wall or SystemClock()
        self._trades = venue.open_stream(on_data)
        self._notices = venue.open_notices(on_data)
        self._lost_frames = 0
        self._behind_s: float | None = None
        self._started = False

    @property
    def streams(self) -> tuple[KisStream, ...]:
        """The websockets, that of notices last."""
        return tuple(item for item in (self._trades, self._notices) if item is not None)

    @property
    def of_orders(self) -> KisStream:
        """The websocket that brings the notices of orders."""
        return self._notices or self._trades

    def subscribe(self, symbols: Iterable[str]) -> None:
        """Ask for the notices and for the trades of `symbols`; connect if needed.

        Raises:
            InputError: more symbols than a websocket takes.
            ConfigError: the keys have no HTS id.
        """
        wanted = tuple(symbols)
        if len(wanted) > MOST_TRADES:
            raise InputError(
                _("{count} symbols: one websocket brings the trades of {most}").format(
                    count=len(wanted), most=MOST_TRADES
                )
            )
        self.of_orders.subscribe_notices()
        for symbol in wanted:
            self._trades.subscribe_trades(symbol, Board.KRX)
        if not self._started:
            self._started = True
            if (link := self._venue.link) is not None:
                link.now()  # asks another process how many there are
                self._lost_frames = link.frames_sent()  # to clients before this one
            for stream in self.streams:
                stream.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait, in machine time, until everything is subscribed."""
        return all(stream.wait_ready(timeout_s) for stream in self.streams)

    @property
    def ready(self) -> bool:
        """Whether all that the broker lets us hear is coming in now."""
        return all(stream.state().settled for stream in self.streams)

    @property
    def alive(self) -> bool:
        """Whether every thread runs."""
        return all(stream.alive for stream in self.streams)

    def take_events(self) -> list[StreamEvent]:
        """Return notices, gaps and alerts since the last call."""
        found: list[StreamEvent] = []
        for stream in self.streams:
            while (event := stream.next_event(0.0)) is not None:
                found.append(event)
        return found

    def take_ticks(self) -> list[Tick]:
        """Return the trades since the last call, in their order."""
        return self._trades.take_ticks()

    def catch_up(self) -> bool:
        """Wait until every frame an emulator in step has sent has been read.

        Returns:
            False if some were lost, as when the connection was.
        """
        link = self._venue.link
        if link is None or not self._started:
            return True
        stream = self._trades
        until_s = self._wall.monotonic() + _FRAMES_S
        while stream.frames < link.frames_sent() - self._lost_frames:
            if not stream.state().connected or self._wall.monotonic() > until_s:
                link.now()  # another process may have sent more meanwhile
                self._lost_frames = link.frames_sent() - stream.frames
                return False
            self._wall.sleep(_LOOK_S)
        return True

    def knows(self, moment: datetime) -> bool:
        """Return whether everything up to a moment has been read.

        It can be told of an emulator of this process alone; the broker's server is
        given a grace instead.
        """
        link = self._venue.link
        if link is None or not self._started or not self.ready:
            return True
        due = link.frames_due(moment)
        if due is not None and self._trades.frames >= due - self._lost_frames:
            self._behind_s = None
            return True
        now_s = self._wall.monotonic()
        if self._behind_s is None:
            self._behind_s = now_s
        if due is None or now_s - self._behind_s < _LOST_S:
            return False
        # They went with a connection that broke.
        self._lost_frames, self._behind_s = due - self._trades.frames, None
        return True

    def stop(self) -> bool:
        """Close the websockets; return whether their threads have ended."""
        ended = [stream.stop(_STOP_S) for stream in self.streams]
        return all(ended)


class Prices:
    """The price of the moment of each symbol, as the guard asks for it."""

    def __init__(self, clock: Clock) -> None:
        """Know nothing yet."""
        self._clock = clock
        self._last: dict[str, tuple[float, float]] = {}

    def note(self, ticks: Sequence[Tick]) -> None:
        """Take trades."""
        if not ticks:
            return
        now_s = self._clock.monotonic()
        for tick in ticks:
            self._last[tick.symbol] = (float(tick.price), now_s)

    def __call__(self, symbol: str) -> MarketNow | None:
        """Return the price of the moment; None before the first trade."""
        found = self._last.get(symbol)
        if found is None:
            return None
        price, at_s = found
        return MarketNow(price=price, age_s=self._clock.monotonic() - at_s)

    def forget(self) -> None:
        """Begin a session: yesterday's prices are no prices of the moment."""
        self._last.clear()
