"""Words that several parts of the report share."""

from kisbt.text import _


def mode_label(mode: str) -> str:
    """Return what a mode is called, for people."""
    labels = {
        "backtest": _("Backtest"),
        "paper": _("Paper trading"),
        "rehearsal": _("Rehearsal"),
        "live": _("Live trading"),
    }
    return labels.get(mode, mode)


def order_state_label(state: str) -> str:
    """Return what the state of an order is called."""
    labels = {
        "created": _("created"),
        "working": _("working"),
        "partly_filled": _("partly filled"),
        "filled": _("filled"),
        "cancelled": _("cancelled"),
        "expired": _("expired"),
        "refused": _("refused"),
    }
    return labels.get(state, state)
