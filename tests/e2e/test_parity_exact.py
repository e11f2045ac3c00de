"""The promise: on the same candles, backtest, paper and rehearsal trade alike.

Everything is real: HTTP and websocket over loopback, the emulator, the journal. Only
time is stepped. Every order, fill, trade, decision and won of equity is compared.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kisbt.app.heard import HeardVenue
from kisbt.app.venue import Mode
from kisbt.bt.livebroker import LiveBroker
from kisbt.candles.live import CandleBuilder
from kisbt.candles.store import CandleStore
from kisbt.config.schema import Config
from kisbt.emulator.faults import parse_faults
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.order import OrderState, Side
from kisbt.model.quote import Tick
from tests.helpers.parity import (
    PERMISSIVE,
    backtest_of,
    configured,
    differences,
    run_stepped,
)
from tests.helpers.real_store import build_real_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CONFIGS = Path(__file__).parents[2] / "configs"
SAMPLE = CONFIGS.parent / "data"
STRATEGIES = ("ma_rsi_bollinger", "ma_cross", "rsi_reversion", "bollinger_breakout")
BOTH = (Mode.PAPER, Mode.REHEARSAL)
MINUTES: Mapping[str, object] = {"bars.interval": "1m", "data.warmup": 60}
# Dates from which each strategy trades within six sessions.
_BUSY_DAYS = {
    "ma_rsi_bollinger": "2025-12-08",
    "ma_cross": "2025-12-01",
    "rsi_reversion": "2025-11-13",
    "bollinger_breakout": "2025-12-08",
}
# Everything the mock server is known for: no rows in the order query, holdings shown
# late, short pages.
QUIRKS = ["quirk(daily_ccld_empty)", "quirk(late_balance)", "page(size, 3)"]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def _config(name: str, **overrides: object) -> Config:
    return configured(
        CONFIGS / f"{name}.yaml",
        **{**PERMISSIVE, "report__benchmark": None, **overrides},
    )


def _compare(
    config: Config, mode: Mode, folder: Path, *, least: int = 1, **options: Any
) -> list[str]:
    """Run, backtest what the run saw, and return the differences."""
    finished = run_stepped(config, mode, folder, **options)
    assert finished.exit_state == "done"
    assert len(finished.result.fills) >= least
    return differences(finished.result, backtest_of(config, finished).result)


@pytest.mark.parametrize("mode", BOTH)
def test_minute_bars_trade_as_in_the_backtest(mode: Mode, tmp_path: Path) -> None:
    config = _config("ma_rsi_bollinger_1m")
    assert _compare(config, mode, tmp_path / "run", least=20) == []


_GAP_BUYER = """
import backtrader as bt

class GapBuyer(bt.Strategy):
    params = (("share", 0.0),)

    def next(self):
        if len(self.data) % 60 == 0 and not self.position:
            size = int(self.broker.getcash() / (self.data.close[0] * self.p.share))
            self.buy(size=size)
        elif len(self.data) % 60 == 30 and self.position:
            self.close()
