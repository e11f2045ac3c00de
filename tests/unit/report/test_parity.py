"""Differences of a run and its backtest, made one at a time by hand."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from kisbt.clock import KST
from kisbt.model.candle import Candle
from kisbt.model.liverun import (
    CandleChange,
    CandleEvent,
    Heard,
    Incident,
    IncidentKind,
    OrderEvent,
)
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import FillRow, OrderRow, RunResult, TradeRow
from kisbt.report.livefiles import LiveRun
from kisbt.report.parity import find_differences
from kisbt.report.parity_values import Cause, Evidence, Parity, Replayed, order_keys
from tests.helpers.small_run import run_of

MADE = datetime(2025, 11, 3, 9, 30, tzinfo=KST)
NEXT = MADE + timedelta(minutes=1)
LATER = MADE + timedelta(minutes=2)
CODE = "990001"
CASH = 1_000_000.0
RATE = 0.001
MARK = 10_100.0


def an_order(ref: int = 1, **changes: Any) -> OrderRow:
    values: dict[str, Any] = {
        "ref": ref,
        "created": MADE,
        "symbol": CODE,
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "quantity": 10,
        "limit_price": None,
        "stop_price": None,
        "state": OrderState.FILLED,
        "reason": "signal",
        "filled_quantity": 10,
        "average_price": 10_000.0,
        "confirmed_by": "rest",
    }
    return OrderRow(**values | changes)


def a_fill(
    price: float = 10_000.0,
    quantity: int = 10,
    *,
    bar: datetime = NEXT,
    ref: int = 1,
    side: Side = Side.BUY,
    fee: float | None = None,
) -> FillRow:
    return FillRow(
        time=bar,
        bar=bar,
        symbol=CODE,
        side=side,
        quantity=quantity,
        price=price,
        commission=price * quantity * RATE if fee is None else fee,
        tax=0.0,
        slippage=0.0,
        order_ref=ref,
    )


def a_run(
    orders: tuple[OrderRow, ...],
    fills: tuple[FillRow, ...],
    *,
    cash_moved: float = 0.0,
    trades: tuple[TradeRow, ...] = (),
) -> RunResult:
    """Return a run whose cash follows from its fills, but for `cash_moved`."""
    cash, shares = CASH + cash_moved, 0
    for fill in fills:
        sign = 1 if fill.side is Side.BUY else -1
        cash -= sign * fill.quantity * fill.price + fill.commission + fill.tax
        shares += sign * fill.quantity
    held = shares * MARK
    filled = {order.ref: 0 for order in orders}
    for fill in fills:
        filled[fill.order_ref] += fill.quantity
    orders = tuple(replace(o, filled_quantity=filled[o.ref]) for o in orders)
    return run_of(
        [cash + held],
        held=[held],
        start=CASH,
        orders=orders,
        fills=fills,
        trades=trades,
        ended="2025-11-03T15:30:00+09:00",
    )


def a_candle(_symbol: str, bar: datetime) -> Candle:
    return Candle(
        end=bar, open=10_000, high=10_150, low=9_950, close=10_100, volume=500
    )


def replayed(
    orders: tuple[OrderRow, ...],
    expected: tuple[FillRow, ...],
    *,
    run_orders: tuple[OrderRow, ...] | None = None,
    refused: frozenset[int] = frozenset(),
    ended: frozenset[int] = frozenset(),
) -> Replayed:
    """Return the replay of a strategy that made `orders`."""
    known = order_keys(orders if run_orders is None else run_orders)
    refs = {
        order.ref: known[key].ref if key in known else None
        for key, order in order_keys(orders).items()
    }
    made = set(refs.values())
    return Replayed(
        orders=orders,
        run_refs=refs,
        missed=frozenset(o.ref for o in known.values() if o.ref not in made),
        refused=refused,
        ended=ended,
        expected=expected,
    )


def compared(
    run: RunResult,
    backtest: RunResult,
    replay: Replayed | None,
    live: LiveRun | None = None,
    *,
    reach: float = 0.0,
) -> Parity:
    live = live or LiveRun()
    if not any(event.kind is Heard.FILLED for event in live.order_events):
        booked = tuple(booking(fill) for fill in run.fills)
        live = replace(live, order_events=(*live.order_events, *booked))
    return find_differences(
        Evidence(
            run=run,
            live=live,
            backtest=backtest,
            replayed=replay,
            candle_at=a_candle,
            marks={CODE: MARK},
            fees_of=lambda fill: fill.quantity * fill.price * RATE,
            reach_of=lambda _fill: reach,
        )
    )


def booking(fill: FillRow, **changes: Any) -> OrderEvent:
    """Return the journal's word on a fill, at the configured fees."""
    values: dict[str, Any] = {
        "order_ref": fill.order_ref,
        "quantity": fill.quantity,
        "price": fill.price,
        "commission": fill.quantity * fill.price * RATE,
        "bar": fill.bar,
        "at": fill.time,
    }
    return told(Heard.FILLED, **values | changes)


