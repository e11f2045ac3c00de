"""Runs of one strategy in two engines, and everything they left behind."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
from backtrader.lineiterator import LineIterator
from backtrader.order import OrderBase
from backtrader.trade import Trade

from kisbt.bt.backbroker import KrxBackBroker
from kisbt.bt.engine.cerebro import FastCerebro
from kisbt.bt.feed import CandleFeed
from kisbt.bt.snapshot import indicator_lines, line_values
from kisbt.candles.columns import CandleColumns
from kisbt.krx.calendar import default_calendar

CASH = 100_000_000.0

Feeds = Mapping[str, CandleColumns]


def make_candles(
    bars: int,
    seed: int,
    *,
    minutes: bool = False,
    gaps: float = 0.0,
    late: int = 0,
    factor: float = 1.0,
    volume: float = 10.0,
    locked: float = 0.0,
    volatility: float | None = None,
) -> CandleColumns:
    """Return an invented walk of whole won, or of fractions of it.

    Args:
        gaps: share of the bars that are left out (halts).
        late: bars left out at the start (a late listing).
        factor: rescales the prices, as adjusted candles are.
        volume: logarithm of the median volume.
        locked: share of the bars on which the price stands still.
    """
    rng = np.random.default_rng(seed)
    move = volatility or (0.002 if minutes else 0.02)
    walk = np.cumsum(rng.normal(0.0, move, bars)) * 0.7
    close = 30_000.0 * np.exp(walk - walk.mean())
    open_ = np.r_[close[0], close[:-1]] * np.exp(rng.normal(0.0, move * 0.3, bars))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, move * 0.5, bars)))
    low = np.minimum(open_, close) * (1 - np.abs(rng.normal(0, move * 0.5, bars)))
    open_, high, low, close = (np.rint(x / 10) * 10 for x in (open_, high, low, close))
    still = rng.random(bars) < locked
    for prices in (open_, high, low):
        prices[still] = close[still]
    high = np.maximum.reduce([high, open_, close])
    low = np.minimum.reduce([low, open_, close])
    amount = np.rint(rng.lognormal(volume, 1.0, bars)) + 1
    end = _ends(bars, minutes=minutes)
    keep = rng.random(bars) >= gaps
    keep[:late] = False
    return CandleColumns(
        end[keep],
        *((x * factor)[keep] for x in (open_, high, low, close)),
        amount[keep],
    )


def _ends(bars: int, *, minutes: bool) -> Any:
    calendar = default_calendar()
    sessions = calendar.sessions(date(2016, 1, 4), date(2026, 6, 30))
    if not minutes:
        return calendar.close_times(sessions[:bars])
    day, minute = np.divmod(np.arange(bars), 381)
    days = sessions[day].astype("datetime64[s]")
    return days + (9 * 3600 + 60 * minute + 60).astype("timedelta64[s]")


@dataclass
class Outcome:
    """What a run left behind, comparable with ``==`` but for `engine`."""

    events: list[Any] = field(default_factory=list)
    lines: dict[str, Any] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)
    analyses: list[str] = field(default_factory=list)
    error: str = ""
    engine: str = field(default="", compare=False)
    fallback: str | None = field(default=None, compare=False)


def run(
    strategy: type[bt.Strategy],
    feeds: Feeds | list[Callable[[], Any]],
    *,
    fast: bool,
    broker: Callable[[], Any] | None = None,
    setup: Callable[[Any], None] | None = None,
    stdstats: bool = False,
    params: Mapping[str, Any] | None = None,
    listen: bool = True,
    **options: Any,
) -> Outcome:
    """Run once and write down everything that can be seen."""
    # References count on over runs; start both engines from the same ones.
    OrderBase.refbasis = count(1)
    Trade.refbasis = count(1)
    outcome = Outcome()
    cerebro = (FastCerebro if fast else bt.Cerebro)(stdstats=stdstats)
    cerebro.setbroker((broker or krx)())
    for feed in _feeds(feeds):
        cerebro.adddata(feed)
    if setup is not None:
        setup(cerebro)
    kind = _listening(strategy, outcome.events) if listen else strategy
    cerebro.addstrategy(kind, **(params or {}))
    try:
        cerebro.run(**options)
    except Exception as error:
        outcome.error = f"{type(error).__name__}: {error}"
    for number, made in enumerate(getattr(cerebro, "runningstrats", ())):
        outcome.lines |= dict(_all_lines(made, f"s{number}"))
        if not options.get("exactbars"):
            outcome.lines[f"s{number}.chart"] = [
                (named.name, _bits(line_values(named, feed.buflen())))
                for feed, all_named in indicator_lines(made).items()
                for named in all_named
            ]
        if not outcome.error:
            outcome.analyses += [repr(a.get_analysis()) for a in made.analyzers]
    for number, feed in enumerate(cerebro.datas):
        outcome.lines |= dict(_own_lines(feed, f"d{number}"))
        outcome.lines[f"d{number}.ticks"] = {
            name: _clean(value)
            for name, value in vars(feed).items()
            if name[:5] == "tick_"
        }
    outcome.account = _account(cerebro.broker)
    if fast:
        outcome.engine, outcome.fallback = cerebro.engine, cerebro.fallback
    return outcome


def krx(**changes: Any) -> KrxBackBroker:
    """Return a broker with the exchange's rules."""
    return KrxBackBroker(**{"cash": CASH, **changes})


