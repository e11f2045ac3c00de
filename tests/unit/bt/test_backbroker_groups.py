"""One-cancels-other pairs and brackets."""

from typing import Any

import pytest
from backtrader import Order

from tests.helpers.market import (
    both,
    cancel,
    daily,
    from_nine,
    keep,
    minutes,
    run_script,
)

STOP = {"exectype": Order.Stop}
LIMIT = {"exectype": Order.Limit}
CALM = (10_000, 10_050, 9_950, 10_000)


def pair(size: int, *, stop: float = 9_700, limit: float = 10_500) -> Any:
    return both(
        keep("stop", "sell", size=size, price=stop, **STOP),
        keep("limit", "sell", size=size, price=limit, oco="stop", **LIMIT),
    )


@pytest.mark.parametrize(
    ("bar", "fill", "states"),
    [
        ((10_000, 10_000, 9_600, 9_700), (3, -5, 9_700), ("Completed", "Canceled")),
        ((10_000, 10_600, 10_000, 10_500), (3, -5, 10_500), ("Canceled", "Completed")),
        # Both prices inside the bar: which came first is unknown; the one made first.
        ((10_000, 10_600, 9_600, 10_000), (3, -5, 9_700), ("Completed", "Canceled")),
    ],
)
def test_full_fill_of_one_leg_cancels_the_other(
    bar: Any, fill: Any, states: tuple[str, str]
) -> None:
    ran = run_script(
        daily([10_000, 10_000, bar, CALM]), {1: keep("in", "buy", size=5), 2: pair(5)}
    )
    assert ran.fills[1:] == [fill]
    assert (ran.state("stop"), ran.state("limit")) == states


def test_pair_promises_its_shares_once() -> None:
    ran = run_script(
        daily([10_000, 10_000, CALM, CALM]),
        {
            1: keep("in", "buy", size=5),
            2: both(pair(5), keep("more", "sell", size=1)),
        },
    )
    assert ran.state("stop") == ran.state("limit") == "Expired"
    assert ran.state("more") == "Rejected"
    assert "0 are held and free" in ran.why("more")


def test_second_pair_for_the_same_shares_is_refused() -> None:
    ran = run_script(
        daily([10_000, 10_000, CALM]),
        {
            1: keep("in", "buy", size=5),
            2: both(
                pair(3),
                keep("stop2", "sell", size=3, price=9_700, **STOP),
                keep("limit2", "sell", size=3, price=10_500, oco="stop2", **LIMIT),
            ),
        },
    )
    assert ran.state("stop2") == ran.state("limit2") == "Rejected"


def test_partial_fill_of_one_leg_leaves_the_other_cut_to_what_is_held() -> None:
    session = from_nine(
        10_000,
        10_000,
        (10_000, 10_500, 10_000, 10_400, 20),  # two shares of the limit leg
        (10_400, 10_400, 9_600, 9_700),
    )
    ran = run_script(
        minutes([session]),
        {1: keep("in", "buy", size=5), 2: pair(5)},
        volume_share=0.1,
    )
    assert ran.fills[1:] == [(3, -2, 10_500), (4, -3, 9_700)]
    assert ran.state("stop") == "Completed"
    assert ran.state("limit") == "Canceled"


def test_partly_filled_pair_sells_no_more_than_it_was_made_for() -> None:
    session = from_nine(
        10_000,
        10_000,
        (10_000, 10_500, 10_000, 10_400, 20),
        (10_400, 10_400, 9_600, 9_700),
    )
    ran = run_script(
        minutes([session]),
        {1: keep("in", "buy", size=50), 2: pair(5)},
        volume_share=0.1,
    )
    assert ran.fills[1:] == [(3, -2, 10_500), (4, -3, 9_700)]


def test_partly_filled_pair_of_buys_buys_no_more_than_it_was_made_for() -> None:
    session = from_nine(
        10_000,
        (10_000, 10_000, 9_900, 9_950, 20),
        (9_950, 10_100, 9_950, 10_100),
    )
    ran = run_script(
        minutes([session]),
        {
            1: both(
                keep("limit", "buy", size=5, price=9_900, **LIMIT),
                keep("stop", "buy", size=5, price=10_100, oco="limit", **STOP),
            )
        },
        volume_share=0.1,
    )
    assert ran.fills == [(2, 2, 9_900), (3, 3, 10_100)]