def of_one_order(
    order: OrderRow,
    fills: tuple[FillRow, ...],
    expected: tuple[FillRow, ...] = (a_fill(),),
    *,
    live: LiveRun | None = None,
    ended: bool = False,
) -> Parity:
    """Compare a run of one order with a backtest in which `expected` was filled."""
    run = a_run((order,), fills)
    backtest = a_run((an_order(),), expected)
    ends = frozenset({order.ref} if ended else ())
    return compared(run, backtest, replayed((order,), expected, ended=ends), live)


def told(kind: Heard, **changes: Any) -> OrderEvent:
    values: dict[str, Any] = {
        "sequence": 1,
        "at": MADE + timedelta(seconds=2),
        "bar": NEXT,
        "order_ref": 1,
        "kind": kind,
    }
    return OrderEvent(**values | changes)


def test_the_same_run_has_no_difference() -> None:
    order, fill = an_order(), a_fill()
    found = compared(a_run((order,), (fill,)), a_run((order,), (fill,)), None)
    assert found.same
    assert found.explained
    assert found.orders == found.fills == (1, 1, 1)
    assert found.total_cost == 0


def test_a_bar_that_only_filled_a_gap_is_no_difference_of_its_own() -> None:
    bars = [MADE, NEXT, LATER]
    times = np.array([bar.replace(tzinfo=None) for bar in bars], "datetime64[s]")
    backtest = run_of([CASH] * 3, start=CASH, time=times)
    run = run_of([CASH] * 2, start=CASH, time=times[[0, 2]])
    assert compared(run, backtest, None, LiveRun(held_bars=(NEXT,))).same
    assert not compared(run, backtest, None, LiveRun()).same
    worse = run_of([CASH, CASH - 1], start=CASH, time=times[[0, 2]])
    assert not compared(worse, backtest, None, LiveRun(held_bars=(NEXT,))).same


def test_a_worse_price_inside_the_bar_is_slippage() -> None:
    order = an_order(average_price=10_050.0)
    found = of_one_order(order, (a_fill(10_050.0),))
    (difference,) = found.differences
    assert difference.cause is Cause.SLIPPAGE
    # 50 won a share and the commission on them.
    assert difference.cost == pytest.approx(500 + 0.5)
    assert found.total_cost == pytest.approx(500.5)
    assert found.followed == pytest.approx(0)
    assert not found.same
    assert found.explained


def test_a_better_price_is_a_gain() -> None:
    found = of_one_order(an_order(average_price=9_950.0), (a_fill(9_950.0),))
    assert found.differences[0].cost == pytest.approx(-500.5)


def test_a_price_the_bar_never_had_is_unexplained() -> None:
    found = of_one_order(an_order(average_price=11_000.0), (a_fill(11_000.0),))
    assert [d.cause for d in found.differences] == [Cause.UNEXPLAINED]
    assert not found.explained


@pytest.mark.parametrize(
    ("reach", "cause"), [(100.0, Cause.SLIPPAGE), (99.0, Cause.UNEXPLAINED)]
)
def test_a_price_a_step_off_the_trades_is_slippage(reach: float, cause: Cause) -> None:
    order, fill = an_order(average_price=10_250.0), a_fill(10_250.0)
    found = compared(
        a_run((order,), (fill,)),
        a_run((an_order(),), (a_fill(),)),
        replayed((order,), (a_fill(),)),
        reach=reach,
    )
    assert [d.cause for d in found.differences] == [cause]


def test_a_price_outside_the_bar_is_explained_by_its_revision() -> None:
    event = CandleEvent(
        at=LATER,
        kind=CandleChange.REVISED,
        symbol=CODE,
        bar=NEXT,
        open=10_000,
        high=10_150,
        low=9_950,
        close=10_100,
        volume=500,
        true_open=10_000,
        true_high=11_000,
        true_low=9_950,
        true_close=10_100,
        true_volume=520,
    )
    order = an_order(average_price=11_000.0)
    found = of_one_order(
        order, (a_fill(11_000.0),), live=LiveRun(candle_events=(event,))
    )
    (difference,) = found.differences
    assert difference.cause is Cause.CANDLE_REVISED
    assert difference.note == "09:31 high 10,150 → 11,000, volume 500 → 520"


