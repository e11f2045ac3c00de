"""The risk guard: one function between a strategy and the market.

Only the checks that can be computed from bars are here; they give the same
answer in a backtest and live. Limits guard entries: an exit reduces risk and is
never refused by them. A limit of None is off.
"""

from dataclasses import dataclass

from kisbt.errors import RiskRefused
from kisbt.model.order import Side
from kisbt.text import _

# The loss that halts entries for the session, as a multiple of the one that
# blocks them while it lasts.
HALT_MULTIPLE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """Limits of the `risk:` block; percentages are of the strategy's equity.

    Attributes:
        max_order_pct: value of one entry.
        max_symbol_pct: held plus working value of one symbol.
        max_daily_loss_pct: loss since the session's start that blocks entries;
            twice as much halts them for the rest of the session.
        max_orders_per_day: orders created for one session, exits included; when
            reached, entries stop.
        max_adv_pct: shares of one entry, of the mean volume of 20 sessions.
        max_orders_per_minute: orders created within one minute of bar time.
        max_consecutive_losses: losing round trips in a row that pause entries
            for the session.
        max_open_orders: working orders.
    """

    max_order_pct: float | None = None
    max_symbol_pct: float | None = None
    max_daily_loss_pct: float | None = None
    max_orders_per_day: int | None = None
    max_adv_pct: float | None = None
    max_orders_per_minute: int | None = None
    max_consecutive_losses: int | None = None
    max_open_orders: int | None = None


@dataclass(slots=True, kw_only=True)
class RiskState:
    """The account as the guard sees it, before the order.

    Attributes:
        equity: the strategy's cash plus positions, won.
        day_start_equity: the same when the order's session began, won.
        symbol_value: held plus working buys of the order's symbol, won.
        orders_today: orders already created for the order's session.
        orders_this_minute: orders already created within this minute.
        open_orders: working orders.
        average_volume: mean volume of the last 20 sessions, shares; None when
            fewer are known.
        consecutive_losses: losing round trips in a row.
        halted: whether the session's entries are halted.
    """

    equity: float
    day_start_equity: float
    symbol_value: float = 0.0
    orders_today: int = 0
    orders_this_minute: int = 0
    open_orders: int = 0
    average_volume: float | None = None
    consecutive_losses: int = 0
    halted: bool = False


def daily_loss_pct(state: RiskState) -> float:
    """Return the loss since the session's start in per cent, 0 when none."""
    if state.day_start_equity <= 0:
        return 0.0
    return max(0.0, (1.0 - state.equity / state.day_start_equity) * 100.0)


def halts_session(limits: RiskLimits, state: RiskState) -> bool:
    """Return whether the day's loss stops entries for the rest of the session."""
    limit = limits.max_daily_loss_pct
    return limit is not None and daily_loss_pct(state) >= limit * HALT_MULTIPLE


def check_risk(
    side: Side, quantity: int, price: float, limits: RiskLimits, state: RiskState
) -> None:
    """Let an order pass, or say which limit forbids it.

    Args:
        side: sales always pass.
        quantity: shares.
        price: won per share: the limit price, else the last close.
        limits: the limits in force.
        state: the account before the order.

    Raises:
        RiskRefused: a limit would be broken.
    """
    if side is Side.SELL:
        return
    value = quantity * price
    loss = daily_loss_pct(state)
    if state.halted:
        limit = (limits.max_daily_loss_pct or 0.0) * HALT_MULTIPLE
        _refuse("max_daily_loss_pct", limit, loss, halted=True)
    _at_most("max_order_pct", limits.max_order_pct, _pct(value, state.equity))
    held = _pct(state.symbol_value + value, state.equity)
    _at_most("max_symbol_pct", limits.max_symbol_pct, held)
    _below("max_daily_loss_pct", limits.max_daily_loss_pct, loss)
    _below("max_orders_per_day", limits.max_orders_per_day, state.orders_today)
    _below(
        "max_orders_per_minute",
        limits.max_orders_per_minute,
        state.orders_this_minute,
    )
    _below("max_open_orders", limits.max_open_orders, state.open_orders)
    _below(
        "max_consecutive_losses",
        limits.max_consecutive_losses,
        state.consecutive_losses,
    )
    if limits.max_adv_pct is not None and state.average_volume:
        share = _pct(quantity, state.average_volume)
        _at_most("max_adv_pct", limits.max_adv_pct, share)


def _pct(part: float, whole: float) -> float:
    return part / whole * 100.0 if whole > 0 else float("inf")


def _at_most(rule: str, limit: float | None, value: float) -> None:
    # A relative slack of 1e-9 keeps a 25 % order from failing by a float's breath.
    if limit is not None and value > limit * (1.0 + 1e-9):
        _refuse(rule, limit, value)


def _below(rule: str, limit: float | None, value: float) -> None:
    if limit is not None and value >= limit:
        _refuse(rule, limit, value)


def _refuse(rule: str, limit: float, value: float, *, halted: bool = False) -> None:
    if halted:
        message = _(
            "entries are halted for the session: the day's loss reached {limit:g} %"
        )
    else:
        message = _(
            "risk.{rule}: the order would make it {value:.4g}, the limit is {limit:g}"
        )
    raise RiskRefused(
        message.format(rule=rule, limit=limit, value=value),
        rule=rule,
        limit=limit,
        value=value,
    )
