"""Finished runs made of a seeded random walk: consistent, but nobody's market."""

from datetime import datetime
from typing import Any

import numpy as np

from kisbt.clock import KST
from kisbt.model.instrument import Instrument, Market, Product
from kisbt.model.order import OrderState, OrderType, Side
from kisbt.model.result import (
    Curve,
    DecisionRow,
    EquityCurve,
    FillRow,
    OpenPosition,
    OrderRow,
    RunResult,
    TradeRow,
)
from kisbt.report.charts import ChartLine, SymbolChart

NASTY_NAME = "</script><script>window.hacked=1</script><b>\"&'가상"
CASH = 10_000_000.0


def sessions(count: int, first: str = "2010-01-04") -> np.ndarray:
    """Return weekday closes, naive KST."""
    days = np.busday_offset(first, np.arange(count), roll="forward")
    return days.astype("datetime64[s]") + np.timedelta64(15 * 3600 + 1800, "s")


def aware(moment: np.datetime64) -> datetime:
    """Return the aware KST datetime of a naive one."""
    return moment.astype("datetime64[s]").astype(datetime).replace(tzinfo=KST)


def moving_average(close: np.ndarray, length: int) -> np.ndarray:
    """Return the simple moving average, NaN until there are enough bars."""
    values = np.full(len(close), np.nan)
    if len(close) >= length:
        total = np.concatenate(([0.0], np.cumsum(close)))
        values[length - 1 :] = (total[length:] - total[:-length]) / length
    return values


def chart(end: np.ndarray, rng: np.random.Generator, *, lines: int = 6) -> SymbolChart:
    """Return candles on a grid of 50 won with up to six indicator lines."""
    steps = rng.normal(0.0002, 0.018, len(end))
    close = np.round(rng.uniform(5_000, 90_000) * np.exp(np.cumsum(steps)) / 50) * 50
    close = np.maximum(close, 50.0)
    opened = np.concatenate((close[:1], close[:-1]))
    spread = np.abs(rng.normal(0, 0.008, (2, len(end))))
    high = np.ceil(np.maximum(opened, close) * (1 + spread[0]) / 50) * 50
    low = np.floor(np.minimum(opened, close) * (1 - spread[1]) / 50) * 50
    volume = np.round(np.exp(rng.normal(12.5, 0.7, len(end))))
    short, long = moving_average(close, 5), moving_average(close, 20)
    width = 2 * np.sqrt(np.maximum(moving_average(close**2, 20) - long**2, 0.0))
    change = np.diff(close, prepend=close[0])
    gain = moving_average(np.maximum(change, 0), 14)
    loss = moving_average(np.maximum(-change, 0), 14)
    with np.errstate(divide="ignore", invalid="ignore"):
        rsi = 100 * gain / (gain + loss)
    known = {
        "SMA(5)": ChartLine(values=short, overlay=True),
        "SMA(20)": ChartLine(values=long, overlay=True),
        "Bollinger(20, 2) top": ChartLine(values=long + width, overlay=True),
        "Bollinger(20, 2) mid": ChartLine(values=long, overlay=True),
        "Bollinger(20, 2) bot": ChartLine(values=long - width, overlay=True),
        "RSI(14)": ChartLine(values=rsi, overlay=False),
    }
    return SymbolChart(
        end=end,
        open=opened,
        high=high,
        low=np.maximum(low, 50.0),
        close=close,
        volume=volume,
        lines=dict(list(known.items())[:lines]),
    )


def config(**changes: Any) -> dict[str, Any]:
    """Return a configuration as merged."""
    return {
        "mode": "backtest",
        "strategy": {
            "class": "strategies.ma_rsi_bollinger:MaRsiBollinger",
            "params": {
                "ma_short": 5,
                "ma_long": 20,
                "stop_loss": 0.03,
                "take_profit": 0.05,
                "max_position": 5,
                "position_size": 0.2,
                "entry": "any",
                "exits": "on_close",
            },
        },
        "universe": {"symbols": ["990001", "990002"], "file": None},
        "bars": {"interval": "1d"},
        "data": {"path": "data", "adjusted": True, "warmup": 250},
        "capital": 10_000_000,
        "broker": {
            "rules": "krx",
            "commission": "bankis",
            "tax": "krx",
            "slippage_ticks": 1,
            "volume_share": 0.1,
            "market_orders": "market",
        },
        "risk": {"max_order_pct": 25, "max_symbol_pct": 30},
        "report": {"benchmark": "KOSPI"},
        **changes,
    }


