"""Capital changes: where adjusted and raw candles part, and what volume does there.

Adjusted history rescales prices for splits, bonus and rights issues; its volume is
often left as it was traded. Before such a day price × volume is then wrong, and a
share of the volume is not what could have been traded.
"""

from dataclasses import dataclass

import numpy as np

from kisbt.candles.columns import CandleColumns, Flags, Floats, Times, halted

# Sessions on each side over which a typical volume is taken.
_AROUND = 20
# A volume that multiplies by less than this is the market's, not a split's.
_LEAST_STEP = 3.0
# Over a longer gap prices may have gone anywhere without a split.
_LONGEST_HALT = np.timedelta64(60, "D")
# Factors of one stretch differ only by rounding: 0.5 won in each price.
_ROUNDING_WON = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CapitalChange:
    """A session from which on one raw share is another part of the company.

    Attributes:
        session: datetime64[D], the first one in the new unit.
        price_ratio: raw price after ÷ before; 0.02 at a split of 50 for 1.
        volume_ratio: typical volume after ÷ before; NaN with too few sessions.
    """

    session: np.datetime64
    price_ratio: float
    volume_ratio: float


def adjustment_factors(raw: CandleColumns, adjusted: CandleColumns) -> Floats:
    """Return adjusted ÷ raw close of each raw candle.

    Args:
        raw: daily candles as traded.
        adjusted: daily candles of the same symbol, as many sessions as there are.

    Returns:
        float64, shape (len(raw),); NaN where `adjusted` lacks the session.
    """
    found = np.full(len(raw), np.nan)
    here, there = np.intersect1d(
        raw.sessions, adjusted.sessions, assume_unique=True, return_indices=True
    )[1:]
    found[here] = adjusted.close[there] / raw.close[here]
    return found


def capital_changes(
    raw: CandleColumns, adjusted: CandleColumns
) -> tuple[CapitalChange, ...]:
    """Return the sessions on which the factor of the adjustment changes.

    A change smaller than the rounding of the two closes allows is not seen.

    Args:
        raw, adjusted: daily candles of one symbol.
    """
    factor = adjustment_factors(raw, adjusted)
    known = np.flatnonzero(np.isfinite(factor))
    if known.size < 2:
        return ()
    factor, close = factor[known], raw.close[known]
    # Rounded to whole won, a close is off by half a won at most.
    error = _ROUNDING_WON / close
    slack = error[1:] + error[:-1] + factor[1:] * 0.0
    step = np.abs(factor[1:] - factor[:-1]) > 2.0 * slack + 1e-9
    sessions = raw.sessions[known]
    return tuple(
        CapitalChange(
            session=sessions[at],
            price_ratio=float(factor[at - 1] / factor[at]),
            volume_ratio=_volume_ratio(raw.volume[known], int(at)),
        )
        for at in np.flatnonzero(step) + 1
    )


def unadjusted_changes(
    candles: CandleColumns, outside: Flags
) -> tuple[CapitalChange, ...]:
    """Return the jumps that look like a split nobody adjusted for.

    Args:
        candles: daily, halts left out.
        outside: which candles lie wholly beyond the limits of their session.

    Returns:
        Those whose volume steps the other way, so that the value traded stays in
        the same order of magnitude.
    """
    found = []
    for at in np.flatnonzero(outside):
        if at == 0 or candles.end[at] - candles.end[at - 1] > _LONGEST_HALT:
            continue
        price = float(candles.open[at] / candles.close[at - 1])
        volume = _volume_ratio(candles.volume, int(at))
        steps_back = volume > 1.2 if price < 1 else volume < 1 / 1.2
        if steps_back and 0.25 < price * volume < 4.0:
            found.append(
                CapitalChange(
                    session=candles.sessions[at], price_ratio=price, volume_ratio=volume
                )
            )
    return tuple(found)


def volume_steps(candles: CandleColumns) -> tuple[CapitalChange, ...]:
    """Return where adjusted candles seem to carry unadjusted volume.

    A split shows as a trading halt after which the volume is several times what
    it was, while the adjusted price goes on.

    Args:
        candles: adjusted daily candles with halts (`read(keep_silent=True)`).

    Returns:
        Changes whose price_ratio is guessed as 1 ÷ volume_ratio.
    """
    halt = halted(candles)
    traded = candles.where(~halt & (candles.volume > 0))
    resumed = np.searchsorted(traded.end, candles.end[halt])
    found = []
    for at in np.unique(resumed):
        if not 0 < at < len(traded):
            continue
        ratio = _volume_ratio(traded.volume, int(at))
        if ratio >= _LEAST_STEP:
            found.append(
                CapitalChange(
                    session=traded.sessions[at],
                    price_ratio=1.0 / ratio,
                    volume_ratio=ratio,
                )
            )
    return tuple(found)


def split_dates(changes: tuple[CapitalChange, ...]) -> Times:
    """Return the sessions of `changes`, datetime64[D], increasing."""
    return np.sort(np.array([change.session for change in changes], "datetime64[D]"))


def _volume_ratio(volume: Floats, at: int) -> float:
    before, after = volume[max(0, at - _AROUND) : at], volume[at : at + _AROUND]
    if before.size < _AROUND // 4 or after.size < _AROUND // 4:
        return float("nan")
    return float(np.median(after) / np.median(before))
