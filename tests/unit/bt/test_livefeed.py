"""A feed that has grown knows what one of the whole history knows."""

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pytest

from kisbt.bt.feed import CandleFeed
from kisbt.candles.columns import VALUES
from kisbt.candles.store import CandleStore
from kisbt.model.candle import MINUTE
from tests.helpers.liveruns import run_live

SAMPLE = Path(__file__).parents[3] / "data"
SYMBOL = "990001"
BARS = 4 * 381 - 100


class _Asking(bt.Strategy):
    def __init__(self) -> None:
        self.volumes: dict[int, float | None] = {}

    def next(self) -> None:
        bar = len(self.data) - 1
        if bar % 50 == 0:
            self.volumes[bar] = self.data.average_volume(bar, 2)


@pytest.mark.parametrize("warmup", [0, 381, 500])
def test_a_grown_feed_knows_what_a_whole_one_does(warmup: int) -> None:
    whole = CandleStore(SAMPLE).read(SYMBOL, MINUTE).slice(0, BARS)
    live = run_live(_Asking, {SYMBOL: whole}, warmup=warmup)
    feed: Any = live.feeds[SYMBOL]
    assert len(feed.p.dataname) == warmup
    for name in ("end", *VALUES):
        np.testing.assert_array_equal(
            getattr(feed.candles, name), getattr(whole, name), name
        )
    stored = CandleFeed(dataname=whole, name=SYMBOL, interval=MINUTE)
    asked = live.strategy.volumes
    assert asked == {bar: stored.average_volume(bar, 2) for bar in asked}
    assert any(volume is not None for volume in asked.values())
    np.testing.assert_array_equal(
        [feed.reference_close(bar) for bar in range(len(whole))],
        [stored.reference_close(bar) for bar in range(len(whole))],
    )
