"""Where a run trades: server, keys, clocks and folders out of a configuration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from kisbt.app.connect import Access, data_access, kis_access
from kisbt.app.links import AttachedEmulator, EmulatorLink, OwnEmulator
from kisbt.app.stepclock import StepClock
from kisbt.candles.store import CandleStore
from kisbt.clock import KST, Clock, SystemClock
from kisbt.config.load import resolve_universe
from kisbt.config.schema import Config
from kisbt.emulator.faults import Fault
from kisbt.emulator.house import Settings
from kisbt.emulator.rules import Matching
from kisbt.errors import ConfigError, InputError, MissingCandles
from kisbt.kis.client import KisClient
from kisbt.kis.stream import KisStream
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.overrides import KrxOverrides
from kisbt.model.account import Environment
from kisbt.model.candle import DAILY, MINUTE
from kisbt.text import _


class Mode(StrEnum):
    """What a run is, as run.json and every screen call it."""

    BACKTEST = "backtest"
    PAPER = "paper"
    REHEARSAL = "rehearsal"
    LIVE = "live"

    @property
    def label(self) -> str:
        """The word for people."""
        return {
            Mode.BACKTEST: _("backtest"),
            Mode.PAPER: _("paper"),
            Mode.REHEARSAL: _("rehearsal"),
            Mode.LIVE: _("LIVE"),
        }[self]

    @property
    def environment(self) -> Environment:
        """Whose codes, limits and hours apply."""
        paper = self is Mode.PAPER
        return Environment.MOCK if paper else Environment.REAL


@dataclass(slots=True)
class Venue:
    """A server to trade on, and the time that passes there.

    Attributes:
        mode: what the run is.
        access: keys and server of orders. data_access: of market data.
        client, data: of them; the same object unless ``kis.data_profile`` differs.
        clock: time of the market.
        link: the emulator; None on the broker's own server.
        step: the run moves the emulator's time itself.
        speed: virtual seconds per second; 1 on the broker's server.
        calendar: sessions and hours.
    """

    mode: Mode
    access: Access
    data_access: Access
    client: KisClient
    data: KisClient
    clock: Clock
    calendar: KrxCalendar
    link: EmulatorLink | None = None
    step: bool = False
    speed: float = 1.0
    _closed: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def state(self) -> Path:
        """Folder of the account's journal, latch and calibration."""
        return self.access.state

    @property
    def is_emulator(self) -> bool:
        """Whether no money can be lost here."""
        return self.link is not None

    @property
    def environment(self) -> Environment:
        """Mock or real."""
        return self.access.server.environment

    def open_stream(self, on_data: Callable[[], None]) -> KisStream:
        """Return the websocket of the data keys, not started.

        It brings trades and notices alike, because an app key has one session; with
        other keys for market data the notices need one of their own: see
        `open_notices`.

        Args:
            on_data: called in its thread when there is something to take.
        """
        access, client = self.data_access, self.data
        return KisStream(access.keys, access.server, client.auth, on_data=on_data)

    def open_notices(self, on_data: Callable[[], None]) -> KisStream | None:
        """Return the websocket of notices alone; None when `open_stream` has them."""
        if self.data is self.client:
            return None
        return KisStream(
            self.access.keys, self.access.server, self.client.auth, on_data=on_data
        )

    def wall_s(self, seconds: float) -> float:
        """Return how long `seconds` of market time take on this machine."""
        return seconds / self.speed if self.speed > 0 else 0.0

    def has_session(self, day: date) -> bool:
        """Return whether a session of `day` or later will come."""
        last = None if self.link is None else self.link.last_session
        return last is None or day <= last

    def advance_to(self, moment: datetime) -> None:
        """Move a stepped market; elsewhere time moves by itself."""
        if isinstance(self.clock, StepClock):
            self.clock.advance_to(moment)

    def hold(self, moment: datetime | None) -> None:
        """Have an emulator of this run wait at a moment, should the run be slow.

        A laptop under load would otherwise miss what a market in its own time
        would have left time for.
        """
        if self.link is not None and not self.step:
            self.link.hold(moment)

    def close(self) -> None:
        """Close connections, and the emulator if this run started it."""
        if self._closed:
            return
        self._closed = True
        self.client.close()
        if self.data is not self.client:
            self.data.close()
        if self.link is not None:
            self.link.close()


def mode_of(config: Config) -> Mode:
    """Return what a configuration asks for."""
    if config.mode == "live":
        return Mode.REHEARSAL if config.live.server == "emulator" else Mode.LIVE
    return Mode(config.mode)


def open_venue(
    config: Config,
    mode: Mode,
    *,
    ready_file: Path | None = None,
    faults: Sequence[Fault] = (),
    clock: Clock | None = None,
) -> Venue:
    """Connect a run to its server; no call is made yet.

    Args:
        config: of the run.
        mode: paper, rehearsal or live.
        ready_file: of an emulator that runs already; one is started if None and the
            configuration asks for one.
        faults: scripted for the emulator that is started.
        clock: of the broker's server; the machine's by default.

    Raises:
        ConfigError: keys are missing or do not fit.
        InputError, MissingCandles: there is nothing to replay.
    """
    calendar = KrxOverrides.from_mapping(config.krx_overrides).calendar()
    if uses_emulator(config, mode) or ready_file is not None:
        if mode is Mode.LIVE:
            raise ConfigError(
                _("--emulator and live money: write live.server: emulator"),
                path="live.server",
            )
        if faults and ready_file is not None:
            raise InputError(
                _("--faults and --emulator: give faults to the emulator itself")
            )
        return _on_emulator(config, mode, calendar, ready_file, faults)
    if faults:
        raise InputError(_("--faults are for an emulator only"))
    access = kis_access(config.kis.profile, mode.environment)
    reading = data_access(access, config.kis.data_profile)
    time = clock or SystemClock()
    client = access.open(clock=time)
    data = client if reading is access else reading.open(read_only=True, clock=time)
    return Venue(
        mode=mode,
        access=access,
        data_access=reading,
        client=client,
        data=data,
        clock=time,
        calendar=calendar,
    )


