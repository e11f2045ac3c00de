"""What a run does with its inputs, beyond what the broker does with orders."""

from pathlib import Path

import backtrader as bt
import numpy as np
import pytest

import kisbt
from kisbt.app.backtest import backtest
from kisbt.candles.columns import CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.config.load import load_config
from kisbt.errors import BadCandle, MissingCandles
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import DAILY
from kisbt.report.assumptions import assumptions

SYMBOL = "005930"


class Scripted(bt.Strategy):
    """Does at bar number `len` what the script says: positive buys."""

    params = (("script", None),)

    def next(self) -> None:
        """Send the order of this bar."""
        size = (self.p.script or {}).get(len(self), 0)
        if size > 0:
            self.buy(size=size, reason="in")
        elif size < 0:
            self.sell(size=-size, reason="out")


def store(folder: Path, closes: list[float], first: str = "2025-11-03") -> Path:
    """Write flat-ranged daily candles that open at their close."""
    days = default_calendar().sessions(
        np.datetime64(first).astype(object), np.datetime64("2026-06-30").astype(object)
    )[: len(closes)]
    close = np.array(closes, float)
    candles = CandleColumns(
        end=default_calendar().close_times(days),
        open=close,
        high=close + 50,
        low=close - 50,
        close=close,
        volume=np.full(len(closes), 1_000_000.0),
    )
    CandleStore(folder / "data").write(SYMBOL, DAILY, candles)
    return folder


def settings(**broker: object) -> dict[str, object]:
    off = dict.fromkeys(
        ("max_order_pct", "max_symbol_pct", "max_daily_loss_pct", "max_orders_per_day")
    )
    return {
        "strategy": {"class": "tests:Scripted"},
        "universe": {"symbols": [SYMBOL]},
        "data": {"path": "data", "warmup": 0},
        "capital": 10_000_000,
        "broker": {"slippage_ticks": 0, **broker},
        "risk": off,
        "report": {"benchmark": None},
    }


def run(folder: Path, script: dict[int, int], **broker: object) -> kisbt.Backtest:
    values = settings(**broker)
    values["strategy"] = {"class": "tests:Scripted", "params": {"script": script}}
    return backtest(load_config(values, root=folder), strategy=Scripted)


def test_scaled_out_position_keeps_its_average_and_what_it_earned(
    tmp_path: Path,
) -> None:
    folder = store(tmp_path, [10_000, 10_000, 12_000, 12_000, 12_000, 12_000])
    done = run(folder, {1: 100, 2: -90, 3: 90}, tax="none", commission=0)
    (held,) = done.result.open_positions
    assert held.quantity == 100
    assert held.average_price == pytest.approx((10 * 10_000 + 90 * 12_000) / 100)
    assert held.realised_pnl == 90 * 2_000
    gained = done.result.equity.equity[-1] - 10_000_000
    assert held.unrealised_pnl + held.realised_pnl - held.costs == gained


def test_reversal_without_rules_makes_two_trades(tmp_path: Path) -> None:
    folder = store(tmp_path, [10_000, 10_000, 11_000, 11_000, 10_000, 10_000])
    done = run(folder, {1: 10, 2: -20, 4: 10}, rules="none", commission=0)
    long, short = done.result.trades
    assert (long.quantity, long.gross_pnl) == (10, 10_000)
    assert (short.quantity, short.gross_pnl) == (10, 10_000)
    assert short.entry_time < short.exit_time
    assert not done.result.open_positions


def test_open_short_without_rules_is_valued(tmp_path: Path) -> None:
    folder = store(tmp_path, [10_000, 10_000, 9_000])
    done = run(folder, {1: -10}, rules="none", commission=0)
    (held,) = done.result.open_positions
    assert (held.quantity, held.unrealised_pnl) == (-10, 10_000)


def test_daily_candle_labelled_before_an_odd_close_still_trades(
    tmp_path: Path,
) -> None:
    folder = store(tmp_path, [10_000] * 6)
    path = folder / "data/1d" / f"{SYMBOL}.csv"
    (folder / "krx_overrides.yaml").write_text(
        "hours:\n  2025-11-04: {open: '10:00', close: '16:30'}\n", "utf-8"
    )
    assert "2025-11-04 15:30:00" in path.read_text("utf-8")
    done = run(folder, {2: 10})
    (fill,) = done.result.fills
    assert f"{fill.bar:%Y-%m-%d}" == "2025-11-05"


def test_candle_on_a_holiday_names_file_and_remedy(tmp_path: Path) -> None:
    folder = store(tmp_path, [10_000] * 6)
    (folder / "krx_overrides.yaml").write_text(
        "holidays:\n  add: [2025-11-05]\n", "utf-8"
    )
    with pytest.raises(BadCandle, match=f"{SYMBOL}.csv has a candle on 2025-11-05"):
        run(folder, {})


def test_overrides_survive_a_strategy_given_as_a_class(tmp_path: Path) -> None:
    folder = store(tmp_path, [10_000] * 6)
    (folder / "krx_overrides.yaml").write_text(
        "transaction_tax:\n"
        "  - {trade_from: 2020-01-01, kospi: 0.005, kosdaq: 0.005, konex: 0.005}\n"
        "  - {trade_from: 2024-12-27, kospi: 0.005, kosdaq: 0.005, konex: 0.005}\n",
        "utf-8",
    )
    done = run(folder, {1: 10, 2: -10})
    assert [fill.tax for fill in done.result.fills] == [0, 500]


def test_range_without_bars_names_the_last_candle(tmp_path: Path) -> None:
    folder = store(tmp_path, [10_000] * 20)
    values = settings()
    values["data"] = {"path": "data", "from": "2025-11-08", "to": "2025-11-09"}
    with pytest.raises(MissingCandles, match="end on 2025-11-28"):
        backtest(load_config(values, root=folder), strategy=Scripted)


def test_a_later_price_off_the_grid_changes_nothing_before_it(tmp_path: Path) -> None:
    closes = [10_000, 12_970, 12_970, 12_970, 12_000, 10_000]
    before = run(store(tmp_path / "a", closes), {1: 10}, slippage_ticks=1)
    after = run(
        store(tmp_path / "b", [*closes[:-1], 10_003]), {1: 10}, slippage_ticks=1
    )
    assert before.result.fills == after.result.fills
    assert before.result.orders == after.result.orders


def test_report_says_what_rules_none_switches_off(tmp_path: Path) -> None:
    done = run(store(tmp_path, [10_000] * 6), {}, rules="none")
    told = " ".join(item.text for item in assumptions(done.result))
    assert "short selling is possible" in told
    assert "Transaction tax: by market" not in told
    assert "Slippage" not in told
    assert "Adjusted candles" in told


def test_only_the_bundled_companies_count_as_synthetic(tmp_path: Path) -> None:
    folder = store(tmp_path, [10_000] * 6)
    (folder / "data/symbols.csv").write_text(
        f"symbol,name,market,product\n{SYMBOL},가상현실,KOSPI,STOCK\n", "utf-8"
    )
    assert run(folder, {}).result.run["synthetic"] is False
    values = settings()
    values["universe"] = {"symbols": ["990001"]}
    bundled = load_config(values, root=Path(__file__).resolve().parents[3])
    assert backtest(bundled, strategy=Scripted).result.run["synthetic"] is True
