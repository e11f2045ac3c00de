"""What the report draws of one symbol, as plain arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kisbt.model.result import Floats, Times


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChartLine:
    """One line of an indicator.

    Attributes:
        values: float64, one per bar of the chart, NaN where there is none.
        overlay: drawn on the price, in won; otherwise in a plot of its own.
    """

    values: Floats
    overlay: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SymbolChart:
    """Candles of a symbol and the strategy's indicators on them.

    Attributes:
        end: datetime64[s], naive KST, END labels, shape (n,), increasing.
        open, high, low, close: won, float64, shape (n,).
        volume: shares, float64, shape (n,).
        lines: by name as people read it, for example ``SMA(20)``.
    """

    end: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    lines: Mapping[str, ChartLine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = (self.open, self.high, self.low, self.close, self.volume)
        lines = (line.values for line in self.lines.values())
        if any(len(column) != len(self.end) for column in (*columns, *lines)):
            raise ValueError("every column of a chart has one value per bar")
