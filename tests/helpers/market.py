"""Hand-made candles and scripted strategies for tests of the backtest broker."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import backtrader as bt
import numpy as np

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.feed import CandleFeed
from kisbt.bt.recorder import Execution, PlacedOrder
from kisbt.candles.columns import CandleColumns
from kisbt.krx.calendar import default_calendar
from kisbt.model.candle import DAILY, MINUTE
from kisbt.model.instrument import Instrument

FIRST = date(2024, 1, 3)  # 2024-01-02 opens an hour late
CASH = 10_000_000.0
# (open, high, low, close) or the same with volume; one number is a flat bar.
Row = float | tuple[float, ...]
Action = Callable[[Any], Any]


def candles(times: Sequence[datetime], rows: Sequence[Row | None]) -> CandleColumns:
    """Return candles; a row of None is a bar that does not exist."""
    kept = [
        (time, _five(row))
        for time, row in zip(times, rows, strict=True)
        if row is not None
    ]
    values = np.array([five for _time, five in kept], dtype=float).reshape(-1, 5)
    return CandleColumns(
        np.array([time for time, _five_ in kept], dtype="datetime64[s]"), *values.T
    )


def _five(row: Row) -> tuple[float, ...]:
    if not isinstance(row, tuple):
        return (row, row, row, row, 1e9)
    return row if len(row) == 5 else (*row, 1e9)


def daily(rows: Sequence[Row | None], *, first: date = FIRST) -> CandleColumns:
    """Return one candle a session from `first` on."""
    calendar = default_calendar()
    days = calendar.sessions(first, first + timedelta(days=2 * len(rows) + 20))
    ends = calendar.close_times(days[: len(rows)]).astype("datetime64[s]")
    return candles(ends.astype(object).tolist(), rows)


def minutes(
    sessions: Sequence[Mapping[str, Row]], *, first: date = FIRST
) -> CandleColumns:
    """Return minute candles: for each session a row by its END label ("09:01")."""
    calendar = default_calendar()
    day = first
    times: list[datetime] = []
    rows: list[Row | None] = []
    for session in sessions:
        for label, row in session.items():
            hour, minute = map(int, label.split(":"))
            times.append(datetime(day.year, day.month, day.day, hour, minute))
            rows.append(row)
        day = calendar.next_session(day)
    return candles(times, rows)


def from_nine(*rows: Row) -> dict[str, Row]:
    """Return rows of a session labelled 09:01, 09:02 ..."""
    return {f"09:{number:02d}": row for number, row in enumerate(rows, 1)}


class Scripted(bt.Strategy):
    """Does on its k-th call (from 1) what ``script[k]`` says.

    An action may keep orders under a name in `orders`.
    """

    params = (("script", {}), ("each", None))

    def __init__(self) -> None:
        self.calls: list[datetime] = []
        self.orders: dict[str, Any] = {}
        self.states: dict[int, list[str]] = {}
        self.heard: list[tuple[int, int, str]] = []
        self.account: list[tuple[float, float]] = []

    def prenext(self) -> None:
        self.act()

    def next(self) -> None:
        self.act()

    def act(self) -> None:
        now = max(data.datetime.datetime(0) for data in self.datas if len(data))
        self.calls.append(now)
        self.account.append((self.broker.getcash(), self.broker.getvalue()))
        action = self.p.script.get(len(self.calls))
        if action is not None:
            action(self)
        if self.p.each is not None:
            self.p.each(self)

    def notify_order(self, order: Any) -> None:
        self.states.setdefault(order.ref, []).append(order.getstatusname())
        # Told before the call that follows.
        self.heard.append((len(self.calls) + 1, order.ref, order.getstatusname()))


@dataclass
class Ran:
    """A finished run of a script."""

    strategy: Any
    broker: KrxBackBroker
    feeds: dict[str, CandleFeed] = field(default_factory=dict)

    @property
    def fills(self) -> list[tuple[int, int, float]]:
        """(call of the strategy on the fill's bar, signed quantity, price)."""
        calls = [bt.date2num(call) for call in self.strategy.calls]
        return [
            (
                calls.index(fill.bar) + 1,
                fill.quantity if fill.side == "buy" else -fill.quantity,
                fill.price,
            )
            for fill in self.executions
        ]

    @property
    def executions(self) -> list[Execution]:
        return self.broker.recorder.fills

    @property
    def placed(self) -> list[PlacedOrder]:
        return self.broker.recorder.orders

    def state(self, name: str) -> str:
        """Return the state of an order the script kept."""
        return str(self.strategy.orders[name].getstatusname())

    def states(self, name: str) -> list[str]:
        """Return every state the strategy heard of."""
        return list(self.strategy.states.get(self.strategy.orders[name].ref, []))

    def why(self, name: str) -> str:
        """Return what the broker noted about the end of an order."""
        ref = self.strategy.orders[name].ref
        return next(p.end_reason for p in self.placed if p.order.ref == ref)


def run_script(
    feeds: Mapping[str, CandleColumns] | CandleColumns,
    script: Mapping[int, Action] | None = None,
    *,
    each: Action | None = None,
    instruments: Mapping[str, Instrument] | None = None,
    adjusted: bool = False,
    mode: Mapping[str, Any] | None = None,
    **broker: Any,
) -> Ran:
    """Run a script on the Korean broker, without costs unless asked for.

    Args:
        feeds: candles by symbol, or of the one symbol 000001.
        script: actions by call.
        each: called on every bar after the script.
        instruments: by symbol; KOSPI stocks if not given.
        adjusted: whether the candles' prices may lie off the grid.
        mode: arguments of `Cerebro`.
        broker: arguments of `KrxBackBroker`.
    """
    if isinstance(feeds, CandleColumns):
        feeds = {"000001": feeds}
    quiet = {
        "cash": CASH,
        "commission": 0.0,
        "tax": "none",
        "slippage_ticks": 0,
        "volume_share": None,
    }
    cerebro = bt.Cerebro(stdstats=False, **(mode or {}))
    cerebro.setbroker(KrxBackBroker(**{**quiet, **broker}))
    made = {}
    for symbol, columns in feeds.items():
        is_daily = np.unique(columns.sessions).size == len(columns)
        made[symbol] = CandleFeed(
            dataname=columns,
            name=symbol,
            instrument=(instruments or {}).get(symbol, Instrument(symbol=symbol)),
            interval=DAILY if is_daily else MINUTE,
            adjusted=adjusted,
        )
        cerebro.adddata(made[symbol])
    cerebro.addstrategy(Scripted, script=dict(script or {}), each=each)
    strategy = cerebro.run()[0]
    return Ran(strategy, cerebro.broker, made)


def keep(name: str, side: str, **arguments: Any) -> Action:
    """Return an action that sends an order and keeps it under `name`.

    `data` and `oco` and `parent` may be named instead of given.
    """

    def act(strategy: Any) -> None:
        given = dict(arguments)
        if isinstance(given.get("data"), str):
            given["data"] = strategy.getdatabyname(given["data"])
        for link in ("oco", "parent"):
            if isinstance(given.get(link), str):
                given[link] = strategy.orders[given[link]]
        strategy.orders[name] = getattr(strategy, side)(**given)

    return act


def cancel(name: str, *, clone: bool = False) -> Action:
    """Return an action that cancels an order kept under `name`."""

    def act(strategy: Any) -> None:
        order = strategy.orders[name]
        strategy.cancel(order.clone() if clone else order)

    return act


def both(*actions: Action) -> Action:
    """Return an action that does one after the other."""

    def act(strategy: Any) -> None:
        for action in actions:
            action(strategy)

    return act
