"""What only a live broker meets: races, refusals, late news, gaps, restarts."""

from typing import Any

import backtrader as bt
import pytest

from kisbt.bt.livebroker import LiveBroker
from kisbt.bt.store import FeedState, LiveStore
from kisbt.errors import ConfigError
from kisbt.model.order import OrderType, Side
from tests.helpers.handvenue import Bed, bar, do
from tests.helpers.market import both, cancel, keep

STOP, LIMIT = bt.Order.Stop, bt.Order.Limit


def test_an_order_goes_to_the_desk_at_once_and_is_accepted_by_it() -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=3, reason="why")},
        bar(1000),
        lambda bed: bed.accept(),
        bar(1001),
    )
    plan = bed.plans[0]
    assert (plan.side, plan.quantity, plan.order_type) == (
        Side.BUY,
        3,
        OrderType.MARKET,
    )
    assert (plan.number, plan.reason, plan.last_price) == (1, "why", 1000.0)
    assert plan.session == plan.bar.date()
    assert bed.states("buy") == ["Submitted", "Accepted"]


def test_a_fill_is_booked_at_the_desks_costs_and_heard_once() -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=3)},
        bar(1000),
        do(lambda bed: bed.accept(), lambda bed: bed.fill(1, 2, 1001.0, commission=7)),
        bar(1002),
        lambda bed: bed.fill(1, 1, 1003.0, commission=1),
        bar(1004),
    )
    assert bed.states("buy") == ["Submitted", "Accepted", "Partial", "Completed"]
    assert bed.broker.getcash() == 10_000_000 - 3005 - 8
    assert bed.broker.getposition(bed.strategy.data).price == pytest.approx(3005 / 3)
    fills = bed.broker.recorder.fills
    assert [(f.quantity, f.commission, f.tax) for f in fills] == [(2, 7, 0), (1, 1, 0)]
    assert fills[0].at == fills[0].at.replace(hour=9, minute=1)
    assert bed.heard == bed.sequence


def test_a_fill_before_the_acknowledgement_is_booked() -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=3)},
        bar(1000),
        do(lambda bed: bed.fill(1, 3, 1001.0), lambda bed: bed.accept()),
        bar(1002),
    )
    assert bed.states("buy") == ["Submitted", "Completed"]
    assert bed.size() == 3


def test_a_real_fill_is_never_refused_for_cash() -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=3)},
        bar(1000),
        lambda bed: bed.fill(1, 3, 2000.0, commission=5),
        bar(1002),
        cash=4_000.0,
    )
    assert bed.size() == 3
    assert bed.broker.getcash() == 4_000 - 6_005


def test_a_correction_moves_cash_and_average_and_no_shares() -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=4)},
        bar(1000),
        lambda bed: bed.fill(1, 4, 1000.0),
        lambda bed: bed.correct(1, -8),
        bar(1002),
    )
    assert bed.broker.getcash() == 10_000_000 - 4_008
    assert bed.broker.getposition(bed.strategy.data).price == 1002.0
    assert bed.size() == 4


@pytest.mark.parametrize(("rule", "state"), [("cash", "Margin"), ("", "Rejected")])
def test_a_refusal_of_the_exchange_ends_the_order(rule: str, state: str) -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=4)},
        bar(1000),
        lambda bed: bed.end(1, "refused", rule=rule, reason="not today"),
        bar(1002),
    )
    assert bed.states("buy") == ["Submitted", state]
    assert bed.broker.free_cash() == 10_000_000
    assert bed.broker.recorder.orders[0].end_reason == "not today"


def test_an_order_that_cannot_be_written_down_is_rejected() -> None:
    bed = Bed()
    bed.broken = True
    bed.run({1: keep("buy", "buy", size=4)}, bar(1000), bar(1002))
    assert bed.states("buy") == ["Submitted", "Rejected"]
    assert "disk" in bed.broker.recorder.orders[0].end_reason


# Cancellations.


def test_a_cancelled_order_lives_until_the_exchange_says_so() -> None:
    alive: list[bool] = []
    bed = Bed().run(
        {
            1: keep("buy", "buy", size=4, exectype=LIMIT, price=990),
            2: cancel("buy"),
            3: lambda s: alive.append(s.orders["buy"].alive()),
            4: lambda s: alive.append(s.orders["buy"].alive()),
        },
        bar(1000),
        lambda bed: bed.accept(),
        bar(1001),
        bar(1002),
        lambda bed: bed.end(1, "cancelled"),
        bar(1003),
    )
    assert alive == [True, False]
    assert bed.cancels == [1]
    assert bed.states("buy") == ["Submitted", "Accepted", "Canceled"]