def run_json(**changes: Any) -> dict[str, Any]:
    """Return the content of run.json."""
    return {
        "id": "20260102-153000-ab12",
        "mode": "backtest",
        "config": config(),
        "config_hash": "4f2a9c",
        "project": "nowhere",
        "versions": {"kisbt": "0.1.0", "backtrader": "1.9.78.123", "python": "3.11.7"},
        "store_hash": "77e0bb",
        "starting_cash": CASH,
        "starting_positions": {},
        "engine": "plain",
        "engine_fallback": "",
        "started": "2026-01-02T15:30:00+09:00",
        "ended": "2026-01-02T15:30:09+09:00",
        "first_session": "2010-01-04",
        "last_session": "2012-01-04",
        "warmup_bars": 250,
        "adjusted": True,
        "interval": "1d",
        "warnings": ["990003: no candle on 3 sessions (halt)"],
        "exit_state": "done",
        **changes,
    }


def make_run(
    *, symbols: int = 5, bars: int = 500, seed: int = 7, nasty: bool = False
) -> tuple[RunResult, dict[str, SymbolChart]]:
    """Return a run that buys and sells each symbol in turn, and its charts.

    The books balance: equity is the starting cash plus what the fills made.
    """
    rng = np.random.default_rng(seed)
    end = sessions(bars)
    codes = [f"99{number:04d}" for number in range(1, symbols + 1)]
    charts = {code: chart(end, rng) for code in codes}
    book = _Book(end, charts, rng)
    for position, code in enumerate(codes):
        book.trade(code, first=20 + position * 3, hold=12, every=60)
    names = {code: f"가상기업{index}" for index, code in enumerate(codes, 1)}
    if nasty:
        names[codes[0]] = NASTY_NAME
    index = 2_000 * np.exp(np.cumsum(rng.normal(0.0001, 0.01, bars)))
    shares = CASH / symbols
    held = sum(shares * c.close / c.close[0] for c in charts.values())
    run = run_json(
        first_session=str(end[0].astype("datetime64[D]")),
        last_session=str(end[-1].astype("datetime64[D]")),
    )
    return (
        RunResult(
            run=run,
            instruments={
                code: Instrument(
                    symbol=code,
                    name=names[code],
                    market=Market.KOSDAQ if number % 3 == 2 else Market.KOSPI,
                    product=Product.STOCK,
                )
                for number, code in enumerate(codes)
            },
            orders=tuple(book.orders),
            fills=tuple(book.fills),
            trades=tuple(book.trades),
            equity=book.equity(),
            decisions=tuple(book.decisions),
            open_positions=tuple(book.open_positions),
            benchmark=Curve(time=end, value=index),
            buy_and_hold=Curve(time=end, value=np.asarray(held)),
        ),
        charts,
    )


