"""The trading floor both servers share: every listing in the session under way."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime

from kisbt.emulator.market import Listing, Trade, day_band
from kisbt.model.instrument import Instrument


class Floor:
    """Prices of all symbols; moved by the replay, read by the servers.

    Attributes:
        now: virtual time, aware KST.
        session: the date of the listings; None before the first session.
    """

    def __init__(self, now: datetime) -> None:
        """Start empty at `now`."""
        self.now = now
        self.session: date | None = None
        self.listings: dict[str, Listing] = {}
        self.watchers: list[Callable[[Trade, Listing], None]] = []

    def watch(self, watcher: Callable[[Trade, Listing], None]) -> None:
        """Have `watcher` called after each trade."""
        self.watchers.append(watcher)

    def begin_session(
        self,
        session: date,
        instruments: Iterable[Instrument],
        bases: Mapping[str, float],
    ) -> None:
        """Open the books of a session; what was halted or delisted stays so.

        Args:
            session: trading date.
            instruments: all that are listed.
            bases: base price by symbol, won; 0 or missing where none is known.
        """
        before = self.listings
        self.session = session
        self.listings = {}
        for instrument in instruments:
            symbol = instrument.symbol
            base = bases.get(symbol, 0.0)
            old = before.get(symbol)
            self.listings[symbol] = Listing(
                instrument=instrument,
                session=session,
                base=base,
                band=day_band(instrument, base, session),
                last=base,
                volume_before=old.volume if old is not None else 0,
                halted=old.halted if old is not None else False,
                delisted=old.delisted if old is not None else False,
            )

    def trade(self, trade: Trade) -> None:
        """Let a trade happen."""
        listing = self.listings[trade.symbol]
        if listing.halted:
            return
        if listing.base <= 0:
            # First session of a symbol without history: its open is its base.
            listing.base = trade.price
        listing.apply(trade)
        for watcher in self.watchers:
            watcher(trade, listing)
