"""The bundled sample: invented companies, made by a seeded generator.

    python -m kisbt.candles.sample DIR

Nothing in it happened. Prices obey the exchange's ticks, daily limits, calendar
and odd sessions, so that a strategy meets the same rules as on real candles. The
output is the same on every platform and numpy version: the only randomness is
`PCG64.random_raw`, whose stream numpy keeps, and the only arithmetic is + − × ÷.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np

from kisbt.candles.columns import CandleColumns
from kisbt.candles.files import replace_files
from kisbt.candles.store import CandleStore
from kisbt.krx.calendar import default_calendar
from kisbt.krx.limits import price_band
from kisbt.krx.ticks import round_down_to_tick, tick_size
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.instrument import Instrument, Market, Product

SEED = 990_000
FIRST = date(2016, 1, 4)
LAST = date(2025, 12, 30)
MINUTE_SESSIONS = 10

INDEX = Instrument(symbol="990100", name="가상종합지수", product=Product.INDEX)

# Continuous trading stops ten minutes before the closing auction's print
# (KRX business regulation: closing auction 15:20-15:30).
_AUCTION_MINUTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Company:
    """An invented company.

    Attributes:
        start: won, the first reference price.
        listed: first session.
        beta, sigma: answer to the market's return; own daily deviation.
        growth: own drift a day.
        volume: shares on a quiet day.
        silent: share of minutes in which nothing trades.
        events: by date: ``locked_up``, ``up``, ``down``, ``halt``, ``crash``.
    """

    instrument: Instrument
    start: int
    beta: float
    sigma: float
    volume: int
    growth: float = 0.0
    listed: date = FIRST
    silent: float = 0.0
    events: tuple[tuple[date, str], ...] = ()


def _kosdaq(symbol: str, name: str) -> Instrument:
    return Instrument(symbol=symbol, name=name, market=Market.KOSDAQ)


COMPANIES = (
    _Company(
        instrument=Instrument(symbol="990001", name="가상전자"),
        start=42_000,
        beta=1.0,
        sigma=0.013,
        volume=9_000_000,
        growth=0.0001,
    ),
    _Company(
        instrument=Instrument(symbol="990002", name="가상화학"),
        start=148_000,
        beta=1.2,
        sigma=0.017,
        volume=420_000,
        growth=-0.0001,
    ),
    _Company(
        instrument=Instrument(symbol="990003", name="가상자동차"),
        start=87_000,
        beta=0.9,
        sigma=0.014,
        volume=900_000,
    ),
    _Company(
        instrument=_kosdaq("990004", "가상바이오"),
        start=23_000,
        beta=0.8,
        sigma=0.030,
        volume=650_000,
        growth=0.0002,
        silent=0.12,
        events=(
            (date(2017, 6, 12), "locked_up"),
            (date(2017, 6, 13), "up"),
            (date(2019, 8, 5), "halt"),
            (date(2019, 8, 6), "halt"),
            (date(2019, 8, 7), "halt"),
            (date(2019, 8, 8), "crash"),
            (date(2021, 11, 23), "up"),
            (date(2023, 4, 24), "down"),
        ),
    ),
    _Company(
        instrument=_kosdaq("990005", "가상게임"),
        start=14_000,
        beta=1.0,
        sigma=0.025,
        volume=380_000,
        listed=date(2018, 5, 17),
        silent=0.2,
        events=((date(2020, 7, 16), "up"), (date(2022, 2, 15), "down")),
    ),
)

SAMPLE_SYMBOLS = frozenset(company.instrument.symbol for company in COMPANIES)
"""Codes of the invented companies."""

# Regimes of the invented market: from this day on, drift a day and deviation.
_REGIMES = (
    (date(2016, 1, 4), 0.0001, 0.007),
    (date(2016, 12, 5), 0.0009, 0.006),
    (date(2018, 2, 1), -0.0009, 0.009),
    (date(2019, 1, 7), 0.0002, 0.008),
    (date(2020, 2, 20), -0.0140, 0.026),
    (date(2020, 3, 23), 0.0026, 0.014),
    (date(2021, 7, 1), -0.0011, 0.010),
    (date(2022, 10, 4), 0.0005, 0.010),
    (date(2024, 7, 15), -0.0007, 0.011),
    (date(2025, 4, 14), 0.0018, 0.010),
)


class _Noise:
    """Random numbers that are the same everywhere."""

    def __init__(self, stream: int) -> None:
        """Start the stream of that number."""
        self._source = np.random.PCG64([SEED, stream])

    def share(self) -> float:
        """Return a number from 0 up to, not with, 1."""
        return float(int(self._source.random_raw()) >> 11) / float(1 << 53)

    def below(self, count: int) -> int:
        """Return 0 … count − 1."""
        return int(self.share() * count)

    def bell(self) -> float:
        """Return a number with mean 0 and deviation about 1, now and then larger."""
        value = sum(self.share() for _turn in range(3)) * 2.0 - 3.0
        return value * 2.2 if self.share() > 0.97 else value


@dataclass(frozen=True, slots=True)
class _Day:
    """A daily candle in whole units: won, or hundredths of an index point."""

    session: date
    open: int
    high: int
    low: int
    close: int
    volume: int

    @property
    def bounds(self) -> tuple[int, int]:
        return self.low, self.high


def write_sample(folder: Path) -> None:
    """Write the sample store into `folder`.

    Raises:
        StorageError: a file could not be written.
    """
    store = CandleStore(folder)
    market = list(_market_days())
    last_sessions = {today.session for today in market[-MINUTE_SESSIONS:]}
    histories = [
        (
            company.instrument,
            company.silent,
            list(_company_days(company, number, market)),
        )
        for number, company in enumerate(COMPANIES, start=1)
    ]
    histories.append((INDEX, 0.0, list(_index_days(market))))
    for number, (instrument, silent, days) in enumerate(histories, start=101):
        store.write(instrument.symbol, DAILY, _columns(instrument, _daily_rows(days)))
        noise = _Noise(number)
        rows = [
            row
            for day in days
            if day.session in last_sessions
            for row in _minutes(day, instrument, silent, noise)
        ]
        store.write(instrument.symbol, MINUTE, _columns(instrument, rows))
    store.add_instruments(instrument for instrument, *_rest in histories)
    text = _README.format(
        seed=SEED, first=FIRST, last=LAST, minute_first=min(last_sessions)
    ).encode()
    replace_files({folder / "README.md": text})


@dataclass(frozen=True, slots=True)
class _MarketDay:
    """The invented market on one session: what drifts, and what came of it."""

    session: date
    drift: float
    change: float


def _market_days() -> Iterator[_MarketDay]:
    noise = _Noise(0)
    memory = 0.0
    level = path = 1.0
    for session in default_calendar().sessions(FIRST, LAST).tolist():
        drift, deviation = next(
            (drift, deviation)
            for start, drift, deviation in reversed(_REGIMES)
            if start <= session
        )
        shock = noise.bell()
        # A little momentum: trends are what a moving average cross lives on.
        change = deviation * (shock + 0.03 * memory)
        change += drift + 0.015 * (path / level - 1.0)
        yield _MarketDay(session, drift, change)
        memory = shock
        path *= 1.0 + drift
        level *= 1.0 + change


def _company_days(
    company: _Company, number: int, market: list[_MarketDay]
) -> Iterator[_Day]:
    noise = _Noise(number)
    events = dict(company.events)
    base = company.start
    worth = float(base)
    swing = 0.0
    for today in market:
        session = today.session
        if session < company.listed:
            continue
        event = events.get(session, "")
        if event == "halt":
            yield _Day(session, 0, 0, 0, base, 0)
            continue
        # Swings of some days around a worth that follows the market's regimes.
        swing = 0.85 * swing + 0.08 * company.sigma * noise.bell()
        worth *= 1.0 + company.beta * today.drift + company.growth
        change = company.beta * today.change + company.growth + swing
        change += 0.03 * (worth / base - 1.0) + 0.7 * company.sigma * noise.bell()
        day = _company_day(company, session, base, change, event, noise)
        yield day
        base = day.close


def _company_day(
    company: _Company,
    session: date,
    base: int,
    change: float,
    event: str,
    noise: _Noise,
) -> _Day:
    instrument = company.instrument
    band = price_band(
        base, market=instrument.market, product=instrument.product, session=session
    )
    assert band is not None, "stocks have daily limits"
    gap = 0.25 * change + 0.25 * company.sigma * noise.bell()
    reach_up = company.sigma * 0.55 * abs(noise.bell())
    reach_down = company.sigma * 0.55 * abs(noise.bell())
    volume = company.volume * (0.55 + 0.9 * noise.share()) * (1 + 18 * abs(change))
    if event == "locked_up":
        return _Day(
            session, band.upper, band.upper, band.upper, band.upper, int(volume * 0.08)
        )
    ends = {"up": 1.0, "down": -1.0, "crash": -1.0}
    if event:
        change = ends[event]
        gap = {"up": 0.04, "down": -0.03, "crash": -0.22}[event]
        volume *= 6
    open_ = base * (1 + gap)
    close = base * (1 + change)
    raw = (
        open_,
        max(open_, close) * (1 + reach_up),
        min(open_, close) * (1 - reach_down),
        close,
    )
    prices = [
        round_down_to_tick(
            int(min(max(price, band.lower), band.upper)),
            market=instrument.market,
            product=instrument.product,
            session=session,
        )
        for price in raw
    ]
    at_open, high, low, at_close = prices
    return _Day(session, at_open, high, low, at_close, int(volume))


def _index_days(market: list[_MarketDay]) -> Iterator[_Day]:
    noise = _Noise(50)
    level = 195_000  # hundredths of a point
    for today in market:
        change = today.change
        open_ = int(level * (1 + 0.3 * change + 0.0015 * noise.bell()))
        close = int(level * (1 + change))
        high = int(max(open_, close) * (1 + 0.003 * abs(noise.bell())))
        low = int(min(open_, close) * (1 - 0.003 * abs(noise.bell())))
        volume = int(300_000_000 * (0.7 + 0.6 * noise.share()) * (1 + 15 * abs(change)))
        yield _Day(today.session, open_, high, low, close, volume)
        level = close


_Row = tuple[np.datetime64, int, int, int, int, int]


def _daily_rows(days: list[_Day]) -> list[_Row]:
    ends = default_calendar().close_times(
        np.array([day.session for day in days], "datetime64[D]")
    )
    return [
        (end, day.open, day.high, day.low, day.close, day.volume)
        for day, end in zip(days, ends, strict=True)
    ]


def _columns(instrument: Instrument, rows: list[_Row]) -> CandleColumns:
    end, *values = zip(*rows, strict=True)
    prices = [np.array(column, np.float64) for column in values]
    if instrument.product is Product.INDEX:
        prices[:4] = [column / 100.0 for column in prices[:4]]
    return CandleColumns(np.array(end, "datetime64[s]"), *prices)


def _minutes(
    day: _Day, instrument: Instrument, silent: float, noise: _Noise
) -> list[_Row]:
    """Return the 1-minute candles that add up to `day`."""
    calendar = default_calendar()
    start = np.datetime64(calendar.open_time(day.session).replace(tzinfo=None), "s")
    stop = np.datetime64(calendar.close_time(day.session).replace(tzinfo=None), "s")
    count = int((stop - start).astype(int)) // 60 - _AUCTION_MINUTES
    first, second = sorted(
        (1 + noise.below(count // 2), count // 2 + noise.below(count // 2))
    )
    at_high, at_low = (first, second) if noise.share() < 0.5 else (second, first)
    closes = _path(day, count, at_high, at_low, _snap(day, instrument), noise)
    rows = []
    weights = []
    previous = day.open
    for minute, close in enumerate(closes):
        tick = _tick(close, day, instrument)
        open_ = (
            _clip(previous + tick * (noise.below(3) - 1), day) if minute else previous
        )
        high = _clip(max(open_, close) + tick * (noise.share() < 0.3), day)
        low = _clip(min(open_, close) - tick * (noise.share() < 0.3), day)
        previous = close
        trades = noise.share() >= silent or minute in (0, at_high, at_low)
        if trades:
            rows.append(
                (start + np.timedelta64(minute + 1, "m"), open_, high, low, close)
            )
            # Busy at the open and towards the close, as real sessions are.
            middle = 2.0 * minute / count - 1.0
            weights.append((0.4 + middle * middle) * (0.4 + 1.2 * noise.share()))
    weights[0] *= 8
    rows.append((stop, day.close, day.close, day.close, day.close))
    weights.append(sum(weights) * 0.06)
    return [
        (*row, volume)
        for row, volume in zip(rows, _shares(day.volume, weights), strict=True)
    ]


def _path(
    day: _Day,
    count: int,
    at_high: int,
    at_low: int,
    snap: Callable[[float], int],
    noise: _Noise,
) -> list[int]:
    """Return a close for each minute: open → the extremes → close."""
    points = sorted(
        [(-1, day.open), (at_high, day.high), (at_low, day.low), (count, day.close)]
    )
    span = day.high - day.low
    closes: list[int] = []
    drift = 0.0
    for (left, start), (right, stop) in pairwise(points):
        for minute in range(left + 1, min(right, count - 1) + 1):
            drift = 0.9 * drift + 0.03 * span * noise.bell()
            share = (minute - left) / (right - left)
            wiggle = drift * 4.0 * share * (1.0 - share)
            closes.append(snap(start + (stop - start) * share + wiggle))
    closes[at_high], closes[at_low] = day.high, day.low
    return closes


def _clip(price: int, day: _Day) -> int:
    return min(max(price, day.low), day.high)


def _snap(day: _Day, instrument: Instrument) -> Callable[[float], int]:
    def snap(price: float) -> int:
        inside = int(min(max(price, day.low), day.high))
        if instrument.product is Product.INDEX:
            return inside
        return int(
            round_down_to_tick(
                inside,
                market=instrument.market,
                product=instrument.product,
                session=day.session,
            )
        )

    return snap


def _tick(price: int, day: _Day, instrument: Instrument) -> int:
    if instrument.product is Product.INDEX:
        return 5  # hundredths of a point
    return int(
        tick_size(
            price,
            market=instrument.market,
            product=instrument.product,
            session=day.session,
        )
    )


def _shares(total: int, weights: list[float]) -> list[int]:
    """Split `total` shares by weight, at least one each, nothing lost."""
    free = total - len(weights)
    whole = sum(weights)
    parts = [1 + int(free * weight / whole) for weight in weights]
    parts[0] += total - sum(parts)
    return parts


_README = """\
# Sample candles: SYNTHETIC, nothing here happened / 가상 데이터입니다

