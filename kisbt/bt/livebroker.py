"""LiveBroker: the checks and the books of the backtest, fills from the order desk.

It is `KrxBackBroker` but for one thing: where that matches an order against a bar,
this hands it to the desk and applies what the desk says happened. Market, limit and
closing orders go to the desk as soon as they are made. Stops are watched here
(`orders.triggers`), and of a group of which one cancels the other only one order
works at the exchange at a time: a cancellation is confirmed before anything that
needs its shares is sent.

Everything runs in the thread of Cerebro. Nothing waits for the network.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from backtrader import Order

from kisbt.bt.bartime import bar_of_fill, coming_end, minutes_of
from kisbt.bt.book import resize, shrink
from kisbt.bt.livememory import Memory
from kisbt.bt.liveorder import LiveOrder, Place, Wish
from kisbt.bt.livestate import dump_order, restore_orders
from kisbt.bt.mapping import TRAILS
from kisbt.bt.market import to_kst
from kisbt.bt.newsslots import NewsSlots
from kisbt.bt.orderlog import OrderLog, SentOrders
from kisbt.bt.packed import Packed
from kisbt.bt.recorder import PlacedOrder, Recorder
from kisbt.bt.release import is_bound, legs_beside, sellable
from kisbt.bt.resume import Resume
from kisbt.bt.seed import SeededBroker
from kisbt.bt.store import LiveStore
from kisbt.bt.watches import waits_for_price, watch_of
from kisbt.errors import ConfigError, StorageError
from kisbt.krx.calendar import default_calendar
from kisbt.krx.matching import STOPS, Terms
from kisbt.krx.sendable import protected_limit
from kisbt.model.order import OrderType, Side
from kisbt.orders.records import (
    Accepted,
    Corrected,
    DeskEvent,
    Ended,
    Filled,
    OrderPlan,
    OrderVenue,
)
from kisbt.orders.triggers import Triggers
from kisbt.text import _

# backtrader refuses a fill for which there is no cash; a real one has happened.
_LOAN = float(2**40)
_HALF_A_SECOND = 0.5 / 86_400  # a date number is good to about 10 us


class LiveBroker(SeededBroker):
    """Broker of a paper or live run.

    ``LiveBroker(venue=desk, store=store, cash=..., commission=..., risk=...)``.

    Params:
        venue: `OrderVenue`, the order desk.
        store: `LiveStore`.
        resume: `Resume`: cash, shares and orders to begin with; without it the run
            begins with `cash` alone.
        clock: of the market; without it orders with a `valid` end with the bars.
        keeper: `StateKeeper`, the journal: what strategy and broker remember is kept
            there; None forgets.
    """

    params: Any = (
        ("venue", None),
        ("store", None),
        ("resume", None),
        ("clock", None),
        ("keeper", None),
    )

    # Set up.

    def init(self) -> None:
        """Reset all state; backtrader calls it when built and when started."""
        super().init()
        if not self._krx:
            raise ConfigError(
                _(
                    "broker.rules none is for backtests only; paper and live "
                    "follow the exchange's rules (krx)"
                ),
                path="broker.rules",
            )
        self._log = OrderLog(self._lasting)
        self.recorder = Recorder(orders=self._log, fills=Packed(), decisions=Packed())
        self._live: dict[int, LiveOrder] = {}
        self._by_ref = SentOrders(self._wake)
        self._led: set[int] = set()
        self._slots = NewsSlots(self.notifs)
        self._triggers = Triggers()
        self._applied = 0
        self._bar_value = float(self._value)
        self._moved = False
        self._fill: tuple[float, datetime] | None = None
        self._news: list[DeskEvent] = []
        self._to_tell: list[Any] = []
        self._unwritten: list[tuple[LiveOrder, str]] = []
        self._memory = Memory(self.p.keeper, self.p.venue)
        self._has_begun = False
        self.last_bar = 0.0

    def start(self) -> None:
        """Begin a run: where the one before has ended, with `resume`.

        Raises:
            StorageError: what was kept cannot be read.
        """
        resume: Resume | None = self.p.resume
        if resume is not None:
            self.p.cash = resume.cash
            self.p.holdings = {
                held.symbol: (held.quantity, held.average) for held in resume.holdings
            }
        super().start()
        self.cerebro.addstore(self.store)
        self.store.start(broker=self)
        kept = self._memory.recall("broker")
        if kept.get("guard"):
            self._guard.load(kept["guard"])
        self.last_bar = float(kept.get("bar") or 0.0)
        self._restore(kept.get("orders") or (), resume)
        self._get_value()
        self._bar_value = float(self._value)

    def _restore(
        self, kept: Iterable[Mapping[str, Any]], resume: Resume | None
    ) -> None:
        """Take over the orders of the run before."""
        feeds = {feed._name: feed for feed in self.cerebro.datas if not feed._clone}
        going = () if resume is None else resume.orders
        leaders: dict[str, Any] = {}
        for found in restore_orders(kept, going, feeds):
            item, order = found.item, found.item.order
            placed = item.placed
            placed.number = len(self._log) + 1
            self._log.append(placed)
            order.addcomminfo(self.getcommissioninfo(order.data))
            order.broker = self
            if placed.session is not None:
                placed.expires = self._market.close_number(placed.session)
            leader = leaders.setdefault(found.group, order)
            self._ocoize(order, None if leader is order else leader)
            placed.group = ("oco", self._ocos[order.ref])
            if order.parent is not None:
                placed.group = ("bracket", order.parent.ref)
                self._pchildren[order.parent.ref].append(order)
            else:
                self._pchildren[order.ref].append(order)
            self._live[order.ref] = item
            self.pending.append(order)
            self._book.add(placed)
            if item.place is Place.DESK:
                assert placed.journal_ref is not None
                self._by_ref[placed.journal_ref] = item
            self._to_tell.append(order)

    @property
    def store(self) -> LiveStore:
        """What feeds and desk talk through."""
        store: LiveStore = self.p.store
        return store

    @property
    def venue(self) -> OrderVenue:
        """Where orders go."""
        venue: OrderVenue = self.p.venue
        return venue

    def stop(self) -> None:
        self._keep()
        super().stop()
        self.store.stop()

    # Orders in.

    def submit_accept(self, order: Any) -> None:
        """Take an order that has passed the checks: to the desk, or keep it here."""
        order.pannotated = None
        placed = self._book.get(order)
        assert placed is not None
        item = self._live[order.ref] = LiveOrder(placed)
        placed.confirmed_by = ""
        self.pending.append(order)
        self._route()
        if item.place is Place.HERE and not item.over:
            order.accept(self)
            self.notify(order)
        self._watch()

    def cancel(self, order: Any, bracket: bool = False) -> bool:
        """Cancel a working order, named by itself or by a clone of it.

        One that is at the exchange stays alive until the exchange has confirmed:
        it may still fill. What comes after it waits for that.
        """
        item = self._live.get(order.ref)
        if item is None and self._book.get(order) is None:
            return False  # it has ended
        if item is None or item.place is Place.HERE:
            done = super().cancel(order, bracket)
            self._watch()
            return done
        if not self._is_pending(item.order) or item.wish in {
            Wish.CANCELLED,
            Wish.EXPIRED,
        }:
            return False
        self._leave(item, Wish.CANCELLED)
        # The others of its group end now: none may be released meanwhile.
        self._cancel_group(item.order)
        if not bracket:
            self._bracketize(item.order, cancel=True)
        self._watch()
        return True

    def _leave(self, item: LiveOrder, wish: Wish) -> None:
        """Ask the exchange to cancel an order."""
        asked = item.wish is not Wish.NONE
        item.wish = wish
        if wish is Wish.CANCELLED:
            item.placed.leaving = True
            self._slots.keep(item.order)
        if not asked:
            assert item.placed.journal_ref is not None
            self._save()  # before: a restart must know what it is for
            self.venue.cancel(item.placed.journal_ref)

    def _ocoize(self, order: Any, oco: Any) -> None:
        if oco is not None:
            # Of an order that has ended alone nothing is known any more.
            self._led.add(self._ocos.setdefault(oco.ref, oco.ref))
        super()._ocoize(order, oco)

    def _ococheck(self, order: Any) -> None:
        # A partial fill leaves the other legs; `_cut_siblings` cuts them.
        if not order.alive():
            self._cancel_group(order)

    def _cancel_group(self, order: Any) -> None:
        """Cancel the other legs of the group of an order, the last one first."""
        leader = self._ocos.get(self._ocos[order.ref])
        group = self._ocol.pop(leader, None) or ()
        for other in reversed(list(self.pending)):
            if other is not None and other.ref in group and other is not order:
                self.cancel(other, bracket=True)

    # What is sent when.

    def _route(self) -> None:
        """Send what may be sent now, in the order in which it was made."""
        for item in self._here():
            if self._may_go(item):
                self._send(item)

    def _here(self) -> list[LiveOrder]:
        return [
            item
            for item in self._going()
            if item.place is Place.HERE and item.order.active()
        ]

    def _going(self) -> list[LiveOrder]:
        found = (self._live[o.ref] for o in self.pending if o is not None)
        return sorted(found, key=lambda item: item.placed.number)

    def _may_go(self, item: LiveOrder) -> bool:
        """Return whether an order can be sent; ask for what stands in its way."""
        placed = item.placed
        if item.over or (placed.order_type in STOPS and not item.touched):
            return False
        for other in self._legs_beside(item):
            if other.place is Place.DESK:
                if item.touched and other.wish is Wish.NONE and not other.touched:
                    self._leave(other, Wish.WITHDRAWN)
                return False
            before = other.placed.number < placed.number
            if other.touched and (not item.touched or before):
                return False
        return not is_bound(item, self._going(), self.free_cash)

    def _legs_beside(self, item: LiveOrder) -> list[LiveOrder]:
        return legs_beside(item, self._going())

    def _send(self, item: LiveOrder) -> None:
        placed, order = item.placed, item.order
        if not self._still_covered(order, placed):
            self.pending.remove(order)
            return
        if placed.side is Side.SELL:
            held = int(self.positions[order.data].size)
            left = sellable(item, self._going(), held)
            if left <= 0:
                return  # until the other sales have ended
            shrink(order, left)
        try:
            ref = self.venue.submit(self._plan(item))
        except StorageError as error:
            item.over = True
            self._unwritten.append((item, str(error)))
            return
        placed.journal_ref = ref
        self._by_ref[ref] = item
        item.place, item.wish = Place.DESK, Wish.NONE
        if order.status == Order.Submitted:
            self._slots.keep(order)
        self.store.stand_back()

    def _plan(self, item: LiveOrder) -> OrderPlan:
        placed, order = item.placed, item.order
        assert placed.session is not None
        terms = self._terms_of(item)
        kind, limit = placed.order_type, terms.limit
        if kind in STOPS:
            kind = OrderType.MARKET if limit is None else OrderType.LIMIT
            if limit is None and self.p.market_orders == "protected":
                standing = self._standing(order.data, placed.side)
                kind, limit = OrderType.LIMIT, protected_limit(placed.side, standing)
        group: Any = placed.group if self._legs_beside(item) else ()
        return OrderPlan(
            number=placed.number,
            symbol=placed.symbol,
            side=placed.side,
            quantity=abs(int(order.executed.remsize)),
            order_type=kind,
            limit_price=None if limit is None else round(limit),
            stop_price=None if terms.stop is None else round(terms.stop),
            session=placed.session,
            bar=to_kst(placed.created),
            reason=placed.reason,
            group="-".join(map(str, group)),
            last_price=float(order.data.close[0]) if len(order.data) else 0.0,
        )

    def _terms_of(self, item: LiveOrder) -> Terms:
        placed = item.placed
        assert placed.session is not None
        return self._terms(item.order, placed, placed.session)

    # Prices.

    def _watch(self) -> None:
        """Tell the triggers which orders wait for a price."""
        watches = [
            watch_of(item, self._terms_of(item), self._calendar)
            for item in self._here()
            if waits_for_price(item)
        ]
        self._triggers.set(watches)
        self.store.watched = self._triggers.symbols

    @property
    def _calendar(self) -> Any:
        return self.p.calendar or default_calendar()

    def _touch(self, keys: Iterable[int]) -> None:
        for key in keys:
            self._live[key].touched = True
            self._live[key].order.triggered = True

    def _look_at_ticks(self) -> None:
        self._touch(self._triggers.on_last(self.store.last_ticks))
        self._touch(self._triggers.on_ticks(self.store.take_ticks()))

    def _look_at_bars(self) -> None:
        """Let whole candles release what no trade was seen to touch; move trails."""
        for item in self._here():
            feed, placed = item.order.data, item.placed
            bar = feed.lines.datetime[0] if len(feed) else 0.0
            if bar <= placed.tried:
                continue
            placed.tried = bar
            if not self._still_covered(item.order, placed):
                self.pending.remove(item.order)
                continue
            if not item.touched:
                self._touch_by_bar(item, bar)
            if not item.touched and placed.order_type in TRAILS:
                item.order.trailadjust(feed.close[0])
        self._watch()

    def _touch_by_bar(self, item: LiveOrder, bar: float) -> None:
        feed = item.order.data
        ends = to_kst(bar)
        opens = self._calendar.open_time(ends.date())
        begins, length = opens, minutes_of(feed)
        if length is not None:
            begins = max(opens, ends - timedelta(minutes=length))
        self._touch(
            key
            for key in self._triggers.on_candle(
                feed._name,
                begins=begins,
                ends=ends,
                high=float(feed.high[0]),
                low=float(feed.low[0]),
            )
        )

    # Passes.

    def next(self) -> None:
        """Apply what has happened, whether or not there is a bar in this pass."""
        if not self._has_begun:
            self._has_begun = True
            self._memory.give_back(self._strategies())
        self._announce_all()
        before = self._now
        self._refresh_now()
        self._moved = self._now != before
        if self._moved:
            self._guard.begin_bar(self._now, self._bar_value)
        self.work()
        if self._moved:
            self._look_at_bars()
            self._end_by_time()
            self._leave_in_time()
            self._route()
        value = self._get_value()
        self._guard.watch_loss(self._now, value)
        if not self._moved:
            return
        self._bar_value = value
        if self.store.calls_on(self._now) and self._now >= self.p.record_from:
            self.recorder.add_equity(self._now, float(self.cash), float(self._valuemkt))
        if self.p.on_bar is not None:
            self.p.on_bar(self._now)

    def work(self) -> bool:
        """Apply the desk's news and the trades; send what they release.

        Called in every pass; in step mode also between two, before time moves on.

        Returns:
            Whether something was asked of the desk.
        """
        asked = len(self._by_ref), self._leaving_count()
        self._news.extend(self.venue.take_events())
        if not self._has_caught_up():
            return False
        # As a backtest matches: in the order in which the orders were made.
        self._tell_resumed()
        self._end_unwritten()
        news, self._news = sorted(self._news, key=self._turn_of), []
        for event in news:
            item = self._by_ref.get(event.ref)
            if item is not None and not len(item.order.data):
                self._news.append(event)  # a feed without a bar yet
                continue
            self._apply(event)
            self._applied = max(self._applied, event.sequence)
        self._look_at_ticks()
        self._leave_in_time()
        self._route()
        self._watch()
        return asked != (len(self._by_ref), self._leaving_count())

    def _end_unwritten(self) -> None:
        """Refuse what could not be written down: nothing of it was sent."""
        unwritten, self._unwritten = self._unwritten, []
        for item, why in unwritten:
            if self._is_pending(item.order):
                self._refused(item, why, "")
                self.store.put_notification("order_not_written", why)

    def _has_caught_up(self) -> bool:
        """Return whether the feeds have delivered their history."""
        return all(getattr(f, "has_caught_up", True) for f in self.cerebro.datas)

    def _leaving_count(self) -> int:
        return sum(item.wish is not Wish.NONE for item in self._going())

    def _turn_of(self, event: DeskEvent) -> tuple[bool, int, int]:
        item = self._by_ref.get(event.ref)
        expires = isinstance(event, Ended) and event.outcome == "expired"
        number = 0 if item is None else item.placed.number
        return expires, number, event.sequence

    def after_pass(self) -> None:
        """Once the strategy has been called: note what it has heard."""
        self._activate(self._now)
        self._route()
        self._watch()
        if self._moved and self._now != self.last_bar:
            if self.store.calls_on(self._now):
                self.last_bar = self._now
            self._keep()
            for strategy in self._strategies():
                # backtrader adds a copy of each order's every state, for nobody.
                strategy._orders.clear()
                _forget_closed_trades(strategy)
        self._let_go()

    def _let_go(self) -> None:
        """Pack the orders that have ended, with all of their brackets."""
        for placed in list(self._log.going.values()):
            order = placed.order
            family = (order, *self._pchildren.get(order.ref, ()))
            if any(part.alive() for part in family):
                continue
            item = self._live.get(order.ref) or LiveOrder(placed)
            if any(item is entry[0] for entry in self._unwritten):
                continue
            self._book.remove(order)
            if self._log.pack(item):
                self._forget(item)

    def _forget(self, item: LiveOrder) -> None:
        ref = item.order.ref
        self._live.pop(ref, None)
        self._pchildren.pop(ref, None)
        self._by_ref.let_go(item)
        if self._ocos.get(ref) == ref and ref not in self._led:
            del self._ocos[ref]
            self._ocol.pop(ref, None)

    def _wake(self, number: int) -> LiveOrder:
        """Take up an order of which there is news although it has ended."""
        awake = self._log.awake(number)
        if awake is not None:  # by another of its journal's numbers
            return self._live[awake.order.ref]
        item = self._log.unpack(number)
        ref = item.order.ref
        self._live[ref] = item
        self._ocos.setdefault(ref, ref)
        return item

    def _lasting(self) -> dict[str, object]:
        """Return what orders refer to and is not theirs, by name."""
        found: dict[str, object] = {"broker": self}
        for number, feed in enumerate(self.cerebro.datas):
            found[f"feed-{number}"] = feed
            if (costs := self._costs.get(feed)) is not None:
                found[f"costs-{number}"] = costs
        for number, strategy in enumerate(self._strategies()):
            found[f"strategy-{number}"] = strategy
        return found

    def _tell_resumed(self) -> None:
        """Let the strategy hear once of each order it has from an earlier run."""
        for order in self._to_tell:
            self.notify(order)
        self._to_tell = []

    # What outlives the process.

    def _keep(self) -> None:
        """Keep what the strategy has heard and remembers, in one commit."""
        heard = self._applied
        if self._news:
            heard = min(heard, min(event.sequence for event in self._news) - 1)
        self._memory.keep(heard, self._state(), self._strategies())

    def _save(self) -> None:
        """Keep the orders as they are now."""
        self._memory.save(self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "bar": self.last_bar,
            "guard": self._guard.dump(),
            "orders": [dump_order(item) for item in self._going()],
        }

    def _strategies(self) -> Iterable[Any]:
        return getattr(self.cerebro, "runningstrats", ())

    def _end_by_time(self) -> None:
        """End what is kept here and has run out of time."""
        self._end_shortened()
        self._expire(lambda expires: expires <= self._now)
        self._book.forget_ended()

    def _end_shortened(self) -> None:
        """Tell of orders whose `valid`, shorter than the session, has passed.

        As in a backtest, which matches them on the last bar that ends by then and
        expires them on the first bar after it.
        """
        for item in self._here():
            order = item.order
            if order.valid and order.expire():
                self.pending.remove(order)
                self.notify(order)
                self._ococheck(order)
                self._bracketize(order, cancel=True)

    def _leave_in_time(self) -> None:
        """Take back orders that the coming bar may not fill any more."""
        for item in self._going():
            order = item.order
            timed = order.valid and order.exectype != Order.Market and not item.over
            if timed and order.active() and self._was_last_bar(item):
                item.over = True
                if item.place is Place.DESK and item.wish is Wish.NONE:
                    self._leave(item, Wish.EXPIRED)

    def _was_last_bar(self, item: LiveOrder) -> bool:
        """Return whether the coming bar ends after the order's time."""
        order, placed = item.order, item.placed
        minutes = minutes_of(order.data)
        if minutes is None:
            coming = placed.expires
        else:
            now = to_kst(self._now)
            if self.p.clock is not None:
                now = max(now, self.p.clock.now())
            coming = coming_end(now, minutes)
            coming = min(coming, placed.expires)
        return bool(coming > order.valid + _HALF_A_SECOND)

    def _expire_order(self, placed: PlacedOrder) -> None:
        item = self._live.get(placed.order.ref)
        if item is None or item.place is Place.HERE:
            super()._expire_order(placed)

    # News of the desk.

    def _apply(self, event: DeskEvent) -> None:
        item = self._by_ref.get(event.ref)
        if item is None:
            self.store.put_notification("order_unknown", event.ref)
            return
        if isinstance(event, Accepted):
            self._accepted(item)
        elif isinstance(event, Filled):
            self._filled(item, event)
        elif isinstance(event, Corrected):
            self._corrected(item, event)
        elif isinstance(event, Ended):
            self._ended(item, event)

    def _accepted(self, item: LiveOrder) -> None:
        item.placed.confirmed_by = item.placed.confirmed_by or "rest"
        if item.order.status == Order.Submitted:
            item.order.accept(self)
            self._notify_in_slot(item.order)

    def _filled(self, item: LiveOrder, event: Filled) -> None:
        order, placed = item.order, item.placed
        placed.confirmed_by = event.confirmed_by
        ended = None if order.alive() else order.status
        open_shares = abs(int(order.executed.remsize))
        if event.quantity > open_shares:
            resize(order, event.quantity)
        if ended is not None:
            self._book.add(placed)
        at = self.pending.index(order) if self._is_pending(order) else None
        if at is not None:
            # As BackBroker: it stands outside, so that one-cancels-other leaves it.
            del self.pending[at]
        self._execute_real(item, event)
        if ended is not None:
            self._book.remove(order)
            if order.alive():
                order.status = ended
                self.notify(order)
        elif order.alive():
            self.pending.insert(at if at is not None else len(self.pending), order)
        elif order.parent is not None or self._pchildren.get(order.ref):
            # A cancelled entry that fills all the same has no exits any more.
            self._bracketize(order)
            self._hold_back_children()

    def _execute_real(self, item: LiveOrder, event: Filled) -> None:
        """Book a fill by BackBroker's own arithmetic, at the desk's costs."""
        order = item.order
        costs = self.getcommissioninfo(order.data)
        costs.session = event.at.date()
        costs.booked = (event.commission, event.tax)
        length = minutes_of(order.data)
        bar = bar_of_fill(event.at, length, item.placed.created, self._calendar)
        self._fill = bar, event.at
        self._quantity = event.quantity
        price = float(event.price)
        needed = event.quantity * price + event.commission if order.isbuy() else 0.0
        loan = _LOAN if self.cash < needed else 0.0
        self.cash += loan
        try:
            self._execute(order, ago=0, price=price, dtcoc=bar)
        finally:
            self.cash -= loan
            costs.booked = self._fill = None

    def _bar_of_fill(self, feed: Any) -> float:
        assert self._fill is not None
        return self._fill[0]

    def _time_of_fill(self) -> datetime | None:
        assert self._fill is not None
        return self._fill[1]

    def _split_costs(self, feed: Any, size: int, price: float) -> tuple[float, float]:
        booked = self.getcommissioninfo(feed).booked
        assert booked is not None
        return float(booked[0]), float(booked[1])

    def _corrected(self, item: LiveOrder, event: Corrected) -> None:
        """Move cash, and the average of shares that are still held."""
        self.cash += event.amount
        position = self.positions[item.order.data]
        if item.placed.side is Side.BUY and position.size:
            position.price -= event.amount / position.size
        self._get_value()

    def _ended(self, item: LiveOrder, event: Ended) -> None:
        order, placed, wish = item.order, item.placed, item.wish
        placed.leaving = False
        item.wish = Wish.NONE
        if not self._is_pending(order):
            return  # completed, or ended before
        item.place = Place.HERE
        if event.outcome == "expired":
            self._expire_order(placed)
        elif event.outcome != "cancelled":
            self._refused(item, event.reason, event.rule)
        elif wish is not Wish.WITHDRAWN and not item.over:
            placed.end_reason = placed.end_reason or event.reason
            self.pending.remove(order)
            order.cancel()
            self._notify_in_slot(order)
            self._cancel_group(order)
            self._bracketize(order, cancel=True)
        # Else it is back here: beside the leg that goes first, or until a bar says
        # that its time is over.
        self._book.forget_ended()

    def _refused(self, item: LiveOrder, reason: str, rule: str) -> None:
        """End an order that the exchange or the desk refused."""
        order, placed = item.order, item.placed
        self.pending.remove(order)
        placed.end_reason = reason
        order.addinfo(reject=reason)
        if rule == "cash":
            order.margin()
        else:
            order.reject(self)
        self._notify_in_slot(order)
        self._book.remove(order)
        group = self._ocol.get(self._ocos[order.ref])
        if group and order.ref in group:
            group.remove(order.ref)  # the other legs stay alive
        if order.parent is None:
            self._bracketize(order, cancel=True)

    def _cut_leg(self, leg: PlacedOrder, left: int) -> None:
        item = self._live[leg.order.ref]
        if item.place is Place.HERE:
            super()._cut_leg(leg, left)
        elif left <= 0:
            self.cancel(leg.order, bracket=True)

    # Notifications.

    def _notify_in_slot(self, order: Any) -> None:
        """Tell the strategy in the place that was kept, else at the end."""
        if not self._slots.fill(order):
            self.notify(order)

    def get_notification(self) -> Any:
        """Return the next notification; None when there is none."""
        return self._slots.take()


def _forget_closed_trades(strategy: Any) -> None:
    """Keep of each row of trades the last one, which may go on."""
    for rows in strategy._trades.values():
        for trades in rows.values():
            del trades[:-1]
