"""What a strategy may ask before it enters; works with any backtrader broker."""

import math
from typing import Any


def whole_shares(strategy: Any, data: Any, budget: float) -> int:
    """Return how many shares of `data` a market buy made now may ask for.

    The smaller of what `budget` buys at the last close and what free cash pays
    at the price the broker checks: under exchange rules the upper limit of the
    coming session, else the last close, commission included in both.

    Args:
        strategy: the strategy that asks.
        data: the feed to buy; it must have a bar.
        budget: won to spend.

    Returns:
        Whole shares, 0 or more.
    """
    broker = strategy.broker
    close = data.close[0]
    if not close > 0:
        return 0
    ask = getattr(broker, "free_cash", None)
    if ask is None:
        commission = broker.getcommissioninfo(data).p.commission
        free, cost = broker.getcash(), close * (1.0 + commission)
    else:
        free, cost = ask(), broker.unit_cost(data)
    return max(0, math.floor(min(budget / close, free / cost)))


def skip_entry(strategy: Any, data: Any, reason: str) -> None:
    """Write down that an entry was passed over, and why, if the broker keeps notes."""
    note = getattr(strategy.broker, "note_skipped", None)
    if note is not None:
        note(strategy, data, reason)
