"""What each number is called, how it is computed, and how it is written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from kisbt.report.metrics import MIN_SESSIONS, SESSIONS_A_YEAR, Summary
from kisbt.text import _


class Unit(Enum):
    """How a number is written."""

    PERCENT = "percent"
    WON = "won"
    RATIO = "ratio"
    COUNT = "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricNote:
    """A number as people read it.

    Attributes:
        label: its name.
        formula: how it is computed, with its annualisation.
        signed: a gain is good and a loss is bad, so that colour means something.
    """

    label: str
    formula: str
    unit: Unit
    signed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricGroup:
    """Numbers shown together."""

    title: str
    keys: tuple[str, ...]


def metric_groups() -> tuple[MetricGroup, ...]:
    """Return which numbers the report shows, in its order."""
    return (
        MetricGroup(
            title=_("Return"),
            keys=(
                "total_return",
                "cagr",
                "net_profit",
                "final_equity",
                "buy_and_hold_return",
                "benchmark_return",
            ),
        ),
        MetricGroup(
            title=_("Risk"),
            keys=(
                "max_drawdown",
                "max_drawdown_sessions",
                "volatility",
                "sharpe",
                "sortino",
                "calmar",
            ),
        ),
        MetricGroup(
            title=_("Against the benchmark"),
            keys=("beta", "alpha", "tracking_error", "information_ratio"),
        ),
        MetricGroup(
            title=_("Trades"),
            keys=(
                "trades",
                "win_rate",
                "profit_factor",
                "expectancy",
                "average_trade_return",
                "average_win",
                "average_loss",
                "best_trade",
                "worst_trade",
                "longest_losing_streak",
                "average_bars_held",
            ),
        ),
        MetricGroup(
            title=_("Exposure"),
            keys=("exposure", "bars_invested", "turnover", "turnover_year"),
        ),
        MetricGroup(
            title=_("Costs"),
            keys=(
                "commission",
                "tax",
                "slippage",
                "costs",
                "costs_of_traded",
                "profit_before_costs",
                "costs_of_profit",
            ),
        ),
        MetricGroup(
            title=_("Open positions"),
            keys=("open_positions", "open_value", "unrealised_pnl"),
        ),
    )


def metric_notes() -> Mapping[str, MetricNote]:
    """Return the words of every number, in the language in force."""
    return {**_performance_notes(), **_trade_notes(), **_cost_notes()}


def _performance_notes() -> dict[str, MetricNote]:
    year = SESSIONS_A_YEAR
    return {
        "total_return": MetricNote(
            label=_("Total return"),
            formula=_(
                "last equity ÷ starting cash − 1, after costs, open positions at "
                "their last close"
            ),
            unit=Unit.PERCENT,
            signed=True,
        ),
        "cagr": MetricNote(
            label=_("Yearly return (CAGR)"),
            formula=_(
                "(last equity ÷ starting cash)^(365.25 ÷ calendar days) − 1; none "
                "for less than a year"
            ),
            unit=Unit.PERCENT,
            signed=True,
        ),
        "net_profit": MetricNote(
            label=_("Net profit"),
            formula=_("last equity − starting cash"),
            unit=Unit.WON,
            signed=True,
        ),
        "final_equity": MetricNote(
            label=_("Last equity"),
            formula=_("cash + positions at their last close, on the last bar"),
            unit=Unit.WON,
        ),
        "buy_and_hold_return": MetricNote(
            label=_("Buy and hold"),
            formula=_(
                "starting cash spread evenly over the symbols that trade on the "
                "first bar, bought at its close without costs and held"
            ),
            unit=Unit.PERCENT,
            signed=True,
        ),
        "benchmark_return": MetricNote(
            label=_("Benchmark"),
            formula=_(
                "last ÷ first session close − 1 of the index, over the sessions "
                "both have; without dividends and costs"
            ),
            unit=Unit.PERCENT,
            signed=True,
        ),
        "volatility": MetricNote(
            label=_("Volatility"),
            formula=_(
                "sample deviation of session returns × √{year}; from {minimum} "
                "sessions on"
            ).format(year=year, minimum=MIN_SESSIONS),
            unit=Unit.PERCENT,
        ),
        "sharpe": MetricNote(
            label=_("Sharpe ratio"),
            formula=_(
                "mean ÷ sample deviation of session returns × √{year}; risk-free rate 0"
            ).format(year=year),
            unit=Unit.RATIO,
            signed=True,
        ),
        "sortino": MetricNote(
            label=_("Sortino ratio"),
            formula=_(
                "mean of session returns ÷ √(mean of squared losses over all "
                "sessions) × √{year}; target 0"
            ).format(year=year),
            unit=Unit.RATIO,
            signed=True,
        ),
        "max_drawdown": MetricNote(
            label=_("Deepest drawdown"),
            formula=_("largest fall from an earlier peak of equity, at bar closes"),
            unit=Unit.PERCENT,
        ),
        "max_drawdown_sessions": MetricNote(
            label=_("Drawdown length"),
            formula=_(
                "sessions from the peak of the deepest drawdown until equity was "
                "back, or until the end"
            ),
            unit=Unit.COUNT,
        ),
        "calmar": MetricNote(
            label=_("Calmar ratio"),
            formula=_("yearly return (CAGR) ÷ deepest drawdown, whole run"),
            unit=Unit.RATIO,
            signed=True,
        ),
        "beta": MetricNote(
            label=_("Beta"),
            formula=_(
                "covariance with the benchmark's session returns ÷ their variance"
            ),
            unit=Unit.RATIO,
        ),
        "alpha": MetricNote(
            label=_("Alpha, yearly"),
            formula=_(
                "(mean session return − beta × mean of the benchmark) × {year}; "
                "risk-free rate 0"
            ).format(year=year),
            unit=Unit.PERCENT,
            signed=True,
        ),
        "tracking_error": MetricNote(
            label=_("Tracking error"),
            formula=_(
                "sample deviation of (session return − benchmark) × √{year}"
            ).format(year=year),
            unit=Unit.PERCENT,
        ),
        "information_ratio": MetricNote(
            label=_("Information ratio"),
            formula=_(
                "mean of (session return − benchmark) × {year} ÷ tracking error"
            ).format(year=year),
            unit=Unit.RATIO,
            signed=True,
        ),
        "exposure": MetricNote(
            label=_("Mean exposure"),
            formula=_("mean over bars of positions ÷ equity"),
            unit=Unit.PERCENT,
        ),
        "bars_invested": MetricNote(
            label=_("Time invested"),
            formula=_("share of bars with any position"),
            unit=Unit.PERCENT,
        ),
        "turnover": MetricNote(
            label=_("Turnover, whole run"),
            formula=_("(bought + sold) ÷ 2 ÷ mean equity"),
            unit=Unit.RATIO,
        ),
        "turnover_year": MetricNote(
            label=_("Turnover, yearly"),
            formula=_("turnover × {year} ÷ sessions; none for less than a year").format(
                year=year
            ),
            unit=Unit.RATIO,
        ),
    }


def _trade_notes() -> dict[str, MetricNote]:
    return {
        "trades": MetricNote(
            label=_("Closed trades"),
            formula=_("round trips from flat to flat; open positions are apart"),
            unit=Unit.COUNT,
        ),
        "win_rate": MetricNote(
            label=_("Win rate"),
            formula=_("closed trades with a profit after costs ÷ closed trades"),
            unit=Unit.PERCENT,
        ),
        "profit_factor": MetricNote(
            label=_("Profit factor"),
            formula=_("sum of winning trades ÷ sum of losing trades, after costs"),
            unit=Unit.RATIO,
        ),
        "expectancy": MetricNote(
            label=_("Expectancy"),
            formula=_("mean result of a closed trade, after costs"),
            unit=Unit.WON,
            signed=True,
        ),
        "average_trade_return": MetricNote(
            label=_("Mean return of a trade"),
            formula=_("mean of result ÷ money paid for the shares, after costs"),
            unit=Unit.PERCENT,
            signed=True,
        ),
        "average_win": MetricNote(
            label=_("Mean win"),
            formula=_("mean of the trades with a profit, after costs"),
            unit=Unit.WON,
            signed=True,
        ),
        "average_loss": MetricNote(
            label=_("Mean loss"),
            formula=_("mean of the trades with a loss, after costs"),
            unit=Unit.WON,
            signed=True,
        ),
        "best_trade": MetricNote(
            label=_("Best trade"),
            formula=_("largest result of a closed trade, after costs"),
            unit=Unit.WON,
            signed=True,
        ),
        "worst_trade": MetricNote(
            label=_("Worst trade"),
            formula=_("smallest result of a closed trade, after costs"),
            unit=Unit.WON,
            signed=True,
        ),
        "longest_losing_streak": MetricNote(
            label=_("Longest losing streak"),
            formula=_("most losing trades in a row, in order of exit"),
            unit=Unit.COUNT,
        ),
        "average_bars_held": MetricNote(
            label=_("Mean bars held"),
            formula=_("bars of the symbol from first to last fill, mean of trades"),
            unit=Unit.RATIO,
        ),
        "open_positions": MetricNote(
            label=_("Positions still open"),
            formula=_("held after the last bar; not among the closed trades"),
            unit=Unit.COUNT,
        ),
        "open_value": MetricNote(
            label=_("Their value"),
            formula=_("quantity × last close, before the costs of selling"),
            unit=Unit.WON,
        ),
        "unrealised_pnl": MetricNote(
            label=_("Unrealised result"),
            formula=_("quantity × (last close − average price), before costs"),
            unit=Unit.WON,
            signed=True,
        ),
    }


def _cost_notes() -> dict[str, MetricNote]:
    return {
        "commission": MetricNote(
            label=_("Commission"),
            formula=_("sum over all fills"),
            unit=Unit.WON,
        ),
        "tax": MetricNote(
            label=_("Transaction tax"),
            formula=_("sum over all sells, at the rate of each trade date"),
            unit=Unit.WON,
        ),
        "slippage": MetricNote(
            label=_("Slippage"),
            formula=_("sum of what fills cost against the price without slippage"),
            unit=Unit.WON,
        ),
        "costs": MetricNote(
            label=_("All costs"),
            formula=_("commission + tax + slippage"),
            unit=Unit.WON,
        ),
        "costs_of_traded": MetricNote(
            label=_("Costs of money traded"),
            formula=_("all costs ÷ (bought + sold)"),
            unit=Unit.PERCENT,
        ),
        "profit_before_costs": MetricNote(
            label=_("Profit before costs"),
            formula=_("net profit + all costs"),
            unit=Unit.WON,
            signed=True,
        ),
        "costs_of_profit": MetricNote(
            label=_("Costs of profit"),
            formula=_("all costs ÷ profit before costs; none without a profit"),
            unit=Unit.PERCENT,
        ),
    }


def missing_text(code: str) -> str:
    """Return why a number is missing, for a reason code of the summary."""
    texts = {
        "no_bars": _("no bars"),
        "no_trades": _("no trades"),
        "too_short": _("fewer than {minimum} sessions").format(minimum=MIN_SESSIONS),
        "under_a_year": _("less than a year"),
        "ruined": _("equity fell to zero"),
        "no_variance": _("nothing varied"),
        "no_losses": _("no session lost money"),
        "no_losing_trades": _("no losing trade"),
        "no_winning_trades": _("no winning trade"),
        "no_benchmark": _("no benchmark"),
        "no_buy_and_hold": _("not computed"),
        "no_profit": _("no profit before costs"),
    }
    return texts.get(code, _("not defined"))


def format_won(value: float, *, signed: bool = False) -> str:
    """Return won with separators, rounded to whole won."""
    rounded = round(value)
    text = f"{rounded:+,}" if signed and rounded else f"{rounded:,}"
    return _("{amount} won").format(amount=text.replace("-", "−"))


def format_percent(value: float, *, signed: bool = False) -> str:
    """Return a fraction as per cent; small ones keep three digits."""
    percent = value * 100.0
    digits = 2 if abs(percent) >= 0.1 or percent == 0.0 else 4
    sign = "+" if signed and percent > 0 else ""
    return f"{sign}{round(percent, digits) + 0.0:,.{digits}f}%".replace("-", "−")


def format_metric(summary: Summary, key: str) -> str:
    """Return a number of the summary as text, or why there is none."""
    value = summary["metrics"].get(key)
    if value is None:
        return f"– ({missing_text(summary['missing'].get(key, ''))})"
    note = metric_notes()[key]
    return format_value(value, note)


def format_difference(value: float, note: MetricNote) -> str:
    """Return how far two numbers lie apart; fractions in percentage points."""
    if note.unit is Unit.PERCENT:
        points = format_percent(value, signed=True).removesuffix("%")
        return _("{points} points").format(points=points)
    return format_value(value, note)


def format_value(value: float, note: MetricNote) -> str:
    """Return a number in its unit."""
    if not math.isfinite(value):
        return "–"
    if note.unit is Unit.PERCENT:
        return format_percent(value, signed=note.signed)
    if note.unit is Unit.WON:
        return format_won(value, signed=note.signed)
    if note.unit is Unit.COUNT:
        return f"{round(value):,}".replace("-", "−")
    return f"{round(value, 2) + 0.0:,.2f}".replace("-", "−")
