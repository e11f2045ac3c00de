"""Commission and transaction tax as backtrader's CommInfo."""

from datetime import date
from fractions import Fraction
from typing import Any

import backtrader as bt

from kisbt.krx.fees import commission, transaction_tax
from kisbt.model.instrument import Instrument


class KrxCommInfo(bt.CommInfoBase):
    """Costs of one fill in whole won, by instrument and trade date.

    The broker sets `session` before it executes: backtrader asks for a
    commission without saying when.

    Params:
        instrument: what is traded.
        rate: commission of one side, `Fraction`.
        tax: ``krx`` for the tax of the trade date, or a `Fraction` of sales.
    """

    params: Any = (
        ("instrument", Instrument(symbol="000000")),
        ("rate", Fraction(0)),
        ("tax", "krx"),
        ("tax_rows", None),
        ("stocklike", True),
        ("commtype", bt.CommInfoBase.COMM_PERC),
        ("percabs", True),
    )

    session: date = date(2000, 1, 4)
    booked: tuple[int, int] | None = None
    """Commission and tax of the fill under way as the journal has them, live."""

    def commission(self, amount: float) -> int:
        """Return the commission on `amount` won, whole won."""
        return commission(amount, self.p.rate)

    def tax(self, amount: float) -> int:
        """Return the transaction tax on a sale of `amount` won, whole won."""
        if isinstance(self.p.tax, Fraction):
            return commission(amount, self.p.tax)
        instrument: Instrument = self.p.instrument
        return transaction_tax(
            amount,
            market=instrument.market,
            product=instrument.product,
            session=self.session,
            table=self.p.tax_rows,
        )

    def _getcommission(self, size: float, price: float, pseudoexec: bool) -> float:
        if self.booked is not None:
            return float(sum(self.booked))
        amount = abs(size) * price
        costs = self.commission(amount)
        if size < 0:  # signed: a sale
            costs += self.tax(amount)
        return float(costs)
