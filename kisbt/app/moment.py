"""The price of the moment and the day's limits, for the guard of real money.

Trades are heard for most symbols. Where none has come lately, because the symbol is
traded seldom, is one of many, or is in an auction, the broker is asked: once, right
before a purchase leaves.
"""

import logging
from datetime import date

from kisbt.app.hearing import Prices
from kisbt.clock import KST, Clock
from kisbt.errors import KisError
from kisbt.krx.calendar import KrxCalendar
from kisbt.krx.limits import PriceBand
from kisbt.krx.phases import Phase, phase_at
from kisbt.model.ports import MarketData
from kisbt.orders.guard import MarketNow

log = logging.getLogger(__name__)

FRESH_S = 10.0
"""Seconds for which a price counts as that of the moment."""
_AUCTIONS = frozenset({Phase.OPENING_AUCTION, Phase.CLOSING_AUCTION})
_ASK_AGAIN_S = 60.0  # for limits, after a query that failed: sales wait for it, too


class MomentPrices:
    """Answers what `DeskSources.market` and `DeskSources.band` ask."""

    def __init__(
        self, heard: Prices, source: MarketData, clock: Clock, calendar: KrxCalendar
    ) -> None:
        """Answer from what is heard, else ask `source`."""
        self._heard = heard
        self._source = source
        self._clock = clock
        self._calendar = calendar
        self._asked: dict[str, tuple[float, float]] = {}
        self._bands: dict[str, tuple[date, PriceBand]] = {}
        self._failed_s: dict[str, float] = {}

    def market(self, symbol: str) -> MarketNow | None:
        """Return the price of the moment, in an auction the expected one.

        Before an auction has an expected price, it is the last price; None when the
        broker cannot be asked.
        """
        auction = phase_at(self._clock.now(), self._calendar) in _AUCTIONS
        heard = None if auction else self._heard(symbol)
        if heard is not None and heard.age_s <= FRESH_S:
            return heard
        now_s = self._clock.monotonic()
        price, at_s = self._asked.get(symbol, (0.0, 0.0))
        if price and now_s - at_s <= FRESH_S:
            return MarketNow(price=price, age_s=now_s - at_s)
        try:
            price = float(self._ask(symbol, auction=auction))
        except KisError as error:
            log.warning("price of %s not known: %s", symbol, error)
            return heard
        if price <= 0:
            return heard
        self._asked[symbol] = (price, self._clock.monotonic())
        return MarketNow(price=price, age_s=0.0)

    def _ask(self, symbol: str, *, auction: bool) -> int:
        expected = self._source.fetch_quote(symbol).expected_price if auction else 0
        return expected or self._source.fetch_price(symbol).price

    def band(self, symbol: str) -> PriceBand | None:
        """Return the limits of today; None where the broker does not tell them.

        Before the opening auction the broker may still show those of the day before.
        """
        now = self._clock.now().astimezone(KST)
        day, band = self._bands.get(symbol, (None, None))
        if day == now.date():
            return band
        if phase_at(now, self._calendar) in {Phase.CLOSED, Phase.PRE_CLOSE_PRICE}:
            return None
        now_s = self._clock.monotonic()
        failed_s = self._failed_s.get(symbol)
        if failed_s is not None and now_s - failed_s < _ASK_AGAIN_S:
            return None
        try:
            found = self._source.fetch_price(symbol)
        except KisError as error:
            log.warning("price limits of %s not known: %s", symbol, error)
            self._failed_s[symbol] = now_s
            return None
        if not 0 < found.lower_limit <= found.upper_limit:
            self._failed_s[symbol] = now_s
            return None
        limits = PriceBand(lower=found.lower_limit, upper=found.upper_limit)
        self._bands[symbol] = (now.date(), limits)
        return limits
