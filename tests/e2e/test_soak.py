"""Many sessions in a row: day changes, token renewals, a holiday, an exam day, sleep."""

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kisbt.app import live
from kisbt.app.venue import Mode
from strategies.ma_rsi_bollinger import MaRsiBollinger
from tests.helpers.parity import PERMISSIVE, backtest_of, configured, differences
from tests.helpers.runs import ROOT, market, minute_config

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CSAT = date(2025, 11, 13)  # everything an hour later
HOLIDAY = date(2025, 12, 25)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def test_thirty_sessions_over_an_exam_day_and_a_holiday(tmp_path: Path) -> None:
    config = configured(
        ROOT / "configs" / "ma_rsi_bollinger.yaml",
        **{**PERMISSIVE, "report__benchmark": None},
    )
    with market(
        tmp_path,
        start=date(2025, 11, 12),
        environment="real",
        interval=config.bars.length,
    ) as there:
        finished = there.run(config, Mode.REHEARSAL)
        truth = there.emulator.state()["real"]
        assert there.untrue(Mode.REHEARSAL, ended=False) == []
    days = [
        str(moment.astype("datetime64[D]")) for moment in finished.result.equity.time
    ]
    assert finished.exit_state == "done"
    assert len(days) == 34
    assert CSAT.isoformat() in days
    assert HOLIDAY.isoformat() not in days
    exam = [m for m in finished.result.equity.time if str(m).startswith("2025-11-13")]
    assert str(exam[0]).endswith("16:30:00")
    # A token is good for a day.
    assert truth["tokens_issued"] >= 20
    assert truth["limit"]["refused"] == 0
    assert differences(finished.result, backtest_of(config, finished).result) == []


def test_a_machine_asleep_for_two_hours_decides_on_nothing_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_venue, seen = live.open_venue, {}

    def opened(*args: Any, **kwargs: Any) -> Any:
        seen["venue"] = open_venue(*args, **kwargs)
        return seen["venue"]

    monkeypatch.setattr(live, "open_venue", opened)

    class Asleep(MaRsiBollinger):
        def next(self) -> None:
            super().next()
            self.passed = getattr(self, "passed", 0) + 1
            if self.passed == 100:
                self.slept_at = self.datetime.datetime(0)
                seen["venue"].clock.sleep(2 * 3600)

    with market(tmp_path) as there:
        finished = there.run(minute_config(), strategy=Asleep, once=True)
        assert there.untrue(ended=False) == []
    times = finished.result.equity.time.tolist()
    gaps = [b - a for a, b in pairwise(times)]
    woke = gaps.index(max(gaps)) + 1
    assert max(gaps).total_seconds() >= 7_000
    made = {row.created.replace(tzinfo=None) for row in finished.result.orders}
    assert not [moment for moment in made if times[woke - 1] < moment < times[woke]]
    assert finished.exit_state == "done"
