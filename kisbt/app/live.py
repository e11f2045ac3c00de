"""Run a strategy on a server: paper, rehearsal or live, from start gate to folder."""

import logging
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import backtrader as bt

import kisbt
from kisbt.app.arming import Arming, require_armed
from kisbt.app.backtest import risk_limits, strategy_error
from kisbt.app.calibration import own_channel
from kisbt.app.enquiries import Enquiries
from kisbt.app.gate import Gate, adopt, offset_allowance_s
from kisbt.app.heard import HeardVenue
from kisbt.app.hearing import Hearing, Prices
from kisbt.app.history import LivePlan, plan_live
from kisbt.app.incidents import journal_incidents
from kisbt.app.instances import Instance, current_pid, listed, sole_owner
from kisbt.app.livelog import run_log
from kisbt.app.liveresult import (
    LiveFacts,
    Start,
    carried_orders,
    live_result,
    with_broker_numbers,
    write_candles,
)
from kisbt.app.loops import Stepper, TradingThread, prompt_threads
from kisbt.app.moment import FRESH_S, MomentPrices
from kisbt.app.prune import prune_emulators
from kisbt.app.session import Hooks, LiveSession, SessionPlan, Stage
from kisbt.app.state import journal_path
from kisbt.app.topup import Renewal, after_top_up, note_rebased, renews, top_up
from kisbt.app.venue import (
    DAILY_SETTLED,
    Mode,
    Venue,
    check_mode,
    open_venue,
    session_label,
)
from kisbt.app.watchdog import spawn_watchdog
from kisbt.bt.livebroker import LiveBroker
from kisbt.bt.livefeed import LiveFeed
from kisbt.bt.resume import Resume, resume_from
from kisbt.bt.store import FeedState, LiveStore
from kisbt.bt.warmup import hold_unless
from kisbt.candles.live import CandleBuilder
from kisbt.candles.store import CandleStore
from kisbt.clock import Clock, SystemClock
from kisbt.config.schema import Config, config_hash
from kisbt.emulator.faults import Fault
from kisbt.errors import ConfigError, KisbtError, StrategyError
from kisbt.kis.stream import MOST_TRADES
from kisbt.model.account import Environment
from kisbt.model.candle import Candle
from kisbt.model.instrument import Instrument
from kisbt.model.ports import Urgency
from kisbt.model.result import RunResult
from kisbt.notify import Messenger, Pinger
from kisbt.orders.desk import OrderDesk
from kisbt.orders.deskstate import DeskSettings, DeskSources, Foreign
from kisbt.orders.guard import GuardLimits
from kisbt.orders.halt import HaltLatch, Heartbeat, Pulse
from kisbt.orders.journal import Journal
from kisbt.orders.ledger import FillSource, Tariff
from kisbt.orders.polling import MOCK_RATES, REAL_RATES, PollRates
from kisbt.orders.watch import STALE_S
from kisbt.report.folder import check_target, write_run
from kisbt.report.livefiles import CANDLES, live_files
from kisbt.report.metrics import Summary, summarise
from kisbt.text import _, current_language

log = logging.getLogger(__name__)

Say = Callable[[str], None]

_CANCEL_WAIT_S = 20.0
# How far above the market a purchase with real money may go (R8).
_COLLAR_PCT = 3.0
_GRACE_S = 1.5
# Of machine time: a fast emulator looks at its clock fifty times a second.
_DELIVERY_S = 0.05
# Where time is moved by the run, asking again and again would only cost time: a fill
# is told by a notice, and every bar asks once anyway.
_STEP_RATES = PollRates(
    working_s=3_600.0,
    idle_s=3_600.0,
    balance_s=3_600.0,
    confirm_s=1.0,
)


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


@dataclass(slots=True)
class _Ending:
    """Whether, and how, a run is being ended from outside."""

    asked: int = 0
    why: str = ""
    problem: BaseException | None = None


