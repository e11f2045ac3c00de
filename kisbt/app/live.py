"""Run a strategy on a server: paper, rehearsal or live, from start gate to folder."""

import logging
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import backtrader as bt

import kisbt
from kisbt.app.backtest import strategy_error
from kisbt.app.clearance import Clearance
from kisbt.app.ending import Ending, LastOrders
from kisbt.app.gate import Gate
from kisbt.app.history import LivePlan, plan_live
from kisbt.app.instances import (
    Instance,
    current_pid,
    end_is_wanted,
    listed,
    sole_owner,
)
from kisbt.app.livefolder import write_folder
from kisbt.app.livelog import run_log
from kisbt.app.liveparts import Assembly, Parts
from kisbt.app.liveresult import LiveFacts
from kisbt.app.loops import prompt_threads
from kisbt.app.prune import prune_emulators
from kisbt.app.state import journal_path
from kisbt.app.topup import after_top_up, note_rebased, top_up
from kisbt.app.venue import (
    DAILY_SETTLED,
    Mode,
    Venue,
    check_mode,
    open_venue,
    session_label,
)
from kisbt.app.watchdog import spawn_watchdog
from kisbt.candles.store import CandleStore
from kisbt.clock import Clock, SystemClock
from kisbt.config.schema import Config, config_hash
from kisbt.emulator.faults import Fault
from kisbt.errors import ConfigError, KisbtError, StrategyError
from kisbt.kis.stream import MOST_TRADES
from kisbt.model.account import Environment
from kisbt.model.ports import Urgency
from kisbt.model.result import RunResult
from kisbt.notify import Messenger, Pinger
from kisbt.orders.halt import Heartbeat, Pulse
from kisbt.orders.journal import Journal
from kisbt.orders.watch import STALE_S
from kisbt.report.folder import check_target
from kisbt.report.metrics import Summary
from kisbt.text import _

log = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a run is started, beside its configuration.

    Attributes:
        ready_file: of an emulator that runs already; None starts one if needed.
        faults: scripted for the emulator that is started.
        out: run folder; None for runs/ID.
        once: end after ``paper.sessions`` sessions.
        cancel_on_exit: cancel own open orders when it is stopped.
        with_report: write report.html.
        watchdog: start the watchdog process; None where money can be lost or a
            server of the broker is used.
        stale_s: seconds of silence in a session after which it takes over.
        on_mark: called after the journal's commits W0 to W6; for tests.
    """

    ready_file: Path | None = None
    faults: tuple[Fault, ...] = ()
    out: Path | None = None
    once: bool = False
    cancel_on_exit: bool = True
    with_report: bool = True
    watchdog: bool | None = None
    stale_s: float = STALE_S
    on_mark: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that has ended.

    Attributes:
        exit_state: ``done``, ``stopped: ...`` or ``failed: ...``.
        exit_code: of the process.
        left_open: own orders that may still fill, a line each.
    """

    result: RunResult
    summary: Summary
    folder: Path
    exit_state: str
    exit_code: int
    left_open: tuple[str, ...] = ()


def run_live(
    config: Config,
    mode: Mode,
    options: LiveOptions | None = None,
    *,
    say: Say = lambda text: None,
    strategy: type[bt.Strategy] | None = None,
    wall: Clock | None = None,
) -> Finished:
    """Run until the sessions asked for are over, or until told to stop.

    Args:
        config: of the run.
        mode: paper, rehearsal or live.
        options: see there.
        say: takes a line for people for each thing that happens.
        strategy: a class, in place of the one the configuration names.
        wall: the machine's clock.

    Raises:
        ConfigError, InputError, DataError: the input is wrong.
        SafetyRefused: the start gate says no.
        KisError: the server could not be asked at the start.
        StrategyError: the strategy raised; its folder has been written.
    """
    wanted = options or LiveOptions()
    check_mode(config, mode)
    if wanted.out is not None:
        check_target(wanted.out)
    with open_venue(
        config, mode, ready_file=wanted.ready_file, faults=wanted.faults
    ) as venue:
        run = _Run(config, venue, wanted, say, wall or SystemClock(), strategy)
        return run.run()


