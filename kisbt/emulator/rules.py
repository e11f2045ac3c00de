"""How an emulated exchange fills and what it charges."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from kisbt.krx.fees import BANKIS


class Matching(StrEnum):
    """When orders meet prices."""

    CANDLE = "candle"  # once a candle, against all of it, when it closes
    TICK = "tick"  # with each trade, and on arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a run sets in its `broker:` block.

    Attributes:
        commission: ``bankis`` or a rate per side.
        tax: whether sales are taxed by the dated table.
        slippage_ticks: price steps lost by orders that take the price of the moment.
        volume_share: part of a candle's volume own orders may take; None: no cap.
    """

    matching: Matching = Matching.TICK
    commission: str | float = BANKIS
    tax: bool | Fraction = True
    slippage_ticks: int = 0
    volume_share: float | None = None
