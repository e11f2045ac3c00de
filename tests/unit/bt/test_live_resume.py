"""A run that crashes anywhere and goes on does what it would have done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pytest

from kisbt.bt.livebroker import LiveBroker
from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.model.candle import MINUTE
from kisbt.orders.lifecycle import OPEN
from tests.helpers.journalvenue import JournalVenue, run_once
from tests.helpers.liveruns import quiet
from tests.helpers.orders import begin, make_journal
from tests.helpers.zoo import Zoo

SAMPLE = Path(__file__).parents[3] / "data"
SYMBOLS = ("990001", "990004")
CASH = 100_000_000
HISTORY, TURNS = 20, 90
KINDS = (
    "market",
    "limit",
    "stop",
    "stop_limit",
    "trail",
    "trail_limit",
    "shortened",
    "pair",
    "bracket",
    "close",
)


class Remembering(Zoo):
    """`Zoo` that counts its bars over restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.bars = 0

    def act(self) -> None:
        self.bars += 1
        super().act()

    def save_state(self) -> dict[str, Any]:
        return {"bars": self.bars}

    def load_state(self, kept: Mapping[str, Any]) -> None:
        self.bars = kept["bars"]


@pytest.fixture(scope="module")
def store() -> CandleStore:
    return CandleStore(SAMPLE)


def _candles(store: CandleStore) -> dict[str, CandleColumns]:
    day = np.datetime64("2025-12-30")
    return {
        symbol: store.read(symbol, MINUTE).between(day, day).slice(0, HISTORY + TURNS)
        for symbol in SYMBOLS
    }


def _run(
    store: CandleStore,
    folder: Path,
    crashes: list[tuple[int, str]],
    seed: int = 0,
    live_broker: type[LiveBroker] = LiveBroker,
) -> Any:
    candles = _candles(store)
    settings = {**quiet(), "commission": "bankis", "tax": "krx", "slippage_ticks": 1}
    costs = {k: settings[k] for k in ("commission", "tax", "slippage_ticks")}
    folder.mkdir()
    with begin(make_journal(folder), capital=CASH) as journal:
        venue = JournalVenue(
            journal,
            candles,
            store.instruments(),
            start=dict.fromkeys(SYMBOLS, HISTORY),
            **costs,
        )
        waiting = list(crashes)
        strategy = None
        while strategy is None:
            venue.crash = waiting.pop(0) if waiting else None
            strategy = run_once(
                venue,
                Remembering,
                params={"kinds": KINDS, "seed": seed, "chance": 0.2},
                instruments=store.instruments(),
                candles=_known(candles, venue),
                live_broker=live_broker,
                **settings,
            )
        assert not waiting
        fills = [
            (f.symbol, f.side, f.quantity, f.amount, f.commission, f.tax, f.at)
            for f in journal.fills()
        ]
        return (
            sorted(fills),
            journal.cash(),
            journal.positions(),
            strategy.bars,
            {o.status for o in journal.orders()} & OPEN,
            float(strategy.broker.getcash()),
            {
                d._name: (strategy.getposition(d).size, strategy.getposition(d).price)
                for d in strategy.datas
                if strategy.getposition(d).size
            },
        )


def _known(
    candles: Mapping[str, CandleColumns], venue: JournalVenue
) -> dict[str, CandleColumns]:
    """Return the candles that have been published: history after a restart."""
    coming = venue.turns[0][0].end if venue.turns else None
    if venue.unpublished:
        coming = next(iter(venue.unpublished.values())).end
    assert coming is not None
    until = np.datetime64(coming.replace(tzinfo=None)) - np.timedelta64(1, "s")
    return {symbol: columns.between(None, until) for symbol, columns in candles.items()}


@pytest.mark.parametrize("place", ["before", "trade", "fills"])
@pytest.mark.parametrize("seed", [0, 1])
def test_crashes_change_nothing(
    place: str, seed: int, store: CandleStore, tmp_path: Path
) -> None:
    whole = _run(store, tmp_path / "whole", [], seed)
    crashes = [(turn, place) for turn in range(7, TURNS - 5, 9)]
    broken = _run(store, tmp_path / "broken", crashes, seed)
    assert len(whole[0]) > 10
    assert broken == whole


class _ForgetsOrders(LiveBroker):
    """Begins without the orders of the run before."""

    def _restore(self, kept: Any, resume: Any) -> None:
        super()._restore((), resume)


def test_the_crashes_are_felt_without_what_was_kept(
    store: CandleStore, tmp_path: Path
) -> None:
    whole = _run(store, tmp_path / "whole", [])
    crashes = [(turn, "before") for turn in range(7, TURNS - 5, 9)]
    broken = _run(store, tmp_path / "broken", crashes, live_broker=_ForgetsOrders)
    assert broken != whole


def test_own_cash_and_shares_are_those_of_the_journal(
    store: CandleStore, tmp_path: Path
) -> None:
    result = _run(store, tmp_path / "run", [(40, "fills"), (60, "before")])
    _fills, cash, positions, _bars, _open, own_cash, own = result
    assert own_cash == cash
    assert own == {
        held.symbol: (held.quantity, pytest.approx(held.average)) for held in positions
    }


def test_a_strategy_hears_of_the_orders_of_the_run_before(
    store: CandleStore, tmp_path: Path
) -> None:
    candles = _candles(store)
    heard: list[tuple[str, str]] = []

    class Once(bt.Strategy):
        """Buys once with a limit far away, if it knows of no order."""

        def __init__(self) -> None:
            self.working: Any = None

        def notify_order(self, order: Any) -> None:
            self.working = order if order.alive() else None
            if "resumed" in order.info:
                heard.append((order.getstatusname(), order.info["reason"]))

        def next(self) -> None:
            if self.working is None:
                price = self.data.close[0] * 0.9
                self.working = self.buy(
                    size=1, exectype=bt.Order.Limit, price=price, reason="far"
                )

    folder = tmp_path / "run"
    folder.mkdir()
    with begin(make_journal(folder), capital=CASH) as journal:
        venue = JournalVenue(
            journal,
            candles,
            store.instruments(),
            start=dict.fromkeys(SYMBOLS, HISTORY),
        )
        strategy = None
        for crash in [(5, "before"), (9, "fills"), None]:
            venue.crash = crash
            strategy = run_once(
                venue,
                Once,
                params={},
                instruments=store.instruments(),
                candles=_known(candles, venue),
                **quiet(),
            )
        assert strategy is not None
        assert heard == [("Accepted", "far")] * 2
        assert len(journal.orders()) == 1
        placed = strategy.broker.recorder.orders[0]
        assert (placed.number, placed.journal_ref) == (1, 1)
        assert strategy.broker.free_cash() < CASH
