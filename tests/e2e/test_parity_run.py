"""Every kind of difference, made on purpose on a real emulator, and named."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kisbt.app.live import LiveOptions, run_live
from kisbt.app.parity import Checked, check_parity, write_parity
from kisbt.app.venue import Mode, emulator_settings
from kisbt.candles.store import CandleStore
from kisbt.cli.main import run as command
from kisbt.config.load import load_config
from kisbt.config.schema import Config
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.errors import InputError
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import MINUTE
from kisbt.model.liverun import CandleChange, CandleEvent, IncidentKind
from kisbt.report.livefiles import live_files
from kisbt.report.parity_values import Cause
from tests.helpers.hooked import Hooked

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SYMBOLS = ["990001", "990002"]

Hook = Callable[[Emulator, Any], None]


@pytest.fixture(autouse=True)
def _no_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    yield
    Hooked.hooks.clear()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's last two sessions, the last one until 10:50 only."""
    bundled = CandleStore(ROOT / "data")
    short = CandleStore(tmp_path_factory.mktemp("short"))
    for symbol in SYMBOLS:
        candles = bundled.read(symbol, MINUTE)
        until = np.datetime64("2025-12-30T10:50", "s")
        short.write(symbol, MINUTE, candles.between(np.datetime64("2025-12-29"), until))
    instruments = bundled.instruments()
    short.add_instruments([instruments[symbol] for symbol in SYMBOLS])
    return short.path


def config(data: Path) -> Config:
    return load_config(
        {
            "mode": "paper",
            "strategy": {"class": "tests.helpers.hooked:Hooked"},
            "universe": {"symbols": SYMBOLS},
            "bars": {"interval": "1m"},
            "data": {"path": str(data), "warmup": 20},
            "paper": {"step": True, "replay": str(data), "sessions": 1},
            "report": {"benchmark": None},
            "risk": {"max_order_pct": None, "max_symbol_pct": None},
        },
        root=ROOT,
    )


class Stage:
    """One emulator and the runs on it."""

    def __init__(self, folder: Path, data: Path, **settings: Any) -> None:
        self.folder = folder
        self.config = config(data)
        made = emulator_settings(self.config, Mode.PAPER, default_calendar())
        self.emulator = Emulator(replace(made, **settings))
        self.emulator.start()
        self.ready = folder / "ready.json"
        write_ready_file(self.ready, self.emulator.ready)

    def run(self, name: str = "run", **hooks: Hook) -> Path:
        """Run a session; `hooks` by time, such as ``at_1005``."""
        for when, hook in hooks.items():
            at = f"{when[3:5]}:{when[5:]}"
            Hooked.hooks[at] = lambda strategy, hook=hook: hook(self.emulator, strategy)
        out = self.folder / name
        options = LiveOptions(
            ready_file=self.ready,
            out=out,
            once=True,
            with_report=False,
            watchdog=False,
        )
        try:
            run_live(self.config, Mode.PAPER, options)
        finally:
            Hooked.hooks.clear()
        return out


@pytest.fixture
def stage(tmp_path: Path, store: Path) -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(**settings: Any) -> Stage:
        made.append(Stage(tmp_path, store, **settings))
        return made[-1]

    yield make
    for item in made:
        item.emulator.stop()


def causes(checked: Checked) -> list[Cause]:
    return [difference.cause for difference in checked.parity.differences]


def adds_up(checked: Checked) -> bool:
    found = checked.parity
    total = sum(found.costs.values()) + found.followed
    return abs(total - found.total_cost) < 0.01


