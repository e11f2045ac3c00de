"""Random universes of invented candles that obey the exchange, and runs on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from kisbt.app.backtest import build_cerebro
from kisbt.app.prepare import Prepared, prepare
from kisbt.bt.result import (
    Times,
    decision_rows,
    equity_curve,
    fill_rows,
    order_rows,
)
from kisbt.candles.columns import PRICES, CandleColumns
from kisbt.candles.store import CandleStore
from kisbt.config.load import load_config
from kisbt.krx.calendar import default_calendar
from kisbt.krx.limits import PriceBand, price_band
from kisbt.krx.ticks import round_down_to_tick
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.result import DecisionRow, EquityCurve, FillRow, OrderRow

ROOT = Path(__file__).resolve().parents[2]
CAPITAL = 10_000_000
STRATEGIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ma_cross": ("strategies.ma_cross:MaCross", {"ma_short": 2, "ma_long": 5}),
    "rsi_reversion": (
        "strategies.rsi_reversion:RsiReversion",
        {"rsi_period": 4, "rsi_oversold": 40, "rsi_overbought": 60},
    ),
    "bollinger_breakout": (
        "strategies.bollinger_breakout:BollingerBreakout",
        {"bb_period": 6, "bb_std": 1},
    ),
    "house": (
        "strategies.ma_rsi_bollinger:MaRsiBollinger",
        {"ma_short": 2, "ma_long": 5, "rsi_period": 4, "bb_period": 6},
    ),
    "house_orders": (
        "strategies.ma_rsi_bollinger:MaRsiBollinger",
        {
            "ma_short": 2,
            "ma_long": 5,
            "rsi_period": 4,
            "bb_period": 6,
            "exits": "orders",
        },
    ),
}
_FIRST_DAYS = (
    date(2014, 11, 3),  # limits of 15 %, close at 15:00
    date(2015, 5, 20),  # into limits of 30 %
    date(2016, 7, 11),  # into a close at 15:30
    date(2019, 5, 7),  # into a lower tax
    date(2022, 12, 12),  # into new price steps and tax, a late opening
    date(2023, 10, 30),  # an exam day
    date(2025, 2, 3),  # into half ticks
)


@dataclass
class Universe:
    """Candles and instruments by symbol, in the order of the universe.

    Attributes:
        adjusted: whether prices may lie off the grid.
        gaps_are_unknown: whether missing sessions may be holes in the collection.
    """

    candles: dict[str, CandleColumns]
    instruments: dict[str, Instrument]
    adjusted: bool
    gaps_are_unknown: bool = False

    @property
    def is_daily(self) -> bool:
        columns = max(self.candles.values(), key=len)
        return bool(np.unique(columns.sessions).size == len(columns))

    def write(self, folder: Path) -> CandleStore:
        """Write the candles into a store."""
        store = CandleStore(folder)
        store.add_instruments(self.instruments.values())
        interval = DAILY if self.is_daily else MINUTE
        for symbol, columns in self.candles.items():
            store.write(symbol, interval, columns, adjusted=True)
        return store


def make_universe(
    seed: int, *, minutes: bool = False, adjusted: bool = False, symbols: int = 5
) -> Universe:
    """Invent a universe.

    Symbols are listed late, delisted, halted, locked at their limits, traded by a
    handful of shares; one may have a bar or two in all.
    """
    draw = np.random.default_rng(seed)
    first = _FIRST_DAYS[draw.integers(len(_FIRST_DAYS))]
    days = default_calendar().sessions(first, first + timedelta(days=150))
    days = days[: 4 if minutes else 70]
    candles, instruments = {}, {}
    for number in range(symbols):
        symbol = f"{number + 1:06d}"
        product = Product.ETF if draw.random() < 0.15 else Product.STOCK
        market = Market.KOSDAQ if draw.random() < 0.4 else Market.KOSPI
        if product is Product.ETF:
            market = Market.KOSPI
        instrument = Instrument(
            symbol=symbol, name=f"I{number}", market=market, product=product
        )
        own_days = days if number == 0 else _listed(draw, days)
        columns = _walk(draw, instrument, own_days, minutes=minutes)
        if adjusted:
            columns = _adjust(draw, columns)
        candles[symbol], instruments[symbol] = columns, instrument
    return Universe(candles, instruments, adjusted)


def _listed(draw: np.random.Generator, days: Any) -> Any:
    """Return the sessions in which a symbol is listed and trades."""
    start = draw.integers(len(days) // 2) if draw.random() < 0.4 else 0
    stop = len(days) - (draw.integers(len(days) // 3) if draw.random() < 0.3 else 0)
    if draw.random() < 0.1:
        stop = start + draw.integers(1, 3)
    own = days[start:stop]
    trades = draw.random(len(own)) > 0.05
    if len(own) > 20 and draw.random() < 0.4:  # a long halt
        at = draw.integers(len(own) - 10)
        trades[at : at + draw.integers(2, 10)] = False
    trades[0] = True
    return own[trades]


def with_other_future(universe: Universe, at: np.datetime64, seed: int) -> Universe:
    """Return the universe with other candles after `at`; some end there."""
    draw = np.random.default_rng(seed)
    candles = {}
    for symbol, columns in universe.candles.items():
        future = columns.end > at
        stretch = np.exp(draw.normal(0, 0.2, len(columns)))
        keep = ~future | (draw.random(len(columns)) < draw.choice([0.0, 0.5, 1.0]))
        prices = [
            np.where(future, getattr(columns, name) * stretch, getattr(columns, name))
            for name in PRICES
        ]
        volume = np.where(future, draw.integers(1, 10**6, len(columns)), columns.volume)
        changed = CandleColumns(columns.end, *prices, volume).where(keep)
        if len(changed):
            candles[symbol] = changed
    return replace(universe, candles=candles)


def _walk(
    draw: np.random.Generator, instrument: Instrument, days: Any, *, minutes: bool
) -> CandleColumns:
    calendar = default_calendar()
    base = float(10 ** draw.uniform(2.8, 5.5))
    times: list[datetime] = []
    rows: list[tuple[float, ...]] = []
    drift = draw.choice([0.01, 0.03, 0.06])
    tiny = draw.random() < 0.2
    for day in days.astype(object):
        at_open = calendar.open_time(day).replace(tzinfo=None)
        at_close = calendar.close_time(day).replace(tzinfo=None)
        ends = [at_close]
        if minutes:
            chosen = np.sort(draw.choice(np.arange(1, 90), 40, replace=False))
            ends = [at_open + timedelta(minutes=int(m)) for m in chosen]
            if draw.random() < 0.8:
                ends.append(at_close)
        base = _snap(base, instrument, day)
        band = price_band(
            base, market=instrument.market, product=instrument.product, session=day
        )
        assert band is not None
        locked = draw.random()
        price = base
        for end in ends:
            row = _bar(draw, price, band, instrument, day, drift, locked)
            price = row[3]
            volume = draw.integers(1, 60) if tiny else draw.integers(50, 200_000)
            times.append(end)
            rows.append((*row, float(volume)))
        base = price
    values = np.array(rows).T
    return CandleColumns(np.array(times, dtype="datetime64[s]"), *values)


def _bar(
    draw: np.random.Generator,
    last: float,
    band: PriceBand,
    instrument: Instrument,
    day: date,
    drift: float,
    locked: float,
) -> tuple[float, float, float, float]:
    if locked < 0.04:
        return (float(band.upper),) * 4
    if locked < 0.08:
        return (float(band.lower),) * 4
    if draw.random() < 0.05:
        return (last,) * 4
    moves = last * np.exp(draw.normal(0, drift, 4))
    if locked < 0.12:
        moves[0] = band.upper
    inside = [
        float(_snap(min(max(price, band.lower), band.upper), instrument, day))
        for price in moves
    ]
    inside = [min(max(price, band.lower), band.upper) for price in inside]
    return inside[0], max(inside), min(inside), inside[3]


def _snap(price: float, instrument: Instrument, day: date) -> float:
    return float(
        round_down_to_tick(
            price,
            market=instrument.market,
            product=instrument.product,
            session=day,
        )
    )


def _adjust(draw: np.random.Generator, columns: CandleColumns) -> CandleColumns:
    """Divide the prices as the adjustment for a later split or rights issue does."""
    factor = draw.choice([5.0, 50.0, 1.0327])
    prices = [getattr(columns, name) / factor for name in PRICES]
    return CandleColumns(columns.end, *prices, columns.volume)


@dataclass
class Records:
    """What a run left behind, and what it ran on."""

    orders: tuple[OrderRow, ...]
    fills: tuple[FillRow, ...]
    decisions: tuple[DecisionRow, ...]
    equity: EquityCurve
    prepared: Prepared
    # Free cash at each bar, the orders of earlier bars counted.
    free_cash: list[float] = field(default_factory=list)

    @property
    def comparable(self) -> tuple[Any, ...]:
        """Everything that must not depend on how the run was made."""
        return (
            self.orders,
            self.fills,
            self.decisions,
            self.equity.time.tolist(),
            self.equity.cash.tolist(),
            self.equity.positions_value.tolist(),
        )


def run_universe(
    folder: Path,
    universe: Universe,
    strategy: str,
    *,
    mode: Mapping[str, Any] | None = None,
    warmup: int = 10,
    arrival: list[int] | None = None,
    **settings: Any,
) -> Records:
    """Run one of the shipped strategies on a universe stored in `folder`.

    Args:
        folder: of the store.
        universe: what is in it.
        strategy: key of `STRATEGIES`.
        mode: parameters of Cerebro.
        warmup: bars.
        arrival: order in which the feeds are handed to Cerebro; the strategy still
            sees them in the order of the universe.
        settings: keys of the `broker:` block, and `risk`.
    """
    name, params = STRATEGIES[strategy]
    risk = settings.pop("risk", {"max_order_pct": 25, "max_symbol_pct": 30})
    off = {"max_daily_loss_pct": None, "max_orders_per_day": None}
    config = load_config(
        {
            "strategy": {
                "class": name,
                "params": {**params, "max_position": 3, "position_size": 0.2},
            },
            "universe": {"symbols": list(universe.candles)},
            "bars": {"interval": "1d" if universe.is_daily else "1m"},
            "data": {"path": str(folder), "warmup": warmup},
            "capital": CAPITAL,
            "broker": {"rules": "krx", **settings},
            "risk": {**off, **risk},
            "report": {"benchmark": None},
        },
        root=ROOT,
    )
    prepared = prepare(config)
    if arrival is not None:
        prepared = _rearranged(prepared, arrival)
    return run_prepared(prepared, mode)


def run_prepared(prepared: Prepared, mode: Mapping[str, Any] | None = None) -> Records:
    """Run, and return the records; `mode` are parameters of Cerebro."""
    free_cash: list[float] = []
    cerebro, _feeds = build_cerebro(prepared)
    broker = cerebro.broker
    broker.p.on_bar = lambda _now: free_cash.append(broker.free_cash())
    for key, value in (mode or {}).items():
        setattr(cerebro.p, key, value)
    cerebro.run()
    recorder, times = broker.recorder, Times()
    return Records(
        order_rows(recorder, times),
        fill_rows(recorder, times),
        decision_rows(recorder, times),
        equity_curve(recorder),
        prepared,
        free_cash,
    )


def _rearranged(prepared: Prepared, arrival: list[int]) -> Prepared:
    """Return the run with its feeds in another order behind the strategy's back."""
    names = list(prepared.candles)
    order = [names[i % len(names)] for i in arrival]
    order = list(dict.fromkeys([*order, *names]))

    class Sorted(prepared.strategy_class):
        """Sees the feeds in the order of the universe."""

        def __init__(self) -> None:
            self.datas = sorted(self.datas, key=lambda data: names.index(data._name))
            super().__init__()

    return replace(
        prepared,
        strategy_class=Sorted,
        candles={name: prepared.candles[name] for name in order},
    )
