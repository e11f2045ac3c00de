"""What the lean broker has to know of a feed to trade it."""

from bisect import bisect_right
from datetime import date
from fractions import Fraction
from typing import Any

from kisbt.bt.comminfo import KrxCommInfo
from kisbt.bt.market import instrument_of, is_adjusted
from kisbt.krx.fees import tax_rate
from kisbt.krx.limits import limit_rows, upper_limit
from kisbt.krx.ticks import TickTable, tick_tables
from kisbt.model.instrument import Product


class Traded:
    """What a plain order has to know of its feed, looked up once a run."""

    __slots__ = (
        "_limits",
        "_limits_from",
        "_tables",
        "_tables_from",
        "_taxes",
        "_taxes_from",
        "adjusted",
        "costs",
        "instrument",
        "is_index",
        "rate",
        "reserve",
        "reserve_at",
        "with_fee",
    )

    def __init__(self, feed: Any, costs: KrxCommInfo, tax_rows: Any) -> None:
        self.costs = costs
        self.rate = costs.p.rate
        self.with_fee = 1.0 + float(self.rate)
        self.instrument = instrument_of(feed)
        self.is_index = self.instrument.product is Product.INDEX
        self.adjusted = is_adjusted(feed)
        self.reserve = 0.0
        self.reserve_at = -1.0
        market, product = self.instrument.market, self.instrument.product
        limits = limit_rows(
            market=market, product=product, leverage=self.instrument.leverage
        )
        self._limits = [share for _first, share in limits]
        self._limits_from = [first for first, _share in limits]
        self._tables = tick_tables(market=market, product=product)
        self._tables_from = [table.first for table in self._tables]
        self._taxes_from = [row.trade_from for row in tax_rows]
        if isinstance(costs.p.tax, Fraction):
            self._taxes = [costs.p.tax] * len(self._taxes_from)
        else:
            self._taxes = [
                tax_rate(market=market, product=product, session=day, table=tax_rows)
                for day in self._taxes_from
            ]

    def ticks_on(self, session: date) -> TickTable:
        """Return the price steps in force on a session."""
        return self._tables[bisect_right(self._tables_from, session) - 1]

    def upper_on(self, session: date, base: float) -> int | None:
        """Return the highest price of a session; None without a limit or a base.

        Args:
            base: base price of the session, won; NaN if there is none.
        """
        if not self._limits or not base > 0:
            return None
        share = self._limits[bisect_right(self._limits_from, session) - 1]
        return upper_limit(base, share, self.ticks_on(session))

    def tax_on(self, session: date) -> Fraction:
        """Return the tax on a sale, as a share of its amount."""
        return self._taxes[bisect_right(self._taxes_from, session) - 1]
