"""Base prices of sessions: what the exchange measures a day's limits from.

The base price is the close of the session before, which the last minute candle at
hand may not show: minutes may be missing where daily candles are not. A run hears
base prices from the broker and keeps them in ``bases.csv`` of its candles:

    symbol,session,price
    005930,2026-01-02,71300
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from kisbt.candles.columns import CandleColumns, Flags, Floats, Times
from kisbt.candles.files import replace_files
from kisbt.errors import BadCandle, StorageError
from kisbt.text import _

FILE_NAME = "bases.csv"
COLUMNS = ("symbol", "session", "price")

_LIMIT = 0.3  # the widest daily limit of a share since 2015-06-15
_ROUNDING = 0.005


@dataclass(frozen=True, slots=True)
class SessionBases:
    """Base prices of one symbol.

    Attributes:
        sessions: datetime64[D], shape (n,), strictly increasing.
        prices: won, float64, shape (n,); NaN where none is known.
    """

    sessions: Times
    prices: Floats

    def of_bars(self, days: Times) -> Floats:
        """Return the base price of each bar's session; NaN where none is known."""
        if not len(self.sessions):
            return np.full(len(days), math.nan)
        at = np.minimum(np.searchsorted(self.sessions, days), len(self.sessions) - 1)
        return np.where(self.sessions[at] == days, self.prices[at], math.nan)


def session_bases(
    minutes: CandleColumns,
    daily: CandleColumns,
    told: Mapping[date, float] | None = None,
    *,
    adjusted: bool = False,
    leverage: float = 1.0,
) -> SessionBases:
    """Return the base price of every session that has minute candles.

    What the broker told comes first, then the last daily close before the session,
    then the last minute's. One from which the session's first trade lies farther than
    the daily limit is none of that day: the minutes between are missing, or daily
    candles are adjusted for a later split.

    Args:
        minutes: of one symbol.
        daily: of the same; unadjusted ones where there are any.
        told: by session, won.
        adjusted: whether `daily` is: then it only stands in for minutes that are
            missing, because a later dividend or rights issue may have changed it.
        leverage: daily multiple of an ETF or ETN, which widens its limit.
    """
    days = minutes.sessions
    starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]][: len(days)])
    sessions, opens = days[starts], minutes.open[starts]
    before = np.r_[math.nan, minutes.close[starts[1:] - 1]][: len(starts)]
    at = np.searchsorted(daily.sessions, sessions) - 1
    known = np.flatnonzero(at >= 0)
    # The minutes may go on after the last daily candle.
    later = known[known > 0]
    last, held = daily.sessions[at[later]], sessions[later - 1]
    known = np.setdiff1d(known, later[last <= held if adjusted else last < held])
    closes = np.full(len(starts), math.nan)
    closes[known] = daily.close[at[known]]
    reach = _LIMIT * max(1.0, abs(leverage)) + _ROUNDING
    before[~_near(opens, before, reach)] = math.nan
    prices = np.where(_near(opens, closes, reach), closes, before)
    for place, session in enumerate(sessions.tolist() if told else ()):
        prices[place] = (told or {}).get(session, prices[place])
    return SessionBases(sessions, prices)


def _near(opens: Floats, bases: Floats, reach: float) -> Flags:
    near: Flags = np.abs(opens / bases - 1.0) <= reach  # False for NaN
    return near


def read_bases(folder: Path) -> dict[str, dict[date, float]]:
    """Return the base prices that a store keeps, by symbol and session.

    Raises:
        BadCandle: a row cannot be read; names file and line.
        StorageError: the file exists but cannot be opened.
    """
    path = folder / FILE_NAME
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            _("{path}: cannot be read: {why}").format(path=path, why=error)
        ) from error
    found: dict[str, dict[date, float]] = {}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for row in reader:
        try:
            symbol, day = row["symbol"], date.fromisoformat(row["session"])
            price = float(row["price"])
            if not 0 < price < math.inf:
                raise ValueError(price)
        except (KeyError, TypeError, ValueError) as error:
            raise BadCandle(
                _("{path}, line {line}: expected {columns}").format(
                    path=path, line=reader.line_num, columns=",".join(COLUMNS)
                ),
                file=str(path),
                line=reader.line_num,
            ) from error
        found.setdefault(symbol, {})[day] = price
    return found


def write_bases(folder: Path, bases: Mapping[tuple[str, date], float]) -> None:
    """Write base prices by symbol and session; nothing without any.

    Raises:
        StorageError: it could not be written.
    """
    if not bases:
        return
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (symbol, session), price in sorted(bases.items()):
        writer.writerow((symbol, session.isoformat(), f"{price:.12g}"))
    replace_files({folder / FILE_NAME: out.getvalue().encode()})
