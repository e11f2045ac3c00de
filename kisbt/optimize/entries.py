"""Would random entries have done as well? The same trades on other days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kisbt.candles.columns import CandleColumns
from kisbt.model.result import FillRow, Floats, TradeRow

DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomEntries:
    """The best trial's trades against the same trades begun on random days.

    Attributes:
        trades: how many; as many in each of the random sets.
        own: average return of a trade after costs, as a fraction.
        random: the median set's average return.
        p_value: share of random sets that did at least as well.
    """

    trades: int
    own: float
    random: float
    p_value: float


def random_entries(
    trades: Sequence[TradeRow],
    fills: Sequence[FillRow],
    candles: Mapping[str, CandleColumns],
    *,
    first: np.datetime64,
    seed: int,
    draws: int = DRAWS,
) -> RandomEntries | None:
    """Compare closed trades with random ones of the same frequency.

    A random trade has the symbol, the number of bars and the costs of a real one;
    it is bought at the open of a random bar and sold at an open. Only the day is
    chance, so a market that rises lifts both.

    Args:
        trades: closed round trips of the run.
        fills: of the run, for the costs.
        candles: by symbol.
        first: END of the first tradable bar.
        seed: of the random days.
        draws: number of random sets.

    Returns:
        None without a closed trade.
    """
    if not trades:
        return None
    rng = np.random.default_rng(seed)
    bought = sum(f.quantity * f.price for f in fills)
    slippage = sum(f.slippage for f in fills) / bought if bought else 0.0
    total = np.zeros(draws)
    own = []
    for trade in trades:
        columns = candles[trade.symbol]
        start = int(np.searchsorted(columns.end, first))
        # An entry on the bar's open and an exit `held` bars later.
        held = min(max(1, trade.bars_held), len(columns) - start - 1)
        if held < 1:
            continue
        paid = trade.quantity * trade.entry_price
        # Slippage is in the real prices; an open has none.
        costs = (trade.commission + trade.tax) / paid + 2.0 * slippage
        at = rng.integers(start, len(columns) - held, size=draws)
        total += columns.open[at + held] / columns.open[at] - 1.0 - costs
        own.append(trade.return_pct / 100.0)
    if not own:
        return None
    averages: Floats = total / len(own)
    mean = float(np.mean(own))
    better = int(np.count_nonzero(averages >= mean))
    return RandomEntries(
        trades=len(own),
        own=mean,
        random=float(np.median(averages)),
        # The real set counts as one of the draws: no p-value is zero.
        p_value=(better + 1) / (draws + 1),
    )
