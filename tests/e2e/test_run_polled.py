"""More symbols than a websocket follows: the rest is asked for."""

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from kisbt.app.venue import Mode
from kisbt.candles.store import CandleStore
from kisbt.krx.calendar import KST
from kisbt.model.candle import MINUTE
from tests.helpers.runs import ROOT, market, minute_config

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_symbols_beyond_forty_are_polled_on_the_real_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path / "state"))
    codes = [f"{991_001 + number}" for number in range(42)]
    store = tmp_path / "store"
    for interval in ("1m", "1d"):
        (store / interval).mkdir(parents=True)
        for number, code in enumerate(codes):
            source = ROOT / "data" / interval / f"99000{number % 5 + 1}.csv"
            shutil.copyfile(source, store / interval / f"{code}.csv")
    listed = "".join(f"{code},{code},KOSPI,STOCK\n" for code in codes)
    (store / "symbols.csv").write_text("symbol,name,market,product\n" + listed)
    config = minute_config(
        universe__symbols=codes, data__path=str(store), paper__replay=str(store)
    )
    with market(
        tmp_path,
        data=store,
        symbols=tuple(codes),
        environment="real",
        start=datetime(2025, 12, 30, 15, 5, tzinfo=KST),
    ) as there:
        finished = there.run(config, Mode.REHEARSAL)
        assert there.untrue(Mode.REHEARSAL, ended=False) == []
    seen = CandleStore(finished.folder / "candles").read(codes[-1], MINUTE)
    true = CandleStore(store).read(codes[-1], MINUTE)
    assert finished.exit_state == "done"
    # The exact second of a trade is not known: it may count in the next minute.
    since = np.datetime64("2025-12-30T15:10:00")
    here, there_ = seen.between(since, None), true.between(since, None)
    assert here.end[-1] == there_.end[-1]
    assert here.close[-1] == there_.close[-1]
    assert here.volume.sum() == pytest.approx(there_.volume.sum(), rel=0.05)
