"""START or END: which moment of a minute candle its label names."""

from enum import StrEnum

import numpy as np

from kisbt.candles.columns import Flags, Times
from kisbt.errors import InputError
from kisbt.krx.calendar import KrxCalendar
from kisbt.text import _


class Label(StrEnum):
    """What the label of a candle says."""

    START = "start"
    END = "end"


def session_bounds(sessions: Times, calendar: KrxCalendar) -> tuple[Times, Times]:
    """Return the open and close of each session, datetime64[s], naive KST.

    Args:
        sessions: datetime64[D], shape (n,), every one a session.
        calendar: of the exchange.
    """
    days, positions = np.unique(sessions, return_inverse=True)
    opens = np.array(
        [calendar.open_time(day).replace(tzinfo=None) for day in days.tolist()],
        "datetime64[s]",
    )
    return opens[positions], calendar.close_times(days)[positions]


def decide_label(labels: Times, opens: Times, closes: Times, minutes: int) -> Label:
    """Return what the labels must be, if they leave no choice.

    A label at the open can only be a START: nothing has traded before. A label
    after the close can only be an END, of the candle of the closing auction,
    which a START-labelled file has at the close.

    Raises:
        InputError: both are possible, or the labels contradict each other.
    """
    step = np.timedelta64(minutes, "m")
    at_open = bool((labels == opens).any())
    after_close = bool(((labels > closes) & (labels <= closes + step)).any())
    if at_open and after_close:
        raise InputError(
            _(
                "the times begin at the open and go on after the close; say with "
                "--label start or --label end what they name"
            )
        )
    if at_open:
        return Label.START
    if after_close:
        return Label.END
    raise InputError(
        _(
            "the times do not show whether they name the start or the end of a candle; "
            "say --label start (KIS and most files: the first of a session is 09:00) "
            "or --label end (the first is 09:01)"
        )
    )


def outside(
    labels: Times, opens: Times, closes: Times, label: Label, minutes: int
) -> Flags:
    """Return which labels cannot belong to the regular session, shape (n,)."""
    if label is Label.START:
        wrong: Flags = (labels < opens) | (labels > closes)
    else:
        wrong = (labels <= opens) | (labels > closes + np.timedelta64(minutes, "m"))
    return wrong


def end_labels(labels: Times, closes: Times, label: Label, minutes: int) -> Times:
    """Return the END of each candle, capped at its session's close."""
    step = np.timedelta64(minutes if label is Label.START else 0, "m")
    return np.minimum(labels + step, closes)
