"""A broken stream under a whole run: rows 44 to 64 of the fault matrix.

After each, the journal must say what the emulator's own book says: nothing lost,
nothing booked twice.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from kisbt.app import gate
from kisbt.app.parity import check_parity
from kisbt.app.venue import Mode
from kisbt.candles.store import CandleStore
from kisbt.errors import ConfigError, SafetyRefused
from kisbt.krx.calendar import KST
from kisbt.model.candle import MINUTE
from strategies.ma_rsi_bollinger import MaRsiBollinger
from tests.helpers.runs import ROOT, Market, market, minute_config

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

# The last hour of a session in which the strategy trades.
LATE = datetime(2025, 12, 30, 14, 25, tzinfo=KST)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))


def _events(there: Market, kind: str) -> int:
    text = (there.folder / "run1" / "candle_events.csv").read_text("utf-8-sig")
    return text.count(f",{kind},")


ROWS = {
    "44 dropped during a fill": "ws(drop, tr=notice, nth=2)",
    "45 one fill frame missing": "ws(mute, tr=notice, nth=2)",
    "45 every fill frame missing": "ws(mute, tr=notice, count=999)",
    "46 every frame three times": "ws(dup, 3, tr=notice, count=999)",
    "48 frames out of order": "ws(reorder, tr=notice, count=999)",
    "49 fills before the answers": "accept_then(delay, 0.2, count=99)",
    "51 notices wider than known": "ws(notice_width, 1, tr=notice, count=999)",
    "52 several records in a frame": "ws(multi, 3, tr=trade, count=30)",
    "53 a key that does not fit": "ws(bad_key, tr=notice)",
    "54 broken frames": "ws(corrupt, tr=trade, nth=40, count=20)",
    "56 no signs of life": "ws(no_ping, count=99)",
    "60 dropped again and again": "ws(drop, tr=trade, nth=300, count=2)",
    "61 more trades than can be read": "ws(flood, 5000, tr=trade, nth=50)",
    "63 trades missing": "ws(mute, tr=trade, nth=60, count=8)",
}


@pytest.mark.parametrize("fault", ROWS.values(), ids=ROWS.keys())
def test_row(fault: str, tmp_path: Path) -> None:
    with market(tmp_path, start=LATE) as there:
        there.emulator.fault(fault)
        finished = there.run()
        assert finished.exit_state == "done"
        assert finished.result.fills
        assert there.untrue(ended=False) == []


def test_row_47_equal_partial_fills_in_a_second_are_all_booked(tmp_path: Path) -> None:
    with market(tmp_path, start=LATE) as there:
        there.emulator.fault("ex(partial, 1, 1, count=9)")
        finished = there.run()
        assert there.untrue(ended=False) == []
    order = finished.result.fills[0].order_ref
    parts = [f for f in finished.result.fills if f.order_ref == order]
    # One share and one share again: a query in between tells them as one or as two.
    assert [part.quantity for part in parts[:-1]] in ([2], [1, 1])


def test_row_50_an_acknowledgement_is_no_fill(tmp_path: Path) -> None:
    with market(tmp_path, start=LATE) as there:
        finished = there.run()
        account = there.emulator.state()["mock"]["account"]
        assert there.untrue(ended=False) == []
    held = {row.symbol: row.quantity for row in finished.result.open_positions}
    assert held == {s: row["quantity"] for s, row in account["holdings"].items()}


def test_row_57_a_session_in_use_is_named_and_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_READY_S", 3.0)
    with market(tmp_path, start=LATE) as there:
        there.emulator.fault("ws(sub_reject, OPSP8996, nth=*)")
        with pytest.raises(SafetyRefused, match="another program uses"):
            there.run()
        assert there.emulator.state()["mock"]["orders"] == []


def test_row_59_without_an_answer_to_subscriptions_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_READY_S", 3.0)
    with market(tmp_path, start=LATE) as there:
        there.emulator.fault("ws(mute_control, tr=control, count=99)")
        with pytest.raises(SafetyRefused, match="not up after 3 s"):
            there.run()
        assert there.emulator.state()["mock"]["orders"] == []


def test_row_58_more_symbols_than_a_session_takes_are_refused(tmp_path: Path) -> None:
    codes = [f"{991_000 + number:06}" for number in range(60)]
    config = minute_config(universe__symbols=codes)
    with (
        market(tmp_path, start=LATE) as there,
        pytest.raises(ConfigError, match="60 symbols on minute bars"),
    ):
        there.run(config)


def test_row_63_a_gap_in_the_trades_is_flagged(tmp_path: Path) -> None:
    with market(tmp_path, start=LATE) as there:
        there.emulator.fault("ws(mute, tr=trade, nth=60, count=8)")
        there.run()
        assert _events(there, "gap") >= 1


def test_a_symbol_refused_after_a_reconnect_is_asked_for_instead(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    with market(tmp_path, start=LATE) as there:
        there.emulator.fault("ws(drop, tr=trade, nth=60)")
        # Five symbols are subscribed at first: the sixth is one again.
        there.emulator.fault("ws(sub_reject, OPSP8993, tr=H0STCNT0, nth=6)")
        finished = there.run(say=said.append)
        assert there.untrue(ended=False) == []
    assert finished.exit_state == "done"
    (line,) = [text for text in said if "asked for every 3 s instead" in text]
    symbol = next(s for s in there.emulator.settings.symbols if s in line)
    ends = CandleStore(finished.folder / "candles").read(symbol, MINUTE).end
    true = CandleStore(ROOT / "data").read(symbol, MINUTE)
    since = np.datetime64("2025-12-30T15:00:00")
    assert ends[-1] == true.between(since, None).end[-1]
    assert len(ends[ends >= since]) >= 20


def test_row_44_on_the_real_server_as_well(tmp_path: Path) -> None:
    with market(tmp_path, start=LATE, environment="real") as there:
        there.emulator.fault("ws(drop, tr=notice, nth=2)")
        finished = there.run(mode=Mode.REHEARSAL)
        assert finished.exit_state == "done"
        assert there.untrue(Mode.REHEARSAL, ended=False) == []


def _told(folder: Path, fault: str) -> tuple[Any, ...]:
    """Return what a run over a fault saw and did, and the incidents of it."""
    with market(folder, start=LATE) as there:
        if fault:
            there.emulator.fault(fault)
        finished = there.run()
        assert there.untrue(ended=False) == []
    result = finished.result
    seen = {
        path.name: path.read_text("utf-8")
        for path in sorted((finished.folder / "candles" / "1m").glob("*.csv"))
    }
    fills = [(f.bar, f.symbol, f.side, f.quantity, f.price) for f in result.fills]
    orders = [(o.created, o.symbol, o.quantity, o.state) for o in result.orders]
    breaks = [i for i in result.run["incidents"] if i["kind"] == "disconnect"]
    assert result.run["held_bars"] == []
    return (seen, fills, orders, result.equity.equity.tolist()), breaks


@pytest.mark.parametrize(
    ("fault", "count"),
    [
        pytest.param("ws(drop, tr=trade, nth=300)", 1, id="once"),
        pytest.param("ws(drop, tr=notice, nth=1)", 1, id="on a notice"),
        pytest.param("ws(drop, tr=trade, nth=100, count=2)", 2, id="twice"),
        pytest.param(
            "ws(half_open, tr=trade, nth=300)", 1, id="silent", marks=pytest.mark.long
        ),
    ],
)
def test_what_a_broken_stream_kept_back_comes_from_the_chart_in_time(
    fault: str, count: int, tmp_path: Path
) -> None:
    (tmp_path / "quiet").mkdir()
    (tmp_path / "broken").mkdir()
    quiet, none = _told(tmp_path / "quiet", "")
    broken, breaks = _told(tmp_path / "broken", fault)
    assert broken == quiet
    assert quiet[1]
    assert none == []
    assert len(breaks) == count


def test_a_run_with_a_broken_stream_is_the_same_as_its_backtest(tmp_path: Path) -> None:
    with market(tmp_path, start=LATE) as there:
        there.emulator.fault("ws(drop, tr=trade, nth=300)")
        finished = there.run()
    assert check_parity(finished.folder).parity.same


class Listening(MaRsiBollinger):
    """Notes what is said of its first feed, and when it is called."""

    told: ClassVar[list[tuple[str, int]]] = []

    def notify_data(self, data: Any, status: int, *_args: Any, **_more: Any) -> None:
        if data is self.data:
            self.told.append((data._getstatusname(status), len(data)))

    def next(self) -> None:
        if not self.told or self.told[-1][0] != "called":
            self.told.append(("called", len(self.data)))
        super().next()


def test_feeds_are_told_live_before_the_strategy_is_called(tmp_path: Path) -> None:
    Listening.told.clear()
    with market(tmp_path) as there:
        there.emulator.fault("ws(drop, tr=trade, nth=300)")
        there.run(minute_config(paper__sessions=1), strategy=Listening, once=True)
    words = [word for word, _length in Listening.told]
    assert words == [
        "DELAYED",
        "LIVE",
        "called",
        "CONNBROKEN",
        "LIVE",
        "called",
        "DISCONNECTED",
    ]
