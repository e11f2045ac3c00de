"""Orders that have ended take no room, and are there all the same."""

import gc
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

from kisbt.bt import packed
from kisbt.bt.livebroker import LiveBroker
from kisbt.bt.liveorder import LiveOrder
from kisbt.candles.store import CandleStore
from kisbt.model.candle import MINUTE
from tests.helpers.handvenue import Bed, bar, do
from tests.helpers.liveruns import run_live
from tests.helpers.market import Action, cancel, keep

SAMPLE = Path(__file__).parents[3] / "data"
LIMIT = bt.Order.Limit


@pytest.fixture
def one_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_ROWS", 1)


def _made(*, held: bool, **asked: Any) -> Action:
    """Return an action that buys, and holds on to the order or does not."""
    if held:
        return keep("buy", "buy", **asked)

    def act(strategy: Any) -> None:
        strategy.buy(**asked)

    return act


def _left(bed: Bed) -> tuple[Any, ...]:
    """Return what a run leaves."""
    recorder = bed.broker.recorder
    return (
        [
            (
                p.number,
                p.order.getstatusname(),
                p.order.executed.size,
                p.order.executed.price,
                p.order.executed.comm,
                len(p.order.executed.exbits),
                p.end_reason,
                p.confirmed_by,
            )
            for p in recorder.orders
        ],
        [(f.quantity, f.price, f.commission, f.order_number) for f in recorder.fills],
        bed.broker.getcash(),
        bed.size(),
        bed.broker.getposition(bed.strategy.data).price,
        [state for states in bed.strategy.states.values() for state in states],
    )


def _late(bed: Bed) -> None:
    bed.fill(1, 2, 995.0, commission=3)


@pytest.mark.usefixtures("one_a_pack")
@pytest.mark.parametrize("held", [True, False])
def test_an_order_fills_after_its_end(held: bool) -> None:
    bed = Bed().run(
        {1: _made(held=held, size=4, price=999, exectype=LIMIT)},
        bar(1000),
        do(lambda bed: bed.accept(), lambda bed: bed.fill(1, 1, 999.0)),
        bar(1001),
        lambda bed: bed.end(1, "cancelled", reason="by hand"),
        bar(1002),
        _late,
        bar(1003),
        lambda bed: bed.correct(1, -6),
        bar(1004),
    )
    orders, fills, cash, size, price, states = _left(bed)
    assert orders == [
        (1, "Canceled", 3, pytest.approx(2989 / 3), 3.0, 2, "by hand", "rest")
    ]
    assert [row[0] for row in fills] == [1, 2]
    assert (cash, size) == (10_000_000 - 2989 - 3 - 6, 3)
    assert price == pytest.approx(2989 / 3 + 2)
    assert states[-2:] == ["Partial", "Canceled"]
    assert not bed.broker._log.going


@pytest.mark.usefixtures("one_a_pack")
def test_the_first_number_of_an_order_sent_twice_fills_after_its_end(
    one_a_pack: None,
) -> None:
    def bracket(strategy: Any) -> None:
        strategy.buy_bracket(
            size=2,
            exectype=bt.Order.Market,
            limitprice=1_100,
            limitexec=LIMIT,
            stopprice=950,
            stopexec=bt.Order.Stop,
        )

    bed = Bed()
    bed.run(
        {1: bracket},
        bar(1_000),
        lambda b: b.fill(1, 2, 1_000.0),
        bar(1_001),
        # The stop is touched: the limit is taken back, and the stop refused.
        do(lambda b: b.accept(2), lambda b: b.trade(940)),
        lambda b: b.end(2, "cancelled"),
        lambda b: b.end(3, "refused", reason="no", rule="broker"),
        bar(1_002),
        # The limit goes once more, and fills; then its first number does.
        lambda b: b.fill(4, 2, 1_100.0),
        bar(1_003),
        bar(1_004),
        lambda b: b.fill(2, 1, 1_100.0),
        bar(1_005),
        # News of both numbers at once is news of one order.
        do(lambda b: b.fill(2, 1, 1_101.0), lambda b: b.fill(4, 1, 1_102.0)),
        bar(1_006),
    )
    fills = [(f.order_number, f.quantity) for f in bed.broker.recorder.fills]
    (limit,) = {number for number, _quantity in fills} - {1}
    assert fills == [(1, 2), (limit, 2), (limit, 1), (limit, 1), (limit, 1)]
    assert bed.size() == 2 - 5