def test_a_refusal_says_whose_words() -> None:
    order = an_order(
        state=OrderState.REFUSED,
        filled_quantity=0,
        average_price=None,
        reject_reason="APBK0919 주문가능금액 초과",
    )
    found = of_one_order(order, (), ended=True)
    (difference,) = found.differences
    assert difference.cause is Cause.REFUSED
    assert difference.note == "APBK0919 주문가능금액 초과"
    # Ten shares not bought at 10,000 which are worth 10,100, less the commission.
    assert difference.cost == pytest.approx(1_000 - 100)


def test_a_refusal_without_a_reason_is_unexplained() -> None:
    order = an_order(state=OrderState.REFUSED, filled_quantity=0, average_price=None)
    found = of_one_order(order, (), ended=True)
    assert not found.explained


def test_a_refused_order_that_would_not_have_filled_is_named_all_the_same() -> None:
    order = an_order(
        type=OrderType.LIMIT,
        limit_price=9_000.0,
        state=OrderState.REFUSED,
        filled_quantity=0,
        average_price=None,
        reject_reason="no",
    )
    found = of_one_order(order, (), (), ended=True)
    assert [(d.cause, d.cost) for d in found.differences] == [(Cause.REFUSED, 0.0)]


@pytest.mark.parametrize(
    ("outcome", "incident", "cause"),
    [
        ("not_sent", None, Cause.NOT_SENT),
        ("refused", IncidentKind.HALT, Cause.HALT),
        ("refused", IncidentKind.PAUSE, Cause.PAUSE),
        ("cancelled", IncidentKind.HALT, Cause.HALT),
        ("cancelled", IncidentKind.EXTERNAL_ORDER, Cause.EXTERNAL),
        ("cancelled", None, Cause.CANCELLED),
    ],
)
def test_an_early_end_is_named_by_what_ended_it(
    outcome: str, incident: IncidentKind | None, cause: Cause
) -> None:
    order = an_order(state=OrderState.CANCELLED, filled_quantity=0, average_price=None)
    end = told(Heard.ENDED, outcome=outcome, reason="said so")
    incidents = () if incident is None else (Incident(kind=incident, at=MADE),)
    live = LiveRun(order_events=(end,), incidents=incidents)
    found = of_one_order(order, (), live=live, ended=True)
    assert [d.cause for d in found.differences] == [cause]


def test_fewer_shares_are_a_partial_fill() -> None:
    order = an_order(state=OrderState.EXPIRED, filled_quantity=4)
    found = of_one_order(order, (a_fill(quantity=4),))
    (difference,) = found.differences
    assert difference.cause is Cause.PARTIAL
    assert difference.cost == pytest.approx(6 * (100 - 10))


def test_another_bar_is_latency() -> None:
    order = an_order(average_price=10_000.0)
    taken = told(Heard.ACCEPTED, at=MADE + timedelta(seconds=70))
    live = LiveRun(order_events=(taken,))
    found = of_one_order(order, (a_fill(bar=LATER),), live=live)
    (difference,) = found.differences
    assert difference.cause is Cause.LATENCY
    assert difference.note == "taken at 2025-11-03 09:31:10"
    assert difference.cost == 0


def test_other_fees_are_a_difference_of_their_own() -> None:
    order = an_order(average_price=10_050.0)
    fill = a_fill(10_050.0, fee=300.5)
    booked = told(Heard.FILLED, quantity=10, price=10_050.0, commission=300.5)
    found = of_one_order(order, (fill,), live=LiveRun(order_events=(booked,)))
    by_cause = {d.cause: d.cost for d in found.differences}
    assert by_cause == {
        Cause.FEE: pytest.approx(200),
        Cause.SLIPPAGE: pytest.approx(500.5),
    }


def test_fees_that_the_journal_did_not_book_are_unexplained() -> None:
    found = of_one_order(an_order(), (a_fill(fee=300.0),))
    assert [d.cause for d in found.differences] == [Cause.UNEXPLAINED]


