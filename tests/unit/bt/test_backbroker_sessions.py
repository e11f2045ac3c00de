"""An order lives for one session: when it is matched, when it ends, who hears of it."""

from datetime import date, timedelta

import backtrader as bt
import pytest
from backtrader import Order

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.feed import CandleFeed
from kisbt.errors import ConfigError
from kisbt.model.candle import MINUTE
from tests.helpers.market import (
    CASH,
    both,
    cancel,
    daily,
    from_nine,
    keep,
    minutes,
    run_script,
)

FAR = {"size": 5, "exectype": Order.Limit, "price": 9_000}


def heard_before_call(ran, name: str, state: str) -> int:
    ref = ran.strategy.orders[name].ref
    return next(call for call, r, s in ran.strategy.heard if (r, s) == (ref, state))


def test_order_is_never_matched_on_the_bar_that_made_it() -> None:
    ran = run_script(
        daily([(10_000, 10_500, 8_000, 9_500), 10_000, 10_000]),
        {1: keep("o", "buy", **FAR)},
    )
    assert ran.fills == []


def test_daily_order_expires_before_the_strategy_sees_the_next_bar() -> None:
    ran = run_script(
        daily([10_000, 10_000, (8_900, 8_900, 8_900, 8_900)]),
        {1: keep("o", "buy", **FAR)},
    )
    assert ran.states("o") == ["Submitted", "Accepted", "Expired"]
    assert heard_before_call(ran, "o", "Expired") == 2
    assert ran.fills == []


def test_order_made_in_the_session_lives_until_its_last_minute() -> None:
    session = {**from_nine(10_000, 10_000), "15:30": (10_000, 10_000, 8_990, 9_000)}
    ran = run_script(minutes([session, from_nine(8_900)]), {1: keep("o", "buy", **FAR)})
    assert ran.fills == [(3, 5, 9_000)]


def test_order_made_in_the_session_is_over_in_the_next_one() -> None:
    session = {**from_nine(10_000, 10_000), "15:30": 10_000}
    ran = run_script(minutes([session, from_nine(8_900)]), {2: keep("o", "buy", **FAR)})
    assert ran.fills == []
    assert heard_before_call(ran, "o", "Expired") == 3


def test_order_expires_though_no_bar_marks_the_close() -> None:
    ran = run_script(
        minutes([from_nine(10_000, 10_000), from_nine(8_900, 8_900)]),
        {2: keep("o", "buy", **FAR)},
    )
    assert ran.fills == []
    assert heard_before_call(ran, "o", "Expired") == 3


def test_order_made_on_the_closing_minute_lives_in_the_next_session() -> None:
    sessions = [
        {"09:01": 10_000, "15:30": 10_000},
        {"09:01": 10_000, "09:02": (10_000, 10_000, 8_900, 9_000), "15:30": 10_000},
        {"09:01": 8_000},
    ]
    ran = run_script(minutes(sessions), {2: keep("o", "buy", **FAR)})
    assert ran.fills == [(4, 5, 9_000)]


def test_order_made_on_the_closing_minute_is_over_after_the_next_session() -> None:
    sessions = [
        {"09:01": 10_000, "15:30": 10_000},
        {"09:01": 10_000, "15:30": 10_000},
        {"09:01": 8_000},
    ]
    ran = run_script(minutes(sessions), {2: keep("o", "buy", **FAR)})
    assert ran.fills == []
    assert heard_before_call(ran, "o", "Expired") == 4


def test_daily_order_of_a_halted_symbol_expires_while_others_trade() -> None:
    feeds = {
        "000001": daily([10_000, 10_000, 10_000, 10_000]),
        "000002": daily([10_000, None, None, (8_000, 8_000, 8_000, 8_000)]),
    }
    ran = run_script(feeds, {1: keep("o", "buy", data="000002", **FAR)})
    assert ran.fills == []
    assert heard_before_call(ran, "o", "Expired") == 2


def test_daily_order_expires_also_where_nothing_at_all_printed_in_its_session() -> None:
    ran = run_script(daily([10_000, None, 8_000, 8_000]), {1: keep("o", "buy", **FAR)})
    assert ran.fills == []
    assert heard_before_call(ran, "o", "Expired") == 2


def test_market_order_of_a_halted_symbol_does_not_wait_for_its_return() -> None:
    feeds = {
        "000001": minutes([{"09:01": 10_000, "15:30": 10_000}] * 3),
        "000002": minutes([{"09:01": 10_000, "15:30": 10_000}, {}, {"09:01": 10_000}]),
    }
    ran = run_script(feeds, {2: keep("o", "buy", data="000002", size=1)})
    assert ran.fills == []
    assert ran.state("o") == "Expired"