def test_an_order_may_fill_while_it_is_cancelled() -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=4, exectype=LIMIT, price=990), 2: cancel("buy")},
        bar(1000),
        lambda bed: bed.accept(),
        bar(1001),
        lambda bed: bed.fill(1, 4, 990.0),
        bar(1002),
    )
    assert bed.states("buy") == ["Submitted", "Accepted", "Completed"]
    assert bed.size() == 4


def test_a_fill_told_after_the_cancellation_is_booked_all_the_same() -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=4, exectype=LIMIT, price=990), 2: cancel("buy")},
        bar(1000),
        lambda bed: bed.accept(),
        bar(1001),
        lambda bed: bed.end(1, "cancelled"),
        bar(1002),
        lambda bed: bed.fill(1, 3, 990.0),
        bar(1003),
    )
    assert bed.size() == 3
    assert bed.broker.getcash() == 10_000_000 - 3 * 990
    assert bed.states("buy")[-1] == "Canceled"
    assert not bed.strategy.orders["buy"].alive()


def test_a_cancellation_is_asked_for_once() -> None:
    bed = Bed().run(
        {
            1: keep("buy", "buy", size=4, exectype=LIMIT, price=990),
            2: cancel("buy"),
            3: cancel("buy", clone=True),
        },
        bar(1000),
        bar(1001),
        bar(1002),
    )
    assert bed.cancels == [1]


def test_what_needs_the_shares_of_a_cancelled_order_waits_for_its_end() -> None:
    seen: list[int] = []
    bed = Bed().run(
        {
            1: keep("buy", "buy", size=4),
            2: keep("limit", "sell", size=4, exectype=LIMIT, price=1100),
            3: both(cancel("limit"), keep("sale", "sell", size=4)),
        },
        bar(1000),
        lambda bed: bed.fill(1, 4, 1000.0),
        bar(1001),
        lambda bed: bed.accept(2),
        bar(1002),
        lambda bed: seen.append(len(bed.plans)),
        lambda bed: bed.fill(2, 1, 1100.0),
        lambda bed: bed.end(2, "cancelled"),
        lambda bed: seen.append(len(bed.plans)),
        bar(1003),
    )
    assert seen == [2, 3]
    assert bed.plans[2].quantity == 3  # one share was sold by the limit order
    assert bed.states("limit")[-1] == "Canceled"


# Stops and groups.


def _pair(strategy: Any) -> None:
    keep("stop", "sell", size=4, exectype=STOP, price=950)(strategy)
    keep("limit", "sell", size=4, exectype=LIMIT, price=1100, oco="stop")(strategy)


PAIR = {1: keep("buy", "buy", size=4), 2: _pair}


def _with_pair(*steps: Any, **how: Any) -> Bed:
    return Bed().run(
        PAIR,
        bar(1000),
        lambda bed: bed.fill(1, 4, 1000.0),
        bar(1001),
        lambda bed: bed.accept(2),
        *steps,
        **how,
    )


def test_a_stop_stays_here_and_one_leg_works_at_the_exchange() -> None:
    bed = _with_pair(bar(1002))
    assert [plan.order_type for plan in bed.plans] == [
        OrderType.MARKET,
        OrderType.LIMIT,
    ]
    assert bed.states("stop") == ["Submitted", "Accepted"]
    assert bed.store.watched == {"000001"}


def test_a_touched_stop_goes_only_when_the_other_leg_is_back() -> None:
    counts: list[int] = []

    def count(bed: Bed) -> None:
        counts.append(len(bed.plans))

    bed = _with_pair(
        lambda bed: bed.trade(949),
        count,
        lambda bed: bed.fill(2, 1, 1100.0),
        lambda bed: bed.end(2, "cancelled"),
        count,
        lambda bed: bed.fill(3, 3, 948.0),
        bar(948),
    )
    assert counts == [2, 3]
    assert bed.cancels == [2]
    sent = bed.plans[2]
    assert (sent.order_type, sent.quantity, sent.stop_price) == (
        OrderType.MARKET,
        3,
        950,
    )
    assert bed.states("stop")[-1] == "Completed"
    assert bed.states("limit")[-1] == "Canceled"
    assert bed.size() == 0


