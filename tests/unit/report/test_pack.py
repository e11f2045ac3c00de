import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from kisbt.report.charts import ChartLine, SymbolChart
from kisbt.report.pack import (
    line_step,
    pack_axis,
    pack_chart,
    pack_json,
    price_step,
    whole_step,
)
from tests.helpers.results import chart, sessions


def unpack(text: str) -> dict[str, Any]:
    """Unpack as the page's script does, in 32-bit arithmetic."""
    raw = zlib.decompress(base64.b64decode(text))
    size = int.from_bytes(raw[:4], "little")
    header: dict[str, Any] = json.loads(raw[4 : 4 + size])
    at, count, places = 4 + size, header["n"], []
    for column in header["columns"]:
        if "as" in column:
            places.append(places[column["as"]])
        else:
            places.append((at, column["bytes"]))
            at += count * column["bytes"]
        start, width = places[-1]
        coded = np.zeros(count, dtype=np.uint32)
        for plane in range(width):
            begin = start + plane * count
            octets = np.frombuffer(raw[begin : begin + count], dtype=np.uint8)
            coded |= octets.astype(np.uint32) << np.uint32(8 * plane)
        values = (coded >> np.uint32(1)).astype(np.int32) ^ -(
            (coded & np.uint32(1)).astype(np.int32)
        )
        for _turn in range(column.get("order", 0)):
            values = np.cumsum(values, dtype=np.int32)
        column["values"] = values.astype(np.int64)
    assert at == len(raw)
    return header


def candles(text: str) -> dict[str, np.ndarray]:
    raw = {c["name"]: c for c in unpack(text)["columns"] if "name" in c}
    step = raw["close"]["step"]
    close = raw["close"]["values"]
    opened = close + raw["open"]["values"]
    return {
        "open": opened * step,
        "close": close * step,
        "high": (np.maximum(opened, close) + raw["high"]["values"]) * step,
        "low": (np.minimum(opened, close) - raw["low"]["values"]) * step,
        "volume": raw["volume"]["values"] * raw["volume"]["step"],
        "at": raw["at"]["values"],
    }


def made(close: list[float], **columns: Any) -> SymbolChart:
    price = np.array(close, dtype=float)
    given_columns = {
        name: np.array(value, dtype=float) for name, value in columns.items()
    }
    return SymbolChart(
        **{
            "end": sessions(len(close)),
            "open": price,
            "high": price,
            "low": price,
            "close": price,
            "volume": np.ones(len(close)),
            **given_columns,
        }
    )


def test_candles_come_back_exactly() -> None:
    own = chart(sessions(500), np.random.default_rng(1))
    back = candles(pack_chart(own, own.end))
    for name in ("open", "high", "low", "close", "volume"):
        assert (back[name] == getattr(own, name)).all()


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=50))
def test_whole_prices_come_back_exactly(prices: list[int]) -> None:
    own = made([float(price) for price in prices])
    assert (candles(pack_chart(own, own.end))["close"] == own.close).all()


@given(st.lists(st.floats(0.01, 5e6), min_size=1, max_size=50))
def test_adjusted_prices_come_back_nearly(prices: list[float]) -> None:
    own = made(prices)
    back = candles(pack_chart(own, own.end))["close"]
    # A step is at most 1/10,000 of the lowest price, or 1/2^30 of the highest.
    allowed = max(min(prices) * 1e-4, max(prices) / 2**27)
    assert np.abs(back - own.close).max() <= allowed


def test_volumes_beyond_32_bits_keep_nine_digits() -> None:
    own = made([100.0, 100.0], volume=[9_876_543_210_987.0, 12.0])
    back = candles(pack_chart(own, own.end))["volume"]
    assert back[0] == pytest.approx(own.volume[0], rel=1e-8)


def test_places_on_the_common_axis_survive_gaps() -> None:
    axis = sessions(10)
    own = made([1.0, 2.0, 3.0])
    held = SymbolChart(
        end=axis[[1, 4, 9]],
        open=own.open,
        high=own.high,
        low=own.low,
        close=own.close,
        volume=own.volume,
    )
    assert candles(pack_chart(held, axis))["at"].tolist() == [1, 4, 9]


@pytest.mark.parametrize(
    "values",
    [
        [np.nan, np.nan, 50.0, 50.5, np.nan, 49.0],
        [np.nan] * 6,
        [-1.0, 1.0, -1.0, 0.0, 1e-5, 0.0],
        [1e9, -1e9, 1e9, -1e9, 1e9, -1e9],
        [np.inf, 1.0, 2.0, 3.0, 4.0, 5.0],
    ],
)
def test_lines_keep_their_gaps_and_values(values: list[float]) -> None:
    own = made([100.0] * 6)
    line = ChartLine(values=np.array(values), overlay=False)
    own = SymbolChart(
        end=own.end,
        open=own.open,
        high=own.high,
        low=own.low,
        close=own.close,
        volume=own.volume,
        lines={"X": line},
    )
    column = unpack(pack_chart(own, own.end))["columns"][-1]
    back = column["values"] * column["step"]
    for start, end in zip(column["gaps"][::2], column["gaps"][1::2], strict=True):
        back[start:end] = np.nan
    expected = np.where(np.isfinite(values), values, np.nan)
    np.testing.assert_allclose(back, expected, atol=column["step"] * 0.51)


def test_equal_lines_are_stored_once() -> None:
    own = chart(sessions(300), np.random.default_rng(2))
    columns = unpack(pack_chart(own, own.end))["columns"]
    middle = next(c for c in columns if c.get("line") == "Bollinger(20, 2) mid")
    assert "as" in middle


def test_the_axis_comes_back_in_minutes() -> None:
    end = sessions(5)
    column = unpack(pack_axis(end))["columns"][0]
    assert (column["values"] == end.astype("datetime64[m]").astype(int)).all()


def test_empty_charts_pack() -> None:
    assert unpack(pack_axis(sessions(0)))["n"] == 0
    own = made([])
    assert unpack(pack_chart(own, own.end))["n"] == 0


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([100.0, 250.0], 50.0),
        ([100.5, 101.0], 0.1),
        ([0.0, 0.0], 1.0),
        ([], 1.0),
        ([np.nan, 7.0], 7.0),
    ],
)
def test_price_steps(values: list[float], step: float) -> None:
    assert price_step(np.array(values)) == pytest.approx(step)


def test_steps_of_nothing() -> None:
    assert whole_step(np.array([])) == 1.0
    assert line_step(np.array([0.0, np.nan])) == 1.0


def test_json_keeps_korean() -> None:
    text = zlib.decompress(base64.b64decode(pack_json({"이름": "가상전자"})))
    assert json.loads(text) == {"이름": "가상전자"}


def test_two_hundred_symbols_over_sixteen_years_stay_small() -> None:
    rng = np.random.default_rng(3)
    end = sessions(4_000)
    size = sum(len(pack_chart(chart(end, rng), end)) for _number in range(4))
    assert size * 50 < 16_000_000


def test_a_chart_with_a_short_column_is_refused() -> None:
    with pytest.raises(ValueError, match="one value per bar"):
        made([1.0, 2.0], volume=[1.0])
