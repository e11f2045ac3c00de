"""A paper or live run beside a backtest of the candles it saw: what differs, and why.

Three things are compared, in this order:

1. **Decisions.** The strategy is run again and told, bar by bar, what the run's
   strategy was told. It must make the same orders; nothing but a candle that came
   late, a restart or a person's change may excuse another one.
2. **Executions.** What the backtest would have done with each of those orders is
   known from the same replay. What really became of it may differ, with a named
   cause and its cost in won.
3. **Money.** The free backtest, which knows nothing of the run, ends with its own
   equity. The difference is the sum of the costs of 1 and 2 and of what followed
   from them: other cash, other positions, other decisions.

Costs are what the run has less than the backtest, shares valued at the last close
seen; a negative cost is a gain.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from kisbt.clock import KST
from kisbt.model.liverun import Heard, IncidentKind
from kisbt.model.order import OrderState, Side
from kisbt.model.result import FillRow, OrderRow, RunResult, TradeRow
from kisbt.report.livefiles import LiveRun
from kisbt.report.parity_causes import decision_cause, execution_cause
from kisbt.report.parity_values import (
    WON,
    Cause,
    Difference,
    Evidence,
    Outcome,
    Parity,
    Replayed,
    fill_value,
    fills_by_order,
    order_keys,
    outcome_of,
    request_of,
    rounded,
    whole_fills,
)
from kisbt.text import _


def find_differences(evidence: Evidence) -> Parity:
    """Compare a run with a backtest of the candles it saw."""
    run, backtest = evidence.run, evidence.backtest
    orders = _counts(
        _order_values(_before_the_end(run.orders, evidence.live), evidence.live),
        _order_values(backtest.orders, evidence.live),
    )
    fills = _counts(_fill_values(run.fills), _fill_values(backtest.fills))
    trades = _counts(
        _trade_values(run.trades, evidence.live.first_bar),
        _trade_values(backtest.trades, evidence.live.first_bar),
    )
    equity = (_last(run), _last(backtest))
    same = all(
        a == b == alike for a, b, alike in (orders, fills, trades)
    ) and _same_curve(run, backtest, evidence.live)
    differences: list[Difference] = []
    if not same:
        if evidence.replayed is not None:
            differences += _decisions(evidence, evidence.replayed)
            differences += _executions(evidence, evidence.replayed)
        differences += _corrections(evidence)
    differences += _bookkeeping(evidence)
    differences += _files_disagree(evidence)
    differences += evidence.candle_costs
    if not same and not differences:
        differences.append(_nameless(evidence))
    differences.sort(key=lambda d: (d.bar, d.order_ref or 0))
    costs: dict[Cause, float] = defaultdict(float)
    for difference in differences:
        costs[difference.cause] += difference.cost
    return Parity(
        same=same and not differences,
        differences=tuple(differences),
        run_equity=equity[0],
        backtest_equity=equity[1],
        orders=orders,
        fills=fills,
        trades=trades,
        costs=dict(costs),
        candle_cost=sum(item.cost for item in evidence.candle_costs),
    )


# Decisions.


def _decisions(evidence: Evidence, replayed: Replayed) -> Iterable[Difference]:
    """Yield orders that the strategy made in one of the two only, or otherwise."""
    run_orders = {order.ref: order for order in evidence.run.orders}
    fills = fills_by_order(evidence.run.fills)
    for order in replayed.orders:
        ref = replayed.run_refs.get(order.ref)
        if ref is None:
            expected, cost = _would_have(evidence, order)
            yield _decision(
                evidence,
                order,
                made=False,
                expected=expected,
                found=None,
                cost=cost,
            )
            continue
        made = run_orders[ref]
        if request_of(order) != request_of(made):
            yield _decision(
                evidence,
                made,
                expected=outcome_of(order, ()),
                found=outcome_of(made, fills.get(ref, ())),
            )
    for ref in sorted(replayed.missed & run_orders.keys()):
        order = run_orders[ref]
        found = outcome_of(order, fills.get(ref, ()))
        cost = -found.value(order.side, evidence.marks.get(order.symbol, 0.0))
        yield _decision(evidence, order, expected=None, found=found, cost=cost)
    held = set(evidence.live.held_bars)
    expected_fills = fills_by_order(evidence.backtest.fills)
    for order in evidence.backtest.orders:
        if order.created in held:
            # The replay was not called on these bars either; the backtest was.
            wanted = outcome_of(order, expected_fills.get(order.ref, ()))
            yield _decision(
                evidence,
                order,
                made=False,
                expected=wanted,
                found=None,
                cost=wanted.value(order.side, evidence.marks.get(order.symbol, 0.0)),
            )


def _would_have(evidence: Evidence, order: OrderRow) -> tuple[Outcome, float]:
    """Return what the free backtest made of an order the run did not make."""
    keys = order_keys(evidence.backtest.orders)
    (key,) = order_keys([order])
    made = keys.get(key)
    if made is None:
        return outcome_of(order, ()), 0.0
    fills = fills_by_order(evidence.backtest.fills).get(made.ref, ())
    expected = outcome_of(made, fills)
    return expected, expected.value(made.side, evidence.marks.get(made.symbol, 0.0))


def _decision(
    evidence: Evidence,
    order: OrderRow,
    *,
    expected: Outcome | None,
    found: Outcome | None,
    cost: float = 0.0,
    made: bool = True,
) -> Difference:
    cause, note = decision_cause(evidence, order)
    return Difference(
        cause=cause,
        bar=order.created,
        symbol=order.symbol,
        side=order.side,
        order_ref=order.ref if made else None,
        expected=expected,
        found=found,
        note=note,
        cost=cost,
    )


# Executions.


def _executions(evidence: Evidence, replayed: Replayed) -> Iterable[Difference]:
    """Yield orders of the run that became something else than expected."""
    actual = fills_by_order(evidence.run.fills)
    expected = fills_by_order(replayed.expected)
    for order in evidence.run.orders:
        if order.ref in replayed.missed:
            continue
        fills = actual.get(order.ref, [])
        if order.ref in replayed.refused:
            if order.state is not OrderState.REFUSED:
                yield _decision(
                    evidence, order, expected=None, found=outcome_of(order, fills)
                )
            continue
        yield from _execution(
            evidence,
            order,
            expected.get(order.ref, []),
            fills,
            ended=order.ref in replayed.ended,
        )


def _execution(
    evidence: Evidence,
    order: OrderRow,
    expected: Sequence[FillRow],
    actual: Sequence[FillRow],
    *,
    ended: bool,
) -> Iterable[Difference]:
    """Yield how an order was filled otherwise; what the fees alone cost, apart."""
    wanted, found = outcome_of(order, expected), outcome_of(order, actual)
    alike = _by_bar(expected) == _by_bar(actual)
    costs_alike = abs(wanted.fees - found.fees) <= WON
    if alike and costs_alike and not ended:
        return
    mark = evidence.marks.get(order.symbol, 0.0)
    cost = wanted.value(order.side, mark) - found.value(order.side, mark)
    surplus = found.fees - sum(evidence.fees_of(fill) for fill in actual)
    about: dict[str, Any] = {
        "bar": order.created,
        "symbol": order.symbol,
        "side": order.side,
        "order_ref": order.ref,
        "expected": wanted,
        "found": found,
    }
    if (alike and not costs_alike) or abs(surplus) > WON:
        known = abs(surplus) <= WON or _booked(evidence, order, found)
        part = cost if alike else surplus
        yield Difference(
            cause=Cause.FEE if known else Cause.UNEXPLAINED, cost=part, **about
        )
        cost -= part
    if ended or not alike:
        cause, note = execution_cause(evidence, order, expected, actual, ended=ended)
        yield Difference(cause=cause, note=note, cost=cost, **about)


def _by_bar(fills: Iterable[FillRow]) -> dict[datetime, tuple[int, float]]:
    """Return shares and won by bar: in how many pieces they came means nothing."""
    found: dict[datetime, tuple[int, float]] = {}
    for fill in fills:
        quantity, amount = found.get(fill.bar, (0, 0.0))
        found[fill.bar] = (
            quantity + fill.quantity,
            round(amount + fill.quantity * fill.price, 2),
        )
    return found


def _booked(evidence: Evidence, order: OrderRow, found: Outcome) -> bool:
    """Return whether the journal vouches for what an order cost."""
    told = [
        event
        for event in evidence.live.order_events
        if event.order_ref == order.ref and event.kind is Heard.FILLED
    ]
    fees = sum(event.commission + event.tax for event in told)
    return bool(told) and abs(fees - found.fees) <= WON


# Money.


def _corrections(evidence: Evidence) -> Iterable[Difference]:
    """Yield cash that was put right after a fill had been booked."""
    orders = {order.ref: order for order in evidence.run.orders}
    for event in evidence.live.order_events:
        if event.kind is Heard.CORRECTED and abs(event.amount) > WON:
            order = orders.get(event.order_ref)
            yield Difference(
                cause=Cause.CORRECTION,
                bar=event.bar,
                symbol=order.symbol if order else "",
                side=order.side if order else None,
                order_ref=event.order_ref,
                expected=None,
                found=None,
                note=event.reason,
                cost=-event.amount,
            )


def _bookkeeping(evidence: Evidence) -> Iterable[Difference]:
    """Yield cash of the run that its own fills do not account for."""
    run = evidence.run
    if not len(run.equity.time):
        return
    cash = float(run.run["starting_cash"])
    for fill in run.fills:
        flow = fill.quantity * fill.price
        cash += flow if fill.side is Side.SELL else -flow
        cash -= fill.commission + fill.tax
    cash += sum(
        event.amount
        for event in evidence.live.order_events
        if event.kind is Heard.CORRECTED
    )
    missing = cash - float(run.equity.cash[-1])
    if abs(missing) <= WON:
        return
    adjusted = [
        incident
        for incident in evidence.live.incidents
        if incident.kind is IncidentKind.ADJUSTMENT
    ]
    yield Difference(
        cause=Cause.ADJUSTMENT if adjusted else Cause.UNEXPLAINED,
        bar=_last_bar(run),
        symbol="",
        side=None,
        order_ref=None,
        expected=None,
        found=None,
        note=", ".join(incident.note for incident in adjusted if incident.note),
        cost=missing,
    )


def _files_disagree(evidence: Evidence) -> Iterable[Difference]:
    """Yield orders of which the files of the run tell different fills."""
    run, events = evidence.run, evidence.live.order_events
    filled = {
        ref: sum(fill.quantity for fill in fills)
        for ref, fills in fills_by_order(run.fills).items()
    }
    told: dict[int, int] = defaultdict(int)
    for event in events:
        if event.kind is Heard.FILLED:
            told[event.order_ref] += event.quantity
    carried = {order.order_ref for order in evidence.live.starting_orders}
    rows = {order.ref: order for order in run.orders}
    for ref in sorted(filled.keys() | told.keys() | rows.keys()):
        order = rows.get(ref)
        counts = {filled.get(ref, 0), told.get(ref, 0)}
        if order is not None and ref not in carried:
            counts.add(order.filled_quantity)
        if len(counts) == 1 and order is not None:
            continue
        yield Difference(
            cause=Cause.UNEXPLAINED,
            bar=_last_bar(run) if order is None else order.created,
            symbol="" if order is None else order.symbol,
            side=None if order is None else order.side,
            order_ref=ref,
            expected=None,
            found=None,
            note=_(
                "order {ref}: orders.csv, fills.csv and order_events.csv do not agree"
            ).format(ref=ref),
        )


def _nameless(evidence: Evidence) -> Difference:
    """Return the difference of two runs that differ where nobody looked."""
    return Difference(
        cause=Cause.UNEXPLAINED,
        bar=_last_bar(evidence.run),
        symbol="",
        side=None,
        order_ref=None,
        expected=None,
        found=None,
        cost=_last(evidence.backtest) - _last(evidence.run),
    )


def _last(run: RunResult) -> float:
    equity = run.equity.equity
    if len(equity):
        return float(equity[-1])
    return float(run.run["starting_cash"])


def _last_bar(run: RunResult) -> datetime:
    if not len(run.equity.time):
        return datetime.fromisoformat(run.run["ended"])
    moment: datetime = run.equity.time[-1].astype("datetime64[s]").astype(datetime)
    return moment.replace(tzinfo=KST)


def _same_curve(run: RunResult, backtest: RunResult, live: LiveRun) -> bool:
    """Compare the equity at each bar on which the run's strategy was called.

    What it would have done on the others, that fill a gap only, shows in its orders.
    """
    a, b = run.equity, backtest.equity
    held = [bar.astimezone(KST).replace(tzinfo=None) for bar in live.held_bars]
    called = ~np.isin(b.time, np.array(held, b.time.dtype))
    return (
        np.array_equal(a.time, b.time[called])
        and np.allclose(a.cash, b.cash[called], rtol=0.0, atol=WON)
        and np.allclose(
            a.positions_value, b.positions_value[called], rtol=0.0, atol=WON
        )
    )


def _counts(first: Iterable[Any], second: Iterable[Any]) -> tuple[int, int, int]:
    """Return how many values each has and how many they share."""
    left: dict[Any, int] = defaultdict(int)
    a = b = same = 0
    for value in first:
        left[value] += 1
        a += 1
    for value in second:
        b += 1
        if left[value] > 0:
            left[value] -= 1
            same += 1
    return a, b, same


def _before_the_end(orders: Iterable[OrderRow], live: LiveRun) -> Iterable[OrderRow]:
    """Yield orders as they were at the last bar: a backtest knows no more."""
    over = {
        event.order_ref
        for event in live.order_events
        if event.kind is Heard.ENDED
        and event.outcome in {"expired", "cancelled"}
        and live.last_bar is not None
        and event.at > live.last_bar
    }
    for order in orders:
        if order.ref in over:
            filled = bool(order.filled_quantity)
            yield replace(
                order,
                state=OrderState.PARTLY_FILLED if filled else OrderState.WORKING,
            )
        else:
            yield order


def _order_values(orders: Iterable[OrderRow], live: LiveRun) -> list[tuple[Any, ...]]:
    """Return orders; of those taken over from an earlier run what is left of them."""
    first = live.first_bar
    return [
        (
            *((None, *key[1:3]) if first and key[0] < first else key),
            *(request_of(order)[2:] if first and key[0] < first else request_of(order)),
            order.state,
            None if first and key[0] < first else order.filled_quantity,
            rounded(order.average_price),
        )
        for key, order in order_keys(orders).items()
    ]


def _fill_values(fills: Iterable[FillRow]) -> list[tuple[Any, ...]]:
    return [fill_value(fill) for fill in whole_fills(fills)]


def _trade_values(
    trades: Iterable[TradeRow], begin: datetime | None
) -> list[tuple[Any, ...]]:
    """Return round trips; of shares held at the begin the entry is not compared."""
    return [
        (
            trade.symbol,
            None if begin and trade.entry_time <= begin else trade.entry_time,
            trade.exit_time,
            trade.quantity,
            rounded(trade.entry_price),
            rounded(trade.exit_price),
            rounded(trade.net_pnl),
        )
        for trade in trades
    ]
