"""Candles for many processes: one file that all of them map, or one array sent once."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kisbt.candles.bases import SessionBases
from kisbt.candles.columns import VALUES, CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.model.candle import Interval
from kisbt.model.instrument import Instrument

Block = npt.NDArray[np.float64]

_ROWS = ("end", *VALUES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where each symbol's candles lie in a block.

    Attributes:
        path: of the store they came from, for messages.
        interval: of all of them.
        places: first and last position by symbol, the last not included.
        instruments: what symbols.csv of the store says.
        bases: base prices by symbol, of minute candles.
        digest: SHA-256 of the block.
    """

    path: str
    interval: Interval
    places: Mapping[str, tuple[int, int]]
    instruments: Mapping[str, Instrument]
    bases: Mapping[str, SessionBases]
    digest: str


def pack(
    candles: Mapping[str, CandleColumns], store: CandleStore, interval: Interval
) -> tuple[Shelf, Block]:
    """Return the candles as one block, shape (6, bars of all symbols).

    Times are the bits of datetime64[s] in a row of float64.
    """
    sizes = [len(columns) for columns in candles.values()]
    stops = np.cumsum([0, *sizes]).tolist()
    block = np.empty((len(_ROWS), stops[-1]))
    places = {}
    for symbol, start, stop in zip(candles, stops, stops[1:], strict=False):
        columns = candles[symbol]
        block[0, start:stop] = columns.end.astype("<i8").view(np.float64)
        for row, name in enumerate(VALUES, start=1):
            block[row, start:stop] = getattr(columns, name)
        places[symbol] = (start, stop)
    shelf = Shelf(
        path=str(store.path),
        interval=interval,
        places=places,
        instruments=dict(store.instruments()),
        bases={}
        if interval.is_daily
        else {symbol: store.bases(symbol, item) for symbol, item in candles.items()},
        digest=hashlib.sha256(block.tobytes()).hexdigest(),
    )
    return shelf, block


class ShelfStore(CandleStore):
    """A candle store over a block; nothing is copied and nothing written."""

    def __init__(self, shelf: Shelf, block: Block) -> None:
        """Read from `block`, which may be a memory map."""
        super().__init__(shelf.path)
        self._shelf, self._block = shelf, np.asarray(block)
        self._instruments = dict(shelf.instruments)

    def read(
        self,
        symbol: str,
        interval: Interval,
        *,
        adjusted: bool = True,
        keep_silent: bool = False,
    ) -> CandleColumns:
        """Return the candles of one symbol; see `CandleStore.read`.

        The block holds one kind of candles: `adjusted` and `keep_silent` were
        decided when it was made.
        """
        place = self._shelf.places.get(symbol)
        if place is None or interval != self._shelf.interval:
            raise self._missing(symbol, interval, adjusted=adjusted)
        part = self._block[:, slice(*place)]
        return CandleColumns(
            np.ascontiguousarray(part[0]).view("<i8").view("datetime64[s]"), *part[1:]
        )

    def bases(self, symbol: str, minutes: CandleColumns) -> SessionBases:
        """Return the base prices of one symbol; see `CandleStore.bases`."""
        return self._shelf.bases[symbol]


def save_block(block: Block, folder: Path) -> Path:
    """Write the block where other processes of this machine can map it."""
    path = folder / "candles.npy"
    np.save(path, block)
    return path


def map_block(path: str) -> Block:
    """Return a block of a file without reading it."""
    block: Any = np.load(path, mmap_mode="r")
    return np.asarray(block)
