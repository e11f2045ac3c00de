"""With ``rules="none"`` only the guard against double matching is ours."""

from typing import Any

import backtrader as bt
import pytest
from backtrader import Order

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.feed import CandleFeed
from kisbt.errors import ConfigError
from kisbt.model.candle import MINUTE
from tests.helpers.market import (
    CASH,
    Action,
    Scripted,
    both,
    cancel,
    daily,
    from_nine,
    keep,
    minutes,
    run_script,
)

LIMIT = {"exectype": Order.Limit}
STOP = {"exectype": Order.Stop}


def run_stock(columns: Any, script: dict[int, Action]) -> Any:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(CASH)
    cerebro.adddata(CandleFeed(dataname=columns, name="000001"))
    cerebro.addstrategy(Scripted, script=script)
    return cerebro.run()[0]


def states(strategy: Any) -> dict[str, list[str]]:
    return {
        name: strategy.states.get(order.ref, [])
        for name, order in strategy.orders.items()
    }


SCRIPTS: dict[str, dict[int, Action]] = {
    "order lives on": {1: keep("o", "buy", size=5, price=9_000, **LIMIT)},
    "cancelled on its own bar": {1: both(keep("o", "buy", size=5), cancel("o"))},
    "cancelled later": {
        1: keep("o", "buy", size=5, price=9_000, **LIMIT),
        2: cancel("o", clone=True),
    },
    "short sale": {1: keep("o", "sell", size=5)},
    "too dear": {1: keep("o", "buy", size=5_000)},
    "off the grid": {1: keep("o", "buy", size=5, price=9_003.7, **LIMIT)},
    "fraction": {1: keep("o", "buy", size=0.5)},
    "pair": {
        1: keep("in", "buy", size=5),
        2: both(
            keep("stop", "sell", size=5, price=9_000, **STOP),
            keep("limit", "sell", size=5, price=10_100, oco="stop", **LIMIT),
        ),
    },
}
ROWS = [
    10_000,
    (10_000, 10_050, 9_950, 10_000),
    (10_000, 10_050, 9_950, 10_000),
    (9_900, 10_200, 8_800, 9_000),
    (9_000, 9_000, 8_900, 8_950),
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_orders_go_through_the_states_of_stock_backtrader(name: str) -> None:
    script = SCRIPTS[name]
    ran = run_script(daily(ROWS), script, rules="none")
    stock = run_stock(daily(ROWS), script)
    assert states(ran.strategy) == states(stock)
    assert ran.strategy.account == stock.account


def test_order_is_not_matched_again_while_its_feed_stands_still() -> None:
    feeds = {
        "000001": minutes([from_nine(*[10_000] * 4)]),
        "000002": minutes(
            [{"09:01": (20_000, 20_500, 19_000, 20_000), "09:04": 20_000}]
        ),
    }
    ran = run_script(
        feeds,
        {1: keep("o", "buy", data="000002", size=1, price=19_500, **LIMIT)},
        rules="none",
    )
    assert ran.fills == []


def test_bracket_exits_are_not_matched_on_the_bar_that_filled_the_entry() -> None:
    feeds = {
        "000001": minutes([from_nine(*[10_000] * 5)]),
        "000002": minutes(
            [
                {
                    "09:01": 20_000,
                    "09:02": (20_000, 20_500, 19_000, 20_000),
                    "09:05": 20_000,
                }
            ]
        ),
    }

    def act(strategy: Any) -> None:
        data = strategy.getdatabyname("000002")
        strategy.buy_bracket(
            data=data,
            size=1,
            exectype=Order.Market,
            stopprice=19_500,
            limitprice=20_400,
        )

    ran = run_script(feeds, {1: act}, rules="none")
    assert ran.fills == [(2, 1, 20_000)]


def test_commission_is_a_rate_without_rounding() -> None:
    ran = run_script(
        daily([10_000, 10_001]),
        {1: keep("o", "buy", size=3)},
        rules="none",
        commission=0.00015,
    )
    assert ran.executions[0].commission == pytest.approx(3 * 10_001 * 0.00015)


def test_commission_can_be_set_as_on_any_broker_only_without_rules() -> None:
    KrxBackBroker(rules="none").setcommission(commission=0.001)
    with pytest.raises(ConfigError, match=r"commission"):
        KrxBackBroker().setcommission(commission=0.001)
    with pytest.raises(ConfigError, match=r"commission"):
        KrxBackBroker().addcommissioninfo(bt.CommInfoBase(commission=0.001))


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"krx or none"):
        KrxBackBroker(rules="kospi")


@pytest.mark.parametrize("cheat", [{"coc": True}, {"coo": True}])
def test_cheating_is_refused_under_exchange_rules(cheat: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match="cheat"):
        run_script(daily([10_000, 10_000]), **cheat)


def test_cheat_on_close_works_without_rules() -> None:
    ran = run_script(
        daily([10_000, 10_500]), {1: keep("o", "buy", size=1)}, rules="none", coc=True
    )
    assert [f.price for f in ran.executions] == [10_000]


def test_minute_close_order_of_stock_backtrader_still_fills() -> None:
    session = {**from_nine(10_000, 10_050), "15:30": 10_200}
    feed = CandleFeed(dataname=minutes([session, session]), interval=MINUTE)
    assert feed.p.timeframe == bt.TimeFrame.Minutes
    ran = run_script(
        minutes([session, session]),
        {1: keep("o", "buy", size=1, exectype=Order.Close)},
        rules="none",
    )
    assert len(ran.fills) == 1
