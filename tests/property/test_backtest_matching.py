"""`krx.matching` against stock BackBroker: the same fill, price and bar."""

from dataclasses import dataclass
from typing import Any

import backtrader as bt
from backtrader import Order
from hypothesis import given, settings, strategies as st

from kisbt.bt.feed import CandleFeed
from kisbt.bt.mapping import EXEC_TYPES
from kisbt.candles.columns import CandleColumns
from kisbt.krx.matching import Terms, match_candle
from kisbt.model.order import OrderType, Side
from tests.helpers.market import from_nine, minutes, run_script

BARS = 6
# Prices move inside one band of the grid (10 won) and inside the daily limits.
prices = st.integers(950, 1_050).map(lambda steps: float(steps * 10))


@st.composite
def candle_rows(draw: st.DrawFn) -> tuple[float, float, float, float]:
    open_, close, *others = draw(st.lists(prices, min_size=4, max_size=4))
    high, low = max(open_, close, *others), min(open_, close, *others)
    return open_, high, low, close


@dataclass(frozen=True)
class Ask:
    side: Side
    kind: OrderType
    price: float
    limit: float
    trail: float

    def arguments(self) -> dict[str, Any]:
        """Return what a strategy passes to buy or sell."""
        asked: dict[str, Any] = {"exectype": EXEC_TYPES[self.kind], "size": 3}
        if self.kind in (OrderType.MARKET, OrderType.CLOSE):
            return asked
        asked["price"] = self.price
        if self.kind in (OrderType.STOP_LIMIT, OrderType.STOP_TRAIL_LIMIT):
            asked["plimit"] = self.limit
        if self.kind in (OrderType.STOP_TRAIL, OrderType.STOP_TRAIL_LIMIT):
            asked["trailamount"] = self.trail
        return asked


asks = st.builds(
    Ask,
    side=st.sampled_from(Side),
    kind=st.sampled_from(OrderType),
    price=prices,
    limit=prices,
    trail=st.integers(1, 40).map(lambda steps: float(steps * 10)),
)


def stock_fill(columns: CandleColumns, ask: Ask) -> tuple[int, float] | None:
    """Return (bar, price) of the fill by stock BackBroker, held shares ready."""
    fills: list[tuple[int, float]] = []

    class One(bt.Strategy):
        def next(self) -> None:
            if len(self) == 1:
                send = self.buy if ask.side is Side.BUY else self.sell
                self.order = send(**ask.arguments())

        def notify_order(self, order: Any) -> None:
            if order.status == Order.Completed:
                fills.append((len(self), order.executed.exbits[0].price))

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(1e9)
    cerebro.adddata(CandleFeed(dataname=columns))
    cerebro.addstrategy(One)
    cerebro.run()
    return fills[0] if fills else None


@settings(max_examples=300)
@given(st.lists(candle_rows(), min_size=BARS, max_size=BARS), asks)
def test_matching_fills_where_stock_backtrader_does(
    rows: list[tuple[float, float, float, float]], ask: Ask
) -> None:
    columns = minutes([from_nine(*rows[:-1]) | {"15:30": rows[-1]}])
    expected = stock_fill(columns, ask)
    if ask.kind is OrderType.CLOSE:
        # Stock waits for 23:59:59 of its feed; ours knows the session's close.
        expected = (BARS, rows[-1][3])
    script = {1: lambda s: getattr(s, ask.side.value)(**ask.arguments())}
    if ask.side is Side.SELL:
        # Shares to sell: bought one session earlier at the first open.
        columns = minutes(
            [
                {"15:29": rows[0], "15:30": rows[0]},
                from_nine(*rows[:-1]) | {"15:30": rows[-1]},
            ]
        )
        script = {1: lambda s: s.buy(size=3), 3: script[1]}
    ran = run_script(columns, script)
    found = [(bar, price) for bar, quantity, price in ran.fills]
    if ask.side is Side.SELL:
        found = [(bar - 2, price) for bar, price in found[1:]]
    assert found == ([] if expected is None else [expected])


@settings(max_examples=200)
@given(candle_rows(), asks)
def test_fill_lies_inside_the_candle_and_never_beyond_the_limit(
    row: tuple[float, float, float, float], ask: Ask
) -> None:
    limit = ask.price if ask.kind is OrderType.LIMIT else ask.limit
    outcome = match_candle(Terms(ask.side, ask.kind, limit, ask.price), *row)
    if outcome.price is None:
        return
    _open, high, low, _close = row
    assert low <= outcome.price <= high
    if ask.kind in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.STOP_TRAIL_LIMIT):
        if ask.side is Side.BUY:
            assert outcome.price <= limit
        else:
            assert outcome.price >= limit