def test_a_fill_in_pieces_is_no_difference() -> None:
    pieces = (a_fill(quantity=4), a_fill(quantity=6))
    found = of_one_order(an_order(), pieces)
    assert found.same
    assert found.fills == (1, 1, 1)


def test_a_limit_only_touched_may_stay_unfilled() -> None:
    order = an_order(
        type=OrderType.LIMIT,
        limit_price=9_950.0,
        state=OrderState.EXPIRED,
        filled_quantity=0,
        average_price=None,
    )
    found = of_one_order(order, (), (a_fill(9_950.0),))
    assert [d.cause for d in found.differences] == [Cause.NOT_FILLED]


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.MARKET])
def test_an_order_the_market_passed_must_fill(kind: OrderType) -> None:
    order = an_order(
        type=kind,
        limit_price=10_000.0 if kind is OrderType.LIMIT else None,
        state=OrderState.EXPIRED,
        filled_quantity=0,
        average_price=None,
    )
    found = of_one_order(order, ())
    assert [d.cause for d in found.differences] == [Cause.UNEXPLAINED]


def decided_alone(
    live: LiveRun, *, in_run: bool, backtest: RunResult | None = None
) -> Parity:
    """Compare where one of the two made an order that the other did not."""
    order, fill = an_order(), a_fill()
    run = a_run((order,), (fill,)) if in_run else a_run((), ())
    other = backtest or (a_run((), ()) if in_run else a_run((order,), (fill,)))
    replay = replayed(
        () if in_run else (order,), (), run_orders=(order,) if in_run else ()
    )
    return compared(run, other, replay, live)


@pytest.mark.parametrize("in_run", [True, False])
def test_another_decision_is_unexplained(in_run: bool) -> None:
    found = decided_alone(LiveRun(), in_run=in_run)
    (difference,) = found.differences
    assert difference.cause is Cause.UNEXPLAINED
    sign = -1 if in_run else 1
    assert difference.cost == pytest.approx(sign * (1_000 - 100))
    assert found.total_cost == pytest.approx(difference.cost)


@pytest.mark.parametrize(
    ("incident", "cause"),
    [
        (IncidentKind.RESTART, Cause.RESTART),
        (IncidentKind.DISCONNECT, Cause.DISCONNECT),
        (IncidentKind.ADJUSTMENT, Cause.ADJUSTMENT),
        (IncidentKind.HALT, Cause.UNEXPLAINED),
    ],
)
def test_an_incident_may_excuse_a_decision(
    incident: IncidentKind, cause: Cause
) -> None:
    live = LiveRun(incidents=(Incident(kind=incident, at=MADE, until=MADE),))
    assert decided_alone(live, in_run=False).differences[0].cause is cause


def test_an_incident_excuses_no_other_time_or_symbol() -> None:
    over = Incident(
        kind=IncidentKind.RESTART,
        at=MADE - timedelta(minutes=9),
        until=MADE - timedelta(minutes=1),
    )
    other = Incident(kind=IncidentKind.RESTART, at=MADE, symbol="990002")
    for incident in (over, other):
        live = LiveRun(incidents=(incident,))
        assert not decided_alone(live, in_run=False).explained


def test_a_late_candle_excuses_a_decision_and_a_revised_one_does_not() -> None:
    causes = []
    for kind in (CandleChange.LATE, CandleChange.GAP, CandleChange.REVISED):
        event = CandleEvent(at=LATER, kind=kind, symbol="990002", bar=MADE)
        live = LiveRun(candle_events=(event,))
        causes.append(decided_alone(live, in_run=False).differences[0].cause)
    assert causes == [Cause.CANDLE_LATE, Cause.CANDLE_GAP, Cause.UNEXPLAINED]


def test_a_bar_on_which_the_strategy_was_held_back_is_named() -> None:
    order, fill = an_order(), a_fill()
    event = CandleEvent(at=LATER, kind=CandleChange.LATE, symbol=CODE, bar=MADE)
    live = LiveRun(candle_events=(event,), held_bars=(MADE,))
    found = compared(
        a_run((), ()), a_run((order,), (fill,)), replayed((), (), run_orders=()), live
    )
    assert [d.cause for d in found.differences] == [Cause.CANDLE_LATE]
    assert found.followed == pytest.approx(0)


