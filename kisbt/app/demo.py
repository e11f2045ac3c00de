"""The second half of the demo: the same class on a server, and then parity."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kisbt.app.init import starter_folder
from kisbt.app.live import LiveOptions, run_live
from kisbt.app.parity import Checked, check_parity, write_parity
from kisbt.app.venue import Mode
from kisbt.config.load import load_config
from kisbt.text import current_language

MINUTES = Path("configs") / "ma_rsi_bollinger_1m.yaml"
"""What the demo runs on the emulator."""

_STATE = "KISBT_STATE"


def emulator_demo(
    folder: Path,
    *,
    say: Callable[[str], None] = lambda text: None,
    with_report: bool = True,
) -> Checked:
    """Run one session of the bundled minutes on an emulator of its own, then parity.

    Nothing is left behind but the run folder: journal and token of an emulator that
    has ended are of no use.

    Args:
        folder: of the run, new or empty.
        say: takes a line for people for each thing that happens.
        with_report: write report.html.
    """
    config = load_config(
        starter_folder() / MINUTES,
        overrides={
            "mode": "paper",
            "paper.server": "emulator",
            "paper.step": True,
            "paper.sessions": 1,
        },
    )
    with _state_of_its_own():
        finished = run_live(
            config,
            Mode.PAPER,
            LiveOptions(out=folder, once=True, with_report=with_report, watchdog=False),
            say=say,
        )
    checked = check_parity(finished.folder)
    write_parity(checked, language=current_language())
    return checked


@contextmanager
def _state_of_its_own() -> Iterator[None]:
    before = os.environ.get(_STATE)
    with tempfile.TemporaryDirectory(
        prefix="kisbt-demo-", ignore_cleanup_errors=True
    ) as folder:
        os.environ[_STATE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[_STATE]
            else:
                os.environ[_STATE] = before
