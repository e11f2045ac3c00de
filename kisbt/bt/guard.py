"""The risk guard's view of a backtest: what it has to remember between bars."""

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

from kisbt.bt.book import OrderBook
from kisbt.bt.feed import CandleFeed
from kisbt.krx.sendable import Sendable
from kisbt.orders.risk import RiskLimits, RiskState, check_risk, halts_session

_AVERAGE_SESSIONS = 20
# Sessions that are over are forgotten a few at a time.
_SESSIONS_COUNTED = 8


class RiskGuard:
    """Counts orders and losses by session and asks `orders.risk` about an order.

    Attributes:
        day: number of the day of the last bar.
        day_start_equity: won, before that day's first bar.
    """

    def __init__(self, limits: RiskLimits, cash: float) -> None:
        """Start a run with `cash` won."""
        self._limits = limits
        self.day = 0
        self.day_start_equity = cash
        self._orders_of: dict[date, int] = {}
        self._orders_at: tuple[float, int] = (0.0, 0)
        self._halted_on: date | None = None
        self._losses: tuple[date | None, int] = (None, 0)
        loss = limits.max_daily_loss_pct
        self._needs_check = (
            limits.max_adv_pct is not None
            or limits.max_consecutive_losses is not None
            or limits.max_open_orders is not None
            or (loss is not None and not loss > 0.0)
        )
        self._most_pct = _or_inf(limits.max_order_pct), _or_inf(limits.max_symbol_pct)
        self._most_orders = (
            _or_inf(limits.max_orders_per_day),
            _or_inf(limits.max_orders_per_minute),
        )

    def begin_bar(self, now: float, equity: float) -> None:
        """Note a new bar; `equity` is the value at the bar before, won."""
        day = int(now)
        if day != self.day:
            self.day, self.day_start_equity = day, equity

    def check(
        self,
        order: Sendable,
        feed: Any,
        *,
        session: date,
        now: float,
        equity: float,
        held: int,
        book: OrderBook,
    ) -> None:
        """Let an order pass, or say which limit forbids it.

        Args:
            order: as it would be sent.
            feed: what it trades.
            session: in which it would live. The day's loss is that of this
                session: an order made after the close begins a new day.
            now: date number of the bar.
            equity: won at this bar.
            held: shares of `feed` held.
            book: the working orders.

        Raises:
            RiskRefused: a limit would be broken.
        """
        close = float(feed.close[0])
        same_day = session.toordinal() == self.day
        state = RiskState(
            equity=equity,
            day_start_equity=self.day_start_equity if same_day else equity,
            symbol_value=held * close
            + (book.working_value(feed, close) if book.orders else 0),
            orders_today=self._orders_of.get(session, 0),
            orders_this_minute=self._orders_at[1] if self._orders_at[0] == now else 0,
            open_orders=self._open_orders(book),
            average_volume=self._average_volume(feed),
            consecutive_losses=self._losses[1] if self._losses[0] == session else 0,
            halted=self._halted_on == session,
        )
        price = order.limit_price or close
        check_risk(order.side, order.quantity, price, self._limits, state)

    def clearly_allows(
        self,
        quantity: int,
        feed: Any,
        *,
        session: date,
        now: float,
        equity: float,
        held: int,
        book: OrderBook,
    ) -> bool:
        """Return whether `check` is sure to let a market buy pass.

        It is the quick way; where this says no, `check` knows.
        """
        if self._needs_check or not equity > 0 or self._halted_on == session:
            return False
        if equity < self.day_start_equity and session.toordinal() == self.day:
            return False
        close = feed.close[0]
        value, exposed = quantity * close, held * close
        if book.orders:
            exposed += book.working_value(feed, close)
        most_order, most_symbol = self._most_pct
        most_a_day, most_a_minute = self._most_orders
        return bool(
            value / equity * 100.0 <= most_order
            and (exposed + value) / equity * 100.0 <= most_symbol
            and self._orders_of.get(session, 0) < most_a_day
            and (self._orders_at[0] != now or self._orders_at[1] < most_a_minute)
        )

    def watch_loss(self, now: float, equity: float) -> None:
        """Halt entries for the session of `now` if its loss is too large."""
        limit = self._limits.max_daily_loss_pct
        if limit is None:
            return
        if limit > 0.0 and equity > self.day_start_equity * (1.0 - limit / 100.0):
            return  # far from a halt: the usual bar
        state = RiskState(equity=equity, day_start_equity=self.day_start_equity)
        if halts_session(self._limits, state):
            self._halted_on = date.fromordinal(int(now))

    def count_order(self, session: date, now: float) -> None:
        """Count an order that was accepted."""
        self._orders_of[session] = self._orders_of.get(session, 0) + 1
        before = self._orders_at[1] if self._orders_at[0] == now else 0
        self._orders_at = (now, before + 1)
        if len(self._orders_of) > _SESSIONS_COUNTED:
            self._orders_of = {
                session: count
                for session, count in self._orders_of.items()
                if session.toordinal() >= self.day
            }

    def count_round_trip(self, session: date, *, lost: bool) -> None:
        """Count a closed position; a gain begins the row of losses anew."""
        before = self._losses[1] if self._losses[0] == session else 0
        self._losses = (session, before + 1 if lost else 0)

    def dump(self) -> dict[str, Any]:
        """Return what has to outlive the process, as JSON."""
        last, losses = self._losses
        return {
            "day": self.day,
            "day_start_equity": self.day_start_equity,
            "orders_of": {str(day): n for day, n in self._orders_of.items()},
            "halted_on": None if self._halted_on is None else str(self._halted_on),
            "losses": [None if last is None else str(last), losses],
        }

    def load(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `dump` returned."""
        last, losses = kept["losses"]
        halted = kept["halted_on"]
        self.day = int(kept["day"])
        self.day_start_equity = float(kept["day_start_equity"])
        self._orders_of = {
            date.fromisoformat(day): int(n) for day, n in kept["orders_of"].items()
        }
        self._halted_on = None if halted is None else date.fromisoformat(halted)
        self._losses = (None if last is None else date.fromisoformat(last), losses)

    def _open_orders(self, book: OrderBook) -> int:
        if self._limits.max_open_orders is None:
            return 0
        return sum(1 for _placed in book.live())

    def _average_volume(self, feed: Any) -> float | None:
        if self._limits.max_adv_pct is None or not isinstance(feed, CandleFeed):
            return None
        return feed.average_volume(len(feed) - 1, _AVERAGE_SESSIONS)


def _or_inf(limit: float | None) -> float:
    return math.inf if limit is None else limit