def test_order_waits_in_its_session_until_its_own_symbol_prints() -> None:
    feeds = {
        "000001": minutes([from_nine(*[10_000] * 5)]),
        "000002": minutes([{"09:01": 20_000, "09:05": 20_050}]),
    }
    ran = run_script(feeds, {1: keep("o", "buy", data="000002", size=1)})
    assert ran.fills == [(5, 1, 20_050)]


def test_exam_day_closes_an_hour_later() -> None:
    # 2023-11-16: the session ran from 10:00 to 16:30.
    session = {"10:01": 10_000, "15:31": 10_000, "16:30": (9_000, 9_000, 8_900, 8_900)}
    ran = run_script(
        minutes([session], first=date(2023, 11, 16)), {1: keep("o", "buy", **FAR)}
    )
    assert ran.fills == [(3, 5, 9_000)]


@pytest.mark.parametrize("valid", [None, 0, Order.DAY, date(2030, 1, 1)])
def test_validity_cannot_outlive_the_session(valid: object) -> None:
    ran = run_script(
        daily([10_000, 10_000, 8_000]), {1: keep("o", "buy", valid=valid, **FAR)}
    )
    assert ran.fills == []
    assert ran.state("o") == "Expired"


def test_validity_may_be_shorter_than_the_session() -> None:
    session = from_nine(10_000, 10_000, 10_000, (10_000, 10_000, 8_000, 9_000))
    ran = run_script(
        minutes([session]),
        {1: keep("o", "buy", valid=timedelta(minutes=2), **FAR)},
    )
    assert ran.fills == []
    assert heard_before_call(ran, "o", "Expired") == 4


def test_validity_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="valid"):
        run_script(daily([10_000, 10_000]), {1: keep("o", "buy", valid="day", **FAR)})


def test_order_cancelled_on_its_own_bar_never_fills() -> None:
    ran = run_script(
        daily([10_000, 10_000]), {1: both(keep("o", "buy", size=1), cancel("o"))}
    )
    assert ran.fills == []
    assert ran.states("o") == ["Submitted", "Accepted", "Canceled"]
    assert ran.broker.free_cash() == 10_000_000


def test_order_can_be_cancelled_through_a_clone() -> None:
    session = from_nine(10_000, 10_000, (9_000, 9_000, 8_000, 9_000))
    ran = run_script(
        minutes([session]),
        {1: keep("o", "buy", **FAR), 2: cancel("o", clone=True)},
    )
    assert ran.fills == []
    assert ran.state("o") == "Canceled"


def test_cancelling_an_order_that_ended_changes_nothing() -> None:
    ran = run_script(
        daily([10_000, 10_000, 10_000]),
        {1: keep("o", "buy", size=1), 2: cancel("o")},
    )
    assert ran.states("o") == ["Submitted", "Accepted", "Completed"]


def test_partly_filled_order_keeps_its_part_when_its_session_ends() -> None:
    ran = run_script(
        daily([10_000, (10_000, 10_000, 10_000, 10_000, 30), 10_000, 10_000]),
        {1: keep("o", "buy", size=100)},
        volume_share=0.1,
    )
    assert ran.fills == [(2, 3, 10_000)]
    assert ran.states("o") == ["Submitted", "Accepted", "Partial", "Expired"]
    assert ran.broker.getposition(ran.feeds["000001"]).size == 3
    assert ran.broker.free_cash() == 10_000_000 - 3 * 10_000


def test_order_on_a_resampled_clone_trades_the_feed_behind_it() -> None:
    session = from_nine(*[10_000] * 7)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(KrxBackBroker(cash=CASH))
    feed = CandleFeed(dataname=minutes([session]), name="000001", interval=MINUTE)
    cerebro.adddata(feed)
    cerebro.resampledata(feed, timeframe=bt.TimeFrame.Minutes, compression=5)
    seen = {}

    class OnClone(bt.Strategy):
        def next(self) -> None:
            if not seen:
                self.buy(data=self.data1, size=4)
                seen["at"] = self.data0.datetime.time(0)
            seen["held"] = (
                self.getposition(self.data0).size,
                self.getposition(self.data1).size,
            )

    cerebro.addstrategy(OnClone)
    cerebro.run()
    assert str(seen["at"]) == "09:05:00"
    assert seen["held"] == (4, 4)
