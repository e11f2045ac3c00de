"""What the causes of a difference are called, and what a difference says."""

from kisbt.model.liverun import CandleChange, IncidentKind
from kisbt.model.order import OrderType, Side
from kisbt.report.livefiles import LiveRun
from kisbt.report.parity_values import Cause, Difference, Outcome, Parity
from kisbt.report.words import order_state_label
from kisbt.text import _


def cause_label(cause: Cause) -> str:
    """Return a cause in a word or two."""
    labels = {
        Cause.REFUSED: _("Refused"),
        Cause.NOT_SENT: _("Not sent"),
        Cause.CANCELLED: _("Cancelled"),
        Cause.PARTIAL: _("Other quantity"),
        Cause.NOT_FILLED: _("Not filled"),
        Cause.SLIPPAGE: _("Slippage"),
        Cause.LATENCY: _("Latency"),
        Cause.FEE: _("Fee"),
        Cause.CANDLE_REVISED: _("Candle revised"),
        Cause.CANDLE_LATE: _("Candle late"),
        Cause.CANDLE_GAP: _("Gap in a candle"),
        Cause.RESTART: _("Restart"),
        Cause.DISCONNECT: _("Disconnected"),
        Cause.HALT: _("Halt"),
        Cause.PAUSE: _("Entries paused"),
        Cause.EXTERNAL: _("External order"),
        Cause.CORRECTION: _("Price corrected"),
        Cause.ADJUSTMENT: _("Changed by hand"),
        Cause.AFTER_END: _("After the end"),
        Cause.UNEXPLAINED: _("Unexplained"),
    }
    return labels[cause]


def cause_note(cause: Cause) -> str:
    """Return what a cause means, in a sentence."""
    notes = {
        Cause.REFUSED: _(
            "The server or a live check refused an order that the backtest took."
        ),
        Cause.NOT_SENT: _("The order never left this machine."),
        Cause.CANCELLED: _("Somebody other than the strategy cancelled the order."),
        Cause.PARTIAL: _(
            "The market gave another quantity than the share of the candle's volume that a backtest takes."
        ),
        Cause.NOT_FILLED: _(
            "The price only touched the limit: others stood before the order in the queue."
        ),
        Cause.SLIPPAGE: _(
            "Filled on the expected bar at another price, within reach of that bar's trades."
        ),
        Cause.LATENCY: _(
            "The order reached the market, or was filled, on another bar than expected."
        ),
        Cause.FEE: _("Commission or tax as booked differ from the configured rates."),
        Cause.CANDLE_REVISED: _(
            "The exchange's candle turned out to be another than the one the strategy saw."
        ),
        Cause.CANDLE_LATE: _(
            "A candle came after its time; the strategy did not decide on it."
        ),
        Cause.CANDLE_GAP: _("Trades are missing from a candle."),
        Cause.RESTART: _("The process was not running."),
        Cause.DISCONNECT: _(
            "The stream was down; the candles were filled in afterwards."
        ),
        Cause.HALT: _("Trading was halted."),
        Cause.PAUSE: _("Entries, or this symbol, were paused."),
        Cause.EXTERNAL: _("Another program or a person traded in the account."),
        Cause.CORRECTION: _(
            "The price of a fill was put right after it had been booked."
        ),
        Cause.ADJUSTMENT: _("A person changed the strategy's cash or shares."),
        Cause.AFTER_END: _(
            "Filled after the last bar the run saw: a backtest has no candle for it."
        ),
        Cause.UNEXPLAINED: _(
            "No fact of the run explains it: please report it with the run folder."
        ),
    }
    return notes[cause]


def won_text(amount: float) -> str:
    """Return won with a sign, rounded; nothing is ``0``."""
    whole = round(amount)
    return f"{whole:+,}".replace("-", "−") if whole else "0"