def test_refused_leg_leaves_the_other_alive() -> None:
    # 13,100 is beyond the upper limit of 13,000.
    ran = run_script(
        daily([10_000, 10_000, (10_000, 10_000, 9_600, 9_700)]),
        {1: keep("in", "buy", size=5), 2: pair(5, limit=13_100)},
    )
    assert ran.state("limit") == "Rejected"
    assert ran.fills[1:] == [(3, -5, 9_700)]


def test_refused_first_leg_leaves_the_second_alive() -> None:
    ran = run_script(
        daily([10_000, 10_000, (10_000, 10_600, 10_000, 10_500)]),
        {
            1: keep("in", "buy", size=5),
            2: both(
                keep("far", "sell", size=5, price=13_100, **LIMIT),
                keep("limit", "sell", size=5, price=10_500, oco="far", **LIMIT),
            ),
        },
    )
    assert ran.state("far") == "Rejected"
    assert ran.fills[1:] == [(3, -5, 10_500)]


def test_cancelling_one_leg_cancels_the_pair() -> None:
    session = from_nine(10_000, 10_000, CALM, (10_000, 10_600, 9_600, 10_000))
    ran = run_script(
        minutes([session]),
        {1: keep("in", "buy", size=5), 2: pair(5), 3: cancel("limit")},
    )
    assert ran.fills[1:] == []
    assert ran.state("stop") == ran.state("limit") == "Canceled"


def test_expired_pair_can_be_renewed() -> None:
    ran = run_script(
        daily([10_000, 10_000, CALM, (10_000, 10_000, 9_600, 9_700)]),
        {1: keep("in", "buy", size=5), 2: pair(5), 3: pair(5)},
    )
    assert ran.fills[1:] == [(4, -5, 9_700)]


# Brackets.


def bracket(
    size: int = 5, *, stop: float = 9_700, limit: float = 10_500, **main: Any
) -> Any:
    """Return the action `Strategy.buy_bracket` does, each order kept by name."""

    def act(strategy: Any) -> None:
        made = strategy.buy_bracket(
            size=size,
            stopprice=stop,
            limitprice=limit,
            **{"exectype": Order.Market, **main},
        )
        strategy.orders.update(zip(("main", "stop", "limit"), made, strict=True))

    return act


def test_bracket_exits_are_not_matched_on_the_bar_that_filled_the_entry() -> None:
    session = from_nine(10_000, (10_000, 10_600, 9_600, 10_000), CALM)
    ran = run_script(minutes([session]), {1: bracket()})
    assert ran.fills == [(2, 5, 10_000)]


@pytest.mark.parametrize(
    ("bar", "fill", "other"),
    [
        ((10_000, 10_000, 9_600, 9_700), (3, -5, 9_700), "limit"),
        ((10_000, 10_600, 10_000, 10_500), (3, -5, 10_500), "stop"),
    ],
)
def test_bracket_exit_cancels_the_other_exit(bar: Any, fill: Any, other: str) -> None:
    ran = run_script(minutes([from_nine(10_000, CALM, bar, CALM)]), {1: bracket()})
    assert ran.fills == [(2, 5, 10_000), fill]
    assert ran.state(other) == "Canceled"


def test_bracket_of_a_daily_strategy_exits_in_the_session_after_the_entry() -> None:
    ran = run_script(
        daily([10_000, CALM, (10_000, 10_000, 9_600, 9_700), CALM]), {1: bracket()}
    )
    assert ran.fills == [(2, 5, 10_000), (3, -5, 9_700)]


def test_bracket_exits_live_for_one_session_after_the_entry() -> None:
    ran = run_script(
        daily([10_000, CALM, CALM, (10_000, 10_000, 9_600, 9_700)]), {1: bracket()}
    )
    assert ran.fills == [(2, 5, 10_000)]
    assert ran.state("stop") == ran.state("limit") == "Expired"


def test_bracket_with_an_unpayable_entry_is_refused_as_a_whole() -> None:
    ran = run_script(daily([10_000, CALM, CALM]), {1: bracket(size=10_000)})
    assert ran.state("main") == "Margin"
    assert ran.state("stop") == ran.state("limit") == "Rejected"
    assert ran.fills == []


@pytest.mark.parametrize("wrong", ["limit", "stop"])
def test_bracket_with_an_exit_that_cannot_be_sent_is_refused_as_a_whole(
    wrong: str,
) -> None:
    prices = {"stop": {"stop": -5.0}, "limit": {"limit": 20_000.0}}[wrong]
    ran = run_script(daily([10_000, CALM, CALM]), {1: bracket(**prices)})
    assert {ran.state(name) for name in ("main", "stop", "limit")} == {"Rejected"}
    assert ran.fills == []
    assert ran.broker.free_cash() == 10_000_000


