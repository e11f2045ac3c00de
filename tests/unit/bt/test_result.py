from datetime import datetime

import backtrader as bt
import numpy as np
import pytest
from backtrader import Order

from kisbt.bt.result import (
    Times,
    decision_rows,
    equity_curve,
    fill_rows,
    order_rows,
    round_trips,
)
from kisbt.clock import KST
from kisbt.model.order import OrderState, OrderType, Side
from tests.helpers.market import CASH, both, daily, from_nine, keep, minutes, run_script

LIMIT = {"exectype": Order.Limit}


def at(day: int, hour: int = 15, minute: int = 30) -> datetime:
    return datetime(2024, 1, day, hour, minute, tzinfo=KST)


def test_orders_tell_what_was_asked_and_what_became_of_it() -> None:
    ran = run_script(
        daily([10_000.0] * 3),
        {
            1: both(
                keep("a", "buy", size=3, reason="why"),
                keep("b", "buy", size=2, price=9_005, **LIMIT),
                keep("c", "sell", size=9),
            )
        },
    )
    rows = order_rows(ran.broker.recorder, Times())
    assert [row.ref for row in rows] == [1, 2, 3]
    assert [row.state for row in rows] == [
        OrderState.FILLED,
        OrderState.EXPIRED,
        OrderState.REFUSED,
    ]
    first, second, third = rows
    assert (first.created, first.symbol, first.side) == (at(3), "000001", Side.BUY)
    assert (first.type, first.quantity, first.reason) == (OrderType.MARKET, 3, "why")
    assert (first.filled_quantity, first.average_price) == (3, 10_000.0)
    assert (second.limit_price, second.average_price) == (9_000, None)
    assert "2024-01-04" in second.reject_reason
    assert "short selling" in third.reject_reason


def test_fills_carry_bar_costs_and_their_order() -> None:
    ran = run_script(
        daily([10_000.0, (10_000, 10_050, 9_950, 10_000), 10_000.0]),
        {1: keep("a", "buy", size=3), 2: keep("b", "sell", size=3)},
        slippage_ticks=1,
        commission=0.001,
        tax="krx",
    )
    bought, sold = fill_rows(ran.broker.recorder, Times())
    assert (bought.time, bought.bar) == (at(4), at(4))
    assert (bought.quantity, bought.price, bought.slippage) == (3, 10_010, 30)
    assert (bought.commission, bought.tax) == (30, 0)
    assert (sold.side, sold.quantity, sold.order_ref) == (Side.SELL, 3, 2)
    assert (sold.commission, sold.tax) == (30, 54)


def test_round_trip_nets_gains_and_costs_over_partial_fills() -> None:
    thin = (10_000.0, 10_000.0, 10_000.0, 10_000.0, 20.0)
    session = from_nine(10_000.0, thin, thin, 10_100.0, 10_200.0, 10_200.0)
    ran = run_script(
        minutes([session]),
        {
            1: keep("a", "buy", size=4, reason="in"),
            4: keep("b", "sell", size=1, reason="half"),
            5: keep("c", "sell", size=3, reason="rest"),
        },
        volume_share=0.1,
        commission=0.001,
    )
    trades, held = round_trips(ran.broker.recorder, ran.feeds, Times())
    assert held == ()
    (trade,) = trades
    assert (trade.entry_time, trade.exit_time) == (at(3, 9, 2), at(3, 9, 6))
    assert (trade.quantity, trade.entry_price) == (4, 10_000)
    assert trade.exit_price == 10_200
    assert trade.gross_pnl == 800
    assert trade.commission == 20 + 20 + 10 + 30
    assert trade.net_pnl == 720
    assert trade.return_pct == pytest.approx(1.8)
    assert trade.bars_held == 4
    assert (trade.entry_reason, trade.exit_reason) == ("in", "half, rest")


def test_delisted_holding_is_valued_at_its_last_close_and_flagged() -> None:
    feeds = {
        "000001": daily([10_000.0] * 5),
        "000002": daily([20_000.0, 20_000.0, 21_000.0]),
    }
    ran = run_script(
        feeds,
        {
            1: both(
                keep("a", "buy", data="000001", size=1),
                keep("b", "buy", data="000002", size=10),
            )
        },
    )
    _trades, held = round_trips(ran.broker.recorder, ran.feeds, Times())
    listed, gone = held
    assert listed.flag == ""
    assert gone.symbol == "000002"
    assert (gone.quantity, gone.average_price) == (10, 20_000)
    assert (gone.last_price, gone.last_time) == (21_000, at(5))
    assert (gone.market_value, gone.unrealised_pnl) == (210_000, 10_000)
    assert "2024-01-05" in gone.flag


def test_equity_is_recorded_at_each_bar_from_the_first_tradable_one() -> None:
    columns = daily([10_000.0, 10_000.0, 11_000.0, 12_000.0])
    first = bt.date2num(columns.end[1].astype(datetime))
    ran = run_script(columns, {1: keep("a", "buy", size=10)}, record_from=first)
    curve = equity_curve(ran.broker.recorder)
    np.testing.assert_array_equal(curve.time, columns.end[1:])
    np.testing.assert_array_equal(curve.equity, [CASH, CASH + 10_000, CASH + 20_000])


def test_equity_times_are_the_candles_to_the_second() -> None:
    columns = minutes([from_nine(*[10_000.0] * 50), {"15:30": 10_000.0}])
    curve = equity_curve(run_script(columns).broker.recorder)
    np.testing.assert_array_equal(curve.time, columns.end)


def test_decisions_tell_orders_refusals_and_entries_passed_over() -> None:
    ran = run_script(
        daily([10_000.0] * 2),
        {
            1: both(
                keep("a", "buy", size=1, reason="signal"),
                keep("b", "sell", size=9),
                lambda s: s.broker.note_skipped(s, s.data, "no cash"),
            )
        },
    )
    rows = decision_rows(ran.broker.recorder, Times())
    told = [(row.action, row.reason, row.result, row.order_ref) for row in rows]
    assert told[0] == ("buy", "signal", "accepted", 1)
    assert told[1][0] == "sell"
    assert "short selling" in told[1][2]
    assert told[2] == ("skip", "no cash", "skipped", None)
    assert {row.bar for row in rows} == {at(3)}