def outcome_text(outcome: Outcome | None) -> str:
    """Return what became of an order as one line."""
    if outcome is None:
        return _("no order")
    asked = _("{quantity:,} at the market").format(quantity=outcome.asked)
    if outcome.limit_price is not None:
        asked = _("{quantity:,} at {price:,.10g}").format(
            quantity=outcome.asked, price=outcome.limit_price
        )
    elif outcome.type is OrderType.STOP and outcome.stop_price is not None:
        asked = _("{quantity:,} beyond {price:,.10g}").format(
            quantity=outcome.asked, price=outcome.stop_price
        )
    if not outcome.quantity or outcome.bar is None:
        return _("{asked}: {state}").format(
            asked=asked, state=order_state_label(outcome.state)
        )
    return _(
        "{asked}: {quantity:,} filled at {price:,.8g} on {bar:%m-%d %H:%M}"
    ).format(
        asked=asked, quantity=outcome.quantity, price=outcome.price, bar=outcome.bar
    )


def side_label(side: Side | None) -> str:
    """Return what a side is called; "" without one."""
    if side is None:
        return ""
    return _("buy") if side is Side.BUY else _("sell")


def befell_rows(live: LiveRun) -> list[dict[str, str]]:
    """Return what befell a run as texts: incidents, and its candles by kind."""
    kinds = {
        IncidentKind.RESTART: _("Restart"),
        IncidentKind.DISCONNECT: _("Disconnected"),
        IncidentKind.HALT: _("Halt"),
        IncidentKind.PAUSE: _("Entries paused"),
        IncidentKind.EXTERNAL_ORDER: _("External order"),
        IncidentKind.ADJUSTMENT: _("Changed by hand"),
    }
    rows = [
        {
            "at": f"{item.at:%Y-%m-%d %H:%M:%S}",
            "until": "" if item.until is None else f"{item.until:%Y-%m-%d %H:%M:%S}",
            "symbol": item.symbol,
            "what": kinds[item.kind],
            "note": item.note,
        }
        for item in live.incidents
    ]
    changes = {
        CandleChange.REVISED: Cause.CANDLE_REVISED,
        CandleChange.LATE: Cause.CANDLE_LATE,
        CandleChange.GAP: Cause.CANDLE_GAP,
    }
    for kind, cause in changes.items():
        bars = sorted(e.bar for e in live.candle_events if e.kind is kind)
        symbols = {e.symbol for e in live.candle_events if e.kind is kind}
        if bars:
            rows.append(
                {
                    "at": f"{bars[0]:%Y-%m-%d %H:%M}",
                    "until": f"{bars[-1]:%Y-%m-%d %H:%M}",
                    "symbol": ", ".join(sorted(symbols)),
                    "what": cause_label(cause),
                    "note": _("{count:,} candles").format(count=len(bars)),
                }
            )
    return rows


def verdict(parity: Parity) -> str:
    """Return the answer in one sentence."""
    if parity.same:
        return _(
            "The run and the backtest are the same: {orders:,} orders, {fills:,} "
            "fills, {trades:,} trades."
        ).format(
            orders=parity.orders[0], fills=parity.fills[0], trades=parity.trades[0]
        )
    unknown = sum(not d.explained for d in parity.differences)
    if not unknown:
        text = _("{count:,} differences, all of them explained; {money}.")
    else:
        text = _("{unknown:,} of {count:,} differences are not explained; {money}.")
    return text.format(
        unknown=unknown, count=len(parity.differences), money=_money(parity.total_cost)
    )


def _money(cost: float) -> str:
    """Return who ended with more won."""
    whole = round(cost)
    if not whole:
        return _("the run and the backtest end with the same money")
    if whole > 0:
        return _("the run has {won:,} won less than the backtest").format(won=whole)
    return _("the run has {won:,} won more than the backtest").format(won=-whole)


def difference_row(difference: Difference) -> dict[str, str]:
    """Return a difference as texts: for the page and the terminal."""
    return {
        "cause": cause_label(difference.cause),
        "bar": f"{difference.bar:%Y-%m-%d %H:%M}",
        "symbol": difference.symbol,
        "side": side_label(difference.side),
        "ref": "" if difference.order_ref is None else str(difference.order_ref),
        "expected": outcome_text(difference.expected) if difference.side else "",
        "found": outcome_text(difference.found) if difference.side else "",
        "note": difference.note,
        "cost": won_text(difference.cost),
    }
