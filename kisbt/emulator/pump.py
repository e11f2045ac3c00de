"""How fast virtual time passes, and who is told."""

import asyncio
from datetime import datetime, timedelta

from kisbt.clock import EmulatorClock
from kisbt.emulator.house import House

# A longer pause of the market is the night: it is skipped.
_NIGHT = timedelta(minutes=30)
# How often the pump looks at the clock when nothing is due, seconds.
_TURN_S = 0.02
_DRAIN_S = 5.0
# Steps of the market between two looks at the clients.
_BATCH = 64


class Pump:
    """Moves the market along with the computer's clock, or when told.

    Attributes:
        clock: what clients of this process take the time from.
    """

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        """Get ready at the start of the replay."""
        self._house = house
        self._loop = loop
        self._speed = 0.0 if house.settings.step else house.settings.speed
        self._flat_out = not house.settings.step and house.settings.speed == 0
        self._paused = False
        self._hold: datetime | None = None
        self._anchor = (house.floor.now, loop.time())
        self._moving = asyncio.Lock()
        self.clock = EmulatorClock(house.floor.now)

    @property
    def speed(self) -> float:
        """Virtual seconds per second; 0 when it stands or runs flat out."""
        return 0.0 if self._paused or self._holds else self._speed

    @property
    def _holds(self) -> bool:
        """Whether the market stands where it was told to wait."""
        return self._hold is not None and self._house.floor.now >= self._hold

    @property
    def paused(self) -> bool:
        """Whether time stands still until told."""
        return self._paused

    def begin(self) -> None:
        """Start the clock."""
        self._anchor_here()

    def _anchor_here(self) -> None:
        self._anchor = (self._house.floor.now, self._loop.time())
        self._tell()

    def _tell(self) -> None:
        self.clock.tell(self._house.floor.now, speed=self.speed, until=self._hold)

    def hold(self, moment: datetime | None) -> None:
        """Wait for a slow client: do not move past a moment by itself.

        Args:
            moment: aware; None lets it go on.
        """
        if moment == self._hold:
            return
        self.catch_up()
        self._hold = moment
        self._anchor_here()

    def set_speed(self, speed: float) -> None:
        """Change the speed from now on; 0 runs as fast as the clients keep up."""
        self.catch_up()
        self._speed = speed
        self._flat_out = speed == 0
        self._anchor_here()

    def pause(self, *, on: bool) -> None:
        """Stop time, or let it go on."""
        self.catch_up()
        self._paused = on
        self._anchor_here()

    def _let_sleepers_wake(self) -> None:
        """Move the hold on for a client that waits for market time to pass."""
        if not self._holds or self._hold is None:
            return
        wanted_s = self.clock.wanted_s
        if wanted_s is not None:
            self._hold += timedelta(seconds=wanted_s, microseconds=1)
            self._anchor_here()

    def due(self) -> datetime:
        """Return what time it is by the computer's clock."""
        at, since = self._anchor
        due = at + timedelta(seconds=(self._loop.time() - since) * self.speed)
        return due if self._hold is None else min(due, max(at, self._hold))

    def catch_up(self) -> None:
        """Bring the market to the time it is; called before each request."""
        self._let_sleepers_wake()
        if self.speed <= 0 or self._moving.locked():
            return
        house = self._house
        house.engine.advance(self.due())
        house.flush()
        coming = house.engine.next_time
        if self._holds:
            self._anchor_here()
        elif coming is not None and coming - house.floor.now > _NIGHT:
            if self._hold is not None:
                coming = min(coming, self._hold)
            house.engine.advance(coming)
            self._anchor_here()

    async def run(self) -> None:
        """Keep time until cancelled."""
        last = 0.0
        while True:
            if self._flat_out and not self._paused:
                await self._rush()
            else:
                self.catch_up()
                await asyncio.sleep(_TURN_S)
            if self._loop.time() - last > 1.0:
                last = self._loop.time()
                self.keep_alive()

    def keep_alive(self) -> None:
        """Let the websockets send their PINGPONG where it is quiet."""
        for hub in self._house.hubs.values():
            hub.keep_alive(self._loop.time(), self._house.floor.now)

    async def _rush(self) -> None:
        """Move on by one moment, if somebody listens and has taken the last one."""
        house = self._house
        listening = any(hub.registrations for hub in house.hubs.values())
        if not listening or house.engine.finished or self._moving.locked():
            await asyncio.sleep(_TURN_S)
            return
        async with self._moving:
            self._one_moment()
            self._tell()
            await self._drained()

    def _one_moment(self) -> None:
        engine = self._house.engine
        coming = engine.next_time
        if coming is not None:
            engine.advance(coming)
            self._house.flush()

    async def advance(self, to: datetime) -> None:
        """Move the market to a time, or to the end of what there is to replay.

        Returns when the clients' sockets have taken every frame.
        """
        house = self._house
        async with self._moving:
            count = 0
            while (coming := house.engine.next_time) is not None and coming <= to:
                house.engine.advance(coming)
                house.flush()
                self.keep_alive()
                count += 1
                if count % _BATCH == 0:
                    await self._drained()
            house.engine.advance(to)
            house.flush()
            self.keep_alive()
            await self._drained()
        self._anchor_here()

    async def _drained(self) -> None:
        """Wait until the clients have taken what was sent, but not for ever."""
        until = self._loop.time() + _DRAIN_S
        while self._house.waiting and self._loop.time() < until:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