def test_the_same_order_with_another_quantity_is_another_decision() -> None:
    made = an_order(quantity=9, filled_quantity=9)
    run = a_run((made,), (a_fill(quantity=9),))
    backtest = a_run((an_order(),), (a_fill(),))
    replay = replayed((an_order(),), (a_fill(quantity=9),), run_orders=(made,))
    found = compared(run, backtest, replay)
    assert [d.cause for d in found.differences] == [Cause.UNEXPLAINED]
    assert found.differences[0].expected is not None
    assert found.differences[0].expected.asked == 10


def test_an_order_its_own_rules_refused_is_no_difference() -> None:
    made = an_order(state=OrderState.REFUSED, filled_quantity=0, average_price=None)
    other = an_order(2, created=NEXT)
    run = a_run((made,), ())
    backtest = a_run((made, other), (a_fill(bar=LATER, ref=2),))
    replay = replayed((made, other), (), run_orders=(made,), refused=frozenset({1}))
    found = compared(run, backtest, replay)
    assert [d.order_ref for d in found.differences] == [None]


def test_what_followed_is_the_rest_of_the_money() -> None:
    order = an_order(average_price=10_050.0)
    second = an_order(2, created=NEXT)
    run = a_run((order,), (a_fill(10_050.0),))
    # The backtest, richer by the slippage, bought once more.
    backtest = a_run(
        (an_order(), second), (a_fill(), a_fill(10_000.0, bar=LATER, ref=2))
    )
    found = compared(run, backtest, replayed((order,), (a_fill(),)))
    assert found.costs == {Cause.SLIPPAGE: pytest.approx(500.5)}
    assert found.followed == pytest.approx(1_000 - 100)
    assert found.total_cost == pytest.approx(500.5 + 900)


@pytest.mark.parametrize(
    ("order", "fills", "told_quantity"),
    [
        (an_order(), (a_fill(),), 9),
        (an_order(), (), 10),
        (an_order(), (a_fill(),), 0),
    ],
)
def test_files_that_disagree_are_found_out(
    order: OrderRow, fills: tuple[FillRow, ...], told_quantity: int
) -> None:
    event = booking(a_fill(), quantity=told_quantity)
    live = LiveRun(order_events=(event,))
    backtest = a_run((order,), fills)
    found = compared(backtest, backtest, replayed((order,), fills), live)
    assert [d.cause for d in found.differences] == [Cause.UNEXPLAINED]
    assert "order 1" in found.differences[0].note
    assert not found.same


def test_an_order_that_only_events_know_is_found_out() -> None:
    live = LiveRun(order_events=(booking(a_fill()),))
    empty = a_run((), ())
    replay = replace(replayed((), ()), missed=frozenset({1}))
    found = compared(empty, empty, replay, live)
    assert [d.order_ref for d in found.differences] == [1]
    assert not found.explained


def test_a_correction_is_named_with_its_won() -> None:
    event = told(Heard.CORRECTED, amount=-120.0, reason="average was 10,012")
    order, fill = an_order(), a_fill()
    run = a_run((order,), (fill,), cash_moved=-120.0)
    found = compared(
        run,
        a_run((order,), (fill,)),
        replayed((order,), (fill,)),
        LiveRun(order_events=(event,)),
    )
    assert [(d.cause, d.cost) for d in found.differences] == [(Cause.CORRECTION, 120.0)]
    assert found.followed == pytest.approx(0)


@pytest.mark.parametrize("by_hand", [True, False])
def test_cash_that_no_fill_accounts_for_is_found(by_hand: bool) -> None:
    order, fill = an_order(), a_fill()
    run = a_run((order,), (fill,), cash_moved=-5_000.0)
    adjusted = Incident(kind=IncidentKind.ADJUSTMENT, at=NEXT, note="capital")
    found = compared(
        run,
        a_run((order,), (fill,)),
        replayed((order,), (fill,)),
        LiveRun(incidents=(adjusted,) if by_hand else ()),
    )
    (difference,) = found.differences
    assert difference.cause is (Cause.ADJUSTMENT if by_hand else Cause.UNEXPLAINED)
    assert difference.cost == pytest.approx(5_000)


def test_equity_alone_cannot_differ_unseen() -> None:
    order, fill = an_order(), a_fill()
    run, backtest = a_run((order,), (fill,)), a_run((order,), (fill,))
    marked = replace(
        backtest.equity, positions_value=backtest.equity.positions_value + 700.0
    )
    found = compared(run, replace(backtest, equity=marked), replayed((order,), (fill,)))
    assert [(d.cause, d.cost) for d in found.differences] == [(Cause.UNEXPLAINED, 700)]