def test_the_other_leg_may_fill_before_it_is_back() -> None:
    bed = _with_pair(
        lambda bed: bed.trade(949),
        lambda bed: bed.fill(2, 4, 1100.0),
        bar(1100),
    )
    assert len(bed.plans) == 2
    assert bed.states("limit")[-1] == "Completed"
    assert bed.states("stop")[-1] == "Canceled"


def test_a_leg_goes_back_when_the_stop_was_refused() -> None:
    bed = _with_pair(
        lambda bed: bed.trade(949),
        lambda bed: bed.end(2, "cancelled"),
        lambda bed: bed.end(3, "refused", reason="halted"),
        bar(960),
    )
    assert bed.states("stop")[-1] == "Rejected"
    assert [plan.order_type for plan in bed.plans[2:]] == [
        OrderType.MARKET,
        OrderType.LIMIT,
    ]
    assert bed.strategy.orders["limit"].alive()


def test_cancelling_one_leg_ends_the_group_before_anything_is_released() -> None:
    script = {**PAIR, 3: cancel("limit")}
    bed = Bed().run(
        script,
        bar(1000),
        lambda bed: bed.fill(1, 4, 1000.0),
        bar(1001),
        lambda bed: bed.accept(2),
        bar(1002),
        lambda bed: bed.trade(900),
        lambda bed: bed.end(2, "cancelled"),
        bar(1003),
    )
    assert len(bed.plans) == 2
    assert bed.states("stop")[-1] == bed.states("limit")[-1] == "Canceled"


def test_a_bar_releases_a_stop_whose_trades_were_missed() -> None:
    seen: list[int] = []
    Bed().run(
        {
            1: keep("buy", "buy", size=4),
            2: keep("stop", "sell", size=4, exectype=STOP, price=950),
        },
        bar(1000),
        lambda bed: bed.fill(1, 4, 1000.0),
        bar(1001, low=900),  # the bar on which it is made does not count
        bar(990, low=960),
        lambda bed: seen.append(len(bed.plans)),
        bar(960, low=940),
        lambda bed: seen.append(len(bed.plans)),
    )
    assert seen == [1, 2]


def test_a_released_stop_is_a_limit_order_when_market_orders_are_protected() -> None:
    bed = Bed().run(
        {1: keep("stop", "buy", size=4, exectype=STOP, price=1010)},
        bar(1000),
        lambda bed: bed.trade(1011),
        bar(1011),
        market_orders="protected",
    )
    assert bed.plans[0].order_type is OrderType.LIMIT
    assert bed.plans[0].limit_price == 1030


# Bars.


def test_the_strategy_is_not_called_on_bars_that_fill_a_gap() -> None:
    bed = Bed().run(
        {},
        bar(1000),
        lambda bed: bed.store.announce(FeedState.BROKEN),
        bar(1001, live=False),
        bar(1002, live=False),
        lambda bed: bed.store.announce(FeedState.LIVE),
        bar(1003),
    )
    assert [call.minute for call in bed.strategy.calls] == [1, 4]
    assert len(bed.strategy.data) == 5  # a stored one, and four
    assert len(bed.broker.recorder.times) == 2


def test_a_candle_told_twice_is_one_bar() -> None:
    def again(bed: Bed) -> None:
        bed.minute -= 1
        bed.bar(2000)

    bed = Bed().run({}, bar(1000), again, bar(1001))
    assert [call.minute for call in bed.strategy.calls] == [1, 2]
    assert bed.strategy.data.dropped == 1


def test_the_day_before_is_the_reference_of_the_price_limits() -> None:
    bed = Bed().run({}, bar(1000), bar(1100))
    feed = bed.strategy.data
    assert feed.reference_close(1) == feed.reference_close(2) == 1000.0
    assert len(feed.candles) == 3
    assert feed.candles.close.tolist() == [1000.0, 1000.0, 1100.0]


def test_the_heart_beats_in_every_pass() -> None:
    beats: list[int] = []
    bed = Bed()
    bed.store.heartbeat = lambda: beats.append(1)
    bed.run({}, bar(1000), lambda bed: None, bar(1001))
    assert len(beats) >= 4


def test_plain_rules_are_for_backtests() -> None:
    with pytest.raises(ConfigError, match="backtests"):
        LiveBroker(venue=Bed(), store=LiveStore(), rules="none")