class _Run:
    """One run; `run` is called once."""

    def __init__(
        self,
        config: Config,
        venue: Venue,
        options: LiveOptions,
        say: Say,
        wall: Clock,
        strategy: type[bt.Strategy] | None,
    ) -> None:
        self._config = config
        self._venue = venue
        self._options = options
        self._tell = say
        self._wall = wall
        self._strategy = strategy
        self._started = wall.now()
        self._ending = Ending()
        self._rebased: tuple[str, ...] = ()
        name = config.strategy.class_.rpartition(":")[2]
        if strategy is not None:
            name = strategy.__name__
        self._name = name
        self.run_id = (
            f"{self._started:%Y%m%d-%H%M%S}-{venue.mode.value}-{name}"
            f"-{secrets.token_hex(2)}"
        )

    def _say(self, text: str) -> None:
        log.info("%s", text)
        self._tell(f"{self._venue.mode.label} | {text}")

    # From beginning to end.

    def run(self) -> Finished:
        """Run; see `run_live`."""
        venue = self._venue
        with ExitStack() as stack:
            stack.enter_context(sole_owner(venue.state))
            if venue.is_emulator:
                prune_emulators(self._started)
            listing = stack.enter_context(listed(self._instance()))
            stack.enter_context(self._ending.watched(lambda: end_is_wanted(listing)))
            stack.enter_context(run_log(venue.state / "logs", venue.clock))
            plan = self._plan()
            self._say(
                _("{name}: {count} symbols, bars of {interval}, on {server}").format(
                    name=self._name,
                    count=len(plan.symbols),
                    interval=plan.config.bars.interval,
                    server=venue.access.server.name,
                )
            )
            if venue.is_emulator and not venue.step and venue.speed > 0:
                self._say(_pace(venue, plan))
            journal = stack.enter_context(
                Journal(
                    journal_path(venue.state),
                    clock=venue.clock,
                    on_mark=self._options.on_mark,
                )
            )
            journal.reserve()
            plan = self._topped_up(plan, journal)
            for text in plan.warnings:
                self._say(_("warning: {text}").format(text=text))
            messenger = Messenger(self._config.notify.urls)
            messenger.start()
            stack.callback(messenger.close)
            pinger = self._pinger(stack)
            parts = self._join(plan, journal, messenger, pinger)
            stack.callback(parts.hearing.stop)
            stack.callback(parts.session.close)
            return self._carry_out(parts, messenger)

    def _instance(self) -> Instance:
        venue, config = self._venue, self._config
        keys = venue.access.keys
        return Instance(
            id=self.run_id,
            pid=current_pid(),
            mode=venue.mode.value,
            environment=venue.environment.value,
            profile=keys.profile,
            state=str(venue.state),
            emulator=None if venue.link is None else venue.link.row,
            folder=str(self._folder().absolute()),
            config="" if config.source is None else str(config.source),
            strategy=self._name,
            started=self._started.isoformat(),
        )

    def _folder(self) -> Path:
        return self._options.out or Path("runs") / self.run_id

    def _plan(self) -> LivePlan:
        venue, config = self._venue, self._config
        path = config.data_path
        if venue.is_emulator:
            path = config.resolve(config.paper.replay)
        store = CandleStore(path, calendar=venue.calendar)
        session = session_label(
            venue.clock.now(), venue.calendar, daily=config.bars.length.is_daily
        )
        plan = plan_live(config, store, session, strategy=self._strategy)
        many = len(plan.symbols) > MOST_TRADES
        intraday = not config.bars.length.is_daily
        if many and intraday and venue.environment is Environment.MOCK:
            raise ConfigError(
                _(
                    "{count} symbols on minute bars: KIS's mock server follows "
                    "{most} at most; use fewer, or daily bars"
                ).format(count=len(plan.symbols), most=MOST_TRADES),
                path="universe.symbols",
            )
        return plan

    def _topped_up(self, plan: LivePlan, journal: Journal) -> LivePlan:
        """Return the plan with history up to yesterday.

        Not on an emulator: the store it replays has it already. Nor before a start
        that the gate is going to refuse: that one reaches nobody.

        Raises:
            KisError: the broker cannot be reached or refuses the keys.
            StorageError: the store cannot be written.
        """
        clearance = Clearance(self._config, self._venue, plan)
        if self._venue.is_emulator or not clearance.may_start(journal):
            return plan
        topped = top_up(plan, self._venue, say=self._say)
        self._rebased = topped.rebased
        found = plan_live(
            self._config, plan.store, plan.session, strategy=self._strategy
        )
        found.warnings.extend(after_top_up(found, self._venue, topped))
        return found

    def _pinger(self, stack: ExitStack) -> Pinger | None:
        url = self._config.notify.heartbeat_url
        if not url:
            return None
        pinger = Pinger(url)
        pinger.start()
        stack.callback(pinger.close)
        return pinger

    def _join(
        self,
        plan: LivePlan,
        journal: Journal,
        messenger: Messenger,
        pinger: Pinger | None,
    ) -> Parts:
        venue, config = self._venue, self._config
        begun = journal.begin_run(
            run_id=self.run_id,
            version=kisbt.__version__,
            config_hash=config_hash(config),
            mode=venue.mode.value,
            account=venue.access.keys.account.masked,
            capital=config.capital,
        )
        assembly = Assembly(config, venue, plan, journal, self._ending, say=self._say)
        return assembly.join(
            begun.number,
            messenger,
            pinger,
            wall=self._wall,
            once=self._options.once,
            stale_s=self._options.stale_s,
        )

    # The run itself.

    def _carry_out(self, parts: Parts, messenger: Messenger) -> Finished:
        with self._ending.signals(parts.session.stop, parts.cerebro.runstop):
            self._pass_gate(parts)
            state, error = self._trade(parts)
            left = self._leave(parts, state)
        parts.journal.end_run(state)
        # In order: its silence from here on is no alarm for the watchdog.
        Heartbeat(self._venue.state, clock=self._wall).beat(Pulse.ENDED)
        finished = self._write(parts, state, left, error)
        messenger.notify(
            Urgency.INFO if error is None else Urgency.CRITICAL,
            _("kisbt ended ({mode})").format(mode=self._venue.mode.label),
            state,
        )
        if error is not None:
            raise error
        return finished

    def _pass_gate(self, parts: Parts) -> None:
        gate = Gate(
            parts.plan,
            self._venue,
            parts.journal,
            parts.desk,
            parts.hearing,
            self._say,
        )
        parts.arming = gate.check_account()
        gate.check_books()
        for symbol in self._rebased:
            # Indicators begin with the new prices; only shares held are in doubt.
            if parts.journal.holding(symbol).quantity:
                note_rebased(parts.desk.desk, symbol)
        gate.listen(parts.session.plan.followed)
        gate.open()
        if self._wants_watchdog():
            spawn_watchdog(
                current_pid(),
                self._venue.state / "logs" / "watchdog.log",
                stale_s=self._options.stale_s,
            )

    def _wants_watchdog(self) -> bool:
        wanted = self._options.watchdog
        return not self._venue.is_emulator if wanted is None else wanted

    def _trade(self, parts: Parts) -> tuple[str, KisbtError | None]:
        """Run Cerebro to its end; return the exit state and what went wrong."""
        thread = parts.thread
        try:
            with prompt_threads():
                if thread is not None:
                    thread.start()
                parts.cerebro.run()
        except KisbtError as error:
            return f"failed: {error}", error
        except Exception as error:  # noqa: BLE001 - the user's code
            wrapped: StrategyError = strategy_error(error, parts.broker)
            wrapped.__cause__ = error
            return f"failed: {wrapped}", wrapped
        finally:
            if thread is not None:
                thread.stop()
        if self._ending.problem is not None:
            problem = self._ending.problem
            if isinstance(problem, KisbtError):
                return f"failed: {problem}", problem
            raise problem
        if self._ending.asked:
            return f"stopped: {self._ending.why}", None
        return "done", None

    def _leave(self, parts: Parts, state: str) -> tuple[str, ...]:
        """Carry out the exit policy; return the orders that may still fill."""
        last = LastOrders(
            parts.journal,
            parts.desk,
            parts.hearing,
            self._ending,
            self._venue.clock,
            self._say,
        )
        cancel = self._options.cancel_on_exit and state != "done"
        return last.leave(parts.thread, cancel=cancel)

    def _write(
        self,
        parts: Parts,
        state: str,
        left: tuple[str, ...],
        error: KisbtError | None,
    ) -> Finished:
        folder = self._folder()
        facts = LiveFacts(
            run_id=self.run_id,
            mode=self._venue.mode,
            started=self._started,
            ended=self._wall.now(),
            exit_state=state,
            warnings=parts.plan.warnings,
        )
        result, summary = write_folder(
            parts,
            self._venue,
            facts,
            folder,
            with_report=self._options.with_report,
        )
        return Finished(
            result=result,
            summary=summary,
            folder=folder,
            exit_state=state,
            exit_code=0 if error is None else 1,
            left_open=left,
        )


def _pace(venue: Venue, plan: LivePlan) -> str:
    """Return how long a person will look at a session that an emulator replays."""
    until = plan.calendar.close_time(plan.session) + DAILY_SETTLED
    begins = max(venue.clock.now(), until.replace(hour=8, minute=0))
    minutes = max(0.0, venue.wall_s((until - begins).total_seconds()) / 60)
    text = _(
        "the emulator's time runs at speed {speed:g}: a session takes about "
        "{minutes:.1f} minutes"
    ).format(speed=venue.speed, minutes=minutes)
    if plan.config.bars.length.is_daily:
        text += _("; its bar comes at the end, after the close")
    return text + _(". With --step it is done at once; --speed N changes it")
