from pathlib import Path

import numpy as np
import pytest

from kisbt.candles.store import CandleStore
from kisbt.errors import MissingCandles
from kisbt.model.candle import DAILY, MINUTE
from kisbt.optimize.shared import ShelfStore, map_block, pack, save_block
from tests.helpers.search_market import make_store, noise


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    folder = tmp_path / "data"
    folder.mkdir()
    return CandleStore(
        make_store(folder, {"100000": noise(50, 1), "200000": noise(30, 2)})
    )


def test_mapped_candles_equal_those_of_the_store(
    store: CandleStore, tmp_path: Path
) -> None:
    symbols = ("100000", "200000")
    shelf, block = pack({s: store.read(s, DAILY) for s in symbols}, store, DAILY)
    path = save_block(block, tmp_path)
    shared = ShelfStore(shelf, map_block(str(path)))
    for symbol in symbols:
        own, mapped = store.read(symbol, DAILY), shared.read(symbol, DAILY)
        assert np.array_equal(own.end, mapped.end)
        for name in ("open", "high", "low", "close", "volume"):
            assert np.array_equal(getattr(own, name), getattr(mapped, name))
            # Nothing was copied out of the file.
            assert not getattr(mapped, name).flags.owndata
    assert shared.instruments() == store.instruments()


def test_what_is_not_on_the_shelf_is_missing(store: CandleStore) -> None:
    shared = ShelfStore(*pack({"100000": store.read("100000", DAILY)}, store, DAILY))
    with pytest.raises(MissingCandles, match="no 1d candles of 200000"):
        shared.read("200000", DAILY)
    with pytest.raises(MissingCandles):
        shared.read("100000", MINUTE)


def test_digest_follows_the_candles(store: CandleStore) -> None:
    one = pack({"100000": store.read("100000", DAILY)}, store, DAILY)[0]
    same = pack({"100000": store.read("100000", DAILY)}, store, DAILY)[0]
    other = pack({"200000": store.read("200000", DAILY)}, store, DAILY)[0]
    assert one.digest == same.digest != other.digest
