"""What was wrong with candles, kept as columns: some hundred bytes each.

Where the broker's chart counts trades that its stream does not bring, or the other way
round, there is one for every candle of a session.
"""

from array import array
from collections.abc import Iterator
from math import isnan, nan

from kisbt.model.liverun import CandleChange, CandleEvent
from kisbt.orders.decode import micros, moment

_KINDS = tuple(CandleChange)
_VALUES = ("open", "high", "low", "close", "volume")
_NAMES = (*_VALUES, *(f"true_{name}" for name in _VALUES))


class CandleEvents:
    """Events in the order in which they were noticed."""

    __slots__ = ("_notes", "_numbers", "_symbols", "_times", "_values")

    def __init__(self) -> None:
        """Begin empty."""
        self._times = array("q")  # noticed and END in turn, microseconds since 1970
        self._numbers = array("i")  # kind and symbol in turn
        self._values = array("d")  # ten for each event; NaN is None
        self._symbols: dict[str, int] = {}
        self._notes: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._values) // len(_NAMES)  # written last

    def __iter__(self) -> Iterator[CandleEvent]:
        count = len(self)
        symbols = tuple(self._symbols)
        for number in range(count):
            noticed, end = self._times[2 * number : 2 * number + 2]
            kind, symbol = self._numbers[2 * number : 2 * number + 2]
            first = number * len(_NAMES)
            values = self._values[first : first + len(_NAMES)]
            yield CandleEvent(
                at=moment(noticed),
                kind=_KINDS[kind],
                symbol=symbols[symbol],
                bar=moment(end),
                note=self._notes.get(number, ""),
                **{
                    name: None if isnan(value) else value
                    for name, value in zip(_NAMES, values, strict=True)
                },
            )

    def append(self, event: CandleEvent) -> None:
        """Add an event; its times are aware, none of its values is NaN."""
        if event.note:
            self._notes[len(self)] = event.note
        known = self._symbols.setdefault(event.symbol, len(self._symbols))
        self._times.extend((micros(event.at), micros(event.bar)))
        self._numbers.extend((_KINDS.index(event.kind), known))
        values = (getattr(event, name) for name in _NAMES)
        self._values.extend(nan if value is None else value for value in values)