class _Book:
    """Keeps the accounts of a made-up run."""

    def __init__(
        self,
        end: np.ndarray,
        charts: dict[str, SymbolChart],
        rng: np.random.Generator,
    ) -> None:
        self.end, self.charts, self.rng = end, charts, rng
        self.flow = np.zeros(len(end))
        self.held = np.zeros(len(end))
        self.orders: list[OrderRow] = []
        self.fills: list[FillRow] = []
        self.trades: list[TradeRow] = []
        self.decisions: list[DecisionRow] = []
        self.open_positions: list[OpenPosition] = []

    def trade(self, code: str, *, first: int, hold: int, every: int) -> None:
        """Buy every so many bars and sell some bars later."""
        reasons = ("ma_cross", "rsi_oversold", "=bb_lower", "ma_cross+rsi")
        exits = ("stop_loss", "take_profit", "sell_signal")
        budget = CASH / (2 * len(self.charts))
        for turn, start in enumerate(range(first, len(self.end) - 1, every)):
            close = self.charts[code].close
            quantity = int(budget // close[start])
            if quantity == 0:
                self.decisions.append(
                    self._decision(start, code, "skip", f"cash for 0 of {start}")
                )
                continue
            stop = start + hold
            reason, exit_reason = reasons[turn % 4], exits[turn % 3]
            entry = self._fill(start, code, Side.BUY, quantity, reason)
            if stop >= len(self.end):
                self.held[start:] += quantity * close[start:]
                self.open_positions.append(self._open(code, quantity, entry))
                continue
            self.held[start:stop] += quantity * close[start:stop]
            leave = self._fill(stop, code, Side.SELL, quantity, exit_reason)
            gross = quantity * (leave.price - entry.price)
            fees = entry.commission + leave.commission
            net = gross - fees - leave.tax
            self.trades.append(
                TradeRow(
                    symbol=code,
                    entry_time=entry.time,
                    entry_price=entry.price,
                    exit_time=leave.time,
                    exit_price=leave.price,
                    quantity=quantity,
                    gross_pnl=gross,
                    commission=fees,
                    tax=leave.tax,
                    net_pnl=net,
                    return_pct=100 * net / (quantity * entry.price),
                    bars_held=hold,
                    entry_reason=reason,
                    exit_reason=exit_reason,
                )
            )
            refused = self._order(
                stop, code, Side.BUY, quantity, "again", OrderState.REFUSED
            )
            self.orders.append(refused)

    def equity(self) -> EquityCurve:
        """Return the account at each bar."""
        return EquityCurve(
            time=self.end, cash=CASH + np.cumsum(self.flow), positions_value=self.held
        )

    def _fill(
        self, at: int, code: str, side: Side, quantity: int, reason: str
    ) -> FillRow:
        order = self._order(at, code, side, quantity, reason, OrderState.FILLED)
        self.orders.append(order)
        price = float(self.charts[code].close[at])
        value = quantity * price
        tax = float(value * 0.002 // 1) if side is Side.SELL else 0.0
        fill = FillRow(
            time=aware(self.end[at]),
            bar=aware(self.end[at]),
            symbol=code,
            side=side,
            quantity=quantity,
            price=price,
            commission=float(value * 0.00014 // 1),
            tax=tax,
            slippage=quantity * 50.0,
            order_ref=order.ref,
        )
        sign = -1 if side is Side.BUY else 1
        self.flow[at] += sign * value - fill.commission - fill.tax
        self.fills.append(fill)
        self.decisions.append(
            self._decision(at - 1, code, side.value, reason, order.ref)
        )
        return fill

    def _order(
        self,
        at: int,
        code: str,
        side: Side,
        quantity: int,
        reason: str,
        state: OrderState,
    ) -> OrderRow:
        filled = state is OrderState.FILLED
        return OrderRow(
            ref=len(self.orders) + 1,
            created=aware(self.end[at - 1]),
            symbol=code,
            side=side,
            type=OrderType.MARKET,
            quantity=quantity,
            limit_price=None,
            stop_price=None,
            state=state,
            reason=reason,
            filled_quantity=quantity if filled else 0,
            average_price=float(self.charts[code].close[at]) if filled else None,
            reject_reason="" if filled else f"cash: {at:,} won is not enough",
        )

    def _decision(
        self, at: int, code: str, action: str, reason: str, ref: int | None = None
    ) -> DecisionRow:
        lines = self.charts[code].lines
        return DecisionRow(
            bar=aware(self.end[at]),
            symbol=code,
            action=action,
            reason=reason,
            indicators={name: float(line.values[at]) for name, line in lines.items()},
            result="skipped" if action == "skip" else "accepted",
            order_ref=ref,
        )

    def _open(self, code: str, quantity: int, entry: FillRow) -> OpenPosition:
        last = float(self.charts[code].close[-1])
        return OpenPosition(
            symbol=code,
            quantity=quantity,
            average_price=entry.price,
            entry_time=entry.time,
            last_price=last,
            last_time=aware(self.end[-1]),
            market_value=quantity * last,
            unrealised_pnl=quantity * (last - entry.price),
            flag="no candle since 2011-11-30",
        )
