"""A run on a server and a backtest of the candles it saw, compared to the last won."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from kisbt.app.backtest import Backtest, backtest
from kisbt.app.live import Finished, LiveOptions, run_live
from kisbt.app.venue import Mode
from kisbt.config.load import load_config
from kisbt.config.schema import Config
from kisbt.model.order import OrderState
from kisbt.model.result import RunResult

PERMISSIVE: dict[str, object] = {
    "risk.max_order_pct": None,
    "risk.max_symbol_pct": None,
    "risk.max_daily_loss_pct": None,
    "risk.max_orders_per_day": None,
}


def configured(
    source: Path | Mapping[str, Any], *, root: Path | None = None, **overrides: object
) -> Config:
    """Load a configuration; ``__`` in a name stands for a dot."""
    named = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_config(source, root=root, overrides=named)


def run_stepped(config: Config, mode: Mode, folder: Path, **options: Any) -> Finished:
    """Run in step mode, where everything happens the same each time."""
    config = config.model_copy(
        update={"paper": config.paper.model_copy(update={"step": True})}
    )
    wanted = LiveOptions(out=folder, with_report=False, **options)
    return run_live(config, mode, wanted)


def backtest_of(
    config: Config, finished: Finished, *, store: Path | None = None
) -> Backtest:
    """Backtest the candles a run saw, or those of another store."""
    run = finished.result.run
    data = config.data.model_copy(
        update={
            "path": str(store or finished.folder / "candles"),
            "from_": date.fromisoformat(run["first_session"]),
            "to": date.fromisoformat(run["last_session"]),
        }
    )
    values = config.model_dump(mode="json", by_alias=True)
    values["mode"] = "backtest"
    values["data"] = data.model_dump(mode="json", by_alias=True)
    return backtest(load_config(values, root=config.root))


def rows(result: RunResult) -> dict[str, list[tuple[Any, ...]]]:
    """Return what must be the same on every venue."""
    return {
        "orders": [
            (
                row.ref,
                row.created,
                row.symbol,
                row.side,
                row.type,
                row.quantity,
                row.limit_price,
                _state(row.state),
                row.reason,
                row.filled_quantity,
                row.average_price,
            )
            for row in result.orders
        ],
        "fills": [
            (
                row.bar,
                row.symbol,
                row.side,
                row.quantity,
                row.price,
                row.commission,
                row.tax,
                row.order_ref,
            )
            for row in result.fills
        ],
        "trades": [
            (
                row.symbol,
                row.entry_time,
                row.entry_price,
                row.exit_time,
                row.exit_price,
                row.quantity,
                row.net_pnl,
            )
            for row in result.trades
        ],
        "decisions": [
            (row.bar, row.symbol, row.action, row.reason, row.order_ref)
            for row in result.decisions
        ],
        "equity": [
            (str(time), round(cash, 2), round(value, 2))
            for time, cash, value in zip(
                result.equity.time.tolist(),
                result.equity.cash.tolist(),
                result.equity.positions_value.tolist(),
                strict=True,
            )
        ],
    }


def differences(found: RunResult, expected: RunResult) -> list[str]:
    """Return the first difference of each table, a line each; empty when equal."""
    here, there = rows(found), rows(expected)
    lines = []
    for name in here:
        if here[name] == there[name]:
            continue
        at = next(
            (
                number
                for number, (one, other) in enumerate(
                    zip(here[name], there[name], strict=False)
                )
                if one != other
            ),
            min(len(here[name]), len(there[name])),
        )
        lines.append(
            f"{name}: {len(here[name])} found, {len(there[name])} expected; row {at}:\n"
            f"  found    {here[name][at] if at < len(here[name]) else None}\n"
            f"  expected {there[name][at] if at < len(there[name]) else None}"
        )
    return lines


def _state(state: OrderState) -> OrderState:
    """Return the state of an order; one held for the next session works, too.

    A backtest that ends with it cannot tell whether it has reached the exchange.
    """
    return OrderState.WORKING if state is OrderState.CREATED else state
