"""Whole runs against an emulator of the test, so that several can follow each other."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import backtrader as bt

from kisbt.app.connect import emulator_access
from kisbt.app.live import Finished, LiveOptions, run_live
from kisbt.app.state import journal_path
from kisbt.app.venue import Mode
from kisbt.config.schema import Config
from kisbt.emulator.house import Settings
from kisbt.emulator.rules import Matching
from kisbt.emulator.runner import Emulator, write_ready_file
from kisbt.krx.calendar import KST
from kisbt.model.candle import MINUTE
from kisbt.orders.journal import Journal
from kisbt.orders.journalfile import Access as JournalAccess
from strategies.ma_rsi_bollinger import MaRsiBollinger
from tests.helpers.parity import PERMISSIVE, configured
from tests.helpers.truth import differences

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "ma_rsi_bollinger_1m.yaml"
FIRST = datetime(2025, 12, 29, 8, 20, tzinfo=KST)
CAPITAL = 10_000_000


def minute_config(**overrides: object) -> Config:
    """Return the house strategy on minute bars, limits off."""
    return configured(CONFIG, **{**PERMISSIVE, "report__benchmark": None, **overrides})


class Market:
    """An emulator that outlives the runs on it."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.ready_file = folder / "ready.json"
        write_ready_file(self.ready_file, emulator.ready)
        self._runs = 0

    def run(
        self,
        config: Config | None = None,
        mode: Mode = Mode.PAPER,
        *,
        strategy: type[bt.Strategy] | None = None,
        say: Callable[[str], None] = lambda text: None,
        **options: Any,
    ) -> Finished:
        """Run until it ends by itself."""
        self._runs += 1
        wanted = LiveOptions(
            ready_file=self.ready_file,
            out=self.folder / f"run{self._runs}",
            with_report=False,
            **options,
        )
        return run_live(
            config or minute_config(), mode, wanted, strategy=strategy, say=say
        )

    @contextmanager
    def journal(self, mode: Mode = Mode.PAPER) -> Iterator[Journal]:
        """Open the journal of the account to read."""
        access = emulator_access(self.ready_file, mode.environment)
        with Journal(journal_path(access.state), access=JournalAccess.READ) as found:
            yield found

    def untrue(self, mode: Mode = Mode.PAPER, **facts: Any) -> list[str]:
        """Return where the journal differs from what really happened."""
        with self.journal(mode) as journal:
            return differences(
                journal,
                self.emulator.state(calls=True),
                capital=CAPITAL,
                environment=mode.environment.value,
                **facts,
            )


@contextmanager
def market(folder: Path, **changes: Any) -> Iterator[Market]:
    """Replay the bundled minutes from 2025-12-29 on, stepped by the runs."""
    values: dict[str, Any] = {
        "data": ROOT / "data",
        "start": FIRST,
        "step": True,
        "matching": Matching.CANDLE,
        "interval": MINUTE,
        "slippage_ticks": 1,
        "volume_share": 0.1,
        "symbols": ("990001", "990002", "990003", "990004", "990005"),
        "cash": CAPITAL,
    }
    with Emulator(Settings(**{**values, **changes})) as emulator:
        yield Market(emulator, folder)


def interrupted_after(bars: int, number: int = signal.SIGINT) -> type[bt.Strategy]:
    """Return the house strategy, and a person who presses Ctrl-C after some bars."""

    class Interrupted(MaRsiBollinger):
        def next(self) -> None:
            super().next()
            self.passed = getattr(self, "passed", 0) + 1
            if self.passed == bars:
                os.kill(os.getpid(), number)

    return Interrupted


def raising_after(bars: int) -> type[bt.Strategy]:
    """Return the house strategy with a mistake in it that shows after some bars."""

    class Mistaken(MaRsiBollinger):
        def next(self) -> None:
            super().next()
            self.passed = getattr(self, "passed", 0) + 1
            if self.passed == bars:
                raise ZeroDivisionError("a mistake of the strategy's author")

    return Mistaken
