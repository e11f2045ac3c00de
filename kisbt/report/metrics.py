"""The numbers of a finished run: pure arithmetic on `RunResult`.

Returns are per session: the account at the last bar of each session, with the
starting cash as the value before the first one, so that the first bar's result
counts. The curve starts at the first tradable bar, hence no ratio sees the
warm-up. A number that would rest on too little is None, and ``missing`` says
why. Every formula is spelled out for people in `kisbt.report.metric_words`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kisbt.model.order import OrderState, Side
from kisbt.model.result import Curve, Floats, RunResult, Times, TradeRow

Summary = Mapping[str, Any]
"""What summary.json holds; numbers under ``metrics``, returns as fractions."""

SUMMARY_VERSION = 1

SESSIONS_A_YEAR = 246
"""Average number of KRX sessions a year, 2010 to 2025 (3,939 / 16 = 246.2).

Source:
    Counted with `holidays.financial_holidays("XKRX")`; tests/oracle recounts.
"""

RISK_FREE_RATE = 0.0
"""Yearly rate taken off returns in every ratio."""

MIN_SESSIONS = 20
"""Fewer session returns than this give no volatility, ratio or beta."""

MIN_DAYS_FOR_CAGR = 365
"""Shorter runs get no yearly rate.

Source:
    GIPS standards for firms (2020): returns for periods of less than one year
    must not be annualised.
