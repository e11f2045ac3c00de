"""The risk limits as the backtest broker counts them."""

import math
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from backtrader import Order
from hypothesis import given, strategies as st

from kisbt.bt.book import OrderBook
from kisbt.bt.guard import RiskGuard
from kisbt.model.order import Side
from kisbt.orders.risk import RiskLimits
from tests.helpers.market import (
    Action,
    both,
    daily,
    from_nine,
    keep,
    minutes,
    run_script,
)

# The broker needs a session before the first: only then are the limits known.
YESTERDAY = {"15:30": 10_000.0}


def run_minutes(rows: list[Any], script: dict[int, Action], **limits: Any) -> Any:
    """Run a session of `rows`; call 1 is its first minute."""
    later = {call + 1: action for call, action in script.items()}
    return run_script(
        minutes([YESTERDAY, from_nine(*rows)]), later, risk=RiskLimits(**limits)
    )


def test_order_value_is_limited() -> None:
    ran = run_minutes(
        [10_000.0] * 2,
        {1: both(keep("ok", "buy", size=250), keep("big", "buy", size=251))},
        max_order_pct=25,
    )
    assert (ran.state("ok"), ran.state("big")) == ("Completed", "Rejected")
    assert "max_order_pct" in ran.why("big")


def test_value_of_a_limit_order_is_counted_at_its_price() -> None:
    def limit(name: str, price: float) -> Action:
        return keep(name, "buy", size=250, exectype=Order.Limit, price=price)

    ran = run_minutes(
        [10_000.0] * 2,
        {1: both(limit("dear", 10_010), limit("ok", 10_000))},
        max_order_pct=25,
    )
    assert (ran.state("dear"), ran.state("ok")) == ("Rejected", "Completed")


def test_symbol_is_limited_by_what_is_held_and_what_works() -> None:
    ran = run_minutes(
        [10_000.0] * 4,
        {
            1: both(keep("a", "buy", size=200), keep("b", "buy", size=101)),
            2: both(keep("c", "buy", size=100), keep("d", "buy", size=1)),
        },
        max_symbol_pct=30,
    )
    assert [ran.state(n) for n in "abcd"] == [
        "Completed",
        "Rejected",
        "Completed",
        "Rejected",
    ]


def falling_day(*prices: float, buy: int = 700) -> tuple[list[float], dict[int, Any]]:
    """Return minutes and a script that holds `buy` shares from the second minute."""
    script = {1: keep("in", "buy", size=buy)}
    for call in range(3, len(prices) + 1):
        script[call] = keep(f"buy{call}", "buy", size=1)
    return list(prices), script


def test_loss_of_the_day_blocks_entries_while_it_lasts() -> None:
    # 700 shares: 1 % of the price is 0.7 % of the equity. 9,560 is 3.08 % down.
    rows, script = falling_day(10_000, 10_000, 9_580, 9_560, 9_700, 9_700)
    ran = run_minutes(rows, script, max_daily_loss_pct=3)
    assert ran.state("buy3") == "Completed"
    assert ran.state("buy4") == "Rejected"
    assert ran.state("buy5") == "Completed"


def test_twice_the_loss_halts_entries_for_the_session_and_no_longer() -> None:
    # 9,140 is 6.02 % down.
    rows, script = falling_day(10_000, 10_000, 9_140, 9_990, 9_990)
    script = {call + 1: action for call, action in script.items()}
    ran = run_script(
        minutes([YESTERDAY, from_nine(*rows), from_nine(9_990.0, 9_990.0)]),
        {**script, 7: keep("tomorrow", "buy", size=1)},
        risk=RiskLimits(max_daily_loss_pct=3),
    )
    assert ran.state("buy3") == ran.state("buy4") == "Rejected"
    assert "halted" in ran.why("buy4")
    assert ran.state("tomorrow") == "Completed"


def test_exit_passes_every_limit() -> None:
    ran = run_minutes(
        [10_000.0, 10_000.0, 9_000.0, 9_000.0],
        {1: keep("in", "buy", size=700), 3: keep("out", "sell", size=700)},
        max_daily_loss_pct=1,
        max_orders_per_day=1,
        max_orders_per_minute=1,
        max_open_orders=1,
    )
    assert ran.state("out") == "Completed"


def test_orders_of_a_session_are_counted_sales_included() -> None:
    ran = run_minutes(
        [10_000.0] * 5,
        {
            1: keep("a", "buy", size=2),
            2: keep("b", "sell", size=1),
            3: keep("c", "buy", size=1),
            4: keep("d", "buy", size=1),
        },
        max_orders_per_day=3,
    )
    assert [ran.state(n) for n in "abcd"] == ["Completed"] * 3 + ["Rejected"]


def test_orders_are_counted_for_the_session_they_live_in() -> None:
    ran = run_script(
        daily([10_000.0] * 4),
        {
            1: both(keep("a", "buy", size=1), keep("b", "buy", size=1)),
            2: keep("c", "buy", size=1),
        },
        risk=RiskLimits(max_orders_per_day=1),
    )
    assert [ran.state(n) for n in "abc"] == ["Completed", "Rejected", "Completed"]


def test_refused_orders_are_not_counted() -> None:
    ran = run_minutes(
        [10_000.0] * 2,
        {1: both(keep("no", "sell", size=1), keep("a", "buy", size=1))},
        max_orders_per_day=1,
    )
    assert (ran.state("no"), ran.state("a")) == ("Rejected", "Completed")


def test_orders_of_a_minute_are_counted() -> None:
    ran = run_minutes(
        [10_000.0] * 3,
        {
            1: both(keep("a", "buy", size=1), keep("b", "buy", size=1)),
            2: keep("c", "buy", size=1),
        },
        max_orders_per_minute=1,
    )
    assert [ran.state(n) for n in "abc"] == ["Completed", "Rejected", "Completed"]