def uses_emulator(config: Config, mode: Mode) -> bool:
    """Return whether a run of that mode trades on an emulator."""
    if mode is Mode.REHEARSAL:
        return True
    return mode is Mode.PAPER and config.paper.server == "emulator"


def _on_emulator(
    config: Config,
    mode: Mode,
    calendar: KrxCalendar,
    ready_file: Path | None,
    faults: Sequence[Fault],
) -> Venue:
    link: EmulatorLink
    if ready_file is None:
        link = OwnEmulator(
            replace(emulator_settings(config, mode, calendar), faults=tuple(faults)),
            mode.environment,
        )
    else:
        link = AttachedEmulator(ready_file, mode.environment)
    try:
        clock = StepClock(link) if link.step else link.clock
        client = link.access.open(clock=clock)
    except BaseException:
        link.close()
        raise
    return Venue(
        mode=mode,
        access=link.access,
        data_access=link.access,
        client=client,
        data=client,
        clock=clock,
        calendar=calendar,
        link=link,
        step=link.step,
        speed=0.0 if link.step else link.speed,
    )


def emulator_settings(config: Config, mode: Mode, calendar: KrxCalendar) -> Settings:
    """Return the emulator that a run of `config` starts.

    It fills and charges as the run's ``broker:`` block says, so that a backtest of
    the same candles makes the same fills.

    Raises:
        MissingCandles: the store has no session to replay.
    """
    paper, broker = config.paper, config.broker
    path = config.resolve(paper.replay)
    store = CandleStore(path, calendar=calendar)
    universe = resolve_universe(config, store.instruments())
    symbols = tuple(
        item.symbol
        for item in universe
        if store.has(item.symbol, DAILY)
        or store.has(item.symbol, DAILY, adjusted=False)
        or store.has(item.symbol, MINUTE)
    )
    daily = config.bars.length.is_daily
    tax: bool | Fraction = broker.tax == "krx"
    if isinstance(broker.tax, float):
        tax = Fraction(str(broker.tax))
    return Settings(
        data=path,
        start=_start(config, store, symbols),
        environment="mock" if mode.environment is Environment.MOCK else "real",
        cash=config.capital,
        matching=Matching(paper.matching),
        speed=paper.speed,
        step=paper.step or paper.speed == 0,
        virtual_limits=True,
        symbols=symbols,
        interval=DAILY if daily else MINUTE,
        commission=broker.commission,
        tax=tax,
        slippage_ticks=broker.slippage_ticks,
        volume_share=broker.volume_share,
        calendar=calendar,
    )


def _start(
    config: Config, store: CandleStore, symbols: Sequence[str]
) -> date | datetime:
    """Return where the replay begins."""
    wanted = config.paper.from_
    if wanted is not None:
        # A bare date begins at 08:20 as the emulator knows it.
        if wanted.time() == datetime.min.time():
            return wanted.date()
        return wanted.replace(tzinfo=KST)
    days = replay_sessions(config, store, symbols)
    if not days:
        raise MissingCandles(
            _("no {interval} candles in {path}: nothing to replay").format(
                interval=config.bars.interval, path=store.path
            )
        )
    return days[-min(config.paper.sessions, len(days))]


def replay_sessions(
    config: Config, store: CandleStore, symbols: Sequence[str]
) -> list[date]:
    """Return the sessions for which there are candles to replay, oldest first."""
    daily = config.bars.length.is_daily
    found: set[date] = set()
    for symbol in symbols:
        for adjusted in (False, True) if daily else (True,):
            interval = DAILY if daily else MINUTE
            if store.has(symbol, interval, adjusted=adjusted):
                candles = store.read(symbol, interval, adjusted=adjusted)
                found.update(np.unique(candles.sessions).tolist())
                break
    return sorted(found)


def check_mode(config: Config, mode: Mode) -> None:
    """Refuse what cannot be traded in a mode, before anything is connected.

    Raises:
        ConfigError, InputError: the configuration asks for something impossible.
    """
    if mode is Mode.BACKTEST:
        raise InputError(_("a backtest needs no server"))
    if config.broker.rules != "krx":
        raise ConfigError(
            _(
                "broker.rules none is for backtests: an exchange has its rules; write "
                "broker.rules: krx"
            ),
            path="broker.rules",
        )
    if mode is Mode.LIVE and config.mode != "live":
        raise ConfigError(
            _("real money needs mode: live written in the file"), path="mode"
        )


DAILY_SETTLED = timedelta(minutes=40)
"""After the close, when a daily candle is final: the trades at the closing price are
over."""
# How long the clock may be asked for at once, so that a stop is noticed.
LONGEST_WAIT_S = 0.5


def session_label(
    moment: datetime, calendar: KrxCalendar, *, daily: bool = False
) -> date:
    """Return the session of `moment`, or the next one when its day has none or is over.

    Args:
        moment: aware.
        calendar: of the exchange.
        daily: for daily bars, whose session is over only when its candle is final: a
            run that begins between the two still waits for that candle.
    """
    day = moment.date()
    tail = DAILY_SETTLED if daily else timedelta(minutes=1)
    if calendar.is_session(day) and moment < calendar.close_time(day) + tail:
        return day
    return calendar.next_session(day)
