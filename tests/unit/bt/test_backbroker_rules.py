"""Refusals, cash, volume, slippage, limits and costs of the exchange."""

from datetime import date
from typing import Any

import backtrader as bt
import pandas as pd
import pytest
from backtrader import Order

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.candles.columns import VALUES
from kisbt.model.instrument import Instrument, Market, Product
from tests.helpers.market import (
    CASH,
    Scripted,
    both,
    daily,
    from_nine,
    keep,
    minutes,
    run_script,
)

LIMIT = {"exectype": Order.Limit}
STOP = {"exectype": Order.Stop}
FLAT = [10_000.0, 10_000.0, 10_000.0]


def refusal(action: Any, rows: Any = FLAT, **broker: Any) -> tuple[str, str]:
    """Return (state, reason) of the order "o" made on the first bar."""
    ran = run_script(daily(rows), {1: action}, **broker)
    assert ran.fills == []
    assert ran.states("o")[0] == "Submitted"
    assert ran.strategy.orders["o"].info.reject == ran.why("o")
    return ran.state("o"), ran.why("o")


# Refusals.


@pytest.mark.parametrize("size", [1, 0.5])
def test_short_sale_is_refused(size: float) -> None:
    state, why = refusal(keep("o", "sell", size=1))
    assert state == "Rejected"
    assert "short selling" in why


@pytest.mark.parametrize("size", [0.5, 0.999, float("nan"), float("inf")])
def test_quantity_that_is_no_whole_share_is_refused(size: float) -> None:
    state, why = refusal(keep("o", "buy", size=size))
    assert state == "Rejected"
    assert "whole share" in why


def test_fraction_above_one_share_is_cut() -> None:
    ran = run_script(daily(FLAT), {1: keep("o", "buy", size=3.9)})
    assert ran.fills == [(2, 3, 10_000)]
    assert ran.placed[0].quantity == 3


def test_no_shares_make_no_order() -> None:
    ran = run_script(daily(FLAT), {1: lambda s: s.orders.update(o=s.buy(size=0))})
    assert ran.strategy.orders["o"] is None
    assert ran.placed == []


@pytest.mark.parametrize("price", [13_010, 6_990])
def test_limit_price_outside_the_daily_limits_is_refused(price: float) -> None:
    state, why = refusal(keep("o", "buy", size=1, price=price, **LIMIT))
    assert state == "Rejected"
    assert "7,000 to 13,000" in why


@pytest.mark.parametrize("price", [13_000, 7_000])
def test_limit_price_at_the_daily_limits_is_taken(price: float) -> None:
    ran = run_script(daily(FLAT), {1: keep("o", "buy", size=1, price=price, **LIMIT)})
    assert "Accepted" in ran.states("o")


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_stop_price_that_is_no_price_is_refused(price: float) -> None:
    state, why = refusal(keep("o", "buy", size=1, price=price, **STOP))
    assert state == "Rejected"
    assert "won above zero" in why


def test_limit_order_without_a_price_is_refused() -> None:
    _state, why = refusal(keep("o", "buy", size=1, **LIMIT))
    assert "needs a limit price" in why


def test_symbol_without_a_candle_yet_cannot_be_ordered() -> None:
    feeds = {"000001": daily(FLAT), "000002": daily([None, None, 20_000.0])}
    ran = run_script(feeds, {1: keep("o", "buy", data="000002", size=1)})
    assert ran.state("o") == "Rejected"
    assert "no candle yet" in ran.why("o")


def test_index_cannot_be_traded() -> None:
    ran = run_script(
        {"KOSPI": daily(FLAT)},
        {1: keep("o", "buy", size=1)},
        instruments={"KOSPI": Instrument(symbol="KOSPI", product=Product.INDEX)},
    )
    assert "index" in ran.why("o")


def test_more_than_held_cannot_be_sold() -> None:
    ran = run_script(
        daily(FLAT),
        {1: keep("in", "buy", size=5), 2: keep("o", "sell", size=6)},
    )
    assert ran.state("o") == "Rejected"


def test_shares_bought_on_this_bar_but_not_filled_cannot_be_sold() -> None:
    ran = run_script(
        daily(FLAT), {1: both(keep("in", "buy", size=5), keep("o", "sell", size=5))}
    )
    assert ran.state("o") == "Rejected"