"""

_NO_SPREAD = 1e-12
_EPOCH = 1970  # of datetime64
_MAX_REASONS = 30
_NUMBER = re.compile(r"\d[\d,.:/-]*")

Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionValues:
    """A value at the end of each session.

    Attributes:
        day: datetime64[D], shape (n,).
        value: won, float64, shape (n,).
    """

    day: Days
    value: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """The deepest fall of a value from an earlier peak.

    Attributes:
        depth: fraction of the peak, 0 when it never fell.
        peak, trough: positions in the array; equal when it never fell.
        recovered: first position after the trough at or above the peak, or None.
    """

    depth: float
    peak: int
    trough: int
    recovered: int | None


def session_values(time: Times, value: Floats) -> SessionValues:
    """Return the last value of each session."""
    day = time.astype("datetime64[D]")
    if not len(day):
        return SessionValues(day=day, value=value)
    last = np.append(np.flatnonzero(day[1:] != day[:-1]), len(day) - 1)
    return SessionValues(day=day[last], value=value[last])


def returns_of(value: Floats) -> Floats:
    """Return simple returns, shape (n-1,); NaN after a value of zero or less."""
    before = value[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > 0, value[1:] / before - 1.0, np.nan)


def drawdown_curve(value: Floats) -> Floats:
    """Return the fall from the highest value so far, as a fraction, shape (n,)."""
    if not len(value):
        return value.copy()
    peak = np.maximum.accumulate(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(peak > 0, 1.0 - value / peak, 0.0)


def max_drawdown(value: Floats) -> Drawdown:
    """Return the deepest drawdown; the first one if several are as deep."""
    fall = drawdown_curve(value)
    if not len(fall) or fall.max() <= 0:
        return Drawdown(depth=0.0, peak=0, trough=0, recovered=None)
    trough = int(fall.argmax())
    # Of equal peaks the last one: that is where the fall began.
    peak = trough - int(value[trough::-1].argmax())
    back = np.flatnonzero(value[trough:] >= value[peak])
    return Drawdown(
        depth=float(fall[trough]),
        peak=peak,
        trough=trough,
        recovered=trough + int(back[0]) if len(back) else None,
    )


def volatility(returns: Floats) -> float:
    """Return the yearly sample deviation of session returns."""
    return float(returns.std(ddof=1)) * math.sqrt(SESSIONS_A_YEAR)


def sharpe_ratio(returns: Floats) -> float | None:
    """Return mean over deviation, annualised; None when nothing varies.

    Source:
        Sharpe, "The Sharpe Ratio", J. of Portfolio Management 21 (1994).
    """
    spread = float(returns.std(ddof=1))
    if spread <= _NO_SPREAD:
        return None
    excess = float(returns.mean()) - RISK_FREE_RATE / SESSIONS_A_YEAR
    return excess / spread * math.sqrt(SESSIONS_A_YEAR)


def sortino_ratio(returns: Floats) -> float | None:
    """Return mean over downside deviation, annualised; None without a loss.

    Source:
        Sortino and Price, J. of Investing 3 (1994): target 0, root mean square
        of the losses over all sessions.
    """
    target = RISK_FREE_RATE / SESSIONS_A_YEAR
    downside = float(np.sqrt(np.mean(np.minimum(returns - target, 0.0) ** 2)))
    if downside <= _NO_SPREAD:
        return None
    return (float(returns.mean()) - target) / downside * math.sqrt(SESSIONS_A_YEAR)


def beta_alpha(returns: Floats, benchmark: Floats) -> tuple[float, float] | None:
    """Return the slope and the yearly intercept against a benchmark.

    Source:
        Jensen, J. of Finance 23 (1968); risk-free rate zero.
    """
    variance = float(benchmark.var(ddof=1))
    if variance <= _NO_SPREAD**2:
        return None
    beta = float(np.cov(returns, benchmark, ddof=1)[0, 1]) / variance
    alpha = float(returns.mean()) - beta * float(benchmark.mean())
    return beta, alpha * SESSIONS_A_YEAR


def summarise(result: RunResult) -> dict[str, Any]:
    """Return the summary of a run: the content of summary.json.

    Returns:
        Plain JSON values. ``metrics`` maps a key to a number or None (returns
        and ratios of money are fractions: 0.12 is 12 %), ``missing`` maps each
        key without a number to a reason code.
    """
    equity, start = result.equity.equity, starting_value(result)
    sessions = session_values(result.equity.time, equity)
    path = np.concatenate(([start], sessions.value))
    sheet, drawdown = _fill_sheet(result, start, sessions)
    run = result.run
    return {
        "version": SUMMARY_VERSION,
        "id": run.get("id"),
        "mode": run.get("mode"),
        "first_session": run.get("first_session") or _day(sessions.day, 0),
        "last_session": run.get("last_session") or _day(sessions.day, -1),
        "sessions": len(sessions.day),
        "bars": len(equity),
        "sessions_a_year": SESSIONS_A_YEAR,
        "risk_free_rate": RISK_FREE_RATE,
        "metrics": sheet.values,
        "missing": sheet.missing,
        "drawdown": drawdown,
        "monthly": _monthly(path, sessions.day),
        "yearly": _yearly(result, path, sessions.day),
        "skipped": skipped_entries(result),
        "refused": refused_orders(result),
        "order_states": _order_states(result),
    }


def metrics_of(result: RunResult) -> dict[str, float | int | None]:
    """Return the ``metrics`` of `summarise`, without the tables beside them."""
    sessions = session_values(result.equity.time, result.equity.equity)
    return _fill_sheet(result, starting_value(result), sessions)[0].values


def _fill_sheet(
    result: RunResult, start: float, sessions: SessionValues
) -> tuple["_Sheet", dict[str, Any] | None]:
    """Return all numbers, and the dates of the drawdown."""
    sheet = _Sheet()
    sheet.put("starting_value", start)
    _performance(sheet, result, start, sessions)
    drawdown = _drawdown(sheet, result, start, sessions)
    _exposure(sheet, result, len(sessions.day))
    _trade_numbers(sheet, result.trades)
    _costs(sheet, result)
    _comparison(sheet, result, start, sessions)
    _open_positions(sheet, result)
    return sheet, drawdown


def starting_value(result: RunResult) -> float:
    """Return the account's value before the first bar, won."""
    run = result.run
    value = run.get("starting_value", run.get("starting_cash"))
    if value is not None:
        return float(value)
    equity = result.equity.equity
    return float(equity[0]) if len(equity) else 0.0


class _Sheet:
    """Collects numbers, and a reason for each one that is missing."""

    def __init__(self) -> None:
        self.values: dict[str, float | int | None] = {}
        self.missing: dict[str, str] = {}

    def put(self, key: str, value: float | int | None, why: str = "undefined") -> None:
        """Store a number; None or a non-finite one is missing because of `why`."""
        if value is None or not math.isfinite(value):
            self.values[key] = None
            self.missing[key] = why
        else:
            self.values[key] = value

    def skip(self, keys: Iterable[str], why: str) -> None:
        """Mark several keys as missing for one reason."""
        for key in keys:
            self.put(key, None, why)