def none(**changes: Any) -> KrxBackBroker:
    """Return a broker with backtrader's rules."""
    return KrxBackBroker(
        **{"cash": CASH, "rules": "none", "commission": 0.00015, **changes}
    )


def assert_equal(plain: Outcome, fast: Outcome) -> None:
    """Compare two runs to the last bit."""
    for number, (left, right) in enumerate(
        zip(plain.events, fast.events, strict=False)
    ):
        assert left == right, f"event {number}"
    assert len(plain.events) == len(fast.events)
    assert plain.error == fast.error
    assert plain.account == fast.account
    assert plain.analyses == fast.analyses
    assert plain.lines.keys() == fast.lines.keys()
    for name, values in plain.lines.items():
        assert values == fast.lines[name], name


def _feeds(feeds: Feeds | list[Callable[[], Any]]) -> Iterator[Any]:
    if isinstance(feeds, list):
        yield from (make() for make in feeds)
        return
    for symbol, candles in feeds.items():
        yield CandleFeed(dataname=candles, name=symbol)


def pandas_feed(candles: CandleColumns, name: str, **kwargs: Any) -> Any:
    """Return backtrader's own feed of the candles."""
    frame = pd.DataFrame(
        {k: getattr(candles, k) for k in ("open", "high", "low", "close", "volume")},
        index=pd.DatetimeIndex(candles.end),
    )
    return bt.feeds.PandasData(dataname=frame, name=name, openinterest=None, **kwargs)


def _listening(strategy: type[bt.Strategy], events: list[Any]) -> type[bt.Strategy]:
    """Return the class, writing down each call that the engine makes."""

    class Listening(strategy):
        def prenext(self) -> None:
            events.append(("prenext", *_seen(self)))
            super().prenext()

        def nextstart(self) -> None:
            events.append(("nextstart", *_seen(self)))
            super().nextstart()

        def next(self) -> None:
            events.append(("next", *_seen(self)))
            super().next()

        def notify_order(self, order: Any) -> None:
            events.append(("order", len(self), _order(order)))
            super().notify_order(order)

        def notify_trade(self, trade: Any) -> None:
            events.append(("trade", len(self), _trade(trade)))
            super().notify_trade(trade)

        def notify_timer(self, timer: Any, when: Any, *args: Any, **kw: Any) -> None:
            events.append(("timer", len(self), when, _now(self)))
            super().notify_timer(timer, when, *args, **kw)

    Listening.__name__ = strategy.__name__
    return Listening


def _seen(strategy: Any) -> tuple[Any, ...]:
    return (
        len(strategy),
        strategy.datetime[0],
        strategy._minperstatus,
        _now(strategy),
        _clean(strategy.broker.getvalue()),
        _clean(strategy.broker.getcash()),
    )