The five companies and the index in this folder are **invented**; their prices are
the output of a random generator (seed {seed}). They exist so that the demo and the
first steps run without downloading anything. Do not draw conclusions about any
real security from them.

이 폴더의 다섯 회사와 지수는 **실제로 존재하지 않으며**, 가격은 난수로 만든 것입니다.

| symbol | name | market |
| --- | --- | --- |
| 990001 | 가상전자 | KOSPI |
| 990002 | 가상화학 | KOSPI |
| 990003 | 가상자동차 | KOSPI |
| 990004 | 가상바이오 | KOSDAQ, halted 2019-08-05 … 08-07, four limit days |
| 990005 | 가상게임 | KOSDAQ, listed 2018-05-17, two limit days |
| 990100 | 가상종합지수 | index |

- `1d/`: daily candles {first} … {last}. `1m/`: one-minute candles of the last ten
  sessions, from {minute_first}; they add up to the daily candles exactly.
- The exchange's calendar, tick sizes and daily price limits hold on every day.
- There are no splits, rights issues or dividends: adjusted and raw prices are the
  same, so there is no `1d-raw/` folder.
- Times are the END of each candle, Korean time. A halted session is written as
  open = high = low = 0 with volume 0, as Korean data vendors do.

Made by `python -m kisbt.candles.sample DIR`; the same on every computer.
"""


def main(arguments: list[str] | None = None) -> None:
    """Write the sample into the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m kisbt.candles.sample")
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args(arguments).folder
    write_sample(folder)
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