def _performance(
    sheet: _Sheet, result: RunResult, start: float, sessions: SessionValues
) -> None:
    keys = ("cagr", "volatility", "sharpe", "sortino")
    if not len(sessions.value) or start <= 0:
        sheet.skip(("final_equity", "net_profit", "total_return", *keys), "no_bars")
        return
    end = float(sessions.value[-1])
    sheet.put("final_equity", end)
    sheet.put("net_profit", end - start)
    sheet.put("total_return", end / start - 1.0)
    days = int((sessions.day[-1] - sessions.day[0]).astype(int)) + 1
    growth = end / start
    if days < MIN_DAYS_FOR_CAGR:
        sheet.put("cagr", None, "under_a_year")
    elif growth <= 0:
        sheet.put("cagr", None, "ruined")
    else:
        sheet.put("cagr", growth ** (365.25 / days) - 1.0)
    returns = returns_of(np.concatenate(([start], sessions.value)))
    why = _why_no_ratio(result, returns)
    if why:
        sheet.skip(("volatility", "sharpe", "sortino"), why)
        return
    sheet.put("volatility", volatility(returns))
    sheet.put("sharpe", sharpe_ratio(returns), "no_variance")
    sheet.put("sortino", sortino_ratio(returns), "no_losses")


def _why_no_ratio(result: RunResult, returns: Floats) -> str:
    if not result.fills and not result.run.get("starting_positions"):
        return "no_trades"
    if len(returns) < MIN_SESSIONS:
        return "too_short"
    return "" if bool(np.isfinite(returns).all()) else "ruined"


def _drawdown(
    sheet: _Sheet, result: RunResult, start: float, sessions: SessionValues
) -> dict[str, Any] | None:
    """Store the drawdown of the bar-by-bar curve and return its dates."""
    keys = ("max_drawdown", "max_drawdown_sessions", "calmar")
    equity = result.equity.equity
    if not len(equity):
        sheet.skip(keys, "no_bars")
        return None
    found = max_drawdown(np.concatenate(([start], equity)))
    # Position 0 is the starting cash: the moment before the first bar.
    bar_day = result.equity.time.astype("datetime64[D]")
    day = np.concatenate((bar_day[:1], bar_day))
    until = found.recovered if found.recovered is not None else len(day) - 1
    span = np.searchsorted(sessions.day, [day[found.peak], day[until]])
    sheet.put("max_drawdown", found.depth)
    sheet.put("max_drawdown_sessions", int(span[1] - span[0]) if found.depth else 0)
    cagr = sheet.values.get("cagr")
    if cagr is None:
        sheet.put("calmar", None, sheet.missing.get("cagr", "no_bars"))
    else:
        sheet.put("calmar", cagr / found.depth if found.depth else None, "no_losses")
    if not found.depth:
        return None
    return {
        "depth": found.depth,
        "peak": str(day[found.peak]),
        "trough": str(day[found.trough]),
        "recovered": None if found.recovered is None else str(day[found.recovered]),
        "sessions": sheet.values["max_drawdown_sessions"],
    }


def _exposure(sheet: _Sheet, result: RunResult, sessions: int) -> None:
    equity = result.equity.equity
    if not len(equity):
        sheet.skip(
            ("exposure", "bars_invested", "turnover", "turnover_year"), "no_bars"
        )
        return
    held = result.equity.positions_value
    usable = equity > 0
    share = held[usable] / equity[usable]
    sheet.put("exposure", float(share.mean()) if usable.any() else None, "ruined")
    sheet.put("bars_invested", float(np.mean(held != 0)))
    traded = sum(fill.quantity * fill.price for fill in result.fills)
    average = float(equity.mean())
    turnover = traded / 2.0 / average if average > 0 else None
    sheet.put("turnover", turnover, "ruined")
    if turnover is None or sessions < SESSIONS_A_YEAR:
        sheet.put("turnover_year", None, "under_a_year")
    else:
        sheet.put("turnover_year", turnover * SESSIONS_A_YEAR / sessions)