def _now(strategy: Any) -> list[Any]:
    feeds = [(len(d), _clean(d.close[0])) if len(d) else 0 for d in strategy.datas]
    found = []
    for item in strategy._lineiterators[LineIterator.IndType]:
        lines = item.lines if isinstance(item, LineIterator) else [item]
        found += [(len(x), _clean(x[0]) if len(x) else None) for x in lines]
    return [feeds, found]


def _clean(value: Any) -> Any:
    """Return a value that equals itself and tells 0.0 from -0.0."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    return value


def _fields(item: Any, *skip: str) -> dict[str, Any]:
    return {k: _clean(v) for k, v in vars(item).items() if k not in skip}


_LINKS = ("created", "executed", "params", "p", "comminfo", "broker", "data", "owner")
_NAMED = ("owner", "data", "parent", "oco")


def _order(order: Any) -> dict[str, Any]:
    names = [name for name, _default in order.params._getitems() if name not in _NAMED]
    fields = _fields(order, *_LINKS, *_NAMED)
    fields |= {name: _clean(getattr(order, name)) for name in names}
    fields |= {f"p.{name}": _clean(getattr(order.params, name)) for name in names}
    for name in ("created", "executed"):
        part = getattr(order, name)
        fields |= {f"{name}.{k}": v for k, v in _fields(part, "exbits").items()}
        fields[f"{name}.bits"] = [_fields(bit) for bit in part.exbits]
        fields[f"{name}.pending"] = [_fields(bit) for bit in part.getpending()]
    fields["feed"] = order.data._name
    fields["parent"] = order.parent.ref if order.parent is not None else None
    fields["oco"] = order.oco
    fields["kind"] = type(order).__name__
    fields["alive"] = order.alive()
    fields["text"] = str(order.info)
    fields["sent"] = order.broker is not None
    fields["costs"] = type(order.comminfo).__name__
    return fields


def _trade(trade: Any) -> dict[str, Any]:
    fields = _fields(trade, "data", "history")
    fields["feed"] = trade.data._name
    fields["history"] = len(trade.history)
    return fields


def _all_lines(item: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every line below an object: values, position and length."""
    yield from _own_lines(item, path)
    for kind, group in getattr(item, "_lineiterators", {}).items():
        for number, part in enumerate(group):
            # backtrader numbers the classes of couplers as it makes them.
            name = type(part).__name__.rstrip("0123456789")
            yield from _all_lines(part, f"{path}.{kind}.{number}{name}")


def _own_lines(item: Any, path: str) -> Iterator[tuple[str, Any]]:
    lines = item.lines if isinstance(item, LineIterator | bt.LineSeries) else [item]
    for number, line in enumerate(lines):
        yield (
            f"{path}.{number}",
            (_bits(np.array(line.array)), line.idx, line._idx, line.lencount),
        )


def _bits(values: Any) -> bytes:
    """Return the bits of floats; one NaN is as good as another."""
    copied = np.array(values, dtype=np.float64)
    copied[np.isnan(copied)] = np.nan
    return copied.tobytes()


def _account(broker: Any) -> dict[str, Any]:
    account = {
        "cash": _clean(broker.getcash()),
        "value": _clean(broker.getvalue()),
        "positions": sorted(
            (feed._name, _fields_of_position(held))
            for feed, held in broker.positions.items()
            if held.size
        ),
        "fund": (_clean(broker.fundvalue), _clean(broker.fundshares)),
    }
    recorder = getattr(broker, "recorder", None)
    if recorder is not None:
        account["orders"] = [
            (_placed(placed), _order(placed.order)) for placed in recorder.orders
        ]
        account["fills"] = [repr(fill) for fill in recorder.fills]
        account["decisions"] = [repr(decision) for decision in recorder.decisions]
        account["equity"] = [
            bytes(column) for column in (recorder.times, recorder.cash, recorder.values)
        ]
    return account


def _placed(placed: Any) -> str:
    return repr(
        [
            getattr(placed, name)
            for name in placed.__dataclass_fields__
            if name != "order"
        ]
    )


def _fields_of_position(held: Any) -> list[Any]:
    return sorted((name, str(_clean(value))) for name, value in vars(held).items())
