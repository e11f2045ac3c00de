"""The emulated market put together: one floor, one or two servers on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Literal

from kisbt.candles.store import CandleStore
from kisbt.emulator.account import Account
from kisbt.emulator.engine import Engine
from kisbt.emulator.exchange import Exchange
from kisbt.emulator.faults import Fault, FaultPlan
from kisbt.emulator.floor import Floor
from kisbt.emulator.gate import CallLimit, invent_keys
from kisbt.emulator.quotes import Quotes
from kisbt.emulator.rules import Matching, Rules
from kisbt.emulator.scenario import Replay, Scenario, Walk, start_time
from kisbt.emulator.side import ServerSide, Times
from kisbt.emulator.streams import StreamHub
from kisbt.krx.calendar import KrxCalendar, default_calendar
from kisbt.krx.fees import BANKIS
from kisbt.model.account import Environment
from kisbt.model.candle import Interval

# Calls a second. Source: KIS notices of 2026-02-25 and 2026-04-20.
RATES = {Environment.MOCK: 1.0, Environment.REAL: 18.0}
_ACCOUNTS = {Environment.MOCK: "50012345-01", Environment.REAL: "70012345-01"}
_FIRST_WALK = date(2025, 11, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an emulator is made of.

    Attributes:
        data: candle store to replay; None for a seeded random walk.
        start: a date (08:20) or a time; None: the last session there is.
        environment: which servers; ``both`` has two pairs of ports.
        cash: won in each account.
        speed: virtual seconds per second; 0: as fast as the clients keep up.
        step: time moves only when told.
        virtual_limits: rates and token ages count virtual seconds; always so with
            `step`.
        limits: whether calls are limited at all.
        rest_port, ws_port: of the first server; 0 for any free one. A second server
            takes the next ports.
        faults: scripted from the start.
        symbols, interval: what of the store is replayed; None prefers minutes.
        seed: of invented prices and keys.
    """

    data: Path | str | None = None
    start: date | datetime | None = None
    environment: Literal["mock", "real", "both"] = "mock"
    cash: int = 10_000_000
    matching: Matching = Matching.TICK
    speed: float = 60.0
    step: bool = False
    virtual_limits: bool = False
    limits: bool = True
    rest_port: int = 0
    ws_port: int = 0
    faults: Sequence[Fault] = ()
    symbols: Sequence[str] = ()
    interval: Interval | None = None
    commission: str | float = BANKIS
    tax: bool | Fraction = True
    slippage_ticks: int = 0
    volume_share: float | None = None
    seed: int = 0
    calendar: KrxCalendar = field(default_factory=default_calendar)

    @property
    def environments(self) -> tuple[Environment, ...]:
        """The servers that run."""
        if self.environment == "both":
            return (Environment.MOCK, Environment.REAL)
        return (Environment(self.environment),)

    @property
    def counts_virtual(self) -> bool:
        """Whether limits and tokens follow the virtual clock."""
        return self.step or self.virtual_limits


class House:
    """Floor, engine and servers of one emulator.

    Attributes:
        sides: the servers. hubs: their websocket ends. plans: their faults.
        skew_s: seconds by which the servers' own clock is wrong.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        wall: Callable[[], float],
        wall_now: Callable[[], datetime],
    ) -> None:
        """Build everything; nothing moves yet.

        Args:
            settings: of the emulator.
            wall: seconds that never go backwards.
            wall_now: the computer's time of day, aware.

        Raises:
            MissingCandles, InputError: there is nothing to replay.
        """
        self.settings = settings
        calendar = settings.calendar
        self.scenario = _scenario(settings)
        self.started = start_time(self.scenario, settings.start, calendar)
        self.floor = Floor(self.started)
        self.skew_s = 0.0
        rules = Rules(
            matching=settings.matching,
            commission=settings.commission,
            tax=settings.tax,
            slippage_ticks=settings.slippage_ticks,
            volume_share=settings.volume_share,
        )
        exchanges = {
            environment: Exchange(
                self.floor,
                Account(
                    _ACCOUNTS[environment], f"kisbt{environment.value}", settings.cash
                ),
                calendar,
                rules,
                mock=environment is Environment.MOCK,
            )
            for environment in settings.environments
        }
        self.engine = Engine(
            self.floor, self.scenario, tuple(exchanges.values()), calendar
        )
        quotes = Quotes(self.engine, calendar)
        times = Times(
            self._virtual_s if settings.counts_virtual else wall,
            self._virtual_now if settings.counts_virtual else wall_now,
        )
        self.sides = {
            environment: self._side(environment, exchange, quotes, times)
            for environment, exchange in exchanges.items()
        }
        self.hubs = {
            environment: StreamHub(side) for environment, side in self.sides.items()
        }

    def _virtual_s(self) -> float:
        return (self.floor.now - self.started).total_seconds()

    def _virtual_now(self) -> datetime:
        return self.floor.now + timedelta(seconds=self.skew_s)

    def _side(
        self,
        environment: Environment,
        exchange: Exchange,
        quotes: Quotes,
        times: Times,
    ) -> ServerSide:
        settings = self.settings
        seed = f"{settings.seed}:{environment.value}"
        return ServerSide(
            environment,
            exchange,
            quotes,
            invent_keys(seed),
            times,
            CallLimit(RATES[environment] if settings.limits else None),
            FaultPlan(),
            seed=seed,
        )

    def flush(self) -> None:
        """Hand what happened to orders to the websockets."""
        for hub in self.hubs.values():
            hub.flush_notices()

    @property
    def last_session(self) -> date | None:
        """The last date that can be replayed; None if there is always another."""
        days = self.scenario.sessions()
        if not days or self.scenario.session_after(days[-1]) is not None:
            return None
        return days[-1]

    @property
    def waiting(self) -> int:
        """Frames the clients have not taken yet."""
        return sum(hub.waiting for hub in self.hubs.values())


def _scenario(settings: Settings) -> Scenario:
    calendar = settings.calendar
    if settings.data is None:
        start = settings.start or _FIRST_WALK
        day = start.date() if isinstance(start, datetime) else start
        return Walk(calendar, day, seed=settings.seed)
    store = CandleStore(settings.data, calendar=calendar)
    return Replay(store, calendar, symbols=settings.symbols, interval=settings.interval)