def test_working_sales_promise_their_shares() -> None:
    ran = run_script(
        daily(FLAT),
        {
            1: keep("in", "buy", size=5),
            2: both(
                keep("a", "sell", size=3, price=11_000, **LIMIT),
                keep("b", "sell", size=2, price=11_000, **LIMIT),
                keep("c", "sell", size=1, price=11_000, **LIMIT),
            ),
        },
    )
    assert [ran.state(n) for n in "abc"] == ["Expired", "Expired", "Rejected"]


# Cash.


def test_market_buy_is_charged_at_the_upper_limit() -> None:
    most = int(CASH // 13_000)  # 769 shares, though 1,000 could be paid at the close
    ran = run_script(daily(FLAT), {1: keep("o", "buy", size=most)})
    assert ran.fills == [(2, most, 10_000)]
    state, why = refusal(keep("o", "buy", size=most + 1))
    assert state == "Margin"
    assert "free cash" in why


def test_commission_is_set_aside_too() -> None:
    # 769 x 13,000 = 9,997,000; with 0.05 % commission 10,001,999.
    state, _why = refusal(keep("o", "buy", size=769), commission=0.0005)
    assert state == "Margin"


def test_limit_buy_is_charged_at_its_limit() -> None:
    ran = run_script(
        daily(FLAT), {1: keep("o", "buy", size=1_000, price=10_000, **LIMIT)}
    )
    assert ran.fills == [(2, 1_000, 10_000)]


def test_protected_market_buy_is_charged_at_its_limit() -> None:
    ran = run_script(
        daily(FLAT), {1: keep("o", "buy", size=970)}, market_orders="protected"
    )
    assert ran.fills == [(2, 970, 10_000)]


def test_orders_of_one_bar_share_the_cash() -> None:
    seen: list[float] = []
    ran = run_script(
        daily(FLAT),
        {
            1: both(
                keep("a", "buy", size=300),
                lambda s: seen.append(s.broker.free_cash()),
                keep("b", "buy", size=300),
                lambda s: seen.append(s.broker.free_cash()),
                keep("c", "buy", size=300),
                keep("d", "buy", size=169),
                lambda s: seen.append(s.broker.free_cash()),
            )
        },
    )
    assert seen == [6_100_000, 2_200_000, 3_000]
    assert ran.state("c") == "Margin"
    assert [fill[1] for fill in ran.fills] == [300, 300, 169]


def test_cash_of_a_working_order_is_free_again_once_it_ended() -> None:
    free: list[float] = []
    run_script(
        daily(FLAT),
        {1: keep("o", "buy", size=100, price=9_000, **LIMIT)},
        each=lambda s: free.append(s.broker.free_cash()),
    )
    assert free == [CASH - 900_000, CASH, CASH]


def test_order_partly_filled_sets_aside_its_rest() -> None:
    free: list[float] = []
    session = from_nine(10_000, (10_000, 10_000, 10_000, 10_000, 40), 10_000)
    run_script(
        minutes([{"15:30": 10_000}, session]),
        {2: keep("o", "buy", size=10)},
        each=lambda s: free.append(s.broker.free_cash()),
        volume_share=0.1,
    )
    assert free[1:] == [CASH - 130_000, CASH - 40_000 - 6 * 13_000, CASH - 100_000]


def test_proceeds_of_a_sale_pay_a_purchase_only_once_it_has_filled() -> None:
    ran = run_script(
        daily([10_000.0] * 4),
        {
            1: keep("in", "buy", size=769),
            2: both(keep("out", "sell", size=769), keep("early", "buy", size=700)),
            3: keep("late", "buy", size=700),
        },
    )
    assert ran.state("early") == "Margin"
    assert ran.state("late") == "Completed"


# Limits that lock the price.


@pytest.mark.parametrize(
    ("price", "side", "filled"),
    [
        (13_000.0, "buy", False),
        (13_000.0, "sell", True),
        (7_000.0, "buy", True),
        (7_000.0, "sell", False),
        (12_990.0, "buy", True),
        (7_010.0, "sell", True),
    ],
)
def test_locked_bar_does_not_fill_the_crowded_side(
    price: float, side: str, filled: bool
) -> None:
    ran = run_script(
        daily([10_000.0, 10_000.0, price, price]),
        {1: keep("in", "buy", size=5), 2: keep("o", side, size=5)},
    )
    assert (len(ran.fills) == 2) is filled
    assert ran.state("o") == ("Completed" if filled else "Expired")


def test_bar_that_left_the_limit_fills_both_sides() -> None:
    ran = run_script(
        daily([10_000.0, (13_000, 13_000, 12_990, 13_000), 10_000.0]),
        {1: keep("o", "buy", size=5)},
    )
    assert ran.fills == [(2, 5, 13_000)]


def test_minute_locked_at_the_limit_of_the_day_does_not_fill_buys() -> None:
    sessions = [{"15:30": 10_000.0}, from_nine(12_000.0, 13_000.0, 13_000.0, 12_900.0)]
    ran = run_script(
        minutes(sessions),
        {
            2: keep("o", "buy", size=5),
        },
    )
    assert ran.fills == [(5, 5, 12_900)]


def test_first_session_of_a_listing_has_no_known_limits() -> None:
    # Twice the first price in one flat minute: no limit of a day before is known.
    ran = run_script(
        minutes([from_nine(20_000.0, 40_000.0)]), {1: keep("o", "buy", size=1)}
    )
    assert ran.fills == [(2, 1, 40_000)]


def test_limits_were_narrower_before_2015() -> None:
    ran = run_script(
        daily([10_000.0, 11_500.0, 11_500.0], first=date(2014, 3, 3)),
        {1: keep("o", "buy", size=1)},
    )
    assert ran.fills == []


def test_adjusted_bar_counts_as_locked_within_the_rounding_of_its_adjustment() -> None:
    # Raw 268,500 -> limit 349,000, divided by 50: 5,370 -> 6,980; on the grid of
    # the adjusted price the limit would be 6,980 as well, of 5,371 it is not.
    rows = [5_371.0, 6_978.0, 6_978.0]
    raw = run_script(daily(rows), {1: keep("o", "buy", size=1)})
    adjusted = run_script(daily(rows), {1: keep("o", "buy", size=1)}, adjusted=True)
    assert len(raw.fills) == 1
    assert adjusted.fills == []


# Volume.


def test_fill_takes_its_share_of_each_bar() -> None:
    bars = [(10_000, 10_000, 10_000, 10_000, v) for v in (1e6, 59, 100, 9, 1_000)]
    ran = run_script(
        minutes([from_nine(*bars)]), {1: keep("o", "buy", size=20)}, volume_share=0.1
    )
    assert ran.fills == [(2, 5, 10_000), (3, 10, 10_000), (5, 5, 10_000)]
    assert ran.states("o")[2:] == ["Partial", "Partial", "Completed"]


def test_all_own_orders_of_a_bar_share_its_volume() -> None:
    bars = [10_000, (10_000, 10_000, 10_000, 10_000, 100), 10_000]
    ran = run_script(
        minutes([from_nine(*bars)]),
        {1: both(keep("a", "buy", size=6), keep("b", "buy", size=6))},
        volume_share=0.1,
    )
    assert ran.fills == [(2, 6, 10_000), (2, 4, 10_000), (3, 2, 10_000)]


def test_volume_of_one_symbol_is_not_taken_from_another() -> None:
    row = (10_000, 10_000, 10_000, 10_000, 100)
    feeds = {"000001": daily([10_000, row, row]), "000002": daily([10_000, row, row])}
    ran = run_script(
        feeds,
        {
            1: both(
                keep("a", "buy", data="000001", size=10),
                keep("b", "buy", data="000002", size=10),
            )
        },
        volume_share=0.1,
    )
    assert [fill[1] for fill in ran.fills] == [10, 10]


def test_binary_fraction_does_not_cost_a_share() -> None:
    row = (10_000, 10_000, 10_000, 10_000, 30)
    ran = run_script(
        daily([10_000, row, row]), {1: keep("o", "buy", size=3)}, volume_share=0.1
    )
    assert ran.fills == [(2, 3, 10_000)]


# Slippage.


@pytest.mark.parametrize(
    ("asked", "bar", "price"),
    [
        ({}, (10_000, 10_200, 9_800, 10_000), 10_020),
        ({}, (10_000, 10_010, 9_800, 10_000), 10_010),  # capped at the high
        ({}, (19_990, 20_200, 19_800, 20_000), 20_050),  # 10 won, then 50
        (
            {"exectype": Order.Stop, "price": 10_100},
            (10_000, 10_200, 9_800, 10_000),
            10_120,
        ),
        (
            {"exectype": Order.Limit, "price": 10_000},
            (10_000, 10_200, 9_800, 10_000),
            10_000,
        ),
        ({"exectype": Order.Close}, (10_000, 10_200, 9_800, 10_000), 10_000),
    ],
)
def test_buy_slips_up_by_price_steps(
    asked: dict[str, Any], bar: Any, price: float
) -> None:
    first = 20_000.0 if bar[0] > 15_000 else 10_000.0
    ran = run_script(
        daily([first, bar, bar]),
        {1: keep("o", "buy", size=3, **asked)},
        slippage_ticks=2,
    )
    assert ran.fills == [(2, 3, price)]
    paid = price - min(asked.get("price", bar[0]), price)
    assert ran.executions[0].slippage == pytest.approx(
        3 * (paid if asked.get("exectype") != Order.Close else 0)
    )


@pytest.mark.parametrize(
    ("bar", "price"),
    [
        ((10_000, 10_200, 9_800, 10_000), 9_980),
        ((10_000, 10_200, 9_990, 10_000), 9_990),  # capped at the low
        ((20_000, 20_200, 19_800, 20_000), 19_980),  # from 20,000 down the step is 10
    ],
)
def test_sale_slips_down_by_price_steps(bar: Any, price: float) -> None:
    ran = run_script(
        daily([bar[0], bar[0], bar, bar]),
        {
            1: keep("in", "buy", size=3, exectype=Order.Limit, price=bar[0]),
            2: keep("o", "sell", size=3),
        },
        slippage_ticks=2,
    )
    assert ran.fills[1] == (3, -3, price)
    assert ran.executions[1].slippage == 3 * (bar[0] - price)


def test_stop_limit_never_slips_through_its_limit() -> None:
    ran = run_script(
        daily([10_000, (10_000, 10_200, 9_800, 10_100), 10_000]),
        {
            1: keep(
                "o",
                "buy",
                size=1,
                exectype=Order.StopLimit,
                price=10_100,
                plimit=10_110,
            )
        },
        slippage_ticks=3,
    )
    assert ran.fills == [(2, 1, 10_110)]


def test_adjusted_price_slips_by_a_step_without_being_rounded() -> None:
    ran = run_script(
        daily([10_003.4, (10_003.4, 10_200.6, 9_800.2, 10_000.1), 10_000.0]),
        {1: keep("o", "buy", size=1)},
        slippage_ticks=1,
        adjusted=True,
    )
    assert ran.fills == [(2, 1, 10_013.4)]


def test_own_limit_on_adjusted_candles_is_rounded_and_their_open_is_not() -> None:
    rows = [
        10_003.4,
        (10_003.4, 10_200.6, 9_800.2, 10_000.1),
        (9_950.7, 10_000, 9_900, 9_950),
    ]
    ran = run_script(
        daily([*rows, 10_000.0]),
        {
            1: keep("a", "buy", size=1, price=9_905.5, **LIMIT),
            2: keep("b", "buy", size=1, price=9_990.5, **LIMIT),
        },
        adjusted=True,
    )
    assert ran.fills == [(2, 1, 9_900), (3, 1, 9_950.7)]


# Costs and value.


@pytest.mark.parametrize(
    ("market", "tax"),
    # 2024: 0.18 % on either board; 5 x 9,990 = 49,950 won.
    [(Market.KOSPI, 89), (Market.KOSDAQ, 89)],
)
def test_commission_and_tax_are_whole_won_of_each_fill(
    market: Market, tax: int
) -> None:
    ran = run_script(
        {"000001": daily([9_990.0] * 3)},
        {1: keep("in", "buy", size=5), 2: keep("o", "sell", size=5)},
        instruments={"000001": Instrument(symbol="000001", market=market)},
        commission=0.00015,
        tax="krx",
    )
    costs = [(f.commission, f.tax) for f in ran.executions]
    assert costs == [(7, 0), (7, tax)]  # 49,950 x 0.015 % = 7.49
    assert ran.broker.getcash() == CASH - 7 - 7 - tax
    assert ran.broker.getvalue() == CASH - 7 - 7 - tax


def test_tax_is_that_of_the_trade_date() -> None:
    # 0.30 % until 2019-05-29, 0.25 % from 2019-05-30, of 100,000 won.
    def tax_on(first: date) -> float:
        ran = run_script(
            daily([10_000.0] * 3, first=first),
            {1: keep("in", "buy", size=10), 2: keep("o", "sell", size=10)},
            tax="krx",
        )
        return ran.executions[1].tax

    assert tax_on(date(2019, 5, 24)) == 300
    assert tax_on(date(2019, 5, 28)) == 250


def test_fund_pays_no_tax() -> None:
    ran = run_script(
        {"069500": daily([10_000.0] * 3)},
        {1: keep("in", "buy", size=10), 2: keep("o", "sell", size=10)},
        instruments={"069500": Instrument(symbol="069500", product=Product.ETF)},
        tax="krx",
    )
    assert ran.executions[1].tax == 0


def test_halted_and_delisted_symbols_keep_their_last_close_as_value() -> None:
    feeds = {
        "000001": daily([10_000.0] * 5),
        "000002": daily([20_000.0, 20_000.0, 21_000.0]),
    }
    ran = run_script(feeds, {1: keep("o", "buy", data="000002", size=10)})
    assert [value for _cash, value in ran.strategy.account] == [
        CASH,
        CASH,
        CASH + 10_000,
        CASH + 10_000,
        CASH + 10_000,
    ]


def test_value_of_named_feeds_is_their_market_value() -> None:
    ran = run_script(
        {"000001": daily(FLAT), "000002": daily(FLAT)},
        {1: keep("o", "buy", data="000002", size=10)},
    )
    one, two = ran.feeds["000001"], ran.feeds["000002"]
    assert ran.broker.getvalue([one]) == 0
    assert ran.broker.getvalue([two]) == 100_000
    assert ran.broker.getvalue([one, two]) == 100_000


def test_cash_can_be_added_while_running() -> None:
    ran = run_script(daily(FLAT), {1: lambda s: s.broker.add_cash(5_000.0)})
    assert ran.broker.getcash() == CASH + 5_000
    assert ran.broker.getvalue() == CASH + 5_000


# Other feeds.


def stock_feed(label: str) -> Any:
    columns = daily([10_000.0, (10_000, 10_100, 9_900, 10_050), 10_000.0, 10_000.0])
    values = {name: getattr(columns, name) for name in VALUES}
    times = pd.DatetimeIndex(columns.sessions) + pd.Timedelta(label)
    return bt.feeds.PandasData(dataname=pd.DataFrame(values, index=times))


# PandasData labels a day 00:00, a CSV of backtrader 23:59:59.999989.
@pytest.mark.parametrize("label", ["00:00:00", "23:59:59.999989"])
@pytest.mark.parametrize(
    ("asked", "price"), [({}, 10_000), ({"exectype": Order.Close}, 10_050)]
)
def test_daily_feed_of_backtrader_is_traded_at_its_sessions(
    label: str, asked: dict[str, Any], price: float
) -> None:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(KrxBackBroker(cash=CASH, slippage_ticks=0))
    cerebro.adddata(stock_feed(label), name="005930")
    script = {
        1: keep("o", "buy", size=3, **asked),
        2: keep("far", "buy", size=3, price=9_000, **LIMIT),
    }
    cerebro.addstrategy(Scripted, script=script)
    strategy = cerebro.run()[0]
    fills = [(f.quantity, f.price) for f in cerebro.broker.recorder.fills]
    assert fills == [(3, price)]
    assert strategy.orders["far"].getstatusname() == "Expired"


def test_open_beyond_the_cash_set_aside_ends_the_order_with_a_reason() -> None:
    # A capital change moved the base price: the open lies over the limit computed.
    ran = run_script(
        daily([10_000.0, (20_000, 20_100, 19_900, 20_000), 20_000.0]),
        {1: keep("o", "buy", size=769)},
    )
    assert ran.fills == []
    assert ran.state("o") == "Margin"
    assert "cash" in ran.why("o")
    assert ran.broker.getcash() == CASH
