"""A backtest that begins in the middle with what another one held there."""

from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kisbt.app.backtest import Backtest, build_cerebro, finish, run_cerebro
from kisbt.app.prepare import Prepared, prepare
from kisbt.bt.seed import SeededBroker
from kisbt.clock import KST
from kisbt.config.load import load_config
from kisbt.model.order import Side

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def whole() -> Prepared:
    config = load_config(
        ROOT / "configs" / "ma_rsi_bollinger_1m.yaml",
        overrides={"report.benchmark": None, "risk.max_daily_loss_pct": None},
    )
    return prepare(config)


def ran(prepared: Prepared, engine: str, **options: Any) -> Backtest:
    cerebro, feeds = build_cerebro(prepared, engine=engine, **options)
    return finish(prepared, cerebro, feeds, run_cerebro(cerebro))


def split(run: Backtest) -> tuple[datetime, float, dict[str, tuple[int, float]]]:
    """Return a bar without working orders, and cash and shares at it."""
    made = {order.created for order in run.result.orders}
    held: dict[str, tuple[int, float]] = {}
    cash = float(run.result.run["starting_cash"])
    fills = list(run.result.fills)
    for number, fill in enumerate(fills[: len(fills) // 2]):
        size, average = held.get(fill.symbol, (0, 0.0))
        sign = 1 if fill.side is Side.BUY else -1
        cash -= sign * fill.quantity * fill.price + fill.commission + fill.tax
        left = size + sign * fill.quantity
        if sign > 0:
            average = (size * average + fill.quantity * fill.price) / left
        held[fill.symbol] = (left, average)
        held = {symbol: item for symbol, item in held.items() if item[0]}
        quiet = fill.bar not in made and fills[number + 1].bar > fill.bar
        if number > 40 and len(held) > 1 and quiet:
            return fill.bar, cash, held
    raise AssertionError("the sample has no such bar")


@pytest.mark.parametrize("engine", ["fast", "plain"])
def test_the_second_half_goes_on_where_the_first_stopped(
    whole: Prepared, engine: str
) -> None:
    reference = ran(whole, engine)
    bar, cash, held = split(reference)
    equity = reference.result.equity
    moment = np.datetime64(bar.astimezone(KST).replace(tzinfo=None), "s")
    after = equity.time > moment
    later = replace(whole, first=equity.time[after][0])
    found = ran(
        later,
        engine,
        starting_cash=cash,
        make_broker=partial(SeededBroker, holdings=held),
    )
    assert found.result.run["engine"] == engine

    def rest(rows: Any, when: str) -> list[Any]:
        return [row for row in rows if getattr(row, when) > bar]

    def anonymous(row: Any) -> Any:
        return replace(row, order_ref=0)

    expected = list(map(anonymous, rest(reference.result.fills, "bar")))
    assert len(expected) > 50
    assert list(map(anonymous, found.result.fills)) == expected
    assert found.result.equity.cash.tolist() == equity.cash[after].tolist()
    assert found.result.equity.equity.tolist() == equity.equity[after].tolist()
    trades = rest(reference.result.trades, "exit_time")
    assert [(t.symbol, t.exit_time, t.quantity) for t in found.result.trades] == [
        (t.symbol, t.exit_time, t.quantity) for t in trades
    ]
    assert all(trade.quantity > 0 for trade in found.result.trades)
    assert len(found.result.open_positions) == len(reference.result.open_positions)


def test_the_strategy_sees_the_shares_and_hears_of_no_order(whole: Prepared) -> None:
    held = {"990001": (7, 100_000.0)}
    heard: list[Any] = []
    seen: list[tuple[float, float]] = []

    class Listens(whole.strategy_class):  # type: ignore[misc, name-defined]
        def start(self) -> None:
            super().start()
            position = self.getposition(self.getdatabyname("990001"))
            seen.append((position.size, position.price))

        def notify_order(self, order: Any) -> None:
            heard.append(order.ref)
            super().notify_order(order)

        def notify_trade(self, trade: Any) -> None:
            if not heard and trade.isopen:
                seen.append((trade.size, trade.price))
            super().notify_trade(trade)

    prepared = replace(whole, strategy_class=Listens)
    options = {"make_broker": partial(SeededBroker, holdings=held)}
    result = ran(prepared, "plain", **options).result
    assert seen == [(7, 100_000.0), (7, 100_000.0)]
    sold = next(trade for trade in result.trades if trade.symbol == "990001")
    assert (sold.quantity, sold.entry_price) == (7, 100_000.0)