def _trade_numbers(sheet: _Sheet, trades: Sequence[TradeRow]) -> None:
    sheet.put("trades", len(trades))
    if not trades:
        sheet.skip(
            (
                "win_rate",
                "profit_factor",
                "average_win",
                "average_loss",
                "expectancy",
                "average_trade_return",
                "average_bars_held",
                "longest_losing_streak",
                "best_trade",
                "worst_trade",
            ),
            "no_trades",
        )
        return
    net = np.array([trade.net_pnl for trade in trades])
    wins, losses = net[net > 0], net[net < 0]
    sheet.put("win_rate", len(wins) / len(net))
    sheet.put(
        "profit_factor",
        float(wins.sum() / -losses.sum()) if len(losses) else None,
        "no_losing_trades",
    )
    sheet.put(
        "average_win", float(wins.mean()) if len(wins) else None, "no_winning_trades"
    )
    sheet.put(
        "average_loss",
        float(losses.mean()) if len(losses) else None,
        "no_losing_trades",
    )
    sheet.put("expectancy", float(net.mean()))
    returns = np.array([trade.return_pct for trade in trades]) / 100.0
    sheet.put("average_trade_return", float(returns.mean()))
    bars = np.array([trade.bars_held for trade in trades])
    sheet.put("average_bars_held", float(bars.mean()))
    sheet.put("longest_losing_streak", _longest_run(net < 0))
    sheet.put("best_trade", float(net.max()))
    sheet.put("worst_trade", float(net.min()))


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    """Return the length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def _costs(sheet: _Sheet, result: RunResult) -> None:
    fills = result.fills
    commission = sum(fill.commission for fill in fills)
    tax = sum(fill.tax for fill in fills)
    slippage = sum(fill.slippage for fill in fills)
    bought = sum(f.quantity * f.price for f in fills if f.side is Side.BUY)
    sold = sum(f.quantity * f.price for f in fills if f.side is Side.SELL)
    costs = commission + tax + slippage
    sheet.put("fills", len(fills))
    sheet.put("bought", bought)
    sheet.put("sold", sold)
    sheet.put("commission", commission)
    sheet.put("tax", tax)
    sheet.put("slippage", slippage)
    sheet.put("costs", costs)
    traded = bought + sold
    sheet.put("costs_of_traded", costs / traded if traded else None, "no_trades")
    profit = sheet.values.get("net_profit")
    before = None if profit is None else profit + costs
    sheet.put("profit_before_costs", before, "no_bars")
    if not fills:
        sheet.put("costs_of_profit", None, "no_trades")
    elif before is None or before <= 0:
        sheet.put("costs_of_profit", None, "no_profit")
    else:
        sheet.put("costs_of_profit", costs / before)


def _comparison(
    sheet: _Sheet, result: RunResult, start: float, sessions: SessionValues
) -> None:
    hold = result.buy_and_hold
    value = float(hold.value[-1]) / start - 1.0 if hold is not None and start else None
    sheet.put("buy_and_hold_return", value, "no_buy_and_hold")
    keys = ("beta", "alpha", "tracking_error", "information_ratio")
    if result.benchmark is None or len(result.benchmark.value) < 2:
        sheet.skip(("benchmark_return", *keys), "no_benchmark")
        return
    own, other = _paired(sessions, result.benchmark)
    if len(other) < 2:
        sheet.skip(("benchmark_return", *keys), "no_benchmark")
        return
    sheet.put("benchmark_return", float(other[-1] / other[0] - 1.0))
    returns, market = returns_of(own), returns_of(other)
    why = _why_no_ratio(result, returns)
    if why:
        sheet.skip(keys, why)
        return
    line = beta_alpha(returns, market)
    sheet.put("beta", line[0] if line else None, "no_variance")
    sheet.put("alpha", line[1] if line else None, "no_variance")
    error = volatility(returns - market)
    sheet.put("tracking_error", error)
    gap = float((returns - market).mean()) * SESSIONS_A_YEAR
    sheet.put(
        "information_ratio", gap / error if error > _NO_SPREAD else None, "no_variance"
    )


def _paired(sessions: SessionValues, curve: Curve) -> tuple[Floats, Floats]:
    """Return both values on the sessions that both have."""
    other = session_values(curve.time, curve.value)
    found = np.intersect1d(
        sessions.day, other.day, assume_unique=True, return_indices=True
    )
    return sessions.value[found[1]], other.value[found[2]]


def _open_positions(sheet: _Sheet, result: RunResult) -> None:
    held = result.open_positions
    sheet.put("open_positions", len(held))
    sheet.put("open_value", sum(position.market_value for position in held))
    sheet.put("unrealised_pnl", sum(position.unrealised_pnl for position in held))


def _day(days: Days, index: int) -> str | None:
    return str(days[index]) if len(days) else None


def _period_returns(
    path: Floats, days: Days, unit: str
) -> list[tuple[int, float | None]]:
    """Return (months or years since 1970, return) for each one of `days`.

    `path` has one more element than `days`: the value before the first.
    """
    if not len(days):
        return []
    period = days.astype(f"datetime64[{unit}]")
    last = np.append(np.flatnonzero(period[1:] != period[:-1]), len(period) - 1)
    ends = path[np.concatenate(([0], last + 1))]
    returns = returns_of(ends)
    return [
        (number, None if math.isnan(value) else value)
        for number, value in zip(
            period[last].astype(np.int64).tolist(), returns.tolist(), strict=True
        )
    ]


def _monthly(path: Floats, days: Days) -> list[dict[str, Any]]:
    """Return one row a year: its twelve months, None where there was no session."""
    rows: dict[int, list[float | None]] = {}
    for period, value in _period_returns(path, days, "M"):
        years, month = divmod(period, 12)
        rows.setdefault(_EPOCH + years, [None] * 12)[month] = value
    return [{"year": year, "months": months} for year, months in rows.items()]


def _yearly(result: RunResult, path: Floats, days: Days) -> list[dict[str, Any]]:
    """Return one row a year: strategy, benchmark and buy-and-hold."""
    rows: dict[int, dict[str, Any]] = {}
    own = _period_returns(path, days, "Y")
    for period, value in own:
        year = _EPOCH + period
        rows[year] = {"year": year, "return": value}
    curves = (("benchmark", result.benchmark), ("buy_and_hold", result.buy_and_hold))
    for name, curve in curves:
        if curve is None or not len(curve.value):
            continue
        ends = session_values(curve.time, curve.value)
        before = path[0] if name == "buy_and_hold" else ends.value[0]
        other = np.concatenate(([before], ends.value))
        for period, value in _period_returns(other, ends.day, "Y"):
            rows.get(_EPOCH + period, {})[name] = value
    return list(rows.values())


def skipped_entries(result: RunResult) -> list[dict[str, Any]]:
    """Return the entries the strategy passed over, counted by reason."""
    return _counted(row.reason for row in result.decisions if row.action == "skip")


def refused_orders(result: RunResult) -> list[dict[str, Any]]:
    """Return the refused orders, counted by reason.

    An order refused before it became one has a decision and no order row.
    """
    refused = [
        order.reject_reason
        for order in result.orders
        if order.state is OrderState.REFUSED
    ]
    refused += [
        row.result
        for row in result.decisions
        if row.order_ref is None
        and row.action in ("buy", "sell")
        and row.result != "accepted"
    ]
    return _counted(refused)


def _order_states(result: RunResult) -> dict[str, int]:
    # `value` is a property, and slower.
    return dict(Counter([order.state._value_ for order in result.orders]))


def _counted(reasons: Iterable[str]) -> list[dict[str, Any]]:
    """Count texts that differ in their numbers only as one reason.

    Returns:
        Rows ``reason``, ``count`` and ``example`` (one full text), most frequent
        first; what is beyond the thirtieth is added up under an empty reason.
    """
    groups: dict[str, list[Any]] = {}
    for text in reasons:
        group = groups.setdefault(_NUMBER.sub("…", text), [text, 0, False])
        group[1] += 1
        group[2] = group[2] or text != group[0]
    rows = [
        {"reason": key if several else text, "count": count, "example": text}
        for key, (text, count, several) in groups.items()
    ]
    rows.sort(key=lambda row: (-row["count"], row["reason"]))
    rest = sum(row["count"] for row in rows[_MAX_REASONS:])
    rows = rows[:_MAX_REASONS]
    if rest:
        rows.append({"reason": "", "count": rest, "example": ""})
    return rows