def test_working_orders_are_counted() -> None:
    def far(name: str) -> Action:
        return keep(name, "buy", size=1, exectype=Order.Limit, price=9_000)

    ran = run_minutes(
        [10_000.0] * 3, {1: far("a"), 2: both(far("b"), far("c"))}, max_open_orders=2
    )
    assert [ran.state(n) for n in "abc"] == ["Accepted", "Accepted", "Rejected"]


def losing_round(call: int) -> dict[int, Action]:
    return {
        call: keep(f"in{call}", "buy", size=1),
        call + 1: keep(f"out{call}", "sell", size=1),
    }


def test_losing_round_trips_in_a_row_pause_the_session() -> None:
    rows = [10_000.0, 10_000.0, 9_990.0, 9_990.0, 9_980.0, 9_980.0, 9_980.0]
    script = {**losing_round(1), **losing_round(3), 5: keep("third", "buy", size=1)}
    ran = run_minutes(rows, script, max_consecutive_losses=2)
    assert ran.state("out3") == "Completed"
    assert ran.state("third") == "Rejected"
    assert "max_consecutive_losses" in ran.why("third")


def test_gain_begins_the_row_of_losses_anew() -> None:
    rows = [10_000.0, 10_000.0, 9_990.0, 9_990.0, 9_999.0, 9_990.0, 9_980.0, 9_980.0]
    rows[4] = 10_050.0
    script = {
        **losing_round(1),
        **losing_round(3),
        **losing_round(5),
        7: keep("last", "buy", size=1),
    }
    ran = run_minutes(rows, script, max_consecutive_losses=2)
    assert ran.state("last") == "Completed"


def test_order_is_limited_by_the_volume_of_twenty_sessions() -> None:
    row = (10_000.0, 10_000.0, 10_000.0, 10_000.0, 1_000.0)
    ran = run_script(
        daily([row] * 24),
        {
            20: keep("unknown", "buy", size=300),
            21: both(keep("ok", "buy", size=10), keep("big", "buy", size=11)),
        },
        risk=RiskLimits(max_adv_pct=1),
    )
    assert ran.state("unknown") == "Completed"
    assert (ran.state("ok"), ran.state("big")) == ("Completed", "Rejected")


def test_bracket_is_checked_by_its_entry_alone() -> None:
    def act(strategy: Any) -> None:
        strategy.orders.update(
            zip(
                ("main", "stop", "limit"),
                strategy.buy_bracket(
                    size=250, exectype=Order.Market, stopprice=9_000, limitprice=11_000
                ),
                strict=True,
            )
        )

    ran = run_minutes([10_000.0] * 3, {1: act}, max_order_pct=25, max_orders_per_day=1)
    assert ran.state("main") == "Completed"
    assert ran.state("stop") == ran.state("limit") == "Accepted"


@pytest.mark.parametrize("rules", ["none"])
def test_without_exchange_rules_there_is_no_guard(rules: str) -> None:
    ran = run_script(
        daily([10_000.0] * 3),
        {1: keep("o", "buy", size=900)},
        rules=rules,
        risk=RiskLimits(max_order_pct=1),
    )
    assert ran.state("o") == "Completed"


PARTS = st.sampled_from([None, 1.0, 9.0, 24.9, 25.0, 25.1])
COUNTS = st.sampled_from([None, 1, 2])


@given(
    limits=st.builds(
        RiskLimits,
        max_order_pct=PARTS,
        max_symbol_pct=PARTS,
        max_daily_loss_pct=st.sampled_from([None, 0.0, 3.0]),
        max_orders_per_day=COUNTS,
        max_orders_per_minute=COUNTS,
        max_consecutive_losses=st.sampled_from([None, None, 1]),
        max_open_orders=st.sampled_from([None, None, 1]),
        max_adv_pct=st.sampled_from([None, None, 1.0]),
    ),
    orders=st.integers(0, 2),
    losses=st.integers(0, 1),
    equity=st.sampled_from([math.nan, -1.0, 0.0, 940_000.0, 990_000.0, 1_000_000.0]),
    quantity=st.integers(1, 40),
    held=st.sampled_from([0, 5, 24]),
    coming=st.booleans(),
)
def test_what_is_clearly_allowed_passes_the_check(
    limits: RiskLimits,
    orders: int,
    losses: int,
    equity: float,
    quantity: int,
    held: int,
    coming: bool,
) -> None:
    guard, today = RiskGuard(limits, 1_000_000.0), date(2024, 1, 2)
    session = today + timedelta(days=coming)
    now = today.toordinal() + 0.5
    guard.begin_bar(now, 1_000_000.0)
    for _order in range(orders):
        guard.count_order(session, now)
    for _loss in range(losses):
        guard.count_round_trip(session, lost=True)
    guard.watch_loss(now, equity)
    about: Any = {
        "session": session,
        "now": now,
        "equity": equity,
        "held": held,
        "book": OrderBook(),
    }
    feed: Any = SimpleNamespace(close=[10_000.0])
    order: Any = SimpleNamespace(side=Side.BUY, quantity=quantity, limit_price=None)
    if guard.clearly_allows(quantity, feed, **about):
        guard.check(order, feed, **about)


def test_the_usual_buy_is_clearly_allowed() -> None:
    guard, session = RiskGuard(RiskLimits(max_order_pct=25), 1e6), date(2024, 1, 2)
    feed: Any = SimpleNamespace(close=[10_000.0])
    allowed = [
        guard.clearly_allows(
            quantity,
            feed,
            session=session,
            now=session.toordinal() + 0.5,
            equity=1e6,
            held=0,
            book=OrderBook(),
        )
        for quantity in (25, 26)
    ]
    assert allowed == [True, False]