def test_bracket_entry_that_expires_takes_its_exits_along() -> None:
    ran = run_script(
        daily([10_000, CALM, (8_000, 8_000, 8_000, 8_000)]),
        {1: bracket(exectype=Order.Limit, price=9_000)},
    )
    assert ran.fills == []
    assert ran.state("main") == "Expired"
    assert ran.state("stop") == ran.state("limit") == "Canceled"


def test_exits_guard_the_part_an_expired_entry_bought() -> None:
    ran = run_script(
        daily([10_000, (*CALM, 20), (10_000, 10_000, 9_600, 9_700), CALM]),
        {1: bracket(size=5)},
        volume_share=0.1,
    )
    assert ran.fills == [(2, 2, 10_000), (3, -2, 9_700)]
    assert ran.state("main") == "Expired"
    assert ran.state("limit") == "Canceled"


def test_cancelled_entry_takes_its_exits_along() -> None:
    session = from_nine(10_000, CALM, (9_000, 9_000, 8_900, 9_000))
    ran = run_script(
        minutes([session]),
        {1: bracket(exectype=Order.Limit, price=9_000), 2: cancel("main")},
    )
    assert ran.fills == []
    assert {ran.state(n) for n in ("main", "stop", "limit")} == {"Canceled"}


def test_partly_filled_bracket_exit_leaves_the_other_the_rest() -> None:
    session = from_nine(
        10_000,
        10_000,
        CALM,
        (10_000, 10_500, 10_000, 10_400, 20),
        (10_400, 10_400, 9_600, 9_700),
    )
    ran = run_script(
        minutes([session]),
        {1: keep("in", "buy", size=50), 2: bracket()},
        volume_share=0.1,
    )
    assert ran.fills[2:] == [(4, -2, 10_500), (5, -3, 9_700)]


def test_entry_cancelled_before_its_exits_are_sent_leaves_nothing_waiting() -> None:
    def act(strategy: Any) -> None:
        main = strategy.buy(size=5, transmit=False)
        strategy.cancel(main)
        stop = strategy.sell(size=5, price=9_700, parent=main, transmit=False, **STOP)
        limit = strategy.sell(size=5, price=10_500, parent=main, **LIMIT)
        strategy.orders.update(main=main, stop=stop, limit=limit)

    ran = run_script(daily([10_000, CALM, (10_000, 11_000, 9_000, 10_000)]), {1: act})
    assert ran.fills == []
    assert not any(o.alive() for o in ran.strategy.orders.values())
    assert ran.broker.free_cash() == 10_000_000


def test_exit_of_an_entry_that_ended_is_refused() -> None:
    ran = run_script(
        daily([10_000, CALM, CALM, CALM]),
        {
            1: keep("main", "buy", size=5),
            3: keep("late", "sell", size=5, price=9_700, parent="main", **STOP),
        },
    )
    assert ran.state("late") == "Rejected"


def test_exit_may_join_an_entry_that_already_works() -> None:
    session = from_nine(
        10_000, CALM, (9_000, 9_050, 8_950, 9_000), CALM, (10_000, 10_000, 8_600, 8_700)
    )
    ran = run_script(
        minutes([session]),
        {
            1: keep("main", "buy", size=5, price=9_000, **LIMIT),
            2: keep("stop", "sell", size=5, price=8_700, parent="main", **STOP),
        },
    )
    assert ran.fills == [(3, 5, 9_000), (5, -5, 8_700)]
    assert ran.states("main") == ["Submitted", "Accepted", "Completed"]


def test_leg_smaller_than_what_the_other_filled_is_cancelled() -> None:
    session = from_nine(
        10_000,
        10_000,
        (10_000, 10_500, 10_000, 10_400, 30),
        (10_400, 10_400, 9_600, 9_700),
    )
    ran = run_script(
        minutes([session]),
        {
            1: keep("in", "buy", size=50),
            2: both(
                keep("stop", "sell", size=3, price=9_700, **STOP),
                keep("limit", "sell", size=5, price=10_500, oco="stop", **LIMIT),
            ),
        },
        volume_share=0.1,
    )
    assert ran.fills[1:] == [(3, -3, 10_500)]
    assert ran.state("stop") == "Canceled"
    assert ran.state("limit") == "Expired" or ran.state("limit") == "Partial"