"""


@pytest.mark.parametrize(("share", "refused"), [(1.35, True), (1.5, False)])
def test_limits_follow_the_close_of_a_day_without_minutes(
    share: float, refused: bool, tmp_path: Path
) -> None:
    """The exchange sets cash aside at a limit that the minutes at hand do not show."""
    sample, store = CandleStore(SAMPLE), CandleStore(tmp_path / "data")
    minutes, daily = (sample.read("990001", kind) for kind in (MINUTE, DAILY))
    sessions = np.unique(minutes.sessions)
    missing, traded = sessions[4], sessions[5]
    close = daily.close.copy()
    close[daily.sessions == missing] *= 1.1
    store.write("990001", MINUTE, minutes.where(minutes.sessions != missing))
    high = np.maximum(daily.high, close)
    store.write("990001", DAILY, replace(daily, high=high, close=close))
    store.add_instruments([sample.instruments()["990001"]])
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "__init__.py").touch()
    (tmp_path / "strategies" / "gap_buyer.py").write_text(_GAP_BUYER, "utf-8")
    config = configured(
        {
            "strategy": {
                "class": "strategies.gap_buyer:GapBuyer",
                "params": {"share": share},
            },
            "universe": {"symbols": ["990001"]},
            "bars": {"interval": "1m"},
            "data": {"path": str(store.path), "warmup": 60},
            "paper": {
                "replay": str(store.path),
                "from": str(traded),
                "sessions": 1,
            },
        },
        root=tmp_path,
        **PERMISSIVE,
    )
    finished = run_stepped(config, Mode.REHEARSAL, tmp_path / "run", once=True)
    result = finished.result
    assert differences(result, backtest_of(config, finished).result) == []
    stored = backtest_of(config, finished, store=store.path).result
    assert differences(result, stored) == []
    assert bool(result.fills) is not refused
    assert {row.state is OrderState.REFUSED for row in result.orders} == {refused}


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("name", STRATEGIES)
def test_daily_bars_trade_as_in_the_backtest(
    name: str, mode: Mode, tmp_path: Path
) -> None:
    config = _config(name, paper__sessions=6, paper__from=_BUSY_DAYS[name])
    assert _compare(config, mode, tmp_path / "run", once=True) == []


# The larger one's orders fill over several minutes.
@pytest.mark.parametrize("capital", [10_000_000, 300_000_000])
def test_every_quirk_of_the_mock_server_changes_nothing(
    capital: int, tmp_path: Path
) -> None:
    config = _config("ma_rsi_bollinger_1m", capital=capital)
    faults = tuple(parse_faults(QUIRKS))
    found = _compare(config, Mode.PAPER, tmp_path / "run", least=20, faults=faults)
    assert found == []


@pytest.mark.parametrize("capital", [1_000_000, 10_000_000, 100_000_000])
def test_default_limits_refuse_nothing(capital: int, tmp_path: Path) -> None:
    config = configured(
        CONFIGS / "ma_rsi_bollinger.yaml",
        capital=capital,
        paper__sessions=12,
        paper__from="2025-12-08",
    )
    finished = run_stepped(config, Mode.REHEARSAL, tmp_path / "run", once=True)
    states = {row.state for row in finished.result.orders}
    sides = {row.side for row in finished.result.fills}
    assert finished.exit_state == "done"
    assert sides == {Side.BUY, Side.SELL}
    assert OrderState.REFUSED not in states
    assert finished.result.trades


# It has teeth: without each of these the trades differ.


def _with_late_news(patch: pytest.MonkeyPatch) -> None:
    """Tell the strategy of its fills a bar too late."""
    take = HeardVenue.take_events
    waiting: list[tuple[Any, Any]] = []

    def later(self: HeardVenue) -> Any:
        waiting.extend((self._last, event) for event in take(self))
        due = [event for bar, event in waiting if bar != self._last]
        waiting[:] = [row for row in waiting if row[0] == self._last]
        return due

    patch.setattr(HeardVenue, "take_events", later)


def _with_thinned_ticks(patch: pytest.MonkeyPatch) -> None:
    """Lose the last trade of each minute."""
    add = CandleBuilder.add

    def most(self: CandleBuilder, tick: Tick) -> bool:
        return tick.at.second < 55 and add(self, tick)

    patch.setattr(CandleBuilder, "add", most)


def _without_costs(patch: pytest.MonkeyPatch) -> None:
    """Forget what a fill cost."""
    patch.setattr(LiveBroker, "_split_costs", lambda *_args: (0.0, 0.0))


@pytest.mark.parametrize(
    "broken", [_with_late_news, _with_thinned_ticks, _without_costs]
)
def test_a_missing_guard_is_noticed(
    broken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config("ma_rsi_bollinger_1m")
    broken(monkeypatch)
    finished = run_stepped(config, Mode.PAPER, tmp_path / "run")
    monkeypatch.undo()
    expected = backtest_of(config, finished, store=config.data_path).result
    assert differences(finished.result, expected) != []


# Whole stores; see CONTRIBUTING.md for how to run them.


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_whole_sample_of_minutes(name: str, mode: Mode, tmp_path: Path) -> None:
    config = _config(name, paper__sessions=9, **_dotted(MINUTES))
    assert _compare(config, mode, tmp_path / "run", least=20) == []


def _dotted(values: Mapping[str, object]) -> dict[str, object]:
    return {name.replace(".", "__"): value for name, value in values.items()}


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("name", STRATEGIES)
def test_real_minutes_of_every_symbol(
    name: str, mode: Mode, real_candles: Path, tmp_path: Path
) -> None:
    store = build_real_store(real_candles, tmp_path / "store")
    symbols = list(store.symbols(MINUTE))
    config = _real(name, store, symbols, **_dotted(MINUTES), paper__sessions=1000)
    config = _from_first(config, store, symbols)
    assert _compare(config, mode, tmp_path / "run", least=100) == []


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("name", STRATEGIES)
def test_real_days_over_two_years(
    name: str, mode: Mode, real_candles: Path, tmp_path: Path
) -> None:
    store = build_real_store(real_candles, tmp_path / "store")
    symbols = [s for s in store.symbols(DAILY) if s.isdigit()][:20]
    config = _real(name, store, symbols, paper__sessions=490)
    assert _compare(config, mode, tmp_path / "run", least=100) == []


def _real(
    name: str, store: CandleStore, symbols: list[str], **overrides: object
) -> Config:
    return _config(
        name,
        universe__symbols=symbols,
        data__path=str(store.path),
        paper__replay=str(store.path),
        capital=100_000_000,
        **overrides,
    )


def _from_first(config: Config, store: CandleStore, symbols: list[str]) -> Config:
    """Return the configuration with the replay at the second stored session."""
    days = sorted(
        {
            day
            for symbol in symbols
            for day in store.read(symbol, MINUTE).sessions.tolist()
        }
    )
    return configured(
        config.model_dump(mode="json", by_alias=True), paper__from=days[1].isoformat()
    )


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    os.environ.get("KISBT_LONG", "") != "1", reason="half an hour: set KISBT_LONG=1"
)
@pytest.mark.parametrize(
    ("name", "sessions"), [("ma_rsi_bollinger_1m", 2), ("ma_rsi_bollinger", 5)]
)
def test_threads_at_speed_trade_as_in_the_backtest(
    name: str, sessions: int, tmp_path: Path
) -> None:
    from kisbt.app.live import LiveOptions, run_live

    config = _config(name, paper__sessions=sessions, paper__speed=120)
    wanted = LiveOptions(out=tmp_path / "run", with_report=False)
    finished = run_live(config, Mode.PAPER, wanted)
    assert finished.exit_state == "done"
    assert differences(finished.result, backtest_of(config, finished).result) == []