def test_an_order_the_strategy_holds_stays_the_same_object() -> None:
    bed = Bed().run(
        {1: _made(held=True, size=3, price=999, exectype=LIMIT)},
        bar(1000),
        lambda bed: bed.end(1, "cancelled"),
        bar(1002),
        _late,
        bar(1003),
    )
    order = bed.strategy.orders["buy"]
    assert order.executed.size == 2
    assert bed.broker.recorder.orders[0].order is order


@pytest.mark.usefixtures("one_a_pack")
def test_nothing_can_be_cancelled_after_its_end() -> None:
    bed = Bed().run(
        {1: keep("buy", "buy", size=3), 3: cancel("buy")},
        bar(1000),
        lambda bed: bed.fill(1, 3, 1000.0),
        bar(1002),
        bar(1003),
        bar(1004),
    )
    assert bed.cancels == []
    assert bed.states("buy")[-1] == "Completed"


@pytest.mark.usefixtures("one_a_pack")
def test_a_leg_may_join_an_order_that_has_ended() -> None:
    bed = Bed().run(
        {
            1: keep("first", "buy", size=1),
            3: keep("second", "buy", size=1, price=900, exectype=LIMIT, oco="first"),
            4: keep("third", "buy", size=1, price=901, exectype=LIMIT, oco="second"),
            5: cancel("second"),
        },
        bar(1000),
        lambda bed: bed.fill(1, 1, 1000.0),
        *(bar(1000 + n) for n in range(5)),
        lambda bed: bed.end(2, "cancelled"),
        bar(1010),
    )
    assert bed.states("second")[-1] == "Canceled"
    assert bed.states("third")[-1] == "Canceled"


@pytest.mark.usefixtures("one_a_pack")
def test_what_a_strategy_has_given_its_order_is_not_copied() -> None:
    thing: list[int] = []
    bed = Bed().run(
        {1: _made(held=False, size=3, thing=thing)},
        bar(1000),
        lambda bed: bed.fill(1, 3, 1000.0),
        bar(1002),
        bar(1003),
    )
    assert bed.broker.recorder.orders[0].order.info["thing"] is thing


class _Busy(bt.Strategy):
    """Orders in every symbol on every bar, and holds on to nothing."""

    def __init__(self) -> None:
        self.alive: list[dict[type, int]] = []

    def next(self) -> None:
        for number, data in enumerate(self.datas):
            held = self.getposition(data).size
            if number % 2 and len(data) % 2:
                low = round(data.close[0] * 0.9, -3)
                self.buy(data=data, size=1, price=low, exectype=LIMIT)
                self.sell(data=data, size=10**6)  # refused
            else:
                (self.sell if held else self.buy)(data=data, size=1)
        if len(self.data) % 60 == 0:
            self.alive.append(_alive())


def _alive() -> dict[type, int]:
    kinds: tuple[type, ...] = (bt.Order, bt.Trade, LiveOrder)
    found = gc.get_objects()
    return {kind: sum(isinstance(item, kind) for item in found) for kind in kinds}


def test_a_run_holds_as_many_orders_at_its_end_as_at_its_begin() -> None:
    store = CandleStore(SAMPLE)
    candles = {
        f"99000{n}": store.read(f"99000{n}", MINUTE).slice(0, 310) for n in (1, 2, 3)
    }
    gc.collect()  # what tests before have left is none of this run's
    left = _alive()  # nor what threads of theirs still hold
    live = run_live(_Busy, candles, warmup=60)
    made = len(live.broker.recorder.orders)
    # Limit orders rest until the close; so many fills, refusals and ends do not.
    resting = sum(p.order.alive() for p in live.broker.recorder.orders)
    assert made - resting > 700
    for found in live.strategy.alive:
        own = {kind: count - left[kind] for kind, count in found.items()}
        assert own[bt.Order] < resting + 5 * packed._ROWS, (found, left)
        assert own[bt.Trade] < 30, (found, left)
    assert live.broker.recorder.orders[made - 1].number == made
    assert isinstance(live.broker, LiveBroker)
