"""A strategy told again what it was told, and what the market would have done."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kisbt.app.backtest import Backtest, build_cerebro, finish, run_cerebro
from kisbt.app.prepare import Prepared, prepare
from kisbt.bt.replay import Prompter, ReplayBroker, Script
from kisbt.bt.result import Times, execution_rows
from kisbt.clock import KST
from kisbt.config.load import load_config
from kisbt.model.liverun import Heard, OrderEvent
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import FillRow

ROOT = Path(__file__).parents[3]
SHARED = {
    "report.benchmark": None,
    "risk.max_daily_loss_pct": None,
    "data.from": "2025-12-29",
}


def prepared(**overrides: Any) -> Prepared:
    return prepare(
        load_config(
            ROOT / "configs" / "ma_rsi_bollinger_1m.yaml",
            overrides={**SHARED, **overrides},
        )
    )


@pytest.fixture(scope="module", params=["on_close", "orders"])
def setting(request: pytest.FixtureRequest) -> Prepared:
    """The house strategy, with market exits and with stop and limit pairs."""
    return prepared(**{"strategy.params.exits": request.param})


def backtested(setting: Prepared) -> Backtest:
    cerebro, feeds = build_cerebro(setting)
    return finish(setting, cerebro, feeds, run_cerebro(cerebro))


def heard(fills: Iterable[FillRow]) -> tuple[OrderEvent, ...]:
    return tuple(
        OrderEvent(
            sequence=number,
            at=fill.time,
            bar=fill.bar,
            order_ref=fill.order_ref,
            kind=Heard.FILLED,
            quantity=fill.quantity,
            price=fill.price,
            commission=fill.commission,
            tax=fill.tax,
        )
        for number, fill in enumerate(fills, start=1)
    )


def replay(setting: Prepared, script: Script) -> tuple[ReplayBroker, Prompter, Any]:
    cerebro, feeds = build_cerebro(
        setting, make_broker=partial(ReplayBroker, script=script)
    )
    cerebro.addanalyzer(Prompter, script=script)
    ran = run_cerebro(cerebro)
    done = finish(setting, cerebro, feeds, ran)
    return cerebro.broker, ran.analyzers[0], done.result


def test_told_its_own_fills_a_backtest_repeats_itself(setting: Prepared) -> None:
    first = backtested(setting).result
    script = Script(orders=first.orders, events=heard(first.fills))
    broker, prompter, second = replay(setting, script)
    assert len(first.fills) > 40
    assert second.orders == first.orders
    assert second.fills == tuple(replace(f, slippage=0.0) for f in first.fills)
    assert second.equity.equity.tolist() == first.equity.equity.tolist()
    assert broker.run_refs == {order.ref: order.ref for order in first.orders}
    assert not prompter.missed
    assert not broker.ended
    assert not broker.unbooked
    assert execution_rows(broker.expected, Times()) == first.fills


def test_what_was_refused_is_refused_again_and_would_have_filled() -> None:
    setting = prepared()
    first = backtested(setting).result
    lost = first.fills[2]
    order = next(o for o in first.orders if o.ref == lost.order_ref)
    until = [fill for fill in first.fills if fill.bar < lost.bar]
    end = OrderEvent(
        sequence=1000,
        at=lost.time,
        bar=lost.bar,
        order_ref=order.ref,
        kind=Heard.ENDED,
        outcome="refused",
        reason="no",
    )
    made = tuple(o for o in first.orders if o.created < lost.bar)
    script = Script(orders=made, events=(*heard(until), end))
    broker, _prompter, second = replay(setting, script)
    row = next(o for o in second.orders if broker.run_refs[o.ref] == order.ref)
    assert row.state is OrderState.REFUSED
    assert row.reject_reason == "no"
    assert broker.ended == {order.ref}
    expected = execution_rows(broker.expected, Times())
    assert [f for f in expected if f.order_ref == order.ref] == [lost]
    # What the run did not make is refused at once and books nothing.
    strangers = [o for o in second.orders if broker.run_refs[o.ref] is None]
    assert strangers
    assert {o.state for o in strangers if o.created < second.orders[-1].created} <= {
        OrderState.REFUSED
    }
    assert len(second.fills) == len(until)


def test_an_order_the_strategy_does_not_make_is_put_in_for_it() -> None:
    setting = prepared()
    first = backtested(setting).result
    bar = first.fills[10].bar
    alien = replace(
        first.orders[0],
        ref=900,
        created=bar,
        symbol="990003",
        side=Side.BUY,
        type=OrderType.MARKET,
        quantity=1,
        filled_quantity=1,
        state=OrderState.FILLED,
    )
    free = "990003" not in {o.symbol for o in first.orders if o.created == bar}
    assert free
    later = min(f.bar for f in first.fills if f.bar > bar)
    fill = replace(
        first.fills[0],
        bar=later,
        time=later,
        symbol="990003",
        quantity=1,
        order_ref=900,
    )
    until = [f for f in first.fills if f.bar <= bar]
    script = Script(
        orders=(*[o for o in first.orders if o.created <= bar], alien),
        events=heard([*until, replace(fill, price=166_000.0)]),
    )
    broker, prompter, second = replay(setting, script)
    assert prompter.missed == {900}
    assert not broker.unbooked
    assert [f.quantity for f in second.fills if f.bar == later] == [1]


def test_orders_of_an_earlier_process_are_put_in_before_the_first_bar() -> None:
    setting = prepared()
    first = backtested(setting).result
    begin = setting.first.astype(datetime).replace(tzinfo=KST)
    ends = setting.candles["990001"].end
    before = ends[ends < setting.first][-1].astype(datetime).replace(tzinfo=KST)
    old = replace(
        first.orders[0],
        ref=1,
        created=before,
        symbol="990001",
        side=Side.BUY,
        type=OrderType.LIMIT,
        limit_price=100_000.0,
        quantity=5,
    )
    script = Script(orders=(old,), events=(), carried={1: 3}, begin=before)
    broker, prompter, second = replay(setting, script)
    assert prompter.prompted == {1}
    assert not prompter.missed
    order = second.orders[0]
    assert (order.created, order.quantity, order.limit_price) == (before, 3, 100_000.0)
    assert broker.run_refs[1] == 1
    assert all(o.created >= begin for o in second.orders[1:])
