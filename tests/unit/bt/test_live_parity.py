"""The live broker on a simulated exchange does what the backtest does, to the call."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kisbt.bt.livebroker import LiveBroker
from kisbt.candles.store import CandleStore
from kisbt.model.candle import DAILY, MINUTE
from kisbt.orders.triggers import Triggers
from strategies.bollinger_breakout import BollingerBreakout
from strategies.ma_cross import MaCross
from strategies.ma_rsi_bollinger import MaRsiBollinger
from strategies.rsi_reversion import RsiReversion
from tests.helpers.liveruns import LiveRun, run_backtest, run_live, sorted_news
from tests.helpers.simvenue import SimVenue
from tests.helpers.zoo import Zoo

SAMPLE = Path(__file__).parents[3] / "data"
SHIPPED = [MaRsiBollinger, MaCross, RsiReversion, BollingerBreakout]
COSTS: dict[str, Any] = {
    "commission": "bankis",
    "tax": "krx",
    "slippage_ticks": 1,
    "volume_share": 0.1,
}


def _differences(live: LiveRun, backtest: LiveRun) -> list[str]:
    """Return what differs, news between two calls by order."""
    return [
        name
        for name, one, other in (
            ("orders", live.orders, backtest.orders),
            ("fills", live.fills, backtest.fills),
            ("equity", live.equity, backtest.equity),
            ("events", sorted_news(live.events), sorted_news(backtest.events)),
        )
        if one != other
    ]


@pytest.fixture(scope="module")
def store() -> CandleStore:
    return CandleStore(SAMPLE)


def _minutes(store: CandleStore, *symbols: str) -> dict[str, Any]:
    first, last = np.datetime64("2025-12-29T14:30:00"), np.datetime64("2025-12-30")
    return {
        symbol: store.read(symbol, MINUTE).between(first, last) for symbol in symbols
    }


@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_strategies_do_the_same_on_minutes(
    kind: Any, store: CandleStore
) -> None:
    candles = _minutes(store, "990001", "990004", "990005")
    settings = {"instruments": store.instruments(), "warmup": 60, **COSTS}
    backtest = run_backtest(kind, candles, **settings)
    live = run_live(kind, candles, **settings)
    assert len(backtest.fills) > 5
    assert live.events == backtest.events
    assert not _differences(live, backtest)


@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_strategies_do_the_same_on_days(kind: Any, store: CandleStore) -> None:
    symbols = ("990001", "990002", "990003", "990004", "990005")
    candles = {
        symbol: store.read(symbol, DAILY).slice(-400, None) for symbol in symbols
    }
    settings = {"instruments": store.instruments(), "warmup": 60, **COSTS}
    backtest = run_backtest(kind, candles, **settings)
    live = run_live(kind, candles, **settings)
    assert len(backtest.fills) > 5
    assert live.events == backtest.events
    assert not _differences(live, backtest)


def test_exits_by_order_do_the_same(store: CandleStore) -> None:
    candles = _minutes(store, "990001", "990004", "990005")
    params = {"exits": "orders", "stop_loss": 0.002, "take_profit": 0.003}
    settings = {
        "params": params,
        "instruments": store.instruments(),
        "warmup": 60,
        **COSTS,
    }
    backtest = run_backtest(MaRsiBollinger, candles, **settings)
    live = run_live(MaRsiBollinger, candles, **settings)
    reasons = {p.reason for p in live.broker.recorder.orders}
    assert {"stop_loss", "take_profit"} <= reasons
    assert live.venue is not None
    assert live.venue.cancels
    assert not _differences(live, backtest)


KINDS = [
    ("market",),
    ("market", "limit"),
    ("market", "stop"),
    ("market", "stop_limit"),
    ("market", "trail", "trail_percent"),
    ("market", "trail_limit"),
    ("market", "close"),
    ("market", "shortened"),
    ("market", "pair"),
    ("bracket",),
    ("bracket", "cancel"),
    ("market", "limit", "cancel"),
    ("market", "stop", "limit", "cancel", "replace"),
]


def _zoo(store: CandleStore, kinds: tuple[str, ...], seed: int) -> dict[str, Any]:
    # A stop that is released stays at the exchange, also with a part of it open; a
    # backtest asks for the price anew. So groups are filled whole here.
    groups = {"pair", "bracket"} & set(kinds)
    return {
        "params": {"kinds": kinds, "seed": seed},
        "instruments": store.instruments(),
        **COSTS,
        **({"volume_share": None} if groups else {}),
        "cash": 1e8,
    }


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_orders_of_each_type_do_the_same(
    kinds: tuple[str, ...], store: CandleStore
) -> None:
    candles = _minutes(store, "990001", "990004")
    backtest = run_backtest(Zoo, candles, **_zoo(store, kinds, 1))
    live = run_live(Zoo, candles, **_zoo(store, kinds, 1))
    assert len(backtest.fills) > 30
    assert not _differences(live, backtest)


def test_everything_at_once_does_the_same(store: CandleStore) -> None:
    candles = _minutes(store, "990001", "990004")
    settings = {
        "instruments": store.instruments(),
        "params": {"seed": 1},
        **COSTS,
        "cash": 1e8,
    }
    backtest = run_backtest(Zoo, candles, **settings)
    live = run_live(Zoo, candles, **settings)
    assert len({p.order_type for p in live.broker.recorder.orders}) == 7
    assert not _differences(live, backtest)


# The comparison has teeth: each guard taken away makes it fail.


class _SplitMinute(SimVenue):
    """Publishes the symbols of a minute one by one, a pass each."""

    def pump(self) -> None:
        rest: list[Any] = getattr(self, "rest", [])
        if rest:
            self.store.publish(rest.pop(0))
            return
        publish = self.store.publish
        self.store.publish = lambda found: rest.extend({s: found[s]} for s in found)
        try:
            super().pump()
        finally:
            self.store.publish = publish
        self.rest = rest
        if rest:
            self.store.publish(rest.pop(0))


class _FillsAfterBars(SimVenue):
    """Tells of a candle's fills only after the candle."""

    def _tell(self, kind: Any, ref: int, **facts: Any) -> None:
        super()._tell(kind, ref, **facts)
        if "quantity" in facts:
            self.late = [*getattr(self, "late", []), self.events.pop()]

    def pump(self) -> None:
        self.events.extend(getattr(self, "late", []))
        self.late = []
        super().pump()