@dataclass(slots=True)
class _Parts:
    """What a run is joined of, once it has started."""

    plan: LivePlan
    journal: Journal
    run_number: int
    desk: OrderDesk
    hearing: Hearing
    store: LiveStore
    broker: LiveBroker
    cerebro: bt.Cerebro
    feeds: dict[str, LiveFeed]
    session: LiveSession
    start: Start
    heard: HeardVenue
    arming: Arming | None = None
    thread: TradingThread | None = None
    earlier: dict[int, int] = field(default_factory=dict)


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
        self._ending = _Ending()
        self._warnings: list[str] = []
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
            stack.enter_context(listed(self._instance()))
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
        if self._venue.is_emulator or not self._may_start(plan, journal):
            return plan
        topped = top_up(plan, self._venue, say=self._say)
        self._rebased = topped.rebased
        found = plan_live(
            self._config, plan.store, plan.session, strategy=self._strategy
        )
        found.warnings.extend(after_top_up(found, self._venue, topped))
        return found

    def _may_start(self, plan: LivePlan, journal: Journal) -> bool:
        """Return whether nothing on this machine forbids the run."""
        if HaltLatch(self._venue.state).is_raised():
            return False
        return not self._disarmed(plan, {"session": True})() or bool(
            journal.positions()
        )

    def _pinger(self, stack: ExitStack) -> Pinger | None:
        url = self._config.notify.heartbeat_url
        if not url:
            return None
        pinger = Pinger(url)
        pinger.start()
        stack.callback(pinger.close)
        return pinger

    # Joining the parts.

    def _join(
        self,
        plan: LivePlan,
        journal: Journal,
        messenger: Messenger,
        pinger: Pinger | None,
    ) -> _Parts:
        venue, config = self._venue, self._config
        begun = journal.begin_run(
            run_id=self.run_id,
            version=kisbt.__version__,
            config_hash=config_hash(config),
            mode=venue.mode.value,
            account=venue.access.keys.account.masked,
            capital=config.capital,
        )
        prices = Prices(venue.clock)
        holder: dict[str, Any] = {}

        def wake() -> None:
            if (thread := holder.get("thread")) is not None:
                thread.wake()

        def asked() -> None:
            if (session := holder.get("session")) is not None:
                session.ask_desk()
            if (thread := holder.get("thread")) is not None:
                thread.hurry()

        hearing = Hearing(venue, wake)
        desk = OrderDesk(
            journal,
            venue.client,
            self._desk_settings(plan, journal),
            clock=venue.clock,
            calendar=venue.calendar,
            latch=self._latch(),
            sources=DeskSources(
                **self._prices_for_guard(prices),
                offset_s=venue.client.clock_offset_s,
                disarmed=self._disarmed(plan, holder),
                order_cap=self._order_cap(plan),
            ),
            notifier=messenger,
            on_work=asked,
        )
        heart = Heartbeat(venue.state, clock=self._wall)
        heart.beat(Pulse.STARTING)  # the watchdog of an earlier run goes

        builder = None
        if not config.bars.length.is_daily:
            builder = CandleBuilder(
                venue.calendar,
                plan.symbols,
                interval=config.bars.length,
                grace_s=grace_s(venue),
            )
        store = LiveStore(
            heartbeat=beating(heart, holder, pinger, self._options.stale_s),
            bases=None if builder is None else builder.bases,
        )
        heard = HeardVenue(desk)
        self._adopt(plan, journal)
        resume = resume_from(journal)
        broker = self._broker(plan, journal, heard, store, resume)
        cerebro, feeds = self._cerebro(plan, store, broker)
        session = LiveSession(
            SessionPlan(
                symbols=plan.symbols,
                followed=plan.symbols[:MOST_TRADES],
                interval=config.bars.length,
                adjusted=plan.adjusted,
                first=plan.session,
                sessions=config.paper.sessions if self._options.once else None,
                recheck=not venue.step,
                grace_s=grace_s(venue),
            ),
            venue,
            desk,
            hearing,
            prices,
            builder,
            self._hooks(plan, store, desk, holder),
            enquiries=Enquiries(at_once=venue.step, wake=wake),
        )
        holder["session"] = session
        parts = _Parts(
            plan=plan,
            journal=journal,
            run_number=begun.number,
            desk=desk,
            hearing=hearing,
            store=store,
            broker=broker,
            cerebro=cerebro,
            feeds=feeds,
            session=session,
            heard=heard,
            start=Start(
                cash=resume.cash,
                positions={
                    item.symbol: (item.quantity, item.average)
                    for item in resume.holdings
                },
                left={item.ref: item.quantity - item.filled for item in resume.orders},
                state=journal.load_state("strategy-0"),
                guard=(journal.load_state("broker") or {}).get("guard"),
            ),
        )
        if venue.step:
            stepper = Stepper(session, venue, hearing, broker)
            holder["stir"] = stepper.stir
            store.pump = stepper
        else:
            parts.thread = TradingThread(session, venue, self._failed(store))
            holder["thread"] = parts.thread
            venue.client.on_call = venue.data.on_call = parts.thread.sign
        return parts

    def _latch(self) -> HaltLatch:
        """Return the halt latch; it also holds orders that wait for the rate."""
        latch = HaltLatch(self._venue.state, clock=self._venue.clock)
        self._venue.client.hold = lambda: _why_held(latch)
        return latch

    def _adopt(self, plan: LivePlan, journal: Journal) -> None:
        """Take over the shares the configuration names, before the broker begins.

        Without leave nothing is taken over: a run that may only reduce would sell it.

        Raises:
            SafetyRefused: the account does not hold them.
            KisError: it could not be asked.
        """
        wanted = self._config.live.adopt
        if not wanted or self._venue.mode is Mode.PAPER:
            return
        disarmed = self._disarmed(plan, {"session": True})()
        if disarmed or not self._may_start(plan, journal):
            return  # the gate says why
        for line in adopt(journal, wanted, self._venue.client.fetch_balance()):
            self._say(line)

    def _desk_settings(self, plan: LivePlan, journal: Journal) -> DeskSettings:
        venue, config = self._venue, self._config
        mock = venue.environment is Environment.MOCK
        rates = MOCK_RATES if mock else REAL_RATES
        keys = venue.access.keys
        return DeskSettings(
            instruments=_instruments(plan, journal),
            tariff=Tariff(
                commission=config.broker.commission,
                tax=config.broker.tax,
                tax_rows=plan.tax_rows,
            ),
            mock=mock,
            account=f"{keys.account.number}{keys.account.product}",
            fill_source=FillSource(config.live.fill_source),
            foreign=Foreign(config.live.foreign),
            own_channel=own_channel(venue.state, venue.environment),
            guard=self._guard_limits(),
            rates=_STEP_RATES if venue.step else rates,
        )

    def _guard_limits(self) -> GuardLimits:
        venue = self._venue
        live = venue.mode is Mode.LIVE
        spare_s = offset_allowance_s(venue)
        return GuardLimits(
            collar_pct=_COLLAR_PCT if live else None,
            price_age_s=FRESH_S if live else None,
            clock_offset_s=2.0 + spare_s,
            intent_age_s=3.0 + 2.0 * spare_s,
            canary_shares=1 if live else None,
            canary_won=50_000 if live else None,
        )

    def _prices_for_guard(self, prices: Prices) -> dict[str, Any]:
        """Return where the desk learns the price of the moment and the day's limits.

        Where no money can be lost nothing is asked for, so that paper trades as the
        backtest does.
        """
        venue = self._venue
        if venue.mode is not Mode.LIVE:
            return {"market": prices}
        asked = MomentPrices(prices, venue.data, venue.clock, venue.calendar)
        return {"market": asked.market, "band": asked.band}

    def _disarmed(self, plan: LivePlan, holder: Mapping[str, Any]) -> Callable[[], str]:
        """Return what tells why nothing may be bought."""
        venue = self._venue

        def why() -> str:
            if not holder["session"] or self._ending.problem is not None:
                return _("the run is ending")
            if venue.mode is not Mode.LIVE:
                return ""
            try:
                require_armed(
                    venue.state,
                    self._config,
                    venue.access.keys,
                    symbols=plan.symbols,
                    clock=venue.clock,
                )
            except KisbtError as error:
                return str(error)
            return ""

        return why

    def _order_cap(self, plan: LivePlan) -> Callable[[], int | None]:
        """Return what tells the won cap of the arming in force."""
        venue = self._venue

        def cap() -> int | None:
            if venue.mode is not Mode.LIVE:
                return None
            try:
                return require_armed(
                    venue.state,
                    self._config,
                    venue.access.keys,
                    symbols=plan.symbols,
                    clock=venue.clock,
                ).won_cap
            except KisbtError:
                return 0  # not armed: nothing is bought at all

        return cap

    def _broker(
        self,
        plan: LivePlan,
        journal: Journal,
        heard: HeardVenue,
        store: LiveStore,
        resume: Resume,
    ) -> LiveBroker:
        settings = self._config.broker
        return LiveBroker(
            cash=float(journal.cash()),
            venue=heard,
            store=store,
            resume=resume,
            keeper=journal,
            clock=self._venue.clock,
            on_bar=heard.on_bar,
            commission=settings.commission,
            tax=settings.tax,
            slippage_ticks=settings.slippage_ticks,
            volume_share=settings.volume_share,
            market_orders=settings.market_orders,
            risk=risk_limits(self._config.risk),
            calendar=plan.calendar,
            tax_rows=plan.tax_rows,
        )

    def _cerebro(
        self, plan: LivePlan, store: LiveStore, broker: LiveBroker
    ) -> tuple[bt.Cerebro, dict[str, LiveFeed]]:
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(broker)
        feeds = {}
        for symbol, instrument in plan.instruments.items():
            feed = LiveFeed(
                dataname=plan.history[symbol],
                name=symbol,
                store=store,
                instrument=instrument,
                interval=plan.config.bars.length,
                adjusted=plan.adjusted,
            )
            cerebro.adddata(feed)
            feeds[symbol] = feed
        gated = hold_unless(plan.strategy_class, store.calls_on)
        cerebro.addstrategy(gated, **plan.params)
        return cerebro, feeds

    def _hooks(
        self,
        plan: LivePlan,
        store: LiveStore,
        desk: OrderDesk,
        holder: Mapping[str, Any],
    ) -> Hooks:
        def stir() -> None:
            if "stir" in holder:
                holder["stir"]()

        def publish(candles: Mapping[str, Candle], live: bool) -> None:
            store.publish(candles, live=live)
            stir()

        def broken(is_broken: bool) -> None:
            store.announce(FeedState.BROKEN if is_broken else FeedState.LIVE)
            stir()

        def over() -> None:
            store.finish()
            stir()

        return Hooks(
            publish=publish,
            ticks=store.offer_ticks,
            broken=broken,
            over=over,
            news=store.wake,
            watching=lambda: bool(store.watched),
            idle=lambda: store.is_idle,
            say=self._say,
            tidy=desk.journal.tidy,
            **self._renewal(plan, desk),
        )

    def _renewal(self, plan: LivePlan, desk: OrderDesk) -> dict[str, Any]:
        """Return who looks for a changed past before each session; see `Hooks`."""
        if not renews(plan, self._venue):
            return {}
        renewal = Renewal(
            plan,
            self._venue,
            found=lambda symbol, again: note_rebased(desk.desk, symbol, again),
        )

        def opened(day: date) -> None:
            renewal.begin(day, [item.symbol for item in desk.positions()])

        return {"opened": opened, "chore": renewal.step}

    def _failed(self, store: LiveStore) -> Callable[[BaseException], None]:
        def failed(error: BaseException) -> None:
            # Nobody sends any more; Cerebro ends, and so does the run.
            self._ending.problem = error
            store.finish()

        return failed

    # The run itself.

    def _carry_out(self, parts: _Parts, messenger: Messenger) -> Finished:
        with self._signals(parts):
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

    def _pass_gate(self, parts: _Parts) -> None:
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

    def _trade(self, parts: _Parts) -> tuple[str, KisbtError | None]:
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

    def _leave(self, parts: _Parts, state: str) -> tuple[str, ...]:
        """Carry out the exit policy; return the orders that may still fill."""
        journal, desk = parts.journal, parts.desk
        open_orders = [o for o in journal.open_orders() if o.origin == "strategy"]
        hangs = parts.thread is not None and parts.thread.alive
        if hangs:
            # Two threads at the desk could send one order twice.
            self._say(
                _(
                    "the trading loop still waits for the server: its orders are left "
                    "as they are. Look at kisbt show orders; kisbt halt cancels them"
                )
            )
        elif parts.thread is not None:
            # What came while the last turn was sending: the journal is to have it.
            with suppress(KisbtError):
                for event in parts.hearing.take_events():
                    desk.stream_event(event)
        wanted = self._options.cancel_on_exit and not hangs
        if state != "done" and wanted and self._ending.asked < 2:
            for order in open_orders:
                journal.want_cancel(order.ref, "exit")
            self._wait_for_cancellations(parts)
        left = [o for o in journal.open_orders() if o.origin == "strategy"]
        desk.close()
        lines = []
        for order in left:
            at = order.broker_number or _("not sent yet")
            lines.append(
                _(
                    "open: order {number} ({at}) {symbol} {quantity:,} shares; look in "
                    "the HTS under today's orders"
                ).format(
                    number=order.number,
                    at=at,
                    symbol=order.symbol,
                    quantity=order.open_quantity,
                )
            )
        for line in lines:
            self._say(line)
        return tuple(lines)

    def _wait_for_cancellations(self, parts: _Parts) -> None:
        clock = self._venue.clock
        until_s = clock.monotonic() + _CANCEL_WAIT_S
        with suppress(KisbtError):
            while clock.monotonic() < until_s and self._ending.asked < 2:
                for event in parts.hearing.take_events():
                    parts.desk.stream_event(event)
                due_s = parts.desk.work()
                waiting = [
                    order
                    for order in parts.journal.open_orders()
                    if order.cancel_wanted and order.is_at_broker
                ]
                if not waiting:
                    return
                clock.sleep(min(max(due_s or 0.0, 0.1), 1.0))

    @contextmanager
    def _signals(self, parts: _Parts) -> Iterator[None]:
        """End in order at Ctrl-C or SIGTERM, at once at the second."""

        def told(number: int, _frame: object) -> None:
            self._ending.asked += 1
            self._ending.why = signal.Signals(number).name
            parts.session.stop()
            if self._ending.asked > 1:
                parts.cerebro.runstop()
            if self._ending.asked > 2:
                # The strategy itself does not come back.
                raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread; a test stops by other means
            return
        wanted = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGBREAK"):
            wanted.append(signal.SIGBREAK)
        before = {number: signal.signal(number, told) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # The folder.

    def _write(
        self,
        parts: _Parts,
        state: str,
        left: tuple[str, ...],
        error: KisbtError | None,
    ) -> Finished:
        record = parts.session.record
        carried = carried_orders(parts.broker.recorder, record, parts.start)
        parts.start.orders = carried.values()
        parts.earlier = {
            order.order_ref: ref for ref, order in carried.items() if ref > 0
        }
        record.incidents += journal_incidents(
            parts.journal, self.run_id, self._number_of(parts)
        )
        result = live_result(
            parts.plan,
            self._venue,
            parts.broker.recorder,
            parts.feeds,
            record,
            parts.start,
            LiveFacts(
                run_id=self.run_id,
                mode=self._venue.mode,
                started=self._started,
                ended=self._wall.now(),
                exit_state=state,
                warnings=[*parts.plan.warnings, *self._warnings],
            ),
        )
        result = with_broker_numbers(
            result, parts.journal, parts.run_number, parts.earlier
        )
        summary = summarise(result)
        folder = self._folder()
        files: dict[str, str | bytes] = dict(
            live_files(record.candle_events, parts.heard.events(self._number_of(parts)))
        )
        if self._options.with_report:
            files["report.html"] = self._report(result, summary, parts)
        write_run(result, folder, summary=summary, extra_files=files)
        part = folder / f".{CANDLES}.{secrets.token_hex(3)}"
        try:
            write_candles(parts.plan, record, part)
            part.rename(folder / CANDLES)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return Finished(
            result=result,
            summary=summary,
            folder=folder,
            exit_state=state,
            exit_code=0 if error is None else 1,
            left_open=left,
        )

    @staticmethod
    def _number_of(parts: _Parts) -> Callable[[int], int | None]:
        """Return what tells an order's number in this run by the journal's."""
        earlier = {ref: number for number, ref in parts.earlier.items()}

        def number(ref: int) -> int | None:
            if ref in earlier:
                return earlier[ref]
            order = parts.journal.order(ref)
            return order.number if order.run == parts.run_number else None

        return number

    def _report(self, result: RunResult, summary: Summary, parts: _Parts) -> str:
        from kisbt.app.backtest import charts_of_feeds
        from kisbt.report.html import render_report

        strategies = getattr(parts.cerebro, "runningstrats", None)
        charts = charts_of_feeds(strategies[0], parts.feeds) if strategies else {}
        return render_report(result, summary, charts, language=current_language())


def beating(
    heart: Heartbeat,
    holder: Mapping[str, Any],
    pinger: Pinger | None,
    stale_s: float,
) -> Callable[[], None]:
    """Return what tells the watchdog, and whoever else, that the run gets on.

    For the strategy's loop to call. While the trading loop hangs it stays silent as
    well: a strategy whose orders nobody sends or follows is not alive.

    Args:
        heart: takes the beats.
        holder: ``session``, and ``thread`` where the trading loop has one.
        pinger: tells somebody outside.
        stale_s: see `TradingThread.hangs`.
    """

    def beat() -> None:
        session, thread = holder.get("session"), holder.get("thread")
        if thread is not None and thread.hangs(stale_s):
            return
        trading = session is not None and session.stage in {Stage.OPEN, Stage.CLOSING}
        heart.beat(Pulse.OPEN if trading else Pulse.CLOSED)
        if pinger is not None:
            pinger.alive()

    return beat


def _instruments(plan: LivePlan, journal: Journal) -> dict[str, Instrument]:
    """Return the universe and what earlier runs have ordered outside of it.

    Their fills are still to be booked, and their shares may still be held.
    """
    known = plan.store.instruments()
    earlier = {order.symbol for order in journal.orders()}
    earlier |= {holding.symbol for holding in journal.positions()}
    return {
        **{code: known.get(code, Instrument(symbol=code)) for code in sorted(earlier)},
        **plan.instruments,
    }


def _why_held(latch: HaltLatch) -> str:
    """Return why no order may leave at this very moment; "" if it may."""
    halted = latch.raised()
    if halted is None:
        return ""
    return _("halted: {why}").format(why=halted.reason or halted.by)


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


def grace_s(venue: Venue) -> float:
    """Return how long, in market time, a candle waits for its last trades."""
    if venue.step:
        return 0.0  # every frame has been read before time moves on
    return _GRACE_S + (venue.speed * _DELIVERY_S if venue.is_emulator else 0.0)
