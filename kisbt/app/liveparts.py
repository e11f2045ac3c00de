"""The parts of a paper or live run, and how they are joined."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import backtrader as bt

from kisbt.app.arming import Arming
from kisbt.app.backtest import risk_limits
from kisbt.app.clearance import Clearance
from kisbt.app.ending import Ending
from kisbt.app.enquiries import Enquiries
from kisbt.app.heard import HeardVenue
from kisbt.app.hearing import Hearing, Prices
from kisbt.app.history import LivePlan
from kisbt.app.livedesk import desk_settings, desk_sources, halt_latch
from kisbt.app.liveresult import Start
from kisbt.app.loops import LOOK_S, Stepper, TradingThread
from kisbt.app.pulse import beating
from kisbt.app.session import LiveSession
from kisbt.app.sessionplan import Hooks, SessionPlan
from kisbt.app.topup import Renewal, note_rebased, renews
from kisbt.app.venue import Venue
from kisbt.bt.livebroker import LiveBroker
from kisbt.bt.livefeed import LiveFeed
from kisbt.bt.resume import Resume, resume_from
from kisbt.bt.store import FeedState, LiveStore
from kisbt.bt.warmup import hold_unless
from kisbt.candles.live import CandleBuilder
from kisbt.clock import Clock
from kisbt.config.schema import Config
from kisbt.kis.stream import MOST_TRADES
from kisbt.model.candle import Candle
from kisbt.model.quote import Tick
from kisbt.notify import Messenger, Pinger
from kisbt.orders.desk import OrderDesk
from kisbt.orders.halt import Heartbeat, Pulse
from kisbt.orders.journal import Journal

_GRACE_S = 1.5
# Of machine time: a fast emulator looks at its clock fifty times a second.
_DELIVERY_S = 0.05


@dataclass(slots=True)
class Parts:
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


class Assembly:
    """Makes and joins the parts of one run; `join` is called once."""

    def __init__(
        self,
        config: Config,
        venue: Venue,
        plan: LivePlan,
        journal: Journal,
        ending: Ending,
        *,
        say: Callable[[str], None],
    ) -> None:
        """Make nothing yet.

        Args:
            config: of the run.
            venue: where.
            plan: of the run.
            journal: open for writing, its run begun.
            ending: told when the trading loop ends by a mistake.
            say: takes a line for people.
        """
        self._config = config
        self._venue = venue
        self._plan = plan
        self._journal = journal
        self._ending = ending
        self._say = say

    def join(
        self,
        run_number: int,
        messenger: Messenger,
        pinger: Pinger | None,
        *,
        wall: Clock,
        once: bool,
        stale_s: float,
    ) -> Parts:
        """Return the parts, joined; nothing is asked or sent yet.

        Args:
            run_number: the journal's number of the run.
            messenger: tells a person.
            pinger: tells somebody outside that the run gets on.
            wall: the machine's clock.
            once: end after the sessions the configuration names.
            stale_s: see `LiveOptions`.

        Raises:
            SafetyRefused: shares that are to be taken over are not there.
            KisError: the server could not be asked for them.
        """
        config, venue, ending = self._config, self._venue, self._ending
        plan, journal = self._plan, self._journal
        clearance = Clearance(config, venue, plan)
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
                store.end_look()

        def failed(error: BaseException) -> None:
            # Nobody sends any more; Cerebro ends, and so does the run.
            ending.problem = error
            store.finish()

        hearing = Hearing(venue, wake)
        desk = OrderDesk(
            journal,
            venue.client,
            desk_settings(config, venue, plan, journal),
            clock=venue.clock,
            calendar=venue.calendar,
            latch=halt_latch(venue),
            sources=desk_sources(
                venue, prices, clearance, lambda: ending.problem is not None
            ),
            notifier=messenger,
            on_work=asked,
            ahead=not venue.step,
        )
        heart = Heartbeat(venue.state, clock=wall)
        heart.beat(Pulse.STARTING)  # the watchdog of an earlier run goes

        builder = self._builder()
        store = LiveStore(
            heartbeat=beating(heart, holder, pinger, stale_s),
            bases=None if builder is None else builder.bases,
        )
        heard = HeardVenue(desk)
        for line in clearance.take_over(journal):
            self._say(line)
        resume = resume_from(journal)
        broker = self._broker(heard, store, resume)
        cerebro, feeds = self._cerebro(store, broker)
        session = LiveSession(
            self._session_plan(once=once),
            venue,
            desk,
            hearing,
            prices,
            builder,
            self._hooks(store, desk, holder),
            enquiries=Enquiries(at_once=venue.step, wake=wake),
        )
        holder["session"] = session
        parts = Parts(
            plan=plan,
            journal=journal,
            run_number=run_number,
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
        self._set_going(parts, holder, failed)
        return parts

    def _set_going(
        self,
        parts: Parts,
        holder: dict[str, Any],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Make what turns the trading loop; nothing turns yet."""
        session, venue, store = parts.session, self._venue, parts.store
        if venue.step:
            stepper = Stepper(session, venue, parts.hearing, parts.broker)
            holder["stir"] = stepper.stir
            store.pump = stepper
        else:
            parts.thread = TradingThread(session, venue, failed)
            holder["thread"] = parts.thread
            store.stand_back = parts.thread.stand_back
            venue.client.on_call = venue.data.on_call = parts.thread.sign

    def _session_plan(self, *, once: bool) -> SessionPlan:
        plan, config, venue = self._plan, self._config, self._venue
        return SessionPlan(
            symbols=plan.symbols,
            followed=plan.symbols[:MOST_TRADES],
            interval=config.bars.length,
            adjusted=plan.adjusted,
            first=plan.session,
            sessions=config.paper.sessions if once else None,
            recheck=not venue.step,
            grace_s=grace_s(venue),
        )

    def _builder(self) -> CandleBuilder | None:
        """Return what makes candles of trades; None for daily bars."""
        interval = self._config.bars.length
        if interval.is_daily:
            return None
        return CandleBuilder(
            self._venue.calendar,
            self._plan.symbols,
            interval=interval,
            grace_s=grace_s(self._venue),
        )

    def _broker(
        self, heard: HeardVenue, store: LiveStore, resume: Resume
    ) -> LiveBroker:
        plan, journal = self._plan, self._journal
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
        self, store: LiveStore, broker: LiveBroker
    ) -> tuple[bt.Cerebro, dict[str, LiveFeed]]:
        plan = self._plan
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
        self, store: LiveStore, desk: OrderDesk, holder: Mapping[str, Any]
    ) -> Hooks:
        def stir() -> None:
            if "stir" in holder:
                holder["stir"]()

        def publish(candles: Mapping[str, Candle], live: bool) -> None:
            store.publish(candles, live=live)
            stir()

        def offer(ticks: list[Tick]) -> None:
            watched, thread = store.offer_ticks(ticks), holder.get("thread")
            # Nobody looks who waits for an order to be sent.
            if watched and thread is not None and not thread.is_hurried:
                store.wait_looked(LOOK_S)

        def broken(is_broken: bool) -> None:
            store.announce(FeedState.BROKEN if is_broken else FeedState.LIVE)
            stir()

        def over() -> None:
            store.finish()
            stir()

        return Hooks(
            publish=publish,
            ticks=offer,
            broken=broken,
            over=over,
            news=store.wake,
            watching=lambda: bool(store.watched),
            idle=lambda: store.is_idle,
            say=self._say,
            tidy=desk.journal.tidy,
            **self._renewal(desk),
        )

    def _renewal(self, desk: OrderDesk) -> dict[str, Any]:
        """Return who looks for a changed past before each session; see `Hooks`."""
        plan = self._plan
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


def grace_s(venue: Venue) -> float:
    """Return how long, in market time, a candle waits for its last trades."""
    if venue.step:
        return 0.0  # every frame has been read before time moves on
    return _GRACE_S + (venue.speed * _DELIVERY_S if venue.is_emulator else 0.0)
