"""Prices of the symbols no websocket brings the trades of, asked for in a rhythm."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from kisbt.app.enquiries import Enquiries
from kisbt.app.sessionplan import Progress, SessionPlan, Stage
from kisbt.app.venue import Venue
from kisbt.candles.live import CandleBuilder
from kisbt.model.quote import MultiPrice, Tick
from kisbt.text import _

log = logging.getLogger(__name__)

# Symbols without a registration: thirty a call, and one call in five may be used.
_POLL_S = 3.0
_PRICES = "prices"  # what is asked beside the loop


class PricePoll:
    """Asks for prices, and makes trades of them.

    Attributes:
        next_at: when they are asked for next.
        unheard: symbols of a registration that brings nothing any more.
    """

    def __init__(
        self,
        plan: SessionPlan,
        progress: Progress,
        venue: Venue,
        builder: CandleBuilder | None,
        enquiries: Enquiries,
        take: Callable[[list[Tick]], None],
        say: Callable[[str], None],
    ) -> None:
        """Ask for nothing yet.

        Args:
            plan: of the run.
            progress: of the run.
            venue: where.
            builder: of candles; None for daily bars: nothing is asked for.
            enquiries: asks.
            take: takes the trades.
            say: a line for people.
        """
        self._plan = plan
        self._progress = progress
        self._venue = venue
        self._clock = venue.clock
        self._builder = builder
        self._enquiries = enquiries
        self._take_ticks = take
        self._say = say
        self.unheard: set[str] = set()
        self.next_at = self._clock.now()

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of which no websocket brings the trades."""
        return tuple(
            symbol
            for number, symbol in enumerate(self._plan.symbols)
            if number >= len(self._plan.followed) or symbol in self.unheard
        )

    def add(self, symbol: str) -> None:
        """Ask for the price of what a websocket does not bring any more.

        Args:
            symbol: refused by the broker; "" where the trades of all can no longer
                be read.
        """
        known = set(self._plan.followed)
        self.unheard |= known & {symbol} if symbol else known
        if self._builder is None:
            # The day's candle comes from the chart, the price of a purchase is asked.
            text = _("{symbols}: stops kept on this machine are not watched")
        else:
            text = _("{symbols}: the price is asked for every {seconds:.0f} s instead")
        names = ", ".join(sorted(self.unheard))
        log.warning("not heard any more: %s", names)
        self._say(text.format(symbols=names, seconds=_POLL_S))

    def ask_if_due(self, now: datetime, *, last: bool) -> None:
        """Ask if it is time, or if it is the last time of the session."""
        symbols = self.symbols
        if self._builder is None or not symbols or (now < self.next_at and not last):
            return
        if self._enquiries.is_asking(_PRICES):
            return
        self.next_at = now + timedelta(seconds=_POLL_S)
        self._enquiries.ask(
            _PRICES,
            partial(self._venue.data.fetch_prices, symbols),
            self._take,
            lambda error: log.warning("prices not polled: %s", error),
        )

    def _take(self, prices: Sequence[MultiPrice]) -> None:
        if self._builder is None or self._progress.stage is not Stage.OPEN:
            return
        at = self._clock.now()
        self._take_ticks(
            [tick for p in prices if (tick := self._builder.add_poll(at, p))]
        )