class _TwoClones(LiveBroker):
    """Copies an order once more than it tells of it."""

    def notify(self, order: Any) -> None:
        order.clone()
        super().notify(order)


class _ForgetsTriggers(LiveBroker):
    """Does not look at trades."""

    def _look_at_ticks(self) -> None:
        self.store.take_ticks()


class _SendsBothLegs(LiveBroker):
    """Lets both orders of a pair work at the exchange."""

    def _legs_beside(self, item: Any) -> list[Any]:
        return []


class _NeverExpires(SimVenue):
    """Lets day orders live on."""

    def _expire(self) -> None:
        pass


class _NeverActivates(LiveBroker):
    """Leaves a bracket's exits asleep."""

    def _activate(self, filled_at: float) -> None:
        pass


@pytest.mark.parametrize(
    ("kinds", "changed"),
    [
        (("market", "limit"), {"venue": _SplitMinute}),
        (("market", "limit"), {"venue": _FillsAfterBars}),
        (("market",), {"live_broker": _TwoClones}),
        (("market", "stop"), {"live_broker": _ForgetsTriggers}),
        (("market", "pair"), {"live_broker": _SendsBothLegs}),
        (("market", "limit"), {"venue": _NeverExpires}),
        (("bracket",), {"live_broker": _NeverActivates}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_guard_taken_away_is_noticed(
    kinds: tuple[str, ...], changed: dict[str, Any], store: CandleStore
) -> None:
    candles = _minutes(store, "990001", "990004")
    settings = _zoo(store, kinds, 1)
    whole = run_live(Zoo, candles, **settings)
    broken = run_live(Zoo, candles, **settings, **changed)
    assert _differences(broken, whole)


def test_triggers_are_only_those_of_orders_kept_here(store: CandleStore) -> None:
    seen: list[int] = []

    class Watching(LiveBroker):
        def _watch(self) -> None:
            super()._watch()
            seen.append(len(self._triggers))
            assert isinstance(self._triggers, Triggers)

    candles = _minutes(store, "990001")
    run_live(Zoo, candles, **_zoo(store, ("market", "limit"), 1), live_broker=Watching)
    assert max(seen) == 0