def test_a_stepped_run_is_its_backtest(
    stage: Callable[..., Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    run = stage().run()
    capsys.readouterr()
    assert command(["parity", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"]
    assert found["orders"]["run"] == found["orders"]["same"] > 12
    assert found["fills"]["run"] == found["fills"]["same"] > 10
    assert found["differences"] == []
    assert found == json.loads((run / "parity.json").read_text(encoding="utf-8"))
    assert (
        command(["explain", "990001", "2025-12-30", "--run", str(run), "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    mine = [o for o in check_parity(run).run.orders if o.symbol == "990001"]
    assert [row["order_ref"] for row in told["decisions"]] == [o.ref for o in mine]
    page = (run / "parity.html").read_text(encoding="utf-8")
    assert "http://" not in page.split("<script>", maxsplit=1)[0]


def test_what_kis_refuses_is_named_in_its_words(stage: Callable[..., Stage]) -> None:
    scene = stage()
    scene.emulator.fault("gw(40070000, 200, tr=order, nth=3)")
    checked = check_parity(scene.run())
    assert causes(checked) == [Cause.REFUSED]
    (difference,) = checked.parity.differences
    assert "40070000" in difference.note
    assert difference.expected is not None
    assert difference.expected.quantity == 10
    assert difference.found is not None
    assert difference.found.quantity == 0
    assert adds_up(checked)
    assert checked.parity.explained


@pytest.mark.long
def test_what_the_exchange_refuses_later_is_named(stage: Callable[..., Stage]) -> None:
    scene = stage()
    scene.emulator.fault("ex(reject, tr=order, nth=2)")
    checked = check_parity(scene.run())
    assert Cause.REFUSED in causes(checked)
    assert checked.parity.explained
    assert adds_up(checked)


def test_more_slippage_is_named_with_its_won(stage: Callable[..., Stage]) -> None:
    checked = check_parity(stage(slippage_ticks=3).run())
    assert set(causes(checked)) == {Cause.SLIPPAGE}
    assert all(d.cost > 0 for d in checked.parity.differences)
    assert checked.parity.total_cost > 0
    assert adds_up(checked)


@pytest.mark.long
def test_a_thinner_market_is_named(stage: Callable[..., Stage]) -> None:
    # Ten shares are asked for; this share of a minute's volume gives fewer.
    checked = check_parity(stage(volume_share=0.0015).run())
    assert set(causes(checked)) <= {Cause.PARTIAL, Cause.LATENCY}
    assert causes(checked)
    assert adds_up(checked)


def test_an_order_cancelled_by_hand_is_named(stage: Callable[..., Stage]) -> None:
    def by_hand(emulator: Emulator, _strategy: Any) -> None:
        working = [o for o in emulator.state()["mock"]["orders"] if o["open"]]
        emulator.external_order(cancel=int(working[0]["number"]))

    checked = check_parity(stage().run(at_0955=by_hand))
    (difference,) = checked.parity.differences
    assert difference.cause is Cause.EXTERNAL
    assert difference.cost == 0


@pytest.mark.long
def test_an_order_of_another_program_is_an_incident(
    stage: Callable[..., Stage],
) -> None:
    def by_hand(emulator: Emulator, _strategy: Any) -> None:
        emulator.external_order(symbol="990001", side="buy", quantity=3)

    checked = check_parity(stage().run(at_0955=by_hand))
    kinds = {incident.kind for incident in checked.live.incidents}
    assert IncidentKind.EXTERNAL_ORDER in kinds
    assert checked.parity.explained


def test_late_and_revised_candles_cost_what_they_cost(
    stage: Callable[..., Stage],
) -> None:
    run = stage().run()
    clean = check_parity(run)
    fill = clean.run.fills[0]
    bought = clean.run.trades[0].entry_price
    # The exchange's candle of the first fill opens 500 won higher than was seen.
    event = CandleEvent(
        at=fill.bar,
        kind=CandleChange.REVISED,
        symbol=fill.symbol,
        bar=fill.bar,
        true_open=bought + 500,
        true_high=bought + 1_000,
        true_low=bought - 1_000,
        true_close=bought,
        true_volume=100_000.0,
    )
    late = replace(
        event,
        kind=CandleChange.LATE,
        bar=clean.run.fills[-1].bar + timedelta(minutes=1),
    )
    files = live_files((late, event), clean.live.order_events)
    for name, content in files.items():
        (run / name).write_bytes(content)
    checked = check_parity(run)
    assert causes(checked) == [Cause.CANDLE_REVISED, Cause.CANDLE_LATE]
    by_cause = checked.parity.costs
    # Ten shares at one step above 500 won more, and the commission on that.
    assert by_cause[Cause.CANDLE_REVISED] < -4_900
    assert checked.parity.explained
    assert not checked.parity.same
    assert adds_up(checked)


@pytest.mark.long
def test_a_restart_goes_on_and_is_the_same(stage: Callable[..., Stage]) -> None:
    def stop(_emulator: Emulator, _strategy: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    scene = stage()
    first = check_parity(scene.run("first", at_0937=stop))
    second = check_parity(scene.run("second"))
    assert first.parity.explained
    assert second.parity.explained
    held = second.live.starting_positions
    assert set(held) == set(SYMBOLS)
    assert all(quantity == 10 for quantity, _average in held.values())
    kinds = {incident.kind for incident in second.live.incidents}
    assert IncidentKind.RESTART in kinds
    assert len(second.run.trades) > len(SYMBOLS)


def test_orders_of_the_run_before_are_taken_along(
    stage: Callable[..., Stage],
) -> None:
    def stop(_emulator: Emulator, _strategy: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    scene = stage()
    first = check_parity(scene.run("first", at_0952=stop))
    assert first.parity.same
    notes = {i.order_ref: i.kind for i in first.live.incidents}
    assert notes == {5: IncidentKind.HALT, 6: IncidentKind.HALT}
    second = check_parity(scene.run("second"))
    assert [order.order_ref for order in second.live.starting_orders] == [1, 2]
    assert causes(second) == [Cause.RESTART, Cause.RESTART]
    assert second.parity.total_cost == 0


def test_a_run_that_lies_is_found_out(stage: Callable[..., Stage]) -> None:
    run = stage().run()
    copy = run.parent / "copy"

    def lie(name: str, change: Callable[[str], str]) -> Checked:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        path = copy / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        return check_parity(copy)

    def without_line(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(lines[:3] + lines[4:])

    def another_price(text: str) -> str:
        head, first, *rest = text.splitlines(keepends=True)
        cells = first.split(",")
        cells[5] = str(int(float(cells[5]) * 1.2))
        return "".join([head, ",".join(cells), *rest])

    def another_quantity(text: str) -> str:
        head, first, *rest = text.splitlines(keepends=True)
        return "".join([head, first.replace(",10,", ",11,", 1), *rest])

    for name, change in (
        ("orders.csv", without_line),
        ("fills.csv", another_price),
        ("fills.csv", without_line),
        ("orders.csv", another_quantity),
    ):
        found = lie(name, change)
        assert not found.parity.explained, (name, change)
    assert command(["parity", str(copy), "--lang", "en"]) == 1


@pytest.mark.long
def test_the_page_tells_both_languages(
    stage: Callable[..., Stage], tmp_path: Path
) -> None:
    scene = stage(slippage_ticks=2)
    checked = check_parity(scene.run())
    for language in ("ko", "en"):
        page = write_parity(checked, language=language, folder=tmp_path / language)
        text = page.read_text(encoding="utf-8")
        assert f'<html lang="{language}">' in text
        assert checked.run.run["id"] in text


def test_a_backtest_has_nothing_to_compare(tmp_path: Path) -> None:
    out = tmp_path / "plain"
    config = str(ROOT / "configs" / "ma_cross.yaml")
    assert command(["backtest", config, "--out", str(out), "--no-report"]) == 0
    with pytest.raises(InputError, match="compare"):
        check_parity(out)
    assert command(["parity", str(out)]) == 2
