"""Columns of numbers as short text that a browser can unpack.

A column becomes whole numbers (a decimal step chosen so that nothing visible is
lost), then differences from a prediction, then bytes sorted by significance, and
all columns of a symbol together are deflated and written as base64. Candles of
200 symbols over 16 years with six indicator lines take some 13 MB so; as JSON
they would take 100. `templates/report.js` has the way back.
"""

import base64
import json
import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kisbt.model.result import Floats, Times
from kisbt.report.charts import SymbolChart

Ints = npt.NDArray[np.int64]

_LARGEST = 2**30
"""Differences of numbers below this fit the browser's 32-bit integers."""

_PRICE_DIGITS = 5
_LINE_DIGITS = 4
_MAX_DECIMALS = 3


@dataclass(slots=True)
class Packer:
    """Collects columns and turns them into one text.

    Attributes:
        columns: what the browser needs to unpack each column.
        planes: the bytes of all columns, in the same order.
    """

    columns: list[dict[str, Any]] = field(default_factory=list)
    planes: list[bytes] = field(default_factory=list)
    _seen: dict[bytes, int] = field(default_factory=dict)

    def add(self, difference: Ints, **about: Any) -> None:
        """Add whole numbers; `about` goes along for the browser."""
        coded = _zigzag(difference)
        raw = coded.tobytes()
        same = self._seen.get(raw)
        if same is not None:
            self.columns.append({**about, "as": same})
            return
        self._seen[raw] = len(self.columns)
        width = max(1, (int(coded.max()).bit_length() + 7) // 8) if len(coded) else 1
        self.columns.append({**about, "bytes": width})
        octets = coded.astype("<u4").view(np.uint8).reshape(-1, 4)
        self.planes += [octets[:, plane].tobytes() for plane in range(width)]

    def text(self, **about: Any) -> str:
        """Return everything as base64 of deflated bytes: header, then columns."""
        header = json.dumps({**about, "columns": self.columns}).encode()
        size = len(header).to_bytes(4, "little")
        return pack_bytes(size + header + b"".join(self.planes))


def pack_bytes(content: bytes) -> str:
    """Return deflated bytes as base64."""
    return base64.b64encode(zlib.compress(content, 6)).decode()


def pack_json(content: Any) -> str:
    """Return a JSON value as base64 of its deflated text."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return pack_bytes(text.encode(errors="replace"))


def pack_axis(time: Times) -> str:
    """Return the times of all bars of all symbols, naive KST seconds."""
    packer = Packer()
    seconds = time.astype("datetime64[s]").astype(np.int64)
    packer.add(_delta(seconds // 60, 1), name="minute", order=1)
    return packer.text(n=len(time))


def pack_chart(chart: SymbolChart, axis: Times) -> str:
    """Return one symbol's candles and lines.

    Args:
        chart: what to draw.
        axis: all bar times of the report, increasing; holds every one of `chart`.
    """
    packer = Packer()
    at = np.searchsorted(axis, chart.end).astype(np.int64)
    packer.add(_delta(at, 1), name="at", order=1)
    step = price_step(np.concatenate((chart.open, chart.high, chart.low, chart.close)))
    opened, high, low, close = (
        quantise(column, step)
        for column in (chart.open, chart.high, chart.low, chart.close)
    )
    packer.add(_delta(close, 1), name="close", step=step, order=1)
    packer.add(opened - close, name="open", step=step)
    packer.add(high - np.maximum(opened, close), name="high", step=step)
    packer.add(np.minimum(opened, close) - low, name="low", step=step)
    share = whole_step(chart.volume)
    packer.add(quantise(chart.volume, share), name="volume", step=share)
    for name, line in chart.lines.items():
        _add_line(packer, name, line.values, overlay=line.overlay)
    return packer.text(n=len(chart.end))


def _add_line(packer: Packer, name: str, values: Floats, *, overlay: bool) -> None:
    step = line_step(values)
    known = np.isfinite(values)
    coded = quantise(_filled(values, known), step)
    # A smooth line is predicted better from its slope, a jagged one is not.
    order = min((1, 2), key=lambda order: _cost(_delta(coded, order)))
    packer.add(
        _delta(coded, order),
        line=name,
        step=step,
        order=order,
        overlay=overlay,
        gaps=_gaps(known),
    )


def price_step(prices: Floats) -> float:
    """Return the largest decimal step that keeps every price, or nearly."""
    prices = prices[np.isfinite(prices)]
    if not len(prices):
        return 1.0
    if (prices == np.round(prices)).all():
        return whole_step(prices)
    for decimals in range(1, _MAX_DECIMALS + 1):
        scaled = prices * 10.0**decimals
        if (np.abs(scaled - np.round(scaled)) <= 1e-6 + 1e-10 * np.abs(scaled)).all():
            return max(10.0**-decimals, _least_step(prices))
    positive = prices[prices > 0]
    smallest = float(positive.min()) if len(positive) else 1.0
    step: float = 10.0 ** (math.floor(math.log10(smallest)) - _PRICE_DIGITS)
    return max(step, _least_step(prices))


def whole_step(values: Floats) -> float:
    """Return the largest whole number that divides all values, at least 1."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 1.0
    if float(np.abs(values).max()) >= _LARGEST:
        return _least_step(values)
    common = int(np.gcd.reduce(np.abs(np.round(values)).astype(np.int64)))
    return float(max(1, common))


def line_step(values: Floats) -> float:
    """Return a step that keeps four to five digits of a typical value."""
    values = np.abs(values[np.isfinite(values)])
    values = values[values > 0]
    if not len(values):
        return 1.0
    typical = float(np.median(values))
    step: float = 10.0 ** (math.floor(math.log10(typical)) - _LINE_DIGITS)
    return max(step, _least_step(values))


def _least_step(values: Floats) -> float:
    """Return the smallest power of ten with which all values stay in range."""
    largest = float(np.abs(values).max())
    ratio = largest / _LARGEST
    return 10.0 ** math.ceil(math.log10(ratio)) if ratio > 0 else 1e-12


def quantise(values: Floats, step: float) -> Ints:
    """Return values in whole steps; what is no number becomes zero."""
    clean = np.where(np.isfinite(values), values, 0.0)
    return np.round(clean / step).astype(np.int64)


def _delta(values: Ints, order: int) -> Ints:
    """Return differences of the given order; the first values stand in front."""
    for _turn in range(order):
        values = np.diff(values, prepend=0)
    return values


def _zigzag(values: Ints) -> Ints:
    """Map 0, -1, 1, -2 ... to 0, 1, 2, 3 ...; second differences may need wrapping."""
    wrapped = values.astype(np.int32).astype(np.int64)
    return np.where(wrapped < 0, -2 * wrapped - 1, 2 * wrapped)


def _cost(difference: Ints) -> float:
    return float(np.log2(np.abs(difference) + 1.0).sum())


def _filled(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Return values with each gap filled by the value before it."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), 0))
    return values[last]


def _gaps(known: npt.NDArray[np.bool_]) -> list[int]:
    """Return where gaps begin and end: start, end, start, end ..."""
    edges = np.diff(np.concatenate(([False], ~known, [False])).astype(np.int8))
    found: list[int] = np.flatnonzero(edges).tolist()
    return found
